"""Silence that is nobody's own: ours after we were away, or that of a whole area; one case and a list whom to call."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.detection import current_status
from service.detection import storm as rules
from service.detection.silence import OUTAGE_DEVICES, OUTAGE_S, Cause
from service.sealing import SealingError
from service.store import devices as device_store
from service.store import incidents as store
from service.store import people as people_store
from service.store import readings as readings_store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import cases, memory, people
from service.workflows.house import House, log, warn, where

LISTENING = "listening_since"
"""Name of the fact that says when we came back after a time in which we could not listen."""
DEAF_AFTER = timedelta(seconds=60)
"""No beat for so long means that nobody listened (policy; the beat comes every two seconds)."""
GRACE = timedelta(minutes=10)
"""How long devices may take to come back after that, once an hour at most (policy: agents back off to minutes)."""
GRACE_EVERY = timedelta(hours=1)
NEARLY = 0.8
"""Quiet for this part of its limit a device counts towards an outage: its neighbours' limits passed a little earlier
(policy)."""
TOLD_RECENTLY = timedelta(minutes=30)
"""A silence told longer ago than this, before its area fell silent, is a matter of its own (policy)."""
RELEASE_AFTER = timedelta(minutes=30)
"""After so long each person's silence is told by itself, the frailest first (policy)."""
RELEASE_WITHIN_MIN = 60
"""One a minute, or as many as bring everybody's turn within an hour (policy)."""
LOOK_AGAIN = timedelta(seconds=60)
HEARD_OF = timedelta(days=1)
SILENT = ["device_silent", "device_never_reported"]


@dataclass(frozen=True)
class Storm:
    """An area that is silent, and the case that says so."""

    organisation_id: UUID
    area: str
    since: datetime
    patient_id: UUID

    def covers(self, organisation_id: UUID, district: str) -> bool:
        return organisation_id == self.organisation_id and self.area in {"", district}


@dataclass
class Outages:
    """What one look found; whose own silence waits because an area's is told."""

    storms: list[Storm] = field(default_factory=list)
    waiting: set[UUID] = field(default_factory=set)

    def over(self, device: Row[Any]) -> bool:
        """Whether this device's area is silent as a whole."""
        return any(storm.covers(device.organisation_id, device.district_code) for storm in self.storms)


@dataclass(frozen=True)
class _Lost:
    """A person all of whose devices are quiet, or whose SOS is open."""

    member: rules.Member
    since: datetime
    told: bool


def note_beat(tx: Tx, now: datetime) -> None:
    """The jobs live; after a time without them silence is judged only once devices could come back."""
    last = site_store.fact(tx, "jobs_beat")
    before = site_store.fact(tx, LISTENING)
    if before is not None and before.at > now:
        # Written while our clock was ahead: when that hour comes, nobody will have been deaf in it.
        site_store.put(tx, LISTENING, "", now - GRACE_EVERY)
        before = None
    if last is not None and now - last.at > DEAF_AFTER and (before is None or not now - before.at < GRACE_EVERY):
        site_store.put(tx, LISTENING, "", now)
        log("listening_again", away_s=round((now - last.at).total_seconds()))
    site_store.put(tx, "jobs_beat", "", now)


def deaf_until(tx: Tx, now: datetime) -> tuple[datetime, datetime] | None:
    """When we came back, and until when what was quiet before may stay so; None when that is over."""
    row = site_store.fact(tx, LISTENING)
    if row is None or not row.at <= now < row.at + GRACE:
        return None
    return row.at, row.at + GRACE


def watch(house: House, now: datetime, *, begin: bool) -> Outages:
    """Open, keep and end the cases of silent areas; with ``begin`` false none is opened."""
    with house.database.read() as tx:
        running = _running(house, tx)
        touched = {storm.organisation_id for storm in running} | (_suspects(tx, now) if begin else set())
    found = Outages()
    for organisation_id in sorted(touched):
        mine = [storm for storm in running if storm.organisation_id == organisation_id]
        try:
            _look_over(house, organisation_id, mine, found, now, begin=begin)
        except Exception as error:  # noqa: BLE001 - rather everybody's own silence told than nobody's
            warn("outage_check_failed", why=type(error).__name__, where=where(error))
    return found


