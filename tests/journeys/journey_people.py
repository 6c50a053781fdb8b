"""The standing cast: who lives where, whose telephone is whose, and what each can do over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import requests

from devices.simulator import rfc3339
from service.loopback.calls import Call, Message
from service.tools.wearable import Wearable

if TYPE_CHECKING:
    from journey_stage import Stage

WELL: dict[str, Any] = {
    "heart_rate_bpm": 72,
    "pulse_rate_bpm": 72,
    "spo2_pct": 97,
    "respiratory_rate_bpm": 15,
    "steps": 0,
    "worn": True,
}


class Phone:
    """One telephone of the loopback network. A story announces what it does before it may ring."""

    def __init__(self, stage: Stage, number: str, label: str) -> None:
        self._stage, self.number, self.label = stage, number, label
        self.may_ring = self.may_text = False
        self.quiet_calls = self.quiet_texts = 0
        """How many calls and texts there were when the telephone was last told to keep quiet."""

    def _plan(self, behaviour: str, callbacks: str, **more: Any) -> Phone:
        wish = {"behaviour": behaviour, "callbacks": callbacks, **more}
        self._stage.network.configure_phone(self.number, wish)
        self.may_ring = self.may_text = True
        return self

    def answers(self, *digits: str, after: float = 3.0, callbacks: str = "normal") -> Phone:
        """Picks up and presses a key at each menu; ``""`` lets that menu run out."""
        return self._plan("answer", callbacks, digits=list(digits), delay_s=after)

    def rings_out(self, callbacks: str = "normal") -> Phone:
        return self._plan("no_answer", callbacks)

    def is_busy(self, callbacks: str = "normal") -> Phone:
        return self._plan("busy", callbacks)

    def goes_to_voicemail(self, callbacks: str = "normal") -> Phone:
        return self._plan("voicemail", callbacks)

    def is_switched_off(self, callbacks: str = "normal") -> Phone:
        return self._plan("unreachable", callbacks)

    def waits_for_the_story(self) -> Phone:
        """Rings until the story presses a key, picks up or hangs up."""
        return self._plan("manual", "normal")

    def behaves(self, *plans: dict[str, Any]) -> Phone:
        """Each call meets the next plan; the last one stays."""
        return self._plan(plans[0]["behaviour"], "normal", calls=list(plans))

    def keeps_quiet(self, *, texts: bool = False) -> Phone:
        """From now on a call is a failure, and a text too unless ``texts``."""
        self.may_ring, self.may_text = False, texts
        self.quiet_calls, self.quiet_texts = len(self.calls), len(self.texts)
        return self

    def presses(self, digit: str) -> None:
        """A key, in the call that rings or goes on now."""
        self._stage.network.press(self.number, digit)
        self._stage.settle()

    def rings_us(self, *digits: str) -> Call:
        """Somebody calls our number back; returns once that call is over."""
        call = self._stage.network.ring_us(self.number, self._stage.our_number, list(digits))
        self._stage.finish_calls()
        return call

    @property
    def calls(self) -> list[Call]:
        """Calls that we placed to it, but for those that say who comes or ask beside an SOS."""
        words = self._stage.words_of_who_comes() | self._stage.asked_beside()
        return [c for c in self._stage.network.calls() if c.to == self.number and c.sid not in words]

    @property
    def asked_beside(self) -> list[Call]:
        """Calls in which who pressed SOS is asked whether it was a mistake."""
        asked = self._stage.asked_beside()
        return [c for c in self._stage.network.calls() if c.to == self.number and c.sid in asked]

    @property
    def told_who_comes(self) -> list[Call]:
        """Calls in which the person could hear who comes and when."""
        words = self._stage.words_of_who_comes()
        return [c for c in self._stage.network.calls() if c.to == self.number and c.sid in words]

    @property
    def texts(self) -> list[Message]:
        return [m for m in self._stage.network.messages() if m.to == self.number]

    @property
    def rang(self) -> int:
        return len(self.calls)

    @property
    def heard(self) -> str:
        """All that was said in its last call."""
        return spoken(self.calls[-1])


def spoken(call: Call) -> str:
    return " ".join(line["text"] for line in call.said)


@dataclass
class Person:
    id: UUID
    name: str
    phone: Phone


@dataclass
class Band:
    """An enrolled wearable that posts over HTTP, with sequence numbers and a clock of its own."""

    stage: Stage
    wearable: Wearable
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    next_seq: int = 1
    clock_off: timedelta = timedelta(0)

    @property
    def id(self) -> UUID:
        return UUID(self.wearable.keyid)

    def told(self, ago_s: float = 0.0) -> str:
        """What the band's own clock showed so many seconds ago."""
        return rfc3339(self.stage.clock() + self.clock_off - timedelta(seconds=ago_s))

    def upload(self, **parts: Any) -> dict[str, Any]:
        return {"upload_id": str(uuid4()), "boot_id": self.boot_id, "sent_at": self.told(), **parts}

    def take(self, n: int = 1) -> int:
        first, self.next_seq = self.next_seq, self.next_seq + n
        return first

    def event(self, kind: str, ago_s: float = 0.0) -> dict[str, Any]:
        return {"seq": self.take(), "at": self.told(ago_s), "event": kind}

    def series(self, seconds: int = 300, *, ago_s: float = 0.0, **vitals: Any) -> dict[str, Any]:
        """One value a second, the last one ``ago_s`` ago; what is not named is that of somebody well."""
        columns = {name: [value] * seconds for name, value in (WELL | vitals).items() if value is not None}
        start = self.told(ago_s + seconds - 1)
        return {"first_seq": self.take(seconds), "start": start, "step_s": 1.0, **columns}

    def post(self, **parts: Any) -> dict[str, Any]:
        """Post one upload, expecting 200; what falls due at once is done when this returns."""
        response = self.wearable.post(self.upload(**parts))
        assert response.status_code == 200, response.text
        self.stage.settle()
        return dict(response.json())

    def measures(self, seconds: int = 300, *, ago_s: float = 0.0, **vitals: Any) -> dict[str, Any]:
        return self.post(series=[self.series(seconds, ago_s=ago_s, **vitals)])

    def presses(self, kind: str, ago_s: float = 0.0) -> dict[str, Any]:
        return self.post(readings=[self.event(kind, ago_s)])

    def sos(self, ago_s: float = 0.0) -> dict[str, Any]:
        return self.presses("sos", ago_s)


@dataclass
class Home:
    """A monitored person with their contacts, in the order in which they are rung, and their band."""

    id: UUID
    name: str
    address: str
    phone: Phone
    contacts: Sequence[Person]
    band: Band | None


@dataclass
class Console:
    """A person with a session, or a machine with a key, over HTTP."""

    person_id: UUID
    url: str
    session: requests.Session

    def get(self, path: str, **query: str) -> requests.Response:
        return self.session.get(self.url + path, params=query, timeout=20)

    def act(self, incident_id: object, action: str, **fields: str) -> requests.Response:
        return self.session.post(f"{self.url}/v1/incidents/{incident_id}/{action}", json=fields, timeout=20)
