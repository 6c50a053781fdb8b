"""Telephone numbers: whose they are is proven by a key, a tap or a code, and counts for half a year.

Every drill proves the numbers that it reaches; this asks one alone, after it was given or on demand.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy import Row

from dispatch import drill as rules
from dispatch.drill import Drill, Purpose
from dispatch.incident import SYSTEM, Target
from service.sealing import SealingError
from service.store import drills as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import contacts, drill_book, drill_times, drills, numbers, people, plans
from service.workflows.drills import NobodyToReach
from service.workflows.house import House, log, new_id


class NumberGiven(msgspec.Struct, kw_only=True):
    """A new number is written down, and somebody there is asked whether it is theirs."""

    verification_id: UUID
    rung_now: bool
    """Whether it is rung from now on: nothing proved the old one. Else the old one is, until this one is proven."""


def begin(
    house: House, patient_id: UUID, person_id: UUID, by: str = SYSTEM, *, call: bool = False, now: bool = False
) -> UUID:
    """Ask at this person's number whether it is theirs; returns the verification's id.

    By a text with a link where one can be read, else, or with ``call``, by a call; like a drill it wakes nobody,
    gives way to real incidents and is tried again. With ``now`` it rings once at whatever hour: for whoever has just
    asked for it at their own number; a real incident, and the hour after it, go first even then. Raises NobodyToReach.
    """

    def work(tx: Tx) -> UUID:
        patient, person = _both(tx, patient_id, person_id)
        begun = _ask(house, tx, patient, person, by, call=call)
        held = drill_book.load(house, tx, patient_id, begun) if now else None
        if held is not None:
            at = house.clock()
            until = drill_times.hold_until(tx, patient_id, at)
            drill_book.settle(house, tx, held, rules.hurried(held.drill, person_id, at, hold_until=until), at)
        return begun

    begun: UUID = house.committer.run(work, key=patient_id)
    return begun


def give_number(house: House, patient_id: UUID, person_id: UUID, phone: str, by: str) -> NumberGiven:
    """Write a new number of this person down and ask there, in one commit.

    Raises NobodyToReach, and Refused for a telephone that is another's on the same ladder.
    The one that is known to work is rung until somebody confirmed at the new one; where none is known to work, the
    new one is rung first from now on, and the old one after it.
    """

    def work(tx: Tx) -> NumberGiven:
        patient, person = _both(tx, patient_id, person_id)
        contacts.refuse_shared(house, tx, patient_id, person_id, phone)
        now = house.clock()
        rung_now = numbers.give(house, tx, person, phone, now)
        for row in store.going_on(tx, patient_id, store.VERIFY):
            held = drill_book.load(house, tx, patient_id, row.id)
            if held is not None and held.drill.rung(person_id) is not None:
                # What was asked so far went to the number before.
                drill_book.settle(house, tx, held, rules.called_off(held.drill, now), now)
        _, person = _both(tx, patient_id, person_id)
        return NumberGiven(verification_id=_ask(house, tx, patient, person, by), rung_now=rung_now)

    given: NumberGiven = house.committer.run(work, key=patient_id)
    log("number_given", patient=patient_id, person=person_id, by=by, rung_now=given.rung_now)
    return given


def superseded(house: House, tx: Tx, row: Row[Any]) -> bool:
    """Whether a verification's text asked at a number that is not the one asked about any more."""
    if row.step != store.VERIFY:
        return False
    if numbers.of_row(house, tx, row) is None:
        return True
    asked = store.drill(tx, row.incident_id)
    rung = drill_book.opened(house, asked).rung(row.target_id) if asked is not None else None
    # Called off when another number was given, even where that was the one before.
    return rung is not None and rung.away and rung.reached_at is None


def _both(tx: Tx, patient_id: UUID, person_id: UUID) -> tuple[Row[Any], Row[Any]]:
    """The patient, locked, and one of their people."""
    patient = people_store.lock_patient(tx, patient_id)
    person = people_store.person(tx, person_id)
    known = {member.person_id for member in people_store.caregivers(tx, patient_id)} | {patient_id}
    if patient is None or person is None or person_id not in known:
        raise NobodyToReach(f"{person_id} is no contact of {patient_id}")
    return patient, person


def _ask(house: House, tx: Tx, patient: Row[Any], person: Row[Any], by: str, *, call: bool = False) -> UUID:
    now, patient_id = house.clock(), patient.patient_id
    for row in store.going_on(tx, patient_id, store.VERIFY):
        if drill_book.opened(house, row).rung(person.id) is not None:
            found: UUID = row.id
            return found
    drill = Drill(
        id=new_id(),
        patient_id=patient_id,
        policy=drill_book.policy(house, now),
        purpose=Purpose.VERIFY,
        by=by,
        started_at=now,
        call_first=call,
        rungs=[_rung(house, tx, person, patient_id, now)],
    )
    drill_book.settle(house, tx, drill_book.Held(patient, drill, 0), rules.begin(drill, now), now)
    log("verification_begun", patient=patient_id, person=person.id)
    return drill.id


def _rung(house: House, tx: Tx, person: Row[Any], patient_id: UUID, now: datetime) -> rules.Rung:
    try:
        change = people.open_profile(house, person).change
    except SealingError:
        change = None  # shown as a broken link, like everybody whose record does not open
    number = change.new if change is not None and change.pending else ""
    rung = drills.rung_of(house, plans.known(house, tx, [person.id]), person, now, number)
    if rung is None:
        raise NobodyToReach(f"{person.id} has no number")
    own = person.id == patient_id
    return replace(rung, away=False, target=Target.PATIENT if own else Target.CONTACT)
