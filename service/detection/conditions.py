"""Turns changed latches into alarm conditions with the figures that their sentences need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from devices.reading import INDEX
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from service.detection import samples
from service.detection.limits import HEART_RATE_HIGH_BPM, HEART_RATE_LOW_BPM, People, Signals
from service.detection.quality import Gate
from service.detection.segments import Bools, Floats, Ints
from service.detection.state import GATED, LATCH, LATCHES
from service.detection.usual import Usual

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_CONTRADICTION = LATCH["signal_contradiction:heart_rate_bpm"]
_FIRST_TECHNICAL = _FIRST_CONTRADICTION
_HIGH = {"spo2_low", "heart_rate_high:high", "heart_rate_low:high", "news2_high"}
_PAIRS = (
    (LATCH["heart_rate_high"], LATCH["heart_rate_high:high"]),
    (LATCH["heart_rate_low"], LATCH["heart_rate_low:high"]),
    (LATCH["news2_medium"], LATCH["news2_high"]),
)
CODES: tuple[str, ...] = tuple(name.split(":")[0] for name in LATCHES)
"""Code of the condition of each latch."""
PHYSIOLOGICAL = frozenset(CODES[:_FIRST_TECHNICAL])
"""Codes that are about the person and not about a device."""


@dataclass(slots=True)
class Pass:
    """Everything computed for stacked rows (m), each lane led by its carried row."""

    order: Ints
    """int64[n]: stacked row of each row, the carried ones left out."""
    body: Ints
    """int64[n]: place of those rows among all m."""
    first: Ints
    last: Ints
    used: Ints
    """int64[lanes]: which lane (2 x patient, + 1 for the backlog) each is."""
    time: Ints
    front: Ints
    lane: Ints
    wearers: People
    values: Floats
    gate: Gate
    kept: samples.Samples
    signals: Signals
    held: Bools
    usual: Usual


def moment(seconds: int) -> datetime:
    """Aware time of whole seconds since 1970."""
    return _EPOCH + timedelta(seconds=int(seconds))


def physiological(latch: int) -> bool:
    """Whether a latch is about the person and not about a device."""
    return latch < _FIRST_TECHNICAL


def shown(latches: set[int]) -> set[int]:
    """Leave out the lower step of a condition whose higher step holds too."""
    return latches - {lower for lower, upper in _PAIRS if upper in latches}


def codes(latches: set[int]) -> tuple[str, ...]:
    """Codes of latches, each once, in the order of `LATCHES`."""
    return tuple(dict.fromkeys(CODES[i] for i in sorted(latches)))


def condition(done: Pass, row: int, latch: int, now_us: int) -> AlarmCondition:
    """Describe a latch that rose in a row.

    Parameters
    ----------
    done : Pass
    row : int
        Among all m.
    latch : int
        Index into `LATCHES`.
    now_us : int
        Receipt, microseconds UTC.
    """
    name, code = LATCHES[latch], CODES[latch]
    if code == "spo2_low":
        started, params = _spo2(done, row)
    elif code.startswith("heart_rate"):
        started, params = _heart(done, row, name)
    elif code.startswith("news2"):
        started, params = _news(done, row)
    elif code == "signal_contradiction":
        started, params = _contradiction(done, row, latch - _FIRST_CONTRADICTION)
    else:
        started, params = int(done.time[row]), _device(done, row, code)
    if code not in ("signal_contradiction", "battery_low"):
        params["age_s"] = max(now_us // 1_000_000 - int(done.time[row]), 0)
    now = _EPOCH + timedelta(microseconds=now_us)
    calm = Priority.MEDIUM if physiological(latch) else Priority.LOW
    return AlarmCondition(
        code=code,
        kind=AlarmKind.PHYSIOLOGICAL if physiological(latch) else AlarmKind.TECHNICAL,
        priority=Priority.HIGH if name in _HIGH else calm,
        started_at=min(moment(started), now),
        detected_at=now,
        params=params,
    )


def _sample(done: Pass, row: int, vital: int) -> int:
    return int(np.flatnonzero((done.kept.row == row) & (done.kept.vital == vital))[0])


def _began(done: Pass, row: int, age: Ints, sign: Bools) -> int:
    oldest = int(age[sign].max()) if sign.any() else 0
    return min(int(done.front[row]) - oldest, int(done.time[row]))


def _figures(done: Pass, row: int, vital: int, value: float, limit: float, started: int) -> dict[str, Param]:
    usual = done.usual.at(int(done.lane[row]), vital, row)
    return {
        "value": round(float(value), 1),
        "usual": None if usual is None else round(usual, 1),
        "limit": float(limit),
        "duration_s": int(done.time[row]) - started,
    }


def _heart(done: Pass, row: int, name: str) -> tuple[int, dict[str, Param]]:
    k = _sample(done, row, 0)
    within, value, rises = done.kept.within[k], done.kept.value[k], name.startswith("heart_rate_high")
    if name.endswith(":high"):
        limit = HEART_RATE_HIGH_BPM if rises else HEART_RATE_LOW_BPM
    else:
        limit = float((done.wearers.rate_high if rises else done.wearers.rate_low)[row])
    sign = within & (value >= limit if rises else value <= limit)
    started = _began(done, row, done.kept.age[k], sign)
    return started, _figures(done, row, 0, done.kept.median[k], limit, started)


def _spo2(done: Pass, row: int) -> tuple[int, dict[str, Param]]:
    k = _sample(done, row, 1)
    age, value = done.kept.age[k : k + 1], done.kept.value[k : k + 1]
    limit = float(done.wearers.spo2_low[row])
    reach = max(samples.WINDOW_S, int(age[0, -2]) if age[0, -2] <= samples.GAP_S else 0)
    low = (age <= reach) & (value <= limit)
    started = _began(done, row, age[0], low[0])
    median = samples.masked_median(value, low)[0]
    return started, _figures(done, row, 1, median, limit, started)


def _news(done: Pass, row: int) -> tuple[int, dict[str, Param]]:
    scored, i = done.signals.news, int(done.signals.news_row[row])
    return int(done.time[row]), {
        "total": int(scored.total_known[i]),
        "known": int(scored.known[i]),
        "worst": scored.worst(i),
    }


def _contradiction(done: Pass, row: int, run: int) -> tuple[int, dict[str, Param]]:
    gate = done.gate
    one = run if run < 4 else 0
    other = 1 if one == 0 else 0
    latest = gate.value[gate.seen[row], np.arange(len(GATED))]
    if not latest[other] > 0:
        other = 1
    return int(gate.run_t[row, run]), {
        "field": GATED[one],
        "value": float(latest[one]),
        "other_field": GATED[other],
        "other_value": float(latest[other]),
    }


def _device(done: Pass, row: int, code: str) -> dict[str, Param]:
    if code == "battery_low":
        return {"value": float(done.values[row, INDEX["battery_pct"]])}
    return {}
