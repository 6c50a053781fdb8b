"""A reading's road: parsed, sealed, looked at, committed, answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from devices.reading import Batch, Event, EventKind, Parsed, UploadError, VerdictBook
from dispatch import escalation, messages
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import Incident, State, Vitals
from service.detection import analyse, current_status, event_conditions
from service.detection.clock import clock_condition
from service.detection.status import SENSED
from service.sealing import SealBroken, SealingError
from service.store import devices as device_store
from service.store import incidents as case_store
from service.store import people as people_store
from service.store import readings as store
from service.store.database import Tx
from service.workflows import cases, memory, people, uploads, virtual_bands
from service.workflows.house import House, log, warn, where


@dataclass(frozen=True)
class Accepted:
    body: bytes
    replayed: bool


def accept(
    house: House,
    tx: Tx,
    device: Row[Any],
    parsed: Parsed,
    digest: bytes,
    nonce: str,
    now: datetime,
) -> Accepted:
    """Take one upload within a transaction, whatever it holds; raises ``UploadError``."""
    patient = people_store.lock_patient(tx, device.patient_id)
    if patient is None:
        raise UploadError(401, "unknown_device", "this device's wearer is not known any more", None)
    before = _replay(house, tx, device, parsed.upload_id, digest, nonce)
    if before is not None:
        return Accepted(before, replayed=True)
    if virtual_bands.is_one(tx, device):
        return _drilled(house, tx, device, patient, parsed, digest, nonce, now)
    fresh, book, contradicting, unread = _deduplicate(house, tx, device, parsed)
    if fresh.seqs():
        store.add_uploads(tx, [uploads.upload_row(house, device, parsed, fresh, now)])
    # Acted on even where the row itself is a conflict: an SOS is never lost to bookkeeping.
    events = Batch(events=[*fresh.events, *contradicting, *parsed.conflicting_events])
    clock = clock_condition(parsed.clock_skew_s, now)
    conditions = event_conditions(events, now) + ([clock] if clock else [])
    cases.raise_conditions(house, tx, patient, conditions, now)
    for upload in unread:
        cases.note_unreadable(house, tx, patient, "upload", upload, now)
    if clock is None:
        cases.end_conditions(house, tx, patient, ["device_clock_wrong"], now)
    _look(house, tx, patient, now)
    _heard(house, tx, device, patient, events, now)
    question = _question(_asked_incident(house, tx, device.patient_id))
    stored = uploads.answer_to(parsed, book, question, now)
    store.add_receipts(tx, [uploads.receipt_row(house, device, parsed, stored, digest, nonce, now)])
    return Accepted(stored, replayed=False)


def _drilled(
    house: House, tx: Tx, device: Row[Any], patient: Row[Any], parsed: Parsed, digest: bytes, nonce: str, now: datetime
) -> Accepted:
    """The band that nobody wears: nothing of it is a reading or an incident, its SOS is a drill's."""
    virtual_bands.pressed(house, tx, patient, event_conditions(Batch(events=parsed.batch.events), now), now)
    stored = uploads.answer_to(parsed, parsed.verdicts, None, now)
    store.add_receipts(tx, [uploads.receipt_row(house, device, parsed, stored, digest, nonce, now)])
    return Accepted(stored, replayed=False)


def _replay(
    house: House, tx: Tx, device: Row[Any], upload_id: UUID, digest: bytes, nonce: str
) -> bytes | None:
    known = store.receipt(tx, device.id, upload_id)
    if known is not None:
        if known.digest != digest:
            raise UploadError(
                409, "upload_id_reused", f"upload_id {upload_id} was used with another body; make a new one", None
            )
        record = f"{device.id}:{upload_id}"
        try:
            return house.keys.unseal(device.patient_id, "receipt", record, known.sealed)
        except SealBroken as error:
            # The device would ask for ever: judged anew, what it sent is a duplicate, or stored after all.
            warn("record_unreadable", table="receipt", record=record, why=type(error).__name__)
            store.drop_receipt(tx, device.id, upload_id)
    if store.receipt_of_nonce(tx, device.id, nonce) is not None:
        raise UploadError(401, "nonce_reused", "this nonce signed another upload; make a new one", None)
    return None


