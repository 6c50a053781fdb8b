"""Pages for people: who asks, which read model, which template. Rules live in workflows and access."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial, wraps
from typing import Any, cast
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from service import access
from service.web import charts, display, help, shield
from service.web.text import Translator, preferred
from service.workflows import incidents
from service.workflows.house import House

log = logging.getLogger(__name__)

ACTIONS = ("claim", "acknowledge", "dispatch", "progress", "note", "stand_down", "close")
FIELDS = {
    "dispatch": ("called_at", "reference"),
    "progress": ("state",),
    "note": ("text",),
    "stand_down": ("reason",),
    "close": ("reason",),
}
REFUSALS = ("already_taken", "not_allowed_now", "field_invalid", "record_unreadable", "take_first")
ENDING = ("close", "stand_down")
LAST_MINUTES_S = 30 * 60.0
LAST_HOURS_S = 6 * 3600.0

View = Callable[..., Any]


def create_blueprint() -> Blueprint:
    """Build the blueprint of all pages."""
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
    pages.before_request(_who_asks)
    pages.after_request(_shielded)
    pages.after_app_request(_dressed)
    pages.app_context_processor(_for_templates)
    _add_routes(pages)
    pages.register_error_handler(HTTPException, error_page)
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


# --- before and after every request ---------------------------------------------------------------


def _house() -> House:
    return cast(House, current_app.extensions["ansim"])


def _who_asks() -> None:
    g.viewer = None
    if request.endpoint == "pages.static":
        return
    cookie = request.cookies.get(shield.COOKIE)
    g.viewer = access.viewer_from_cookie(_house(), cookie) if cookie else None


def _shielded(response: Response) -> Response:
    response.headers["X-Server-Time"] = f"{_house().clock().timestamp():.3f}"
    return shield.protect(response, page=request.endpoint != "pages.static")


def _translator() -> Translator:
    viewer = g.get("viewer")
    chosen = g.get("language") or (viewer.language if viewer else request.values.get("lang"))
    language = preferred(request.headers.get("Accept-Language"), chosen)
    return Translator(language, strict=current_app.testing or current_app.debug)


def _for_templates() -> dict[str, Any]:
    t = _translator()
    viewer = g.get("viewer")
    return {
        "t": t,
        "lang": t.language,
        "viewer": viewer,
        "csrf": viewer.csrf if viewer else "",
        "home_path": _home_of(viewer.roles) if viewer else "/login",
        "help_path": _help_for(viewer, t.language),
        "server_now": _house().clock(),
        "time_of_day": display.time_of_day,
        "date_and_time": partial(display.date_and_time, t=t),
        "day_of": partial(display.day_of, t=t),
        "day_input": display.day_input,
        "epoch": display.epoch,
        "seconds_clock": display.seconds_clock,
        "ago": partial(display.ago, t=t),
        "until": partial(display.until, t=t),
        "number": display.number,
        "phone_text": display.phone,
        "line_chart": partial(charts.line_chart, t=t),
        "table_rows": partial(charts.table_rows, t=t),
    }


def _help_for(viewer: Any, language: str) -> str | None:
    roles = viewer.roles if viewer else ()
    for page in ("dispatcher", "operator", "caregiver", "patient"):
        if page in roles and help.find(page, language):
            return f"/help/{page}"
    return None


def for_people(view: View) -> View:
    """Let nobody in without a session; turn the rooms' refusals into pages."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if g.viewer is None:
            return _to_login()
        if request.method == "POST" and not shield.token_matches(g.viewer.csrf, request.form.get("csrf")):
            log.warning("form_token_wrong path=%s person=%s", request.path, g.viewer.person_id)
            return _problem(403)
        try:
            return view(*args, **kwargs)
        except access.Denied:
            return _problem(403)
        except (KeyError, IndexError):
            # A slip of our own code, not "no such thing": it must look like the failure it is.
            raise
        except LookupError:
            log.info("page_lookup_failed path=%s", request.path, exc_info=True)
            return _problem(404)

    return guarded


