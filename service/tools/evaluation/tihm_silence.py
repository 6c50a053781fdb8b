"""Silence at home: people with dementia seen by motion and door sensors (TIHM)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from devices.models import Model, load
from service.detection import absence
from service.detection.absence import SLOT_S, Place
from service.tools.evaluation.common import Curve, Floats, Outcome, Row, Say, file_hash, folds, rate_interval
from service.tools.evaluation.tihm_homes import DAY_S, FILE, Bools, Homes, Ints, Pauses, alarms, read, replay

NAMES = ("tihm_silence", "tihm")
MODELS = ("absence",)
SET = "tihm_silence"
INJECTED = 200
"""Silences injected a person, each at a random sign of life."""
FOLDS, INNER = 5, 3
TARGET = 0.027
"""False alarms a patient-day that the training people are held to: under the goal, for the sake of other people."""
AIM_S, SLOPE = 10_800.0, 0.1
"""A question within three hours; a day of waiting costs a tenth of missing that (policy)."""
RIDGE = 3.0
WEIGHTS = np.exp(np.arange(2.0, 9.0, 0.1))


def missing(data: Path) -> str | None:
    return None if (data / FILE).is_file() else FILE


def population(homes: Homes, chosen: Bools, pauses: Pauses) -> Floats:
    """Share of slots with a sign by hour, over all slots and over those after a quiet half hour: float64[2, 24]."""
    last = {int(i): row for row, i in enumerate(pauses.who.tolist())}
    total = np.zeros((4, 24))
    for i in np.flatnonzero(chosen).tolist():
        if i in last:
            total += pauses.state["habit"][last[i]]
    return np.stack([(total[0] + 1) / (total[1] + 4), (total[2] + 1) / (total[3] + 10)])


def fit_coefficients(pauses: Pauses, prior: Floats) -> Floats:
    """Ridge logistic regression of "a sign comes in this slot" over the slots of pauses from the second on."""
    part = pauses.take(pauses.outage_end == 0)
    last_slot = part.state["last_t"] // SLOT_S
    ends = (part.state["last_t"] + part.length_s) // SLOT_S - last_slot
    slots = np.minimum(ends, absence.STEPS) - 1
    row = np.repeat(np.arange(slots.size), slots)
    step = np.arange(row.size) - np.repeat(np.cumsum(slots) - slots, slots) + 2
    sign = (step == ends[row]).astype(np.float64)
    found, size = absence.terms(part.state[row], step, np.zeros(row.size, dtype=np.int64), prior)

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = absence.score(beta, found)
        gap = 1 / (1 + np.exp(-z)) - sign
        slope = RIDGE * beta
        for index, value in found:
            weighed = gap if value is None else gap * value
            if np.ndim(index):
                slope = slope + np.bincount(index, weighed, minlength=size)
            else:
                slope[index] += weighed.sum()
        return float((np.logaddexp(0, z) - sign * z).sum() + RIDGE / 2 * beta @ beta), slope

    fitted = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": 80})
    return np.asarray(fitted.x, dtype=np.float64)


def model_of(coefficients: Floats, prior: Floats, weight: float) -> Model:
    parameters = {
        "coefficients": [float(f"{c:.5g}") for c in coefficients],
        "population": [[float(f"{c:.4g}") for c in row] for row in prior],
        "weight": float(f"{weight:.5g}"),
        "aim_s": AIM_S,
        "slope": SLOPE,
    }
    return Model("absence", parameters, {})


def allowed(model: Model, pauses: Pauses, weights: Sequence[float] | None = None) -> Ints:
    """Seconds of silence allowed at each pause: int64[weights, pauses]; the model's own weight where none given."""
    chosen = [model.number("weight")] if weights is None else list(weights)
    found = np.zeros((len(chosen), pauses.who.size), dtype=np.int64)
    for a in range(0, pauses.who.size, 2000):
        part = pauses.state[a : a + 2000]
        survives = absence.survival(part, np.zeros(part.size, dtype=np.int64), model)
        wait = absence.waits(part)
        for k, weight in enumerate(chosen):
            step = absence.limit_step(survives, wait, weight, model.number("aim_s"), model.number("slope"))
            found[k, a : a + 2000] = absence.limit_s(wait, step, model.number("aim_s"), part["place"] != Place.DOOR)
    return found


