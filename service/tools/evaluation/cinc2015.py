"""Truth of arrhythmia alarms: PhysioNet/CinC Challenge 2015, real-time variant (nothing after the alarm is read)."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from devices.models import load
from devices.signals.alarm_truth import MODEL, Alarm, alarm_features, weigh
from devices.signals.beats import Kind
from service.tools.evaluation.common import (
    Curve,
    Floats,
    Outcome,
    Row,
    Say,
    auroc,
    file_hash,
    folds,
    share_interval,
)

NAMES = ("cinc2015",)
MODELS = (MODEL,)
FOLDER = "cinc2015"
FOLDS = 10
Flags = npt.NDArray[np.bool_]

TYPES = {
    "Asystole": Alarm.ASYSTOLE,
    "Bradycardia": Alarm.BRADYCARDIA,
    "Tachycardia": Alarm.TACHYCARDIA,
    "Ventricular_Tachycardia": Alarm.VENTRICULAR_TACHYCARDIA,
    "Ventricular_Flutter_Fib": Alarm.VENTRICULAR_FIBRILLATION,
}
RATES = (Alarm.ASYSTOLE, Alarm.BRADYCARDIA, Alarm.TACHYCARDIA)
WITNESS = {"PLETH": Kind.PPG, "PPG": Kind.PPG, "ABP": Kind.PRESSURE, "ART": Kind.PRESSURE, "RESP": None}
WINDOWS = ("period", "lag", "usual", "narrow", "narrow_change", "size", "noise", "slow", "score")
VENTRICULAR = (
    *(f"vt_{key}_both" for key in WINDOWS),
    *("vt_slow_best", "vt_narrow_best", "gap_any", "pulse0_drop", "ecg1_quality"),
)
DEFINED: dict[Alarm, dict[str, tuple[float, float, float]]] = {
    # feature: centre, scale, expected weight. Centres are the definitions of the Challenge 2015 (4 s, 40 and 140 a
    # minute) with a margin; scales (a third in time, a seventh in rate) and weights are policy.
    Alarm.ASYSTOLE: {"gap_any": (math.log(2.5), 0.35, 1.0), "gap_pulse": (math.log(2.5), 0.35, 1.0),
                     "gap_ecg": (math.log(2.5), 0.35, 0.5)},
    Alarm.BRADYCARDIA: {"low_matched": (math.log(46 / 40), 0.15, -2.0)},
    Alarm.TACHYCARDIA: {"high_any": (-math.log(115 / 140), 0.15, -1.0), "high_ecg": (-math.log(115 / 140), 0.15, -1.0),
                        "ecg0_quality": (0.6, 0.2, 0.5)},
}  # fmt: skip
RIDGE = {"defined": 2.0, "ventricular": 3.0}
MISSED_COSTS = 5.0
"""Weight of a missed true alarm in the score of the Challenge 2015."""
THRESHOLD = {True: 0.10, False: 0.18}
"""Rate alarms (none may be lost: policy) and ventricular ones: with a score near 0.9 a missed one costs 1 + 4 * 0.9
times a false one, so that 1 / (1 + 4.6) is the best threshold for a calibrated probability."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """Every alarm of a folder: record names, types, truth, features by name (n,)."""

    records: list[str]
    kinds: npt.NDArray[np.object_]
    true: Flags
    features: Mapping[str, Floats]

    def table(self, names: tuple[str, ...]) -> Floats:
        return np.column_stack([self.column(name) for name in names])

    def column(self, name: str) -> Floats:
        return self.features.get(name, np.full(len(self.records), np.nan))


def missing(data: Path) -> str | None:
    """The file this needs and does not find."""
    path = data / FOLDER / "ALARMS.csv"
    return None if path.is_file() else str(path)


def channels_of(path: Path) -> tuple[list[tuple[Floats, Kind]], float]:
    """ECG leads, photoplethysmogram and pressure of one record, NaN where missing, and the sampling rate."""
    with np.load(path) as record:
        signal, names = record["sig"], [str(n) for n in record["names"]]
        rate = float(record["fs"])
        gain = np.abs(np.asarray(record["adc_gain"], dtype=np.float64))
        base = np.asarray(record["baseline"], dtype=np.float64) if "baseline" in record else np.zeros(len(names))
    values = np.where(signal == -32_768, np.nan, (signal - base) / np.where(gain > 0, gain, 1))
    kinds = [WITNESS.get(name.upper(), Kind.ECG) for name in names]
    return [(values[:, k], kind) for k, kind in enumerate(kinds) if kind is not None], rate


def read(data: Path, say: Say) -> Alarms:
    """All alarms that have their recording, with features."""
    with (data / FOLDER / "ALARMS.csv").open(newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if r["alarm"] in TYPES]
    rows = sorted((r for r in rows if (data / FOLDER / f"{r['record']}.npz").is_file()), key=lambda r: r["record"])
    found = []
    for i, row in enumerate(rows):
        if i % 50 == 0:
            say(f"cinc2015: {i} of {len(rows)} alarms")
        found.append(alarm_features(*channels_of(data / FOLDER / f"{row['record']}.npz")))
    names = sorted({k for f in found for k in f})
    table = {k: np.array([f.get(k, math.nan) for f in found], dtype=np.float64) for k in names}
    kinds = np.array([TYPES[r["alarm"]] for r in rows], dtype=object)
    true = np.array([r["true_alarm"].strip().lower() in ("1", "true") for r in rows], dtype=bool)
    return Alarms([r["record"] for r in rows], kinds, true, table)


# ---- fitting ----


def logistic(x: Floats, y: Flags, ridge: float, expected: Floats) -> tuple[Floats, float]:
    """Weights (k,) and bias that fit `y` (m,) by standardised `x` (m, k), drawn towards the `expected` weights."""

    def loss(t: Floats) -> tuple[float, Floats]:
        u = x @ t[:-1] + t[-1]
        error = 1 / (1 + np.exp(-u)) - y
        away = t[:-1] - expected
        value = float(np.sum(np.logaddexp(0, u) - y * u)) + 0.5 * ridge * float(away @ away) + 0.02 * t[-1] ** 2
        return value, np.append(x.T @ error + ridge * away, error.sum() + 0.04 * t[-1])

    found = minimize(loss, np.append(expected, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x[:-1]), float(found.x[-1])


def fit_terms(alarms: Alarms, train: Flags, kind: Alarm) -> dict[str, Any]:
    """Terms of one type by the alarms `train` (n,); the two ventricular types share theirs but for the bias."""
    defined = DEFINED.get(kind)
    names = tuple(defined) if defined else VENTRICULAR
    same = alarms.kinds == kind if defined else ~np.isin(alarms.kinds, RATES)
    rows = train & same
    x, y = alarms.table(names)[rows], alarms.true[rows]
    if defined:
        centre, scale, expected = (np.array([v[i] for v in defined.values()]) for i in range(3))
    else:
        centre, scale = _spread(x)
        expected = np.zeros(len(names))
    z = np.clip(np.nan_to_num((x - centre) / scale), -3, 3)
    ridge = RIDGE["defined" if defined else "ventricular"]
    if not defined:
        z = np.column_stack([z, alarms.kinds[rows] == Alarm.VENTRICULAR_FIBRILLATION])
        expected = np.append(expected, 0.0)
    weights, bias = logistic(z, y, ridge, expected) if len(y) else (expected, 0.0)
    if not defined:
        bias += float(weights[-1]) if kind is Alarm.VENTRICULAR_FIBRILLATION else 0.0
        weights = weights[:-1]
    return {
        "features": list(names), "centre": _short(centre), "scale": _short(scale), "weights": _short(weights),
        "bias": float(f"{bias:.6g}"), "threshold": THRESHOLD[kind in RATES],
    }  # fmt: skip


def _spread(x: Floats) -> tuple[Floats, Floats]:
    """Median and a robust scale of each column; 0 and 1 where there is none."""
    with np.errstate(all="ignore"):
        filled = np.where(np.isnan(x).all(axis=0), 0, x) if len(x) else np.zeros((1, x.shape[1]))
        low, centre, high = np.nanpercentile(filled, (15, 50, 85), axis=0)
    return centre, np.maximum((high - low) / 2.07, 1e-2)


def _short(values: Floats) -> list[float]:
    return [float(f"{v:.5g}") for v in values]


def nested(alarms: Alarms) -> tuple[Floats, Flags]:
    """Probability and verdict (n,) of each alarm by models that never saw its record."""
    probability, verdict = np.full(len(alarms.records), np.nan), np.zeros(len(alarms.records), bool)
    for train, test in folds(alarms.records, FOLDS):
        for kind in Alarm:
            _apply(alarms, test & (alarms.kinds == kind), fit_terms(alarms, train, kind), probability, verdict)
    return probability, verdict


def frozen(alarms: Alarms, parameters: Mapping[str, Any]) -> tuple[Floats, Flags]:
    """Probability and verdict (n,) by the shipped model."""
    probability, verdict = np.full(len(alarms.records), np.nan), np.zeros(len(alarms.records), bool)
    for kind in Alarm:
        _apply(alarms, alarms.kinds == kind, parameters[kind.value], probability, verdict)
    return probability, verdict


def _apply(alarms: Alarms, rows: Flags, terms: Mapping[str, Any], probability: Floats, verdict: Flags) -> None:
    if rows.any():
        probability[rows] = weigh(terms, alarms.table(tuple(terms["features"]))[rows])
        silent = ~(alarms.column("quality_max")[rows] > 0)
        verdict[rows] = (probability[rows] >= float(terms["threshold"])) | silent


def score(verdict: Flags, true: Flags) -> float:
    """Score of the Challenge 2015: 100 (TP + TN) / (TP + TN + FP + 5 FN)."""
    lost = int((true & ~verdict).sum())
    return 100 * float((verdict == true).sum()) / (len(true) + (MISSED_COSTS - 1) * lost) if len(true) else math.nan


# ---- evaluation ----


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Challenge score, alarms kept and removed by type, operating curves."""
    alarms = read(data, say)
    probability, verdict = nested(alarms) if mode == "nested" else frozen(alarms, load(MODEL).parameters)
    out = Outcome()
    out.rows += _score_rows(alarms, verdict, mode, "ansim")
    groups: list[tuple[str, Flags]] = [(k.value, alarms.kinds == k) for k in Alarm]
    groups.insert(0, ("rate_alarms_pooled", np.isin(alarms.kinds, RATES)))
    for name, rows in groups:
        out.rows += _kept_rows(name, rows, alarms, probability, verdict, mode)
        out.curves += _curves(name, alarms.true[rows], probability[rows], verdict[rows])
    out.rows += _calibration_rows(alarms, probability, mode)
    if peers:
        for name, rule in PEERS.items():
            out.rows += _score_rows(alarms, rule(alarms), mode, name)
    return out


