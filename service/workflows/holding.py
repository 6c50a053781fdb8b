"""What a snooze holds back when a condition is found, and what comes along when something graver breaks through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import snoozing
from dispatch.alarm import AlarmCondition
from dispatch.snoozing import Quiet
from service.sealing import SealingError
from service.store import incidents as case_store
from service.store import snoozes as store
from service.store.database import Tx
from service.workflows.house import House, log, warn


def quiets(tx: Tx, patient_id: UUID) -> list[Quiet]:
    rows = store.running(tx, patient_id)
    return [Quiet(code=row.code, from_at=row.from_at, until_at=row.until_at) for row in rows]


def held_back(
    tx: Tx, patient_id: UUID, standing: Sequence[Row[Any]], conditions: list[AlarmCondition], now: datetime
) -> dict[str, datetime]:
    """Which of these codes open nothing for now, and until when: only what may be snoozed, and is.

    One that stands since a case of it was closed waits for the same end.
    """
    if not any(snoozing.snoozable(one) for one in conditions):
        return {}
    running = quiets(tx, patient_id)
    if not running:
        return {}
    held = {}
    for one in conditions:
        end = snoozing.held_until(one, running, now)
        # A code found twice at once is held only if all of it may be.
        if end is not None and all(snoozing.snoozable(other) for other in conditions if other.code == one.code):
            held[one.code] = end
            log("condition_held", patient=patient_id, code=one.code)
    for row in standing:
        if row.code in held and row.held_until is None and not _in_open_case(tx, row):
            store.hold(tx, patient_id, row.id, held[row.code])
    return held


def _in_open_case(tx: Tx, row: Row[Any]) -> bool:
    case = case_store.incident(tx, row.incident_id) if row.incident_id else None
    return case is not None and case.closed_at is None


def brought_along(
    house: House, tx: Tx, patient: Row[Any], paging: list[AlarmCondition], now: datetime
) -> list[AlarmCondition]:
    """What was held back and is still true, when something graver is found: who comes must know all of it."""
    if not snoozing.breaks_through(paging):
        return []
    found = []
    for row in store.held(tx, patient.patient_id):
        if any(row.code == one.code for one in paging):
            continue
        condition = opened(house, row)
        if condition is not None:
            case_store.end_conditions(tx, patient.patient_id, [row.code], now)
            found.append(condition)
            log("held_brought_along", patient=patient.patient_id, code=row.code)
    return found


def opened(house: House, row: Row[Any]) -> AlarmCondition | None:
    """A condition's record; None, and said in the log, where it does not open."""
    try:
        return house.unseal(row.patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
    except SealingError as error:
        warn("record_unreadable", table="alarm_condition", record=row.id, why=type(error).__name__)
        return None
