"""The outbox: claimed with a lease, handed to the carrier, its fate written down."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from dispatch import escalation
from dispatch.incident import Channel, Decision, Incident, Target
from dispatch.notifier import Fault, NotificationError, Receipt
from service.sealing import SealingError
from service.store import calling_off, outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import carriers, cases, channels, spending
from service.workflows.channels import OTHER_KINDS, OtherKind, other_kind
from service.workflows.house import House, log, warn, where

__all__ = ["OTHER_KINDS", "OtherKind", "call_ended", "other_kind", "send_pending"]

TRIES = 4
"""How often one message is handed to the carrier before its target counts as not reached (policy)."""
BACKOFF_S = (1.0, 2.0, 4.0)
PUT_OFF_S = (1.0, 30.0)
"""Policy: how long we wait, at least and at most, when a carrier is too busy or refuses our account."""
LONGEST_WAIT_S = 60.0
"""Policy: however long a carrier asks us to wait, a page is offered again by then."""
TOO_MANY = frozenset({"429", "20429"})
AT_ONCE = 32
"""As many as jobs have senders."""
HELD_S = 60.0
REMEMBERED = 10_000
LOOK_AGAIN = timedelta(seconds=1)
"""Policy: when a call in doubt is looked at again, while the calls that may be it are about to tell themselves."""
QUEUED_S = 1.0
"""Policy: whoever waited longer for a sender makes sure that the message is still theirs."""
ONE_TRY, LONGEST_LIFE = timedelta(seconds=60), timedelta(seconds=330)
"""Policy: a page nobody could try is given this much longer, once: with it, its life is over the longest."""


class _Again(NamedTuple):
    """When a message is tried again, and what is remembered of this try."""

    at: datetime
    unsure: bool = False
    uncounted: bool = False


def send_pending(house: House, worker: str, pool: Executor) -> list[Future[None]]:
    """Claim what is due and send it; one target's failure never delays another's."""
    now = house.clock()
    with house.database.read() as tx:
        expired, due = outbox.waiting(tx, now)
    if expired:
        _expire(house, now)
    elif not due:
        return []
    lease = timedelta(seconds=house.settings.send_lease_s)
    hands: Hands = house.extras.setdefault("hands", Hands())
    # What no sender is free for would outlive its lease in the queue, and be sent twice.
    free, busy = hands.free()
    if not free:
        return []
    with house.database.write() as tx:
        claimed = [
            row
            for row in outbox.claim_notifications(tx, worker, now, now + lease, free, busy)
            if (row.tries == 1 or _still_wanted(tx, row, now)) and not _waits(house, tx, row, worker, now)
        ]
        hands.take([row.id for row in claimed])
    return [pool.submit(_send, house, worker, row, now) for row in claimed]


class Hands:
    """What this process is sending now: a clock set back must not make it take the same message again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[UUID, float] = {}

    def free(self) -> tuple[int, list[UUID]]:
        """How many more may be taken, and which are held; what hangs for a minute is not held any more."""
        with self._lock:
            now = time.monotonic()
            self._since = {key: at for key, at in self._since.items() if now - at < HELD_S}
            return max(0, AT_ONCE - len(self._since)), list(self._since)

    def take(self, keys: Iterable[UUID]) -> None:
        with self._lock:
            self._since |= dict.fromkeys(keys, time.monotonic())

    def let_go(self, key: UUID) -> None:
        with self._lock:
            self._since.pop(key, None)

    def waited_s(self, key: UUID) -> float:
        with self._lock:
            return time.monotonic() - self._since.get(key, time.monotonic())


def _still_wanted(tx: Tx, row: Row[Any], now: datetime) -> bool:
    """A message that was held already is not tried again once somebody has acknowledged."""
    if outbox.still_wanted(tx, row):
        return True
    outbox.update_notification(tx, row.id, status=outbox.CANCELLED, ended_at=now)
    return False


def _waits(house: House, tx: Tx, row: Row[Any], worker: str, now: datetime) -> bool:
    """What can wait does, once the day's money is spent."""
    if not spending.held_back(house, tx, row, now):
        return False
    spending.note_reached(house, tx, row.organisation_id, now)
    sure = row.unsure_since == now
    outbox.release_notification(tx, row.id, worker, now + spending.LOOK_AGAIN, unsure=not sure, uncounted=True)
    return True


def _expire(house: House, now: datetime) -> None:
    with house.database.write() as tx:
        outbox.revive_pages(tx, now, now + ONE_TRY, LONGEST_LIFE)
        expired = outbox.expire_notifications(tx, now)
    for row in expired:
        log("notification_expired", incident=row.incident_id, notification=row.id, step=row.step)
    house.committer.each(expired, lambda row: _not_reached(house, row, "failed"))


