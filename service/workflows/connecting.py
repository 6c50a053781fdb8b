"""A dispatcher asks to be connected with the person: the desk's telephone rings, and one key bridges it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from dispatch.incident import Channel, NotificationKind, Target
from service.sealing import SealingError
from service.store import incidents as store
from service.store import outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, people
from service.workflows.house import DESK, House, log, new_id
from service.workflows.incidents import Refused
from service.workflows.telephone_stages import CONNECT

VALID = timedelta(minutes=2)
"""Policy: whoever asked has given up by then."""
AGAIN_AFTER = timedelta(seconds=20)
"""A button pressed twice is one call."""


def connect(house: House, person_id: UUID, incident_id: UUID) -> None:
    """Ring the desk now. LookupError for no such case, Refused where nobody can be connected."""
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        if row is None:
            raise LookupError(f"no incident {incident_id}")
        try:
            number = people.number_of(house, tx, row.patient_id)
        except SealingError as error:
            raise Refused("this person's record cannot be opened", code="record_unreadable") from error
    if row.closed_at is not None or number is None or not house.settings.fallback_number:
        raise Refused("the case must be open, and both the person and the desk need a telephone number")

    def work(tx: Tx) -> None:
        _enqueue(house, tx, row.patient_id, incident_id, person_id)

    house.committer.run(work, key=row.patient_id)
    log("connect_asked", incident=incident_id, by=person_id)


def _enqueue(house: House, tx: Tx, patient_id: UUID, incident_id: UUID, person_id: UUID) -> None:
    patient = people_store.lock_patient(tx, patient_id)
    now, notification_id = house.clock(), new_id()
    asked = [n for n in outbox.notifications_of(tx, [incident_id]) if n.step == CONNECT]
    if patient is None or (asked and now - asked[-1].created_at < AGAIN_AFTER):
        return
    message = cases.Message(params={"by": f"person:{person_id}"}, language=house.settings.desk_language.value)
    row = {
        "patient_id": patient_id,
        "id": notification_id,
        "organisation_id": patient.organisation_id,
        "incident_id": incident_id,
        "step": CONNECT,
        "target": Target.DESK.value,
        "target_id": DESK,
        "channel": Channel.VOICE.value,
        "attempt": outbox.next_attempt(tx, incident_id, CONNECT, DESK, Channel.VOICE.value),
        "kind": NotificationKind.DISPATCH.value,
        "message": CONNECT,
        "sealed": house.seal(patient_id, "notification", str(notification_id), message),
        "created_at": now,
        "due_at": now,
        "expires_at": now + VALID,
        "status": outbox.PENDING,
        "tries": 0,
    }
    outbox.add_notifications(tx, [row])
