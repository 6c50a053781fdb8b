"""Who may see, check and publish escalation policies: the operators of the organisation they hold for."""

from __future__ import annotations

from typing import Any

from service.access import Denied, Viewer
from service.workflows import policies, policy_check
from service.workflows.house import House, log
from service.workflows.policies import Place
from service.workflows.policy_check import Check, ScopeRecord


def scopes(house: House, viewer: Viewer) -> list[ScopeRecord]:
    """The latest version of every scope of the viewer's organisation."""
    _require_operator(viewer, "policies")
    return policy_check.scopes(house, viewer.organisation_id)


def districts(house: House, viewer: Viewer) -> list[str]:
    _require_operator(viewer, "policies")
    return policy_check.districts(house, viewer.organisation_id)


def history(house: House, viewer: Viewer, where: Place) -> list[ScopeRecord]:
    """Every version of one scope, newest first."""
    _require_operator(viewer, "policies")
    return policy_check.history(house, viewer.organisation_id, where)


def in_force(house: House, viewer: Viewer, where: Place) -> dict[str, Any]:
    """What holds for a scope now, and the text to begin an own one with. LookupError: no such person here."""
    _require_operator(viewer, "policies")
    document, version, text = policy_check.in_force(house, viewer.organisation_id, where)
    return {"title": document.title, "version": version, "text": text}


def check(house: House, viewer: Viewer, where: Place, text: str, language: str, *, cohort: bool = True) -> Check:
    """Look at a document without putting it in force."""
    _require_operator(viewer, "check_policy")
    document, _, _ = policy_check.in_force(house, viewer.organisation_id, where)
    return policy_check.check(text, language, document, cohort=cohort)


def changes(house: House, viewer: Viewer, where: Place, text: str) -> list[str]:
    """What a document would change of what is in force now."""
    _require_operator(viewer, "check_policy")
    return policy_check.changes(house, viewer.organisation_id, where, text)


def mark(house: House, viewer: Viewer, where: Place, text: str) -> str:
    """Proof that this text was checked."""
    _require_operator(viewer, "check_policy")
    return policy_check.mark(house, viewer.organisation_id, where, text)


def was_checked(house: House, viewer: Viewer, where: Place, text: str, given: str) -> bool:
    return policy_check.was_checked(house, viewer.organisation_id, where, text, given)


def publish(house: House, viewer: Viewer, where: Place, text: str, seen: int | None = None) -> str:
    """Put a document in force; empty takes the scope's own back.

    Raises PolicyError, Changed, NothingToWithdraw, LookupError.
    """
    _require_operator(viewer, "publish_policy")
    return policies.publish(house, viewer.organisation_id, viewer.person_id, where, text, seen=seen)


def _require_operator(viewer: Viewer, what: str) -> None:
    if "operator" not in viewer.roles and "staff:write" not in viewer.scopes:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
