"""The personal baseline: what is usual for this person at this hour, and slow drift away from it.

Readings are only summed while an hour lasts. When it is over, its mean is held against the hour's usual value and
scatter; a pair of log-likelihood CUSUMs for each vital, one up, one down, gathers what the hours say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import Model, load
from devices.signals.finding import Finding
from service.detection.segments import Bools, Floats, Ints, chosen, running_max, starts

Records = npt.NDArray[Any]

VITALS = ("heart_rate_bpm", "respiratory_rate_bpm", "spo2_pct", "temperature_c", "systolic_mmhg", "steps")
STEPS = VITALS.index("steps")
REST_S = 300
"""Without a step for so long, a reading may teach the baseline and be held against it (policy). Shorter than the
12 minutes of the limits: one hour's mean forgives a minute's effort, and a busy person has few still stretches."""
UP, DOWN = 0, 1
TOLD: dict[tuple[str, int], str] = {
    ("heart_rate_bpm", UP): "heart_rate_drift_up",
    ("heart_rate_bpm", DOWN): "heart_rate_drift_down",
    ("respiratory_rate_bpm", UP): "breathing_drift_up",
    ("spo2_pct", DOWN): "spo2_drift_down",
    ("temperature_c", UP): "temperature_drift_up",
    ("systolic_mmhg", UP): "pressure_drift_up",
    ("systolic_mmhg", DOWN): "pressure_drift_down",
    ("steps", DOWN): "activity_drift_down",
}
"""Drifts that are told; the other directions are followed but mean nothing by themselves (policy)."""
HOLD = 0.3
"""A drift ends, and learning is no longer slowed, below this share of its threshold (DETECTION.md section 4)."""
ACCEPT_HOURS = 24 * 14
"""A drift that lasts two weeks becomes the new usual: it is learnt at full speed again (policy)."""
BODY_CLOCK_S_PER_HOUR = 150.0
"""How fast the body follows a new time zone: about an hour a day (57 min eastward, 92 min westward: Aschoff 1975)."""
STALE_HOURS = 24
"""Evidence halves with each day without a value beyond the first (policy)."""
SLOTS = 9
"""Of the hour's twelve 5-minute slots, how many must be covered before its steps are a sum (policy)."""
UNIT = np.array([100.0, 100, 100, 1000, 100, 1])
"""Values are summed in whole parts of their unit, so that no order of adding changes a bit."""
_NEAR = 12.0
_NEVER = -(2**30)
_COUNT = 16.0
_SIGN = np.array([1.0, -1.0])
_TOLD = np.array([[(name, side) in TOLD for side in (UP, DOWN)] for name in VITALS])

STATE = np.dtype(
    [
        ("hour", "<i4"),
        ("begun", "<i4"),
        ("offset_s", "<i4"),
        ("body_s", "<f4"),
        ("sum", "<i8", len(VITALS)),
        ("count", "<i4", len(VITALS)),
        ("slots", "<u2"),
        ("usual", "<f4", (len(VITALS), 24)),
        ("spread", "<f4", (len(VITALS), 24)),
        ("known", "u1", (len(VITALS), 24)),
        ("level", "<f4", len(VITALS)),
        ("hours", "<f4", len(VITALS)),
        ("residual", "<f4", len(VITALS)),
        ("near", "<f4", len(VITALS)),
        ("last", "<i4", len(VITALS)),
        ("stat", "<f4", (len(VITALS), 2)),
        ("since", "<i4", (len(VITALS), 2)),
        ("on", "u1", (len(VITALS), 2)),
    ]
)
"""Of one patient: the hour under way (sums), usual value, variance and days known (1/16) for each hour of the
local day, and for each vital the level over all hours, the last residual, and the two CUSUMs. Hours since 1970."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The fitted model as arrays; one number a vital unless said."""

    delta: Floats
    threshold: Floats
    """float64[vitals, 2]: nats."""
    keep: float
    """Correlation of residuals an hour apart."""
    clip: float
    memory_days: float
    slow: float
    """Share of the learning rate that is left under suspicion."""
    prior_days: float
    prior: Floats
    prior_sd: Floats
    """Scatter of an hour's mean within a person."""
    between_sd: Floats
    """Scatter between people."""
    least_sd: Floats
    shape: Floats
    """float64[vitals, 24]: the population's hours of the day about their mean."""
    warm_hours: float
    young: float
    """By how much thresholds are raised until day 14."""


