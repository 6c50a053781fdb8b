"""What people do to an incident at a screen: claim, acknowledge, dispatch, follow, stand down, close."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from dispatch.codes import HUMAN_CLOSE_REASONS, Action, CloseReason, Doubt, Log, Message, Role, Why
from dispatch.escalation_draft import Draft, refuse, renewed, who
from dispatch.escalation_going import follow_unit, mark_arrival
from dispatch.escalation_holding import close_now, confirm, hold, settle, take
from dispatch.escalation_telling import plan_coming, tell_desk, tell_rung
from dispatch.incident import (
    EDGES,
    SETTLING,
    THERE,
    Decision,
    Incident,
    State,
    Unit,
    UnitStage,
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

    While somebody is with the person the state stays as it is, and the unit is followed beside it.

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
    _called(d, person_id, reference.strip(), called_at)
    caregiver_goes = d.incident.acknowledged and d.incident.owner_role == Role.CAREGIVER
    _followed_by(d, person_id, Role.DISPATCHER, stays=caregiver_goes)
    return d.done()


def called(incident: Incident, person_id: UUID, reference: str, called_at: datetime, now: datetime) -> Decision:
    """Whoever holds it, or is there, called 119 themselves; 119 need not have given them a reference.

    The desk hears of it at once, for it follows the unit.

    Raises
    ------
    IllegalMove
        When 119 was called already, or this person neither holds it nor is there.
    """
    holds = incident.acknowledged and incident.owner_id == person_id
    if not holds and person_id not in incident.there:
        raise refuse(incident, f"{Action.CALLED_119.value} by somebody who neither holds it nor is there")
    d = Draft(incident, now)
    _require(incident, Action.CALLED_119)
    _called(d, person_id, reference.strip(), called_at)
    _followed_by(d, person_id, Role.CAREGIVER, stays=incident.acknowledged)
    tell_desk(d)
    return d.done()


def _called(d: Draft, person_id: UUID, reference: str, called_at: datetime) -> None:
    if called_at > d.now + CLOCK_TOLERANCE:
        raise ValueError(f"called_at must be the time of the call to 119, was in the future: {called_at}")
    incident, by = d.incident, who(person_id)
    if incident.state in THERE:
        incident.unit = Unit(stage=UnitStage.CALLED, due_at=d.after(incident.policy.dispatched_s))
    else:
        if incident.state is not State.CONFIRMED:
            confirm(d, Why.HUMAN, by)
        d.move(State.DISPATCHED)
        incident.settle_at = incident.close_reason = None
    incident.external_reference = reference or incident.external_reference
    d.stamp("unit_notified_at", min(called_at, d.now))
    d.log(Log.DISPATCHED, by, reference=reference or None, called_at=called_at.isoformat())


def _followed_by(d: Draft, person_id: UUID, role: Role, *, stays: bool) -> None:
    """Who holds it from now on; the others hear that 119 was called."""
    if stays:
        d.incident.deadline_at = renewed(d)
    else:
        hold(d, person_id, role)
        plan_coming(d)
    tell_rung(d, Message.HELP_SENT, but=person_id)


def progress(
    incident: Incident, person_id: UUID, state: State | str, now: datetime, role: str = Role.CAREGIVER
) -> Decision:
    """A later stage was reached; each report renews the deadline."""
    d = Draft(incident, now)
    target = State(state)
    if target not in progress_states(incident):
        raise refuse(incident, f"progress to {target}")
    by = who(person_id)
    for name in STAGE_TIMES[target]:
        d.stamp(name)
    if incident.unit is not None and target not in EDGES[incident.state]:
        return _beside(d, person_id, target)
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.HUMAN, by)
    d.move(target)
    d.log(Log.PROGRESSED, by, state=target.value)
    if target is State.AT_PATIENT:
        mark_arrival(d, person_id)
        follow_unit(d, incident.state, UnitStage.WITH_PATIENT)
    elif d.incident.unit is not None:
        d.incident.unit = Unit(stage=UnitStage.WITH_PATIENT)
    if d.incident.acknowledged:
        d.incident.deadline_at = renewed(d)
    else:
        hold(d, person_id, Role(role))
        tell_rung(d, Message.TAKEN, role=Role(role))
    return d.done()


def _beside(d: Draft, person_id: UUID, target: State) -> Decision:
    """The unit came further while somebody is with the person already: the state tells of them, and stays."""
    incident = d.incident
    stage = UnitStage.WITH_PATIENT if target is State.AT_PATIENT else UnitStage(target.value)
    due_at = None if stage is UnitStage.WITH_PATIENT else d.after(incident.policy.dispatched_s)
    incident.unit = Unit(stage=stage, due_at=due_at)
    d.log(Log.UNIT_PROGRESSED, who(person_id), unit=stage.value)
    if incident.owner_id == person_id:
        incident.deadline_at = renewed(d)
    return d.done()


def note(incident: Incident, person_id: UUID, text: str, now: datetime) -> Decision:
    """Something to remember; it moves nothing and renews no deadline."""
    if not text.strip():
        raise ValueError("text must say something, was empty")
    d = Draft(incident, now)
    d.log(Log.NOTED, who(person_id), text=text.strip())
    return d.done()


def _in_doubt(d: Draft, person_id: UUID) -> None:
    """Doors ask whoever ends it whether they are sure; that they did so all the same can be read for ever."""
    for doubt in d.incident.doubts:
        d.log(Log.ENDED_UNSPOKEN if doubt is Doubt.UNSPOKEN else Log.ENDED_BEFORE_UNIT, who(person_id))


def stand_down(incident: Incident, person_id: UUID, reason: CloseReason | str, now: datetime) -> Decision:
    """A named person calls it off before anybody is on the scene; it closes by itself later."""
    d = Draft(incident, now)
    _require(incident, Action.STAND_DOWN)
    because = _reason(reason)
    if incident.state is State.CHECKING:
        d.incident.ask.ended_how = Why.STOOD_DOWN.value
        d.stamp("check_ended_at")
    _in_doubt(d, person_id)
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
    _in_doubt(d, person_id)
    close_now(d, because, who(person_id))
    if incident.state not in SETTLING:
        tell_rung(d, Message.ALL_CLEAR, but=person_id)
    return d.done()
