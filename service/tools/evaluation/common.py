"""What every evaluation shares: rows, curves, intervals, folds by subject."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2, rankdata

Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]
SEED = 20_251
"""Of the folds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure, as the contract prints it; `goal` is what we set ourselves, if anything."""

    set: str
    measure: str
    detector: str
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n_positive: int | None = None
    n_subjects: int | None = None
    negative_hours: float | None = None
    mode: str = "nested"
    goal: str | None = None
    """Such as ">= 0.98" or "<= 45"."""
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of the report: operating curve, calibration, delay distribution."""

    set: str
    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    detector: str = "ansim"
    log_x: bool = False
    mark: tuple[float, float] | None = None
    """The point where the product works."""


@dataclass(slots=True)
class Outcome:
    """What one module measured."""

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    subjects: tuple[str, ...] = ()
    """Whose recordings these were, in the words of the model cards; empty: told by the files' hashes alone."""


class Evaluation(Protocol):
    """What a module of this package offers."""

    NAMES: tuple[str, ...]
    """Names for ``--set``."""
    MODELS: tuple[str, ...]
    """Models that `fit` makes here."""

    def missing(self, data: Path) -> str | None:
        """The file this needs and does not find, or None."""

    def evaluate(self, data: Path, mode: str, peers: bool, say: Say) -> Outcome:
        """Measure; `mode` is "nested" (fit and choose on other subjects) or "frozen" (the shipped models)."""

    def fit(self, data: Path, say: Say) -> dict[str, dict[str, Any]]:
        """Fit on all subjects: model name -> {"parameters": ..., "card": ...}."""


def say(line: str) -> None:
    """Progress of long work, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def file_hash(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def folds(
    subjects: Sequence[Hashable], count: int, seed: int = SEED
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Masks (train, test) over the items given by their subjects; no subject lies on both sides."""
    names = sorted(set(subjects), key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[i]: k % count for k, i in enumerate(order)}
    fold = np.array([fold_of[s] for s in subjects])
    for k in range(min(count, len(names))):
        yield fold != k, fold == k


def auroc(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half."""
    n = int(positive.sum())
    m = positive.size - n
    if not n or not m:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def share_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of k of n."""
    a = (1 - level) / 2
    return (
        0.0 if k == 0 else float(beta.ppf(a, k, n - k + 1)),
        1.0 if k == n else float(beta.ppf(1 - a, k + 1, n - k)),
    )


def rate_interval(k: int, exposure: float, level: float = 0.95) -> tuple[float, float]:
    """Exact (Garwood) Poisson interval of k events in `exposure`."""
    a = (1 - level) / 2
    low = 0.0 if k == 0 else float(chi2.ppf(a, 2 * k) / 2)
    return low / exposure, float(chi2.ppf(1 - a, 2 * k + 2) / 2) / exposure


def bootstrap_auroc(
    score: Floats, positive: npt.NDArray[np.bool_], subjects: Sequence[Hashable], rounds: int = 200, seed: int = 7
) -> tuple[float, float]:
    """95 % interval of the AUROC, subjects drawn with replacement."""
    codes = {s: i for i, s in enumerate(dict.fromkeys(subjects))}
    who = np.array([codes[s] for s in subjects])
    order = np.argsort(who, kind="stable")
    edges = np.searchsorted(who[order], np.arange(len(codes) + 1))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        people = rng.integers(0, len(codes), len(codes))
        rows = np.concatenate([order[edges[p] : edges[p + 1]] for p in people])
        drawn.append(auroc(score[rows], positive[rows]))
    return float(np.nanpercentile(drawn, 2.5)), float(np.nanpercentile(drawn, 97.5))
