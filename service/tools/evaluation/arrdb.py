"""Fibrillation carried over to other patients, another hospital and another country without refit (set "arrdb")."""

from __future__ import annotations

import csv
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals.rhythm_features import BEATS, Classifier, log_odds
from service.tools.evaluation import af_data
from service.tools.evaluation.af_peers import coefficient_of_sample_entropy, irregular
from service.tools.evaluation.common import (
    Curve,
    Floats,
    Outcome,
    Row,
    Say,
    auroc,
    bootstrap_auroc,
    share_interval,
)

NAMES: tuple[str, ...] = ("arrdb", "vitaldb_arrdb")
MODELS: tuple[str, ...] = ()
FIBRILLATION, SINUS = "AFIB/AFL", "N"
EVERY = 8
SPECIFICITY = 0.98
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Beats:
    """Beats of all cases; an interval is that from the beat before."""

    case: npt.NDArray[np.str_]
    rr_ms: Floats
    rhythm: npt.NDArray[np.str_]
    noisy: Bools
    """The beat, or anything between it and the one before it, was marked as of bad quality."""


def missing(data: Path) -> str | None:
    """The file this needs and does not find, or None."""
    return None if list(data.glob("vitaldb_arrdb_beats*.csv.xz")) else "vitaldb_arrdb_beats*.csv.xz"


def _read(data: Path) -> _Beats:
    rows: list[tuple[str, float, str, bool, bool]] = []
    for path in sorted(data.glob("vitaldb_arrdb_beats*.csv.xz")):
        with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                bad = row["bad_signal_quality"].strip().lower() == "true"
                rows.append((f"{path.name}/{row['case_id']}", float(row["time_second"]), row["rhythm_label"], bad,
                             bool(row["beat_type"])))  # fmt: skip
    rows.sort(key=lambda r: (r[0], r[1]))
    case, time, rhythm, bad, beat = (np.array(column) for column in zip(*rows, strict=True))
    # Rows without a beat mark noise: it soils the interval that spans it.
    soiled = np.cumsum(bad)
    keep = np.flatnonzero(beat)
    new = np.append(True, case[keep][1:] != case[keep][:-1])
    rr = np.diff(time[keep], prepend=0.0) * 1000
    noisy = np.diff(soiled[keep], prepend=0) > 0
    return _Beats(case[keep], np.where(new, np.nan, rr), rhythm[keep], noisy)


@dataclass(frozen=True, slots=True)
class _Windows:
    rr: Floats
    case: npt.NDArray[np.str_]
    share: Floats
    rhythm: npt.NDArray[np.str_]
    """The one rhythm of the window; empty where several."""
    noisy: Bools

    @property
    def clean(self) -> Bools:
        clean: Bools = (self.rhythm != "") & ~self.noisy
        return clean

    def of(self, mask: Bools) -> _Windows:
        return _Windows(*(getattr(self, name)[mask] for name in self.__slots__))


def _total(values: Any, ends: Any, beats: int = BEATS) -> Any:
    total = np.concatenate([[0], np.cumsum(values)])
    return total[ends + 1] - total[ends + 1 - beats]


def _windows(beats: _Beats) -> _Windows:
    """Windows of 32 intervals within one case and without an impossible one, eight beats apart."""
    ends = np.arange(BEATS - 1, beats.rr_ms.size, EVERY)
    possible = (beats.rr_ms >= 200) & (beats.rr_ms < 3000)
    ends = ends[_total(~possible, ends) == 0]
    _, code = np.unique(beats.rhythm, return_inverse=True)
    turns = np.diff(code, prepend=code[:1]) != 0
    single = _total(turns, ends, BEATS - 1) == 0
    rr = beats.rr_ms[ends[:, None] + np.arange(1 - BEATS, 1)]
    share = _total(beats.rhythm == FIBRILLATION, ends) / BEATS
    rhythm = np.where(single, beats.rhythm[ends], "")
    return _Windows(rr, beats.case[ends], share, rhythm, _total(beats.noisy, ends) > 0)


def _fitted(data: Path, mode: str, say: Say) -> Classifier:
    """The shipped model, or in nested mode one fitted anew to AFDB and the 24 h recordings; never to this set."""
    if mode != "nested":
        return Classifier.from_model(load("af"))
    people = af_data.recordings(data)
    if not any(one.group == "af" for one in people):
        say("arrdb: no afdb_rr*.npz to fit to: the shipped model is taken")
        return Classifier.from_model(load("af"))
    say(f"arrdb: fitting to {len(people)} people of AFDB and the 24 h recordings")
    return Classifier.of(af_data.fit_classifier(af_data.fit_windows(people)))


