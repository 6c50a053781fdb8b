"""Queries of the auditor: what should have moved and did not."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select, update

from dispatch.incident import SETTLING, State
from service.store import snoozes
from service.store.database import Tx
from service.store.outbox import CANCELLED, CLAIMED, PAGING, PENDING
from service.store.tables import DrillRow, IncidentRow, Notification, table

_INCIDENT, _OUTBOX, _DRILL = table(IncidentRow), table(Notification), table(DrillRow)
_OVER = [State.CLOSED.value, *(state.value for state in SETTLING)]


def steps_overdue(tx: Tx, before: datetime) -> int:
    """Incidents whose next step was due before that moment; a closed one has none."""
    return _count(tx, select(func.count()).select_from(_INCIDENT).where(_INCIDENT.c.next_step_at < before))


def pages_after_ack(tx: Tx) -> list[tuple[UUID, UUID]]:
    """(patient, notification) of pages and questions that may still be claimed although somebody has the case."""
    rows = tx.conn.execute(
        select(_OUTBOX.c.patient_id, _OUTBOX.c.id)
        .join(
            _INCIDENT, and_(_INCIDENT.c.patient_id == _OUTBOX.c.patient_id, _INCIDENT.c.id == _OUTBOX.c.incident_id)
        )
        .where(
            _OUTBOX.c.status == PENDING,
            _OUTBOX.c.kind.in_(PAGING),
            or_(_INCIDENT.c.acknowledged, _INCIDENT.c.state.in_(_OVER)),
        )
        .limit(200)
    )
    return [(row.patient_id, row.id) for row in rows]


def cancel_page(tx: Tx, notification_id: UUID, now: datetime) -> bool:
    """Take one such page back; False when a worker or somebody else was faster."""
    held = (
        select(_INCIDENT.c.id)
        .where(
            _INCIDENT.c.id == _OUTBOX.c.incident_id,
            _INCIDENT.c.patient_id == _OUTBOX.c.patient_id,
            or_(_INCIDENT.c.acknowledged, _INCIDENT.c.state.in_(_OVER)),
        )
        .exists()
    )
    done = tx.conn.execute(
        update(_OUTBOX)
        .where(_OUTBOX.c.id == notification_id, _OUTBOX.c.status == PENDING, held)
        .values(status=CANCELLED, ended_at=now)
    )
    return done.rowcount == 1


def leases_dead(tx: Tx, before: datetime) -> int:
    """Messages whose worker is gone and that nobody took over."""
    return _count(
        tx,
        select(func.count()).select_from(_OUTBOX).where(_OUTBOX.c.status == CLAIMED, _OUTBOX.c.lease_until < before),
    )


def quiet_overdue(tx: Tx, before: datetime) -> int:
    """Snoozes, what they hold, and drills that should be over."""
    drills = select(func.count()).select_from(_DRILL).where(
        _DRILL.c.next_step_at < before, _DRILL.c.ended_at.is_(None)
    )
    return snoozes.overdue(tx, before) + _count(tx, drills)


def _count(tx: Tx, query: Any) -> int:
    return int(tx.conn.execute(query).scalar_one())
