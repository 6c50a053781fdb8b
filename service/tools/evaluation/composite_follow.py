"""Lives as the product follows them: their data in uploads, looks when they are quiet, cases closed by somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.reading import COLUMNS, Batch, Beats, Event, EventKind, Waveform
from devices.signals.finding import Finding
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.detection import PersonSettings, Wearer, absence, analyse, layers, quiet, verdict
from service.tools.evaluation.common import Floats

Ints = npt.NDArray[np.int64]
DAY_S = 86_400
CLOSED_AFTER_S = 3600
"""Somebody closes a case an hour after it arose, with no verdict on its cause (policy)."""
REFRACTORY_S = 3600
"""Findings of a person closer than this are one (DETECTION.md section 4)."""
LATE_S = 1e9
"""Every upload counts as on time, however long the stretch that it brings."""
TIERS = ("line", "question", "ring", "dispatch")
_RANK = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2}


@dataclass(slots=True)
class Rows:
    """Vital signs: int64[n] seconds, float64[n, columns], in order of time."""

    at_s: Ints
    values: Floats
    columns: tuple[int, ...] = ()
    """Of `COLUMNS`, where only some are held: years of all of them would fill a machine's memory."""

    def part(self, i: int, j: int) -> Floats:
        """float64[j - i, COLUMNS]"""
        if not self.columns:
            return self.values[i:j]
        whole = np.full((j - i, len(COLUMNS)), np.nan)
        whole[:, self.columns] = self.values[i:j]
        return whole

    @staticmethod
    def none() -> Rows:
        return Rows(np.empty(0, dtype=np.int64), np.empty((0, len(COLUMNS))))

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        at_s = np.concatenate([np.empty(0, dtype=np.int64), *[p.at_s for p in parts]])
        values = np.concatenate([np.empty((0, len(COLUMNS))), *[p.values for p in parts]])
        order = np.argsort(at_s, kind="stable")
        return Rows(at_s[order], values[order])


