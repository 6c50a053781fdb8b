"""SOS and fall buttons become alarm conditions here, on their own: no other detector can stop them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from devices.reading import Batch, Event
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority

LATE_AFTER_S = 60.0
"""An event older than this at receipt says how late it is (policy)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Years 2000 to 2100: beyond these a time is no time, and the receipt stands in.
_EARLIEST_US = 946_684_800_000_000
_LATEST_US = 4_102_444_800_000_000


def _happened(event: Event, received_at: datetime) -> datetime:
    at_us = event.at_us
    if not _EARLIEST_US <= at_us <= _LATEST_US:
        return received_at
    return min(_EPOCH + timedelta(microseconds=int(at_us)), received_at)


def _late_s(event: Event, happened: datetime, received_at: datetime) -> float:
    late_s = event.late_s
    if late_s is None or not 0 <= late_s < 1e9:
        return (received_at - happened).total_seconds()
    return float(late_s)


def event_conditions(batch: Batch, received_at: datetime) -> list[AlarmCondition]:
    """Turn the SOS and fall events of an upload into alarm conditions, one an event, in order of arrival.

    An SOS is high and grave whatever its clock says and however late it comes; `sos_cancelled` takes nothing
    back.
    """
    found = []
    for event in batch.events:
        code = str(event.kind)
        if code not in ("sos", "fall"):
            continue
        happened = _happened(event, received_at)
        late_s = _late_s(event, happened, received_at)
        params: dict[str, Param] = {}
        if late_s > LATE_AFTER_S:
            params["late_s"] = round(late_s)
        if code == "sos":
            params["clock_wrong"] = bool(event.clock_wrong)
        found.append(
            AlarmCondition(
                code=code,
                kind=AlarmKind.PHYSIOLOGICAL,
                priority=Priority.HIGH,
                grave=code == "sos",
                started_at=happened,
                detected_at=received_at,
                params=params,
            )
        )
    return found
