"""Who may be quiet about a sign, and who may say when they themselves are not to be rung."""

from __future__ import annotations

from uuid import UUID

from service import access
from service.access import Denied, Viewer, looked
from service.workflows import availability, gaps, looks, snoozes
from service.workflows.availability import Availability
from service.workflows.gaps import GapLine
from service.workflows.house import House, log
from service.workflows.snoozes import SnoozeRecord


def snoozes_of(house: House, viewer: Viewer, patient_id: UUID, *, language: str) -> list[SnoozeRecord]:
    access.require_patient(house, viewer, patient_id)
    looked(house, viewer, patient_id, "snoozes", None)
    return snoozes.list_of(house, patient_id, language)


def snooze(house: House, viewer: Viewer, patient_id: UUID, code: str, hours: int) -> UUID:
    """Be quiet about a sign for some hours. Raises Refused for what may never be snoozed."""
    _require_close(house, viewer, patient_id, "snooze")
    return snoozes.begin(house, patient_id, viewer.person_id, code, hours)


def end_snooze(house: House, viewer: Viewer, patient_id: UUID, snooze_id: UUID) -> None:
    """Be quiet no longer; LookupError when there is no such snooze."""
    _require_close(house, viewer, patient_id, "end_snooze")
    snoozes.end(house, patient_id, snooze_id, viewer.person_id)


def availability_of(house: House, viewer: Viewer) -> Availability:
    _require(not viewer.is_machine, viewer, "availability")
    return availability.of(house, viewer.person_id)


def set_availability(house: House, viewer: Viewer, wanted: Availability) -> None:
    """Say it of oneself and of nobody else. Raises availability.Impossible."""
    _require(not viewer.is_machine, viewer, "availability")
    availability.change(house, viewer.person_id, wanted)


def gaps_ahead(house: House, viewer: Viewer, *, language: str) -> list[GapLine]:
    """For whom nobody can be reached at a time that is near: those of the viewer's organisation."""
    _require("operator" in viewer.roles or viewer.sees_board, viewer, "gaps")
    return gaps.listed(house, viewer.organisation_id, language)


def _require_close(house: House, viewer: Viewer, patient_id: UUID, what: str) -> None:
    """Those linked to the person, and a dispatcher while a case of theirs is open; never a machine."""
    if patient_id not in viewer.patients:
        organisation_id, has_open_incident = looks.standing(house, patient_id)
        here = organisation_id == viewer.organisation_id and has_open_incident
        _require(here and "dispatcher" in viewer.roles, viewer, what)
    looked(house, viewer, patient_id, f"action:{what}", None)


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