@dataclass(slots=True)
class Life:
    """What is known of one person from `start_s` to `end_s`; findings count from `counted_s`. Seconds UTC."""

    name: str
    start_s: int
    end_s: int
    counted_s: int
    rows: Rows = field(default_factory=Rows.none)
    events: list[tuple[int, str, str]] = field(default_factory=list)
    """Time, kind, place; in order of time."""
    beats_s: float = 0.0
    """Beginning of the first interval."""
    rr_ms: Floats = field(default_factory=lambda: np.empty(0))
    waves: list[tuple[float, float, str, Floats]] = field(default_factory=list)
    """Beginning, sampling rate, unit, float[n, 3]."""
    wearer: Wearer = field(default_factory=Wearer)
    away: list[tuple[int, int]] = field(default_factory=list)
    """Announced absences, from and until."""
    offset_s: Ints | None = None
    """Of local time on each day, where people travel."""
    deaf: list[tuple[int, int]] = field(default_factory=list)
    """Our own outages."""
    _event_s: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _beat_s: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def days(self) -> float:
        lost = sum(max(0, min(b, self.end_s) - max(a, self.counted_s)) for a, b in self.deaf)
        return (self.end_s - self.counted_s - lost) / DAY_S

    def wearer_at(self, a: int) -> Wearer:
        """The wearer, with local time as it was then."""
        if self.offset_s is None:
            return self.wearer
        day = min((a - self.start_s) // DAY_S, self.offset_s.size - 1)
        return replace(self.wearer, utc_offset_s=int(self.offset_s[day]))

    def upload(self, a: int, b: int) -> Batch:
        """What a device posts of the stretch from a to b."""
        if self._event_s.size != len(self.events):
            self._event_s = np.array([e[0] for e in self.events], dtype=np.int64)
        if self._beat_s.size != self.rr_ms.size:
            self._beat_s = self.beats_s + np.cumsum(self.rr_ms) / 1000
        i, j = np.searchsorted(self.rows.at_s, (a, b)).tolist()
        k, m = np.searchsorted(self._event_s, (a, b)).tolist()
        at_us = self.rows.at_s[i:j] * 1_000_000
        return Batch(
            seq=np.arange(i, j),
            at_us=at_us,
            device_at_us=at_us,
            values=self.rows.part(i, j),
            events=[_event(10_000_000 + n, self.events[n]) for n in range(k, m)],
            beats=self._beats(a, b),
            waveforms=[w for n, one in enumerate(self.waves) if (w := _wave(n, one, a, b)) is not None],
        )

    def _beats(self, a: int, b: int) -> list[Beats]:
        i, j = np.searchsorted(self._beat_s, (a, b)).tolist()
        if i == j:
            return []
        start_us = round((float(self._beat_s[i]) - float(self.rr_ms[i]) / 1000) * 1e6)
        return [Beats(20_000_000 + i, start_us, start_us, self.rr_ms[i:j])]


def _event(seq: int, one: tuple[int, str, str]) -> Event:
    at_us = one[0] * 1_000_000
    return Event(seq=seq, at_us=at_us, device_at_us=at_us, kind=EventKind(one[1]), place=one[2] or None)


def _wave(number: int, one: tuple[float, float, str, Floats], a: int, b: int) -> Waveform | None:
    begin, rate, unit, samples = one
    i = max(int(np.ceil((a - begin) * rate - 1e-6)), 0)
    j = min(int(np.ceil((b - begin) * rate - 1e-6)), len(samples))
    if i >= j:
        return None
    start_us = round((begin + i / rate) * 1e6)
    channels = np.ascontiguousarray(samples[i:j].T, dtype=np.float32)
    return Waveform(30_000_000 + number, start_us, start_us, rate, "accelerometer", unit, channels)


@dataclass(frozen=True, slots=True)
class Told:
    """One condition that people or pages were told of."""

    who: int
    at_s: float
    code: str
    rank: int
    """Of `TIERS`; -1 for a technical one."""


@dataclass(slots=True)
class Followed:
    """What became of a group of lives; `found` are the layers' own findings before they were weighed."""

    lives: Sequence[Life]
    told: list[Told] = field(default_factory=list)
    found: list[tuple[int, Finding]] = field(default_factory=list)
    states: list[bytes | None] = field(default_factory=list)

    @property
    def days(self) -> float:
        return sum(life.days for life in self.lives)

    def counted(self) -> list[Told]:
        """Physiological conditions within the counted time."""
        return [t for t in self.told if t.rank >= 0 and t.at_s >= self.lives[t.who].counted_s]

    def episodes(self) -> list[Told]:
        """The first of each run of findings of a person less than an hour apart, at the highest tier of the run."""
        kept: list[Told] = []
        last: dict[int, tuple[int, float]] = {}
        for one in sorted(self.counted(), key=lambda t: (t.who, t.at_s)):
            place, before = last.get(one.who, (-1, -np.inf))
            if one.at_s - before >= REFRACTORY_S:
                place = len(kept)
                kept.append(one)
            elif one.rank > kept[place].rank:
                kept[place] = Told(one.who, kept[place].at_s, one.code, one.rank)
            last[one.who] = (place, one.at_s)
        return kept


def rank(condition: AlarmCondition) -> int:
    if condition.kind != AlarmKind.PHYSIOLOGICAL:
        return -1
    return 3 if condition.grave else _RANK[condition.priority]


def known(lives: Sequence[Life], step_s: int) -> list[bytes | None]:
    """The states of people followed until their counted time, in coarser uploads: nothing told before it counts."""
    before = [replace(life, end_s=life.counted_s) for life in lives]
    return follow(before, step_s).states


def follow(lives: Sequence[Life], step_s: int, states: Sequence[bytes | None] | None = None) -> Followed:
    """Let the product follow a group of people, each from the beginning of their own time, in uploads of `step_s`.

    Uploads of all are judged in one call a step. Whoever asks to be looked at is looked at when an upload has been
    judged; the sensors of a home listen but in our own outages. Cases are closed after `CLOSED_AFTER_S`.
    """
    done = Followed(lives, states=list(states) if states is not None else [None] * len(lives))
    carried: list[Any] = done.states
    settings = [PersonSettings()] * len(lives)
    look_us: list[int | None] = [None if s is None else verdict.look_us(s) for s in carried]
    close_s: dict[int, tuple[float, list[str]]] = {}
    steps = max(-(-(life.end_s - life.start_s) // step_s) for life in lives)
    for k in range(steps):
        here = [i for i, life in enumerate(lives) if life.start_s + k * step_s < life.end_s]
        begin = [lives[i].start_s + k * step_s for i in here]
        batches = [lives[i].upload(a, a + step_s) for i, a in zip(here, begin, strict=True)]
        now = [(a + step_s) * 1_000_000 for a in begin]
        some = [n for n, b in enumerate(batches) if b.at_us.size or b.events or b.beats or b.waveforms]
        if some:
            people = [here[n] for n in some]
            results = analyse(
                [carried[i] for i in people], [batches[n] for n in some], [settings[i] for i in people],
                [now[n] for n in some], LATE_S, [lives[here[n]].wearer_at(begin[n]) for n in some],
            )  # fmt: skip
            for i, result in zip(people, results, strict=True):
                carried[i], look_us[i] = result.state, result.look_us
                done.found += [(i, f) for f in result.findings if not f.ended]
                _note(done, close_s, i, zip(result.at_us, result.opened, strict=True))
        for i, at in zip(here, now, strict=True):
            due = look_us[i]
            if due is not None and due <= at:
                look_us[i] = _look(done, close_s, i, at)
            if i in close_s and close_s[i][0] * 1e6 <= at:
                codes = close_s.pop(i)[1]
                carried[i] = verdict.take(carried[i], codes, false_because=None, was_true=False, now_us=at)
    return done


def _note(done: Followed, close_s: dict[int, tuple[float, list[str]]], i: int, opened: Any) -> None:
    for at_us, one in opened:
        told = Told(i, at_us / 1e6, one.code, rank(one))
        done.told.append(told)
        if told.rank >= 1:
            close_s.setdefault(i, (told.at_s + CLOSED_AFTER_S, []))[1].append(one.code)


def _look(done: Followed, close_s: dict[int, tuple[float, list[str]]], i: int, now_us: int) -> int | None:
    life, now_s = done.lives[i], now_us // 1_000_000
    away = [until for since, until in life.away if since <= now_s]
    deaf = [a for a, b in life.deaf if a <= now_s < b]
    heard_us = deaf[0] * 1_000_000 if deaf else now_us
    state = done.states[i]
    if state is None:
        return None
    looked = quiet.look(state, now_us, life.wearer_at(now_s - 1), away[-1] * 1_000_000 if away else None, heard_us)
    done.states[i] = looked.state
    _note(done, close_s, i, [(now_us, one) for one in looked.opened])
    # What the weighing keeps back has still been found: the layer tells each silence once.
    if int(layers.decode([looked.state]).absence["told_t"][0]) == now_s:
        done.found.append((i, Finding(absence.LAYER, absence.CODE, now_us, now_us, 0.0)))
    return looked.look_us
