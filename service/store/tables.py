"""Every table. Times are integer microseconds UTC in both engines; what tells about a person is sealed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary, Table, UniqueConstraint, Uuid
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


def table(model: type[SQLModel]) -> Table:
    """The table behind a model, for queries by column."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class UtcMicros(TypeDecorator[datetime]):
    """An aware datetime in Python, integer microseconds since 1970 in the database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


def _id(*, key: bool = False, index: bool = False, unique: bool = False) -> Any:
    return Field(sa_type=Uuid, primary_key=key, index=index, unique=unique)


def _at(*, key: bool = False) -> Any:
    return Field(sa_type=UtcMicros, primary_key=key)


def _maybe_at(*, index: bool = False) -> Any:
    return Field(default=None, sa_type=UtcMicros, nullable=True, index=index)


def _maybe_id() -> Any:
    return Field(default=None, sa_type=Uuid, nullable=True)


def _bytes(*, key: bool = False) -> Any:
    return Field(sa_type=LargeBinary, primary_key=key)


def _big(*, key: bool = False) -> Any:
    return Field(sa_type=BigInteger, primary_key=key)


class Organisation(SQLModel, table=True):
    id: UUID = _id(key=True)
    name: str
    created_at: datetime = _at()


class Person(SQLModel, table=True):
    """Anybody with a name: patients, contacts, staff. What they are here is a membership."""

    id: UUID = _id(key=True)
    organisation_id: UUID = _id(index=True)
    version: int
    sealed: bytes = _bytes()
    login_index: bytes | None = Field(default=None, sa_type=LargeBinary, nullable=True, unique=True)
    password_hash: str | None = None
    language: str
    created_at: datetime = _at()


class PersonPhone(SQLModel, table=True):
    """Whose number is ringing us: a blind index, never the number."""

    __tablename__ = "person_phone"
    __table_args__ = (Index("ix_person_phone_number", "phone_index"),)
    person_id: UUID = _id(key=True)
    phone_index: bytes = _bytes(key=True)
    position: int
    verified_at: datetime | None = _maybe_at()
    retired_at: datetime | None = _maybe_at()
    broken_at: datetime | None = _maybe_at()
    """The carrier said that there is no such number; cleared when it is answered."""


class Patient(SQLModel, table=True):
    """A monitored person; ``patient_id`` is their person id."""

    patient_id: UUID = _id(key=True)
    organisation_id: UUID = _id(index=True)
    district_code: str
    is_simulated: bool
    version: int
    sealed: bytes = _bytes()
    created_at: datetime = _at()


class Membership(SQLModel, table=True):
    """Person is not role: what somebody is, where, and for whom."""

    __table_args__ = (
        UniqueConstraint("person_id", "role", "patient_id"),
        Index("ix_membership_patient", "patient_id", "role"),
    )
    id: UUID = _id(key=True)
    person_id: UUID = _id(index=True)
    role: str
    organisation_id: UUID = _id()
    patient_id: UUID | None = _maybe_id()
    position: int = 0
    relation: str = ""
    created_at: datetime = _at()
    ended_at: datetime | None = _maybe_at()


class Device(SQLModel, table=True):
    __table_args__ = (Index("ix_device_silence", "silence_due_at"),)
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True)
    keyid: str = Field(unique=True)
    organisation_id: UUID = _id()
    district_code: str
    alg: str
    sealed_key: bytes = _bytes()
    model: str
    worn_at: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Where on the body, as enrolled: wrist, waist, chest; empty where nobody said."""
    enrolled_at: datetime = _at()
    revoked_at: datetime | None = _maybe_at()
    last_received_at: datetime | None = _maybe_at()
    silent_after_s: int
    silence_due_at: datetime | None = _maybe_at()
    silent_since: datetime | None = _maybe_at()


class EnrolmentCode(SQLModel, table=True):
    __tablename__ = "enrolment_code"
    code_hash: bytes = _bytes(key=True)
    patient_id: UUID = _id()
    organisation_id: UUID = _id()
    expires_at: datetime = _at()
    used_at: datetime | None = _maybe_at()


class Upload(SQLModel, table=True):
    """What one upload brought, sealed whole. ``detected_at`` empty: a sweeper still owes it a look."""

    __table_args__ = (
        Index("ix_upload_seq", "device_id", "boot_id", "last_seq"),
        Index("ix_upload_undetected", "detected_at", "patient_id"),
        Index("ix_upload_time", "patient_id", "last_at"),
    )
    patient_id: UUID = _id(key=True)
    received_at: datetime = _at(key=True)
    id: UUID = _id(key=True)
    organisation_id: UUID = _id()
    device_id: UUID = _id()
    boot_id: UUID = _id()
    first_seq: int = _big()
    last_seq: int = _big()
    first_at: datetime = _at()
    last_at: datetime = _at()
    instants: int
    clock_skew_s: float | None = None
    detected_at: datetime | None = _maybe_at()
    sealed: bytes = _bytes()


