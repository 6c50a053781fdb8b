"""Atrial fibrillation from beat intervals: AFDB with labels, healthy and heart-failure days without (set "af")."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from devices.models import load
from devices.signals import rhythm
from devices.signals.finding import Finding
from devices.signals.rhythm_walk import Rhythm
from service.tools.evaluation import af_peers
from service.tools.evaluation.af_data import (
    LONG_S,
    SHORT_S,
    Caught,
    Recording,
    Windows,
    chosen_model,
    days,
    disturbed,
    fit_windows,
    judge,
    odds,
    recordings,
    run,
    stratified,
    subset,
    windows,
)
from service.tools.evaluation.common import (
    Curve,
    Floats,
    Outcome,
    Row,
    Say,
    auroc,
    bootstrap_auroc,
    file_hash,
    rate_interval,
    share_interval,
)

NAMES: tuple[str, ...] = ("af", "afdb_rr", "rr24h")
MODELS: tuple[str, ...] = ("af",)
FOLDS = 4
CHUNK = 1000
Spans = list[tuple[float, float]]
LIMITS = (
    "Atrial flutter with regular conduction is not seen; multifocal atrial tachycardia and dense ectopy can look like "
    "fibrillation. On a noisy pulse sensor (20 ms jitter, 1 % of beats missed, 1 % added) fibrillation is told about "
    "20 s later and false alarms are more, mostly in heart failure. Calibration is at even prior odds, on the people "
    "fitted to."
)
ROUGH = (("20 ms jitter, 1 % missed, 1 % extra", 20.0, 0.01, 0.01), ("3 % missed, 3 % extra", 0.0, 0.03, 0.03))


def missing(data: Path) -> str | None:
    """The file this needs and does not find, or None."""
    return next((p for p in ("afdb_rr*.npz", "rr24h*.npz") if not list(data.glob(p))), None)


def replay(people: list[Recording], model: Rhythm) -> list[list[Finding]]:
    """What the product finds when everybody's beats arrive in uploads of 1,000."""
    records, found = rhythm.blank(len(people)), [list[Finding]() for _ in people]
    ends = [np.concatenate([[0], np.cumsum(np.rint(one.rr_ms).astype(np.int64))]) * 1000 for one in people]
    for at in range(0, max((one.rr_ms.size for one in people), default=0), CHUNK):
        who = np.array([i for i, one in enumerate(people) if one.rr_ms.size > at], dtype=np.int64)
        runs = [people[i].rr_ms[at : at + CHUNK] for i in who]
        first = np.concatenate([[0], np.cumsum([r.size for r in runs])[:-1]]).astype(np.int64)
        start = np.array([ends[i][at] for i in who], dtype=np.int64)
        for i, new in enumerate(rhythm.update(records, who, start, np.concatenate(runs), first, model)):
            found[i] += new
    return found


def spans(found: list[Finding]) -> list[tuple[float, float]]:
    """When the sign of fibrillation held, s."""
    held: list[tuple[float, float]] = []
    for one in found:
        if one.code == "atrial_fibrillation":
            at = one.at_us / 1e6
            if one.ended:
                held[-1] = (held[-1][0], at)
            else:
                held.append((at, np.inf))
    return held


def _rows(
    people: list[Recording], caught: Caught, mode: str, detector: str, goals: bool, suffix: str = ""
) -> list[Row]:
    rows = []
    n_af = sum(one.group == "af" for one in people)
    for least, goal in ((LONG_S, ">= 1"), (SHORT_S, ">= 0.98")):
        of = caught.length_s >= least
        k, n = int(caught.found[of].sum()), int(of.sum())
        low, high = share_interval(k, n) if n else (None, None)
        rows.append(Row("af", f"sensitivity, episodes of {least / 60:.0f} min or more{suffix}", detector,
                        k / n if n else None, low, high, n, n_af, None, mode, goal if goals else None))  # fmt: skip
    late = (caught.length_s >= SHORT_S) & (caught.delay_s > 0)
    for name, q, limit in (("median", 50, "<= 45"), ("p90", 90, "")):
        value = float(np.percentile(caught.delay_s[late], q)) if late.any() else None
        rows.append(Row("af", f"delay {name}, s, episodes of 2 min or more{suffix}", detector, value, None, None,
                        int(late.sum()), n_af, None, mode, limit if goals and limit else None,
                        "episodes that began while the sign of an earlier one still held are left out"))  # fmt: skip
    for name, group in (("healthy", "healthy"), ("heart failure", "chf"), ("healthy and heart failure", None)):
        own = [one for one in people if one.group != "af" and group in (None, one.group)]
        k, exposure = sum(caught.false.get(one.name, 0) for one in own), days(people, group)
        if not exposure:
            continue
        low, high = rate_interval(k, exposure)
        worst = max((caught.false.get(one.name, 0) for one in own), default=0)
        rows.append(Row("af", f"false alarms per patient-day, {name}{suffix}", detector, k / exposure, low, high, k,
                        len(own), 24 * exposure, mode, "<= 0.06" if goals and group != "chf" else None,
                        f"{k} alarms an hour apart, {worst} of them by one person"))  # fmt: skip
    return rows


