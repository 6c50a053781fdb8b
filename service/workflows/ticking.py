"""What falls due: steps of cases, silent devices, signs that outlast their case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import escalation
from dispatch.alarm import AlarmCondition, Priority
from dispatch.incident import Decision, Incident
from service.detection import quiet, silence_condition
from service.sealing import SealingError
from service.store import devices as device_store
from service.store import incidents as store
from service.store import people as people_store
from service.store import readings as readings_store
from service.store.database import UNAVAILABLE, Tx
from service.workflows import cases, causes, memory, outages, people
from service.workflows.house import House, log, warn, where

NEVER = datetime.max.replace(tzinfo=UTC)
STILL_TRUE_AFTER = {Priority.HIGH: timedelta(minutes=15), Priority.MEDIUM: timedelta(minutes=60)}
"""Policy: a sign that is still there this long after its case closed is a case again."""
SILENCE_AGAIN = timedelta(minutes=30)
AUDITED = 16
"""How many cases are looked at before what is amiss among them is put right: jobs may end at any moment."""


def run_due(house: House) -> int:
    """Take the steps that are due, several in one commit. Returns how many cases moved."""
    with house.database.read() as tx:
        due = store.due_incidents(tx, house.clock())
    house.committer.each(due, lambda case: _step(house, *case))
    return len(due)


def audit(house: House) -> int:
    """Re-check every open case: one without a next step, or with one that a clock set back put too far off.

    Returns how many cases had to be put right. Those are first whose step is farthest off: what is put right moves
    back in this order, so that jobs that keep being killed get through all the same.
    """
    with house.database.read() as tx:
        rows = store.all_open_incidents(tx)
    farthest_first = sorted(rows, key=lambda row: row.next_step_at or NEVER, reverse=True)
    mended = 0
    for at in range(0, len(farthest_first), AUDITED):
        amiss = [row for row in farthest_first[at : at + AUDITED] if _is_amiss(house, row, house.clock())]
        house.committer.each(amiss, lambda row: _step(house, row.patient_id, row.id))
        mended += len(amiss)
    return mended


def _is_amiss(house: House, row: Row[Any], now: datetime) -> bool:
    if row.next_step_at is not None and row.next_step_at <= now:
        return False  # it is due: `run_due` takes it, and nothing is amiss
    try:
        case = cases.open_case(house, row)
    except SealingError:
        return False  # its own due time brings it to `run_due`, which puts the desk on it
    return row.next_step_at is None or _waits_too_long(case, row.next_step_at, now) or _amiss(case, now)


def _waits_too_long(case: Incident, due: datetime, now: datetime) -> bool:
    """Whether its row is due later than the case knows, and later than one that was put off is looked at again."""
    return due > max(case.next_step_at or now, now + cases.LOOK_AGAIN)


def _amiss(case: Incident, now: datetime) -> bool:
    try:
        return escalation.next_steps(case, now) != Decision(incident=case)
    except Exception as error:  # noqa: BLE001 - one broken case must not keep the others from being checked
        warn("audit_failed", incident=case.id, why=type(error).__name__, where=where(error))
        return False  # its own due time brings it to `run_due`, which puts the desk on it


def _step(house: House, patient_id: UUID, incident_id: UUID) -> None:
    try:
        cases.change(house, patient_id, incident_id, lambda incident: escalation.next_steps(incident, house.clock()))
    except UNAVAILABLE as error:
        # Not this case's fault: it is still due, and the next tick takes it.
        warn("step_waits", incident=incident_id, why=type(error).__name__)
    except SealingError as error:
        _put_desk_on_it(house, patient_id, incident_id, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - one broken case must not stop the others' steps
        warn("step_failed", incident=incident_id, why=type(error).__name__, where=where(error))
        _put_desk_on_it(house, patient_id, incident_id, type(error).__name__)


def _put_desk_on_it(house: House, patient_id: UUID, incident_id: UUID, why: str) -> None:
    """A case that cannot go on by itself is looked at again later, and the desk hears of it now."""
    now = house.clock()
    with house.database.write() as tx:
        store.put_off(tx, patient_id, incident_id, now + cases.LOOK_AGAIN)
    warn("incident_stuck", incident=incident_id, why=why)
    cases.report_unreadable(house, patient_id, "incident", incident_id)


def check_silence(house: House) -> int:
    """Devices from which nothing came for too long, judged by our own clock."""
    now = house.clock()
    with house.database.read() as tx:
        deaf = outages.deaf_until(tx, now)
        ahead = device_store.devices_heard_after(tx, now)
    if deaf is not None:
        with house.database.write() as tx:
            device_store.put_off_silences(tx, *deaf)
    for device in ahead:
        # Our own clock was set back: the wait starts again now, and is no longer than it should be.
        due = now + timedelta(seconds=device.silent_after_s)
        with house.database.write() as tx:
            device_store.device_heard(tx, device.patient_id, device.id, now, due)
    with house.database.read() as tx:
        far = device_store.silences_too_far_off(tx, now, max(SILENCE_AGAIN, outages.GRACE))
    for device in far:
        # Written while our clock was ahead: nobody's silence waits for that hour to come.
        with house.database.write() as tx:
            due = now + timedelta(seconds=device.silent_after_s)
            device_store.judge_silence_at(tx, device.patient_id, device.id, due)
    outage = outages.watch(house, now, begin=deaf is None)
    with house.database.read() as tx:
        silent = device_store.silent_devices(tx, now)

    def look(device: Row[Any]) -> None:
        try:
            house.committer.run(lambda tx: _note_silence(house, tx, device, outage, now), key=device.patient_id)
        except Exception as error:  # noqa: BLE001 - one person's broken record must not hide the others' silence
            warn("silence_check_failed", device=device.id, why=type(error).__name__, where=where(error))

    house.committer.each(silent, look)
    return len(silent)


def _note_silence(house: House, tx: Tx, device: Row[Any], outage: outages.Outages, now: datetime) -> None:
    patient = people_store.lock_patient(tx, device.patient_id)
    if patient is None:
        return
    condition = silence_condition(
        last_received_at=device.last_received_at,
        enrolled_at=device.enrolled_at,
        now=now,
        limit_s=device.silent_after_s,
    )
    seen = device.last_received_at
    waits = seen is not None and device.patient_id in outage.waiting
    again = now + (outages.LOOK_AGAIN if waits else SILENCE_AGAIN)
    if not device_store.note_silence(
        tx, device.patient_id, device.id, seen=seen, since=seen or device.enrolled_at, again=again
    ):
        return  # it reported while we were looking
    known = {row.code for row in store.open_conditions(tx, [device.patient_id])}
    if waits or condition is None or condition.code in known or _another_reports(tx, device, now):
        return
    condition = causes.explained(house, tx, device, condition, now, area_silent=outage.over(device))
    cases.raise_conditions(house, tx, patient, [condition], now)
    log("device_silent", device=device.id, code=condition.code, cause=condition.params["cause"])


def _another_reports(tx: Tx, device: Row[Any], now: datetime) -> bool:
    """A person whose other band reports is not silent."""
    return any(
        other.id != device.id
        and other.revoked_at is None
        and other.last_received_at is not None
        and other.last_received_at + timedelta(seconds=other.silent_after_s) > now
        for other in device_store.devices(tx, [device.patient_id])
    )


def look_at_quiet(house: House) -> int:
    """People of whom nothing was heard for longer than they are ever quiet. Returns how many were looked at."""
    now = house.clock()
    with house.database.read() as tx:
        deaf = outages.deaf_until(tx, now)
        waiting = readings_store.quiet_people(tx, now)
    if deaf is not None:
        # What happened while we could not listen may still be on its way.
        for patient_id in waiting:
            _look_later(house, patient_id, deaf[1])
        return 0

    def look(patient_id: UUID) -> None:
        try:
            house.committer.run(lambda tx: _look_at(house, tx, patient_id, now), key=patient_id)
        except Exception as error:  # noqa: BLE001 - one person's broken record must not hide the others' silence
            warn("quiet_check_failed", patient=patient_id, why=type(error).__name__, where=where(error))
            _look_later(house, patient_id, now + cases.LOOK_AGAIN)

    house.committer.each(waiting, look)
    return len(waiting)


def _look_at(house: House, tx: Tx, patient_id: UUID, now: datetime) -> None:
    patient = people_store.lock_patient(tx, patient_id)
    version, state = memory.carried(house, tx, patient_id)
    if patient is None or state is None:
        return
    care = people.open_care(house, patient)
    heard = [d.last_received_at for d in device_store.devices(tx, [patient_id]) if d.last_received_at is not None]
    looked = quiet.look(
        state,
        memory.micros(now),
        people.wearer(house, care, now),
        None if care.away_until is None else memory.micros(care.away_until),
        memory.micros(min(max(heard), now)) if heard else None,
    )
    memory.save(house, tx, patient_id, version + 1, looked.state, now, looked.look_us)
    cases.raise_conditions(house, tx, patient, looked.opened, now)
    if looked.opened:
        log("person_silent", patient=patient_id)


def _look_later(house: House, patient_id: UUID, until: datetime) -> None:
    with house.database.write() as tx:
        readings_store.put_off_look(tx, patient_id, until)


def raise_again(house: House) -> int:
    """A sign still there long after its case was closed opens a case again: closing is not curing."""
    now = house.clock()
    with house.database.read() as tx:
        lasting = store.lasting_conditions(tx, now - min(STILL_TRUE_AFTER.values()))
    raised = 0
    for row in lasting:
        if now - row.closed_at < STILL_TRUE_AFTER[Priority(row.priority)]:
            continue

        def work(tx: Tx, row: Row[Any] = row) -> None:
            _raise_again(house, tx, row, now)

        try:
            house.committer.run(work, key=row.patient_id)
            raised += 1
        except SealingError:
            cases.report_unreadable(house, row.patient_id, "alarm_condition", row.id)
    return raised


def _raise_again(house: House, tx: Tx, row: Row[Any], now: datetime) -> None:
    patient = people_store.lock_patient(tx, row.patient_id)
    if patient is None or store.condition_ended(tx, row.patient_id, row.id):
        return
    condition = house.unseal(row.patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
    store.end_conditions(tx, row.patient_id, [row.code], now)
    cases.raise_conditions(house, tx, patient, [condition], now)
    log("raised_again", patient=row.patient_id, code=row.code)


def beat(house: House) -> None:
    """The jobs say that they live; ``/readyz`` and the boards look at it."""
    with house.database.write() as tx:
        outages.note_beat(tx, house.clock())
