"""What caregivers and dispatchers press on a page beside the board's own actions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from service import access, access_doors
from service.web import frame, pages
from service.workflows import caregiving
from service.workflows.incidents import Refused


def create_blueprint() -> Blueprint:
    """Build the blueprint of these actions."""
    care = Blueprint("care_pages", __name__)
    care.before_request(frame.who_asks)
    care.after_request(frame.shielded)
    care.add_url_rule(
        "/patients/<uuid:patient_id>/case/<uuid:incident_id>/<action>", view_func=act, methods=["POST"]
    )
    care.add_url_rule("/incidents/<uuid:incident_id>/connect", view_func=connect, methods=["POST"])
    return care


@frame.for_people
def act(patient_id: UUID, incident_id: UUID, action: str) -> Any:
    """Take it, pass it on, go, arrive, 119 called, all is well: the same as the key on the telephone."""
    if action not in caregiving.ACTIONS:
        return frame.problem(404)
    fields = {name: request.form.get(name, "") for name in ("eta_min", "reference")}
    try:
        after = access_doors.act(frame.house(), g.viewer, incident_id, action, fields)
    except Refused as refused:
        return _answer(patient_id, frame.said(refused), 409)
    noted = caregiving.noted(after, g.viewer.person_id, action)
    if noted is not None:
        return _answer(patient_id, frame.translator()(f"noted.{noted}"), 202)
    if frame.is_fragment():
        return Response(status=204)
    return redirect(f"/patients/{patient_id}", 303)


def _answer(patient_id: UUID, message: str, status: int) -> Response:
    """What came of it, where that is not all that was asked for."""
    if frame.is_fragment():
        return make_response({"message": message}, status)
    face = access.patient(frame.house(), g.viewer, patient_id)
    page = render_template(
        "patient.html", card=face, now=frame.now_of(face), span_s=pages.LAST_HOURS_S, message=message
    )
    return make_response(page, status)


@frame.for_people
def connect(incident_id: UUID) -> Any:
    """Ring the desk, to be connected with the person."""
    try:
        access_doors.connect(frame.house(), g.viewer, incident_id)
    except Refused as refused:
        return pages.refused_page(incident_id, frame.said(refused))
    if frame.is_fragment():
        return Response(status=204)
    return redirect(f"/incidents/{incident_id}", 303)
