"""The inputs and the curves of the early-warning score: what is remembered of each vital, and what it adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import load
from service.detection.state import EVIDENCE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[Any]

CHANNELS = (*EVIDENCE, "consciousness")
"""What the score sees; consciousness on the scale of the Glasgow coma score."""
COMA_SCORE = {"A": 15.0, "C": 14.0, "V": 13.0, "P": 8.0, "U": 6.0}
"""Coma score for each letter of ACVPU: medians of McNarry & Goldhill, Anaesthesia 2004;59:34 (C is policy)."""
HOUR_S = 3600
LOW = np.array([15.0, 50, 3, 30, 45, 3])
HIGH = np.array([300.0, 100, 70, 43, 300, 15])
"""Outside these a value says nothing about a living person's state and is not scored (policy): a zero is a
technical matter, judged by the quality gate."""

SHARE_H = 96.0
"""Memory of the time spent in each band, of mean and spread, hours (policy, as all constants below)."""
FRESH_H = 24.0
"""A last value weighs 1/e after so many hours."""
ENOUGH_H = 3.0
"""What is known from so many hours weighs half."""

VALUE_KNOTS = (
    (40.0, 50, 60, 70, 80, 90, 100, 110, 120, 135),
    (80.0, 88, 91, 93, 95, 97, 99),
    (8.0, 12, 16, 20, 24, 28, 34),
    (34.0, 35, 36, 36.5, 37, 37.5, 38, 39, 40),
    (70.0, 80, 90, 100, 110, 120, 135, 150, 175),
    (3.0, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15),
)
SPREAD_KNOTS = (
    (0.0, 3, 6, 10, 15, 22),
    (0.0, 0.5, 1, 2, 4),
    (0.0, 1, 2, 3.5, 5, 8),
    (0.0, 0.15, 0.3, 0.5, 0.8, 1.2),
    (0.0, 4, 8, 12, 18, 26),
    (0.0, 0.5, 1, 2, 3, 4),
)
AGE_KNOTS = (0.0, 0.7, 1.1, 1.6, 2.2, 3.0, 3.8)
"""Natural logarithm of 1 + hours."""
BAND_KNOTS = (
    (50.0, 70, 90, 110, 130),
    (88.0, 92, 95, 98),
    (10.0, 15, 20, 25, 32),
    (35.0, 36, 37, 38, 39),
    (80.0, 95, 110, 130, 160),
    (3.0, 6, 8, 10, 12, 14, 15),
)
PERSON_KNOTS = ((20.0, 40, 50, 60, 70, 80, 90), (0.0, 1.0))
"""Age in years; sex, 0 female and 1 male."""
N = len(CHANNELS)
VITALS = len(EVIDENCE)
_PAD = 1e9


def _table(rows: tuple[tuple[float, ...], ...]) -> Floats:
    most = max(len(r) for r in rows)
    return np.array([[*r, *(_PAD * (1 + np.arange(most - len(r))))] for r in rows])


CURVES = _table(VALUE_KNOTS + SPREAD_KNOTS + (AGE_KNOTS,) * N)
"""Knots of the curves: value, spread and age of value of each channel, padded to one length."""
SIZES = np.array([len(k) for k in VALUE_KNOTS + SPREAD_KNOTS + (AGE_KNOTS,) * N])
PERSON = _table(PERSON_KNOTS)
BANDS = _table(BAND_KNOTS)
_IN_BAND = BANDS < _PAD
_BAND_START = np.concatenate([[0], np.cumsum(_IN_BAND.sum(axis=1))[:-1]])
BAND_OF = np.repeat(np.arange(N), _IN_BAND.sum(axis=1))

STATE = np.dtype(
    [
        ("hour", "<i4"),
        ("sum", "<i4", N),
        ("count", "<i4", N),
        ("last_t", "<u4", N),
        ("last_v", "<f4", N),
        ("seen", "<i4", N),
        ("mean", "<f4", N),
        ("var", "<f4", N),
        ("share", "<f4", int(_IN_BAND.sum())),
        ("own_n", "<f4", VITALS),
        ("own_mean", "<f4", VITALS),
        ("own_var", "<f4", VITALS),
        ("since", "<i4"),
        ("high_hour", "<i4"),
        ("held", "<i1"),
        ("streak", "<i1"),
    ]
)
"""Hours since 1970 of the open hour, tenths summed and counted in it; latest reading and its hour's mean; slow mean
and variance and decayed hours in each band as of the hour `seen`; the person's own usual terms; the latch."""