def _score(rr: Floats, model: Classifier) -> Floats:
    parts = [log_odds(rr[k : k + 2000], model) for k in range(0, rr.shape[0], 2000)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _share(measure: str, hit: Bools, cases: Any, mode: str, goal: str | None = None, note: str | None = None) -> Row:
    """A share of windows, with the interval of the share over cases drawn anew (windows of one case are alike)."""
    if not hit.size:
        return Row("arrdb", measure, "ansim", None, mode=mode, goal=goal, note="no such window")
    names, code = np.unique(cases, return_inverse=True)
    total, good = np.bincount(code), np.bincount(code, weights=hit)
    draws = np.random.default_rng(7).integers(0, names.size, (500, names.size))
    low, high = np.percentile(good[draws].sum(axis=1) / total[draws].sum(axis=1), [2.5, 97.5])
    if names.size == 1:
        low, high = share_interval(int(hit.sum()), hit.size)
    return Row("arrdb", measure, "ansim", float(hit.mean()), float(low), float(high), hit.size, names.size, None,
               mode, goal, note)  # fmt: skip


def _rows(found: _Windows, score: Floats, mode: str, name: str, goals: bool) -> list[Row]:
    positive = found.share > 0.5
    cases = np.unique(found.case).size
    if not positive.any() or positive.all():
        return [Row("arrdb", f"window AUROC, {name}", "ansim", None, None, None, int(positive.sum()), cases, None, mode,
                    ">= 0.992" if goals else None, "one class only")]  # fmt: skip
    low, high = bootstrap_auroc(score, positive, found.case.tolist(), rounds=60)
    limit = float(np.quantile(score[~positive], SPECIFICITY))
    return [
        Row("arrdb", f"window AUROC, {name}", "ansim", auroc(score, positive), low, high, int(positive.sum()), cases,
            None, mode, ">= 0.992" if goals else None),
        _share(f"sensitivity at specificity 0.98, {name}", score[positive] > limit, found.case[positive], mode,
               ">= 0.96" if goals else None, f"at log-odds {limit:.2f}; the shipped point is 0"),
        _share(f"sensitivity at the shipped point, {name}", score[positive] > 0, found.case[positive], mode),
        _share(f"specificity at the shipped point, {name}", score[~positive] <= 0, found.case[~positive], mode),
    ]  # fmt: skip


def _by_rhythm(found: _Windows, score: Floats, mode: str) -> list[Row]:
    limit = float(np.quantile(score[found.share <= 0.5], SPECIFICITY)) if (found.share <= 0.5).any() else 0.0
    rows = []
    for rhythm in np.unique(found.rhythm).tolist():
        of = found.rhythm == rhythm
        if rhythm in ("", FIBRILLATION):
            continue
        name = "sinus rhythm" if rhythm == SINUS else str(rhythm)
        rows.append(_share(f"specificity in {name}, at overall 0.98", score[of] <= limit, found.case[of], mode))
    return rows


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure windows of 32 beats; no part of this set is ever fitted to."""
    beats = _read(data)
    found = _windows(beats)
    say(f"arrdb: {beats.rr_ms.size:,} beats, {found.case.size:,} windows")
    score = _score(found.rr, _fitted(data, mode, say))
    clean = found.clean
    outcome = Outcome(_rows(found.of(clean), score[clean], mode, "clean windows of one rhythm", True))
    outcome.rows += _rows(found, score, mode, "all windows", False)
    outcome.rows += _by_rhythm(found.of(clean), score[clean], mode)
    outcome.curves += _curves(found.of(clean), score[clean])
    if peers:
        outcome.rows += _peers(found.of(clean), mode)
    return outcome


def _curves(found: _Windows, score: Floats) -> list[Curve]:
    positive = found.share > 0.5
    if not positive.any() or positive.all():
        return []
    grid = np.quantile(score[~positive], np.linspace(0.8, 1, 60))
    alarm = [float((score[~positive] > x).mean()) for x in grid]
    hit = [float((score[positive] > x).mean()) for x in grid]
    mark = (float((score[~positive] > 0).mean()), float((score[positive] > 0).mean()))
    return [Curve("arrdb", "Windows of 32 beats, carried over", "false positive share", "sensitivity", alarm, hit,
                  mark=mark)]  # fmt: skip


def _peers(found: _Windows, mode: str) -> list[Row]:
    positive = found.share > 0.5
    rows = []
    for name, rule in (("fixed limit RMSSD/mean > 0.1", irregular), ("CosEn > -1.4", coefficient_of_sample_entropy)):
        parts = [rule(found.rr[k : k + 2000]) for k in range(0, positive.size, 2000)]
        on = np.concatenate(parts) if parts else np.zeros(0, dtype=bool)
        for measure, hit in (("sensitivity", on[positive]), ("specificity", ~on[~positive])):
            value = float(hit.mean()) if hit.size else None
            low, high = share_interval(int(hit.sum()), hit.size) if hit.size else (None, None)
            rows.append(Row("arrdb", f"{measure}, clean windows of one rhythm", name, value, low, high, hit.size,
                            int(np.unique(found.case).size), None, mode))  # fmt: skip
    return rows