def _send(house: House, worker: str, row: Row[Any], claimed_at: datetime) -> None:
    try:
        taken = _hand_over(house, worker, row, claimed_at)
    except channels.Undecided:
        _give_back(house, worker, row)
    except NotificationError as error:
        _failed(house, worker, row, error)
    except SealingError as error:
        warn("notification_unreadable", notification=row.id, why=type(error).__name__)
        cases.report_unreadable(house, row.patient_id, "notification", row.id)
        _failed(house, worker, row, NotificationError("it cannot be opened", permanent=True))
    except Exception as error:  # noqa: BLE001 - whatever broke, the message must not be lost in a thread
        warn("send_failed", notification=row.id, why=type(error).__name__, where=where(error))
        _failed(house, worker, row, NotificationError("our own fault", permanent=False, ambiguous=True))
    else:
        if taken is not None:
            _sent(house, row, *taken)
    finally:
        house.extras["hands"].let_go(row.id)


def _hand_over(house: House, worker: str, row: Row[Any], claimed_at: datetime) -> tuple[Receipt, bool] | None:
    """Send, unless the carrier has it from a try whose fate was not told; None when another worker has it by now.

    Beside the receipt: whether such a try remains in doubt.
    """
    doubted = row.unsure_since is not None and row.unsure_since != claimed_at
    if doubted:
        found = channels.found_already(house, row)
        if found is not None:
            return found, False
    # Asking took time out of the lease that sending needs.
    waited = doubted or house.extras["hands"].waited_s(row.id) > QUEUED_S
    if waited and not _still_ours(house, worker, row):
        return None
    return channels.hand_over(house, row), doubted


def _give_back(house: House, worker: str, row: Row[Any]) -> None:
    """Look again in a moment, at no cost to its tries; not yet is not never."""
    again = _Again(house.clock() + LOOK_AGAIN, unsure=True, uncounted=True)

    def work(tx: Tx) -> None:
        _give_up(house, tx, row, worker, again, "")

    house.committer.run(work, key=row.patient_id)


def _still_ours(house: House, worker: str, row: Row[Any]) -> bool:
    """Hold it anew, for as long as sending may take; False when another worker has it by now."""
    lease = timedelta(seconds=house.settings.send_lease_s)

    def work(tx: Tx) -> bool:
        return outbox.renew_lease(tx, row.id, worker, house.clock() + lease)

    return bool(house.committer.run(work, key=row.patient_id))


def _sent(house: House, row: Row[Any], receipt: Receipt, doubted: bool) -> None:
    told: OrderedDict[UUID, None] = house.extras.setdefault("help_told", OrderedDict())
    # Later messages of a case need not open it to stamp when help was first told.
    stamps = row.target != Target.PATIENT and other_kind(row) is None and row.incident_id not in told

    def work(tx: Tx) -> None:
        now = house.clock()
        # Callbacks take the same lock: none of them comes between this look and this word.
        people_store.lock_patient(tx, row.patient_id)
        current = outbox.notification(tx, row.id)
        if current is None:
            return
        values: dict[str, Any] = {"provider": receipt.provider, "provider_id": receipt.id}
        if not doubted:
            values["unsure_since"] = None
        if current.sent_at is None:
            values["sent_at"] = now
        # A callback may have been faster than this answer; its word about the call stands.
        if current.status == outbox.CLAIMED:
            values["status"] = outbox.SENT
        outbox.update_notification(tx, row.id, **values)
        if row.channel == Channel.VOICE:
            # Taken while it was on its way to the carrier.
            calling_off.call_off(tx, now, notification_id=row.id)
        spending.sent(house, tx, row, now)
        if stamps:
            _stamp_told(house, tx, row, now)

    house.committer.run(work, key=row.patient_id)
    if row.channel in {Channel.VOICE, Channel.TEXT}:
        carriers.accepted(house)
    if stamps:
        told[row.incident_id] = None
        while len(told) > REMEMBERED:
            told.popitem(last=False)
    log("notification_sent", incident=row.incident_id, step=row.step, channel=row.channel, attempt=row.attempt)


def _stamp_told(house: House, tx: Tx, row: Row[Any], now: datetime) -> None:
    try:
        case = cases.load(house, tx, row.patient_id, row.incident_id)
        if case is not None:
            cases.settle(house, tx, case, escalation.notified(case.incident, now), now)
    except SealingError as error:
        _unreadable(row, error)


