"""What machines are told: incidents, patients, status and observations as JSON-ready records."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from devices.reading import COLUMNS, INDEX
from dispatch import messages
from dispatch.alarm import AlarmCondition, Param
from dispatch.incident import SYSTEM, Incident, LogEntry, intervals
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, people, signs
from service.workflows.house import House, warn
from service.workflows.words import say

MOST_CONDITIONS = 2000


class ReasonRecord(msgspec.Struct, kw_only=True):
    code: str
    kind: str
    priority: str
    text: str
    value: Param
    usual: Param
    age_s: float
    started_at: datetime
    ended_at: datetime | None = None


class ConditionRecord(ReasonRecord, kw_only=True):
    """A finding as the detectors recorded it; each opening is one."""

    detected_at: datetime
    incident_id: UUID | None = None


class OwnerRecord(msgspec.Struct, kw_only=True):
    id: UUID | None
    role: str
    name: str


class LogRecord(msgspec.Struct, kw_only=True):
    seq: int
    at: datetime
    what: str
    who: str
    text: str


class IncidentRecord(msgspec.Struct, kw_only=True):
    """One case, as far as its record can be opened."""

    id: UUID
    patient_id: UUID
    state: str
    priority: str
    technical: bool
    simulated: bool
    opened_at: datetime
    closed_at: datetime | None
    reasons: list[ReasonRecord]
    times: dict[str, datetime]
    intervals_s: dict[str, float | None]
    owner: OwnerRecord | None
    acknowledged: bool
    deadline_at: datetime | None
    next_step_at: datetime | None
    close_reason: str | None
    external_reference: str | None
    unit_stage: str | None = None
    """How far 119 is, while the state says that somebody is with the person already."""
    doubts: list[str] = []
    """What speaks against ending it by hand: unspoken, unit_under_way."""
    log: list[LogRecord]
    unreadable: bool = False


class PatientRecord(msgspec.Struct, kw_only=True):
    id: UUID
    district_code: str
    simulated: bool
    open_incident_id: UUID | None


class VitalRecord(msgspec.Struct, kw_only=True):
    code: str
    value: float
    unit: str
    at: datetime
    age_s: float
    stale: bool
    doubtful: bool


class StatusRecord(msgspec.Struct, kw_only=True):
    """How a person is, as far as we know."""

    patient_id: UUID
    word: str
    why: str
    why_text: str
    data_age_s: float | None
    stale: bool
    vitals: list[VitalRecord]
    news2: dict[str, Any] | None
    conditions: list[ReasonRecord]
    open_incident_id: UUID | None


class ObservationRecord(msgspec.Struct, kw_only=True):
    at: datetime
    value: float


class ObservationPage(msgspec.Struct, kw_only=True):
    patient_id: UUID
    vital: str
    loinc: str | None
    unit: str
    observations: list[ObservationRecord]


def incidents(
    house: House,
    organisation_id: UUID,
    *,
    state: str | None,
    before: UUID | None,
    most: int,
    language: str,
) -> list[IncidentRecord]:
    with house.database.read() as tx:
        rows = store.list_incidents(tx, organisation_id, state=state, before=before, most=most)
        return [_record(house, tx, row, language) for row in rows]


def incident(house: House, incident_id: UUID, language: str) -> IncidentRecord:
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        if row is None:
            raise LookupError(f"no incident {incident_id}")
        return _record(house, tx, row, language)


def _record(house: House, tx: Tx, row: Row[Any], language: str) -> IncidentRecord:
    record = IncidentRecord(
        id=row.id,
        patient_id=row.patient_id,
        state=row.state,
        priority=row.priority,
        technical=row.technical,
        simulated=row.is_simulated,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        reasons=[],
        times={},
        intervals_s={},
        owner=None,
        acknowledged=row.acknowledged,
        deadline_at=None,
        next_step_at=row.next_step_at,
        close_reason=None,
        external_reference=None,
        log=[],
    )
    try:
        case = cases.open_case(house, row)
    except SealingError as error:
        warn("record_unreadable", table="incident", record=row.id, why=type(error).__name__)
        record.unreadable = True
        return record
    at = row.closed_at or house.clock()  # a closed case is told as of its closing
    record.reasons = [reason_record(r.condition, r.ended_at, language, at) for r in case.reasons]
    record.times = dict(sorted(case.times.items(), key=lambda pair: pair[1]))
    record.intervals_s = intervals(case.times)
    record.owner = _owner(house, tx, case, language)
    record.deadline_at = case.deadline_at
    record.close_reason = case.close_reason
    record.external_reference = case.external_reference
    record.unit_stage = case.unit.stage.value if case.unit is not None else None
    record.doubts = [doubt.value for doubt in case.doubts]
    record.log = log_records(house, tx, row, language)
    return record


def reason_record(
    condition: AlarmCondition, ended_at: datetime | None, language: str, now: datetime
) -> ReasonRecord:
    until = now if ended_at is None else min(ended_at, now)
    age = condition.params.get("age_s")
    aged = float(age) if isinstance(age, int | float) and not isinstance(age, bool) else 0.0
    return ReasonRecord(
        code=condition.code,
        kind=condition.kind.value,
        priority=condition.priority.value,
        text=messages.reason_text(condition, language, until),
        value=condition.params.get("value"),
        usual=condition.params.get("usual"),
        age_s=aged + max(0.0, (now - condition.detected_at).total_seconds()),
        started_at=condition.started_at,
        ended_at=ended_at,
    )


def conditions(house: House, patient_id: UUID, language: str) -> list[ConditionRecord]:
    """Everything found about a person, newest first; what cannot be opened is left out and reported."""
    now = house.clock()
    found = []
    with house.database.read() as tx:
        rows = store.conditions_of(tx, patient_id, most=MOST_CONDITIONS)
    for row in rows:
        try:
            condition = house.unseal(patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
        except SealingError as error:
            warn("record_unreadable", table="alarm_condition", record=row.id, why=type(error).__name__)
            continue
        told = msgspec.structs.asdict(reason_record(condition, row.ended_at, language, now))
        found.append(ConditionRecord(**told, detected_at=condition.detected_at, incident_id=row.incident_id))
    return found


def names_of(house: House, tx: Tx, ids: Iterable[UUID], language: str) -> dict[UUID, str]:
    """Names by person; whoever cannot be opened, or is a machine, gets a neutral word."""
    wanted = set(ids)
    found = {key: profile.name for key, profile in people.profiles(house, tx, wanted).items()}
    return {key: found.get(key, say("machine", language)) for key in wanted}


def _owner(house: House, tx: Tx, case: Incident, language: str) -> OwnerRecord | None:
    if case.owner_role is None:
        return None
    if case.owner_id is None:
        return OwnerRecord(id=None, role=case.owner_role, name=say("desk", language))
    name = names_of(house, tx, [case.owner_id], language)[case.owner_id]
    return OwnerRecord(id=case.owner_id, role=case.owner_role, name=name)


def log_records(house: House, tx: Tx, row: Row[Any], language: str) -> list[LogRecord]:
    """The case's timeline, worded; a line that cannot be opened says so and keeps its place."""
    return worded(house, tx, log_lines(house, tx, row), language)


