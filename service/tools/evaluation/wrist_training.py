"""Recordings from the wrist, the impacts in them, and the fitting of the small networks that judge those."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.signal import resample_poly

from devices.signals import wrist_falls
from devices.signals.impacts import RATE_HZ, between, impacts, magnitude, still_share, to_g
from service.tools.evaluation.common import Floats, folds

Bools = npt.NDArray[np.bool_]
HIDDEN, SEEDS, STEPS, L2 = 12, (0, 1), 120, 0.05
"""Width of a network, their seeds, steps of L-BFGS-B, and the pull of all weights to nought."""
ADL_WEIGHT = 0.5
"""Scripted trials are full of claps and jumps that nobody does so often: each impact counts half."""
VARIANTS = (("plain", 1.0, 1.0), ("e4", 1.0, 1.0), ("slow", 0.88, 1.0), ("fast", 1.12, 1.0), ("e4", 1.0, 0.92))
"""Each trial is learnt from as it is, as an E4 would have recorded it, slower, faster, weaker: kind, pace, gain."""
WEAR_VARIANTS = (("plain", 1.0, 1.0), ("slow", 0.9, 1.0), ("fast", 1.1, 1.08))
EARLY_S, LATE_S = 0.5, 1.0
"""An impact counts as the fall from half a second before the labelled interval to a second after it."""
REFRACTORY_S = 60.0
STILL_FROM_S, STILL_TO_S, STILL_G, STILL_SHARE = 5.0, 25.0, 0.06, 0.95
"""Dispatch tier: quiet nearly every second from 5 to 25 s after the impact (policy)."""
UNTOLD = 3.0
"""Log-odds asked for where too few hours of wear are there to choose by (policy)."""
TAIL = 10
"""So many of the highest scores of other people's wear tell how fast their number falls."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One trial or one session of wear; `fall_s` is the labelled interval of a fall."""

    key: str
    subject: str
    kind: str
    """"fall", "daily" or "wear"."""
    signal: Floats
    fall_s: tuple[float, float] | None = None

    @property
    def elder(self) -> bool:
        return self.subject.startswith("weda-U") and self.subject[6:].isdigit() and int(self.subject[6:]) > 20

    @property
    def hours(self) -> float:
        return len(self.signal) / RATE_HZ / 3600


def weda(folder: Path) -> Iterator[Recording]:
    """Trials of WEDA-FALL: bursts of a watch, spread evenly over their time, in g at 50 Hz."""
    spans: dict[str, tuple[float, float]] = {}
    for path in sorted(folder.glob("weda_fall_timestamps*.csv")):
        with path.open(encoding="utf-8", newline="") as f:
            spans |= {r["filename"]: (float(r["start_time"]), float(r["end_time"])) for r in csv.DictReader(f)}
    for path in sorted(folder.glob("weda_fall_accel*.npz")):
        with np.load(path) as trials:
            for key in sorted(trials.files):
                rows = np.asarray(trials[key], np.float64)
                span = float(rows[-1, 0] - rows[0, 0]) if len(rows) > 1 else 0.0
                if span <= 1 or not 20 <= (len(rows) - 1) / span <= 400:
                    continue
                signal = to_g(rows[:, 1:4], (len(rows) - 1) / span, "m/s2")
                fall, who = key.startswith("F"), key.partition("/")[2].partition("_")[0]
                start, stop = spans.get(key, (0.0, span))
                seconds = (start - float(rows[0, 0]), stop - float(rows[0, 0])) if fall else None
                if len(signal):
                    yield Recording(key, f"weda-{who}", "fall" if fall else "daily", signal, seconds)


def wear(folder: Path) -> Iterator[Recording]:
    """Sessions of continuous wear of an Empatica E4, in g at 50 Hz."""
    for path in sorted(folder.glob("exam_stress/*/*/ACC.csv*")):
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
        if len(rows) > 2 and 20 <= rows[1, 0] <= 400:
            signal = to_g(rows[2:, :3] / 64.0, rows[1, 0], "g")
            if len(signal):
                yield Recording(f"{path.parts[-3]}/{path.parts[-2]}", f"wear-{path.parts[-3]}", "wear", signal)


