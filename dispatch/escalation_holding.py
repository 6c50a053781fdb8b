"""From one state to the next: confirm, take, hold, give back, settle and close, and what a deadline does."""

from __future__ import annotations

from uuid import UUID

from dispatch.codes import CloseReason, Log, Message, Role, Why
from dispatch.escalation_draft import Draft, held_s, renewed, who
from dispatch.escalation_ladder import alert, breaks_through, start_desk
from dispatch.escalation_telling import plan_coming, tell_desk, tell_owner, tell_rung
from dispatch.incident import SETTLING, SYSTEM, UNDER_WAY, State


def confirm(d: Draft, why: Why, by: str = SYSTEM) -> None:
    """Move to confirmed, ending the check if one runs."""
    end_check(d, why, by)
    d.move(State.CONFIRMED)
    d.stamp("confirmed_at")
    d.log(Log.CONFIRMED, by, why=why.value)


def end_check(d: Draft, why: Why, by: str = SYSTEM) -> None:
    if d.incident.state is not State.CHECKING:
        return
    ask = d.incident.ask
    ask.due_at = ask.ends_at = ask.overlap_at = None
    ask.ended_how = why.value
    d.cancel_asks = True
    d.stamp("check_ended_at")
    d.log(Log.CHECK_ENDED, by, how=why.value)


def reopen(d: Draft, why: Why, by: str = SYSTEM) -> None:
    """A settling incident comes back: signs worsened, or the person asked for help after all."""
    incident = d.incident
    incident.settle_at = None
    incident.close_reason = None
    release(d)
    d.move(State.CONFIRMED)
    d.stamp("confirmed_at")
    d.log(Log.REOPENED, by, why=why.value)
    alert(d)


def release(d: Draft) -> None:
    """Nobody holds it any more, so nobody is coming."""
    d.incident.owner_id = d.incident.owner_role = d.incident.deadline_at = None
    d.incident.acknowledged = False
    d.incident.going = d.incident.coming.due_at = d.incident.relieved = None
    d.incident.there, d.incident.said_safe = [], []


def stop_paging(d: Draft) -> None:
    incident, ask = d.incident, d.incident.ask
    incident.ladder.running = False
    incident.ladder.due_at = incident.desk.due_at = None
    ask.due_at = ask.ends_at = ask.overlap_at = None
    d.cancel_pages = True


def hold(d: Draft, person_id: UUID | None, role: str) -> None:
    """Put the incident into somebody's hands, with a deadline, and stop paging."""
    stop_paging(d)
    incident = d.incident
    if incident.going is not None and incident.going.person_id != person_id:
        incident.going = None
    if incident.owner_id != person_id:
        incident.relieved, incident.said_safe = None, []
    if person_id in incident.ladder.declined:
        incident.ladder.declined.remove(person_id)
    incident.owner_id, incident.owner_role, incident.acknowledged = person_id, role, True
    # Whoever takes it hears or reads it with everything else: no message need follow.
    incident.ask.fine_told = incident.ask.fine_at is not None
    incident.deadline_at = d.after(held_s(incident))
    d.stamp("acknowledged_at")


def take(d: Draft, person_id: UUID | None, role: str, *, tell: bool = True) -> bool:
    """Acknowledge for somebody; the first one wins and the others learn that it is taken.

    Returns whether it came into these hands only now.
    """
    incident = d.incident
    by = who(person_id)
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
        return False
    if incident.acknowledged:
        if incident.owner_id == person_id and incident.owner_role == role:
            incident.deadline_at = renewed(d)
            d.log(Log.STILL_ON_IT, by)
        elif incident.owner_role == Role.DESK and role == Role.DISPATCHER:
            # The key pressed at the desk had no name; now it has one.
            hold(d, person_id, role)
            d.log(Log.ACKNOWLEDGED, by, role=role)
        else:
            d.log(Log.ALREADY_TAKEN, by, owner=who(incident.owner_id))
        return False
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.ACKNOWLEDGED, by)
    hold(d, person_id, role)
    d.log(Log.ACKNOWLEDGED, by, role=role)
    if tell:
        tell_rung(d, Message.TAKEN, role=role)
    plan_coming(d)
    return True


def settle(d: Draft, state: State, reason: CloseReason) -> None:
    """Cancelled or stood down: quiet now, closed by itself after ``policy.settle_s``."""
    incident = d.incident
    stop_paging(d)
    d.move(state)
    incident.deadline_at = None
    if not incident.acknowledged:
        release(d)
    _nothing_pending(d)
    incident.settle_at = d.after(incident.policy.settle_s)
    incident.close_reason = reason.value


def close_now(d: Draft, reason: CloseReason | str, by: str = SYSTEM) -> None:
    incident = d.incident
    d.move(State.CLOSED)
    stop_paging(d)
    _nothing_pending(d)
    incident.deadline_at = incident.settle_at = None
    incident.close_reason = str(reason)
    d.stamp("closed_at")
    d.log(Log.CLOSED, by, reason=str(reason))


def _nothing_pending(d: Draft) -> None:
    d.incident.coming.due_at = None
    if d.incident.offered is not None:
        d.incident.offered.due_at = None
    if d.incident.unit is not None:
        d.incident.unit.due_at = None


def deadline_passed(d: Draft) -> None:
    """A claim lapses, an acknowledged case returns to the queue, a case under way reminds its owner."""
    incident = d.incident
    awaited = incident.awaited
    late = awaited if awaited is not None and d.due(awaited.eta_at) else None
    if late is not None:
        d.log(Log.NOT_ARRIVED, person=str(late.person_id))
    if incident.state in UNDER_WAY:
        incident.going = None if late is not None else incident.going
        incident.deadline_at = d.after(held_s(incident))
        d.log(Log.REMINDED)
        tell_owner(d, Message.REMINDER, urgent=False, desk_too=True)
        return
    owner, was_held = who(incident.owner_id), incident.acknowledged
    if late is not None:
        tell_owner(d, Message.REMINDER, urgent=False)
    release(d)
    if not was_held:
        d.log(Log.CLAIM_EXPIRED, owner=owner)
        return
    d.log(Log.RETURNED_TO_QUEUE, owner=owner)
    if late is not None:
        # Who declined because somebody else was going is asked again.
        incident.ladder.declined = []
    alert(d)
    incident.lapses += 1
    if incident.lapses >= 2 or (late is not None and breaks_through(incident)):
        # The same contact may take it for ever and never go: the staffed desk hears of it too.
        start_desk(d)


def unit_overdue(d: Draft) -> None:
    """Nothing was heard of the unit for a while: our own desk is rung to ask 119, whoever is with the person."""
    if d.incident.unit is None:
        return
    d.incident.unit.due_at = d.after(d.incident.policy.dispatched_s)
    d.log(Log.UNIT_REMINDED)
    tell_desk(d, Message.DESK_REMINDER)
