"""The outbox: claimed with a lease, handed to the carrier, its fate written down."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from dispatch import escalation, messages
from dispatch.incident import Channel, Decision, Incident, Target
from dispatch.notifier import CallRequest, NotificationError, TextRequest
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, people
from service.workflows.house import House, log, warn, where

TRIES = 4
"""How often one message is handed to the carrier before its target counts as not reached (policy)."""
BACKOFF_S = (1.0, 2.0, 4.0)


def send_pending(house: House, worker: str, pool: Executor) -> list[Future[None]]:
    """Claim what is due and send it; one target's failure never delays another's."""
    now = house.clock()
    _expire(house, now)
    with house.database.read() as tx:
        if not store.any_pending(tx, now):
            return []
    lease = timedelta(seconds=house.settings.send_lease_s)
    with house.database.write() as tx:
        claimed = [
            row
            for row in store.claim_notifications(tx, worker, now, now + lease)
            if row.tries == 1 or _still_wanted(tx, row, now)
        ]
    return [pool.submit(_send, house, worker, row) for row in claimed]


def _still_wanted(tx: Tx, row: Row[Any], now: datetime) -> bool:
    """A message that was held already is not tried again once somebody has acknowledged."""
    if store.still_wanted(tx, row):
        return True
    store.update_notification(tx, row.id, status=store.CANCELLED, ended_at=now)
    return False


def _expire(house: House, now: datetime) -> None:
    with house.database.read() as tx:
        if not store.any_expired(tx, now):
            return
    with house.database.write() as tx:
        expired = store.expire_notifications(tx, now)
    for row in expired:
        log("notification_expired", incident=row.incident_id, notification=row.id, step=row.step)
        _not_reached(house, row, "failed")


def _send(house: House, worker: str, row: Row[Any]) -> None:
    try:
        provider_id = _hand_over(house, row)
    except NotificationError as error:
        _failed(house, worker, row, permanent=error.permanent)
    except SealingError as error:
        warn("notification_unreadable", notification=row.id, why=type(error).__name__)
        cases.report_unreadable(house, row.patient_id, "notification", row.id)
        _failed(house, worker, row, permanent=True)
    except Exception as error:  # noqa: BLE001 - whatever broke, the message must not be lost in a thread
        warn("send_failed", notification=row.id, why=type(error).__name__, where=where(error))
        _failed(house, worker, row, permanent=False)
    else:
        _sent(house, row, provider_id)


def _hand_over(house: House, row: Row[Any]) -> str:
    message = house.unseal(row.patient_id, "notification", str(row.id), row.sealed, cases.Message)
    number, language = _address(house, row)
    if row.channel == Channel.VOICE:
        return house.notifier.place_call(
            CallRequest(
                to=number,
                reference=str(row.id),
                ring_s=message.ring_s,
                detect_voicemail=message.detect_voicemail,
            )
        )
    left_s = max(60, int((row.expires_at - house.clock()).total_seconds()))
    body = messages.text_for(row.message, language, message.params)
    return house.notifier.send_text(
        TextRequest(to=number, reference=str(row.id), body=body, valid_s=left_s)
    )


def _address(house: House, row: Row[Any]) -> tuple[str, str]:
    if row.target == Target.DESK:
        if not house.settings.fallback_number:
            raise NotificationError("no fallback desk number is set (ANSIM_FALLBACK_NUMBER)", permanent=True)
        return house.settings.fallback_number, house.settings.desk_language.value
    with house.database.read() as tx:
        found = people.number_of(house, tx, row.target_id)
    if found is None:
        raise NotificationError("this person has no number that works", permanent=True)
    return found


def _sent(house: House, row: Row[Any], provider_id: str) -> None:
    def work(tx: Tx) -> None:
        now = house.clock()
        # Callbacks take the same lock: none of them comes between this look and this word.
        people_store.lock_patient(tx, row.patient_id)
        current = store.notification(tx, row.id)
        if current is None:
            return
        values: dict[str, Any] = {"provider": house.notifier.name, "provider_id": provider_id}
        if current.sent_at is None:
            values["sent_at"] = now
        # A callback may have been faster than this answer; its word about the call stands.
        if current.status == store.CLAIMED:
            values["status"] = store.SENT
        store.update_notification(tx, row.id, **values)

    house.committer.run(work, key=row.patient_id)
    if row.target != Target.PATIENT:
        _try(house, row, lambda incident: escalation.notified(incident, house.clock()))
    log("notification_sent", incident=row.incident_id, step=row.step, channel=row.channel, attempt=row.attempt)


def _failed(house: House, worker: str, row: Row[Any], *, permanent: bool) -> None:
    log("notification_failed", incident=row.incident_id, step=row.step, channel=row.channel, permanent=permanent)
    again_at = None
    if not permanent and row.tries < TRIES:
        again_at = house.clock() + timedelta(seconds=BACKOFF_S[min(row.tries, len(BACKOFF_S)) - 1])

    def work(tx: Tx) -> bool:
        return _give_up(tx, row, worker, house.clock(), again_at)

    if house.committer.run(work, key=row.patient_id):
        _not_reached(house, row, "failed")


def _give_up(tx: Tx, row: Row[Any], worker: str, now: datetime, again_at: datetime | None) -> bool:
    """Whether this message is lost for good; one to be tried again is given back, an outlived one dropped."""
    people_store.lock_patient(tx, row.patient_id)
    current = store.notification(tx, row.id)
    if current is None or (current.status, current.claimed_by) != (store.CLAIMED, worker):
        return False  # the carrier took it after all and has called back, or another worker has it
    if not _still_wanted(tx, current, now):
        return False
    if again_at is not None:
        store.release_notification(tx, row.id, worker, again_at)
        return False
    store.update_notification(tx, row.id, status=store.FAILED, outcome="failed", ended_at=now)
    return True


def _not_reached(house: House, row: Row[Any], outcome: str) -> None:
    if row.channel == Channel.VOICE:
        _try(house, row, lambda incident: call_ended(incident, row, outcome, house.clock()))


def call_ended(incident: Incident, row: Row[Any], outcome: str, now: datetime) -> Decision:
    """A call that brought no key: the rule of whoever it was for."""
    if row.step == "returned":
        return Decision(incident=incident)
    if row.target == Target.PATIENT and row.step == "ask":
        return escalation.ask_call_ended(incident, outcome, row.attempt, now)
    if row.target == Target.CONTACT and row.step == "contact":
        return escalation.contact_call_ended(incident, row.target_id, outcome, row.attempt, now)
    if row.target == Target.DESK:
        return escalation.desk_call_ended(incident, outcome, row.attempt, now)
    return Decision(incident=incident)


def _try(house: House, row: Row[Any], rule: Callable[[Incident], Decision]) -> None:
    try:
        cases.change(house, row.patient_id, row.incident_id, rule)
    except SealingError as error:
        # The tick meets the same case, and puts the desk on it.
        warn("record_unreadable", table="incident", record=row.incident_id, why=type(error).__name__)
