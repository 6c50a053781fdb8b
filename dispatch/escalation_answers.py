"""What an answered, refused or failed call does to an incident: patient, contacts, desk."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dispatch.alarm import Priority
from dispatch.codes import CloseReason, Disbelief, Log, Message, Outcome, Role, Why
from dispatch.escalation_draft import DESK, PATIENT, Draft, in_slow_gap, who
from dispatch.escalation_ladder import (
    advance,
    alert,
    confirm,
    end_check,
    reopen,
    settle,
    take,
    tell_owner,
    tell_rung,
    waiting_for,
)
from dispatch.incident import (
    SETTLING,
    Channel,
    Decision,
    Incident,
    NotificationKind,
    State,
    Target,
    Vitals,
)

FINE_DIGIT = "1"
HELP_DIGIT = "2"
TAKE_DIGIT = "3"
DECLINE_DIGIT = "4"
WRONG_NUMBER_DIGIT = "9"


def ask_again(d: Draft) -> None:
    """Place the next call to the person, within the budget that began with the first."""
    ask, policy = d.incident.ask, d.incident.policy
    ask.attempt += 1
    ask.picked_up = False
    ask.ends_at = ask.ends_at or d.after(policy.ask_budget_s)
    ask.due_at = min(d.after(policy.ask_attempt_s), ask.ends_at)
    d.send(
        "ask",
        Target.PATIENT,
        Message.ASK,
        kind=NotificationKind.ASK,
        channel=Channel.VOICE,
        attempt=ask.attempt,
        person_id=d.incident.patient_id,
        expires_s=policy.ask_budget_s,
    )
    d.log(Log.ASKED, attempt=ask.attempt)


def ask_next_or_confirm(d: Draft) -> None:
    """Another attempt if one is left in the budget; otherwise silence means yes."""
    ask, policy = d.incident.ask, d.incident.policy
    if ask.attempt < policy.ask_attempts and not d.due(ask.ends_at):
        ask_again(d)
        return
    ask.answer = "unanswered"
    confirm(d, Why.UNANSWERED)
    alert(d)


def disbelief(incident: Incident, vitals: Vitals) -> Disbelief | None:
    """Why "I am fine" may not end this check, or None when it may.

    Parameters
    ----------
    incident : Incident
        In state checking.
    vitals : Vitals
        ``fresh_age_s`` in seconds by receipt; a negative or NaN age is not fresh.

    Notes
    -----
    A purely technical incident (a silent device) has no vitals to wait for: the person who
    answers is the evidence. ``policy.fresh_s`` is *policy*.
    """
    age = vitals.fresh_age_s
    if not incident.policy.may_cancel:
        return Disbelief.MAY_NOT_CANCEL
    if incident.sos:
        return Disbelief.SOS
    if incident.grave:
        return Disbelief.GRAVE
    if vitals.worse:
        return Disbelief.WORSE
    if incident.technical:
        return None
    if age is None:
        return Disbelief.NO_VITALS
    return None if 0 <= age <= incident.policy.fresh_s else Disbelief.STALE_VITALS


def patient_answered(incident: Incident, digit: str, now: datetime, vitals: Vitals, by: str = "call") -> Decision:
    """The person pressed a key, or none though the menu was heard twice.

    Parameters
    ----------
    incident : Incident
        In any state.
    digit : str
        ``1`` fine; the policy's duress digit sounds like fine and confirms; anything else,
        the empty string included, is a call for help.
    now : datetime
        Aware UTC.
    vitals : Vitals
        The readings at this moment.
    by : str
        ``call``, ``band`` or ``returned_call``.

    Returns
    -------
    Decision
        A late "fine" is only written down; a late "help" always escalates.
    """
    d = Draft(incident, now)
    duress = incident.policy.duress_digit is not None and digit == incident.policy.duress_digit
    if digit == FINE_DIGIT and not duress:
        _fine(d, vitals, by)
    else:
        _help(d, digit, by, duress=duress)
    return d.done()


def _fine(d: Draft, vitals: Vitals, by: str) -> None:
    incident = d.incident
    if incident.state is not State.CHECKING:
        d.log(Log.LATE_FINE, PATIENT, by=by)
        return
    incident.ask.answer = "fine"
    d.log(Log.ANSWERED_FINE, PATIENT, by=by)
    reason = disbelief(incident, vitals)
    if reason is not None:
        d.log(Log.FINE_NOT_BELIEVED, reason=reason.value)
        confirm(d, Why.FINE_NOT_BELIEVED)
        alert(d)
        return
    end_check(d, Why.FINE, PATIENT)
    settle(d, State.CANCELLED_BY_PATIENT, CloseReason.PATIENT_FINE)
    d.stamp("cancelled_at")
    d.log(Log.CANCELLED_BY_PATIENT, PATIENT)
    tell_rung(d, Message.ALL_CLEAR)


def _help(d: Draft, digit: str, by: str, *, duress: bool) -> None:
    incident = d.incident
    checking = incident.state is State.CHECKING
    why = Why.DURESS if duress else (Why.HELP if digit else Why.NO_KEY)
    if not checking:
        d.log(Log.LATE_HELP, PATIENT, by=by, how=why.value)
    else:
        d.log(Log.ANSWERED_DURESS if duress else Log.ANSWERED_HELP, PATIENT, by=by, how=why.value)
    if not incident.open:
        return
    if duress or digit == HELP_DIGIT:
        # A person who asks for help in so many keys is as urgent as an SOS button.
        d.raise_priority(Priority.HIGH)
    if incident.state in SETTLING:
        reopen(d, why, PATIENT)
    elif incident.state in {State.SUSPECTED, State.CHECKING}:
        incident.ask.answer = "duress" if duress else "help"
        confirm(d, why, PATIENT)
        alert(d)
    elif incident.acknowledged:
        tell_owner(d, Message.NEWS, urgent=True)
    elif not incident.ladder.running or in_slow_gap(incident):
        alert(d)


def ask_call_ended(incident: Incident, outcome: Outcome | str, attempt: int, now: datetime) -> Decision:
    """A call to the person ended without a key; a stale attempt changes nothing."""
    d = Draft(incident, now)
    if incident.state is State.CHECKING and attempt == incident.ask.attempt:
        d.log(Log.ASK_CALL_ENDED, outcome=Outcome(outcome).value, attempt=attempt)
        ask_next_or_confirm(d)
    return d.done()


def call_picked_up(incident: Incident, target: Target, person_id: UUID | None, attempt: int, now: datetime) -> Decision:
    """Somebody, or some machine, picked up: leave time for the menu, once an attempt.

    Not an answer: it postpones the next ring a little, so that a person who listens is not
    overtaken by it, and never stops escalation.
    """
    d = Draft(incident, now)
    ask, ladder, policy = d.incident.ask, d.incident.ladder, d.incident.policy
    talk_until = d.after(policy.ask_talk_s)
    contact = waiting_for(d.incident)
    if target is Target.PATIENT:
        if incident.state is State.CHECKING and attempt == ask.attempt and not ask.picked_up:
            ask.picked_up = True
            ask.ends_at = max(ask.ends_at or talk_until, talk_until)
            ask.due_at = max(ask.due_at or talk_until, talk_until)
            d.log(Log.PICKED_UP, PATIENT, attempt=attempt)
    elif contact is not None and (contact.person_id, ladder.round, False) == (
        person_id,
        attempt,
        ladder.picked_up,
    ):
        ladder.picked_up = True
        ladder.due_at = max(ladder.due_at or talk_until, talk_until)
        d.log(Log.PICKED_UP, who(person_id), attempt=attempt)
    return d.done()


def contact_answered(
    incident: Incident,
    person_id: UUID,
    digit: str,
    now: datetime,
    role: str = Role.CAREGIVER,
    attempt: int | None = None,
) -> Decision:
    """A contact pressed a key, or none; by our call or a returned one, at any time while open.

    Parameters
    ----------
    incident : Incident
        In any state; once it is over the answer is only written down.
    person_id : UUID
        Who was rung.
    digit : str
        ``3`` takes it, ``4`` declines, ``9`` wrong number, anything else is no answer.
    now : datetime
        Aware UTC.
    role : str
        ``caregiver`` or ``dispatcher``.
    attempt : int or None
        The call's attempt where known: a stale call without a key rings nobody.
    """
    d = Draft(incident, now)
    ladder = d.incident.ladder
    contact = waiting_for(d.incident)
    current = contact is not None and contact.person_id == person_id and attempt in {None, ladder.round}
    if digit == TAKE_DIGIT:
        take(d, person_id, role)
        return d.done()
    if digit == DECLINE_DIGIT:
        if person_id not in ladder.declined:
            ladder.declined.append(person_id)
        d.log(Log.CONTACT_DECLINED, who(person_id))
        current = contact is not None and contact.person_id == person_id
        _give_back(d, person_id)
    elif digit == WRONG_NUMBER_DIGIT:
        if person_id not in ladder.retired:
            ladder.retired.append(person_id)
            # Once: a repeated callback must not retire the person's next number too.
            d.retire_number_of = person_id
        d.log(Log.WRONG_NUMBER, who(person_id))
        current = contact is not None and contact.person_id == person_id
    else:
        d.log(Log.CONTACT_NO_KEY, who(person_id))
    if current:
        advance(d)
    return d.done()


def _give_back(d: Draft, person_id: UUID) -> None:
    """Who took it and now cannot: it returns to the queue at once."""
    incident = d.incident
    if incident.state is State.CONFIRMED and incident.acknowledged and incident.owner_id == person_id:
        incident.owner_id = incident.owner_role = incident.deadline_at = None
        incident.acknowledged = False
        d.log(Log.RETURNED_TO_QUEUE, owner=who(person_id))
        alert(d)


def contact_call_ended(
    incident: Incident, person_id: UUID, outcome: Outcome | str, attempt: int, now: datetime
) -> Decision:
    """A contact's call ended without a key; voicemail is no more an answer than a busy line."""
    d = Draft(incident, now)
    contact = waiting_for(d.incident)
    if contact is not None and contact.person_id == person_id and attempt == d.incident.ladder.round:
        d.log(Log.CONTACT_CALL_ENDED, who(person_id), outcome=Outcome(outcome).value)
        advance(d)
    return d.done()


def desk_answered(incident: Incident, digit: str, now: datetime) -> Decision:
    """The staffed desk pressed a key: ``3`` takes it, anything else lets it ring again in its turn."""
    d = Draft(incident, now)
    if digit == TAKE_DIGIT:
        take(d, None, Role.DESK)
    else:
        d.log(Log.DESK_NO_KEY, DESK)
    return d.done()


def desk_call_ended(incident: Incident, outcome: Outcome | str, attempt: int, now: datetime) -> Decision:
    """A call to the desk ended without a key: its timer rings again, soon if the line was busy."""
    d = Draft(incident, now)
    if incident.open and not incident.acknowledged and attempt == incident.desk.attempt:
        d.log(Log.DESK_CALL_ENDED, DESK, outcome=Outcome(outcome).value, attempt=attempt)
        soon = d.after(incident.policy.desk_busy_s)
        if outcome in {Outcome.BUSY, Outcome.FAILED} and d.incident.desk.due_at is not None:
            # Several people may need the one desk at once: it is tried again as soon as it may be free.
            d.incident.desk.due_at = min(d.incident.desk.due_at, soon)
    return d.done()
