"""Asystole and ventricular fibrillation in the waveforms of one upload: looked for cheaply, then judged, always told.

A wrong word here costs a life: what `alarm_truth` thinks of a candidate lowers its weight, never to nothing.
Ventricular tachycardia is not looked for: a run of broad fast beats needs the shape of the usual beat, and a bundle
branch block, a paced beat or motion in step looks the same; its alarms are judged where a device raises them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.signals.alarm_truth import LONGEST_S, SHORTEST_S, Alarm, Truth, judge
from devices.signals.beats import WAYS, Beats, Floats, Kind, checked_rate, filtered, find_beats, humps, prepare
from devices.signals.finding import Finding
from devices.signals.quality import trusted

LAYER = "rhythm"
ASYSTOLE_S = 3.8
"""No QRS for 4 s (PhysioNet/CinC Challenge 2015), less what two marks may be off by."""
WINDOW_S, STEP_S, WINDOWS = 4.0, 1.0, 2
"""Fibrillation lasts 4 s (Challenge 2015); two such windows in a row, so that one start of a movement is none (policy).
"""
LEAK = 0.625
"""A sine cancels itself half a period later, fibrillation nearly so: Kuo & Dillman 1978, whose limit this is."""
LEAST_SHARE_OF_QRS = 1 / 3
"""Below a third of the usual QRS it is noise: Kuo & Dillman 1978."""
PEAKED, PEAKED_WORST = 3.2, 4.7
"""Fourth moment over the squared second, of the smoothest lead and of any: a sine has 1.5, noise 3, an ECG beyond 6
(policy)."""
TONE_HZ, TONE_SHARE = (2.0, 9.0), 0.3
"""Fibrillation lies in 2-9 Hz (Clayton 1993); this share of some lead's energy at 1-30 Hz must (policy: flutter is
slower)."""
SURE, SPEAKS = 0.5, 0.3
"""Confidence of a beat that tells how high a QRS is, and median confidence of a lead that can speak against another
(policy)."""
STEADY = 2.0
"""Where no beat is to be seen in any of it: noise that swells no further than this is no movement (policy)."""
MISSING, HELD = 0.1, 0.5
"""A lead with more of a stretch missing, or held at one number in a row, says nothing about it (policy)."""
JUDGED = 3
"""The longest candidates of a code that are judged, so that one upload's cost has an end (policy)."""
BASE_NATS, LEAST_NATS, MOST_NATS, UNKNOWN_NATS = 5.0, 3.0, 8.0, 3.5
"""Weight of a candidate that is as likely true as not; what is left of the least likely one, a question to the person;
the most; and where nothing can be said (policy)."""
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Lead:
    """One ECG lead or pulse wave; `speaks` where its beats can be believed as a whole."""

    kind: Kind
    given: Floats
    samples: Floats
    rate_hz: float
    given_hz: float
    beats: Beats
    speaks: bool

    @property
    def length_s(self) -> float:
        return self.given.size / self.given_hz

    def alive(self, span: Span) -> bool:
        """Whether it is on the body there: not missing, and not one and the same number for half of the time.

        An electrode on the body picks up noise of muscles and mains even over a heart that stands still. Digits that
        do not move at all are a lead that is off or an amplifier that is held, which is no asystole. It stays untold
        even where a pulse wave has gone as well: that is how a device looks that was taken off, and silence and
        contact are judged elsewhere.
        """
        part = self.given[int(span[0] * self.given_hz) : math.ceil(span[1] * self.given_hz)]
        real = np.abs(part) < 1e12
        if real.sum() < max(2, (1 - MISSING) * part.size):
            return False
        moves = np.flatnonzero(np.diff(part[real]))
        held = np.diff(np.concatenate(([0], moves, [int(real.sum())]))).max()
        return bool(held < HELD * part.size)

    def gaps(self, span: Span) -> list[Span]:
        """Times within `span` without a beat, `ASYSTOLE_S` or longer; seconds."""
        at = self.beats.at_s
        edges = np.concatenate(([span[0]], at[(at > span[0]) & (at < span[1])], [span[1]]))
        return [(float(edges[i]), float(edges[i + 1])) for i in np.flatnonzero(np.diff(edges) >= ASYSTOLE_S)]


