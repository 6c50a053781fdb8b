"""Falls at the wrist: staged falls and daily tasks (WEDA-FALL), and hours of wear without a fall (Empatica E4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.signals import wrist_falls
from devices.signals.impacts import RATE_HZ, Floats, between, impacts, magnitude, unrest_g
from service.tools.evaluation import wrist_training as training
from service.tools.evaluation.common import Curve, Outcome, Row, Say, file_hash, rate_interval, share_interval
from service.tools.evaluation.wrist_training import Looks, Recording

NAMES = ("weda_fall", "exam_stress")
MODELS = (wrist_falls.MODEL,)
OUTER, INNER, SEED = 5, 4, 20_251
RATES = (0.03, 0.01, 0.02, 0.1)
"""Questions an hour worn that a threshold is chosen for on people of the inner folds; the first is the product's.
The networks of the inner folds learnt from a wearer less, which makes their tail heavier: fewer come about."""
SENSITIVITY_GOAL, RATE_GOAL = ">= 0.90", "<= 0.02"
WINDOW_S = (wrist_falls.AFTER + wrist_falls.SETTLE) / RATE_HZ
PEAK_G, PEAK_STILL_G, PEAK_APART_S = 2.5, 0.1, 10.0
"""The fixed rules to compare with: policy, as commonly set."""


def missing(data: Path) -> str | None:
    """The file this needs and does not find, or None."""
    for name in ("weda_fall_accel*.npz", "weda_fall_timestamps*.csv"):
        if not any(data.glob(name)):
            return name
    return None


@dataclass(slots=True)
class Judged:
    """Recordings with the log-odds of each impact and the thresholds their fold works with, one a rate."""

    recordings: Sequence[Recording]
    seen: Looks
    score: Floats
    like_e4: Looks
    score_e4: Floats
    limits: Floats
    """(recordings, rates)."""
    notes: list[str] = field(default_factory=list)

    def best(self, which: str = "plain") -> Floats:
        """Highest score within the fall of each recording of a fall, of any impact for the others; -inf for none."""
        seen, score = (self.seen, self.score) if which == "plain" else (self.like_e4, self.score_e4)
        fall = np.array([one.kind == "fall" for one in self.recordings])
        best = np.full(len(self.recordings), -np.inf)
        counts = seen.inside | ~fall[seen.recording]
        np.maximum.at(best, seen.recording[counts], score[counts])
        return best


def read(data: Path, say: Say) -> list[Recording]:
    recordings = [*training.weda(data), *training.wear(data)]
    hours = sum(one.hours for one in recordings if one.kind == "wear")
    say(f"weda_fall: {sum(one.kind == 'fall' for one in recordings)} falls, {hours:.1f} h of wear")
    return recordings


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure; `mode` is "nested" (fit and choose on other subjects) or "frozen" (the shipped model)."""
    recordings = read(data, say)
    judged = _nested(recordings, say) if mode == "nested" else _frozen(recordings)
    outcome = Outcome(_rows(judged, mode), _curves(judged))
    if peers:
        outcome.rows += _peers(recordings, mode)
    return outcome


def _looked(recordings: Sequence[Recording]) -> tuple[Looks, Looks]:
    return training.looks(recordings), training.looks(recordings, "e4")


def _frozen(recordings: Sequence[Recording]) -> Judged:
    plain, like_e4 = _looked(recordings)
    limit = float(training.log_odds(np.array([wrist_falls.prompt_threshold()]))[0])
    limits = np.full((len(recordings), 1), limit)
    score, score_e4 = (training.log_odds(wrist_falls.probability(one.rows)) for one in (plain, like_e4))
    return Judged(recordings, plain, score, like_e4, score_e4, limits)


def _nested(recordings: Sequence[Recording], say: Say) -> Judged:
    taught = training.lessons(recordings)
    plain, like_e4 = _looked(recordings)
    score, score_e4 = np.full(plain.recording.size, -np.inf), np.full(like_e4.recording.size, -np.inf)
    limits = np.full((len(recordings), len(RATES)), np.nan)
    outer = training.split(recordings, OUTER, SEED)
    for k in np.unique(outer):
        say(f"weda_fall: fold {k + 1} of {np.unique(outer).size}")
        train = outer != k
        limits[outer == k] = np.inf
        if not training.teachable(taught, train[taught.recording]):
            say("weda_fall: nobody else to learn from; what this fold holds counts as missed")
            continue
        net = training.fitted(taught, train[taught.recording])
        for seen, into in ((plain, score), (like_e4, score_e4)):
            test = outer[seen.recording] == k
            into[test] = training.log_odds(wrist_falls.score(net, seen.rows[test]))
        limits[outer == k] = _thresholds(recordings, taught, plain, train, int(k))
    return Judged(recordings, plain, score, like_e4, score_e4, limits)


