"""Handing the record over to an emergency service's desk: offered by a human, answered or not, never a dispatch."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dispatch.codes import Action, Log
from dispatch.escalation_draft import Draft, refuse, who
from dispatch.escalation_telling import tell_desk
from dispatch.incident import Decision, Handover, HandoverAnswer, Incident, allowed_actions


def hand_over(incident: Incident, person_id: UUID, to: str, now: datetime) -> Decision:
    """A named human offers the record to an emergency service's desk.

    It says nothing about a unit: "I have called 119" stays an action of its own.

    Parameters
    ----------
    incident : Incident
        Open, not settling, with no offer waiting.
    person_id : UUID
        Who offers it.
    to : str
        Which desk.
    now : datetime
        Aware UTC.

    Raises
    ------
    IllegalMove
        When it is over, or an offer still waits for its answer.
    ValueError
        When ``to`` is empty.
    """
    if Action.HAND_OVER not in allowed_actions(incident):
        raise refuse(incident, Action.HAND_OVER.value)
    if not to.strip():
        raise ValueError("to must name the desk that gets the record, was empty")
    d = Draft(incident, now)
    offer = Handover(to=to.strip(), by=person_id, offered_at=now, due_at=d.after(incident.policy.handover_s))
    d.incident.handovers.append(offer)
    d.log(Log.HANDED_OVER, who(person_id), to=offer.to)
    return d.done()


def handover_answered(
    incident: Incident, person_id: UUID, accepted: bool, reason: str, reference: str, now: datetime
) -> Decision:
    """That desk took the record or sent it back; an answer after the time for it still counts.

    Sent back, our own desk is told, so that it reads the record out by telephone.

    Raises
    ------
    IllegalMove
        When nothing was offered, or it is answered already.
    """
    if Action.HANDOVER_ANSWERED not in allowed_actions(incident):
        raise refuse(incident, Action.HANDOVER_ANSWERED.value)
    d = Draft(incident, now)
    offer = d.incident.handovers[-1]
    offer.due_at = None
    offer.answer = HandoverAnswer.ACCEPTED if accepted else HandoverAnswer.REJECTED
    offer.reason, offer.reference = reason.strip(), reference.strip()
    by = who(person_id)
    if accepted:
        d.log(Log.HANDOVER_ACCEPTED, by, to=offer.to, reference=offer.reference or None)
    else:
        d.log(Log.HANDOVER_REJECTED, by, to=offer.to, reason=offer.reason or None)
        if d.incident.open:
            tell_desk(d)
    return d.done()


def handover_timer(d: Draft) -> None:
    """No answer in time counts as none: our own desk is told, so that it reads the record out by telephone."""
    offer = d.incident.offered
    if offer is None:
        return
    offer.due_at, offer.answer = None, HandoverAnswer.UNANSWERED
    d.log(Log.HANDOVER_UNANSWERED, to=offer.to)
    tell_desk(d)
