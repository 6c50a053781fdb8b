"""A contact is taken off the list: rung no more, nor in an open case; the last proven one not without a second look."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import coverage, escalation, messages_drill
from dispatch import drill as rules
from dispatch.alarm import Priority
from dispatch.incident import Contact
from service.store import drills as drill_store
from service.store import outbox
from service.store import people as store
from service.store.database import Tx
from service.workflows import cases, drill_book, plans
from service.workflows.house import House, log
from service.workflows.incidents import Refused


class Why(StrEnum):
    LEFT = "left"
    """Moved away, or does not want the task."""
    ASKED = "asked"
    """Asked not to be called."""
    WRONG_NUMBER = "wrong_number"
    """The number is somebody else's."""


class Left(msgspec.Struct, kw_only=True):
    """The ladder without a contact."""

    contacts: int
    proven: int
    """How many of them have a number that is proven."""
    last_proven: bool
    """Whether whoever goes is the last one proven: that wants a second look."""
    text: str
    """The same in words, with the hours of the next day in which nobody could be rung."""


class NoContact(LookupError):
    """This person is no contact of that patient."""


def without(house: House, tx: Tx, patient: Row[Any], person_id: UUID, language: str) -> Left:
    """What the ladder would be without this contact."""
    policy, _ = plans.policy_for(house, tx, patient)
    left = [one for one in policy.contacts if one.person_id != person_id]
    goes = [one for one in policy.contacts if one.person_id == person_id]
    proven = sum(one.verified for one in left)
    return Left(
        contacts=len(left),
        proven=proven,
        last_proven=not left or (not proven and any(one.verified for one in goes)),
        text=_text(left, proven, house.clock(), policy.utc_offset_s, language),
    )


def _text(left: list[Contact], proven: int, now: datetime, utc_offset_s: int, language: str) -> str:
    found = coverage.gaps(left, now, utc_offset_s=utc_offset_s)
    gap = next((one for one in found if one.priority is Priority.MEDIUM), None)
    case = "nobody" if not left else "unproven" if not proven else "gap" if gap is not None else "covered"
    at = f"{gap.from_at + timedelta(seconds=utc_offset_s):%H:%M}" if gap is not None else ""
    return messages_drill.left_text(case, len(left), proven, at, language)


def remove(house: House, patient_id: UUID, person_id: UUID, by: str, why: Why, *, sure: bool, language: str) -> Left:
    """Take a contact off a patient's list, in one commit; returns what the ladder is without them.

    Raises NoContact, and Refused where a second look is wanted (``last_proven``, without ``sure``) or an open case
    has nobody else to ring (``only_rung``; a wrong number is given up all the same).
    """

    def work(tx: Tx) -> Left:
        patient = store.lock_patient(tx, patient_id)
        if patient is None or person_id not in {one.person_id for one in store.caregivers(tx, patient_id)}:
            raise NoContact(f"{person_id} is no contact of {patient_id}")
        now, left = house.clock(), without(house, tx, patient, person_id, language)
        if left.last_proven and not sure:
            detail = f"sure must be true to remove the last contact who is proven reachable, was false. {left.text}"
            raise Refused(detail, code="last_proven", field="sure")
        _off_the_case(house, tx, patient, person_id, by, why, now)
        _off_the_drills(house, tx, patient, person_id, now)
        outbox.cancel_to(tx, patient_id, person_id, now)
        if why is Why.WRONG_NUMBER:
            cases.retire_number(house, tx, person_id, now)
        store.end_contact(tx, patient_id, person_id, now)
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient_id, at=now)
        return left

    left: Left = house.committer.run(work, key=patient_id)
    log("contact_removed", patient=patient_id, person=person_id, by=by, why=why)
    return left


def _off_the_case(
    house: House, tx: Tx, patient: Row[Any], person_id: UUID, by: str, why: Why, now: datetime
) -> None:
    case, _ = cases.open_case_of(house, tx, patient)
    if case is None:
        return
    if why is not Why.WRONG_NUMBER and escalation.only_rung(case.incident, person_id):
        detail = "somebody needs help now and has nobody else to be rung: add a contact first, or wait until it is over"
        raise Refused(detail, code="only_rung")
    cases.settle(house, tx, case, escalation.contact_removed(case.incident, person_id, by, now), now)


def _off_the_drills(house: House, tx: Tx, patient: Row[Any], person_id: UUID, now: datetime) -> None:
    """Nothing more is asked of them, and what was found broken with them is nobody's fault any more."""
    for purpose in (drill_store.DRILL, drill_store.VERIFY):
        for row in drill_store.going_on(tx, patient.patient_id, purpose):
            held = drill_book.load(house, tx, patient.patient_id, row.id)
            if held is not None:
                drill_book.settle(house, tx, held, rules.removed(held.drill, person_id, now), now)
    drill_book.mended(tx, patient, person_id, now, proven=False)


def preview(house: House, patient_id: UUID, language: str) -> dict[UUID, Left]:
    """By contact: what the ladder would be without them."""
    with house.database.read() as tx:
        patient = store.patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        members = [one.person_id for one in store.caregivers(tx, patient_id)]
        return {one: without(house, tx, patient, one, language) for one in members}
