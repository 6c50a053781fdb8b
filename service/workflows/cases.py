"""The case itself: opening, joining, changing and writing down, each in one commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import escalation
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import Channel, Decision, Incident, LogEntry, NotificationKind, Step, Target, open_incident
from service.sealing import SealingError
from service.store import audit, calling_off, drills, outbox
from service.store import browsers as browser_store
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import holding, people, plans, verdicts
from service.workflows.house import DESK, House, log, new_id, warn

ASKING = [NotificationKind.ASK.value]
LOOK_AGAIN = timedelta(minutes=10)


class Message(msgspec.Struct, kw_only=True):
    """What an outbox row needs to be said or written; sealed with the patient's key."""

    params: dict[str, Any] = {}
    language: str = "ko"
    ring_s: int = 25
    detect_voicemail: bool = False


class Line(msgspec.Struct, kw_only=True):
    """One line of the case's log; sealed with the patient's key."""

    what: str
    who: str
    params: dict[str, Any] = {}


@dataclass
class Case:
    patient: Row[Any]
    incident: Incident
    version: int
    due: datetime | None = None
    """What the row says of its next step: sweepers go by that, so it must agree with the case."""


def open_case(house: House, row: Row[Any]) -> Incident:
    record = f"{row.id}:{row.version}"
    return house.unseal(row.patient_id, "incident", record, row.sealed, Incident)


def load(house: House, tx: Tx, patient_id: UUID, incident_id: UUID) -> Case | None:
    """The case under the patient's lock; raises SealBroken or KeyErased when it cannot be opened."""
    patient = people_store.lock_patient(tx, patient_id)
    row = store.incident(tx, incident_id)
    if patient is None or row is None:
        return None
    return Case(patient, open_case(house, row), row.version, row.next_step_at)


def change(
    house: House, patient_id: UUID, incident_id: UUID, rule: Callable[[Incident], Decision]
) -> Incident | None:
    """Apply one rule to one case in one commit; None when there is no such case."""

    def work(tx: Tx) -> Incident | None:
        case = load(house, tx, patient_id, incident_id)
        if case is None:
            return None
        return settle(house, tx, case, rule(case.incident), house.clock())

    result: Incident | None = house.committer.run(work, key=patient_id)
    return result


def settle(house: House, tx: Tx, case: Case, decision: Decision, now: datetime) -> Incident:
    """Write a decision down: the case, its log, its outbox rows and the consoles' event, or none of them."""
    incident = decision.incident
    if case.version and decision == Decision(incident=case.incident) and case.due == incident.next_step_at:
        return incident
    version = case.version + 1
    values = _columns(house, incident, version, now)
    patient_id = case.patient.patient_id
    if version == 1:
        store.add_incident(
            tx,
            patient_id=patient_id,
            id=incident.id,
            organisation_id=case.patient.organisation_id,
            district_code=case.patient.district_code,
            is_simulated=case.patient.is_simulated,
            opened_at=now,
            version=1,
            **values,
        )
        drills.yield_to_incident(tx, patient_id, now)
    elif not store.save_incident(tx, patient_id, incident.id, version, **values):
        raise RuntimeError(f"incident {incident.id} changed under its patient's lock")
    if decision.cancel_pages or decision.cancel_asks:
        kinds = list(outbox.PAGING) if decision.cancel_pages else ASKING
        outbox.cancel_pending(tx, patient_id, incident.id, kinds, now)
    if decision.cancel_pages:
        # What rings already is hung up by the jobs.
        calling_off.call_off(tx, now, incident_id=incident.id)
    enqueue(house, tx, case.patient, case.incident.id, decision.steps, now)
    write_log(house, tx, case.patient.patient_id, incident.id, decision.log, now)
    if decision.retire_number_of is not None:
        retire_number(house, tx, decision.retire_number_of, now)
    if not incident.open:
        _end_event_conditions(tx, patient_id, incident.id, now)
        verdicts.learn(house, tx, incident, now)
    tx.emit(
        "incident",
        organisation_id=case.patient.organisation_id,
        patient_id=patient_id,
        incident_id=incident.id,
        at=now,
    )
    case.incident, case.version, case.due = incident, version, incident.next_step_at
    return incident


def _columns(house: House, incident: Incident, version: int, now: datetime) -> dict[str, Any]:
    return {
        "state": incident.state.value,
        "priority": incident.priority.value,
        "technical": all(r.condition.kind is AlarmKind.TECHNICAL for r in incident.reasons),
        "acknowledged": incident.acknowledged,
        "owner_id": incident.owner_id,
        "next_step_at": incident.next_step_at,
        "closed_at": None if incident.open else now,
        "proof_due_at": None if incident.open else now,
        "sealed": house.seal(incident.patient_id, "incident", f"{incident.id}:{version}", incident),
    }


