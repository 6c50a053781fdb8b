"""Why nothing comes from a device: the last that it said, and what is heard of the others."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Row

from devices.reading import INDEX, Batch, EventKind
from dispatch.alarm import AlarmCondition
from service.detection import silence
from service.sealing import SealingError
from service.store import devices as device_store
from service.store import readings as store
from service.store.database import Tx
from service.workflows import uploads
from service.workflows.house import House, warn

LOOK_BACK = timedelta(hours=6)
TOGETHER = timedelta(minutes=15)
"""Two devices of one home that fell silent within this have one cause (policy)."""
SLOPE_HOURS = 0.25
"""A charge watched for less says nothing about how fast it goes (policy)."""
HEARD_OF = timedelta(days=1)
_BATTERY, _WORN = INDEX["battery_pct"], INDEX["worn"]
_WORDS = {EventKind.TAKEN_OFF: 0.0, EventKind.PUT_ON: 1.0, EventKind.CHARGING: 0.0}
Points = list[tuple[int, float]]
"""Microseconds UTC and value, in order of time."""


def explained(
    house: House, tx: Tx, device: Row[Any], condition: AlarmCondition, now: datetime, *, area_silent: bool
) -> AlarmCondition:
    """The condition with the cause of the silence and what speaks for it."""
    facts = _facts(house, tx, device, now, area_silent=area_silent)
    found = silence.cause(facts, now, device.silent_after_s)
    evidence = {name: value for name, value in found.evidence.items() if value is not None and name != "area"}
    return msgspec.structs.replace(condition, params=condition.params | evidence | {"cause": found.cause.value})


def _facts(house: House, tx: Tx, device: Row[Any], now: datetime, *, area_silent: bool) -> silence.Facts:
    anybody, devices = device_store.last_heard(tx, now - HEARD_OF)
    common = {
        "last_received_at": device.last_received_at,
        "gateway_received_at": _companion(tx, device),
        "area_silent": area_silent,
        "anybody_received_at": anybody,
        "others": max(devices - 1, 0),
    }
    if device.last_received_at is None:
        return silence.Facts(**common)
    batteries, worn, charging_us = _last_said(house, tx, device)
    own: dict[str, Any] = {}
    if batteries:
        own |= {"battery_pct": batteries[-1][1], "battery_at": uploads.moment(batteries[-1][0])}
        own["battery_per_hour"] = _per_hour(batteries)
    if worn:
        own["worn"] = worn[-1][1] > 0
    if charging_us is not None:
        own["charging_at"] = uploads.moment(charging_us)
    return silence.Facts(**common, **own)


def _companion(tx: Tx, device: Row[Any]) -> datetime | None:
    """Last receipt from another device of the same home that was in use when this one fell silent."""
    heard = [
        other.last_received_at
        for other in device_store.devices(tx, [device.patient_id])
        if other.id != device.id and other.revoked_at is None and other.last_received_at is not None
    ]
    last = device.last_received_at
    together = [at for at in heard if last is None or at >= last - TOGETHER]
    return max(together, default=None)


def _last_said(house: House, tx: Tx, device: Row[Any]) -> tuple[Points, Points, int | None]:
    """Charges, whether it was worn, and when it was last put on its charger without being worn since."""
    batteries: Points = []
    worn: Points = []
    charging: list[int] = []
    for row in store.last_uploads(tx, device.patient_id, device.id, device.last_received_at - LOOK_BACK):
        try:
            batch = uploads.open_batch(house, row)
        except SealingError as error:
            warn("record_unreadable", table="upload", record=row.id, why=type(error).__name__)
            continue
        batteries += _points(batch, _BATTERY)
        worn += _points(batch, _WORN)
        worn += [(event.at_us, _WORDS[event.kind]) for event in batch.events if event.kind in _WORDS]
        charging += [event.at_us for event in batch.events if event.kind is EventKind.CHARGING]
    batteries.sort()
    worn.sort()
    last_us = max(charging, default=None)
    if last_us is not None and any(at > last_us and value > 0 for at, value in worn):
        last_us = None
    return batteries, worn, last_us


def _points(batch: Batch, column: int) -> Points:
    said = np.flatnonzero(~np.isnan(batch.values[:, column])) if batch.seq.size else np.empty(0, dtype=np.int64)
    return list(zip(batch.at_us[said].tolist(), batch.values[said, column].tolist(), strict=True))


def _per_hour(batteries: Points) -> float | None:
    (first_us, first), (last_us, last) = batteries[0], batteries[-1]
    hours = (last_us - first_us) / 3_600_000_000
    return (first - last) / hours if hours >= SLOPE_HOURS else None
