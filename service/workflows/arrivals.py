"""Uploads on arrival: what waits together is looked at and committed together.

An upload that brings nothing but ordinary readings (no event, nothing open, owed or met before, nothing found) takes
the short way: prepared before its turn, analysed with its group, written in bulk. Everything else goes through
`readings.accept` one by one, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from devices.reading import EventKind, Parsed, UploadError, parse
from service.detection import Analysis, analyse
from service.detection.clock import clock_condition
from service.sealing import SealingError
from service.store import devices as device_store
from service.store import people as people_store
from service.store import readings as store
from service.store.database import Tx
from service.workflows import memory, people, readings, uploads, virtual_bands
from service.workflows.house import House, warn, where
from service.workflows.readings import Accepted
from service.workflows.uploads import micros

Outcome = Accepted | UploadError
ACTED_ON = frozenset({EventKind.SOS, EventKind.SOS_CANCELLED, EventKind.FALL, EventKind.OK_PRESSED})
"""Events that somebody answers to; the others are evidence for the detectors."""


@dataclass(frozen=True)
class Arrival:
    """One upload, with all that can be made of it before its turn."""

    house: House
    device: Row[Any]
    parsed: Parsed
    digest: bytes
    nonce: str
    now: datetime
    plain: bool
    """Whether it may take the short way, as far as it can tell itself."""
    upload: dict[str, Any]
    receipt: dict[str, Any]
    answer: bytes


@dataclass(frozen=True)
class _Open:
    """An arrival on the short way, with what its patient's rows say."""

    place: int
    arrival: Arrival
    patient: Row[Any]
    silent_after_s: int
    version: int
    state: bytes | None


def accept_readings(house: House, device: Row[Any], body: bytes, *, digest: bytes, nonce: str) -> Accepted:
    """Take one upload: a verdict for every sequence number, durable before it is answered.

    Raises ``devices.reading.UploadError`` when the whole request cannot be taken.
    """
    now = house.clock()
    parsed = parse(body, micros(now))
    arrival = _prepare(house, device, parsed, digest, nonce, now)
    outcome: Outcome = house.committer.run_many(_accept_many, arrival, key=device.patient_id)
    if isinstance(outcome, UploadError):
        raise outcome
    return outcome


def _prepare(
    house: House, device: Row[Any], parsed: Parsed, digest: bytes, nonce: str, now: datetime
) -> Arrival:
    batch = parsed.batch
    plain = (
        device.model != virtual_bands.MODEL
        and bool(batch.seqs())
        and not any(event.kind in ACTED_ON for event in batch.events)
        and not parsed.conflicting_events
        and clock_condition(parsed.clock_skew_s, now) is None
    )
    if not plain:
        return Arrival(house, device, parsed, digest, nonce, now, False, {}, {}, b"")
    answer = uploads.answer_to(parsed, parsed.verdicts, None, now)
    return Arrival(
        house=house,
        device=device,
        parsed=parsed,
        digest=digest,
        nonce=nonce,
        now=now,
        plain=True,
        upload=uploads.upload_row(house, device, parsed, batch, now) | {"detected_at": now},
        receipt=uploads.receipt_row(house, device, parsed, answer, digest, nonce, now),
        answer=answer,
    )


def _accept_many(tx: Tx, arrivals: Sequence[Arrival], careful: bool) -> list[Outcome]:
    """Outcomes in the order given; ``careful`` keeps everything off the short way."""
    outcomes: list[Outcome | None] = [None] * len(arrivals)
    waiting = list(enumerate(arrivals))
    while waiting:
        wave: dict[UUID, tuple[int, Arrival]] = {}
        later = []
        for place, arrival in waiting:
            # Two uploads of one patient: the second is judged on what the first left.
            if arrival.device.patient_id in wave:
                later.append((place, arrival))
            else:
                wave[arrival.device.patient_id] = (place, arrival)
        _accept_wave(tx, list(wave.values()), outcomes, careful)
        waiting = later
    return [outcome for outcome in outcomes if outcome is not None]


