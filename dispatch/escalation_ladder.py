"""The moves that escalation's rules are made of: ring the next, tell the others, take, confirm, settle."""

from __future__ import annotations

from uuid import UUID

from dispatch.alarm import Priority
from dispatch.codes import CloseReason, Log, Message, Role, Why
from dispatch.escalation_draft import SYSTEM, Draft, desk_s, held_s, in_slow_gap, who
from dispatch.incident import (
    SETTLING,
    UNDER_WAY,
    Channel,
    Contact,
    Incident,
    NotificationKind,
    State,
    Target,
)


def eligible(incident: Incident) -> list[int]:
    """Places of the contacts who may be rung: never a wrong number; decliners only when all declined."""
    ladder, policy = incident.ladder, incident.policy
    right = [i for i, c in enumerate(policy.contacts) if c.person_id not in ladder.retired]
    willing = [i for i in right if policy.contacts[i].person_id not in ladder.declined]
    slow = ladder.round - ladder.base > policy.rounds
    return right if slow or not willing else willing


def waiting_for(incident: Incident) -> Contact | None:
    """The contact whose answer the ladder waits for, if any."""
    ladder, contacts = incident.ladder, incident.policy.contacts
    if not ladder.running or ladder.due_at is None or ladder.index >= len(contacts):
        return None
    return contacts[ladder.index]


def alert(d: Draft) -> None:
    """Set the right people's telephones ringing, unless they already are.

    Our own faults ring the desk only. A ladder resting between slow rounds starts afresh.
    """
    ladder = d.incident.ladder
    if d.incident.desk_only:
        if d.incident.desk.due_at is None:
            ring_desk(d)
    elif not ladder.running or in_slow_gap(d.incident):
        ladder.running = True
        ladder.base = ladder.round
        next_round(d)


def next_round(d: Draft) -> None:
    """Begin a round with the first contact; with nobody to ring, the desk is rung at once."""
    ladder = d.incident.ladder
    if not eligible(d.incident):
        ladder.due_at = None
        ladder.index = len(d.incident.policy.contacts)
        d.log(Log.NO_CONTACTS)
        start_desk(d)
        return
    ladder.round += 1
    ladder.index = -1
    ladder.round_started_at = d.now
    advance(d)


def advance(d: Draft) -> None:
    """Ring the next contact of this round now, or end the round."""
    ladder = d.incident.ladder
    following = [i for i in eligible(d.incident) if i > ladder.index]
    if not following:
        end_round(d)
        return
    ladder.index = following[0]
    ladder.due_at = d.after(d.incident.policy.contact_step_s)
    ladder.picked_up = False
    ring_contact(d, d.incident.policy.contacts[ladder.index])


def ring_contact(d: Draft, contact: Contact) -> None:
    ladder = d.incident.ladder
    channels = [Channel.VOICE] if ladder.round - ladder.base > 1 else [Channel.VOICE, Channel.TEXT]
    for channel in channels:
        d.send(
            "contact",
            Target.CONTACT,
            Message.CONTACT_MENU if channel is Channel.VOICE else Message.CONTACT_TEXT,
            kind=NotificationKind.PAGE,
            channel=channel,
            attempt=ladder.round,
            person_id=contact.person_id,
        )
    if contact.person_id not in ladder.rung:
        ladder.rung.append(contact.person_id)
    d.log(Log.CONTACT_RUNG, person=str(contact.person_id), round=ladder.round)


def end_round(d: Draft) -> None:
    """Nobody took it: bring in the desk when its turn has come, and plan the next round.

    *Policy*: the desk is rung after the first round when priority is high or everybody declined,
    otherwise after ``policy.rounds``. One person is not redialled within ``contact_step_s``, so
    that a busy line of an only contact does not burn all rounds within seconds.
    """
    incident, ladder, policy = d.incident, d.incident.ladder, d.incident.policy
    ended = ladder.round - ladder.base
    right = [c.person_id for c in policy.contacts if c.person_id not in ladder.retired]
    d.log(Log.ROUND_ENDED, round=ladder.round)
    declined = all(person_id in ladder.declined for person_id in right)
    if incident.priority is Priority.HIGH or ended >= policy.rounds or declined:
        start_desk(d)
    ladder.index = len(policy.contacts)
    if not right:
        ladder.due_at = None
        return
    if ended >= policy.rounds:
        ladder.due_at = d.after(policy.slow_round_s)
        return
    started = ladder.round_started_at or d.now
    elapsed_s = max(0.0, (d.now - started).total_seconds())
    if elapsed_s >= policy.contact_step_s:
        next_round(d)
    else:
        ladder.due_at = d.after(policy.contact_step_s - elapsed_s)


def ladder_timer(d: Draft) -> None:
    if d.incident.ladder.index < len(d.incident.policy.contacts):
        advance(d)
    else:
        next_round(d)


def start_desk(d: Draft) -> None:
    if d.incident.desk.due_at is None:
        ring_desk(d)


def ring_desk(d: Draft) -> None:
    desk, own_fault = d.incident.desk, d.incident.desk_only
    desk.attempt += 1
    desk.due_at = d.after(desk_s(d.incident))
    d.send(
        "desk",
        Target.DESK,
        Message.DESK_TECHNICAL if own_fault else Message.DESK_MENU,
        kind=NotificationKind.TECHNICAL if own_fault else NotificationKind.PAGE,
        attempt=desk.attempt,
        expires_s=d.incident.policy.desk_step_s,
    )
    d.log(Log.DESK_RUNG, attempt=desk.attempt)


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
    ask.due_at = ask.ends_at = None
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
    """Nobody holds it any more."""
    d.incident.owner_id = d.incident.owner_role = d.incident.deadline_at = None
    d.incident.acknowledged = False


