"""What people do to an incident at a screen: claim, acknowledge, dispatch, follow, stand down, close."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from dispatch.codes import HUMAN_CLOSE_REASONS, Action, CloseReason, Log, Message, Role, Why
from dispatch.escalation_draft import Draft, refuse, renewed, who
from dispatch.escalation_going import mark_arrival
from dispatch.escalation_holding import close_now, confirm, hold, settle, take
from dispatch.escalation_telling import plan_coming, tell_rung
from dispatch.incident import (
    SETTLING,
    Decision,
    Incident,
    State,
    allowed_actions,
    progress_states,
)

CLOCK_TOLERANCE = timedelta(minutes=1)
"""Policy: how far a dispatcher's watch may run ahead of ours."""

STAGE_TIMES = {
    State.EN_ROUTE: ("en_route_at",),
    State.ON_SCENE: ("on_scene_at",),
    State.AT_PATIENT: ("at_patient_at", "first_help_at"),
    State.TRANSPORTING: ("left_scene_at",),
}


def _require(incident: Incident, action: Action) -> None:
    if action not in allowed_actions(incident):
        raise refuse(incident, action.value)


def _reason(reason: CloseReason | str) -> CloseReason:
    if reason not in HUMAN_CLOSE_REASONS:
        raise ValueError(f"reason must be one of {', '.join(HUMAN_CLOSE_REASONS)}, was {reason!r}")
    return CloseReason(reason)


def claim(incident: Incident, person_id: UUID, now: datetime) -> Decision:
    """A dispatcher looks into it: held for ``policy.claim_s`` while paging goes on.

    Raises
    ------
    IllegalMove
        When it is over, taken, or under another's claim whose deadline has not passed.
    """
    d = Draft(incident, now)
    held = d.incident
    live = held.acknowledged or (held.deadline_at is not None and not d.due(held.deadline_at))
    if live and held.owner_id not in {None, person_id} and held.state not in SETTLING:
        raise refuse(held, f"a claim while {who(held.owner_id)} holds it until {held.deadline_at}")
    if held.acknowledged and held.owner_role == Role.DESK:
        take(d, person_id, Role.DISPATCHER)
        return d.done()
    if held.open and held.acknowledged and held.owner_id == person_id:
        d.log(Log.STILL_ON_IT, who(person_id))
        held.deadline_at = renewed(d)
        return d.done()
    _require(held, Action.CLAIM)
    held.owner_id, held.owner_role = person_id, Role.DISPATCHER.value
    held.deadline_at = d.after(held.policy.claim_s)
    d.log(Log.CLAIMED, who(person_id))
    return d.done()


def acknowledge(incident: Incident, person_id: UUID, role: str, now: datetime) -> Decision:
    """A named person takes it: paging stops, the others are told, and the deadline begins.

    When somebody else was first the decision changes nothing and its log says ``already_taken``.
    """
    d = Draft(incident, now)
    if not incident.open or incident.state in SETTLING:
        raise refuse(incident, Action.ACKNOWLEDGE.value)
    take(d, person_id, Role(role).value)
    return d.done()


def dispatch(incident: Incident, person_id: UUID, reference: str, called_at: datetime, now: datetime) -> Decision:
    """A named person says "I have called 119", with the time and what 119 gave as reference.

    Parameters
    ----------
    incident : Incident
        Before confirmation, the person's word confirms it first.
    person_id : UUID
        Who called.
    reference : str
        What 119 gave: a number, or the name of who answered.
    called_at : datetime
        Aware UTC, not in the future.
    now : datetime
        Aware UTC.
    """
    d = Draft(incident, now)
    _require(incident, Action.DISPATCH)
    if not reference.strip():
        raise ValueError("reference must say what 119 gave you (a number, or who answered), was empty")
    if called_at > now + CLOCK_TOLERANCE:
        raise ValueError(f"called_at must be the time of the call to 119, was in the future: {called_at}")
    by = who(person_id)
    if d.incident.state is not State.CONFIRMED:
        confirm(d, Why.HUMAN, by)
    d.move(State.DISPATCHED)
    d.incident.settle_at = d.incident.close_reason = None
    d.incident.external_reference = reference.strip()
    d.stamp("unit_notified_at", min(called_at, now))
    d.log(Log.DISPATCHED, by, reference=reference.strip(), called_at=called_at.isoformat())
    caregiver_goes = d.incident.acknowledged and d.incident.owner_role == Role.CAREGIVER
    if caregiver_goes:
        d.incident.deadline_at = renewed(d)
    else:
        hold(d, person_id, Role.DISPATCHER)
        plan_coming(d)
    tell_rung(d, Message.HELP_SENT, but=person_id)
    return d.done()


def progress(incident: Incident, person_id: UUID, state: State | str, now: datetime) -> Decision:
    """A later stage was reached; each report renews the deadline."""
    d = Draft(incident, now)
    target = State(state)
    if target not in progress_states(incident):
        raise refuse(incident, f"progress to {target}")
    by = who(person_id)
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.HUMAN, by)
    d.move(target)
    for name in STAGE_TIMES[target]:
        d.stamp(name)
    d.log(Log.PROGRESSED, by, state=target.value)
    if target is State.AT_PATIENT:
        mark_arrival(d, person_id)
    if d.incident.acknowledged:
        d.incident.deadline_at = renewed(d)
    else:
        hold(d, person_id, Role.CAREGIVER)
        tell_rung(d, Message.TAKEN, role=Role.CAREGIVER)
    return d.done()


def note(incident: Incident, person_id: UUID, text: str, now: datetime) -> Decision:
    """Something to remember; it moves nothing and renews no deadline."""
    if not text.strip():
        raise ValueError("text must say something, was empty")
    d = Draft(incident, now)
    d.log(Log.NOTED, who(person_id), text=text.strip())
    return d.done()


def stand_down(incident: Incident, person_id: UUID, reason: CloseReason | str, now: datetime) -> Decision:
    """A named person calls it off before anybody is on the scene; it closes by itself later."""
    d = Draft(incident, now)
    _require(incident, Action.STAND_DOWN)
    because = _reason(reason)
    if incident.state is State.CHECKING:
        d.incident.ask.ended_how = Why.STOOD_DOWN.value
        d.stamp("check_ended_at")
    settle(d, State.STOOD_DOWN, because)
    d.stamp("stood_down_at")
    d.log(Log.STOOD_DOWN, who(person_id), reason=because.value)
    tell_rung(d, Message.ALL_CLEAR, but=person_id)
    return d.done()


def close(incident: Incident, person_id: UUID, reason: CloseReason | str, now: datetime) -> Decision:
    """A named person closes it with a reason out of the closed set."""
    d = Draft(incident, now)
    _require(incident, Action.CLOSE)
    because = _reason(reason)
    close_now(d, because, who(person_id))
    if incident.state not in SETTLING:
        tell_rung(d, Message.ALL_CLEAR, but=person_id)
    return d.done()
