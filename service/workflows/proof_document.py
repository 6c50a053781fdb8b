"""What a proof is: the signed document of one closed case, its head, and how it is given away by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.store.audit import chain

FORMAT = "ansim-proof-1"
EXPORT_FORMAT = "ansim-proof-export-1"
CONTEXT = b"ansim proof v1"
PUBLISHED = "proof_key:"
"""Names the rows of ``site`` in which an installation publishes its public keys."""
GENESIS = bytes(32)


class Leaf(msgspec.Struct, array_like=True, frozen=True):
    """One row: its table, its key, and the SHA-256 of each set of its columns."""

    table: str
    row: str
    once: bytes
    late: bytes = b""


class Told(msgspec.Struct, array_like=True, frozen=True):
    """A salted commitment to what a sealed record says, which only who may read it can open."""

    about: str
    commitment: bytes


class Document(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What is signed of one closed case. Ids, times and hashes only: erasing a person's key leaves it true."""

    format: str = FORMAT
    number: int
    before: bytes
    """Head of the proof made before this one, of whichever case."""
    patient_id: UUID
    incident_id: UUID
    version: int
    previous: bytes
    """Head of this case's version before; empty for the first."""
    made_at_us: int
    keyid: str
    looks: int
    look: bytes
    """How many rows the person's access log had, and the hash of the last."""
    salt: bytes
    """Opens the commitments; sealed with the person's key, so that erasing that closes them for good."""
    leaves: list[Leaf]
    told: list[Told]


def encoded(document: Document) -> bytes:
    return msgspec.json.encode(document)


def head_of(document: Document) -> bytes:
    """The chain over all that the document says, in order."""
    bare = msgspec.structs.replace(document, leaves=[], told=[])
    link = hashlib.sha256(CONTEXT + encoded(bare)).digest()
    for leaf in document.leaves:
        link = chain(link, leaf.table.encode(), leaf.row.encode(), leaf.once, leaf.late)
    for told in document.told:
        link = chain(link, b"told", told.about.encode(), told.commitment)
    return link


def fingerprint(public_key: bytes) -> str:
    """The first 128 bits of a public key's SHA-256, as people read it out: 8 groups of 4."""
    digits = hashlib.sha256(public_key).hexdigest()[:32]
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


def keyid_of(public_key: bytes) -> str:
    return fingerprint(public_key).replace(" ", "")


def signed_by(public_key: bytes, head: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, CONTEXT + head)
    except (InvalidSignature, ValueError):
        return False
    return True


def opened(document: bytes) -> Document | str:
    """The document, or why it is none; only its own one way of writing counts, to the byte."""
    try:
        read = msgspec.json.decode(document, type=Document)
        same = encoded(read) == document
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        return f"its document cannot be read ({error})"
    if read.format != FORMAT:
        return f"its format is {read.format!r}, this program knows {FORMAT!r}"
    return read if same else "its document is not written as it was signed"


def committed(own_salt: bytes, content: bytes) -> bytes:
    """SHA-256 over a salt and what it hides."""
    return hashlib.sha256(own_salt + content).digest()


class Version(msgspec.Struct, kw_only=True):
    """One version of a case's proof: the text that was signed, and its signature."""

    document: str
    signature: bytes


class Opened(msgspec.Struct, kw_only=True):
    """A line that may be read, and the salt that shows that it was signed so."""

    about: str
    salt: bytes
    content: Any


class Export(msgspec.Struct, kw_only=True):
    """A proof by itself: checked with ``ansim verify --proof FILE``, without any database."""

    format: str = EXPORT_FORMAT
    incident_id: UUID
    fingerprint: str
    public_key: bytes
    simulated: bool = False
    """What the control centre says beside the proof: it is not part of what is signed."""
    versions: list[Version]
    opened: list[Opened] = []
    withheld: int = 0
    """Lines that were signed and are kept by the control centre."""


def read_export(raw: bytes) -> Export:
    """The export as it was written. ValueError for a word beside what is known: it would pass for signed."""
    export = msgspec.json.decode(raw, type=Export)
    given = json.loads(raw, object_pairs_hook=_each_once)
    unknown = next(_unknown(given), None)
    if unknown is not None:
        raise ValueError(f"it has {unknown!r}, which no proof has and nothing signs: get the file anew")
    if given.get("format") != EXPORT_FORMAT:
        raise ValueError(f"its format is {given.get('format')!r}, this program knows {EXPORT_FORMAT!r}")
    return export


def _unknown(given: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in given if name not in Export.__struct_fields__)
    for part, known in (("versions", Version), ("opened", Opened)):
        for at, one in enumerate(given.get(part, ())):
            yield from (f"{part}[{at}].{name}" for name in one if name not in known.__struct_fields__)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it gives {name!r} twice")
        found[name] = value
    return found
