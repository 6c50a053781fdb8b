"""The context gate of the heart rate on recorded minutes: true alarms put in while resting, all others are false."""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.reading import COLUMNS, INDEX, Batch
from service.detection import PersonSettings, analyse
from service.tools.evaluation.common import Curve, Outcome, Row, Say, rate_interval, share_interval

NAMES = ("fitabase_minute",)
MODELS: tuple[str, ...] = ()
PATTERN = "fitabase_minute*.csv.xz"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

INJECTED_S = 1200
LEAST_BPM = 125.0
INJECTIONS = 360
"""A person, at most."""
BEFORE_S = 5400
REFRACTORY_S = 3600
"""Alarms closer than this are one (DETECTION.md section 4)."""
REST_S = 720
_ON_TIME_S = 1e9


@dataclass(slots=True)
class Person:
    """Worn minutes of one wearer, in order of time."""

    name: str
    at_s: Ints
    heart_rate: Floats
    steps: Floats

    def since_steps(self) -> Ints:
        """Seconds since a step was last counted; since the first minute where none was."""
        last: Ints = np.maximum.accumulate(np.where(self.steps > 0, self.at_s, self.at_s[0]))
        return self.at_s - last

    @property
    def days(self) -> float:
        return self.at_s.size / 1440


def people(data: Path) -> list[Person]:
    """Everybody in the files, each minute once."""
    rows: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for path in sorted(data.glob(PATTERN)):
        with lzma.open(path, "rt") as f:
            for row in csv.DictReader(f):
                when = int(datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp()) // 60 * 60
                rows[row["user"]][when] = (float(row["hr"] or "nan"), float(row["steps"] or "nan"))
    found = []
    for name, table in sorted(rows.items()):
        at_s = np.array(sorted(table), dtype=np.int64)
        heart, steps = np.array([table[t] for t in at_s.tolist()]).T
        found.append(Person(name, at_s, heart, steps))
    return found


def onsets(person: Person, seed: int = 3, to_the_end: bool = True) -> Ints:
    """Minutes at which an injection may begin: worn and without a step from 12 minutes before, and to its end."""
    at_s, rested = person.at_s, person.since_steps() >= REST_S
    end = np.searchsorted(at_s, at_s + INJECTED_S)
    rows = np.arange(at_s.size)
    before = at_s - at_s[np.maximum(rows - 13, 0)]
    calm = rested & (end - rows >= 19) & (before <= REST_S + 180)
    if to_the_end:
        stepped = np.concatenate([[0], np.cumsum(person.steps > 0)])
        calm &= stepped[end] == stepped[rows]
    allowed = np.flatnonzero(calm)
    rng = np.random.default_rng(seed)
    drawn: Ints = np.sort(rng.choice(allowed, min(INJECTIONS, allowed.size), replace=False))
    return drawn


