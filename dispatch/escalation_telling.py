"""Who is told what: the others who were rung, whoever holds it, the desk, and the person themselves."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

from dispatch.alarm import Param
from dispatch.codes import Log, Message, Outcome, Role
from dispatch.escalation_draft import PATIENT, Draft, who
from dispatch.incident import (
    ON_THE_ROAD,
    SETTLING,
    Channel,
    Decision,
    Incident,
    NotificationKind,
    State,
    Target,
)

COMING_TRIES = 2
"""Policy: how often the person is rung to hear one word of who comes."""
THERE = frozenset({State.AT_PATIENT, State.TRANSPORTING})


def _way_to(incident: Incident, person_id: UUID) -> Channel:
    """How to tell somebody without ringing them, where that is possible at all."""
    contact = next((c for c in incident.policy.contacts if c.person_id == person_id), None)
    return Channel.TEXT if contact is None else contact.writable or Channel.VOICE


def tell_rung(
    d: Draft, message: Message, *, role: str = "", but: UUID | None = None, eta_min: int | None = None
) -> None:
    """Write once to everybody who was rung, except to who knows already and to wrong numbers."""
    ladder = d.incident.ladder
    knows = {d.incident.owner_id if message is Message.TAKEN else None, but, *ladder.retired}
    people = [person_id for person_id in ladder.rung if person_id not in knows]
    if not people:
        return
    params: dict[str, Param] = {"role": role} if role else {}
    if eta_min is not None:
        params["eta_min"] = eta_min
    d.incident.tells += 1
    for person_id in people:
        d.send(
            "tell",
            Target.CONTACT,
            message,
            kind=NotificationKind.INFORM,
            channel=_way_to(d.incident, person_id),
            attempt=d.incident.tells,
            person_id=person_id,
            params=params,
        )
    d.log(Log.OTHERS_TOLD, message=message.value, count=len(people))


def tell_owner(d: Draft, message: Message, *, urgent: bool, desk_too: bool = False) -> None:
    """Say to whoever holds it that there is news: a caregiver in writing (and by voice), staff at the desk."""
    incident = d.incident
    incident.tells += 1
    owner = incident.owner_id if incident.owner_role == Role.CAREGIVER else None
    if owner is not None:
        for channel in dict.fromkeys([_way_to(incident, owner), *([Channel.VOICE] if urgent else [])]):
            d.send(
                "news",
                Target.CONTACT,
                message,
                kind=NotificationKind.INFORM,
                channel=channel,
                attempt=incident.tells,
                person_id=owner,
            )
    if owner is None or desk_too:
        _ring_desk_for(d, Message.DESK_REMINDER if message is Message.REMINDER else Message.DESK_NEWS)
    d.log(Log.OWNER_TOLD, owner=who(incident.owner_id), message=message.value)


def pass_fine_on(d: Draft) -> None:
    """The person said "fine", which ends nothing here: whoever takes it hears so; who has it is told, once.

    Never for somebody who is not to be taken at their word, nor after they asked for help, least of all by the secret
    key.
    """
    incident, ask = d.incident, d.incident.ask
    doubtful = not incident.policy.may_cancel or ask.duress or ask.wants_help
    if doubtful or incident.desk_only or incident.state not in ON_THE_ROAD:
        return
    ask.fine_at = d.now
    if incident.acknowledged and not ask.fine_told:
        ask.fine_told = True
        tell_owner(d, Message.SAYS_FINE, urgent=False)


def forget_fine(d: Draft) -> None:
    """A later cry outweighs it: nobody is told of it any more."""
    d.incident.ask.fine_at, d.incident.ask.fine_told = None, False


def tell_desk(d: Draft, message: Message = Message.DESK_NEWS) -> None:
    """There is something for the staffed desk to read on its screen now, whoever holds the incident."""
    d.incident.tells += 1
    _ring_desk_for(d, message)
    d.log(Log.OWNER_TOLD, owner=who(None), message=message.value)


def tell_person(d: Draft, person_id: UUID, message: Message) -> None:
    """Write once to one contact, who holds it or held it."""
    d.incident.tells += 1
    d.send(
        "news",
        Target.CONTACT,
        message,
        kind=NotificationKind.INFORM,
        channel=_way_to(d.incident, person_id),
        attempt=d.incident.tells,
        person_id=person_id,
    )
    d.log(Log.OWNER_TOLD, owner=who(person_id), message=message.value)


def _ring_desk_for(d: Draft, message: Message) -> None:
    d.send("news", Target.DESK, message, kind=NotificationKind.INFORM, attempt=d.incident.tells)


# --- the person


def may_hear(incident: Incident) -> bool:
    """Whether the person is to be rung with word of who comes.

    Never where voice does not work for them, nor once the secret key was pressed: who stands
    beside them must not hear of help.
    """
    ask = incident.ask
    if not incident.policy.can_be_asked or ask.duress or ask.answer == "duress":
        return False
    return incident.sos or ask.wants_help or ask.answer in {"help", "unanswered"}


def coming(incident: Incident, now: datetime) -> tuple[UUID | None, str, int | None] | None:
    """Who holds it, in which role, and in how many minutes they will be there, if they said so.

    Parameters
    ----------
    incident : Incident
        As it stands when the person presses the key.
    now : datetime
        Aware UTC.

    Returns
    -------
    tuple or None
        None when nobody has it, or when the person's telephone must not say; no person is the desk.
    """
    if not incident.open or not incident.acknowledged or not may_hear(incident):
        return None
    going = incident.awaited
    left_s = None if going is None else (going.eta_at - now).total_seconds()
    minutes = None if left_s is None or left_s <= 0 else math.ceil(left_s / 60)
    return incident.owner_id, incident.owner_role or Role.DESK.value, minutes


def plan_coming(d: Draft) -> None:
    """Have the person rung soon with the news of who comes and when; not while they are on the line being asked."""
    word = d.incident.coming
    if not may_hear(d.incident):
        return
    word.tries, word.heard = 0, False
    soon = d.after(d.incident.policy.coming_s)
    word.due_at = max(soon, d.incident.ask.calling_until or soon)


def question_over(d: Draft) -> None:
    """The call with the question has ended: word of who comes need not wait for it."""
    ask, word = d.incident.ask, d.incident.coming
    ask.calling_until = None
    if word.due_at is not None:
        word.due_at = min(word.due_at, d.after(d.incident.policy.coming_s))


def ring_coming(d: Draft) -> None:
    """Ring the person with what is known by now; nothing is said when nobody has it any more."""
    incident, word = d.incident, d.incident.coming
    word.due_at = None
    known = None if incident.state in THERE else coming(incident, d.now)
    if known is None:
        return
    owner_id, role, eta_min = known
    word.attempt += 1
    word.tries += 1
    d.send(
        "coming",
        Target.PATIENT,
        Message.PATIENT_COMING,
        kind=NotificationKind.INFORM,
        attempt=word.attempt,
        person_id=incident.patient_id,
        params={"owner": "" if owner_id is None else str(owner_id), "role": role, "eta_min": eta_min},
    )
    d.log(Log.PATIENT_TOLD, attempt=word.attempt)


def coming_heard(incident: Incident, now: datetime) -> Decision:
    """The person pressed the key and heard who comes: they are not rung for it again."""
    d = Draft(incident, now)
    if incident.open:
        d.incident.coming.heard = True
        d.incident.coming.due_at = None
    return d.done()


def coming_call_ended(incident: Incident, outcome: Outcome | str, attempt: int, now: datetime) -> Decision:
    """The call that says who comes ended without a key: it is tried once more, a while later."""
    d = Draft(incident, now)
    word = d.incident.coming
    held = incident.open and incident.acknowledged and incident.state not in SETTLING
    if held and attempt == word.attempt and not word.heard and word.due_at is None:
        d.log(Log.ASK_CALL_ENDED, PATIENT, outcome=Outcome(outcome).value, attempt=attempt)
        if word.tries < COMING_TRIES:
            word.due_at = d.after(incident.policy.coming_again_s)
    return d.done()
