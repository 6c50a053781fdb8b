"""Who can be reached when: the times ahead in which nobody could be rung. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from dispatch.alarm import Priority
from dispatch.plan import DAY_MIN, Channel, Contact

HOURS = 24
"""Policy: how far ahead a family is warned; long enough to find somebody."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nobody would be reached."""

    from_at: datetime
    until_at: datetime | None
    """None: it lasts beyond what was looked at."""
    priority: Priority
    """``medium``: nobody proven and awake for a lesser case. ``high``: nobody at all, not even for a grave one."""


def rung_for_medium(contact: Contact, at: datetime, utc_offset_s: int) -> bool:
    """Whether a lesser case can count on them then: a proven number that rings, neither away nor asleep."""
    return (
        contact.verified
        and Channel.VOICE in contact.channels
        and not contact.away_at(at)
        and not contact.quiet_at(at, utc_offset_s)
    )


def rung_for_high(contact: Contact, at: datetime) -> bool:
    """Whether a grave case can reach them then: quiet hours do not hold, an unproven number is tried all the same."""
    return bool(contact.channels) and not contact.away_at(at)


def gaps(contacts: Sequence[Contact], now: datetime, hours: int = HOURS, utc_offset_s: int = 32_400) -> list[Gap]:
    """The times from now on in which nobody could be rung, the earliest first.

    Parameters
    ----------
    contacts : sequence of Contact
        Those of one person, with what is known of them now.
    now : datetime
        Aware.
    hours : int
        How far to look, 1 to 168.
    utc_offset_s : int
        Local time less UTC, for quiet hours.

    Returns
    -------
    list of Gap
        One that still runs at the end of the look has no end. Where nobody at all can be reached there is a
        ``high`` gap, and the ``medium`` one around it.
    """
    if not 1 <= hours <= 168:
        raise ValueError(f"hours must be 1 to 168, was {hours}: look a week ahead at most")
    end = now + timedelta(hours=hours)
    moments = _moments(contacts, now, end, utc_offset_s)
    found: list[Gap] = []
    for priority, covers in (
        (Priority.MEDIUM, lambda one, at: rung_for_medium(one, at, utc_offset_s)),
        (Priority.HIGH, rung_for_high),
    ):
        found += _uncovered(contacts, moments, end, covers, priority)
    return sorted(found, key=lambda gap: (gap.from_at, -gap.priority.rank))


def _uncovered(
    contacts: Sequence[Contact],
    moments: list[datetime],
    end: datetime,
    covers: Callable[[Contact, datetime], bool],
    priority: Priority,
) -> list[Gap]:
    found: list[Gap] = []
    since: datetime | None = None
    for at in moments:
        covered = any(covers(one, at) for one in contacts)
        if covered and since is not None:
            found.append(Gap(from_at=since, until_at=at, priority=priority))
            since = None
        elif not covered and since is None:
            since = at
    if since is not None and since < end:
        found.append(Gap(from_at=since, until_at=None, priority=priority))
    return found


def _moments(contacts: Sequence[Contact], now: datetime, end: datetime, utc_offset_s: int) -> list[datetime]:
    """Now, and every moment until the end at which somebody becomes reachable or ceases to be."""
    found = {now}
    minutes = {minute % DAY_MIN for one in contacts for w in one.quiet for minute in (w.from_min, w.to_min)}
    local_now = now.astimezone(UTC) + timedelta(seconds=utc_offset_s)
    midnight = local_now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(seconds=utc_offset_s)
    for day in range((end - now).days + 2):
        found |= {midnight + timedelta(days=day, minutes=minute) for minute in minutes}
    found |= {one.away_until for one in contacts if one.away_until is not None}
    return sorted(at for at in found if now <= at < end)


def same(before: tuple[datetime, datetime | None] | None, gap: Gap, now: datetime) -> bool:
    """Whether a gap is the one that was known before: one that runs already keeps its beginning."""
    if before is None:
        return False
    from_at, until_at = before
    runs_on = from_at <= now and gap.from_at <= now and (until_at is None or until_at >= now)
    return runs_on or from_at == gap.from_at