def enqueue(house: House, tx: Tx, patient: Row[Any], incident_id: UUID, steps: list[Step], now: datetime) -> None:
    """Put messages into the outbox: of a case, or of a drill under the drill's id."""
    rows = []
    for step in [*steps, *_beside_the_desk(house, tx, patient.organisation_id, steps)]:
        notification_id = new_id()
        message = Message(
            params=dict(step.params),
            language=step.language,
            ring_s=step.ring_s,
            detect_voicemail=step.detect_voicemail,
        )
        rows.append(
            {
                "patient_id": patient.patient_id,
                "id": notification_id,
                "organisation_id": patient.organisation_id,
                "incident_id": incident_id,
                "step": step.step,
                "target": step.target.value,
                "target_id": step.person_id or DESK,
                "channel": step.channel.value,
                "attempt": step.attempt,
                "kind": step.kind.value,
                "message": str(step.message),
                "sealed": house.seal(
                    patient.patient_id, "notification", str(notification_id), message
                ),
                "created_at": now,
                "due_at": now,
                "expires_at": now + step.expires_in,
                "status": outbox.PENDING,
                "tries": 0,
            }
        )
    outbox.add_notifications(tx, rows)


def _beside_the_desk(house: House, tx: Tx, organisation_id: UUID, steps: list[Step]) -> list[Step]:
    """While the desk's telephone rings, the dispatchers' own browsers say so too."""
    rings = [step for step in steps if step.target is Target.DESK and step.step == "desk"]
    if not rings or house.pusher is None:
        return []
    changes = {"channel": Channel.PUSH, "detect_voicemail": False}
    told = browser_store.of_dispatchers(tx, organisation_id)
    return [msgspec.structs.replace(step, person_id=one, **changes) for step in rings for one in told]


def write_log(
    house: House, tx: Tx, patient_id: UUID, incident_id: UUID, entries: list[LogEntry], now: datetime
) -> None:
    """Append to the case's hash chain."""
    if not entries:
        return
    seq, previous = store.last_log(tx, patient_id, incident_id)
    rows = []
    for entry in entries:
        seq += 1
        line = Line(what=str(entry.what), who=entry.who, params=dict(entry.params))
        sealed = house.seal(patient_id, "incident_log", f"{incident_id}:{seq}", line)
        link = audit.chain(previous, incident_id.bytes, seq.to_bytes(8, "big"), audit.stamp(now), sealed)
        rows.append(
            {
                "patient_id": patient_id,
                "incident_id": incident_id,
                "seq": seq,
                "at": now,
                "sealed": sealed,
                "previous": previous,
                "hash": link,
            }
        )
        previous = link
    store.add_log(tx, rows)


def retire_number(house: House, tx: Tx, person_id: UUID, now: datetime) -> None:
    """Somebody said "wrong number": this person's present first number is not rung again."""
    number = people.number_of(house, tx, person_id)
    if number is not None:
        people_store.retire_phone(tx, person_id, house.keys.blind_index("phone", number[0]), now)


def _end_event_conditions(tx: Tx, patient_id: UUID, incident_id: UUID, now: datetime) -> None:
    # A press or a fall is over with its case; a vital sign ends only when it is back to normal.
    for row in store.open_conditions(tx, [patient_id]):
        if row.incident_id == incident_id and row.code in escalation.EVENTS:
            store.end_conditions(tx, patient_id, [row.code], now)


def raise_conditions(
    house: House, tx: Tx, patient: Row[Any], conditions: list[AlarmCondition], now: datetime
) -> Incident | None:
    """Record what a detector found. Medium and high ones open an incident or join the open one, unless snoozed."""
    if not conditions:
        return None
    standing = store.open_conditions(tx, [patient.patient_id])
    held = holding.held_back(tx, patient.patient_id, standing, conditions, now)
    paging = [c for c in conditions if c.priority is not Priority.LOW and c.code not in held]
    along = holding.brought_along(house, tx, patient, paging, now)
    conditions, paging = [*conditions, *along], [*paging, *along]
    known = {row.code: row.priority for row in standing if row.code not in {one.code for one in along}}
    case, incident = None, None
    if paging:
        case, broken = open_case_of(house, tx, patient)
        if case is None:
            policy, without = plans.policy_for(house, tx, patient)
            broken += [unreadable(table, record, now) for table, record in without]
            # Told already where it is what opens this case; and one sentence about our fault is enough.
            own_fault = [] if any(c.code == "record_unreadable" for c in paging) else broken[:1]
            fresh = open_incident(id=new_id(), patient_id=patient.patient_id, policy=policy)
            case = Case(patient, fresh, 0)
            decision = escalation.begin(fresh, paging + own_fault, now)
        else:
            decision = escalation.join(case.incident, paging, now)
        incident = settle(house, tx, case, decision, now)
    for condition in conditions:
        before = known.get(condition.code)
        told = before is not None and Priority(before).rank >= condition.priority.rank
        if told and condition.code not in escalation.EVENTS:
            continue  # it stands already, no lower than this
        store.end_conditions(tx, patient.patient_id, [condition.code], now)
        _record(house, tx, patient, condition, incident, held.get(condition.code))
        known[condition.code] = condition.priority
        log("alarm_condition", patient=patient.patient_id, code=condition.code, priority=condition.priority)
    if not paging:
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)
    return incident