def screen(waves: Sequence[tuple[npt.ArrayLike, Kind | str]], sampling_rate_hz: float, start_us: int) -> list[Finding]:
    """Asystole and ventricular fibrillation in one upload's waveforms of one device.

    Parameters
    ----------
    waves : sequence of (array_like of shape (c, n) or (n,), kind)
        Taken at the same time and rate: ECG leads in any unit, and pulse waves beside them as witnesses. NaN where
        missing. Without an ECG nothing is found.
    sampling_rate_hz : float
        20 to 2,000 Hz.
    start_us : int
        Time of the first samples, microseconds UTC.

    Returns
    -------
    list of Finding
        At most one a code: layer "rhythm", code "asystole" or "ventricular_fibrillation", `llr` 3 to 8 nats (5 and
        more where it is rather true). ``params``: ``duration_s``; ``probability`` 0..1, or None where nothing can be
        said; ``confidence`` "high", "low" or "unknown".

    Raises
    ------
    ValueError
        Wrong shape, rate or kind.
    """
    rate = checked_rate(sampling_rate_hz)
    channels = _channels(waves)
    if not any(kind is Kind.ECG and signal.size >= ASYSTOLE_S * rate for signal, kind in channels):
        return []
    leads = [_lead(signal, kind, rate) for signal, kind in channels]
    ecg = [lead for lead in leads if lead.kind is Kind.ECG]
    pulse = [lead for lead in leads if lead.kind is not Kind.ECG]
    quivers = fibrillations(ecg)
    found = [(Alarm.VENTRICULAR_FIBRILLATION, quivers), (Alarm.ASYSTOLE, stills(ecg, pulse, quivers))]
    told = [_told(alarm, spans, channels, rate, start_us) for alarm, spans in found if spans]
    return sorted(told, key=lambda one: (one.onset_us, one.code))


def _channels(waves: Sequence[tuple[npt.ArrayLike, Kind | str]]) -> list[tuple[Floats, Kind]]:
    """Every row of every wave, filled up with NaN to the length of the longest."""
    rows: list[tuple[Floats, Kind]] = []
    for wave, kind in waves:
        given = np.asarray(wave, dtype=np.float64)
        if given.ndim not in (1, 2):
            raise ValueError(f"a wave must have the shape (c, n) or (n,), was {given.shape}: one row a channel")
        rows += [(row, Kind(kind)) for row in np.atleast_2d(given)]
    longest = max((row.size for row, _ in rows), default=0)
    return [(np.pad(row, (0, longest - row.size), constant_values=np.nan), kind) for row, kind in rows]


def _lead(signal: Floats, kind: Kind, rate: float) -> _Lead:
    samples, real, work = prepare(signal, rate, WAYS[kind].work_hz)
    beats = find_beats(np.where(real, samples, np.nan), work, kind)
    speaks = beats.at_s.size >= 3 and float(np.median(beats.confidence)) >= SPEAKS
    return _Lead(kind, signal, samples, work, rate, beats, speaks)


# ---- no beats ----


def stills(ecg: Sequence[_Lead], pulse: Sequence[_Lead], but: Sequence[Span]) -> list[Span]:
    """Times (s) without a QRS in any lead that is on the body, none of them within `but`.

    A pacemaker goes on ticking over a heart that stands still, in some leads as high as a QRS: where the pulse has
    gone as well, one lead without QRS is enough.
    """
    spans: list[Span] = []
    for lead in ecg:
        for gap in lead.gaps((0.0, lead.length_s)):
            span: Span | None = gap if lead.alive(gap) else None
            for other in ecg:
                if span is None or other is lead or not other.speaks or not other.alive(span):
                    continue
                shared = other.gaps(span)
                if shared:
                    span = max(shared, key=_length)
                elif not any(_lost(one, span) for one in pulse):
                    span = None
            if span is not None:
                spans.append(span)
    if not spans and _nothing_but_noise(ecg, pulse):
        spans = [(0.0, ecg[0].length_s)]
    return [s for s in spans if not any(min(s[1], b[1]) - max(s[0], b[0]) > 0.5 * _length(s) for b in but)]


def _length(span: Span) -> float:
    return span[1] - span[0]


def _lost(pulse: _Lead, span: Span) -> bool:
    """Whether a pulse that could be believed has stopped, within `span` or the second of delay behind it."""
    return pulse.speaks and pulse.alive(span) and bool(pulse.gaps((span[0], span[1] + 1.0)))


def _nothing_but_noise(ecg: Sequence[_Lead], pulse: Sequence[_Lead]) -> bool:
    """No lead with a heart beat in 10 s or more, steady noise in at least one, and no pulse to be believed."""
    live = [one for one in ecg if one.length_s >= SHORTEST_S and one.alive((0.0, one.length_s))]
    if not live or any(one.speaks for one in ecg) or not any(_steady(one) for one in live):
        return False
    return not any(int(trusted(one.given, one.given_hz, one.kind)[1].sum()) >= 3 for one in pulse)


def _steady(lead: _Lead) -> bool:
    hump = humps(lead.samples, lead.rate_hz, lead.kind)[1]
    tops = np.array([part.max() for part in np.array_split(hump, max(1, int(hump.size / (2 * lead.rate_hz))))])
    return 0 < float(tops.max()) <= STEADY * float(np.percentile(tops, 10))


# ---- fibrillation ----


