"""Whom to ring for a person and by which channels, as of now: what a new incident freezes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
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
    rows = {row.id: row for row in people_store.people(tx, members)}
    found = [_readable_contact(house, tx, rows[person_id], now, broken) for person_id in members if person_id in rows]
    own = _readable_number(house, tx, patient.patient_id, broken)
    document, version = policies.document_for(house, tx, patient, broken)
    policy = document.policy(
        version=version,
        contacts=tuple(contact for contact in found if contact is not None and contact.channels),
        can_be_asked=care.voice_works and own is not None,
        may_cancel=not care.dementia,
        duress_digit=care.duress_digit,
        language=own[1] if own else "ko",
        utc_offset_s=people.utc_offset_s(house, now),
    )
    return policy, broken


def _readable_contact(
    house: House, tx: Tx, person: Row[Any], now: datetime, broken: list[tuple[str, UUID]]
) -> Contact | None:
    """One contact with how they can be reached; a broken record must not cost the others their call."""
    try:
        profile, number = people.open_profile(house, person), people.number_of(house, tx, person.id)
    except SealingError as error:
        warn("record_unreadable", table="person", record=person.id, why=type(error).__name__)
        broken.append(("person", person.id))
        return None
    return contact(house, tx, person, profile, number[0] if number else None, now)


def _readable_number(
    house: House, tx: Tx, person_id: UUID, broken: list[tuple[str, UUID]]
) -> tuple[str, str] | None:
    """As ``people.number_of``; the person's own broken record must not cost them the call to their contacts."""
    try:
        return people.number_of(house, tx, person_id)
    except SealingError as error:
        warn("record_unreadable", table="person", record=person_id, why=type(error).__name__)
        broken.append(("person", person_id))
        return None


def contact(
    house: House, tx: Tx, person: Row[Any], profile: people.Profile, number: str | None, now: datetime
) -> Contact:
    """How one contact may be reached now, as an incident will remember it.

    A telephone for which the carrier declares nothing is rung all the same: a try costs nothing.
    """
    channels: list[Channel] = []
    if number is not None:
        declared = _reach(house, number)
        channels += [channel for reach, channel in REACHED.items() if reach in declared]
    if house.mailer is not None and profile.emails:
        channels.append(Channel.EMAIL)
    if house.pusher is not None and browser_store.of(tx, person.id):
        channels.append(Channel.PUSH)
    if number is not None and not channels:
        channels.append(Channel.VOICE)
    return Contact(
        person_id=person.id,
        language=person.language,
        channels=tuple(channels),
        verified=number is not None and proven(house, tx, person.id, number, now),
        quiet=tuple(profile.quiet),
        away_until=profile.away_until,
    )


def _reach(house: House, number: str) -> frozenset[Reach]:
    try:
        return house.notifier.reach(number)
    except NotificationError:
        return frozenset({Reach.VOICE, Reach.TEXT})


def proven(house: House, tx: Tx, person_id: UUID, number: str, now: datetime) -> bool:
    """Whether somebody proved lately that this number is this person's, and nothing spoke against it since."""
    index = house.keys.blind_index("phone", number)
    known = [one for one in people_store.phones_of(tx, [person_id]) if bytes(one.phone_index) == index]
    return any(counts(one, now) for one in known)


def counts(phone: Row[Any], now: datetime) -> bool:
    """Whether the proof of one number still counts: not too old, the number neither given up nor broken."""
    proven_at = phone.verified_at if phone.retired_at is None and phone.broken_at is None else None
    return proven_at is not None and now - proven_at <= VERIFIED_FOR
