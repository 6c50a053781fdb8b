"""Somebody rings us back: they reach the menu of the open case that they belong to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import messages
from dispatch.codes import Log
from dispatch.incident import Channel, Decision, LogEntry, NotificationKind, Target
from dispatch.notifier import CallStatus, CarrierEvent, Prompt
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, people, telephone_menus
from service.workflows.house import House, log, new_id
from service.workflows.telephone_menus import Call


def incoming(house: House, event: CarrierEvent) -> Prompt:
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
    """The newest open case in which one of these people is the patient or a contact; first one that they hold."""
    found: list[tuple[Row[Any], UUID]] = []
    for person_id in callers:
        for patient_id in [person_id, *people_store.linked_patients(tx, person_id)]:
            row = store.open_incident_of(tx, patient_id)
            if row is not None:
                found.append((row, person_id))
    return max(found, key=lambda pair: (not _taken_by_another(*pair), pair[0].opened_at), default=None)


def _taken_by_another(row: Row[Any], person_id: UUID) -> bool:
    return bool(row.acknowledged) and row.owner_id != person_id and row.patient_id != person_id


def _returned(house: House, tx: Tx, incident_row: Row[Any], person_id: UUID, event: CarrierEvent) -> Prompt:
    case = cases.load(house, tx, incident_row.patient_id, incident_row.id)
    if case is None or not case.incident.open:
        return messages.nothing_open("ko")
    now = house.clock()
    is_patient = person_id == incident_row.patient_id
    row = _note_call(house, tx, incident_row, person_id, event)
    who = "patient" if is_patient else f"person:{person_id}"
    entry = LogEntry(what=Log.RETURNED_CALL, who=who)
    cases.settle(house, tx, case, Decision(incident=case.incident, log=[entry]), now)
    spoken = case.incident.policy.language if is_patient else people.language_of(tx, person_id)
    return telephone_menus.menu(house, tx, Call(row, case, spoken), turn=1)


def _note_call(house: House, tx: Tx, incident_row: Row[Any], person_id: UUID, event: CarrierEvent) -> Row[Any]:
    """The call gets a row of its own, so that its keys find their case."""
    now, notification_id = house.clock(), new_id()
    is_patient = person_id == incident_row.patient_id
    attempt = store.next_attempt(tx, incident_row.id, "returned", person_id, Channel.VOICE.value)
    sealed = house.seal(incident_row.patient_id, "notification", str(notification_id), cases.Message())
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
                "sealed": sealed,
                "created_at": now,
                "due_at": now,
                "expires_at": now,
                "status": store.SENT,
                "tries": 0,
                "provider": event.provider or house.notifier.name,
                "provider_id": event.provider_id,
                "sent_at": now,
                "answered_at": now,
                "call_status": CallStatus.IN_PROGRESS.value,
            }
        ],
    )
    row = store.notification(tx, notification_id)
    assert row is not None  # noqa: S101 - inserted above, in this transaction
    return row