def _deduplicate(
    house: House, tx: Tx, device: Row[Any], parsed: Parsed
) -> tuple[Batch, VerdictBook, list[Event], list[UUID]]:
    """Leave out what the same device and boot has stored before; name what contradicts it.

    Returns what is new, the verdicts, the events whose number holds other content, and the uploads that do
    not open.
    """
    batch, book = parsed.batch, parsed.verdicts
    seqs = batch.seqs()
    met = store.overlapping(tx, device.id, parsed.boot_id, seqs[0], seqs[-1]) if seqs else []
    if not met:
        return batch, book, [], []
    known: dict[int, object] = {}
    unread: list[UUID] = []
    for row in met:
        try:
            known.update(uploads.open_batch(house, row).contents())
        except SealBroken:
            # What cannot be read cannot be compared: better stored twice than an SOS refused for ever.
            unread.append(row.id)
    # A copy: when this commit has to be repeated, the verdicts may differ.
    book = book.copy()
    contents = batch.contents()
    out = known.keys() & contents.keys()
    conflicting = {seq for seq in out if known[seq] != contents[seq]}
    for seq in out:
        if seq in conflicting:
            book.conflict(seq)
        else:
            book.duplicate(seq)
    events = [event for event in batch.events if event.seq in conflicting]
    return (batch.without(out) if out else batch), book, events, unread


def _look(house: House, tx: Tx, patient: Row[Any], now: datetime) -> None:
    """Run detection over what this patient's uploads still owe, in order of arrival."""
    savepoint = tx.conn.begin_nested()
    emitted = len(tx.events)
    try:
        _detect(house, tx, patient, now)
        savepoint.commit()
    except Exception as error:  # noqa: BLE001 - a bug must not look like health, nor cost a reading
        savepoint.rollback()
        del tx.events[emitted:]
        warn("detection_failed", patient=patient.patient_id, why=type(error).__name__, where=where(error))
        failed = AlarmCondition(
            code="detection_failed",
            kind=AlarmKind.TECHNICAL,
            priority=Priority.MEDIUM,
            started_at=now,
            detected_at=now,
        )
        known = {row.code for row in case_store.open_conditions(tx, [patient.patient_id])}
        if failed.code not in known:
            cases.raise_conditions(house, tx, patient, [failed], now)


def _detect(house: House, tx: Tx, patient: Row[Any], now: datetime) -> None:
    owed = store.undetected_uploads(tx, patient.patient_id)
    if not owed:
        return
    care = _care(house, tx, patient, now)
    worn_at = {row.id: row.worn_at for row in device_store.devices(tx, [patient.patient_id])}
    version, state = _carried(house, tx, patient, now)
    opened: list[AlarmCondition] = []
    over = {"detection_failed"}
    active: set[str] = set()
    look_us: int | None = None
    for row in owed:
        # Judged at the time of arrival, so that a late sweep finds what a prompt one would have found.
        seen_at = uploads.micros(row.received_at)
        store.mark_detected(tx, patient.patient_id, row.received_at, row.id, now)
        try:
            batch = uploads.open_batch(house, row)
        except SealBroken:
            # It would keep every later one waiting for ever.
            cases.note_unreadable(house, tx, patient, "upload", row.id, now)
            continue
        wearer = people.wearer(house, care, now, worn_at.get(row.device_id, ""))
        result = analyse([state], [batch], [care.limits], seen_at, house.settings.late_sign_after_s, [wearer])[0]
        state = result.state
        opened += result.opened
        over = (over - {c.code for c in result.opened}) | set(result.ended)
        active, look_us = set(result.active), result.look_us
    if state is None:
        return
    memory.save(house, tx, patient.patient_id, version + 1, state, now, look_us)
    cases.raise_conditions(house, tx, patient, opened, now)
    cases.end_conditions(house, tx, patient, sorted(over - active), now)


def _care(house: House, tx: Tx, patient: Row[Any], now: datetime) -> people.Care:
    """What is known of the person, their own limits with it; the usual ones where theirs cannot be read."""
    try:
        return people.open_care(house, patient)
    except SealBroken:
        cases.note_unreadable(house, tx, patient, "patient", patient.patient_id, now)
        return people.Care()


