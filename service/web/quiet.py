"""What people press to be left in peace for a while: a snooze, its end, their own hours and days away."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from service import access, access_quiet
from service.web import display, frame, pages, shield
from service.workflows.availability import Availability, Hours, Impossible
from service.workflows.incidents import Refused

OWN_TIMES = ("quiet_from", "quiet_to", "away_until")


def create_blueprint() -> Blueprint:
    """Build the blueprint of these actions."""
    quiet = Blueprint("quiet_pages", __name__)
    quiet.before_request(frame.who_asks)
    quiet.after_request(frame.shielded)
    for path, view in (
        ("/patients/<uuid:patient_id>/snooze", snooze),
        ("/patients/<uuid:patient_id>/snoozes/<uuid:snooze_id>/end", end_snooze),
        ("/patients/<uuid:patient_id>/availability", availability),
    ):
        quiet.add_url_rule(path, view_func=view, methods=["POST"])
    return quiet


@frame.for_people
def snooze(patient_id: UUID) -> Any:
    """Be quiet about one sign for some hours."""
    typed = request.form.get("hours", "")
    hours = int(typed) if typed in ("1", "2", "4", "8") else 0
    try:
        access_quiet.snooze(frame.house(), g.viewer, patient_id, request.form.get("code", ""), hours)
    except Refused:
        return _said_no(patient_id, "snooze.refused")
    return _back(patient_id)


@frame.for_people
def end_snooze(patient_id: UUID, snooze_id: UUID) -> Any:
    """Be quiet no longer: one tap."""
    access_quiet.end_snooze(frame.house(), g.viewer, patient_id, snooze_id)
    return _back(patient_id)


@frame.for_people
def availability(patient_id: UUID) -> Any:
    """Hear when this contact does not want to be rung, and until when they are away."""
    begins, ends = (request.form.get(name, "").strip() for name in OWN_TIMES[:2])
    try:
        quiet = [Hours(from_=begins, to=ends)] if begins or ends else []
        access_quiet.set_availability(frame.house(), g.viewer, Availability(quiet=quiet, away_until=_day("away_until")))
    except Impossible as error:
        return _said_no(patient_id, "quiet.away_wrong" if error.field == "away_until" else "quiet.hours_wrong", "mine")
    except ValueError:
        return _said_no(patient_id, "quiet.away_wrong", "mine")
    return _back(patient_id)


def _day(name: str) -> datetime | None:
    typed = request.form.get(name, "").strip()
    return display.typed_day(typed, frame.zone()) if typed else None


def _back(patient_id: UUID) -> Any:
    return redirect(shield.local_path(request.form.get("next")) or f"/patients/{patient_id}", 303)


def _said_no(patient_id: UUID, key: str, form: str = "") -> Response:
    """The page again with why not; a form that has fields keeps what was typed in them."""
    message, back = frame.translator()(key), shield.local_path(request.form.get("next")) or ""
    case = re.fullmatch(r"/incidents/([0-9a-f-]{36})", back)
    if case is not None:
        return pages.refused_page(UUID(case[1]), message)
    face = access.patient(frame.house(), g.viewer, patient_id)
    kept = {"form": form} | {name: request.form.get(name, "")[:40] for name in OWN_TIMES} if form else {}
    seen = {"kept": kept, "now": frame.now_of(face), "span_s": pages.LAST_HOURS_S}
    page = render_template("patient.html", card=face, message=message, **seen)
    return make_response(page, 409)
