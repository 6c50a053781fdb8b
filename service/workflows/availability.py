"""When somebody does not want to be rung: hours of every day, and until a day of return. Both end by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import escalation
from dispatch.plan import DAY_MIN, Window
from service.sealing import SealingError
from service.store import incidents as case_store
from service.store import people as people_store
from service.store import reachability as store
from service.store.database import Tx
from service.workflows import cases, people
from service.workflows.house import House, log, warn

WINDOWS_MOST = 4
QUIET_MOST_MIN = 16 * 60
"""Policy: whoever can never be rung is no contact; somebody else must be found, and the family hears of the gap."""
LONGEST_AWAY = people.LONGEST_AWAY


class Impossible(ValueError):
    """Hours or a day that cannot be; ``field`` names which."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Hours(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of every day, local time; it may run over midnight."""

    from_: str = msgspec.field(name="from")
    """``22:00``"""
    to: str


class Availability(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """When somebody is not rung for a lesser case, and until when they are away."""

    quiet: list[Hours] = []
    away_until: datetime | None = None


def of(house: House, person_id: UUID) -> Availability:
    """What somebody said of themselves, as it holds now; LookupError when there is no such person."""
    now = house.clock()
    with house.database.read() as tx:
        row = people_store.person(tx, person_id)
    if row is None:
        raise LookupError(f"no person {person_id}")
    profile = people.open_profile(house, row)
    away = profile.away_until if profile.away_until is not None and profile.away_until > now else None
    hours = [Hours(from_=_clock(one.from_min), to=_clock(one.to_min)) for one in profile.quiet]
    return Availability(quiet=hours, away_until=away)


def change(house: House, person_id: UUID, wanted: Availability) -> None:
    """Say it anew; it holds from the next ring on, in open cases too. Raises Impossible, LookupError."""
    now = house.clock()
    windows = _windows(wanted.quiet)
    until = wanted.away_until
    if until is not None and (until.tzinfo is None or not now < until <= now + LONGEST_AWAY):
        raise Impossible(
            f"away_until must lie in the next {LONGEST_AWAY.days} days and carry an offset, was {until.isoformat()}: "
            "give the day of return",
            "away_until",
        )

    def work(tx: Tx) -> None:
        # Locked first, and in one order: a case that opens meanwhile takes the old hours and is told the new ones.
        patient_ids = sorted(people_store.linked_patients(tx, person_id))
        patients = [patient for one in patient_ids if (patient := people_store.lock_patient(tx, one)) is not None]
        row = people_store.person(tx, person_id)
        if row is None:
            raise LookupError(f"no person {person_id}")
        profile = msgspec.structs.replace(people.open_profile(house, row), quiet=windows, away_until=until)
        version = row.version + 1
        sealed = house.seal(person_id, "person", f"{person_id}:{version}", profile)
        if not store.save_person(tx, person_id, version, sealed):
            raise RuntimeError(f"person {person_id} changed at the same moment")
        store.look_again(tx, patient_ids)
        for patient in patients:
            _tell(tx, patient, now)
            _tell_open_case(house, tx, patient, person_id, profile, now)

    house.committer.run(work, key=person_id)
    log("availability_set", person=person_id, windows=len(windows), away=until is not None)


def _tell(tx: Tx, patient: Any, now: datetime) -> None:
    tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)


def _tell_open_case(
    house: House, tx: Tx, patient: Row[Any], person_id: UUID, profile: people.Profile, now: datetime
) -> None:
    """Whom the open case rings next depends on it; one that does not open is the tick's to report."""
    row = case_store.open_incident_of(tx, patient.patient_id)
    if row is None:
        return
    try:
        case = cases.Case(patient, cases.open_case(house, row), row.version, row.next_step_at)
    except SealingError as error:
        warn("record_unreadable", table="incident", record=row.id, why=type(error).__name__)
        return
    said = escalation.hours_said(case.incident, person_id, profile.quiet, profile.away_until, now)
    cases.settle(house, tx, case, said, now)


def _windows(hours: Sequence[Hours]) -> list[Window]:
    if len(hours) > WINDOWS_MOST:
        raise Impossible(f"quiet must hold at most {WINDOWS_MOST} windows, was {len(hours)}", "quiet")
    windows = [Window(from_min=_minute(one.from_), to_min=_minute(one.to)) for one in hours]
    if any(one.from_min == one.to_min for one in windows):
        raise Impossible("quiet: a window must end at another time than it begins: 22:00 to 07:00", "quiet")
    quiet_min = sum(any(one.holds(minute) for one in windows) for minute in range(DAY_MIN))
    if quiet_min > QUIET_MOST_MIN:
        raise Impossible(
            f"quiet must leave at least {(DAY_MIN - QUIET_MOST_MIN) // 60} hours of the day, was {quiet_min} minutes "
            "of quiet: shorten the hours, or let somebody else be the contact",
            "quiet",
        )
    return windows


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    whole = len(hour) in (1, 2) and len(minute) == 2 and (hour + minute).isascii() and (hour + minute).isdecimal()
    if not (colon and whole and int(hour) < 24 and int(minute) < 60):
        raise Impossible(f"quiet: a time must be hh:mm such as 22:00, was {text[:10]!r}", "quiet")
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
