"""Queries about people, what they are for whom, their numbers, and the sessions and keys that let somebody in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, update

from service.store import reachability
from service.store.database import Tx
from service.store.tables import Membership, Organisation, Patient, Person, PersonPhone, ServiceKey, Session, table

PROVEN_LATELY = timedelta(days=30)
"""A proof that is younger than that changes nothing about who can be reached by being renewed."""
_MEMBERSHIP = table(Membership)
_ORGANISATION = table(Organisation)
_PATIENT = table(Patient)
_PERSON = table(Person)
_PERSON_PHONE = table(PersonPhone)
_SERVICE_KEY = table(ServiceKey)
_SESSION = table(Session)

# Made once: building and comparing a statement costs more than running it.
_LOCK_PATIENT = select(_PATIENT).where(_PATIENT.c.patient_id == bindparam("of")).with_for_update()


def add_organisation(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_ORGANISATION).values(**values))


def first_organisation(tx: Tx) -> UUID | None:
    return tx.conn.execute(select(_ORGANISATION.c.id).order_by(_ORGANISATION.c.created_at).limit(1)).scalar()


def add_person(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_PERSON).values(**values))


def person(tx: Tx, person_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_PERSON).where(_PERSON.c.id == person_id)).first()


def people(tx: Tx, person_ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    wanted = list(set(person_ids))
    if not wanted:
        return []
    return tx.conn.execute(select(_PERSON).where(_PERSON.c.id.in_(wanted))).all()


def person_by_login(tx: Tx, login_index: bytes) -> Row[Any] | None:
    return tx.conn.execute(select(_PERSON).where(_PERSON.c.login_index == login_index)).first()


def set_language(tx: Tx, person_id: UUID, language: str) -> None:
    tx.conn.execute(update(_PERSON).where(_PERSON.c.id == person_id).values(language=language))


def add_phone(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_PERSON_PHONE).values(**values))


def give_phone(tx: Tx, person_id: UUID, phone_index: bytes) -> None:
    """A number is given, perhaps once more: what was held against it is forgotten, and so is an old proof then."""
    this = (_PERSON_PHONE.c.person_id == person_id, _PERSON_PHONE.c.phone_index == phone_index)
    known = tx.conn.execute(select(_PERSON_PHONE).where(*this)).first()
    if known is None:
        position = tx.conn.execute(
            select(func.count()).select_from(_PERSON_PHONE).where(_PERSON_PHONE.c.person_id == person_id)
        ).scalar_one()
        add_phone(tx, person_id=person_id, phone_index=phone_index, position=position)
    elif known.retired_at is not None or known.broken_at is not None:
        tx.conn.execute(update(_PERSON_PHONE).where(*this).values(verified_at=None, retired_at=None, broken_at=None))
    _look_again(tx, person_id)


def retire_phone(tx: Tx, person_id: UUID, phone_index: bytes, at: datetime) -> None:
    tx.conn.execute(
        update(_PERSON_PHONE)
        .where(_PERSON_PHONE.c.person_id == person_id, _PERSON_PHONE.c.phone_index == phone_index)
        .values(retired_at=at)
    )
    _look_again(tx, person_id)


def phones_of(tx: Tx, person_ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    """What is known of these people's numbers: verified, retired, broken; the numbers themselves are sealed."""
    return tx.conn.execute(select(_PERSON_PHONE).where(_PERSON_PHONE.c.person_id.in_(list(person_ids)))).all()


def phone_answered(tx: Tx, person_id: UUID, phone_index: bytes, at: datetime) -> None:
    """A key was pressed there: the number is theirs, and it works."""
    this = (_PERSON_PHONE.c.person_id == person_id, _PERSON_PHONE.c.phone_index == phone_index)
    known = tx.conn.execute(select(_PERSON_PHONE.c.verified_at, _PERSON_PHONE.c.broken_at).where(*this)).first()
    if known is None:
        return
    tx.conn.execute(update(_PERSON_PHONE).where(*this).values(verified_at=at, broken_at=None))
    if known.verified_at is None or known.broken_at is not None or at - known.verified_at > PROVEN_LATELY:
        _look_again(tx, person_id)


def phone_broken(tx: Tx, person_id: UUID, phone_index: bytes, at: datetime) -> None:
    """The carrier says that there is no such number."""
    tx.conn.execute(
        update(_PERSON_PHONE)
        .where(_PERSON_PHONE.c.person_id == person_id, _PERSON_PHONE.c.phone_index == phone_index)
        .values(broken_at=at)
    )
    _look_again(tx, person_id)


