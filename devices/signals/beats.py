"""Heart beats in an electrocardiogram, a photoplethysmogram or an arterial pressure: when, and how sure.

One way for all kinds: a filter turns every beat into one hump (QRS energy; slope sum of a pulse), humps are held
against the level of their neighbourhood and of the whole recording, and what a gap hides is looked for once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import butter, find_peaks, resample_poly, sosfiltfilt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 20.0, 2_000.0
LONGEST_SAMPLES = 10_000_000
"""11 hours at 250 Hz; policy, so that one call has an end."""


class Kind(StrEnum):
    """What a channel measures."""

    ECG = "ecg"
    PPG = "ppg"
    PRESSURE = "pressure"


@dataclass(frozen=True, slots=True)
class Way:
    """How beats of one kind are found; times in s, frequencies in Hz."""

    work_hz: float
    band_hz: tuple[float, float]
    hump_s: float
    """Width of the hump: a QRS lasts 0.08-0.12 s, the upstroke of a pulse about 0.15 s."""
    refractory_s: float
    """No two beats nearer than this."""
    block_s: float
    """Every block of this length should hold a beat."""
    share: float
    """Share of the local level that a hump must reach."""
    floor: float
    """The local level never counts for less than this share of the whole recording's: a pause stays a pause."""


WAYS = {
    # 5-20 Hz holds most of the energy of a QRS and little of P, T and muscle: Thakor 1984, Pan & Tompkins 1985;
    # 0.2 s refractory: Pan & Tompkins 1985. Shares and blocks: policy.
    Kind.ECG: Way(125.0, (5.0, 20.0), 0.10, 0.20, 2.0, 0.36, 0.50),
    # slope sum of a pulse over 0.13-0.17 s: Zong 2003; 0.27 s allows 220 a minute.
    Kind.PPG: Way(62.5, (0.5, 8.0), 0.17, 0.27, 2.4, 0.36, 0.45),
    Kind.PRESSURE: Way(62.5, (0.5, 12.0), 0.15, 0.27, 2.4, 0.36, 0.45),
}
TWAVE_S, TWAVE_SHARE = 0.36, 0.55
"""A hump this soon after a beat and this much lower is a T wave (0.36 s: Pan & Tompkins 1985) or a dicrotic wave."""
GAP_SHARE = 1.66
"""An interval longer than this times its neighbours' median is searched again: Pan & Tompkins 1985."""
GAP_HEIGHT = 0.55
"""Share of the threshold that is enough in such a gap (policy)."""


@dataclass(frozen=True, slots=True)
class Beats:
    """Beats of one channel.

    Attributes
    ----------
    at_s : ndarray, shape (k,)
        Seconds from the first sample, ascending: QRS energy's middle, or steepest rise of the pulse.
    confidence : ndarray, shape (k,)
        0..1: likeness to the other beats, height above the threshold, quiet between beats.
    """

    at_s: Floats
    confidence: Floats


NONE = Beats(np.empty(0), np.empty(0))


def checked_rate(sampling_rate_hz: float) -> float:
    """The rate as a number; raises ``ValueError`` outside 20..2,000 Hz."""
    rate = float(sampling_rate_hz)
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        raise ValueError(f"sampling_rate_hz must lie in 20..2000, was {sampling_rate_hz}: give samples a second")
    return rate


def prepare(signal: npt.ArrayLike, sampling_rate_hz: float, work_hz: float) -> tuple[Floats, Flags, float]:
    """Samples without gaps at about `work_hz`, which of them are real, and their rate.

    Parameters
    ----------
    signal : array_like, shape (n,)
        Any unit; NaN, infinite where missing.
    sampling_rate_hz : float
        20 to 2,000 Hz.
    work_hz : float
        Never sampled up beyond the given rate.

    Returns
    -------
    samples : ndarray, shape (m,)
        Missing ones interpolated.
    real : ndarray of bool, shape (m,)
    rate_hz : float

    Raises
    ------
    ValueError
        Wrong shape, length or rate.
    """
    given = np.asarray(signal, dtype=np.float64)
    if given.ndim != 1:
        raise ValueError(f"signal must have the shape (n,), was {given.shape}: give one channel at a time")
    if given.size > LONGEST_SAMPLES:
        raise ValueError(f"signal must have at most {LONGEST_SAMPLES} samples, had {given.size}: cut it up")
    rate = checked_rate(sampling_rate_hz)
    real = np.abs(given) < 1e12
    if not real.all():
        at = np.arange(given.size)
        given = np.interp(at, at[real], given[real]) if real.any() else np.zeros(given.size)
    if rate < 1.5 * work_hz or not given.size:
        return given, real, rate
    ratio = Fraction(work_hz / rate).limit_denominator(64)
    middle = float(np.median(given))
    short = resample_poly(given - middle, ratio.numerator, ratio.denominator, padtype="edge") + middle
    work = rate * ratio.numerator / ratio.denominator
    nearest = np.minimum((np.arange(short.size) * (rate / work)).astype(np.int64), given.size - 1)
    return np.asarray(short, dtype=np.float64), real[nearest], work


