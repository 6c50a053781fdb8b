"""Hard limits, a clinician's personal limits, and NEWS2, as arm and clear signals for the latches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from devices.reading import INDEX
from service.detection import news2
from service.detection.quality import Gate
from service.detection.samples import Samples, persistent
from service.detection.segments import Bools, Floats, Ints, last_index
from service.detection.state import EVIDENCE, LATCH, LATCHES, RUNS, WINDOWED, Records

HEART_RATE_MEDIUM_BPM = 111.0
HEART_RATE_HIGH_BPM = 131.0
HEART_RATE_LOW_BPM = 40.0
"""NEWS2 pulse: 2 points from 111, 3 from 131 and up to 40 (RCP 2017, chart 1). The last two bind whatever
is set."""
HEART_RATE_BACK_BPM = 10.0
HEART_RATE_LOW_BACK_BPM = 5.0
"""How far back inside a limit the median must be before the condition ends (policy)."""
SPO2_LOW_PCT = 88.0
"""3 below the 3-point edge of NEWS2 scale 1, and the floor of the lowest target of the British Thoracic Society
(88-92, guideline 2017)."""
SPO2_LOW_SCALE_2_PCT = 85.0
"""3 below the target of 88-92 of those on scale 2 (policy, by analogy)."""
SPO2_FLOOR_PCT = 80.0
"""No personal limit reaches below this (policy)."""
SPO2_BACK_PCT = 2.0
REST_S = 720
"""At rest: no step for 12 minutes (Mishra 2020; DETECTION.md section 3c)."""
LATE_S = 3600
"""A medium or low sign older than this at receipt opens nothing: the present is judged by later readings. A
high one is raised all the same and says its age (policy)."""
NEWS2_CLEAR_TOTAL = 3
"""Arm at 5 or 7, clear two below 5 (policy; DETECTION.md section 3a: hysteresis costs no sensitivity)."""
LONE_PARAMETERS = 3
"""Readings too few to be persistent may arm news2_high when so many parameters score together (policy)."""
MAX_AGE_S = np.array([3600, 3600, 3600, 43_200, 43_200])
"""For how long each of EVIDENCE counts in NEWS2: the RCP asks for observations at least hourly from a total of
5, at least 12-hourly when it is 0; sensed vitals follow the first, hand-measured ones the second (policy)."""
FORGOTTEN_S = 86_400
"""An aged value no longer raises a total, but for a day it still keeps one from clearing: missing is not normal
(policy)."""
LONE_S = 900
CONTRADICTED_S = np.array([30, 30, 30, 30, 300])
CONTRADICTED_READINGS = 2
AGREED_S = 60
"""A contradiction counts when it holds for 30 s, rates that differ for a whole window; it ends after a minute
(policy)."""
BATTERY_LOW_PCT = 15.0
BATTERY_BACK_PCT = 25.0


class PersonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a clinician has set for one person; None is the default limit.

    `spo2_scale` 2 only on a clinician's direction. `on_oxygen` None is unknown. Limits that name neither who
    set them nor when are refused.
    """

    spo2_scale: Literal[1, 2] = 1
    on_oxygen: bool | None = None
    heart_rate_high_bpm: float | None = None
    heart_rate_low_bpm: float | None = None
    spo2_low_pct: float | None = None
    set_by: str | None = None
    set_on: datetime | None = None

    def __post_init__(self) -> None:
        if self.spo2_scale not in (1, 2):
            raise ValueError(f"spo2_scale must be 1 or 2, was {self.spo2_scale!r}: give the NEWS2 SpO2 scale")
        personal = (self.heart_rate_high_bpm, self.heart_rate_low_bpm, self.spo2_low_pct)
        if (self.spo2_scale == 2 or any(limit is not None for limit in personal)) and not (self.set_by and self.set_on):
            raise ValueError(
                "set_by and set_on must be given with a personal limit or SpO2 scale 2, were "
                f"{self.set_by!r} and {self.set_on!r}: name the clinician and the date"
            )


@dataclass(slots=True)
class People:
    """Settings of n people as arrays."""

    scale_2: Bools
    oxygen: Floats
    rate_high: Floats
    rate_low: Floats
    """float64[n]: -inf where no personal limit is set."""
    spo2_low: Floats

    @staticmethod
    def of(settings: Sequence[PersonSettings]) -> People:
        """Put settings into columns."""
        rows = [_limits(s) for s in settings]
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        return People(table[:, 0] == 2, table[:, 1], table[:, 2], table[:, 3], table[:, 4])

    def at(self, who: Ints) -> People:
        """One row for each entry of `who`."""
        return People(self.scale_2[who], self.oxygen[who], self.rate_high[who], self.rate_low[who], self.spo2_low[who])


def _limits(s: PersonSettings) -> tuple[float, ...]:
    oxygen = np.nan if s.on_oxygen is None else float(s.on_oxygen)
    spo2 = SPO2_LOW_SCALE_2_PCT if s.spo2_scale == 2 else SPO2_LOW_PCT
    return (
        s.spo2_scale,
        oxygen,
        HEART_RATE_MEDIUM_BPM if s.heart_rate_high_bpm is None else s.heart_rate_high_bpm,
        -np.inf if s.heart_rate_low_bpm is None else s.heart_rate_low_bpm,
        max(spo2 if s.spo2_low_pct is None else s.spo2_low_pct, SPO2_FLOOR_PCT),
    )


