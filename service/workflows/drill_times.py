"""When the contacts of a drill or a check of a number are asked, and in words what keeps them from being asked now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import drill as rules
from dispatch import messages_drill
from dispatch.drill import Drill, DrillState, Later
from service.store import drills as store
from service.store import incidents as case_store
from service.store.database import Tx
from service.workflows import drill_book
from service.workflows.house import House

AFTER_INCIDENT = timedelta(hours=1)
"""Policy: how long people are left alone after a real incident."""
LOOK_AGAIN = timedelta(seconds=60)


class Begins(msgspec.Struct, kw_only=True):
    """When somebody is asked, where that is not at once."""

    begins_at: datetime
    """When the next of them who has not answered is asked: first by a text where one can be read, else by a call."""
    later: str = ""
    """Why not before: night, quiet (their own hours), incident (a real one goes first); empty when nothing keeps it."""
    text: str = ""
    """The same in words; empty when nothing keeps it."""
    begun: bool = False
    """Somebody may have been asked already: it goes on then."""


def hold_until(tx: Tx, patient_id: UUID, now: datetime) -> datetime | None:
    """Until when a real incident of this person keeps a drill waiting."""
    if case_store.open_incident_of(tx, patient_id) is not None:
        return now + LOOK_AGAIN
    closed_at = store.last_closed(tx, patient_id)
    if closed_at is None or not now - AFTER_INCIDENT < closed_at <= now:
        return None
    return closed_at + AFTER_INCIDENT


def begins(house: House, tx: Tx, drill: Drill, language: str) -> Begins:
    """When the next of its contacts is asked."""
    now = house.clock()
    held = hold_until(tx, drill.patient_id, now)
    if case_store.open_incident_of(tx, drill.patient_id) is not None:
        held = now + AFTER_INCIDENT  # at the earliest
    at, later = rules.asked_from(drill, now, held)
    begun = any(rung.sent for rung in drill.rungs)
    return Begins(begins_at=at, later=later or "", text=_text(house, at, later, now, language, begun), begun=begun)


def of_drill(house: House, drill_id: UUID, language: str) -> Begins:
    """The same of one that was just begun. Raises SealingError when it cannot be opened."""
    with house.database.read() as tx:
        row = store.drill(tx, drill_id)
        if row is None:
            raise LookupError(f"no drill {drill_id}")
        return begins(house, tx, drill_book.opened(house, row), language)


def held_back(house: House, tx: Tx, drill: Drill, language: str) -> Begins | None:
    """What keeps one that goes on from asking anybody just now; None when nothing does."""
    found = begins(house, tx, drill, language)
    return found if found.later else None


def by_night(house: House, row: Row[Any], language: str) -> Begins | None:
    """That one that runs asks nobody at night, told without opening it, as for a long list; None by day."""
    now, at = house.clock(), row.next_step_at
    by_day = rules.opening(drill_book.policy(house, now), (), now)
    if row.state != DrillState.RUNNING or at is None or by_day is None or not now < by_day <= at:
        return None
    text = _text(house, at, Later.NIGHT, now, language, begun=True)
    return Begins(begins_at=at, later=Later.NIGHT, text=text, begun=True)


def _text(house: House, at: datetime, later: Later | None, now: datetime, language: str, begun: bool) -> str:
    if later is None:
        return ""
    policy = drill_book.policy(house, now)
    local = timedelta(seconds=policy.utc_offset_s)
    days = ((at + local).date() - (now + local).date()).days
    hours = (policy.from_min, policy.to_min)
    return messages_drill.later_text(later, days, f"{at + local:%H:%M}", hours, language, begun=begun)