def open_case_of(house: House, tx: Tx, patient: Row[Any]) -> tuple[Case | None, list[AlarmCondition]]:
    """The patient's open case; one that cannot be opened is reported and stands aside for a new one."""
    row = store.open_incident_of(tx, patient.patient_id)
    if row is None:
        return None, []
    try:
        return Case(patient, open_case(house, row), row.version, row.next_step_at), []
    except SealingError as error:
        now = house.clock()
        warn("record_unreadable", table="incident", record=row.id, why=type(error).__name__)
        store.put_off(tx, patient.patient_id, row.id, now + LOOK_AGAIN)
        return None, [unreadable("incident", row.id, now)]


def _record(
    house: House,
    tx: Tx,
    patient: Row[Any],
    condition: AlarmCondition,
    incident: Incident | None,
    held_until: datetime | None,
) -> None:
    condition_id = new_id()
    paging = condition.priority is not Priority.LOW and held_until is None
    store.add_condition(
        tx,
        patient_id=patient.patient_id,
        id=condition_id,
        organisation_id=patient.organisation_id,
        district_code=patient.district_code,
        incident_id=incident.id if incident and paging else None,
        code=condition.code,
        kind=condition.kind.value,
        priority=condition.priority.value,
        started_at=condition.started_at,
        detected_at=condition.detected_at,
        ended_at=None,
        held_until=held_until,
        sealed=house.seal(patient.patient_id, "alarm_condition", str(condition_id), condition),
    )


def end_conditions(house: House, tx: Tx, patient: Row[Any], codes: list[str], now: datetime) -> None:
    """A sign is over. The case stays open: only a human, or the person asked, closes it."""
    if not codes or store.end_conditions(tx, patient.patient_id, codes, now) == 0:
        return
    case, _ = open_case_of(house, tx, patient)
    if case is None:
        tx.emit("condition", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)
        return
    for code in codes:
        settle(house, tx, case, escalation.condition_ended(case.incident, code, now), now)


def unreadable(table: str, record: object, now: datetime) -> AlarmCondition:
    """Our own fault: a record that does not open. The desk is told; the family is not rung for it."""
    return AlarmCondition(
        code="record_unreadable",
        kind=AlarmKind.TECHNICAL,
        priority=Priority.MEDIUM,
        started_at=now,
        detected_at=now,
        params={"table": table, "record": str(record)},
    )


def report_unreadable(house: House, patient_id: UUID, table: str, record: object) -> None:
    """Say so where it is seen: in the log, and as a technical case on the dispatcher's board."""

    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, patient_id)
        if patient is not None:
            note_unreadable(house, tx, patient, table, record, house.clock())

    house.committer.run(work, key=patient_id)


def note_unreadable(
    house: House, tx: Tx, patient: Row[Any], table: str, record: object, now: datetime
) -> None:
    """As ``report_unreadable``, within a transaction; what the desk knows of is not said again."""
    warn("record_unreadable", table=table, record=record)
    if not _desk_knows(house, tx, patient.patient_id, str(record)):
        store.end_conditions(tx, patient.patient_id, ["record_unreadable"], now)
        raise_conditions(house, tx, patient, [unreadable(table, record, now)], now)


def _desk_knows(house: House, tx: Tx, patient_id: UUID, record: str) -> bool:
    """Whether the desk is being rung for such a fault now, or has closed a case about this very record."""
    for row in store.open_conditions(tx, [patient_id]):
        if row.code != "record_unreadable":
            continue
        incident = store.incident(tx, row.incident_id) if row.incident_id else None
        if incident is not None and incident.closed_at is None:
            return True
        try:
            told = house.unseal(patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
        except SealingError:
            continue
        if told.params.get("record") == record:
            return True
    return False
