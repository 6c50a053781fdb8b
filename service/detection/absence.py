"""The silence of a person: how long nothing of them may be seen or felt, by hour, place and habit."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from devices import models
from devices.signals.finding import Finding
from service.detection.segments import Bools, Floats, Ints, running_max

LAYER = "absence"
CODE = "person_silent"
NEVER = -(2**40)
SLOT_S = 600
STEPS = 144
"""A silence is judged in slots of ten minutes for a day; after a day it is told in any case (policy)."""
SOONEST = 3
"""No silence is told before three whole slots are empty (policy)."""
UNLEARNT_SLOTS = 72
"""Half a day without a sign is an empty home or a misfortune, not a habit, and is not learnt (policy)."""
QUIET_SLOTS = 3
HALF_LIFE_DAYS = 14.0
"""Habits count half after two weeks (policy)."""
PRIOR_SLOTS = 18.0
"""The population weighs as much as three days of the person's own (policy)."""
GRACE_S = 7200
"""How long after an announced return the first sign may take (policy)."""
INDOORS_S = 14 * 3600
"""No silence that began indoors waits longer: the longest nights end before (policy)."""
USUAL_SHARE = 0.05
"""The usual wait is the one that one pause in twenty outlasts (policy)."""
EDGES = np.array([1, 2, 3, 4, 6, 9, 13, 19, 31, 49, 73])
"""Slots at which the bins of elapsed time begin."""
DOOR_S = np.array([60, 300, 1200, 3600])
"""Seconds since an outer door was last used, at the last sign: bins."""
_BINS = EDGES.size
_RECENT = 18
_MASK = (1 << _RECENT) - 1
_KEEP = 0.5 ** (1 / HALF_LIFE_DAYS)
_FIRST_S, _LAST_S = 1, 4_102_444_800


class Place(IntEnum):
    """Where a sign of life was; `NONE` leaves the place as it was (steps, a worn band, a pressed key)."""

    NONE = -1
    DOOR = 0
    """A door to the outside."""
    BEDROOM = 1
    BATHROOM = 2
    KITCHEN = 3
    LOUNGE = 4
    OTHER = 5


STATE = np.dtype(
    [
        ("first_t", "<i8"),
        ("last_t", "<i8"),
        ("door_t", "<i8"),
        ("told_t", "<i8"),
        ("day", "<i4"),
        ("recent", "<u4"),
        ("place", "<i1"),
        ("today", "<u1", (4, 24)),
        ("habit", "<f4", (4, 24)),
    ]
)
"""524 bytes: `recent` has a bit for each of the 18 slots before the last one with a sign; `today` and `habit` count,
by local hour, slots with a sign, all slots, signs after a quiet half hour, and slots after a quiet half hour."""
Records = npt.NDArray[Any]


def blank(count: int = 1) -> Records:
    """Records of people never heard of."""
    records = np.zeros(count, dtype=STATE)
    for name in ("first_t", "last_t", "door_t", "told_t"):
        records[name] = NEVER
    records["place"] = Place.OTHER
    return records


def _fold(records: Records, who: Ints, day: Ints) -> None:
    """Close the days before `day` into the habits of these people (each once)."""
    passed = day - records["day"][who]
    turned = passed > 0
    who, passed = who[turned], passed[turned]
    if not who.size:
        return
    keep = (_KEEP ** passed.astype(np.float64))[:, None, None]
    closed = records["habit"][who] * keep + records["today"][who] * (keep / _KEEP)
    records["habit"][who] = closed.astype(np.float32)
    records["today"][who] = 0
    records["day"][who] = day[turned]


def _learn(records: Records, who: Ints, before: Ints, slot: Ints, offset_s: Ints) -> None:
    """Count the slots from the sign before to each new one."""
    length = slot - before
    usable = length <= UNLEARNT_SLOTS
    length = np.where(usable, length, 1)
    row = np.repeat(np.arange(who.size), length)
    nth = np.arange(row.size) - np.repeat(np.cumsum(length) - length, length) + 1
    local = (np.where(usable, before, slot - 1)[row] + nth) * SLOT_S + offset_s[who[row]]
    day, hour, person = local // 86_400, local % 86_400 // 3600, who[row]
    counted = usable[row]
    sign = nth == length[row]
    quiet = nth > QUIET_SLOTS
    counts = np.stack([counted & sign, counted, counted & sign & quiet, counted & quiet])
    starts = np.flatnonzero(np.diff(person, prepend=-1) | np.diff(day, prepend=-1))
    for a, b in zip(starts.tolist(), [*starts[1:].tolist(), person.size], strict=True):
        one = person[a : a + 1]
        _fold(records, one, day[a : a + 1])
        added = np.stack([np.bincount(hour[a:b], counts[k, a:b], 24) for k in range(4)])
        records["today"][one[0]] = np.minimum(records["today"][one[0]] + added, 255)


