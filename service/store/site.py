"""Queries about the facts of this installation: each has a name, a value and when it was written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from service.store.database import Tx
from service.store.tables import Site, table

_SITE = table(Site)


def fact(tx: Tx, name: str) -> Row[Any] | None:
    return tx.conn.execute(select(_SITE).where(_SITE.c.name == name)).first()


def turn(tx: Tx, name: str, before: str, after: str, at: datetime) -> bool:
    """Compare-and-set of a site's fact; one that was never written counts as empty. True for whoever turned it."""
    done = tx.conn.execute(
        update(_SITE).where(_SITE.c.name == name, _SITE.c.value == before).values(value=after, at=at)
    )
    if done.rowcount == 1 or before or fact(tx, name) is not None:
        return done.rowcount == 1
    tx.conn.execute(insert(_SITE).values(name=name, value=after, at=at))
    return True


def put(tx: Tx, name: str, value: str, at: datetime) -> None:
    done = tx.conn.execute(update(_SITE).where(_SITE.c.name == name).values(value=value, at=at))
    if done.rowcount == 0:
        tx.conn.execute(insert(_SITE).values(name=name, value=value, at=at))
