"""Times ahead in which nobody can be reached: found every hour, shown, and told to the family once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row

from dispatch import coverage
from dispatch.alarm import Priority
from dispatch.codes import Message
from dispatch.coverage import Gap
from dispatch.incident import Channel, Contact, NotificationKind, Target
from dispatch.notifier import CarrierEvent, Prompt
from service.store import outbox
from service.store import people as people_store
from service.store import reachability as store
from service.store.database import Tx
from service.workflows import cases, plans, records
from service.workflows.channels import OTHER_KINDS
from service.workflows.house import House, log, new_id, warn, where

STEP = "gap"
LOOK_EVERY = timedelta(hours=1)
SAID_FOR = timedelta(minutes=50)
"""How long a warning may wait for its carrier; the next look writes another."""
TRIES = 5
"""How many of them, one an hour, while no carrier takes it."""
WARN_AT_ONCE = timedelta(hours=2)
AWAKE_H = (8, 21)
"""Policy: a text about tomorrow wakes nobody; a mail does not either way."""
_WARNINGS = UUID("6f1e2a4c-1a57-4d0e-9f0b-5c2f3c1d7a10")


class GapLine(msgspec.Struct, kw_only=True):
    """One person for whom nobody can be reached at a time that is near."""

    patient_id: UUID
    name: str
    from_at: datetime
    until_at: datetime | None
    """None: it lasts beyond the next day."""
    running: bool


def look_at_all(house: House) -> int:
    """Look at whoever is due: those whose contacts changed, and everybody once an hour. Returns how many."""
    now = house.clock()
    with house.database.read() as tx:
        due = store.to_look_at(tx, now - LOOK_EVERY, now)
        calm = {row.patient_id for row in due if row.looked_at is not None and _nothing_new(house, tx, row.patient_id)}
    if calm:
        # The hourly look at everybody must not hold up a page: almost always there is nothing to write.
        house.committer.run(lambda tx: store.looked_in_vain(tx, sorted(calm), now - LOOK_EVERY, now))

    def look(patient_id: UUID) -> None:
        try:
            house.committer.run(lambda tx: _look(house, tx, patient_id), key=patient_id)
        except Exception as error:  # noqa: BLE001 - one person's broken record must not hide the others' gaps
            warn("gap_look_failed", patient=patient_id, why=type(error).__name__, where=where(error))
            _look_later(house, patient_id, now)

    house.committer.each([row.patient_id for row in due if row.patient_id not in calm], look)
    return len(due)


def _nothing_new(house: House, tx: Tx, patient_id: UUID) -> bool:
    """Whether somebody can be reached at any hour, as before; what fails here is looked at with care after."""
    known, patient = store.of(tx, patient_id), people_store.patient(tx, patient_id)
    if patient is None or known is None or known.gap_from is not None:
        return False
    try:
        policy, _ = plans.policy_for(house, tx, patient)
    except Exception:  # noqa: BLE001 - one person's broken record must not hide the others' gaps
        return False
    found = coverage.gaps(policy.contacts, house.clock(), utc_offset_s=policy.utc_offset_s)
    return not any(one.priority is Priority.MEDIUM for one in found)


def _look_later(house: House, patient_id: UUID, now: datetime) -> None:
    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, patient_id)
        if patient is not None:
            store.save(tx, patient_id, patient.organisation_id, looked_at=now)

    house.committer.run(work, key=patient_id)


def _look(house: House, tx: Tx, patient_id: UUID) -> None:
    patient = people_store.lock_patient(tx, patient_id)
    if patient is None:
        return
    now = house.clock()
    policy, _ = plans.policy_for(house, tx, patient)
    found = coverage.gaps(policy.contacts, now, utc_offset_s=policy.utc_offset_s)
    gap = next((one for one in found if one.priority is Priority.MEDIUM), None)
    known = store.of(tx, patient_id)
    before = (known.gap_from, known.gap_until) if known is not None and known.gap_from is not None else None
    values: dict[str, Any] = {"gap_from": None, "gap_until": None, "looked_at": now}
    if gap is not None:
        same = coverage.same(before, gap, now)
        from_at = min(before[0], gap.from_at) if before is not None and same else gap.from_at
        values |= {"gap_from": from_at, "gap_until": gap.until_at}
    store.save(tx, patient_id, patient.organisation_id, **values)
    if (values["gap_from"], values["gap_until"]) != (before or (None, None)):
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient_id, at=now)
        log("gap_found" if gap else "gap_over", patient=patient_id)
    # Numbers that are not proven yet are the operator's to see to; the family is told of hours that it can fill.
    proven = [msgspec.structs.replace(contact, verified=True) for contact in policy.contacts]
    theirs = coverage.gaps(proven, now, utc_offset_s=policy.utc_offset_s)
    if gap is not None and any(one.priority is Priority.MEDIUM for one in theirs):
        shown = msgspec.structs.replace(gap, from_at=values["gap_from"])
        _warn_family(house, tx, patient, policy.contacts, shown, policy.utc_offset_s, now)


def warning_id(patient_id: UUID, gap: Gap, utc_offset_s: int) -> UUID:
    """What a gap is told under: one that comes every night is told once a week, not every night."""
    local = gap.from_at + timedelta(seconds=utc_offset_s)
    week = local.isocalendar()
    ends = "open" if gap.until_at is None else f"{gap.until_at + timedelta(seconds=utc_offset_s):%H:%M}"
    return uuid5(_WARNINGS, f"{patient_id} {week.year}-{week.week} {local:%H:%M} {ends}")


def _warn_family(
    house: House,
    tx: Tx,
    patient: Row[Any],
    contacts: tuple[Contact, ...],
    gap: Gap,
    utc_offset_s: int,
    now: datetime,
) -> None:
    """Write to each contact once, by mail where they have it; a text waits for the day unless the gap is near."""
    told_as = warning_id(patient.patient_id, gap, utc_offset_s)
    told = store.warned(tx, told_as)
    hour = (now + timedelta(seconds=utc_offset_s)).hour
    awake = AWAKE_H[0] <= hour < AWAKE_H[1] or gap.from_at - now <= WARN_AT_ONCE
    rows = []
    for contact in contacts:
        channel = _quietest(contact)
        attempt, reached = told.get(contact.person_id, (0, False))
        if channel is None or reached or attempt >= TRIES or not (awake or channel is Channel.EMAIL):
            continue
        row = _row(house, patient, contact, channel, told_as, gap, now)
        rows.append(row | {"attempt": attempt + 1})
    outbox.add_notifications(tx, rows)
    if rows:
        log("gap_told", patient=patient.patient_id, to=len(rows))


def _quietest(contact: Contact) -> Channel | None:
    order = (Channel.EMAIL, Channel.TEXT, Channel.PUSH)
    return next((one for one in order if one in contact.channels), None)


def _row(
    house: House, patient: Row[Any], contact: Contact, channel: Channel, told_as: UUID, gap: Gap, now: datetime
) -> dict[str, Any]:
    notification_id = new_id()
    message = cases.Message(params={"when": when_text(house, gap.from_at, contact.language)}, language=contact.language)
    return {
        "patient_id": patient.patient_id,
        "id": notification_id,
        "organisation_id": patient.organisation_id,
        "incident_id": told_as,
        "step": STEP,
        "target": Target.CONTACT.value,
        "target_id": contact.person_id,
        "channel": channel.value,
        "kind": NotificationKind.INFORM.value,
        "message": Message.GAP_AHEAD.value,
        "sealed": house.seal(patient.patient_id, "notification", str(notification_id), message),
        "created_at": now,
        "due_at": now,
        "expires_at": now + SAID_FOR,
        "status": outbox.PENDING,
        "tries": 0,
    }


def when_text(house: House, at: datetime, language: str) -> str:
    """A day and a time of day, as a text says it."""
    local = at.astimezone(ZoneInfo(house.settings.time_zone))
    if language == "ko":
        return f"{local.month}월 {local.day}일 {local.hour}시" + (f" {local.minute}분" if local.minute else "")
    return f"{local.day} {local:%B} {local:%H:%M}"


def ahead(tx: Tx, patient_id: UUID, now: datetime) -> tuple[datetime, datetime | None] | None:
    """The gap of one person that runs or is near; None where there is none."""
    return standing(store.of(tx, patient_id), now)


def standing(row: Row[Any] | None, now: datetime) -> tuple[datetime, datetime | None] | None:
    """The gap that a row tells of, unless it is over: that shows at once, whenever the next look comes."""
    if row is None or row.gap_from is None or (row.gap_until is not None and row.gap_until <= now):
        return None
    return row.gap_from, row.gap_until


def listed(house: House, organisation_id: UUID, language: str) -> list[GapLine]:
    """Everybody of an organisation who has a gap within a day, the nearest first."""
    now = house.clock()
    with house.database.read() as tx:
        rows = store.with_gaps(tx, organisation_id, now)
        names = records.names_of(house, tx, {row.patient_id for row in rows}, language)
    return [
        GapLine(
            patient_id=row.patient_id,
            name=names[row.patient_id],
            from_at=row.gap_from,
            until_at=row.gap_until,
            running=row.gap_from <= now,
        )
        for row in rows
    ]


class _Warnings:
    """What comes of a warning: nothing waits for it, and the page shows the gap in any case."""

    def carrier_said(self, house: House, tx: Tx, row: Row[Any], event: CarrierEvent) -> Prompt | None:
        return None

    def not_reached(self, house: House, row: Row[Any], outcome: str) -> None:
        warn("gap_not_told", patient=row.patient_id, notification=row.id, outcome=outcome)

    def confirmed(self, house: House, tx: Tx, row: Row[Any], how: str) -> None:
        return None


OTHER_KINDS[STEP] = _Warnings()
