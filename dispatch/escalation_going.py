"""Somebody goes: on the way, there, all is well; and the one key that connects people."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

from dispatch.codes import HUMAN_CLOSE_REASONS, CloseReason, Log, Message, Role, Why
from dispatch.escalation_draft import Draft, held_s, renewed, who
from dispatch.escalation_holding import close_now, confirm, hold, take
from dispatch.escalation_ladder import breaks_through
from dispatch.escalation_telling import plan_coming, tell_desk, tell_rung
from dispatch.incident import ON_THE_ROAD, SETTLING, Decision, Going, Incident, State

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

    They take it over from another caregiver or the desk, who are not there, but never from a dispatcher.
    """
    d = Draft(incident, now)
    arrive(d, person_id)
    return d.done()


def arrive(d: Draft, person_id: UUID) -> None:
    """As ``arrived``, on a draft."""
    incident, by = d.incident, who(person_id)
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
        return
    if incident.state in {State.AT_PATIENT, State.TRANSPORTING}:
        d.log(Log.STILL_ON_IT if incident.owner_id == person_id else Log.ARRIVED, by)
        if incident.owner_id == person_id:
            incident.deadline_at = renewed(d)
        return
    if incident.state in {State.SUSPECTED, State.CHECKING}:
        confirm(d, Why.HUMAN, by)
    d.move(State.AT_PATIENT)
    for name in ("at_patient_at", "first_help_at"):
        d.stamp(name)
    d.log(Log.ARRIVED, by)
    if not incident.acknowledged or incident.owner_role != Role.DISPATCHER:
        hold(d, person_id, Role.CAREGIVER)
    incident.deadline_at = d.after(held_s(incident))
    mark_arrival(d, person_id)
    tell_rung(d, Message.ARRIVED, but=person_id)


def mark_arrival(d: Draft, person_id: UUID) -> None:
    """Nobody is waited for any more, and the person need not be rung to hear who comes."""
    going = d.incident.going
    d.incident.coming.due_at = None
    if going is not None and going.person_id == person_id and going.arrived_at is None:
        going.arrived_at = d.now


def safe(
    incident: Incident, person_id: UUID, now: datetime, reason: CloseReason | str = CloseReason.PATIENT_FINE
) -> Decision:
    """Whoever holds it and is there says that all is well: it closes, and everybody hears it.

    Said from afar, or with a unit under way, it is only written down and the desk hears of it: a
    human there decides.
    """
    if reason not in HUMAN_CLOSE_REASONS:
        raise ValueError(f"reason must be one of {', '.join(HUMAN_CLOSE_REASONS)}, was {reason!r}")
    d = Draft(incident, now)
    be_safe(d, person_id, CloseReason(reason))
    return d.done()


def be_safe(d: Draft, person_id: UUID, reason: CloseReason = CloseReason.PATIENT_FINE) -> None:
    """As ``safe``, on a draft."""
    incident, by = d.incident, who(person_id)
    if not incident.open or incident.state in SETTLING:
        d.log(Log.NOTHING_TO_TAKE, by)
        return
    if not incident.acknowledged or incident.owner_id != person_id:
        d.log(Log.ALREADY_TAKEN, by, owner=who(incident.owner_id))
        return
    d.log(Log.SAFE, by)
    if incident.state is not State.AT_PATIENT or incident.unit_called:
        tell_desk(d)
        return
    close_now(d, reason, by)
    tell_rung(d, Message.ALL_CLEAR, but=person_id)


def bridged(incident: Incident, by: str, now: datetime) -> Decision:
    """One key connected the person and the desk, or whoever comes; who asked for it is written down."""
    d = Draft(incident, now)
    d.log(Log.BRIDGED, by)
    return d.done()
