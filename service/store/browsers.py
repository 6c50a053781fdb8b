"""Queries about browsers that asked to be told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, update

from service.store.database import Tx
from service.store.tables import Membership, PushSubscription, table

_MEMBERSHIP = table(Membership)
_PUSH = table(PushSubscription)


def add(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_PUSH).values(ended_at=None, **values))


def of(tx: Tx, person_id: UUID) -> Sequence[Row[Any]]:
    """A person's live browsers, newest first."""
    return tx.conn.execute(
        select(_PUSH)
        .where(_PUSH.c.person_id == person_id, _PUSH.c.ended_at.is_(None))
        .order_by(_PUSH.c.created_at.desc(), _PUSH.c.id.desc())
    ).all()


def owners(tx: Tx, person_ids: Collection[UUID]) -> set[UUID]:
    """Which of these people have a live browser."""
    query = select(_PUSH.c.person_id).where(_PUSH.c.person_id.in_(person_ids), _PUSH.c.ended_at.is_(None))
    return set(tx.conn.execute(query).scalars())


def of_dispatchers(tx: Tx, organisation_id: UUID) -> list[UUID]:
    """The organisation's dispatchers who have a live browser."""
    live = select(_PUSH.c.person_id).where(_PUSH.c.ended_at.is_(None))
    query = select(_MEMBERSHIP.c.person_id).where(
        _MEMBERSHIP.c.organisation_id == organisation_id,
        _MEMBERSHIP.c.role == "dispatcher",
        _MEMBERSHIP.c.ended_at.is_(None),
        _MEMBERSHIP.c.person_id.in_(live),
    )
    return list(dict.fromkeys(tx.conn.execute(query).scalars()))


def forget(tx: Tx, endpoint_index: bytes) -> None:
    tx.conn.execute(delete(_PUSH).where(_PUSH.c.endpoint_index == endpoint_index))


def end(tx: Tx, subscription_id: UUID, now: datetime) -> None:
    tx.conn.execute(update(_PUSH).where(_PUSH.c.id == subscription_id).values(ended_at=now))


def end_of(tx: Tx, person_id: UUID, endpoint_index: bytes, now: datetime) -> None:
    tx.conn.execute(
        update(_PUSH)
        .where(_PUSH.c.person_id == person_id, _PUSH.c.endpoint_index == endpoint_index)
        .values(ended_at=now)
    )
