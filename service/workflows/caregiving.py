"""What a caregiver does, by whichever door: take it, pass it on, go, arrive, 119 called, all is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from dispatch import escalation
from dispatch.codes import Action, Role
from dispatch.escalation_answers import DECLINE_DIGIT, TAKE_DIGIT
from dispatch.incident import SETTLING, THERE, Decision, Incident, allowed_actions
from service.workflows.house import House, log
from service.workflows.incidents import Refused, changed

ACTIONS = ("acknowledge", "decline", "going", "arrived", "safe", Action.CALLED_119.value)
LONGEST_ETA_MIN = 120
LONGEST_REFERENCE = 100
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
    if action == Action.CALLED_119:
        given = reference(fields)
        return lambda i: escalation.called(i, person_id, given, now := clock(), now)
    raise Unclear(f"action must be one of {', '.join(ACTIONS)}, was {action[:20]!r}", "action")


def eta_min(fields: Mapping[str, str]) -> int:
    text = fields.get("eta_min", "").strip()
    minutes = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
    if not 1 <= minutes <= LONGEST_ETA_MIN:
        raise Unclear(f"eta_min must be whole minutes from 1 to {LONGEST_ETA_MIN}, was {text[:10]!r}", "eta_min")
    return minutes


def reference(fields: Mapping[str, str]) -> str:
    """What 119 gave to who called, if they gave anything."""
    text = "".join(letter for letter in fields.get("reference", "").strip() if letter.isprintable())
    if len(text) > LONGEST_REFERENCE:
        detail = f"reference must have at most {LONGEST_REFERENCE} characters, had {len(text)}"
        raise Unclear(detail, "reference")
    return text


def refusal(before: Incident, after: Incident, person_id: UUID, action: str) -> str | None:
    """Why an action did not come to anything, as a code that pages word; None when it did."""
    over = not after.open or after.state in SETTLING
    if action in {"acknowledge", "going"}:
        if after.owner_id != person_id or not after.acknowledged:
            return "already_taken" if after.acknowledged else "not_allowed_now"
        return "not_allowed_now" if over else None
    if action == "arrived":
        if over:
            return "not_allowed_now"
        return None if person_id in after.there else "take_first"
    if action == "safe" and standing(before, person_id) != "mine":
        heard = before.open and (escalation.may_agree(before, person_id) or person_id in before.there)
        return None if heard else "already_taken" if before.acknowledged else "not_allowed_now"
    return None


def noted(after: Incident, person_id: UUID, action: str) -> str | None:
    """What an action came to that did less than was asked, as a code that pages word; None when all of it was done."""
    if not after.open or after.state in SETTLING:
        return None
    holds = after.acknowledged and after.owner_id == person_id
    by_staff = after.owner_role != Role.CAREGIVER
    if action == "decline":
        return "declined_taken" if after.acknowledged and not holds else None
    if action == "arrived" and not holds:
        return "arrived_by_dispatcher" if by_staff else "arrived_too"
    if action != "safe":
        return None
    if by_staff:
        return "safe_by_dispatcher"
    return "safe_asked" if person_id in after.said_safe else "safe_noted"


def choices(incident: Incident, person_id: UUID) -> dict[str, bool]:
    """What a page offers to this person beside taking it: each is allowed, and says something new."""
    held = standing(incident, person_id)
    mine, live = held == "mine", held in {"mine", "taken"}
    there = mine and incident.state in THERE
    beside = live and not mine and person_id in incident.there
    return {
        "agree": live and escalation.may_agree(incident, person_id),
        "too": held == "taken" and not beside,
        "safe": (there or beside) and person_id not in incident.said_safe,
        "asked": live and person_id in incident.said_safe,
        "call": (mine or beside) and Action.CALLED_119 in allowed_actions(incident),
    }


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
    found: list[Incident] = []

    def kept(incident: Incident) -> Decision:
        found.append(incident)
        return decide(incident)

    after = changed(house, incident_id, kept)
    log("incident_action", incident=incident_id, action=action, by=person_id, state=after.state)
    code = refusal(found[-1], after, person_id, action)
    if code is not None:
        raise Refused(REFUSED[code], code=code)
    return after


REFUSED = {
    "already_taken": "somebody else has taken it already",
    "not_allowed_now": "that is not possible now: the case is over, or not in your hands",
    "take_first": "you declined, and nobody has it: take it first, then say that you are there",
}
NOTED = {
    "declined_taken": "written down: you cannot take it; somebody has it already",
    "arrived_too": "written down: you are there; who holds it stays the same and was told",
    "arrived_by_dispatcher": "written down: you are there; a dispatcher holds it and decides what is next",
    "safe_asked": "written down; it closes when whoever had it before, or the desk, agrees",
    "safe_by_dispatcher": "written down; the desk holds it and decides",
    "safe_noted": "written down; it is not closed: you are not there, or 119 was called, so the desk decides",
}
"""What a machine is told of an action that did less than was asked."""
