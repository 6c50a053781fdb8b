"""What messages cost, and what waits when a day's money is spent: never a page, an ask or a grave case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch.alarm import Priority
from dispatch.incident import Channel, NotificationKind
from service.config import Settings
from service.sealing import SealingError
from service.store import incidents as store
from service.store import site as site_store
from service.store import spending as spend_store
from service.store.database import Tx
from service.workflows import cases
from service.workflows.house import House, warn

MICROS = 1_000_000
LOOK_AGAIN = timedelta(seconds=60)
"""How soon a held message is looked at again; the day may be over or the cap raised."""
REACHED = "spend_cap_reached"


class SpendDay(msgspec.Struct, kw_only=True):
    """One day's messages by channel; the day is UTC."""

    day: str
    channel: str
    messages: int
    cost: str


class SpendRecord(msgspec.Struct, kw_only=True):
    currency: str
    cap_per_day: str | None
    spent_today: str
    holding: bool
    """Whether messages that can wait are held back now."""
    days: list[SpendDay]


def day_of(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def may_wait(kind: str, step: str, priority: str | None, grave: bool) -> bool:
    """Whether a message may be held back for money.

    A page, an ask and a unit's call never; nothing of a high or grave case; our own faults only where
    their case is low. ``priority`` is None where no case stands behind it (a drill, a verification).
    """
    if grave or priority == Priority.HIGH:
        return False
    if kind in {NotificationKind.INFORM, NotificationKind.DRILL}:
        return True
    return kind == NotificationKind.TECHNICAL and (priority == Priority.LOW or (priority is None and step == "verify"))


def held_back(house: House, tx: Tx, row: Row[Any], now: datetime) -> bool:
    """Whether this message waits because the day's money is spent; what cannot be told is sent."""
    if row.kind not in {NotificationKind.INFORM, NotificationKind.DRILL, NotificationKind.TECHNICAL}:
        return False
    if row.channel not in {Channel.VOICE, Channel.TEXT} or not reached(house, tx, row.organisation_id, now):
        return False
    incident = store.incident(tx, row.incident_id)
    if incident is None:
        return may_wait(row.kind, row.step, None, grave=False)
    try:
        grave = cases.open_case(house, incident).grave
    except SealingError:
        return False
    return may_wait(row.kind, row.step, incident.priority, grave)


def reached(house: House, tx: Tx, organisation_id: UUID, now: datetime) -> bool:
    """Whether the day's cap is spent; without a cap never."""
    cap = house.settings.spend_cap_per_day
    if cap is None:
        return False
    return spend_store.spent_micros(tx.conn, organisation_id, day_of(now)) >= int(cap * MICROS)


def note_reached(house: House, tx: Tx, organisation_id: UUID, now: datetime) -> None:
    """Say it once a day in the log; boards and the spending page ask by themselves."""
    today = day_of(now)
    told = site_store.fact(tx, f"{REACHED}:{organisation_id}")
    if told is None or told.value != today:
        site_store.put(tx, f"{REACHED}:{organisation_id}", today, now)
        warn(REACHED, organisation=organisation_id, day=today)


def sent(house: House, tx: Tx, row: Row[Any], now: datetime) -> None:
    """A carrier took it: counted at what it will cost at least."""
    cost = price(house.settings, row.channel, minutes=1)
    tx.spend(row.organisation_id, day_of(now), row.channel, 1, cost)


def ended(house: House, tx: Tx, row: Row[Any], duration_s: int | None) -> None:
    """A call is over: now its true length is known."""
    if row.channel != Channel.VOICE or row.sent_at is None or row.step == "returned":
        return
    minutes = ceil((duration_s or 0) / 60)
    more = price(house.settings, row.channel, minutes=minutes) - price(house.settings, row.channel, minutes=1)
    if more:
        tx.spend(row.organisation_id, day_of(row.sent_at), row.channel, 0, more)


def price(settings: Settings, channel: str, *, minutes: int) -> int:
    """In millionths of the currency's unit; mail and push cost nothing."""
    if channel == Channel.VOICE:
        return int((settings.voice_cost_per_minute or Decimal(0)) * minutes * MICROS)
    return int((settings.text_cost or Decimal(0)) * MICROS) if channel == Channel.TEXT else 0


def record(house: House, organisation_id: UUID) -> SpendRecord:
    """The last days' messages and what they cost, for whoever pays."""
    now, settings = house.clock(), house.settings
    with house.database.read() as tx:
        rows = spend_store.days(tx.conn, organisation_id)
        today = spend_store.spent_micros(tx.conn, organisation_id, day_of(now))
        holding = reached(house, tx, organisation_id, now)
    cap = settings.spend_cap_per_day
    return SpendRecord(
        currency=settings.cost_currency,
        cap_per_day=None if cap is None else f"{cap:f}",
        spent_today=_amount(today),
        holding=holding,
        days=[
            SpendDay(day=row.day, channel=row.channel, messages=row.messages, cost=_amount(row.cost_micros))
            for row in rows
        ],
    )


def _amount(micros: int) -> str:
    return f"{(Decimal(micros) / MICROS).normalize():f}"
