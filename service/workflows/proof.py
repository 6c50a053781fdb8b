"""Proof of help: one signed record of every closed case, and of what came after."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from dispatch.incident import Incident
from service.sealing import KeyErased, SealingError
from service.store import incidents as incident_store
from service.store import outbox
from service.store import people as people_store
from service.store import proof as store
from service.store import site as site_store
from service.store.database import UNAVAILABLE, Tx
from service.store.tables import EPOCH, MICROSECOND
from service.workflows import cases
from service.workflows.house import House, log, warn, where
from service.workflows.proof_document import (
    CONTEXT,
    GENESIS,
    PUBLISHED,
    Document,
    Leaf,
    Told,
    committed,
    encoded,
    fingerprint,
    head_of,
    keyid_of,
    opened,
)

SECRET = "proof-signing"  # noqa: S105 - its name in the key store
SALT_BYTES = 32
AT_ONCE = 10
"""Cases signed in one commit: together they hold other writers up no longer than a page takes.

Where several write at a time each is signed alone: nobody's rows are locked while others' are signed.
"""
MOST = 200


@dataclass(frozen=True)
class SigningKey:
    """This installation's own: its private part lies sealed in the key store."""

    private: Ed25519PrivateKey
    public: bytes
    keyid: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public)

    @property
    def pem(self) -> str:
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(*form).decode()


class Entry(msgspec.Struct, kw_only=True):
    """One line of the log, as a commitment binds it."""

    at: datetime
    what: str
    who: str
    params: dict[str, Any]


class Facts(msgspec.Struct, kw_only=True):
    """How a case went, beside its log."""

    times: dict[str, str]
    priority: str
    close_reason: str | None
    external_reference: str | None


def signing_key(house: House) -> SigningKey:
    """The key, made the first time it is wanted; read once a process."""
    known: SigningKey | None = house.extras.get("proof_key")
    if known is None:
        private = Ed25519PrivateKey.from_private_bytes(house.keys.site_secret(SECRET))
        public = private.public_key().public_bytes_raw()
        known = house.extras["proof_key"] = SigningKey(private, public, keyid_of(public))
    return known


def sign_closed(house: House, most: int = MOST) -> int:
    """Sign the cases whose proof is owed; returns how many were.

    A marker in the closing commit owes it, so that a crash delays a proof and never loses one.
    """
    with house.database.read() as tx:
        owed = store.owed(tx, most)
    done, at_once = 0, AT_ONCE if house.database.is_sqlite else 1
    for at in range(0, len(owed), at_once):
        # In one order everywhere: two processes cannot wait for each other's people.
        batch = sorted(owed[at : at + at_once])
        try:
            done += _commit(house, batch)
        except UNAVAILABLE as error:
            warn("proof_waits", why=type(error).__name__)
            break
        except Exception as error:  # noqa: BLE001 - one broken case must not keep the others from being signed
            warn("proof_batch_failed", why=type(error).__name__, where=where(error))
            done += sum(_alone(house, one) for one in batch)
    return done


def _commit(house: House, batch: list[tuple[UUID, UUID]]) -> int:
    refused: list[tuple[UUID, str, str]] = []
    with house.database.write() as tx:
        done = sum(_sign(house, tx, *one, refused) for one in batch)
    for patient_id, table, row in refused:
        cases.report_unreadable(house, patient_id, table, row)
    return done


def _alone(house: House, one: tuple[UUID, UUID]) -> int:
    try:
        return _commit(house, [one])
    except UNAVAILABLE as error:
        warn("proof_waits", incident=one[1], why=type(error).__name__)
    except Exception as error:  # noqa: BLE001 - the others still get theirs; this one stays owed
        warn("proof_failed", incident=one[1], why=type(error).__name__, where=where(error))
    return 0


def _sign(house: House, tx: Tx, patient_id: UUID, incident_id: UUID, refused: list[tuple[UUID, str, str]]) -> bool:
    people_store.lock_patient(tx, patient_id)
    row = incident_store.incident(tx, incident_id)
    now = house.clock()
    if row is None or row.proof_due_at is None or row.closed_at is None:
        return False
    if store.still_waits(tx, incident_id, row.closed_at, now):
        return False
    before = store.last_version(tx, incident_id, patient_id)
    leaves = leaves_of(tx, row)
    held = opened(before.document) if before is not None else None
    wrong = _rewritten(before, held, leaves)
    if wrong is not None:
        # Signing it would make a forgery true. The verifier names the row; the desk hears of it now.
        warn("proof_refused", incident=incident_id, table=wrong[0], row=wrong[1])
        refused.append((patient_id, *wrong))
    elif isinstance(held, Document) and held.leaves == leaves:
        log("proof_stands", incident=incident_id, version=held.version)
    else:
        _add(house, tx, row, leaves, held if isinstance(held, Document) else None, now)
    store.settled(tx, patient_id, incident_id)
    return wrong is None


