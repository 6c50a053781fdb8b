"""How the service itself is doing."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import nan

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from service.sealing import SealingError
from service.store import incidents as store
from service.store import outbox, reachability
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import auditing, desk_test, watching
from service.workflows.house import House

JOBS_LATE = timedelta(seconds=10)
DESK_LATE = (
    "nobody at ANSIM_FALLBACK_NUMBER confirmed a test call for over 26 h: see that the desk is staffed, "
    "then run `ansim doctor --ring-fallback`"
)


def checks(house: House) -> dict[str, str]:
    """Each part with ``ok`` or what is wrong with it."""
    found = {"database": "ok", "keys": "ok", "jobs": "ok"}
    try:
        with house.database.read() as tx:
            beat = site_store.fact(tx, "jobs_beat")
        if beat is None or house.clock() - beat.at > JOBS_LATE:
            found["jobs"] = "no tick for over 10 s: start `ansim jobs`"
    except SQLAlchemyError:
        found["database"] = "not answering: check ANSIM_DATABASE_URL and run `ansim doctor`"
    try:
        house.keys.check()
    except (SealingError, OSError, RuntimeError) as error:
        found["keys"] = f"{type(error).__name__}: check ANSIM_KEYS_URL and ANSIM_KEK"
    return found


def details(house: House) -> dict[str, str]:
    """What else an operator should know, part by part; none of it makes this replica less able to serve."""
    try:
        with house.database.read() as tx:
            found = auditing.standing_now(tx, house.clock())
            late_s = _late_s(tx, house.clock())
            watched = watching.looks_now(house, tx)
            unproven = desk_test.late(house, tx, house.clock())
    except SQLAlchemyError:
        return {}
    late = {name: count for name, count in msgspec.structs.asdict(found).items() if count}
    told = ", ".join(f"{name} {count}" for name, count in late.items())
    return {
        "audit": f"{told}: look at the log of `ansim jobs`" if told else "ok",
        "overdue_s": f"{late_s:.1f}",
        "desk": DESK_LATE if unproven else "ok",
        "watchdog": "ok" if watched else "no watchdog is looking: start `ansim watchdog`",
    }


def calls_go_out(house: House) -> bool:
    """Whether the jobs tick: if not, nobody is being rung, and every board must say so."""
    with house.database.read() as tx:
        beat = site_store.fact(tx, "jobs_beat")
    return beat is not None and house.clock() - beat.at <= JOBS_LATE


def desk_unproven(house: House) -> bool:
    """Whether the desk that rings when nobody else answers was not proven to be there lately."""
    with house.database.read() as tx:
        return desk_test.late(house, tx, house.clock())


def _late_s(tx: Tx, now: datetime) -> float:
    """How late the most overdue step or unsent message is."""
    waiting = (store.oldest_due_step(tx), outbox.oldest_unsent(tx))
    return max((max(0.0, (now - at).total_seconds()) for at in waiting if at is not None), default=0.0)


def measures(house: House) -> dict[str, tuple[str, float]]:
    now = house.clock()
    with house.database.read() as tx:
        late_s, unsent = _late_s(tx, now), outbox.oldest_unsent(tx)
        open_count = store.count_open(tx)
        waiting = outbox.count_outbox(tx)
        cursor = store.last_cursor(tx)
        audit = auditing.standing_now(tx, now)
        mended = auditing.mended_so_far(tx)
        without = reachability.count_gaps(tx, now)
        watched = watching.looks_now(house, tx)
        unproven, proven_at = desk_test.late(house, tx, now), desk_test.proven(house, tx)
    return {
        "ansim_open_incidents": ("Incidents that are not closed", open_count),
        "ansim_oldest_overdue_step_seconds": (
            "How late the most overdue step or unsent message is",
            late_s,
        ),
        "ansim_oldest_unsent_seconds": (
            "How long the oldest message has waited to be sent",
            max(0.0, (now - unsent).total_seconds()) if unsent else 0.0,
        ),
        "ansim_outbox_waiting": ("Messages waiting or being sent", waiting),
        "ansim_steps_overdue": ("Open cases whose next step is over 10 s late", audit.steps_overdue),
        "ansim_pages_after_ack": ("Pages that could be sent although somebody has the case", audit.pages_after_ack),
        "ansim_leases_dead": ("Messages whose worker is gone for over 10 s", audit.leases_dead),
        "ansim_quiet_overdue": ("Snoozes, held signs and drills past their end", audit.quiet_overdue),
        "ansim_audit_mended_total": ("Steps that the auditor had to mend", mended),
        "ansim_people_with_gap": ("People for whom a time is near in which nobody can be reached", without),
        "ansim_desk_unproven": ("1 while nobody at the desk was proven to be there for over 26 h", float(unproven)),
        "ansim_desk_proven_seconds": (
            "How long ago somebody at the desk last pressed a key; NaN where nobody ever did",
            (now - proven_at).total_seconds() if proven_at is not None else nan,
        ),
        "ansim_watchdog_looks": ("1 while a watchdog looks at this service", float(watched)),
        "ansim_events_total": ("Events told to consoles so far", cursor),
    }