def _window_rows(people: list[Recording], found: Windows, score: Floats, mode: str) -> list[Row]:
    clean = found.clean
    positive, value, who = found.share[clean] > 0.5, score[clean], found.who[clean]
    if not positive.any() or positive.all():
        return []
    low, high = bootstrap_auroc(value, positive, who.tolist(), rounds=20)
    hit, right = value[positive] > 0, value[~positive] <= 0
    note = "clean windows of one rhythm, 32 beats; each class of windows counted whole"
    count = len(people)
    return [
        Row("af", "window AUROC", "ansim", auroc(value, positive), low, high, hit.size, count, None, mode, None, note),
        Row("af", "window sensitivity", "ansim", float(hit.mean()), None, None, hit.size, count, None, mode),
        Row("af", "window specificity", "ansim", float(right.mean()), None, None, hit.size, count, None, mode),
    ]  # fmt: skip


def calibration(found: Windows, score: Floats) -> list[dict[str, float]]:
    """Predicted against observed share of fibrillation in bins of probability, classes weighted alike."""
    clean = found.clean
    positive = found.share[clean] > 0.5
    p = 1 / (1 + np.exp(-score[clean]))
    weight = np.where(positive, 0.5 / max(positive.sum(), 1), 0.5 / max((~positive).sum(), 1))
    rows = []
    edges = [0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0001]
    for a, b in pairwise(edges):
        of = (p >= a) & (p < b)
        if of.any():
            total = float(weight[of].sum())
            predicted, observed = float((p * weight)[of].sum()) / total, float(weight[of & positive].sum()) / total
            share = {"predicted": round(predicted, 4), "observed": round(observed, 4)}
            rows.append({"bin": a, **share, "n": int(of.sum())})
    return rows


def _curve(people: list[Recording], found: Windows, score: Floats, rule: dict[str, float]) -> Curve | None:
    exposure = days(people)
    if not exposure:
        return None
    arms = [5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 26.0, 34.0]
    arms = sorted({*arms, rule["arm"]})
    rules = [{**rule, "arm": a, "most": 1.5 * a, "clear": 0.3 * a} for a in arms]
    points = []
    for signs in run(found, score, len(people), rules):
        caught = judge(people, signs)
        of = caught.length_s >= SHORT_S
        points.append((sum(caught.false.values()) / exposure, float(caught.found[of].mean()) if of.any() else np.nan))
    rates, shares = [p[0] for p in points], [p[1] for p in points]
    title = "Episodes of 2 min or more found, by false alarms"
    mark = points[arms.index(rule["arm"])]
    return Curve("af", title, "false alarms per patient-day", "share found", rates, shares, mark=mark)