def _remember(records: Records, who: Ints, slot: Ints, first: Ints, last: Ints) -> None:
    """Bring the bits of the recent slots up to date; `first` and `last` bound each person's new slots."""
    people, final = who[last], slot[last]
    carried = records["last_t"][people] // SLOT_S
    back = np.clip(final - carried, 0, _RECENT + 1)
    old = (records["recent"][people].astype(np.int64) << back) | (1 << np.maximum(back - 1, 0))
    distance = np.repeat(final, last - first + 1) - slot
    bits = np.where((distance >= 1) & (distance <= _RECENT), 1 << np.clip(distance - 1, 0, _RECENT), 0)
    records["recent"][people] = (old | np.add.reduceat(bits, first)) & _MASK


def _bounds(who: Ints) -> tuple[Ints, Ints]:
    first = np.flatnonzero(np.diff(who, prepend=-1))
    return first, np.append(first[1:], who.size) - 1


def update(records: Records, who: Ints, at_s: Ints, place: Ints, utc_offset_s: Ints) -> Ints:
    """Take in signs of life.

    Parameters
    ----------
    records : structured[n]
        `STATE` of n people; changed in place.
    who : int64[m]
        Person of each sign, in rising order; of one person in order of arrival.
    at_s : int64[m]
        Corrected time, seconds UTC. A sign older than the newest known changes nothing.
    place : int64[m]
        `Place` codes.
    utc_offset_s : int64[n]
        Each person's local time minus UTC at present, seconds.

    Returns
    -------
    int64[k]
        People whose silence had been told and is over.
    """
    sane = (at_s >= _FIRST_S) & (at_s <= _LAST_S)
    who, at_s, place = who[sane], at_s[sane], np.clip(place[sane], Place.NONE, Place.OTHER)
    if not who.size:
        return who
    fresh = at_s >= np.maximum(running_max(at_s, who), records["last_t"][who])
    who, at_s, place = who[fresh], at_s[fresh], place[fresh]
    if not who.size:
        return who
    first, last = _bounds(who)
    people = who[first]
    slot = at_s // SLOT_S
    before = np.concatenate([[0], slot[:-1]])
    new_here = records["last_t"][people] == NEVER
    before[first] = np.where(new_here, slot[first] - 1, records["last_t"][people] // SLOT_S)
    beginners = people[new_here]
    records["first_t"][beginners] = at_s[first[new_here]]
    records["day"][beginners] = (at_s[first[new_here]] + utc_offset_s[beginners]) // 86_400
    step = slot > before
    if step.any():
        _learn(records, who[step], before[step], slot[step], utc_offset_s)
        _remember(records, who[step], slot[step], *_bounds(who[step]))
    rows = np.arange(who.size)
    for name, marked in (("place", place >= 0), ("door_t", place == Place.DOOR)):
        index = np.maximum.reduceat(np.where(marked, rows, -1), first)
        known = index >= 0
        records[name][people[known]] = (place if name == "place" else at_s)[index[known]]
    records["last_t"][people] = at_s[last]
    back = people[records["told_t"][people] != NEVER]
    records["told_t"][back] = NEVER
    return back


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 0.002, 0.998)
    return np.log(p / (1 - p))


