"""When a posted item happened: device time corrected by the skew, or receipt where that cannot be true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from devices.batch import Event, EventKind
from devices.wire import Refusal

# The contract's numbers.
SKEW_TOLERANCE_US = 5_000_000
OLDEST_US = 30 * 86_400 * 1_000_000
NEWEST_US = 5 * 60 * 1_000_000

NO_TIME = ("time_not_readable", "must be RFC 3339 with an offset, such as 2026-05-01T07:30:00Z")
OFF_TIME = ("time_out_of_range", "must be within 30 days before to 5 minutes after receipt once corrected")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def us(moment: datetime) -> int:
    """Integer microseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(slots=True)
class Clock:
    """What the device's clock says, against ours."""

    received_us: int
    sent_us: int | None

    @property
    def skew_us(self) -> int:
        return 0 if self.sent_us is None else self.received_us - self.sent_us

    @property
    def shift_us(self) -> int:
        """What corrects a device time."""
        return self.skew_us if abs(self.skew_us) > SKEW_TOLERANCE_US else 0

    def plausible(self, device_us: int) -> bool:
        """Whether a device time, once corrected, may be true."""
        ahead_us = device_us + self.shift_us - self.received_us
        return -OLDEST_US <= ahead_us <= NEWEST_US

    def refusal(self, start: datetime | None, seq: int, count: int) -> Refusal | None:
        """Refuse a stretch of signal whose beginning is unreadable or implausible."""
        if start is None:
            return Refusal(seq, count, NO_TIME[0], "start", f"start {NO_TIME[1]}")
        if not self.plausible(us(start)):
            return Refusal(seq, count, OFF_TIME[0], "start", f"start {OFF_TIME[1]}")
        return None

    def event(self, seq: int, device_us: int | None, kind: EventKind, place: str | None) -> Event:
        """Date an event by its corrected time where that can be true, and else by receipt."""
        at_us, late_s = self.received_us, None
        wrong = device_us is None or not self.plausible(device_us)
        if device_us is not None and not wrong:
            # Nothing is received before it happens: a clock a little ahead puts no SOS into the future.
            at_us = min(device_us + self.shift_us, self.received_us)
            late_s = (self.received_us - at_us) / 1e6
        return Event(
            seq=seq,
            at_us=at_us,
            device_at_us=self.received_us if device_us is None else device_us,
            kind=kind,
            place=place,
            late_s=late_s,
            clock_wrong=wrong,
            time_readable=device_us is not None,
        )
