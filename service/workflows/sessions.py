"""Log-in sessions, kept on the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.store import people as store
from service.workflows import people
from service.workflows.house import House


@dataclass(frozen=True)
class Found:
    person_id: UUID
    name: str
    roles: list[str]
    organisation_id: UUID
    language: str
    csrf: str
    patients: list[UUID]


def begin(house: House, person_id: UUID, token_hash: bytes, csrf: str) -> None:
    now = house.clock()
    with house.database.write() as tx:
        store.add_session(
            tx,
            token_hash=token_hash,
            person_id=person_id,
            csrf=csrf,
            created_at=now,
            expires_at=now + timedelta(hours=house.settings.session_hours),
        )


def end(house: House, token_hash: bytes) -> None:
    with house.database.write() as tx:
        store.end_session(tx, token_hash, house.clock())


def find(house: House, token_hash: bytes) -> Found | None:
    """Whose live session this is, with what they are as of now."""
    with house.database.read() as tx:
        session = store.session(tx, token_hash, house.clock())
        person = store.person(tx, session.person_id) if session else None
        if session is None or person is None:
            return None
        members = store.memberships(tx, person.id)
        names = people.profiles(house, tx, [person.id])
    return Found(
        person_id=person.id,
        name=names[person.id].name if person.id in names else "",
        # A role in another organisation is none here; whom a caregiver looks after is a bond to that person.
        roles=[m.role for m in members if m.patient_id or m.organisation_id == person.organisation_id],
        organisation_id=person.organisation_id,
        language=person.language,
        csrf=session.csrf,
        patients=[m.patient_id for m in members if m.role == "caregiver" and m.patient_id],
    )


def set_language(house: House, person_id: UUID, language: str) -> None:
    if language not in {"ko", "en"}:
        raise ValueError(f"language must be ko or en, was {language!r}")
    with house.database.write() as tx:
        store.set_language(tx, person_id, language)
