"""The band that nobody wears: its signed SOS comes through the service's own front door, and is only ever a drill.

What makes a band virtual is a row of ours beside its key, which is made here, sealed, and shown to nobody. What a
device says of itself (its model) makes nothing virtual.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from devices import signatures
from dispatch import drill as rules
from dispatch.alarm import AlarmCondition
from service.store import devices as device_store
from service.store import drills as store
from service.store.database import Tx
from service.workflows import drill_book
from service.workflows.house import House, log, new_id, warn

MODEL = "ansim-virtual"
"""Only a hint that saves a look: see `is_one`."""
PATH = "/v1/readings"
CONTENT_TYPE = "application/json"
TIMEOUT_S = 10.0


def is_one(tx: Tx, device: Row[Any]) -> bool:
    """Whether a device is one of ours that nobody wears."""
    return device.model == MODEL and store.is_virtual(tx, device.id)


def ensure(house: House, tx: Tx, patient: Row[Any], now: datetime) -> None:
    """This person has a virtual band that is not revoked; the patient's lock is held."""
    known = store.band(tx, patient.patient_id)
    if known is not None:
        device = device_store.device(tx, patient.patient_id, known.device_id)
        if device is not None and device.revoked_at is None:
            return
        store.drop_band(tx, patient.patient_id)
    key, device_id = Ed25519PrivateKey.generate(), new_id()
    public = key.public_key().public_bytes_raw()
    device_store.add_device(
        tx,
        patient_id=patient.patient_id,
        id=device_id,
        keyid=str(device_id),
        organisation_id=patient.organisation_id,
        district_code=patient.district_code,
        alg="ed25519",
        sealed_key=house.seal(patient.patient_id, "device", str(device_id), public),
        model=MODEL,
        worn_at="",
        enrolled_at=now,
        revoked_at=None,
        last_received_at=None,
        silent_after_s=house.settings.silent_after_s,
        # It says nothing for a month, and that is no silence: it is never due, and never counted as heard.
        silence_due_at=None,
        silent_since=None,
    )
    store.add_band(
        tx,
        patient_id=patient.patient_id,
        device_id=device_id,
        sealed_key=house.seal(patient.patient_id, "virtual_band", str(device_id), key.private_bytes_raw()),
        created_at=now,
    )


def press(house: House, patient_id: UUID) -> bool:
    """Post the band's SOS to our own address like any device; whether the door took it."""
    with house.database.read() as tx:
        band = store.band(tx, patient_id)
    if band is None:
        return False
    key = house.unseal(patient_id, "virtual_band", str(band.device_id), band.sealed_key, bytes)
    url = house.settings.self_url.rstrip("/")
    told = house.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    upload = {
        "upload_id": str(uuid4()),
        "boot_id": str(uuid4()),
        "sent_at": told,
        "readings": [{"seq": 1, "at": told, "event": "sos"}],
    }
    body = msgspec.json.encode(upload)
    signed = signatures.sign(
        Ed25519PrivateKey.from_private_bytes(key),
        method="POST",
        path=PATH,
        authority=urlsplit(url).netloc,
        content_type=CONTENT_TYPE,
        body=body,
        keyid=str(band.device_id),
        nonce=secrets.token_urlsafe(12),
        created=int(house.clock().timestamp()),
    )
    with requests.Session() as session:
        session.trust_env = False  # our own address: no proxy stands between
        try:
            answer = session.post(
                url + PATH, data=body, headers=signed, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            warn("drill_door_closed", patient=patient_id, why=type(error).__name__)
            return False
    if answer.status_code != 200:
        warn("drill_door_refused", patient=patient_id, status=answer.status_code)
    return answer.status_code == 200


def pressed(house: House, tx: Tx, patient: Row[Any], found: list[AlarmCondition], now: datetime) -> None:
    """A virtual band's SOS became an alarm: the drill that waits for it goes on, and nothing else begins."""
    if not any(condition.code == "sos" for condition in found):
        return
    for row in store.going_on(tx, patient.patient_id):
        held = drill_book.load(house, tx, patient.patient_id, row.id)
        if held is not None:
            drill_book.settle(house, tx, held, rules.detected(held.drill, now), now)
            log("drill_detected", patient=patient.patient_id, drill=row.id)