def fibrillations(ecg: Sequence[_Lead]) -> list[Span]:
    """Times (s) in which every lead on the body swings like a sine, and none shows a QRS."""
    seen = [_swings(lead) for lead in ecg]
    if not seen or not seen[0].shape[1]:
        return []
    peaked, leak, share = (np.array([s[k] for s in seen]) for k in range(3))
    live = ~np.isnan(peaked)
    any_live = live.any(axis=0)
    smooth = np.where(live, peaked, np.inf).min(axis=0) <= PEAKED
    swinging = np.where(live, leak, 0).max(axis=0) <= LEAK
    tone = np.where(live, share, 0).max(axis=0) >= TONE_SHARE
    ok = any_live & smooth & swinging & tone
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ok, [False])).astype(np.int8)))
    return [
        (a * STEP_S, (b - 1) * STEP_S + WINDOW_S)
        for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        if b - a >= min(WINDOWS, ok.size)
    ]


def _swings(lead: _Lead) -> Floats:
    """Peakedness, leakage and share of `TONE_HZ` (3, w) of each window; NaN where the lead is off.

    A window too low or too peaked to be fibrillation has a leakage of 1: there, this lead speaks against it.
    """
    rate = lead.rate_hz
    size, step = round(WINDOW_S * rate), round(STEP_S * rate)
    starts = np.arange(0, lead.samples.size - size + 1, step)
    wave = filtered(lead.samples, (1.0, 30.0), rate)
    tone = filtered(lead.samples, TONE_HZ, rate)
    part = starts[:, None] + np.arange(size)
    x = wave[part]
    x = x - x.mean(axis=1, keepdims=True)
    energy = np.maximum((x * x).mean(axis=1), 1e-30)
    peaked = (x**4).mean(axis=1) / energy**2
    share = (tone[part] ** 2).mean(axis=1) / energy
    leak = np.ones(starts.size)
    tall = np.abs(x).max(axis=1, initial=0) >= LEAST_SHARE_OF_QRS * _usual_height(lead, wave)
    for i in np.flatnonzero(tall & (peaked <= PEAKED_WORST)).tolist():
        leak[i] = _leakage(x[i], rate)
    # Windows begin at whole work samples; so do these seconds but for a rate that is no multiple, which is near enough.
    off = np.array([not lead.alive((i * STEP_S, i * STEP_S + WINDOW_S)) for i in range(starts.size)], dtype=bool)
    numbers = np.array([peaked, leak, share])
    numbers[:, off] = np.nan
    return numbers


def _usual_height(lead: _Lead, wave: Floats) -> float:
    """Height of this lead's sure QRS, by the median; 0 with fewer than five."""
    at = lead.beats.at_s[lead.beats.confidence >= SURE]
    if at.size < 5:
        return 0.0
    reach = np.arange(-round(0.06 * lead.rate_hz), round(0.06 * lead.rate_hz) + 1)
    near = np.clip(np.round(at * lead.rate_hz).astype(np.int64)[:, None] + reach, 0, wave.size - 1)
    return float(np.median(np.abs(wave[near]).max(axis=1)))


def _leakage(x: Floats, rate_hz: float) -> float:
    """What is left of (n,) when it is added to itself half a period later: 0 a sine .. 1."""
    power = np.abs(np.fft.rfft(x * np.hanning(x.size))) ** 2
    hz = np.fft.rfftfreq(x.size, 1 / rate_hz)
    power[(hz < 1.5) | (hz > 10)] = 0
    half = max(1, round(rate_hz / (2 * max(float(hz[np.argmax(power)]), 1.5))))
    a, b = x[half:], x[:-half]
    return float(np.abs(a + b).sum() / max(float((np.abs(a) + np.abs(b)).sum()), 1e-30))


# ---- judged and told ----


def _told(
    alarm: Alarm, spans: Sequence[Span], channels: Sequence[tuple[Floats, Kind]], rate: float, start_us: int
) -> Finding:
    """The candidate that is likeliest true of the longest ones."""
    longest = sorted(set(spans), key=lambda s: (-_length(s), s))[:JUDGED]
    judged = [(_judged(alarm, span, channels, rate), span) for span in longest]
    truth, (begins, ends) = max(judged, key=lambda one: (weight(one[0]), _length(one[1])))
    llr = weight(truth)
    unknown = math.isnan(truth.probability)
    return Finding(
        layer=LAYER,
        code=alarm.value,
        onset_us=start_us + round(begins * 1e6),
        at_us=start_us + round(ends * 1e6),
        llr=llr,
        params={
            "duration_s": round(ends - begins, 1),
            "probability": None if unknown else round(truth.probability, 3),
            "confidence": "unknown" if unknown else "high" if llr >= BASE_NATS else "low",
        },
    )


def _judged(alarm: Alarm, span: Span, channels: Sequence[tuple[Floats, Kind]], rate: float) -> Truth:
    """What the up to `LONGEST_S` say that end just after the candidate."""
    end = round(max(span[1] + 0.5, SHORTEST_S) * rate)
    first = max(0, end - round(LONGEST_S * rate))
    return judge([(signal[first:end], kind) for signal, kind in channels], rate, alarm)


def weight(truth: Truth) -> float:
    """Nats of a candidate by what the waveforms say: never less than a question to the person."""
    if math.isnan(truth.probability):
        return UNKNOWN_NATS
    return min(max(BASE_NATS + truth.llr, LEAST_NATS), MOST_NATS)
