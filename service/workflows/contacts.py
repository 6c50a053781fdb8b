"""Who is rung for a person: one telephone is one contact, so that a ladder is as long as it looks."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import msgspec

from service.sealing import SealingError
from service.store import people as store
from service.store.database import Tx
from service.workflows import people
from service.workflows.house import House
from service.workflows.incidents import Refused
from service.workflows.people import Profile

_NEEDLESS = re.compile(r"[\s().-]")


def normal(phone: str) -> str:
    """A number as it is kept: without blanks, and without the zero that a Korean one has only at home."""
    bare = _NEEDLESS.sub("", phone)
    return "+82" + bare.removeprefix("+820") if bare.startswith("+820") else bare


def masked(phone: str) -> str:
    """A number that whoever typed it knows again, and nobody else reads: its last three digits."""
    return "•" * max(0, len(phone) - 3) + phone[-3:]


def add(
    house: House,
    organisation_id: UUID,
    patient_id: UUID,
    profile: Profile,
    *,
    relation: str,
    position: int,
    **given: Any,
) -> UUID:
    """Somebody to ring for this patient, from the next incident on; ``given`` is as for ``people.add_person``.

    Raises Refused for a telephone that is another's on the same ladder, LoginTaken; nobody is added then.
    """
    profile = msgspec.structs.replace(profile, phones=[normal(phone) for phone in profile.phones])

    def check(tx: Tx) -> None:
        for phone in profile.phones:
            refuse_shared(house, tx, patient_id, None, phone)

    def join(tx: Tx, person_id: UUID) -> None:
        store.lock_patient(tx, patient_id)
        check(tx)  # somebody may have been as fast
        people.join(
            house,
            tx,
            person_id,
            organisation_id,
            "caregiver",
            patient_id=patient_id,
            position=position,
            relation=relation,
        )

    with house.database.read() as tx:
        check(tx)
    return people.add_person(house, organisation_id, profile, also=join, **given)


def own_numbers(house: House, phones: list[str]) -> list[str]:
    """A monitored person's numbers as they are kept, each once. Raises Refused for the desk's."""
    found = list(dict.fromkeys(normal(phone) for phone in phones))
    for phone in found:
        _refuse_the_desks(house, phone)
    return found


def _refuse_the_desks(house: House, phone: str) -> None:
    if house.settings.fallback_number and normal(house.settings.fallback_number) == phone:
        raise _refused("phone_is_the_desks", phone, "the desk's, which is rung beside the contacts anyway")


def refuse_shared(house: House, tx: Tx, patient_id: UUID, person_id: UUID | None, phone: str) -> None:
    """Refuse a number for ``person_id`` that is another's on the same ladder, the patient's own, or the desk's."""
    _refuse_the_desks(house, phone)
    holders = _holders(house, tx, patient_id, phone) - {person_id}
    if patient_id in holders:
        raise _refused("phone_is_the_persons", phone, "the person's own: whoever needs help cannot be rung for it")
    if holders:
        raise _refused("phone_is_a_contacts", phone, "another contact's of this person")


def _refused(code: str, phone: str, whose: str) -> Refused:
    wanted = "phone must be a telephone of its own for everybody on one ladder"
    remedy = "give another number, or change theirs first"
    return Refused(f"{wanted}, was {masked(phone)}, which is {whose}: {remedy}", code=code, field="phone")


def _holders(house: House, tx: Tx, patient_id: UUID, phone: str) -> set[UUID]:
    """Who of this person's people has this number; one that somebody said is wrong is nobody's."""
    members = [patient_id, *(one.person_id for one in store.caregivers(tx, patient_id))]
    index = house.keys.blind_index("phone", phone)
    found = set(store.people_with_number(tx, index)) & set(members)
    known = store.phones_of(tx, members)
    retired = {(one.person_id, bytes(one.phone_index)) for one in known if one.retired_at is not None}
    for row in store.people(tx, members):
        try:
            phones = people.open_profile(house, row).phones
        except SealingError:
            continue  # what it was kept under still tells
        same = [one for one in phones if normal(one) == phone]
        if any((row.id, house.keys.blind_index("phone", one)) not in retired for one in same):
            found.add(row.id)
    return found
