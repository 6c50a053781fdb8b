"""Whether help can be reached: the operator's list, and the button that starts a drill."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, redirect, render_template, request

from service import access_reach
from service.web import pages, shield
from service.web.pages import _house, _is_fragment, _now_of, for_people


def create_blueprint() -> Blueprint:
    """Build the blueprint of these pages."""
    reach = Blueprint("reach_pages", __name__)
    reach.before_request(pages._who_asks)
    reach.after_request(pages._shielded)
    reach.add_url_rule("/reach", view_func=overview)
    reach.add_url_rule("/reach/body", view_func=body)
    reach.add_url_rule("/patients/<uuid:patient_id>/drill", view_func=drill, methods=["POST"])
    return reach


@for_people
def overview() -> Any:
    """Show everybody, the broken first."""
    face = access_reach.page(_house(), g.viewer)
    return render_template("reach.html", face=face, now=_now_of(face))


@for_people
def body() -> Any:
    """The part of the list that changes."""
    face = access_reach.page(_house(), g.viewer)
    return render_template("_reach_rows.html", face=face, now=_now_of(face))


@for_people
def drill(patient_id: UUID) -> Any:
    """Start this person's drill."""
    access_reach.start_drill(_house(), g.viewer, patient_id)
    if _is_fragment():
        return Response(status=204)
    return redirect(shield.local_path(request.form.get("next")) or f"/patients/{patient_id}", 303)
