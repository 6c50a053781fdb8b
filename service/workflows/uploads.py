"""What is kept of an upload, sealed, and what it is answered with."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from devices.reading import Batch, Parsed, Verdict, VerdictBook
from service.store.tables import EPOCH, MICROSECOND
from service.workflows.house import House, new_id

SETTLED_INTERVAL_S = 60
ASKED_INTERVAL_S = 5
"""While a question to the wearer is open, the band polls often so that it can buzz (policy)."""


class Question(msgspec.Struct, kw_only=True):
    """The downlink: what the band buzzes for."""

    incident_id: UUID
    text: str
    until: str


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an upload is answered with; stored, so that a retry gets the same bytes."""

    upload_id: UUID
    received_at: str
    server_time: str
    clock_skew_s: float | None
    verdicts: list[Verdict]
    ask: Question | None = None
    settings: dict[str, int] = {}


def micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def moment(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(at_us))


def rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def upload_row(house: House, device: Row[Any], parsed: Parsed, batch: Batch, now: datetime) -> dict[str, Any]:
    """What is kept of an upload, sealed; detection still owes it a look."""
    seqs = batch.seqs()
    first_at, last_at = _span(batch)
    upload = new_id()
    return {
        "patient_id": device.patient_id,
        "received_at": now,
        "id": upload,
        "organisation_id": device.organisation_id,
        "device_id": device.id,
        "boot_id": parsed.boot_id,
        "first_seq": seqs[0],
        "last_seq": seqs[-1],
        "first_at": first_at,
        "last_at": last_at,
        "instants": len(seqs),
        "clock_skew_s": _finite(parsed.clock_skew_s),
        "detected_at": None,
        "sealed": house.keys.seal(device.patient_id, "upload", f"{upload}:{micros(now)}", batch.to_bytes()),
    }


def open_batch(house: House, row: Row[Any]) -> Batch:
    record = f"{row.id}:{micros(row.received_at)}"
    return Batch.from_bytes(house.keys.unseal(row.patient_id, "upload", record, row.sealed))


def receipt_row(
    house: House, device: Row[Any], parsed: Parsed, stored: bytes, digest: bytes, nonce: str, now: datetime
) -> dict[str, Any]:
    """The answer as it is kept, so that an honest retry gets the same bytes."""
    record = f"{device.id}:{parsed.upload_id}"
    return {
        "device_id": device.id,
        "upload_id": parsed.upload_id,
        "patient_id": device.patient_id,
        "digest": digest,
        "nonce": nonce,
        "received_at": now,
        "sealed": house.keys.seal(device.patient_id, "receipt", record, stored),
    }


def answer_to(parsed: Parsed, book: VerdictBook, question: Question | None, now: datetime) -> bytes:
    """The bytes that an upload is answered with."""
    answer = Answer(
        upload_id=parsed.upload_id,
        received_at=rfc3339(now),
        server_time=rfc3339(now),
        clock_skew_s=_finite(parsed.clock_skew_s),
        verdicts=book.runs(),
        ask=question,
        settings={"upload_interval_s": SETTLED_INTERVAL_S if question is None else ASKED_INTERVAL_S},
    )
    return msgspec.json.encode(answer)


def _span(batch: Batch) -> tuple[datetime, datetime]:
    """The first and last corrected instant that a batch holds."""
    at = batch.at_us.tolist() + [event.at_us for event in batch.events]
    at += [beats.start_us for beats in batch.beats] + [wave.start_us for wave in batch.waveforms]
    return moment(min(at)), moment(max(at))


def _finite(number: float) -> float | None:
    return round(number, 3) if math.isfinite(number) else None