def parameters(model: Model) -> Parameters:
    """Read a model; raises KeyError where one lacks."""
    threshold = np.stack([model.array("threshold_up"), model.array("threshold_down")], axis=1)
    return Parameters(
        model.array("delta"), threshold, model.number("hour_correlation"), model.number("clip"),
        model.number("memory_days"), model.number("learning_under_suspicion"), model.number("prior_days"),
        model.array("population_mean"), model.array("population_hour_sd"), model.array("population_between_sd"),
        model.array("least_sd"), model.array("population_shape"), model.number("warm_hours"),
        model.number("young_factor"),
    )  # fmt: skip


@cache
def shipped() -> Parameters:
    """The parameters of this release."""
    return parameters(load("baseline"))


def blank(count: int = 1) -> Records:
    """State of so many patients before their first reading."""
    records = np.zeros(count, dtype=STATE)
    records["hour"] = records["begun"] = _NEVER
    records["last"] = _NEVER
    return records


def update(
    records: Records,
    who: Ints,
    at_s: Ints,
    values: Floats,
    rest: Bools,
    utc_offset_s: Ints,
    model: Parameters | None = None,
) -> list[tuple[int, Finding]]:
    """Take in readings of a group of patients; judge every hour that they bring to its end.

    Parameters
    ----------
    records : structured[patients]
        `STATE`; brought up to date in place.
    who : int64[n]
        Patient of each row, in rising order; rows of a patient in order of arrival.
    at_s : int64[n]
        Seconds UTC. A row of an hour that is already judged is left out.
    values : float64[n, VITALS]
        Accepted readings, NaN where there is none; steps since the row before.
    rest : bool[n]
        At rest: no step for `REST_S`. Other rows give steps only.
    utc_offset_s : int64[patients]
        Of each person's local time.
    model : Parameters, optional
        Other than the shipped ones.

    Returns
    -------
    list of (int, Finding)
        Patient and finding, in order of time for each patient.
    """
    if not who.size:
        return []
    model = model or shipped()
    hour, under_way = at_s // 3600, records["hour"][who]
    said, part = _parts(values, rest)
    if not np.count_nonzero(hour != under_way):
        start = starts(who)
        _add(records, who[start], *_segment_sums(said, part, at_s, start))
        return []
    top = np.maximum(running_max(hour, who), under_way)
    said[hour < top] = False
    start = starts(who * 2**32 + top)
    person, begins = who[start], top[start]
    ahead = starts(person)
    rank = np.arange(start.size) - np.repeat(ahead, np.diff(ahead, append=start.size))
    sums, counts, slots = _segment_sums(said, part, at_s, start)
    found: list[tuple[int, Finding]] = []
    for turn in range(int(rank.max()) + 1):
        segment = (rank == turn).nonzero()[0]
        p = person[segment]
        over = p[begins[segment] > records["hour"][p]]
        if over.size:
            found += _close(records, over, utc_offset_s, model)
        records["hour"][chosen(p)] = begins[segment]
        _add(records, p, sums[segment], counts[segment], slots[segment])
    found.sort(key=lambda pair: (pair[0], pair[1].at_us))
    return found


def _parts(values: Floats, rest: Bools) -> tuple[Bools, Floats]:
    """Where a row says something of use, and values in whole parts of their unit."""
    part: Floats = np.rint(values * UNIT)
    said: Bools = np.abs(part) <= 1e9
    if np.count_nonzero(rest) < rest.size:
        said[~rest, :STEPS] = False
    return said, part