def injected(person: Person, onset: int, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    """Time, heart rate and steps from 90 minutes before to the end of 20 minutes at 125 bpm and more."""
    begin = int(np.searchsorted(person.at_s, person.at_s[onset] - BEFORE_S))
    end = int(np.searchsorted(person.at_s, person.at_s[onset] + INJECTED_S))
    heart = person.heart_rate[begin:end].copy()
    raised = np.round(rng.uniform(LEAST_BPM, 145) + rng.normal(0, 2, end - onset))
    heart[onset - begin :] = np.fmax(heart[onset - begin :], np.maximum(raised, LEAST_BPM))
    return person.at_s[begin:end], heart, person.steps[begin:end]


def batch(at_s: Ints, heart_rate: Floats, steps: Floats) -> Batch:
    """Minutes as a device would post them."""
    values = np.full((at_s.size, len(COLUMNS)), np.nan)
    values[:, INDEX["heart_rate_bpm"]] = heart_rate
    values[:, INDEX["steps"]] = steps
    at_us = at_s * 1_000_000
    return Batch(seq=np.arange(at_s.size), at_us=at_us, device_at_us=at_us.copy(), values=values)


def product_alarms(person: Person) -> list[int]:
    """When the product told of a heart rate, seconds; minutes posted by the hour."""
    state, told = None, []
    edges = np.flatnonzero(np.diff(person.at_s // 3600, prepend=-1))
    for a, b in zip(edges, [*edges[1:], person.at_s.size], strict=True):
        upload = batch(person.at_s[a:b], person.heart_rate[a:b], person.steps[a:b])
        result = analyse([state], [upload], [PersonSettings()], int(upload.at_us[-1]), _ON_TIME_S)[0]
        state = result.state
        told += [_certain_s(c) for c in result.opened if c.kind == "physiological"]
    return episodes(told)


def _certain_s(condition: Any) -> int:
    return int(condition.started_at.timestamp()) + int(condition.params.get("duration_s") or 0)


def episodes(told: Sequence[int]) -> list[int]:
    """First of each run of alarms less than an hour apart."""
    kept: list[int] = []
    last = -(2**40)
    for when in sorted(told):
        if when - last >= REFRACTORY_S:
            kept.append(when)
        last = when
    return kept


def product_delays(pieces: Sequence[tuple[Ints, Floats, Floats]], began: Ints) -> Floats:
    """Seconds from each onset to the product's alarm, NaN where none."""
    delay = np.full(len(pieces), np.nan)
    for a in range(0, len(pieces), 120):
        group = [batch(*piece) for piece in pieces[a : a + 120]]
        now = [int(b.at_us[-1]) for b in group]
        results = analyse([None] * len(group), group, [PersonSettings()] * len(group), now, _ON_TIME_S)
        for i, result in enumerate(results, start=a):
            told = [_certain_s(c) for c in result.opened if c.code == "heart_rate_high"]
            late = [t - int(began[i]) for t in told if t >= began[i]]
            delay[i] = min(late, default=np.nan)
    return delay


Rule = Callable[[Ints, Floats, Floats], Bools]


def _median_of_five(at_s: Ints, heart: Floats) -> Floats:
    """Median of the values of the last five minutes, NaN where fewer than four are known."""
    back = np.arange(-4, 1)
    rows = np.maximum(np.arange(at_s.size)[:, None] + back, 0)
    near = (at_s[:, None] - at_s[rows] < 300) & (np.arange(at_s.size)[:, None] + back >= 0)
    window = np.where(near, heart[rows], np.nan)
    known = np.isfinite(window).sum(axis=1) >= 4
    median = np.full(at_s.size, np.nan)
    median[known] = np.nanmedian(window[known], axis=1)
    return median


def _out(value: Floats, high: float) -> Bools:
    found: Bools = (value >= high) | (value <= 40)
    return found


def _at_rest(at_s: Ints, steps: Floats) -> Bools:
    rest: Bools = at_s - np.maximum.accumulate(np.where(steps > 0, at_s, at_s[0])) >= REST_S
    return rest


RULES: dict[str, Rule] = {
    "one minute >= 131 or <= 40": lambda t, h, s: _out(h, 131),
    "one minute >= 111 or <= 40": lambda t, h, s: _out(h, 111),
    "5-minute median >= 131 or <= 40": lambda t, h, s: _out(_median_of_five(t, h), 131),
    "5-minute median >= 111 or <= 40": lambda t, h, s: _out(_median_of_five(t, h), 111),
    "5-minute median at rest >= 111 or <= 40": lambda t, h, s: _out(_median_of_five(t, h), 111) & _at_rest(t, s),
}


def rule_alarms(rule: Rule, person: Person) -> list[int]:
    """When a plain rule alarms, runs less than an hour apart taken as one."""
    hits = rule(person.at_s, person.heart_rate, person.steps)
    return episodes(person.at_s[hits].tolist())


def rule_delays(rule: Rule, pieces: Sequence[tuple[Ints, Floats, Floats]], began: Ints) -> Floats:
    """Seconds from each onset to the rule's alarm, NaN where none."""
    delay = np.full(len(pieces), np.nan)
    for i, piece in enumerate(pieces):
        when = piece[0][rule(*piece)]
        when = when[when >= began[i]]
        if when.size:
            delay[i] = when[0] - began[i]
    return delay


def missing(data: Path) -> str | None:
    """The file this needs and does not find, or None."""
    return None if list(data.glob(PATTERN)) else PATTERN


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Injected resting tachycardia found, and what else alarms; the gate is fixed, so that both modes are one."""
    wearers = people(data)
    pieces, starts, owners = _injections(wearers, True)
    outcome = Outcome()
    if not wearers:
        return outcome
    days = sum(person.days for person in wearers)
    say(f"fitabase_minute: {len(wearers)} people, {days:.1f} worn days, {len(pieces)} injections")
    told = [product_alarms(person) for person in wearers]
    delay = product_delays(pieces, starts)
    outcome.rows += _rows("ansim", wearers, told, delay, mode, goals=True)
    for i, person in enumerate(wearers):
        outcome.rows += _rows("ansim", [person], [told[i]], delay[owners == i], mode, of=f", {person.name}")
    if delay.size:
        minutes = np.sort(np.where(np.isfinite(delay), delay, np.inf)) / 60
        seen = minutes[np.isfinite(minutes)]
        share = (np.arange(seen.size) + 1) / delay.size
        outcome.curves.append(Curve("fitabase_minute", "Injected resting tachycardia found", "minutes since onset",
                                    "share found", seen.tolist(), share.tolist()))  # fmt: skip
    moving = _injections(wearers, False)
    delay = product_delays(moving[0], moving[1])
    outcome.rows += _rows("ansim", wearers, [], delay, mode, of=", who may walk after the onset")
    if peers:
        for name, rule in RULES.items():
            alarms = [rule_alarms(rule, person) for person in wearers]
            outcome.rows += _rows(name, wearers, alarms, rule_delays(rule, pieces, starts), mode)
    return outcome


def _injections(wearers: Sequence[Person], to_the_end: bool) -> tuple[list[tuple[Ints, Floats, Floats]], Ints, Ints]:
    """Pieces with an injection, when it begins, and whose they are."""
    pieces, began, owner = [], [], []
    rng = np.random.default_rng(5)
    for i, person in enumerate(wearers):
        for onset in onsets(person, to_the_end=to_the_end).tolist():
            pieces.append(injected(person, onset, rng))
            began.append(int(person.at_s[onset]))
            owner.append(i)
    return pieces, np.array(began, dtype=np.int64), np.array(owner, dtype=np.int64)


def _rows(
    detector: str, wearers: Sequence[Person], told: Sequence[list[int]], delay: Floats, mode: str,
    goals: bool = False, of: str = "",
) -> list[Row]:  # fmt: skip
    name, n = "fitabase_minute", len(wearers)
    days = sum(p.days for p in wearers)
    rows: list[Row] = []
    if told:
        count = sum(len(t) for t in told)
        low, high = rate_interval(count, days)
        rows = [
            Row(name, f"false alarms{of}", detector, float(count), low * days, high * days, None, n, days * 24, mode,
                "<= 2" if goals else None),
            Row(name, f"false alarms a patient-day{of}", detector, count / days, low, high, None, n, days * 24, mode,
                "<= 0.05" if goals else None),
        ]  # fmt: skip
    if delay.size:
        hit = delay[np.isfinite(delay)] / 60
        low, high = share_interval(hit.size, delay.size)
        rows.append(Row(name, f"sensitivity{of}", detector, hit.size / delay.size, low, high, delay.size, n, None, mode,
                        ">= 0.95" if goals else None))  # fmt: skip
        if hit.size:
            for what, q, goal in (("median", 50, "<= 5"), ("p90", 90, None)):
                rows.append(Row(name, f"delay {what}, minutes{of}", detector, float(np.percentile(hit, q)), None, None,
                                delay.size, n, None, mode, goal if goals else None))  # fmt: skip
    return rows


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Nothing is fitted: the limits are a table's and the context is policy."""
    return {}