@dataclass(slots=True)
class Signals:
    """Arm and clear of each latch in each of m rows, with what a sentence needs."""

    arm: Bools
    clear: Bools
    news_v: Floats
    """float64[m, EVIDENCE]: values for NEWS2 that a row brings; NaN elsewhere; carried in carried rows."""
    news_t: Ints
    lone_v: Floats
    lone_t: Ints
    news_at: Ints
    """int64[m, EVIDENCE]: row of the latest value at or before each row."""
    lone_at: Ints
    news_row: Ints
    """int64[m]: row of `news` that speaks for the row; -1 where NEWS2 was not judged."""
    news: news2.News2


def _heart_signals(samples: Samples, rest: Bools, people: People, arm: Bools, clear: Bools) -> None:
    k = np.flatnonzero((samples.vital == 0) & ~np.isnan(samples.median))
    row, median = samples.row[k], samples.median[k]
    who = people.at(row)
    arm[row, LATCH["heart_rate_high"]] = rest[row] & (median >= who.rate_high)
    arm[row, LATCH["heart_rate_high:high"]] = rest[row] & (median >= HEART_RATE_HIGH_BPM)
    back = median <= np.minimum(who.rate_high, HEART_RATE_HIGH_BPM) - HEART_RATE_BACK_BPM
    clear[row, LATCH["heart_rate_high"]] = clear[row, LATCH["heart_rate_high:high"]] = back
    arm[row, LATCH["heart_rate_low"]] = median <= who.rate_low
    arm[row, LATCH["heart_rate_low:high"]] = median <= HEART_RATE_LOW_BPM
    back = median >= np.maximum(who.rate_low, HEART_RATE_LOW_BPM) + HEART_RATE_LOW_BACK_BPM
    clear[row, LATCH["heart_rate_low"]] = clear[row, LATCH["heart_rate_low:high"]] = back


def _spo2_signals(samples: Samples, people: People, arm: Bools, clear: Bools) -> None:
    k = np.flatnonzero(samples.vital == 1)
    row, value = samples.row[k], samples.value[k]
    limit = people.spo2_low[row][:, None]
    low, back = persistent(samples.age[k], np.stack([value <= limit, value >= limit + SPO2_BACK_PCT]))
    arm[row, LATCH["spo2_low"]] = low
    clear[row, LATCH["spo2_low"]] = back


def _news_inputs(
    samples: Samples, found: Floats, rest: Bools, front: Ints, first: Ints, lanes: Records
) -> tuple[Floats, Ints, Floats, Ints]:
    """Values that rows bring to NEWS2: medians at rest, hand-measured values as they come, lone ones."""
    shape = (front.size, len(EVIDENCE))
    news_v, lone_v = np.full(shape, np.nan), np.full(shape, np.nan)
    news_v[:, WINDOWED:] = found[:, WINDOWED:]
    # NEWS2 is meant for a person at rest: heart and breathing rate of a walk are not scored.
    still = rest[samples.row] | (samples.vital == 1)
    news_v[samples.row, samples.vital] = np.where(still, samples.median, np.nan)
    lone = still & samples.lone
    lone_v[samples.row[lone], samples.vital[lone]] = samples.value[lone, -1]
    news_t = np.repeat(front[:, None], len(EVIDENCE), axis=1)
    lone_t = news_t.copy()
    news_v[first], news_t[first] = lanes["news_v"], lanes["news_t"]
    lone_v[first], lone_t[first] = lanes["lone_v"], lanes["lone_t"]
    return news_v, news_t, lone_v, lone_t


def combine(
    news: tuple[Floats, Ints], lone: tuple[Floats, Ints], max_age: Ints, lone_s: int
) -> tuple[Floats, Floats, Floats]:
    """Three readings of the same values (ages in seconds): known now, known with lone ones, and remembered.

    The last keeps an aged value for a day, so that a parameter that falls silent clears nothing.
    """
    (value, age), (lone_value, lone_age) = news, lone
    known = np.where(age <= max_age, value, np.nan)
    with_lone = np.where(np.isnan(known) & (lone_age <= lone_s), lone_value, known)
    newer = np.isnan(known) & (lone_age < age)
    kept = np.where(newer, lone_value, value)
    kept_age = np.where(newer, lone_age, age)
    return known, with_lone, np.where(kept_age <= np.maximum(FORGOTTEN_S, max_age), kept, np.nan)


def score_evidence(values: Floats, scale_2: Bools, oxygen: Floats) -> news2.News2:
    """NEWS2 of rows of EVIDENCE; consciousness is never known from what is worn."""
    heart, spo2, breathing, temperature, systolic = values.T
    return news2.score(breathing, spo2, scale_2, oxygen, systolic, heart, np.full(heart.size, np.nan), temperature)


