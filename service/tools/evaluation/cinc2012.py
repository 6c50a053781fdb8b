"""Early warning on the stays of Challenge 2012: who dies in hospital, told from vitals of the first 48 hours."""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.optimize import minimize

from service.detection import warning, warning_model
from service.detection.warning_model import Coefficients, Floats, Records
from service.tools.evaluation import cinc2012_peers as peer
from service.tools.evaluation.common import Curve, Outcome, Row, Say, auroc, bootstrap_auroc, file_hash, folds

NAMES = ("cinc2012",)
MODELS = ("early_warning",)
KINDS = ("vitals", "conscious")
SENSORS = {"HR": 0, "SaO2": 1, "RespRate": 2, "Temp": 3, "SysABP": 4, "NISysABP": 4, "GCS": 5}
"""No pulse oximetry there: arterial saturation stands for it, the Glasgow coma score for ACVPU."""
EXTRA = {"FiO2": 6, "MechVent": 7}
"""Only for the peer NEWS2: supplemental oxygen."""
START_S = 1_577_836_800
END_S = START_S + 48 * 3600
FOLDS = 5
DELETED = (0.0, 0.5, 0.8)
FITTED = ((0.0, 2), (0.5, 2), (0.8, 1), (0.8, 1))
"""Fitted on all readings and on what random deletion leaves, each draw with its weight."""
SMOOTH = (3.0, 5.0, 1.0)
"""Penalties on first and second differences of neighbouring knots, and on size."""
AGE_BANDS = ((0, 50), (50, 65), (65, 75), (75, 85), (85, 200))
GOALS = {"vitals": ">= 0.73", "conscious": ">= 0.82"}
LABELS = {"vitals": "5 vitals, age and sex", "conscious": "5 vitals, consciousness, age and sex"}


@dataclass(slots=True)
class Stays:
    """All readings of n stays, rows by stay and time."""

    ids: list[str]
    age: Floats
    sex: Floats
    died: Any
    saps: Floats
    who: Any
    at_s: Any
    channel: Any
    value: Floats
    files: list[tuple[str, str]] = field(default_factory=list)


def missing(data: Path) -> str | None:
    """The file this needs and does not find."""
    return None if _files(data) else "cinc2012/set-*.csv.xz with Outcomes-*.txt"


def _files(data: Path) -> list[tuple[Path, Path]]:
    folder = data / "cinc2012"
    pairs = [(p, folder / p.name.replace("set-", "Outcomes-").split(".")[0]) for p in sorted(folder.glob("set-*.csv*"))]
    return [(p, o.with_suffix(".txt")) for p, o in pairs if o.with_suffix(".txt").is_file()]


