"""Beat intervals with rhythm labels: recordings, judged windows, fitting, and the choice of the alarm rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from devices.signals.rhythm_features import BEATS, FEATURES, expand, features
from devices.signals.rhythm_windows import EVERY, merge_double, stretch
from service.tools.evaluation.common import Floats, folds

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
OTHER = 2
"""Flutter and junctional rhythm: out of the reference."""
REFRACTORY_S = 3600.0
SHORT_S, LONG_S = 120.0, 300.0
FALSE_A_DAY = 0.03
"""Half of what we allow ourselves: the rule is chosen with margin for people not yet seen."""
DELAY_S, DELAY_MARGIN_S = 42.0, 3.0
"""Likewise, and how far that is from what we allow ourselves: excesses are weighed by such margins."""
SENSORS = ((5, 15.0, 0.01, 0.01), (6, 25.0, 0.015, 0.015))
"""Pulse sensors fitted to: seed, jitter in ms, share of beats missed, share added."""
RIDGE = 2e-3
FORGET_S = 60.0


@dataclass(frozen=True, slots=True)
class Recording:
    """One person's beats."""

    name: str
    group: str
    """"af", "healthy" or "chf"."""
    rr_ms: Floats
    label: Ints
    """0 none, 1 fibrillation, 2 flutter or junctional, of each beat."""

    @property
    def heard_s(self) -> Floats:
        """End of each beat."""
        heard: Floats = np.cumsum(self.rr_ms) / 1000
        return heard


@dataclass(frozen=True, slots=True)
class Windows:
    """Judged windows of several recordings, by recording, then time."""

    who: Ints
    at_s: Floats
    features: Floats
    share: Floats
    """Share of beats in fibrillation."""
    other: Floats

    @property
    def clean(self) -> Bools:
        """Of one rhythm throughout, flutter left out."""
        clean: Bools = ((self.share == 0) | (self.share == 1)) & (self.other == 0)
        return clean

    def of(self, mask: Bools) -> Windows:
        return Windows(self.who[mask], self.at_s[mask], self.features[mask], self.share[mask], self.other[mask])


def recordings(data: Path) -> list[Recording]:
    """All of afdb_rr*.npz and rr24h*.npz."""
    found = []
    for path in sorted(data.glob("afdb_rr*.npz")):
        with np.load(path) as file:
            for key in sorted(k for k in file.files if k.endswith("_rr")):
                rhythm = file[key[:-3] + "_rhythm"].astype("S1")
                label = np.where(rhythm == b"B", 1, np.where(rhythm == b"N", 0, OTHER))
                found.append(Recording(key[:-3], "af", file[key].astype(np.float64) * 1000, label))
    for path in sorted(data.glob("rr24h*.npz")):
        with np.load(path) as file:
            for key in sorted(file.files):
                rr = file[key].astype(np.float64) * 1000
                group = "chf" if key.startswith("chf") else "healthy"
                found.append(Recording(key, group, rr, np.zeros(rr.size, dtype=np.int64)))
    return found


def disturbed(one: Recording, seed: int, jitter_ms: float, missed: float, extra: float) -> Recording:
    """The same beats as a pulse sensor might see them: times jittered, beats missed, beats added."""
    rng = np.random.default_rng([seed, one.rr_ms.size])
    time = np.cumsum(one.rr_ms) + rng.normal(0, jitter_ms, one.rr_ms.size) / np.sqrt(2)
    kept = rng.random(time.size) >= missed
    more = np.flatnonzero(rng.random(time.size) < extra)
    added = time[more] - one.rr_ms[more] * rng.uniform(0.2, 0.8, more.size)
    time, label = np.append(time[kept], added), np.append(one.label[kept], one.label[more])
    order = np.argsort(time, kind="stable")
    return Recording(one.name, one.group, np.maximum(np.diff(time[order], prepend=0.0), 0), label[order])


