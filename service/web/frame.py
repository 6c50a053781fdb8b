"""What stands around every page: who asks, what each template may say, how nobody gets in who should not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial, wraps
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Response, current_app, g, make_response, redirect, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from service import access
from service.web import charts, display, help, shield
from service.web.text import Translator, preferred
from service.workflows import incidents
from service.workflows.house import House

log = logging.getLogger(__name__)

REFUSALS = ("already_taken", "not_allowed_now", "field_invalid", "record_unreadable", "take_first")

View = Callable[..., Any]


def house() -> House:
    """The house that serves this request."""
    return cast(House, current_app.extensions["ansim"])


def zone() -> ZoneInfo:
    """Where the pages' clocks are."""
    return ZoneInfo(house().settings.time_zone)


def who_asks() -> None:
    """Find out before every request whose session this is, if anybody's."""
    g.viewer = None
    if request.endpoint == "pages.static":
        return
    cookie = request.cookies.get(shield.COOKIE)
    g.viewer = access.viewer_from_cookie(house(), cookie) if cookie else None


def shielded(response: Response) -> Response:
    """Every answer with our clock, which pages count from, and with the headers that protect them."""
    response.headers["X-Server-Time"] = f"{house().clock().timestamp():.3f}"
    return shield.protect(response, page=request.endpoint != "pages.static")


def translator() -> Translator:
    """Words in the language of whoever reads: chosen now, chosen once, or what the browser asks for."""
    viewer = g.get("viewer")
    chosen = g.get("language") or (viewer.language if viewer else request.values.get("lang"))
    language = preferred(request.headers.get("Accept-Language"), chosen)
    return Translator(language, strict=current_app.testing or current_app.debug)


def for_templates() -> dict[str, Any]:
    """What every template may name."""
    t, here = translator(), zone()
    viewer = g.get("viewer")
    return {
        "t": t,
        "lang": t.language,
        "viewer": viewer,
        "csrf": viewer.csrf if viewer else "",
        "home_path": home_of(viewer.roles) if viewer else "/login",
        "help_path": _help_for(viewer, t.language),
        "server_now": house().clock(),
        "time_zone": here.key,
        "time_of_day": partial(display.time_of_day, zone=here),
        "date_and_time": partial(display.date_and_time, t=t, zone=here),
        "day_of": partial(display.day_of, t=t, zone=here),
        "day_input": partial(display.day_input, zone=here),
        "epoch": display.epoch,
        "seconds_clock": display.seconds_clock,
        "ago": partial(display.ago, t=t),
        "until": partial(display.until, t=t),
        "number": display.number,
        "phone_text": display.phone,
        "line_chart": partial(charts.line_chart, t=t, zone=here),
        "table_rows": partial(charts.table_rows, t=t, zone=here),
    }


def home_of(roles: Collection[str]) -> str:
    """The page that somebody of these roles comes to first."""
    if "dispatcher" in roles:
        return "/board"
    return "/patients" if "caregiver" in roles else "/help/operator"


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
            return problem(403)
        try:
            return view(*args, **kwargs)
        except access.Denied:
            return problem(403)
        except (KeyError, IndexError):
            # A slip of our own code, not "no such thing": it must look like the failure it is.
            raise
        except LookupError:
            log.info("page_lookup_failed path=%s", request.path, exc_info=True)
            return problem(404)

    return guarded


def is_fragment() -> bool:
    """Whether our own script asks, for a part of a page."""
    return request.headers.get("X-Ansim") == "fragment"


def _to_login() -> Any:
    if is_fragment():
        return Response(status=401)
    here = request.full_path.rstrip("?") if request.method == "GET" else ""
    return redirect("/login" + (f"?{urlencode({'next': here})}" if here not in ("", "/") else ""))


def problem(status: int, allowed: str = "") -> Response:
    """The page that says what went wrong."""
    page = make_response(render_template("error.html", status=status, allowed=allowed), status)
    if allowed:
        page.headers["Allow"] = allowed
    return shield.protect(page, page=True)


def dressed(response: Response) -> Response:
    """An unknown address belongs to no blueprint: people get our page, machines keep their problem+json."""
    plain = request.blueprint is None and response.mimetype == "text/html"
    allowed = ", ".join(sorted(response.allow)) if response.status_code == 405 else ""
    return problem(response.status_code, allowed) if plain and response.status_code in (404, 405) else response


def error_page(error: HTTPException) -> Response:
    """Answer in both languages and without asking the database, which may be what failed."""
    allowed = ", ".join(sorted(error.valid_methods or ())) if isinstance(error, MethodNotAllowed) else ""
    return problem(error.code or 500, allowed)


def now_of(face: dict[str, Any]) -> datetime:
    """The instant that what a page shows was read at."""
    return cast(datetime, face.get("now") or house().clock())


def said(refused: incidents.Refused) -> str:
    """Say a refusal in the viewer's language; the rule's own sentence is for machines and logs."""
    log.info("action_refused code=%s field=%s", refused.code, refused.field)
    if refused.field == "sure":
        return translator()(f"doubt.{refused.code}")
    known = refused.code if refused.code in REFUSALS else "not_allowed_now"
    return translator()(f"refused.{known}")