def like_an_e4(signal: Floats) -> Floats:
    """A signal as a sensor of +-2 g, 32 Hz and 1/64 g would have given it."""
    coarse = resample_poly(np.clip(signal, -2, 2), 16, 25, axis=0, padtype="edge")
    return to_g(np.clip(np.round(coarse * 64), -128, 127) / 64, 32, "g")


def varied(signal: Floats, kind: str, pace: float, gain: float) -> Floats:
    """The signal at another pace, height or by another sensor."""
    changed = like_an_e4(signal) if kind == "e4" else signal
    if pace != 1.0:
        at = np.arange(0, len(changed) - 1, pace)
        changed = np.column_stack([np.interp(at, np.arange(len(changed)), changed[:, k]) for k in range(3)])
    return changed * gain


@dataclass(frozen=True, slots=True)
class Looks:
    """Impacts of many recordings: features (m, k), recording, second, within a fall, before or after one."""

    rows: Floats
    recording: npt.NDArray[np.int64]
    at_s: Floats
    inside: Bools
    beside: Bools
    still: Bools


def looks(recordings: Sequence[Recording], kind: str = "plain", pace: float = 1.0, gain: float = 1.0) -> Looks:
    """All impacts of the recordings, each recording changed as told."""
    rows, which, seconds, inside, beside, still = [], [], [], [], [], []
    for number, recording in enumerate(recordings):
        signal = varied(recording.signal, kind, pace, gain)
        found = impacts(magnitude(signal), wrist_falls.IMPACT_G) if len(signal) else np.empty(0, np.int64)
        if not found.size:
            continue
        at = found / RATE_HZ * pace
        low, high = recording.fall_s or (np.inf, -np.inf)
        within = (at >= low - EARLY_S) & (at <= high + LATE_S)
        rows.append(wrist_falls.described(wrist_falls.windows(signal, found)))
        which.append(np.full(found.size, number))
        seconds.append(at)
        inside.append(within)
        beside.append(~within & (recording.fall_s is not None))
        still.append(np.array([lies_still(signal, int(i)) for i in found]))
    if not rows:
        none = np.zeros(0, np.bool_)
        empty = np.empty((0, wrist_falls.described(np.ones((1, 300, 3))).shape[1]))
        return Looks(empty, np.zeros(0, np.int64), np.zeros(0), none, none, none)
    joined = [np.concatenate(part) for part in (which, seconds, inside, beside, still)]
    return Looks(np.concatenate(rows), *joined)


