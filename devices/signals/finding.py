"""What a layer of detection found, before it is weighed with the others."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One sign that began, or ended.

    Attributes
    ----------
    layer : str
        "rhythm", "fall", "baseline", "warning", "absence", "home_vitals" ...
    code : str
        The sign: "atrial_fibrillation", "fall_suspected", "heart_rate_drift" ...
    onset_us, at_us : int
        When it began, as well as can be told, and when it was certain; microseconds UTC, corrected time.
    llr : float
        Log-likelihood ratio for "something is wrong" in nats, uncapped.
    ended : bool
        True where the sign is over.
    params : dict
        What a sentence needs: value, usual, duration_s, vital, probability ... (numbers or short codes).
    """

    layer: str
    code: str
    onset_us: int
    at_us: int
    llr: float
    ended: bool = False
    params: dict[str, float | int | str | bool | None] = field(default_factory=dict)
