"""Who watches the service itself: the watchdog shows itself with each look, and is missed when it does not."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from service.store import site as site_store
from service.store.database import Tx
from service.workflows.house import House, log

HEADER = "X-Ansim-Watchdog"
BEAT = "watchdog_beat"
MISSED_AFTER = timedelta(seconds=60)
NOTED_EVERY = timedelta(seconds=15)
LONGEST_NAME = 40


def note(house: House, name: str) -> None:
    """A watchdog looked. Written down now and then only: it looks more often than anybody needs to know."""
    now = house.clock()
    last = house.extras.get(BEAT)
    if last is not None and timedelta() <= now - last < NOTED_EVERY:
        return
    house.extras[BEAT] = now
    # Beside the answer: a database that only reads must not keep the watchdog waiting for its diagnosis.
    threading.Thread(target=_write, args=(house, name, now), name="watchdog-beat", daemon=True).start()


def _write(house: House, name: str, now: datetime) -> None:
    kept = "".join(one for one in name[:LONGEST_NAME] if one.isalnum() or one == "-")
    busy: threading.Lock = house.extras.setdefault("watchdog_lock", threading.Lock())
    if not busy.acquire(blocking=False):
        return
    try:
        with house.database.write() as tx:
            site_store.put(tx, BEAT, kept, now)
    except (SQLAlchemyError, OSError, ValueError) as error:
        log("watchdog_not_noted", why=type(error).__name__)
    finally:
        busy.release()


def looks(house: House) -> bool:
    """Whether a watchdog is looking: if not, nobody is told when the service itself stops."""
    with house.database.read() as tx:
        return looks_now(house, tx)


def looks_now(house: House, tx: Tx) -> bool:
    row = site_store.fact(tx, BEAT)
    return row is not None and abs(house.clock() - row.at) <= MISSED_AFTER
