"""Queries about snoozes and what they hold back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, update

from service.store.database import Tx
from service.store.tables import AlarmConditionRow, Snooze, table

_CONDITION, _SNOOZE = table(AlarmConditionRow), table(Snooze)


def add(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_SNOOZE).values(**values))


def running(tx: Tx, patient_id: UUID) -> Sequence[Row[Any]]:
    """Snoozes of one person that nobody and nothing ended yet."""
    return tx.conn.execute(
        select(_SNOOZE)
        .where(_SNOOZE.c.patient_id == patient_id, _SNOOZE.c.ended_at.is_(None))
        .order_by(_SNOOZE.c.until_at)
    ).all()


def all_running(tx: Tx) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_SNOOZE).where(_SNOOZE.c.ended_at.is_(None)).order_by(_SNOOZE.c.until_at)).all()


def one(tx: Tx, patient_id: UUID, snooze_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_SNOOZE).where(_SNOOZE.c.patient_id == patient_id, _SNOOZE.c.id == snooze_id)
    ).first()


def end(tx: Tx, patient_id: UUID, snooze_id: UUID, now: datetime) -> bool:
    """Whether it was still running."""
    done = tx.conn.execute(
        update(_SNOOZE)
        .where(_SNOOZE.c.patient_id == patient_id, _SNOOZE.c.id == snooze_id, _SNOOZE.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    return done.rowcount == 1


def move(tx: Tx, patient_id: UUID, snooze_id: UUID, from_at: datetime, until_at: datetime) -> None:
    tx.conn.execute(
        update(_SNOOZE)
        .where(_SNOOZE.c.patient_id == patient_id, _SNOOZE.c.id == snooze_id)
        .values(from_at=from_at, until_at=until_at)
    )


def held(tx: Tx, patient_id: UUID) -> Sequence[Row[Any]]:
    """What is held back of one person and still true."""
    return tx.conn.execute(
        select(_CONDITION)
        .where(
            _CONDITION.c.patient_id == patient_id,
            _CONDITION.c.held_until.is_not(None),
            _CONDITION.c.ended_at.is_(None),
        )
        .order_by(_CONDITION.c.detected_at)
    ).all()


def all_held(tx: Tx) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.held_until.is_not(None), _CONDITION.c.ended_at.is_(None))
        .order_by(_CONDITION.c.held_until)
    ).all()


def hold(tx: Tx, patient_id: UUID, condition_id: UUID, until: datetime | None) -> None:
    tx.conn.execute(
        update(_CONDITION)
        .where(_CONDITION.c.patient_id == patient_id, _CONDITION.c.id == condition_id)
        .values(held_until=until)
    )


def cleared_since(tx: Tx, patient_id: UUID, code: str, since: datetime) -> int:
    """How many held ones of a code ended by themselves since then."""
    return tx.conn.execute(
        select(func.count())
        .select_from(_CONDITION)
        .where(
            _CONDITION.c.patient_id == patient_id,
            _CONDITION.c.code == code,
            _CONDITION.c.held_until.is_not(None),
            _CONDITION.c.ended_at >= since,
        )
    ).scalar_one()


def overdue(tx: Tx, before: datetime) -> int:
    """Snoozes and held conditions whose end passed before that moment without anybody noticing."""
    snoozes = select(func.count()).select_from(_SNOOZE).where(
        _SNOOZE.c.ended_at.is_(None), _SNOOZE.c.until_at < before
    )
    conditions = select(func.count()).select_from(_CONDITION).where(
        _CONDITION.c.held_until < before, _CONDITION.c.ended_at.is_(None)
    )
    return int(tx.conn.execute(snoozes).scalar_one() + tx.conn.execute(conditions).scalar_one())


def anything(tx: Tx) -> bool:
    """Whether a snooze runs or something is held: most of the time nothing is."""
    found = tx.conn.execute(select(_SNOOZE.c.id).where(_SNOOZE.c.ended_at.is_(None)).limit(1)).first()
    return found is not None or (
        tx.conn.execute(
            select(_CONDITION.c.id)
            .where(_CONDITION.c.held_until.is_not(None), _CONDITION.c.ended_at.is_(None))
            .limit(1)
        ).first()
        is not None
    )
