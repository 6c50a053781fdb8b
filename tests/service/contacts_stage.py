"""A case of somebody whose contacts are quiet, away, unproven, wrong and proven, for the pages that say so."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from doors_stage import Stage

from service.store import incidents as incident_store
from service.store import people as people_store
from service.workflows import availability, people
from service.workflows.availability import Availability, Hours
from service.workflows.people import Profile

NAMES = ("김조용", "이여행", "박미확", "최확인")


def contact(stage: Stage, patient_id: UUID, name: str, position: int, *, proven: bool = True) -> UUID:
    phone = f"+82105557000{position}"
    made = people.add_person(stage.house, stage.organisation_id, Profile(name=name, phones=[phone]))
    role = {"patient_id": patient_id, "position": position, "relation": "son"}
    people.add_role(stage.house, made, stage.organisation_id, "caregiver", **role)
    if proven:
        with stage.house.database.write() as tx:
            index = stage.house.keys.blind_index("phone", phone)
            people_store.phone_answered(tx, made, index, stage.clock())
    return made


def hours_around(stage: Stage) -> Hours:
    """Quiet hours of local time that hold now and end in two hours."""
    local = stage.clock() + timedelta(seconds=people.utc_offset_s(stage.house, stage.clock()))
    begins, ends = local - timedelta(hours=1), local + timedelta(hours=2)
    return Hours(from_=f"{begins:%H:%M}", to=f"{ends:%H:%M}")


def case_with_contacts(stage: Stage, patient_id: UUID | None = None) -> UUID:
    """An SOS of somebody with one contact of each kind; the incident."""
    patient_id = patient_id or stage.patient("정만수", phone="+821055500105")
    quiet, away, _, _ = (contact(stage, patient_id, name, n, proven=name != "박미확") for n, name in enumerate(NAMES))
    availability.change(stage.house, quiet, Availability(quiet=[hours_around(stage)]))
    availability.change(stage.house, away, Availability(away_until=stage.clock() + timedelta(days=3)))
    band = stage.band(patient_id)
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    with stage.house.database.read() as tx:
        [row] = [r for r in incident_store.all_open_incidents(tx) if r.patient_id == patient_id]
    incident_id: UUID = row.id
    return incident_id
