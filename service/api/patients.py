"""Patients for machines and consoles: who, how they are, what was measured."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from flask import Blueprint, Response, request

from devices.reading import INDEX
from service import access
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.incidents import language, moment
from service.api.openapi import operation
from service.workflows.people import Care, Profile
from service.workflows.records import ConditionRecord, ObservationPage, PatientRecord, StatusRecord

blueprint = Blueprint("patients", __name__)
DEFAULT_SPAN = timedelta(hours=24)
LONGEST_SPAN = timedelta(days=31)


E164 = re.compile(r"\+[1-9][0-9]{6,14}")
LONGEST_NAME = 100


class PatientList(msgspec.Struct, kw_only=True):
    patients: list[PatientRecord]


class NewPatient(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A person to watch over; everything but the district is sealed with a key of their own."""

    name: str
    district_code: str
    phones: list[str] = []
    """E.164; the first is rung to ask the person."""
    language: Literal["ko", "en"] = "ko"
    simulated: bool = False
    """Marked as simulated wherever it shows."""
    birth_year: int | None = None
    sex: Literal["female", "male"] | None = None
    district: str = ""
    address: str = ""
    access_note: str = ""
    dementia: bool = False
    voice_works: bool = True


class PatientMade(msgspec.Struct, kw_only=True):
    id: UUID


class CodeMade(msgspec.Struct, kw_only=True):
    """Works once, until it expires; shown this once."""

    code: str
    expires_at: datetime


class ConditionList(msgspec.Struct, kw_only=True):
    conditions: list[ConditionRecord]


@blueprint.get("/v1/patients")
@operation("The patients this viewer may see", responses={200: PatientList, 401: None, 403: None})
def list_patients() -> Response:
    """Ids and districts; names and signs are asked for one by one, and leave a trace."""
    return _json(PatientList(patients=access.patient_records(house(), viewer("patients:read"))))


@blueprint.post("/v1/patients")
@operation(
    "Add a person to watch over",
    request=NewPatient,
    responses={201: PatientMade, 400: None, 401: None, 403: None, 413: None, 415: None, 422: None},
)
def add_patient() -> Response:
    """A new person in the caller's organisation; contacts are linked to them afterwards."""
    asking = viewer("devices:write")
    wanted = _new_patient(bodies.read())
    care = Care(
        birth_year=wanted.birth_year,
        sex=wanted.sex,
        district=wanted.district,
        address=wanted.address,
        access_note=wanted.access_note,
        dementia=wanted.dementia,
        voice_works=wanted.voice_works,
    )
    patient_id = access.add_patient(
        house(),
        asking,
        Profile(name=wanted.name.strip(), phones=wanted.phones),
        care,
        district_code=wanted.district_code,
        language=wanted.language,
        simulated=wanted.simulated,
    )
    return _json(PatientMade(id=patient_id), 201)


def _new_patient(body: bytes) -> NewPatient:
    wanted = bodies.decode(body, NewPatient, "not_a_patient")
    if not 0 < len(wanted.name.strip()) <= LONGEST_NAME:
        raise Problem(422, "name_invalid", f"name must be 1 to {LONGEST_NAME} characters", field="name")
    if wanted.birth_year is not None and not 1900 <= wanted.birth_year <= house().clock().year:
        detail = f"birth_year must be from 1900 to this year, was {wanted.birth_year}"
        raise Problem(422, "birth_year_invalid", detail, field="birth_year")
    if not re.fullmatch(r"[0-9A-Za-z-]{1,20}", wanted.district_code):
        detail = "district_code must be 1 to 20 digits or letters, such as 26350"
        raise Problem(422, "district_code_invalid", detail, field="district_code")
    if not all(E164.fullmatch(phone) for phone in wanted.phones):
        raise Problem(422, "phone_invalid", "phones must be E.164 numbers such as +821012345678", field="phones")
    return wanted


@blueprint.post("/v1/patients/<uuid:patient_id>/enrolment-codes")
@operation(
    "A one-time code that enrols a device for a person",
    responses={201: CodeMade, 401: None, 403: None, 404: None},
)
def issue_code(patient_id: UUID) -> Response:
    """Shown once; the device spends it at /v1/devices/enrol."""
    code, expires_at = access.issue_code(house(), viewer("devices:write"), patient_id)
    return _json(CodeMade(code=code, expires_at=expires_at), 201)


@blueprint.get("/v1/patients/<uuid:patient_id>/alarm-conditions")
@operation(
    "What was found about a person, newest first",
    responses={200: ConditionList, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def alarm_conditions(patient_id: UUID) -> Response:
    """Every opening of a condition, physiological and technical, ended or not."""
    asking = viewer("patients:read")
    found = access.condition_records(house(), asking, patient_id, language=language(asking))
    return _json(ConditionList(conditions=found))


@blueprint.get("/v1/patients/<uuid:patient_id>/status")
@operation(
    "How a person is, as far as we know, and how old that knowledge is",
    responses={200: StatusRecord, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def status(patient_id: UUID) -> Response:
    """Well, check, help or unknown, with the reason, the values and their ages."""
    asking = viewer("patients:read")
    return _json(access.patient_status(house(), asking, patient_id, language=language(asking)))


@blueprint.get("/v1/patients/<uuid:patient_id>/observations")
@operation(
    "Observations of one vital sign",
    responses={200: ObservationPage, 401: None, 403: None, 404: None, 422: None},
    query={
        "vital": "a column name such as heart_rate_bpm",
        "from": "RFC 3339 (default 24 h ago)",
        "to": "RFC 3339 (default now)",
    },
)
def observations(patient_id: UUID) -> Response:
    """Values in time order, each with its time."""
    asking = viewer("patients:read")
    vital = request.args.get("vital", "")
    if vital not in INDEX:
        raise Problem(
            422, "vital_unknown", f"vital must be one of {', '.join(INDEX)}, was {vital!r}", field="vital"
        )
    until = moment("to") or house().clock()
    since = moment("from") or until - DEFAULT_SPAN
    if not timedelta(0) < until - since <= LONGEST_SPAN:
        raise Problem(422, "span_invalid", "to must be after from, by at most 31 days", field="from")
    return _json(access.observations(house(), asking, patient_id, vital, since, until))


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")
