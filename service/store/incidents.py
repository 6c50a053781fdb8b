"""Queries about alarm conditions, incidents, their log and the consoles' events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, bindparam, exists, func, insert, select, update

from service.store.database import Tx
from service.store.tables import AlarmConditionRow, Counter, Event, IncidentLog, IncidentRow, table

_CONDITION, _INCIDENT = table(AlarmConditionRow), table(IncidentRow)
_LOG, _EVENT, _COUNTER = table(IncidentLog), table(Event), table(Counter)
_ONE = select(_INCIDENT).where(_INCIDENT.c.id == bindparam("of"))


def add_condition(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_CONDITION), values)


def open_conditions(tx: Tx, patient_ids: list[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.patient_id.in_(patient_ids), _CONDITION.c.ended_at.is_(None))
        .order_by(_CONDITION.c.detected_at)
    ).all()


def conditions_of(tx: Tx, patient_id: UUID, most: int = 200) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.patient_id == patient_id)
        .order_by(_CONDITION.c.detected_at.desc())
        .limit(most)
    ).all()


def end_conditions(tx: Tx, patient_id: UUID, codes: list[str], now: datetime) -> int:
    done = tx.conn.execute(
        update(_CONDITION)
        .where(
            _CONDITION.c.patient_id == patient_id,
            _CONDITION.c.code.in_(codes),
            _CONDITION.c.ended_at.is_(None),
        )
        .values(ended_at=now)
        .returning(_CONDITION.c.incident_id)
    )
    theirs = done.scalars().all()
    cases = [one for one in theirs if one is not None]
    if cases:
        closed = _INCIDENT.c.id.in_(cases), _INCIDENT.c.closed_at.is_not(None)
        tx.conn.execute(update(_INCIDENT).where(*closed).values(proof_due_at=_INCIDENT.c.closed_at))
    return len(theirs)


def still_open(tx: Tx, codes: list[str], organisation_id: UUID | None = None) -> Sequence[Row[Any]]:
    """Open conditions of these codes, of everybody or of one organisation's people."""
    query = select(_CONDITION).where(_CONDITION.c.ended_at.is_(None), _CONDITION.c.code.in_(codes))
    if organisation_id is not None:
        query = query.where(_CONDITION.c.organisation_id == organisation_id)
    return tx.conn.execute(query.order_by(_CONDITION.c.detected_at)).all()


def lasting_conditions(tx: Tx, closed_before: datetime, most: int = 50) -> Sequence[Row[Any]]:
    """Open physiological conditions whose case was closed some time ago."""
    return tx.conn.execute(
        select(_CONDITION, _INCIDENT.c.closed_at)
        .join(
            _INCIDENT,
            and_(
                _INCIDENT.c.patient_id == _CONDITION.c.patient_id, _INCIDENT.c.id == _CONDITION.c.incident_id
            ),
        )
        .where(
            _CONDITION.c.ended_at.is_(None),
            _CONDITION.c.kind == "physiological",
            _CONDITION.c.priority.in_(["high", "medium"]),
            _INCIDENT.c.closed_at <= closed_before,
        )
        .limit(most)
    ).all()


def condition_ended(tx: Tx, patient_id: UUID, condition_id: UUID) -> bool:
    return (
        tx.conn.execute(
            select(_CONDITION.c.id).where(
                _CONDITION.c.patient_id == patient_id,
                _CONDITION.c.id == condition_id,
                _CONDITION.c.ended_at.is_(None),
            )
        ).first()
        is None
    )


def incident(tx: Tx, incident_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(_ONE, {"of": incident_id}).first()


def open_incident_of(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.closed_at.is_(None))
        .order_by(_INCIDENT.c.opened_at.desc())
        .limit(1)
    ).first()


def open_incidents(tx: Tx, organisation_id: UUID, patient_ids: list[UUID] | None = None) -> Sequence[Row[Any]]:
    query = select(_INCIDENT).where(
        _INCIDENT.c.organisation_id == organisation_id, _INCIDENT.c.closed_at.is_(None)
    )
    if patient_ids is not None:
        query = query.where(_INCIDENT.c.patient_id.in_(patient_ids))
    return tx.conn.execute(query.order_by(_INCIDENT.c.opened_at)).all()


