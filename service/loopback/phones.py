"""Telephones and what the people (and machines) at the other end do."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

NUMBER = re.compile(r"\+[1-9]\d{6,14}")
KEYS = re.compile(r"[0-9*#]*")


class Behaviour(StrEnum):
    ANSWER = "answer"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    VOICEMAIL = "voicemail"
    UNREACHABLE = "unreachable"
    REJECT = "reject"
    """It rings, and the person turns the call away."""
    MANUAL = "manual"
    """It rings until somebody presses a key on the page or by ``POST /_phones/{number}/press``."""


class Callbacks(StrEnum):
    NORMAL = "normal"
    LATE = "late"
    TWICE = "twice"
    REORDERED = "reordered"
    LOST = "lost"


# How long it rings before something happens, unless the phone says otherwise (policy, for a lively demo).
USUAL_DELAY_S = {
    Behaviour.ANSWER: 2.0,
    Behaviour.VOICEMAIL: 5.0,
    Behaviour.REJECT: 3.0,
    Behaviour.UNREACHABLE: 1.0,
    Behaviour.BUSY: 1.0,
}


@dataclass(frozen=True)
class Plan:
    """What one call to a phone will meet."""

    behaviour: Behaviour = Behaviour.NO_ANSWER
    digits: tuple[str, ...] = ()
    """The keys pressed at each menu of the call, in turn; an empty string lets that menu run out."""
    delay_s: float | None = None
    callbacks: Callbacks = Callbacks.NORMAL
    reply: str = ""
    """What every text is answered with; ``{code}`` stands for the last number of 4 to 8 digits in it."""

    @property
    def wait_s(self) -> float:
        return USUAL_DELAY_S.get(self.behaviour, 0.0) if self.delay_s is None else self.delay_s

    def as_json(self) -> dict[str, Any]:
        return {
            "behaviour": self.behaviour,
            "digits": list(self.digits),
            "delay_s": self.delay_s,
            "callbacks": self.callbacks,
            "reply": self.reply,
        }


@dataclass
class Phone:
    number: str
    plan: Plan
    label: str = ""
    ahead: deque[Plan] = field(default_factory=deque)
    """Plans for the next calls; the last one stays."""

    def next_plan(self) -> Plan:
        """The plan of a call that begins now."""
        if self.ahead:
            self.plan = self.ahead.popleft()
        return self.plan

    def configure(self, wish: Mapping[str, Any]) -> None:
        """Take what ``PUT /_phones/{number}`` says; a new behaviour starts from its own usual values."""
        _only(wish, {"label", "calls", *(f.name for f in fields(Plan))}, "a phone")
        label = wish.get("label", self.label)
        if not isinstance(label, str) or len(label) > 80:
            raise ValueError("label must be a text of at most 80 characters")
        plans = [read_plan(w, Plan(Behaviour.ANSWER)) for w in _list(wish, "calls")]
        own = {key: value for key, value in wish.items() if key not in {"label", "calls"}}
        plan = self.plan
        if own:
            plan = read_plan(own, Plan() if "behaviour" in own else self.plan)
        self.label, self.plan = label, plan
        if own or "calls" in wish:
            self.ahead = deque(plans)

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "label": self.label,
            **self.plan.as_json(),
            "calls": [plan.as_json() for plan in self.ahead],
        }


def read_plan(wish: Any, base: Plan) -> Plan:
    """``base`` with what ``wish`` changes."""
    if not isinstance(wish, Mapping):
        raise ValueError('a planned call must be an object such as {"behaviour": "answer"}')
    _only(wish, {f.name for f in fields(Plan)}, "a planned call")
    changes: dict[str, Any] = {}
    if "behaviour" in wish:
        changes["behaviour"] = member(Behaviour, wish["behaviour"], "behaviour")
    if "callbacks" in wish:
        changes["callbacks"] = member(Callbacks, wish["callbacks"], "callbacks")
    if "digits" in wish:
        changes["digits"] = tuple(_keys(item) for item in _list(wish, "digits"))
    if "delay_s" in wish:
        changes["delay_s"] = None if wish["delay_s"] is None else positive(wish["delay_s"], "delay_s")
    if "reply" in wish:
        if not isinstance(wish["reply"], str) or len(wish["reply"]) > 160:
            raise ValueError("reply must be a text of at most 160 characters")
        changes["reply"] = wish["reply"]
    return replace(base, **changes)


def normal_number(text: str) -> str:
    """E.164, or a ``ValueError`` that says so."""
    number = text.strip() if text.strip().startswith("+") else f"+{text.strip()}"
    if not NUMBER.fullmatch(number):
        raise ValueError(f"number must be E.164 such as +821012345678, was {text[:20]!r}")
    return number


def member(kind: type[StrEnum], value: Any, name: str) -> Any:
    """One of a closed set, or a ``ValueError`` that lists it."""
    if value not in list(kind):
        raise ValueError(f"{name} must be one of {', '.join(kind)}, was {str(value)[:40]!r}")
    return kind(value)


def positive(value: Any, name: str) -> float:
    """A number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError(f"{name} must be a number of at least 0, was {str(value)[:40]!r}")
    return float(value)


def _only(wish: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(wish) - known)
    if unknown:
        raise ValueError(f"{what} knows {', '.join(sorted(known))}; was given {', '.join(unknown)[:80]}")


def _list(wish: Mapping[str, Any], name: str) -> list[Any]:
    value = wish.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, was {str(value)[:40]!r}")
    return value


def _keys(item: Any) -> str:
    if not isinstance(item, str) or not KEYS.fullmatch(item):
        raise ValueError(f"digits must be texts of 0-9, * and #, one for each menu, was {str(item)[:20]!r}")
    return item
