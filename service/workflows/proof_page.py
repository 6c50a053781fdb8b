"""A proof for people: what happened in words, that it is as it was signed, and the file to check it with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import messages
from dispatch.codes import Log
from dispatch.incident import SYSTEM, LogEntry
from service.sealing import SealingError
from service.store import incidents as incident_store
from service.store import proof as store
from service.store.database import Tx
from service.workflows import cases, faces, proof, records
from service.workflows.house import House
from service.workflows.proof_document import Document, Export, Leaf, Opened, Version, head_of, opened, signed_by
from service.workflows.records import _people_in
from service.workflows.words import say

KEPT = frozenset(
    {
        Log.NOTED,
        Log.ANSWERED_FINE,
        Log.ANSWERED_HELP,
        Log.ANSWERED_DURESS,
        Log.FINE_NOT_BELIEVED,
        Log.LATE_FINE,
        Log.LATE_HELP,
    }
)
"""What the family's copy leaves out: notes of the desk, and which key the person pressed. It may be one of the family
whom they fear, and a secret call for help that alone were missing would give itself away."""
BARE = frozenset({Log.CHECK_ENDED, Log.CONFIRMED, Log.REOPENED})
TELLING = ("how", "why")
"""Parameters by which these lines would tell the same."""


class KeyRecord(msgspec.Struct, kw_only=True):
    """The public key with which every proof of this installation is checked."""

    alg: str
    keyid: str
    fingerprint: str
    pem: str


def key(house: House) -> KeyRecord:
    own = proof.signing_key(house)
    return KeyRecord(alg="ed25519", keyid=own.keyid, fingerprint=own.fingerprint, pem=own.pem)


def face(house: House, incident_id: UUID, language: str, *, full: bool) -> dict[str, Any]:
    """The timeline in words, and what is proven of it now. LookupError when there is no such case."""
    with house.database.read() as tx:
        row = _row(tx, incident_id)
        versions = store.versions(tx, row.patient_id, incident_id)
        standing = _standing(house, tx, row, versions)
        lines = _lines(house, tx, row, language, full=full)
        head = faces.case_row(house, tx, row, [], UUID(int=0), language, house.clock())
        outcome = _outcome(house, row, language)
    newest = versions[-1] if versions else None
    return {
        "now": house.clock(),
        "id": incident_id,
        "patient": head["patient"],
        "reasons": head["reasons"],
        "state_text": head["state_text"],
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "outcome_text": outcome,
        "lines": lines,
        "standing": standing,
        "full": full,
        "fingerprint": proof.signing_key(house).fingerprint,
        "made_at": newest.made_at if newest else None,
        "version": newest.version if newest else None,
        "number": newest.number if newest else None,
        "head": newest.head.hex() if newest else "",
        "rows": len(_document(newest).leaves) if newest is not None and _document(newest) else 0,
    }


def _row(tx: Tx, incident_id: UUID) -> Row[Any]:
    row = incident_store.incident(tx, incident_id)
    if row is None:
        raise LookupError(f"no incident {incident_id}")
    return row


def _document(row: Row[Any]) -> Any:
    document = opened(row.document)
    return document if isinstance(document, Document) else None


def _standing(house: House, tx: Tx, row: Row[Any], versions: Any) -> str:
    """``open``, ``waiting``, ``verified``, or ``altered`` when what is there is not what was signed."""
    if row.closed_at is None:
        return "open"
    if not versions:
        return "waiting"
    newest = versions[-1]
    document = _document(newest)
    public = proof.signing_key(house).public
    if document is None or head_of(document) != newest.head or not signed_by(public, newest.head, newest.signature):
        return "altered"
    now = proof.leaves_of(tx, row)
    if document.leaves == now:
        return "verified"
    # What came late is signed within seconds; what was written once can only have been changed.
    owed = row.proof_due_at is not None and _only_late(document.leaves, now)
    return "waiting" if owed else "altered"


def _only_late(signed: list[Leaf], now: list[Leaf]) -> bool:
    once = {(leaf.table, leaf.row): leaf.once for leaf in now}
    return all(once.get((leaf.table, leaf.row)) == leaf.once for leaf in signed)


def _lines(house: House, tx: Tx, row: Row[Any], language: str, *, full: bool) -> list[dict[str, Any]]:
    if full:
        return [{"at": one.at, "text": one.text} for one in records.log_records(house, tx, row, language)]
    said, wanted = [], set()
    for entry in incident_store.log(tx, row.patient_id, row.id):
        try:
            line = house.unseal(row.patient_id, "incident_log", f"{row.id}:{entry.seq}", entry.sealed, cases.Line)
        except SealingError:
            line = cases.Line(what="record_unreadable", who=SYSTEM)
        said.append((entry, line))
        wanted.update(_people_in(line))
    names = records.names_of(house, tx, wanted, language)

    def name_of(who: str) -> str:
        return names.get(UUID(who.removeprefix("person:")), who) if who.startswith("person:") else who

    found = []
    for entry, line in said:
        if line.what in KEPT:
            continue
        shown = LogEntry(what=line.what, who=line.who, params=_for_family(line))
        found.append({"at": entry.at, "text": messages.log_text(shown, language, name_of)})
    return found


def _for_family(line: cases.Line) -> dict[str, Any]:
    return {name: value for name, value in line.params.items() if not (line.what in BARE and name in TELLING)}


def _outcome(house: House, row: Row[Any], language: str) -> str:
    try:
        case = cases.open_case(house, row)
    except SealingError:
        return say("why.unreadable", language)
    return messages.close_reason_text(case.close_reason, language) if case.close_reason else ""


def export(house: House, incident_id: UUID, *, full: bool) -> Export:
    """Every version as it was signed, and the lines that this viewer may read, each with its own salt."""
    own = proof.signing_key(house)
    with house.database.read() as tx:
        row = _row(tx, incident_id)
        versions = store.versions(tx, row.patient_id, incident_id)
        if not versions:
            raise LookupError(f"no proof of incident {incident_id} yet")
        shown, withheld = _opened(house, tx, row, versions[-1], full=full)
    return Export(
        incident_id=incident_id,
        fingerprint=own.fingerprint,
        public_key=own.public,
        simulated=bool(row.is_simulated),
        versions=[Version(document=one.document.decode(), signature=one.signature) for one in versions],
        opened=shown,
        withheld=withheld,
    )


def _opened(
    house: House, tx: Tx, row: Row[Any], newest: Row[Any], *, full: bool
) -> tuple[list[Opened], int]:
    document = _document(newest)
    if document is None or not document.told:
        return [], 0
    try:
        salt = proof.open_salt(house, document)
    except SealingError:
        return [], len(document.told)
    signed = {one.about: one.commitment for one in document.told}
    shown = []
    for about, content in proof.told(house, tx, row):
        if signed.get(about) != proof.commitment(salt, about, content):
            continue  # it came after this version, or is not what it was when this was signed
        plain = msgspec.json.decode(content)
        if full or not _is_kept(plain):
            shown.append(Opened(about=about, salt=proof.salt_of(salt, about), content=plain))
    return shown, len(signed) - len(shown)


def _is_kept(plain: dict[str, Any]) -> bool:
    return plain.get("what") in KEPT | BARE