def list_incidents(
    tx: Tx, organisation_id: UUID, *, state: str | None, before: UUID | None, most: int
) -> Sequence[Row[Any]]:
    """Newest first; ids are time-ordered, so the cursor is an id."""
    query = select(_INCIDENT).where(_INCIDENT.c.organisation_id == organisation_id)
    if state == "open":
        query = query.where(_INCIDENT.c.closed_at.is_(None))
    elif state is not None:
        query = query.where(_INCIDENT.c.state == state)
    if before is not None:
        query = query.where(_INCIDENT.c.id < before)
    return tx.conn.execute(query.order_by(_INCIDENT.c.id.desc()).limit(most)).all()


def incidents_of(tx: Tx, patient_id: UUID, most: int = 50) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id)
        .order_by(_INCIDENT.c.opened_at.desc())
        .limit(most)
    ).all()


def due_incidents(tx: Tx, now: datetime, most: int = 200) -> list[tuple[UUID, UUID]]:
    """(patient, incident) whose next step is due, the most overdue first."""
    rows = tx.conn.execute(
        select(_INCIDENT.c.patient_id, _INCIDENT.c.id)
        .where(_INCIDENT.c.next_step_at <= now)
        .order_by(_INCIDENT.c.next_step_at)
        .limit(most)
    )
    return [(row.patient_id, row.id) for row in rows]


def all_open_incidents(tx: Tx) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_INCIDENT).where(_INCIDENT.c.closed_at.is_(None))).all()


def any_open(tx: Tx) -> bool:
    """Whether anything real is open anywhere; asked often, so no case is loaded for it."""
    return bool(tx.conn.execute(select(exists().where(_INCIDENT.c.closed_at.is_(None)))).scalar())


def oldest_due_step(tx: Tx) -> datetime | None:
    return tx.conn.execute(
        select(_INCIDENT.c.next_step_at)
        .where(_INCIDENT.c.next_step_at.is_not(None))
        .order_by(_INCIDENT.c.next_step_at)
        .limit(1)
    ).scalar()


def count_open(tx: Tx) -> int:
    return tx.conn.execute(
        select(func.count()).select_from(_INCIDENT).where(_INCIDENT.c.closed_at.is_(None))
    ).scalar_one()


def add_incident(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_INCIDENT), values)


def save_incident(tx: Tx, patient_id: UUID, incident_id: UUID, version: int, **values: Any) -> bool:
    """Compare-and-set: ``version`` is the new one; False when somebody else was faster."""
    done = tx.conn.execute(
        update(_INCIDENT)
        .where(
            _INCIDENT.c.patient_id == patient_id,
            _INCIDENT.c.id == incident_id,
            _INCIDENT.c.version == version - 1,
        )
        .values(version=version, **values)
    )
    return done.rowcount == 1


def put_off(tx: Tx, patient_id: UUID, incident_id: UUID, until: datetime) -> None:
    """An incident that cannot be opened is looked at again later, and never forgotten."""
    tx.conn.execute(
        update(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.id == incident_id)
        .values(next_step_at=until)
    )


def last_log(tx: Tx, patient_id: UUID, incident_id: UUID) -> tuple[int, bytes]:
    row = tx.conn.execute(
        select(_LOG.c.seq, _LOG.c.hash)
        .where(_LOG.c.patient_id == patient_id, _LOG.c.incident_id == incident_id)
        .order_by(_LOG.c.seq.desc())
        .limit(1)
    ).first()
    return (row.seq, row.hash) if row else (0, incident_id.bytes)


def add_log(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.conn.execute(insert(_LOG), rows)


def log(tx: Tx, patient_id: UUID, incident_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_LOG)
        .where(_LOG.c.patient_id == patient_id, _LOG.c.incident_id == incident_id)
        .order_by(_LOG.c.seq)
    ).all()


def last_cursor(tx: Tx) -> int:
    return tx.conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == "event")).scalar() or 0


def events_after(tx: Tx, cursor: int, most: int = 500) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_EVENT).where(_EVENT.c.cursor > cursor).order_by(_EVENT.c.cursor).limit(most)
    ).all()
