"""The short way for one upload in which nothing can alarm: the same state to the bit, at a fraction of the cost.

Rows in order of time, nothing contradicted, missing worn or held, and no value that any rule could arm on, now or
together with what is carried. Anything else is left to `analysis`, which judges it row by row.
"""

from __future__ import annotations

from functools import lru_cache
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
from service.detection.segments import Bools, Floats, Ints
from service.detection.state import EVIDENCE, GATED, NEVER, RING, WINDOWED

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


_FIRST_ROW = np.zeros(1, dtype=np.int64)
_COLUMNS = np.arange(len(COLUMNS))
_RING_STARTS = np.arange(WINDOWED) * RING


class _Column:
    """The values of one gated vital in an upload, with the one before them.

    `at` says in which rows they are, None where in all of them; `low` and `high` bound them.
    """

    __slots__ = ("at", "high", "low", "seen_t", "seen_v", "t", "v")

    def __init__(self, t: Ints, v: Floats, bounds: tuple[float, float], seen: tuple[int, float]) -> None:
        given = v == v
        self.at = None if np.count_nonzero(given) == v.size else given.nonzero()[0]
        self.t: Ints = t if self.at is None else t[self.at]
        self.v: Floats = v if self.at is None else v[self.at]
        self.low, self.high = bounds
        self.seen_t, self.seen_v = seen


