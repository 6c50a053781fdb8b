"""Who may see what is proven about reaching help, start a drill, and have a number verified."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from service.access import Denied, Viewer, looked
from service.workflows import (
    contacts,
    drill_times,
    drills,
    looks,
    numbers,
    reachability,
    removing,
    verifying,
    watching,
)
from service.workflows.drill_times import Begins
from service.workflows.drills import NobodyToReach
from service.workflows.house import House, log
from service.workflows.incidents import Refused
from service.workflows.numbers import NumberRecord
from service.workflows.reachability import ReachRecord
from service.workflows.removing import Left, NoContact, Why
from service.workflows.verifying import NumberGiven

__all__ = [
    "Begins",
    "Left",
    "NoContact",
    "NobodyToReach",
    "NumberGiven",
    "NumberRecord",
    "ReachRecord",
    "Why",
]
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
STAFF = frozenset({"dispatcher", "operator"})


def reach(house: House, viewer: Viewer, patient_id: UUID, *, language: str) -> ReachRecord:
    """One person's; those linked to them see it, and the centre's staff."""
    _require_near(house, viewer, patient_id, "patients:read", "reachability")
    return reachability.of_patient(house, patient_id, language)


def reaches(house: House, viewer: Viewer, *, language: str) -> list[ReachRecord]:
    """Everybody's of the viewer's organisation, the broken first."""
    _require(bool(viewer.roles & STAFF) or "patients:read" in viewer.scopes, viewer, "reachability")
    return reachability.of_organisation(house, viewer.organisation_id, language)


def page(house: House, viewer: Viewer) -> dict[str, Any]:
    """The operator's list; names and whether help can be reached, no vitals."""
    _require(bool(viewer.roles & STAFF), viewer, "reachability")
    return reachability.face(house, viewer.organisation_id, viewer.language) | {"watched": watching.looks(house)}


def start_drill(house: House, viewer: Viewer, patient_id: UUID) -> UUID:
    """Start this person's drill now, or join the one that is going on."""
    _require_near(house, viewer, patient_id, "patients:write", "action:drill")
    return drills.begin(house, patient_id, f"person:{viewer.person_id}")


def begins(house: House, drill_id: UUID, language: str) -> Begins:
    """When what somebody has just begun asks, and why not at once; it says nothing of anybody."""
    return drill_times.of_drill(house, drill_id, language)


def verify_number(
    house: House, viewer: Viewer, patient_id: UUID, person_id: UUID, *, call: bool, now: bool = False
) -> UUID:
    """Ask at a contact's number whether it is theirs. Raises NobodyToReach.

    With ``now`` it rings at whatever hour: one's own telephone, or as staff that of somebody who asked for it.
    """
    purpose = "action:verify_number_now" if now else "action:verify_number"
    if now:
        organisation_id, _ = looks.standing(house, patient_id)
        _require(_may_wake(viewer, organisation_id, person_id), viewer, purpose)
    _require_near(house, viewer, patient_id, "patients:write", purpose)
    return verifying.begin(house, patient_id, person_id, f"person:{viewer.person_id}", call=call, now=now)


def _may_wake(viewer: Viewer, organisation_id: UUID, person_id: UUID) -> bool:
    return person_id == viewer.person_id or _is_staff(viewer, organisation_id, "patients:write")


def give_number(house: House, viewer: Viewer, patient_id: UUID, person_id: UUID, phone: str) -> NumberGiven:
    """Write a new telephone number down: one's own, that of the person one is linked to, or anybody's as staff.

    Raises NobodyToReach, Refused for what is no number or another's on the same ladder.
    """
    organisation_id, _ = looks.standing(house, patient_id)
    _require(_may_give(viewer, organisation_id, patient_id, person_id), viewer, "action:give_number")
    looked(house, viewer, patient_id, "action:give_number", None)
    if not E164.fullmatch(phone):
        raise Refused(
            f"phone must be an E.164 number such as +821012345678, was {phone[:20]!r}: give it with its country",
            code="phone_invalid",
            field="phone",
        )
    return verifying.give_number(house, patient_id, person_id, contacts.normal(phone), f"person:{viewer.person_id}")


def remove_contact(
    house: House, viewer: Viewer, patient_id: UUID, person_id: UUID, why: Why, *, sure: bool, language: str
) -> Left:
    """Take a contact off a person's list: the staff may, and whoever it is themselves. Raises NoContact, Refused."""
    organisation_id, _ = looks.standing(house, patient_id)
    own = patient_id in viewer.patients and person_id == viewer.person_id
    _require(own or _is_staff(viewer, organisation_id, "patients:write"), viewer, "action:remove_contact")
    looked(house, viewer, patient_id, "action:remove_contact", None)
    by = f"person:{viewer.person_id}"
    return removing.remove(house, patient_id, person_id, by, why, sure=sure, language=language)


def numbers_of(house: House, viewer: Viewer, patient_id: UUID, *, language: str) -> list[NumberRecord]:
    """The telephone numbers that this viewer may change for a person."""
    organisation_id, _ = looks.standing(house, patient_id)
    staff = _is_staff(viewer, organisation_id, "patients:write")
    _require(staff or patient_id in viewer.patients, viewer, "numbers")
    looked(house, viewer, patient_id, "numbers", None)
    found = numbers.records(house, patient_id, language)
    return [one for one in found if _may_give(viewer, organisation_id, patient_id, one.person_id)]


def numbers_page(house: House, viewer: Viewer, patient_id: UUID) -> dict[str, Any]:
    """The same as a page, with the name of the person whose contacts they are."""
    organisation_id, _ = looks.standing(house, patient_id)
    found = numbers_of(house, viewer, patient_id, language=viewer.language)
    name = next((one.name for one in found if one.person_id == patient_id), "")
    wakes = {one.person_id for one in found if _may_wake(viewer, organisation_id, one.person_id)}
    left = removing.preview(house, patient_id, viewer.language)
    shown = {one.person_id for one in found}
    left = {one: what for one, what in left.items() if one in shown}
    return {"id": patient_id, "name": name, "numbers": found, "wakes": wakes, "left": left, "now": house.clock()}


def _may_give(viewer: Viewer, organisation_id: UUID, patient_id: UUID, person_id: UUID) -> bool:
    if _is_staff(viewer, organisation_id, "patients:write"):
        return True
    return patient_id in viewer.patients and person_id in {viewer.person_id, patient_id}


def _is_staff(viewer: Viewer, organisation_id: UUID, scope: str) -> bool:
    return organisation_id == viewer.organisation_id and (bool(viewer.roles & STAFF) or scope in viewer.scopes)


def _require_near(house: House, viewer: Viewer, patient_id: UUID, scope: str, purpose: str) -> None:
    organisation_id, _ = looks.standing(house, patient_id)
    may = patient_id in viewer.patients or _is_staff(viewer, organisation_id, scope)
    _require(may, viewer, purpose)
    looked(house, viewer, patient_id, purpose, None)


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
