"""What is proven about reaching help for a person: when that was, which link does not hold, when it is tried next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import drill as rules
from dispatch import messages_drill
from dispatch.drill import Link, Miss
from service.sealing import SealingError
from service.store import drills as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import drill_book, drill_times, gaps, records
from service.workflows.drill_times import Begins
from service.workflows.house import House
from service.workflows.plans import counts

UNVERIFIED = "unverified"
FIRST_DAY = timedelta(days=1)
"""Policy: how long somebody new may be without a verified number before that shows red."""


class BrokenLink(msgspec.Struct, kw_only=True):
    """One link of the chain that does not hold."""

    link: str
    """door, detection, carrier, contacts, unverified, or contact."""
    person_id: UUID | None
    """Which contact, where it is one."""
    why: str
    """For a contact: no_number, bad_number, wrong_number, no_answer, busy, voicemail, no_key, unread ..."""
    text: str


class DrillStand(msgspec.Struct, kw_only=True):
    id: UUID
    state: str
    """running, waiting (a real incident goes first), proven, broken."""
    started_at: datetime
    ended_at: datetime | None
    next_step_at: datetime | None
    reached: int | None = None
    contacts: int | None = None
    """How many of how many were reached; null where only the list is asked for."""
    held: Begins | None = None
    """Until when its contacts are not asked, and why; null where they are. A list tells only of the night."""


class ReachRecord(msgspec.Struct, kw_only=True):
    patient_id: UUID
    red: bool
    """A link is known to be broken."""
    overdue: bool
    """No drill proved it for more than 35 days."""
    proven_at: datetime | None
    """When the band's signal last came through every link and a contact answered."""
    broken_since: datetime | None
    broken: list[BrokenLink]
    drill: DrillStand | None
    drill_due_at: datetime | None
    gap_from: datetime | None
    gap_until: datetime | None