def blank(patients: int = 1) -> Records:
    """States of people never seen."""
    state = np.zeros(patients, dtype=STATE)
    for name in ("last_v", "mean"):
        state[name] = np.nan
    return state


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One fitted model: what each curve adds at each knot, in log-odds."""

    intercept: float
    curves: Floats
    """float64[3 x channels, most knots]."""
    never: Floats
    """float64[channels]: a vital never measured."""
    bands: Floats
    """float64[bands]: two days wholly in one band."""
    person: Floats
    """float64[2, knots]: age and sex."""
    unknown: Floats
    """float64[2]: age or sex not known."""
    usual: Floats
    """float64[channels + 2]: mean of each term over those it was fitted on."""

    @staticmethod
    def of(flat: Floats, usual: Floats) -> Coefficients:
        """Read coefficients in the order of the columns of `design`."""
        curves = np.zeros(CURVES.shape)
        ends = np.cumsum([1, SIZES.sum(), N, BAND_OF.size, *(len(k) for k in PERSON_KNOTS), 2])
        parts = np.split(flat, ends[:-1])
        curves[CURVES < _PAD] = parts[1]
        person = np.zeros(PERSON.shape)
        person[PERSON < _PAD] = np.concatenate(parts[4:6])
        return Coefficients(float(flat[0]), curves, parts[2], parts[3], person, parts[6], usual)


@cache
def shipped(kind: str) -> Coefficients:
    """The shipped model: "vitals" (consciousness not known) or "conscious"."""
    model = load("early_warning")
    return Coefficients.of(model.array(kind), model.array(kind + "_usual"))


def _place(x: Floats, knots: Floats) -> tuple[Ints, Floats]:
    """Knot below each value and the way to the next; NaN lies at the first."""
    most = (knots < _PAD).sum(axis=1) - 1
    rows = np.arange(knots.shape[0])
    x = np.clip(np.where(np.isnan(x), knots[:, 0], x), knots[:, 0], knots[rows, most])
    i = np.minimum((x[..., None] >= knots).sum(axis=-1) - 1, most - 1)
    low, high = knots[rows, i], knots[rows, i + 1]
    return i, (x - low) / (high - low)


@dataclass(slots=True)
class Features:
    """Inputs of n people at a moment."""

    at: Ints
    way: Floats
    """[n, 3 x channels]: place on the curves."""
    weight: Floats
    """float64[n, 3 x channels]: how much each curve counts: freshness, knowledge, 1 if ever seen."""
    seen: Bools
    bands: Floats
    person_at: Ints
    person_way: Floats
    person_known: Bools
    age_s: Floats
    """float64[n, channels]: age of each value; inf if never seen."""


def features(records: Records, now_s: npt.ArrayLike, age: npt.ArrayLike, sex: npt.ArrayLike) -> Features:
    """What the score sees, from closed hours alone."""
    now = np.asarray(now_s, dtype=np.float64).reshape(-1, 1)
    seen = records["seen"] > 0
    age_s = np.where(seen, np.maximum(now - records["last_t"], 0), np.inf)
    share = records["share"] * np.exp(-np.maximum(now // HOUR_S - 1 - records["seen"], 0) / SHARE_H)[:, BAND_OF]
    known = np.add.reduceat(share, _BAND_START, axis=1)
    spread, old = np.sqrt(records["var"]), np.log1p(np.where(seen, age_s, 0) / HOUR_S)
    x = np.concatenate([records["last_v"], spread, old], axis=1)
    at, way = _place(x.astype(np.float64), CURVES)
    weight = np.concatenate([np.exp(-age_s / (FRESH_H * HOUR_S)), known / (known + ENOUGH_H), seen], axis=1)
    person = np.broadcast_arrays(np.asarray(age, np.float64), np.asarray(sex, np.float64), records["hour"])[:2]
    table = np.stack(person, axis=1)
    person_at, person_way = _place(table, PERSON)
    bands = share / (known + ENOUGH_H)[:, BAND_OF]
    return Features(at, way, weight, seen, bands, person_at, person_way, ~np.isnan(table), age_s)


def terms(found: Features, model: Coefficients) -> Floats:
    """What each channel, age and sex add, in log-odds: float64[n, channels + 2]."""
    curve = np.arange(CURVES.shape[0])
    low, high = model.curves[curve, found.at], model.curves[curve, found.at + 1]
    parts = (found.weight * (low + (high - low) * found.way)).reshape(-1, 3, N)
    vitals = parts[:, 0] + parts[:, 1] + parts[:, 2] + np.where(found.seen, 0.0, model.never)
    vitals += np.add.reduceat(found.bands * model.bands, _BAND_START, axis=1)
    rows = np.arange(2)
    low, high = model.person[rows, found.person_at], model.person[rows, found.person_at + 1]
    person = np.where(found.person_known, low + (high - low) * found.person_way, model.unknown)
    return np.concatenate([vitals, person], axis=1)


def design(found: Features) -> Floats:
    """The same as columns for fitting: intercept, curves, never, bands, age, sex, unknown; float64[n, columns]."""
    n = found.at.shape[0]
    rows = np.arange(n)[:, None]
    curves = np.zeros((n, *CURVES.shape))
    curve = np.arange(CURVES.shape[0])
    curves[rows, curve, found.at] = found.weight * (1 - found.way)
    curves[rows, curve, found.at + 1] = found.weight * found.way
    person = np.zeros((n, *PERSON.shape))
    person[rows, np.arange(2), found.person_at] = found.person_known * (1 - found.person_way)
    person[rows, np.arange(2), found.person_at + 1] = found.person_known * found.person_way
    blocks = [np.ones((n, 1)), curves[:, CURVES < _PAD], ~found.seen, found.bands]
    return np.concatenate([*blocks, person[:, PERSON < _PAD], ~found.person_known], axis=1)


def fold(records: Records) -> None:
    """Close the open hour of each record: its means join what is remembered. In place."""
    filled = records["count"] > 0
    x = records["sum"] / np.maximum(records["count"], 1) / 10
    gap = np.maximum(records["hour"][:, None] - records["seen"], 0)
    kept = np.where(records["seen"] > 0, np.exp(-gap / SHARE_H), 0.0)
    share = records["share"] * kept[:, BAND_OF]
    known = np.add.reduceat(share, _BAND_START, axis=1)
    old = np.where(known > 0, records["mean"], x)
    new = old + (x - old) / (known + 1)
    var = (known * records["var"] + (x - old) * (x - new)) / (known + 1)
    at, way = _place(x, BANDS)
    rows, columns = np.nonzero(filled)
    first = _BAND_START[columns] + at[rows, columns]
    share[rows, first] += 1 - way[rows, columns]
    share[rows, first + 1] += way[rows, columns]
    records["share"] = np.where(filled[:, BAND_OF], share, records["share"])
    for name, value in (("mean", new), ("var", var), ("last_v", x), ("seen", records["hour"][:, None])):
        records[name] = np.where(filled, value, records[name])
    records["sum"] = records["count"] = 0
