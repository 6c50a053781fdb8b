"""What carriers tell us: somebody picked up, pressed a key, hung up, or rings us back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import Row

from dispatch import escalation, messages
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.codes import Log, Role
from dispatch.incident import Channel, Decision, Incident, LogEntry, NotificationKind, State, Target
from dispatch.notifier import CallStatus, CarrierEvent, CarrierEventKind, Prompt
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, faces, people, readings
from service.workflows.house import House, log, new_id, warn
from service.workflows.sending import call_ended

ASKINGS = 2
"""How often a menu is spoken in one call before no key counts as none."""


@dataclass
class _Call:
    """One telephone call about one case, while its callback is being handled."""

    row: Row[Any]
    case: cases.Case
    language: str


def carrier_event(house: House, event: CarrierEvent) -> Prompt | None:
    """Handle a callback; returns what the callee hears next, or None where nothing is said."""
    if event.kind is CarrierEventKind.INCOMING:
        return _incoming(house, event)
    row = _row_of(house, event)
    if row is None:
        log("callback_unknown", provider_id=event.provider_id)
        return None if event.kind is CarrierEventKind.STATUS else messages.nothing_open("ko")
    prompt: Prompt | None = None

    def work(tx: Tx) -> Prompt | None:
        return _handle(house, tx, row, event)

    try:
        prompt = house.committer.run(work, key=row.patient_id)
    except SealingError as error:
        warn("callback_case_unreadable", incident=row.incident_id, why=type(error).__name__)
        cases.report_unreadable(house, row.patient_id, "incident", row.incident_id)
        prompt = messages.nothing_open("ko")
    return prompt if event.kind is not CarrierEventKind.STATUS else None


def _row_of(house: House, event: CarrierEvent) -> Row[Any] | None:
    try:
        notification_id = UUID(event.reference or "")
    except ValueError:
        return None
    with house.database.read() as tx:
        return store.notification(tx, notification_id)


def _handle(house: House, tx: Tx, before: Row[Any], event: CarrierEvent) -> Prompt | None:
    case = cases.load(house, tx, before.patient_id, before.incident_id)
    row = store.notification(tx, before.id)
    if case is None or row is None:
        return messages.nothing_open("ko")
    now = house.clock()
    call = _Call(row, case, _language(house, tx, row, case))
    if event.kind is CarrierEventKind.STATUS:
        _status(house, tx, call, event, now)
        return None
    if event.kind is CarrierEventKind.ANSWERED:
        return _answered(house, tx, call, event, now)
    return _digits(house, tx, call, event, now)


def _language(house: House, tx: Tx, row: Row[Any], case: cases.Case) -> str:
    if row.target == Target.DESK:
        return house.settings.desk_language.value
    if row.target == Target.PATIENT:
        return case.incident.policy.language
    person = people_store.person(tx, row.target_id)
    return person.language if person else "ko"


def _status(house: House, tx: Tx, call: _Call, event: CarrierEvent, now: datetime) -> None:
    row, status = call.row, event.status
    if status is None:
        return
    known = CallStatus(row.call_status) if row.call_status else None
    if known is not None and status.rank <= known.rank:
        return  # late, repeated or reordered: a call's state never goes back
    values: dict[str, Any] = {"call_status": status.value, "provider_id": event.provider_id}
    if row.sent_at is None:
        values["sent_at"] = now
    if status is CallStatus.IN_PROGRESS and row.answered_at is None:
        values["answered_at"] = now
    if event.voicemail:
        values["outcome"] = "voicemail"
    if not status.ended:
        if row.status == store.CLAIMED:
            values["status"] = store.SENT
        store.update_notification(tx, row.id, **values)
        return
    outcome = row.outcome or ("voicemail" if event.voicemail else _outcome(status))
    values |= {
        "status": store.ENDED,
        "outcome": outcome,
        "ended_at": now,
        "duration_s": event.duration_s,
    }
    store.update_notification(tx, row.id, **values)
    if row.channel == Channel.VOICE and not outcome.startswith("pressed"):
        cases.settle(house, tx, call.case, call_ended(call.case.incident, row, outcome, now), now)
    log("call_ended", incident=row.incident_id, step=row.step, attempt=row.attempt, outcome=outcome)


def _outcome(status: CallStatus) -> str:
    return {
        CallStatus.COMPLETED: "hung_up",
        CallStatus.BUSY: "busy",
        CallStatus.NO_ANSWER: "no_answer",
        CallStatus.DELIVERED: "delivered",
        CallStatus.UNDELIVERED: "undelivered",
    }.get(status, "failed")


def _answered(house: House, tx: Tx, call: _Call, event: CarrierEvent, now: datetime) -> Prompt:
    row, incident = call.row, call.case.incident
    store.update_notification(
        tx, row.id, answered_at=row.answered_at or now, provider_id=event.provider_id
    )
    if event.voicemail:
        store.update_notification(tx, row.id, outcome="voicemail")
        cases.settle(house, tx, call.case, call_ended(incident, row, "voicemail", now), now)
        return messages.voicemail_neutral(call.language)
    person_id = None if row.target == Target.DESK else row.target_id
    if row.step != "returned":
        decision = escalation.call_picked_up(incident, Target(row.target), person_id, row.attempt, now)
        cases.settle(house, tx, call.case, decision, now)
    return _menu(house, tx, call, turn=1)


def _menu(house: House, tx: Tx, call: _Call, *, turn: int) -> Prompt:
    row, incident = call.row, call.case.incident
    if not incident.open:
        return messages.nothing_open(call.language)
    if row.target == Target.PATIENT and row.kind == NotificationKind.INFORM and row.step != "returned":
        return messages.prompt_for(row.message, call.language, turn)
    if row.target == Target.PATIENT:
        prompt = messages.ask_prompt(call.language, turn)
    elif incident.acknowledged and incident.owner_id != row.target_id:
        return messages.already_taken(call.language)
    elif row.step == "returned":
        prompt = messages.contact_menu(call.language, turn)
    else:
        prompt = messages.prompt_for(row.message, call.language, turn)
    return replace(prompt, reference=str(row.id))


def _digits(house: House, tx: Tx, call: _Call, event: CarrierEvent, now: datetime) -> Prompt:
    row = call.row
    digit = event.digits[:1]
    if not digit and event.turn < ASKINGS:
        return _menu(house, tx, call, turn=event.turn + 1)
    store.update_notification(
        tx,
        row.id,
        outcome=f"pressed_{digit}" if digit else "no_key",
        answered_at=row.answered_at or now,
        provider_id=event.provider_id,
    )
    log("key_pressed", incident=row.incident_id, step=row.step, attempt=row.attempt, key=digit or "none")
    if row.target == Target.PATIENT:
        return _patient_said(house, tx, call, digit, now)
    if row.target == Target.DESK:
        return _desk_said(house, tx, call, digit, now)
    return _contact_said(house, tx, call, digit, now)


def _patient_said(house: House, tx: Tx, call: _Call, digit: str, now: datetime) -> Prompt:
    before = call.case.incident
    vitals = readings.vitals_now(house, tx, call.case.patient, now)
    by = "returned_call" if call.row.step == "returned" else "call"
    decision = escalation.patient_answered(before, digit, now, vitals, by=by)
    after = cases.settle(house, tx, call.case, decision, now)
    if not before.open and digit not in {"", "1"}:
        # The case they were asked about is over; whoever asks for help gets a new one.
        cases.raise_conditions(house, tx, call.case.patient, [_asked_for_help(now)], now)
    return messages.ask_reply(call.language, _reply(digit, before, after))


def _asked_for_help(now: datetime) -> AlarmCondition:
    return AlarmCondition(
        code="sos",
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        grave=True,
        started_at=now,
        detected_at=now,
    )


def _reply(digit: str, before: Incident, after: Incident) -> messages.Reply:
    duress = before.policy.duress_digit
    if digit and digit == duress:
        return messages.Reply.FINE  # whoever listens in must hear what "fine" sounds like
    if digit != "1":
        return messages.Reply.HELP
    if after.state is State.CANCELLED_BY_PATIENT:
        return messages.Reply.FINE
    return messages.Reply.FINE_CHECKED if before.state is State.CHECKING else messages.Reply.LATE_FINE


def _contact_said(house: House, tx: Tx, call: _Call, digit: str, now: datetime) -> Prompt:
    row, case = call.row, call.case
    attempt = None if row.step == "returned" else row.attempt
    decision = escalation.contact_answered(case.incident, row.target_id, digit, now, attempt=attempt)
    after = cases.settle(house, tx, case, decision, now)
    if digit == "9":
        return messages.wrong_number(call.language)
    if not after.open:
        return messages.nothing_open(call.language)
    if digit == "3" and after.owner_id == row.target_id:
        return messages.contact_taken(call.language, **_who_and_why(house, tx, case, call.language, now))
    if after.acknowledged and after.owner_id != row.target_id:
        by = people.profiles(house, tx, [after.owner_id]) if after.owner_id else {}
        name = by[after.owner_id].name if after.owner_id in by and digit == "3" else None
        return messages.already_taken(call.language, name)
    return messages.declined(call.language) if digit == "4" else messages.no_key(call.language)


def _desk_said(house: House, tx: Tx, call: _Call, digit: str, now: datetime) -> Prompt:
    case = call.case
    after = cases.settle(house, tx, case, escalation.desk_answered(case.incident, digit, now), now)
    if digit != "3":
        return messages.desk_no_key(call.language)
    if after.owner_role != Role.DESK:
        return messages.already_taken(call.language)
    return messages.contact_taken(call.language, **_who_and_why(house, tx, case, call.language, now))


def _who_and_why(
    house: House, tx: Tx, case: cases.Case, language: str, now: datetime
) -> dict[str, Any]:
    profile = people.profiles(house, tx, [case.patient.patient_id]).get(case.patient.patient_id)
    try:
        address = people.open_care(house, case.patient).address
    except SealingError:
        address = ""
    reasons = [
        messages.reason_text(r.condition, language, r.ended_at or now, spoken=True)
        for r in faces.top_reasons(case.incident)
    ]
    return {"patient_name": profile.name if profile else "", "reasons": reasons, "address": address}


def _incoming(house: House, event: CarrierEvent) -> Prompt:
    """A returned call reaches its open case's menu, by whose number it is."""
    index = house.keys.blind_index("phone", event.from_number)
    with house.database.read() as tx:
        callers = people_store.people_with_number(tx, index)
        found = _case_for(tx, callers)
        language = next((p.language for p in people_store.people(tx, callers)), "ko")
    if found is None:
        log("returned_call_nothing_open", provider_id=event.provider_id)
        return messages.nothing_open(language)
    incident_row, person_id = found

    def work(tx: Tx) -> Prompt:
        return _returned(house, tx, incident_row, person_id, event)

    try:
        prompt: Prompt = house.committer.run(work, key=incident_row.patient_id)
    except SealingError:
        cases.report_unreadable(house, incident_row.patient_id, "incident", incident_row.id)
        return messages.nothing_open(language)
    return prompt


