"""Falls of someone who wears the sensor at the waist or on a cord: features of an impact, and how likely it is a fall.

A fall is a body that loses its support, lands, and lies otherwise than it stood. So the features are the drop before
the impact, the impact, how far and how fast the direction of gravity turned, and the rest afterwards, all of them
independent of how the sensor is mounted. Kangas 2008 and Bourke 2007 use thresholds on the same quantities.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals.impacts import RATE_HZ, Floats, smoothed

MODEL = "fall_waist"
IMPACT_G = 1.4
"""Of the falls of SisFall the weakest peaks near 1.5 g at 50 Hz after smoothing."""
APART_S = 1.0
"""Policy: one look a second is enough while someone walks."""
RANGE_G = 8.0
"""All is cut at the range of a small sensor, so that a large one says the same (policy)."""
STILL_G = 0.06
"""Unrest of a second in which a body lies still: breathing moves the waist by some hundredths of a g (policy)."""
SMOOTH = 3
"""Samples: 60 ms, so that sensors of 25 Hz and of 200 Hz see the same impact (policy)."""
BEFORE, AFTER = 150, 150
"""Samples looked at on either side of the impact: 3 s, hence a question three seconds after it."""
GRAVITY_MS2 = 9.80665
CLIP = 2.5
"""Deviations: beyond them a square of a feature would say more than any training fall can bear out (policy)."""
NAMES = (
    "peak", "low", "drop_run", "push", "net", "spread_3", "spread_2", "spread_1", "jerk", "along", "across",
    "turn", "turn_near", "turn_late", "turn_after", "turn_most", "turn_1s", "turn_impact",
    "unrest_after", "unrest_late", "unrest_soon", "unrest_before", "activity",
    "peak_before", "peak_after", "mean_before", "mean_after",
)  # fmt: skip


def prepared(signal: Floats) -> Floats:
    """The signal (n, 3) as the features want it: cut at 8 g and smoothed over 60 ms."""
    return smoothed(np.clip(signal, -RANGE_G, RANGE_G), SMOOTH)


def features(signal: Floats, index: int) -> Floats:
    """Features (27,) of the impact at `index` of a prepared signal (n, 3), in g at 50 Hz."""
    return rows(signal, np.array([index]))[0]


def rows(signal: Floats, indices: npt.NDArray[np.int64]) -> Floats:
    """Features (m, 27) in the order of `NAMES` of the impacts at `indices`; ends of the recording are held.

    Parameters
    ----------
    signal : ndarray, shape (n, 3)
        As `prepared` returns it; n at least 1.
    indices : ndarray, shape (m,)
    """
    reach = indices[:, None] + np.arange(-BEFORE, AFTER + 1)
    around = signal[np.clip(reach, 0, len(signal) - 1)]
    size = np.sqrt(np.einsum("ijk,ijk->ij", around, around))
    return np.column_stack(_impact(around, size) + _turning(around) + _rest(around, size))


def _impact(around: Floats, size: Floats) -> list[Floats]:
    """The drop before and the blow itself, 0.5 s on either side of it."""
    near, lost = around[:, 125:176], 1 - size
    fallen = np.cumsum(lost[:, 74:151], axis=1)
    moved = near - near.mean(axis=1, keepdims=True)
    spread = np.linalg.eigvalsh(np.einsum("ijk,ijl->ikl", moved, moved) / near.shape[1])
    jerk = np.diff(near, axis=1)
    down = unit(around[:, :100])
    along = np.einsum("ijk,ik->ij", near, down)
    aside = np.einsum("ijk,ijk->ij", near, near) - along**2
    step = GRAVITY_MS2 / RATE_HZ
    return [
        np.log(size[:, 125:176].max(axis=1)),
        size[:, 110:151].min(axis=1),
        (fallen - np.minimum.accumulate(fallen, axis=1)).max(axis=1) * step,
        np.maximum(-lost[:, 140:176], 0).sum(axis=1) * step,
        -lost[:, 140:176].sum(axis=1) * step,
        *np.log(np.sqrt(np.maximum(spread, 1e-6)) + 0.02).T,
        np.log(np.sqrt(np.einsum("ijk,ijk->ij", jerk, jerk).max(axis=1)) * RATE_HZ + 1),
        np.log(np.maximum(along.max(axis=1), 0.1)),
        np.log(np.sqrt(np.maximum(aside.max(axis=1), 0)) + 0.1),
    ]


def _turning(around: Floats) -> list[Floats]:
    """How far gravity turned, in radians."""
    before, near = unit(around[:, :100]), unit(around[:, 75:110])
    late = unit(around[:, 250:])
    total = np.cumsum(around, axis=1)
    slow = total[:, 25:] - total[:, :-25]
    slow /= np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", slow, slow)), 1e-6)[:, :, None]
    away = np.einsum("ijk,ik->ij", slow[:, 127:], before).min(axis=1)
    second = np.einsum("ijk,ijk->ij", slow[:, 62:214], slow[:, 112:264]).min(axis=1)
    blow = np.einsum("ijk,ijk->ij", slow[:, 77:138], slow[:, 127:188]).min(axis=1)
    cosines = [
        np.einsum("ij,ij->i", before, unit(around[:, 200:])),
        np.einsum("ij,ij->i", near, unit(around[:, 175:225])),
        np.einsum("ij,ij->i", near, late),
        np.einsum("ij,ij->i", unit(around[:, 165:200]), late),
        away,
        second,
        blow,
    ]
    return [np.arccos(np.clip(cosine, -1, 1)) for cosine in cosines]


def _rest(around: Floats, size: Floats) -> list[Floats]:
    """Unrest before and after, other blows, and the mean pull on either side."""
    parts = [around[:, 200:], around[:, 250:], around[:, 175:225], around[:, :100]]
    return [
        *[np.log(np.sqrt(part.var(axis=1).sum(axis=1)) + 0.02) for part in parts],
        np.log(np.abs(np.diff(size[:, 100:201], axis=1)).sum(axis=1) + 0.1),
        np.log(size[:, :100].max(axis=1)),
        np.log(size[:, 200:].max(axis=1)),
        size[:, 100:140].mean(axis=1),
        size[:, 160:200].mean(axis=1),
    ]


def probability(features: Floats) -> Floats:
    """Probability of a fall (m,) for rows of features (m, 27), of the shipped model."""
    net = _shipped()
    return 1 / (1 + np.exp(-np.clip(log_odds(net, features), -30, 30)))


def prompt_threshold() -> float:
    """Probability from which the wearer is asked; chosen on held-out people."""
    return load(MODEL).number("threshold")


def log_odds(net: dict[str, Floats], features: Floats) -> Floats:
    """Log-odds of a fall (m,): a quadratic logistic regression of features held within `CLIP` deviations."""
    return np.asarray(expanded(net["mean"], net["scale"], features) @ net["weights"] + net["bias"])


def expanded(mean: Floats, scale: Floats, features: Floats) -> Floats:
    """Standardised features and all their products (m, k + k (k + 1) / 2)."""
    z = np.clip((features - mean) / scale, -CLIP, CLIP)
    i, j = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, i] * z[:, j]], axis=1)


@cache
def _shipped() -> dict[str, Floats]:
    model = load(MODEL)
    return {key: model.array(key) for key in ("mean", "scale", "weights", "bias")}


def unit(part: Floats) -> Floats:
    """Mean of each window (m, k, 3) as a unit vector (m, 3): where down lies for the sensor."""
    mean = part.mean(axis=1)
    return np.asarray(mean / np.maximum(np.sqrt(np.einsum("ij,ij->i", mean, mean)), 1e-9)[:, None])
