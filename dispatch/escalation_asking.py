"""Asking the person: within a budget, beside the contacts when it is urgent, and what their answer does."""

from __future__ import annotations

from datetime import datetime, timedelta

from dispatch.alarm import Param, Priority
from dispatch.codes import CloseReason, Disbelief, Log, Message, Outcome, Why
from dispatch.escalation_draft import PATIENT, Draft
from dispatch.escalation_holding import confirm, end_check, reopen, settle
from dispatch.escalation_ladder import alert
from dispatch.escalation_telling import (
    forget_fine,
    may_hear,
    pass_fine_on,
    plan_coming,
    question_over,
    tell_owner,
    tell_rung,
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


def ask_again(d: Draft) -> None:
    """Place the next call to the person, within the budget that began with the first."""
    ask, policy = d.incident.ask, d.incident.policy
    ask.ends_at = ask.ends_at or d.after(policy.ask_budget_s)
    ask.due_at = min(d.after(policy.ask_attempt_s), ask.ends_at)
    _ring_person(d, Message.ASK)


def _ring_person(d: Draft, message: Message) -> None:
    ask, policy = d.incident.ask, d.incident.policy
    ask.attempt += 1
    ask.picked_up = False
    ask.calling_until = d.after(policy.ring_s + policy.ask_talk_s)
    d.send(
        "ask",
        Target.PATIENT,
        message,
        kind=NotificationKind.ASK,
        channel=Channel.VOICE,
        attempt=ask.attempt,
        person_id=d.incident.patient_id,
        expires_s=policy.ask_budget_s,
    )
    d.log(Log.ASKED, attempt=ask.attempt)


def ask_beside(d: Draft) -> None:
    """Ring who pressed SOS, beside everybody else: was it a mistake?

    Call it after ``alert``. It sets no timer, delays no page and moves no state: all that comes of it is what whoever
    takes the case is told. A call that asks already goes on instead.
    """
    incident, ask = d.incident, d.incident.ask
    if not incident.policy.can_be_asked or ask.duress or incident.acknowledged:
        return
    ask.beside_last = ask.attempt + incident.policy.ask_attempts
    if ask.calling_until is None or d.due(ask.calling_until):
        _ring_beside(d)
    else:
        d.cancel_asks = False


def _ring_beside(d: Draft) -> None:
    """Who has a secret key may stand beside somebody who must not hear that help was called."""
    _ring_person(d, Message.ASK_BESIDE if d.incident.policy.duress_digit is None else Message.ASK)


def ask_next_or_confirm(d: Draft) -> None:
    """Another attempt if one is left in the budget; otherwise silence means yes."""
    ask, policy = d.incident.ask, d.incident.policy
    if ask.attempt < policy.ask_attempts and not d.due(ask.ends_at):
        ask_again(d)
        return
    ask.answer = "unanswered"
    confirm(d, Why.UNANSWERED)
    alert(d)


def plan_overlap(d: Draft) -> None:
    """Ring the contacts beside the question: at once when grave, after ``overlap_s`` when urgent.

    *Policy*: a serial check costs a true emergency its whole budget; what is of medium priority
    waits for the answer. A case that becomes urgent later counts from the first question.
    """
    incident, ask = d.incident, d.incident.ask
    if incident.grave:
        ask.overlap_at = None
        alert(d)
    elif incident.priority is Priority.HIGH and not incident.ladder.running:
        wait = timedelta(seconds=incident.policy.overlap_s)
        at = min(incident.times.get("check_started_at", d.now), d.now) + wait
        ask.overlap_at = min(ask.overlap_at or at, at)
        if d.due(ask.overlap_at):
            overlap(d)


def overlap(d: Draft) -> None:
    """The time for the question alone is over; it goes on beside the contacts' telephones."""
    d.incident.ask.overlap_at = None
    if d.incident.state is State.CHECKING:
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
    if incident.open:
        d.incident.ask.beside_last = 0
        if by == "call":
            question_over(d)
    if digit == FINE_DIGIT and not duress:
        _fine(d, vitals, by)
    else:
        _help(d, digit, by, duress=duress)
    return d.done()


def _fine(d: Draft, vitals: Vitals, by: str) -> None:
    incident = d.incident
    if incident.state is not State.CHECKING:
        d.log(Log.LATE_FINE, PATIENT, by=by)
        pass_fine_on(d)
        return
    incident.ask.answer = "fine"
    d.log(Log.ANSWERED_FINE, PATIENT, by=by)
    reason = disbelief(incident, vitals)
    if reason is not None:
        d.log(Log.FINE_NOT_BELIEVED, reason=reason.value)
        confirm(d, Why.FINE_NOT_BELIEVED)
        pass_fine_on(d)
        alert(d)
        return
    end_check(d, Why.FINE, PATIENT)
    settle(d, State.CANCELLED_BY_PATIENT, CloseReason.PATIENT_FINE)
    d.stamp("cancelled_at")
    d.log(Log.CANCELLED_BY_PATIENT, PATIENT)
    tell_rung(d, Message.ALL_CLEAR)


def _help(d: Draft, digit: str, by: str, *, duress: bool) -> None:
    incident, ask = d.incident, d.incident.ask
    checking = incident.state is State.CHECKING
    why = Why.DURESS if duress else _meaning(digit)
    said: dict[str, Param] = {"by": by, "how": why.value}
    if why is Why.OTHER_KEY:
        said["key"] = digit
    if not checking:
        d.log(Log.LATE_HELP, PATIENT, **said)
    else:
        d.log(Log.ANSWERED_DURESS if duress else Log.ANSWERED_HELP, PATIENT, **said)
    if not incident.open:
        return
    forget_fine(d)
    could_hear, cried_before = may_hear(incident), ask.cried
    ask.cried = cried_before or duress or digit == HELP_DIGIT
    if duress:
        ask.duress, incident.coming.due_at = True, None
    else:
        ask.wants_help = True
    if duress or digit == HELP_DIGIT:
        # A person who asks for help in so many keys is as urgent as an SOS button.
        d.raise_priority(Priority.HIGH)
    if incident.state in SETTLING:
        reopen(d, why, PATIENT)
    elif incident.state in {State.SUSPECTED, State.CHECKING}:
        ask.answer = "duress" if duress else "help"
        confirm(d, why, PATIENT)
        alert(d)
    elif incident.acknowledged:
        _help_while_held(d, in_so_many_keys=duress or digit == HELP_DIGIT, first=not cried_before)
        if not could_hear:
            # Once: a key pressed while hearing who comes must not bring that call again and again.
            plan_coming(d)
    else:
        alert(d)


def _help_while_held(d: Draft, *, in_so_many_keys: bool, first: bool) -> None:
    """Whoever has it is rung at once; by key 2 or the secret one they must soon say that they are still on it.

    The desk is rung too when it is the first cry in so many keys. Nobody else is paged: somebody has it. A time of
    arrival that was given is kept to.
    """
    incident = d.incident
    tell_owner(d, Message.NEWS, urgent=True, desk_too=in_so_many_keys and first)
    if in_so_many_keys and incident.state is State.CONFIRMED and incident.awaited is None:
        soon = d.after(incident.policy.claim_s)
        incident.deadline_at = min(incident.deadline_at or soon, soon)


def _meaning(digit: str) -> Why:
    """What a key other than "fine" says: the log must not claim that somebody asked in so many keys."""
    if not digit:
        return Why.NO_KEY
    return Why.HELP if digit == HELP_DIGIT else Why.OTHER_KEY


def ask_call_ended(incident: Incident, outcome: Outcome | str, attempt: int, now: datetime) -> Decision:
    """A call to the person ended without a key; a stale attempt changes nothing."""
    d = Draft(incident, now)
    ask = d.incident.ask
    current = incident.open and attempt == ask.attempt
    if current and incident.state is State.CHECKING:
        question_over(d)
        d.log(Log.ASK_CALL_ENDED, outcome=Outcome(outcome).value, attempt=attempt)
        ask_next_or_confirm(d)
    elif current and ask.calling_until is not None:
        question_over(d)
        d.log(Log.ASK_CALL_ENDED, outcome=Outcome(outcome).value, attempt=attempt)
        if incident.state is State.CONFIRMED and not incident.acknowledged and ask.attempt < ask.beside_last:
            _ring_beside(d)
    return d.done()
