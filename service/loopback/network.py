"""The network itself: its telephones, calls and texts, and the settings of its weather."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from email.utils import format_datetime
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from service.loopback.calls import Call, Message, now
from service.loopback.clockwork import Clockwork, Life, Steps
from service.loopback.lanes import LATE_S, Callback, Lane
from service.loopback.life import CallLife, HungUp
from service.loopback.phones import Behaviour, Callbacks, Phone, Plan, member, normal_number, positive
from service.loopback.webhooks import Answer, Poster

REMEMBERED = 10_000
"""Calls, and texts, that are kept; older ones that have ended are forgotten."""
SENT_S, DELIVERED_S = 0.3, 0.7


class FailMode(StrEnum):
    SERVER_ERROR = "500"
    TIMEOUT = "timeout"
    """No answer, and nothing done."""
    TIMEOUT_ACTED = "timeout_acted"
    """No answer, although the call or text was taken on."""
    TOO_MANY = "429"
    OUT_OF_CREDIT = "out_of_credit"


class LoopbackNetwork:
    """A carrier in memory: thread-safe, bounded, and gone when the process ends."""

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        voice_url: str | None = None,
        time_scale: float = 1.0,
        default_behaviour: str = Behaviour.NO_ANSWER,
        workers: int = 32,
    ) -> None:
        if not account_sid or not auth_token:
            raise ValueError("account_sid and auth_token must not be empty: our service signs in with them")
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.lock = threading.RLock()
        self.voice_url: str | None = None
        self.time_scale = 1.0
        self.speech_s = 0.5
        self.webhook_timeout_s = 15.0
        self.default_behaviour = Behaviour.NO_ANSWER
        self.fail_next = 0
        self.fail_mode = FailMode.SERVER_ERROR
        self.closing = threading.Event()
        self._phones: dict[str, Phone] = {}
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._messages: OrderedDict[str, Message] = OrderedDict()
        self._clockwork = Clockwork(workers)
        self._poster = Poster(auth_token)
        self.configure(
            {"voice_url": voice_url, "time_scale": time_scale, "default_behaviour": default_behaviour}
        )

    def close(self) -> None:
        """Stop everything; calls under way simply stop."""
        self.closing.set()
        self._clockwork.close()
        self._poster.close()

    # Settings

    def settings(self) -> dict[str, Any]:
        with self.lock:
            return {
                "voice_url": self.voice_url,
                "time_scale": self.time_scale,
                "speech_s": self.speech_s,
                "webhook_timeout_s": self.webhook_timeout_s,
                "default_behaviour": self.default_behaviour,
                "fail_next": self.fail_next,
                "fail_mode": self.fail_mode,
            }

    def configure(self, wish: Mapping[str, Any]) -> None:
        """Take what ``PUT /_network`` says, all of it or, when one value is wrong, nothing."""
        with self.lock:
            unknown = sorted(set(wish) - set(self.settings()))
            if unknown:
                known = ", ".join(self.settings())
                raise ValueError(f"the network knows {known}; was given {unknown[0][:40]}")
            new = {name: _setting(name, value) for name, value in wish.items()}
            for name, value in new.items():
                setattr(self, name, value)

    def take_failure(self) -> FailMode | None:
        """The failure that the next request for a call or text has to meet, if any."""
        with self.lock:
            if not self.fail_next:
                return None
            self.fail_next -= 1
            return self.fail_mode

    # Telephones

    def phone(self, number: str) -> Phone:
        with self.lock:
            usual = Plan(self.default_behaviour)
            return self._phones.get(number) or Phone(number, usual)

    def configure_phone(self, number: str, wish: Mapping[str, Any]) -> Phone:
        with self.lock:
            phone = self.phone(normal_number(number))
            phone.configure(wish)
            return self._phones.setdefault(phone.number, phone)

    def phones(self) -> list[dict[str, Any]]:
        """Every telephone that was set up or took part in a call that is still remembered."""
        with self.lock:
            known = dict(self._phones)
            for call in self._calls.values():
                known.setdefault(call.phone_number, self.phone(call.phone_number))
            under_way = {
                call.phone_number: call.sid for call in reversed(self._calls.values()) if call.reaches
            }
            return [{**phone.as_json(), "call": under_way.get(number)} for number, phone in known.items()]

    def forget_phones(self) -> None:
        with self.lock:
            self._phones.clear()

    def press(self, number: str, digit: str) -> Call:
        """A person presses a key; while it rings, that picks up first and the key waits for the menu."""
        if digit not in set("0123456789*#"):
            raise ValueError(f"digit must be one of 0-9, * and #, was {digit[:20]!r}")
        call = self._open_call(number)
        call.keys.append(digit)
        self._pick_up(call)
        return call

    def pick_up(self, number: str) -> Call:
        call = self._open_call(number)
        self._pick_up(call)
        return call

    def hang_up(self, number: str) -> Call:
        """The person hangs up, or turns the call away while it rings."""
        call = self._open_call(number)
        self.end(call, "completed" if "answered" in call.times else "busy")
        return call

    def _pick_up(self, call: Call) -> None:
        call.picked_up = True
        if call.life:
            call.life.wake()

    def _open_call(self, number: str) -> Call:
        with self.lock:
            for call in self._calls.values():
                if call.phone_number == number and call.reaches:
                    return call
        raise LookupError(f"{number} must be ringing or in a call for that, and is not")

    # Calls

    def place(self, **details: Any) -> Call:
        """Our service rings a telephone."""
        with self.lock:
            phone = self.phone(details["to"])
            plan = phone.next_plan()
            if plan.behaviour is Behaviour.MANUAL and any(
                c.phone_number == phone.number and not c.ended for c in self._calls.values()
            ):
                plan = Plan(Behaviour.BUSY)
            call = Call(self.account_sid, direction="outbound-api", plan=plan, **details)
            return self._begin(call, CallLife(self, call).outbound())

    def ring_us(self, number: str, to: str, digits: list[str] | None = None) -> Call:
        """A telephone rings our service."""
        with self.lock:
            if not self.voice_url:
                raise LookupError('voice_url must be set first: PUT /_network {"voice_url": "http://..."}')
            caller, callee = normal_number(number), normal_number(to)
            plan = self.phone(caller).plan
            if digits is not None:
                plan = Plan(Behaviour.ANSWER, tuple(digits), callbacks=plan.callbacks)
            call = Call(
                self.account_sid, callee, caller, "inbound", plan, url=self.voice_url, events=frozenset()
            )
            return self._begin(call, CallLife(self, call).inbound())

    def _begin(self, call: Call, steps: Steps) -> Call:
        call.lane = self._lane(call.plan.callbacks, call.callbacks)
        self._calls[call.sid] = call
        _forget_oldest(self._calls)
        call.life = Life(self._clockwork, steps)
        call.life.start()
        return call

    def end(self, call: Call, status: str) -> None:
        """End a call from outside its own course."""
        if call.life:
            call.life.interrupt(HungUp(status))

    def advance(self, call: Call, status: str, event: str) -> None:
        """A call moves on, and our service hears of it if it asked to."""
        with self.lock:
            call.status = status
            call.times[event] = now()
            form = {"CallStatus": "initiated"} if event == "initiated" else {}
            self._tell(call, event, form)

    def finish(self, call: Call, status: str) -> None:
        """A call is over."""
        with self.lock:
            if call.ended:
                return
            call.status = status
            call.listening = False
            ended = call.times["ended"] = now()
            answered = call.times.get("answered")
            lasted_s = (ended - answered).total_seconds() * self.time_scale if answered else 0.0
            call.duration_s = round(lasted_s)
            form = {"CallDuration": str(call.duration_s), "Duration": str(-(-call.duration_s // 60))}
            self._tell(call, "completed", form)
            if call.lane:
                call.lane.end()

    def _tell(self, call: Call, event: str, more: Mapping[str, str]) -> None:
        sequence, call.sequence = call.sequence, call.sequence + 1
        if not call.status_url or event not in call.events or call.lane is None:
            return
        form = {
            **call.webhook_form(),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(sequence),
            "Timestamp": format_datetime(now()),
            **more,
        }
        call.lane.add(Callback(event, call.status_url, call.status_method, form))

    def call(self, sid: str) -> Call | None:
        with self.lock:
            return self._calls.get(sid)

    def calls(self) -> list[Call]:
        """Every call that is remembered, oldest first."""
        with self.lock:
            return list(self._calls.values())

    # Texts

    def send(self, **details: Any) -> Message:
        """Our service sends a text."""
        with self.lock:
            message = Message(self.account_sid, plan=self.phone(details["to"]).plan, **details)
            message.lane = self._lane(message.plan.callbacks, message.callbacks)
            self._messages[message.sid] = message
            _forget_oldest(self._messages)
            self._clockwork.after(SENT_S / self.time_scale, partial(self._deliver, message, "sent"))
            return message

    def _deliver(self, message: Message, status: str) -> None:
        with self.lock:
            if status == "sent":
                unreachable = message.plan.behaviour is Behaviour.UNREACHABLE
                following = "undelivered" if unreachable else "delivered"
                later = partial(self._deliver, message, following)
                self._clockwork.after(DELIVERED_S / self.time_scale, later)
            # https://www.twilio.com/docs/api/errors/30003 : unreachable destination handset
            message.error_code = 30003 if status == "undelivered" else None
            message.status = status
            message.times[status] = now()
            if message.lane is None:
                return
            if message.status_url:
                message.lane.add(Callback(status, message.status_url, "POST", message.webhook_form()))
            if message.ended:
                message.lane.end()

    def message(self, sid: str) -> Message | None:
        with self.lock:
            return self._messages.get(sid)

    def messages(self) -> list[Message]:
        with self.lock:
            return list(self._messages.values())

    # All of it

    def post(self, method: str, url: str, form: Mapping[str, str]) -> list[Answer]:
        """Ask our service something, signed."""
        return self._poster.send(method, url, form, self.webhook_timeout_s)

    def idle(self) -> dict[str, int]:
        """How much is still under way; all zero means that nothing more will come by itself."""
        with self.lock:
            everything: list[Call | Message] = [*self._calls.values(), *self._messages.values()]
            return {
                "active_calls": sum(not call.ended for call in self._calls.values()),
                "active_messages": sum(not message.ended for message in self._messages.values()),
                "pending_callbacks": sum(one.lane.pending for one in everything if one.lane),
            }

    def forget_calls(self) -> None:
        """Clear the record; calls under way stay until they have ended."""
        with self.lock:
            for sid in [sid for sid, call in self._calls.items() if call.ended]:
                del self._calls[sid]

    def forget_messages(self) -> None:
        with self.lock:
            for sid in [sid for sid, message in self._messages.items() if message.ended]:
                del self._messages[sid]

    def _lane(self, mode: Callbacks, record: list[dict[str, Any]]) -> Lane:
        return Lane(
            self._clockwork,
            self._poster,
            mode,
            lambda: LATE_S / self.time_scale,
            lambda: self.webhook_timeout_s,
            record,
        )


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > REMEMBERED:
        oldest = next((sid for sid, one in kept.items() if one.ended), None)
        if oldest is None:
            return
        del kept[oldest]


def _setting(name: str, value: Any) -> Any:
    if name == "voice_url":
        if value is not None and urlsplit(str(value)).scheme not in {"http", "https"}:
            raise ValueError(f"voice_url must be an http(s) address, was {str(value)[:80]!r}")
        return value
    if name == "default_behaviour":
        return member(Behaviour, value, name)
    if name == "fail_mode":
        return member(FailMode, value, name)
    if name == "fail_next":
        return int(positive(value, name))
    number = positive(value, name)
    if number == 0 and name != "speech_s":
        raise ValueError(f"{name} must be positive, was 0")
    return number
