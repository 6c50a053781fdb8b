"""Somebody goes: on the way, there, all is well; and the one key that connects people."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

from dispatch.codes import HUMAN_CLOSE_REASONS, CloseReason, Log, Message, Role, Why
from dispatch.escalation_draft import Draft, held_s, renewed, who
from dispatch.escalation_holding import close_now, confirm, hold, take
from dispatch.escalation_ladder import breaks_through
from dispatch.escalation_telling import plan_coming, tell_desk, tell_person, tell_rung
from dispatch.incident import (
    ON_THE_ROAD,
    SETTLING,
    THERE,
    Decision,
    Going,
    Incident,
    Relieved,
    State,
    Unit,
    UnitStage,
)

LONGEST_ETA_S = 7200
"""Policy: who needs longer does not go, but holds it."""
FAR_S = 1800
"""Policy: from this time of arrival on the desk hears of an urgent case, for somebody nearer may be found."""
SAME_S = 60
"""Policy: a time of arrival that moved by less is the same one, said twice."""


def eta_minutes(eta_s: float) -> int:
    return math.ceil(eta_s / 60)


def going(incident: Incident, person_id: UUID, eta_s: int, now: datetime, role: str = Role.CAREGIVER) -> Decision:
    """Somebody says that they go, and when they will be there; they take it if nobody has it.

    Parameters
    ----------
    incident : Incident
        In any state; held by somebody else, or over, it stays as it is and the log says so.
    person_id : UUID
        Who goes.
    eta_s : int
        Seconds from now until they are there, 0 to 7200.
    now : datetime
        Aware UTC.
    role : str
        ``caregiver`` or ``dispatcher``.

    Returns
    -------
    Decision
        Held until ``eta_s`` plus ``policy.eta_grace_s``, after which the ladder resumes.

    Raises
    ------
    ValueError
        When ``eta_s`` lies outside of its range.
    """
    if not 0 <= eta_s <= LONGEST_ETA_S:
        raise ValueError(f"eta_s must be 0 to {LONGEST_ETA_S}, was {eta_s}: who needs longer should not take it")
    d = Draft(incident, now)
    go(d, person_id, eta_s, Role(role).value)
    return d.done()


def go(d: Draft, person_id: UUID, eta_s: int, role: str) -> None:
    """As ``going``, on a draft."""
    incident = d.incident
    over = not incident.open or incident.state in SETTLING
    holds = incident.acknowledged and incident.owner_id == person_id
    if (over or not holds) and not take(d, person_id, role, tell=False):
        return
    if incident.state not in ON_THE_ROAD:
        d.log(Log.STILL_ON_IT, who(person_id))
        return
    earlier = incident.awaited
    first = earlier is None
    eta_at = d.after(eta_s)
    moved = earlier is None or abs((eta_at - earlier.eta_at).total_seconds()) >= SAME_S
    incident.going = Going(person_id=person_id, said_at=d.now, eta_at=eta_at)
    incident.deadline_at = d.after(held_s(incident))
    minutes = eta_minutes(eta_s)
    d.log(Log.GOING, who(person_id), eta_s=eta_s)
    if first:
        tell_rung(d, Message.GOING, role=role, but=person_id, eta_min=minutes)
    if moved:
        plan_coming(d)
    if moved and eta_s > FAR_S and breaks_through(incident):
        tell_desk(d)


def arrived(incident: Incident, person_id: UUID, now: datetime) -> Decision:
    """Somebody is with the person: the first help. Whoever it is, it counts.

    They take it over from nobody, or from another contact or the desk, who are not there, if they were one to be asked
    and have not declined. Never from a dispatcher, nor from somebody who is there.
    """
    d = Draft(incident, now)
    arrive(d, person_id)
    return d.done()


def arrive(d: Draft, person_id: UUID) -> None:
    """As ``arrived``, on a draft."""
    incident, by = d.incident, who(person_id)
    holds = incident.acknowledged and incident.owner_id == person_id
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
    elif incident.state in THERE and holds:
        _note_there(d, person_id)
        d.log(Log.STILL_ON_IT, by)
        incident.deadline_at = renewed(d)
    elif not incident.acknowledged and person_id in incident.ladder.declined:
        d.log(Log.TAKE_FIRST, by)
    elif incident.state in THERE or not (holds or _may_arrive(incident, person_id)):
        _also_there(d, person_id)
    else:
        _be_there(d, person_id, holds=holds)


def _may_arrive(incident: Incident, person_id: UUID) -> bool:
    """Whether their arrival moves the case on: somebody not asked, or who declined, is only heard of."""
    asked = any(contact.person_id == person_id for contact in incident.policy.contacts)
    dispatchers = incident.owner_role == Role.DISPATCHER
    return not incident.acknowledged or dispatchers or (asked and person_id not in incident.ladder.declined)


def _be_there(d: Draft, person_id: UUID, *, holds: bool) -> None:
    incident, by = d.incident, who(person_id)
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.HUMAN, by)
    before, owner, role = incident.state, incident.owner_id, incident.owner_role
    had = incident.acknowledged and not holds
    d.move(State.AT_PATIENT)
    for name in ("at_patient_at", "first_help_at"):
        d.stamp(name)
    d.log(Log.ARRIVED, by)
    follow_unit(d, before)
    if not incident.acknowledged or role != Role.DISPATCHER:
        hold(d, person_id, Role.CAREGIVER)
        incident.relieved = Relieved(person_id=owner, role=role or Role.DESK) if had else incident.relieved
    incident.deadline_at = d.after(held_s(incident))
    _note_there(d, person_id)
    mark_arrival(d, person_id)
    tell_rung(d, Message.ARRIVED_OTHER if had else Message.ARRIVED, but=person_id)
    if had:
        _tell_who_had_it(d, owner if role == Role.CAREGIVER else None, Message.ARRIVED_OTHER)


def _also_there(d: Draft, person_id: UUID) -> None:
    """Their word is kept, and told once to who holds it and to the desk; it moves nothing and relieves nobody."""
    incident = d.incident
    d.log(Log.ARRIVED_TOO, who(person_id))
    if person_id in incident.there:
        return
    _note_there(d, person_id)
    d.stamp("first_help_at")
    _tell_who_had_it(d, incident.owner_id if incident.owner_role == Role.CAREGIVER else None, Message.ARRIVED_TOO)


def _tell_who_had_it(d: Draft, contact: UUID | None, message: Message) -> None:
    """A contact hears it in writing, unless all who were rung hear it now; the desk's telephone rings in any case."""
    if contact is not None and not any((s.person_id, s.message) == (contact, message) for s in d.steps):
        tell_person(d, contact, message)
    tell_desk(d)


