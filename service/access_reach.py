"""Who may see what is proven about reaching help, start a drill, and have a number verified."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from service.access import Denied, Viewer, looked
from service.workflows import drills, looks, reachability, verifying, watching
from service.workflows.drills import NobodyToReach
from service.workflows.house import House, log
from service.workflows.reachability import ReachRecord

__all__ = ["NobodyToReach", "ReachRecord"]
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


def verify_number(house: House, viewer: Viewer, patient_id: UUID, person_id: UUID, *, call: bool) -> UUID:
    """Ask at a contact's number whether it is theirs. Raises NobodyToReach."""
    _require_near(house, viewer, patient_id, "patients:write", "action:verify_number")
    return verifying.begin(house, patient_id, person_id, f"person:{viewer.person_id}", call=call)


def _require_near(house: House, viewer: Viewer, patient_id: UUID, scope: str, purpose: str) -> None:
    organisation_id, _ = looks.standing(house, patient_id)
    staff = bool(viewer.roles & STAFF) or scope in viewer.scopes
    may = patient_id in viewer.patients or (staff and organisation_id == viewer.organisation_id)
    _require(may, viewer, purpose)
    looked(house, viewer, patient_id, purpose, None)


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
