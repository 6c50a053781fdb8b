"""Pages for people: which read model, which template. Rules live in workflows and access, who may enter in `frame`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug.exceptions import HTTPException

from service import access
from service.web import display, frame, help, shield
from service.workflows import incidents

ACTIONS = ("claim", "acknowledge", "dispatch", "progress", "note", "stand_down", "close")
FIELDS = {
    "dispatch": ("called_at", "reference"),
    "progress": ("state",),
    "note": ("text",),
    "stand_down": ("reason", "sure"),
    "close": ("reason", "sure"),
}
LAST_MINUTES_S = 30 * 60.0
LAST_HOURS_S = 6 * 3600.0


def create_blueprint() -> Blueprint:
    """Build the blueprint of all pages."""
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
    pages.before_request(frame.who_asks)
    pages.after_request(frame.shielded)
    pages.after_app_request(frame.dressed)
    pages.app_context_processor(frame.for_templates)
    _add_routes(pages)
    pages.register_error_handler(HTTPException, frame.error_page)
    return pages


def _add_routes(pages: Blueprint) -> None:
    pages.add_url_rule("/", view_func=home)
    pages.add_url_rule("/login", view_func=login_form)
    pages.add_url_rule("/login", view_func=login, methods=["POST"])
    pages.add_url_rule("/logout", view_func=logout, methods=["POST"])
    pages.add_url_rule("/language", view_func=language, methods=["POST"])
    pages.add_url_rule("/board", view_func=board)
    pages.add_url_rule("/board/rows", view_func=board_rows)
    pages.add_url_rule("/incidents/<uuid:incident_id>", view_func=incident)
    pages.add_url_rule("/incidents/<uuid:incident_id>/body", view_func=incident_body)
    pages.add_url_rule("/incidents/<uuid:incident_id>/<action>", view_func=act, methods=["POST"])
    pages.add_url_rule("/patients", view_func=patients)
    pages.add_url_rule("/patients/body", view_func=patients_body)
    pages.add_url_rule("/patients/<uuid:patient_id>", view_func=patient)
    pages.add_url_rule("/patients/<uuid:patient_id>/body", view_func=patient_body)
    pages.add_url_rule("/patients/<uuid:patient_id>/away", view_func=away, methods=["POST"])
    pages.add_url_rule("/help/<page>", view_func=help_page)


# --- log-in and language ----------------------------------------------------------------------------


def login_form(failed: bool = False) -> Any:
    """Show the log-in, and in a demo who may be played."""
    if g.viewer is not None and not failed:
        return redirect(frame.home_of(g.viewer.roles))
    house = frame.house()
    page = render_template(
        "login.html",
        failed=failed,
        next=shield.local_path(request.values.get("next")) or "",
        chosen=request.values.get("lang") or "",
        demo=house.demo_logins(),
        name=request.form.get("name", ""),
    )
    return make_response(page, 401 if failed else 200)


def login() -> Any:
    """Open a session."""
    house = frame.house()
    if not shield.same_origin(request):
        return frame.problem(403)
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    opened = access.log_in(house, name, password, request.remote_addr or "")
    if opened is None:
        return login_form(failed=True)
    cookie, viewer = opened
    chosen = request.form.get("lang")
    if chosen in ("ko", "en") and chosen != viewer.language:
        access.set_language(house, viewer, chosen)
    response = redirect(shield.local_path(request.form.get("next")) or frame.home_of(viewer.roles), 303)
    response.set_cookie(
        shield.COOKIE,
        cookie,
        httponly=True,
        samesite="Lax",
        secure=_is_https(house.settings.public_url),
        path="/",
    )
    return response


def _is_https(public_url: Any) -> bool:
    return urlsplit(str(public_url or "")).scheme == "https"


@frame.for_people
def logout() -> Any:
    """End the session, on the server too."""
    access.log_out(frame.house(), request.cookies[shield.COOKIE])
    response = redirect("/login", 303)
    response.delete_cookie(shield.COOKIE, path="/")
    return response


@frame.for_people
def language() -> Any:
    """Remember the language this person reads."""
    wanted = request.form.get("lang", "")
    if wanted not in ("ko", "en"):
        return frame.problem(404)
    access.set_language(frame.house(), g.viewer, wanted)
    return redirect(shield.local_path(request.form.get("next")) or "/", 303)


@frame.for_people
def home() -> Any:
    """Send each to their own first page; one patient needs no list."""
    path = frame.home_of(g.viewer.roles)
    if path == "/patients":
        cards = access.my_patients(frame.house(), g.viewer)["patients"]
        if len(cards) == 1:
            return redirect(f"/patients/{cards[0]['id']}")
    return redirect(path)


# --- the dispatcher's pages -------------------------------------------------------------------------


@frame.for_people
def board() -> Any:
    """Show the live board."""
    face = access.board(frame.house(), g.viewer)
    return render_template("board.html", face=face, now=frame.now_of(face))


@frame.for_people
def board_rows() -> Any:
    """The part of the board that changes."""
    face = access.board(frame.house(), g.viewer)
    return render_template("_rows.html", face=face, now=frame.now_of(face))


@frame.for_people
def incident(incident_id: UUID) -> Any:
    """Show one incident."""
    return _incident_page(incident_id)


def _incident_page(
    incident_id: UUID, message: str | None = None, status: int = 200, kept: dict[str, str] | None = None
) -> Response:
    face = access.incident(frame.house(), g.viewer, incident_id)
    page = render_template(
        "incident.html", face=face, now=frame.now_of(face), span_s=LAST_MINUTES_S, message=message, kept=kept or {}
    )
    return make_response(page, status)


@frame.for_people
def incident_body(incident_id: UUID) -> Any:
    """The part of an incident's page that changes; also the panel beside the board."""
    face = access.incident(frame.house(), g.viewer, incident_id)
    return render_template("_incident.html", face=face, now=frame.now_of(face), span_s=LAST_MINUTES_S)