def _held_out(
    recordings: Sequence[Recording], taught: training.Lessons, plain: Looks, train: npt.NDArray[np.bool_], seed: int
) -> Floats:
    """Log-odds of the impacts of the training recordings, each by networks that never saw its subject."""
    items = np.flatnonzero(train)
    inner = np.full(len(recordings), -1)
    inner[items] = training.split([recordings[int(i)] for i in items], INNER, SEED + 1 + seed)
    score = np.full(plain.recording.size, np.nan)
    for j in range(INNER):
        learn = (inner >= 0) & (inner != j)
        test = inner[plain.recording] == j
        if not training.teachable(taught, learn[taught.recording]):
            continue
        net = training.fitted(taught, learn[taught.recording])
        score[test] = training.log_odds(wrist_falls.score(net, plain.rows[test]))
    return score


def _thresholds(
    recordings: Sequence[Recording], taught: training.Lessons, plain: Looks, train: npt.NDArray[np.bool_], seed: int
) -> Floats:
    return _chosen(recordings, plain, _held_out(recordings, taught, plain, train, seed))


def _chosen(recordings: Sequence[Recording], plain: Looks, score: Floats) -> Floats:
    worn = np.array([one.kind == "wear" for one in recordings])
    used = np.flatnonzero(worn[plain.recording] & np.isfinite(score))
    hours = sum(recordings[int(i)].hours for i in np.unique(plain.recording[used]))
    top = training.apart(score[used], plain.recording[used], plain.at_s[used])
    return np.array([training.threshold(score[used][top], hours, rate) for rate in RATES])


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fit on all subjects: model name -> {"parameters": ..., "card": ...}."""
    recordings = read(data, say)
    taught, plain = training.lessons(recordings), training.looks(recordings)
    everybody = np.ones(len(recordings), np.bool_)
    net = training.fitted(taught, everybody[taught.recording])
    limit = float(_thresholds(recordings, taught, plain, everybody, OUTER)[0])
    judged = _nested(recordings, say)
    parameters: dict[str, Any] = {key: _short(value).tolist() for key, value in net.items()}
    parameters["threshold"] = float(1 / (1 + np.exp(-limit)))
    fall, rest = taught.weight[taught.fall].sum(), taught.weight[~taught.fall].sum()
    parameters["prior_log_odds"] = float(np.log(fall / rest))
    return {wrist_falls.MODEL: {"parameters": parameters, "card": _card(data, judged)}}


def _short(values: Floats) -> Floats:
    """Four significant digits are enough for a weight, and keep the document small."""
    return np.array([float(f"{v:.4g}") for v in np.ravel(values)]).reshape(np.shape(values))


def _card(data: Path, judged: Judged) -> dict[str, Any]:
    subjects = sorted({one.subject for one in judged.recordings})
    sets = [
        {
            "name": "weda_fall", "file": path.name, "sha256": file_hash(path),
            "subjects": sum(one.startswith("weda") for one in subjects), "licence": "not stated by its owners",
        }
        for path in sorted(data.glob("weda_fall_accel*.npz"))
    ] + [
        {
            "name": "exam_stress", "file": str(path.relative_to(data)), "sha256": file_hash(path),
            "subjects": 1, "licence": "PhysioNet, open access with attribution",
        }
        for path in sorted(data.glob("exam_stress/*/*/ACC.csv*"))
    ]  # fmt: skip
    figures = {
        row.measure: [row.value, row.ci_low, row.ci_high] for row in _rows(judged, "nested") if row.goal is not None
    }
    return {
        "purpose": "whether an impact felt at the wrist is a fall: asks the wearer",
        "sets": sets,
        "subjects": subjects,
        "features": "109 of the three seconds on either side of an impact, held within 2 g and smoothed to 6 Hz",
        "calibration": _calibration(judged),
        "figures": figures,
        "limits": "Every fall was staged by the young; no real fall of an elder was seen. Wear is of students at ±2 g. "
        "A wrist that returns to its place within 20 degrees, or lies dead still at once, is never taken for a fall.",
        "made_by": "ansim fit weda_fall",
    }


def _calibration(judged: Judged) -> list[dict[str, Any]]:
    """Predicted and observed share of falls among trials and sessions' impacts a minute apart, held out."""
    keep = training.apart(judged.score, judged.seen.recording, judged.seen.at_s)
    fall = np.array([one.kind == "fall" for one in judged.recordings])[judged.seen.recording]
    keep = keep[judged.seen.inside[keep] | ~fall[keep]]
    p, y = 1 / (1 + np.exp(-np.clip(judged.score[keep], -30, 30))), judged.seen.inside[keep]
    bins = np.digitize(p, (0.01, 0.1, 0.5, 0.9, 0.99))
    return [
        {"bin": int(b), "predicted": float(p[bins == b].mean()), "observed": float(y[bins == b].mean()),
         "n": int((bins == b).sum())}
        for b in np.unique(bins)
    ]  # fmt: skip


