"""Texts that come back: an exact code takes the case like key 3, anything else is only written down."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import escalation
from dispatch.codes import Log
from dispatch.escalation_answers import TAKE_DIGIT
from dispatch.incident import Decision, LogEntry
from dispatch.notifier import CarrierEvent
from service.sealing import SealingError
from service.store import incidents as store
from service.store import outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, channels, links
from service.workflows.house import House, log, warn

LONGEST_NOTE = 200
LATELY = timedelta(hours=24)


def text_in(house: House, event: CarrierEvent) -> None:
    """Somebody wrote to us. Nothing is answered: auto-replies would never end."""
    index = house.keys.blind_index("phone", event.from_number)
    with house.database.read() as tx:
        pages = _pages(house, tx, people_store.people_with_number(tx, index))
    meant = _exact(event.body)
    hit = next((row for row in pages if meant is not None and meant == links.code(house, row.id)), None)
    if hit is not None:
        _run(house, hit, lambda tx: _took(house, tx, hit))
        return
    if not pages:
        log("text_in_from_nobody", provider_id=event.provider_id)
        return
    _run(house, pages[0], lambda tx: _noted(house, tx, pages[0], event))


def _pages(house: House, tx: Tx, writers: list[UUID]) -> list[Row[Any]]:
    """What was written to these people lately about patients of theirs, newest first."""
    since = house.clock() - LATELY
    found: list[Row[Any]] = []
    for person_id in writers:
        for patient_id in people_store.linked_patients(tx, person_id):
            found += [row for row in outbox.texts_to(tx, patient_id, person_id, since) if _stands(tx, row)]
    return sorted(found, key=lambda row: row.created_at, reverse=True)


def _stands(tx: Tx, row: Row[Any]) -> bool:
    if channels.other_kind(row) is not None:
        return True
    incident = store.incident(tx, row.incident_id)
    return incident is not None and incident.closed_at is None


def _exact(body: str) -> str | None:
    """Four digits and nothing else; full-width digits and spaces around or between them do no harm."""
    plain = "".join(unicodedata.normalize("NFKC", body).split())
    return plain if len(plain) == 4 and plain.isascii() and plain.isdigit() else None


def _run(house: House, row: Row[Any], work: Any) -> None:
    try:
        house.committer.run(work, key=row.patient_id)
    except SealingError as error:
        warn("reply_case_unreadable", incident=row.incident_id, why=type(error).__name__)
        cases.report_unreadable(house, row.patient_id, "incident", row.incident_id)


def _took(house: House, tx: Tx, row: Row[Any]) -> None:
    other = channels.other_kind(row)
    if other is not None:
        people_store.lock_patient(tx, row.patient_id)
        other.confirmed(house, tx, row, "reply")
        return
    case = cases.load(house, tx, row.patient_id, row.incident_id)
    current = outbox.notification(tx, row.id)
    if case is None or current is None or current.outcome == "reply_3":
        return  # the carrier told us twice: a case that was given back since is not taken again by that
    now = house.clock()
    outbox.update_notification(tx, row.id, outcome="reply_3", answered_at=row.answered_at or now)
    cases.settle(house, tx, case, escalation.contact_answered(case.incident, row.target_id, TAKE_DIGIT, now), now)
    log("code_replied", incident=row.incident_id, person=row.target_id)


def _noted(house: House, tx: Tx, row: Row[Any], event: CarrierEvent) -> None:
    """In the case's own log, which is sealed; no name of a person is a line of ours."""
    log("text_in_without_code", notification=row.id, provider_id=event.provider_id)
    if channels.other_kind(row) is not None:
        return
    case = cases.load(house, tx, row.patient_id, row.incident_id)
    if case is None or not event.body.strip():
        return
    text = "".join(letter for letter in event.body.strip()[:LONGEST_NOTE] if letter.isprintable())
    entry = LogEntry(what=Log.NOTED, who=f"person:{row.target_id}", params={"text": text})
    cases.settle(house, tx, case, Decision(incident=case.incident, log=[entry]), house.clock())