def _merge(
    parts: list[list[list[tuple[float, float]]]], masks: list[Any], count: int
) -> list[list[tuple[float, float]]]:
    whole: list[list[tuple[float, float]]] = [[] for _ in range(count)]
    for part, mask in zip(parts, masks, strict=True):
        for i, one in zip(np.flatnonzero(mask).tolist(), part, strict=True):
            whole[i] = one
    return whole


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure; "nested" fits and chooses on other people, "frozen" takes the shipped model."""
    people = recordings(data)
    say(f"af: {len(people)} recordings, {sum(one.rr_ms.size for one in people):,} beats")
    found = windows(people)
    if mode == "nested":
        fitted = fit_windows(people)
        masks = list(stratified(people, FOLDS))
        models = []
        for k, held in enumerate(masks):
            models.append(chosen_model(*subset(people, found, ~held), subset(people, fitted, ~held)[1]))
            say(
                f"af: fold {k + 1} of {len(masks)}: "
                + ", ".join(f"{n} {models[-1][n]:g}" for n in ("bias", "up", "arm"))
            )
    else:
        masks, models = [np.ones(len(people), dtype=bool)], [dict(load("af").parameters)]
    score = np.zeros(found.who.size)
    for held, model in zip(masks, models, strict=True):
        score[held[found.who]] = odds(found.of(held[found.who]), model)
    outcome = Outcome()
    rough = ROUGH[:1] if mode == "nested" else ROUGH
    for k, (name, jitter, missed, extra) in enumerate((("", 0.0, 0.0, 0.0), *rough)):
        heard = people if not name else [disturbed(one, 40 + k, jitter, missed, extra) for one in people]
        parts = [replay([heard[i] for i in np.flatnonzero(held)], Rhythm.of(model))
                 for held, model in zip(masks, models, strict=True)]  # fmt: skip
        whole = _merge([[spans(one) for one in part] for part in parts], masks, len(people))
        suffix = f" ({name})" if name else ""
        outcome.rows += _rows(heard, judge(heard, whole), mode, "ansim", not name, suffix)
        if not name:
            outcome.rows += _other_rows(people, [f for part in parts for f in part], masks, mode)
        say(f"af: replayed{suffix}")
    outcome.rows += _window_rows(people, found, score, mode)
    curve = _curve(people, found, score, {k: models[0][k] for k in ("bias", "up", "down", "arm", "most", "clear")})
    outcome.curves += [curve] if curve else []
    bins = calibration(found, score)
    outcome.curves.append(Curve("af", "Calibration of a window", "predicted", "observed",
                                [b["predicted"] for b in bins], [b["observed"] for b in bins]))  # fmt: skip
    if peers:
        outcome.rows += af_peers.rows(people, mode, _rows)
    return outcome


def _other_rows(people: list[Recording], found: list[list[Finding]], masks: list[Any], mode: str) -> list[Row]:
    """How often the other signs begin in days without a labelled event."""
    order = np.concatenate([np.flatnonzero(mask) for mask in masks]).tolist()
    rows = []
    for code in ("bradycardia", "tachycardia", "pause"):
        k = sum(f.code == code and not f.ended and (code != "pause" or f.llr > 1)
                for i, own in zip(order, found, strict=True) if people[i].group != "af" for f in own)  # fmt: skip
        exposure = days(people)
        if exposure:
            low, high = rate_interval(k, exposure)
            rows.append(Row("af", f"{code} findings per patient-day", "ansim", k / exposure, low, high, None,
                            sum(one.group != "af" for one in people), 24 * exposure, mode, None,
                            "healthy and heart failure; unlabelled, so some are true"))  # fmt: skip
    return rows


def _told(row: Row) -> bool:
    """Whether the card tells this figure: what has a goal, and the false alarms of a rough signal."""
    return row.goal is not None or row.measure.startswith("false alarms")


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fit on all people; the card carries what was measured just now on people left out."""
    rows = evaluate(data, "nested", False, say).rows
    figures = {row.measure: round(row.value, 4) for row in rows if row.value is not None and _told(row)}
    people = recordings(data)
    found, fitted = windows(people), fit_windows(people)
    say(f"af: {fitted.who.size:,} windows of {len(people)} people")
    parameters = chosen_model(people, found, fitted, FOLDS)
    sets = [
        {"name": name, "file": path.name, "sha256": file_hash(path), "subjects": count,
         "licence": "PhysioNet open access, attribution"}
        for name, pattern, count in (
            ("MIT-BIH Atrial Fibrillation (AFDB)", "afdb_rr*.npz", sum(one.group == "af" for one in people)),
            ("NSR2DB and CHF2DB RR intervals", "rr24h*.npz", sum(one.group != "af" for one in people)))
        for path in sorted(data.glob(pattern))
    ]  # fmt: skip
    card = {
        "purpose": "atrial fibrillation from 32 successive beat intervals, and the rule that sums the evidence",
        "sets": sets,
        "subjects": [one.name for one in people],
        "features": list(rhythm.FEATURES),
        "calibration": calibration(found, odds(found, parameters)),
        "figures": figures,
        "limits": LIMITS,
        "made_by": "ansim fit af",
    }
    return {"af": {"parameters": parameters, "card": card}}
