"""Whom to ring for a person and by which channels, as of now: what a new incident freezes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from dispatch.incident import Channel, Contact, Policy
from dispatch.notifier import NotificationError, Reach
from service.sealing import SealingError
from service.store import browsers as browser_store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import people, policies
from service.workflows.house import House, warn

VERIFIED_FOR = timedelta(days=180)
"""Policy: how long a proof that a number is somebody's counts; numbers change hands."""
REACHED = {Reach.VOICE: Channel.VOICE, Reach.TEXT: Channel.TEXT}


class Known(NamedTuple):
    """What the database knows of people who may be rung, read for all of them at once."""

    people: dict[UUID, Row[Any]]
    phones: dict[UUID, list[Row[Any]]]
    browsers: set[UUID]
    """Who has a live browser that we may push to."""


def known(house: House, tx: Tx, person_ids: Iterable[UUID]) -> Known:
    """Three questions to the database, for however many people."""
    wanted = list(person_ids)
    phones: dict[UUID, list[Row[Any]]] = defaultdict(list)
    for one in people_store.phones_of(tx, wanted):
        phones[one.person_id].append(one)
    return Known(
        people={row.id: row for row in people_store.people(tx, wanted)},
        phones=phones,
        browsers=browser_store.owners(tx, wanted) if house.pusher is not None else set(),
    )


def policy_for(house: House, tx: Tx, patient: Row[Any]) -> tuple[Policy, list[tuple[str, UUID]]]:
    """The escalation policy as it stands now, to be frozen into an incident.

    With it come the (table, record) of what it had to do without, because it does not open.
    """
    broken: list[tuple[str, UUID]] = []
    try:
        care = people.open_care(house, patient)
    except SealingError as error:
        # Rung all the same; whether they may cancel by themselves is not known, so they may not.
        warn("record_unreadable", table="patient", record=patient.patient_id, why=type(error).__name__)
        care = people.Care(dementia=True)
        broken.append(("patient", patient.patient_id))
    now = house.clock()
    members = [member.person_id for member in people_store.caregivers(tx, patient.patient_id)]
    them = known(house, tx, [*members, patient.patient_id])
    found = [_readable_contact(house, them, person_id, now, broken) for person_id in members]
    own = _readable_number(house, them, patient.patient_id, broken)
    document, version = policies.document_for(house, tx, patient, broken)
    policy = document.policy(
        version=version,
        contacts=tuple(contact for contact in found if contact is not None and contact.channels),
        can_be_asked=care.voice_works and own is not None,
        may_cancel=not care.dementia,
        duress_digit=care.duress_digit,
        language=them.people[patient.patient_id].language if own else "ko",
        utc_offset_s=people.utc_offset_s(house, now),
    )
    return policy, broken


def _readable_contact(
    house: House, them: Known, person_id: UUID, now: datetime, broken: list[tuple[str, UUID]]
) -> Contact | None:
    """One contact with how they can be reached; a broken record must not cost the others their call."""
    person = them.people.get(person_id)
    if person is None:
        return None
    try:
        return contact(house, them, person, people.open_profile(house, person), now)
    except SealingError as error:
        warn("record_unreadable", table="person", record=person_id, why=type(error).__name__)
        broken.append(("person", person_id))
        return None


def _readable_number(house: House, them: Known, person_id: UUID, broken: list[tuple[str, UUID]]) -> str | None:
    """The person's own; their own broken record must not cost them the call to their contacts."""
    person = them.people.get(person_id)
    if person is None:
        return None
    try:
        return people.number_in(house, people.open_profile(house, person), them.phones.get(person_id, ()))
    except SealingError as error:
        warn("record_unreadable", table="person", record=person_id, why=type(error).__name__)
        broken.append(("person", person_id))
        return None


def contact(
    house: House, them: Known, person: Row[Any], profile: people.Profile, now: datetime, number: str | None = None
) -> Contact:
    """How one contact may be reached now, as an incident will remember it; at ``number`` where one is given.

    A telephone for which the carrier declares nothing is rung all the same: a try costs nothing.
    """
    phones = them.phones.get(person.id, ())
    number = number or people.number_in(house, profile, phones)
    channels: list[Channel] = []
    if number is not None:
        declared = _reach(house, number)
        channels += [channel for reach, channel in REACHED.items() if reach in declared]
    if house.mailer is not None and profile.emails:
        channels.append(Channel.EMAIL)
    if person.id in them.browsers:
        channels.append(Channel.PUSH)
    if number is not None and not channels:
        channels.append(Channel.VOICE)
    return Contact(
        person_id=person.id,
        language=person.language,
        channels=tuple(channels),
        verified=number is not None and proven(house, phones, number, now),
        quiet=tuple(profile.quiet),
        away_until=profile.away_until,
    )


def _reach(house: House, number: str) -> frozenset[Reach]:
    try:
        return house.notifier.reach(number)
    except NotificationError:
        return frozenset({Reach.VOICE, Reach.TEXT})


def proven(house: House, phones: Iterable[Row[Any]], number: str, now: datetime) -> bool:
    """Whether somebody proved lately that this number is this person's, and nothing spoke against it since."""
    index = house.keys.blind_index("phone", number)
    return any(counts(one, now) for one in phones if bytes(one.phone_index) == index)


def counts(phone: Row[Any], now: datetime) -> bool:
    """Whether the proof of one number still counts: not too old, the number neither given up nor broken."""
    proven_at = phone.verified_at if phone.retired_at is None and phone.broken_at is None else None
    return proven_at is not None and now - proven_at <= VERIFIED_FOR
