"""How far a waveform can be believed, and the runs of beat intervals that come from its good stretches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from devices.signals.beats import (
    NONE,
    WAYS,
    Beats,
    Flags,
    Floats,
    Kind,
    filtered,
    find_beats,
    humps,
    level_of,
    likeness,
    prepare,
)

SAME_BEAT_S = 0.15
"""Two marks this near are one beat: ANSI/AAMI EC57."""
FLAT_S = {Kind.ECG: 2.0, Kind.PPG: 0.4, Kind.PRESSURE: 0.4}
"""Nothing moves for so long: no contact (policy; a coarse ECG is flat between two beats, a pulse wave never is)."""
USABLE = 0.5
"""Index from which a window's beats are believed (policy; see the curve of `ansim evaluate --set beats`)."""
WINDOW_S, SHAPE_S = 8.0, 12.0
"""A stretch is judged by the beats of the 8 s, and a pulse by its shape in the 12 s, around each second (policy)."""
STEEP_SKEW, STEADY_LOG = 0.35, 0.2
"""Motion in the band of a pulse rises as it falls and swells as it likes. A pulse rises faster than it falls, or is at
least steady: skewness of the slope beyond 98 % of band noise, or spread of log heights below that of any (policy;
measured on noise of four bands; skewness as a sign of a good pulse: Elgendi 2016)."""
SURE = 0.25
"""Confidence from which a single beat bounds an interval (policy)."""
SHORTEST_RUN = 8
"""Intervals that a run must have to be worth handing on (policy)."""
RR_S = (0.25, 3.0)
"""Intervals outside this are pauses or errors, not beats in a row (policy: 240 to 20 a minute)."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a window is worth; every share lies in 0..1.

    Attributes
    ----------
    index : float
        0 useless .. 1 clean: the weakest of the parts below decides.
    missing, flat, clipped : float
        Shares of samples without a value, without movement, and held at an extreme.
    noise : float
        Share of the energy that lies where beats have none (ECG above 20 Hz and below 0.5 Hz; pulse above 8 Hz).
    kurtosis : float
        Excess kurtosis of the band of beats; an ECG is peaked (> 5), noise is not (0).
    likeness : float
        Median likeness of a beat to the others.
    agreement : float
        Beats on which two detectors of different design agree (F1).
    beats_per_min : float
        By the median interval; NaN with fewer than 3 beats.
    """

    index: float
    missing: float
    flat: float
    clipped: float
    noise: float
    kurtosis: float
    likeness: float
    agreement: float
    beats_per_min: float


def agreement(a: npt.ArrayLike, b: npt.ArrayLike, tolerance_s: float = SAME_BEAT_S, lag_s: float = 0.0) -> float:
    """F1 of two lists of beat times (s), `b` shifted back by `lag_s`; NaN where neither has a beat."""
    x = np.asarray(a, dtype=np.float64)
    y = np.asarray(b, dtype=np.float64) - lag_s
    if not x.size or not y.size:
        return math.nan if x.size == y.size else 0.0
    after = np.searchsorted(y, x)
    apart = np.minimum(np.abs(y[np.minimum(after, y.size - 1)] - x), np.abs(y[np.maximum(after - 1, 0)] - x))
    both = min(int((apart <= tolerance_s).sum()), y.size)
    return 2 * both / (x.size + y.size)


def defects(signal: npt.ArrayLike, sampling_rate_hz: float, kind: Kind) -> tuple[Flags, Flags, Flags]:
    """Which samples (n,) are missing, flat and clipped.

    Flat: unmoved for `FLAT_S` (to a thousandth of the recording's spread). Clipped: three or more in a row held at
    the recording's own extreme.
    """
    given = np.asarray(signal, dtype=np.float64)
    missing = ~(np.abs(given) < 1e12)
    nothing = np.zeros(given.size, bool)
    if given.size < 4 or missing.all():
        return missing, ~missing, nothing
    low, q5, q95, high = np.percentile(given[~missing], (0, 5, 95, 100))
    spread = max(float(q95 - q5), 1e-9 * max(abs(float(high)), abs(float(low)), 1e-12))
    step = np.abs(np.diff(np.where(missing, 0, given), prepend=np.nan))
    still = step < 1e-3 * spread / max(1.0, sampling_rate_hz / 125)
    flat = _held(still, max(3, round(FLAT_S[kind] * sampling_rate_hz))) & ~missing
    edge = 1e-3 * float(high - low)
    clipped = (_held(given >= high - edge, 3) | _held(given <= low + edge, 3)) & (step <= edge) & ~missing & ~flat
    return missing, flat, clipped


