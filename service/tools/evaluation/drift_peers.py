"""What others would say of a drifting resting heart rate, rewritten from their descriptions, on hourly means."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.tools.evaluation.common import Row, rate_interval, share_interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rule = Callable[[Floats, Ints], Bools]
"""(resting heart rate by hour, local hour) -> hours at which it alarms."""

_NIGHT_ENDS = 7
_LEAST_NIGHTS = 7
_MOST_INJECTIONS = 80
_MOST_STREAMS = 60
"""River's detectors see so many injections and people only: they cost up to 100 microseconds a value."""


def _nights(heart: Floats, local: Ints) -> tuple[Floats, Ints]:
    """Median from midnight to seven of each night, and the hour at which the night is over."""
    ends = np.flatnonzero((local[:-1] < _NIGHT_ENDS) & (local[1:] >= _NIGHT_ENDS))
    medians = np.full(ends.size, np.nan)
    for i, end in enumerate(ends.tolist()):
        window = slice(max(end - _NIGHT_ENDS + 1, 0), end + 1)
        night = heart[window][local[window] < _NIGHT_ENDS]
        if np.isfinite(night).sum() >= 2:
            medians[i] = np.nanmedian(night)
    return medians, ends + 1


def night_signal(heart: Floats, local: Ints) -> Bools:
    """After NightSignal (Alavi 2022): +3 above the running median, then +4 the next night, is red."""
    night, ends = _nights(heart, local)
    alarm = np.zeros(heart.size, dtype=bool)
    raised = False
    for i in range(night.size):
        before = night[:i][np.isfinite(night[:i])]
        if before.size < _LEAST_NIGHTS or not np.isfinite(night[i]):
            raised = False
            continue
        above = night[i] - np.median(before)
        alarm[ends[i]] = raised and above >= 4
        raised = above >= 3
    return alarm


def nightly_z(heart: Floats, local: Ints) -> Bools:
    """A night more than 2.5 standard deviations above the 14 nights before it."""
    night, ends = _nights(heart, local)
    alarm = np.zeros(heart.size, dtype=bool)
    for i in range(night.size):
        before = night[max(i - 14, 0) : i]
        before = before[np.isfinite(before)]
        if before.size >= _LEAST_NIGHTS and np.isfinite(night[i]):
            alarm[ends[i]] = night[i] - before.mean() > 2.5 * max(float(before.std(ddof=1)), 0.5)
    return alarm


def _page_hinkley(river: Any) -> Rule:
    def rule(heart: Floats, local: Ints) -> Bools:
        detector = river.drift.PageHinkley(min_instances=7 * 24, delta=2.0, threshold=100.0, mode="up")
        alarm = np.zeros(heart.size, dtype=bool)
        for k in np.flatnonzero(np.isfinite(heart)).tolist():
            detector.update(float(heart[k]))
            alarm[k] = detector.drift_detected
        return alarm

    return rule


def _half_space(river: Any) -> Rule:
    def rule(heart: Floats, local: Ints) -> Bools:
        model = river.anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=168, seed=1)
        alarm = np.zeros(heart.size, dtype=bool)
        scores: list[float] = []
        high = 0
        for k in np.flatnonzero(np.isfinite(heart)).tolist():
            x = {"heart": min(max((float(heart[k]) - 30) / 120, 0.0), 1.0), "hour": float(local[k]) / 24}
            scores.append(model.score_one(x))
            model.learn_one(x)
            limit = float(np.quantile(scores[168 : 168 + 336], 0.99)) if len(scores) > 336 else np.inf
            high = high + 1 if scores[-1] > limit else 0
            alarm[k] = high == 4
        return alarm

    return rule


def _episodes(alarm: Bools) -> int:
    """Alarms that follow within two days are one."""
    hours = np.flatnonzero(alarm)
    return int(hours.size and 1 + (np.diff(hours) > 48).sum())


def _delays(rule: Rule, heart: Floats, local: Ints, onsets: tuple[Ints, Ints], shift: float, lasts_h: int) -> Floats:
    ramp = np.minimum((np.arange(lasts_h) + 1) / 24, 1.0) * shift
    delay = np.full(onsets[0].size, np.nan)
    for i, (who, when) in enumerate(zip(onsets[0].tolist(), onsets[1].tolist(), strict=True)):
        end = min(when + lasts_h, heart.shape[1])
        begin = max(end - 24 * 60, 0)
        x = heart[who, begin:end].copy()
        x[when - begin :] += ramp[: end - when]
        hits = np.flatnonzero(rule(x, local[who, begin:end])[when - begin :])
        if hits.size:
            delay[i] = hits[0] + 1
    return delay


def rows(
    where: str, group: tuple[Floats, Ints, float], onsets: tuple[Ints, Ints], shifts: Sequence[float], lasts_h: int,
    mode: str,
) -> list[Row]:  # fmt: skip
    """Each peer's false alarms and what it finds of each rise; none of them looks for a fall.

    Parameters
    ----------
    where : str
        Name of the group.
    group : (float64[P, H], int64[P, H], float)
        Resting heart rate and local hour by hour, and the patient-days watched.
    onsets : (int64[n], int64[n])
        Person and hour of each shift.
    """
    some = np.linspace(0, onsets[0].size - 1, min(_MOST_INJECTIONS, onsets[0].size)).astype(int)
    onsets = onsets[0][some], onsets[1][some]
    found: list[Row] = []
    plain: dict[str, Rule] = {"NightSignal-like, red": night_signal, "nightly z > 2.5 of 14 nights": nightly_z}
    for name, rule in plain.items():
        found += _measure(name, rule, where, group, onsets, [s for s in shifts if s > 0], lasts_h, mode)
    makers = {
        "river PageHinkley": ("river.drift", _page_hinkley),
        "river HalfSpaceTrees": ("river.anomaly", _half_space),
    }
    for name, (module, make) in makers.items():
        if importlib.util.find_spec("river") is None:
            measure = f"sensitivity +8 bpm in 48 h, {where}"
            found.append(Row("drift", measure, name, None, mode=mode, note="not installed"))
            continue
        importlib.import_module(module)
        few = np.linspace(0, onsets[0].size - 1, min(_MOST_STREAMS, onsets[0].size)).astype(int)
        people = slice(0, 6)
        part = (onsets[0][few], onsets[1][few])
        rule = make(importlib.import_module("river"))
        found += _measure(name, rule, where, group, part, [8.0], lasts_h, mode, people)
    return found


def _measure(
    name: str, rule: Rule, where: str, group: tuple[Floats, Ints, float], onsets: tuple[Ints, Ints],
    shifts: Sequence[float], lasts_h: int, mode: str, watched: slice = slice(None),
) -> list[Row]:  # fmt: skip
    heart, local, days = group
    whole = heart[watched]
    days *= whole.shape[0] / heart.shape[0]
    count = sum(_episodes(rule(x, clock)) for x, clock in zip(whole, local[watched], strict=True))
    low, high = rate_interval(count, days)
    found = [Row("drift", f"false alarms a patient-day, heart rate, {where}", name, count / days, low, high, count,
                 whole.shape[0], days * 24, mode)]  # fmt: skip
    for shift in shifts:
        delay = _delays(rule, heart, local, onsets, shift, lasts_h)
        for within in (48, 120):
            k = int((delay <= within).sum())
            low, high = share_interval(k, max(delay.size, 1))
            found.append(Row("drift", f"sensitivity {shift:+g} bpm in {within} h, {where}", name,
                             k / max(delay.size, 1), low, high, delay.size, heart.shape[0], None, mode))  # fmt: skip
    return found
