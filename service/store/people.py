"""Queries about people, what they are for whom, their devices, log-ins and keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Row,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from service.store import reachability
from service.store.database import Tx
from service.store.tables import (
    EPOCH,
    MICROSECOND,
    Device,
    EnrolmentCode,
    Membership,
    Organisation,
    Patient,
    Person,
    PersonPhone,
    ServiceKey,
    Session,
    Site,
    table,
)

PROVEN_LATELY = timedelta(days=30)
"""A proof that is younger than that changes nothing about who can be reached by being renewed."""
_DEVICE = table(Device)
_ENROLMENT_CODE = table(EnrolmentCode)
_MEMBERSHIP = table(Membership)
_ORGANISATION = table(Organisation)
_PATIENT = table(Patient)
_PERSON = table(Person)
_PERSON_PHONE = table(PersonPhone)
_SERVICE_KEY = table(ServiceKey)
_SESSION = table(Session)
_SITE = table(Site)

# Made once: building and comparing a statement costs more than running it.
_LOCK_PATIENT = select(_PATIENT).where(_PATIENT.c.patient_id == bindparam("of")).with_for_update()
_ONE_DEVICE = select(_DEVICE).where(_DEVICE.c.patient_id == bindparam("of"), _DEVICE.c.id == bindparam("device"))
_HEARD = (
    update(_DEVICE)
    .where(_DEVICE.c.patient_id == bindparam("of"), _DEVICE.c.id == bindparam("device"))
    .values(last_received_at=bindparam("at"), silence_due_at=bindparam("due"), silent_since=None)
)


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


def retired_phones(tx: Tx, person_ids: Iterable[UUID]) -> set[tuple[UUID, bytes]]:
    """The (person, number index) pairs that somebody said are wrong."""
    rows = tx.conn.execute(
        select(_PERSON_PHONE.c.person_id, _PERSON_PHONE.c.phone_index).where(
            _PERSON_PHONE.c.person_id.in_(list(person_ids)), _PERSON_PHONE.c.retired_at.is_not(None)
        )
    )
    return {(row.person_id, row.phone_index) for row in rows}


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


def add_code(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_ENROLMENT_CODE).values(**values))


def use_code(tx: Tx, code_hash: bytes, now: datetime) -> Row[Any] | None:
    """Take a code, once; None when unknown, used or expired."""
    return tx.conn.execute(
        update(_ENROLMENT_CODE)
        .where(
            _ENROLMENT_CODE.c.code_hash == code_hash,
            _ENROLMENT_CODE.c.used_at.is_(None),
            _ENROLMENT_CODE.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(_ENROLMENT_CODE.c.patient_id, _ENROLMENT_CODE.c.organisation_id)
    ).first()


def add_device(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_DEVICE).values(**values))


def device_by_keyid(tx: Tx, keyid: str) -> Row[Any] | None:
    return tx.conn.execute(select(_DEVICE).where(_DEVICE.c.keyid == keyid)).first()


def device(tx: Tx, patient_id: UUID, device_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(_ONE_DEVICE, {"of": patient_id, "device": device_id}).first()


def devices(tx: Tx, patient_ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_DEVICE).where(_DEVICE.c.patient_id.in_(list(patient_ids)))).all()


def revoke_device(tx: Tx, device_id: UUID, now: datetime) -> bool:
    done = tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.id == device_id, _DEVICE.c.revoked_at.is_(None))
        .values(revoked_at=now, silence_due_at=None)
    )
    return done.rowcount == 1


def device_heard(
    tx: Tx, patient_id: UUID, device_id: UUID, now: datetime, silence_due_at: datetime
) -> None:
    """Something arrived: silence starts counting anew, by our own clock."""
    tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id)
        .values(last_received_at=now, silence_due_at=silence_due_at, silent_since=None)
    )


def devices_heard(tx: Tx, heard: Iterable[tuple[UUID, UUID, datetime, datetime]]) -> None:
    """`device_heard` of many: patient, device, when, and when its silence is due."""
    rows = [{"of": p, "device": d, "at": at, "due": due} for p, d, at, due in heard]
    tx.conn.execute(_HEARD, rows)


def silent_devices(tx: Tx, now: datetime, most: int = 200) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_DEVICE)
        .where(_DEVICE.c.silence_due_at <= now, _DEVICE.c.revoked_at.is_(None))
        .order_by(_DEVICE.c.silence_due_at)
        .limit(most)
    ).all()


def devices_heard_after(tx: Tx, now: datetime) -> Sequence[Row[Any]]:
    """Devices whose last receipt lies in our future: our clock was set back."""
    return tx.conn.execute(
        select(_DEVICE).where(_DEVICE.c.last_received_at > now, _DEVICE.c.revoked_at.is_(None))
    ).all()


def silences_too_far_off(tx: Tx, now: datetime, put_off: timedelta) -> Sequence[Row[Any]]:
    """Devices whose silence would be judged later than their limit, or any putting off, allows from now on."""
    due = type_coerce(_DEVICE.c.silence_due_at, BigInteger)
    now_us = (now - EPOCH) // MICROSECOND
    limit_us = cast(_DEVICE.c.silent_after_s, BigInteger) * 1_000_000
    return tx.conn.execute(
        select(_DEVICE).where(
            due > now_us + put_off // MICROSECOND, due > now_us + limit_us, _DEVICE.c.revoked_at.is_(None)
        )
    ).all()


def judge_silence_at(tx: Tx, patient_id: UUID, device_id: UUID, at: datetime) -> None:
    tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id)
        .values(silence_due_at=at)
    )


def note_silence(
    tx: Tx, patient_id: UUID, device_id: UUID, *, seen: datetime | None, since: datetime, again: datetime
) -> bool:
    """Mark a device silent, unless it reported in the meantime."""
    unchanged = _DEVICE.c.last_received_at.is_(None) if seen is None else _DEVICE.c.last_received_at == seen
    done = tx.conn.execute(
        update(_DEVICE)
        .where(_DEVICE.c.patient_id == patient_id, _DEVICE.c.id == device_id, unchanged)
        .values(
            silent_since=func.coalesce(_DEVICE.c.silent_since, literal(since, _DEVICE.c.silent_since.type)),
            silence_due_at=again,
        )
    )
    return done.rowcount == 1


def put_off_silences(tx: Tx, heard_before: datetime, until: datetime) -> int:
    """Judge later those that were last heard before we could not listen. Returns how many."""
    done = tx.conn.execute(
        update(_DEVICE)
        .where(
            _DEVICE.c.silence_due_at < until,
            _DEVICE.c.revoked_at.is_(None),
            or_(_DEVICE.c.last_received_at.is_(None), _DEVICE.c.last_received_at < heard_before),
        )
        .values(silence_due_at=until)
    )
    return done.rowcount


def silence_by_district(tx: Tx, now: datetime, nearly: float) -> Sequence[Row[Any]]:
    """By organisation and district: devices that have ever reported, and those quiet for that part of their limit."""
    heard = type_coerce(_DEVICE.c.last_received_at, BigInteger)
    now_us, part_us = (now - EPOCH) // MICROSECOND, round(nearly * 1_000_000)
    lost = heard + cast(_DEVICE.c.silent_after_s, BigInteger) * part_us <= now_us
    return tx.conn.execute(
        select(
            _DEVICE.c.organisation_id,
            _DEVICE.c.district_code,
            func.count().label("devices"),
            func.sum(case((lost, 1), else_=0)).label("lost"),
        )
        .where(_DEVICE.c.revoked_at.is_(None), _DEVICE.c.last_received_at.is_not(None))
        .group_by(_DEVICE.c.organisation_id, _DEVICE.c.district_code)
    ).all()


def reporting_devices(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    """When each device of an organisation that has ever reported was last heard."""
    names = ("patient_id", "district_code", "last_received_at", "silent_after_s")
    known: list[Any] = [_DEVICE.c[name] for name in names]
    return tx.conn.execute(
        select(*known).where(
            _DEVICE.c.organisation_id == organisation_id,
            _DEVICE.c.revoked_at.is_(None),
            _DEVICE.c.last_received_at.is_not(None),
        )
    ).all()


def last_heard(tx: Tx, since: datetime) -> tuple[datetime | None, int]:
    """When anything came from anybody, and how many devices were heard since then."""
    row = tx.conn.execute(
        select(func.max(_DEVICE.c.last_received_at).label("at"), func.count().label("devices")).where(
            _DEVICE.c.last_received_at > since, _DEVICE.c.revoked_at.is_(None)
        )
    ).one()
    return row.at, row.devices


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


def site(tx: Tx, name: str) -> Row[Any] | None:
    return tx.conn.execute(select(_SITE).where(_SITE.c.name == name)).first()


def turn_site(tx: Tx, name: str, before: str, after: str, at: datetime) -> bool:
    """Compare-and-set of a site's fact; one that was never written counts as empty. True for whoever turned it."""
    done = tx.conn.execute(
        update(_SITE).where(_SITE.c.name == name, _SITE.c.value == before).values(value=after, at=at)
    )
    if done.rowcount == 1 or before or site(tx, name) is not None:
        return done.rowcount == 1
    tx.conn.execute(insert(_SITE).values(name=name, value=after, at=at))
    return True


def set_site(tx: Tx, name: str, value: str, at: datetime) -> None:
    done = tx.conn.execute(update(_SITE).where(_SITE.c.name == name).values(value=value, at=at))
    if done.rowcount == 0:
        tx.conn.execute(insert(_SITE).values(name=name, value=value, at=at))
