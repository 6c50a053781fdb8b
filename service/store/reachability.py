"""Queries about what is known of reaching help for a person: the gaps ahead, and when somebody looked last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, or_, select, update

from service.store.database import Tx
from service.store.outbox import CANCELLED, EXPIRED, FAILED
from service.store.tables import Notification, Patient, Person, Reachability, table

_REACH, _PATIENT, _PERSON, _OUTBOX = table(Reachability), table(Patient), table(Person), table(Notification)


def of(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_REACH).where(_REACH.c.patient_id == patient_id)).first()


def save(tx: Tx, patient_id: UUID, organisation_id: UUID, **values: Any) -> None:
    """Change what is named and leave the rest; the row is made where there is none. Under the patient's lock."""
    done = tx.conn.execute(update(_REACH).where(_REACH.c.patient_id == patient_id).values(**values))
    if done.rowcount == 0:
        row = {"patient_id": patient_id, "organisation_id": organisation_id, "broken_link": ""} | values
        tx.conn.execute(insert(_REACH).values(**row))


def to_look_at(tx: Tx, before: datetime, now: datetime, most: int = 50) -> Sequence[Any]:
    """Patients at whom nobody looked since ``before``, or whose contacts changed: those never looked at first.

    Beside each: when somebody last looked, None where something changed since.
    """
    return tx.conn.execute(
        select(_PATIENT.c.patient_id, _REACH.c.looked_at)
        .outerjoin(_REACH, _REACH.c.patient_id == _PATIENT.c.patient_id)
        .where(or_(_REACH.c.looked_at.is_(None), _REACH.c.looked_at <= before, _REACH.c.looked_at > now))
        .order_by(_REACH.c.looked_at)
        .limit(most)
    ).all()


def looked_in_vain(tx: Tx, patient_ids: list[UUID], before: datetime, now: datetime) -> None:
    """Nothing new with these; a change that came since the look keeps its own."""
    still = or_(_REACH.c.looked_at <= before, _REACH.c.looked_at > now)
    tx.conn.execute(update(_REACH).where(_REACH.c.patient_id.in_(patient_ids), still).values(looked_at=now))


def look_again(tx: Tx, patient_ids: list[UUID]) -> None:
    """Something about their contacts changed: the next tick looks, not the next hour.

    A row that somebody else holds is passed over: they may be waiting for one of ours, and the hour comes anyway.
    """
    if patient_ids:
        free = select(_REACH.c.patient_id).where(_REACH.c.patient_id.in_(patient_ids)).with_for_update(skip_locked=True)
        tx.conn.execute(update(_REACH).where(_REACH.c.patient_id.in_(free)).values(looked_at=None))


def with_gaps(tx: Tx, organisation_id: UUID, now: datetime) -> Sequence[Row[Any]]:
    """People of an organisation for whom a time is near in which nobody can be reached, the nearest first."""
    return tx.conn.execute(
        select(_REACH)
        .where(
            _REACH.c.organisation_id == organisation_id,
            _REACH.c.gap_from.is_not(None),
            or_(_REACH.c.gap_until.is_(None), _REACH.c.gap_until > now),
        )
        .order_by(_REACH.c.gap_from)
    ).all()


def count_gaps(tx: Tx, now: datetime) -> int:
    return tx.conn.execute(
        select(func.count())
        .select_from(_REACH)
        .where(_REACH.c.gap_from.is_not(None), or_(_REACH.c.gap_until.is_(None), _REACH.c.gap_until > now))
    ).scalar_one()


def warned(tx: Tx, warning_id: UUID) -> dict[UUID, tuple[int, bool]]:
    """Who was written to about one gap: how often, and whether that has reached a carrier or still may."""
    rows = tx.conn.execute(
        select(_OUTBOX.c.target_id, _OUTBOX.c.attempt, _OUTBOX.c.status).where(_OUTBOX.c.incident_id == warning_id)
    )
    found: dict[UUID, tuple[int, bool]] = {}
    for row in rows:
        attempt, told = found.get(row.target_id, (0, False))
        found[row.target_id] = max(attempt, row.attempt), told or row.status not in {FAILED, EXPIRED, CANCELLED}
    return found


def save_person(tx: Tx, person_id: UUID, version: int, sealed: bytes) -> bool:
    """Compare-and-set of a person's record: False when somebody else was faster."""
    done = tx.conn.execute(
        update(_PERSON)
        .where(_PERSON.c.id == person_id, _PERSON.c.version == version - 1)
        .values(version=version, sealed=sealed)
    )
    return done.rowcount == 1
