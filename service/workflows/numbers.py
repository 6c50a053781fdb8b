"""A telephone number given anew: the one that is known to work rings on until somebody answered at the new one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from service.sealing import SealingError
from service.store import drills as drill_store
from service.store import people as store
from service.store import reachability as reach_store
from service.store.database import Tx
from service.workflows import drill_book, drill_times, people, plans
from service.workflows.drill_times import Begins
from service.workflows.house import House, log, warn
from service.workflows.people import NumberChange, Profile


class ChangeState(StrEnum):
    WAITING = "waiting"
    """Nobody has answered there yet."""
    REFUSED = "refused"
    """Somebody there said that it is not theirs."""
    BROKEN = "broken"
    """The carrier says that there is no such number."""


class NumberRecord(msgspec.Struct, kw_only=True):
    """The telephone number of one person, and the new one that is not proven yet."""

    person_id: UUID
    name: str
    relation: str
    """Empty for the monitored person."""
    phone: str | None
    """What is rung now."""
    verified_at: datetime | None
    """When a key, a tap or a code last proved it, if that still counts."""
    new_phone: str | None = None
    new_since: datetime | None = None
    new_state: ChangeState | None = None
    held: Begins | None = None
    """A check of it goes on and does not ask just now: until when, and why."""


# --- which number a message belongs to


def of_row(house: House, tx: Tx, row: Row[Any]) -> str | None:
    """The number that a call or text of ours goes to, or went to; None where that cannot be told."""
    person = store.person(tx, row.target_id)
    if person is None:
        return None
    change = people.open_profile(house, person).change
    verifies = row.step == drill_store.VERIFY
    if verifies and change is not None and change.pending:
        return change.new if row.created_at >= change.at else None
    found = people.number_of(house, tx, row.target_id)
    since = _since(change, verifies) if change is not None else None
    # What was written before another number came into use went to the one before.
    return None if found is None or (since is not None and row.created_at < since) else found[0]


def _since(change: NumberChange, verifies: bool) -> datetime | None:
    """Since when messages go where they go now; None: a change that came to nothing moved none of them."""
    tried = change.at_once or verifies
    if change.refused_at is not None:
        return change.refused_at if tried else None
    return change.at if tried else change.proven_at


def to_send(house: House, tx: Tx, row: Row[Any]) -> tuple[str, str] | None:
    """Number and language for one message; a verification goes to the number that it is about."""
    found = people.number_of(house, tx, row.target_id)
    if row.step != drill_store.VERIFY:
        return found
    number = of_row(house, tx, row)
    return None if number is None else (number, people.language_of(tx, row.target_id))


# --- what an answer there does


def proven(house: House, tx: Tx, row: Row[Any], number: str, now: datetime) -> None:
    """Somebody confirmed at this number: it is theirs, and one that was given anew takes the old one's place."""
    person_id = row.target_id
    store.phone_answered(tx, person_id, house.keys.blind_index("phone", number), now)
    person = store.person(tx, person_id)
    if person is None:
        return
    profile = people.open_profile(house, person)
    change = profile.change
    if change is None or not change.pending or change.new != number:
        return
    change = msgspec.structs.replace(change, proven_at=now)
    rest = [one for one in profile.phones if one not in {change.new, change.old}]
    keep(house, tx, person, msgspec.structs.replace(profile, phones=[change.new, *rest], change=change))
    if change.old is not None:
        store.retire_phone(tx, person_id, house.keys.blind_index("phone", change.old), now)
    log("number_changed", person=person_id)


def refused(house: House, tx: Tx, row: Row[Any], now: datetime) -> bool:
    """Key 9 in a verification's call: the new number is not theirs, and the old one stays. False: none was new."""
    person = store.person(tx, row.target_id)
    profile = people.open_profile(house, person) if person is not None else None
    if person is None or profile is None or profile.change is None or not profile.change.pending:
        return False
    change = profile.change
    if row.created_at < change.at:
        return False
    rest = [one for one in profile.phones if one != change.new] or [change.new]
    change = msgspec.structs.replace(change, refused_at=now)
    keep(house, tx, person, msgspec.structs.replace(profile, phones=rest, change=change))
    store.retire_phone(tx, row.target_id, house.keys.blind_index("phone", change.new), now)
    log("number_refused", person=row.target_id)
    return True