def _case_for(tx: Tx, callers: list[UUID]) -> tuple[Row[Any], UUID] | None:
    """The newest open case in which one of these people is the patient or a contact."""
    found: list[tuple[Row[Any], UUID]] = []
    for person_id in callers:
        for patient_id in [person_id, *people_store.linked_patients(tx, person_id)]:
            row = store.open_incident_of(tx, patient_id)
            if row is not None:
                found.append((row, person_id))
    return max(found, key=lambda pair: pair[0].opened_at, default=None)


def _returned(house: House, tx: Tx, incident_row: Row[Any], person_id: UUID, event: CarrierEvent) -> Prompt:
    case = cases.load(house, tx, incident_row.patient_id, incident_row.id)
    if case is None or not case.incident.open:
        return messages.nothing_open("ko")
    now = house.clock()
    is_patient = person_id == incident_row.patient_id
    notification_id = new_id()
    attempt = store.next_attempt(tx, incident_row.id, "returned", person_id, Channel.VOICE.value)
    store.add_notifications(
        tx,
        [
            {
                "patient_id": incident_row.patient_id,
                "id": notification_id,
                "organisation_id": incident_row.organisation_id,
                "incident_id": incident_row.id,
                "step": "returned",
                "target": (Target.PATIENT if is_patient else Target.CONTACT).value,
                "target_id": person_id,
                "channel": Channel.VOICE.value,
                "attempt": attempt,
                "kind": NotificationKind.INFORM.value,
                "message": "returned",
                "sealed": house.seal(
                    incident_row.patient_id, "notification", str(notification_id), cases.Message()
                ),
                "created_at": now,
                "due_at": now,
                "expires_at": now,
                "status": store.SENT,
                "tries": 0,
                "provider": house.notifier.name,
                "provider_id": event.provider_id,
                "sent_at": now,
                "answered_at": now,
                "call_status": CallStatus.IN_PROGRESS.value,
            }
        ],
    )
    who = "patient" if is_patient else f"person:{person_id}"
    entry = LogEntry(what=Log.RETURNED_CALL, who=who)
    cases.settle(house, tx, case, Decision(incident=case.incident, log=[entry]), now)
    row = store.notification(tx, notification_id)
    assert row is not None  # noqa: S101 - inserted above, in this transaction
    call = _Call(row, case, _language(house, tx, row, case))
    if is_patient and case.incident.state in {State.CHECKING, State.SUSPECTED, State.CONFIRMED}:
        return replace(messages.ask_prompt(call.language), reference=str(notification_id))
    return _menu(house, tx, call, turn=1)

