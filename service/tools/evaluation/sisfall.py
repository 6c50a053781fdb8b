"""Falls at the waist (SisFall: 23 adults, 15 elders; ADXL345 at 200 Hz): staged falls against scripted daily life.

A fall counts as found when an impact within its labelled stretch (0.5 s before to 1 s after) is flagged; a trial of
daily life counts as flagged when any of its impacts is. Trials of daily life that carry fall samples are left out of
both, and counted in a row of their own. Besides the falls themselves the model is taught weaker and slower ones made
from them, since almost only young people fall here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from devices.models import load
from devices.signals import waist_falls
from devices.signals.impacts import RATE_HZ, Floats, impacts, magnitude, posture_change_deg, smoothed, to_g
from service.tools.evaluation.common import Curve, Outcome, Row, Say, auroc, file_hash, folds, rate_interval
from service.tools.evaluation.common import share_interval as share

NAMES = ("sisfall",)
MODELS = (waist_falls.MODEL,)
SET = "sisfall"
COUNTS, RECORDED_HZ = 256.0, 200.0
FOLDS = 8
RIDGE, MADE_WEIGHT = 3e-4, 0.35
ELDER_WEIGHT = 4.0
"""An elder's impact of daily life counts as so many of an adult's: elders are whom this is for, and the fewer here."""
MADE = ((0.7, 1.25), (0.8, 1.0))
"""Falls made from the recorded ones: dynamics times the first, time stretched by the second."""
KEPT_FALLS = 0.995
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials and the impacts in them; `made` are impacts of falls made slower and weaker."""

    names: list[str]
    subject: list[str]
    fall: Bools
    mixed: Bools
    """Daily life with fall samples."""
    hours: Floats
    rule: dict[str, Bools]
    """Flags of the peers."""
    rows: Floats
    trial: Ints
    hit: Bools
    """Impacts within a labelled fall."""
    teach: Bools
    made_rows: Floats
    made_trial: Ints

    def elder(self) -> Bools:
        return np.array([s.startswith("SE") for s in self.subject])

    def most(self, score: Floats) -> Floats:
        """Highest score of each trial; of a fall only the impacts within its label count."""
        best = np.full(len(self.names), -99.0)
        count = ~self.fall[self.trial] | self.hit
        np.maximum.at(best, self.trial[count], score[count])
        return best


def missing(data: Path) -> str | None:
    return None if _files(data) else "sisfall*.npz"


def _files(data: Path) -> list[Path]:
    return sorted(data.glob("sisfall*.npz"))


@dataclass(frozen=True, slots=True)
class _Trial:
    name: str
    fall: bool
    mixed: bool
    hours: float
    rule: dict[str, bool]
    rows: Floats
    hit: Bools
    teach: Bools
    made: Floats


def read(data: Path, say: Say) -> Trials:
    """All trials of ``sisfall*.npz`` and the features of their impacts."""
    trials: list[_Trial] = []
    for file in _files(data):
        with np.load(file) as held:
            for key in sorted(k for k in held.files if not k.endswith("_lab") and k.count("_") == 2):
                trials.append(_trial(key, held[key], held[key + "_lab"] if key + "_lab" in held.files else None))
                if len(trials) % 500 == 0:
                    say(f"sisfall: {len(trials)} trials read")
    empty = np.empty((0, len(waist_falls.NAMES)))
    none = np.empty(0, np.bool_)
    number = np.arange(len(trials))
    return Trials(
        [t.name for t in trials],
        [t.name.split("_")[1] for t in trials],
        np.array([t.fall for t in trials], np.bool_),
        np.array([t.mixed for t in trials], np.bool_),
        np.array([t.hours for t in trials]),
        {key: np.array([t.rule[key] for t in trials], np.bool_) for key in PEERS},
        np.concatenate([empty, *[t.rows for t in trials]]),
        np.repeat(number, [len(t.rows) for t in trials]),
        np.concatenate([none, *[t.hit for t in trials]]),
        np.concatenate([none, *[t.teach for t in trials]]),
        np.concatenate([empty, *[t.made for t in trials]]),
        np.repeat(number, [len(t.made) for t in trials]),
    )


