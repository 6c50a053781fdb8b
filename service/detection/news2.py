"""NEWS2 over arrays, with what is missing said aloud."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PARAMETERS: tuple[str, ...] = (
    "respiratory_rate_bpm",
    "spo2_pct",
    "on_oxygen",
    "systolic_mmhg",
    "heart_rate_bpm",
    "consciousness",
    "temperature_c",
)
"""The seven parameters, in the order of the chart (Royal College of Physicians 2017)."""

# Upper edges of each step (inclusive) and the points of the steps: Royal College of Physicians,
# National Early Warning Score (NEWS) 2, 2017, chart 1. Temperature in tenths of a degree.
_RESPIRATORY = (np.array([8.0, 11, 20, 24]), np.array([3, 1, 0, 2, 3], dtype=np.float64))
_SPO2_SCALE_1 = (np.array([91.0, 93, 95]), np.array([3, 2, 1, 0], dtype=np.float64))
_SPO2_SCALE_2_AIR = (np.array([83.0, 85, 87]), np.array([3, 2, 1, 0], dtype=np.float64))
_SPO2_SCALE_2_OXYGEN = (np.array([83.0, 85, 87, 92, 94, 96]), np.array([3, 2, 1, 0, 1, 2, 3], dtype=np.float64))
_SYSTOLIC = (np.array([90.0, 100, 110, 219]), np.array([3, 2, 1, 0, 3], dtype=np.float64))
_PULSE = (np.array([40.0, 50, 90, 110, 130]), np.array([3, 1, 0, 1, 2, 3], dtype=np.float64))
_TEMPERATURE_TENTHS = (np.array([350.0, 360, 380, 390]), np.array([3, 1, 0, 1, 2], dtype=np.float64))
OXYGEN_POINTS = 2.0
"""Any supplemental oxygen (RCP 2017, chart 1)."""
NOT_ALERT_POINTS = 3.0
"""New confusion, voice, pain or unresponsive (RCP 2017, chart 1)."""
MEDIUM_TOTAL = 5
HIGH_TOTAL = 7
"""Thresholds of the urgent and the emergency response (RCP 2017, chart 2)."""


class Band(StrEnum):
    """The clinical response that a total asks for (RCP 2017, charts 2 and 4)."""

    ROUTINE = "routine"
    LOW = "low"
    LOW_MEDIUM = "low-medium"
    MEDIUM = "medium"
    HIGH = "high"


BANDS: tuple[Band, ...] = tuple(Band)


@dataclass(frozen=True, slots=True)
class News2:
    """NEWS2 of n rows.

    Attributes
    ----------
    points : float64[n, 7]
        Points of each of `PARAMETERS`; NaN where the parameter is missing: missing never scores 0.
    total_known : int64[n]
        Sum over the known parameters: "at least".
    known : int64[n]
        How many of the seven are known.
    single_parameter_3 : bool[n]
        Whether one parameter alone scores 3.
    band : int64[n]
        Index into `BANDS`, from the known parameters only.
    """

    points: Floats
    total_known: Ints
    known: Ints
    single_parameter_3: Bools
    band: Ints

    def missing(self, row: int) -> tuple[str, ...]:
        """Names of the parameters that row lacks."""
        return tuple(name for name, points in zip(PARAMETERS, self.points[row], strict=True) if np.isnan(points))

    def worst(self, row: int) -> str | None:
        """Name of the parameter with the most points, None where none scores."""
        points = np.nan_to_num(self.points[row], nan=0.0)
        return PARAMETERS[int(points.argmax())] if points.max() > 0 else None


def _whole(values: Floats) -> Floats:
    return np.floor(values + 0.5)


def _look_up(table: tuple[Floats, Floats], values: Floats) -> Floats:
    edges, points = table
    return np.where(np.isnan(values), np.nan, points[np.searchsorted(edges, values)])


def _spo2_points(spo2: Floats, scale_2: Bools, on_oxygen: Floats) -> Floats:
    points = _look_up(_SPO2_SCALE_1, spo2)
    if scale_2.any():
        # Oxygen unknown scores as air: the total says "at least".
        on_2 = np.where(on_oxygen > 0, _look_up(_SPO2_SCALE_2_OXYGEN, spo2), _look_up(_SPO2_SCALE_2_AIR, spo2))
        points = np.where(scale_2, on_2, points)
    return points


def score(
    respiratory_rate_bpm: Floats,
    spo2_pct: Floats,
    scale_2: Bools,
    on_oxygen: Floats,
    systolic_mmhg: Floats,
    heart_rate_bpm: Floats,
    not_alert: Floats,
    temperature_c: Floats,
) -> News2:
    """Score rows by NEWS2.

    Parameters
    ----------
    respiratory_rate_bpm, spo2_pct, systolic_mmhg, heart_rate_bpm : float64[n]
        Rounded to whole numbers first; NaN is missing.
    scale_2 : bool[n]
        Hypercapnic respiratory failure, only on a clinician's direction.
    on_oxygen, not_alert : float64[n]
        1 yes, 0 no, NaN unknown; `not_alert` is 1 for any of C, V, P, U.
    temperature_c : float64[n]
        Rounded to 0.1 degree first; NaN is missing.

    Returns
    -------
    News2

    Notes
    -----
    Royal College of Physicians, National Early Warning Score (NEWS) 2, London 2017.
    """
    tenths = np.floor(np.asarray(temperature_c) * 10 + 0.5 + 1e-6)
    points = np.stack(
        [
            _look_up(_RESPIRATORY, _whole(respiratory_rate_bpm)),
            _spo2_points(_whole(spo2_pct), scale_2, on_oxygen),
            on_oxygen * OXYGEN_POINTS,
            _look_up(_SYSTOLIC, _whole(systolic_mmhg)),
            _look_up(_PULSE, _whole(heart_rate_bpm)),
            not_alert * NOT_ALERT_POINTS,
            _look_up(_TEMPERATURE_TENTHS, tenths),
        ],
        axis=1,
    )
    missing = np.isnan(points)
    total = np.where(missing, 0.0, points).sum(axis=1).astype(np.int64)
    single = (points == 3).any(axis=1)
    band = np.searchsorted(np.array([1, MEDIUM_TOTAL, HIGH_TOTAL]), total, side="right")
    band = np.array([0, 1, 3, 4])[band] + ((band == 1) & single)
    return News2(points, total, 7 - missing.sum(axis=1), single, band.astype(np.int64))
