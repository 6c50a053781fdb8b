"""Somebody rings us back, or picks up a call that came too late: the menu of the open case that they belong to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import messages, messages_doors
from dispatch.codes import Log, Message
from dispatch.incident import SETTLING, Channel, Decision, LogEntry, NotificationKind, Target
from dispatch.notifier import CallStatus, CarrierEvent, CarrierEventKind, Prompt
from service.sealing import SealingError
from service.store import drills as drill_store
from service.store import incidents as store
from service.store import outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, drills, people, telephone_menus
from service.workflows.house import House, log, new_id, warn
from service.workflows.telephone_stages import Call


def incoming(house: House, event: CarrierEvent) -> Prompt:
    """A returned call reaches its open case's menu, by whose number it is."""
    index = house.keys.blind_index("phone", event.from_number)
    with house.database.read() as tx:
        callers = people_store.people_with_number(tx, index)
        found = _case_for(tx, callers)
        language = next((p.language for p in people_store.people(tx, callers)), "ko")
    prompt = _menu_of(house, *found, event) if found is not None else _drill(house, callers, event)
    if prompt is None:
        log("returned_call_nothing_open", provider_id=event.provider_id)
        return messages.nothing_open(language)
    return prompt


def or_another(house: House, row: Row[Any], event: CarrierEvent, prompt: Prompt) -> Prompt:
    """What a callee is told about a case that needs them no more, or in its place the menu of one that does."""
    if not _came_too_late(row, event):
        return prompt
    with house.database.read() as tx:
        mine = store.incident(tx, row.incident_id)
        if mine is None or (mine.closed_at is None and not _needs_nobody(mine, row.target_id)):
            return prompt
        found = _case_for(tx, [row.target_id])
    if found is None or found[0].id == row.incident_id or _needs_nobody(*found):
        return prompt
    menu = _menu_of(house, *found, event, Log.OFFERED)
    if menu is None or not menu.ask:
        return prompt
    return menu if event.kind is CarrierEventKind.ANSWERED else messages_doors.after(prompt, menu)


def _came_too_late(row: Row[Any], event: CarrierEvent) -> bool:
    """Whether this call may be one to somebody who is needed elsewhere: picked up, or just about to take it."""
    if event.final or event.voicemail or row.target == Target.DESK:
        return False
    if event.kind is CarrierEventKind.ANSWERED:
        return row.step in _ASKING
    return row.step in _ASKING and row.target == Target.CONTACT and event.digits[:1] == "3"


_ASKING = frozenset({"contact", "ask", "coming", "news", "returned"})
"""Steps of calls in which somebody was to do something."""


def _menu_of(
    house: House, incident_row: Row[Any], person_id: UUID, event: CarrierEvent, how: Log = Log.RETURNED_CALL
) -> Prompt | None:
    """That case's menu, in its own commit; None when it cannot be opened."""

    def work(tx: Tx) -> Prompt:
        return _returned(house, tx, incident_row, person_id, event, how)

    try:
        prompt: Prompt = house.committer.run(work, key=incident_row.patient_id)
    except SealingError:
        cases.report_unreadable(house, incident_row.patient_id, "incident", incident_row.id)
        return None
    return prompt


def _drill(house: House, callers: list[UUID], event: CarrierEvent) -> Prompt | None:
    """The menu of a drill that waits for one of these people, or None."""
    with house.database.read() as tx:
        waiting = [
            (one, person_id)
            for person_id in callers
            for patient_id in people_store.linked_patients(tx, person_id)
            for one in drill_store.going_on(tx, patient_id)
        ]
    for one, person_id in waiting:

        def work(tx: Tx, one: Row[Any] = one, person_id: UUID = person_id) -> Prompt | None:
            def note(patient: Row[Any]) -> Row[Any]:
                kind, message = NotificationKind.DRILL, Message.DRILL_CALL
                return _note_call(house, tx, patient, one.id, person_id, event, drills.RUNG_BACK, kind, message)

            return drills.rung_back(house, tx, one.patient_id, one.id, person_id, note)

        try:
            prompt: Prompt | None = house.committer.run(work, key=one.patient_id)
        except SealingError as error:
            warn("record_unreadable", table="drill", record=one.id, why=type(error).__name__)
            continue
        if prompt is not None:
            return prompt
    return None


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


def _needs_nobody(row: Row[Any], person_id: UUID) -> bool:
    return row.state in SETTLING or _taken_by_another(row, person_id)


def _returned(
    house: House, tx: Tx, incident_row: Row[Any], person_id: UUID, event: CarrierEvent, how: Log
) -> Prompt:
    case = cases.load(house, tx, incident_row.patient_id, incident_row.id)
    if case is None or not case.incident.open:
        return messages.nothing_open("ko")
    now = house.clock()
    is_patient = person_id == incident_row.patient_id
    row = outbox.of_call(tx, incident_row.id, person_id, event.provider_id) if how is Log.OFFERED else None
    if row is None:  # a callback that comes twice offers nothing new
        ids = (incident_row, incident_row.id, person_id)
        row = _note_call(house, tx, *ids, event, "returned", NotificationKind.INFORM, "returned")
        who = "patient" if is_patient else f"person:{person_id}"
        cases.settle(house, tx, case, Decision(incident=case.incident, log=[LogEntry(what=how, who=who)]), now)
    spoken = case.incident.policy.language if is_patient else people.language_of(tx, person_id)
    return telephone_menus.menu(house, tx, Call(row, case, spoken), turn=1)


def _note_call(
    house: House,
    tx: Tx,
    of: Row[Any],
    incident_id: UUID,
    person_id: UUID,
    event: CarrierEvent,
    step: str,
    kind: NotificationKind,
    message: str,
) -> Row[Any]:
    """The call gets a row of its own, so that its keys find their case (or drill); ``of`` is the patient's."""
    now, notification_id = house.clock(), new_id()
    is_patient = person_id == of.patient_id
    attempt = outbox.next_attempt(tx, incident_id, step, person_id, Channel.VOICE.value)
    sealed = house.seal(of.patient_id, "notification", str(notification_id), cases.Message())
    outbox.add_notifications(
        tx,
        [
            {
                "patient_id": of.patient_id,
                "id": notification_id,
                "organisation_id": of.organisation_id,
                "incident_id": incident_id,
                "step": step,
                "target": (Target.PATIENT if is_patient else Target.CONTACT).value,
                "target_id": person_id,
                "channel": Channel.VOICE.value,
                "attempt": attempt,
                "kind": kind.value,
                "message": str(message),
                "sealed": sealed,
                "created_at": now,
                "due_at": now,
                "expires_at": now,
                "status": outbox.SENT,
                "tries": 0,
                "provider": event.provider or house.notifier.name,
                "provider_id": event.provider_id,
                "sent_at": now,
                "answered_at": now,
                "call_status": CallStatus.IN_PROGRESS.value,
            }
        ],
    )
    row = outbox.notification(tx, notification_id)
    assert row is not None  # noqa: S101 - inserted above, in this transaction
    return row
