"""The contacts' ladder and the staffed desk: who is rung now, next, and when nobody took it."""

from __future__ import annotations

from uuid import UUID

from dispatch.alarm import Priority
from dispatch.codes import Log, Message
from dispatch.escalation_draft import Draft, desk_s, in_slow_gap
from dispatch.incident import Channel, Contact, Incident, NotificationKind, State, Target


def right_numbers(incident: Incident) -> list[Contact]:
    """Contacts who can be reached at all and whose number nobody called wrong."""
    retired = incident.ladder.retired
    return [c for c in incident.policy.contacts if c.channels and c.person_id not in retired]


def eligible(incident: Incident) -> list[Contact]:
    """Who may be rung: never a wrong number; decliners only when all declined, or in the slow rounds."""
    ladder, policy = incident.ladder, incident.policy
    right = right_numbers(incident)
    willing = [c for c in right if c.person_id not in ladder.declined]
    slow = ladder.round - ladder.base > policy.rounds
    return right if slow or not willing else willing


def whose_turn(d: Draft) -> list[Contact]:
    """Who is still to be rung in this round, in order.

    Notes
    -----
    Quiet hours hold back a lesser case only, and only while somebody else can be rung; who is
    away comes last. Both are looked at anew for every ring, so they end by themselves, and a case
    that grows graver breaks through at once.
    """
    incident, called = d.incident, _called(d.incident)
    people = eligible(incident)
    if not breaks_through(incident):
        people = [c for c in people if not asleep(d, c)] or people
    return sorted((c for c in people if c.person_id not in called), key=lambda c: c.away_at(d.now))


def breaks_through(incident: Incident) -> bool:
    return incident.priority is Priority.HIGH or incident.grave


def asleep(d: Draft, contact: Contact) -> bool:
    return contact.quiet_at(d.now, d.incident.policy.utc_offset_s)


def _called(incident: Incident) -> list[UUID]:
    ladder, contacts = incident.ladder, incident.policy.contacts
    if not ladder.called and 0 <= ladder.index < len(contacts):
        # Written down before rounds remembered whom they had rung: then it was the policy's order.
        return [c.person_id for c in contacts[: ladder.index + 1]]
    return ladder.called


def waiting_for(incident: Incident) -> Contact | None:
    """The contact whose answer the ladder waits for, if any."""
    ladder, contacts = incident.ladder, incident.policy.contacts
    if not ladder.running or ladder.due_at is None or ladder.index >= len(contacts):
        return None
    return contacts[ladder.index]


def alert(d: Draft) -> None:
    """Set the right people's telephones ringing, unless they already are.

    Our own faults ring the desk only. A ladder resting between slow rounds starts afresh; one that
    ran beside the question may owe the desk its call.
    """
    incident, ladder = d.incident, d.incident.ladder
    if incident.desk_only:
        start_desk(d)
    elif not ladder.running or in_slow_gap(incident):
        ladder.running = True
        ladder.base = ladder.round
        next_round(d)
    else:
        resting = ladder.index >= len(incident.policy.contacts)
        _desk_after(d, ladder.round - ladder.base - (0 if resting else 1))


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
    ladder.called = []
    ladder.round_started_at = d.now
    _note_who_rests(d)
    advance(d)


def _note_who_rests(d: Draft) -> None:
    turn = whose_turn(d)
    for contact in eligible(d.incident):
        if contact not in turn:
            d.log(Log.CONTACT_QUIET, person=str(contact.person_id))
        elif contact.away_at(d.now):
            d.log(Log.CONTACT_AWAY, person=str(contact.person_id))


def advance(d: Draft) -> None:
    """Ring the next contact of this round now, or end the round."""
    ladder, policy = d.incident.ladder, d.incident.policy
    turn = whose_turn(d)
    if not turn:
        end_round(d)
        return
    contact = turn[0]
    ladder.called = [*_called(d.incident), contact.person_id]
    ladder.index = policy.contacts.index(contact)
    ladder.due_at = d.after(policy.contact_step_s if Channel.VOICE in contact.channels else policy.unvoiced_s)
    ladder.picked_up = False
    ring_contact(d, contact)


def ring_contact(d: Draft, contact: Contact) -> None:
    """Ring them; in a first round, and whoever cannot be rung, also by every other channel they have."""
    ladder = d.incident.ladder
    for channel in contact.channels:
        if channel is Channel.VOICE or ladder.round - ladder.base <= 1 or Channel.VOICE not in contact.channels:
            d.send(
                "contact",
                Target.CONTACT,
                Message.CONTACT_MENU if channel is Channel.VOICE else Message.CONTACT_TEXT,
                kind=NotificationKind.PAGE,
                channel=channel,
                attempt=ladder.round,
                person_id=contact.person_id,
                params={} if Channel.VOICE in contact.channels else {"unrung": True},
            )
    if contact.person_id not in ladder.rung:
        ladder.rung.append(contact.person_id)
    d.log(Log.CONTACT_RUNG, person=str(contact.person_id), round=ladder.round)


def end_round(d: Draft) -> None:
    """Nobody took it: bring in the desk when its turn has come, and plan the next round.

    *Policy*: the desk is rung after the first round when priority is high, everybody declined or no
    number that was rung is proven, otherwise after ``policy.rounds``. One person is not redialled
    within ``contact_step_s``, so that a busy line of an only contact does not burn all rounds within
    seconds.
    """
    incident, ladder, policy = d.incident, d.incident.ladder, d.incident.policy
    ended = ladder.round - ladder.base
    d.log(Log.ROUND_ENDED, round=ladder.round)
    _doubt(d)
    _desk_after(d, ended)
    ladder.index = len(policy.contacts)
    if not right_numbers(incident):
        ladder.due_at = None
        start_desk(d)
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


def _doubt(d: Draft) -> None:
    """Numbers that nobody proved cannot be the last rung: from here on the desk is rung beside them."""
    ladder, called = d.incident.ladder, _called(d.incident)
    if ladder.doubted or any(c.verified for c in d.incident.policy.contacts if c.person_id in called):
        return
    ladder.doubted = True
    d.log(Log.LAST_RUNG_UNVERIFIED)


def _desk_after(d: Draft, ended: int) -> None:
    """Ring the desk, if after so many rounds it is its turn.

    While the person is asked about what is not grave the desk waits, unless nobody else is left.
    """
    incident, ladder = d.incident, d.incident.ladder
    declined = all(c.person_id in ladder.declined for c in right_numbers(incident))
    if incident.state is State.CHECKING and not incident.grave and not declined:
        return
    its_turn = breaks_through(incident) or ladder.doubted or ended >= incident.policy.rounds
    if declined or (ended >= 1 and its_turn):
        start_desk(d)


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