def _is_fragment() -> bool:
    return request.headers.get("X-Ansim") == "fragment"


def _to_login() -> Any:
    if _is_fragment():
        return Response(status=401)
    here = request.full_path.rstrip("?") if request.method == "GET" else ""
    return redirect("/login" + (f"?{urlencode({'next': here})}" if here not in ("", "/") else ""))


def _problem(status: int, allowed: str = "") -> Response:
    page = make_response(render_template("error.html", status=status, allowed=allowed), status)
    if allowed:
        page.headers["Allow"] = allowed
    return shield.protect(page, page=True)


def _dressed(response: Response) -> Response:
    """An unknown address belongs to no blueprint: people get our page, machines keep their problem+json."""
    plain = request.blueprint is None and response.mimetype == "text/html"
    allowed = ", ".join(sorted(response.allow)) if response.status_code == 405 else ""
    return _problem(response.status_code, allowed) if plain and response.status_code in (404, 405) else response


def error_page(error: HTTPException) -> Response:
    """Answer in both languages and without asking the database, which may be what failed."""
    allowed = ", ".join(sorted(error.valid_methods or ())) if isinstance(error, MethodNotAllowed) else ""
    return _problem(error.code or 500, allowed)


# --- log-in and language ----------------------------------------------------------------------------


def login_form(failed: bool = False) -> Any:
    """Show the log-in, and in a demo who may be played."""
    if g.viewer is not None and not failed:
        return redirect(_home_of(g.viewer.roles))
    house = _house()
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
    house = _house()
    if not shield.same_origin(request):
        return _problem(403)
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    opened = access.log_in(house, name, password, request.remote_addr or "")
    if opened is None:
        return login_form(failed=True)
    cookie, viewer = opened
    chosen = request.form.get("lang")
    if chosen in ("ko", "en") and chosen != viewer.language:
        access.set_language(house, viewer, chosen)
    response = redirect(shield.local_path(request.form.get("next")) or _home_of(viewer.roles), 303)
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


@for_people
def logout() -> Any:
    """End the session, on the server too."""
    access.log_out(_house(), request.cookies[shield.COOKIE])
    response = redirect("/login", 303)
    response.delete_cookie(shield.COOKIE, path="/")
    return response


@for_people
def language() -> Any:
    """Remember the language this person reads."""
    wanted = request.form.get("lang", "")
    if wanted not in ("ko", "en"):
        return _problem(404)
    access.set_language(_house(), g.viewer, wanted)
    return redirect(shield.local_path(request.form.get("next")) or "/", 303)


def _home_of(roles: Collection[str]) -> str:
    if "dispatcher" in roles:
        return "/board"
    return "/patients" if "caregiver" in roles else "/help/operator"


@for_people
def home() -> Any:
    """Send each to their own first page; one patient needs no list."""
    path = _home_of(g.viewer.roles)
    if path == "/patients":
        cards = access.my_patients(_house(), g.viewer)["patients"]
        if len(cards) == 1:
            return redirect(f"/patients/{cards[0]['id']}")
    return redirect(path)


# --- the dispatcher's pages -------------------------------------------------------------------------


def _now_of(face: dict[str, Any]) -> datetime:
    return cast(datetime, face.get("now") or _house().clock())


@for_people
def board() -> Any:
    """Show the live board."""
    face = access.board(_house(), g.viewer)
    return render_template("board.html", face=face, now=_now_of(face))


@for_people
def board_rows() -> Any:
    """The part of the board that changes."""
    face = access.board(_house(), g.viewer)
    return render_template("_rows.html", face=face, now=_now_of(face))


@for_people
def incident(incident_id: UUID) -> Any:
    """Show one incident."""
    return _incident_page(incident_id)


def _incident_page(incident_id: UUID, message: str | None = None, status: int = 200) -> Response:
    face = access.incident(_house(), g.viewer, incident_id)
    page = render_template("incident.html", face=face, now=_now_of(face), span_s=LAST_MINUTES_S, message=message)
    return make_response(page, status)