def _note_there(d: Draft, person_id: UUID) -> None:
    if person_id not in d.incident.there:
        d.incident.there.append(person_id)


def mark_arrival(d: Draft, person_id: UUID) -> None:
    """Nobody is waited for any more, and the person need not be rung to hear who comes."""
    going = d.incident.going
    d.incident.coming.due_at = None
    if going is not None and going.person_id == person_id and going.arrived_at is None:
        going.arrived_at = d.now


def follow_unit(d: Draft, before: State, stage: UnitStage | None = None) -> None:
    """From here on the state tells of who is with the person: a unit under way is followed beside it."""
    known = {
        State.DISPATCHED: UnitStage.CALLED,
        State.EN_ROUTE: UnitStage.EN_ROUTE,
        State.ON_SCENE: UnitStage.ON_SCENE,
    }.get(before)
    if known is not None:
        due_at = d.after(d.incident.policy.dispatched_s) if stage is None else None
        d.incident.unit = Unit(stage=stage or known, due_at=due_at)


def safe(
    incident: Incident, person_id: UUID, now: datetime, reason: CloseReason | str = CloseReason.PATIENT_FINE
) -> Decision:
    """Whoever took it and is there says that all is well: it closes, and everybody hears it.

    Said from afar, or with a unit called, it is only written down and the desk hears of it: a human there decides.
    Said by somebody who relieved or joined whoever had it, an urgent case asks those or the desk whether it is so.
    """
    if reason not in HUMAN_CLOSE_REASONS:
        raise ValueError(f"reason must be one of {', '.join(HUMAN_CLOSE_REASONS)}, was {reason!r}")
    d = Draft(incident, now)
    be_safe(d, person_id, CloseReason(reason))
    return d.done()


def be_safe(d: Draft, person_id: UUID, reason: CloseReason = CloseReason.PATIENT_FINE) -> None:
    """As ``safe``, on a draft."""
    incident, by = d.incident, who(person_id)
    holds = incident.acknowledged and incident.owner_id == person_id
    agrees = may_agree(incident, person_id)
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
    elif not holds and not agrees and person_id not in incident.there:
        d.log(Log.ALREADY_TAKEN, by, owner=who(incident.owner_id))
    elif (holds or agrees) and (incident.state is not State.AT_PATIENT or incident.unit_called):
        d.log(Log.SAFE_NOTED, by)
        tell_desk(d)
    elif agrees or (holds and (incident.relieved is None or not breaks_through(incident))):
        d.log(Log.SAFE, by)
        close_now(d, reason, by)
        tell_rung(d, Message.ALL_CLEAR, but=person_id)
    else:
        _ask_whether_safe(d, person_id, holds=holds)


def may_agree(incident: Incident, person_id: UUID) -> bool:
    """Whether this contact had it before, and who relieved them has said that all is well."""
    relieved = incident.relieved
    return relieved is not None and relieved.person_id == person_id and incident.owner_id in incident.said_safe


def _ask_whether_safe(d: Draft, person_id: UUID, *, holds: bool) -> None:
    """Nobody's cry is ended by the word of one who did not take it: who had it and the desk are asked, once."""
    incident = d.incident
    d.log(Log.SAFE_ASKED, who(person_id))
    if person_id in incident.said_safe:
        return
    incident.said_safe.append(person_id)
    relieved = incident.relieved
    before = relieved.person_id if holds and relieved is not None else incident.owner_id
    role = relieved.role if holds and relieved is not None else incident.owner_role
    _tell_who_had_it(d, before if role == Role.CAREGIVER else None, Message.SAFE_ASKED)


def bridged(incident: Incident, by: str, now: datetime) -> Decision:
    """One key connected the person and the desk, or whoever comes; who asked for it is written down."""
    d = Draft(incident, now)
    d.log(Log.BRIDGED, by)
    return d.done()
