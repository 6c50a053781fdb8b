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


def measures(house: House) -> dict[str, tuple[str, float]]:
    now = house.clock()
    with house.database.read() as tx:
        oldest = store.oldest_due_step(tx)
        open_count = store.count_open(tx)
        outbox = store.count_outbox(tx)
        cursor = store.last_cursor(tx)
    overdue = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    return {
        "ansim_open_incidents": ("Incidents that are not closed", open_count),
        "ansim_oldest_overdue_step_seconds": ("How late the most overdue step is", overdue),
        "ansim_outbox_waiting": ("Messages waiting or being sent", outbox),
        "ansim_events_total": ("Events told to consoles so far", cursor),
    }
