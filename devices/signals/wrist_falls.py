"""Falls felt at the wrist: what the six seconds around an impact look like, whatever the watch and however it is worn.

Wrist sensors differ: some end at 2 g, some sample at 32 Hz. Every signal is therefore first brought to what the
poorest of them can tell (each axis held within 2 g, smoothed to about 6 Hz), and all features are free of the
orientation of the watch, so that none of them can recognise a device instead of a fall.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from devices.models import Model, load
from devices.signals.impacts import Floats, smoothed

MODEL = "fall_wrist"
"""Name in ``devices/models``."""
IMPACT_G = 2.0
"""Height of |a| from which an impact is looked at: every wrist fall in the card reaches it even at +-2 g (policy)."""
RANGE_G = 2.0
"""Each axis is held within this: the range of the Empatica E4 (E4 data sheet), the narrowest sensor met."""
SMOOTHING = (3, 3)
"""Samples of two running means at 50 Hz: about 6 Hz, well below what a sensor at 32 Hz passes (policy)."""
BEFORE, AFTER = 150, 150
"""Samples kept before and after the impact: three seconds each."""
EDGE = 6
"""Samples more on either side, so that smoothing never meets an end."""
SETTLE = 12
"""The impact is where the smoothed |a| is highest within so many samples (0.24 s) of the index given."""
FLOOR_G = 0.02
"""Unrest below this is all the same: the noise of a sensor must not tell which one it is (policy)."""
TURN_DEG = 20.0
"""A wrist that comes back to within this of where it was has made a gesture; 1 % of staged falls do so (policy)."""
LAID_DOWN_G = 0.006
"""Unrest from 1 to 3 s after an impact below which a thing was put on a table: a body settles, breathes and beats.
Half of the lowest of 225 staged falls (policy)."""
PEAK = 75
"""Column of the features that holds the height of the impact."""
EDGES = (-125, -100, -75, -50, -38, -25, -12, 0, 12, 25, 38, 50, 75, 100, 125, 150)
"""Bins of time around the impact, in samples: fine near it, coarse away from it."""


def windows(signal: Floats, indices: npt.NDArray[np.int64]) -> Floats:
    """The levelled seconds around impacts (m, 300, 3); a recording that begins late or ends early is mirrored."""
    reach = np.arange(-BEFORE - SETTLE - EDGE, AFTER + SETTLE + EDGE + 1)
    cut = _mirrored(np.asarray(indices, np.int64)[:, None] + reach, len(signal))
    level = np.clip(signal[cut], -RANGE_G, RANGE_G)
    for width in SMOOTHING:
        level = _smoothed(level, width)
    near = slice(BEFORE + EDGE, BEFORE + EDGE + 2 * SETTLE + 1)
    shift = np.square(level[:, near]).sum(2).argmax(axis=1)
    keep = shift[:, None] + np.arange(EDGE, EDGE + BEFORE + AFTER)
    return np.asarray(np.take_along_axis(level, keep[:, :, None], axis=1))


def _smoothed(level: Floats, width: int) -> Floats:
    """Running mean along time of windows (m, n) or (m, n, 3)."""
    return np.asarray(np.moveaxis(smoothed(np.moveaxis(level, 1, 0), width), 0, 1))


def _mirrored(index: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    period = max(2 * (n - 1), 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded) if n > 1 else np.zeros_like(index)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.sqrt(np.square(vectors).sum(-1, keepdims=True)), 1e-6)


def _angle(a: Floats, b: Floats) -> Floats:
    return np.arccos(np.clip((a * b).sum(-1), -1.0, 1.0))


def described(level: Floats) -> Floats:
    """Features (m, k) of levelled windows (m, 300, 3); the last two are for the gates, not for the networks."""
    size = np.sqrt(np.square(level).sum(2))
    jerk = np.sqrt(np.square(np.diff(level, axis=1, prepend=level[:, :1])).sum(2)) * 5.0
    down, rest = _unit(level[:, : BEFORE - 50].mean(1)), _unit(level[:, BEFORE + 50 :].mean(1))
    along, later = (level * down[:, None]).sum(2), (level * rest[:, None]).sum(2)
    turned = np.degrees(_angle(down, rest))
    settling = np.sqrt(level[:, BEFORE + 50 :].var(axis=1).sum(1))
    return np.concatenate(
        [
            _profile(size, jerk, along, later, level),
            _impact(size, jerk, along),
            _turning(level, down, rest),
            np.stack([turned, settling], axis=1),
        ],
        axis=1,
    )


def _log(x: Floats, floor: float) -> Floats:
    return np.log(np.maximum(x, 0.0) + floor)


def _unrest(level: Floats, start: int, stop: int) -> Floats:
    return _log(np.sqrt(level[:, start:stop].var(axis=1).sum(1)), FLOOR_G)


def _profile(size: Floats, jerk: Floats, along: Floats, later: Floats, level: Floats) -> Floats:
    columns = []
    for a, b in pairwise(EDGES):
        part = slice(BEFORE + a, BEFORE + b)
        columns += [
            size[:, part].mean(1),
            _unrest(level, BEFORE + a, BEFORE + b),
            along[:, part].mean(1),
            _log(jerk[:, part].mean(1), FLOOR_G),
            later[:, part].mean(1),
        ]
    return np.stack(columns, axis=1)


def _impact(size: Floats, jerk: Floats, along: Floats) -> Floats:
    c = BEFORE
    before, hit, around = size[:, c - 75 : c + 1], size[:, c - 15 : c + 36], size[:, c - 50 : c + 50]
    busy = _smoothed(jerk, 11)[:, c - 100 : c + 100]
    columns = [
        size[:, c],
        before[:, 25:].min(1),
        _log(np.maximum(1 - before, 0).mean(1), FLOOR_G),
        (before < 0.8).mean(1),
        (before < 0.6).mean(1),
        _log(np.maximum(hit - 1.2, 0).mean(1), FLOOR_G),
        _log((around > 1.5).mean(1), FLOOR_G),
        _log((around > 1.9).mean(1), FLOOR_G),
        _rises(around, 1.2),
        _rises(around, 1.5),
        _log(jerk[:, c - 25 : c + 26].max(1), FLOOR_G),
        _log((busy > 0.3).mean(1), FLOOR_G),
        _log((busy > 0.8).mean(1), FLOOR_G),
        along[:, c - 50 : c + 15].min(1),
        along[:, c - 15 : c + 36].max(1),
        size[:, c + 5 : c + 40].min(1),
        size[:, c + 40 : c + 125].max(1),
        size[:, c - 150 : c - 50].max(1),
        _log((around - 1).sum(1) / 50.0 + 0.3, 0.1),
    ]
    return np.stack(columns, axis=1)


def _rises(size: Floats, level: float) -> Floats:
    return ((size[:, 1:] > level) & (size[:, :-1] <= level)).sum(1).astype(np.float64)


def _turning(level: Floats, down: Floats, rest: Floats) -> Floats:
    c = BEFORE
    slow = _smoothed(level, 15)
    way = _unit(slow)
    step = _angle(way[:, 5:], way[:, :-5]) / 5.0
    just = _unit(level[:, c - 60 : c - 20].mean(1))
    end = _unit(level[:, c + 110 :].mean(1))
    start = level[:, : c - 75].mean(1)[:, None]
    fast = level - slow
    slow_energy = slow[:, c - 35 : c + 35].var(axis=1).sum(1)
    fast_energy = np.square(fast[:, c - 35 : c + 35]).mean(1).sum(1)
    columns = [
        _angle(down, rest),
        _angle(just, rest),
        _angle(rest, end),
        _angle(down, just),
        _log(step[:, c - 50 : c + 50].sum(1), 0.05),
        _log(step[:, c - 125 : c - 50].sum(1), 0.05),
        _log(step[:, c + 50 : c + 125].sum(1), 0.05),
        _log(np.sqrt(np.square((level[:, c - 40 : c] - start).sum(1)).sum(1)) / 50, 0.05),
        _log(np.sqrt(np.square((level[:, c : c + 30] - start).sum(1)).sum(1)) / 50, 0.05),
        np.log((slow_energy + 0.01) / (fast_energy + 0.01)),
        _unrest(level, 0, c - 75),
        _unrest(level, c - 75, c - 25),
        _unrest(level, c + 15, c + 50),
        _unrest(level, c + 50, c + 100),
        _unrest(level, c + 100, c + 150),
        _log(_angle(down, rest), 0.1),
    ]
    return np.stack(columns, axis=1)


def features(signal: Floats, index: int) -> Floats:
    """Features of one impact.

    Parameters
    ----------
    signal : ndarray, shape (n, 3)
        Acceleration in g at 50 Hz (`impacts.to_g`), n >= 1.
    index : int
        Sample of the impact, 0 <= index < n.

    Returns
    -------
    ndarray, shape (k,)
        Finite numbers without unit; times relative to the impact, sizes in g.
    """
    return np.asarray(described(windows(signal, np.array([index], np.int64)))[0])


def probability(rows: Floats) -> Floats:
    """Probability of a fall (m,) for rows of `features` (m, k), of the shipped model."""
    return score(_nets(), rows)


def prompt_threshold() -> float:
    """Probability from which the wearer is asked; chosen on held-out people (see the card)."""
    return load(MODEL).number("threshold")


@cache
def _nets() -> dict[str, Floats]:
    return nets(load(MODEL))


def nets(model: Model) -> dict[str, Floats]:
    """A model's parameters as arrays, as `score` wants them."""
    return {key: model.array(key) for key in ("mean", "scale", "hidden", "hidden_bias", "out", "direct", "bias")}


def score(net: dict[str, Floats], rows: Floats) -> Floats:
    """Probability (m,) of rows (m, k): the mean log-odds of a few small networks, 0 where a gate says otherwise."""
    given = np.asarray(rows, np.float64)
    z = np.clip((given[:, :-2] - net["mean"]) / net["scale"], -4.0, 4.0)
    hidden = np.tanh(z @ net["hidden"] + net["hidden_bias"][:, None])
    odds = np.einsum("smh,sh->sm", hidden, net["out"]) + net["direct"] @ z.T + net["bias"][:, None]
    likely = 1.0 / (1.0 + np.exp(-np.clip(odds, -15.0, 15.0).mean(axis=0)))
    gesture, laid_down = given[:, -2] < TURN_DEG, given[:, -1] < LAID_DOWN_G
    return np.asarray(np.where(gesture | laid_down, 0.0, likely))