def _score_rows(alarms: Alarms, verdict: Flags, mode: str, detector: str) -> list[Row]:
    true = alarms.true
    rng = np.random.default_rng(7)
    draws = [rng.integers(0, len(true), len(true)) for _ in range(400)] if len(true) else []
    drawn = [score(verdict[d], true[d]) for d in draws]
    low, high = (float(x) for x in np.percentile(drawn, (2.5, 97.5))) if drawn else (None, None)
    value = round(score(verdict, true), 2) if len(true) else None
    lost, false = int((true & ~verdict).sum()), int((~true & verdict).sum())
    note = f"{int(true.sum())} true, {lost} of them lost; {int((~true).sum())} false, {false} of them kept; bootstrap"
    return [
        Row("cinc2015", "challenge_score", detector, value, low, high, int(true.sum()),
            len(true), None, mode, ">= 87" if detector == "ansim" else None, note)
    ]  # fmt: skip


def _kept_rows(name: str, rows: Flags, alarms: Alarms, probability: Floats, verdict: Flags, mode: str) -> list[Row]:
    """Share of true alarms kept and of false ones removed, exact intervals; AUROC."""
    true, kept = alarms.true[rows], verdict[rows]
    pooled = name == "rate_alarms_pooled"
    out = []
    for measure, of, hit, goal in (
        ("true_alarms_kept", true, kept, ">= 1"),
        ("false_alarms_removed", ~true, ~kept, ">= 0.6"),
    ):
        n, k = int(of.sum()), int((of & hit).sum())
        low, high = share_interval(k, n) if n else (None, None)
        out.append(
            Row("cinc2015", f"{measure}.{name}", "ansim", k / n if n else None, low, high, int(true.sum()),
                int(rows.sum()), None, mode, goal if pooled else None, f"{k} of {n}")
        )  # fmt: skip
    if not pooled and 0 < true.sum() < len(true):
        out.append(Row("cinc2015", f"auroc.{name}", "ansim", auroc(probability[rows], true), None, None,
                       int(true.sum()), int(rows.sum()), None, mode))  # fmt: skip
    return out


