"""``ansim verify``: whether anything that was signed or chained was changed since, checked offline on a copy."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from dispatch.codes import Log
from dispatch.messages_words import counted
from service.config import Settings
from service.store.proof_copy import CopyUnreadable, open_copy
from service.workflows.proof_chains import Report
from service.workflows.proof_document import Export, fingerprint, keyid_of, read_export
from service.workflows.proof_verify import Pin, check, check_export

OK, ALTERED, USAGE, ENVIRONMENT = 0, 1, 2, 3
SHOWN = 100
"""Faults printed for people; ``--json`` has all of them."""


class Unusable(Exception):
    """An argument that cannot be used; ``exit_code`` says whose fault."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--database", metavar="URL|FILE", help="a copy of the database (the one of the settings)")
    what.add_argument("--proof", type=Path, metavar="FILE", help="one exported proof, without any database")
    parser.add_argument(
        "--public-key", metavar="PEM|FINGERPRINT", help="the key that must have signed: a PEM file, or its fingerprint"
    )
    parser.add_argument("--head", action="store_true", help="also print the newest head, to be kept on paper")
    parser.add_argument("--escrowed", metavar="NUMBER:HEAD", help="a head from paper: it must still be there")
    parser.add_argument("--json", action="store_true", help="the result alone on standard output")


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print what was found; 0 when all is as it was signed, 1 when anything was altered."""
    try:
        pin = Pin(*_key(given.public_key), _head(given.escrowed))
        started = time.monotonic()
        report, export = _checked(given, settings, pin)
    except Unusable as error:
        sys.stderr.write(f"ansim: {error}\n")
        return error.exit_code
    if given.json:
        print(json.dumps(_as_json(report, given.head)))
    else:
        _print(report, export, given.head, time.monotonic() - started)
    return OK if report.ok else ALTERED


def _checked(given: argparse.Namespace, settings: Settings, pin: Pin) -> tuple[Report, Export | None]:
    if given.proof is not None:
        export = _read(given.proof)
        return check_export(export, pin), export
    try:
        with open_copy(given.database or settings.database_url) as copy:
            return check(copy, pin), None
    except CopyUnreadable as error:
        raise Unusable(str(error), ENVIRONMENT) from error


def _read(path: Path) -> Export:
    try:
        return read_export(path.read_bytes())
    except OSError as error:
        raise Unusable(f"--proof must be a readable file, was {str(path)!r} ({error.strerror})", ENVIRONMENT) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unusable(f"--proof must be an exported proof, {str(path)!r} is none: {error}", USAGE) from error


def _key(text: str | None) -> tuple[bytes | None, str]:
    """The key itself from a PEM file, or its fingerprint as it is printed."""
    if not text:
        return None, ""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if re.fullmatch(r"[0-9a-f]{32}", digits):
        return None, digits
    try:
        pem = text.encode() if text.startswith("-----") else Path(text).read_bytes()
        key = load_pem_public_key(pem)
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        wanted = "an Ed25519 public key in PEM, or a fingerprint of 32 hexadecimal digits"
        raise Unusable(f"--public-key must be {wanted}, was {text[:60]!r}", USAGE)
    raw = key.public_bytes_raw()
    return raw, keyid_of(raw)


def _head(text: str | None) -> tuple[int, bytes] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,18}):([0-9a-fA-F]{64})", text.strip())
    if found is None:
        raise Unusable(f"--escrowed must be NUMBER:HEAD as --head prints it, was {text[:80]!r}", USAGE)
    return int(found[1]), bytes.fromhex(found[2])


def _as_json(report: Report, head: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "ok": report.ok,
        "incidents": report.incidents,
        "rows": report.rows,
        "proofs": report.proofs,
        "waiting": report.waiting,
        "late": report.late,
        "unopened": report.unopened,
        "keys": report.keys,
        "pinned": report.pinned,
        "faults": [msgspec.to_builtins(fault) for fault in report.faults],
    }
    return said | ({"head": report.head} if head else {})


def _print(report: Report, export: Export | None, head: bool, took_s: float) -> None:
    for fault in report.faults[:SHOWN]:
        late = " (a newer proof was owed)" if fault.owed else ""
        print(f"ALTERED  {fault.table:<16} {fault.row}  {fault.what}{late}")
    if len(report.faults) > SHOWN:
        print(f"... and {len(report.faults) - SHOWN} more: --json has all of them")
    for line in _lines(export, report) if export else ():
        print(line)
    print(counted(f"{report.incidents} incidents, {report.proofs} proofs, {report.rows} rows in {took_s:.1f} s"))
    for name in report.keys.values():
        print(f"signed with key {name}")
    if report.waiting:
        print(f"cases closed but without their proof yet when this copy was made: {report.waiting}")
    if report.late:
        print(f"proofs of a later version, since something came after closing and was signed then: {report.late}")
    if not report.pinned:
        print("The key came with the copy itself. Compare its fingerprint with one on paper, or give --public-key.")
    if head:
        print(f"newest head {report.head or '(none)'}")
    altered = counted(f"ALTERED: {len(report.faults)} places")
    print(_ok(report) if report.ok else altered)


def _ok(report: Report) -> str:
    if report.unopened:
        return f"ok: nothing that is shown was changed since it was signed; lines not shown: {report.unopened}"
    return "ok: nothing was changed since it was signed"


def _lines(export: Export, report: Report) -> list[str]:
    """The opened lines of an exported proof: what happened, as it was signed."""
    told = [f"case {export.incident_id}"]
    said = "yes" if export.simulated else "no"
    told.append(f"  whether it was simulated is not part of what is signed (the file says {said})")
    for one in export.opened:
        content = one.content if isinstance(one.content, dict) else {}
        if "what" in content:
            told.append(line_of(content))
        else:
            told += [f"  {name}  {value}" for name, value in content.items() if value]
    if report.unopened:
        told.append(f"  lines that were signed and are not opened in this file: {report.unopened}")
    told.append(f"key {fingerprint(export.public_key)}")
    return told


def line_of(content: dict[str, Any]) -> str:
    """One line of a log: when, what, who did it, and the rest."""
    who, params = content.get("who"), dict(content.get("params") or {})
    if content["what"] == Log.CALLED_OFF:
        # The log says whose telephone stopped ringing: it was we who hung up.
        who, params = "system", {"to": who} | params
    said = ", ".join(f"{name}={value}" for name, value in params.items())
    return f"  {content.get('at')}  {content['what']}  {who}  {said}".rstrip()
