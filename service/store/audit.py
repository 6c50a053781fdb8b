"""Who looked at whose data: one hash chain a patient."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select

from service.store.database import Tx
from service.store.tables import EPOCH, MICROSECOND, AccessLog, table

_ACCESS = table(AccessLog)


def chain(previous: bytes, *parts: bytes) -> bytes:
    """The next link: SHA-256 over the previous one and the length-prefixed parts."""
    pieces = [previous]
    for part in parts:
        pieces += (len(part).to_bytes(4, "big"), part)
    return hashlib.sha256(b"".join(pieces)).digest()


def stamp(at: datetime) -> bytes:
    return ((at - EPOCH) // MICROSECOND).to_bytes(8, "big", signed=True)


def add_access(
    tx: Tx,
    *,
    patient_id: UUID,
    at: datetime,
    viewer_id: UUID,
    viewer_role: str,
    purpose: str,
    incident_id: UUID | None,
) -> None:
    last = tx.conn.execute(
        select(_ACCESS.c.seq, _ACCESS.c.hash)
        .where(_ACCESS.c.patient_id == patient_id)
        .order_by(_ACCESS.c.seq.desc())
        .limit(1)
    ).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, patient_id.bytes)
    link = chain(
        previous,
        patient_id.bytes,
        seq.to_bytes(8, "big"),
        stamp(at),
        viewer_id.bytes,
        viewer_role.encode(),
        purpose.encode(),
        incident_id.bytes if incident_id else b"",
    )
    tx.conn.execute(
        insert(_ACCESS).values(
            patient_id=patient_id,
            seq=seq,
            at=at,
            viewer_id=viewer_id,
            viewer_role=viewer_role,
            purpose=purpose,
            incident_id=incident_id,
            previous=previous,
            hash=link,
        )
    )


def last_access(tx: Tx, patient_id: UUID, viewer_id: UUID, purpose: str, incident_id: UUID | None) -> Row[Any] | None:
    return tx.conn.execute(
        select(_ACCESS.c.at)
        .where(
            _ACCESS.c.patient_id == patient_id,
            _ACCESS.c.viewer_id == viewer_id,
            _ACCESS.c.purpose == purpose,
            _ACCESS.c.incident_id == incident_id if incident_id else _ACCESS.c.incident_id.is_(None),
        )
        .order_by(_ACCESS.c.seq.desc())
        .limit(1)
    ).first()


def accesses(tx: Tx, patient_id: UUID, most: int = 50) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_ACCESS)
        .where(_ACCESS.c.patient_id == patient_id)
        .order_by(_ACCESS.c.seq.desc())
        .limit(most)
    ).all()
