"""A contact says anew when they do not want to be rung, while a case is open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from dispatch.codes import Log
from dispatch.escalation_draft import Draft, who
from dispatch.incident import Contact, Decision, Incident, Window


def hours_said(
    incident: Incident, person_id: UUID, quiet: Sequence[Window], away_until: datetime | None, now: datetime
) -> Decision:
    """What a contact says of their hours holds from the next ring on, in this case too.

    It changes the order of the rings to come and nothing else: no call is placed or taken back by it, and who holds
    the case goes on holding it. Whom the plan rings, and by what, stays as it was frozen.

    Parameters
    ----------
    incident : Incident
        In any state; once it is over, or where they are no contact of it, nothing is written down.
    person_id : UUID
        Who says so.
    quiet : sequence of Window
        Their quiet hours from now on.
    away_until : datetime or None
        Aware UTC; None when they are not away.
    now : datetime
        Aware UTC.
    """
    d = Draft(incident, now)
    policy = incident.policy
    before = next((c for c in policy.contacts if c.person_id == person_id), None)
    if before is None or not incident.open:
        return d.done()
    contacts = [_with(c, quiet, away_until) if c.person_id == person_id else c for c in policy.contacts]
    after = _with(before, quiet, away_until)
    if after == before:
        return d.done()
    d.incident.policy = replace(policy, contacts=tuple(contacts))
    if after.away_at(now) != before.away_at(now):
        d.log(Log.CONTACT_WENT_AWAY if after.away_at(now) else Log.CONTACT_IS_BACK, who(person_id))
    if after.quiet != before.quiet:
        d.log(Log.CONTACT_HOURS, who(person_id))
    return d.done()


def _with(contact: Contact, quiet: Sequence[Window], away_until: datetime | None) -> Contact:
    return replace(contact, quiet=tuple(quiet), away_until=away_until)