def leaves_of(tx: Tx, row: Row[Any]) -> list[Leaf]:
    """One for each row that makes the case up: evidence, findings, log, messages, and the case itself."""
    conditions = store.conditions(tx, row.patient_id, row.id)
    span = store.span_of_evidence((c.started_at, c.detected_at) for c in conditions)
    groups: list[tuple[str, Any]] = [
        ("upload", store.uploads(tx, row.patient_id, *span) if span else ()),
        ("alarm_condition", conditions),
        ("incident_log", incident_store.log(tx, row.patient_id, row.id)),
        ("notification", outbox.notifications_of(tx, [row.id])),
        ("incident", [row]),
    ]
    return [
        Leaf(
            name,
            store.row_key(name, one),
            store.hashed(name, "once", one),
            store.hashed(name, "late", one),
        )
        for name, rows in groups
        for one in store.as_mappings(rows)
    ]


def _rewritten(before: Row[Any] | None, held: Document | str | None, leaves: list[Leaf]) -> tuple[str, str] | None:
    """A row that was signed, and is gone or is not what it was: what was written once may never change."""
    if before is None:
        return None
    if not isinstance(held, Document) or head_of(held) != before.head:
        return "proof", f"{before.incident_id}/{before.version}"
    now = {(leaf.table, leaf.row): leaf.once for leaf in leaves}
    return next(
        ((leaf.table, leaf.row) for leaf in held.leaves if now.get((leaf.table, leaf.row)) != leaf.once), None
    )


def _add(house: House, tx: Tx, row: Row[Any], leaves: list[Leaf], held: Document | None, now: datetime) -> None:
    key = signing_key(house)
    newest = store.newest(tx)
    version = 1 if held is None else held.version + 1
    looks, look = store.last_look(tx, row.patient_id)
    salt, sealed_salt = _salt(house, row, version)
    document = Document(
        number=1 if newest is None else newest.number + 1,
        before=GENESIS if newest is None else newest.head,
        patient_id=row.patient_id,
        incident_id=row.id,
        version=version,
        previous=b"" if held is None else head_of(held),
        made_at_us=(now - EPOCH) // MICROSECOND,
        keyid=key.keyid,
        looks=looks,
        look=look,
        salt=sealed_salt,
        leaves=leaves,
        told=[] if salt is None else [Told(one, commitment(salt, one, words)) for one, words in told(house, tx, row)],
    )
    head = head_of(document)
    store.add(
        tx,
        patient_id=row.patient_id,
        incident_id=row.id,
        version=version,
        number=document.number,
        made_at=now,
        head=head,
        document=encoded(document),
        keyid=key.keyid,
        signature=key.private.sign(CONTEXT + head),
    )
    _publish(tx, key, now)
    log("proof_made", incident=row.id, version=version, number=document.number, rows=len(leaves))


def _salt(house: House, row: Row[Any], version: int) -> tuple[bytes | None, bytes]:
    salt = secrets.token_bytes(SALT_BYTES)
    try:
        return salt, house.keys.seal(row.patient_id, "proof", f"{row.id}:{version}", salt)
    except KeyErased:
        return None, b""


def open_salt(house: House, document: Document) -> bytes:
    """Raises SealingError once the person's key is gone."""
    record = f"{document.incident_id}:{document.version}"
    return house.keys.unseal(document.patient_id, "proof", record, document.salt)


def _publish(tx: Tx, key: SigningKey, now: datetime) -> None:
    """Beside the proofs, so that a copy can be checked alone; what is printed on paper says whether it is ours."""
    name = PUBLISHED + key.keyid
    if site_store.fact(tx, name) is None:
        site_store.put(tx, name, key.public.hex(), now)


def told(house: House, tx: Tx, row: Row[Any]) -> list[tuple[str, bytes]]:
    """What the sealed records of a case say, as (which, its bytes); what does not open is left out."""
    found: list[tuple[str, bytes]] = []
    for entry in incident_store.log(tx, row.patient_id, row.id):
        try:
            line = house.unseal(row.patient_id, "incident_log", f"{row.id}:{entry.seq}", entry.sealed, cases.Line)
        except SealingError:
            continue
        entry_said = Entry(at=entry.at, what=line.what, who=line.who, params=line.params)
        found.append((f"incident_log/{entry.seq}", said(entry_said)))
    with suppress(SealingError):
        found.append(("facts", said(facts_of(cases.open_case(house, row)))))
    return found


def facts_of(case: Incident) -> Facts:
    return Facts(
        times={name: at.isoformat() for name, at in sorted(case.times.items())},
        priority=case.priority.value,
        close_reason=case.close_reason,
        external_reference=case.external_reference,
    )


def said(value: Any) -> bytes:
    """A record's content in its one way of writing."""
    return msgspec.json.encode(value, order="sorted")


def salt_of(salt: bytes, about: str) -> bytes:
    """Every line has a salt of its own: opening one opens no other."""
    return hmac.digest(salt, about.encode(), hashlib.sha256)


def commitment(salt: bytes, about: str, content: bytes) -> bytes:
    return committed(salt_of(salt, about), content)
