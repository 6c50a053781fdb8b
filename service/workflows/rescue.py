"""An SOS inside an upload that had to be refused: the press counts, whatever is wrong with the rest."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid5

from sqlalchemy import Row

from devices.reading import Batch, Event, EventKind
from service.detection import event_conditions
from service.store import devices as device_store
from service.store import people as people_store
from service.store import readings as store
from service.store.database import Tx
from service.workflows import cases, uploads, virtual_bands
from service.workflows.house import House, warn

SOS_IN_BODY = re.compile(rb'"event"\s*:\s*\[?\s*"\s*sos\s*"', re.IGNORECASE)


def rescue_sos(house: House, device: Row[Any], body: bytes, digest: bytes) -> None:
    """An SOS inside an authentic upload that could not be taken rings all the same, once for each body."""
    if SOS_IN_BODY.search(body) is None:
        return
    now = house.clock()
    rescued = uuid5(device.id, digest.hex())

    def work(tx: Tx) -> bool:
        patient = people_store.lock_patient(tx, device.patient_id)
        current = device_store.device(tx, device.patient_id, device.id)
        if patient is None or current is None or current.revoked_at is not None:
            return False
        if virtual_bands.is_one(tx, current):
            return False  # nobody pressed it
        if store.receipt(tx, device.id, rescued) is not None:
            return False
        sealed = house.keys.seal(device.patient_id, "receipt", f"{device.id}:{rescued}", b"")
        receipt = {
            "device_id": device.id,
            "upload_id": rescued,
            "patient_id": device.patient_id,
            "digest": digest,
            "nonce": f"rescued:{rescued}",
            "received_at": now,
            "sealed": sealed,
        }
        store.add_receipts(tx, [receipt])
        at = uploads.micros(now)
        press = Event(seq=0, at_us=at, device_at_us=at, kind=EventKind.SOS, clock_wrong=True, numbered=False)
        cases.raise_conditions(house, tx, patient, event_conditions(Batch(events=[press]), now), now)
        return True

    if house.committer.run(work, key=device.patient_id):
        warn("sos_rescued", device=device.id)
