"""Handing a case over to an emergency service: the record, the offer, and what the other desk says of it."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from service import access_doors, access_proof
from service.api import bodies
from service.api.auth import house, viewer
from service.api.incidents import language
from service.api.openapi import operation
from service.workflows.records import IncidentRecord

blueprint = Blueprint("handover", __name__)


class HandOver(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """To whom the record is offered, in words."""

    to: str


class Answered(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the other desk said; a rejection needs its reason."""

    answer: Literal["accepted", "rejected"]
    reason: str = ""
    reference: str = ""


class Eido(msgspec.Struct, kw_only=True):
    """EIDO-shaped, draft, not certified: the components of NENA-STA-021 that are known of this case."""

    eidoVersion: str
    issuingElementIdentification: str
    agencyComponent: list[dict[str, Any]]
    incidentComponent: dict[str, Any]
    notesComponent: list[dict[str, Any]]


@blueprint.get("/v1/incidents/<uuid:incident_id>/eido")
@operation(
    "The whole record of one case, EIDO-shaped (a draft, not certified)",
    responses={200: Eido, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def eido(incident_id: UUID) -> Response:
    """Everything that a call-taker needs, in one document; every look is recorded."""
    asking = viewer("incidents:read")
    return _json(access_proof.handover_record(house(), asking, incident_id, language(asking)))


@blueprint.post("/v1/incidents/<uuid:incident_id>/hand_over")
@operation(
    "Offer the record to an emergency service's desk",
    request=HandOver,
    responses={
        200: IncidentRecord, 400: None, 401: None, 403: None, 404: None, 409: None, 413: None, 415: None,
        422: None,
    },
)  # fmt: skip
def hand_over(incident_id: UUID) -> Response:
    """By a named human. It moves no state and sends nobody: "I have called 119" stays an action of its own."""
    asking = viewer("incidents:write")
    spoken, wanted = language(asking), bodies.decode(bodies.read(), HandOver, "body_invalid")
    access_proof.hand_over(house(), asking, incident_id, wanted.to)
    return _json(access_doors.record_after(house(), asking, incident_id, language=spoken))


@blueprint.post("/v1/incidents/<uuid:incident_id>/handover_answered")
@operation(
    "Write down what the other desk said of the record",
    request=Answered,
    responses={
        200: IncidentRecord, 400: None, 401: None, 403: None, 404: None, 409: None, 413: None, 415: None,
        422: None,
    },
)  # fmt: skip
def handover_answered(incident_id: UUID) -> Response:
    """Accepted, with their reference, or rejected, with the reason."""
    asking = viewer("incidents:write")
    spoken, said = language(asking), bodies.decode(bodies.read(), Answered, "body_invalid")
    taken = said.answer == "accepted"
    access_proof.handover_answered(house(), asking, incident_id, taken, said.reason, said.reference)
    return _json(access_doors.record_after(house(), asking, incident_id, language=spoken))


@blueprint.post("/v1/handover/<token>")
@operation(
    "The partner desk's later answer to a record that it was given",
    request=Answered,
    responses={204: None, 400: None, 404: None, 409: None, 413: None, 415: None, 422: None},
    security="none",
)
def partner_answer(token: str) -> Response:
    """The token came with the record (``Ansim-Answer-To``) and is the right to answer it."""
    said = bodies.decode(bodies.read(), Answered, "body_invalid")
    access_proof.partner_answered(house(), token[:100], said.answer == "accepted", said.reason, said.reference)
    return Response(status=204)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")