def choose_weight(raised: Bools, days: float, target: float = TARGET) -> float:
    """The smallest cost of a false alarm that keeps the rate."""
    rate = raised.sum(axis=-1) / max(days, 1e-9)
    good = np.flatnonzero(rate <= target)
    # The rate falls with the weight but for single pauses: from the first weight after the last one too many.
    bad = np.flatnonzero(rate > target)
    first = int(bad[-1]) + 1 if bad.size else 0
    return float(WEIGHTS[min(first, WEIGHTS.size - 1)]) if good.size else float(WEIGHTS[-1])


def train(homes: Homes, pauses: Pauses, chosen: Bools, seed: int = 3) -> tuple[Model, Floats]:
    """Fit on the chosen people; the weight is set on people left out of inner fits.

    Returns the model, and the survival against what came, for its calibration table.
    """
    people = np.flatnonzero(chosen)
    raised, days = np.zeros((WEIGHTS.size, 0), dtype=bool), 0.0
    told: list[Floats] = []
    for inside, outside in folds([homes.people[i] for i in people], INNER, seed):
        mask = np.isin(pauses.who, people[inside])
        own = np.zeros(chosen.size, dtype=bool)
        own[people[inside]] = True
        prior = population(homes, own, pauses)
        model = model_of(fit_coefficients(pauses.take(mask), prior), prior, 1.0)
        held = pauses.take(np.isin(pauses.who, people[outside]) & pauses.learnt & (pauses.length_s > 2400))
        raised = np.concatenate([raised, alarms(held, allowed(model, held, WEIGHTS.tolist()))], axis=1)
        days += float(homes.days[people[outside], 0].sum())
        told.append(_calibration_pairs(model, held))
    weight = choose_weight(raised, days)
    prior = population(homes, chosen, pauses)
    mask = np.isin(pauses.who, people)
    return model_of(fit_coefficients(pauses.take(mask), prior), prior, weight), np.concatenate(told, axis=1)


