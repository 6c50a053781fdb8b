"""Who is rung for a person, what limits hold for them, and which of their devices still count."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from service import access
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows.people import Profile

blueprint = Blueprint("care", __name__)
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
EMAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\"]+")
LOGIN = re.compile(r"[\w.@-]{2,60}")
LONGEST_NAME = 100
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class NewContact(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Somebody to ring for a person, in order of ``position``."""

    name: str
    phone: str
    relation: str = ""
    position: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    language: Literal["ko", "en"] = "ko"
    login: str | None = None
    """With a log-in name they can open the pages; the password is answered once."""
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    """Written to beside calls and texts, where mail is set up."""


class NewStaff(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A dispatcher or operator of the caller's organisation."""

    name: str
    login: str
    role: Literal["dispatcher", "operator"]
    language: Literal["ko", "en"] = "ko"


class PersonMade(msgspec.Struct, kw_only=True, omit_defaults=True):
    person_id: UUID
    password: str | None = None
    """Shown this once, where a log-in was asked for."""


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a clinician has set for one person, and when; null is the default limit."""

    set_by: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    set_on: datetime
    spo2_scale: Literal[1, 2] = 1
    on_oxygen: bool | None = None
    # Policy: a slip of the pen must neither silence a person's alarms nor set them off for ever.
    heart_rate_high_bpm: Annotated[float, msgspec.Meta(ge=80, le=220)] | None = None
    heart_rate_low_bpm: Annotated[float, msgspec.Meta(ge=20, le=70)] | None = None
    spo2_low_pct: Annotated[float, msgspec.Meta(ge=70, le=98)] | None = None


class Away(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """When somebody who is away from home comes back; null when they are back."""

    until: datetime | None


@blueprint.post("/v1/patients/<uuid:patient_id>/contacts")
@operation(
    "Add somebody to ring for a person",
    request=NewContact,
    responses={201: PersonMade, 409: None, 400: None, 401: None, 403: None, 404: None, 422: None},
)
def add_contact(patient_id: UUID) -> Response:
    """They are rung from the next incident on; one that is open keeps the policy it began with."""
    asking = viewer("patients:write")
    wanted = _read(NewContact)
    _check_names(wanted.name, wanted.login)
    if not E164.fullmatch(wanted.phone):
        raise Problem(422, "phone_invalid", "phone must be an E.164 number such as +821012345678", field="phone")
    if wanted.email is not None and not EMAIL.fullmatch(wanted.email):
        raise Problem(422, "email_invalid", "email must be one address such as minji@example.com", field="email")
    password = secrets.token_urlsafe(12) if wanted.login else None
    person_id = access.add_contact(
        house(),
        asking,
        patient_id,
        Profile(name=wanted.name.strip(), phones=[wanted.phone], emails=[wanted.email] if wanted.email else []),
        relation="".join(letter for letter in wanted.relation[:40] if letter.isprintable()),
        position=wanted.position,
        language=wanted.language,
        login=wanted.login,
        password=password,
    )
    return _made(person_id, password)


@blueprint.post("/v1/staff")
@operation(
    "Add a dispatcher or an operator",
    request=NewStaff,
    responses={201: PersonMade, 400: None, 401: None, 403: None, 409: None, 422: None},
)
def add_staff() -> Response:
    """Their password is answered once."""
    asking = viewer("staff:write")
    wanted = _read(NewStaff)
    _check_names(wanted.name, wanted.login)
    password = secrets.token_urlsafe(12)
    person_id = access.add_staff(
        house(),
        asking,
        Profile(name=wanted.name.strip()),
        wanted.role,
        language=wanted.language,
        login=wanted.login,
        password=password,
    )
    return _made(person_id, password)


def _made(person_id: UUID, password: str | None) -> Response:
    made = PersonMade(person_id=person_id, password=password)
    return Response(msgspec.json.encode(made), 201, content_type="application/json")


def _check_names(name: str, login: str | None) -> None:
    if not 0 < len(name.strip()) <= LONGEST_NAME:
        raise Problem(422, "name_invalid", f"name must be 1 to {LONGEST_NAME} characters", field="name")
    if login is not None and not LOGIN.fullmatch(login):
        detail = "login must be 2 to 60 letters, digits or .-_@, without spaces"
        raise Problem(422, "login_invalid", detail, field="login")


@blueprint.put("/v1/patients/<uuid:patient_id>/limits")
@operation(
    "Set a person's own limits, as a clinician has directed",
    request=Limits,
    responses={204: None, 400: None, 401: None, 403: None, 404: None, 422: None},
)
def set_limits(patient_id: UUID) -> Response:
    """SpO2 scale 2, oxygen and personal limits; each names who set it and when."""
    asking = viewer("patients:write")
    wanted = _read(Limits)
    if wanted.set_on.tzinfo is None:
        raise Problem(422, "time_invalid", "set_on must carry an offset, such as 2026-11-22T09:00:00Z", field="set_on")
    if not EARLIEST <= wanted.set_on <= house().clock() + timedelta(days=1):
        detail = "set_on must be the day on which a clinician set this: not before 2000, not in the future"
        raise Problem(422, "time_invalid", detail, field="set_on")
    try:
        access.set_limits(house(), asking, patient_id, msgspec.structs.asdict(wanted))
    except ValueError as error:
        raise Problem(422, "limits_invalid", str(error)) from error
    return Response(status=204)


@blueprint.put("/v1/patients/<uuid:patient_id>/away")
@operation(
    "Say that a person is away from home, and until when",
    request=Away,
    responses={204: None, 400: None, 401: None, 403: None, 404: None, 422: None},
)
def set_away(patient_id: UUID) -> Response:
    """Silence at home is no sign until then, and is one afterwards. It quietens nothing else; null says "is back"."""
    asking = viewer("patients:write")
    wanted = _read(Away)
    if wanted.until is not None and wanted.until.tzinfo is None:
        raise Problem(422, "time_invalid", "until must carry an offset, such as 2026-11-22T09:00:00Z", field="until")
    try:
        access.set_away(house(), asking, patient_id, wanted.until)
    except ValueError as error:
        raise Problem(422, "time_invalid", str(error), field="until") from error
    return Response(status=204)


@blueprint.post("/v1/devices/<uuid:device_id>/revoke")
@operation(
    "Revoke one device",
    responses={204: None, 401: None, 403: None, 404: None},
)
def revoke(device_id: UUID) -> Response:
    """From its next request on it is refused; others go on."""
    access.revoke_device(house(), viewer("devices:write"), device_id)
    return Response(status=204)


def _read(kind: type[Any]) -> Any:
    return bodies.decode(bodies.read(), kind, "body_invalid")
