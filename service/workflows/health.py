"""How the service itself is doing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.workflows.house import House

JOBS_LATE = timedelta(seconds=10)


def checks(house: House) -> dict[str, str]:
    """Each part with ``ok`` or what is wrong with it."""
    found = {"database": "ok", "keys": "ok", "jobs": "ok"}
    try:
        with house.database.read() as tx:
            beat = people_store.site(tx, "jobs_beat")
        if beat is None or house.clock() - beat.at > JOBS_LATE:
            found["jobs"] = "no tick for over 10 s: start `ansim jobs`"
    except SQLAlchemyError:
        found["database"] = "not answering: check ANSIM_DATABASE_URL and run `ansim doctor`"
    try:
        house.keys.check()
    except (SealingError, OSError, RuntimeError) as error:
        found["keys"] = f"{type(error).__name__}: check ANSIM_KEYS_URL and ANSIM_KEK"
    return found


def calls_go_out(house: House) -> bool:
    """Whether the jobs tick: if not, nobody is being rung, and every board must say so."""
    with house.database.read() as tx:
        beat = people_store.site(tx, "jobs_beat")
    return beat is not None and house.clock() - beat.at <= JOBS_LATE


def measures(house: House) -> dict[str, tuple[str, float]]:
    now = house.clock()
    with house.database.read() as tx:
        waiting = [store.oldest_due_step(tx), store.oldest_unsent(tx)]
        unsent = waiting[1]
        open_count = store.count_open(tx)
        outbox = store.count_outbox(tx)
        cursor = store.last_cursor(tx)
    late = [max(0.0, (now - at).total_seconds()) for at in waiting if at is not None]
    return {
        "ansim_open_incidents": ("Incidents that are not closed", open_count),
        "ansim_oldest_overdue_step_seconds": (
            "How late the most overdue step or unsent message is",
            max(late, default=0.0),
        ),
        "ansim_oldest_unsent_seconds": (
            "How long the oldest message has waited to be sent",
            max(0.0, (now - unsent).total_seconds()) if unsent else 0.0,
        ),
        "ansim_outbox_waiting": ("Messages waiting or being sent", outbox),
        "ansim_events_total": ("Events told to consoles so far", cursor),
    }
