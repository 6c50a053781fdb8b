"""Verified home vitals on TIHM: hand-measured pressure and pulse against the alerts that clinicians confirmed."""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from service.detection import home_vitals as product
from service.detection.home_vitals import Floats, Rule
from service.tools.evaluation.common import Curve, Outcome, Row, Say, auroc, file_hash, folds, share_interval

NAMES = ("tihm_vitals", "tihm")
MODELS = ("home_vitals",)
SIGNS = ("blood_pressure", "pulse")
LABELS = {"blood_pressure": "Blood pressure", "pulse": "Pulse"}
SENSORS = {"Systolic blood pressure": 0, "Diastolic blood pressure": 1, "Heart rate": 2}
GOALS = {"blood_pressure": (0.95, 0.92), "pulse": (0.92, 0.82)}
LABEL_CLOCK_S = 3600
"""The clock of the labels is an hour behind (DATA.md section 3)."""
MATCH_S = 14 * 3600
"""A label belongs to the day of the newest reading of its vital before it, at most this much older: alerts were
written between 09:00 and 20:40 only, those of an evening the next morning (12 h at most on record)."""
FOLDS, INNER = 10, 5
DRAWS = 5
"""Divisions into inner folds; the threshold is the median of theirs, since one alone hangs on a few days."""
RIDGE = 0.1
NONE = float("nan")
FIXED: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {
    "blood_pressure": {
        "> 160 or < 100 systolic, > 100 or < 50 diastolic": ((160.5, 100.0), (100.5, 50.0)),
        ">= 160 systolic, >= 100 or < 55 diastolic": ((160.0, NONE), (100.0, 55.0)),
    },
    "pulse": {"> 100 or < 50": ((100.5, 50.0),), ">= 100 or <= 50": ((100.0, 50.5),)},
}
"""At or above, and below: systolic and diastolic, or pulse. The second rule is read off these people's labels: no
honest peer, but what there is to be learnt."""
Key = tuple[str, int]


@dataclass(slots=True)
class Days:
    """Patient-days with a reading, in the order of patients and time; `top` as the product saw the whole day."""

    patient: list[str] = field(default_factory=list)
    day: list[int] = field(default_factory=list)
    readings: list[list[tuple[int, Floats]]] = field(default_factory=list)
    state: product.Records = field(default_factory=lambda: product.blank(0))
    labels: dict[str, set[Key]] = field(default_factory=dict)
    about: dict[str, tuple[str, str]] = field(default_factory=dict)

    def positive(self, sign: str) -> Any:
        """Which days carry a confirmed alert."""
        found = self.labels[sign]
        return np.array([key in found for key in zip(self.patient, self.day, strict=True)], dtype=bool)


def missing(data: Path) -> str | None:
    """The file this needs and does not find."""
    for name in ("physiology", "labels"):
        if not (data / f"tihm/{name}.csv.xz").is_file():
            return f"tihm/{name}.csv.xz"
    return None


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with lzma.open(path, "rt", newline="") as f:
        return list(csv.DictReader(f))


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def load(data: Path) -> Days:
    """Read readings by patient and instant, and run the product's own state through them."""
    rows: dict[str, dict[int, Floats]] = defaultdict(dict)
    for row in _table(data / "tihm/physiology.csv.xz"):
        if row["device_type"] in SENSORS and row["value"]:
            of = rows[row["patient_id"]].setdefault(_seconds(row["date"]), np.full(3, np.nan))
            of[SENSORS[row["device_type"]]] = float(row["value"])
    days = Days(labels={sign: set() for sign in SIGNS})
    names = {v: k for k, v in LABELS.items()}
    for row in _table(data / "tihm/labels.csv.xz"):
        if row["type"] in names:
            sign, patient = names[row["type"]], row["patient_id"]
            at = _seconds(row["date"]) + LABEL_CLOCK_S
            days.labels[sign].add((patient, labelled_day(rows.get(patient, {}), sign, at)))
    for row in _table(data / "tihm/demographics.csv.xz"):
        days.about[row["patient_id"]] = (row["age"], row["sex"])
    states = [_follow(days, patient, rows[patient]) for patient in sorted(rows)]
    if states:
        days.state = np.concatenate(states)
    return days