@for_people
def incident_body(incident_id: UUID) -> Any:
    """The part of an incident's page that changes; also the panel beside the board."""
    face = access.incident(_house(), g.viewer, incident_id)
    return render_template("_incident.html", face=face, now=_now_of(face), span_s=LAST_MINUTES_S)


@for_people
def act(incident_id: UUID, action: str) -> Any:
    """Do one thing to an incident, then show what came of it."""
    if action not in ACTIONS:
        return _problem(404)
    fields = {name: request.form.get(name, "").strip() for name in FIELDS.get(action, ())}
    if action == "dispatch":
        try:
            fields["called_at"] = display.typed_time(fields["called_at"], _house().clock()).isoformat()
        except ValueError:
            return _refused(incident_id, _translator()("dispatch.time_wrong"))
    if action in ENDING and request.form.get("sure") != "yes" and _unspoken(incident_id):
        return _refused(incident_id, _translator()("close.unspoken"))
    try:
        access.act(_house(), g.viewer, incident_id, action, fields)
    except incidents.Refused as refused:
        return _refused(incident_id, _said(refused))
    if _is_fragment():
        return Response(status=204)
    back = shield.local_path(request.form.get("next"))
    return redirect(back or f"/incidents/{incident_id}", 303)


def _unspoken(incident_id: UUID) -> bool:
    """Whether this would end a cry for help that, as far as we know, nobody has spoken about."""
    return bool(access.incident(_house(), g.viewer, incident_id).get("unspoken"))


def _said(refused: incidents.Refused) -> str:
    """Say a refusal in the viewer's language; the rule's own sentence is for machines and logs."""
    log.info("action_refused code=%s field=%s", refused.code, refused.field)
    known = refused.code if refused.code in REFUSALS else "not_allowed_now"
    return _translator()(f"refused.{known}")


def _refused(incident_id: UUID, message: str) -> Response:
    if _is_fragment():
        return make_response({"message": message}, 409)
    return _incident_page(incident_id, message, 409)


# --- the caregiver's pages --------------------------------------------------------------------------


@for_people
def patients() -> Any:
    """Show everybody this person looks after."""
    face = access.my_patients(_house(), g.viewer)
    return render_template("patients.html", face=face, now=_now_of(face))


@for_people
def patients_body() -> Any:
    """The part of the list that changes."""
    face = access.my_patients(_house(), g.viewer)
    return render_template("_patients.html", face=face, now=_now_of(face))


@for_people
def patient(patient_id: UUID) -> Any:
    """Show one person: first how old the knowledge is."""
    face = access.patient(_house(), g.viewer, patient_id)
    return render_template("patient.html", card=face, now=_now_of(face), span_s=LAST_HOURS_S)


@for_people
def patient_body(patient_id: UUID) -> Any:
    """The part of a person's page that changes."""
    face = access.patient(_house(), g.viewer, patient_id)
    return render_template("_patient.html", card=face, now=_now_of(face), span_s=LAST_HOURS_S)


@for_people
def away(patient_id: UUID) -> Any:
    """Hear that somebody is away from home until the end of a day, or is back."""
    typed = request.form.get("until", "").strip()
    try:
        until = display.typed_day(typed) if typed else None
        access.set_away(_house(), g.viewer, patient_id, until)
    except ValueError:
        face = access.patient(_house(), g.viewer, patient_id)
        message = _translator()("care.away_wrong")
        page = render_template("patient.html", card=face, now=_now_of(face), span_s=LAST_HOURS_S, message=message)
        return make_response(page, 409)
    return redirect(f"/patients/{patient_id}", 303)


# --- help ---------------------------------------------------------------------------------------------


def help_page(page: str) -> Any:
    """Show a help page; whoever cannot log in may read it too."""
    path = help.find(page, _translator().language)
    if path is None:
        return _problem(404)
    title, body = help.render(path)
    return render_template("help.html", title=title, body=body)