def _held(true: Flags, least: int) -> Flags:
    """Where `true` (n,) holds for at least `least` samples in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], true, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= least
    marks = np.zeros(true.size + 1, np.int64)
    marks[starts[long]] += 1
    marks[ends[long]] -= 1
    return np.cumsum(marks[:-1]) > 0


def second_opinion(samples: Floats, real: Flags, rate_hz: float, kind: Kind) -> Floats:
    """Beat times (s) by another design: steepness alone for an ECG, tops instead of rises for a pulse."""
    way = WAYS[kind]
    if samples.size < 16:
        return np.empty(0)
    if kind is Kind.ECG:
        steep = filtered(samples, (8.0, 30.0), rate_hz)
        hump = uniform_filter1d(np.abs(np.gradient(steep)), max(2, round(0.05 * rate_hz)), mode="nearest")
    else:
        hump = np.maximum(filtered(samples, (0.6, 5.0), rate_hz), 0)
    level, whole = level_of(hump, rate_hz, way, real)
    if whole <= 0:
        return np.empty(0)
    top, _ = find_peaks(hump, distance=max(1, round(1.25 * way.refractory_s * rate_hz)))
    return np.asarray(top[(hump[top] >= 0.45 * level[top]) & real[top]] / rate_hz)


def lag_between(a: Floats, b: Floats, within_s: float = 0.5) -> float:
    """Median delay (s) of `b` behind `a`, each beat with the next one; 0 where there are none."""
    if not a.size or not b.size:
        return 0.0
    apart = b[np.minimum(np.searchsorted(b, a - 0.05), b.size - 1)] - a
    near = apart[np.abs(apart) <= within_s]
    return float(np.median(near)) if near.size else 0.0


def assess(
    signal: npt.ArrayLike, sampling_rate_hz: float, kind: Kind | str = Kind.ECG, beats: Beats | None = None
) -> Quality:
    """Quality of one channel over the window given.

    Parameters
    ----------
    signal : array_like, shape (n,)
        5 to 60 s of one channel, NaN where missing.
    sampling_rate_hz : float
        20 to 2,000 Hz.
    kind : Kind
    beats : Beats, optional
        Beats of this window where they are known (a longer recording finds them better).

    Raises
    ------
    ValueError
        As `find_beats`.
    """
    kind = Kind(kind)
    given = np.asarray(signal, dtype=np.float64)
    found = find_beats(given, sampling_rate_hz, kind) if beats is None else beats
    missing, flat, clipped = (float(x.mean()) if x.size else 1.0 for x in defects(given, sampling_rate_hz, kind))
    samples, real, rate = prepare(given, sampling_rate_hz, WAYS[kind].work_hz)
    wave = humps(samples, rate, kind)[0]
    other = second_opinion(samples, real, rate, kind)
    alike = _alike(wave, found.at_s, rate, kind)
    agreed = agreement(found.at_s, other, lag_s=lag_between(found.at_s, other))
    agreed = 0.0 if math.isnan(agreed) else agreed
    noise, peaked = _noise(samples, rate, kind), _kurtosis(wave)
    rr = np.diff(found.at_s)
    rate_bpm = 60 / float(np.median(rr)) if rr.size >= 2 else math.nan
    whole = max(0.0, 1 - 2 * (missing + flat) - 4 * clipped)
    calm = min(1.0, max(0.0, 2 * (1 - noise)))
    index = min(whole, calm, alike, agreed) * (1.0 if found.at_s.size >= 3 else 0.0)
    return Quality(index, missing, flat, clipped, noise, peaked, alike, agreed, rate_bpm)


def _alike(wave: Floats, at_s: Floats, rate_hz: float, kind: Kind) -> float:
    if at_s.size < 3 or not wave.size:
        return 0.0
    at = np.clip(np.round(at_s * rate_hz).astype(np.int64), 0, wave.size - 1)
    return float(np.median(likeness(wave, at, round(1.2 * WAYS[kind].hump_s * rate_hz))))


def _noise(samples: Floats, rate_hz: float, kind: Kind) -> float:
    """Share of the samples' energy outside the frequencies of beats, wander of an ECG's base line counted a tenth."""
    if samples.size < 16:
        return 1.0
    power = np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(samples.size))) ** 2
    hz = np.fft.rfftfreq(samples.size, 1 / rate_hz)
    top, low = (22.0, 0.7) if kind is Kind.ECG else (8.0, 0.5)
    inside = float(power[(hz >= low) & (hz <= top)].sum())
    outside = float(power[hz > top].sum()) + 0.1 * float(power[(hz > 0) & (hz < low)].sum())
    return outside / (inside + outside) if inside + outside > 0 else 1.0


def _kurtosis(wave: Floats) -> float:
    spread = float(wave.var()) if wave.size else 0.0
    return float(((wave - wave.mean()) ** 4).mean()) / spread**2 - 3 if spread > 0 else 0.0


def trusted(signal: npt.ArrayLike, sampling_rate_hz: float, kind: Kind | str = Kind.ECG) -> tuple[Beats, Flags]:
    """Beats of a channel, and which of them lie in a stretch that can be believed.

    Each second is judged by the `WINDOW_S` around it: median confidence, agreement of two detectors, no defect.

    Returns
    -------
    Beats
        (k,) all beats.
    ndarray of bool, shape (k,)
    """
    kind = Kind(kind)
    given = np.asarray(signal, dtype=np.float64)
    beats = find_beats(given, sampling_rate_hz, kind)
    if beats.at_s.size < 3:
        return NONE, np.zeros(0, bool)
    samples, real, rate = prepare(given, sampling_rate_hz, WAYS[kind].work_hz)
    other = second_opinion(samples, real, rate, kind)
    other = other - lag_between(beats.at_s, other)
    both = _near(beats.at_s, other)
    alone = ~_near(other, beats.at_s)
    seconds = np.arange(math.ceil(given.size / sampling_rate_hz))
    middle: Floats = seconds.astype(np.float64) + 0.5
    first, last = (np.searchsorted(beats.at_s, middle + k * WINDOW_S / 2) for k in (-1, 1))
    count = np.maximum(last - first, 1)
    mean = _between(np.concatenate(([0.0], np.cumsum(beats.confidence))), first, last) / count
    agreed = _between(np.concatenate(([0.0], np.cumsum(both))), first, last)
    a, b = (np.searchsorted(other, middle + k * WINDOW_S / 2) for k in (-1, 1))
    extra = _between(np.concatenate(([0.0], np.cumsum(alone))), a, b)
    f1 = 2 * agreed / np.maximum(count + agreed + extra, 1)
    good = (np.minimum(mean * 1.25, f1) >= USABLE) & ~_broken(given, sampling_rate_hz, kind, seconds.size)
    if kind is not Kind.ECG:
        good &= _pulse_shaped(samples, beats.at_s, rate, kind, middle)
    at = np.minimum(beats.at_s.astype(np.int64), seconds.size - 1)
    return beats, good[at] & (beats.confidence >= SURE)


def _pulse_shaped(samples: Floats, at_s: Floats, rate_hz: float, kind: Kind, middle: Floats) -> Flags:
    """Whether the `SHAPE_S` around each second (s,) have the slope, or the steadiness, that band noise never has."""
    wave, hump = humps(samples, rate_hz, kind)
    slope = np.diff(wave, prepend=wave[:1])
    slope = slope / max(float(slope.std()), 1e-12)
    edges = [np.clip(np.round((middle + k * SHAPE_S / 2) * rate_hz).astype(np.int64), 0, slope.size) for k in (-1, 1)]
    count = np.maximum(edges[1] - edges[0], 1)
    one, two, three = (_between(np.concatenate(([0.0], np.cumsum(slope**p))), *edges) / count for p in (1, 2, 3))
    spread = np.maximum(two - one * one, 1e-12)
    skew = (three - 3 * one * two + 2 * one**3) / spread**1.5
    height = np.log(np.maximum(hump[np.minimum((at_s * rate_hz).astype(np.int64), hump.size - 1)], 1e-12))
    first, last = (np.searchsorted(at_s, middle + k * SHAPE_S / 2) for k in (-1, 1))
    beats = np.maximum(last - first, 1)
    mean, square = (_between(np.concatenate(([0.0], np.cumsum(height**p))), first, last) / beats for p in (1, 2))
    steady = (last - first >= 6) & (square - mean * mean <= STEADY_LOG**2)
    return np.asarray((np.abs(skew) >= STEEP_SKEW) | steady)


def _between(total: Floats, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> Floats:
    return total[last] - total[first]


def _near(a: Floats, b: Floats) -> Flags:
    if not b.size:
        return np.zeros(a.size, bool)
    after = np.searchsorted(b, a)
    apart = np.minimum(np.abs(b[np.minimum(after, b.size - 1)] - a), np.abs(b[np.maximum(after - 1, 0)] - a))
    return apart <= SAME_BEAT_S


def _broken(given: Floats, rate_hz: float, kind: Kind, seconds: int) -> Flags:
    """Seconds (s,) of which a tenth or more is missing or clipped, or half is flat."""
    missing, flat, clipped = defects(given, rate_hz, kind)
    at = np.minimum((np.arange(given.size) / rate_hz).astype(np.int64), seconds - 1)
    share = [np.bincount(at, part, seconds) / rate_hz for part in (missing, clipped, flat)]
    return (share[0] > 0.1) | (share[1] > 0.1) | (share[2] > 0.7)


def intervals(
    channels: npt.ArrayLike | Sequence[npt.ArrayLike], sampling_rate_hz: float, kind: Kind | str = Kind.ECG
) -> list[tuple[float, Floats]]:
    """Runs of beat intervals that can be believed, from one or more channels of the same kind.

    Parameters
    ----------
    channels : array_like, shape (c, n) or (n,)
        Leads of one device, taken at the same time.
    sampling_rate_hz : float
        20 to 2,000 Hz.
    kind : Kind
        "ecg", "ppg" or "pressure".

    Returns
    -------
    list of (start_s, rr_ms)
        ``start_s``: seconds from the first sample to the beat that begins the first interval; ``rr_ms``: (k,) float64,
        k >= 8. A bad stretch, an unsure beat or an interval outside 0.25-3 s ends a run. In time order.

    Raises
    ------
    ValueError
        As `find_beats`.
    """
    rows = _rows(channels)
    best: tuple[float, Beats, Flags] = (-1.0, NONE, np.zeros(0, bool))
    for row in rows:
        beats, good = trusted(row, sampling_rate_hz, kind)
        worth = float(beats.confidence[good].sum()) if good.size else 0.0
        if worth > best[0]:
            best = (worth, beats, good)
    _, beats, good = best
    return _runs(beats.at_s, good)


def _rows(channels: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[Floats]:
    try:
        given = np.asarray(channels, dtype=np.float64)
    except ValueError as error:
        raise ValueError("channels must be (c, n) of one length: give channels of another length apart") from error
    if given.ndim not in (1, 2):
        raise ValueError(f"channels must have the shape (c, n) or (n,), was {given.shape}: one row a channel")
    return [given] if given.ndim == 1 else list(given)


def _runs(at_s: Floats, good: Flags) -> list[tuple[float, Floats]]:
    rr = np.diff(at_s)
    if not rr.size:
        return []
    joined = good[1:] & good[:-1] & (rr >= RR_S[0]) & (rr <= RR_S[1])
    edges = np.flatnonzero(np.diff(np.concatenate(([False], joined, [False])).astype(np.int8)))
    return [
        (float(at_s[a]), rr[a:b] * 1000.0)
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b - a >= SHORTEST_RUN
    ]
