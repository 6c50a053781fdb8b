"""Checking proofs offline: signatures, chains, and every row against what was signed. Needs no key but a public one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from service.store import proof as store
from service.store.proof_copy import Copy, CopyDamaged, Raw
from service.store.tables import EPOCH, MICROSECOND
from service.workflows.proof_chains import Report, check_log, check_looks, groups, uuid_of
from service.workflows.proof_document import (
    GENESIS,
    PUBLISHED,
    Document,
    Export,
    Leaf,
    committed,
    fingerprint,
    head_of,
    keyid_of,
    opened,
    signed_by,
)

Last = tuple[int, bool, int]
"""Of a case's newest proof: its version, whether it may be gone by, and its number."""
COLUMN_SETS = {
    "once": "a value that is written once was changed after it was signed",
    "late": "a value that was final when it was signed was changed afterwards",
}


@dataclass(frozen=True)
class Pin:
    """What whoever verifies knows from elsewhere: a key, and a head that was written down outside."""

    public_key: bytes | None = None
    keyid: str = ""
    head: tuple[int, bytes] | None = None


def check(copy: Copy, pin: Pin | None = None) -> Report:
    """Everything that can be checked on a copy of the database."""
    report, pin = Report(), pin or Pin()
    report.pinned = pin.public_key is not None or bool(pin.keyid)
    try:
        _check_all(copy, pin, report)
    except CopyDamaged as error:
        report.fault(error.table, "", f"cannot be read: {error.why}")
    return report


def _check_all(copy: Copy, pin: Pin, report: Report) -> None:
    pinned: dict[UUID, dict[int, bytes]] = {}
    last = _check_proofs(copy, _Keys(_published(copy), pin, report), pin, pinned, report)
    owed = _check_incidents(copy, last, report)
    for incident_id, (_, sound, number) in last.items():
        if sound:
            row = copy.rows("proof", "number = :n", n=number)[0]
            document = opened(bytes(row["document"]))
            assert isinstance(document, Document)  # noqa: S101 - it was opened a moment ago
            _check_leaves(copy, document, report, owed=incident_id in owed)
    check_looks(copy, pinned, report)


def _published(copy: Copy) -> dict[str, bytes]:
    """What the installation says its public keys are; each is known by its own hash."""
    found = {}
    for value in copy.site(PUBLISHED).values():
        try:
            public_key = bytes.fromhex(value)
        except (ValueError, TypeError):
            continue
        found[keyid_of(public_key)] = public_key
    return found


class _Keys:
    """Public keys by id: the one given, and those that came with what is checked."""

    def __init__(self, published: Mapping[str, bytes], pin: Pin, report: Report) -> None:
        self._pin, self._report = pin, report
        self._known = dict(published)
        if pin.public_key is not None:
            self._known[keyid_of(pin.public_key)] = pin.public_key

    def why_not(self, keyid: str, head: bytes, signature: bytes) -> str | None:
        wanted = keyid_of(self._pin.public_key) if self._pin.public_key is not None else self._pin.keyid
        if wanted and keyid != wanted:
            return f"it is signed with key {keyid}, not with the key that was given ({wanted})"
        public_key = self._known.get(keyid)
        if public_key is None:
            return f"its key {keyid} is not known: give --public-key"
        if not signed_by(public_key, head, signature):
            return "its signature does not fit"
        self._report.keys[keyid] = fingerprint(public_key)
        return None


def check_export(export: Export, pin: Pin | None = None) -> Report:
    """A proof that came by itself: its signatures, the chain of its versions, and every line that it shows."""
    report, pin = Report(incidents=1), pin or Pin()
    report.pinned = pin.public_key is not None or bool(pin.keyid)
    keys = _Keys({keyid_of(export.public_key): export.public_key}, pin, report)
    last: dict[UUID, Last] = {}
    heads: dict[UUID, bytes] = {}
    newest: Document | None = None
    for at, version in enumerate(export.versions, 1):
        name = f"{export.incident_id}/{at}"
        document = opened(version.document.encode())
        report.proofs += 1
        if isinstance(document, str):
            report.fault("proof", name, f"changed: {document}")
            continue
        head = head_of(document)
        why = keys.why_not(document.keyid, head, version.signature)
        if document.incident_id != export.incident_id:
            why = "it is another case's"
        if why is not None:
            report.fault("proof", name, f"changed: {why}")
        _check_version(document, last, heads, name, report)
        heads[document.incident_id], last[document.incident_id] = head, (document.version, True, document.number)
        report.head, newest = f"{document.number}:{head.hex()}", document
    if newest is None:
        report.fault("proof", str(export.incident_id), "missing: there is no version that can be read")
        return report
    report.rows, report.late = len(newest.leaves), int(newest.version > 1)
    _check_outside(export, newest, report)
    return report


