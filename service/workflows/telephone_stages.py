"""The questions of a call in their order, whose call it is, and which keys mean something at which question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

from sqlalchemy import Row

from dispatch.incident import Target
from service.workflows import cases

CONNECT = "connect"
"""Step of a call that a dispatcher asked for, to be connected with the person."""
FIRST_MENU, SAID_TWICE = 3, 2
"""Turns up to the first are the first menu and its repetitions; whoever presses nothing hears it twice."""


class Stage(IntEnum):
    """Which question of a call a key answers: it travels with the call as its turn."""

    ETA = 11
    ETA_AGAIN = 12
    ETA_LAST = 13
    OWNER = 21
    OWNER_AGAIN = 22
    OWNER_LAST = 23
    DESK = 31
    DESK_AGAIN = 32
    DESK_LAST = 33
    COMING = 41
    COMING_AGAIN = 42
    HEARD = 43
    HEARD_AGAIN = 44
    COMING_LAST = 45
    HEARD_LAST = 46
    CONNECT = 51
    CONNECT_AGAIN = 52
    CONNECT_LAST = 53


REPEATED = frozenset({Stage.OWNER, Stage.COMING})
"""Questions that whoever presses nothing hears again."""
_THREE = (
    (Stage.ETA, Stage.ETA_AGAIN, Stage.ETA_LAST),
    (Stage.OWNER, Stage.OWNER_AGAIN, Stage.OWNER_LAST),
    (Stage.DESK, Stage.DESK_AGAIN, Stage.DESK_LAST),
    (Stage.COMING, Stage.COMING_AGAIN, Stage.COMING_LAST),
    (Stage.HEARD, Stage.HEARD_AGAIN, Stage.HEARD_LAST),
    (Stage.CONNECT, Stage.CONNECT_AGAIN, Stage.CONNECT_LAST),
)
"""Like the first menu, every question is put three times to whoever presses keys that do nothing."""
AGAIN = {stage: following for three in _THREE for stage, following in pairwise(three)}
ASKED_BEFORE = {again: three[0] for three in _THREE for again in three[1:]}
_KEYS = {
    Stage.ETA: "0123456789",
    Stage.OWNER: "34569",
    Stage.DESK: "5",
    Stage.COMING: "012",
    Stage.HEARD: "02",
    Stage.CONNECT: "5",
}
"""What each question knows; the person's secret key beside it."""


@dataclass
class Call:
    """One telephone call about one case, while its callback is being handled."""

    row: Row[Any]
    case: cases.Case
    language: str

    @property
    def owns(self) -> bool:
        incident = self.case.incident
        return incident.open and incident.acknowledged and incident.owner_id == self.row.target_id


def callee(row: Row[Any]) -> str:
    """Whom a call was for, as the log names them."""
    return {Target.PATIENT: "patient", Target.DESK: "desk"}.get(Target(row.target), f"person:{row.target_id}")


def wrong_at_first(call: Call, digit: str) -> str:
    """The key, where the first menu does not know it; what the person presses always means something."""
    if not digit or call.row.target == Target.PATIENT:
        return ""
    if call.row.target == Target.DESK:
        return "" if digit == "3" else digit
    return "" if digit in "349" or (call.owns and digit in "56") else digit


def wrong_before(row: Row[Any]) -> str:
    """The key that did nothing, after which nothing more was pressed in this call."""
    told, _, key = (row.outcome or "").partition("_")
    return key if told == "wrong" else ""


def knows(call: Call, asked: Stage, digit: str) -> bool:
    """Whether this question has that key."""
    duress = call.case.incident.policy.duress_digit or ""
    secret = duress if asked in {Stage.COMING, Stage.HEARD} else ""
    return digit in _KEYS.get(asked, "") + secret
