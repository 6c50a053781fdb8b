"""The figures of a run: what was found, how soon the first telephone rang, how far it has come."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from sqlalchemy import select

from service.store.database import Database
from service.store.tables import IncidentRow, Notification, table
from service.tools.torture.carrier import Carrier
from service.tools.torture.checker import Findings

if TYPE_CHECKING:
    from service.tools.torture.run import Torture

DUPLICATES_MOST = 0.005
FIRST_NOTIFIED_P99_MOST_MS = 500.0
NEVER = (
    "lost",
    "lost_readings",
    "pages_claimed_after_ack",
    "orphans",
    "unique_violations",
    "broken_chains",
    "illegal_moves",
    "leases_broken",
    "acknowledged_by_nobody",
    "wrong_ear",
    "undetected_uploads",
)
_INCIDENT, _OUTBOX = table(IncidentRow), table(Notification)


def first_notified(database: Database, carrier: Carrier) -> dict[str, float | None]:
    """From the moment stamped into a case, before it commits, to the carrier's taking on its first call or text."""
    first: dict[UUID, datetime] = {}
    with database.read() as tx:
        opened = {row.id: row.opened_at for row in tx.conn.execute(select(_INCIDENT.c.id, _INCIDENT.c.opened_at))}
        whose = {row.id: row.incident_id for row in tx.conn.execute(select(_OUTBOX.c.id, _OUTBOX.c.incident_id))}
    for one in carrier.placed.values():
        incident_id = whose.get(one.reference) if one.reference else None
        if incident_id is not None:
            first[incident_id] = min(one.at, first.get(incident_id, one.at))
    waits_ms = [(at - opened[incident_id]).total_seconds() * 1000 for incident_id, at in first.items()]
    if not waits_ms:
        return {"first_notified_p50_ms": None, "first_notified_p99_ms": None, "calm_incidents": 0}
    return {
        "first_notified_p50_ms": round(float(np.percentile(waits_ms, 50)), 1),
        "first_notified_p99_ms": round(float(np.percentile(waits_ms, 99)), 1),
        "calm_incidents": len(waits_ms),
    }


def result(torture: Torture, found: Findings, calm: dict[str, float | None]) -> dict[str, Any]:
    """Everything that is told, the promise in one word last."""
    given, parts, torturer, board = torture.given, torture.parts, torture.torturer, torture.board
    for incident_id in board.orphans:
        found.add("orphans", f"incident {incident_id} had no next step that would come")
    never = {name: found.counts[name] for name in NEVER}
    placed = found.counts["placed"]
    share = found.counts["duplicates"] / placed if placed else 0.0
    sound = torture.engine.sound()
    p99_ms = calm["first_notified_p99_ms"]
    met = (
        not any(never.values())
        and not torture.crowd.unanswered
        and share <= DUPLICATES_MOST
        and p99_ms is not None
        and p99_ms < FIRST_NOTIFIED_P99_MOST_MS
        and torturer.kills >= given.kills
        and board.opened >= given.incidents
        and sound
    )
    return {
        **never,
        "duplicates": found.counts["duplicates"],
        "duplicate_share": round(share, 5),
        "placed": placed,
        "placed_unknown": found.counts["placed_unknown"],
        "unanswered": torture.crowd.unanswered[:10],
        "kills": torturer.kills,
        "incidents": board.opened,
        "engine": torture.engine.name,
        "engine_sound": sound,
        **calm,
        "step_late_most_s": round(board.step_late_most_s, 1),
        "audits": board.looks,
        "vitals_with_case": [found.counts["vitals_with_case"], found.counts["vitals_patients"]],
        "ended_by_itself": dict(parts.died),
        "faults": dict(sorted(torturer.counts.items())),
        "posts": dict(torture.crowd.statuses),
        "actions": dict(torture.crowd.actions),
        "callback_problems": dict(torture.carrier.problems),
        "errors": [*torturer.errors[:5], *(f"{name} {n}" for name, n in board.found.items())],
        "examples": dict(found.examples),
        "seconds": round(time.monotonic() - torture.began, 1),
        "time_scale": given.time_scale,
        "seed": torture.seed,
        "met": met,
    }


def progress(torture: Torture, elapsed_s: float) -> str:
    """One line, with an estimate of the whole."""
    given, board, kills = torture.given, torture.board, torture.torturer.kills
    shares = [board.opened / given.incidents if given.incidents else 1.0, kills / given.kills if given.kills else 1.0]
    share = min(shares)
    whole = f"{elapsed_s / share / 60:.0f} min" if share > 0.02 else "?"
    open_now = board.under_way
    return (
        f"{board.opened}/{given.incidents} incidents ({open_now} open), {kills}/{given.kills} kills, "
        f"{elapsed_s:.0f} s of about {whole}"
    )
