"""What a proof covers, and the bytes that it hashes: the same from either engine, without any key."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Float, Integer, LargeBinary, Row, Uuid, insert, select, update
from sqlalchemy.sql.schema import Column

from service.store.audit import stamp
from service.store.database import Tx
from service.store.outbox import CLAIMED, PENDING
from service.store.tables import (
    AccessLog,
    AlarmConditionRow,
    IncidentLog,
    IncidentRow,
    Notification,
    Proof,
    Upload,
    UtcMicros,
    table,
)

_UPLOAD, _CONDITION, _INCIDENT = table(Upload), table(AlarmConditionRow), table(IncidentRow)
_LOG, _OUTBOX, _PROOF, _ACCESS = table(IncidentLog), table(Notification), table(Proof), table(AccessLog)

BEFORE_ONSET = timedelta(minutes=30)
LONGEST_ONSET = timedelta(hours=24)
MOST_UPLOADS = 5000
"""Policy: what counts as evidence. A sign that began days before it was found is proven by its last day."""
GIVE_UP_WAITING = timedelta(minutes=15)
"""A message still waiting this long after its case closed keeps the proof waiting no longer."""


@dataclass(frozen=True)
class Cover:
    """Which columns of a table a proof of format 1 covers; a column added later is for a later format."""

    name: str
    once: tuple[str, ...]
    """Written once: these may never change."""
    late: tuple[str, ...] = ()
    """May still be filled in after the case closed; then a new version says so."""
    left_out: tuple[str, ...] = ()
    """Markers of work still owed, which tell nothing of what happened."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.once, *self.late)


COVERS: dict[str, Cover] = {
    cover.name: cover
    for cover in (
        Cover(
            "upload",
            (
                "patient_id", "received_at", "id", "organisation_id", "device_id", "boot_id", "first_seq", "last_seq",
                "first_at", "last_at", "instants", "clock_skew_s", "sealed",
            ),
            left_out=("detected_at",),
        ),
        Cover(
            "alarm_condition",
            (
                "patient_id", "id", "organisation_id", "district_code", "incident_id", "code", "kind", "priority",
                "started_at", "detected_at", "sealed",
            ),
            ("ended_at", "held_until"),
        ),
        Cover("incident_log", ("patient_id", "incident_id", "seq", "at", "sealed", "previous", "hash")),
        Cover(
            "notification",
            (
                "patient_id", "id", "organisation_id", "incident_id", "step", "target", "target_id", "channel",
                "attempt", "kind", "message", "sealed", "created_at", "expires_at",
            ),
            (
                "due_at", "status", "tries", "claimed_by", "lease_until", "sent_at", "provider", "provider_id",
                "call_status", "outcome", "answered_at", "ended_at", "duration_s", "unsure_since",
            ),
        ),
        Cover(
            "incident",
            ("patient_id", "id", "organisation_id", "district_code", "is_simulated", "opened_at"),
            (
                "state", "priority", "technical", "acknowledged", "owner_id", "next_step_at", "closed_at", "version",
                "sealed",
            ),
            left_out=("proof_due_at",),
        ),
    )
}  # fmt: skip
TABLES = {"upload": _UPLOAD, "alarm_condition": _CONDITION, "incident_log": _LOG, "notification": _OUTBOX}
TABLES |= {"incident": _INCIDENT, "proof": _PROOF, "access_log": _ACCESS}


def _kind(column: Column[Any]) -> str:
    kinds = (
        (Uuid, "id"), (UtcMicros, "at"), (Boolean, "flag"), (Float, "real"), (LargeBinary, "bytes"),
        (BigInteger, "whole"), (Integer, "whole"),
    )  # fmt: skip
    return next((kind for one, kind in kinds if isinstance(column.type, one)), "text")


KINDS: dict[str, dict[str, str]] = {
    name: {column.name: _kind(column) for column in one.columns} for name, one in TABLES.items()
}


def written(kind: str, value: Any) -> bytes:
    """One value as bytes, the same whether it was read typed or raw, from SQLite or from PostgreSQL.

    What is not of its kind (a damaged copy) gets bytes that no proper value has.
    """
    return b"-" if value is None else _WRITERS[kind](value)


def _foreign(value: Any) -> bytes:
    return b"?" + repr((type(value).__name__, value)).encode("utf-8", "surrogateescape")


def _written_bytes(value: Any) -> bytes:
    return b"y" + hashlib.sha256(value).digest() if isinstance(value, (bytes, memoryview)) else _foreign(value)


def _written_text(value: Any) -> bytes:
    return b"s" + value.encode("utf-8", "surrogateescape") if isinstance(value, str) else _foreign(value)


def _written_id(value: Any) -> bytes:
    if isinstance(value, UUID):
        return b"u" + value.bytes
    try:
        # SQLite keeps ids as 32 digits in lower case; anything else there is damage.
        if isinstance(value, str) and len(value) == 32 and value == value.lower():
            return b"u" + bytes.fromhex(value)
    except ValueError:
        pass
    return _foreign(value)


def _written_at(value: Any) -> bytes:
    if isinstance(value, datetime):
        return b"t" + stamp(value)
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return b"t" + value.to_bytes(8, "big", signed=True)
    return _foreign(value)


def _written_flag(value: Any) -> bytes:
    return (b"f1" if value else b"f0") if isinstance(value, int) and value in (0, 1) else _foreign(value)


def _written_whole(value: Any) -> bytes:
    return b"i%d" % value if isinstance(value, int) and not isinstance(value, bool) else _foreign(value)


