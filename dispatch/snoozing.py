"""Which signs a family may be quiet about for a while, and until when one that comes meanwhile waits: pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from dispatch.alarm import AlarmCondition, Priority

HOURS: tuple[int, ...] = (1, 2, 4, 8)
LONGEST = timedelta(hours=max(HOURS))
"""Policy: nothing that quietens lasts longer than a night."""
CODES: tuple[str, ...] = (
    "news2_medium", "heart_rate_high", "heart_rate_low", "pulse_high", "pulse_low", "blood_pressure_high",
    "blood_pressure_low", "tachycardia", "bradycardia", "atrial_fibrillation", "heart_rate_drift_up",
    "heart_rate_drift_down", "breathing_drift_up", "breathing_drift_down", "spo2_drift_up", "spo2_drift_down",
    "temperature_drift_up", "temperature_drift_down", "pressure_drift_up", "pressure_drift_down", "activity_drift_up",
    "activity_drift_down", "deterioration_likely", "device_silent", "device_never_reported",
)  # fmt: skip
"""Policy: what may be snoozed at all, as long as it is no more than medium. What is not named here cannot be: a new
sign is never quiet because nobody thought of it. Falls, arrests, a silent person and our own faults are left out."""


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """One snooze as it stands: quiet about ``code`` from one moment to another."""

    code: str
    from_at: datetime
    until_at: datetime


def snoozable(condition: AlarmCondition) -> bool:
    """Whether a snooze may hold this back: medium only, never grave, never what is not on the list (invariant 16)."""
    return condition.priority is Priority.MEDIUM and not condition.grave and condition.code in CODES


def held_until(condition: AlarmCondition, quiets: Iterable[Quiet], now: datetime) -> datetime | None:
    """When a condition that was found now may ring; None: at once.

    A snooze that begins in the future, or ends further off than any may, was written by a clock that has been
    set since: it holds nothing back.
    """
    if not snoozable(condition):
        return None
    ends = [
        quiet.until_at
        for quiet in quiets
        if quiet.code == condition.code
        and quiet.from_at <= now < quiet.until_at
        and quiet.until_at - quiet.from_at <= LONGEST
    ]
    return max(ends, default=None)


def breaks_through(conditions: Iterable[AlarmCondition]) -> bool:
    """Whether what was found is graver than anything a snooze may hold: what is held then comes with it."""
    return any(one.grave or one.priority is Priority.HIGH for one in conditions)