def terms(records: Records, steps: Ints, utc_offset_s: Ints, population: Floats) -> tuple[list[tuple[Any, Any]], int]:
    """The terms of the log-odds that a sign comes in a slot, given none since the last.

    Parameters
    ----------
    records : structured[n, ...]
        Whose `last_t` is known; shaped so that it broadcasts against `steps`.
    steps : int64[...]
        Slots since the one of the last sign, from 1.
    utc_offset_s : int64[...]
    population : float64[2, 24]
        Share of slots with a sign by local hour: all slots, and those after a quiet half hour.

    Returns
    -------
    list of (index, value or None), int
        Log-odds are the sum of coefficient[index] * value; and how many coefficients there are.
    """
    place = records["place"].astype(np.int64)
    nearness = np.searchsorted(DOOR_S, records["last_t"] - records["door_t"], "left") + 1
    nearness = np.where(place == Place.DOOR, 0, nearness)
    kind = np.where(place == Place.DOOR, 0, np.where((place == Place.BEDROOM) | (place == Place.BATHROOM), 1, 2))
    hour = ((records["last_t"] // SLOT_S + steps) * SLOT_S + utc_offset_s) % 86_400 // 3600
    night = ((hour >= 22) | (hour < 7)).astype(np.int64)
    elapsed = np.searchsorted(EDGES, steps, "right") - 1
    log = np.log(steps)
    recent = records["recent"].astype(np.int64)
    last_hour = np.bitwise_count(recent & 63) / 6
    last_three = np.bitwise_count(recent & _MASK) / 18
    habit = records["habit"].astype(np.float64)
    rows: list[Ints] = []
    for axis, size in enumerate(place.shape):
        rows.append(np.arange(size).reshape([-1 if k == axis else 1 for k in range(place.ndim)]))
    own: list[Floats] = []
    for k in (0, 2):
        signs, slots = habit[(*rows, k, hour)], habit[(*rows, k + 1, hour)]
        own.append(_logit((signs + PRIOR_SLOTS * population[k // 2][hour]) / (slots + PRIOR_SLOTS)))
    blocks: list[tuple[int, Any, tuple[Any, ...]]] = [
        (6 * _BINS, (kind * 2 + night) * _BINS + elapsed, (None,)),
        (24, hour, (None, log)),
        (6, place, (None, log)),
        (DOOR_S.size + 2, nearness, (None, log)),
        *((1, 0, (v, v * log)) for v in (last_hour, last_three, *own)),
    ]
    found: list[tuple[Any, Any]] = []
    count = 0
    for width, at, values in blocks:
        for value in values:
            found.append((count + at, value))
            count += width
    return found, count


def score(coefficients: Floats, found: list[tuple[Any, Any]]) -> Floats:
    """Sum of the terms."""
    total: Any = 0.0
    for index, value in found:
        total = total + (coefficients[index] if value is None else coefficients[index] * value)
    return np.asarray(total, dtype=np.float64)


def survival(records: Records, utc_offset_s: Ints, parameters: models.Model | None = None) -> Floats:
    """Probability that a pause of somebody well outlasts each of the coming slots: float64[n, STEPS]."""
    model = parameters or models.load("absence")
    steps = np.arange(1, STEPS + 1)[None]
    found, _ = terms(records[:, None], steps, utc_offset_s[:, None], model.array("population"))
    hazard = score(model.array("coefficients"), found)
    # Whether the very next slot has a sign tells nothing yet.
    hazard[:, 0] = -20.0
    return np.exp(-np.cumsum(np.logaddexp(0.0, hazard), axis=1))


def waits(records: Records) -> Ints:
    """Seconds from the last sign to the end of each slot after it: int64[n, STEPS]."""
    last = records["last_t"][:, None]
    return (last // SLOT_S + np.arange(2, STEPS + 2)[None]) * SLOT_S - last


def limit_step(survives: Floats, wait_s: Ints, weight: float, aim_s: float, slope: float) -> Ints:
    """Index of the slot after whose end a silence is told: where waiting longer costs more than a false alarm.

    Parameters
    ----------
    survives : float64[n, steps]
    wait_s : int64[n, steps]
    weight : float
        Cost of a false alarm; an alarm later than the aim costs 1.
    aim_s : float
        How soon help should be asked for, seconds.
    slope : float
        Cost of a day of waiting.
    """
    cost = (wait_s > aim_s) + slope * wait_s / 86_400 + weight * survives
    cost[:, : SOONEST - 1] = np.inf
    return np.argmin(cost, axis=1)


def limit_s(wait_s: Ints, step: Ints, aim_s: float, indoors: Bools) -> Ints:
    """Seconds after the last sign at which a silence is told: the end of the slot, or the aim within its successor.

    Parameters
    ----------
    wait_s, step : int64[n, steps], int64[n]
        As in and from `limit_step`.
    aim_s : float
    indoors : bool[n]
        Whether the last sign was not at an outer door: then never later than `INDOORS_S`.
    """
    told = wait_s[np.arange(step.size), step]
    told = np.where((told < aim_s) & (told > aim_s - SLOT_S), np.int64(aim_s), told)
    return np.where(indoors, np.minimum(told, INDOORS_S), told)


def limits(records: Records, utc_offset_s: Ints, parameters: models.Model | None = None) -> tuple[Ints, Floats, Ints]:
    """How long each person may be silent after the last sign.

    Returns
    -------
    int64[n], float64[n], int64[n]
        Seconds allowed; share of such pauses of somebody well that last longer; and the usual wait in seconds, which
        one pause in twenty outlasts. A person never heard of is allowed a day.
    """
    model = parameters or models.load("absence")
    limit = np.full(records.size, 86_400, dtype=np.int64)
    share, usual = np.full(records.size, np.nan), limit.copy()
    known = np.flatnonzero(records["last_t"] != NEVER)
    if known.size:
        chosen = records[known]
        survives, wait = survival(chosen, utc_offset_s[known], model), waits(chosen)
        step = limit_step(survives, wait, model.number("weight"), model.number("aim_s"), model.number("slope"))
        rows = np.arange(known.size)
        limit[known] = limit_s(wait, step, model.number("aim_s"), chosen["place"] != Place.DOOR)
        share[known] = survives[rows, step]
        often = np.minimum((survives > USUAL_SHARE).sum(axis=1), STEPS - 1)
        usual[known] = wait[rows, often]
    return limit, share, usual


def next_check_s(records: Records, utc_offset_s: Ints, away_until_s: Ints, since_s: Ints) -> Ints:
    """When each person's silence will have to be told, seconds UTC: int64[n].

    Parameters
    ----------
    records : structured[n]
    utc_offset_s : int64[n]
    away_until_s : int64[n]
        Announced return, `NEVER` where none.
    since_s : int64[n]
        From when a person never heard of is awaited (enrolment).
    """
    limit, _, _ = limits(records, utc_offset_s)
    heard = np.where(records["last_t"] == NEVER, since_s, records["last_t"])
    away = (away_until_s != NEVER) & (away_until_s >= heard)
    return np.where(away, away_until_s + GRACE_S, heard + limit)


def judge(
    records: Records, now_s: int, utc_offset_s: Ints, away_until_s: Ints, observed_s: Ints, since_s: Ints
) -> list[Finding | None]:
    """Who is silent for too long; told once, until the next sign of life.

    Parameters
    ----------
    records : structured[n]
        Changed in place where a silence is told.
    now_s : int
    utc_offset_s, away_until_s, since_s : int64[n]
        As in `next_check_s`.
    observed_s : int64[n]
        Until when their sensors are known to have listened (last receipt of any): a silent device says nothing about
        its person.
    """
    found: list[Finding | None] = [None] * records.size
    heard = np.where(records["last_t"] == NEVER, since_s, records["last_t"])
    until = np.minimum(np.int64(now_s), observed_s)
    waiting = np.flatnonzero((records["told_t"] == NEVER) & (until - heard >= SOONEST * SLOT_S))
    if not waiting.size:
        return found
    part = records[waiting]
    offsets, away = utc_offset_s[waiting], away_until_s[waiting]
    due = next_check_s(part, offsets, away, since_s[waiting])
    over = until[waiting] >= due
    for i in np.flatnonzero(over).tolist():
        person = int(waiting[i])
        found[person] = _finding(part[i : i + 1], now_s, offsets[i : i + 1], int(away[i]), int(heard[person]))
        records["told_t"][person] = now_s
    return found


def _finding(one: Records, now_s: int, offset: Ints, away_s: int, heard_s: int) -> Finding:
    limit, share, usual = limits(one, offset)
    known = bool(one["last_t"][0] != NEVER)
    survives = float(share[0]) if known else float("nan")
    return Finding(
        layer=LAYER,
        code=CODE,
        onset_us=heard_s * 1_000_000,
        at_us=now_s * 1_000_000,
        llr=float(-np.log(max(survives, 1e-6))) if known else 0.0,
        params={
            "age_s": now_s - heard_s,
            "limit_s": int(limit[0]),
            "usual_s": int(usual[0]) if known else None,
            "last_place": Place(int(one["place"][0])).name.lower() if known else None,
            "local_hour": int((now_s + int(offset[0])) % 86_400 // 3600),
            "share": survives if known else None,
            "did_not_come_back": away_s != NEVER and away_s >= heard_s,
        },
    )
