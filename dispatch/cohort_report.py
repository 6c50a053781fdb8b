"""The cohort's figures: each with an interval, each difference on the same events, and where the goal stops holding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from dispatch.cohort import CANCELLED, HORIZON_S, NOBODY, Arm, Outcome, Played, Size, ours, peer, play
from dispatch.cohort_parameters import KINDS, Parameters, load
from dispatch.policies import Document

ASK, NO_ASK, AGAINST, GOALERT, ONCALL = "ask_first", "without_asking", "against", "goalert_like", "oncall_like"
ASKED = ("high", "medium")
"""Signs that the person may end by their word: what asking first is for. The others ring at once, asked or not."""
GOAL_CUT, GOAL_ADDED_S = 0.80, 20.0
"""Policy: at least so many false dispatches fewer, where the person may end it and over all false alarms, and for who
needs help no more seconds: neither between the medians of all, nor at the median of those who did not press SOS."""
RESAMPLES = 400
LEVEL = (2.5, 97.5)
SWEEPS: Mapping[str, tuple[float, ...]] = {
    "person.well_answers": (0.95, 0.9, 0.85, 0.8, 0.7, 0.6),
    "person.band_answers": (1.0, 0.75, 0.5, 0.25, 0.0),
    "person.well_says_fine": (1.0, 0.95, 0.9, 0.8),
    "verify.found_out": (0.0, 0.25, 0.5, 0.75, 0.88),
    "verify.silent_stays_silent": (0.0, 0.5, 1.0),
    "verify.told_fine": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
    "verify.decide_median_s": (180.0, 90.0, 45.0, 20.0, 5.0, 0.0),
    "verify.reads_news": (1.0, 0.7, 0.4, 0.0),
    "verify.stands_down_wrongly": (0.0, 0.02, 0.1, 0.3),
    "person.ill_says_fine": (0.0, 0.1, 0.2, 0.4),
    "person.high_answers": (0.0, 0.25, 0.5),
}
"""What is swept, the shipped value among the others; ``found_out`` moves contact and desk together."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure."""

    measure: str
    kind: str = "all"
    """``all``, ``asked``, or one of ``sos``, ``grave``, ``high``, ``medium``."""
    policy: str = ASK
    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    size: Size
    rows: list[Row]
    goals: dict[str, bool]
    """By name, whether it is met."""

    def value(self, measure: str, kind: str = "all", policy: str = ASK) -> float:
        """One figure; NaN where nothing of the kind happened."""
        for row in self.rows:
            if (row.measure, row.kind, row.policy) == (measure, kind, policy):
                return row.value
        return float("nan")


def arms(document: Document, against: Document | None = None, *, peers: bool = True) -> dict[str, Arm]:
    """The policies that are compared."""
    found = {ASK: ours(document), NO_ASK: ours(document, ask=False)}
    if against is not None:
        found[AGAINST] = ours(against)
    if peers:
        found[GOALERT] = peer(lambda parameters: parameters.goalert_like)
        found[ONCALL] = peer(lambda parameters: parameters.oncall_like)
    return found


def report(
    document: Document,
    parameters: Parameters | None = None,
    *,
    against: Document | None = None,
    peers: bool = True,
    size: Size | None = None,
) -> Report:
    """Play the cohort and weigh what came of it.

    Parameters
    ----------
    document : Document
        The policy in question.
    parameters : Parameters or None
        Who lives there; None for the shipped file.
    against : Document or None
        A policy to compare with, on the same events.
    peers : bool
        Whether to play the two other ladders too.
    size : Size or None

    Returns
    -------
    Report
        Intervals are 95 %, by resampling homes (Poisson bootstrap, 400 times, seeded).
    """
    size = size or Size()
    played = play(parameters or load(), arms(document, against, peers=peers), size)
    weights = _weights(played)
    rows = [row for outcome in played.outcomes.values() for row in _own(played, outcome, weights)]
    rows += _compared(played, weights, NO_ASK)
    if against is not None:
        rows += _compared(played, weights, AGAINST)
    found = Report(size=size, rows=rows, goals={})
    return msgspec.structs.replace(found, goals=_goals(found))


def _goals(found: Report) -> dict[str, bool]:
    return {
        "false_dispatch_cut": found.value("false_dispatch_cut", "asked") >= GOAL_CUT,
        "false_dispatch_cut_all": found.value("false_dispatch_cut") >= GOAL_CUT,
        "added_s": found.value("added_s") <= GOAL_ADDED_S
        and found.value("added_each_s", "without_sos") <= GOAL_ADDED_S,
        "sos_added_s": found.value("added_most_s", "sos") == 0.0,
    }


