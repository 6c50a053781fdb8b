"""The desk's own daily drill: a test call to the fallback number, by whichever carrier takes it, confirmed by a key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from dispatch import messages, messages_drill
from dispatch.notifier import CallRequest, CarrierEvent, CarrierEventKind, NotificationError, Prompt
from service.store import incidents as store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import site
from service.workflows.house import House, log, new_id, warn

TRIED, PROVEN = "desk_test", "desk_proven"
"""Facts of the site: the last try (its reference and which of the day it was), and the last proof (of which number)."""
FROM_H, TO_H = 14, 18
"""Policy: local hours between a centre's shifts, in which somebody is there and little goes on."""
TRIES = 4
BETWEEN = timedelta(minutes=30)
LATE = timedelta(hours=26)
"""Policy: a desk that nobody proved for longer shows red."""
RING_S = 30
NOTED_EVERY = timedelta(hours=1)
CONFIRMING = frozenset({"1", "3"})


def tick(house: House) -> int:
    """Ring the desk if today's test is due and nothing real is open. Returns how many calls were placed."""
    now = house.clock()
    begins = _begins(house, now)
    if begins is None or not begins <= now < begins + timedelta(hours=TO_H - FROM_H):
        return 0
    with house.database.read() as tx:
        tried, proven_at = site_store.fact(tx, TRIED), proven(house, tx)
    before = tried.value if tried is not None else ""
    today = int(before.partition(" ")[2] or 0) if tried is not None and begins <= tried.at <= now else 0
    waits = today > 0 and tried is not None and now - tried.at < BETWEEN
    if waits or today >= TRIES or (proven_at is not None and begins <= proven_at <= now) or _busy(house):
        return 0
    reference = new_id()
    with house.database.write() as tx:
        if not site_store.turn(tx, TRIED, before, f"{reference} {today + 1}", now):
            return 0  # another worker's
    language = house.settings.desk_language.value
    prompt = _menu(language, str(reference), 1) if house.notifier.speaks_up_front else None
    request = CallRequest(
        to=house.settings.fallback_number, reference=str(reference), ring_s=RING_S, detect_voicemail=True, prompt=prompt
    )
    try:
        house.notifier.place_call(request)
    except NotificationError as error:
        warn("desk_test_not_placed", attempt=today + 1, code=error.code or "none")
        return 0
    log("desk_test_placed", attempt=today + 1)
    return 1


def _begins(house: House, now: datetime) -> datetime | None:
    """When today's test may begin; None where there is no desk to try."""
    if house.settings.demo or not house.settings.fallback_number:
        return None
    local = now.astimezone(ZoneInfo(house.settings.time_zone))
    return local.replace(hour=FROM_H, minute=0, second=0, microsecond=0)


def _busy(house: House) -> bool:
    """Whether something real is open anywhere: the desk's line is left to it."""
    with house.database.read() as tx:
        return store.any_open(tx)


def said(house: House, event: CarrierEvent) -> Prompt | None:
    """What the desk hears in a test call; None for a call that is none, or where nothing is said."""
    with house.database.read() as tx:
        tried = site_store.fact(tx, TRIED)
    reference = tried.value.partition(" ")[0] if tried is not None else ""
    if not reference or event.reference != reference or event.kind is CarrierEventKind.STATUS:
        return None
    language = house.settings.desk_language.value
    if event.kind is CarrierEventKind.ANSWERED:
        if event.voicemail:
            return messages.voicemail_neutral(language)
        return messages_drill.say("desk_stopped", language) if _busy(house) else _menu(language, reference, 1)
    digit = event.digits[:1]
    if digit in CONFIRMING:
        with house.database.write() as tx:
            note(house, tx, house.clock())
        log("desk_proven")
        return messages_drill.say("desk_confirmed", language, digit)
    if not digit and event.turn < 2 and not event.final:
        return _menu(language, reference, 2)
    return messages_drill.say("desk_no_key", language)


def _menu(language: str, reference: str, turn: int) -> Prompt:
    return replace(messages_drill.say("desk_menu", language), ask=True, reference=reference, turn=turn, one_key="1")


def answered(house: House) -> None:
    """Somebody at the desk pressed a key in a real call; apart from that call, whose key must not wait for this."""
    now = house.clock()
    try:
        with house.database.write() as tx:
            known = proven(house, tx)
            if known is None or now - known > NOTED_EVERY:
                note(house, tx, now)
    except SQLAlchemyError as error:
        warn("desk_not_noted", why=type(error).__name__)


def note(house: House, tx: Tx, now: datetime) -> None:
    """Somebody at the desk pressed a key: it is staffed, and the way there works."""
    site_store.put(tx, PROVEN, site.index(house, house.settings.fallback_number), now)


def proven(house: House, tx: Tx) -> datetime | None:
    """When somebody at the present fallback number was last proven to be there; None: never."""
    index = site.index(house, house.settings.fallback_number)
    known: list[Row[Any] | None] = [site_store.fact(tx, name) for name in (PROVEN, site.VERIFIED)]
    return max((row.at for row in known if row is not None and row.value == index), default=None)


def late(house: House, tx: Tx, now: datetime) -> bool:
    """Whether nobody at the desk was proven to be there for too long; a demonstration's desk is never tried."""
    if house.settings.demo or not house.settings.fallback_number:
        return False
    at = proven(house, tx)
    return at is None or now - at > LATE
