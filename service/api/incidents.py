"""Incidents for machines and consoles."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from flask import Blueprint, Response, request

from dispatch.incident import State
from service import access, access_doors
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import caregiving
from service.workflows.incidents import ACTIONS, UNSURE
from service.workflows.records import IncidentRecord

blueprint = Blueprint("incidents", __name__)
PAGE = 50
ALL_ACTIONS = tuple(dict.fromkeys((*ACTIONS, *caregiving.ACTIONS)))
STATES = ("open", *(state.value for state in State))


class IncidentPage(msgspec.Struct, kw_only=True):
    incidents: list[IncidentRecord]
    next_cursor: UUID | None = None


class ActionBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an action may need: dispatch takes reference and called_at, progress takes state ..."""

    reference: str = ""
    called_at: str = ""
    state: str = ""
    text: str = ""
    reason: str = ""
    eta_min: str = ""
    """Minutes until a caregiver is there."""
    sure: bool | None = None
    """For close and stand_down: false is refused where the record has ``doubts``, true says that they were checked."""


class NotedRecord(msgspec.Struct, kw_only=True):
    """A caregiver's word that was written down and did less than was asked: what happened instead."""

    noted: str
    detail: str


@blueprint.get("/v1/incidents")
@operation(
    "Incidents, newest first",
    responses={200: IncidentPage, 401: None, 403: None, 422: None},
    query={
        "state": "open, or one state",
        "cursor": "next_cursor of the page before",
        "language": "ko or en (default en)",
    },
)
def list_incidents() -> Response:
    """One page of incidents of the viewer's organisation."""
    asking = viewer("incidents:read")
    cursor = _uuid(request.args.get("cursor"), "cursor")
    rows = access.incident_records(
        house(), asking, state=_state(), before=cursor, most=PAGE, language=language(asking)
    )
    last = rows[-1].id if len(rows) == PAGE else None
    return _json(IncidentPage(incidents=rows, next_cursor=last))


@blueprint.get("/v1/incidents/<uuid:incident_id>")
@operation(
    "One incident with its log",
    responses={200: IncidentRecord, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def one_incident(incident_id: UUID) -> Response:
    """One incident with its reasons, times and log."""
    asking = viewer("incidents:read")
    return _json(access.incident_record(house(), asking, incident_id, language=language(asking)))


@blueprint.post("/v1/incidents/<uuid:incident_id>/<action>")
@operation(
    f"Act on an incident ({', '.join(ALL_ACTIONS)})",
    request=ActionBody,
    responses={
        200: IncidentRecord, 202: NotedRecord, 204: None, 400: None, 401: None, 403: None, 404: None, 409: None,
        413: None, 415: None, 422: None,
    },
)
def act(incident_id: UUID, action: str) -> Response:
    """Claim, acknowledge ... by a named human or machine; a caregiver's own are answered 204, or 202 if only noted."""
    asking = viewer("incidents:write")
    if action not in ALL_ACTIONS:
        raise Problem(404, "action_unknown", f"action must be one of {', '.join(ALL_ACTIONS)}, was {action!r}")
    wanted = language(asking)
    data = bodies.read()
    body = bodies.decode(data, ActionBody, "action_invalid") if data.strip() else ActionBody()
    fields = {name: getattr(body, name) for name in body.__struct_fields__ if name != "sure"}
    fields["sure"] = UNSURE if body.sure is False else ""
    after = access_doors.act(house(), asking, incident_id, action, fields)
    record = access_doors.record_after(house(), asking, incident_id, language=wanted)
    if record is None:
        noted = caregiving.noted(after, asking.person_id, action)
        if noted is None:
            return Response(status=204)
        told = NotedRecord(noted=noted, detail=caregiving.NOTED[noted])
        return Response(msgspec.json.encode(told), 202, content_type="application/json")
    return _json(record)


@blueprint.post("/v1/incidents/<uuid:incident_id>/connect")
@operation(
    "Be connected with the person: the desk's telephone rings, and one key bridges it",
    responses={204: None, 401: None, 403: None, 404: None, 409: None},
)
def connect(incident_id: UUID) -> Response:
    """For dispatchers, while the case is open."""
    access_doors.connect(house(), viewer("incidents:write"), incident_id)
    return Response(status=204)


def _state() -> str | None:
    state = request.args.get("state")
    if state is not None and state not in STATES:
        detail = f"state must be one of {', '.join(STATES)}, was {state!r}"
        raise Problem(422, "state_unknown", detail, field="state")
    return state


def language(asking: access.Viewer) -> str:
    wanted = request.args.get("language", asking.language)
    if wanted not in {"ko", "en"}:
        raise Problem(422, "language_unknown", f"language must be ko or en, was {wanted!r}", field="language")
    return wanted


def _uuid(text: str | None, name: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise Problem(422, f"{name}_invalid", f"{name} must be a UUID, was {text!r}", field=name) from error


def moment(name: str) -> datetime | None:
    """A query's time, RFC 3339 with an offset."""
    text = request.args.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    # Beyond these years, arithmetic with a zone or a span leaves the calendar.
    if at is None or at.tzinfo is None or not 1900 < at.year < 9000:
        expected = "RFC 3339 with an offset (2026-11-22T09:00:00Z; + is written %2B in a query)"
        raise Problem(422, "time_invalid", f"{name} must be {expected}, was {text!r}", field=name)
    return at


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")