def _share(measure: str, hit: npt.NDArray[np.bool_], people: int, mode: str, **more: Any) -> Row:
    k, n = int(hit.sum()), hit.size
    low, high = share_interval(k, n) if n else (None, None)
    return Row("weda_fall", measure, "ansim", k / n if n else None, low, high, n, people, mode=mode, **more)


def _rows(judged: Judged, mode: str) -> list[Row]:
    limit = judged.limits[:, 0]
    rows = _falls(judged, limit, mode)
    rows += _worn(judged, limit, mode, "", RATE_GOAL)
    rows += _trials(judged, limit, mode)
    for column, rate in enumerate(RATES[1 : judged.limits.shape[1]], 1):
        caught = _caught(judged, judged.limits[:, column])
        name = f", threshold chosen for {rate:g} an hour"
        rows.append(_share(f"sensitivity{name}", caught, _people(judged, "fall"), mode))
        rows += _worn(judged, judged.limits[:, column], mode, name, None)
    return rows


def _people(judged: Judged, kind: str) -> int:
    return len({one.subject for one in judged.recordings if one.kind == kind})


def _caught(judged: Judged, limit: Floats, which: str = "plain") -> npt.NDArray[np.bool_]:
    fall = np.array([one.kind == "fall" for one in judged.recordings])
    return np.asarray((judged.best(which) >= limit)[fall])


def _falls(judged: Judged, limit: Floats, mode: str) -> list[Row]:
    falls = [one for one in judged.recordings if one.kind == "fall"]
    caught, people = _caught(judged, limit), _people(judged, "fall")
    rows = [
        _share("sensitivity", caught, people, mode, goal=SENSITIVITY_GOAL),
        _share(
            "sensitivity, falls as an E4 records them", _caught(judged, limit, "e4"), people, mode,
            note="held within 2 g, 32 Hz, 1/64 g: what the wear was recorded with",
        ),
    ]  # fmt: skip
    elder = np.array([one.elder for one in falls], np.bool_)
    for name, group in (("young", ~elder), ("elder", elder)):
        who = len({one.subject for one, yes in zip(falls, group, strict=True) if yes})
        rows.append(_share(f"sensitivity, {name}", caught[group], who, mode, note="sex is not in the recordings"))
    kinds = np.array([one.key.partition("/")[0] for one in falls])
    rows += [_share(f"sensitivity, {kind}", caught[kinds == kind], people, mode) for kind in np.unique(kinds)]
    delays = _delays(judged, limit)
    for name, share in (("median", 50), ("90 %", 90)):
        value = float(np.percentile(delays, share)) if delays.size else None
        rows.append(Row("weda_fall", f"delay from the begin of a fall to the question, s, {name}", "ansim", value,
                        n_positive=delays.size, n_subjects=people, mode=mode))  # fmt: skip
    return rows


def _delays(judged: Judged, limit: Floats) -> Floats:
    seen = judged.seen
    asked = seen.inside & (judged.score >= limit[seen.recording])
    first: dict[int, float] = {}
    for i in np.flatnonzero(asked):
        number = int(seen.recording[i])
        start = (judged.recordings[number].fall_s or (0.0, 0.0))[0]
        first[number] = min(first.get(number, np.inf), float(seen.at_s[i]) + WINDOW_S - start)
    return np.array(list(first.values()))