def _carried(house: House, tx: Tx, patient: Row[Any], now: datetime) -> tuple[int, bytes | None]:
    """Version and content of the detectors' memory; one that does not open is begun anew."""
    held = store.detector_state(tx, patient.patient_id)
    if held is None:
        return 0, None
    try:
        return held.version, memory.open_state(house, held)
    except SealBroken:
        cases.note_unreadable(house, tx, patient, "detector_state", f"{held.patient_id}:{held.version}", now)
        return held.version, None


def _heard(
    house: House, tx: Tx, device: Row[Any], patient: Row[Any], batch: Batch, now: datetime
) -> None:
    due = now + timedelta(seconds=device.silent_after_s)
    device_store.device_heard(tx, device.patient_id, device.id, now, due)
    # Always asked: a silence opened while this request was on its way must not stay open.
    cases.end_conditions(house, tx, patient, ["device_silent", "device_never_reported"], now)
    for event in batch.events:
        if event.kind is EventKind.OK_PRESSED:
            _pressed_ok(house, tx, patient, event, now)


def _pressed_ok(house: House, tx: Tx, patient: Row[Any], event: Event, now: datetime) -> None:
    """The band's own button, unless it was pressed before what it would have to answer for."""
    case, _ = cases.open_case_of(house, tx, patient)
    if case is None:
        return
    last = max((reason.condition.started_at for reason in case.incident.reasons), default=now)
    if not event.clock_wrong and uploads.moment(event.at_us) >= last:
        vitals = vitals_now(house, tx, patient, now)
        decision = escalation.patient_answered(case.incident, "1", now, vitals, by="band")
        cases.settle(house, tx, case, decision, now)


def vitals_now(house: House, tx: Tx, patient: Row[Any], now: datetime) -> Vitals:
    """How fresh the newest measured value is, and whether a high-priority sign is open."""
    rows = case_store.open_conditions(tx, [patient.patient_id])
    worse = any(
        row.kind == AlarmKind.PHYSIOLOGICAL
        and row.priority == Priority.HIGH
        and row.code not in {"fall", "fall_suspected"}
        for row in rows
    )
    return Vitals(fresh_age_s=_measured_age_s(house, tx, patient, now), worse=worse)


def _measured_age_s(house: House, tx: Tx, patient: Row[Any], now: datetime) -> float | None:
    """Age of the newest sensed value that no gate doubts; a button says nothing about how somebody is."""
    held = store.detector_state(tx, patient.patient_id)
    if held is None or store.has_undetected(tx, patient.patient_id):
        return None
    try:
        limits, state = people.open_care(house, patient).limits, memory.open_state(house, held)
    except SealingError:
        return None
    seen = current_status(state, limits, uploads.micros(now))
    return min((v.age_s for v in seen.vitals if v.code in SENSED and not v.doubtful), default=None)


def _asked_incident(house: House, tx: Tx, patient_id: UUID) -> Incident | None:
    row = case_store.open_incident_of(tx, patient_id)
    if row is None or row.acknowledged or row.state not in {State.CHECKING, State.CONFIRMED}:
        return None
    try:
        return cases.open_case(house, row)
    except SealingError:
        return None


def _question(incident: Incident | None) -> uploads.Question | None:
    if incident is None:
        return None
    ask = incident.ask
    until = (ask.ends_at or ask.due_at) if incident.state is State.CHECKING else None
    if ask.beside_last:
        until = ask.calling_until
    if until is None:
        return None
    text = messages.band_question(incident.policy.language)
    return uploads.Question(incident_id=incident.id, text=text, until=uploads.rfc3339(until))


def sweep_undetected(house: House) -> int:
    """Look at what an earlier failure left: in order, one patient a transaction."""
    with house.database.read() as tx:
        owing = store.undetected_patients(tx)
    for patient_id in owing:

        def work(tx: Tx, patient_id: UUID = patient_id) -> None:
            patient = people_store.lock_patient(tx, patient_id)
            if patient is not None:
                _look(house, tx, patient, house.clock())

        house.committer.run(work, key=patient_id)
        log("swept_undetected", patient=patient_id)
    return len(owing)