def _trial(key: str, samples: npt.NDArray[Any], label: npt.NDArray[Any] | None) -> _Trial:
    signal = to_g(samples / COUNTS, RECORDED_HZ, "g")
    fall, span = key.startswith("F"), _labelled(label, len(signal))
    mixed = not fall and span is not None
    rows, at = _impacts(signal)
    made = [np.empty((0, len(waist_falls.NAMES)))]
    if fall:
        low, high = span or (0.0, float(len(signal)))
        hit = _inside(at, low, high)
        teach = hit | (at < low - 0.5 * RATE_HZ)
        for softer, stretch in MADE if span else ():
            other, where = _impacts(_softened(signal, softer, stretch))
            made.append(other[_inside(where, low * stretch, high * stretch)])
    else:
        hit, teach = np.zeros(len(at), np.bool_), np.full(len(at), not mixed)
    hours = len(samples) / RECORDED_HZ / 3600
    return _Trial(key, fall, mixed, hours, _rules(signal), rows, hit, teach, np.concatenate(made))


def _labelled(label: npt.NDArray[Any] | None, n: int) -> tuple[float, float] | None:
    """The first labelled fall in samples at 50 Hz."""
    if label is None or not len(label) or not (label[:, 1] == 2).any():
        return None
    k = int(np.flatnonzero(label[:, 1] == 2)[0])
    scale = RATE_HZ / RECORDED_HZ
    return float(label[k, 0] * scale), float(label[k + 1, 0] * scale) if k + 1 < len(label) else float(n)


def _inside(at: Ints, low: float, high: float) -> Bools:
    return np.asarray((at > low - 0.5 * RATE_HZ) & (at < high + RATE_HZ))


def _impacts(signal: Floats) -> tuple[Floats, Ints]:
    if not len(signal):
        return np.empty((0, len(waist_falls.NAMES))), np.empty(0, np.int64)
    ready = waist_falls.prepared(signal)
    at = impacts(magnitude(ready), waist_falls.IMPACT_G, waist_falls.APART_S)
    return waist_falls.rows(ready, at), at


def _softened(signal: Floats, softer: float, stretch: float) -> Floats:
    slow = smoothed(signal, 25)
    weak = slow + softer * (signal - slow)
    at, n = np.arange(0, len(signal) - 1, 1 / stretch), np.arange(len(signal))
    return np.column_stack([np.interp(at, n, weak[:, k]) for k in range(3)])


PEERS: dict[str, Callable[[float, float, float], bool]] = {
    "fixed limit, |a| >= 3 g": lambda peak, low, turn: peak >= 3.0,
    "Bourke 2007, upper 2.8 g, lower 0.41 g": lambda peak, low, turn: peak >= 2.8 and low <= 0.41,
    "peak >= 2.5 g and turned >= 60 degrees (Kangas 2008)": lambda peak, low, turn: peak >= 2.5 and turn >= 60,
}
"""Published threshold rules, quoted from memory of the papers."""


def _rules(signal: Floats) -> dict[str, bool]:
    size = magnitude(signal)
    if not len(size):
        return dict.fromkeys(PEERS, False)
    top = int(size.argmax())
    low = float(size[max(top - 50, 0) : top + 1].min())
    turn = posture_change_deg(signal, top, (-3, -1), (1, 3))
    return {key: bool(rule(float(size[top]), low, turn)) for key, rule in PEERS.items()}