class Receipt(SQLModel, table=True):
    """The stored answer to an upload: an honest retry gets the same bytes again."""

    __table_args__ = (UniqueConstraint("device_id", "nonce"),)
    device_id: UUID = _id(key=True)
    upload_id: UUID = _id(key=True)
    patient_id: UUID = _id()
    digest: bytes = _bytes()
    nonce: str
    received_at: datetime = _at()
    sealed: bytes = _bytes()


class DetectorState(SQLModel, table=True):
    __tablename__ = "detector_state"
    __table_args__ = (Index("ix_detector_state_look", "look_at"),)
    patient_id: UUID = _id(key=True)
    version: int = _big()
    updated_at: datetime = _at()
    look_at: datetime | None = _maybe_at()
    """When this person will have been quiet for too long, unless something is heard of them before."""
    sealed: bytes = _bytes()


class AlarmConditionRow(SQLModel, table=True):
    __tablename__ = "alarm_condition"
    __table_args__ = (
        Index("ix_alarm_condition_open", "patient_id", "ended_at"),
        Index("ix_alarm_condition_still", "ended_at", "code"),
        Index("ix_alarm_condition_held", "held_until"),
    )
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True)
    organisation_id: UUID = _id()
    district_code: str
    incident_id: UUID | None = _maybe_id()
    code: str
    kind: str
    priority: str
    started_at: datetime = _at()
    detected_at: datetime = _at()
    ended_at: datetime | None = _maybe_at()
    held_until: datetime | None = _maybe_at()
    """Snoozed until then: it opened nothing yet, and does if it is still true at that time."""
    sealed: bytes = _bytes()


class IncidentRow(SQLModel, table=True):
    """The columns are what sweepers and lists need; the case itself is sealed, bound to ``version``."""

    __tablename__ = "incident"
    __table_args__ = (
        Index("ix_incident_due", "next_step_at"),
        Index("ix_incident_open", "organisation_id", "closed_at", "opened_at"),
        Index("ix_incident_proof", "proof_due_at"),
    )
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True, unique=True)
    organisation_id: UUID = _id()
    district_code: str
    is_simulated: bool
    state: str
    priority: str
    technical: bool
    acknowledged: bool
    owner_id: UUID | None = _maybe_id()
    opened_at: datetime = _at()
    next_step_at: datetime | None = _maybe_at()
    closed_at: datetime | None = _maybe_at()
    proof_due_at: datetime | None = _maybe_at()
    """Since when a proof is owed: the case closed, or something about it changed after that."""
    version: int
    sealed: bytes = _bytes()


class IncidentLog(SQLModel, table=True):
    """One line of the case, chained by hash over its ciphertext: erasure keeps it verifiable."""

    __tablename__ = "incident_log"
    patient_id: UUID = _id(key=True)
    incident_id: UUID = _id(key=True)
    seq: int = Field(primary_key=True)
    at: datetime = _at()
    sealed: bytes = _bytes()
    previous: bytes = _bytes()
    hash: bytes = _bytes()


class Notification(SQLModel, table=True):
    """One message to one contact by one channel: the outbox. Numbers are looked up when it is sent."""

    __table_args__ = (
        UniqueConstraint("incident_id", "step", "target_id", "channel", "attempt"),
        Index("ix_notification_due", "status", "due_at"),
        Index("ix_notification_provider", "provider_id"),
        Index("ix_notification_sent", "target_id", "status", "sent_at"),
        Index("ix_notification_over", "target_id", "status", "ended_at"),
    )
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True, unique=True)
    organisation_id: UUID = _id()
    incident_id: UUID = _id(index=True)
    step: str
    target: str
    target_id: UUID = _id()
    channel: str
    attempt: int
    kind: str
    message: str
    sealed: bytes = _bytes()
    created_at: datetime = _at()
    due_at: datetime = _at()
    expires_at: datetime = _at()
    status: str
    tries: int = 0
    claimed_by: str | None = None
    lease_until: datetime | None = _maybe_at()
    sent_at: datetime | None = _maybe_at()
    provider: str | None = None
    provider_id: str | None = None
    call_status: str | None = None
    outcome: str | None = None
    answered_at: datetime | None = _maybe_at()
    ended_at: datetime | None = _maybe_at()
    duration_s: int | None = None
    unsure_since: datetime | None = _maybe_at()
    """A try whose fate the carrier did not tell: it is looked up before anything is sent again."""


class Event(SQLModel, table=True):
    """What consoles are told, in commit order; ids only."""

    cursor: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    organisation_id: UUID = _id()
    patient_id: UUID | None = _maybe_id()
    incident_id: UUID | None = _maybe_id()
    kind: str
    at: datetime = _at()


class Counter(SQLModel, table=True):
    name: str = Field(primary_key=True)
    value: int = _big()


class Site(SQLModel, table=True):
    """Facts about this installation: the verified fallback desk, the last tick of the jobs."""

    name: str = Field(primary_key=True)
    value: str
    at: datetime = _at()


