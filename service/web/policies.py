"""Pages on which operators read, check and publish escalation policies. They work without any script."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from dispatch.dry_run import CASES, at_text
from dispatch.policies import LONGEST_TEXT, PolicyError
from service import access_policies
from service.web import frame
from service.workflows import policies
from service.workflows.policies import WITHDRAWN, Changed, NothingToWithdraw, Place, PlaceError, Scope
from service.workflows.policy_check import Check, Figure, ScopeRecord


def create_blueprint() -> Blueprint:
    """Build the blueprint of these pages."""
    own = Blueprint("policy_pages", __name__)
    own.before_request(frame.who_asks)
    own.after_request(frame.shielded)
    own.add_url_rule("/policies", view_func=overview)
    own.add_url_rule("/policies/edit", view_func=editor)
    own.add_url_rule("/policies/check", view_func=check, methods=["POST"])
    own.add_url_rule("/policies/publish", view_func=publish, methods=["POST"])
    return own


@frame.for_people
def overview() -> Any:
    """Show what is in force where."""
    return _overview()


def _overview(message: str | None = None, status: int = 200) -> Response:
    face = {
        "scopes": access_policies.scopes(frame.house(), g.viewer),
        "default": access_policies.in_force(frame.house(), g.viewer, Place()),
        "districts": access_policies.districts(frame.house(), g.viewer),
    }
    page = render_template("policies.html", face=face, message=message, now=frame.house().clock())
    return make_response(page, status)


@frame.for_people
def editor() -> Any:
    """Show one scope: its text, and every version of it."""
    try:
        where = _place(request.args)
    except PlaceError:
        return _overview(frame.translator()("policies.place_wrong"), 422)
    return _editor(where, published=request.args.get("published", ""))


def _place(given: Any) -> Place:
    typed = str(given.get("patient_id", "")).strip()
    try:
        patient_id = UUID(typed) if typed else None
    except ValueError as error:
        raise PlaceError("patient_id must be a UUID") from error
    return policies.place(str(given.get("scope", "")), str(given.get("district_code", "")).strip(), patient_id)


def _editor(
    where: Place,
    *,
    text: str | None = None,
    checked: Check | None = None,
    mark: str = "",
    message: str | None = None,
    published: str = "",
    status: int = 200,
) -> Response:
    house = frame.house()
    now = access_policies.in_force(house, g.viewer, where)
    history = access_policies.history(house, g.viewer, where)
    typed = now["text"] if text is None else policies.normal(text)
    wrong = {one.line for one in checked.problems} if checked else set()
    face = {
        "where": where,
        "in_force": now,
        "history": history,
        "text": typed,
        "seen": history[0].number if history else 0,
        "own": bool(history and history[0].text != WITHDRAWN),
        "changes": access_policies.changes(house, g.viewer, where, typed) if checked else [],
        "same_as": _same_as(history, typed) if checked else None,
        "checked": checked,
        "mark": mark,
        "lines": [(n, line, n in wrong) for n, line in enumerate(typed.splitlines(), 1)] if wrong else [],
        "cases": [(case, [(at_text(one.at_s), one) for one in checked.dry_run.get(case, [])]) for case in CASES]
        if checked
        else [],
        "figures": [_figure(one) for one in checked.cohort] if checked else [],
        "cut": None if checked is None or checked.false_dispatch_cut is None else f"{checked.false_dispatch_cut:.0%}",
        "published": history[0] if history and history[0].version == published else None,
        "longest": LONGEST_TEXT,
    }
    page = render_template("policy.html", face=face, message=message, now=house.clock())
    return make_response(page, status)


def _same_as(history: list[ScopeRecord], text: str) -> int | None:
    """The earlier version of this scope whose text this is, so that whoever brings it back is told so."""
    return next((one.number for one in history[1:] if one.text == text), None)


def _figure(one: Figure) -> dict[str, str]:
    """A figure as cells: seconds whole, rates with two digits, differences signed."""
    seconds = one.measure == "time_to_human_p50_s"

    def value(number: float) -> str:
        return f"{number:.0f}" if seconds else f"{number:.2f}"

    def change(number: float | None) -> str:
        if number is None:
            return ""
        said = f"{number:+.0f}" if seconds else f"{number:+.0%}"
        return said.replace("-", "−").replace("+0%", "0%").replace("−0%", "0%").replace("−0", "0").replace("+0", "0")

    interval = "" if one.ci_low is None else f"{change(one.ci_low)} … {change(one.ci_high)}"
    return {
        "measure": one.measure,
        "kind": one.kind,
        "new": value(one.new),
        "in_force": value(one.in_force),
        "difference": change(one.difference),
        "interval": interval,
    }


@frame.for_people
def check() -> Any:
    """Say what is wrong at which line, or who would be rung when and what simulated homes make of it."""
    try:
        where = _place(request.form)
    except PlaceError:
        return _overview(frame.translator()("policies.place_wrong"), 422)
    text = request.form.get("text", "")
    language = frame.translator().language
    if not policies.normal(text):
        return _editor(where, text=text, message=frame.translator()("policies.empty"), status=422)
    checked = access_policies.check(frame.house(), g.viewer, where, text, language)
    mark = access_policies.mark(frame.house(), g.viewer, where, text) if checked.valid else ""
    return _editor(where, text=text, checked=checked, mark=mark, status=200 if checked.valid else 422)


@frame.for_people
def publish() -> Any:
    """Put in force what was checked, and nothing else; or take a scope's own document back."""
    try:
        where = _place(request.form)
    except PlaceError:
        return _overview(frame.translator()("policies.place_wrong"), 422)
    withdraw = request.form.get("withdraw") == "yes"
    text = WITHDRAWN if withdraw else request.form.get("text", "")
    if not withdraw and not access_policies.was_checked(
        frame.house(), g.viewer, where, text, request.form.get("checked", "")
    ):
        return _editor(where, text=text, message=frame.translator()("policies.not_checked"), status=409)
    typed = request.form.get("seen", "")
    seen = int(typed) if typed.isdecimal() and len(typed) < 10 else -1
    try:
        version = access_policies.publish(frame.house(), g.viewer, where, text, seen)
    except (Changed, NothingToWithdraw):
        return _editor(where, text=text or None, message=frame.translator()("policies.changed"), status=409)
    except PolicyError:
        return _editor(where, text=text, message=frame.translator()("policies.not_checked"), status=409)
    return redirect(f"/policies/edit?{_query(where)}&published={version}", 303)


def _query(where: Place) -> str:
    if where.scope is Scope.DISTRICT:
        return f"scope=district&district_code={where.district_code}"
    return f"scope=patient&patient_id={where.patient_id}" if where.scope is Scope.PATIENT else "scope=organisation"


