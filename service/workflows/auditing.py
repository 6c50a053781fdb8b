"""The auditor: looks again at everything that should have moved, mends it, and says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.sealing import SealingError
from service.store import auditing as store
from service.store import incidents as case_store
from service.store import people as people_store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import cases, ticking
from service.workflows.house import House, log, warn

CODE = "audit_mended"
"""The technical condition, and the fact of the site that says with whom it is kept."""
LAST = "audit_last"
LATE = timedelta(seconds=10)
SAID_EVERY = timedelta(hours=1)
"""Policy: the desk is told once an hour at most; the numbers say the rest."""


class Findings(msgspec.Struct, kw_only=True):
    """What one look found. All of it is 0 in a service that works."""

    mended: int = 0
    """Cases without a next step, or with one too far off, and pages that an acknowledgement had not reached."""
    steps_overdue: int = 0
    pages_after_ack: int = 0
    leases_dead: int = 0
    quiet_overdue: int = 0
    """Snoozes, held signs and drills past their end."""

    @property
    def amiss(self) -> int:
        return self.mended + self.steps_overdue + self.pages_after_ack + self.leases_dead + self.quiet_overdue


def look(house: House) -> Findings:
    """Re-check every open case's next step and all that waits; what can be mended is, and the desk hears of it."""
    now = house.clock()
    found = standing(house)
    found.mended = ticking.audit(house) + _take_back_pages(house, now)
    if found.amiss:
        warn("audit", **msgspec.structs.asdict(found))
    _remember(house, found, now)
    if found.mended:
        _tell_desk(house, found.mended)
    else:
        _over(house)
    return found


def standing(house: House) -> Findings:
    """What is late now, from the tables, so that every replica tells the same; mends nothing."""
    with house.database.read() as tx:
        return standing_now(tx, house.clock())


def standing_now(tx: Tx, now: datetime) -> Findings:
    before = now - LATE
    return Findings(
        steps_overdue=store.steps_overdue(tx, before),
        pages_after_ack=len(store.pages_after_ack(tx)),
        leases_dead=store.leases_dead(tx, before),
        quiet_overdue=store.quiet_overdue(tx, before),
    )


def mended_so_far(tx: Tx) -> int:
    """How much the auditor has had to mend since the beginning."""
    row = site_store.fact(tx, LAST)
    return int(row.value) if row is not None and row.value.isdecimal() else 0


def _take_back_pages(house: House, now: datetime) -> int:
    with house.database.read() as tx:
        found = store.pages_after_ack(tx)
    taken = 0
    for _patient_id, notification_id in found:
        with house.database.write() as tx:
            taken += store.cancel_page(tx, notification_id, now)
    return taken


def _remember(house: House, found: Findings, now: datetime) -> None:
    if not found.mended:
        return
    with house.database.write() as tx:
        site_store.put(tx, LAST, str(mended_so_far(tx) + found.mended), now)


def _tell_desk(house: House, mended: int) -> None:
    """One technical case for the desk, with somebody who has none of their own, at most once an hour."""
    now = house.clock()
    with house.database.read() as tx:
        told = site_store.fact(tx, CODE)
        if told is not None and (told.value or timedelta() <= now - told.at < SAID_EVERY):
            return
        before = told.value if told is not None else ""
        kept_with = _free(tx)
    if kept_with is None:
        return

    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, kept_with)
        if patient is None or not site_store.turn(tx, CODE, before, str(kept_with), now):
            return
        cases.raise_conditions(house, tx, patient, [_condition(now, mended)], now)
        warn(CODE, patient=kept_with, mended=mended)

    house.committer.run(work, key=kept_with)


def _over(house: House) -> None:
    """Nothing had to be mended for an hour: the condition ends; its case is the desk's to close."""
    now = house.clock()
    with house.database.read() as tx:
        told = site_store.fact(tx, CODE)
    if told is None or not told.value or timedelta() <= now - told.at < SAID_EVERY:
        return
    patient_id = UUID(told.value)

    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, patient_id)
        # It keeps the time at which it was told: the next hour counts from there.
        if site_store.turn(tx, CODE, told.value, "", told.at) and patient is not None:
            cases.end_conditions(house, tx, patient, [CODE], now)
            log("audit_well_again")

    try:
        house.committer.run(work, key=patient_id)
    except SealingError as error:
        warn("record_unreadable", table="incident", record=patient_id, why=type(error).__name__)


def _free(tx: Tx) -> UUID | None:
    """Somebody with whom our own fault can be kept: rather one without a case."""
    organisation_id = people_store.first_organisation(tx)
    everybody = people_store.patients(tx, organisation_id) if organisation_id is not None else []
    busy = {row.patient_id for row in case_store.all_open_incidents(tx)}
    found = next((one.patient_id for one in everybody if one.patient_id not in busy), None)
    return found or (everybody[0].patient_id if everybody else None)


def _condition(now: datetime, mended: int) -> AlarmCondition:
    return AlarmCondition(
        code=CODE,
        kind=AlarmKind.TECHNICAL,
        priority=Priority.MEDIUM,
        started_at=now,
        detected_at=now,
        params={"value": mended},
    )