def labelled_day(readings: dict[int, Floats], sign: str, at: int) -> int:
    """Day of the newest reading that a label can speak of; the label's own day where there is none."""
    vital = slice(2, 3) if sign == "pulse" else slice(0, 2)
    before = [t for t, values in readings.items() if at - MATCH_S <= t <= at and not np.isnan(values[vital]).all()]
    return max(before, default=at) // product.DAY_S


def _follow(days: Days, patient: str, readings: dict[int, Floats]) -> product.Records:
    """One patient's states at the end of each day with a reading."""
    record = product.blank()
    found: list[product.Records] = []
    for at in sorted(readings):
        day = at // product.DAY_S
        product.take(record, np.array([day]), readings[at][None])
        if not days.day or days.patient[-1] != patient or days.day[-1] != day:
            days.patient.append(patient)
            days.day.append(day)
            days.readings.append([])
            found.append(record.copy())
        days.readings[-1].append((at, readings[at]))
        found[-1] = record.copy()
    return np.concatenate(found)


def columns(days: Days, sign: str) -> Floats:
    """Columns of one sign's model, in the order of the product's weights."""
    parts = product.columns(days.state)
    i = 2 * SIGNS.index(sign)
    return np.concatenate([product.about(days.state), parts[i], parts[i + 1]], axis=1)


def tied(x: Floats, sign: str) -> Floats:
    """Columns as they are fitted: pulse has too few alerts for a weight on each side, so both share one."""
    if sign != "pulse":
        return x
    high = x[:, product.AROUND :][:, : len(product.UP[2])]
    return np.concatenate([x[:, : product.AROUND], high + x[:, product.AROUND + high.shape[1] :]], axis=1)


def regress(x: Floats, y: Any, sign: str, settling: float | None = None) -> Floats:
    """Ridge logistic regression: a limit crossed never lowers the odds; `settling` is held if given."""
    x = tied(x, sign)
    ridge = np.full(x.shape[1], RIDGE)
    ridge[0] = 1e-3
    turn = np.where(y, -1.0, 1.0)

    def loss(b: Floats) -> tuple[float, Floats]:
        z = turn * (x @ b)
        value = np.logaddexp(0, z).sum() + 0.5 * (ridge * b * b).sum()
        return float(value), x.T @ (turn / (1 + np.exp(-z))) + ridge * b

    around = product.AROUND
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * around + [(0.0, None)] * (x.shape[1] - around)
    start = np.zeros(x.shape[1])
    if settling is not None:
        bounds[1], start[1] = (settling, settling), settling
    found = np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x)
    return np.concatenate([found, found[around:]]) if sign == "pulse" else found


def both(parts: tuple[Floats, Floats], positive: tuple[Any, Any]) -> tuple[Floats, Floats]:
    """Weights of both signs: pulse takes the settling days of blood pressure, which has eight times its alerts."""
    first = regress(parts[0], positive[0], SIGNS[0])
    return first, regress(parts[1], positive[1], SIGNS[1], float(first[1]))


