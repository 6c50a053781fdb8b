"""Who may see or do what, and why: the one decision point. Every look at a person leaves a row."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from dispatch.incident import Incident
from service.detection import PersonSettings
from service.workflows import (
    availability,
    contacts,
    faces,
    family,
    incidents,
    looks,
    people,
    records,
    sessions,
    snoozes,
    verifying,
)
from service.workflows import devices as device_flow
from service.workflows.house import House, log
from service.workflows.patience import Patience

SAME_LOOK = timedelta(minutes=5)
"""A page that refreshes itself is one look; a new row is written when this much time has passed."""


NAME_TRIES = 5
ADDRESS_TRIES = 50
"""Policy: wrong log-ins before the next one waits. A whole centre may share one address."""


class Denied(Exception):
    """This viewer may not do this. The message is for the log, not for the viewer."""


@dataclass(frozen=True)
class Viewer:
    """Who is looking: a person with a session, or a machine with a service key."""

    person_id: UUID
    name: str
    roles: frozenset[str]
    organisation_id: UUID
    language: str
    csrf: str = ""
    scopes: frozenset[str] = frozenset()
    patients: frozenset[UUID] = frozenset()
    """The patients a caregiver is linked to."""

    @property
    def is_machine(self) -> bool:
        return bool(self.scopes)

    @property
    def sees_board(self) -> bool:
        return "dispatcher" in self.roles or "incidents:read" in self.scopes


class TooManyTries(Exception):
    """Too many wrong log-ins by this name or from this address; ``wait_s`` says when to try again."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"try again in {wait_s} s")
        self.wait_s = wait_s


def log_in(house: House, name: str, password: str, remote: str) -> tuple[str, Viewer] | None:
    """A new session's cookie and its viewer, or None when name and password do not fit.

    Raises TooManyTries before looking at the password.
    """
    now = house.clock()
    tries = {
        people.login_index(house, name): house.extras.setdefault("tries_by_name", Patience(NAME_TRIES)),
        remote.encode(): house.extras.setdefault("tries_by_address", Patience(ADDRESS_TRIES)),
    }
    wait_s = max(patience.wait_s(key, now) for key, patience in tries.items())
    if wait_s > 0:
        log("login_put_off", remote=remote, wait_s=wait_s)
        raise TooManyTries(wait_s)
    row = people.check_password(house, name, password)
    for key, patience in tries.items():
        if row is None:
            patience.wrong(key, now)
        else:
            patience.right(key)
    if row is None:
        log("login_refused", remote=remote)
        return None
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    sessions.begin(house, row.id, _hash(token), csrf)
    log("login", person=row.id)
    viewer = viewer_from_cookie(house, token)
    return (token, viewer) if viewer else None


def log_out(house: House, cookie: str) -> None:
    sessions.end(house, _hash(cookie))


def viewer_from_cookie(house: House, cookie: str | None) -> Viewer | None:
    if not cookie:
        return None
    found = sessions.find(house, _hash(cookie))
    if found is None:
        return None
    return Viewer(
        person_id=found.person_id,
        name=found.name,
        roles=frozenset(found.roles),
        organisation_id=found.organisation_id,
        language=found.language,
        csrf=found.csrf,
        patients=frozenset(found.patients),
    )


def viewer_from_key(house: House, key: str) -> Viewer | None:
    """A machine's viewer; its id is the service key's, so that its looks are on the record too."""
    row = people.find_service_key(house, key)
    if row is None:
        return None
    return Viewer(
        person_id=row.id,
        name=row.name,
        roles=frozenset({"machine"}),
        organisation_id=row.organisation_id,
        language="en",
        scopes=frozenset(row.scopes.split()),
    )


def set_language(house: House, viewer: Viewer, language: str) -> None:
    sessions.set_language(house, viewer.person_id, language)


def board(house: House, viewer: Viewer) -> dict[str, Any]:
    """The dispatcher's board: cases of the viewer's organisation, without vitals."""
    _require(viewer.sees_board, viewer, "board")
    return faces.board(house, viewer.organisation_id, viewer.person_id, viewer.language)


def incident(house: House, viewer: Viewer, incident_id: UUID) -> dict[str, Any]:
    """The screen-pop of one case. Dispatchers see it while it is open; caregivers never see this page."""
    patient_id, organisation_id, is_open = looks.whose(house, incident_id)
    may = (
        organisation_id == viewer.organisation_id
        and ("dispatcher" in viewer.roles or "incidents:read" in viewer.scopes)
    )
    _require(may, viewer, "incident")
    looked(house, viewer, patient_id, "incident", incident_id)
    face = faces.incident(
        house, incident_id, viewer.person_id, viewer.language, with_vitals=is_open
    )
    face["quiet"] = snoozes.face_of(house, patient_id, viewer.language) if is_open and not viewer.is_machine else None
    for one in face["call_list"]:
        looked(house, viewer, one["patient_id"], "call_list", incident_id)
    return face


