"""Calls and texts as the carrier remembers them."""

from __future__ import annotations

import secrets
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from service.loopback.phones import Behaviour, Plan
from service.loopback.voice_messages import common
from service.loopback.weather import Provider

if TYPE_CHECKING:
    from service.loopback.clockwork import Life
    from service.loopback.lanes import Lane
    from service.loopback.voice_messages import VoiceMessage

ENDED = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
CARRIER_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
REMEMBERED = 10_000
"""Calls, and texts, that are kept; older ones that have ended are forgotten."""


def new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


def now() -> datetime:
    """The loopback network is a machine of its own: its clock is the wall clock."""
    return datetime.now(UTC)


@dataclass
class Call:
    account_sid: str
    to: str
    from_: str
    direction: str
    plan: Plan
    url: str | None = None
    method: str = "POST"
    twiml: str | None = None
    status_url: str | None = None
    status_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})
    ring_timeout_s: int = 60
    machine_detection: str | None = None
    sid: str = field(default_factory=lambda: new_sid("CA"))
    status: str = "queued"
    times: dict[str, datetime] = field(default_factory=lambda: {"created": now()})
    answered_by: str | None = None
    duration_s: int | None = None
    said: list[dict[str, Any]] = field(default_factory=list)
    pressed: list[str] = field(default_factory=list)
    pressed_at: list[str] = field(default_factory=list)
    menus: int = 0
    listening: bool = False
    """A menu is open at this moment."""
    dialled: list[str] = field(default_factory=list)
    provider: Provider = Provider.TWILIO
    voice_message: VoiceMessage | None = None
    parent: Call | None = None
    """The call that this one is the other leg of."""
    bridged_to: str | None = None
    """The call that is this one's other leg."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    sequence: int = 0
    picked_up: bool = False
    taken_back: bool = False
    """Our service wants it cancelled: it ends unless somebody has answered."""
    keys: deque[str] = field(default_factory=deque)
    """Keys that a person pressed and no menu has taken yet."""
    life: Life | None = None
    lane: Lane | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def reaches(self) -> bool:
        """It is under way, and not turned back by the network before the telephone."""
        return not self.ended and self.plan.behaviour not in {Behaviour.BUSY, Behaviour.UNREACHABLE}

    @property
    def caller_is_phone(self) -> bool:
        return self.direction == "inbound"

    @property
    def phone_number(self) -> str:
        """The telephone at the far end."""
        return self.from_ if self.caller_is_phone else self.to

    def as_json(self) -> dict[str, Any]:
        """What ``GET /_calls`` tells."""
        return {
            "sid": self.sid,
            "provider": self.provider,
            "parent_sid": self.parent.sid if self.parent else None,
            "bridged_to": self.bridged_to,
            "custom_fields": dict(self.voice_message.custom_fields) if self.voice_message else {},
            "to": self.to,
            "from": self.from_,
            "direction": self.direction,
            "status": self.status,
            "answered_by": self.answered_by,
            "times": {name: stamp(at) for name, at in list(self.times.items())},
            "duration_s": self.duration_s,
            "ring_timeout_s": self.ring_timeout_s,
            "machine_detection": self.machine_detection,
            "plan": self.plan.as_json(),
            "said": list(self.said),
            "pressed": list(self.pressed),
            "pressed_at": list(self.pressed_at),
            "menus": self.menus,
            "listening": self.listening,
            "dialled": list(self.dialled),
            "requests": list(self.requests),
            "callbacks": list(self.callbacks),
            "errors": list(self.errors),
        }

    def webhook_form(self) -> dict[str, str]:
        """What every webhook about this call says."""
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Called": self.to,
            "Caller": self.from_,
            "Direction": self.direction,
            "From": self.from_,
            "To": self.to,
        }
        if self.answered_by is not None:
            form["AnsweredBy"] = self.answered_by
        return form


@dataclass
class Message:
    account_sid: str
    to: str
    from_: str
    body: str
    valid_s: int
    status_url: str | None
    plan: Plan
    messaging_service_sid: str | None = None
    provider: Provider = Provider.TWILIO
    direction: str = "outbound-api"
    custom_fields: dict[str, str] = field(default_factory=dict)
    """What SOLAPI was asked to give back with every report."""
    group_id: str = ""
    sid: str = field(default_factory=lambda: new_sid("SM"))
    status: str = "queued"
    times: dict[str, datetime] = field(default_factory=lambda: {"created": now()})
    error_code: int | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    lane: Lane | None = None

    @property
    def ended(self) -> bool:
        return self.status in {"delivered", "undelivered", "failed", "received"}

    def as_json(self) -> dict[str, Any]:
        """What ``GET /_messages`` tells."""
        return {
            "sid": self.sid,
            "provider": self.provider,
            "direction": self.direction,
            "custom_fields": dict(self.custom_fields),
            "to": self.to,
            "from": self.from_,
            "body": self.body,
            "status": self.status,
            "error_code": self.error_code,
            "validity_period_s": self.valid_s,
            "times": {name: stamp(at) for name, at in list(self.times.items())},
            "callbacks": list(self.callbacks),
        }

    def webhook_form(self) -> dict[str, str]:
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "From": self.from_,
            "MessageSid": self.sid,
            "MessageStatus": self.status,
            "SmsSid": self.sid,
            "SmsStatus": self.status,
            "To": self.to,
        }
        if self.error_code is not None:
            form["ErrorCode"] = str(self.error_code)
        return form


    def incoming_form(self) -> dict[str, str]:
        """What Twilio posts when a text has come in."""
        return {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "Body": self.body,
            "From": self.from_,
            "MessageSid": self.sid,
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsMessageSid": self.sid,
            "SmsSid": self.sid,
            "SmsStatus": "received",
            "To": self.to,
        }

    def solapi_report(self) -> dict[str, Any]:
        """What SOLAPI reports of a text that has arrived or failed."""
        kind = "SMS" if len(self.body.encode("cp949", errors="replace")) <= 90 else "LMS"
        return {
            **common(self.sid, self.group_id, kind, self.to, self.from_, self.custom_fields),
            "statusCode": "4000" if self.status == "delivered" else "3024" if self.ended else "3000",
            "dateProcessed": self.times["created"].isoformat(),
            "dateReported": self.times.get(self.status, self.times["created"]).isoformat(),
        }


Kind = TypeVar("Kind", Call, Message)


class Kept(Generic[Kind]):
    """Calls, or texts, oldest first, found by sid and by telephone. Whoever uses it holds the network's lock."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Kind] = OrderedDict()
        self._under_way: dict[str, Kind] = {}
        self._to: defaultdict[str, dict[str, Kind]] = defaultdict(dict)

    def add(self, one: Kind) -> None:
        """Keep it, and drop the oldest that has ended while there are too many."""
        self._all[one.sid] = self._to[one.to][one.sid] = one
        self._under_way = {sid: other for sid, other in self._under_way.items() if not other.ended} | {one.sid: one}
        while len(self._all) > REMEMBERED:
            oldest = next((other for other in self._all.values() if other.ended), None)
            if oldest is None:
                return
            self._drop(oldest)

    def get(self, sid: str) -> Kind | None:
        return self._all.get(sid)

    def all(self) -> list[Kind]:
        return list(self._all.values())

    def to(self, number: str) -> list[Kind]:
        return list(self._to.get(number, {}).values())

    def under_way(self) -> list[Kind]:
        return [one for one in self._under_way.values() if not one.ended]

    def forget_ended(self) -> None:
        for one in [one for one in self._all.values() if one.ended]:
            self._drop(one)

    def _drop(self, one: Kind) -> None:
        del self._all[one.sid], self._to[one.to][one.sid]


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