class _Evidence:
    """The values of one of EVIDENCE: those of its column, the windowed ones as the rings hold them."""

    __slots__ = ("at", "high", "low", "t", "v")

    def __init__(self, column: _Column, kind: int) -> None:
        self.at, self.t, self.v, self.low, self.high = column.at, column.t, column.v, column.low, column.high
        if kind < WINDOWED:
            self.v = column.v.astype(np.float32).astype(np.float64)
            self.low, self.high = float(np.float32(column.low)), float(np.float32(column.high))

    def of(self, rows: Bools) -> Bools:
        """What is said of all rows, of those that bring a value."""
        return rows if self.at is None else rows[self.at]


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
    if settings.spo2_scale != 1 or lane["worn"] == 0 or np.count_nonzero(lane["latch"]):
        return False
    if lane["steps_t"] > lane["front"] or np.count_nonzero(lane["seen_v"][:2] >= quality.RAISED_BPM):
        return False  # recovering from effort
    time = np.minimum(np.maximum(batch.at_us // 1_000_000, _FIRST_S), _LAST_S)
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
    if np.count_nonzero(ring_t[:, 1:] < ring_t[:, :-1]) or not _harmless(evidence, lane, settings):
        return False
    rest = time - stepped_t >= REST_S
    _carry(record, lane, time, values, columns, int(stepped_t[-1]))
    _sample(lane, time, evidence, rest)
    _learn(record, time, evidence, rest)
    _latest(record, time, values)
    return True


def _in_order(time: Ints, front: int) -> bool:
    return bool(time[0] >= front) and not np.count_nonzero(time[1:] < time[:-1])


def _quiet_device(values: Floats) -> bool:
    return not (np.count_nonzero(values[:, _WORN] == 0) or np.count_nonzero(values[:, _BATTERY] <= BATTERY_LOW_PCT))


def _columns(time: Ints, values: Floats, lane: Any) -> dict[int, _Column] | None:
    gated = values.take(_LEVELS, axis=1)
    lows = np.fmin.reduceat(gated, _FIRST_ROW, axis=0)[0].tolist()
    highs = np.fmax.reduceat(gated, _FIRST_ROW, axis=0)[0].tolist()
    seen_t, seen_v = lane["seen_t"].tolist(), lane["seen_v"].tolist()
    columns = {
        i: _Column(time, gated[:, i], (lows[i], highs[i]), (seen_t[i], seen_v[i]))
        for i in range(len(GATED))
        if lows[i] == lows[i]
    }
    if 0 in columns and 1 in columns:
        # Two rates: calm only where every row brings both and they agree.
        heart, pulse = columns[0], columns[1]
        if heart.at is not None or pulse.at is not None:
            return None
        if np.count_nonzero(np.abs(heart.v - pulse.v) > quality.DISAGREE_BPM):
            return None
    elif 0 in columns or 1 in columns:
        other = seen_t[1 if 0 in columns else 0]
        if abs(int(time[0]) - other) <= quality.SAME_MOMENT_S:
            return None
    return columns


def _plain(columns: dict[int, _Column], lane: Any) -> bool:
    """Whether the gate would accept every value; flat lines and runs of contradictions are followed in `_carry`."""
    if np.count_nonzero(lane["run_bad"]):
        return False
    for i, column in columns.items():
        v, t = column.v, column.t
        if not column.low > 0:
            return False
        if column.high - column.low > _BASE[i]:
            step, apart = np.abs(v[1:] - v[:-1]), t[1:] - t[:-1]
            near = apart <= quality.RATE_WITHIN_S
            if np.count_nonzero((step > _BASE[i] + _PER_S[i] * apart) & near):
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
    if not np.count_nonzero(stepped):
        return np.full(time.size, carried), False
    before = np.concatenate([lane["row_t"][None], time[:-1]])
    apart = time - before
    walking = (
        (apart > 0) & (apart <= quality.FLAT_GAP_S) & (steps * 60 >= quality.WALKING_PER_MIN * np.maximum(apart, 1))
    )
    stepped_t = np.maximum.accumulate(np.where(stepped, time, NEVER))
    return np.where(stepped_t == NEVER, carried, stepped_t), bool(np.count_nonzero(walking))


def _evidence(columns: dict[int, _Column]) -> dict[int, _Evidence]:
    """What the upload brings of each of EVIDENCE."""
    found: dict[int, _Evidence] = {}
    for i, column in columns.items():
        kind = max(i - 1, 0)
        if kind not in found:  # heart rate before pulse
            found[kind] = _Evidence(column, kind)
    return found


@lru_cache(maxsize=4096)
def _limits(settings: PersonSettings) -> tuple[float, float, float]:
    """The person's limits: heart rate high and low, SpO2 low."""
    people = People.of([settings])
    return float(people.rate_high[0]), float(people.rate_low[0]), float(people.spo2_low[0])


def _carried_bounds(lane: Any) -> tuple[list[float], list[float]]:
    """Least and highest of what is carried of each of EVIDENCE, NaN where nothing is."""
    news, lone, rings = lane["news_v"], lane["lone_v"], lane["ring_v"].ravel()
    low, high = np.fmin(news, lone), np.fmax(news, lone)
    np.fmin(low[:WINDOWED], np.fmin.reduceat(rings, _RING_STARTS), out=low[:WINDOWED])
    np.fmax(high[:WINDOWED], np.fmax.reduceat(rings, _RING_STARTS), out=high[:WINDOWED])
    return low.tolist(), high.tolist()


def _harmless(evidence: dict[int, _Evidence], lane: Any, settings: PersonSettings) -> bool:
    """Whether no limit and no NEWS2 total can be met by these values, the windows behind them or what is carried."""
    lows, highs = _carried_bounds(lane)
    points = 2 * bool(settings.on_oxygen)
    rate_high, rate_low, spo2_low = _limits(settings)
    for kind in range(len(EVIDENCE)):
        a, b = lows[kind], highs[kind]
        if kind in evidence:
            # What is carried comes second: a NaN there is passed over.
            a, b = min(evidence[kind].low, a), max(evidence[kind].high, b)
        if a != a:
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
    said = (~np.isnan(values[:, _WORN])).nonzero()[0]
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
    changed = ((v[1:] != v[:-1]) | (t[1:] - t[:-1] > quality.FLAT_GAP_S)).nonzero()[0]
    if changed.size:
        start = int(changed[-1]) + 1
        lane["flat_t"][i], lane["flat_n"][i] = t[start], v.size - start
    elif v[0] == column.seen_v and int(t[0]) - column.seen_t <= quality.FLAT_GAP_S:
        lane["flat_n"][i] += v.size
    else:
        lane["flat_t"][i], lane["flat_n"][i] = t[0], v.size


def _first_of_each(part: Ints, before: int) -> Ints:
    """Rows that begin a cell or a minute other than the one before."""
    new = np.empty(part.size, dtype=bool)
    new[0] = int(part[0]) != before
    np.not_equal(part[1:], part[:-1], out=new[1:])
    return new.nonzero()[0]


def _sample(lane: Any, time: Ints, evidence: dict[int, _Evidence], rest: Bools) -> None:
    """Thin into the rings, and keep the medians and lone values that NEWS2 remembers."""
    every = time // samples.CELL_S
    times, values = lane["ring_t"], lane["ring_v"]
    for kind, said in evidence.items():
        if kind >= WINDOWED:
            lane["news_v"][kind], lane["news_t"][kind] = said.v[-1], said.t[-1]
            continue
        ring_t = times[kind].tolist()
        kept = _first_of_each(every if said.at is None else every[said.at], ring_t[-1] // samples.CELL_S)
        if not kept.size:
            continue
        still = [True] * kept.size if kind == 1 else said.of(rest)[kept].tolist()
        fresh_t, fresh_v = said.t[kept], said.v[kept]
        ring_v = values[kind].tolist() + fresh_v.tolist()
        ring_t += fresh_t.tolist()
        _remember(lane, kind, ring_t, ring_v, still, RING)
        _push(times[kind], fresh_t)
        _push(values[kind], fresh_v)


def _push(ring: Any, fresh: Any) -> None:
    """Put new samples behind the ones that stay."""
    count = min(fresh.size, RING)
    ring[: RING - count] = ring[count:].copy()
    ring[RING - count :] = fresh[fresh.size - count :]


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


def _learn(record: Any, time: Ints, evidence: dict[int, _Evidence], rest: Bools) -> None:
    every = time // 60
    for kind, said in evidence.items():
        minute, v, use = every if said.at is None else every[said.at], said.v, said.of(rest)
        used = np.count_nonzero(use)
        if not used:
            continue
        if used < use.size:
            minute, v = minute[use], v[use]
        known = int(record["usual_minute"][kind])
        if int(minute[-1]) <= known:
            continue
        # In order of time: what is past the known minute begins where it is passed.
        new = _first_of_each(minute, known)
        learnt = v[new[minute[new] > known]].tolist()
        mean = float(record["usual_m"][kind])
        for value in learnt:
            mean = _KEEP * mean + (1 - _KEEP) * value
        record["usual_m"][kind] = mean
        record["usual_n"][kind] += len(learnt)
        record["usual_minute"][kind] = max(known, int(minute[-1]))


def _latest(record: Any, time: Ints, values: Floats) -> None:
    last = time.size - 1 - (values == values)[::-1].argmax(axis=0)
    value, at = values[last, _COLUMNS], time[last]
    newer = (value == value) & (at >= record["last_t"])
    np.copyto(record["last_v"], value, where=newer)
    np.copyto(record["last_t"], at, where=newer)
    record["last_doubt"][newer] = 0
    record["newest"] = max(int(record["newest"]), int(time[-1]))