@cache
def _bandpass(low_hz: float, high_hz: float, rate_hz: float) -> Floats:
    return np.asarray(butter(2, (low_hz, min(high_hz, 0.45 * rate_hz)), "bandpass", fs=rate_hz, output="sos"))


def filtered(samples: Floats, band_hz: tuple[float, float], rate_hz: float) -> Floats:
    """Band-passed without shift in time, shape kept; zeros for too few samples or a band beyond the rate's half."""
    if samples.size < 16 or band_hz[0] >= 0.4 * rate_hz:
        return np.zeros(samples.size)
    pad = min(samples.size - 1, int(2 * rate_hz))
    return np.asarray(sosfiltfilt(_bandpass(*band_hz, rate_hz), samples, padtype="even", padlen=pad))


def humps(samples: Floats, rate_hz: float, kind: Kind) -> tuple[Floats, Floats]:
    """The band-passed signal and its humps, one a beat: (m,) each.

    For an ECG the root of the mean square over `hump_s`; for a pulse the summed rise over `hump_s`.
    """
    way = WAYS[kind]
    wave = filtered(samples, way.band_hz, rate_hz)
    width = max(2, round(way.hump_s * rate_hz))
    if kind is Kind.ECG:
        return wave, np.sqrt(np.maximum(uniform_filter1d(wave * wave, width, mode="nearest"), 0))
    rise = np.maximum(np.diff(wave, prepend=wave[:1]), 0)
    return wave, np.maximum(uniform_filter1d(rise, width, mode="nearest") * width, 0)


def level_of(hump: Floats, rate_hz: float, way: Way, real: Flags) -> tuple[Floats, float]:
    """Usual height of a beat at each sample (m,), and in the whole recording; zero where nothing moves."""
    size = max(1, round(way.block_s * rate_hz))
    blocks = max(1, math.ceil(hump.size / size))
    padded = np.zeros(blocks * size)
    padded[: hump.size] = np.where(real, hump, 0)
    tops = padded.reshape(blocks, size).max(axis=1)
    if blocks > 1 and hump.size < (blocks - 0.5) * size:
        tops[-1] = max(tops[-1], tops[-2])
    alive = tops[tops > 0]
    if not alive.size:
        return np.zeros(hump.size), 0.0
    whole = float(np.median(alive))
    local = np.maximum(median_filter(tops, 5, mode="nearest"), way.floor * whole)
    middles = (np.arange(blocks) + 0.5) * size
    return np.interp(np.arange(hump.size), middles, local), whole


def find_beats(signal: npt.ArrayLike, sampling_rate_hz: float, kind: Kind | str = Kind.ECG) -> Beats:
    """Beats of one channel.

    Parameters
    ----------
    signal : array_like, shape (n,)
        Samples in any unit and polarity (a pulse must rise with the pressure); NaN where missing.
    sampling_rate_hz : float
        20 to 2,000 Hz; an ECG below 80 Hz is found less surely.
    kind : Kind
        "ecg", "ppg" or "pressure".

    Returns
    -------
    Beats
        Empty where nothing moves.

    Raises
    ------
    ValueError
        Wrong shape, rate or kind.

    Notes
    -----
    About 0.15 microseconds a sample of 250 Hz. The level is that of blocks of about 2 s, by the median of five, and
    of the whole recording: give at least 10 s, at best a minute.
    """
    kind = Kind(kind)
    way = WAYS[kind]
    samples, real, rate = prepare(signal, sampling_rate_hz, way.work_hz)
    wave, hump = humps(samples, rate, kind)
    level, whole = level_of(hump, rate, way, real)
    if whole <= 1e-9 * (1 + float(np.abs(samples).max(initial=0))):
        return NONE
    top, _ = find_peaks(hump, distance=max(1, round(way.refractory_s * rate)))
    top = top[real[top]]
    need = way.share * level[top]
    height = hump[top]
    chosen = _without_echoes(top, height, height >= need, rate)
    chosen = _gaps_searched(top, height, need, chosen, rate)
    at = top[chosen]
    if not at.size:
        return NONE
    sure = _confidence(wave, hump, level, at, round(1.2 * way.hump_s * rate))
    return Beats(_fine(hump, at) / rate, sure)


