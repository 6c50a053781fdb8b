"""Calls that still ring for a case that somebody took, or that is over, are hung up: after the commit that says so."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from dispatch.notifier import NotificationError, Receipt
from service.store import calling_off as store
from service.workflows.house import House, log, warn, where

AT_ONCE = 8
AGAIN = timedelta(seconds=2)
LONGEST = timedelta(seconds=60)
"""Policy: how long after it was placed a call may still ring, and is tried again where the carrier fails."""


def hang_up_due(house: House, pool: Executor) -> list[Future[None]]:
    """Hang up what rings for nobody; whoever dies over it leaves it to the next, and twice harms nothing."""
    now = house.clock()
    with house.database.read() as tx:
        if not store.any_waiting(tx, now):
            return []
    lease = timedelta(seconds=house.settings.send_lease_s)
    with house.database.write() as tx:
        rows = store.claim(tx, now, now + lease, now - LONGEST, AT_ONCE)
    return [pool.submit(_hang_up, house, row) for row in rows]


def _hang_up(house: House, row: Row[Any]) -> None:
    now, again, hung_up = house.clock(), None, False
    may_try_again = row.sent_at is not None and row.sent_at <= now < row.sent_at + LONGEST
    try:
        hung_up = house.notifier.hang_up(Receipt(provider=row.provider or "", id=row.provider_id or ""))
    except NotificationError as error:
        again = now + AGAIN if may_try_again and not error.permanent else None
        log("hang_up_failed", notification=row.id, code=error.code or "none", again=again is not None)
    except Exception as error:  # noqa: BLE001 - whatever broke, one telephone that rings in vain must not stop the rest
        warn("hang_up_broke", notification=row.id, why=type(error).__name__, where=where(error))
    house.committer.run(lambda tx: store.done(tx, row.id, again), key=row.patient_id)
    if hung_up:
        log("call_hung_up", incident=row.incident_id, step=row.step, attempt=row.attempt)
