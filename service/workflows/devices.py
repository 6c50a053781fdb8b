"""Devices: enrolled with a code, found by the key id they sign with, revoked one by one."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.store import devices as device_store
from service.store import people as store
from service.store.database import Tx
from service.workflows import people
from service.workflows.house import House, log, new_id

REMEMBERED = 50_000
CODE_LIFETIME = timedelta(days=7)
CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def find(house: House, keyid: str) -> tuple[Row[Any] | None, bytes | None]:
    """The device and the key to verify with.

    Rows are remembered, since nothing in them that is used here ever changes but ``revoked_at``: whether the
    device still counts is looked up again under its patient's lock (`arrivals`), so that revoking holds at once.
    The key stays sealed meanwhile: that of an erased person does not open any more.
    """
    known: OrderedDict[str, Row[Any]] = house.extras.setdefault("devices", OrderedDict())
    row = known.get(keyid)
    if row is None:
        with house.database.read() as tx:
            row = device_store.device_by_keyid(tx, keyid)
        if row is None:
            return None, None
        if row.revoked_at is None:
            known[keyid] = row
            if len(known) > REMEMBERED:
                known.popitem(last=False)
    return row, device_key(house, row)


def issue_code(house: House, patient_id: UUID) -> str:
    """A one-time enrolment code for a device of this patient; shown once, kept as a hash."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(10))
    now = house.clock()
    with house.database.write() as tx:
        patient = store.patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        device_store.add_code(
            tx,
            code_hash=people.hashed(code),
            patient_id=patient_id,
            organisation_id=patient.organisation_id,
            expires_at=now + CODE_LIFETIME,
            used_at=None,
        )
    return code


class CodeRefused(Exception):
    """An enrolment code that is unknown, used or expired."""


def enrol_device(
    house: House, code: str, *, alg: str, public_key: bytes | None, model: str, worn_at: str = ""
) -> tuple[UUID, bytes]:
    """Bind a device to the code's patient.

    Returns the device id (also its key id) and the key to verify with: the Ed25519 public key given,
    or a new secret for hmac-sha256.
    """
    now = house.clock()
    device_id = new_id()
    key = public_key if public_key is not None else secrets.token_bytes(32)

    def work(tx: Tx) -> tuple[UUID, bytes]:
        taken = device_store.use_code(tx, people.hashed(code.strip().upper()), now)
        if taken is None:
            raise CodeRefused
        patient = store.lock_patient(tx, taken.patient_id)
        if patient is None:
            raise CodeRefused
        silent_after_s = house.settings.silent_after_s
        device_store.add_device(
            tx,
            patient_id=patient.patient_id,
            id=device_id,
            keyid=str(device_id),
            organisation_id=patient.organisation_id,
            district_code=patient.district_code,
            alg=alg,
            sealed_key=house.seal(patient.patient_id, "device", str(device_id), key),
            model=model,
            worn_at=worn_at,
            enrolled_at=now,
            revoked_at=None,
            last_received_at=None,
            silent_after_s=silent_after_s,
            # A device that never reports must alarm too: its silence starts at enrolment.
            silence_due_at=now + timedelta(seconds=silent_after_s),
            silent_since=None,
        )
        tx.emit("device", organisation_id=patient.organisation_id, patient_id=patient.patient_id, at=now)
        return device_id, key

    enrolled: tuple[UUID, bytes] = house.committer.run(work)
    log("device_enrolled", device=device_id, alg=alg)
    return enrolled


def device_key(house: House, device: Row[Any]) -> bytes:
    return house.unseal(device.patient_id, "device", str(device.id), device.sealed_key, bytes)


def revoke_device(house: House, device_id: UUID, now: datetime) -> bool:
    """From its next request on the device is refused; others are untouched."""
    with house.database.write() as tx:
        return device_store.revoke_device(tx, device_id, now)


def whose_device(house: House, device_id: UUID) -> tuple[UUID, UUID]:
    """(patient, organisation) of a device; LookupError when there is none."""
    with house.database.read() as tx:
        row = device_store.device_by_keyid(tx, str(device_id))
    if row is None:
        raise LookupError(f"no device {device_id}")
    return row.patient_id, row.organisation_id