def keep(house: House, tx: Tx, person: Row[Any], profile: Profile) -> None:
    version = person.version + 1
    sealed = house.seal(person.id, "person", f"{person.id}:{version}", profile)
    if not reach_store.save_person(tx, person.id, version, sealed):
        raise RuntimeError(f"person {person.id} changed at the same moment")


# --- giving one


def give(house: House, tx: Tx, person: Row[Any], phone: str, now: datetime) -> bool:
    """Write a new number down; returns whether it is what is rung now, since nothing proves that the old one works."""
    profile = people.open_profile(house, person)
    found = people.number_of(house, tx, person.id)
    current = found[0] if found else None
    before = profile.change
    if before is not None and before.pending and before.new != phone:
        # One change at a time: what was given before and never proven is forgotten.
        current = before.old
        profile = msgspec.structs.replace(profile, phones=[one for one in profile.phones if one != before.new])
        store.retire_phone(tx, person.id, house.keys.blind_index("phone", before.new), now)
    if before is not None and before.pending and before.new == phone:
        return before.at_once
    if phone == current:
        keep(house, tx, person, msgspec.structs.replace(profile, change=None))
        return True
    at_once = current is None or not plans.proven(house, store.phones_of(tx, [person.id]), current, now)
    phones = [phone, *(one for one in profile.phones if one != phone)] if at_once else profile.phones
    change = NumberChange(new=phone, old=current, at=now, at_once=at_once)
    keep(house, tx, person, msgspec.structs.replace(profile, phones=phones, change=change))
    store.give_phone(tx, person.id, house.keys.blind_index("phone", phone))
    return at_once


# --- what a page shows


def records(house: House, patient_id: UUID, language: str) -> list[NumberRecord]:
    """The monitored person's number, then the contacts' in the order of ringing; LookupError for no such person."""
    with house.database.read() as tx:
        if store.patient(tx, patient_id) is None:
            raise LookupError(f"no patient {patient_id}")
        members = [(patient_id, "")] + [(one.person_id, one.relation) for one in store.caregivers(tx, patient_id)]
        found = [_record(house, tx, person_id, relation) for person_id, relation in members]
        held = _held(house, tx, patient_id, language)
    listed = [one for one in found if one is not None]
    for one in listed:
        one.held = held.get(one.person_id)
    return listed


def _held(house: House, tx: Tx, patient_id: UUID, language: str) -> dict[UUID, Begins]:
    """By person: what keeps the check of their number from asking just now."""
    found: dict[UUID, Begins] = {}
    for row in drill_store.going_on(tx, patient_id, drill_store.VERIFY):
        try:
            drill = drill_book.opened(house, row)
        except SealingError:
            continue  # it is given up when it falls due
        begins = drill_times.held_back(house, tx, drill, language)
        found |= {rung.person_id: begins for rung in drill.rungs} if begins is not None else {}
    return found


def _record(house: House, tx: Tx, person_id: UUID, relation: str) -> NumberRecord | None:
    now, person = house.clock(), store.person(tx, person_id)
    try:
        profile = people.open_profile(house, person) if person is not None else None
        number = people.number_of(house, tx, person_id) if person is not None else None
    except SealingError as error:
        warn("record_unreadable", table="person", record=person_id, why=type(error).__name__)
        return None
    if profile is None:
        return None
    known = {bytes(one.phone_index): one for one in store.phones_of(tx, [person_id])}
    row = known.get(house.keys.blind_index("phone", number[0])) if number else None
    record = NumberRecord(
        person_id=person_id,
        name=profile.name,
        relation=relation,
        phone=number[0] if number else None,
        verified_at=row.verified_at if row is not None and plans.counts(row, now) else None,
    )
    change = profile.change
    if change is not None and change.proven_at is None:
        new = known.get(house.keys.blind_index("phone", change.new))
        broken = new is not None and new.broken_at is not None
        record.new_phone, record.new_since = change.new, change.at
        record.new_state = (
            ChangeState.REFUSED if change.refused_at else ChangeState.BROKEN if broken else ChangeState.WAITING
        )
    return record
