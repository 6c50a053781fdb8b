"""A device's silence, judged by when we received and never by its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dispatch.alarm import AlarmCondition, AlarmKind, Priority

DEFAULT_LIMIT_S = 3600.0
"""How long a device may say nothing (policy; each device may have its own)."""
FLAT_PCT = 3.0
"""At this charge or less a device is about to go out (policy)."""
FLAT_REACH_S = 1800.0
"""A charge that would have run out this soon after the limit counts as flat (policy: a cell's last drops go fast)."""
OUTAGE_S = 300.0
"""When nobody was heard for so long, the fault is ours (policy)."""
OUTAGE_DEVICES = 5
"""With fewer devices their common silence tells nothing about us (policy)."""
SIGNAL_LIMIT_S = {
    "heart_rate_bpm": 1800.0,
    "pulse_rate_bpm": 1800.0,
    "spo2_pct": 4 * 3600.0,
    "respiratory_rate_bpm": 4 * 3600.0,
    "skin_temperature_c": 4 * 3600.0,
    "steps": 26 * 3600.0,
    "worn": 26 * 3600.0,
    "battery_pct": 26 * 3600.0,
}
"""How long a signal that a device has sent before may be missing while the device itself reports (policy: sensed all
the time, sensed now and then, once a day). Hand measurements follow nobody's clock and have no limit."""
NEEDS_WEARING = frozenset(
    {"heart_rate_bpm", "pulse_rate_bpm", "spo2_pct", "respiratory_rate_bpm", "skin_temperature_c"}
)


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


class Cause(StrEnum):
    """Why nothing comes from a device; `UNKNOWN` is said where nothing explains it."""

    OUR_OUTAGE = "our_outage"
    NETWORK = "network"
    FLAT = "flat"
    CHARGING = "charging"
    NOT_WORN = "not_worn"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a silent device; None is unknown.

    Attributes
    ----------
    last_received_at : datetime or None
        Last receipt from this device.
    battery_pct, battery_at : float or None, datetime or None
        Its last charge, and when that was measured.
    battery_per_hour : float or None
        Charge lost an hour, as last seen.
    worn : bool or None
        False after it was taken off.
    charging_at : datetime or None
        Last sign that it was put on its charger.
    gateway_received_at : datetime or None
        Last receipt from the gateway or telephone that carries it; None where it has none of its own.
    area_silent : bool
        Whether an incident of its area is open (``storm``).
    anybody_received_at : datetime or None
        Last receipt from any other device of the site.
    others : int
        How many other devices were expected to report.
    """

    last_received_at: datetime | None
    battery_pct: float | None = None
    battery_at: datetime | None = None
    battery_per_hour: float | None = None
    worn: bool | None = None
    charging_at: datetime | None = None
    gateway_received_at: datetime | None = None
    area_silent: bool = False
    anybody_received_at: datetime | None = None
    others: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """A cause and what speaks for it."""

    cause: Cause
    evidence: dict[str, float | int | str | bool | None]


def _age_s(then: datetime | None, now: datetime) -> int | None:
    return None if then is None else max(0, round((now - then).total_seconds()))


def cause(facts: Facts, now: datetime, limit_s: float = DEFAULT_LIMIT_S) -> Explained:
    """Explain a device's silence from the last known facts, the widest fault first.

    Parameters
    ----------
    facts : Facts
    now : datetime
    limit_s : float
        Seconds of silence allowed to the device; a gateway is alive if it was heard within them.
    """
    if not limit_s > 0:
        raise ValueError(f"limit_s must be positive, was {limit_s:g}: give the seconds a device may be silent")
    heard_s = _age_s(facts.anybody_received_at, now)
    if facts.others >= OUTAGE_DEVICES and (heard_s is None or heard_s >= OUTAGE_S):
        return Explained(Cause.OUR_OUTAGE, {"anybody_age_s": heard_s, "others": facts.others})
    if facts.area_silent:
        return Explained(Cause.NETWORK, {"area": True})
    gateway_s = _age_s(facts.gateway_received_at, now)
    if gateway_s is not None and gateway_s >= limit_s:
        return Explained(Cause.NETWORK, {"area": False, "gateway_age_s": gateway_s})
    return _own_cause(facts, now, limit_s, gateway_s)


def _own_cause(facts: Facts, now: datetime, limit_s: float, gateway_s: int | None) -> Explained:
    """Causes that lie in the device and its wearer."""
    charging = facts.charging_at is not None and (
        facts.last_received_at is None or facts.charging_at >= facts.last_received_at - timedelta(seconds=limit_s)
    )
    if charging:
        return Explained(
            Cause.CHARGING, {"charging_age_s": _age_s(facts.charging_at, now), "battery_pct": facts.battery_pct}
        )
    if _ran_out(facts, limit_s):
        return Explained(Cause.FLAT, {"battery_pct": facts.battery_pct, "battery_age_s": _age_s(facts.battery_at, now)})
    if facts.worn is False:
        return Explained(Cause.NOT_WORN, {"silent_age_s": _age_s(facts.last_received_at, now)})
    if gateway_s is not None:
        return Explained(Cause.OUT_OF_RANGE, {"gateway_age_s": gateway_s})
    return Explained(Cause.UNKNOWN, {"silent_age_s": _age_s(facts.last_received_at, now)})


def _ran_out(facts: Facts, limit_s: float) -> bool:
    """Whether the charge was nearly gone, or would have been soon after the last receipt."""
    if facts.battery_pct is None:
        return False
    if facts.battery_pct <= FLAT_PCT:
        return True
    if facts.battery_per_hour is None or not facts.battery_per_hour > 0:
        return False
    if facts.battery_at is None or facts.last_received_at is None:
        return False
    left_s = (facts.battery_pct - FLAT_PCT) / facts.battery_per_hour * 3600
    return left_s <= (facts.last_received_at - facts.battery_at).total_seconds() + limit_s + FLAT_REACH_S


def silent_signals(last_at: dict[str, datetime], device_at: datetime, worn: bool | None) -> dict[str, int]:
    """Signals that are missing although their device reports: a sensor's fault, not the person's silence.

    Parameters
    ----------
    last_at : dict of str to datetime
        When each signal that this device has ever sent was last measured.
    device_at : datetime
        Time of the device's newest row.
    worn : bool or None
        Signals of the body are not missed while it is not worn.

    Returns
    -------
    dict of str to int
        Signal to seconds it is missing.
    """
    found = {}
    for name, then in sorted(last_at.items()):
        limit = SIGNAL_LIMIT_S.get(name)
        if limit is None or (worn is False and name in NEEDS_WEARING):
            continue
        age = (device_at - then).total_seconds()
        if age >= limit:
            found[name] = round(age)
    return found
