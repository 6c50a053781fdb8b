"""Whether help can be reached: the operator's list, the button that starts a drill, and the telephone numbers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from service import access_reach
from service.access_reach import Why
from service.web import display, frame, shield
from service.workflows.incidents import Refused

WRONG = {
    "phone_is_the_desks": "numbers.of_the_desk",
    "phone_is_the_persons": "numbers.of_the_person",
    "phone_is_a_contacts": "numbers.of_a_contact",
}
"""Why a number is refused, by the code that a machine gets."""
NOT_REMOVED = {"last_proven": "numbers.last_proven", "only_rung": "numbers.only_rung"}


def create_blueprint() -> Blueprint:
    """Build the blueprint of these pages."""
    reach = Blueprint("reach_pages", __name__)
    reach.before_request(frame.who_asks)
    reach.after_request(frame.shielded)
    reach.add_url_rule("/reach", view_func=overview)
    reach.add_url_rule("/reach/body", view_func=body)
    reach.add_url_rule("/patients/<uuid:patient_id>/drill", view_func=drill, methods=["POST"])
    reach.add_url_rule("/patients/<uuid:patient_id>/numbers", view_func=numbers)
    reach.add_url_rule("/patients/<uuid:patient_id>/numbers/<uuid:person_id>", view_func=give, methods=["POST"])
    reach.add_url_rule("/patients/<uuid:patient_id>/numbers/<uuid:person_id>/ask", view_func=ask, methods=["POST"])
    reach.add_url_rule(
        "/patients/<uuid:patient_id>/numbers/<uuid:person_id>/remove", view_func=remove, methods=["POST"]
    )
    return reach


@frame.for_people
def overview() -> Any:
    """Show everybody, the broken first."""
    face = access_reach.page(frame.house(), g.viewer)
    return render_template("reach.html", face=face, now=frame.now_of(face))


@frame.for_people
def body() -> Any:
    """The part of the list that changes."""
    face = access_reach.page(frame.house(), g.viewer)
    return render_template("_reach_rows.html", face=face, now=frame.now_of(face))


@frame.for_people
def drill(patient_id: UUID) -> Any:
    """Start this person's drill."""
    access_reach.start_drill(frame.house(), g.viewer, patient_id)
    if frame.is_fragment():
        return Response(status=204)
    return redirect(shield.local_path(request.form.get("next")) or f"/patients/{patient_id}", 303)


@frame.for_people
def numbers(patient_id: UUID) -> Any:
    """Show the telephone numbers that whoever looks may change, and what became of a new one."""
    return _numbers(patient_id)


def _numbers(
    patient_id: UUID, message: str | None = None, kept: dict[str, Any] | None = None, done: str = ""
) -> Response:
    """The page; ``kept`` is whose form was refused, which of theirs, and what was typed or chosen in it."""
    face = access_reach.numbers_page(frame.house(), g.viewer, patient_id)
    page = render_template("numbers.html", face=face, now=frame.now_of(face), message=message, kept=kept, done=done)
    return make_response(page, 409 if message else 200)


@frame.for_people
def give(patient_id: UUID, person_id: UUID) -> Any:
    """Write a new number down; it is asked there."""
    typed = request.form.get("phone", "")
    try:
        access_reach.give_number(frame.house(), g.viewer, patient_id, person_id, display.typed_phone(typed))
    except Refused as error:
        kept = {"person": person_id, "act": "give", "typed": typed[:40]}
        return _numbers(patient_id, frame.translator()(WRONG.get(error.code, "numbers.wrong")), kept)
    return redirect(f"/patients/{patient_id}/numbers", 303)


@frame.for_people
def ask(patient_id: UUID, person_id: UUID) -> Any:
    """Ask once more whether a number is theirs; with ``now`` at whatever hour, as whose it is has asked for."""
    now = request.form.get("now") == "yes"
    access_reach.verify_number(frame.house(), g.viewer, patient_id, person_id, call=now, now=now)
    return redirect(f"/patients/{patient_id}/numbers", 303)


@frame.for_people
def remove(patient_id: UUID, person_id: UUID) -> Any:
    """Take a contact off the list; the last who is proven reachable only with a tick."""
    typed = request.form.get("why", "")
    why = Why(typed) if typed in set(Why) else Why.LEFT
    sure = request.form.get("sure") == "yes"
    language = frame.translator().language
    try:
        left = access_reach.remove_contact(
            frame.house(), g.viewer, patient_id, person_id, why, sure=sure, language=language
        )
    except Refused as error:
        kept = {"person": person_id, "act": "remove", "typed": why.value}
        return _numbers(patient_id, frame.translator()(NOT_REMOVED.get(error.code, "numbers.only_rung")), kept)
    if person_id == g.viewer.person_id:
        return redirect("/", 303)
    return _numbers(patient_id, done=left.text)