@dataclass
class _Known:
    """What the tables say of some people, gathered in a few queries."""

    reach: dict[UUID, Row[Any]] = field(default_factory=dict)
    running: dict[UUID, Row[Any]] = field(default_factory=dict)
    contacts: dict[UUID, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    phones: dict[UUID, list[Row[Any]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, contacts: Iterable[Row[Any]], phones: Iterable[Row[Any]]) -> None:
        for row in contacts:
            self.contacts[row.patient_id].append(row.person_id)
        for row in phones:
            self.phones[row.person_id].append(row)


def of_patient(house: House, patient_id: UUID, language: str) -> ReachRecord:
    """One person's; LookupError when there is no such patient."""
    with house.database.read() as tx:
        patient = people_store.patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        return within(house, tx, patient, language)


def within(house: House, tx: Tx, patient: Row[Any], language: str) -> ReachRecord:
    """As ``of_patient``, within a transaction."""
    patient_id, known = patient.patient_id, _Known()
    row, last = store.reachability(tx, patient_id), store.last_of(tx, patient_id)
    if row is not None:
        known.reach[patient_id] = row
    known.add(
        store.contacts_in(tx, patient.organisation_id, patient_id),
        store.phones_in(tx, patient.organisation_id, patient_id),
    )
    names = records.names_of(house, tx, set(known.contacts[patient_id]), language)
    return _record(patient, known, names, _stand(house, tx, last, language), language, house.clock())


def of_organisation(house: House, organisation_id: UUID, language: str) -> list[ReachRecord]:
    """Everybody's, red first, then overdue, then never proven, then the longest ago."""
    with house.database.read() as tx:
        found, _ = _everybody(house, tx, organisation_id, language)
    return found


def face(house: House, organisation_id: UUID, language: str) -> dict[str, Any]:
    """The operator's page."""
    with house.database.read() as tx:
        found, simulated = _everybody(house, tx, organisation_id, language)
        names = records.names_of(house, tx, {one.patient_id for one in found}, language)
    rows = [
        {"name": names[one.patient_id], "simulated": one.patient_id in simulated, "reach": one} for one in found
    ]
    counts = {
        "red": sum(1 for one in found if one.red),
        "overdue": sum(1 for one in found if one.overdue),
        "all": len(found),
    }
    return {"rows": rows, "counts": counts, "now": house.clock()}


def _everybody(house: House, tx: Tx, organisation_id: UUID, language: str) -> tuple[list[ReachRecord], set[UUID]]:
    now, known = house.clock(), _Known()
    patients = people_store.patients(tx, organisation_id)
    known.reach = {row.patient_id: row for row in store.reachabilities(tx, organisation_id)}
    known.running = {row.patient_id: row for row in store.running_in(tx, organisation_id)}
    known.add(store.contacts_in(tx, organisation_id), store.phones_in(tx, organisation_id))
    broken = {one for patient in patients for one in _named(known, patient.patient_id)}
    names = records.names_of(house, tx, broken, language)
    found = [
        _record(patient, known, names, _listed(house, known.running.get(patient.patient_id), language), language, now)
        for patient in patients
    ]
    found.sort(key=lambda one: (not one.red, not one.overdue, one.proven_at is not None, _age(one, now)))
    return found, {patient.patient_id for patient in patients if patient.is_simulated}


def _age(one: ReachRecord, now: datetime) -> float:
    return 0.0 if one.proven_at is None else -(now - one.proven_at).total_seconds()


def _listed(house: House, row: Row[Any] | None, language: str) -> DrillStand | None:
    """How the newest drill stands, as far as can be told without opening it: a list has many."""
    if row is None:
        return None
    return DrillStand(
        id=row.id,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        next_step_at=row.next_step_at if row.ended_at is None else None,
        held=drill_times.by_night(house, row, language),
    )


def _stand(house: House, tx: Tx, row: Row[Any] | None, language: str) -> DrillStand | None:
    """The same of one person's, opened: also how many were reached, and all that keeps it from asking."""
    stand = _listed(house, row, language)
    if stand is None or row is None:
        return None
    try:
        drill = drill_book.opened(house, row)
    except SealingError:
        return stand
    stand.held = drill_times.held_back(house, tx, drill, language)
    stand.reached = len(drill.reached)
    stand.contacts = sum(1 for rung in drill.rungs if not rung.away)
    return stand


def _named(known: _Known, patient_id: UUID) -> set[UUID]:
    """Contacts whose names a list has to say."""
    return {person_id for person_id, _ in _missed(known, patient_id)}


def _missed(known: _Known, patient_id: UUID) -> list[tuple[UUID, str]]:
    """Contacts who do not hold: by the last drill, or because all their numbers are wrong."""
    contacts = known.contacts.get(patient_id, [])
    row = known.reach.get(patient_id)
    told = dict(_told(row.broken_link if row is not None else ""))
    found = []
    for person_id in contacts:
        phones = known.phones.get(person_id, [])
        why = told.get(str(person_id))
        if phones and all(phone.retired_at is not None for phone in phones):
            why = Miss.WRONG_NUMBER.value
        elif phones and all(phone.retired_at is not None or phone.broken_at is not None for phone in phones):
            why = Miss.BAD_NUMBER.value
        if why is not None:
            found.append((person_id, why))
    return found


def _told(broken_link: str) -> list[tuple[str, str]]:
    """(link or contact, why) of what the last drill left broken."""
    parts = [one.partition(":") for one in broken_link.split(",") if one]
    return [(link, why) for link, _, why in parts]


def _record(
    patient: Row[Any], known: _Known, names: dict[UUID, str], stand: DrillStand | None, language: str, now: datetime
) -> ReachRecord:
    row = known.reach.get(patient.patient_id)
    proven_at = row.proven_at if row is not None else None
    broken = _broken(patient, known, names, language, now)
    gap = gaps.standing(row, now)
    since = proven_at or patient.created_at
    return ReachRecord(
        patient_id=patient.patient_id,
        red=bool(broken),
        overdue=now - since > rules.OVERDUE,
        proven_at=proven_at,
        broken_since=row.broken_since if row is not None and broken else None,
        broken=broken,
        drill=stand,
        drill_due_at=row.drill_due_at if row is not None else None,
        gap_from=gap[0] if gap is not None else None,
        gap_until=gap[1] if gap is not None else None,
    )


def _broken(
    patient: Row[Any], known: _Known, names: dict[UUID, str], language: str, now: datetime
) -> list[BrokenLink]:
    row = known.reach.get(patient.patient_id)
    contacts = known.contacts.get(patient.patient_id, [])
    told = [link for link, _ in _told(row.broken_link if row is not None else "")]
    links = [link for link in told if link in set(Link) and not (link == Link.CONTACTS and contacts)]
    if not contacts and Link.CONTACTS not in links:
        links.append(Link.CONTACTS.value)
    if contacts and now - patient.created_at > FIRST_DAY and not _any_verified(known, contacts, now):
        links.append(UNVERIFIED)
    found = [
        BrokenLink(link=link, person_id=None, why="", text=messages_drill.link_text(link, "", "", language))
        for link in links
    ]
    for person_id, why in _missed(known, patient.patient_id):
        text = messages_drill.link_text("contact", why, names.get(person_id, ""), language)
        found.append(BrokenLink(link="contact", person_id=person_id, why=why, text=text))
    return found


def _any_verified(known: _Known, contacts: list[UUID], now: datetime) -> bool:
    """Whether any contact's number was proven lately: one that was not cannot be the last rung."""
    phones = [phone for person_id in contacts for phone in known.phones.get(person_id, [])]
    return any(counts(phone, now) for phone in phones)
