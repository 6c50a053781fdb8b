"""People, what they are for whom, and the keys of machines."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Row

from dispatch.incident import Window
from service.detection import PersonSettings, Wearer
from service.sealing import SealingError
from service.store import people as store
from service.store.database import Tx
from service.workflows.house import House, log, new_id, warn

LONGEST_PASSWORD = 1024
LONGEST_AWAY = timedelta(days=60)
"""Policy: whoever is away longer is asked again. Nothing that quietens has no end."""
_passwords = PasswordHasher()
_one_by_one = threading.Semaphore(2)
"""Each verification takes 64 MiB: log-ins must not crowd out readings."""


class NumberChange(msgspec.Struct, frozen=True, kw_only=True):
    """The last new telephone number that was given for somebody."""

    new: str
    old: str | None = None
    """What was rung when it was given."""
    at: datetime
    at_once: bool = False
    """Rung first from then on, since nothing proved that the old one worked."""
    proven_at: datetime | None = None
    refused_at: datetime | None = None

    @property
    def pending(self) -> bool:
        return self.proven_at is None and self.refused_at is None


class Profile(msgspec.Struct, kw_only=True):
    """What is known of anybody; sealed with that person's own key."""

    name: str
    phones: list[str] = []
    """E.164, the first is rung."""
    emails: list[str] = []
    """The first is written to."""
    quiet: list[Window] = []
    """Hours of every day, local time, in which only an urgent case rings this person."""
    away_until: datetime | None = None
    """Until then they are rung after everybody else."""
    change: NumberChange | None = None


class Care(msgspec.Struct, kw_only=True):
    """What helpers need to know of a patient; sealed with the patient's key."""

    birth_year: int | None = None
    sex: str | None = None
    district: str = ""
    address: str = ""
    access_note: str = ""
    dementia: bool = False
    voice_works: bool = True
    """False when a call cannot be understood (hearing, language): contacts ring at once."""
    duress_digit: str | None = None
    limits: PersonSettings = PersonSettings()
    away_from: datetime | None = None
    away_until: datetime | None = None
    """Away from home until then: silence is no sign meanwhile, and "did not come back" is one afterwards."""


class LoginTaken(Exception):
    """Somebody has this log-in name already."""


def add_organisation(house: House, name: str) -> UUID:
    organisation_id = new_id()
    with house.database.write() as tx:
        store.add_organisation(tx, id=organisation_id, name=name, created_at=house.clock())
    return organisation_id


def add_person(
    house: House,
    organisation_id: UUID,
    profile: Profile,
    *,
    language: str = "ko",
    login: str | None = None,
    password: str | None = None,
    also: Callable[[Tx, UUID], None] | None = None,
) -> UUID:
    """Anybody with a name; with ``login`` and ``password`` they can open the pages.

    ``also`` is what they are added for, in the same commit: nobody is added if it raises.
    Raises LoginTaken when somebody has this log-in name already.
    """
    person_id = new_id()
    if login is not None:
        with house.database.read() as tx:
            if store.person_by_login(tx, login_index(house, login)) is not None:
                raise LoginTaken(login)
    house.keys.create(person_id)
    now = house.clock()
    # Slow on purpose, so not while everybody else waits to write.
    password_hash = _passwords.hash(password) if password else None
    with house.database.write() as tx:
        store.add_person(
            tx,
            id=person_id,
            organisation_id=organisation_id,
            version=1,
            sealed=house.seal(person_id, "person", f"{person_id}:1", profile),
            login_index=login_index(house, login) if login else None,
            password_hash=password_hash,
            language=language,
            created_at=now,
        )
        for position, phone in enumerate(profile.phones):
            store.add_phone(
                tx,
                person_id=person_id,
                phone_index=house.keys.blind_index("phone", phone),
                position=position,
                verified_at=None,
                retired_at=None,
            )
        if also is not None:
            also(tx, person_id)
    return person_id


def add_patient(
    house: House,
    organisation_id: UUID,
    profile: Profile,
    care: Care,
    *,
    district_code: str,
    language: str = "ko",
    simulated: bool = False,
) -> UUID:
    """A monitored person; the patient's id is the person's id."""

    def also(tx: Tx, patient_id: UUID) -> None:
        store.add_patient(
            tx,
            patient_id=patient_id,
            organisation_id=organisation_id,
            district_code=district_code,
            is_simulated=simulated,
            version=1,
            sealed=house.seal(patient_id, "patient", f"{patient_id}:1", care),
            created_at=house.clock(),
        )

    patient_id = add_person(house, organisation_id, profile, language=language, also=also)
    log("patient_added", patient=patient_id)
    return patient_id


def add_staff(house: House, organisation_id: UUID, role: str, profile: Profile, **given: Any) -> UUID:
    """A dispatcher or operator of this organisation; ``given`` is as for `add_person`."""

    def also(tx: Tx, person_id: UUID) -> None:
        join(house, tx, person_id, organisation_id, role)

    return add_person(house, organisation_id, profile, also=also, **given)


def add_role(house: House, person_id: UUID, organisation_id: UUID, role: str, **more: Any) -> None:
    """Make a person what `join` makes them, in a commit of its own."""
    with house.database.write() as tx:
        join(house, tx, person_id, organisation_id, role, **more)


def join(
    house: House,
    tx: Tx,
    person_id: UUID,
    organisation_id: UUID,
    role: str,
    *,
    patient_id: UUID | None = None,
    position: int = 0,
    relation: str = "",
) -> None:
    """Make a person a caregiver of somebody, a dispatcher or an operator."""
    store.add_membership(
        tx,
        id=new_id(),
        person_id=person_id,
        role=role,
        organisation_id=organisation_id,
        patient_id=patient_id,
        position=position,
        relation=relation,
        created_at=house.clock(),
        ended_at=None,
    )


