"""The hand-over page for dispatchers, and the page of what was signed of a closed case."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from service import access_proof
from service.web import frame
from service.web.display import phone
from service.workflows.incidents import Refused

EMERGENCY = "119"
ANSWERS = ("offer", "accepted", "rejected")
TYPED = {"to": 100, "reason": 300, "reference": 100}
"""The fields of the forms for these, and how much of each comes back when one is refused."""


def create_blueprint() -> Blueprint:
    """Build the blueprint of both pages."""
    paper = Blueprint("paper", __name__)
    paper.before_request(frame.who_asks)
    paper.after_request(frame.shielded)
    paper.add_url_rule("/incidents/<uuid:incident_id>/handover", view_func=handover)
    paper.add_url_rule("/incidents/<uuid:incident_id>/handover/body", view_func=handover_body)
    paper.add_url_rule("/incidents/<uuid:incident_id>/handover/<action>", view_func=act, methods=["POST"])
    paper.add_url_rule("/incidents/<uuid:incident_id>/proof", view_func=proof)
    return paper


@frame.for_people
def handover(incident_id: UUID) -> Any:
    """Show everything that 119 asks for, and what to read out."""
    return _handover_page(incident_id)


@frame.for_people
def handover_body(incident_id: UUID) -> Any:
    """The part of that page that changes."""
    face = access_proof.handover_face(frame.house(), g.viewer, incident_id)
    return render_template("_handover.html", face=face, now=face["now"], emergency=EMERGENCY, tel=phone)


def _handover_page(
    incident_id: UUID, message: str | None = None, status: int = 200, kept: dict[str, str] | None = None
) -> Response:
    face = access_proof.handover_face(frame.house(), g.viewer, incident_id)
    page = render_template(
        "handover.html",
        face=face,
        now=face["now"],
        emergency=EMERGENCY,
        tel=phone,
        message=message,
        kept=kept or {},
    )
    return make_response(page, status)


@frame.for_people
def act(incident_id: UUID, action: str) -> Any:
    """Offer the record, or write down what the other desk said of it; none of it says that anybody was sent."""
    if action not in ANSWERS:
        return frame.problem(404)
    given = request.form
    try:
        if action == "offer":
            access_proof.hand_over(frame.house(), g.viewer, incident_id, given.get("to", ""))
        else:
            taken = action == "accepted"
            access_proof.handover_answered(
                frame.house(), g.viewer, incident_id, taken, given.get("reason", ""), given.get("reference", "")
            )
    except Refused as refused:
        message = frame.said(refused)
        if frame.is_fragment():
            return make_response({"message": message}, 409)
        typed = {name: given.get(name, "")[:most] for name, most in TYPED.items()}
        return _handover_page(incident_id, message, 409, {"act": action, **typed})
    if frame.is_fragment():
        return Response(status=204)
    return redirect(f"/incidents/{incident_id}/handover", 303)


@frame.for_people
def proof(incident_id: UUID) -> Any:
    """Show what happened, line by line, and whether it is as it was signed."""
    face = access_proof.proof_face(frame.house(), g.viewer, incident_id)
    back = f"/patients/{face['patient']['id']}"
    if "dispatcher" in g.viewer.roles:
        back = f"/incidents/{incident_id}"
    return render_template("proof.html", face=face, now=face["now"], back=back)