def log_lines(house: House, tx: Tx, row: Row[Any]) -> list[tuple[Row[Any], cases.Line]]:
    """The case's timeline as it was written."""
    lines: list[tuple[Row[Any], cases.Line]] = []
    for entry in store.log(tx, row.patient_id, row.id):
        record = f"{row.id}:{entry.seq}"
        try:
            line = house.unseal(row.patient_id, "incident_log", record, entry.sealed, cases.Line)
        except SealingError as error:
            warn("record_unreadable", table="incident_log", record=record, why=type(error).__name__)
            line = cases.Line(what="record_unreadable", who=SYSTEM)
        lines.append((entry, line))
    return lines


def worded(house: House, tx: Tx, lines: list[tuple[Row[Any], cases.Line]], language: str) -> list[LogRecord]:
    """Lines as they read in a language."""
    wanted = {person for _, line in lines for person in _people_in(line)}
    names = names_of(house, tx, wanted, language)

    def name_of(who: str) -> str:
        return names.get(UUID(who.removeprefix("person:")), who) if who.startswith("person:") else who

    return [
        LogRecord(
            seq=entry.seq,
            at=entry.at,
            what=line.what,
            who=line.who,
            text=messages.log_text(_entry(line), language, name_of),
        )
        for entry, line in lines
    ]


def _entry(line: cases.Line) -> LogEntry:
    return LogEntry(what=line.what, who=line.who, params=line.params)


def _people_in(line: cases.Line) -> list[UUID]:
    texts = [line.who, *(str(v) for v in line.params.values())]
    texts += [f"person:{line.params['person']}"] if "person" in line.params else []
    found = []
    for text in texts:
        if text.startswith("person:"):
            found.append(UUID(text.removeprefix("person:")))
    return found


def patients(house: House, organisation_id: UUID, only: list[UUID] | None) -> list[PatientRecord]:
    with house.database.read() as tx:
        rows = people_store.patients(tx, organisation_id)
        if only is not None:
            rows = [row for row in rows if row.patient_id in set(only)]
        cases_open = store.open_incidents(tx, organisation_id, [row.patient_id for row in rows])
    open_of = {row.patient_id: row.id for row in cases_open}
    return [
        PatientRecord(
            id=row.patient_id,
            district_code=row.district_code,
            simulated=row.is_simulated,
            open_incident_id=open_of.get(row.patient_id),
        )
        for row in rows
    ]


def status(house: House, patient_id: UUID, language: str) -> StatusRecord:
    now = house.clock()
    with house.database.read() as tx:
        seen = signs.look(house, tx, patient_id, now)
    conditions = [
        reason_record(condition, None, language, now) for condition in seen.conditions
    ]
    return StatusRecord(
        patient_id=patient_id,
        word=seen.word,
        why=seen.why,
        why_text=signs.why_text(seen, language, now),
        data_age_s=seen.data_age_s,
        stale=seen.stale,
        vitals=[
            VitalRecord(
                code=v.code,
                value=v.value,
                unit=COLUMNS[INDEX[v.code]].ucum,
                at=v.at,
                age_s=v.age_s,
                stale=v.stale,
                doubtful=v.doubtful,
            )
            for v in seen.vitals
        ],
        news2=msgspec.to_builtins(seen.news2) if seen.news2 is not None else None,
        conditions=conditions,
        open_incident_id=seen.incident_row.id if seen.incident_row is not None else None,
    )


def observations(
    house: House, patient_id: UUID, vital: str, since: datetime, until: datetime
) -> ObservationPage:
    with house.database.read() as tx:
        points = signs.points(house, tx, patient_id, vital, since, until)
    column = COLUMNS[INDEX[vital]]
    return ObservationPage(
        patient_id=patient_id,
        vital=vital,
        loinc=column.loinc,
        unit=column.ucum,
        observations=[ObservationRecord(at=at, value=value) for at, value in points],
    )
