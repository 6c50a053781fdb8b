"""A device's silence, judged by when we received and never by its clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from dispatch.alarm import AlarmCondition, AlarmKind, Priority

DEFAULT_LIMIT_S = 3600.0
"""How long a device may say nothing (policy; each device may have its own)."""


def _silent_since(enrolled_at: datetime, last_received_at: datetime | None, now: datetime) -> datetime:
    # A receipt later than `now` means that our own clock was set back: the wait starts again, no longer.
    return min(last_received_at or enrolled_at, now)


def next_check_at(
    enrolled_at: datetime, last_received_at: datetime | None, now: datetime, limit_s: float = DEFAULT_LIMIT_S
) -> datetime:
    """When this device will have been silent for its limit, at the latest one limit from now."""
    if not limit_s > 0:
        raise ValueError(f"limit_s must be positive, was {limit_s:g}: give the seconds a device may be silent")
    return _silent_since(enrolled_at, last_received_at, now) + timedelta(seconds=limit_s)


def silence_condition(
    enrolled_at: datetime, last_received_at: datetime | None, now: datetime, limit_s: float = DEFAULT_LIMIT_S
) -> AlarmCondition | None:
    """Judge one device: None while it may still be silent, otherwise what to raise.

    Parameters
    ----------
    enrolled_at : datetime
        When the device was enrolled; its silence counts from there until it first reports.
    last_received_at : datetime or None
        When we last received anything from it; None if never.
    now : datetime
    limit_s : float
        Seconds of silence allowed.
    """
    since = _silent_since(enrolled_at, last_received_at, now)
    if now < next_check_at(enrolled_at, last_received_at, now, limit_s):
        return None
    return AlarmCondition(
        code="device_silent" if last_received_at else "device_never_reported",
        kind=AlarmKind.TECHNICAL,
        priority=Priority.MEDIUM,
        started_at=since,
        detected_at=now,
        params={"age_s": round((now - since).total_seconds()), "limit_s": limit_s},
    )