def _weights(played: Played) -> np.ndarray:
    """How often each home counts in each resample."""
    rng = np.random.Generator(np.random.PCG64(played.size.seed + 1))
    return rng.poisson(1.0, size=(RESAMPLES, played.size.homes)).astype(np.float64)


def _masks(played: Played) -> dict[str, np.ndarray]:
    everybody = np.ones(len(played.kind), dtype=bool)
    by_kind = {name: played.kind == number for number, name in enumerate(KINDS)}
    asked = np.logical_or.reduce([by_kind[name] for name in ASKED])
    return {"all": everybody, "asked": asked, "without_sos": ~by_kind["sos"], **by_kind}


def _own(played: Played, outcome: Outcome, weights: np.ndarray) -> list[Row]:
    """What one policy did."""
    rows: list[Row] = []
    masks, years, false = _masks(played), played.home_years, ~played.true
    for kind in ("all", *KINDS):
        mask = masks[kind] & played.true
        if mask.any():
            for name, share in (("time_to_human_p50_s", 50.0), ("time_to_human_p95_s", 95.0)):
                low, high = _interval(_quantiles(outcome.human_s, mask, played.home, weights, share / 100))
                row = Row(
                    measure=name, kind=kind, policy=outcome.name, n=int(mask.sum()),
                    value=float(np.percentile(outcome.human_s[mask], share)), ci_low=low, ci_high=high,
                )  # fmt: skip
                rows.append(row)
    rates = (
        ("needless_rings_per_home_year", outcome.rings.astype(np.float64), years),
        ("false_dispatches_per_1000_home_days", outcome.sent.astype(np.float64), years * 365.25 / 1000),
    )
    for name, values, over in rates:
        for kind in ("all", *KINDS):
            mask = masks[kind] & false
            sums = _by_home(values, mask, played)
            low, high = _interval(weights @ sums / weights.sum(axis=1) * played.size.homes / over)
            rows.append(
                Row(
                    measure=name, kind=kind, policy=outcome.name, value=float(sums.sum() / over),
                    ci_low=low, ci_high=high, n=int(mask.sum()),
                )
            )  # fmt: skip
    return rows + _shares(played, outcome, weights)


def _shares(played: Played, outcome: Outcome, weights: np.ndarray) -> list[Row]:
    """How often, of all true emergencies, something went another way than help being sent; what false ones were told.

    ``missed_after_fine_share`` are those in which whoever took it was told of a "fine" and sent nobody.
    """
    by = np.array(outcome.by)
    taken = (by != CANCELLED) & (by != NOBODY)
    counted = (
        ("ended_by_own_word_share", by == CANCELLED, played.true),
        ("nobody_in_time_share", by == NOBODY, played.true),
        ("emergencies_told_fine_share", outcome.told_fine, played.true),
        ("missed_after_fine_share", taken & ~outcome.sent, played.true),
        ("false_told_fine_share", outcome.told_fine, ~played.true),
    )
    rows = []
    for name, happened, of in counted:
        parts, whole = _by_home(happened.astype(np.float64), of, played), _by_home(np.ones(len(of)), of, played)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = _interval((weights @ parts) / (weights @ whole))
        n = int(of.sum())
        value = float(happened[of].mean()) if n else 0.0
        rows.append(Row(measure=name, policy=outcome.name, value=value, ci_low=low, ci_high=high, n=n))
    return rows


def _compared(played: Played, weights: np.ndarray, than: str) -> list[Row]:
    """What the policy in question changes against another, on the same events."""
    new, old = played.outcomes[ASK], played.outcomes[than]
    masks, suffix, rows = _masks(played), "" if than == NO_ASK else "_against", list[Row]()
    counted = (("false_dispatch_cut", old.sent, new.sent), ("needless_rings_cut", old.rings, new.rings))
    for name, before, after in counted:
        for kind in ("asked", "all", *KINDS):
            mask = masks[kind] & ~played.true
            was, now = _by_home(before, mask, played), _by_home(after, mask, played)
            with np.errstate(divide="ignore", invalid="ignore"):
                low, high = _interval(1.0 - (weights @ now) / (weights @ was))
                value = float(1.0 - now.sum() / was.sum()) if was.sum() else 0.0
            rows.append(Row(measure=name + suffix, kind=kind, value=value, ci_low=low, ci_high=high, n=int(mask.sum())))
    for kind in ("all", "without_sos", *KINDS):
        mask = masks[kind] & played.true
        if not mask.any():
            continue
        n = int(mask.sum())
        medians = [np.median(one.human_s[mask]) for one in (new, old)]
        drawn = [_quantiles(one.human_s, mask, played.home, weights, 0.5) for one in (new, old)]
        low, high = _interval(drawn[0] - drawn[1])
        added = float(medians[0] - medians[1])
        rows.append(Row(measure="added_s" + suffix, kind=kind, value=added, ci_low=low, ci_high=high, n=n))
        each = new.human_s[mask] - old.human_s[mask]
        paired = _interval(_quantiles(new.human_s - old.human_s, mask, played.home, weights, 0.5))
        rows.append(
            Row(
                measure="added_each_s" + suffix, kind=kind, value=float(np.median(each)),
                ci_low=paired[0], ci_high=paired[1], n=n,
            )
        )  # fmt: skip
        rows.append(Row(measure="added_most_s" + suffix, kind=kind, value=float(np.abs(each).max()), n=n))
    return rows