def _calibration_rows(alarms: Alarms, probability: Floats, mode: str) -> list[Row]:
    return [
        Row("cinc2015", f"calibration.{b['bin']}", "ansim", b["observed"], *share_interval(b["true"], b["n"]),
            b["true"], b["n"], None, mode, None, f"predicted {b['predicted']}")
        for b in calibration(alarms.true, probability)
    ]  # fmt: skip


def calibration(true: Flags, probability: Floats) -> list[dict[str, Any]]:
    """Predicted and observed share of true alarms in five bins of probability."""
    edges = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0001)
    out = []
    for low, high in pairwise(edges):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            out.append({
                "bin": f"{low:g}-{min(high, 1):g}", "predicted": round(float(probability[inside].mean()), 3),
                "observed": round(float(true[inside].mean()), 3), "n": int(inside.sum()),
                "true": int(true[inside].sum()),
            })  # fmt: skip
    return out


def _curves(name: str, true: Flags, probability: Floats, verdict: Flags) -> list[Curve]:
    if not true.any() or true.all():
        return []
    cuts = np.unique(np.concatenate((np.nan_to_num(probability), [1.1])))
    x = [float((probability[~true] < c).mean()) for c in cuts]
    y = [float((probability[true] >= c).mean()) for c in cuts]
    mark = (float((~verdict[~true]).mean()), float(verdict[true].mean()))
    return [Curve("cinc2015", f"{name}: operating curve", "false alarms removed", "true alarms kept", x, y, mark=mark)]


