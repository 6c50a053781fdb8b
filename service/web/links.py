"""The page behind a signed link: opened it shows nothing of anybody, tapped it acts."""

from __future__ import annotations

from typing import Any, cast

from flask import Blueprint, Response, current_app, g, make_response, render_template, request

from service import access_doors
from service.web import shield
from service.workflows import caregiving, link_page
from service.workflows.house import House
from service.workflows.incidents import Refused

LONGEST_TOKEN = 64


def create_blueprint() -> Blueprint:
    """Build the blueprint of signed links."""
    links = Blueprint("links", __name__, template_folder="templates")
    links.add_url_rule("/r/<token>", view_func=show)
    links.add_url_rule("/r/<token>", view_func=act, methods=["POST"])
    links.after_request(_shielded)
    links.register_error_handler(access_doors.Gone, _gone)
    return links


def _house() -> House:
    return cast(House, current_app.extensions["ansim"])


def _shielded(response: Response) -> Response:
    response.headers["X-Server-Time"] = f"{_house().clock().timestamp():.3f}"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return shield.protect(response, page=True)


def show(token: str) -> Any:
    """Opening a link, or a preview of it, changes nothing and says nothing of anybody."""
    return _page(token, access_doors.link_face(_house(), token[:LONGEST_TOKEN]))


def act(token: str) -> Any:
    """A tap. The link itself is the right to it, and the proof that no other page sent it."""
    token = token[:LONGEST_TOKEN]
    action = request.form.get("action", "")
    if action not in link_page.ACTIONS:
        return _page(token, access_doors.link_face(_house(), token), status=400)
    try:
        face = access_doors.follow_link(_house(), token, action, request.form)
    except Refused as refused:
        face = access_doors.link_face(_house(), token)
        face = access_doors.link_now(_house(), token, face["language"])
        if refused.field == "eta_min":
            return _page(token, face, refused="eta_wrong", given=request.form.get("eta_min", "")[:10], status=422)
        return _page(token, face, refused=refused.code, status=409)
    return _page(token, face)


def _page(token: str, face: dict[str, Any], *, refused: str = "", given: str = "", status: int = 200) -> Response:
    g.language = face["language"]
    over = face["standing"] == "over" and not face.get("did")
    page = render_template(
        "link.html",
        face=face,
        token=token,
        refused=refused,
        given=given,
        longest_eta=caregiving.LONGEST_ETA_MIN,
        etas=caregiving.ETA_CHOICES_MIN,
        now=face.get("now") or _house().clock(),
    )
    return make_response(page, 410 if over else status)


def _gone(_error: access_doors.Gone) -> Response:
    """Never ours, too old, or over: the same page for each."""
    return make_response(render_template("link.html", face=None, token="", refused="", etas=(), now=None), 410)
