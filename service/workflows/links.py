"""Signed links and reply codes: what proves, without a log-in, that a message reached whom it was meant for."""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch.incident import Target
from service.store import outbox
from service.store.database import Tx
from service.workflows.house import House

VALID = timedelta(hours=24)
"""Policy: the longest that a link works; it ends sooner, with its case."""
MAC_BYTES = 16
CODES = 9000
FIRST_CODE = 1000
"""Four digits without a leading zero: a telephone drops none of them."""


def token(house: House, notification_id: UUID, person_id: UUID) -> str:
    """Forty-three letters that only this site can make, for one message to one person."""
    mac = _mac(house, notification_id, person_id)
    return base64.urlsafe_b64encode(notification_id.bytes + mac).rstrip(b"=").decode()


def path(house: House, row: Row[Any]) -> str:
    return f"/r/{token(house, row.id, row.target_id)}"


def address(house: House, row: Row[Any]) -> str:
    return house.settings.public_url.rstrip("/") + path(house, row)


def read(house: House, tx: Tx, given: str) -> Row[Any] | None:
    """The outbox row that a link belongs to; None when it was never ours, or is too old."""
    found = _parts(given)
    if found is None:
        return None
    notification_id, mac = found
    row = outbox.notification(tx, notification_id)
    if row is None or row.target != Target.CONTACT:
        return None
    if not hmac.compare_digest(mac, _mac(house, notification_id, row.target_id)):
        return None
    # Judged by its age, either way: a clock that was set back must not lock anybody out.
    return row if abs(house.clock() - row.created_at) <= VALID else None


def code(house: House, notification_id: UUID) -> str:
    """Four digits to answer a text with; good from the number that the text went to, and nowhere else."""
    keyed = house.keys.blind_index("reply", str(notification_id))
    return str(FIRST_CODE + int.from_bytes(keyed[:8], "big") % CODES)


def _parts(given: str) -> tuple[UUID, bytes] | None:
    if len(given) != 43 or not given.isascii():
        return None
    try:
        whole = base64.b64decode(given + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling each: the last letter's spare bits must be empty.
    if len(whole) != 16 + MAC_BYTES or base64.urlsafe_b64encode(whole).rstrip(b"=").decode() != given:
        return None
    return UUID(bytes=whole[:16]), whole[16:]


def _mac(house: House, notification_id: UUID, person_id: UUID) -> bytes:
    return house.keys.blind_index("link", f"{notification_id}:{person_id}")[:MAC_BYTES]
