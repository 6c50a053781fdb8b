"""What messages cost, by organisation, day and channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from service.store.tables import Spend, table

_SPEND = table(Spend)


def add(conn: Connection, organisation_id: UUID, day: str, channel: str, messages: int, cost_micros: int) -> None:
    """Add to a day's sum; several processes may do so at once."""
    insert = sqlite_insert if conn.dialect.name == "sqlite" else postgresql_insert
    first = insert(_SPEND).values(
        organisation_id=organisation_id, day=day, channel=channel, messages=messages, cost_micros=cost_micros
    )
    conn.execute(
        first.on_conflict_do_update(
            index_elements=["organisation_id", "day", "channel"],
            set_={
                "messages": _SPEND.c.messages + first.excluded.messages,
                "cost_micros": _SPEND.c.cost_micros + first.excluded.cost_micros,
            },
        )
    )


def spent_micros(conn: Connection, organisation_id: UUID, day: str) -> int:
    """A day's cost in millionths of the currency's unit."""
    query = select(func.sum(_SPEND.c.cost_micros)).where(
        _SPEND.c.organisation_id == organisation_id, _SPEND.c.day == day
    )
    return int(conn.execute(query).scalar() or 0)


def days(conn: Connection, organisation_id: UUID, most: int = 31) -> Sequence[Row[Any]]:
    """The newest days, a row each channel."""
    return conn.execute(
        select(_SPEND)
        .where(_SPEND.c.organisation_id == organisation_id)
        .order_by(_SPEND.c.day.desc(), _SPEND.c.channel)
        .limit(most * 4)
    ).all()
