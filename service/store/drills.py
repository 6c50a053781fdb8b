"""Queries about drills, verifications, virtual bands and what is proven about reaching help."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, exists, insert, or_, select, update

from service.store.database import Tx
from service.store.tables import (
    DrillRow,
    IncidentRow,
    Membership,
    Notification,
    Patient,
    PersonPhone,
    Reachability,
    VirtualBand,
    table,
)

_DRILL, _REACH, _BAND = table(DrillRow), table(Reachability), table(VirtualBand)
_OUTBOX, _PATIENT, _MEMBER, _PHONE = table(Notification), table(Patient), table(Membership), table(PersonPhone)
_INCIDENT = table(IncidentRow)

GOING_ON = ("running", "waiting")
DRILL, VERIFY = "drill", "verify"
STEPS = ("drill", "verify", "drill_news")


def add(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_DRILL).values(**values))


def drill(tx: Tx, drill_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_DRILL).where(_DRILL.c.id == drill_id)).first()


def save(tx: Tx, patient_id: UUID, drill_id: UUID, version: int, **values: Any) -> bool:
    """Compare-and-set: ``version`` is the new one; False when somebody else was faster."""
    done = tx.conn.execute(
        update(_DRILL)
        .where(_DRILL.c.patient_id == patient_id, _DRILL.c.id == drill_id, _DRILL.c.version == version - 1)
        .values(version=version, **values)
    )
    return done.rowcount == 1


def going_on(tx: Tx, patient_id: UUID, purpose: str = DRILL) -> Sequence[Row[Any]]:
    """A patient's drills (or verifications) that are not over, newest first."""
    return tx.conn.execute(
        select(_DRILL)
        .where(_DRILL.c.patient_id == patient_id, _DRILL.c.purpose == purpose, _DRILL.c.state.in_(GOING_ON))
        .order_by(_DRILL.c.started_at.desc())
    ).all()


def last_of(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    """The newest drill of a patient, over or not."""
    return tx.conn.execute(
        select(_DRILL)
        .where(_DRILL.c.patient_id == patient_id, _DRILL.c.purpose == DRILL)
        .order_by(_DRILL.c.started_at.desc())
        .limit(1)
    ).first()


def running_in(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    """Every drill of an organisation that is not over."""
    return tx.conn.execute(
        select(_DRILL).where(
            _DRILL.c.organisation_id == organisation_id, _DRILL.c.purpose == DRILL, _DRILL.c.state.in_(GOING_ON)
        )
    ).all()


def due(tx: Tx, now: datetime, longest: timedelta, most: int = 50) -> list[tuple[UUID, UUID]]:
    """(patient, drill) whose next step is due; one too far off was written before a clock was set back."""
    rows = tx.conn.execute(
        select(_DRILL.c.patient_id, _DRILL.c.id)
        .where(or_(_DRILL.c.next_step_at <= now, _DRILL.c.next_step_at > now + longest))
        .order_by(_DRILL.c.next_step_at)
        .limit(most)
    )
    return [(row.patient_id, row.id) for row in rows]


def give_up(tx: Tx, patient_id: UUID, drill_id: UUID, now: datetime) -> None:
    """A drill that does not open cannot go on."""
    tx.conn.execute(
        update(_DRILL)
        .where(_DRILL.c.patient_id == patient_id, _DRILL.c.id == drill_id)
        .values(state="broken", next_step_at=None, ended_at=now)
    )


def cancel_pending(tx: Tx, patient_id: UUID, now: datetime, drill_id: UUID | None = None) -> None:
    """Nothing of a drill that no worker holds yet is sent any more."""
    query = update(_OUTBOX).where(
        _OUTBOX.c.patient_id == patient_id, _OUTBOX.c.step.in_(STEPS), _OUTBOX.c.status == "pending"
    )
    if drill_id is not None:
        query = query.where(_OUTBOX.c.incident_id == drill_id)
    tx.conn.execute(query.values(status="cancelled", ended_at=now))


def yield_to_incident(tx: Tx, patient_id: UUID, now: datetime) -> None:
    """A real incident opens: in the same commit the drill's messages are off, and it is looked at anew at once."""
    held = tx.conn.execute(
        update(_DRILL)
        .where(_DRILL.c.patient_id == patient_id, _DRILL.c.state == "running")
        .values(next_step_at=now)
    )
    if held.rowcount:
        cancel_pending(tx, patient_id, now)


def last_closed(tx: Tx, patient_id: UUID) -> datetime | None:
    """When this person's latest incident was closed."""
    return tx.conn.execute(
        select(_INCIDENT.c.closed_at)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.closed_at.is_not(None))
        .order_by(_INCIDENT.c.closed_at.desc())
        .limit(1)
    ).scalar()


def in_an_incident(tx: Tx, person_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these contacts are somebody's whose incident is open and has nobody yet."""
    if not person_ids:
        return set()
    query = (
        select(_MEMBER.c.person_id)
        .join(_INCIDENT, _INCIDENT.c.patient_id == _MEMBER.c.patient_id)
        .where(
            _MEMBER.c.person_id.in_(list(person_ids)),
            _MEMBER.c.role == "caregiver",
            _MEMBER.c.ended_at.is_(None),
            _INCIDENT.c.closed_at.is_(None),
            _INCIDENT.c.acknowledged.is_(False),
        )
    )
    return set(tx.conn.execute(query).scalars())


# --- what is proven


def reachability(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_REACH).where(_REACH.c.patient_id == patient_id)).first()


def reachabilities(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_REACH).where(_REACH.c.organisation_id == organisation_id)).all()


