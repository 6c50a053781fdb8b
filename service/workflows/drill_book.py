"""Drills as they are kept: opened, changed and put back under the patient's lock, and what their end proves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import drill as rules
from dispatch.drill import Drill, DrillDecision, DrillPolicy, Purpose
from service.store import drills as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, people
from service.workflows.house import House, log


@dataclass
class Held:
    """One drill while it is being changed."""

    patient: Row[Any]
    drill: Drill
    version: int


def policy(house: House, now: datetime) -> DrillPolicy:
    return DrillPolicy(utc_offset_s=people.utc_offset_s(house, now))


def opened(house: House, row: Row[Any]) -> Drill:
    """Raises SealBroken or KeyErased when it cannot be opened."""
    return house.unseal(row.patient_id, "drill", f"{row.id}:{row.version}", row.sealed, Drill)


def load(house: House, tx: Tx, patient_id: UUID, drill_id: UUID) -> Held | None:
    """The drill under its patient's lock; raises SealBroken or KeyErased when it cannot be opened."""
    patient = people_store.lock_patient(tx, patient_id)
    row = store.drill(tx, drill_id)
    if patient is None or row is None:
        return None
    return Held(patient, opened(house, row), row.version)


def settle(house: House, tx: Tx, held: Held, decision: DrillDecision, now: datetime) -> Drill:
    """Write a decision down: the drill, its outbox rows and what its end proves, or none of them."""
    drill, patient = decision.drill, held.patient
    if held.version and decision == DrillDecision(drill=held.drill):
        return drill
    version = held.version + 1
    values = {
        "state": drill.state.value,
        "next_step_at": drill.next_step_at,
        "ended_at": drill.ended_at,
        "sealed": house.seal(drill.patient_id, "drill", f"{drill.id}:{version}", drill),
    }
    if version == 1:
        store.add(
            tx,
            patient_id=patient.patient_id,
            id=drill.id,
            organisation_id=patient.organisation_id,
            district_code=patient.district_code,
            purpose=drill.purpose.value,
            started_at=now,
            version=1,
            **values,
        )
    elif not store.save(tx, patient.patient_id, drill.id, version, **values):
        raise RuntimeError(f"drill {drill.id} changed under its patient's lock")
    if decision.cancel or (drill.over and not held.drill.over):
        store.cancel_pending(tx, patient.patient_id, now, drill.id)
    cases.enqueue(house, tx, patient, drill.id, decision.steps, now)
    if drill.over and (not held.drill.over or version == 1):
        _over(house, tx, patient, drill, now)
    held.drill, held.version = drill, version
    return drill


def _over(house: House, tx: Tx, patient: Row[Any], drill: Drill, now: datetime) -> None:
    log("drill_over", patient=patient.patient_id, drill=drill.id, purpose=drill.purpose, state=drill.state)
    if drill.purpose is Purpose.VERIFY:
        for rung in drill.reached:
            mended(tx, patient, rung.person_id, now, proven=False)
        return
    before = store.reachability(tx, patient.patient_id)
    links = [link.value for link in drill.links] + [f"{one.person_id}:{one.broken}" for one in drill.missed]
    since = before.broken_since if before is not None else None
    first = before is None or (before.proven_at is None and before.broken_since is None)
    values: dict[str, Any] = {
        "broken_since": (since or now) if links else None,
        "broken_link": ",".join(links),
        "drill_due_at": rules.next_due(patient.patient_id, now, policy(house, now), first=first),
    }
    if drill.detected_at is not None and drill.reached:
        values["proven_at"] = now
    store.set_reachability(tx, patient.patient_id, patient.organisation_id, **values)
    tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)


def mended(tx: Tx, patient: Row[Any], person_id: UUID, now: datetime, *, proven: bool) -> None:
    """A contact who was missed has answered after all; ``proven``: to a drill that had come through every link."""
    row = store.reachability(tx, patient.patient_id)
    if row is None or not row.broken_link:
        return
    left = [one for one in row.broken_link.split(",") if not one.startswith(f"{person_id}:")]
    if len(left) == len(row.broken_link.split(",")):
        return
    values: dict[str, Any] = {"broken_link": ",".join(left)}
    if not left:
        values["broken_since"] = None
    if proven:
        values["proven_at"] = now
    store.set_reachability(tx, patient.patient_id, patient.organisation_id, **values)
    tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)