def _look_again(tx: Tx, person_id: UUID) -> None:
    """What is known of this person's numbers changed: whoever they are a contact of is looked at anew."""
    reachability.look_again(tx, linked_patients(tx, person_id))


def people_with_number(tx: Tx, phone_index: bytes) -> list[UUID]:
    """Whose number this is; a number that somebody said is wrong is nobody's."""
    return list(
        tx.conn.execute(
            select(_PERSON_PHONE.c.person_id).where(
                _PERSON_PHONE.c.phone_index == phone_index, _PERSON_PHONE.c.retired_at.is_(None)
            )
        ).scalars()
    )


def add_patient(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_PATIENT).values(**values))


def patient(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_PATIENT).where(_PATIENT.c.patient_id == patient_id)).first()


def lock_patient(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    """Everything that changes a patient's rows takes this one lock first (SQLite holds the whole file)."""
    return tx.conn.execute(_LOCK_PATIENT, {"of": patient_id}).first()


def save_patient(tx: Tx, patient_id: UUID, version: int, sealed: bytes) -> None:
    tx.conn.execute(
        update(_PATIENT).where(_PATIENT.c.patient_id == patient_id).values(version=version, sealed=sealed)
    )


def patients(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_PATIENT).where(_PATIENT.c.organisation_id == organisation_id).order_by(_PATIENT.c.created_at)
    ).all()


def add_membership(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_MEMBERSHIP).values(**values))
    if values.get("patient_id") is not None:
        reachability.look_again(tx, [values["patient_id"]])


def memberships(tx: Tx, person_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_MEMBERSHIP).where(_MEMBERSHIP.c.person_id == person_id, _MEMBERSHIP.c.ended_at.is_(None))
    ).all()


def caregivers(tx: Tx, patient_id: UUID) -> Sequence[Row[Any]]:
    """The patient's contacts, in the order in which they are rung."""
    return tx.conn.execute(
        select(_MEMBERSHIP)
        .where(
            _MEMBERSHIP.c.patient_id == patient_id,
            _MEMBERSHIP.c.role == "caregiver",
            _MEMBERSHIP.c.ended_at.is_(None),
        )
        .order_by(_MEMBERSHIP.c.position)
    ).all()


def end_contact(tx: Tx, patient_id: UUID, person_id: UUID, at: datetime) -> None:
    """No contact of this patient any more; the row stays, for who once was."""
    tx.conn.execute(
        update(_MEMBERSHIP)
        .where(
            _MEMBERSHIP.c.patient_id == patient_id,
            _MEMBERSHIP.c.person_id == person_id,
            _MEMBERSHIP.c.role == "caregiver",
            _MEMBERSHIP.c.ended_at.is_(None),
        )
        .values(ended_at=at)
    )
    reachability.look_again(tx, [patient_id])


def linked_patients(tx: Tx, person_id: UUID) -> list[UUID]:
    return list(
        tx.conn.execute(
            select(_MEMBERSHIP.c.patient_id)
            .where(
                _MEMBERSHIP.c.person_id == person_id,
                _MEMBERSHIP.c.role == "caregiver",
                _MEMBERSHIP.c.patient_id.is_not(None),
                _MEMBERSHIP.c.ended_at.is_(None),
            )
            .order_by(_MEMBERSHIP.c.created_at)
        ).scalars()
    )


def add_session(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_SESSION).values(**values))


def session(tx: Tx, token_hash: bytes, now: datetime) -> Row[Any] | None:
    return tx.conn.execute(
        select(_SESSION).where(_SESSION.c.token_hash == token_hash, _SESSION.c.expires_at > now)
    ).first()


def end_session(tx: Tx, token_hash: bytes, now: datetime) -> None:
    tx.conn.execute(delete(_SESSION).where(or_(_SESSION.c.token_hash == token_hash, _SESSION.c.expires_at <= now)))


def add_service_key(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_SERVICE_KEY).values(**values))


def service_key(tx: Tx, key_hash: bytes) -> Row[Any] | None:
    return tx.conn.execute(
        select(_SERVICE_KEY).where(_SERVICE_KEY.c.key_hash == key_hash, _SERVICE_KEY.c.revoked_at.is_(None))
    ).first()