def windows(people: list[Recording], thin: dict[str, int] | None = None) -> Windows:
    """The windows that the product would judge; with `thin` only every n-th of a group."""
    parts: list[tuple[Any, ...]] = []
    for i, one in enumerate(people):
        rr, kept, _ = merge_double(np.rint(one.rr_ms))
        at, rr, label = one.heard_s[kept], rr[kept], one.label[kept]
        padded = np.concatenate([np.full(BEATS, np.nan), rr])
        laid = stretch(
            padded,
            np.zeros(padded.size, dtype=bool),
            np.zeros(1, dtype=np.int64),
            np.zeros((1, BEATS)),
            np.zeros(1, int),
        )
        rows = np.flatnonzero((laid.count >= BEATS) & (laid.count % EVERY == 0))
        rows = rows[:: (thin or {}).get(one.group, 1)]
        measured = [features(laid.windows(rows[k : k + 2000])) for k in range(0, rows.size, 2000)]
        shares = []
        for value in (1, OTHER):
            total = np.concatenate([[0], np.cumsum(label == value)])
            shares.append((total[rows - BEATS + 1] - total[rows - 2 * BEATS + 1]) / BEATS)
        table = np.concatenate(measured) if measured else np.zeros((0, len(FEATURES)))
        parts.append((np.full(rows.size, i), at[rows - BEATS], table, *shares))
    return Windows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def coupled(one: Recording, seed: int = 9, beats: int = 3200, part: int = 160) -> Recording:
    """Made, not recorded: every second, third or fourth beat premature with its pause, at this person's rate.

    The recordings hold little of it, and a model that never saw it takes it for fibrillation.
    """
    rng = np.random.default_rng([seed, one.rr_ms.size])
    usual, rr = float(np.median(one.rr_ms)), np.ones((beats // part, part))
    for row in rr:
        step, early = int(rng.integers(2, 5)), rng.uniform(0.5, 0.85)
        row[::step] = early
        row[1::step] = 2 - early - rng.choice([0.0, rng.uniform(0, 0.3)])
        row *= usual * rng.uniform(0.8, 1.2)
        row += rng.uniform(2, 20) * rng.standard_normal(part)
    return Recording(one.name, one.group, np.clip(rr.ravel(), 250, 2500), np.zeros(rr.size, dtype=np.int64))


def fit_windows(people: list[Recording]) -> Windows:
    """What a model is fitted to: thinned windows as recorded, as pulse sensors would see them, and coupled beats."""
    thin = {"af": 3, "healthy": 6, "chf": 6}
    plain = windows(people, thin)
    rough = [windows([disturbed(one, *how) for one in people], thin) for how in SENSORS]
    rough.append(windows([coupled(one) for one in people], {}))
    return Windows(*(np.concatenate([getattr(w, k) for w in (plain, *rough)]) for k in Windows.__slots__))


def fit_classifier(found: Windows) -> dict[str, Any]:
    """Quadratic logistic regression, both classes of equal weight, flutter a tenth."""
    used = found.of(((found.share == 0) | (found.share == 1)) | (found.other > 0))
    positive = used.share > 0.5
    weight = np.where(used.other > 0, 0.1, 1.0)
    for side in (positive, ~positive):
        weight[side] *= 0.5 / max(float(weight[side].sum()), 1e-9)
    mean, scale = used.features.mean(axis=0), used.features.std(axis=0) + 1e-6
    wide = expand(used.features, mean, scale).astype(np.float32)
    target, weight32 = positive.astype(np.float32), weight.astype(np.float32)

    def loss(b: Floats) -> tuple[float, Floats]:
        u = wide @ b[1:].astype(np.float32) + np.float32(b[0])
        error = weight32 * (1 / (1 + np.exp(-u)) - target)
        slope = np.concatenate([[error.sum()], error @ wide]).astype(np.float64)
        slope[1:] += RIDGE * b[1:]
        value = float((weight32 * (np.logaddexp(0, u) - target * u)).sum()) + RIDGE / 2 * float(b[1:] @ b[1:])
        return value, slope

    b = minimize(loss, np.zeros(wide.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    n = len(FEATURES)
    short = {k: [float(f"{v:.6g}") for v in values] for k, values in
             (("mean", mean), ("scale", scale), ("linear", b[1 : n + 1]), ("quadratic", b[n + 1 :]))}  # fmt: skip
    return {**short, "constant": float(f"{b[0]:.6g}")}


def odds(found: Windows, model: dict[str, Any]) -> Floats:
    """Log-odds of each window, as the product computes them."""
    coefficients = np.concatenate([model["linear"], model["quadratic"]])
    mean, scale = np.array(model["mean"]), np.array(model["scale"])
    parts = [expand(found.features[k : k + 20_000], mean, scale) @ coefficients
             for k in range(0, found.who.size, 20_000)]  # fmt: skip
    score: Floats = float(model["constant"]) + (np.concatenate(parts) if parts else np.zeros(0))
    return score


def episodes(people: list[Recording]) -> Iterator[tuple[int, float, float]]:
    """Who, beginning and end (s) of each run of fibrillation."""
    for i, one in enumerate(people):
        edges = np.flatnonzero(np.diff((one.label == 1).astype(np.int8), prepend=0, append=0))
        heard = np.concatenate([[0.0], one.heard_s])
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            yield i, float(heard[a]), float(heard[b])


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of each episode, and the false alarms."""

    length_s: Floats
    found: Bools
    delay_s: Floats
    """NaN where not found; 0 where the sign of an earlier episode still held."""
    false: dict[str, int]
    """Recording to alarms outside fibrillation, an hour apart at least."""


def judge(people: list[Recording], signs: list[list[tuple[float, float]]]) -> Caught:
    """Compare signs (begin, end; s) of each recording with its labels."""
    rows = []
    for i, a, b in episodes(people):
        held = [max(begin, a) for begin, end in signs[i] if begin <= b and end > a]
        rows.append((b - a, bool(held), min(held) - a if held else np.nan))
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    false: dict[str, int] = {}
    for one, spans in zip(people, signs, strict=True):
        if one.group == "af":
            continue
        last = -REFRACTORY_S
        for begin, _ in spans:
            if begin - last >= REFRACTORY_S:
                false[one.name] = false.get(one.name, 0) + 1
                last = begin
    return Caught(table[:, 0], table[:, 1] > 0, table[:, 2], false)


RULES = [
    {"bias": bias, "up": 4.0, "down": 2.0, "arm": arm, "most": 1.5 * arm, "clear": 0.3 * arm}
    for bias, arm in product((0.0, 0.5, 1.0), (14.0, 17.0, 20.0, 23.0))
]


def run(
    found: Windows, score: Floats, count: int, rules: list[dict[str, float]]
) -> list[list[list[tuple[float, float]]]]:
    """For each rule and recording the signs: the product's rule, over all recordings and rules at once."""
    bias, up, down, arm, most, clear = (np.array([r[k] for r in rules]) for k in rules[0])
    start = np.searchsorted(found.who, np.arange(count + 1))
    size = np.diff(start)
    total, on = np.zeros((count, len(rules))), np.zeros((count, len(rules)), dtype=bool)
    signs: list[list[list[tuple[float, float]]]] = [[[] for _ in range(count)] for _ in rules]
    fresh = np.diff(found.at_s, prepend=-1e9) > FORGET_S
    for k in range(int(size.max(initial=0))):
        live = np.flatnonzero(k < size)
        row = start[live] + k
        held = on[live]
        total_now = np.where(fresh[row][:, None], np.where(held, np.minimum(total[live], arm), 0), total[live])
        total_now = np.minimum(
            np.maximum(total_now + np.minimum(np.maximum(score[row][:, None] - bias, -down), up), 0), most
        )
        now = np.where(held, total_now > clear, total_now >= arm)
        total[live], on[live] = total_now, now
        turned = now != held
        if turned.any():
            for j, r in np.argwhere(turned).tolist():
                at = float(found.at_s[row[j]])
                spans = signs[r][live[j]]
                if now[j, r]:
                    spans.append((at, np.inf))
                else:
                    spans[-1] = (spans[-1][0], at)
    return signs


def stratified(people: list[Recording], count: int) -> Iterator[Bools]:
    """Masks of the people held out in turn: each group is spread evenly over the folds."""
    held = np.zeros((count, len(people)), dtype=bool)
    for group in ("af", "healthy", "chf"):
        of = np.array([i for i, one in enumerate(people) if one.group == group], dtype=np.int64)
        for k, (_, test) in enumerate(folds([people[i].name for i in of], count)):
            held[k, of[test]] = True
    yield from (mask for mask in held if mask.any())


def without(people: list[Recording], found: Windows, fitted: Windows, count: int) -> Floats:
    """Log-odds of each window by a model fitted to other people."""
    score = np.zeros(found.who.size)
    for held in stratified(people, count):
        model = fit_classifier(fitted.of(~held[fitted.who]))
        score[held[found.who]] = odds(found.of(held[found.who]), model)
    return score


def chosen_model(people: list[Recording], found: Windows, fitted: Windows, inner: int = 3) -> dict[str, Any]:
    """Model and rule from these people alone: the rule on scores of people that the model had not seen."""
    rule = choose(people, found, without(people, found, fitted, inner))
    return {**fit_classifier(fitted), **rule}


def subset(people: list[Recording], found: Windows, keep: Bools) -> tuple[list[Recording], Windows]:
    """Some of the people, numbered anew."""
    number = np.cumsum(keep) - 1
    part = found.of(keep[found.who])
    return [one for one, yes in zip(people, keep.tolist(), strict=True) if yes], Windows(
        number[part.who], part.at_s, part.features, part.share, part.other
    )


def days(people: list[Recording], group: str | None = None) -> float:
    """Patient-days heard without fibrillation; an interval over 3 s is not heard."""
    total = 0.0
    for one in people:
        if one.group != "af" and (group is None or one.group == group):
            total += float(one.rr_ms[one.rr_ms < 3000].sum()) / 86_400_000
    return total


def choose(people: list[Recording], found: Windows, score: Floats) -> dict[str, float]:
    """The rule that finds most within our false alarms and delay, on scores of people not fitted to."""
    best: tuple[Any, ...] | None = None
    chosen = RULES[0]
    exposure = max(days(people), 1e-9)
    for rule, signs in zip(RULES, run(found, score, len(people), RULES), strict=True):
        caught = judge(people, signs)
        counted = caught.length_s >= SHORT_S
        late = counted & (caught.delay_s > 0)
        delay = float(np.median(caught.delay_s[late])) if late.any() else 0.0
        rate = sum(caught.false.values()) / exposure
        over = max(rate - FALSE_A_DAY, 0) / FALSE_A_DAY + max(delay - DELAY_S, 0) / DELAY_MARGIN_S
        value = (-over, int(caught.found[counted].sum()), -rate, -delay)
        if best is None or value > best:
            best, chosen = value, rule
    return chosen