@frame.for_people
def act(incident_id: UUID, action: str) -> Any:
    """Do one thing to an incident, then show what came of it."""
    if action not in ACTIONS:
        return frame.problem(404)
    fields = {name: request.form.get(name, "").strip() for name in FIELDS.get(action, ())}
    kept = {"act": action, **fields}
    if "sure" in fields:
        fields["sure"] = fields["sure"] or incidents.UNSURE
    if action == "dispatch":
        try:
            called_at = display.typed_time(fields["called_at"], frame.house().clock(), frame.zone())
        except ValueError:
            return refused_page(incident_id, frame.translator()("dispatch.time_wrong"), kept)
        fields["called_at"] = called_at.isoformat()
    try:
        access.act(frame.house(), g.viewer, incident_id, action, fields)
    except incidents.Refused as refused:
        return refused_page(incident_id, frame.said(refused), kept, sure=refused.field == "sure")
    if frame.is_fragment():
        return Response(status=204)
    back = shield.local_path(request.form.get("next"))
    return redirect(back or f"/incidents/{incident_id}", 303)


def refused_page(
    incident_id: UUID, message: str, kept: dict[str, str] | None = None, *, sure: bool = False
) -> Response:
    """The incident again, with why this was refused and what was chosen; ``sure`` where a tick is asked for."""
    if frame.is_fragment():
        return make_response({"message": message, "sure": sure}, 409)
    # What asks for the tick stands beside it already.
    return _incident_page(incident_id, message, 409, kept and kept | {"wrong": "" if sure else message})


# --- the caregiver's pages --------------------------------------------------------------------------


@frame.for_people
def patients() -> Any:
    """Show everybody this person looks after."""
    face = access.my_patients(frame.house(), g.viewer)
    return render_template("patients.html", face=face, now=frame.now_of(face))


@frame.for_people
def patients_body() -> Any:
    """The part of the list that changes."""
    face = access.my_patients(frame.house(), g.viewer)
    return render_template("_patients.html", face=face, now=frame.now_of(face))


@frame.for_people
def patient(patient_id: UUID) -> Any:
    """Show one person: first how old the knowledge is."""
    face = access.patient(frame.house(), g.viewer, patient_id)
    return render_template("patient.html", card=face, now=frame.now_of(face), span_s=LAST_HOURS_S)


@frame.for_people
def patient_body(patient_id: UUID) -> Any:
    """The part of a person's page that changes."""
    face = access.patient(frame.house(), g.viewer, patient_id)
    return render_template("_patient.html", card=face, now=frame.now_of(face), span_s=LAST_HOURS_S)


@frame.for_people
def away(patient_id: UUID) -> Any:
    """Hear that somebody is away from home until the end of a day, or is back."""
    typed = request.form.get("until", "").strip()
    try:
        until = display.typed_day(typed, frame.zone()) if typed else None
        access.set_away(frame.house(), g.viewer, patient_id, until)
    except ValueError:
        face = access.patient(frame.house(), g.viewer, patient_id)
        message = frame.translator()("care.away_wrong")
        kept = {"form": "away", "until": typed[:40]}
        page = render_template(
            "patient.html", card=face, now=frame.now_of(face), span_s=LAST_HOURS_S, message=message, kept=kept
        )
        return make_response(page, 409)
    return redirect(f"/patients/{patient_id}", 303)


# --- help ---------------------------------------------------------------------------------------------


def help_page(page: str) -> Any:
    """Show a help page; whoever cannot log in may read it too."""
    path = help.find(page, frame.translator().language)
    if path is None:
        return frame.problem(404)
    title, body = help.render(path)
    return render_template("help.html", title=title, body=body)
