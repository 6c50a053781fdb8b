"""Blood pressure and pulse measured by hand at home: limits weighed by the day, told with the person's own usual.

An additive logistic model that can be read as a chart: each limit crossed today adds its weight, a reading
repeated the same day adds more, readings of the first two days count for less. Deviation from the own usual was
tried as a term and made the model worse on other people; it is said, not scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals.finding import Finding
from service.detection.segments import running_max

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

VITALS = ("systolic_mmhg", "diastolic_mmhg", "pulse_rate_bpm")
LOW = np.array([45.0, 25, 25])
HIGH = np.array([300.0, 200, 250])
"""Outside these a reading is not used (policy)."""
UP = ((140.0, 160, 180), (90.0, 100, 110), (100.0, 110))
DOWN = ((), (60.0, 55, 50), (51.0, 41))
"""Limits on the day's highest value (at or above) and lowest (below) of each of VITALS; the model weighs them.
Hypertension grades 1 to 3: ESC/ESH 2018, table 3. Pulse from 100 and to 50, where tachycardia and bradycardia begin:
ACC/AHA 2015, 2018. Low diastolic and the outer pulse: policy. Low systolic pressure was never confirmed without low
diastolic; NEWS2 judges it."""
SETTLING_DAYS = 2
"""Calendar days from the first reading on that count for less: the device is being fitted and tried (policy; of
the recorded services' people one in 22 had a confirmed alert in them, five had on the third)."""
LEAST_SD = np.array([6.0, 4.0, 4.0])
"""No one's spread is believed to be less (policy)."""
ENOUGH_DAYS = 3
"""Days measured before a person's own usual counts: NICE NG136 (2019) 1.2.7 asks for at least four, less the
first."""
MEMORY_DAYS = 14.0
DAY_S = 86_400
AROUND = 3
"""Weights of `about`, before those of limits."""
CODES = ("blood_pressure_high", "blood_pressure_low", "pulse_high", "pulse_low")

STATE = np.dtype(
    [
        ("day", "<i4"),
        ("first", "<i4"),
        ("count", "<i2"),
        ("held", "<i1", len(CODES)),
        ("since", "<u4", len(CODES)),
        ("top", "<f4", len(VITALS)),
        ("bottom", "<f4", len(VITALS)),
        ("sum", "<f4", len(VITALS)),
        ("known", "<i2", len(VITALS)),
        ("mean", "<f4", len(VITALS)),
        ("var", "<f4", len(VITALS)),
        ("days", "<i2", len(VITALS)),
    ]
)
"""Local day of the newest reading and of the first ever; readings today; signs that hold and since when; the
day's highest, lowest, sum and count; mean, variance and days of the own usual."""


def blank(patients: int = 1) -> Records:
    """States of people never seen."""
    state = np.zeros(patients, dtype=STATE)
    for name in ("top", "bottom", "mean"):
        state[name] = np.nan
    return state


@dataclass(frozen=True, slots=True)
class Rule:
    """One fitted sign: weights in the order of `columns`, prior and working log-odds."""

    weights: Floats
    prior: float
    limit: float


@cache
def shipped() -> tuple[Rule, Rule]:
    """The shipped rules for blood pressure and pulse."""
    model = load("home_vitals")
    names = ("blood_pressure", "pulse")
    return tuple(Rule(model.array(n), model.number(n + "_prior"), model.number(n + "_limit")) for n in names)  # type: ignore[return-value]


def columns(records: Records) -> tuple[Floats, Floats, Floats, Floats]:
    """What today showed so far, as 0 and 1.

    Returns
    -------
    (float64[n, h], float64[n, l], float64[n, h], float64[n, l])
        Limits crossed. Blood pressure: high side, low side; pulse: high side, low side.
    """
    up = [records["top"][:, i, None] >= np.array(UP[i]) for i in range(len(VITALS))]
    down = [records["bottom"][:, i, None] < np.array(DOWN[i]) for i in range(len(VITALS))]
    high, low = np.concatenate(up[:2], axis=1), np.concatenate(down[:2], axis=1)
    return high.astype(float), low.astype(float), up[2].astype(float), down[2].astype(float)


def about(records: Records) -> Floats:
    """Circumstances: intercept, settling days, measured again today; float64[n, AROUND]."""
    settling = records["day"] - records["first"] < SETTLING_DAYS
    return np.stack([np.ones(records.size), settling, records["count"] > 1], axis=1).astype(float)


def _sides(records: Records, rules: tuple[Rule, Rule]) -> tuple[Floats, Floats]:
    """Log-odds of both signs and what each of CODES adds to its own: float64[n, 2], float64[n, 4]."""
    parts = columns(records)
    around = about(records)
    sides = np.zeros((records.size, len(CODES)))
    log_odds = np.zeros((records.size, 2))
    for i, rule in enumerate(rules):
        high, low = parts[2 * i], parts[2 * i + 1]
        ends = (AROUND, AROUND + high.shape[1])
        sides[:, 2 * i] = (high * rule.weights[ends[0] : ends[1]]).sum(axis=1)
        sides[:, 2 * i + 1] = (low * rule.weights[ends[1] :]).sum(axis=1)
        log_odds[:, i] = (around * rule.weights[:AROUND]).sum(axis=1) + sides[:, 2 * i] + sides[:, 2 * i + 1]
    return log_odds, sides


def begin_day(records: Records, day: Ints) -> None:
    """Put yesterday into the own usual and open a new day. In place."""
    known = records["known"] > 0
    x = records["sum"] / np.maximum(records["known"], 1)
    days = records["days"].astype(np.float64)
    rate = 1 / np.minimum(days + 1, MEMORY_DAYS)
    old = np.where(days > 0, records["mean"], x)
    new = old + rate * (x - old)
    var = (1 - rate) * (records["var"] + rate * (x - old) ** 2)
    for name, value in (("mean", new), ("var", var), ("days", np.minimum(days + 1, 1000))):
        records[name] = np.where(known, value, records[name])
    records["first"] = np.where(records["first"] == 0, day, records["first"])
    records["day"] = day
    for name, empty in (("count", 0), ("sum", 0), ("known", 0), ("top", np.nan), ("bottom", np.nan)):
        records[name] = empty


def take(records: Records, day: Ints, values: Floats) -> None:
    """One reading of each record. In place."""
    fresh = np.flatnonzero(day > records["day"])
    if fresh.size:
        group = records[fresh]
        begin_day(group, day[fresh])
        records[fresh] = group
    filled = ~np.isnan(values)
    records["top"] = np.fmax(records["top"], values)
    records["bottom"] = np.fmin(records["bottom"], values)
    records["sum"] += np.where(filled, values, 0)
    records["known"] += filled
    records["count"] = np.minimum(records["count"] + 1, 10_000)


def _told(record: Any, code: int, at_s: int, llr: float, ended: bool) -> Finding:
    """The sign with the value that speaks for it."""
    low = code % 2 == 1
    vital = 2
    if code < 2:
        sd = np.maximum(np.sqrt(record["var"][:2]), LEAST_SD[:2])
        # Of the two pressures, the one further beyond its usual alert limit speaks.
        edge = (100.0, 55.0) if low else (160.0, 100.0)
        beyond = (np.array(edge) - record["bottom"][:2]) / sd if low else (record["top"][:2] - np.array(edge)) / sd
        vital = int(np.argmax(np.nan_to_num(beyond, nan=-1e9)))
    value = float(record["bottom" if low else "top"][vital])
    usual = float(record["mean"][vital]) if record["days"][vital] >= ENOUGH_DAYS else None
    since = int(record["since"][code])
    params: dict[str, float | int | str | bool | None] = {
        "vital": VITALS[vital], "value": None if np.isnan(value) else round(value, 1),
        "usual": None if usual is None else round(usual, 1), "age_s": 0, "readings": int(record["count"]),
        "first_day": bool(record["day"] == record["first"]), "duration_s": at_s - since,
    }  # fmt: skip
    return Finding("home_vitals", CODES[code], since * 1_000_000, at_s * 1_000_000, round(llr, 4), ended, params)


def _judge(records: Records, at_s: Ints, rules: tuple[Rule, Rule]) -> list[tuple[int, Finding]]:
    log_odds, sides = _sides(records, rules)
    told: list[tuple[int, Finding]] = []
    on = np.zeros((records.size, len(CODES)), dtype=bool)
    for i, rule in enumerate(rules):
        high = sides[:, 2 * i] >= sides[:, 2 * i + 1]
        alarm = log_odds[:, i] >= rule.limit
        on[:, 2 * i], on[:, 2 * i + 1] = alarm & high, alarm & ~high
    held = records["held"] > 0
    # A sign told today stays for the day: a second, better reading does not unsay the first.
    same_day = records["count"] > 1
    now = on | (held & same_day[:, None])
    changed = now != held
    records["since"] = np.where(now & ~held, at_s[:, None], records["since"])
    records["held"] = now
    for row, code in zip(*np.nonzero(changed), strict=True):
        rule = rules[code // 2]
        llr = float(log_odds[row, code // 2] - rule.prior)
        told.append((int(row), _told(records[row], int(code), int(at_s[row]), llr, not now[row, code])))
    return told


def update(
    records: Records,
    who: Ints,
    at_s: Ints,
    values: Floats,
    utc_offset_s: int = 0,
    rules: tuple[Rule, Rule] | None = None,
) -> list[tuple[int, Finding]]:
    """Judge hand-measured readings of a group of patients; records change in place.

    Parameters
    ----------
    records : structured[patients]
        Of dtype `STATE`.
    who : int64[n]
        Patient of each row, rising; rows of one patient in order of arrival.
    at_s : int64[n]
        Corrected time, seconds UTC. Rows of a day before the newest are passed over.
    values : float64[n, 3]
        Systolic, diastolic, and the pulse measured with them; NaN where missing.
    utc_offset_s : int
        Where the person's day begins, seconds ahead of UTC.
    rules : pair of Rule, optional
        The shipped ones by default.

    Returns
    -------
    list[tuple[int, Finding]]
        Patient and what began or ended; nothing is said twice on a day.
    """
    told: list[tuple[int, Finding]] = []
    table = np.where((values >= LOW) & (values <= HIGH), values, np.nan)
    day = (at_s + utc_offset_s) // DAY_S
    use: npt.NDArray[np.bool_] = np.array(~np.isnan(table).all(axis=1))
    use[use] = day[use] >= np.maximum(running_max(day[use], who[use]), records["day"][who[use]])
    if not use.any():
        return told
    who, at_s, day, table = who[use], at_s[use], day[use], table[use]
    judged = np.flatnonzero(_news(who, day, table))
    end = np.append(judged[1:], who.size)
    of_person = who[judged]
    first = np.flatnonzero(np.concatenate([[True], of_person[1:] != of_person[:-1]]))
    rank = np.arange(judged.size) - np.repeat(first, np.diff(np.append(first, judged.size)))
    for k in range(int(rank.max()) + 1):
        turn = np.flatnonzero(rank == k)
        of = judged[turn]
        group = records[who[of]]
        take(group, day[of], table[of])
        told += [(int(who[of[row]]), f) for row, f in _judge(group, at_s[of], rules or shipped())]
        for i in np.flatnonzero(end[turn] - of > 1).tolist():
            _absorb(group[i : i + 1], table[of[i] + 1 : end[turn[i]]])
        records[who[of]] = group
    return sorted(told, key=lambda pair: pair[0])


def _news(who: Ints, day: Ints, table: Floats) -> npt.NDArray[np.bool_]:
    """Rows after which something may begin or end: the first two of a day in an upload, and new limits crossed."""
    part = np.cumsum(np.concatenate([[False], (who[1:] != who[:-1]) | (day[1:] != day[:-1])]))
    kept = table.astype(np.float32).astype(np.float64)  # as the state holds them
    news = np.ones(who.size, dtype=bool)
    if who.size < 3:
        return news
    news[2:] = part[2:] != part[:-2]
    for i in range(len(VITALS)):
        up, down = np.array(sorted(UP[i])), np.array(sorted(DOWN[i]))
        missing = np.isnan(kept[:, i])
        crossed = (
            np.where(missing, 0, np.searchsorted(up, kept[:, i], side="right")),
            np.where(missing, 0, down.size - np.searchsorted(down, kept[:, i], side="right")),
        )
        for level in crossed:
            most = running_max(level, part)
            news[1:] |= most[1:] > most[:-1]
    return news


def _absorb(record: Records, table: Floats) -> None:
    """Readings of a day already judged that cross no other limit: `take` of one after another. In place."""
    # A vital not measured at all stays as it is.
    record["top"][0] = np.fmax(record["top"][0], np.fmax.reduce(table, axis=0))
    record["bottom"][0] = np.fmin(record["bottom"][0], np.fmin.reduce(table, axis=0))
    filled = ~np.isnan(table)
    record["known"][0] += filled.sum(axis=0).astype(np.int16)
    record["count"][0] = min(int(record["count"][0]) + table.shape[0], 10_000)
    for i in range(len(VITALS)):
        total = record["sum"][0, i]
        for value in table[filled[:, i], i].tolist():
            total = np.float32(float(total) + value)
        record["sum"][0, i] = total
