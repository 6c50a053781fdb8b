"""Checking hash chains on a copy: each row's own link, and that it follows the row before it; and what is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from service.store import proof as store
from service.store.audit import chain, stamp
from service.store.proof_copy import Copy, Raw


class Fault(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One row that is not what was signed or chained."""

    table: str
    row: str
    what: str
    columns: str = ""
    """Which set of columns: ``once`` or ``late``; empty where the whole row is meant."""
    incident: str = ""
    owed: bool = False
    """A newer proof was owed for this case: jobs may have been stopped, or a copy taken within seconds of a change."""


@dataclass
class Report:
    incidents: int = 0
    rows: int = 0
    proofs: int = 0
    waiting: int = 0
    """Closed cases whose proof was still owed when the copy was made."""
    late: int = 0
    """Proofs of a version above 1: something came after closing, and was signed then."""
    unopened: int | None = None
    """Lines that an exported proof was signed over and does not show; None where a database was checked."""
    head: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Fingerprint of every key that signed, by key id."""
    pinned: bool = False
    faults: list[Fault] = field(default_factory=list)
    _named: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def ok(self) -> bool:
        return not self.faults

    def fault(self, table: str, row: str, what: str, **more: Any) -> None:
        key = (table, row, more.get("columns", ""))
        if key not in self._named and (table, row, "") not in self._named:
            self._named.add(key)
            self.faults.append(Fault(table=table, row=row, what=what, **more))


def groups(rows: Iterator[Raw], column: str) -> Iterator[list[Raw]]:
    group: list[Raw] = []
    for row in rows:
        if group and group[0][column] != row[column]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def check_log(rows: list[Raw], patients: Mapping[Any, Any], report: Report) -> None:
    incident_id = uuid_of(rows[0]["incident_id"])
    named = str(incident_id or rows[0]["incident_id"])
    if rows[0]["incident_id"] not in patients or incident_id is None:
        for row in rows:
            report.fault("incident_log", store.row_key("incident_log", row), "belongs to no case", incident=named)
        return

    def link(row: Raw, previous: bytes) -> bytes:
        seq = int(row["seq"]).to_bytes(8, "big")
        return chain(previous, incident_id.bytes, seq, _stamp(row["at"]), bytes(row["sealed"]))

    for row in rows:
        if row["patient_id"] != patients[row["incident_id"]]:
            key = store.row_key("incident_log", row)
            report.fault("incident_log", key, "changed: it is another person's than its case", incident=named)
    _check_chain("incident_log", rows, incident_id.bytes, link, report, named)


def check_looks(copy: Copy, pinned: dict[UUID, dict[int, bytes]], report: Report) -> None:
    """Every person's access log, and what of it was pinned by a signed proof."""
    for rows in groups(copy.stream("access_log", order="patient_id, seq"), "patient_id"):
        report.rows += len(rows)
        patient_id = uuid_of(rows[0]["patient_id"])
        if patient_id is None:
            for row in rows:
                report.fault("access_log", store.row_key("access_log", row), "changed: patient_id is no id")
            continue

        def link(row: Raw, previous: bytes, patient: UUID = patient_id) -> bytes:
            incident = b"" if row["incident_id"] is None else _bytes_of(row["incident_id"])
            seq, at = int(row["seq"]).to_bytes(8, "big"), _stamp(row["at"])
            role, purpose = (str(row[one]).encode("utf-8", "surrogateescape") for one in ("viewer_role", "purpose"))
            return chain(previous, patient.bytes, seq, at, _bytes_of(row["viewer_id"]), role, purpose, incident)

        _check_chain("access_log", rows, patient_id.bytes, link, report, "")
        _check_pinned(rows, patient_id, pinned.pop(patient_id, {}), report)
    for patient_id, pins in pinned.items():
        report.fault("access_log", f"{patient_id}/{max(pins)}", "missing: a signed proof counted it")


def _check_pinned(rows: list[Raw], patient_id: UUID, pins: Mapping[int, bytes], report: Report) -> None:
    there = {row["seq"]: row["hash"] for row in rows}
    for seq, signed in sorted(pins.items()):
        if seq not in there:
            report.fault("access_log", f"{patient_id}/{seq}", "missing: a signed proof counted it")
        elif not isinstance(there[seq], bytes | memoryview) or bytes(there[seq]) != signed:
            report.fault("access_log", f"{patient_id}/{seq}", "changed: not what a signed proof pinned")


def _check_chain(table: str, rows: list[Raw], start: bytes, link: Any, report: Report, incident: str) -> None:
    """Each row's link from its own stored one before, and that one against the row before it."""
    before, expected = {start}, 1
    for row in rows:
        key = store.row_key(table, row)
        prefix = key.rpartition("/")[0]
        if not isinstance(row["seq"], int) or row["seq"] < expected:
            report.fault(table, key, "changed: seq does not count on", incident=incident)
            continue
        for seq in range(expected, min(row["seq"], expected + 1000)):
            report.fault(table, f"{prefix}/{seq}", "missing from its chain", incident=incident)
        gap, expected = row["seq"] > expected, row["seq"] + 1
        try:
            previous, stored = bytes(row["previous"]), bytes(row["hash"])
            computed = link(row, previous)
        except (TypeError, ValueError, OverflowError, AttributeError):
            report.fault(table, key, "changed: it is not of its form", incident=incident)
            before = set()
            continue
        if computed != stored:
            report.fault(table, key, "changed: its hash does not fit", incident=incident)
        elif not gap and before and previous not in before:
            report.fault(table, key, "does not follow the row before it", incident=incident)
        # Where only the stored hash was changed, the next row still follows what it should have been.
        before = {stored, computed}


def uuid_of(value: Any) -> UUID | None:
    if isinstance(value, UUID):
        return value
    written = store.written("id", value)
    return UUID(bytes=written[1:]) if written[:1] == b"u" else None


def _bytes_of(value: Any) -> bytes:
    found = uuid_of(value)
    if found is None:
        raise ValueError("no id")
    return found.bytes


def _stamp(value: Any) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool):
        return value.to_bytes(8, "big", signed=True)
    return stamp(value)
