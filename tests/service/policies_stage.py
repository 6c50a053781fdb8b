"""Publishing escalation policies for the tests of them, and which one then holds for somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from doors_stage import Stage

from dispatch.incident import Policy
from service.store import people as people_store
from service.workflows import people, plans, policies
from service.workflows.people import Profile
from service.workflows.policies import Place, Scope

ORGANISATION = Place()
DISTRICT = Place(scope=Scope.DISTRICT, district_code="26350")


def text(overlap_s: int, title: str = "Haeundae") -> str:
    return f'title = "{title}"\n[ask]\noverlap_s = {overlap_s}\n'


def staff(stage: Stage, role: str, organisation_id: UUID | None = None) -> UUID:
    house, own = stage.house, organisation_id or stage.organisation_id
    login = f"{role}-{uuid4()}"
    person_id = people.add_person(house, own, Profile(name="정하늘"), login=login, password="a password")
    people.add_role(house, person_id, own, role)
    return person_id


def put(stage: Stage, author: UUID, where: Place, written: str, **more: Any) -> str:
    return policies.publish(stage.house, stage.organisation_id, author, where, written, **more)


def plan_of(stage: Stage, patient_id: UUID) -> Policy:
    with stage.house.database.read() as tx:
        patient = people_store.patient(tx, patient_id)
        assert patient is not None
        return plans.policy_for(stage.house, tx, patient)[0]