class AccessLog(SQLModel, table=True):
    """Who looked at whose data, when and why; one hash chain a patient."""

    __tablename__ = "access_log"
    patient_id: UUID = _id(key=True)
    seq: int = Field(primary_key=True)
    at: datetime = _at()
    viewer_id: UUID = _id()
    viewer_role: str
    purpose: str
    incident_id: UUID | None = _maybe_id()
    previous: bytes = _bytes()
    hash: bytes = _bytes()


class Session(SQLModel, table=True):
    token_hash: bytes = _bytes(key=True)
    person_id: UUID = _id(index=True)
    csrf: str
    created_at: datetime = _at()
    expires_at: datetime = _at()


class ServiceKey(SQLModel, table=True):
    __tablename__ = "service_key"
    id: UUID = _id(key=True)
    key_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    organisation_id: UUID = _id()
    name: str
    scopes: str
    created_at: datetime = _at()
    revoked_at: datetime | None = _maybe_at()


class PolicyDocument(SQLModel, table=True):
    """An escalation policy as written by people; every version is kept, none is ever changed."""

    __tablename__ = "policy_document"
    __table_args__ = (Index("ix_policy_document_scope", "organisation_id", "scope", "district_code", "patient_id"),)
    id: UUID = _id(key=True)
    organisation_id: UUID = _id()
    scope: str
    """organisation, district or patient: the narrowest that exists holds."""
    district_code: str = ""
    patient_id: UUID | None = _maybe_id()
    version: int
    """Counts on within the organisation."""
    text: str
    author_id: UUID = _id()
    created_at: datetime = _at()


class Snooze(SQLModel, table=True):
    """A sign that the family wants to be quiet about for a while; never a grave one, never without an end."""

    __table_args__ = (Index("ix_snooze_until", "until_at"),)
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True)
    organisation_id: UUID = _id()
    code: str
    from_at: datetime = _at()
    until_at: datetime = _at()
    by_id: UUID = _id()
    ended_at: datetime | None = _maybe_at()


class DrillRow(SQLModel, table=True):
    """One personal fire drill: who was reached, through which links; the drill itself is sealed."""

    __tablename__ = "drill"
    __table_args__ = (
        Index("ix_drill_due", "next_step_at"),
        Index("ix_drill_patient", "patient_id", "started_at"),
    )
    patient_id: UUID = _id(key=True)
    id: UUID = _id(key=True, unique=True)
    organisation_id: UUID = _id()
    district_code: str
    purpose: str
    """drill, or verify: one number alone."""
    state: str
    """running, waiting (an incident is open), proven, broken."""
    started_at: datetime = _at()
    next_step_at: datetime | None = _maybe_at()
    ended_at: datetime | None = _maybe_at()
    version: int
    sealed: bytes = _bytes()


class Reachability(SQLModel, table=True):
    """What is proven about reaching help for a person, and when it is proven next."""

    __table_args__ = (Index("ix_reachability_drill", "drill_due_at"),)
    patient_id: UUID = _id(key=True)
    organisation_id: UUID = _id(index=True)
    proven_at: datetime | None = _maybe_at()
    broken_since: datetime | None = _maybe_at()
    broken_link: str = ""
    """Which links failed, with commas between: door, detection, carrier, contacts, or a contact's id and why."""
    drill_due_at: datetime | None = _maybe_at()
    gap_from: datetime | None = _maybe_at()
    """From then on nobody can be reached, unless somebody does something about it."""
    gap_until: datetime | None = _maybe_at()
    looked_at: datetime | None = _maybe_at()


class VirtualBand(SQLModel, table=True):
    """The band that nobody wears: its SOS goes through every link of the chain, and is a drill."""

    __tablename__ = "virtual_band"
    patient_id: UUID = _id(key=True)
    device_id: UUID = _id(unique=True)
    sealed_key: bytes = _bytes()
    created_at: datetime = _at()


class PushSubscription(SQLModel, table=True):
    """A browser that asked to be told; its address is sealed."""

    __tablename__ = "push_subscription"
    person_id: UUID = _id(key=True)
    id: UUID = _id(key=True)
    endpoint_index: bytes = Field(sa_type=LargeBinary, unique=True)
    sealed: bytes = _bytes()
    created_at: datetime = _at()
    ended_at: datetime | None = _maybe_at()


class Proof(SQLModel, table=True):
    """The signed end of an incident's chain: what happened, row by row, and that nothing was changed since."""

    patient_id: UUID = _id(key=True)
    incident_id: UUID = _id(key=True)
    version: int = Field(primary_key=True)
    number: int = Field(sa_type=BigInteger, unique=True)
    """Counts on through the whole installation: each proof holds the head of the one before it."""
    made_at: datetime = _at()
    head: bytes = _bytes()
    document: bytes = _bytes()
    """The leaves, in order: table, row, SHA-256 of what it held. Ids and hashes only, so erasure leaves it true."""
    keyid: str
    signature: bytes = _bytes()


class Spend(SQLModel, table=True):
    """What messages cost on one day (UTC), in millionths of the currency's unit."""

    organisation_id: UUID = _id(key=True)
    day: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    messages: int = 0
    cost_micros: int = Field(default=0, sa_type=BigInteger)
