"""Queries about uploads, their receipts and the detectors' carried state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, update

from service.store.database import Tx
from service.store.tables import DetectorState, Receipt, Upload, table

_UPLOAD, _RECEIPT, _STATE = table(Upload), table(Receipt), table(DetectorState)


def receipt(tx: Tx, device_id: UUID, upload_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.upload_id == upload_id)
    ).first()


def receipt_of_nonce(tx: Tx, device_id: UUID, nonce: str) -> Row[Any] | None:
    return tx.conn.execute(
        select(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.nonce == nonce)
    ).first()


def add_receipt(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_RECEIPT), values)


def drop_receipt(tx: Tx, device_id: UUID, upload_id: UUID) -> None:
    tx.conn.execute(delete(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.upload_id == upload_id))


def add_upload(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_UPLOAD), values)


def overlapping(tx: Tx, device_id: UUID, boot_id: UUID, first_seq: int, last_seq: int) -> Sequence[Row[Any]]:
    """Uploads of the same device and boot whose sequence numbers may meet these."""
    return tx.conn.execute(
        select(_UPLOAD).where(
            _UPLOAD.c.device_id == device_id,
            _UPLOAD.c.boot_id == boot_id,
            _UPLOAD.c.last_seq >= first_seq,
            _UPLOAD.c.first_seq <= last_seq,
        )
    ).all()


def uploads_between(
    tx: Tx, patient_id: UUID, since: datetime, until: datetime, most: int = 5000
) -> Sequence[Row[Any]]:
    """Uploads that hold instants of this span, in order of arrival."""
    return tx.conn.execute(
        select(_UPLOAD)
        .where(_UPLOAD.c.patient_id == patient_id, _UPLOAD.c.last_at >= since, _UPLOAD.c.first_at <= until)
        .order_by(_UPLOAD.c.received_at, _UPLOAD.c.id)
        .limit(most)
    ).all()


def detector_state(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_STATE).where(_STATE.c.patient_id == patient_id)).first()


def detector_states(tx: Tx, patient_ids: list[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_STATE).where(_STATE.c.patient_id.in_(patient_ids))).all()


def save_detector_state(tx: Tx, patient_id: UUID, version: int, sealed: bytes, now: datetime) -> bool:
    """Compare-and-set: ``version`` is the new one; False when somebody else was faster."""
    if version == 1:
        tx.conn.execute(
            insert(_STATE), {"patient_id": patient_id, "version": 1, "sealed": sealed, "updated_at": now}
        )
        return True
    done = tx.conn.execute(
        update(_STATE)
        .where(_STATE.c.patient_id == patient_id, _STATE.c.version == version - 1)
        .values(version=version, sealed=sealed, updated_at=now)
    )
    return done.rowcount == 1


def has_undetected(tx: Tx, patient_id: UUID) -> bool:
    return (
        tx.conn.execute(
            select(_UPLOAD.c.id)
            .where(_UPLOAD.c.detected_at.is_(None), _UPLOAD.c.patient_id == patient_id)
            .limit(1)
        ).first()
        is not None
    )


def undetected_patients(tx: Tx, most: int = 50) -> list[UUID]:
    return list(
        tx.conn.execute(
            select(_UPLOAD.c.patient_id).where(_UPLOAD.c.detected_at.is_(None)).distinct().limit(most)
        ).scalars()
    )


def undetected_uploads(tx: Tx, patient_id: UUID, most: int = 100) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_UPLOAD)
        .where(_UPLOAD.c.detected_at.is_(None), _UPLOAD.c.patient_id == patient_id)
        .order_by(_UPLOAD.c.received_at, _UPLOAD.c.id)
        .limit(most)
    ).all()


def mark_detected(tx: Tx, patient_id: UUID, received_at: datetime, upload: UUID, now: datetime) -> None:
    tx.conn.execute(
        update(_UPLOAD)
        .where(
            _UPLOAD.c.patient_id == patient_id, _UPLOAD.c.received_at == received_at, _UPLOAD.c.id == upload
        )
        .values(detected_at=now)
    )


def newest_reading(tx: Tx, patient_id: UUID) -> datetime | None:
    """The corrected time of the newest instant held, in whatever order uploads came."""
    return tx.conn.execute(
        select(_UPLOAD.c.last_at)
        .where(_UPLOAD.c.patient_id == patient_id)
        .order_by(_UPLOAD.c.last_at.desc())
        .limit(1)
    ).scalar()


def count_instants(tx: Tx, patient_id: UUID) -> int:
    total = select(func.coalesce(func.sum(_UPLOAD.c.instants), 0)).where(_UPLOAD.c.patient_id == patient_id)
    return int(tx.conn.execute(total).scalar_one())
