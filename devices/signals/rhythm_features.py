"""Atrial fibrillation from beat intervals: twelve features of 32 beats and a quadratic logistic model of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import Model

Floats = npt.NDArray[np.float64]

BEATS = 32
"""Beats of one window."""
FEATURES = (
    "interval",
    "step_q25",
    "step_q50",
    "step_q90",
    "turning",
    "correlation",
    "step_correlation",
    "paired_q50",
    "paired_q75",
    "sample_entropy",
    "density",
    "periodic",
)
_FLOOR = 0.012
"""Added to relative steps before the logarithm, so that a sensor's resolution (4-20 ms) is no feature (policy)."""
_EARLY, _PAUSE, _LEVEL = 0.88, 0.12, 0.12
_NEAR = 0.12
"""A beat this near the median, relative to it, is as usual; so much may two halves differ from a whole (policy)."""
_LAGS = (1, 2, 3, 4)
_CLIP = 3.0
_TWIN = np.triu_indices(len(FEATURES))


@dataclass(frozen=True, slots=True)
class Classifier:
    """Log-odds of fibrillation = constant + linear . z + z' quadratic z, z = clipped standardised features."""

    mean: Floats
    scale: Floats
    constant: float
    linear: Floats
    quadratic: Floats
    """float64[78]: upper triangle, by rows."""

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Classifier:
        """Read from a model's parameters."""
        arrays = [np.asarray(parameters[k], dtype=np.float64) for k in ("mean", "scale", "linear", "quadratic")]
        return cls(arrays[0], arrays[1], float(parameters["constant"]), arrays[2], arrays[3])

    @classmethod
    def from_model(cls, model: Model) -> Classifier:
        """Read from a shipped model."""
        return cls.of(dict(model.parameters))


def expand(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Clipped standard scores with their products: float64[n, 12 + 78]."""
    z = np.minimum(np.maximum((features - mean) / scale, -_CLIP), _CLIP)
    return np.concatenate([z, z[:, _TWIN[0]] * z[:, _TWIN[1]]], axis=1)


def log_odds(windows: Floats, model: Classifier) -> Floats:
    """Evidence for atrial fibrillation in each window.

    Parameters
    ----------
    windows : float64[n, 32]
        Successive beat intervals, ms, each between 200 and 3,000.
    model : Classifier

    Returns
    -------
    float64[n]
        Log-odds in nats at even prior odds; rows do not depend on one another.
    """
    if windows.ndim != 2 or windows.shape[1] != BEATS:
        raise ValueError(f"windows must have shape (n, {BEATS}), was {windows.shape}: pass whole windows")
    wide = expand(features(windows), model.mean, model.scale)
    # Summed row by row rather than by a matrix product, whose rounding depends on the number of rows.
    return model.constant + (wide * np.concatenate([model.linear, model.quadratic])).sum(axis=1)


def _paired(q: Floats) -> Floats:
    """Intervals with each premature beat and the pause after it levelled, so that ectopy weighs little."""
    early, late = q[:, :-1], q[:, 1:]
    level = (early + late) / 2
    pair = (early < _EARLY) & (late > early + _PAUSE) & (np.abs(level - 1) < _LEVEL)
    y = q.copy()
    y[:, :-1][pair] = level[pair]
    y[:, 1:][pair] = level[pair]
    return y


def mended(eight: Floats, middle: Floats) -> npt.NDArray[np.int64]:
    """Whether a few beats are steady, or would be but for detections missed or added.

    Parameters
    ----------
    eight : float64[n, beats]
        ms.
    middle : float64[n]
        Their medians.

    Returns
    -------
    int64[n]
        1 where all are near the median; 2 where the others are twice the median (one missed) or pairs of short ones
        that add up to it (one added); 0 where anything else is among them.
    """
    usual = middle[:, None]
    near, short = np.abs(eight - usual) < _NEAR * usual, eight < (1 - _NEAR) * usual
    twice = np.abs(eight - 2 * usual) < _NEAR * usual
    split = short[:, 1:] & short[:, :-1] & (np.abs(eight[:, 1:] + eight[:, :-1] - usual) < _NEAR * usual)
    explained = np.count_nonzero(twice, axis=1) + 2 * np.count_nonzero(split, axis=1)
    return np.where(np.count_nonzero(near, axis=1) + explained == eight.shape[1], 1 + (explained > 0), 0)


def _sampled(q: Floats) -> tuple[Floats, Floats]:
    """Sample entropy of pairs (tolerance 0.04) and the share of near neighbours (0.08); Richman & Moorman 2000."""
    n, size = q.shape
    m = size - 1
    x = q.astype(np.float32)
    apart = np.abs(x[:, :, None] - x[:, None, :])
    near = apart < np.float32(0.04)
    both = near[:, :-1, :-1] & near[:, 1:, 1:]
    two = np.add.reduce(both.reshape(n, -1), axis=1, dtype=np.int32) - m
    whole = np.add.reduce(near.reshape(n, -1), axis=1, dtype=np.int32)
    edge = np.add.reduce(near[:, -1], axis=1, dtype=np.int32)
    one = whole - 2 * edge + 1 - m
    close = np.add.reduce((apart < np.float32(0.08)).reshape(n, -1), axis=1, dtype=np.int32) - size
    return np.log((one + 2.0) / (two + 2.0)), np.log((close + 2.0) / (m * size))


def features(windows: Floats) -> Floats:
    """The features named in `FEATURES`, from intervals relative to their median.

    Parameters
    ----------
    windows : float64[n, 32]
        ms.

    Returns
    -------
    float64[n, 12]
        Log of the mean interval; logs of quartiles of |step|; share of turning points; correlation of neighbouring
        intervals and of neighbouring steps; quartiles of |step| with premature pairs levelled; sample entropy;
        density of near neighbours; smallest median difference at lags of 1-4 beats (bigeminy, trigeminy).
    """
    n, size = windows.shape
    ordered = np.sort(windows, axis=1)
    middle = (ordered[:, size // 2 - 1] + ordered[:, size // 2]) / 2
    q = windows / middle[:, None]
    step = q[:, 1:] - q[:, :-1]
    m = size - 1
    sizes = np.sort(np.abs(step), axis=1)
    centred = q - (q.sum(axis=1) / size)[:, None]
    paired = _paired(q)
    levelled = np.sort(np.abs(paired[:, 1:] - paired[:, :-1]), axis=1)
    entropy, density = _sampled(q)
    periodic = sizes[:, m // 2]
    for lag in _LAGS[1:]:
        apart = np.sort(np.abs(q[:, lag:] - q[:, :-lag]), axis=1)
        periodic = np.minimum(periodic, apart[:, (size - lag) // 2])
    out = np.empty((n, len(FEATURES)))
    out[:, 0] = np.log(windows.sum(axis=1) / size)
    out[:, 1:4] = np.log(sizes[:, [m // 4, m // 2, m * 9 // 10]] + _FLOOR)
    out[:, 4] = np.count_nonzero(step[:, 1:] * step[:, :-1] < 0, axis=1) / (m - 1)
    out[:, 5] = (centred[:, 1:] * centred[:, :-1]).sum(axis=1) / ((centred * centred).sum(axis=1) + 3e-3)
    out[:, 6] = (step[:, 1:] * step[:, :-1]).sum(axis=1) / ((step * step).sum(axis=1) + 3e-3)
    out[:, 7:9] = np.log(levelled[:, [m // 2, 3 * m // 4]] + _FLOOR)
    out[:, 9], out[:, 10] = entropy, density
    out[:, 11] = np.log(periodic + _FLOOR)
    return out
