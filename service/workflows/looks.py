"""Whose record something is, and the trace that every look at it leaves."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from service.store import audit
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows.house import House


def whose(house: House, incident_id: UUID) -> tuple[UUID, UUID, bool]:
    """(patient, organisation, whether it is open) of an incident; LookupError when there is none."""
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
    if row is None:
        raise LookupError(f"no incident {incident_id}")
    return row.patient_id, row.organisation_id, row.closed_at is None


def standing(house: House, patient_id: UUID) -> tuple[UUID, bool]:
    """(organisation, whether an incident is open) of a patient; LookupError when there is none."""
    with house.database.read() as tx:
        row = people_store.patient(tx, patient_id)
        if row is None:
            raise LookupError(f"no patient {patient_id}")
        return row.organisation_id, store.open_incident_of(tx, patient_id) is not None


def note_access(
    house: House,
    patient_id: UUID,
    viewer_id: UUID,
    role: str,
    purpose: str,
    incident_id: UUID | None,
    *,
    again_after: timedelta,
) -> None:
    """Append to the patient's access log, unless this very look was noted a moment ago."""
    now = house.clock()
    with house.database.read() as tx:
        last = audit.last_access(tx, patient_id, viewer_id, purpose, incident_id)
    if last is not None and now - again_after < last.at <= now and not purpose.startswith("action:"):
        return

    def work(tx: Tx) -> None:
        people_store.lock_patient(tx, patient_id)
        audit.add_access(
            tx,
            patient_id=patient_id,
            at=now,
            viewer_id=viewer_id,
            viewer_role=role,
            purpose=purpose,
            incident_id=incident_id,
        )

    house.committer.run(work, key=patient_id)
