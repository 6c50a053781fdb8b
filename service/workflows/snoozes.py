"""Being quiet about one sign for a while: said by somebody, shown with its end, over by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import messages, snoozing
from dispatch.codes import Log
from dispatch.incident import SYSTEM, LogEntry
from service.store import incidents as case_store
from service.store import people as people_store
from service.store import site as site_store
from service.store import snoozes as store
from service.store.database import Tx
from service.workflows import cases, holding, records
from service.workflows.house import House, log, new_id, warn, where
from service.workflows.incidents import Refused

CLOCK = "snooze_clock"
"""The fact of the site that says when snoozes were last looked at: a clock set back since then shows by it."""
SET_BACK = timedelta(seconds=2)


class SnoozeRecord(msgspec.Struct, kw_only=True):
    """One snooze, and whether anything waits for its end."""

    id: UUID
    code: str
    text: str
    from_at: datetime
    until_at: datetime
    by: str
    holds: bool
    """Whether the sign was found meanwhile and is still there."""


def begin(house: House, patient_id: UUID, by_id: UUID, code: str, hours: int) -> UUID:
    """Be quiet about one sign of one person. Raises Refused for what may not be snoozed, or not so long."""
    if code not in snoozing.CODES:
        raise Refused(
            f"code must be one of {', '.join(snoozing.CODES)}, was {code[:40]!r}: what may be grave always rings",
            code="not_snoozable",
            field="code",
        )
    if hours not in snoozing.HOURS:
        said = ", ".join(str(one) for one in snoozing.HOURS)
        detail = f"hours must be one of {said}, was {str(hours)[:20]}: snooze it anew when they are over"
        raise Refused(detail, code="field_invalid", field="hours")
    snooze_id = new_id()

    def work(tx: Tx) -> None:
        now = house.clock()
        patient = people_store.lock_patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        _note_clock(tx, now)
        until_at = now + timedelta(hours=hours)
        for row in store.running(tx, patient_id):
            if row.code == code:
                store.end(tx, patient_id, row.id, now)
        for row in store.held(tx, patient_id):
            if row.code == code:
                store.hold(tx, patient_id, row.id, until_at)
        store.add(
            tx,
            patient_id=patient_id,
            id=snooze_id,
            organisation_id=patient.organisation_id,
            code=code,
            from_at=now,
            until_at=until_at,
            by_id=by_id,
        )
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient_id, at=now)

    house.committer.run(work, key=patient_id)
    log("snooze_begun", patient=patient_id, snooze=snooze_id, code=code, hours=hours, by=by_id)
    return snooze_id


def end(house: House, patient_id: UUID, snooze_id: UUID, by_id: UUID) -> None:
    """Be quiet no longer; what waited and is still true rings now. Once more changes nothing."""
    with house.database.read() as tx:
        if store.one(tx, patient_id, snooze_id) is None:
            raise LookupError(f"no snooze {snooze_id}")

    def work(tx: Tx) -> None:
        patient, row = people_store.lock_patient(tx, patient_id), store.one(tx, patient_id, snooze_id)
        if patient is not None and row is not None and row.ended_at is None:
            _finish(house, tx, patient, row, house.clock())

    house.committer.run(work, key=patient_id)
    log("snooze_ended_by_hand", patient=patient_id, snooze=snooze_id, by=by_id)


def sweep(house: House) -> int:
    """End what is over and release what is still true. Returns how many snoozes and signs moved."""
    with house.database.read() as tx:
        if not store.anything(tx):
            return 0
    _mind_the_clock(house)
    now = house.clock()
    with house.database.read() as tx:
        over = [row for row in store.all_running(tx) if _over(row, now)]
        late = [row for row in store.all_held(tx) if not now < row.held_until <= now + snoozing.LONGEST]
    for row in over:
        _safely(house, row, lambda tx, patient, row=row: _finish_if_over(house, tx, patient, row))
    for row in late:
        _safely(house, row, lambda tx, patient, row=row: _release(house, tx, patient, row, house.clock()))
    return len(over) + len(late)


def _over(row: Row[Any], now: datetime) -> bool:
    return not row.from_at <= now < row.until_at


def _safely(house: House, row: Row[Any], step: Any) -> None:
    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, row.patient_id)
        if patient is not None:
            step(tx, patient)

    try:
        house.committer.run(work, key=row.patient_id)
    except Exception as error:  # noqa: BLE001 - one broken record must not keep the others' signs back
        warn("snooze_sweep_failed", patient=row.patient_id, why=type(error).__name__, where=where(error))


def _finish_if_over(house: House, tx: Tx, patient: Row[Any], row: Row[Any]) -> None:
    current, now = store.one(tx, row.patient_id, row.id), house.clock()
    if current is not None and current.ended_at is None and _over(current, now):
        _finish(house, tx, patient, current, now)


def _finish(house: House, tx: Tx, patient: Row[Any], row: Row[Any], now: datetime) -> None:
    """End one snooze: a sign still true opens its case now, one that cleared is only logged."""
    store.end(tx, row.patient_id, row.id, now)
    waiting = [held for held in store.held(tx, row.patient_id) if held.code == row.code]
    cleared = store.cleared_since(tx, row.patient_id, row.code, row.from_at)
    log("snooze_ended", patient=row.patient_id, code=row.code, released=len(waiting), cleared=cleared)
    for held in waiting:
        _release(house, tx, patient, held, now)
    tx.emit("condition", organisation_id=patient.organisation_id, patient_id=row.patient_id, at=now)


def _release(house: House, tx: Tx, patient: Row[Any], row: Row[Any], now: datetime) -> None:
    if case_store.condition_ended(tx, row.patient_id, row.id):
        return
    condition = holding.opened(house, row)
    case_store.end_conditions(tx, row.patient_id, [row.code], now)
    if condition is None:
        cases.note_unreadable(house, tx, patient, "alarm_condition", row.id, now)
        return
    incident = cases.raise_conditions(house, tx, patient, [condition], now)
    if incident is not None:
        entry = LogEntry(what=Log.HELD_BACK, who=SYSTEM, params={"code": row.code})
        cases.write_log(house, tx, row.patient_id, incident.id, [entry], now)
    log("held_released", patient=row.patient_id, code=row.code, held_s=round((now - row.detected_at).total_seconds()))


def _mind_the_clock(house: House) -> None:
    """A clock set back makes no window longer: what runs is moved with it."""
    with house.database.read() as tx:
        known = site_store.fact(tx, CLOCK)
    back = known.at - house.clock() if known is not None else timedelta()
    if back <= SET_BACK:
        with house.database.write() as tx:
            _note_clock(tx, house.clock())
        return
    with house.database.write() as tx:
        _note_clock(tx, house.clock())
        for row in store.all_running(tx):
            store.move(tx, row.patient_id, row.id, row.from_at - back, row.until_at - back)
        for row in store.all_held(tx):
            store.hold(tx, row.patient_id, row.id, row.held_until - back)
    warn("snoozes_moved_with_the_clock", back_s=round(back.total_seconds()))


def _note_clock(tx: Tx, now: datetime) -> None:
    site_store.put(tx, CLOCK, "", now)


def standing(house: House, tx: Tx, patient_id: UUID, language: str) -> list[SnoozeRecord]:
    """What runs for one person, with its end, for every page that shows them."""
    now = house.clock()
    rows = [row for row in store.running(tx, patient_id) if not _over(row, now)]
    held = {row.code for row in store.held(tx, patient_id)} if rows else set()
    names = records.names_of(house, tx, {row.by_id for row in rows}, language) if rows else {}
    return [
        SnoozeRecord(
            id=row.id,
            code=row.code,
            text=messages.sign_text(row.code, language),
            from_at=row.from_at,
            until_at=row.until_at,
            by=names[row.by_id],
            holds=row.code in held,
        )
        for row in rows
    ]


def choices(house: House, tx: Tx, patient_id: UUID, language: str) -> list[dict[str, str]]:
    """The signs of one person that may be snoozed now: those that stand, and those of the last cases."""
    recent = case_store.conditions_of(tx, patient_id, most=40)
    codes = dict.fromkeys(row.code for row in recent if row.code in snoozing.CODES and row.priority == "medium")
    running = {row.code for row in store.running(tx, patient_id)}
    return [
        {"code": code, "text": messages.sign_text(code, language)} for code in list(codes)[:6] if code not in running
    ]


def face(house: House, tx: Tx, patient_id: UUID, language: str) -> dict[str, Any]:
    """What a page shows of snoozes: what runs, what may be said, for how long."""
    return {
        "running": standing(house, tx, patient_id, language),
        "choices": choices(house, tx, patient_id, language),
        "hours": snoozing.HOURS,
    }


def face_of(house: House, patient_id: UUID, language: str) -> dict[str, Any]:
    with house.database.read() as tx:
        return face(house, tx, patient_id, language)


def list_of(house: House, patient_id: UUID, language: str) -> list[SnoozeRecord]:
    with house.database.read() as tx:
        return standing(house, tx, patient_id, language)