def _written_real(value: Any) -> bytes:
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53):
        return b"d" + struct.pack(">d", float(value))
    return _foreign(value)


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bytes": _written_bytes,
    "text": _written_text,
    "id": _written_id,
    "at": _written_at,
    "flag": _written_flag,
    "whole": _written_whole,
    "real": _written_real,
}


def _length(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big")


_PLANS: dict[tuple[str, str], tuple[bytes, tuple[tuple[str, Callable[[Any], bytes]], ...]]] = {}
for _cover in COVERS.values():
    for _set in ("once", "late"):
        _named = tuple((name, _WRITERS[KINDS[_cover.name][name]]) for name in getattr(_cover, _set))
        _said = " ".join(["ansim row 1", _cover.name, _set, *(name for name, _ in _named)]).encode()
        _PLANS[_cover.name, _set] = (_said, _named)


def hashed(name: str, columns: str, row: Mapping[str, Any]) -> bytes:
    """SHA-256 of one set of a row's columns (``once`` or ``late``); empty where the table has none of that set."""
    said, named = _PLANS[name, columns]
    if not named:
        return b""
    parts = [said]
    for column, write in named:
        given = row[column]
        value = b"-" if given is None else write(given)
        parts += (_length(value), value)
    return hashlib.sha256(b"".join(parts)).digest()


def row_key(name: str, row: Mapping[str, Any]) -> str:
    """How a proof and the verifier call a row."""
    if name == "incident_log":
        return f"{_id_text(row['incident_id'])}/{row['seq']}"
    if name == "access_log":
        return f"{_id_text(row['patient_id'])}/{row['seq']}"
    if name == "proof":
        return f"{_id_text(row['incident_id'])}/{row['version']}"
    return _id_text(row["id"])


def _id_text(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    try:
        return str(UUID(hex=value)) if len(value) == 32 else str(value)
    except (ValueError, TypeError, AttributeError):
        return str(value)


# --- for whoever makes proofs ---------------------------------------------------------------------


def owed(tx: Tx, most: int) -> list[tuple[UUID, UUID]]:
    """(patient, incident) of closed cases whose proof is due, the longest owed first."""
    rows = tx.conn.execute(
        select(_INCIDENT.c.patient_id, _INCIDENT.c.id)
        .where(_INCIDENT.c.proof_due_at.is_not(None))
        .order_by(_INCIDENT.c.proof_due_at)
        .limit(most)
    )
    return [(row.patient_id, row.id) for row in rows]


def still_waits(tx: Tx, incident_id: UUID, closed_at: datetime, now: datetime) -> bool:
    """Whether a message of this case is still on its way out, so that its fate can be signed with the rest."""
    if abs(now - closed_at) > GIVE_UP_WAITING:
        return False
    waiting = _OUTBOX.c.incident_id == incident_id, _OUTBOX.c.status.in_([PENDING, CLAIMED])
    return tx.conn.execute(select(_OUTBOX.c.id).where(*waiting).limit(1)).first() is not None


def conditions(tx: Tx, patient_id: UUID, incident_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.patient_id == patient_id, _CONDITION.c.incident_id == incident_id)
        .order_by(_CONDITION.c.detected_at, _CONDITION.c.id)
    ).all()


def span_of_evidence(times: Iterable[tuple[datetime, datetime]]) -> tuple[datetime, datetime] | None:
    """From half an hour before the onset until the last finding, from (began, found) of each condition."""
    pairs = list(times)
    if not pairs:
        return None
    first_found = min(found for _, found in pairs)
    onset = max(min(began for began, _ in pairs), first_found - LONGEST_ONSET)
    return onset - BEFORE_ONSET, max(found for _, found in pairs)


def uploads(tx: Tx, patient_id: UUID, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """What had arrived by then of what was measured since then, in order of arrival."""
    return tx.conn.execute(
        select(_UPLOAD)
        .where(_UPLOAD.c.patient_id == patient_id, _UPLOAD.c.last_at >= since, _UPLOAD.c.received_at <= until)
        .order_by(_UPLOAD.c.received_at, _UPLOAD.c.id)
        .limit(MOST_UPLOADS)
    ).all()


def last_version(tx: Tx, incident_id: UUID, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_PROOF)
        .where(_PROOF.c.patient_id == patient_id, _PROOF.c.incident_id == incident_id)
        .order_by(_PROOF.c.version.desc())
        .limit(1)
    ).first()


def versions(tx: Tx, patient_id: UUID, incident_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_PROOF)
        .where(_PROOF.c.patient_id == patient_id, _PROOF.c.incident_id == incident_id)
        .order_by(_PROOF.c.version)
    ).all()


def newest(tx: Tx) -> Row[Any] | None:
    """The proof made last, of whichever case."""
    return tx.conn.execute(select(_PROOF).order_by(_PROOF.c.number.desc()).limit(1)).first()


def last_look(tx: Tx, patient_id: UUID) -> tuple[int, bytes]:
    """Where the patient's access log stands: (how many rows, hash of the last)."""
    row = tx.conn.execute(
        select(_ACCESS.c.seq, _ACCESS.c.hash)
        .where(_ACCESS.c.patient_id == patient_id)
        .order_by(_ACCESS.c.seq.desc())
        .limit(1)
    ).first()
    return (row.seq, row.hash) if row else (0, patient_id.bytes)


def add(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_PROOF), values)


def settled(tx: Tx, patient_id: UUID, incident_id: UUID) -> None:
    """No proof is owed any more."""
    tx.conn.execute(
        update(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.id == incident_id)
        .values(proof_due_at=None)
    )


def as_mappings(rows: Iterable[Row[Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield dict(row._mapping)