def my_patients(house: House, viewer: Viewer) -> dict[str, Any]:
    """The people a caregiver is linked to."""
    _require("caregiver" in viewer.roles, viewer, "patients")
    ordered = sorted(viewer.patients)
    for patient_id in ordered:
        looked(house, viewer, patient_id, "overview", None)
    return family.my_patients(house, ordered, viewer.language, viewer.person_id)


def patient(house: House, viewer: Viewer, patient_id: UUID) -> dict[str, Any]:
    """One linked person's page."""
    require_patient(house, viewer, patient_id)
    looked(house, viewer, patient_id, "patient", None)
    acts = viewer.person_id if patient_id in viewer.patients else None
    face = family.patient(house, patient_id, viewer.language, acts)
    face["mine"] = availability.of(house, viewer.person_id) if acts is not None else None
    return face


def require_patient(house: House, viewer: Viewer, patient_id: UUID, *, scope: str = "patients:read") -> None:
    """Raise Denied unless the viewer may see this person's vital signs now."""
    if patient_id in viewer.patients:
        return
    organisation_id, has_open_incident = looks.standing(house, patient_id)
    same = organisation_id == viewer.organisation_id
    dispatcher = "dispatcher" in viewer.roles and has_open_incident
    _require(same and (dispatcher or scope in viewer.scopes), viewer, "patient")


def act(
    house: House, viewer: Viewer, incident_id: UUID, action: str, fields: Mapping[str, str]
) -> Incident:
    """A dispatcher's action on a case of the own organisation."""
    patient_id, organisation_id, _ = looks.whose(house, incident_id)
    may = organisation_id == viewer.organisation_id and (
        "dispatcher" in viewer.roles or "incidents:write" in viewer.scopes
    )
    _require(may, viewer, action)
    looked(house, viewer, patient_id, f"action:{action}", incident_id)
    return incidents.act(house, viewer.person_id, "dispatcher", incident_id, action, fields)


def incident_records(
    house: House,
    viewer: Viewer,
    *,
    state: str | None,
    before: UUID | None,
    most: int,
    language: str,
) -> list[records.IncidentRecord]:
    """One page of the organisation's incidents; each patient's row says that this viewer looked."""
    _require(viewer.sees_board, viewer, "incidents")
    found = records.incidents(house, viewer.organisation_id, state=state, before=before, most=most, language=language)
    for one in found:
        looked(house, viewer, one.patient_id, "incident", one.id)
    return found


def incident_record(house: House, viewer: Viewer, incident_id: UUID, *, language: str) -> records.IncidentRecord:
    patient_id, organisation_id, _ = looks.whose(house, incident_id)
    # Whoever may only act is told what came of it.
    may = viewer.sees_board or "incidents:write" in viewer.scopes
    _require(organisation_id == viewer.organisation_id and may, viewer, "incident")
    looked(house, viewer, patient_id, "incident", incident_id)
    return records.incident(house, incident_id, language)


def patient_records(house: House, viewer: Viewer) -> list[records.PatientRecord]:
    """A machine sees its organisation's patients, a caregiver those linked to them."""
    if "patients:read" in viewer.scopes:
        return records.patients(house, viewer.organisation_id, None)
    _require("caregiver" in viewer.roles, viewer, "patients")
    return records.patients(house, viewer.organisation_id, sorted(viewer.patients))


def patient_status(house: House, viewer: Viewer, patient_id: UUID, *, language: str) -> records.StatusRecord:
    require_patient(house, viewer, patient_id)
    looked(house, viewer, patient_id, "status", None)
    return records.status(house, patient_id, language)


def condition_records(
    house: House, viewer: Viewer, patient_id: UUID, *, language: str
) -> list[records.ConditionRecord]:
    """What was found about one person, ended or not."""
    require_patient(house, viewer, patient_id)
    looked(house, viewer, patient_id, "conditions", None)
    return records.conditions(house, patient_id, language)


