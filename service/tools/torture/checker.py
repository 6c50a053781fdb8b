"""The checker: what the database and the carrier's own log say in the end, held against what was promised."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text

from dispatch.incident import EDGES, State
from service.store import audit
from service.store.database import Database, Tx
from service.store.tables import (
    MICROSECOND,
    AccessLog,
    AlarmConditionRow,
    IncidentLog,
    IncidentRow,
    Notification,
    Receipt,
    Upload,
    table,
)
from service.tools.torture.board import SETTLED
from service.tools.torture.carrier import Carrier, Placed
from service.tools.torture.crowd import Crowd
from service.tools.torture.town import Sign, Town

_INCIDENT, _OUTBOX = table(IncidentRow), table(Notification)
_CONDITION, _LOG, _ACCESS = table(AlarmConditionRow), table(IncidentLog), table(AccessLog)
_UPLOAD, _RECEIPT = table(Upload), table(Receipt)
TAKEN_BY_HAND = frozenset({"acknowledge", "dispatch", "progress", "close"})
TAKE_KEY = "3"
HUMANS = {"contact", "desk"}
UNTRUE = timedelta(minutes=5)
SHOWN = 12


@dataclass
class Findings:
    """Counts by promise, and a few examples of each that was broken."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, promise: str, example: str) -> None:
        self.counts[promise] += 1
        if len(self.examples[promise]) < SHOWN:
            self.examples[promise].append(example)


@dataclass
class Evidence:
    """All rows that matter, read once."""

    incidents: dict[UUID, Row[Any]]
    messages: dict[UUID, Row[Any]]
    placed: list[Placed]
    claims: Sequence[Row[Any]]
    changes: Sequence[Row[Any]]
    drops: Sequence[Row[Any]] = ()
    """Messages that a worker held and gave up because somebody had acknowledged."""

    def by_incident(self) -> dict[UUID, list[Row[Any]]]:
        grouped = defaultdict(list)
        for row in self.messages.values():
            grouped[row.incident_id].append(row)
        return grouped


def gather(tx: Tx, carrier: Carrier) -> Evidence:
    columns = [column for column in _OUTBOX.c if column.name != "sealed"]
    incidents = [column for column in _INCIDENT.c if column.name != "sealed"]
    return Evidence(
        incidents={row.id: row for row in tx.conn.execute(select(*incidents))},
        messages={row.id: row for row in tx.conn.execute(select(*columns))},
        placed=list(carrier.placed.values()),
        claims=tx.conn.execute(text("SELECT * FROM torture_claim ORDER BY seq")).all(),
        changes=tx.conn.execute(text("SELECT * FROM torture_case ORDER BY seq")).all(),
        drops=tx.conn.execute(text("SELECT * FROM torture_drop ORDER BY seq")).all(),
    )


def check(database: Database, town: Town, crowd: Crowd, carrier: Carrier, lease_s: float) -> Findings:
    """Everything that can be seen from outside."""
    found = Findings()
    with database.read() as tx:
        seen = gather(tx, carrier)
        _signs_without_case(tx, town, found)
        _uploads_without_receipt(tx, town, found)
        _repeated_keys(tx, found)
        _chains(tx, found)
        owed = tx.conn.execute(select(func.count()).select_from(_UPLOAD).where(_UPLOAD.c.detected_at.is_(None)))
        found.counts["undetected_uploads"] += owed.scalar_one()
    _cases_without_human(seen, crowd, found)
    _pages_after_acknowledgement(seen, lease_s, found)
    _leases(seen, lease_s, found)
    _moves(seen, found)
    _taken_by_nobody(seen, crowd, found)
    _doubled(seen, found)
    for one in seen.placed:
        if one.wrong_ear:
            found.add("wrong_ear", one.sid)
    return found


def _signs_without_case(tx: Tx, town: Town, found: Findings) -> None:
    """Every answered SOS and fall is a condition of a case; people whose heart raced are counted, and only told.

    Whether a racing heart is a sign is for detection to judge, from times that a clock jump has moved.
    """
    query = (
        select(_CONDITION.c.patient_id, _CONDITION.c.code, func.count())
        .join(_INCIDENT, _INCIDENT.c.id == _CONDITION.c.incident_id)
        .group_by(_CONDITION.c.patient_id, _CONDITION.c.code)
    )
    known = {(row[0], row[1]): row[2] for row in tx.conn.execute(query)}
    for ward in town.wards:
        for sign in (Sign.SOS, Sign.FALL):
            missing = ward.signs[sign] - known.get((ward.patient_id, sign.value), 0)
            for _ in range(missing):
                found.add("lost", f"{sign} of patient {ward.patient_id} was answered 200 and opened nothing")
        if ward.signs[Sign.VITALS]:
            found.counts["vitals_patients"] += 1
            found.counts["vitals_with_case"] += any(
                patient == ward.patient_id and code not in {Sign.SOS, Sign.FALL} for patient, code in known
            )


def _uploads_without_receipt(tx: Tx, town: Town, found: Findings) -> None:
    kept = set(tx.conn.execute(select(_RECEIPT.c.upload_id)).scalars())
    for ward in town.wards:
        for upload_id in ward.answered:
            if upload_id not in kept:
                found.add("lost_readings", f"upload {upload_id} was answered 200 and has no receipt")