def _without_echoes(top: npt.NDArray[np.int64], height: Floats, chosen: Flags, rate_hz: float) -> Flags:
    """Chosen humps (k,) without those that follow a much higher one within `TWAVE_S`."""
    kept = chosen.copy()
    index = np.flatnonzero(chosen)
    close = np.flatnonzero(np.diff(top[index]) < TWAVE_S * rate_hz)
    for k in close:
        a, b = index[k], index[k + 1]
        if kept[a] and height[b] < TWAVE_SHARE * height[a]:
            kept[b] = False
        elif kept[a] and height[a] < TWAVE_SHARE * TWAVE_SHARE * height[b]:
            kept[a] = False
    return kept


def _gaps_searched(top: npt.NDArray[np.int64], height: Floats, need: Floats, chosen: Flags, rate_hz: float) -> Flags:
    """Chosen humps (k,), and the highest lower one of each gap that is long for its neighbourhood."""
    index = np.flatnonzero(chosen)
    if index.size < 4:
        return chosen
    gap = np.diff(top[index])
    usual = median_filter(gap, 9, mode="nearest")
    found = chosen.copy()
    for k in np.flatnonzero(gap > GAP_SHARE * usual):
        a, b = index[k], index[k + 1]
        inner = np.arange(a + 1, b)
        far = (top[inner] - top[a] > TWAVE_S * rate_hz) & (top[b] - top[inner] > 0.25 * rate_hz)
        inner = inner[far & (height[inner] >= GAP_HEIGHT * need[inner])]
        if inner.size:
            found[inner[np.argmax(height[inner])]] = True
    return found


def _fine(hump: Floats, at: npt.NDArray[np.int64]) -> Floats:
    """Places of the tops between the samples, by a parabola through three."""
    inner = np.clip(at, 1, hump.size - 2)
    a, b, c = hump[inner - 1], hump[inner], hump[inner + 1]
    bend = a - 2 * b + c
    shift = np.where(np.abs(bend) > 0, 0.5 * (a - c) / np.where(bend == 0, 1, bend), 0)
    return np.maximum(at + np.clip(np.where(inner == at, shift, 0), -0.5, 0.5), 0)


def likeness(wave: Floats, at: npt.NDArray[np.int64], half: int) -> Floats:
    """Correlation (k,) of each beat with the better of the usual beat and its neighbours' mean, 0..1."""
    padded = np.pad(wave, half)
    shapes = padded[at[:, None] + np.arange(2 * half + 1)]
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", shapes, shapes))
    unit = shapes / np.where(length > 0, length, 1)[:, None]
    usual = np.median(unit[:400], axis=0)
    usual = usual / max(float(np.sqrt(usual @ usual)), 1e-12)
    alike = unit @ usual
    if len(at) > 2:
        near = np.einsum("ij,ij->i", unit[1:], unit[:-1])
        both = np.minimum(np.append(near, near[-1]), np.insert(near, 0, near[0]))
        alike = np.maximum(alike, both)
    return np.clip(alike, 0, 1)


def _confidence(wave: Floats, hump: Floats, level: Floats, at: npt.NDArray[np.int64], half: int) -> Floats:
    """0..1 a beat: its likeness, its height against the usual one, and how quiet it is half-way to its neighbours."""
    height = hump[at]
    tall = np.clip(height / np.maximum(0.6 * level[at], 1e-12), 0, 1)
    if at.size < 2:
        return 0.5 * tall
    between = hump[(at[1:] + at[:-1]) // 2]
    unrest = np.maximum(np.append(between, between[-1]), np.insert(between, 0, between[0])) / height
    quiet = np.clip(1.5 - 1.5 * unrest, 0, 1)
    return np.asarray(np.clip(likeness(wave, at, half) * np.sqrt(tall * quiet), 0, 1))
