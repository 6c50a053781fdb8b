"""When the contacts of a drill or a check of a number are asked, and in words what keeps them from being asked now."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

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
    """When the first of them is asked: by a text where one can be read, else by a call."""
    later: str = ""
    """Why not now: night, quiet (their own hours), incident (a real one goes first); empty when it begins now."""
    text: str = ""
    """The same in words; empty when it begins now."""


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
    at, later = rules.asked_from(drill, now, hold_until(tx, drill.patient_id, now))
    return Begins(begins_at=at, later=later or "", text=_text(house, at, later, now, language))


def of_drill(house: House, drill_id: UUID, language: str) -> Begins:
    """The same of one that was just begun. Raises SealingError when it cannot be opened."""
    with house.database.read() as tx:
        row = store.drill(tx, drill_id)
        if row is None:
            raise LookupError(f"no drill {drill_id}")
        return begins(house, tx, drill_book.opened(house, row), language)


def held_back(house: House, drill: Drill, language: str) -> Begins | None:
    """What keeps one that runs from asking anybody just now; None when nothing does."""
    now = house.clock()
    at, later = rules.asked_from(drill, now)
    if later is None or drill.state is not DrillState.RUNNING:
        return None
    return Begins(begins_at=at, later=later, text=_text(house, at, later, now, language))


def _text(house: House, at: datetime, later: Later | None, now: datetime, language: str) -> str:
    if later is None:
        return ""
    policy = drill_book.policy(house, now)
    local = timedelta(seconds=policy.utc_offset_s)
    days = ((at + local).date() - (now + local).date()).days
    return messages_drill.later_text(later, days, f"{at + local:%H:%M}", policy.from_min, policy.to_min, language)
