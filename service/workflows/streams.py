"""The consoles' events, for whoever streams them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from service.store import incidents as store
from service.workflows.house import House


def last_cursor(house: House) -> int:
    with house.database.read() as tx:
        return store.last_cursor(tx)


def after(house: House, cursor: int) -> Sequence[Row[Any]]:
    with house.database.read() as tx:
        return store.events_after(tx, cursor)
