"""What the last seconds before an arrhythmia alarm show: numbers that the models of `alarm_truth` weigh.

The alarms are those of bedside monitors and patches (PhysioNet/CinC Challenge 2015): asystole, no QRS for 4 s;
bradycardia, 5 beats below 40 a minute; tachycardia, 17 beats above 140; ventricular tachycardia, 5 ventricular beats
above 100; ventricular flutter or fibrillation, 4 s of it. Each event lies within 10 s before its alarm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.signals.beats import NONE, WAYS, Beats, Floats, Kind, filtered, find_beats, prepare
from devices.signals.quality import agreement, assess, lag_between

LAST_S = 14.0
"""Event within 10 s before the alarm, and the 4 s that asystole takes (Challenge 2015)."""
BEFORE_S = 60.0
"""What is usual for this person is read from the minute before (policy)."""
HZ = 125.0
VT_WINDOW_S, VT_STEP_S = 2.4, 0.2
"""Five beats at 125 a minute (policy)."""
VT_LAG_S = (0.22, 0.62)
"""Intervals of 97 to 270 a minute."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One waveform that ends at the alarm: samples (n,) at `rate_hz`, its beats, and its quality in the last seconds
    and before."""

    kind: Kind
    samples: Floats
    rate_hz: float
    length_s: float
    beats: Beats
    last: float
    before: float


def channel(signal: npt.ArrayLike, sampling_rate_hz: float, kind: Kind) -> Channel:
    """A waveform with its beats and quality; raises ``ValueError`` as `find_beats`."""
    given = np.asarray(signal, dtype=np.float64)
    beats = find_beats(given, sampling_rate_hz, kind)
    length = given.size / float(sampling_rate_hz)
    samples, _, rate = prepare(given, sampling_rate_hz, HZ)
    cut = max(0, given.size - round(LAST_S * sampling_rate_hz))
    old = max(0, cut - round(30 * sampling_rate_hz))
    last = assess(given[cut:], sampling_rate_hz, kind, since(beats, cut / sampling_rate_hz))
    old_beats = since(beats, old / sampling_rate_hz, cut / sampling_rate_hz)
    before = assess(given[old:cut], sampling_rate_hz, kind, old_beats)
    return Channel(kind, samples, rate, length, beats, last.index, before.index)


def since(beats: Beats, from_s: float, to_s: float = math.inf) -> Beats:
    """Beats from `from_s` on, counted from there."""
    chosen = (beats.at_s >= from_s) & (beats.at_s < to_s)
    return Beats(beats.at_s[chosen] - from_s, beats.confidence[chosen]) if chosen.any() else NONE


def extreme_rates(beats: Beats, length_s: float, last_s: float = LAST_S) -> tuple[float, float, float]:
    """Lowest rate of 5 beats, highest of 17 (fewer: of what there is), longest time without a beat: bpm, bpm, s."""
    at = beats.at_s[(beats.at_s >= length_s - last_s - 4) & (beats.confidence > 0.1)]
    inside = at[at >= length_s - last_s]
    edges = np.concatenate(([max(0.0, length_s - last_s)], inside, [length_s]))
    longest = float(np.diff(edges).max())
    if at.size < 3:
        return math.nan, math.nan, longest
    low = _mean_rates(at, 5)
    high = _mean_rates(at, 17)
    return float(low.min()), float(high.max()), longest


def _mean_rates(at: Floats, beats: int) -> Floats:
    k = min(beats, at.size) - 1
    return 60 * k / (at[k:] - at[:-k])


def rhythm_features(given: Sequence[Channel]) -> dict[str, float]:
    """Rates and pauses by every kind of channel, the better ones first."""
    out: dict[str, float] = {}
    ecg = [c for c in given if c.kind is Kind.ECG]
    pulse = [c for c in given if c.kind is not Kind.ECG]
    for name, group in (("ecg", ecg), ("pulse", pulse)):
        ranked = sorted(group, key=lambda c: -(c.last + 0.5 * c.before))[:2]
        for k in range(2):
            numbers = _one(ranked[k]) if k < len(ranked) else [math.nan] * len(ONE)
            out.update({f"{name}{k}_{key}": x for key, x in zip(ONE, numbers, strict=True)})
    out.update(_witnesses(given))
    out["quality_max"] = max((c.last for c in given), default=0.0)
    out["matched"] = _matched(ecg, pulse)
    return out


def _witnesses(given: Sequence[Channel]) -> dict[str, float]:
    """The extremes of all channels that can be believed: one good channel is enough to deny an alarm.

    A pulse that does not go with a clear ECG (balloon pump, motion in step) denies nothing: it is left out of the
    lowest rate.
    """
    found: dict[str, list[float]] = {k: [] for k in WITNESSES}
    clear = [c for c in given if c.kind is Kind.ECG and c.last >= CLEAR]
    for c in given:
        low, high, gap = extreme_rates(c.beats, c.length_s)
        if c.last < BELIEVED:
            continue
        group = "ecg" if c.kind is Kind.ECG else "pulse"
        found[f"gap_{group}"].append(math.log(gap))
        found[f"low_{group}"].append(math.log(low / 40))
        found[f"high_{group}"].append(-math.log(high / 140))
        if c.kind is Kind.ECG or not clear or _matched(clear, [c]) >= MATCHED:
            found["low_matched"].append(math.log(low / 40))
    out = {}
    for key, values in found.items():
        known = [x for x in values if not math.isnan(x)]
        out[key] = (max if key.startswith("low") else min)(known, default=math.nan)
    highs = [out["high_ecg"], out["high_pulse"]]
    out["high_any"] = min((h for h in highs if not math.isnan(h)), default=math.nan)
    gaps = [out["gap_ecg"], out["gap_pulse"]]
    out["gap_any"] = min((g for g in gaps if not math.isnan(g)), default=math.log(LAST_S))
    return out


WITNESSES = ("gap_ecg", "gap_pulse", "low_ecg", "low_pulse", "high_ecg", "high_pulse", "low_matched")
BELIEVED, CLEAR, MATCHED = 0.6, 0.8, 0.6
"""Quality of a witness (noise in the band of a pulse reaches 0.56), of an ECG that can speak against a pulse, and how
far the two must agree (policy)."""
ONE = ("quality", "before", "confidence", "low", "high", "gap", "unrest", "drop")


def _one(c: Channel) -> list[float]:
    low, high, gap = extreme_rates(c.beats, c.length_s)
    last = since(c.beats, c.length_s - LAST_S)
    rr = np.diff(last.at_s)
    unrest = float(np.abs(np.diff(np.log(rr))).mean()) if rr.size >= 3 else math.nan
    sure = float(last.confidence.mean()) if last.at_s.size else 0.0
    return [c.last, c.before, sure, low, high, gap, unrest, drop(c)]


def drop(c: Channel) -> float:
    """Lowest swing of any 2 s of the last seconds against the usual swing, in nats; 0 is no change."""
    size = max(1, round(2 * c.rate_hz))
    wave = filtered(c.samples, (0.5, WAYS[c.kind].band_hz[1]), c.rate_hz)
    ends = np.arange(wave.size, size - 1, -max(1, size // 4))
    if ends.size < 12:
        return math.nan
    swing = np.array([np.ptp(wave[e - size : e]) for e in ends])
    recent = int(LAST_S / 0.5) - 3
    usual = float(np.median(swing[recent:])) if swing.size > recent + 6 else float(np.median(swing))
    return math.log(max(float(swing[:recent].min()), 1e-3 * usual) / usual) if usual > 0 else math.nan


def _matched(ecg: Sequence[Channel], pulse: Sequence[Channel]) -> float:
    """Best agreement of a lead's beats with a pulse's in the last seconds (F1)."""
    best = math.nan
    for a in ecg:
        x = since(a.beats, a.length_s - LAST_S).at_s
        for b in pulse:
            y = since(b.beats, b.length_s - LAST_S).at_s
            f1 = agreement(x, y, lag_s=lag_between(x, y))
            best = f1 if math.isnan(best) else max(best, 0.0 if math.isnan(f1) else f1)
    return best


# ---- ventricular ----


def ventricular_features(given: Sequence[Channel]) -> dict[str, float]:
    """Signs of ventricular beats in a row: like each other, unlike the usual beat, broad, fast; in both leads."""
    found = [lead_windows(c) for c in given if c.kind is Kind.ECG]
    leads = [w for w in found if w is not None]
    out: dict[str, float] = {}
    if not leads:
        return {f"vt_{k}_{s}": math.nan for k in (*WINDOW, "score") for s in ("best", "both")}
    score = [w["period"] * (1 - w["usual"]) for w in leads]
    n = min(len(s) for s in score)
    both = np.min([s[-n:] for s in score], axis=0)
    at = int(np.argmax(both))
    k = int(np.argmax([s.max() for s in score]))
    j = int(np.argmax(score[k]))
    for key in WINDOW:
        out[f"vt_{key}_best"] = float(leads[k][key][j])
        out[f"vt_{key}_both"] = float(np.mean([w[key][-n:][at] for w in leads]))
    out["vt_score_best"] = float(score[k][j])
    out["vt_score_both"] = float(both[at])
    return out


WINDOW = ("period", "lag", "usual", "narrow", "narrow_change", "size", "noise", "slow")


def lead_windows(c: Channel) -> dict[str, Floats] | None:
    """Numbers (w,) of each window of `VT_WINDOW_S` in the last seconds of one lead."""
    rate = c.rate_hz
    width, step = round(VT_WINDOW_S * rate), max(1, round(VT_STEP_S * rate))
    total = c.samples.size
    first = max(0, total - round((LAST_S - 1) * rate))
    starts = np.arange(first, total - width + 1, step)
    if starts.size < 2 or not np.ptp(c.samples[first:]) > 0:
        return None
    wave = filtered(c.samples, (1.0, 30.0), rate)
    slow = filtered(c.samples, (1.5, 9.0), rate)
    fast = filtered(c.samples, (12.0, 35.0), rate)
    wander = filtered(c.samples, (0.15, 0.8), rate)
    usual, usual_narrow, usual_size = _usual(c, wave, slow, fast)
    window = starts[:, None] + np.arange(width)
    x = wave[window]
    period, lag = _period(x, rate)
    energy = np.maximum((x * x).mean(axis=1), 1e-12)
    quick = np.sqrt((fast[window] ** 2).mean(axis=1) / np.maximum((slow[window] ** 2).mean(axis=1), 1e-12))
    like = _like_usual(wave, usual, starts, width, rate)
    quiet = np.sort(np.abs(fast[window]), axis=1)[:, width // 3] / np.sqrt(energy)
    return {
        "period": period,
        "lag": lag,
        "usual": like,
        "narrow": np.log(np.maximum(quick, 1e-3)),
        "narrow_change": np.log(np.maximum(quick, 1e-3)) - usual_narrow,
        "size": 0.5 * np.log(energy) - usual_size,
        "noise": quiet,
        "slow": np.log(np.maximum(np.sqrt((wander[window] ** 2).mean(axis=1) / energy), 1e-3)),
    }


def _usual(c: Channel, wave: Floats, slow: Floats, fast: Floats) -> tuple[Floats, float, float]:
    """Median beat of the time before (unit length), its narrowness and size; of the last seconds if need be."""
    rate = c.rate_hz
    left, right = round(0.16 * rate), round(0.24 * rate)
    at = np.round(c.beats.at_s * rate).astype(np.int64)
    ok = (at >= left) & (at < wave.size - right) & (c.beats.confidence > 0.3)
    old = ok & (c.beats.at_s < c.length_s - LAST_S)
    at = at[old] if old.sum() >= 8 else at[ok]
    end = max(wave.size - round(LAST_S * rate), round(5 * rate))
    part = slice(max(0, end - round(BEFORE_S * rate)), end)
    quick, plain = float((fast[part] ** 2).mean()), float((slow[part] ** 2).mean())
    narrow = math.log(max(math.sqrt(quick / max(plain, 1e-12)), 1e-3))
    size = 0.5 * math.log(max(float(np.median(_blocks(wave[part] ** 2, round(2 * rate)))), 1e-12))
    if at.size < 4:
        return np.empty(0), narrow, size
    shape = np.median(wave[at[-150:, None] + np.arange(-left, right)], axis=0)
    shape = shape - shape.mean()
    return shape / max(float(np.sqrt(shape @ shape)), 1e-12), narrow, size


def _blocks(values: Floats, size: int) -> Floats:
    n = max(1, values.size // size)
    return np.array([part.mean() for part in np.array_split(values, n)])


def _period(x: Floats, rate_hz: float) -> tuple[Floats, Floats]:
    """Highest autocorrelation (w,) of windows (w, n) at a lag of `VT_LAG_S`, and that lag in s."""
    n = x.shape[1]
    x = x - x.mean(axis=1, keepdims=True)
    low, high = round(VT_LAG_S[0] * rate_hz), round(VT_LAG_S[1] * rate_hz)
    square = np.cumsum(np.pad(x * x, ((0, 0), (1, 0))), axis=1)
    lags = np.arange(low, high + 1)
    spectrum = np.fft.rfft(x, 2 * n, axis=1)
    auto = np.fft.irfft(spectrum * spectrum.conj(), axis=1)[:, lags]
    head, tail = square[:, n - lags], square[:, -1:] - square[:, lags]
    r = auto / np.maximum(np.sqrt(head * tail), 1e-12)
    peak = np.zeros_like(r)
    inner = (r[:, 1:-1] >= r[:, :-2]) & (r[:, 1:-1] >= r[:, 2:])
    peak[:, 1:-1] = np.where(inner, np.maximum(r[:, 1:-1], 0), 0)
    best = np.argmax(peak, axis=1)
    return peak[np.arange(len(x)), best], lags[best] / rate_hz


def _like_usual(wave: Floats, usual: Floats, starts: npt.NDArray[np.int64], width: int, rate_hz: float) -> Floats:
    """Mean over a window's beats (w,) of their best correlation with the usual beat; one best a third of a second."""
    if not usual.size:
        return np.full(starts.size, 0.5)
    first, last = int(starts[0]), int(starts[-1]) + width
    part = wave[first:last]
    n = usual.size
    dot = np.correlate(part, usual, "valid")
    one = np.concatenate(([0.0], np.cumsum(part)))
    two = np.concatenate(([0.0], np.cumsum(part * part)))
    mean = (one[n:] - one[:-n]) / n
    length = np.sqrt(np.maximum((two[n:] - two[:-n]) - n * mean * mean, 1e-12))
    r = np.maximum(dot / length, 0)
    block = round(0.6 * rate_hz)
    out = np.empty(starts.size)
    for i, s in enumerate(starts - first):
        inner = r[s : s + width - n + 1]
        k = max(1, inner.size // block)
        out[i] = np.mean([p.max() for p in np.array_split(inner, k)])
    return out