def _calibration_pairs(model: Model, held: Pauses) -> Floats:
    """Of pauses already over 40 minutes: predicted share that outlasts three hours, and whether it did."""
    part = held.take(held.outage_end == 0)
    if not part.who.size:
        return np.zeros((2, 0))
    survives = absence.survival(part.state, np.zeros(part.who.size, dtype=np.int64), model)
    return np.stack([survives[:, 16] / np.maximum(survives[:, 3], 1e-12), part.length_s > 18 * SLOT_S])


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Measure false alarms and the delay of injected silences."""
    homes = read(data)
    say(f"{SET}: {len(homes.people)} homes, {homes.days[:, 0].sum():.0f} days after learning; following them")
    pauses, cases = replay(homes, INJECTED)
    judged = pauses.take(pauses.length_s > 2400)
    limit, waited = np.zeros(judged.who.size, dtype=np.int64), np.zeros(cases.who.size, dtype=np.int64)
    swept = np.zeros((WEIGHTS[::2].size, 2, max(judged.who.size, cases.who.size)), dtype=np.int64)
    parts = folds(homes.people, FOLDS) if mode == "nested" else [(None, np.ones(len(homes.people), dtype=bool))]
    for k, (training, test) in enumerate(parts):
        model = load("absence") if training is None else train(homes, pauses, training)[0]
        say(f"{SET}: fold {k + 1}, weight {model.number('weight'):.0f}")
        for which, into, item in ((judged, limit, 0), (cases, waited, 1)):
            mask = np.isin(which.who, np.flatnonzero(test))
            part = which.take(mask)
            into[mask] = allowed(model, part)[0]
            swept[:, item, np.flatnonzero(mask)] = allowed(model, part, WEIGHTS[::2].tolist())
    from_here = Measured(homes, mode, judged, cases)
    outcome = Outcome(from_here.rows("ansim", limit, waited, full=True), [_curve(from_here, swept, limit, waited)])
    outcome.curves.append(from_here.delays(waited))
    if peers:
        for name, rule in PEERS.items():
            outcome.rows += from_here.rows(name, rule(judged.state["last_t"]), rule(cases.state["last_t"]), full=False)
    return outcome


def _hours(count: float) -> Callable[[Ints], Ints]:
    return lambda last: np.full(last.size, round(count * 3600), dtype=np.int64)


def _by_day(last: Ints) -> Ints:
    """Four hours, told between 08 and 20 h only."""
    due = last + 4 * 3600
    second = due % DAY_S
    later = np.where(second < 8 * 3600, 8 * 3600 - second, np.where(second >= 20 * 3600, 32 * 3600 - second, 0))
    return due + later - last


PEERS: dict[str, Callable[[Ints], Ints]] = {
    "fixed 4 h": _hours(4),
    "fixed 6 h": _hours(6),
    "fixed 12 h": _hours(12),
    "fixed 4 h, told 08-20 h": _by_day,
}


@dataclass(slots=True)
class Measured:
    """Rows and curves from the limits that a rule set."""

    homes: Homes
    mode: str
    judged: Pauses
    cases: Pauses

    def rows(self, detector: str, limit: Ints, waited: Ints, full: bool) -> list[Row]:
        homes, judged = self.homes, self.judged
        everyone = np.ones(len(homes.people), dtype=bool)
        learnt = alarms(judged, limit) & judged.learnt
        found = [
            self._rate(detector, "false alarms per patient-day, with away state", learnt, everyone, 0, "<= 0.03",
                       "after 14 days; absences over 24 h announced; our own outages known"),
            self._rate(detector, "false alarms per patient-day, absences not announced",
                       alarms(judged, limit, announced=False) & judged.learnt, everyone, 0),
            self._rate(detector, "false alarms per patient-day, absences and outages unknown",
                       alarms(judged, limit, outage=False, announced=False) & judged.learnt, everyone, 0),
        ]  # fmt: skip
        inside = self.cases.state["place"] != Place.DOOR
        found += self._delay_rows(detector, "last sign indoors", waited[inside], "<= 3")
        if full:
            first = alarms(judged, limit) & ~judged.learnt
            found.append(self._rate(detector, "false alarms per patient-day, first 14 days", first, everyone, 1))
            found += self._parts(detector, learnt, waited, inside)
        return found

    def _rate(
        self,
        detector: str,
        measure: str,
        raised: Bools,
        chosen: Bools,
        part: int,
        goal: str | None = None,
        note: str = "",
    ) -> Row:
        days = float(self.homes.days[chosen, part].sum())
        count = int((raised & chosen[self.judged.who]).sum())
        low, high = rate_interval(count, days) if days > 0 else (None, None)
        people = int((self.homes.days[chosen, part] > 0).sum())
        value = count / days if days > 0 else None
        said = f"{count} alarms" + (f"; {note}" if note else "")
        return Row(SET, measure, detector, value, low, high, None, people, days * 24, self.mode, goal, said)

    def _delay_rows(self, detector: str, who: str, waited: Ints, goal: str | None = None) -> list[Row]:
        hours = np.sort(waited / 3600.0)
        n = hours.size
        if not n:
            return [Row(SET, f"delay median h, {who}", detector, None, mode=self.mode, goal=goal, note="no silence")]
        rank = 1.96 * np.sqrt(n) / 2
        low, high = (float(hours[int(np.clip(round(n / 2 + s * rank), 0, n - 1))]) for s in (-1, 1))
        count, mode = len(self.homes.people), self.mode
        middle, late = float(np.median(hours)), float(np.quantile(hours, 0.9))
        within = float(np.mean(hours <= 24 + SLOT_S / 3600))
        return [
            Row(SET, f"delay median h, {who}", detector, middle, low, high, n, count, None, mode, goal),
            Row(SET, f"delay p90 h, {who}", detector, late, None, None, n, count, None, mode),
            Row(SET, f"told within 3 h, {who}", detector, float(np.mean(hours <= 3)), None, None, n, count, None, mode),
            Row(SET, f"found within 24 h, {who}", detector, within, None, None, n, count, None, mode),
        ]

    def _parts(self, detector: str, learnt: Bools, waited: Ints, inside: Bools) -> list[Row]:
        hour = self.cases.state["last_t"] % DAY_S // 3600
        day = (hour >= 7) & (hour < 22)
        found = self._delay_rows(detector, "indoors by day (07-22 h)", waited[inside & day])
        found += self._delay_rows(detector, "indoors by night", waited[inside & ~day])
        found += self._delay_rows(detector, "last sign an outer door", waited[~inside])
        for kind, groups in (("age", self.homes.band), ("sex", self.homes.sex)):
            for name in sorted(set(groups)):
                chosen = np.array([g == name for g in groups])
                mine = chosen[self.cases.who] & inside
                found += self._delay_rows(detector, f"indoors, {kind} {name}", waited[mine])[:2]
                measure = f"false alarms per patient-day, {kind} {name}"
                found.append(self._rate(detector, measure, learnt, chosen, 0))
        return found

    def delays(self, waited: Ints) -> Curve:
        hours = np.sort(waited[self.cases.state["place"] != Place.DOOR] / 3600.0)
        share = (np.arange(hours.size) + 1) / max(hours.size, 1)
        return Curve(SET, "Silence at home: share told within", "hours", "share", hours.tolist(), share.tolist())


def _curve(measured: Measured, swept: Ints, limit: Ints, waited: Ints) -> Curve:
    """Median delay against false alarms; the working point marked."""
    judged, inside = measured.judged, measured.cases.state["place"] != Place.DOOR
    days = max(float(measured.homes.days[:, 0].sum()), 1e-9)

    def point(lengths: Ints, delay: Ints) -> tuple[float, float]:
        rate = float((alarms(judged, lengths) & judged.learnt).sum()) / days
        return rate, float(np.median(delay[inside]) / 3600) if inside.any() else float("nan")

    points = [point(s[0, : judged.who.size], s[1, : measured.cases.who.size]) for s in swept]
    x, y = zip(*points, strict=True)
    title = "Silence at home: median delay indoors against false alarms, with away state"
    return Curve(SET, title, "false alarms per patient-day", "hours", x, y, log_x=True, mark=point(limit, waited))


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fit on everybody; the card carries what was measured just now on people left out."""
    rows = [row for row in evaluate(data, "nested", False, say).rows if row.goal or "not announced" in row.measure]
    figures = {row.measure: round(row.value, 4) for row in rows if row.value is not None}
    homes = read(data)
    pauses, _ = replay(homes, injected=1)
    model, told = train(homes, pauses, np.ones(len(homes.people), dtype=bool))
    say(f"{SET}: fitted on {len(homes.people)} homes, weight {model.number('weight'):.0f}")
    card = {
        "purpose": "how long a person at home may give no sign, by hour, place, recent signs and habit",
        "sets": [
            {"name": "tihm", "file": FILE, "sha256": file_hash(data / FILE), "subjects": len(homes.people),
             "licence": "contradictory: CC BY 4.0 file, README not for commercial use; coefficients only"}
        ],
        "subjects": homes.people,
        "features": ["elapsed", "local hour", "last place", "nearness of an outer door", "signs in the last hour",
                     "signs in the last three hours", "own habit by hour", "own habit by hour after quiet"],
        "calibration": _calibration(told),
        "figures": figures,
        "limits": "Motion and door sensors in homes of people with dementia, some not alone; a person who left unseen "
                  "looks silent. Evening and night silences are told in the morning, not within hours.",
        "made_by": f"ansim fit {SET}",
    }  # fmt: skip
    return {"absence": {"parameters": dict(model.parameters), "card": card}}


def _calibration(told: Floats) -> list[dict[str, Any]]:
    """Share of pauses over 40 minutes that outlasted three hours, by prediction."""
    edges = [0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.01]
    rows = []
    for a, b in pairwise(edges):
        inside = (told[0] >= a) & (told[0] < b)
        if inside.any():
            predicted, observed = told[0][inside].mean(), told[1][inside].mean()
            rows.append({"bin": f"{a}-{min(b, 1)}", "predicted": round(float(predicted), 4),
                         "observed": round(float(observed), 4), "n": int(inside.sum())})  # fmt: skip
    return rows
