"""The short way for one upload in which nothing can alarm: the same state to the bit, at a fraction of the cost.

Rows in order of time, nothing contradicted, missing worn or held, and no value that any rule could arm on, now or
together with what is carried. Anything else is left to `analysis`, which judges it row by row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from devices.reading import COLUMNS, INDEX, Batch
from service.detection import quality, samples, usual
from service.detection.limits import (
    BATTERY_LOW_PCT,
    HEART_RATE_HIGH_BPM,
    HEART_RATE_LOW_BPM,
    REST_S,
    People,
    PersonSettings,
)
from service.detection.segments import Floats, Ints
from service.detection.state import EVIDENCE, GATED, NEVER, WINDOWED

MOST_PEOPLE = 4
"""From so many people on, judging all rows in one sweep is the cheaper way (measured)."""
# NEWS2 bands of at most one point, and of none, in the order of EVIDENCE (RCP 2017, chart 1).
_ONE_POINT = ((41.0, 110.0), (94.0, 100.0), (9.0, 20.0), (35.1, 39.0), (101.0, 219.0))
_NO_POINT = ((51.0, 90.0), (96.0, 100.0), (12.0, 20.0), (36.1, 38.0), (111.0, 219.0))
_MOST_POINTS = 4
"""One below the total at which NEWS2 asks for anything."""
_LEVELS = np.array([INDEX[name] for name in GATED])
_STEPS, _WORN, _BATTERY = INDEX["steps"], INDEX["worn"], INDEX["battery_pct"]
_BASE, _PER_S = quality.STEP_BASE.tolist(), quality.STEP_PER_S.tolist()
_KEEP = 1 - 1 / usual.MEMORY_MINUTES
_FIRST_S, _LAST_S = 1, 4_102_444_800


class _Column:
    """The values of one gated vital in an upload, with the one before them."""

    __slots__ = ("at", "seen_t", "seen_v", "t", "v")

    def __init__(self, t: Ints, v: Floats, seen_t: int, seen_v: float) -> None:
        at = np.flatnonzero(~np.isnan(v))
        self.at, self.t, self.v = (at, t, v) if at.size == v.size else (at, t[at], v[at])
        self.seen_t, self.seen_v = seen_t, seen_v


def take(record: Any, batch: Batch, settings: PersonSettings) -> bool:
    """Bring one person's state up to date if this upload is a calm one; otherwise leave it as it is.

    Parameters
    ----------
    record : structured scalar of `state.STATE`
        Changed in place, and only when True is returned.
    batch : Batch
        At least one row, no worn or taken-off events among its events.
    settings : PersonSettings
    """
    lane = record["lane"][0]
    if settings.spo2_scale != 1 or lane["worn"] == 0 or lane["latch"].any():
        return False
    if lane["steps_t"] > lane["front"] or (lane["seen_v"][:2] >= quality.RAISED_BPM).any():
        return False  # recovering from effort
    time = np.clip(batch.at_us // 1_000_000, _FIRST_S, _LAST_S)
    values = batch.values
    if not _in_order(time, int(lane["front"])) or not _quiet_device(values):
        return False
    columns = _columns(time, values, lane)
    if columns is None or not _plain(columns, lane):
        return False
    steps = values[:, _STEPS]
    stepped_t, walking = _steps(time, steps, lane)
    if walking:
        return False
    evidence = _evidence(columns)
    ring_t = lane["ring_t"]
    if not (ring_t[:, 1:] >= ring_t[:, :-1]).all() or not _harmless(evidence, lane, settings):
        return False
    rest = time - stepped_t >= REST_S
    _carry(record, lane, time, values, columns, int(stepped_t[-1]))
    _sample(lane, time, evidence, rest)
    _learn(record, time, evidence, rest, settings)
    _latest(record, time, values)
    return True


def _in_order(time: Ints, front: int) -> bool:
    return bool(time[0] >= front and (time[1:] >= time[:-1]).all())


def _quiet_device(values: Floats) -> bool:
    device = values[:, [_WORN, _BATTERY]]
    return not (device[:, 0] == 0).any() and not (device[:, 1] <= BATTERY_LOW_PCT).any()


def _columns(time: Ints, values: Floats, lane: Any) -> dict[int, _Column] | None:
    gated = values[:, _LEVELS]
    given = np.flatnonzero(~np.isnan(gated).all(axis=0)).tolist()
    seen_t, seen_v = lane["seen_t"].tolist(), lane["seen_v"].tolist()
    columns = {i: _Column(time, gated[:, i], seen_t[i], seen_v[i]) for i in given}
    if 0 in columns and 1 in columns:
        # Two rates: calm only where every row brings both and they agree.
        heart, pulse = columns[0], columns[1]
        if heart.v.size != time.size or pulse.v.size != time.size:
            return None
        if (np.abs(heart.v - pulse.v) > quality.DISAGREE_BPM).any():
            return None
    elif 0 in columns or 1 in columns:
        other = seen_t[1 if 0 in columns else 0]
        if abs(int(time[0]) - other) <= quality.SAME_MOMENT_S:
            return None
    return columns


def _plain(columns: dict[int, _Column], lane: Any) -> bool:
    """Whether the gate would accept every value; flat lines and runs of contradictions are followed in `_carry`."""
    if lane["run_bad"].any():
        return False
    for i, column in columns.items():
        v, t = column.v, column.t
        if not v.min() > 0:
            return False
        step, apart = np.abs(v[1:] - v[:-1]), t[1:] - t[:-1]
        near = apart <= quality.RATE_WITHIN_S
        if (step > _BASE[i]).any() and ((step > _BASE[i] + _PER_S[i] * apart) & near).any():
            return False
        apart_0 = int(t[0]) - column.seen_t
        jumped = abs(float(v[0]) - column.seen_v) > _BASE[i] + _PER_S[i] * apart_0
        if jumped and 0 <= apart_0 <= quality.RATE_WITHIN_S and column.seen_v > 0:
            return False
        began = int(lane["flat_t"][i]) if i < 2 and v[0] == column.seen_v else int(t[0])
        if i < 2 and int(t[-1]) - began >= quality.FLAT_S:
            return False  # a rate that may have repeated to the digit for so long
    return True


def _steps(time: Ints, steps: Floats, lane: Any) -> tuple[Ints, bool]:
    """When a step was last counted at each row, and whether anyone walked so that optical values are in doubt."""
    stepped = steps > 0
    carried = int(lane["steps_t"])
    if not stepped.any():
        return np.full(time.size, carried), False
    before = np.concatenate([lane["row_t"][None], time[:-1]])
    apart = time - before
    walking = (
        (apart > 0) & (apart <= quality.FLAT_GAP_S) & (steps * 60 >= quality.WALKING_PER_MIN * np.maximum(apart, 1))
    )
    stepped_t = np.maximum.accumulate(np.where(stepped, time, NEVER))
    return np.where(stepped_t == NEVER, carried, stepped_t), bool(walking.any())


def _evidence(columns: dict[int, _Column]) -> dict[int, tuple[Ints, Ints, Floats]]:
    """Rows, times and values of each of EVIDENCE that the upload brings."""
    found = {}
    for i, column in columns.items():
        kind = max(i - 1, 0)
        if kind not in found:  # heart rate before pulse
            v = column.v.astype(np.float32).astype(np.float64) if kind < WINDOWED else column.v
            found[kind] = (column.at, column.t, v)
    return found


def _harmless(evidence: dict[int, tuple[Ints, Ints, Floats]], lane: Any, settings: PersonSettings) -> bool:
    """Whether no limit and no NEWS2 total can be met by these values, the windows behind them or what is carried."""
    low = np.fmin(lane["news_v"], lane["lone_v"])
    high = np.fmax(lane["news_v"], lane["lone_v"])
    low[:WINDOWED] = np.fmin(low[:WINDOWED], np.fmin.reduce(lane["ring_v"], axis=1))
    high[:WINDOWED] = np.fmax(high[:WINDOWED], np.fmax.reduce(lane["ring_v"], axis=1))
    lows, highs = low.tolist(), high.tolist()
    points = 2 * bool(settings.on_oxygen)
    people = People.of([settings])
    rate_high, rate_low, spo2_low = float(people.rate_high[0]), float(people.rate_low[0]), float(people.spo2_low[0])
    for kind in range(len(EVIDENCE)):
        a, b = lows[kind], highs[kind]
        if kind in evidence:
            v = evidence[kind][2]
            a = min(float(v.min()), a) if not math.isnan(a) else float(v.min())
            b = max(float(v.max()), b) if not math.isnan(b) else float(v.max())
        if math.isnan(a):
            continue
        if a < _ONE_POINT[kind][0] or b > _ONE_POINT[kind][1]:
            return False
        points += a < _NO_POINT[kind][0] or b > _NO_POINT[kind][1]
        if kind == 0 and not max(rate_low, HEART_RATE_LOW_BPM) < a <= b < min(rate_high, HEART_RATE_HIGH_BPM):
            return False
        if kind == 1 and a <= spo2_low:
            return False
    return points <= _MOST_POINTS


def _carry(record: Any, lane: Any, time: Ints, values: Floats, columns: dict[int, _Column], stepped_t: int) -> None:
    lane["front"] = lane["row_t"] = time[-1]
    lane["steps_t"] = stepped_t
    said = np.flatnonzero(~np.isnan(values[:, _WORN]))
    if said.size:
        lane["worn"], lane["worn_t"] = values[said[-1], _WORN], time[said[-1]]
    for i, column in columns.items():
        if i < 2:
            _carry_flat(lane, i, column)
        lane["seen_v"][i], lane["seen_t"][i] = column.v[-1], column.t[-1]
        if i < 4:
            _carry_run(lane, i, int(column.t[0]), column.t.size)
    if 0 in columns and 1 in columns:
        _carry_run(lane, 4, int(time[0]), time.size)


def _carry_run(lane: Any, i: int, began: int, count: int) -> None:
    if lane["run_n"][i] == 0:
        lane["run_t"][i] = began
    lane["run_n"][i] += count


def _carry_flat(lane: Any, i: int, column: _Column) -> None:
    v, t = column.v, column.t
    changed = np.flatnonzero((v[1:] != v[:-1]) | (t[1:] - t[:-1] > quality.FLAT_GAP_S))
    if changed.size:
        start = int(changed[-1]) + 1
        lane["flat_t"][i], lane["flat_n"][i] = t[start], v.size - start
    elif v[0] == column.seen_v and int(t[0]) - column.seen_t <= quality.FLAT_GAP_S:
        lane["flat_n"][i] += v.size
    else:
        lane["flat_t"][i], lane["flat_n"][i] = t[0], v.size


def _sample(lane: Any, time: Ints, evidence: dict[int, tuple[Ints, Ints, Floats]], rest: Any) -> None:
    """Thin into the rings, and keep the medians and lone values that NEWS2 remembers."""
    for kind, (rows, t, v) in evidence.items():
        if kind >= WINDOWED:
            lane["news_v"][kind], lane["news_t"][kind] = v[-1], t[-1]
            continue
        cell = t // samples.CELL_S
        new = np.empty(t.size, dtype=bool)
        new[1:] = cell[1:] != cell[:-1]
        ring_t, ring_v = lane["ring_t"][kind].tolist(), lane["ring_v"][kind].tolist()
        new[0] = int(cell[0]) != max(ring_t) // samples.CELL_S
        kept = np.flatnonzero(new)
        if not kept.size:
            continue
        still = [True] * kept.size if kind == 1 else rest[rows[kept]].tolist()
        size = len(ring_t)
        ring_t += t[kept].tolist()
        ring_v += v[kept].tolist()
        _remember(lane, kind, ring_t, ring_v, still, size)
        lane["ring_t"][kind], lane["ring_v"][kind] = ring_t[-size:], ring_v[-size:]


def _remember(lane: Any, kind: int, ring_t: list[int], ring_v: list[float], still: list[bool], size: int) -> None:
    for k in range(len(still) - 1, -1, -1):
        end = size + k + 1
        median = _median(ring_t[end - size : end], ring_v[end - size : end]) if still[k] else None
        if median is not None:
            lane["news_v"][kind], lane["news_t"][kind] = median, ring_t[end - 1]
            break
    for k in range(len(still) - 1, -1, -1):
        at = size + k
        if still[k] and ring_t[at] - ring_t[at - 1] > samples.GAP_S:
            lane["lone_v"][kind], lane["lone_t"][kind] = ring_v[at], ring_t[at]
            break


def _median(t: list[int], v: list[float]) -> float | None:
    """The persistent median of one window, as `samples` takes it; None where it holds too little."""
    now = t[-1]
    start = len(t)
    while start and now - t[start - 1] <= samples.WINDOW_S:
        start -= 1
    few = samples.WINDOW_READINGS
    if len(t) - start < few:
        if not all(t[i + 1] - t[i] <= samples.GAP_S for i in range(len(t) - few, len(t) - 1)):
            return None
        start = len(t) - few
    if now - t[start] < samples.WINDOW_SPAN_S:
        return None
    ordered = sorted(v[start:])
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _learn(
    record: Any, time: Ints, evidence: dict[int, tuple[Ints, Ints, Floats]], rest: Any, settings: PersonSettings
) -> None:
    for kind, (rows, t, v) in evidence.items():
        use = rest[rows]
        if not use.any():
            continue
        minute = t // 60
        known = int(record["usual_minute"][kind])
        if not use.all():
            minute, v = minute[use], v[use]
        new = np.empty(minute.size, dtype=bool)
        new[0] = int(minute[0]) > known
        new[1:] = (minute[1:] > minute[:-1]) & (minute[1:] > known)
        learnt = v[new].tolist()
        mean = float(record["usual_m"][kind])
        for value in learnt:
            mean = _KEEP * mean + (1 - _KEEP) * value
        record["usual_m"][kind] = mean
        record["usual_n"][kind] += len(learnt)
        record["usual_minute"][kind] = max(known, int(minute[-1]))


def _latest(record: Any, time: Ints, values: Floats) -> None:
    given = ~np.isnan(values)
    last = time.size - 1 - given[::-1].argmax(axis=0)
    columns = np.arange(len(COLUMNS))
    newer = given[last, columns] & (time[last] >= record["last_t"])
    record["last_v"][newer] = values[last, columns][newer]
    record["last_t"][newer] = time[last][newer]
    record["last_doubt"][newer] = 0
    record["newest"] = max(int(record["newest"]), int(time[-1]))
