"""What stands beside an incident's state: who goes, who is there, whom they relieved, a unit, a record handed over."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class Going(msgspec.Struct, kw_only=True):
    """Somebody is on their way: who, and when they said they will be there."""

    person_id: UUID
    said_at: datetime
    eta_at: datetime
    arrived_at: datetime | None = None


class Coming(msgspec.Struct, kw_only=True):
    """What the person hears of who comes: when they are rung next, and what they were rung for."""

    due_at: datetime | None = None
    attempt: int = 0
    """Counts on for ever: it is the ``attempt`` of these calls."""
    tries: int = 0
    """How often they were rung for the present word."""
    heard: bool = False


class HandoverAnswer(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNANSWERED = "unanswered"


UNSURE = (None, HandoverAnswer.UNANSWERED)
"""An offer that may still be answered, be it late."""


class Handover(msgspec.Struct, kw_only=True):
    """A record offered to an emergency service's desk by a named human, and what came of it."""

    to: str
    """Which desk, in the words of who offered it."""
    by: UUID
    offered_at: datetime
    due_at: datetime | None = None
    """When no answer counts as none, and the record is read out by telephone."""
    answer: HandoverAnswer | None = None
    reason: str = ""
    reference: str = ""


class UnitStage(StrEnum):
    """How far a unit of 119 is, while somebody else is with the person already."""

    CALLED = "called"
    EN_ROUTE = "en_route"
    ON_SCENE = "on_scene"
    WITH_PATIENT = "with_patient"


class Unit(msgspec.Struct, kw_only=True):
    """A unit of 119 that is followed beside the state, for the state says already that somebody is there."""

    stage: UnitStage
    due_at: datetime | None = None
    """When the desk is asked again how far it is; None once it is with the person."""


class Relieved(msgspec.Struct, kw_only=True):
    """Who held it when somebody else got there first and took it over; no person is the desk."""

    person_id: UUID | None
    role: str
