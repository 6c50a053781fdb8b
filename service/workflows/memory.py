"""The detectors' memory of one person: opened, changed and put back under the patient's lock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.detection import layers
from service.detection.state import StateError
from service.sealing import SealBroken
from service.store import readings as store
from service.store.database import Tx
from service.store.tables import EPOCH, MICROSECOND
from service.workflows.house import House


def open_state(house: House, row: Row[Any]) -> bytes:
    """What a row holds; raises SealBroken where it does not open, or opens to what detection cannot read."""
    record = f"{row.patient_id}:{row.version}"
    data = house.keys.unseal(row.patient_id, "detector_state", record, row.sealed)
    try:
        layers.decode([data])
    except StateError as error:
        raise SealBroken("detector_state", str(row.patient_id), record, str(error)) from error
    return data


def micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def look_at(look_us: int | None) -> datetime | None:
    """When somebody should look at a quiet person; None while nothing was ever heard of what they do."""
    return None if look_us is None else EPOCH + timedelta(microseconds=look_us)


def save(
    house: House, tx: Tx, patient_id: UUID, version: int, state: bytes, now: datetime, look_us: int | None
) -> None:
    """Write the next version; raises where another was faster, which the patient's lock forbids."""
    sealed = house.keys.seal(patient_id, "detector_state", f"{patient_id}:{version}", state)
    if not store.save_detector_state(tx, patient_id, version, sealed, now, look_at(look_us)):
        raise RuntimeError("detector state changed under its patient's lock")


def carried(house: House, tx: Tx, patient_id: UUID) -> tuple[int, bytes | None]:
    """Version and content; no content where there is none yet or it does not open."""
    held = store.detector_state(tx, patient_id)
    if held is None:
        return 0, None
    try:
        return held.version, open_state(house, held)
    except SealBroken:
        return held.version, None