def _news_signals(
    inputs: tuple[Floats, Ints, Floats, Ints], front: Ints, first: Ints, people: People, arm: Bools, clear: Bools
) -> tuple[Ints, Ints, Ints, news2.News2]:
    news_v, news_t, lone_v, lone_t = inputs
    news_new, lone_new = ~np.isnan(news_v), ~np.isnan(lone_v)
    judged: Bools = np.any(news_new | lone_new, axis=1)
    judged[first] = False
    rows = np.flatnonzero(judged)
    columns = np.arange(len(EVIDENCE))
    news_at, lone_at = last_index(news_new, first), last_index(lone_new, first)
    at, alone = news_at[rows], lone_at[rows]
    now = front[rows][:, None]
    values = combine(
        (news_v[at, columns], now - news_t[at, columns]),
        (lone_v[alone, columns], now - lone_t[alone, columns]),
        MAX_AGE_S,
        LONE_S,
    )
    scale_2, oxygen = people.scale_2[rows], people.oxygen[rows]
    scored = score_evidence(np.concatenate(values), np.tile(scale_2, 3), np.tile(oxygen, 3))
    total, with_lone, remembered = scored.total_known.reshape(3, -1)
    scoring = (scored.points[rows.size : 2 * rows.size] > 0).sum(axis=1)
    corroborated = (with_lone >= news2.HIGH_TOTAL) & (scoring >= LONE_PARAMETERS)
    arm[rows, LATCH["news2_medium"]] = total >= news2.MEDIUM_TOTAL
    arm[rows, LATCH["news2_high"]] = (total >= news2.HIGH_TOTAL) | corroborated
    clear[rows, LATCH["news2_medium"]] = remembered <= NEWS2_CLEAR_TOTAL
    clear[rows, LATCH["news2_high"]] = remembered <= NEWS2_CLEAR_TOTAL
    news_row = np.full(front.size, -1)
    news_row[rows] = np.arange(rows.size) + np.where(corroborated & (total < news2.HIGH_TOTAL), rows.size, 0)
    return news_at, lone_at, news_row, scored


def _technical_signals(gate: Gate, values: Floats, time: Ints, arm: Bools, clear: Bools) -> None:
    columns = slice(LATCH["signal_contradiction:heart_rate_bpm"], LATCH["signal_contradiction:heart_rate_bpm"] + RUNS)
    lasted = time[:, None] - gate.run_t
    enough = gate.run_n >= CONTRADICTED_READINGS
    arm[:, columns] = gate.bad & enough & (lasted >= CONTRADICTED_S)
    clear[:, columns] = gate.judged & ~gate.bad & enough & (lasted >= AGREED_S)
    said = ~np.isnan(values[:, INDEX["worn"]])
    arm[:, LATCH["not_worn"]] = said & (gate.worn == 0)
    clear[:, LATCH["not_worn"]] = said & (gate.worn == 1)
    battery = values[:, INDEX["battery_pct"]]
    arm[:, LATCH["battery_low"]] = battery <= BATTERY_LOW_PCT
    clear[:, LATCH["battery_low"]] = battery >= BATTERY_BACK_PCT


def signals(
    gate: Gate,
    samples: Samples,
    found: Floats,
    rows: tuple[Floats, Ints, Ints, Ints],
    first: Ints,
    lanes: Records,
    people: People,
    late_s: float = LATE_S,
) -> Signals:
    """Judge every row by every rule.

    Parameters
    ----------
    gate, samples : Gate, Samples
    found : float64[m, EVIDENCE]
        Accepted evidence.
    rows : (float64[m, columns], int64[m], int64[m], int64[m])
        Values as posted, time, front of the lane, and age at receipt, in seconds.
    first, lanes : int64[lanes], structured[lanes]
        Carried rows and what they carry.
    people : People
        Settings of each row's wearer.
    late_s : float
        Older at receipt than this, medium and low signs open nothing.
    """
    values, time, front, late = rows
    arm = np.zeros((time.size, len(LATCHES)), dtype=bool)
    clear = np.zeros_like(arm)
    rest = time - gate.steps_t >= REST_S
    _heart_signals(samples, rest, people, arm, clear)
    _spo2_signals(samples, people, arm, clear)
    inputs = _news_inputs(samples, found, rest, front, first, lanes)
    judged = _news_signals(inputs, front, first, people, arm, clear)
    _technical_signals(gate, values, time, arm, clear)
    high = [LATCH["spo2_low"], LATCH["heart_rate_high:high"], LATCH["heart_rate_low:high"], LATCH["news2_high"]]
    timely = np.repeat((late <= late_s)[:, None], len(LATCHES), axis=1)
    timely[:, high] = True
    arm &= timely
    # The higher of two steps holds the lower one with it: a condition rises, and ends as a whole.
    for upper, lower in (
        ("heart_rate_high:high", "heart_rate_high"),
        ("heart_rate_low:high", "heart_rate_low"),
        ("news2_high", "news2_medium"),
    ):
        arm[:, LATCH[lower]] |= arm[:, LATCH[upper]]
    arm[first] = clear[first] = False
    return Signals(arm, clear, *inputs, *judged)