def stop_paging(d: Draft) -> None:
    incident = d.incident
    incident.ladder.running = False
    incident.ladder.due_at = incident.desk.due_at = None
    incident.ask.due_at = incident.ask.ends_at = None
    d.cancel_pages = True


def hold(d: Draft, person_id: UUID | None, role: str) -> None:
    """Put the incident into somebody's hands, with a deadline, and stop paging."""
    stop_paging(d)
    incident = d.incident
    incident.owner_id, incident.owner_role, incident.acknowledged = person_id, role, True
    incident.deadline_at = d.after(held_s(incident))
    d.stamp("acknowledged_at")


def take(d: Draft, person_id: UUID | None, role: str) -> None:
    """Acknowledge for somebody; the first one wins and the others learn that it is taken."""
    incident = d.incident
    by = who(person_id)
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
        return
    if incident.acknowledged:
        if incident.owner_id == person_id and incident.owner_role == role:
            incident.deadline_at = d.after(held_s(incident))
            d.log(Log.STILL_ON_IT, by)
        elif incident.owner_role == Role.DESK and role == Role.DISPATCHER:
            # The key pressed at the desk had no name; now it has one.
            hold(d, person_id, role)
            d.log(Log.ACKNOWLEDGED, by, role=role)
        else:
            d.log(Log.ALREADY_TAKEN, by, owner=who(incident.owner_id))
        return
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.ACKNOWLEDGED, by)
    hold(d, person_id, role)
    d.log(Log.ACKNOWLEDGED, by, role=role)
    tell_rung(d, Message.TAKEN, role=role)


def tell_rung(d: Draft, message: Message, *, role: str = "", but: UUID | None = None) -> None:
    """Write once to everybody who was rung, except to who knows already and to wrong numbers."""
    ladder = d.incident.ladder
    knows = {d.incident.owner_id if message is Message.TAKEN else None, but, *ladder.retired}
    people = [person_id for person_id in ladder.rung if person_id not in knows]
    if not people:
        return
    d.incident.tells += 1
    for person_id in people:
        d.send(
            "tell",
            Target.CONTACT,
            message,
            kind=NotificationKind.INFORM,
            channel=Channel.TEXT,
            attempt=d.incident.tells,
            person_id=person_id,
            params={"role": role} if role else {},
        )
    d.log(Log.OTHERS_TOLD, message=message.value, count=len(people))


def tell_owner(d: Draft, message: Message, *, urgent: bool, desk_too: bool = False) -> None:
    """Say to whoever holds it that there is news: a caregiver by text (and voice), staff at the desk."""
    incident = d.incident
    incident.tells += 1
    caregiver = incident.owner_role == Role.CAREGIVER and incident.owner_id is not None
    if caregiver:
        for channel in [Channel.TEXT, Channel.VOICE] if urgent else [Channel.TEXT]:
            d.send(
                "news",
                Target.CONTACT,
                message,
                kind=NotificationKind.INFORM,
                channel=channel,
                attempt=incident.tells,
                person_id=incident.owner_id,
            )
    if not caregiver or desk_too:
        at_desk = Message.DESK_REMINDER if message is Message.REMINDER else Message.DESK_NEWS
        d.send("news", Target.DESK, at_desk, kind=NotificationKind.INFORM, attempt=incident.tells)
    d.log(Log.OWNER_TOLD, owner=who(incident.owner_id), message=message.value)


def settle(d: Draft, state: State, reason: CloseReason) -> None:
    """Cancelled or stood down: quiet now, closed by itself after ``policy.settle_s``."""
    incident = d.incident
    stop_paging(d)
    d.move(state)
    incident.deadline_at = None
    if not incident.acknowledged:
        release(d)
    incident.settle_at = d.after(incident.policy.settle_s)
    incident.close_reason = reason.value


def close_now(d: Draft, reason: CloseReason | str, by: str = SYSTEM) -> None:
    incident = d.incident
    d.move(State.CLOSED)
    stop_paging(d)
    incident.deadline_at = incident.settle_at = None
    incident.close_reason = str(reason)
    d.stamp("closed_at")
    d.log(Log.CLOSED, by, reason=str(reason))


def deadline_passed(d: Draft) -> None:
    """A claim lapses, an acknowledged case returns to the queue, a case under way reminds its owner."""
    incident = d.incident
    if incident.state in UNDER_WAY:
        incident.deadline_at = d.after(held_s(incident))
        d.log(Log.REMINDED)
        tell_owner(d, Message.REMINDER, urgent=False, desk_too=True)
        return
    owner, was_held = who(incident.owner_id), incident.acknowledged
    release(d)
    if was_held:
        d.log(Log.RETURNED_TO_QUEUE, owner=owner)
        alert(d)
        incident.lapses += 1
        if incident.lapses >= 2:
            # The same contact may take it for ever and never go: the staffed desk hears of it too.
            start_desk(d)
    else:
        d.log(Log.CLAIM_EXPIRED, owner=owner)