def _check_outside(export: Export, newest: Document, report: Report) -> None:
    """What stands beside the signed versions: the lines it opens, and how many it says it does not."""
    signed = {one.about: one.commitment for one in newest.told}
    shown: set[str] = set()
    for line in export.opened:
        content = msgspec.json.encode(line.content, order="sorted")
        if signed.get(line.about) != committed(line.salt, content):
            report.fault("opened", line.about, "changed: it is not what was signed")
        elif line.about in shown:
            report.fault("opened", line.about, "added: it is shown twice")
        else:
            shown.add(line.about)
    logged = {f"incident_log/{leaf.row.rpartition('/')[2]}" for leaf in newest.leaves if leaf.table == "incident_log"}
    report.unopened = len((logged | signed.keys()) - shown)
    absent = len(signed.keys() - {line.about for line in export.opened})
    if export.withheld != absent:
        why = f"changed: it says {export.withheld} lines are withheld, {absent} are not there"
        report.fault("export", "withheld", why)
    if export.fingerprint != fingerprint(export.public_key):
        why = f"changed: it is not that of the key in the file ({fingerprint(export.public_key)})"
        report.fault("export", "fingerprint", why)


# --- the proofs themselves ------------------------------------------------------------------------


def _check_proofs(
    copy: Copy, keys: _Keys, pin: Pin, pinned: dict[UUID, dict[int, bytes]], report: Report
) -> dict[UUID, Last]:
    """The chain over all proofs. Gives the last version of every case, and whether it may be gone by.

    What proofs say of a person's access log is put into ``pinned``.
    """
    last: dict[UUID, Last] = {}
    heads: dict[UUID, bytes] = {}
    before, expected, escrowed = GENESIS, 1, False
    for row in copy.stream("proof", order="number, incident_id, version"):
        report.proofs += 1
        report.rows += 1
        name = store.row_key("proof", row)
        document, why = _proof_fault(row, keys)
        if why is not None or document is None:
            report.fault("proof", name, f"changed: {why}", incident=name.partition("/")[0])
            before, expected = b"", expected + 1
            if document is not None:
                last[document.incident_id] = (document.version, False, document.number)
            continue
        if document.number > expected:
            gap = f"{expected}" if document.number == expected + 1 else f"{expected} to {document.number - 1}"
            report.fault("proof", f"number {gap}", "missing from the chain of all proofs")
        elif before and document.before != before:
            report.fault("proof", name, "does not follow the proof before it", incident=str(document.incident_id))
        _check_version(document, last, heads, name, report)
        head = head_of(document)
        before, expected = head, document.number + 1
        heads[document.incident_id] = head
        if document.looks:
            pinned.setdefault(document.patient_id, {})[document.looks] = document.look
        last[document.incident_id] = (document.version, True, document.number)
        report.late += document.version > 1
        report.head = f"{document.number}:{head.hex()}"
        if pin.head is not None and pin.head[0] == document.number:
            escrowed = True
            if pin.head[1] != head:
                report.fault("proof", name, "is not the one whose head was kept on paper")
    if pin.head is not None and not escrowed:
        report.fault("proof", f"number {pin.head[0]}", "missing: its head was kept on paper")
    return last


def _check_version(
    document: Document, last: dict[UUID, Last], heads: dict[UUID, bytes], name: str, report: Report
) -> None:
    known = last.get(document.incident_id, (0, True, 0))[0]
    for version in range(known + 1, document.version):
        missing = f"{document.incident_id}/{version}"
        report.fault("proof", missing, "missing: a later version is there", incident=str(document.incident_id))
    if document.version <= known:
        report.fault("proof", name, "its version was there before", incident=str(document.incident_id))
    elif document.version == known + 1 and document.previous != heads.get(document.incident_id, document.previous):
        report.fault("proof", name, "does not follow the version before it", incident=str(document.incident_id))


def _proof_fault(row: Raw, keys: _Keys) -> tuple[Document | None, str | None]:
    raw = row["document"]
    document = opened(bytes(raw)) if isinstance(raw, bytes | memoryview) else "its document is no bytes"
    if isinstance(document, str):
        return None, document
    head = head_of(document)
    said = {
        "patient_id": document.patient_id,
        "incident_id": document.incident_id,
        "version": document.version,
        "number": document.number,
        "made_at": document.made_at_us,
        "head": head,
        "keyid": document.keyid,
    }
    kinds = store.KINDS["proof"]
    for column, value in said.items():
        if store.written(kinds[column], row[column]) != store.written(kinds[column], value):
            return document, f"{column} is not what its document says"
    if not isinstance(row["signature"], bytes | memoryview):
        return document, "its signature does not fit"
    return document, keys.why_not(document.keyid, head, bytes(row["signature"]))


