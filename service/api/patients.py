"""Patients for machines and consoles: who, how they are, what was measured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from flask import Blueprint, Response, request

from devices.reading import INDEX
from service import access
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.incidents import language, moment
from service.api.openapi import operation
from service.workflows.records import ObservationPage, PatientRecord, StatusRecord

blueprint = Blueprint("patients", __name__)
DEFAULT_SPAN = timedelta(hours=24)
LONGEST_SPAN = timedelta(days=31)


class PatientList(msgspec.Struct, kw_only=True):
    patients: list[PatientRecord]


@blueprint.get("/v1/patients")
@operation("The patients this viewer may see", responses={200: PatientList, 401: None, 403: None})
def list_patients() -> Response:
    """Ids and districts; names and signs are asked for one by one, and leave a trace."""
    return _json(PatientList(patients=access.patient_records(house(), viewer("patients:read"))))


@blueprint.get("/v1/patients/<uuid:patient_id>/status")
@operation(
    "How a person is, as far as we know, and how old that knowledge is",
    responses={200: StatusRecord, 401: None, 403: None, 404: None},
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


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")
