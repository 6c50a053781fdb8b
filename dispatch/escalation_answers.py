"""What an answered, refused or failed call does to an incident: contacts, desk, and who picked up."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dispatch.alarm import Param
from dispatch.codes import Log, Outcome, Role
from dispatch.escalation_draft import DESK, PATIENT, Draft, who
from dispatch.escalation_going import arrive, be_safe, go, may_agree
from dispatch.escalation_holding import release, take
from dispatch.escalation_ladder import advance, alert, waiting_for
from dispatch.incident import Decision, Incident, State, Target

TAKE_DIGIT = "3"
DECLINE_DIGIT = "4"
ARRIVED_DIGIT = "5"
SAFE_DIGIT = "6"
WRONG_NUMBER_DIGIT = "9"
ETA_STEP_S = 600
"""Policy: what one pressed digit of the time of arrival stands for."""


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
        if incident.open and ask.calling_until is not None and attempt == ask.attempt and not ask.picked_up:
            _person_listens(d, talk_until)
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


def _person_listens(d: Draft, until: datetime) -> None:
    """They picked up to be asked: the budget, and word of who comes, wait for the menu to end."""
    ask, word = d.incident.ask, d.incident.coming
    ask.picked_up = True
    ask.calling_until = max(ask.calling_until or until, until)
    if d.incident.state is State.CHECKING:
        ask.ends_at = max(ask.ends_at or until, until)
        ask.due_at = max(ask.due_at or until, until)
    if word.due_at is not None:
        word.due_at = max(word.due_at, ask.calling_until)


def contact_answered(
    incident: Incident,
    person_id: UUID,
    digit: str,
    now: datetime,
    role: str = Role.CAREGIVER,
    attempt: int | None = None,
    wrong: str = "",
) -> Decision:
    """A contact pressed a key, or none; by our call or a returned one, at any time while open.

    Parameters
    ----------
    incident : Incident
        In any state; once it is over the answer is only written down.
    person_id : UUID
        Who was rung.
    digit : str
        ``3`` takes it, ``4`` declines, ``9`` wrong number; from whoever holds it ``5`` has arrived
        and ``6`` all is well (also from who is asked whether it is so); anything else is no answer.
    now : datetime
        Aware UTC.
    role : str
        ``caregiver`` or ``dispatcher``.
    attempt : int or None
        The call's attempt where known: a stale call without a key rings nobody.
    wrong : str
        With an empty ``digit``: the key that was pressed all the same, and does nothing.
    """
    d = Draft(incident, now)
    if digit == TAKE_DIGIT:
        take(d, person_id, role)
    elif digit == ARRIVED_DIGIT and incident.acknowledged and incident.owner_id == person_id:
        arrive(d, person_id)
    elif digit == SAFE_DIGIT and incident.acknowledged and (
        incident.owner_id == person_id or may_agree(incident, person_id)
    ):
        be_safe(d, person_id)
    elif _passed_on(d, person_id, digit, attempt, wrong or digit):
        advance(d)
    return d.done()


def _passed_on(d: Draft, person_id: UUID, digit: str, attempt: int | None, key: str) -> bool:
    """Write down an answer that takes nothing; whether the ladder waited for just this one."""
    ladder, contact = d.incident.ladder, waiting_for(d.incident)
    current = contact is not None and contact.person_id == person_id
    if digit == DECLINE_DIGIT:
        if person_id not in ladder.declined:
            ladder.declined.append(person_id)
        another = d.incident.acknowledged and d.incident.owner_id != person_id
        d.log(Log.CONTACT_DECLINED, who(person_id), **({"owner": who(d.incident.owner_id)} if another else {}))
        give_back(d, person_id)
    elif digit == WRONG_NUMBER_DIGIT:
        if person_id not in ladder.retired:
            ladder.retired.append(person_id)
            # Once: a repeated callback must not retire the person's next number too.
            d.retire_number_of = person_id
        d.log(Log.WRONG_NUMBER, who(person_id))
        give_back(d, person_id)
    else:
        d.log(Log.CONTACT_NO_KEY, who(person_id), **_pressed(key))
        current = current and attempt in {None, ladder.round}
    return current


def _pressed(key: str) -> dict[str, Param]:
    return {"key": key} if key else {}


def wrong_key(incident: Incident, by: str, key: str, now: datetime) -> Decision:
    """Somebody pressed a key that does nothing, and hears the menu again: only written down."""
    d = Draft(incident, now)
    d.log(Log.WRONG_KEY, by, key=key)
    return d.done()


def eta_pressed(incident: Incident, person_id: UUID, digit: str, now: datetime) -> Decision:
    """The key after "taken": so many times ten minutes until they are there; 0 goes not themselves.

    Anything else, and a key of somebody who does not hold it, changes nothing.
    """
    d = Draft(incident, now)
    holds = incident.open and incident.acknowledged and incident.owner_id == person_id
    if holds and len(digit) == 1 and digit in "123456789":
        go(d, person_id, int(digit) * ETA_STEP_S, incident.owner_role or Role.CAREGIVER)
    elif holds and digit == "0":
        d.log(Log.STILL_ON_IT, who(person_id))
    return d.done()


def give_back(d: Draft, person_id: UUID) -> None:
    """Who took it and now cannot: it returns to the queue at once."""
    incident = d.incident
    if incident.state is State.CONFIRMED and incident.acknowledged and incident.owner_id == person_id:
        release(d)
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


def desk_answered(incident: Incident, digit: str, now: datetime, wrong: str = "") -> Decision:
    """The staffed desk pressed a key: ``3`` takes it, anything else lets it ring again in its turn."""
    d = Draft(incident, now)
    if digit == TAKE_DIGIT:
        take(d, None, Role.DESK)
    else:
        d.log(Log.DESK_NO_KEY, DESK, **_pressed(wrong or digit))
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
