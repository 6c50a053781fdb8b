"""Texts: ours to a telephone, and a telephone's to us."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from service.loopback.calls import Kept, Message, now
from service.loopback.clockwork import Clockwork
from service.loopback.lanes import Callback
from service.loopback.phones import Behaviour, normal_number
from service.loopback.weather import Provider

if TYPE_CHECKING:
    from service.loopback.network import LoopbackNetwork

SENT_S, DELIVERED_S, REPLY_S = 0.3, 0.7, 1.0
LONGEST_TEXT = 1600
CODE = re.compile(r"(?<!\d)\d{4,8}(?!\d)")
# https://www.twilio.com/docs/api/errors/30003 : unreachable destination handset
UNREACHABLE = 30003


class Texts:
    """Every text that is remembered, and its way."""

    def __init__(self, network: LoopbackNetwork, clockwork: Clockwork) -> None:
        self._network = network
        self._clockwork = clockwork
        self._messages: Kept[Message] = Kept()

    def send(self, provider: Provider = Provider.TWILIO, **details: Any) -> Message:
        """Our service sends a text."""
        network = self._network
        with network.lock:
            plan = network.phone(details["to"]).plan
            message = Message(network.account_sid, plan=plan, provider=provider, **details)
            self._keep(message)
            self._clockwork.after(SENT_S / network.time_scale, partial(self._deliver, message, "sent"))
            return message

    def text_us(self, number: str, to: str, body: str) -> Message:
        """A telephone sends us a text."""
        network = self._network
        with network.lock:
            if not network.text_url:
                raise LookupError('text_url must be set first: PUT /_network {"text_url": "http://..."}')
            if not 0 < len(body) <= LONGEST_TEXT:
                raise ValueError(f"body must be a text of 1 to {LONGEST_TEXT} characters")
            sender, ours = normal_number(number), normal_number(to)
            message = Message(network.account_sid, ours, sender, body, 0, network.text_url, network.phone(sender).plan)
            message.status, message.direction = "received", "inbound"
            message.times["received"] = now()
            self._keep(message)
            assert message.lane is not None
            message.lane.add(Callback("received", network.text_url, "POST", message.incoming_form()))
            message.lane.end()
            return message

    def _keep(self, message: Message) -> None:
        message.lane = self._network.lane(message.provider, message.plan.callbacks, message.callbacks)
        self._messages.add(message)

    def _deliver(self, message: Message, status: str) -> None:
        network = self._network
        with network.lock:
            if status == "sent":
                unreachable = message.plan.behaviour is Behaviour.UNREACHABLE
                following = "undelivered" if unreachable else "delivered"
                later = partial(self._deliver, message, following)
                self._clockwork.after(DELIVERED_S / network.time_scale, later)
            message.error_code = UNREACHABLE if status == "undelivered" else None
            message.status = status
            message.times[status] = now()
            if message.lane is None:
                return
            if message.provider is Provider.SOLAPI:
                if message.ended:
                    network.report(message, message.solapi_report())
            elif message.status_url:
                message.lane.add(Callback(status, message.status_url, "POST", message.webhook_form()))
            if message.ended:
                message.lane.end()
            if status == "delivered":
                self._answer(message)

    def _answer(self, message: Message) -> None:
        """Whoever owns the telephone replies, if their plan says so and the carrier brings replies back."""
        words, network = message.plan.reply, self._network
        if not words or not network.text_url or message.provider is not Provider.TWILIO:
            return
        codes = CODE.findall(message.body)
        if "{code}" in words and not codes:
            return
        body = words.replace("{code}", codes[-1] if codes else "")
        later = partial(self.text_us, message.to, message.from_, body)
        self._clockwork.after(REPLY_S / network.time_scale, lambda: (later(), None)[1])

    def one(self, sid: str) -> Message | None:
        with self._network.lock:
            return self._messages.get(sid)

    def all(self) -> list[Message]:
        """Every text that is remembered, oldest first."""
        with self._network.lock:
            return self._messages.all()

    def to(self, number: str) -> list[Message]:
        """Every text to one telephone that is remembered, oldest first."""
        with self._network.lock:
            return self._messages.to(number)

    def forget(self) -> None:
        """Clear the record; texts under way stay until they have arrived."""
        with self._network.lock:
            self._messages.forget_ended()
