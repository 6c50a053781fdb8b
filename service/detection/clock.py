"""A device whose clock is far off: its times are corrected, and somebody should set it right."""

from __future__ import annotations

import math
from datetime import datetime

from dispatch.alarm import AlarmCondition, AlarmKind, Priority

WRONG_BEYOND_S = 120.0
"""Clock skew that is worth telling (policy); anything beyond 5 s is corrected silently."""


def clock_condition(skew_s: float, now: datetime) -> AlarmCondition | None:
    """What to note about a device whose clock differs by ``skew_s`` (receipt minus sending), if anything."""
    if math.isfinite(skew_s) and abs(skew_s) <= WRONG_BEYOND_S:
        return None
    return AlarmCondition(
        code="device_clock_wrong",
        kind=AlarmKind.TECHNICAL,
        priority=Priority.LOW,
        started_at=now,
        detected_at=now,
        params={"skew_s": round(skew_s) if math.isfinite(skew_s) else None},
    )
