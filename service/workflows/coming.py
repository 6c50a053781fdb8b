"""Who comes, when, and what they must know: said and shown only after a key, a tap or a log-in."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from dispatch import escalation, messages, messages_doors
from dispatch.codes import Role
from dispatch.eido import Part
from dispatch.incident import Incident, Reason, State, UnitStage, progress_states
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


def told_reasons(case: Incident, language: str, at: datetime, *, plain: bool = False) -> list[str]:
    """Why, as it was at ``at``: a sign that ended before then is told as it ended; ``plain`` names no score."""
    return [messages.reason_text(r.condition, language, reason_until(r, at), plain=plain) for r in top_reasons(case)]


def reason_until(reason: Reason, at: datetime) -> datetime:
    """Up to when a reason counts in what is told as of ``at``."""
    return at if reason.ended_at is None else min(reason.ended_at, at)


def who_and_why(
    house: House, tx: Tx, case: cases.Case, language: str, now: datetime, *, plain: bool = True
) -> dict[str, Any]:
    """Whom it is about, why, what they answered when asked, and where they live; ``plain`` for all but the desk."""
    profile = people.profiles(house, tx, [case.patient.patient_id]).get(case.patient.patient_id)
    try:
        address = people.open_care(house, case.patient).address
    except SealingError:
        address = ""
    reasons = [
        messages.reason_text(r.condition, language, r.ended_at or now, spoken=True, plain=plain)
        for r in top_reasons(case.incident)
    ]
    fine = messages.says_fine(language, case.incident.ask.fine_at, now)
    return {"patient_name": profile.name if profile else "", "reasons": reasons, "address": address, "fine": fine}


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


def there_face(house: House, tx: Tx, incident: Incident, but: UUID | None) -> dict[str, list[str]]:
    """For pages, after a tap or a log-in: who else says that they are there, and who that all is well."""
    if not incident.open:
        return {"there_names": [], "safe_names": []}
    names = {p: profile.name for p, profile in people.profiles(house, tx, incident.there).items() if p != but}
    return {
        "there_names": [names[p] for p in incident.there if p in names],
        "safe_names": [names[p] for p in incident.said_safe if p in names],
    }


def unit_face(incident: Incident, language: str) -> dict[str, Any] | None:
    """For pages: how far 119 is, while somebody is with the person already."""
    unit = incident.unit
    if unit is None or not incident.open:
        return None
    return {"stage": unit.stage.value, "text": messages.unit_text(unit.stage, language), "due_at": unit.due_at}


def stages_face(incident: Incident, language: str) -> list[dict[str, str]]:
    """What may be reported now; beside somebody who is there the words speak of the unit."""
    found = []
    for state in progress_states(incident):
        text = messages.state_text(state, language)
        if incident.unit is not None and state is not State.TRANSPORTING:
            at_patient = state is State.AT_PATIENT
            text = messages.unit_text(UnitStage.WITH_PATIENT if at_patient else UnitStage(state.value), language)
        found.append({"state": state.value, "text": text})
    return found


def part_of(incident: Incident, person_id: UUID, now: datetime) -> Part | None:
    """What somebody does about it as far as they told us: to have taken it is not to be on the way."""
    if not incident.open:
        return None
    going, awaited = incident.going, incident.awaited
    arrived = going is not None and going.person_id == person_id and going.arrived_at is not None
    if person_id in incident.there or arrived:
        return Part.THERE
    if awaited is not None and awaited.person_id == person_id:
        return Part.GOING if awaited.eta_at > now else Part.LATE
    return Part.TOOK if incident.acknowledged and incident.owner_id == person_id else None


def going_face(incident: Incident) -> dict[str, Any] | None:
    """For pages: when whoever goes said they will be there, and whether they are."""
    going = incident.going
    if going is None or not incident.open or not incident.acknowledged or going.person_id != incident.owner_id:
        return None
    return {"eta_at": going.eta_at, "said_at": going.said_at, "arrived_at": going.arrived_at}