def _outcomes(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as f:
        return {row["RecordID"].strip(): row for row in csv.DictReader(f)}


def load(data: Path) -> Stays:
    """Read every set found; stays without a known outcome are left out."""
    rows: list[tuple[int, int, int, float]] = []
    ids: list[str] = []
    about: list[list[float]] = []
    kinds = {**SENSORS, **EXTRA}
    for path, outcomes in _files(data):
        known = {k: v for k, v in _outcomes(outcomes).items() if v.get("In-hospital_death", "").strip() in ("0", "1")}
        place: dict[str, int] = {}
        raw = path.read_bytes()
        text = lzma.decompress(raw).decode() if path.suffix == ".xz" else raw.decode()
        for parts in csv.reader(io.StringIO(text[text.index("\n") + 1 :])):
            if len(parts) != 4 or parts[0] not in known or not parts[3]:
                continue
            name, time, what, value = parts
            if name not in place:
                place[name] = len(ids)
                ids.append(name)
                row = known[name]
                about.append([np.nan, np.nan, float(row["In-hospital_death"]), float(row.get("SAPS-I") or -1)])
            who = place[name]
            if what == "Age":
                about[who][0] = float(value) if float(value) > 0 else np.nan
            elif what == "Gender":
                about[who][1] = float(value) if float(value) >= 0 else np.nan
            elif what in kinds:
                rows.append((who, START_S + int(time[:2]) * 3600 + int(time[3:]) * 60, kinds[what], float(value)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    person = np.array(about).reshape(-1, 4)
    files = [(f"cinc2012/{p.name}", file_hash(p)) for p, _ in _files(data)]
    stay, at_s, channel = (table[:, i].astype(np.int64) for i in range(3))
    return Stays(
        ids, person[:, 0], person[:, 1], person[:, 2] > 0, person[:, 3], stay, at_s, channel, table[:, 3], files
    )


def keep(stays: Stays, deleted: float, seed: int) -> Any:
    """Mask of the readings left when this share of them is deleted at random."""
    rng = np.random.default_rng(seed)
    return rng.random(stays.who.size) >= deleted


def states(stays: Stays, kept: Any) -> Records:
    """The product's own state of each stay after 48 hours of the readings kept."""
    records = warning.blank(len(stays.ids))
    use = kept & (stays.channel < warning_model.N) & (stays.at_s < END_S)
    values = np.full((int(use.sum()), warning_model.N), np.nan)
    values[np.arange(values.shape[0]), stays.channel[use]] = stays.value[use]
    warning.gather(records, stays.who[use], stays.at_s[use], values)
    return records


def columns(stays: Stays, records: Records, kind: str) -> Floats:
    """Columns of the model; without consciousness the product has never heard of it."""
    closed = records.copy()
    warning_model.fold(closed)
    if kind == "vitals":
        for name, empty in (("seen", 0), ("last_v", np.nan), ("var", 0), ("last_t", 0)):
            closed[name][:, -1] = empty
        closed["share"][:, warning_model.BAND_OF == warning_model.N - 1] = 0
    return warning_model.design(warning_model.features(closed, END_S, stays.age, stays.sex))


def _differences(size: int) -> Floats:
    first, second, ridge = SMOOTH
    one = np.diff(np.eye(size), axis=0)
    two = np.diff(np.eye(size), 2, axis=0) if size > 2 else np.zeros((1, size))
    return first * one.T @ one + second * two.T @ two + ridge * np.eye(size)


def penalty() -> Floats:
    """Quadratic penalty in the order of the columns: smooth curves, small numbers."""
    blocks = [_differences(int(k)) for k in warning_model.SIZES]
    blocks.append(np.eye(warning_model.N + warning_model.BAND_OF.size))
    blocks += [_differences(len(k)) for k in warning_model.PERSON_KNOTS]
    return np.asarray(block_diag(np.zeros((1, 1)), *blocks, np.eye(2)))


def logistic(x: Floats, y: Floats, weight: Floats, quadratic: Floats) -> Floats:
    """Penalised logistic regression by L-BFGS-B, in coordinates in which the start is round."""
    share = np.clip(y.mean(), 1e-3, 1 - 1e-3)
    hessian = (x.T * (weight * share * (1 - share))) @ x + quadratic + 1e-6 * np.eye(x.shape[1])
    lower = np.linalg.cholesky(hessian)
    turned = np.ascontiguousarray(solve_triangular(lower, x.T, lower=True).T)
    back = solve_triangular(lower, np.eye(x.shape[1]), lower=True)
    bent = back @ quadratic @ back.T

    def loss(u: Floats) -> tuple[float, Floats]:
        z = turned @ u
        pull = bent @ u
        value = (weight * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * u @ pull
        return float(value), turned.T @ (weight * (1 / (1 + np.exp(-z)) - y)) + pull

    start = np.zeros(x.shape[1])
    start[0] = np.log(share / (1 - share))
    found = minimize(loss, lower.T @ start, jac=True, method="L-BFGS-B", options={"maxiter": 150})
    return np.asarray(back.T @ found.x)


def _drawn(stays: Stays) -> list[Records]:
    return [states(stays, keep(stays, d, 11 + i)) for i, (d, _) in enumerate(FITTED)]


def _train(tables: list[Floats], died: Any, train: Any) -> Floats:
    x = np.concatenate([table[train] for table in tables])
    y = np.tile(died[train].astype(np.float64), len(tables))
    weight = np.array([w for _, w in FITTED], dtype=np.float64)
    return logistic(x, y, np.repeat(weight / weight.sum(), int(train.sum())), penalty())


def _nested(stays: Stays, say: Say) -> dict[tuple[str, float], Floats]:
    """Log-odds of each stay by models that never saw it; deletions for training and test are drawn apart."""
    found: dict[tuple[str, float], Floats] = {}
    fitting = _drawn(stays)
    testing = {d: states(stays, keep(stays, d, 101 + i)) for i, d in enumerate(DELETED)}
    for kind in KINDS:
        tables = [columns(stays, r, kind) for r in fitting]
        tests = {d: columns(stays, r, kind) for d, r in testing.items()}
        for d in DELETED:
            found[kind, d] = np.zeros(len(stays.ids))
        for k, (train, test) in enumerate(folds(stays.ids, FOLDS)):
            say(f"cinc2012 {kind} fold {k + 1} of {FOLDS}")
            flat = _train(tables, stays.died, train)
            for d in DELETED:
                found[kind, d][test] = tests[d][test] @ flat
    for d in DELETED:
        heard = testing[d]["seen"][:, -1] + testing[d]["count"][:, -1] > 0
        found["conscious", d] = np.where(heard, found["conscious", d], found["vitals", d])
    return found


def _frozen(stays: Stays, say: Say) -> dict[tuple[str, float], Floats]:
    found = {}
    for i, d in enumerate(DELETED):
        say(f"cinc2012 {d:.0%} deleted")
        kept = keep(stays, d, 101 + i)
        for kind in KINDS:
            seen = kept & (stays.channel < 5) if kind == "vitals" else kept
            found[kind, d] = warning.score(states(stays, seen), END_S, stays.age, stays.sex).log_odds
    return found


def _rows(
    stays: Stays, mode: str, measure: str, detector: str, score: Floats, use: Any, goal: str | None = None
) -> Row:
    ids = [stays.ids[i] for i in np.flatnonzero(use)]
    value = auroc(score[use], stays.died[use])
    known = not np.isnan(value)
    low, high = bootstrap_auroc(score[use], stays.died[use], ids) if known else (None, None)
    return Row(
        "cinc2012", measure, detector, value if known else None, low, high, int(stays.died[use].sum()), len(ids),
        negative_hours=48.0 * float((~stays.died[use]).sum()), mode=mode, goal=goal,
        note=None if known else "only one outcome among these stays",
    )  # fmt: skip


def _groups(stays: Stays) -> list[tuple[str, Any]]:
    bands = [(f"age {a} to {b - 1}" if b < 200 else f"age {a} and over", a, b) for a, b in AGE_BANDS]
    found = [(name, (stays.age >= a) & (stays.age < b)) for name, a, b in bands]
    return [*found, ("women", stays.sex == 0), ("men", stays.sex == 1)]


def slope(log_odds: Floats, died: Any) -> tuple[float, float, float]:
    """Calibration slope, 1 where the odds are neither too bold nor too timid, with its 95 % interval."""
    x = np.stack([np.ones_like(log_odds), log_odds], axis=1)
    b = logistic(x, died.astype(np.float64), np.ones(died.size), np.zeros((2, 2)))
    p = 1 / (1 + np.exp(-x @ b))
    se = float(np.sqrt(np.linalg.inv((x.T * (p * (1 - p))) @ x)[1, 1]))
    return float(b[1]), float(b[1]) - 1.96 * se, float(b[1]) + 1.96 * se


def _calibration(stays: Stays, mode: str, kind: str, log_odds: Floats) -> list[Row]:
    if stays.died.all() or not stays.died.any():
        return []
    value, low, high = slope(log_odds, stays.died)
    deaths, n = int(stays.died.sum()), len(stays.ids)
    rows = [Row("cinc2012", f"calibration slope, {LABELS[kind]}", "ansim", value, low, high, deaths, n, mode=mode)]
    rows.append(_observed(stays, mode, kind, "all", log_odds, np.ones(n, dtype=bool)))
    for name, use in _groups(stays):
        if use.any():
            rows.append(_observed(stays, mode, kind, name, log_odds, use))
            rows.append(_rows(stays, mode, f"AUROC, {LABELS[kind]}, {name}", "ansim", log_odds, use))
    return rows


def _observed(stays: Stays, mode: str, kind: str, name: str, log_odds: Floats, use: Any) -> Row:
    expected = float((1 / (1 + np.exp(-log_odds[use]))).sum())
    deaths = int(stays.died[use].sum())
    low, high = peer.rate_interval(deaths, expected)
    measure = f"deaths observed / expected, {LABELS[kind]}, {name}"
    return Row("cinc2012", measure, "ansim", deaths / expected, low, high, deaths, int(use.sum()), mode=mode)


def _curves(stays: Stays, log_odds: dict[tuple[str, float], Floats]) -> list[Curve]:
    curves = []
    for kind in KINDS:
        score = log_odds[kind, 0.0]
        order = np.argsort(-score, kind="stable")
        hit, false = np.cumsum(stays.died[order]), np.cumsum(~stays.died[order])
        at = np.unique(np.linspace(0, order.size - 1, 200).astype(int))
        x, y = false[at] / max(1, false[-1]), hit[at] / max(1, hit[-1])
        curves.append(
            Curve(
                "cinc2012", f"Early warning, {LABELS[kind]}", "1 - specificity", "sensitivity", x.tolist(), y.tolist()
            )
        )
        table = calibration(score, stays.died)
        curves.append(
            Curve(
                "cinc2012", f"Calibration, {LABELS[kind]}", "predicted", "observed",
                [b["predicted"] for b in table], [b["observed"] for b in table],
            )
        )  # fmt: skip
    return curves


def calibration(log_odds: Floats, died: Any) -> list[dict[str, float]]:
    """Predicted against observed in ten bins of rising risk."""
    p = 1 / (1 + np.exp(-log_odds))
    bins = np.array_split(np.argsort(p, kind="stable"), 10)
    return [
        {"bin": i, "predicted": round(float(p[b].mean()), 4), "observed": round(float(died[b].mean()), 4), "n": b.size}
        for i, b in enumerate(bins)
        if b.size
    ]


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure AUROC, what deletion costs, calibration by age and sex, and the peers."""
    stays = load(data)
    say(f"cinc2012: {len(stays.ids)} stays, {int(stays.died.sum())} deaths")
    if not stays.ids:
        return Outcome()
    score: Callable[[Stays, Say], dict[tuple[str, float], Floats]] = _nested if mode == "nested" else _frozen
    found = score(stays, say)
    every = np.ones(len(stays.ids), dtype=bool)
    rows = []
    for kind in KINDS:
        full = _rows(stays, mode, f"AUROC, {LABELS[kind]}", "ansim", found[kind, 0.0], every, GOALS[kind])
        rows.append(full)
        for d in DELETED[1:]:
            row = _rows(stays, mode, f"AUROC, {LABELS[kind]}, {d:.0%} deleted", "ansim", found[kind, d], every)
            rows.append(row)
        if full.value is not None and row.value is not None:
            lost = full.value - row.value
            n = (full.n_positive, full.n_subjects)
            measure = f"AUROC lost when 80% are deleted, {LABELS[kind]}"
            rows.append(Row("cinc2012", measure, "ansim", lost, None, None, *n, mode=mode, goal="<= 0.04"))
    for kind in KINDS:
        rows += _calibration(stays, mode, kind, found[kind, 0.0])
    if peers:
        for name, measure, values, note in peer.scores(
            stays, [(d, keep(stays, d, 101 + i)) for i, d in enumerate(DELETED)], say
        ):
            if values is None:
                rows.append(Row("cinc2012", measure, name, None, mode=mode, note=note))
            else:
                rows.append(_rows(stays, mode, measure, name, values, ~np.isnan(values)))
    return Outcome(rows, _curves(stays, found))


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fit on every stay found; the card carries nested figures."""
    stays = load(data)
    nested = _nested(stays, say)
    fitting = _drawn(stays)
    parameters: dict[str, Any] = {}
    for kind in KINDS:
        say(f"cinc2012 {kind}, all stays")
        tables = [columns(stays, r, kind) for r in fitting]
        flat = np.array([float(f"{v:.5g}") for v in _train(tables, stays.died, np.ones(len(stays.ids), dtype=bool))])
        parameters[kind] = flat.tolist()
        parameters[kind + "_usual"] = _usual(stays, fitting[0], kind, flat)
    return {"early_warning": {"parameters": parameters, "card": _card(stays, nested)}}


def _usual(stays: Stays, records: Records, kind: str, flat: Floats) -> list[float]:
    closed = records.copy()
    warning_model.fold(closed)
    model = Coefficients.of(flat, np.zeros(warning_model.N + 2))
    each = warning_model.terms(warning_model.features(closed, END_S, stays.age, stays.sex), model)
    return [float(f"{v:.5g}") for v in each.mean(axis=0)]


def _card(stays: Stays, nested: dict[tuple[str, float], Floats]) -> dict[str, Any]:
    figures: dict[str, float] = {}
    for (kind, d), score in nested.items():
        figures[f"AUROC, {LABELS[kind]}, {d:.0%} deleted"] = round(auroc(score, stays.died), 4)
    for kind in KINDS:
        figures[f"calibration slope, {LABELS[kind]}"] = round(slope(nested[kind, 0.0], stays.died)[0], 3)
    return {
        "purpose": "Which vitals, and how far, raise the odds of deterioration; compared with the person's own usual "
        "score. Its absolute probability is that of intensive care and is never shown as a person's risk at home.",
        "sets": [
            {"name": "PhysioNet/CinC Challenge 2012", "file": name, "sha256": digest, "subjects": len(stays.ids),
             "licence": "PhysioNet open access, with attribution (Silva et al. 2012)"}
            for name, digest in stays.files
        ],
        "subjects": stays.ids,
        "features": [*warning.CHANNELS, "age", "sex", "value, spread, age of value and time in bands of each vital"],
        "calibration": calibration(nested["conscious", 0.0], stays.died),
        "figures": figures,
        "limits": "Intensive care, not home: arterial saturation stands for SpO2, the coma score for ACVPU, death "
        "is not dated. Deaths over 85 may be under-predicted; at home only the change against the own usual is used.",
        "made_by": "ansim fit cinc2012",
    }  # fmt: skip
