"""Whether each contact of a case can be rung now: quiet hours, away, a number that nobody proved, the last drill."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from dispatch import escalation_ladder, messages_drill
from dispatch.drill import Miss
from dispatch.escalation_draft import Draft
from dispatch.incident import Contact, Incident
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import reachability
from service.workflows.house import House
from service.workflows.plans import counts

NUMBERS = frozenset({Miss.NO_NUMBER, Miss.BAD_NUMBER, Miss.WRONG_NUMBER})
"""What is wrong with the number itself, drill or no drill."""


def standings(house: House, tx: Tx, case: Incident, now: datetime, language: str) -> dict[UUID, dict[str, Any]]:
    """By contact, as the rules go by it: what the case has frozen, and what is proven of their number by now."""
    ids = [contact.person_id for contact in case.policy.contacts]
    proven: dict[UUID, datetime] = {}
    for phone in people_store.phones_of(tx, ids):
        if counts(phone, now):
            proven[phone.person_id] = max(phone.verified_at, proven.get(phone.person_id, phone.verified_at))
    patient = people_store.patient(tx, case.patient_id)
    broken = [] if patient is None else reachability.within(house, tx, patient, language).broken
    missed = {one.person_id: one.why for one in broken if one.person_id is not None}
    return {
        contact.person_id: _standing(case, contact, now)
        | {"proven_at": proven.get(contact.person_id)}
        | _missed(missed.get(contact.person_id), language)
        for contact in case.policy.contacts
    }


def next_rung(case: Incident, at: datetime) -> UUID | None:
    """Whom the contacts' ladder rings then, if nothing happens meanwhile; None when this round has nobody left."""
    draft = Draft(case, at)
    ladder = draft.incident.ladder
    if ladder.index >= len(case.policy.contacts):
        ladder.round, ladder.index, ladder.called = ladder.round + 1, -1, []
    turn = escalation_ladder.whose_turn(draft)
    return turn[0].person_id if turn else None


def _standing(case: Incident, contact: Contact, now: datetime) -> dict[str, Any]:
    return {
        "quiet_until": _quiet_until(contact, now, case.policy.utc_offset_s),
        "breaks_through": escalation_ladder.breaks_through(case),
        "away_until": contact.away_until if contact.away_at(now) else None,
        "wrong_number": contact.person_id in case.ladder.retired,
    }


def _quiet_until(contact: Contact, now: datetime, utc_offset_s: int) -> str | None:
    """Local time at which the window ends in which they are now."""
    minute = int((now.timestamp() + utc_offset_s) // 60) % (24 * 60)
    held = [window for window in contact.quiet if window.holds(minute)]
    if not held:
        return None
    ends = max((window.to_min - minute) % (24 * 60) for window in held) + minute
    return f"{ends // 60 % 24:02d}:{ends % 60:02d}"


def _missed(why: str | None, language: str) -> dict[str, Any]:
    spoken = "ko" if language == "ko" else "en"
    said = None if why is None else messages_drill.MISSES.get(why, {}).get(spoken, why)
    return {"missed": said, "missed_in_drill": why is not None and why not in NUMBERS}