def _by_home(values: np.ndarray, mask: np.ndarray, played: Played) -> np.ndarray:
    sums: np.ndarray = np.bincount(played.home[mask], weights=values[mask], minlength=played.size.homes)
    return sums


def _quantiles(
    values: np.ndarray, mask: np.ndarray, home: np.ndarray, weights: np.ndarray, share: float
) -> np.ndarray:
    """The quantile of the masked values in every resample of homes."""
    chosen = values[mask]
    order = np.argsort(chosen, kind="stable")
    heavy = weights[:, home[mask][order]].cumsum(axis=1)
    at = (heavy >= share * heavy[:, -1:]).argmax(axis=1)
    found: np.ndarray = chosen[order][at]
    return found


def _interval(drawn: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    usable = drawn[np.isfinite(drawn)]
    if not len(usable):
        return None, None
    low, high = np.percentile(usable, LEVEL)
    return float(low), float(high)


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """The goal's figures under one other assumption."""

    parameter: str
    value: float
    cut_asked: float
    cut_all: float
    added_s: float
    missed: float
    """Of true emergencies: taken, told of a "fine", and nobody sent."""
    rings: float
    """For nothing, a home and year."""
    met: bool


OVERLAPS_S = (0, 5, 10, 15, 20, 25, 30)
"""Seconds that an urgent case asks alone before the contacts are rung beside; 0 and 5 are no policy's."""


def overlaps(
    document: Document, size: Size, text: str | None = None, seconds: Sequence[int] = OVERLAPS_S
) -> list[Swept]:
    """What each ``ask.overlap_s`` would cut and cost, the rest of the policy as it is."""
    found = []
    for overlap_s in seconds:
        other = msgspec.structs.replace(document, values={**document.values, "overlap_s": overlap_s})
        found.append(_swept("ask.overlap_s", overlap_s, report(other, load(text), peers=False, size=size)))
    return found


def _swept(name: str, value: float, one: Report) -> Swept:
    return Swept(
        parameter=name,
        value=value,
        cut_asked=one.value("false_dispatch_cut", "asked"),
        cut_all=one.value("false_dispatch_cut"),
        added_s=one.value("added_each_s", "without_sos"),
        missed=one.value("missed_after_fine_share"),
        rings=one.value("needless_rings_per_home_year"),
        met=all(one.goals.values()),
    )


def sweep(
    document: Document, size: Size, text: str | None = None, names: Sequence[str] = tuple(SWEEPS)
) -> list[Swept]:
    """The goal under each of ``SWEEPS``, the rest as in the parameter file ``text`` (None: the shipped one)."""
    found = []
    for name in names:
        for value in SWEEPS[name]:
            parameters = load(text, _changes(name, value))
            found.append(_swept(name, value, report(document, parameters, peers=False, size=size)))
    return found


def _changes(name: str, value: float) -> dict[str, float]:
    if name == "verify.found_out":
        return {"verify.contact": value, "verify.desk": value}
    if name == "person.well_answers":
        # Asleep they answer less often by the same part as in the shipped file.
        return {name: value, "person.well_answers_asleep": value * 0.80 / 0.95}
    return {name: value}


def holds_until(swept: Sequence[Swept], parameter: str) -> tuple[float, float] | None:
    """The last value of a sweep at which the goal is met and the first at which it is not."""
    ordered = [one for one in swept if one.parameter == parameter]
    for before, after in pairwise(ordered):
        if before.met and not after.met:
            return before.value, after.value
    return None


__all__ = ["ASK", "HORIZON_S", "NO_ASK", "Report", "Row", "Swept", "arms", "holds_until", "overlaps", "report", "sweep"]