def working_point(log_odds: Floats, positive: Any, goal: tuple[float, float]) -> float:
    """The threshold that stands best against both goals, then in total, in the middle of its gap."""
    order = np.sort(np.unique(log_odds))[::-1]
    if not positive.any() or order.size < 2:
        return 0.0
    middle = (order[:-1] + order[1:]) / 2
    alarm = log_odds[:, None] >= middle
    hit = (alarm & positive[:, None]).sum(axis=0)
    over = np.stack([hit / positive.sum() - goal[0], hit / np.maximum(alarm.sum(axis=0), 1) - goal[1]])
    slack = over.min(axis=0) + 1e-3 * over.sum(axis=0)
    best = np.flatnonzero(slack >= slack.max() - 1e-9)
    return float(middle[best[best.size // 2]])


def _held_out(x: tuple[Floats, Floats], y: tuple[Any, Any], patients: list[str], draw: int = 0) -> Floats:
    """Log-odds of both signs, each patient by the others: float64[2, n]."""
    found = np.zeros((2, len(patients)))
    for train, test in folds(patients, INNER, seed=77 + draw):
        weights = both((x[0][train], x[1][train]), (y[0][train], y[1][train]))
        for i in range(2):
            found[i, test] = x[i][test] @ weights[i]
    return found


def _parts(days: Days, use: Any) -> tuple[tuple[Floats, Floats], tuple[Any, Any], list[str]]:
    x = columns(days, SIGNS[0])[use], columns(days, SIGNS[1])[use]
    y = days.positive(SIGNS[0])[use], days.positive(SIGNS[1])[use]
    return x, y, [p for p, u in zip(days.patient, use, strict=True) if u]


def train(days: Days, use: Any) -> tuple[Rule, Rule]:
    """Weights on these days, thresholds from inner folds among their patients."""
    x, y, patients = _parts(days, use)
    draws = [_held_out(x, y, patients, draw) for draw in range(DRAWS)]
    rules = []
    for i, (sign, weights) in enumerate(zip(SIGNS, both(x, y), strict=True)):
        share = np.clip(y[i].mean(), 1e-3, 1 - 1e-3)
        limit = np.median([working_point(of[i], y[i], GOALS[sign]) for of in draws])
        rules.append(Rule(weights, float(np.log(share / (1 - share))), float(limit)))
    return rules[0], rules[1]


def _alarms(days: Days, rules: tuple[Rule, Rule], only: Any) -> Any:
    """Days on which the product's own update holds a sign: bool[n, 2]; log-odds at the end of each day."""
    found = np.zeros((len(days.day), 2), dtype=bool)
    for patient in dict.fromkeys(p for p, of in zip(days.patient, only, strict=True) if of):
        record = product.blank()
        for i in [i for i, p in enumerate(days.patient) if p == patient]:
            for at, values in days.readings[i]:
                product.update(record, np.zeros(1, dtype=np.int64), np.array([at]), values[None], rules=rules)
            found[i] = [record["held"][0, :2].any(), record["held"][0, 2:].any()] if only[i] else False
    return found


def _measure(days: Days, mode: str, say: Say) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Alarm days, and log-odds above the working point, of each sign."""
    n = len(days.day)
    everyone = np.ones(n, dtype=bool)
    score = {sign: np.zeros(n) for sign in SIGNS}
    if mode == "frozen":
        rules = product.shipped()
        for sign, rule in zip(SIGNS, rules, strict=True):
            score[sign] = columns(days, sign) @ rule.weights - rule.limit
        table = _alarms(days, rules, everyone)
        return {sign: table[:, i] for i, sign in enumerate(SIGNS)}, score
    table = np.zeros((n, 2), dtype=bool)
    for k, (fitted, test) in enumerate(folds(days.patient, FOLDS)):
        say(f"tihm_vitals fold {k + 1} of {FOLDS}")
        made = train(days, fitted)
        for sign, rule in zip(SIGNS, made, strict=True):
            score[sign][test] = columns(days, sign)[test] @ rule.weights - rule.limit
        table |= _alarms(days, made, test)
    return {sign: table[:, i] for i, sign in enumerate(SIGNS)}, score


def _fixed(days: Days, sign: str, limits: tuple[tuple[float, float], ...]) -> Any:
    first = 0 if sign == "blood_pressure" else 2
    found = np.zeros(len(days.day), dtype=bool)
    for i, (high, low) in enumerate(limits, first):
        found |= (days.state["top"][:, i] >= high) | (days.state["bottom"][:, i] < low)
    return found


def _share(mode: str, measure: str, detector: str, k: int, n: int, days: tuple[int, int], goal: str | None) -> Row:
    if not n:
        return Row(
            "tihm_vitals", measure, detector, None, n_positive=days[0], n_subjects=days[1], mode=mode, note="no days"
        )
    low, high = share_interval(k, n)
    return Row("tihm_vitals", measure, detector, k / n, low, high, days[0], days[1], mode=mode, goal=goal)


def _rows(days: Days, mode: str, sign: str, detector: str, alarm: Any, use: Any, name: str = "") -> list[Row]:
    positive = days.positive(sign)
    said, true = alarm & use, positive & use
    people = len({p for p, u in zip(days.patient, use, strict=True) if u})
    n = (int(true.sum()), people)
    goal = GOALS[sign] if detector == "ansim" and not name else None
    hit = int((said & true).sum())
    what = LABELS[sign].lower() + (f", {name}" if name else "")
    first = _share(mode, f"sensitivity, {what}", detector, hit, n[0], n, f">= {goal[0]}" if goal else None)
    second = _share(
        mode, f"positive predictive value, {what}", detector, hit, int(said.sum()), n, f">= {goal[1]}" if goal else None
    )
    return [first, second]


def _groups(days: Days) -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for i, kind in enumerate(("age", "sex")):
        of = np.array([days.about.get(p, ("", ""))[i] for p in days.patient])
        found[kind] = [(f"{kind} {name}", of == name) for name in sorted(set(of.tolist())) if name]
    return found


def _gap(days: Days, mode: str, sign: str, kind: str, alarm: Any, groups: list[tuple[str, Any]], of: str) -> list[Row]:
    """Largest difference of one share between groups, patients drawn with replacement."""
    positive = days.positive(sign)
    whole = positive if of == "sensitivity" else alarm
    use = [g for _, g in groups if (whole & g).sum() >= 5]
    if len(use) < 2:
        return []
    table = np.stack([np.stack([alarm & positive & g, whole & g]) for g in use]).astype(float)
    names = {p: i for i, p in enumerate(dict.fromkeys(days.patient))}
    per = np.zeros((len(use), 2, len(names)))
    for i, patient in enumerate(days.patient):
        per[:, :, names[patient]] += table[:, :, i]
    drawn = np.random.default_rng(7).multinomial(len(names), np.full(len(names), 1 / len(names)), size=1000)
    sums = per @ np.concatenate([np.ones((1, len(names))), drawn]).T
    with np.errstate(invalid="ignore", divide="ignore"):
        share = sums[:, 0] / sums[:, 1]
    gap = np.nanmax(share, axis=0) - np.nanmin(share, axis=0)
    low, high = np.percentile(gap[1:], [2.5, 97.5])
    measure = f"{of} gap between groups by {kind}, {LABELS[sign].lower()}"
    n = (int(positive.sum()), len(names))
    return [Row("tihm_vitals", measure, "ansim", float(gap[0]), float(low), float(high), *n, mode=mode)]


def _curve(days: Days, sign: str, score: Floats, alarm: Any) -> Curve:
    positive = days.positive(sign)
    order = np.argsort(-score, kind="stable")
    hit = np.cumsum(positive[order])
    x, y = hit / max(1, int(positive.sum())), hit / np.arange(1, hit.size + 1)
    k = int((alarm & positive).sum())
    mark = (k / max(1, int(positive.sum())), k / max(1, int(alarm.sum())))
    title = f"Verified alerts, {LABELS[sign].lower()}"
    return Curve("tihm_vitals", title, "sensitivity", "positive predictive value", x.tolist(), y.tolist(), mark=mark)


def _summary(days: Days, mode: str, sign: str, alarm: Any, score: Floats) -> list[Row]:
    positive = days.positive(sign)
    people = len(set(days.patient))
    n = (int(positive.sum()), people)
    what = LABELS[sign].lower()
    rate = int(alarm.sum()) / len(days.day)
    value = auroc(score, positive)
    known = None if np.isnan(value) else value
    lost = len(days.labels[sign]) - n[0]
    note = f"{lost} labelled days without a reading are not counted"
    return [
        Row("tihm_vitals", f"AUROC, {what}", "ansim", known, None, None, *n, mode=mode, note=note),
        Row("tihm_vitals", f"alerts per day with a reading, {what}", "ansim", rate, None, None, *n, mode=mode),
    ]


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure sensitivity and positive predictive value by patient-day, by group, beside fixed limits."""
    days = load(data)
    out = Outcome()
    if not days.day:
        return out
    alarms, score = _measure(days, mode, say)
    everyone = np.ones(len(days.day), dtype=bool)
    for sign in SIGNS:
        out.rows += _rows(days, mode, sign, "ansim", alarms[sign], everyone)
        out.rows += _summary(days, mode, sign, alarms[sign], score[sign])
        for kind, groups in _groups(days).items():
            for name, use in groups:
                out.rows += _rows(days, mode, sign, "ansim", alarms[sign], use, name)
            for of in ("sensitivity", "positive predictive value"):
                out.rows += _gap(days, mode, sign, kind, alarms[sign], groups, of)
        out.curves.append(_curve(days, sign, score[sign], alarms[sign]))
        for name, limits in FIXED[sign].items() if peers else ():
            out.rows += _rows(days, mode, sign, f"fixed limits: {name}", _fixed(days, sign, limits), everyone)
    return out


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fit on every patient found; the card carries nested figures."""
    days = load(data)
    everyone = np.ones(len(days.day), dtype=bool)
    parameters: dict[str, Any] = {}
    figures: dict[str, float] = {}
    alarms, _ = _measure(days, "nested", say)
    for sign, rule in zip(SIGNS, train(days, everyone), strict=True):
        parameters[sign] = [float(f"{v:.5g}") for v in rule.weights]
        parameters[sign + "_prior"] = round(rule.prior, 4)
        parameters[sign + "_limit"] = round(rule.limit, 4)
        for row in _rows(days, "nested", sign, "ansim", alarms[sign], everyone):
            figures[row.measure] = round(row.value or 0.0, 4)
    x, y, patients = _parts(days, everyone)
    held_out = _held_out(x, y, patients)
    files = [(name, file_hash(data / name)) for name in ("tihm/physiology.csv.xz", "tihm/labels.csv.xz")]
    people = sorted(set(days.patient))
    card = {
        "purpose": "Hand-measured pressure and pulse that clinicians of one remote-care service confirmed as alerts.",
        "sets": [
            {"name": "TIHM", "file": name, "sha256": digest, "subjects": len(people),
             "licence": "contradictory: CC BY 4.0 file, README non-commercial; refit before relying on it"}
            for name, digest in files
        ],
        "subjects": people,
        "features": ["limits of the day's highest systolic, diastolic, pulse and lowest diastolic, pulse",
                     "first two days, one weight for both signs", "measured again the same day"],
        "calibration": calibration(held_out[0], y[0]),
        "figures": figures,
        "limits": "The labels follow the limits of one service for people with dementia: agreement with it, not "
        "early warning. Few pulse alerts, most of one person; a limit that a clinician changed for one "
        "person, and days on which nobody looked, are not known.",
        "made_by": "ansim fit tihm_vitals",
    }  # fmt: skip
    return {"home_vitals": {"parameters": parameters, "card": card}}


def calibration(log_odds: Floats, positive: Any) -> list[dict[str, float]]:
    """Predicted against observed in five bands of risk."""
    p = 1 / (1 + np.exp(-log_odds))
    found = []
    for i, (low, high) in enumerate(((0, 0.05), (0.05, 0.25), (0.25, 0.5), (0.5, 0.8), (0.8, 1.01))):
        use = (p >= low) & (p < high)
        if use.any():
            predicted, observed = round(float(p[use].mean()), 4), round(float(positive[use].mean()), 4)
            found.append({"bin": i, "predicted": predicted, "observed": observed, "n": int(use.sum())})
    return found
