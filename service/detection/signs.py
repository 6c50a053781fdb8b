"""The layers of detection and their signs: how far each is believed alone, for how long, and which are hard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from devices.signals.finding import Finding
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from service.detection.budget import Floats, Tier, code_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Layer:
    """How far a layer is believed alone, and for how long (all policy).

    Attributes
    ----------
    cap_nats : float
        The most that all its signs count together.
    hold_s, half_s : float
        Seconds for which a sign counts in full after it was last told, and in which it halves from then on.
    """

    name: str
    cap_nats: float
    hold_s: float
    half_s: float


HOUR_S = 3600.0
LAYERS = (
    Layer("other", 2.5, HOUR_S, HOUR_S),
    Layer("fall", 4.75, 900, 900),
    Layer("rhythm", 4.5, 6 * HOUR_S, HOUR_S),
    Layer("baseline", 2.2, 24 * HOUR_S, 12 * HOUR_S),
    Layer("warning", 4.5, HOUR_S, 2 * HOUR_S),
    Layer("absence", 4.75, 24 * HOUR_S, 6 * HOUR_S),
    Layer("home_vitals", 2.2, 12 * HOUR_S, 6 * HOUR_S),
    Layer("limits", 4.5, HOUR_S, HOUR_S),
)
"""One layer alone asks the person at most: an unanswered question rings the family anyway. Drift and home
measurements are a line, and with another sign that is a line by itself, fibrillation too, they ask. Other layers
together ring, or prepare help (policy)."""
MOST_NATS = {"atrial_fibrillation": 2.75, "pause": 2.75, "tachycardia": 2.5, "bradycardia": 2.5}
"""Signs that count less than their layer could: fibrillation that a device found awaits an ECG and is no emergency by
itself (Van Gelder 2024, ESC guideline, ehae176), an interval without beats is far more often a lost signal, and rates
from beats know nothing of rest or sleep, which the limits do (policy).
"""
ALONE_NATS = 0.45
"""Just below a line: told with whatever else speaks, not alone (policy)."""
ASYSTOLE_S = 10.0
"""An interval without beats from here on is weighed just below a line, however doubtful: beats cut out of a recording
as noise look the same, in two of three recorded days (measured on rr24h; the layer's own limit)."""
BORNE_OUT_NATS = 3.0
"""A pause of which its layer is less sure is not told alone: a recorded day has dozens (policy)."""
EXERTION_BPM = 131.0, 150.0
"""A rate from beats between these is not told alone, since beats do not know of exertion: from 150 on a rhythm is
likely to be the cause (Panchal 2020, AHA guidelines, adult tachycardia algorithm). Below the first only a limit that a
clinician set can have told it, and that counts."""
LAYER = {layer.name: i for i, layer in enumerate(LAYERS)}
CAP_NATS, HOLD_S, HALF_S = (np.array([getattr(one, n) for one in LAYERS]) for n in ("cap_nats", "hold_s", "half_s"))

HARD: dict[str, Tier] = {
    "sos": Tier.DISPATCH,
    "fall_still": Tier.DISPATCH,
    "asystole": Tier.DISPATCH,
    "ventricular_fibrillation": Tier.DISPATCH,
    "ventricular_tachycardia": Tier.RING,
    "pause": Tier.RING,
    "fall": Tier.RING,
    "spo2_low": Tier.RING,
    "heart_rate_high": Tier.RING,
    "heart_rate_low": Tier.RING,
    "news2_high": Tier.RING,
}
"""Signs that nothing learnt or set can silence (invariant 16)."""
HARD_FROM_NATS = {"pause": 5.0, "asystole": 5.0, "ventricular_fibrillation": 5.0}
"""A pause is hard where its layer is sure of it, as beats alone are not: in day-long recordings they show a score of
pauses a day, nearly all lost signal. An arrest is hard where its waveforms are rather true than not. Below it is
weighed (policy)."""
LEAST_NATS = {"asystole": 3.0, "ventricular_fibrillation": 3.0}
"""What an arrest weighs however doubtful: a question to the person (policy)."""
HARD_AS_FINDING = frozenset(HARD) - {"heart_rate_high", "heart_rate_low"}
"""The two rates are hard only at their hard limits, which the first layer tells as an active hard condition."""
HARD_BIT = {code: 1 << i for i, code in enumerate(HARD)}
OTHER_BIT = 1 << 31

SIGNS = (
    "atrial_fibrillation", "bradycardia", "tachycardia", "fall_suspected", "heart_rate_drift_up",
    "heart_rate_drift_down", "breathing_drift_up", "spo2_drift_down", "temperature_drift_up", "pressure_drift_up",
    "pressure_drift_down", "activity_drift_down", "deterioration_likely", "person_silent", "blood_pressure_high",
    "blood_pressure_low", "pulse_high", "pulse_low", "news2_medium", *HARD,
)  # fmt: skip
"""Signs by name, so that a picture kept from earlier can be worded; others are worded by their layer."""
NAMES = {code_key(code): code for code in SIGNS}
_PAUSE, _TACHYCARDIA, _FIBRILLATION = (code_key(code) for code in ("pause", "tachycardia", "atrial_fibrillation"))
PRIORITY = {
    Tier.LINE: Priority.LOW,
    Tier.QUESTION: Priority.MEDIUM,
    Tier.RING: Priority.HIGH,
    Tier.DISPATCH: Priority.HIGH,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One sign of the picture. Times in seconds; value and usual None where the sign has none."""

    code: str
    layer: str
    nats: float
    value: float | None
    usual: float | None
    age_s: int
    duration_s: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about one person.

    Attributes
    ----------
    at_us : int
        When, microseconds UTC.
    level : Tier
        Severity of the open picture; only rises until `clear`.
    opened : bool
        It arose, rose or came back: tell people as `priority` says (LINE: only the page).
    ended : bool
        The evidence has fallen to 0.3 h. An incident stays until a person closes it.
    score, arm : float
        Evidence in nats, and what the tier of this score's next step up asks of this person.
    reasons : tuple[Reason, ...]
        The three strongest signs, strongest first.
    hard : tuple[str, ...]
        Hard signs that hold.
    """

    at_us: int
    level: Tier
    opened: bool
    ended: bool
    score: float
    arm: float
    reasons: tuple[Reason, ...]
    hard: tuple[str, ...] = ()

    @property
    def priority(self) -> Priority | None:
        return PRIORITY.get(self.level)

    @property
    def grave(self) -> bool:
        """Whether asking first must not delay help."""
        return self.level == Tier.DISPATCH


def condition(decision: Decision, now_us: int) -> AlarmCondition | None:
    """What dispatch is told of a decision that opened: its strongest sign with its figures, and the others' codes.

    Parameters
    ----------
    decision : Decision
    now_us : int
        Receipt, microseconds UTC.

    Returns
    -------
    AlarmCondition or None
        None where nothing opened. At LINE its priority is low: a line on the page, no incident.
    """
    priority = decision.priority
    if not decision.opened or priority is None:
        return None
    now = _EPOCH + timedelta(microseconds=now_us)
    signs = {reason.code: reason for reason in decision.reasons}
    code = decision.hard[0] if decision.hard else decision.reasons[0].code
    top = signs.get(code)
    params: dict[str, Param] = {"tier": decision.level.name.lower(), "score": decision.score}
    if top is not None:
        params |= {"value": top.value, "usual": top.usual, "age_s": top.age_s, "duration_s": top.duration_s}
    params["also"] = " ".join(other for other in (*decision.hard, *signs) if other != code)
    began = timedelta(microseconds=decision.at_us) - timedelta(seconds=top.duration_s if top else 0)
    return AlarmCondition(
        code=code,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=priority,
        grave=decision.grave,
        started_at=min(_EPOCH + began, now),
        detected_at=now,
        params=params,
    )


def weight(finding: Finding, layer: int) -> float:
    """Nats of a finding as its layer is believed; what is no number weighs nothing."""
    most = min(float(CAP_NATS[layer]), MOST_NATS.get(finding.code, np.inf), _most_alone(finding))
    least = LEAST_NATS.get(finding.code, 0.0)
    if finding.code == "pause" and _value(finding) >= ASYSTOLE_S:
        least = ALONE_NATS
    return float(np.clip(np.nan_to_num(finding.llr, nan=0.0, posinf=most, neginf=0.0), least, most))


def _most_alone(finding: Finding) -> float:
    """What keeps signs from beats below a line that recordings of healthy days are full of."""
    if finding.code == "pause" and finding.llr < BORNE_OUT_NATS:
        return ALONE_NATS
    if finding.code == "tachycardia" and EXERTION_BPM[0] <= _value(finding) < EXERTION_BPM[1]:
        return ALONE_NATS
    return np.inf


def _value(finding: Finding) -> float:
    value = finding.params.get("value")
    return float(value) if isinstance(value, (int, float)) else float("nan")


def independent(codes: npt.NDArray[np.uint32], told: Floats, left: Floats) -> Floats:
    """Evidence without what other signs of the same beats explain.

    A heart that fibrillates beats irregularly: one in five shows intervals of 2.5 s and more within a day, which say
    nothing of its prognosis (Stavnem 2022, Cardiology, 000520183). A doubtful pause is no second sign beside it. Of
    doubtful pauses and rates only the strongest counts: a recorded day has dozens (policy).

    Parameters
    ----------
    codes : uint32[n, k]
        `code_key` of each sign.
    told, left : float[n, k]
        Nats when it was told, and what is left of them.

    Returns
    -------
    float64[n, k]
        Nats that count.
    """
    doubtful = ((codes == _PAUSE) | (codes == _TACHYCARDIA)) & (told <= ALONE_NATS)
    if not doubtful.any():
        return left
    explained = np.where(codes == _FIBRILLATION, left, 0.0).max(axis=1, keepdims=True)
    counted = np.where(codes == _PAUSE, np.maximum(left - explained, 0.0), left)
    strongest = np.where(doubtful, counted, 0.0).argmax(axis=1)[:, None]
    others = np.arange(codes.shape[1]) != strongest
    found: Floats = np.where(doubtful, np.where(others, 0.0, counted), left)
    return found


def hard_bit(finding: Finding) -> int:
    """The bit of a hard sign that its layer stands by, else 0; doubt about the weight is no doubt about the sign."""
    if finding.ended or finding.code not in HARD_AS_FINDING:
        return 0
    doubted = finding.llr < HARD_FROM_NATS.get(finding.code, -np.inf)
    return 0 if doubted else HARD_BIT[finding.code]