def _limits(alarms: Alarms) -> Flags:
    """Fixed limits at the definitions, on the best channel: keep where the better lead shows the event."""
    by = {
        Alarm.ASYSTOLE: alarms.column("ecg0_gap") >= 4,
        Alarm.BRADYCARDIA: alarms.column("ecg0_low") < 40,
        Alarm.TACHYCARDIA: alarms.column("ecg0_high") > 140,
    }
    verdict = np.ones(len(alarms.records), bool)
    for kind, shows in by.items():
        verdict = np.where(alarms.kinds == kind, shows, verdict)
    return verdict


PEERS: dict[str, Callable[[Alarms], Flags]] = {
    "monitor (every alarm kept)": lambda alarms: np.ones(len(alarms.records), bool),
    "fixed limits": _limits,
}


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """The shipped model, by all alarms of the folder, with its nested figures on the card."""
    alarms = read(data, say)
    probability, verdict = nested(alarms)
    every = np.ones(len(alarms.records), bool)
    parameters = {kind.value: fit_terms(alarms, every, kind) for kind in Alarm}
    used = sorted({name for terms in parameters.values() for name in terms["features"]})
    lost = {k.value: int((alarms.true & ~verdict & (alarms.kinds == k)).sum()) for k in Alarm}
    kept = {k.value: int((~alarms.true & verdict & (alarms.kinds == k)).sum()) for k in Alarm}
    card = {
        "purpose": "Probability that an arrhythmia alarm is true, from the waveforms that end with it.",
        "sets": [{
            "name": "PhysioNet/CinC Challenge 2015 training set (part)", "file": f"{FOLDER}/ALARMS.csv",
            "sha256": file_hash(data / FOLDER / "ALARMS.csv"), "subjects": len(alarms.records),
            "licence": "PhysioNet open access, attribution (Clifford 2015)",
        }],
        "subjects": alarms.records, "features": used, "calibration": calibration(alarms.true, probability),
        "figures": {"challenge_score_nested": round(score(verdict, alarms.true), 2), "true_lost": lost,
                    "false_kept": kept, "folds": FOLDS},
        "limits": "Intensive care only; records of one patient may lie in both folds; two true fibrillations, three "
        "false tachycardias. Never used to hold back asystole or ventricular fibrillation.",
        "made_by": "ansim fit cinc2015",
    }  # fmt: skip
    return {MODEL: {"parameters": parameters, "card": card}}
