"""What every fall detector shares: acceleration to 50 Hz in g, impacts, the seconds around one, posture, stillness."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

Floats = npt.NDArray[np.float64]

RATE_HZ = 50
"""Everything below works at this rate; policy: the lowest at which an impact keeps its height within 10 %."""
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 20.0, 400.0
TO_G = {"g": 1.0, "mg": 1e-3, "m/s2": 1 / 9.80665, "mm/s2": 1e-3 / 9.80665}
"""Units of acceleration, as UCUM and the wire spell them; 9.80665 m/s2 is standard gravity (CGPM 1901)."""
WORN_G = (0.6, 1.6)
"""A body at rest or at work averages 1 g; a median outside this is another unit or a broken sensor (policy)."""
LONGEST_GAP = 0.2
"""Share of missing samples beyond which nothing is said about a recording (policy)."""


class ClassModel(Protocol):
    """What a module for one device class (`waist_falls`, `wrist_falls`) offers to `falls`."""

    MODEL: str
    """Name in ``devices/models``."""
    IMPACT_G: float
    """Height of |a| from which a sample is a candidate."""

    def features(self, signal: Floats, index: int) -> Floats:
        """Features (k,) of the impact at `index` of `signal` (n, 3), g at 50 Hz."""

    def probability(self, features: Floats) -> Floats:
        """Probability of a fall (m,) for rows of features (m, k)."""

    def prompt_threshold(self) -> float:
        """Probability from which the wearer is asked."""


def to_g(channels: npt.ArrayLike, sampling_rate_hz: float, unit: str, *, check: bool = True) -> Floats:
    """Acceleration as (n, 3) float64 in g at 50 Hz, empty where the data cannot be what they say they are.

    Parameters
    ----------
    channels : array_like, shape (n, 3)
        Samples of x, y, z; up to a fifth may be missing (NaN), they are interpolated.
    sampling_rate_hz : float
        20 to 400 Hz.
    unit : str
        One of `TO_G`.
    check : bool
        Whether a recording that is not `plausible` comes back empty; a short piece of one cannot be told.

    Returns
    -------
    ndarray, shape (m, 3)
        m = ceil(n * 50 / sampling_rate_hz), or 0 rows where too much is missing or a resting body's 1 g is not there.

    Raises
    ------
    ValueError
        Wrong shape, rate or unit: an error of the caller, not of the data.
    """
    given = np.asarray(channels, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 3:
        raise ValueError(f"channels must have the shape (n, 3) for x, y, z, was {given.shape}: falls need all three")
    rate = float(sampling_rate_hz)
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        raise ValueError(f"sampling_rate_hz must lie in 20..400, was {sampling_rate_hz}: send acceleration at 50 Hz")
    if unit not in TO_G:
        raise ValueError(f"unit must be one of {', '.join(TO_G)}, was {unit!r}: convert the samples first")
    filled = _filled(given * TO_G[unit])
    if not len(filled) or (check and not plausible(filled)):
        return np.empty((0, 3))
    if rate == RATE_HZ:
        return filled
    ratio = Fraction(RATE_HZ / rate).limit_denominator(200)
    return np.asarray(resample_poly(filled, ratio.numerator, ratio.denominator, axis=0, padtype="edge"))


def plausible(signal: Floats) -> bool:
    """Whether |a| of a recording (n, 3) in g has the median of a sensor that is carried about."""
    return len(signal) > 1 and WORN_G[0] <= float(np.median(magnitude(signal))) <= WORN_G[1]


def _filled(samples: Floats) -> Floats:
    """Missing rows interpolated, absurd ones (beyond 200 g) counted as missing; empty if too many are."""
    good = (np.abs(samples) < 200).all(axis=1)
    if good.all():
        return samples
    if good.mean() < 1 - LONGEST_GAP:
        return np.empty((0, 3))
    at = np.arange(len(samples))
    return np.column_stack([np.interp(at, at[good], samples[good, k]) for k in range(3)])


def magnitude(signal: Floats) -> Floats:
    """|a| (n,) of a signal (n, 3)."""
    return np.sqrt(np.einsum("ij,ij->i", signal, signal))


def impacts(size: Floats, height_g: float, apart_s: float = 0.5) -> npt.NDArray[np.int64]:
    """Indices of the peaks of |a| that reach `height_g` and have no higher peak within `apart_s`, in time order.

    Whether a peak counts depends on nothing further away, so that a recording cut anywhere has the same impacts.

    Parameters
    ----------
    size : ndarray, shape (n,)
        |a| in g at 50 Hz (`magnitude`).
    height_g : float
        The lowest impact worth a look.
    apart_s : float
        Of two peaks nearer than this the higher one stays, of two alike the first.
    """
    if size.size < 3 or float(size.max()) < height_g:
        return np.empty(0, np.int64)
    middle = size[1:-1]
    found = np.flatnonzero((middle >= height_g) & (middle > size[:-2]) & (middle >= size[2:])) + 1
    height, reach = size[found], round(apart_s * RATE_HZ)
    keep = np.ones(found.size, np.bool_)
    for step in range(1, found.size):
        near = found[step:] - found[:-step] <= reach
        if not near.any():
            break
        keep[step:] &= ~near | (height[step:] > height[:-step])
        keep[:-step] &= ~near | (height[:-step] >= height[step:])
    return found[keep].astype(np.int64)


def between(signal: Floats, index: int, from_s: float, to_s: float, least: int = 5) -> Floats:
    """The samples from `from_s` to `to_s` seconds after `index`, as far as there are any.

    Where the recording ends too soon the `least` samples nearest to the wished ones are taken, so that a feature
    always has something to rest on.
    """
    n = len(signal)
    low = min(max(index + round(from_s * RATE_HZ), 0), max(n - least, 0))
    high = max(min(index + round(to_s * RATE_HZ), n), min(low + least, n))
    return signal[low:high]


def mean_direction(part: Floats) -> Floats:
    """Mean of samples (n, 3) as a unit vector: where down lies for the sensor; zeros where there is no mean."""
    mean = part.sum(axis=0)
    length = math.sqrt(float(mean @ mean))
    return np.asarray(mean / length) if length > 1e-9 else np.zeros(3)


def angle_deg(a: Floats, b: Floats) -> float:
    """Angle in degrees between two unit vectors."""
    return math.degrees(math.acos(min(1.0, max(-1.0, float(a @ b)))))


def posture_change_deg(signal: Floats, index: int, before: tuple[float, float], after: tuple[float, float]) -> float:
    """Angle between the mean accelerations of two windows (seconds from `index`): needs no mounting known."""
    return angle_deg(mean_direction(between(signal, index, *before)), mean_direction(between(signal, index, *after)))


def unrest_g(part: Floats) -> float:
    """Root of the summed variance of the three axes, in g: turning and shaking both count, gravity does not."""
    return math.sqrt(float(part.var(axis=0).sum())) if len(part) else 0.0


def still_share(part: Floats, limit_g: float) -> float:
    """Share of whole seconds of `part` in which `unrest_g` stays below `limit_g`; NaN where there is no second."""
    seconds = len(part) // RATE_HZ
    if not seconds:
        return math.nan
    blocks = part[: seconds * RATE_HZ].reshape(seconds, RATE_HZ, 3)
    return float((np.sqrt(blocks.var(axis=1).sum(axis=1)) < limit_g).mean())


def smoothed(values: Floats, samples: int) -> Floats:
    """Running mean (n,) or (n, k) over `samples` neighbours, edges held."""
    if len(values) < samples:
        return values
    left = samples // 2
    padded = np.concatenate([np.repeat(values[:1], left + 1, 0), values, np.repeat(values[-1:], samples - left - 1, 0)])
    total = np.cumsum(padded, axis=0)
    return np.asarray((total[samples:] - total[:-samples]) / samples)