def set_reachability(tx: Tx, patient_id: UUID, organisation_id: UUID, **values: Any) -> None:
    done = tx.conn.execute(update(_REACH).where(_REACH.c.patient_id == patient_id).values(**values))
    if done.rowcount == 0:
        full = {"broken_link": "", **values}
        tx.conn.execute(insert(_REACH).values(patient_id=patient_id, organisation_id=organisation_id, **full))


def never_planned(tx: Tx, most: int = 50) -> Sequence[Row[Any]]:
    """People with a contact for whom no drill was ever planned."""
    planned = exists().where(_REACH.c.patient_id == _PATIENT.c.patient_id, _REACH.c.drill_due_at.is_not(None))
    contact = exists().where(
        _MEMBER.c.patient_id == _PATIENT.c.patient_id, _MEMBER.c.role == "caregiver", _MEMBER.c.ended_at.is_(None)
    )
    return tx.conn.execute(select(_PATIENT).where(~planned, contact).limit(most)).all()


def drills_due(tx: Tx, now: datetime, most: int) -> list[UUID]:
    """Whose monthly drill is due, the longest overdue first."""
    query = select(_REACH.c.patient_id).where(_REACH.c.drill_due_at <= now).order_by(_REACH.c.drill_due_at).limit(most)
    return list(tx.conn.execute(query).scalars())


def contacts_in(tx: Tx, organisation_id: UUID, patient_id: UUID | None = None) -> Sequence[Row[Any]]:
    """(patient, person) of every contact in an organisation, or of one patient, in the order of ringing."""
    query: Any = select(_MEMBER.c.patient_id, _MEMBER.c.person_id).where(
        _MEMBER.c.role == "caregiver", _MEMBER.c.ended_at.is_(None), _MEMBER.c.patient_id.is_not(None)
    )
    if patient_id is not None:
        query = query.where(_MEMBER.c.patient_id == patient_id)
    else:
        mine = select(_PATIENT.c.patient_id).where(_PATIENT.c.organisation_id == organisation_id)
        query = query.where(_MEMBER.c.patient_id.in_(mine))
    return tx.conn.execute(query.order_by(_MEMBER.c.patient_id, _MEMBER.c.position)).all()


def phones_in(tx: Tx, organisation_id: UUID, patient_id: UUID | None = None) -> Sequence[Row[Any]]:
    """What is known of the numbers of those contacts."""
    people = select(_MEMBER.c.person_id).where(_MEMBER.c.role == "caregiver", _MEMBER.c.ended_at.is_(None))
    if patient_id is not None:
        people = people.where(_MEMBER.c.patient_id == patient_id)
    else:
        mine = select(_PATIENT.c.patient_id).where(_PATIENT.c.organisation_id == organisation_id)
        people = people.where(_MEMBER.c.patient_id.in_(mine))
    return tx.conn.execute(select(_PHONE).where(_PHONE.c.person_id.in_(people))).all()


# --- the band that nobody wears


def band(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_BAND).where(_BAND.c.patient_id == patient_id)).first()


def is_virtual(tx: Tx, device_id: UUID) -> bool:
    return tx.conn.execute(select(_BAND.c.device_id).where(_BAND.c.device_id == device_id)).first() is not None


def add_band(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_BAND).values(**values))


def drop_band(tx: Tx, patient_id: UUID) -> None:
    tx.conn.execute(delete(_BAND).where(_BAND.c.patient_id == patient_id))