def set_limits(house: House, patient_id: UUID, limits: PersonSettings) -> None:
    """Replace a patient's personal limits; they hold from the next upload on."""
    _change_care(house, patient_id, limits=limits)
    log("limits_set", patient=patient_id)


def set_away(house: House, patient_id: UUID, until: datetime | None) -> None:
    """A person is away from home until then, or, with None, is back."""
    now = house.clock()
    if until is not None and not now < until <= now + LONGEST_AWAY:
        raise ValueError(
            f"until must lie in the next {LONGEST_AWAY.days} days, was {until.isoformat()}: give the day of return"
        )
    _change_care(house, patient_id, away_from=now if until else None, away_until=until)
    log("away_set" if until else "away_ended", patient=patient_id)


def _change_care(house: House, patient_id: UUID, **changes: Any) -> None:
    def work(tx: Tx) -> None:
        patient = store.lock_patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        care = msgspec.structs.replace(open_care(house, patient), **changes)
        version = patient.version + 1
        sealed = house.seal(patient_id, "patient", f"{patient_id}:{version}", care)
        store.save_patient(tx, patient_id, version, sealed)
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient_id, at=house.clock())

    house.committer.run(work, key=patient_id)


def login_index(house: House, name: str) -> bytes:
    return house.keys.blind_index("login", name.strip().casefold())


_NOBODY = _passwords.hash("nobody has this password")


def check_password(house: House, name: str, password: str) -> Row[Any] | None:
    """The person who may log in so, or None; unknown names cost the same time as wrong passwords."""
    with house.database.read() as tx:
        person = store.person_by_login(tx, login_index(house, name))
    stored = person.password_hash if person and person.password_hash else _NOBODY
    try:
        with _one_by_one:
            _passwords.verify(stored, password[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return None
    if len(password) > LONGEST_PASSWORD:
        return None
    return person if person and person.password_hash else None


def open_profile(house: House, row: Row[Any]) -> Profile:
    return house.unseal(row.id, "person", f"{row.id}:{row.version}", row.sealed, Profile)


def open_care(house: House, row: Row[Any]) -> Care:
    record = f"{row.patient_id}:{row.version}"
    return house.unseal(row.patient_id, "patient", record, row.sealed, Care)


def utc_offset_s(house: House, now: datetime) -> int:
    """Local time less UTC, as it is at this moment."""
    offset = now.astimezone(ZoneInfo(house.settings.time_zone)).utcoffset() or timedelta()
    return int(offset.total_seconds())


def wearer(house: House, care: Care, now: datetime, worn_at: str = "") -> Wearer:
    """What detection needs to know of a person beside their limits."""
    return Wearer(
        age_years=float(now.year - care.birth_year) if care.birth_year else float("nan"),
        sex={"female": 0.0, "male": 1.0}.get(care.sex or "", float("nan")),
        utc_offset_s=utc_offset_s(house, now),
        worn_at=worn_at,
    )


def profiles(house: House, tx: Tx, person_ids: Iterable[UUID]) -> dict[UUID, Profile]:
    """Profiles by person; one that cannot be opened is left out and reported."""
    opened = {}
    for row in store.people(tx, person_ids):
        try:
            opened[row.id] = open_profile(house, row)
        except SealingError as error:
            warn("record_unreadable", table="person", record=row.id, why=type(error).__name__)
    return opened


def number_of(house: House, tx: Tx, person_id: UUID) -> tuple[str, str] | None:
    """The number that a person is rung at, with their language; None: there is none."""
    row = store.person(tx, person_id)
    if row is None:
        return None
    number = number_in(house, open_profile(house, row), store.phones_of(tx, [person_id]))
    return (number, row.language) if number else None


def number_in(house: House, profile: Profile, known: Iterable[Row[Any]]) -> str | None:
    """The first number of a profile that nobody said is wrong; one that works before others.

    ``known``: what is known of this person's numbers.
    """
    by_index = {bytes(one.phone_index): one for one in known}
    right, working = [], []
    for phone in profile.phones:
        one = by_index.get(house.keys.blind_index("phone", phone))
        if one is None or one.retired_at is None:
            right.append(phone)
            working += [phone] if one is None or one.broken_at is None else []
    phones = working or right
    return phones[0] if phones else None


def email_of(house: House, tx: Tx, person_id: UUID) -> tuple[str, str] | None:
    """The address that a person is written to, with their language."""
    row = store.person(tx, person_id)
    emails = open_profile(house, row).emails if row is not None else []
    return (emails[0], row.language) if row is not None and emails else None


def language_of(tx: Tx, person_id: UUID) -> str:
    row = store.person(tx, person_id)
    return row.language if row is not None else "ko"


def add_service_key(house: House, organisation_id: UUID, name: str, scopes: Iterable[str]) -> str:
    """A bearer key for a machine; shown once, kept as a hash."""
    key = "ansim_" + secrets.token_urlsafe(32)
    with house.database.write() as tx:
        store.add_service_key(
            tx,
            id=new_id(),
            key_hash=hashed(key),
            organisation_id=organisation_id,
            name=name,
            scopes=" ".join(sorted(scopes)),
            created_at=house.clock(),
            revoked_at=None,
        )
    return key


def find_service_key(house: House, key: str) -> Row[Any] | None:
    with house.database.read() as tx:
        return store.service_key(tx, hashed(key))


def hashed(secret: str) -> bytes:
    """How codes and keys are kept."""
    return hashlib.sha256(secret.encode()).digest()
