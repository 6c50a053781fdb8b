"""All layers together: what is told of lives in which nothing is known to happen, and what must not be lost.

Recipe. *Composite people*: for each day-long recording of a heart without fibrillation (rr24h), a home and the
measurements by hand of one person (tihm), the minutes of heart rate and steps of another (fitabase_minute, repeated
day by day) and a session of acceleration at the wrist of a third (exam_stress) are put together; the product knows
this person for 15 days, then the day of the heart counts. *Each recording alone*, over all its days. *Simulated
person-years*, a value every five minutes. All goes through the product's own `analyse` and `quiet.look`, in uploads of
ten minutes (while getting to know: of an hour; years: of a day). Somebody closes each case after an hour and says
nothing of its cause. Findings of a person less than an hour apart are one, at their highest tier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.detection.budget import DISPATCHES_PER_HOME_DAY, QUESTION_EVERY_DAYS, RING_EVERY_DAYS
from service.detection.signs import HARD
from service.tools.evaluation import composite_events as events
from service.tools.evaluation import composite_homes as homes
from service.tools.evaluation.common import Curve, Outcome, Row, Say, rate_interval, share_interval
from service.tools.evaluation.composite_events import Kept
from service.tools.evaluation.composite_follow import DAY_S, TIERS, Followed, Life, Told, follow, known

NAMES = ("composite",)
MODELS: tuple[str, ...] = ()
SEED = 20_251
STEP_S, HOUR_S = 600, 3600
PERSON_YEARS = 200
"""Each takes a second or two of a core."""
GROUP = 100
"""People judged in one call, as many as share the cost of it without filling the memory."""
YEAR_DAYS = 365
MOST_A_DAY = "<= 0.25"
NEEDED = ("rr24h*.npz", "tihm/activity.csv.xz", "fitabase_minute*.csv.xz", "exam_stress/*/*/ACC.csv*")


def missing(data: Path) -> str | None:
    """The first kind of recording where none at all is there; each alone may be missing."""
    return None if any(any(data.glob(name)) for name in NEEDED) else NEEDED[0]


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Nothing to fit."""
    return {}