def _failed(house: House, worker: str, row: Row[Any], error: NotificationError) -> None:
    log(
        "notification_failed",
        incident=row.incident_id,
        step=row.step,
        channel=row.channel,
        permanent=error.permanent,
        fault=error.fault,
        code=error.code or "none",
    )
    again = _again(house, row, error)
    outcome = "bad_number" if error.permanent and error.fault is Fault.NUMBER else "failed"

    def work(tx: Tx) -> bool:
        return _give_up(house, tx, row, worker, again, outcome)

    lost = house.committer.run(work, key=row.patient_id)
    if error.permanent and error.fault is Fault.ACCOUNT and row.channel in {Channel.VOICE, Channel.TEXT}:
        carriers.refuses_us(house, row)
    if lost:
        _not_reached(house, row, "failed")


def _again(house: House, row: Row[Any], error: NotificationError) -> _Again | None:
    """When this message is tried again; None when it is lost for good."""
    now = house.clock()
    luck: Random = house.extras.get("random") or SystemRandom()
    unsure = error.ambiguous
    if error.elsewhere and row.tries < TRIES:
        # Another carrier is waiting to be asked.
        return _Again(now + timedelta(seconds=luck.uniform(0.05, 0.2)), unsure)
    too_many = error.code in TOO_MANY or error.retry_after_s is not None
    account = error.permanent and error.fault is Fault.ACCOUNT and row.channel in {Channel.VOICE, Channel.TEXT}
    if too_many or account:
        # Neither is the callee's fault, nor a try of theirs. The longer it lasts, the rarer we ask.
        waited_s = (now - row.created_at).total_seconds()
        span_s = min(max(waited_s, PUT_OFF_S[0]), PUT_OFF_S[1])
        asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
        return _Again(now + timedelta(seconds=asked_s + luck.uniform(0.1, span_s)), unsure, uncounted=True)
    if error.permanent or row.tries >= TRIES:
        return None
    span_s = BACKOFF_S[min(row.tries, len(BACKOFF_S)) - 1]
    return _Again(now + timedelta(seconds=luck.uniform(0.1, span_s)), unsure)


def _give_up(house: House, tx: Tx, row: Row[Any], worker: str, again: _Again | None, outcome: str) -> bool:
    """Whether this message is lost for good; one to be tried again is given back, an outlived one dropped."""
    now = house.clock()
    people_store.lock_patient(tx, row.patient_id)
    current = outbox.notification(tx, row.id)
    if current is None or (current.status, current.claimed_by) != (outbox.CLAIMED, worker):
        return False  # the carrier took it after all and has called back, or another worker has it
    if not _still_wanted(tx, current, now):
        return False
    if again is not None:
        outbox.release_notification(tx, row.id, worker, again.at, unsure=again.unsure, uncounted=again.uncounted)
        return False
    outbox.update_notification(tx, row.id, status=outbox.FAILED, outcome=outcome, ended_at=now)
    if outcome == "bad_number" and row.channel == Channel.VOICE and row.target != Target.DESK:
        carriers.number_broken(house, tx, row, now)
    return True


def _not_reached(house: House, row: Row[Any], outcome: str) -> None:
    other = other_kind(row)
    if other is not None:
        other.not_reached(house, row, outcome)
    elif row.channel == Channel.VOICE:
        _try(house, row, lambda incident: call_ended(incident, row, outcome, house.clock()))


def call_ended(incident: Incident, row: Row[Any], outcome: str, now: datetime) -> Decision:
    """A call that brought no key: the rule of whoever it was for."""
    if row.target == Target.PATIENT and row.step == "ask":
        return escalation.ask_call_ended(incident, outcome, row.attempt, now)
    if row.target == Target.PATIENT and row.step == "coming":
        return escalation.coming_call_ended(incident, outcome, row.attempt, now)
    if row.target == Target.CONTACT and row.step == "contact":
        return escalation.contact_call_ended(incident, row.target_id, outcome, row.attempt, now)
    if row.target == Target.DESK and row.step == "desk":
        return escalation.desk_call_ended(incident, outcome, row.attempt, now)
    return Decision(incident=incident)


def _try(house: House, row: Row[Any], rule: Callable[[Incident], Decision]) -> None:
    try:
        cases.change(house, row.patient_id, row.incident_id, rule)
    except SealingError as error:
        _unreadable(row, error)


def _unreadable(row: Row[Any], error: SealingError) -> None:
    """The tick meets the same case, and puts the desk on it."""
    warn("record_unreadable", table="incident", record=row.incident_id, why=type(error).__name__)
