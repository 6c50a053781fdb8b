"""The network itself: its telephones, calls and texts, and the settings of its weather."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from service.loopback.calls import Call, Kept, Message, now
from service.loopback.clockwork import Clockwork, Life, Steps
from service.loopback.lanes import LATE_S, Callback, Lane
from service.loopback.life import CallLife, HungUp
from service.loopback.phones import Behaviour, Callbacks, Phone, Plan, member, normal_number, positive
from service.loopback.texts import Texts
from service.loopback.voice_messages import VoiceMessage
from service.loopback.weather import FailMode, Provider, Weather
from service.loopback.weather import read as read_weather
from service.loopback.webhooks import Answer, Poster, ReportPoster

__all__ = ["FailMode", "LoopbackNetwork", "Provider"]

ADDRESSES = ("voice_url", "text_url", "solapi_report_url")
FLAGS = ("solapi_report_replies",)


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
        solapi_key: str = "",
        solapi_secret: str = "",
        solapi_webhook_secret: str = "",
    ) -> None:
        if not account_sid or not auth_token:
            raise ValueError("account_sid and auth_token must not be empty: our service signs in with them")
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.lock = threading.RLock()
        self.solapi_key, self.solapi_secret = solapi_key, solapi_secret
        self.voice_url: str | None = None
        self.text_url: str | None = None
        self.solapi_report_url: str | None = None
        self.solapi_report_replies = False
        self.time_scale = 1.0
        self.speech_s = 0.5
        self.webhook_timeout_s = 15.0
        self.default_behaviour = Behaviour.NO_ANSWER
        self.weather = Weather()
        self.closing = threading.Event()
        self._phones: dict[str, Phone] = {}
        self._calls: Kept[Call] = Kept()
        self._clockwork = Clockwork(workers)
        # Of its own: what a call does next never waits behind reports of how other calls go.
        self._reporting = Clockwork(workers // 2)
        self._poster = Poster(auth_token)
        self._reports = ReportPoster(solapi_webhook_secret)
        self.texts = Texts(self, self._clockwork)
        self.configure(
            {"voice_url": voice_url, "time_scale": time_scale, "default_behaviour": default_behaviour}
        )

    def close(self) -> None:
        """Stop everything; calls under way simply stop."""
        self.closing.set()
        self._clockwork.close()
        self._reporting.close()

    # Settings

    def settings(self) -> dict[str, Any]:
        with self.lock:
            return {
                "voice_url": self.voice_url,
                "text_url": self.text_url,
                "solapi_report_url": self.solapi_report_url,
                "solapi_report_replies": self.solapi_report_replies,
                "time_scale": self.time_scale,
                "speech_s": self.speech_s,
                "webhook_timeout_s": self.webhook_timeout_s,
                "default_behaviour": self.default_behaviour,
                **self.weather.settings(),
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
                if name not in Weather.NAMES:
                    setattr(self, name, value)
            self.weather.configure({name: value for name, value in new.items() if name in Weather.NAMES})

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
            for call in self._calls.all():
                known.setdefault(call.phone_number, self.phone(call.phone_number))
            under_way = {
                call.phone_number: call.sid for call in reversed(self._calls.under_way()) if call.reaches
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
            for call in self._calls.under_way():
                if call.phone_number == number and call.reaches:
                    return call
        raise LookupError(f"{number} must be ringing or in a call for that, and is not")

    # Calls

    def place(self, **details: Any) -> Call:
        """Our service rings a telephone."""
        with self.lock:
            call = Call(self.account_sid, direction="outbound-api", plan=self._plan(details["to"]), **details)
            return self._begin(call, CallLife(self, call).outbound())

    def speak(self, voice: VoiceMessage, **details: Any) -> Call:
        """SOLAPI rings a telephone with words that it was given beforehand."""
        with self.lock:
            call = Call(self.account_sid, direction="outbound-api", plan=self._plan(details["to"]), **details)
            call.provider, call.voice_message = Provider.SOLAPI, voice
            return self._begin(call, CallLife(self, call).voice_message(voice))

    def bridge(self, parent: Call, to: str, from_: str, ring_timeout_s: int) -> Call:
        """A call under way is connected with another telephone: its second leg."""
        with self.lock:
            call = Call(self.account_sid, to, from_, "outbound-dial", self._plan(to), ring_timeout_s=ring_timeout_s)
            call.parent, call.events = parent, frozenset()
            return self._begin(call, CallLife(self, call).leg())

    def _plan(self, number: str) -> Plan:
        phone = self.phone(number)
        plan = phone.next_plan()
        busy = any(call.phone_number == phone.number for call in self._calls.under_way())
        return Plan(Behaviour.BUSY) if busy and plan.behaviour is Behaviour.MANUAL else plan

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
        call.lane = self.lane(call.provider, call.plan.callbacks, call.callbacks)
        self._calls.add(call)
        call.life = Life(self._clockwork, steps)
        call.life.start()
        return call

    def end(self, call: Call, status: str) -> None:
        """End a call from outside its own course."""
        if call.life:
            call.life.interrupt(HungUp(status))

    def take_back(self, call: Call) -> bool:
        """Cancel a call that nobody has answered yet; whether it was one."""
        with self.lock:
            if call.ended or "answered" in call.times:
                return False
            call.taken_back = True
        if call.life:
            call.life.wake()
        return True

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
            if call.voice_message is not None:
                self.report(call, call.voice_message.report(call))
            if call.lane:
                call.lane.end()
            if call.parent is not None and call.parent.life:
                call.parent.life.wake()

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
            return self._calls.all()

    def calls_to(self, number: str) -> list[Call]:
        """Every call to one telephone that is remembered, oldest first."""
        with self.lock:
            return self._calls.to(number)

    # Texts

    def send(self, provider: Provider = Provider.TWILIO, **details: Any) -> Message:
        """Our service sends a text."""
        return self.texts.send(provider, **details)

    def messages(self) -> list[Message]:
        """Every text that is remembered, oldest first."""
        return self.texts.all()

    def report(self, one: Call | Message, report: dict[str, Any]) -> None:
        """SOLAPI tells what became of something, where it was given an address to tell it to."""
        if self.solapi_report_url and one.lane is not None:
            if not self.solapi_report_replies:
                report = {name: value for name, value in report.items() if name != "voiceReplied"}
            one.lane.add(Callback("report", self.solapi_report_url, "POST", ReportPoster.form(report)))

    # All of it

    def post(self, method: str, url: str, form: Mapping[str, str]) -> list[Answer]:
        """Ask our service something, signed."""
        return self._poster.send(method, url, form, self.webhook_timeout_s)

    def idle(self) -> dict[str, int]:
        """How much is still under way; all zero means that nothing more will come by itself."""
        with self.lock:
            messages = self.texts.all()
            everything: list[Call | Message] = [*self._calls.all(), *messages]
            return {
                "active_calls": len(self._calls.under_way()),
                "active_messages": sum(not message.ended for message in messages),
                "pending_callbacks": sum(one.lane.pending for one in everything if one.lane),
            }

    def forget_calls(self) -> None:
        """Clear the record; calls under way stay until they have ended."""
        with self.lock:
            self._calls.forget_ended()

    def lane(self, provider: Provider, mode: Callbacks, record: list[dict[str, Any]]) -> Lane:
        """A way for one call's or text's callbacks, as its provider posts them."""
        return Lane(
            self._reporting,
            self._reports if provider is Provider.SOLAPI else self._poster,
            mode,
            lambda: LATE_S / self.time_scale,
            lambda: self.webhook_timeout_s,
            record,
        )


def _setting(name: str, value: Any) -> Any:
    if name in ADDRESSES:
        if value is not None and urlsplit(str(value)).scheme not in {"http", "https"}:
            raise ValueError(f"{name} must be an http(s) address, was {str(value)[:80]!r}")
        return value
    if name in FLAGS:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, was {str(value)[:40]!r}")
        return value
    if name == "default_behaviour":
        return member(Behaviour, value, name)
    if name in Weather.NAMES:
        return read_weather(name, value)
    number = positive(value, name)
    if number == 0 and name != "speech_s":
        raise ValueError(f"{name} must be positive, was 0")
    return number