def _asked(judged: Judged, limit: Floats, kinds: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Impacts outside falls that would bring a question, a minute apart."""
    seen = judged.seen
    named = np.array([one.kind in kinds for one in judged.recordings])
    over = np.flatnonzero(named[seen.recording] & (judged.score >= limit[seen.recording]))
    return over[training.apart(judged.score[over], seen.recording[over], seen.at_s[over])]


def _worn(judged: Judged, limit: Floats, mode: str, name: str, goal: str | None) -> list[Row]:
    hours = sum(one.hours for one in judged.recordings if one.kind == "wear")
    if not hours:
        return [Row("weda_fall", f"false questions per hour worn{name}", "ansim", None, mode=mode, goal=goal,
                    note="no continuous wear in the data: exam_stress/*/*/ACC.csv.xz")]  # fmt: skip
    asked, people = _asked(judged, limit, ("wear",)), _people(judged, "wear")
    grave = int(judged.seen.still[asked].sum())
    rows = []
    for measure, count, reach in (
        (f"false questions per hour worn{name}", asked.size, goal),
        (f"dispatch tier per hour worn{name}", grave, goal and "<= 0"),
    ):
        low, high = rate_interval(count, hours)
        rows.append(Row("weda_fall", measure, "ansim", count / hours, low, high, None, people, hours, mode, reach,
                        f"{count} in all; the hours off the wrist in these sessions count as worn"))  # fmt: skip
    return rows


def _trials(judged: Judged, limit: Floats, mode: str) -> list[Row]:
    """Scripted daily tasks, of which a few are made to look like falls."""
    rows = []
    flagged = judged.best() >= limit
    for name, elder, goal in (("elder", True, "<= 0.01"), ("young", False, None)):
        group = np.array([one.kind == "daily" and one.elder == elder for one in judged.recordings])
        people = len({one.subject for one, yes in zip(judged.recordings, group, strict=True) if yes})
        rows.append(_share(f"daily trials flagged, {name}", flagged[group], people, mode, goal=goal))
    hours = sum(one.hours for one in judged.recordings if one.kind != "fall")
    count = _asked(judged, limit, ("wear", "daily")).size
    low, high = rate_interval(count, hours) if hours else (None, None)
    rows.append(Row("weda_fall", "false questions per hour, wear and scripted trials together", "ansim",
                    count / hours if hours else None, low, high, None, None, hours, mode))  # fmt: skip
    return rows


def _curves(judged: Judged) -> list[Curve]:
    """Sensitivity against false questions an hour worn, over all thresholds; the mark is where the product works."""
    hours = sum(one.hours for one in judged.recordings if one.kind == "wear")
    fall = np.array([one.kind == "fall" for one in judged.recordings])
    best = judged.best()[fall]
    if not hours or not best.size:
        return []
    off = np.where(np.isfinite(judged.limits[:, 0]), judged.limits[:, 0], 0.0)
    curves = []
    for which, title in (("plain", "as recorded"), ("e4", "as an E4 records them")):
        score = judged.best(which)[fall] - off[fall]
        steps = np.arange(-12.0, 8.0, 0.25)
        rates = [_asked(judged, off + step, ("wear",)).size / hours for step in steps]
        hits = [float((score >= step).mean()) for step in steps]
        mark = (max(_asked(judged, off, ("wear",)).size / hours, 0.5 / hours), float((score >= 0).mean()))
        shown = [max(rate, 0.5 / hours) for rate in rates]
        name = f"wrist falls {title}; none seen is drawn as half of one"
        axes = ("false questions per hour worn", "sensitivity")
        curves.append(Curve("weda_fall", name, *axes, shown, hits, log_x=True, mark=mark))
    return curves


def _peers(recordings: Sequence[Recording], mode: str) -> list[Row]:
    rows = []
    for detector, rule in (("|a| >= 2.5 g", _peak), ("|a| >= 2.5 g, then still 1-3 s", _peak_and_still)):
        rows += _peer(recordings, detector, rule, mode)
    return rows


def _peak(_signal: Floats, _index: int) -> bool:
    return True


def _peak_and_still(signal: Floats, index: int) -> bool:
    return unrest_g(between(signal, index, 1.0, 3.0)) < PEAK_STILL_G


def _peer(recordings: Sequence[Recording], detector: str, rule: Callable[[Floats, int], bool], mode: str) -> list[Row]:
    caught, elders, count, hours = [], [], 0, 0.0
    for one in recordings:
        found = impacts(magnitude(one.signal), PEAK_G, PEAK_APART_S)
        hits = np.array([i / RATE_HZ for i in found if rule(one.signal, int(i))])
        if one.fall_s is not None:
            low, high = one.fall_s
            caught.append(bool(((hits >= low - training.EARLY_S) & (hits <= high + training.LATE_S)).any()))
        elif one.kind == "wear":
            count, hours = count + hits.size, hours + one.hours
        elif one.elder:
            elders.append(hits.size > 0)
    rows = []
    for measure, given in (("sensitivity", caught), ("daily trials flagged, elder", elders)):
        if given:
            k, n = sum(given), len(given)
            rows.append(Row("weda_fall", measure, detector, k / n, *share_interval(k, n), n, mode=mode))
    if hours:
        rows.append(Row("weda_fall", "false questions per hour worn", detector, count / hours,
                        *rate_interval(count, hours), negative_hours=hours, mode=mode))  # fmt: skip
    return rows