def _accept_wave(
    tx: Tx, wave: Sequence[tuple[int, Arrival]], outcomes: list[Outcome | None], careful: bool
) -> None:
    plain: list[_Open] = []
    for place, arrival in wave:
        found = None if careful else _opened(tx, place, arrival)
        if found is None:
            outcomes[place] = _alone(tx, arrival)
        else:
            plain.append(found)
    done: list[tuple[_Open, Analysis]] = []
    for one, result in zip(plain, _analysed(plain), strict=True):
        if result is None or result.opened or result.ended:
            outcomes[one.place] = _alone(tx, one.arrival)
        else:
            done.append((one, result))
            outcomes[one.place] = Accepted(one.arrival.answer, replayed=False)
    if done:
        _write(tx, done)


def _alone(tx: Tx, arrival: Arrival) -> Outcome:
    try:
        # Read anew: what found it may be remembered from before it was revoked.
        device = device_store.device(tx, arrival.device.patient_id, arrival.device.id)
        if device is None:
            raise UploadError(401, "unknown_device", "this device is not known any more; enrol it again", None)
        if device.revoked_at is not None:
            raise UploadError(401, "device_revoked", "this device was revoked; enrol it again", None)
        return readings.accept(
            arrival.house, tx, device, arrival.parsed, arrival.digest, arrival.nonce, arrival.now
        )
    except UploadError as refusal:
        return refusal


def _opened(tx: Tx, place: int, arrival: Arrival) -> _Open | None:
    """The patient's rows under their lock, or None when the long way has to be taken."""
    if not arrival.plain:
        return None
    device, parsed = arrival.device, arrival.parsed
    patient = people_store.lock_patient(tx, device.patient_id)
    if patient is None:
        return None
    row = store.standing(
        tx,
        device.patient_id,
        device.id,
        boot_id=parsed.boot_id,
        upload_id=parsed.upload_id,
        nonce=arrival.nonce,
        first_seq=arrival.upload["first_seq"],
        last_seq=arrival.upload["last_seq"],
    )
    if row is None or row.revoked_at is not None or row.known or row.met or row.owed or row.conditions or row.checking:
        return None
    if row.version is None:
        return _Open(place, arrival, patient, row.silent_after_s, 0, None)
    try:
        state = arrival.house.keys.unseal(
            device.patient_id, "detector_state", f"{device.patient_id}:{row.version}", row.sealed
        )
    except SealingError:
        return None  # reported on the long way
    return _Open(place, arrival, patient, row.silent_after_s, row.version, state)


def _analysed(plain: Sequence[_Open]) -> Sequence[Analysis | None]:
    """Detection over the whole group; when it fails, everybody takes the long way, where failures stay apart."""
    if not plain:
        return []
    house = plain[0].arrival.house
    try:
        cares = [people.open_care(house, one.patient) for one in plain]
        return analyse(
            [one.state for one in plain],
            [one.arrival.parsed.batch for one in plain],
            [care.limits for care in cares],
            [micros(one.arrival.now) for one in plain],
            house.settings.late_sign_after_s,
            [
                people.wearer(house, care, one.arrival.now, one.arrival.device.worn_at)
                for care, one in zip(cares, plain, strict=True)
            ],
        )
    except Exception as error:  # noqa: BLE001 - a bug must not look like health, nor cost a reading
        warn("group_detection_failed", why=type(error).__name__, where=where(error))
        return [None] * len(plain)


def _write(tx: Tx, done: Sequence[tuple[_Open, Analysis]]) -> None:
    states = []
    for one, result in done:
        patient_id, version = one.patient.patient_id, one.version + 1
        record = f"{patient_id}:{version}"
        sealed = one.arrival.house.keys.seal(patient_id, "detector_state", record, result.state)
        row = {"patient_id": patient_id, "version": version, "sealed": sealed, "updated_at": one.arrival.now}
        states.append(row | {"look_at": memory.look_at(result.look_us)})
    store.add_uploads(tx, [one.arrival.upload for one, _ in done])
    if not store.save_detector_states(tx, states):
        raise RuntimeError("detector state changed under its patient's lock")
    store.add_receipts(tx, [one.arrival.receipt for one, _ in done])
    device_store.devices_heard(tx, [_heard(one) for one, _ in done])


def _heard(one: _Open) -> tuple[UUID, UUID, datetime, datetime]:
    arrival = one.arrival
    due = arrival.now + timedelta(seconds=one.silent_after_s)
    return arrival.device.patient_id, arrival.device.id, arrival.now, due