def _running(house: House, tx: Tx) -> list[Storm]:
    storms = []
    for row in store.still_open(tx, [rules.CODE]):
        area: Any = row.district_code
        try:
            told = house.unseal(row.patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
            area = told.params.get("area") or ""
        except SealingError as error:
            warn("record_unreadable", table="alarm_condition", record=row.id, why=type(error).__name__)
        storms.append(Storm(row.organisation_id, str(area), row.detected_at, row.patient_id))
    return storms


def _suspects(tx: Tx, now: datetime) -> set[UUID]:
    """Organisations where so many are quiet that a closer look is worth it."""
    found: set[UUID] = set()
    whole: dict[UUID, tuple[int, int]] = {}
    for row in device_store.silence_by_district(tx, now, NEARLY):
        devices, lost = whole.get(row.organisation_id, (0, 0))
        whole[row.organisation_id] = (devices + row.devices, lost + row.lost)
        if _many(row.devices, row.lost):
            found.add(row.organisation_id)
    return found | {organisation for organisation, (devices, lost) in whole.items() if _many(devices, lost)}


def _many(devices: int, lost: int) -> bool:
    return lost >= rules.FEWEST and lost >= rules.LEAST_SHARE * devices


def _look_over(
    house: House, organisation_id: UUID, mine: list[Storm], found: Outages, now: datetime, *, begin: bool
) -> None:
    since = min((storm.since for storm in mine), default=now)
    with house.database.read() as tx:
        members, lost = _members(tx, organisation_id, now, since)
        anybody, devices = device_store.last_heard(tx, now - HEARD_OF)
    areas = {storm.area: storm for storm in mine}
    silent = rules.area_silence(members, now, open_since={area: one.since for area, one in areas.items()})
    wide = any(not one.area for one in silent)
    for area, storm in areas.items():
        if not wide and area not in {one.area for one in silent}:
            _end(house, storm, now)
        else:
            found.storms.append(storm)
    deaf = devices >= OUTAGE_DEVICES and (anybody is None or (now - anybody).total_seconds() >= OUTAGE_S)
    for one in silent:
        if begin and one.area not in areas:
            cause = Cause.OUR_OUTAGE if deaf else Cause.NETWORK
            found.storms.append(_begin(house, organisation_id, one, lost, cause, now))
    for storm in found.storms:
        if storm.organisation_id == organisation_id:
            found.waiting |= _waiting(house, storm, lost, now)


def _members(
    tx: Tx, organisation_id: UUID, now: datetime, since: datetime
) -> tuple[list[rules.Member], dict[UUID, _Lost]]:
    """Everybody who is expected to report, and of these the silent; whose silence is older is left out."""
    told = {row.patient_id: row.detected_at for row in reversed(store.still_open(tx, SILENT, organisation_id))}
    members, lost = [], {}
    for patient_id, (district, quiet_since, is_silent) in _people(tx, organisation_id, now).items():
        if patient_id in told and told[patient_id] < since - TOLD_RECENTLY:
            continue
        member = rules.Member(str(patient_id), district, is_silent)
        members.append(member)
        if is_silent:
            lost[patient_id] = _Lost(member, quiet_since, patient_id in told)
    return members, lost


def _people(tx: Tx, organisation_id: UUID, now: datetime) -> dict[UUID, tuple[str, datetime, bool]]:
    """By person: district, last receipt, and whether all their devices are quiet."""
    found: dict[UUID, tuple[str, datetime, bool]] = {}
    for row in device_store.reporting_devices(tx, organisation_id):
        quiet = (now - row.last_received_at).total_seconds() >= NEARLY * row.silent_after_s
        before = found.get(row.patient_id)
        if before is not None:
            found[row.patient_id] = (before[0], max(before[1], row.last_received_at), before[2] and quiet)
        else:
            found[row.patient_id] = (row.district_code, row.last_received_at, quiet)
    return found


def _waiting(house: House, storm: Storm, lost: dict[UUID, _Lost], now: datetime) -> set[UUID]:
    """Whose own silence is not told yet: everybody's at first, then fewer, the frailest being the first told."""
    inside = {key: one for key, one in lost.items() if storm.area in {"", one.member.area}}
    late = now - storm.since - RELEASE_AFTER
    if late < timedelta(0):
        return set(inside)
    with house.database.read() as tx:
        ranked = rules.call_list([_weighed(house, tx, one.member, now) for one in inside.values()])
    turns = (1 + late // timedelta(minutes=1)) * max(1, ceil(len(ranked) / RELEASE_WITHIN_MIN))
    return {UUID(key) for key in ranked[turns:]}


def _weighed(house: House, tx: Tx, member: rules.Member, now: datetime, *, sos: bool = False) -> rules.Member:
    """The member with what makes them frail; what cannot be read counts as frailest."""
    patient_id = UUID(member.patient_id)
    score = float("nan")
    patient, held = people_store.patient(tx, patient_id), readings_store.detector_state(tx, patient_id)
    try:
        if patient is not None:
            care = people.open_care(house, patient)
            state = memory.open_state(house, held) if held is not None else None
            news2 = current_status(state, care.limits, memory.micros(now)).news2
            age = now.year - care.birth_year if care.birth_year else None
            # Nobody is known to live with them: those who are watched over live alone.
            score = rules.frailty(age, care.dementia, True, news2.total if news2 else None)
    except SealingError as error:
        warn("record_unreadable", table="patient", record=patient_id, why=type(error).__name__)
    return rules.Member(member.patient_id, member.area, member.silent, score, sos)


def _begin(
    house: House,
    organisation_id: UUID,
    silence: rules.AreaSilence,
    lost: dict[UUID, _Lost],
    cause: Cause,
    now: datetime,
) -> Storm:
    """One technical case for the area; it is kept with the frailest of the silent."""
    with house.database.read() as tx:
        inside = [one.member for one in lost.values() if silence.area in {"", one.member.area}]
        ranked = [UUID(key) for key in rules.call_list([_weighed(house, tx, one, now) for one in inside])]
        # Where it can be, with somebody who has no case of their own: theirs is about them.
        free = [key for key in ranked if store.open_incident_of(tx, key) is None]
    carrier = (free or ranked)[0]
    params: dict[str, Any] = {"silent": silence.silent, "of": silence.devices, "usual": round(silence.expected, 1)}
    params |= {"cause": cause.value, "p_value": silence.p_value, "area": silence.area or None}
    condition = AlarmCondition(
        code=rules.CODE,
        kind=AlarmKind.TECHNICAL,
        priority=Priority.MEDIUM,
        started_at=min(lost[key].since for key in ranked),
        detected_at=now,
        params=params,
    )

    def work(tx: Tx) -> Storm:
        patient = people_store.lock_patient(tx, carrier)
        if patient is None:
            raise LookupError(f"no patient {carrier}")
        for other in _running(house, tx):
            if (other.organisation_id, other.area) == (organisation_id, silence.area):
                return other  # another process was faster
        cases.raise_conditions(house, tx, patient, [condition], now)
        log("area_silent", organisation=organisation_id, silent=silence.silent, of=silence.devices, cause=cause)
        return Storm(organisation_id, silence.area, now, carrier)

    storm: Storm = house.committer.run(work, key=carrier)
    return storm


def _end(house: House, storm: Storm, now: datetime) -> None:
    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, storm.patient_id)
        if patient is not None:
            cases.end_conditions(house, tx, patient, [rules.CODE], now)
            log("area_reports_again", organisation=storm.organisation_id)

    house.committer.run(work, key=storm.patient_id)


@dataclass(frozen=True)
class Called:
    """One line of the list whom to call."""

    patient_id: UUID
    silent_s: float | None
    """None for somebody who is heard of: their SOS is why they are here."""
    sos: bool


def call_list(house: House, tx: Tx, patient_id: UUID, now: datetime) -> list[Called]:
    """Whom to call while the area of the case that is kept with this person is silent, in that order."""
    storms = [storm for storm in _running(house, tx) if storm.patient_id == patient_id]
    return _called(house, tx, storms[0], now) if storms else []


def _called(house: House, tx: Tx, storm: Storm, now: datetime) -> list[Called]:
    crying = {row.patient_id for row in store.still_open(tx, ["sos"], storm.organisation_id)}
    everybody = _people(tx, storm.organisation_id, now)
    members = [
        _weighed(house, tx, rules.Member(str(key), district, quiet), now, sos=key in crying)
        for key, (district, _, quiet) in everybody.items()
        if (quiet or key in crying) and storm.area in {"", district}
    ]
    return [_line(everybody[key], key, now, crying) for key in map(UUID, rules.call_list(members))]


def _line(known: tuple[str, datetime, bool], key: UUID, now: datetime, crying: set[UUID]) -> Called:
    _, heard_at, quiet = known
    return Called(key, max(0.0, (now - heard_at).total_seconds()) if quiet else None, key in crying)
