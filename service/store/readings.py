"""Queries about uploads, their receipts and the detectors' carried state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, delete, exists, func, insert, or_, select, update

from service.store.database import Tx
from service.store.tables import AlarmConditionRow, DetectorState, Device, IncidentRow, Receipt, Upload, table

_UPLOAD, _RECEIPT, _STATE = table(Upload), table(Receipt), table(DetectorState)
_DEVICE, _CONDITION, _INCIDENT = table(Device), table(AlarmConditionRow), table(IncidentRow)

# Made once: building and comparing a statement costs more than running it.
_ADD_UPLOAD, _ADD_RECEIPT, _ADD_STATE = insert(_UPLOAD), insert(_RECEIPT), insert(_STATE)
_SAVE_STATE = (
    update(_STATE)
    .where(_STATE.c.patient_id == bindparam("of"), _STATE.c.version == bindparam("before"))
    .values(
        version=bindparam("after"), sealed=bindparam("state"), updated_at=bindparam("at"), look_at=bindparam("look")
    )
)
_OF, _BY = bindparam("of", type_=Uuid), bindparam("device", type_=Uuid)
_STANDING = (
    select(
        _DEVICE.c.revoked_at,
        _DEVICE.c.silent_after_s,
        _STATE.c.version,
        _STATE.c.sealed,
        exists()
        .where(
            _RECEIPT.c.device_id == _BY,
            or_(_RECEIPT.c.upload_id == bindparam("upload"), _RECEIPT.c.nonce == bindparam("said")),
        )
        .label("known"),
        exists()
        .where(
            _UPLOAD.c.device_id == _BY,
            _UPLOAD.c.boot_id == bindparam("boot"),
            _UPLOAD.c.last_seq >= bindparam("first"),
            _UPLOAD.c.first_seq <= bindparam("last"),
        )
        .label("met"),
        exists().where(_UPLOAD.c.patient_id == _OF, _UPLOAD.c.detected_at.is_(None)).label("owed"),
        exists().where(_CONDITION.c.patient_id == _OF, _CONDITION.c.ended_at.is_(None)).label("conditions"),
        exists()
        .where(_INCIDENT.c.patient_id == _OF, _INCIDENT.c.closed_at.is_(None), _INCIDENT.c.state == "checking")
        .label("checking"),
    )
    .select_from(_DEVICE.outerjoin(_STATE, _STATE.c.patient_id == _DEVICE.c.patient_id))
    .where(_DEVICE.c.patient_id == _OF, _DEVICE.c.id == _BY)
)


def receipt(tx: Tx, device_id: UUID, upload_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.upload_id == upload_id)
    ).first()


def receipt_of_nonce(tx: Tx, device_id: UUID, nonce: str) -> Row[Any] | None:
    return tx.conn.execute(
        select(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.nonce == nonce)
    ).first()


def add_receipts(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    tx.conn.execute(_ADD_RECEIPT, list(rows))


def drop_receipt(tx: Tx, device_id: UUID, upload_id: UUID) -> None:
    tx.conn.execute(delete(_RECEIPT).where(_RECEIPT.c.device_id == device_id, _RECEIPT.c.upload_id == upload_id))


def add_uploads(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    tx.conn.execute(_ADD_UPLOAD, list(rows))


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


def last_uploads(tx: Tx, patient_id: UUID, device_id: UUID, since: datetime, most: int = 60) -> Sequence[Row[Any]]:
    """The newest uploads of one device, in order of arrival."""
    newest = tx.conn.execute(
        select(_UPLOAD)
        .where(_UPLOAD.c.patient_id == patient_id, _UPLOAD.c.device_id == device_id, _UPLOAD.c.received_at >= since)
        .order_by(_UPLOAD.c.received_at.desc(), _UPLOAD.c.id.desc())
        .limit(most)
    ).all()
    return newest[::-1]


def detector_state(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_STATE).where(_STATE.c.patient_id == patient_id)).first()


def detector_states(tx: Tx, patient_ids: list[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_STATE).where(_STATE.c.patient_id.in_(patient_ids))).all()


def save_detector_state(
    tx: Tx, patient_id: UUID, version: int, sealed: bytes, now: datetime, look_at: datetime | None
) -> bool:
    """Compare-and-set: ``version`` is the new one; False when somebody else was faster."""
    row = {"patient_id": patient_id, "version": version, "sealed": sealed, "updated_at": now, "look_at": look_at}
    return save_detector_states(tx, [row])


def quiet_people(tx: Tx, now: datetime, most: int = 200) -> list[UUID]:
    """Those of whom nothing was heard for so long that somebody should look."""
    due = select(_STATE.c.patient_id).where(_STATE.c.look_at <= now).order_by(_STATE.c.look_at).limit(most)
    return list(tx.conn.execute(due).scalars())


def put_off_look(tx: Tx, patient_id: UUID, until: datetime) -> None:
    tx.conn.execute(update(_STATE).where(_STATE.c.patient_id == patient_id).values(look_at=until))


def save_detector_states(tx: Tx, rows: Sequence[dict[str, Any]]) -> bool:
    """Compare-and-set of many patients, each with its new version; False when somebody else was faster with any."""
    fresh = [row for row in rows if row["version"] == 1]
    if fresh:
        tx.conn.execute(_ADD_STATE, fresh)
    known = [
        {
            "of": row["patient_id"],
            "before": row["version"] - 1,
            "after": row["version"],
            "state": row["sealed"],
            "at": row["updated_at"],
            "look": row["look_at"],
        }
        for row in rows
        if row["version"] > 1
    ]
    return not known or tx.conn.execute(_SAVE_STATE, known).rowcount == len(known)


def standing(
    tx: Tx,
    patient_id: UUID,
    device_id: UUID,
    *,
    boot_id: UUID,
    upload_id: UUID,
    nonce: str,
    first_seq: int,
    last_seq: int,
) -> Row[Any] | None:
    """All that decides whether an upload is an ordinary one, in one question; None for an unknown device.

    Ask under the patient's lock. ``known``: upload id or nonce was seen; ``met``: sequence numbers were; ``owed``:
    an earlier upload still waits for detection; ``conditions``: some are open; ``checking``: the person is asked.
    """
    given: dict[str, Any] = {"of": patient_id, "device": device_id, "boot": boot_id, "upload": upload_id}
    given |= {"said": nonce, "first": first_seq, "last": last_seq}
    return tx.conn.execute(_STANDING, given).first()


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