def add_patient(
    house: House, viewer: Viewer, profile: people.Profile, care: people.Care, **given: Any
) -> UUID:
    """Enrol a person in the viewer's organisation."""
    _require(_enrols(viewer), viewer, "add_patient")
    profile = replace(profile, phones=contacts.own_numbers(house, profile.phones))
    patient_id = people.add_patient(house, viewer.organisation_id, profile, care, **given)
    looked(house, viewer, patient_id, "action:add_patient", None)
    return patient_id


def issue_code(house: House, viewer: Viewer, patient_id: UUID) -> tuple[str, datetime]:
    """A one-time enrolment code for a device of a person of the viewer's organisation."""
    organisation_id, _ = looks.standing(house, patient_id)
    _require(_enrols(viewer) and organisation_id == viewer.organisation_id, viewer, "issue_code")
    looked(house, viewer, patient_id, "action:issue_code", None)
    expires_at = house.clock() + device_flow.CODE_LIFETIME
    return device_flow.issue_code(house, patient_id), expires_at


def add_contact(
    house: House, viewer: Viewer, patient_id: UUID, profile: people.Profile, **given: Any
) -> UUID:
    """Somebody to ring for a person of the viewer's organisation."""
    _require_carer_of(house, viewer, patient_id, "add_contact")
    person_id = contacts.add(house, viewer.organisation_id, patient_id, profile, **given)
    # Whether that number is theirs is asked there, as soon as the jobs look.
    verifying.begin(house, patient_id, person_id)
    return person_id


def add_staff(
    house: House, viewer: Viewer, profile: people.Profile, role: str, **given: Any
) -> UUID:
    """A dispatcher or operator of the viewer's own organisation."""
    _require("staff:write" in viewer.scopes or "operator" in viewer.roles, viewer, "add_staff")
    return people.add_staff(house, viewer.organisation_id, role, profile, **given)


def set_limits(house: House, viewer: Viewer, patient_id: UUID, limits: dict[str, Any]) -> None:
    """A clinician's limits for one person; ValueError when they cannot be."""
    _require_carer_of(house, viewer, patient_id, "set_limits")
    people.set_limits(house, patient_id, PersonSettings(**limits))


def set_away(house: House, viewer: Viewer, patient_id: UUID, until: datetime | None) -> None:
    """Say that a person is away from home until then, or is back; ValueError when the day cannot be.

    Those linked to the person may: they are who knows. SOS, falls and hard limits are untouched by it.
    """
    if patient_id in viewer.patients:
        looked(house, viewer, patient_id, "action:set_away", None)
    else:
        _require_carer_of(house, viewer, patient_id, "set_away")
    people.set_away(house, patient_id, until)


def revoke_device(house: House, viewer: Viewer, device_id: UUID) -> None:
    """One device of the viewer's organisation; LookupError when there is none."""
    patient_id, organisation_id = device_flow.whose_device(house, device_id)
    _require(_enrols(viewer) and organisation_id == viewer.organisation_id, viewer, "revoke_device")
    looked(house, viewer, patient_id, "action:revoke_device", None)
    device_flow.revoke_device(house, device_id, house.clock())


def _require_carer_of(house: House, viewer: Viewer, patient_id: UUID, what: str) -> None:
    organisation_id, _ = looks.standing(house, patient_id)
    may = "patients:write" in viewer.scopes or "operator" in viewer.roles
    _require(may and organisation_id == viewer.organisation_id, viewer, what)
    looked(house, viewer, patient_id, f"action:{what}", None)


def _enrols(viewer: Viewer) -> bool:
    return "devices:write" in viewer.scopes or "operator" in viewer.roles


def observations(
    house: House, viewer: Viewer, patient_id: UUID, vital: str, since: datetime, until: datetime
) -> records.ObservationPage:
    require_patient(house, viewer, patient_id)
    looked(house, viewer, patient_id, f"observations:{vital}", None)
    return records.observations(house, patient_id, vital, since, until)


def event_filter(viewer: Viewer) -> Callable[[Any], bool]:
    """Which of the consoles' events this viewer is told of."""
    if viewer.sees_board:
        return lambda event: event.organisation_id == viewer.organisation_id
    return lambda event: event.patient_id in viewer.patients


def require_scope(viewer: Viewer, scope: str) -> None:
    _require(scope in viewer.scopes, viewer, scope)


def looked(
    house: House, viewer: Viewer, patient_id: UUID, purpose: str, incident_id: UUID | None
) -> None:
    """Write that this viewer looked at this person, once for a page that refreshes itself."""
    role = "machine" if viewer.is_machine else min(viewer.roles, default="none")
    looks.note_access(
        house, patient_id, viewer.person_id, role, purpose, incident_id, again_after=SAME_LOOK
    )


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
