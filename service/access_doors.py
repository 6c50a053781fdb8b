"""Who may do what at the doors that need no board: a caregiver's own actions, signed links, browsers, costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from dispatch.incident import Incident
from service import access
from service.access import Denied, Viewer, looked
from service.workflows import browsers, caregiving, connecting, link_page, looks, records, spending
from service.workflows.house import House, log
from service.workflows.link_page import Gone
from service.workflows.records import IncidentRecord

__all__ = ["Gone"]
BY_THE_BOARD = frozenset({"acknowledge"})
"""What a dispatcher does as a dispatcher, even for somebody whom they are linked to."""


def act(house: House, viewer: Viewer, incident_id: UUID, action: str, fields: Mapping[str, str]) -> Incident:
    """A caregiver's action on a case of somebody they are linked to, or a dispatcher's on any of their centre."""
    if action not in caregiving.ACTIONS:
        return access.act(house, viewer, incident_id, action, fields)
    patient_id, organisation_id, _ = looks.whose(house, incident_id)
    on_board = "dispatcher" in viewer.roles or "incidents:write" in viewer.scopes
    if action in BY_THE_BOARD and on_board and organisation_id == viewer.organisation_id:
        return access.act(house, viewer, incident_id, action, fields)
    _require(patient_id in viewer.patients, viewer, action)
    looked(house, viewer, patient_id, f"action:{action}", incident_id)
    return caregiving.act(house, viewer.person_id, incident_id, action, fields)


def record_after(house: House, viewer: Viewer, incident_id: UUID, *, language: str) -> IncidentRecord | None:
    """The case as it stands for whoever has just acted on it; None for a caregiver, who has a page of their own.

    That they acted is on the person's record: it says that they looked.
    """
    _, organisation_id, _ = looks.whose(house, incident_id)
    if organisation_id != viewer.organisation_id or not (viewer.sees_board or "incidents:write" in viewer.scopes):
        return None
    return records.incident(house, incident_id, language)


def connect(house: House, viewer: Viewer, incident_id: UUID) -> None:
    """Ring the desk, to be connected with the person of a case."""
    patient_id, organisation_id, is_open = looks.whose(house, incident_id)
    may = "dispatcher" in viewer.roles or "incidents:write" in viewer.scopes
    _require(may and is_open and organisation_id == viewer.organisation_id, viewer, "connect")
    looked(house, viewer, patient_id, "action:connect", incident_id)
    connecting.connect(house, viewer.person_id, incident_id)


def link_face(house: House, token: str) -> dict[str, Any]:
    """What a signed link shows to whoever opens it: nothing of anybody. Raises Gone."""
    return link_page.face(house, token)


def follow_link(house: House, token: str, action: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a tap does. The link is the right to it; what it shows is on the record. Raises Gone, Refused."""
    shown = link_page.act(house, token, action, fields)
    return _on_record(house, token, shown)


def link_now(house: House, token: str, language: str) -> dict[str, Any]:
    """As things stand after a tap that came to nothing. Raises Gone."""
    return _on_record(house, token, link_page.told_by_now(house, token, language))


def _on_record(house: House, token: str, shown: dict[str, Any]) -> dict[str, Any]:
    if shown.get("told") is not None:
        looks.note_access(
            house,
            shown["patient_id"],
            shown["person_id"],
            "caregiver",
            "link",
            shown["incident_id"],
            again_after=access.SAME_LOOK,
        )
    return shown


def spend(house: House, viewer: Viewer) -> spending.SpendRecord:
    """What the messages of the viewer's organisation cost."""
    may = "operator" in viewer.roles or viewer.sees_board
    _require(may, viewer, "spending")
    return spending.record(house, viewer.organisation_id)


def add_browser(house: House, viewer: Viewer, wanted: browsers.Browser) -> None:
    """Tell this person in this browser too. Raises subscription.Unusable."""
    _require(not viewer.is_machine, viewer, "push")
    browsers.add(house, viewer.person_id, wanted)


def browser_marks(house: House, viewer: Viewer) -> list[str]:
    """By which a browser knows itself among those in which this person is told; a machine has none."""
    return [] if viewer.is_machine else browsers.marks(house, viewer.person_id)


def remove_browser(house: House, viewer: Viewer, endpoint: str) -> None:
    _require(not viewer.is_machine, viewer, "push")
    browsers.remove(house, viewer.person_id, endpoint)


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