def _cases_without_human(seen: Evidence, crowd: Crowd, found: Findings) -> None:
    """Lost: nobody was told although somebody was due, or it ended open in nobody's hands."""
    placed = {one.reference for one in seen.placed}
    sos = {ward.patient_id for ward in crowd.town.wards if ward.sign is Sign.SOS}
    for incident_id, messages in _with_none(seen):
        row = seen.incidents[incident_id]
        told = {message.target for message in messages if message.id in placed}
        by_hand = bool(crowd.acted.get(incident_id))
        wanted = HUMANS if row.patient_id in sos and not row.technical else HUMANS | {"patient"}
        if not told & wanted and not by_hand and not (row.technical and row.closed_at is not None):
            found.add("lost", f"incident {incident_id} ({row.state}) reached nobody: {sorted(told)}")
        if row.closed_at is None and not row.acknowledged and row.state not in SETTLED:
            found.add("lost", f"incident {incident_id} was left {row.state} in nobody's hands")


def _with_none(seen: Evidence) -> Iterator[tuple[UUID, list[Row[Any]]]]:
    grouped = seen.by_incident()
    for incident_id in seen.incidents:
        yield incident_id, grouped.get(incident_id, [])


def _pages_after_acknowledgement(seen: Evidence, lease_s: float, found: Findings) -> None:
    lease_us = round(lease_s * 1_000_000)
    # Found outdated and cancelled by the claiming transaction itself, at the claim's own instant: nobody ever held it.
    dropped = {(drop.notification_id, drop.lease) for drop in seen.drops if drop.ended_at == drop.lease - lease_us}
    for claim in seen.claims:
        taken = claim.kind == "page" and claim.acknowledged
        if taken and (claim.notification_id, claim.lease) not in dropped:
            found.add("pages_claimed_after_ack", f"notification {_uuid(claim.notification_id)} try {claim.tries}")


def _leases(seen: Evidence, lease_s: float, found: Findings) -> None:
    """Nobody takes what a worker still holds; a lease too far off to be true was written before a clock jump."""
    for claim in seen.claims:
        if claim.was_status != "claimed" or claim.was_lease is None:
            continue
        left_us = claim.was_lease - (claim.lease - round(lease_s * 1_000_000))
        if 0 < left_us <= UNTRUE // MICROSECOND:
            found.add("leases_broken", f"notification {_uuid(claim.notification_id)} try {claim.tries}")


def _moves(seen: Evidence, found: Findings) -> None:
    for change in seen.changes:
        if change.closed_at is None and change.next_step_at is None:
            found.add("orphans", f"incident {_uuid(change.incident_id)} version {change.version}")
        if change.was_state is None or change.was_state == change.state:
            continue
        if State(change.state) not in _reachable(State(change.was_state)):
            found.add("illegal_moves", f"incident {_uuid(change.incident_id)} {change.was_state} -> {change.state}")


def _reachable(state: State) -> set[State]:
    """One decision may take two edges: who acknowledges during the check confirms it, a check that ends may close."""
    onward = set(EDGES[state])
    return onward | set(itertools.chain.from_iterable(EDGES[one] for one in onward))


def _taken_by_nobody(seen: Evidence, crowd: Crowd, found: Findings) -> None:
    """Only a pressed key or an action at the board acknowledges."""
    pressed = set()
    for one in seen.placed:
        message = seen.messages.get(one.reference) if one.reference else None
        if message is not None and any(TAKE_KEY in keys for keys in one.pressed):
            pressed.add(message.incident_id)
    for change in seen.changes:
        incident_id = _uuid(change.incident_id)
        if change.acknowledged and not change.was_acknowledged:
            by_hand = crowd.acted.get(incident_id, set()) & TAKEN_BY_HAND
            if incident_id not in pressed and not by_hand:
                found.add("acknowledged_by_nobody", f"incident {incident_id} version {change.version}")


def _doubled(seen: Evidence, found: Findings) -> None:
    times = Counter(one.reference for one in seen.placed if one.reference is not None)
    found.counts["placed"] = len(seen.placed)
    found.counts["placed_unknown"] = sum(one.reference is None for one in seen.placed)
    for reference, n in times.items():
        for _ in range(n - 1):
            row = seen.messages.get(reference)
            what = f"{row.kind}/{row.step}/{row.channel} tries {row.tries}" if row else "unknown"
            found.add("duplicates", f"notification {reference} ({what}) placed {n} times")


def _repeated_keys(tx: Tx, found: Findings) -> None:
    key = [_OUTBOX.c[name] for name in ("incident_id", "step", "target_id", "channel", "attempt")]
    for row in tx.conn.execute(select(*key, func.count()).group_by(*key).having(func.count() > 1)):
        found.add("unique_violations", str(tuple(row)))


def _chains(tx: Tx, found: Findings) -> None:
    """Both hash chains: the cases' logs and the records of who looked."""
    seq, previous, owner = 0, b"", None
    for row in tx.conn.execute(select(_LOG).order_by(_LOG.c.incident_id, _LOG.c.seq)):
        if row.incident_id != owner:
            seq, previous, owner = 0, row.incident_id.bytes, row.incident_id
        seq += 1
        number = row.seq.to_bytes(8, "big")
        link = audit.chain(previous, row.incident_id.bytes, number, audit.stamp(row.at), row.sealed)
        if (row.seq, row.previous, row.hash) != (seq, previous, link):
            found.add("broken_chains", f"incident {row.incident_id} line {row.seq}")
        previous = row.hash
    owner = None
    for row in tx.conn.execute(select(_ACCESS).order_by(_ACCESS.c.patient_id, _ACCESS.c.seq)):
        if row.patient_id != owner:
            seq, previous, owner = 0, row.patient_id.bytes, row.patient_id
        seq += 1
        if (row.seq, row.previous) != (seq, previous):
            found.add("broken_chains", f"access of {row.patient_id} line {row.seq}")
        previous = row.hash


def _uuid(value: object) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