def lies_still(signal: Floats, index: int) -> bool:
    """Whether the wearer did not move from 5 to 25 s after an impact; False where the recording ends before."""
    if len(signal) < index + STILL_TO_S * RATE_HZ:
        return False
    return still_share(between(signal, index, STILL_FROM_S, STILL_TO_S), STILL_G) >= STILL_SHARE


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a network learns from: features, fall or not, weight, and the recording of each."""

    rows: Floats
    fall: Bools
    weight: Floats
    recording: npt.NDArray[np.int64]


def lessons(recordings: Sequence[Recording]) -> Lessons:
    """Every impact without a fall, and of each fall its highest, in all variants."""
    parts: list[tuple[Floats, Bools, Floats, npt.NDArray[np.int64]]] = []
    for wearing, variants in ((False, VARIANTS), (True, WEAR_VARIANTS)):
        numbers = np.array([i for i, one in enumerate(recordings) if (one.kind == "wear") == wearing], np.int64)
        chosen = [recordings[i] for i in numbers]
        for variant in variants:
            seen = looks(chosen, *variant)
            keep = ~seen.beside & (~seen.inside | _highest(seen))
            weight = np.where(seen.inside[keep] | wearing, 1.0, ADL_WEIGHT)
            parts.append((seen.rows[keep], seen.inside[keep], weight, numbers[seen.recording[keep]]))
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return Lessons(*joined)


def _highest(seen: Looks) -> Bools:
    """The highest impact within each fall."""
    mark = np.zeros(seen.recording.size, np.bool_)
    height = np.where(seen.inside, seen.rows[:, wrist_falls.PEAK], -np.inf)
    order = np.lexsort((height, seen.recording))
    last = np.append(np.diff(seen.recording[order]) != 0, True) if order.size else mark
    mark[order[last]] = True
    return mark & seen.inside


def teachable(given: Lessons, use: Bools) -> bool:
    """Whether there are falls and other impacts to learn from."""
    return bool((given.fall & use).any() and (~given.fall & use).any())


def fitted(given: Lessons, use: Bools) -> dict[str, Floats]:
    """Networks fitted on the chosen lessons, as `wrist_falls.score` wants them."""
    rows, weight = given.rows[use][:, :-2], given.weight[use]
    mean = np.average(rows, axis=0, weights=weight)
    scale = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight)) + 1e-9
    z = np.clip((rows - mean) / scale, -4.0, 4.0)
    found = [_network(z, given.fall[use].astype(np.float64), weight / weight.sum(), seed) for seed in SEEDS]
    stacked = [np.stack(part) for part in zip(*found, strict=True)]
    return {"mean": mean, "scale": scale} | dict(
        zip(("hidden", "hidden_bias", "out", "direct", "bias"), stacked, strict=True)
    )


def _network(z: Floats, fall: Floats, weight: Floats, seed: int) -> tuple[Any, ...]:
    """One hidden layer beside a linear path, by L-BFGS-B; the large products in single precision, for speed."""
    k, h, pull = z.shape[1], HIDDEN, L2 * 100 / len(z)
    small = z.astype(np.float32)
    turned = np.ascontiguousarray(small.T)

    def parts(t: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        into, shift, out, direct, bias = np.split(t, np.cumsum([k * h, h, h, k]))
        return into.reshape(k, h), shift, out, direct, bias[0]

    def loss(t: Floats) -> tuple[float, Floats]:
        into, shift, out, direct, bias = parts(t)
        hidden = np.tanh(small @ into.astype(np.float32) + shift.astype(np.float32))
        odds = (hidden @ out.astype(np.float32) + small @ direct.astype(np.float32)).astype(np.float64) + bias
        likely = 1 / (1 + np.exp(-np.clip(odds, -40, 40)))
        wrong = weight * (likely - fall)
        single = wrong.astype(np.float32)
        back = np.outer(single, out.astype(np.float32)) * (1 - hidden * hidden)
        value = float(weight @ (np.logaddexp(0, odds) - fall * odds))
        value += pull / 2 * float((into**2).sum() + out @ out + direct @ direct)
        slope = [(turned @ back + pull * into).ravel(), back.sum(0), single @ hidden + pull * out]
        return value, np.concatenate([*slope, turned @ single + pull * direct, [wrong.sum()]]).astype(np.float64)

    rng = np.random.default_rng(seed)
    start = [rng.normal(0, k**-0.5, k * h), np.zeros(h), rng.normal(0, 0.3, h), np.zeros(k), [-2.0]]
    result = minimize(loss, np.concatenate(start), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return parts(np.asarray(result.x))


def split(recordings: Sequence[Recording], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold of each recording: no subject in two, the young, the elders and the wearers spread over all."""
    fold = np.zeros(len(recordings), np.int64)
    groups = [(one.kind == "wear") * 2 + one.elder for one in recordings]
    for group in set(groups):
        items = np.flatnonzero(np.array(groups) == group)
        for k, (_, test) in enumerate(folds([recordings[int(i)].subject for i in items], count, seed)):
            fold[items[test]] = k
    return fold


def log_odds(likely: Floats) -> Floats:
    p = np.clip(likely, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p / (1 - p)))


def apart(score: Floats, recording: npt.NDArray[np.int64], at_s: Floats) -> npt.NDArray[np.int64]:
    """Of impacts within a minute of each other the one with the highest score, highest first."""
    kept: list[int] = []
    taken: dict[int, list[float]] = {}
    for i in np.argsort(-score, kind="stable"):
        before = taken.setdefault(int(recording[i]), [])
        if all(abs(float(at_s[i]) - t) >= REFRACTORY_S for t in before):
            before.append(float(at_s[i]))
            kept.append(int(i))
    return np.array(kept, np.int64)


def threshold(highest: Floats, hours: float, rate: float) -> float:
    """Log-odds that `rate` of an hour's impacts exceed, by an exponential tail through the highest scores."""
    top = np.sort(highest)[::-1]
    k = min(TAIL, top.size - 1)
    if k < 3 or hours <= 0:
        return UNTOLD
    slope = float(top[:k].mean() - top[k])
    return float(top[k] + slope * np.log(k / (rate * hours)))