# --- rows against leaves --------------------------------------------------------------------------


def _check_leaves(copy: Copy, document: Document, report: Report, *, owed: bool) -> None:
    incident = str(document.incident_id)
    there = _rows_of(copy, document)
    report.rows += sum(len(rows) for rows in there.values())
    for leaf in document.leaves:
        row = there.get(leaf.table, {}).pop(leaf.row, None)
        if row is None and leaf.table in store.COVERS:
            row = _elsewhere(copy, leaf)
        if row is None:
            report.fault(leaf.table, leaf.row, "missing, or its key was changed", incident=incident)
            continue
        for columns, signed in (("once", leaf.once), ("late", leaf.late)):
            if store.hashed(leaf.table, columns, row) != signed:
                report.fault(leaf.table, leaf.row, COLUMN_SETS[columns], columns=columns, incident=incident, owed=owed)
                break
    for table, rows in there.items():
        for key in rows:
            report.fault(table, key, "added after it was signed", incident=incident, owed=owed)


def _rows_of(copy: Copy, document: Document) -> dict[str, dict[str, Raw]]:
    """All that this case has now, by the same rules by which the proof chose."""
    of, patient = document.incident_id, document.patient_id
    found = {
        "alarm_condition": copy.rows("alarm_condition", "patient_id = :p AND incident_id = :i", p=patient, i=of),
        "incident_log": copy.rows("incident_log", "patient_id = :p AND incident_id = :i", p=patient, i=of),
        "notification": copy.rows("notification", "incident_id = :i", i=of),
        "incident": copy.rows("incident", "id = :i", i=of),
    }
    span = _span(found["alarm_condition"])
    if span is not None:
        where = "patient_id = :p AND last_at >= :since AND received_at <= :until"
        order = f"received_at, id LIMIT {store.MOST_UPLOADS}"
        found["upload"] = copy.rows("upload", where, order, p=patient, since=span[0], until=span[1])
    return {table: {store.row_key(table, row): row for row in rows} for table, rows in found.items()}


def _span(conditions: Iterable[Raw]) -> tuple[int, int] | None:
    try:
        times = [(_moment(row["started_at"]), _moment(row["detected_at"])) for row in conditions]
        span = store.span_of_evidence(times)
    except (TypeError, OverflowError):
        return None  # a damaged time: the condition itself is named, and the uploads are looked up one by one
    if span is None:
        return None
    return (span[0] - EPOCH) // MICROSECOND, (span[1] - EPOCH) // MICROSECOND


def _moment(micros: Any) -> Any:
    return EPOCH + timedelta(microseconds=micros)


def _elsewhere(copy: Copy, leaf: Leaf) -> Raw | None:
    """A row that is not where its case's rows are: found by its own id, so that it can be named as changed."""
    if leaf.table == "incident_log":
        incident_id, _, seq = leaf.row.partition("/")
        found = copy.rows("incident_log", "incident_id = :i AND seq = :s", i=UUID(incident_id), s=int(seq))
    else:
        found = copy.rows(leaf.table, "id = :i", i=UUID(leaf.row))
    return found[0] if found else None


# --- what no proof covers (yet) -------------------------------------------------------------------


def _check_incidents(copy: Copy, last: Mapping[UUID, Any], report: Report) -> set[UUID]:
    """Every case's log chain, and whether a closed one has its proof. Gives the cases whose proof is owed."""
    patients: dict[Any, Any] = {}
    owed: set[UUID] = set()
    for row in copy.stream("incident", order="id"):
        report.incidents += 1
        patients[row["id"]] = row["patient_id"]
        key, proven = uuid_of(row["id"]), uuid_of(row["id"]) in last
        if row["proof_due_at"] is not None and key is not None:
            owed.add(key)
        if not proven:
            report.rows += 1
            if row["closed_at"] is None:
                continue
            report.waiting += row["proof_due_at"] is not None
            if row["proof_due_at"] is None:
                name = store.row_key("incident", row)
                report.fault("proof", f"{name}/1", "missing: the case is closed and no proof is owed", incident=name)
    for rows in groups(copy.stream("incident_log", order="incident_id, seq"), "incident_id"):
        if uuid_of(rows[0]["incident_id"]) not in last:
            report.rows += len(rows)
        check_log(rows, patients, report)
    return owed
