"""What a caregiver does, by whichever door: take it, pass it on, go, arrive, all is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from dispatch import escalation
from dispatch.codes import Role
from dispatch.escalation_answers import DECLINE_DIGIT, TAKE_DIGIT
from dispatch.incident import SETTLING, Decision, Incident
from service.workflows.house import House, log
from service.workflows.incidents import Refused, changed

ACTIONS = ("acknowledge", "decline", "going", "arrived", "safe")
LONGEST_ETA_MIN = 120
ETA_CHOICES_MIN = (10, 20, 30, 60)
"""What pages offer; the telephone has its digits."""


class Unclear(Exception):
    """A field that says nothing that can be done; ``field`` names it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.message, self.field = message, field


def rule(
    person_id: UUID, action: str, fields: Mapping[str, str], clock: Callable[[], datetime]
) -> Callable[[Incident], Decision]:
    """The same rule as the telephone's key. Raises Unclear when a field is missing."""
    if action == "acknowledge":
        return lambda i: escalation.contact_answered(i, person_id, TAKE_DIGIT, clock())
    if action == "decline":
        return lambda i: escalation.contact_answered(i, person_id, DECLINE_DIGIT, clock())
    if action == "going":
        eta_s = eta_min(fields) * 60
        return lambda i: escalation.going(i, person_id, eta_s, clock(), role=Role.CAREGIVER)
    if action == "arrived":
        return lambda i: escalation.arrived(i, person_id, clock())
    if action == "safe":
        return lambda i: escalation.safe(i, person_id, clock())
    raise Unclear(f"action must be one of {', '.join(ACTIONS)}, was {action[:20]!r}", "action")


def eta_min(fields: Mapping[str, str]) -> int:
    text = fields.get("eta_min", "").strip()
    minutes = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
    if not 1 <= minutes <= LONGEST_ETA_MIN:
        raise Unclear(f"eta_min must be whole minutes from 1 to {LONGEST_ETA_MIN}, was {text[:10]!r}", "eta_min")
    return minutes


def refusal(before_is_theirs: bool, after: Incident, person_id: UUID, action: str) -> str | None:
    """Why an action did not come to anything, as a code that pages word; None when it did."""
    over = not after.open or after.state in SETTLING
    if action in {"acknowledge", "going"}:
        if after.owner_id != person_id or not after.acknowledged:
            return "already_taken" if after.acknowledged else "not_allowed_now"
        return "not_allowed_now" if over else None
    if action == "arrived":
        return "not_allowed_now" if over else None
    if action == "safe" and not before_is_theirs:
        return "already_taken" if after.acknowledged else "not_allowed_now"
    return None


def standing(incident: Incident, person_id: UUID) -> str:
    """How a case stands to somebody: ``mine``, ``taken`` by another, ``open``, or ``over``."""
    if not incident.open or incident.state in SETTLING:
        return "over"
    if not incident.acknowledged:
        return "open"
    return "mine" if incident.owner_id == person_id else "taken"


def act(
    house: House, person_id: UUID, incident_id: UUID, action: str, fields: Mapping[str, str]
) -> Incident:
    """A caregiver's action on one case, with the same effect as the key.

    Raises LookupError when there is no such case, Refused when it cannot be done (now, or so).
    """
    try:
        decide = rule(person_id, action, fields, house.clock)
    except Unclear as error:
        raise Refused(error.message, code="field_invalid", field=error.field) from error
    theirs = [False]

    def noted(incident: Incident) -> Decision:
        theirs[0] = standing(incident, person_id) == "mine"
        return decide(incident)

    after = changed(house, incident_id, noted)
    log("incident_action", incident=incident_id, action=action, by=person_id, state=after.state)
    code = refusal(theirs[0], after, person_id, action)
    if code is not None:
        raise Refused(REFUSED[code], code=code)
    return after


REFUSED = {
    "already_taken": "somebody else has taken it already",
    "not_allowed_now": "that is not possible now: the case is over, or not in your hands",
}
