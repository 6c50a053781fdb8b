"""Who comes, when, and what they must know: said and shown only after a key, a tap or a log-in."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from dispatch import escalation, messages, messages_doors
from dispatch.codes import Role
from dispatch.incident import Incident, Reason
from service.sealing import SealingError
from service.store.database import Tx
from service.workflows import cases, people
from service.workflows.house import House

REASONS_MOST = 3


def top_reasons(case: Incident) -> list[Reason]:
    """The three that matter most; a lower NEWS2 band says nothing beside a higher one."""
    codes = {r.condition.code for r in case.reasons}
    shown = [r for r in case.reasons if r.condition.code != "news2_medium" or "news2_high" not in codes]
    return sorted(shown, key=lambda r: (r.ended_at is not None, -r.condition.priority.rank))[:REASONS_MOST]


def who_and_why(house: House, tx: Tx, case: cases.Case, language: str, now: datetime) -> dict[str, Any]:
    """Whom it is about, why, and where they live."""
    profile = people.profiles(house, tx, [case.patient.patient_id]).get(case.patient.patient_id)
    try:
        address = people.open_care(house, case.patient).address
    except SealingError:
        address = ""
    reasons = [
        messages.reason_text(r.condition, language, r.ended_at or now, spoken=True) for r in top_reasons(case.incident)
    ]
    return {"patient_name": profile.name if profile else "", "reasons": reasons, "address": address}


def name_of(house: House, tx: Tx, person_id: UUID | None) -> str | None:
    """A person's name; None for the desk and for a record that does not open."""
    if person_id is None:
        return None
    found = people.profiles(house, tx, [person_id]).get(person_id)
    return found.name if found else None


def said_to_the_person(house: House, tx: Tx, incident: Incident, language: str, now: datetime) -> str | None:
    """Who comes and when, as the person hears it; None where it must not be said or nobody has it."""
    known = escalation.coming(incident, now)
    if known is None:
        return None
    owner_id, role, eta_min = known
    eta_s = None if eta_min is None else eta_min * 60.0
    if incident.awaited is not None and eta_min is None:
        eta_s = 0.0
    there = incident.going is not None and incident.going.arrived_at is not None
    desk = owner_id is None or role != Role.CAREGIVER
    name = None if desk else name_of(house, tx, owner_id)
    return messages_doors.who_comes(language, name, eta_s, there=there, desk=desk or name is None)


def going_face(incident: Incident) -> dict[str, Any] | None:
    """For pages: when whoever goes said they will be there, and whether they are."""
    going = incident.going
    if going is None or not incident.acknowledged or going.person_id != incident.owner_id:
        return None
    return {"eta_at": going.eta_at, "said_at": going.said_at, "arrived_at": going.arrived_at}
