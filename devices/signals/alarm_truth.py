"""How probable it is that an arrhythmia alarm is true, from the waveforms that end with it.

One small additive model a type of alarm weighs what `alarm_features` reads from all channels. The answer lowers or
raises confidence; asystole and ventricular fibrillation are never `suppressible`, whatever it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals.alarm_features import channel, rhythm_features, ventricular_features
from devices.signals.beats import Floats, Kind, checked_rate

MODEL = "alarm_truth"
FARTHEST = 3.0
"""Standardised features count no further than this (policy): one odd number never decides alone."""
SHORTEST_S = 10.0
"""An event lies within 10 s before its alarm (Challenge 2015): with less than that nothing is said."""
LONGEST_S = 120.0
"""What is older is not read."""


class Alarm(StrEnum):
    """Arrhythmia alarms of monitors and patches, as the Challenge 2015 names and defines them."""

    ASYSTOLE = "asystole"
    BRADYCARDIA = "bradycardia"
    TACHYCARDIA = "tachycardia"
    VENTRICULAR_TACHYCARDIA = "ventricular_tachycardia"
    VENTRICULAR_FIBRILLATION = "ventricular_fibrillation"


NEVER_SUPPRESSED = frozenset({Alarm.ASYSTOLE, Alarm.VENTRICULAR_FIBRILLATION})
"""A wrong word here costs a life: these only lose confidence."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the waveforms say about one alarm.

    Attributes
    ----------
    alarm : Alarm
    probability : float
        That the alarm is true, 0..1; NaN where there is too little signal to say anything.
    confirmed : bool
        The classifier alone: probability at or above its threshold, or unknown.
    suppressible : bool
        The product may hold the alarm back: not confirmed, and of a type that may ever be held back.
    """

    alarm: Alarm
    probability: float
    confirmed: bool
    suppressible: bool

    @property
    def llr(self) -> float:
        """Log odds in nats for fusion, within -3..3; 0 where nothing is known."""
        if math.isnan(self.probability):
            return 0.0
        p = min(max(self.probability, 0.02), 0.98)
        return max(-3.0, min(3.0, math.log(p / (1 - p))))


def alarm_features(channels: Sequence[tuple[npt.ArrayLike, Kind | str]], sampling_rate_hz: float) -> dict[str, float]:
    """Features by name of channels that end at the alarm; empty with less than 10 s of any.

    Parameters
    ----------
    channels : sequence of (signal, kind)
        Each signal (n,) at `sampling_rate_hz`, NaN where missing, its last sample at the alarm.
    sampling_rate_hz : float
        20 to 2,000 Hz.

    Raises
    ------
    ValueError
        As `find_beats`.
    """
    rate = checked_rate(sampling_rate_hz)
    kept = [(np.asarray(s, dtype=np.float64), Kind(k)) for s, k in channels]
    long = [(s, k) for s, k in kept if s.ndim != 1 or s.size >= SHORTEST_S * rate]
    given = [channel(s[-round(LONGEST_S * rate) :] if s.ndim == 1 else s, rate, k) for s, k in long]
    return rhythm_features(given) | ventricular_features(given) if given else {}


def weigh(terms: Mapping[str, Any], features: Floats) -> Floats:
    """Probabilities (m,) for rows of features (m, k) by one type's terms (`centre`, `scale`, `weights`, `bias`).

    A missing feature (NaN) adds nothing; one farther than `FARTHEST` scales counts as that far.
    """
    z = (features - np.asarray(terms["centre"])) / np.asarray(terms["scale"])
    z = np.clip(np.nan_to_num(z, nan=0.0), -FARTHEST, FARTHEST)
    return np.asarray(1 / (1 + np.exp(-(z @ np.asarray(terms["weights"]) + float(terms["bias"])))))


def judge(
    channels: Sequence[tuple[npt.ArrayLike, Kind | str]],
    sampling_rate_hz: float,
    alarm: Alarm | str,
    parameters: Mapping[str, Any] | None = None,
) -> Truth:
    """How probable it is that this alarm is true.

    Parameters
    ----------
    channels : sequence of (signal, kind)
        ECG leads, photoplethysmogram, arterial pressure of the last 30 to 120 s; the last sample at the alarm.
    sampling_rate_hz : float
    alarm : Alarm
    parameters : mapping, optional
        Another model than the shipped one.

    Raises
    ------
    ValueError
        Wrong shape, rate, kind or alarm.
    """
    kind = Alarm(alarm)
    features = alarm_features(channels, sampling_rate_hz)
    if not features.get("quality_max", 0.0) > 0:
        return Truth(kind, math.nan, True, False)
    terms = (load(MODEL).parameters if parameters is None else parameters)[kind.value]
    row = np.array([[features[name] for name in terms["features"]]])
    probability = float(weigh(terms, row)[0])
    confirmed = probability >= float(terms["threshold"])
    return Truth(kind, probability, confirmed, not confirmed and kind not in NEVER_SUPPRESSED)
