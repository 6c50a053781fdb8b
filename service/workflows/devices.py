"""Finding a device by the key id it signs with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from service.store import people as store
from service.workflows import people
from service.workflows.house import House


def find(house: House, keyid: str) -> tuple[Row[Any] | None, bytes | None]:
    """The device and the key to verify with; read anew at each request, so that revoking holds at once."""
    with house.database.read() as tx:
        row = store.device_by_keyid(tx, keyid)
    return (row, people.device_key(house, row)) if row is not None else (None, None)
