"""Finding a device by the key id it signs with."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sqlalchemy import Row

from service.store import people as store
from service.workflows import people
from service.workflows.house import House

REMEMBERED = 50_000


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
            row = store.device_by_keyid(tx, keyid)
        if row is None:
            return None, None
        if row.revoked_at is None:
            known[keyid] = row
            if len(known) > REMEMBERED:
                known.popitem(last=False)
    return row, people.device_key(house, row)