def teach(trials: Trials, train: Bools) -> dict[str, Floats]:
    """Fit the quadratic logistic regression on the trials of `train`."""
    own, made = train[trials.trial] & trials.teach, train[trials.made_trial]
    x = np.concatenate([trials.rows[own], trials.made_rows[made]])
    target = np.concatenate([np.where(trials.hit[own], 1.0, -1.0), np.ones(int(made.sum()))])
    calm = np.where(trials.elder()[trials.trial[own]] & ~trials.hit[own], ELDER_WEIGHT, 1.0)
    weight = np.concatenate([calm, np.full(int(made.sum()), MADE_WEIGHT)])
    weight /= weight.sum()
    count = np.concatenate([calm, np.ones(int(made.sum()))])
    mean, scale = _moments(x, count)
    terms = waist_falls.expanded(mean, scale, x)
    middle, spread = _moments(terms, count)
    terms = ((terms - middle) / spread).astype(np.float32)

    def loss(beta: Floats) -> tuple[float, Floats]:
        margin = target * ((terms @ beta[:-1].astype(np.float32)).astype(np.float64) + beta[-1])
        pull = -target * weight / (1 + np.exp(np.clip(margin, -50, 50)))
        grad = np.append((terms.T @ pull.astype(np.float32)).astype(np.float64) + RIDGE * beta[:-1], pull.sum())
        return float(np.logaddexp(0, -margin) @ weight + RIDGE / 2 * (beta[:-1] @ beta[:-1])), grad

    best = minimize(loss, np.zeros(terms.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    weights = best[:-1] / spread
    prior = float(weight[target > 0].sum() / max(weight[target < 0].sum(), 1e-9))
    return {
        "mean": mean,
        "scale": scale,
        "weights": weights,
        "bias": np.asarray(best[-1] - weights @ middle),
        "prior_log_odds": np.asarray(np.log(max(prior, 1e-9))),
    }


def _moments(rows: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and deviation of each column."""
    mean = weight @ rows / weight.sum()
    return mean, np.sqrt(weight @ (rows - mean) ** 2 / weight.sum()) + 1e-9


def threshold(best: Floats, trials: Trials, among: Bools) -> float:
    """Log-odds to ask at, from held-out scores of training people.

    Halfway between what lets one elder's trial through and what keeps 99.5 % of the falls, and no lower than the
    latter: where the classes lie apart the margin is shared, elsewhere the elder's peace comes first.
    """
    falls = best[among & trials.fall]
    calm = np.sort(best[among & ~trials.fall & ~trials.mixed & trials.elder()])[::-1]
    kept = float(np.quantile(falls, 1 - KEPT_FALLS)) if falls.size else 0.0
    return max(kept, (kept + float(calm[1])) / 2) if calm.size > 1 else kept


def crossed(trials: Trials, say: Say) -> tuple[Floats, Floats]:
    """Held-out log-odds of each impact, and for each trial the threshold that was chosen on the other folds.

    The model that knows neither of two folds serves the inner choice of both.
    """
    split = list(folds(trials.subject, FOLDS))
    fold = np.zeros(len(trials.names), np.int64)
    for k, (_, test) in enumerate(split):
        fold[test] = k
    count = len(split)
    outer = np.zeros(len(trials.rows))
    inner = np.full((count, len(trials.rows)), np.nan)
    for i in range(count):
        net, mine = teach(trials, fold != i), fold[trials.trial] == i
        outer[mine] = waist_falls.log_odds(net, trials.rows[mine])
        for j in range(i):
            net = teach(trials, (fold != i) & (fold != j))
            for held, out in ((j, i), (i, j)):
                there = fold[trials.trial] == held
                inner[out, there] = waist_falls.log_odds(net, trials.rows[there])
        say(f"sisfall: fold {i + 1} of {count}")
    limits = [threshold(trials.most(np.nan_to_num(inner[i], nan=-99.0)), trials, fold != i) for i in range(count)]
    return outer, np.array(limits)[fold]


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    trials = read(data, say)
    if mode == "frozen":
        model = load(waist_falls.MODEL)
        net = {key: model.array(key) for key in ("mean", "scale", "weights", "bias")}
        chance = model.number("threshold")
        score = waist_falls.log_odds(net, trials.rows)
        limits = np.full(len(trials.names), np.log(chance / (1 - chance)))
    elif len(set(trials.subject)) < 3 or not trials.fall.any():
        note = "nested needs falls and three subjects: use --mode frozen"
        return Outcome([Row(SET, "sensitivity", "ansim", None, goal=">= 0.99", note=note)])
    else:
        score, limits = crossed(trials, say)
    best = trials.most(score)
    outcome = Outcome(_rows(trials, best >= limits, "ansim", mode, goals=True))
    outcome.rows += _ranked(trials, best, mode)
    outcome.curves += _curves(trials, best, best >= limits)
    if peers:
        for name, flags in trials.rule.items():
            outcome.rows += _rows(trials, flags, name, mode, goals=False)
    return outcome


def _people(trials: Trials, among: Bools) -> int:
    return len({s for s, m in zip(trials.subject, among, strict=True) if m})


def _rows(trials: Trials, flag: Bools, detector: str, mode: str, goals: bool) -> list[Row]:
    elder, fall = trials.elder(), trials.fall
    calm = ~fall & ~trials.mixed
    rows = []
    for label, among, goal in (
        ("sensitivity", fall, ">= 0.99"),
        ("sensitivity, adults", fall & ~elder, None),
        ("sensitivity, elders", fall & elder, None),
    ):
        n, k = int(among.sum()), int((flag & among).sum())
        if n:
            low, high = share(k, n)
            people = _people(trials, among)
            rows.append(Row(SET, label, detector, k / n, low, high, n, people, None, mode, goal if goals else None))
    for label, among, goal in (
        ("elder trials of daily life flagged", calm & elder, "<= 1"),
        ("adult trials of daily life flagged", calm & ~elder, None),
    ):
        n, k, hours = int(among.sum()), int((flag & among).sum()), float(trials.hours[among].sum())
        if n:
            low, high = (x * hours for x in rate_interval(k, hours))
            row = Row(SET, label, detector, k, low, high, 0, _people(trials, among), hours, mode, note=f"of {n} trials")
            rows.append(replace(row, goal=goal if goals else None))
            rate = replace(row, measure=f"{label} per hour", value=k / hours, ci_low=low / hours, ci_high=high / hours)
            rows.append(rate)
    if trials.mixed.any():
        n, k = int(trials.mixed.sum()), int((flag & trials.mixed).sum())
        note = "daily life in which the owners labelled fall samples: in neither count above"
        label = "trials of daily life with fall samples flagged"
        rows.append(Row(SET, label, detector, k, n_positive=n, mode=mode, note=note))
    return rows


def _ranked(trials: Trials, best: Floats, mode: str) -> list[Row]:
    counted = ~trials.mixed
    area = auroc(best[counted], trials.fall[counted])
    n = int(trials.fall.sum())
    rows = [Row(SET, "AUROC of trials", "ansim", area, None, None, n, _people(trials, counted), mode=mode)]
    wait = 3.36
    note = "fixed: three seconds after the impact, and what smoothing needs"
    rows.append(Row(SET, "delay from impact to question, s", "ansim", wait, n_positive=n, mode=mode, note=note))
    return rows


def _curves(trials: Trials, best: Floats, flag: Bools) -> list[Curve]:
    calm, fall = ~trials.fall & ~trials.mixed & trials.elder(), trials.fall
    if not calm.any() or not fall.any():
        return []
    marks = np.quantile(best[fall], np.linspace(0, 0.3, 61))
    x = [float((best[calm] >= m).sum()) for m in marks]
    y = [float((best[fall] >= m).mean()) for m in marks]
    at = (float((flag & calm).sum()), float((flag & fall).sum() / fall.sum()))
    return [Curve(SET, "Falls at the waist", "elder trials flagged", "sensitivity", x, y, mark=at)]


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    trials = read(data, say)
    outer, limits = crossed(trials, say)
    everyone = np.ones(len(trials.names), np.bool_)
    net = teach(trials, everyone)
    best = trials.most(outer)
    limit = threshold(best, trials, everyone)
    parameters: dict[str, Any] = {key: _short(value) for key, value in net.items()}
    parameters["threshold"] = float(f"{1 / (1 + np.exp(-limit)):.5g}")
    nested = _rows(trials, best >= limits, "ansim", "nested", goals=False)
    card = {
        "purpose": "falls of a sensor worn at the waist or on a cord: probability that an impact was a fall",
        "sets": [
            {
                "name": "SisFall",
                "file": file.name,
                "sha256": file_hash(file),
                "subjects": _people(trials, everyone),
                "licence": "not stated by the owners; coefficients only, refit with your own data",
            }
            for file in _files(data)
        ],
        "subjects": sorted(set(trials.subject)),
        "features": list(waist_falls.NAMES),
        "calibration": calibration(trials, outer),
        "figures": {row.measure: _figure(row.value) for row in nested},
        "limits": "Staged falls, of the young but for one elder; of elders at risk nothing is known. Rolling over in "
        "bed with a heave looks like a soft fall to it.",
        "made_by": "ansim fit sisfall",
    }
    return {waist_falls.MODEL: {"parameters": parameters, "card": card}}


def calibration(trials: Trials, score: Floats) -> list[dict[str, Any]]:
    """Predicted against observed share of falls among held-out impacts."""
    use = trials.teach
    chance, seen = 1 / (1 + np.exp(-np.clip(score[use], -30, 30))), trials.hit[use]
    edges: Sequence[float] = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0001)
    table: list[dict[str, Any]] = []
    for low, high in pairwise(edges):
        here = (chance >= low) & (chance < high)
        if here.any():
            predicted, observed = round(float(chance[here].mean()), 4), round(float(seen[here].mean()), 4)
            bin_ = f"{low:g}-{min(high, 1):g}"
            table.append({"bin": bin_, "predicted": predicted, "observed": observed, "n": int(here.sum())})
    return table


def _figure(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _short(value: Floats) -> Any:
    if value.ndim == 0:
        return float(f"{float(value):.6g}")
    return [float(f"{v:.6g}") for v in value.tolist()]