def _segment_sums(said: Bools, part: Floats, at_s: Ints, start: Ints) -> tuple[Ints, Ints, npt.NDArray[np.uint16]]:
    """Sums, which are whole, counts and slots of each segment."""
    slot = np.where(said[:, STEPS], 1 << (at_s % 3600 // 300), 0).astype(np.uint16)
    return (
        np.add.reduceat(np.where(said, part, 0.0), start, axis=0).astype(np.int64),
        np.add.reduceat(said, start, axis=0, dtype=np.int64),
        np.bitwise_or.reduceat(slot, start),
    )


def _add(records: Records, person: Ints, sums: Ints, counts: Ints, slots: npt.NDArray[np.uint16]) -> None:
    one = chosen(person)
    records["sum"][one] += sums
    records["count"][one] += counts
    records["slots"][one] |= slots


def _close(records: Records, people: Ints, utc_offset_s: Ints, model: Parameters) -> list[tuple[int, Finding]]:
    """Judge the hour under way of these patients, and clear its sums."""
    index = chosen(people)
    value, count = _means(records[index])
    said = ~np.isnan(value).all(axis=1)
    for name in ("sum", "count", "slots"):
        records[name][index] = 0
    people, value, count = people[said], value[said], count[said]
    if not people.size:
        return []
    index = chosen(people)
    one = records[index]
    hour = one["hour"].astype(np.int64)
    fresh = one["begun"] == _NEVER
    one["begun"] = np.where(fresh, hour, one["begun"])
    local, body = _clocks(one, utc_offset_s[people], fresh)
    hod = (hour[:, None] * 3600 + 1800 + np.stack([local, body], axis=1)).astype(np.int64) // 3600 % 24
    found = _judge(one, people, value, count, hod, model)
    if people.size > 1:
        records[index] = one
    return found


def _means(one: Records) -> tuple[Floats, Ints]:
    count = one["count"].astype(np.int64)
    value = np.where(count > 0, one["sum"] / np.maximum(count, 1) / UNIT, np.nan)
    covered = np.bitwise_count(one["slots"]) >= SLOTS
    # The root of a count scatters evenly whatever its size.
    value[:, STEPS] = np.where(covered, np.sqrt(np.maximum(one["sum"][:, STEPS], 0)), np.nan)
    return value, count


def _clocks(one: Records, offset_s: Ints, fresh: Bools) -> tuple[Floats, Floats]:
    """Offsets of local time and of the body clock, which follows it by about an hour a day."""
    local = np.clip(offset_s, -50_400, 50_400).astype(np.float64)
    apart = np.maximum(one["hour"] - one["last"].max(axis=1).astype(np.int64), 1)
    reach = BODY_CLOCK_S_PER_HOUR * np.minimum(apart, 1000)
    body = np.where(fresh, local, one["body_s"] + np.clip(local - one["body_s"], -reach, reach))
    one["offset_s"], one["body_s"] = local, body
    return local, body


def _expected(one: Records, hod: Ints, model: Parameters) -> tuple[Floats, Floats]:
    """Usual value and variance of the hour, for local time and body clock blended; float64[p, vitals]."""
    rows = np.arange(one.size)[:, None]
    columns = np.arange(len(VITALS))
    mean, variance = [], []
    for clock in (hod[:, :1], hod[:, 1:]):
        known = one["known"][rows, columns, clock] / _COUNT
        prior = one["level"] + model.shape[:, clock[:, 0]].T
        weight = known + model.prior_days
        mean.append((one["usual"][rows, columns, clock] * known + prior * model.prior_days) / weight)
        weight_v = known + 2 * model.prior_days
        own = one["spread"][rows, columns, clock] * known + model.prior_sd**2 * 2 * model.prior_days
        variance.append(own / weight_v * (1 + 1 / weight))
    blend = (mean[0] + mean[1]) / 2
    apart = (mean[0] - mean[1]) / 2
    unknown = model.between_sd**2 / (1 + one["hours"])
    return blend, (variance[0] + variance[1]) / 2 + apart**2 + unknown


def _judge(
    one: Records, people: Ints, value: Floats, count: Ints, hod: Ints, model: Parameters
) -> list[tuple[int, Finding]]:
    said = ~np.isnan(value)
    new = said & (one["hours"] == 0)
    one["level"] = np.where(new, np.where(said, value, 0) - model.shape[:, hod[:, 0]].T, one["level"])
    usual, variance = _expected(one, hod, model)
    # The mean of one or two readings says less than that of sixty.
    shaky = np.where(np.arange(len(VITALS)) == STEPS, 1.0, 1 + 1 / np.maximum(count, 1))
    sd = np.maximum(np.sqrt(variance * shaky), model.least_sd)
    error = np.where(said, value - usual, 0.0)
    z = np.clip(error / sd, -model.clip, model.clip)
    hour = one["hour"].astype(np.int64)
    gap = np.minimum(hour[:, None] - one["last"], 10_000)
    rho = model.keep**gap
    white = (z - rho * one["residual"]) / np.sqrt(1 - rho**2)
    step = model.delta / sd * np.sqrt((1 - rho) / (1 + rho))
    gain = step[..., None] * (_SIGN * white[..., None] - step[..., None] / 2)
    young = hour - one["begun"] < ACCEPT_HOURS
    limit = model.threshold * np.where(young, model.young, 1.0)[:, None, None]
    live = (said & (one["hours"] >= model.warm_hours))[..., None]
    before = one["stat"] * 0.5 ** (np.maximum(gap - STALE_HOURS, 0) / 24)[..., None]
    stat = np.where(live, np.clip(before + gain, 0, 2 * limit), one["stat"])
    was = one["on"] != 0
    one["since"] = np.where(live & (before == 0) & ~was, hour[:, None, None] - 1, one["since"])
    held = (stat >= limit) | (was & (stat > HOLD * limit))
    one["near"] = np.where(said, one["near"] + (error - one["near"]) / _NEAR, one["near"])
    one["stat"], one["on"] = stat, held
    one["residual"] = np.where(said, z, one["residual"])
    one["last"] = np.where(said, hour[:, None], one["last"])
    long_ago = hour[:, None, None] - one["since"] > ACCEPT_HOURS
    suspected = (_TOLD & (stat > HOLD * limit) & ~long_ago).any(axis=2)
    _learn(one, value, usual, sd, np.where(suspected, model.slow, 1.0) * said, hod, model)
    changed = np.argwhere((held != was) & _TOLD)
    return [_finding(one, people, usual, (r, v, s), bool(held[r, v, s])) for r, v, s in changed.tolist()]


def _learn(one: Records, value: Floats, usual: Floats, sd: Floats, rate: Floats, hod: Ints, model: Parameters) -> None:
    """Move the hour's usual value and variance, and the level over all hours, towards what was seen."""
    said = rate > 0
    settled = np.abs(one["offset_s"] - one["body_s"]) < 3600
    rate = rate * np.where(settled, 1.0, model.slow)[:, None]
    rows, columns, clock = np.arange(one.size)[:, None], np.arange(len(VITALS)), hod[:, :1]
    known = one["known"][rows, columns, clock] / _COUNT
    old, spread = one["usual"][rows, columns, clock], one["spread"][rows, columns, clock]
    near = np.where(said, np.clip(value, usual - 3 * sd, usual + 3 * sd), old)
    error = np.where(said, np.clip(value - usual, -3.5 * sd, 3.5 * sd), 0)
    share = rate / np.minimum(known + 1, model.memory_days)
    one["usual"][rows, columns, clock] = np.where(known > 0, old + share * (near - old), near)
    share = rate / np.minimum(known + 2, model.memory_days)
    one["spread"][rows, columns, clock] = spread + share * (error**2 * known / (known + 1) - spread)
    grown = np.minimum(known + np.maximum(rate, 1 / _COUNT) * said, model.memory_days)
    one["known"][rows, columns, clock] = np.rint(grown * _COUNT)
    flat = np.where(said, value - model.shape[:, hod[:, 0]].T - one["level"], 0)
    one["level"] += rate * flat / np.minimum(one["hours"] + 1, model.memory_days * 24)
    one["hours"] = np.minimum(one["hours"] + said, model.memory_days * 24)


def _finding(one: Records, people: Ints, usual: Floats, where: tuple[int, int, int], held: bool) -> tuple[int, Finding]:
    row, vital, side = where
    hour, since = int(one["hour"][row]), int(one["since"][row, vital, side])
    expected = float(usual[row, vital])
    seen = expected + float(one["near"][row, vital])
    if vital == STEPS:
        expected, seen = max(expected, 0.0) ** 2, max(seen, 0.0) ** 2
    return int(people[row]), Finding(
        layer="baseline",
        code=TOLD[VITALS[vital], side],
        onset_us=(max(since, int(one["begun"][row])) + 1) * 3_600_000_000,
        at_us=(hour + 1) * 3_600_000_000,
        llr=round(float(one["stat"][row, vital, side]), 3),
        ended=not held,
        params={
            "vital": VITALS[vital],
            "value": round(seen, 1),
            "usual": round(expected, 1),
            "duration_s": max(hour - max(since, int(one["begun"][row])), 0) * 3600,
        },
    )