@dataclass(slots=True)
class Quiet:
    """What was told of lives in which nothing is known to happen."""

    name: str
    people: int
    days: float
    episodes: list[Told] = field(default_factory=list)
    technical: int = 0

    @staticmethod
    def of(name: str, done: Followed) -> Quiet:
        technical = sum(t.rank < 0 and t.at_s >= done.lives[t.who].counted_s for t in done.told)
        return Quiet(name, len(done.lives), done.days, done.episodes(), technical)

    def joined(self, other: Quiet) -> Quiet:
        others = [replace(e, who=e.who + self.people) for e in other.episodes]
        return Quiet(
            self.name, self.people + other.people, self.days + other.days, [*self.episodes, *others],
            self.technical + other.technical,
        )  # fmt: skip


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Count what the shipped models tell; there is nothing to choose here, so that both modes are one."""
    parts = homes.read(data)
    hosts = _followed(homes.together(parts, SEED)) if parts.hearts else None
    measured = [Quiet.of("composite people", hosts)] if hosts is not None else []
    if hosts is not None:
        say(f"composite: {len(hosts.lives)} people put together, {hosts.days:.1f} days counted, seed {SEED}")
    for name, lives in _alone(parts):
        if lives:
            measured.append(Quiet.of(name, follow(lives, STEP_S)))
            say(f"composite: {name}, {measured[-1].days:.1f} days")
    measured.append(simulated(PERSON_YEARS, YEAR_DAYS, say))
    say(f"composite: {measured[-1].days / YEAR_DAYS:.0f} simulated person-years counted")
    outcome = Outcome(curves=[_curve(one) for one in measured if one.days > 0])
    for one in measured:
        outcome.rows += _rows(one, mode, goals=one.name in ("composite people", measured[-1].name))
    for told in _events(hosts, parts, data, say):
        outcome.rows.append(_kept_row(told, mode))
    return outcome


def _followed(people: Sequence[Life]) -> Followed:
    """Get to know composite people in uploads of an hour, then follow them in those of ten minutes."""
    before = known(people, HOUR_S)
    counted = [replace(life, start_s=life.counted_s) for life in people]
    return follow(counted, STEP_S, before)


def _alone(parts: homes.Parts) -> list[tuple[str, list[Any]]]:
    return [
        ("homes alone (tihm)", parts.homes),
        ("minutes alone (fitabase_minute)", [homes.wearing(one) for one in parts.minutes]),
        ("wrists alone (exam_stress)", homes.wrists(parts)),
    ]


def simulated(people: int, days: int, say: Say) -> Quiet:
    """Person-years, in groups of `GROUP`."""
    whole = Quiet(f"{people} simulated people, {days} days each", 0, 0.0)
    for a in range(0, people, GROUP):
        lives = homes.years(range(a, min(a + GROUP, people)), days)
        whole = whole.joined(Quiet.of(whole.name, follow(lives, DAY_S)))
        say(f"composite: {whole.people} of {people} simulated people followed, {days} days each")
    return whole


def _events(hosts: Followed | None, parts: homes.Parts, data: Path, say: Say) -> list[Kept]:
    found: list[Kept | None] = [events.drift()]
    if hosts is not None:
        say("composite: putting events into the lives of these people")
        found += [events.fibrillation(hosts, parts), events.tachycardia(hosts, parts, SEED)]
        found += [*events.falls(hosts, parts, data, SEED), events.silence(hosts)]
    return [one for one in found if one is not None]


def _note(one: Quiet, chosen: Sequence[Told]) -> str:
    first = ", ".join(f"{n} {code}" for code, n in Counter(e.code for e in chosen).most_common(4))
    said = f"{len(chosen)} in {one.days:.1f} patient-days ({one.days / YEAR_DAYS:.2f} person-years), seed {SEED}"
    each = [n for _, n in Counter(e.who for e in chosen).most_common()]
    half = int(np.searchsorted(np.cumsum(each), len(chosen) / 2)) + 1
    return f"{said}; {first}; in {len(each)} of {one.people} people, half of them in {half}" if first else said


def _rows(one: Quiet, mode: str, goals: bool) -> list[Row]:
    """Findings by tier, in the units in which people bear them."""
    rings = _of(one, "ring")
    governed = [e for e in rings if e.code not in HARD]
    every = [
        ("new findings per patient-day", one.episodes, 1.0, MOST_A_DAY),
        ("lines on the page per patient-day", _of(one, "line"), 1.0, None),
        ("questions to the person per month", _of(one, "question"), QUESTION_EVERY_DAYS, "<= 1"),
        ("rings to the family per quarter", rings, RING_EVERY_DAYS, None),
        ("rings but for hard limits, per quarter", governed, RING_EVERY_DAYS, "<= 1"),
        ("rings from hard limits, per quarter", [e for e in rings if e.code in HARD], RING_EVERY_DAYS, None),
        ("dispatches per 1,000 home-days", _of(one, "dispatch"), 1000.0, f"<= {1000 * DISPATCHES_PER_HOME_DAY:g}"),
    ]
    rows = []
    for measure, chosen, unit, goal in every:
        value = len(chosen) / one.days * unit if one.days > 0 else None
        low, high = rate_interval(len(chosen), one.days / unit) if one.days > 0 else (None, None)
        rows.append(
            Row("composite", f"{measure}, {one.name}", "ansim", value, low, high, None, one.people, one.days * 24,
                mode, goal if goals else None, _note(one, chosen))
        )  # fmt: skip
    technical = one.technical / one.days if one.days > 0 else None
    rows.append(
        Row("composite", f"technical conditions per patient-day, {one.name}", "ansim", technical, None, None, None,
            one.people, one.days * 24, mode)
    )  # fmt: skip
    return rows + _borne(one, governed, mode)


def _borne(one: Quiet, governed: Sequence[Told], mode: str) -> list[Row]:
    """How many keep within the budget each: the mean of all says nothing of whoever bears most of it."""
    if one.days < one.people * RING_EVERY_DAYS:
        return []
    rows = []
    for measure, chosen, every in (
        ("people asked at most once a month", _of(one, "question"), QUESTION_EVERY_DAYS),
        ("families rung at most once a quarter", _of(one, "ring"), RING_EVERY_DAYS),
        ("families rung at most once a quarter but for hard limits", governed, RING_EVERY_DAYS),
    ):
        most = one.days / one.people / every
        kept = one.people - sum(n > most for n in Counter(e.who for e in chosen).values())
        low, high = share_interval(kept, one.people)
        rows.append(
            Row("composite", f"{measure}, {one.name}", "ansim", kept / one.people, low, high, None, one.people,
                one.days * 24, mode, None, f"{kept} of {one.people}, each over the whole time")
        )  # fmt: skip
    return rows


def _of(one: Quiet, tier: str) -> list[Told]:
    return [e for e in one.episodes if TIERS[e.rank] == tier]


def _kept_row(one: Kept, mode: str) -> Row:
    low, high = share_interval(one.told, one.signs) if one.signs else (None, None)
    note = f"{one.events} events put in, {one.events_found} found by the layer; {one.told} of {one.signs} signs told"
    value = one.told / one.signs if one.signs else None
    return Row(
        "composite", f"found by a layer and told after weighing, {one.kind}", "ansim", value, low, high, one.signs,
        one.people, None, mode, ">= 0.99", note,
    )  # fmt: skip


def _curve(one: Quiet) -> Curve:
    least = [sum(e.rank >= k for e in one.episodes) / one.days for k in range(len(TIERS))]
    title = f"New findings at a tier or above: {one.name}"
    labels = "tier (0 line, 1 question, 2 ring, 3 dispatch)"
    return Curve("composite", title, labels, "per patient-day", list(range(len(TIERS))), least)
