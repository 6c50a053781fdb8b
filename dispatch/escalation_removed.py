"""A contact is taken off the list while a case is open: they are rung no more, unless nobody else is left to ring."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dispatch.codes import Log
from dispatch.escalation_answers import give_back
from dispatch.escalation_draft import Draft
from dispatch.escalation_ladder import advance, right_numbers, waiting_for
from dispatch.incident import Decision, Incident


def only_rung(incident: Incident, person_id: UUID) -> bool:
    """Whether an open case would have no contact left to ring without this one."""
    right = [contact.person_id for contact in right_numbers(incident)]
    return incident.open and right == [person_id]


def contact_removed(incident: Incident, person_id: UUID, by: str, now: datetime) -> Decision:
    """Ring them no more in this case; what they hold goes back to the queue, and the next is rung if it was their turn.

    Parameters
    ----------
    incident : Incident
        In any state; once it is over, or where they are no contact of it, nothing is written down.
    person_id : UUID
        Who is taken off the list.
    by : str
        Who took them off it, as the log names people.
    now : datetime
        Aware UTC.
    """
    d = Draft(incident, now)
    if not incident.open or person_id not in {contact.person_id for contact in right_numbers(incident)}:
        return d.done()
    waiting = waiting_for(d.incident)
    d.incident.ladder.retired.append(person_id)
    d.log(Log.CONTACT_REMOVED, by, person=str(person_id))
    give_back(d, person_id)
    if waiting is not None and waiting.person_id == person_id:
        advance(d)
    return d.done()
