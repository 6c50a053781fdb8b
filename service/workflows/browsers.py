"""Browsers that asked to be told: kept sealed, ended when the push service says that they are gone."""

from __future__ import annotations

import base64
import hashlib
from uuid import UUID

import msgspec

from dispatch import subscription
from service.sealing import SealingError
from service.store import browsers as store
from service.workflows.house import House, log, new_id, warn

MOST = 10
"""Policy: browsers a person; the oldest goes."""


class BrowserKeys(msgspec.Struct, kw_only=True):
    p256dh: str
    auth: str


class Browser(msgspec.Struct, kw_only=True):
    """What ``PushSubscription.toJSON()`` gives."""

    endpoint: str
    keys: BrowserKeys
    expirationTime: float | None = None


def add(house: House, person_id: UUID, wanted: Browser) -> None:
    """Tell this person here too; the same browser again changes nothing. Raises subscription.Unusable."""
    loopback = house.settings.push_loopback
    subscription.check(wanted.endpoint, wanted.keys.p256dh, wanted.keys.auth, loopback=loopback)
    index = house.keys.blind_index("push", wanted.endpoint)
    now, subscription_id = house.clock(), new_id()
    sealed = house.seal(person_id, "push_subscription", str(subscription_id), wanted)
    with house.database.write() as tx:
        # Whoever uses this browser now: what it was told for another is over.
        store.forget(tx, index)
        store.add(tx, person_id=person_id, id=subscription_id, endpoint_index=index, sealed=sealed, created_at=now)
        for row in store.of(tx, person_id)[MOST:]:
            store.end(tx, row.id, now)
    log("browser_added", person=person_id)


def remove(house: House, person_id: UUID, endpoint: str) -> None:
    """This browser is not told any more."""
    index = house.keys.blind_index("push", endpoint)
    with house.database.write() as tx:
        store.end_of(tx, person_id, index, house.clock())
    log("browser_removed", person=person_id)


def of(house: House, person_id: UUID) -> list[tuple[UUID, dict[str, object]]]:
    """This person's browsers, newest first."""
    with house.database.read() as tx:
        rows = store.of(tx, person_id)
    found: list[tuple[UUID, dict[str, object]]] = []
    for row in rows:
        try:
            one = house.unseal(person_id, "push_subscription", str(row.id), row.sealed, Browser)
        except SealingError as error:
            warn("record_unreadable", table="push_subscription", record=row.id, why=type(error).__name__)
            continue
        found.append((row.id, {"endpoint": one.endpoint, "keys": {"p256dh": one.keys.p256dh, "auth": one.keys.auth}}))
    return found


def marks(house: House, person_id: UUID) -> list[str]:
    """One for each browser: it knows its own, and nobody can send anything to a mark."""
    digests = (hashlib.sha256(str(one["endpoint"]).encode()).digest() for _, one in of(house, person_id))
    return [base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for digest in digests]


def gone(house: House, person_id: UUID, subscription_id: UUID) -> None:
    """The push service says that this browser is not there any more."""
    with house.database.write() as tx:
        store.end(tx, subscription_id, house.clock())
    log("browser_gone", person=person_id)
