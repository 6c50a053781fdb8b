"""Queries about devices: the codes they enrol with, when each was last heard, and when its silence is judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Row, bindparam, case, cast, func, insert, literal, or_, select, type_coerce, update

from service.store.database import Tx
from service.store.tables import EPOCH, MICROSECOND, Device, EnrolmentCode, table

_DEVICE, _ENROLMENT_CODE = table(Device), table(EnrolmentCode)
# Made once: building and comparing a statement costs more than running it.
_ONE_DEVICE = select(_DEVICE).where(_DEVICE.c.patient_id == bindparam("of"), _DEVICE.c.id == bindparam("device"))
_HEARD = (
    update(_DEVICE)
    .where(_DEVICE.c.patient_id == bindparam("of"), _DEVICE.c.id == bindparam("device"))
    .values(last_received_at=bindparam("at"), silence_due_at=bindparam("due"), silent_since=None)
)


def add_code(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_ENROLMENT_CODE).values(**values))


def use_code(tx: Tx, code_hash: bytes, now: datetime) -> Row[Any] | None:
    """Take a code, once; None when unknown, used or expired."""
    return tx.conn.execute(
        update(_ENROLMENT_CODE)
        .where(
            _ENROLMENT_CODE.c.code_hash == code_hash,
            _ENROLMENT_CODE.c.used_at.is_(None),
            _ENROLMENT_CODE.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(_ENROLMENT_CODE.c.patient_id, _ENROLMENT_CODE.c.organisation_id)
    ).first()


def add_device(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_DEVICE).values(**values))


def device_by_keyid(tx: Tx, keyid: str) -> Row[Any] | None:
    return tx.conn.execute(select(_DEVICE).where(_DEVICE.c.keyid == keyid)).first()


def device(tx: Tx, patient_id: UUID, device_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(_ONE_DEVICE, {"of": patient_id, "device": device_id}).first()


def devices(tx: Tx, patient_ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_DEVICE).where(_DEVICE.c.patient_id.in_(list(patient_ids)))).all()


def revoke_device(tx: Tx, device_id: UUID, now: datetime) -> bool:
    done = tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.id == device_id, _DEVICE.c.revoked_at.is_(None))
        .values(revoked_at=now, silence_due_at=None)
    )
    return done.rowcount == 1


def device_heard(
    tx: Tx, patient_id: UUID, device_id: UUID, now: datetime, silence_due_at: datetime
) -> None:
    """Something arrived: silence starts counting anew, by our own clock."""
    tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id)
        .values(last_received_at=now, silence_due_at=silence_due_at, silent_since=None)
    )


def devices_heard(tx: Tx, heard: Iterable[tuple[UUID, UUID, datetime, datetime]]) -> None:
    """`device_heard` of many: patient, device, when, and when its silence is due."""
    rows = [{"of": p, "device": d, "at": at, "due": due} for p, d, at, due in heard]
    tx.conn.execute(_HEARD, rows)


def silent_devices(tx: Tx, now: datetime, most: int = 200) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_DEVICE)
        .where(_DEVICE.c.silence_due_at <= now, _DEVICE.c.revoked_at.is_(None))
        .order_by(_DEVICE.c.silence_due_at)
        .limit(most)
    ).all()


def devices_heard_after(tx: Tx, now: datetime) -> Sequence[Row[Any]]:
    """Devices whose last receipt lies in our future: our clock was set back."""
    return tx.conn.execute(
        select(_DEVICE).where(_DEVICE.c.last_received_at > now, _DEVICE.c.revoked_at.is_(None))
    ).all()


def silences_too_far_off(tx: Tx, now: datetime, put_off: timedelta) -> Sequence[Row[Any]]:
    """Devices whose silence would be judged later than their limit, or any putting off, allows from now on."""
    due = type_coerce(_DEVICE.c.silence_due_at, BigInteger)
    now_us = (now - EPOCH) // MICROSECOND
    limit_us = cast(_DEVICE.c.silent_after_s, BigInteger) * 1_000_000
    return tx.conn.execute(
        select(_DEVICE).where(
            due > now_us + put_off // MICROSECOND, due > now_us + limit_us, _DEVICE.c.revoked_at.is_(None)
        )
    ).all()


def judge_silence_at(tx: Tx, patient_id: UUID, device_id: UUID, at: datetime) -> None:
    tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id)
        .values(silence_due_at=at)
    )


def note_silence(
    tx: Tx, patient_id: UUID, device_id: UUID, *, seen: datetime | None, since: datetime, again: datetime
) -> bool:
    """Mark a device silent, unless it reported in the meantime."""
    unchanged = _DEVICE.c.last_received_at.is_(None) if seen is None else _DEVICE.c.last_received_at == seen
    done = tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id, unchanged)
        .values(
            silent_since=func.coalesce(_DEVICE.c.silent_since, literal(since, _DEVICE.c.silent_since.type)),
            silence_due_at=again,
        )
    )
    return done.rowcount == 1


def put_off_silences(tx: Tx, heard_before: datetime, until: datetime) -> int:
    """Judge later those that were last heard before we could not listen. Returns how many."""
    done = tx.conn.execute(
        update(_DEVICE)
        .where(
            _DEVICE.c.silence_due_at < until,
            _DEVICE.c.revoked_at.is_(None),
            or_(_DEVICE.c.last_received_at.is_(None), _DEVICE.c.last_received_at < heard_before),
        )
        .values(silence_due_at=until)
    )
    return done.rowcount


def silence_by_district(tx: Tx, now: datetime, nearly: float) -> Sequence[Row[Any]]:
    """By organisation and district: devices that have ever reported, and those quiet for that part of their limit."""
    heard = type_coerce(_DEVICE.c.last_received_at, BigInteger)
    now_us, part_us = (now - EPOCH) // MICROSECOND, round(nearly * 1_000_000)
    lost = heard + cast(_DEVICE.c.silent_after_s, BigInteger) * part_us <= now_us
    return tx.conn.execute(
        select(
            _DEVICE.c.organisation_id,
            _DEVICE.c.district_code,
            func.count().label("devices"),
            func.sum(case((lost, 1), else_=0)).label("lost"),
        )
        .where(_DEVICE.c.revoked_at.is_(None), _DEVICE.c.last_received_at.is_not(None))
        .group_by(_DEVICE.c.organisation_id, _DEVICE.c.district_code)
    ).all()


def reporting_devices(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    """When each device of an organisation that has ever reported was last heard."""
    names = ("patient_id", "district_code", "last_received_at", "silent_after_s")
    known: list[Any] = [_DEVICE.c[name] for name in names]
    return tx.conn.execute(
        select(*known).where(
            _DEVICE.c.organisation_id == organisation_id,
            _DEVICE.c.revoked_at.is_(None),
            _DEVICE.c.last_received_at.is_not(None),
        )
    ).all()


def last_heard(tx: Tx, since: datetime) -> tuple[datetime | None, int]:
    """When anything came from anybody, and how many devices were heard since then."""
    row = tx.conn.execute(
        select(func.max(_DEVICE.c.last_received_at).label("at"), func.count().label("devices")).where(
            _DEVICE.c.last_received_at > since, _DEVICE.c.revoked_at.is_(None)
        )
    ).one()
    return row.at, row.devices
