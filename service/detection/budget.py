"""What people bear: thresholds of their own for each person, verdicts that expire, and what is given up for it.

Budgets: at most one false question to a person a month, one false ring to the family a quarter, and 0.06 false
dispatches in 1,000 homes a day. A person's threshold is the conformal quantile of that person's own days without an
event (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, chapter 2): a day's highest evidence
asks only if, among the days before, it would have asked no more often than the budget allows. Until there are days
enough the population's threshold holds. No threshold rises above the sensitivity floor: evidence that strong always
asks, whatever a person's days or verdicts were. Nothing here is ever applied to a hard sign.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

DAY_S = 86_400


class Tier(IntEnum):
    """What evidence is worth: nothing, a line on the caregiver's page, a question, a ring, a dispatch."""

    NOTHING = 0
    LINE = 1
    QUESTION = 2
    RING = 3
    DISPATCH = 4


ARM_NATS = np.array([-np.inf, 1.0, 3.0, 5.0, 8.0])
"""Evidence in nats at which each tier arms in the population: 3 nats are 20 to 1, 5 are 150 to 1, 8 are 3,000 to 1
(policy)."""
FLOOR_NATS = np.array([-np.inf, 1.0, 4.0, 6.0, 8.0])
"""The sensitivity floor: evidence this strong always reaches its tier (policy)."""
QUESTION_EVERY_DAYS = 30.44
RING_EVERY_DAYS = 91.31
DISPATCHES_PER_HOME_DAY = 0.06 / 1000
"""The incumbent service's rate of false dispatches."""

BIN_NATS = 0.25
BINS = 40
"""The sketch of a person's days: how many had their highest evidence in each quarter of a nat, the last open."""
MEMORY_DAYS = 180.0
"""Older days fade with this time constant, so that a person may change (policy)."""
LIFTS = 5
LIFT_STEP_NATS = 0.5
LIFT_MOST_NATS = 1.5
LIFT_HALF_DAYS = 14.0
LIFT_ENDS_DAYS = 60
"""A verdict "false alarm" takes half a nat off its sign, at most one and a half; half of that is gone in 14 days and
all of it after 60 (policy)."""

STATE = np.dtype(
    [
        ("day", "<i4"),
        ("day_most", "<f4"),
        ("day_event", "<u1"),
        ("days", "<f4", BINS),
        ("lift_code", "<u4", LIFTS),
        ("lift_nats", "<f4", LIFTS),
        ("lift_at", "<u4", LIFTS),
        ("lift_cause", "<u1", LIFTS),
    ]
)


class Cause(StrEnum):
    """Why a person says that an alarm was false."""

    EXERCISE = "exercise"
    DAILY_LIFE = "daily_life"
    KNOWN_CONDITION = "known_condition"
    DEVICE_OFF = "device_off"
    DEVICE_FAULT = "device_fault"
    AWAY = "away"
    OTHER = "other"


CAUSES = tuple(Cause)


@dataclass(frozen=True, slots=True)
class Budget:
    """How rarely a person may be asked, and a family rung, for nothing: once in so many days."""

    question_days: float = QUESTION_EVERY_DAYS
    ring_days: float = RING_EVERY_DAYS

    def __post_init__(self) -> None:
        for name in ("question_days", "ring_days"):
            if not 1 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be 1 or more, was {getattr(self, name)!r}: once in so many days")


USUAL = Budget()


@dataclass(frozen=True, slots=True)
class Lift:
    """One verdict in force: visible, and dated."""

    code: str
    nats: float
    cause: Cause
    ends_us: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What the screen says that a budget costs.

    Attributes
    ----------
    code : str
        "learning", "nothing", "own_days", "verdicts" or "at_floor" (the floor binds: the budget is not kept).
    params : dict
        arm, usual_arm, floor (nats), days (learnt), days_needed, asked_a_month and asked_a_month_at_usual (expected
        from the person's own days), share (of the signs of true events that the higher threshold is expected to
        leave a line only: the days' evidence weighed by its own likelihood ratio), lifts.
    """

    code: str
    params: dict[str, float | int | str | bool | None] = field(default_factory=dict)


def blank(count: int = 1) -> Records:
    """Records of people of whom nothing is known."""
    records = np.zeros(count, dtype=STATE)
    records["day"] = -1
    return records


def code_key(code: str) -> int:
    """What stands for a code in the state: codes may come and go between releases, a number of ours may not."""
    return crc32(code.encode()) or 1


def _bin(nats: Floats) -> Ints:
    return np.clip(np.nan_to_num(nats) / BIN_NATS, 0, BINS - 1).astype(np.int64)


def roll(records: Records, day: Ints, score: Floats) -> None:
    """Go on to a later day: the day that ends joins the sketch unless something truly happened.

    Parameters
    ----------
    records : STATE[n]
        Changed in place.
    day : int64[n]
        Day of the person's newest data, whole days since 1970; an earlier one changes nothing.
    score : float64[n]
        Evidence carried into the new day, nats.
    """
    later = np.flatnonzero(day > records["day"])
    if not later.size:
        return
    learnt = later[(records["day"][later] >= 0) & (records["day_event"][later] == 0)]
    if learnt.size:
        days = records["days"][learnt] * np.float32(1 - 1 / MEMORY_DAYS)
        days[np.arange(learnt.size), _bin(records["day_most"][learnt])] += 1
        records["days"][learnt] = days
    records["day"][later] = day[later]
    records["day_most"][later] = score[later]
    records["day_event"][later] = 0


def note(records: Records, score: Floats) -> None:
    """Remember the day's highest evidence, in place."""
    records["day_most"] = np.maximum(records["day_most"], score)


def _tails(records: Records) -> Floats:
    days = records["days"].astype(np.float64)
    return days[:, ::-1].cumsum(axis=1)[:, ::-1]


def _conformal(tails: Floats, every_days: float, arm: float, floor: float) -> Floats:
    """The least edge at which the past would have asked no more often than once in `every_days`.

    The day to be judged is counted as one that asks: that makes the promise hold for it (rank p-value).
    """
    total = tails[:, 0]
    rate = (1 + tails) / (1 + total)[:, None]
    kept = rate <= 1 / every_days
    edge = np.where(kept.any(axis=1), kept.argmax(axis=1), BINS) * BIN_NATS
    threshold = np.clip(edge, arm, floor)
    return np.where(1 + total >= every_days, threshold, arm)


def thresholds(records: Records, budget: Budget = USUAL) -> Floats:
    """Evidence in nats at which each tier arms for each person, float64[n, 5].

    A line and a dispatch are the same for all: the first disturbs nobody, and the second is too rare for one
    person's days to tell (one in 16,667 home-days), so it rests on the cap of each layer and on a second one.
    """
    found = np.tile(ARM_NATS, (records.size, 1))
    if records["days"].any():
        tails = _tails(records)
        for tier, every in ((Tier.QUESTION, budget.question_days), (Tier.RING, budget.ring_days)):
            found[:, tier] = _conformal(tails, every, float(ARM_NATS[tier]), float(FLOOR_NATS[tier]))
    return found


def _lift_nats(records: Records, at_s: Ints) -> Floats:
    """Nats that each verdict still takes off its sign, float64[n, LIFTS]."""
    age = np.maximum(at_s[:, None] - records["lift_at"].astype(np.int64), 0) / DAY_S
    left = records["lift_nats"] * np.exp2(-age / LIFT_HALF_DAYS)
    return np.where((records["lift_code"] > 0) & (age < LIFT_ENDS_DAYS), np.clip(left, 0, LIFT_MOST_NATS), 0.0)


def lifts(records: Records, codes: npt.NDArray[np.uint32], at_s: Ints) -> Floats:
    """What verdicts take off each sign.

    Parameters
    ----------
    records : STATE[n]
    codes : uint32[n, k]
        `code_key` of each sign.
    at_s : int64[n]
        Seconds since 1970.

    Returns
    -------
    float64[n, k]
        Nats, 0 to `LIFT_MOST_NATS`.
    """
    if not records["lift_code"].any():
        return np.zeros(codes.shape)
    same = codes[:, :, None] == records["lift_code"][:, None, :]
    found: Floats = np.where(same, _lift_nats(records, at_s)[:, None, :], 0.0).max(axis=2)
    return found


def false_alarm(record: Records, code: str, cause: Cause, at_us: int) -> None:
    """A person says that this sign was a false alarm: for this person it counts a little less for a while.

    Parameters
    ----------
    record : STATE[1]
        Changed in place. When more signs have verdicts than there is room for, the weakest makes place.
    code : str
        A hard sign may be given: it is remembered, and weighs nothing, since hard signs are not weighed.
    cause : Cause
    at_us : int
        Microseconds UTC.
    """
    at_s = at_us // 1_000_000
    key = code_key(code)
    left = _lift_nats(record, np.array([at_s]))[0]
    place = np.flatnonzero(record["lift_code"][0] == key)
    slot = int(place[0]) if place.size else int(left.argmin())
    before = float(left[slot]) if place.size else 0.0
    record["lift_code"][0, slot] = key
    record["lift_nats"][0, slot] = min(before + LIFT_STEP_NATS, LIFT_MOST_NATS)
    record["lift_at"][0, slot] = np.clip(at_s, 0, 2**32 - 1)
    record["lift_cause"][0, slot] = CAUSES.index(cause)


def true_alarm(record: Records, codes: tuple[str, ...]) -> None:
    """Something had truly happened: the day teaches nothing, and verdicts against these signs are forgotten."""
    record["day_event"] = 1
    gone = np.isin(record["lift_code"][0], [code_key(code) for code in codes])
    record["lift_code"][0, gone] = 0
    record["lift_nats"][0, gone] = 0


def in_force(record: Records, names: dict[int, str], now_us: int) -> list[Lift]:
    """The verdicts that still count, for the page of this person; `names` by `code_key`."""
    left = _lift_nats(record, np.array([now_us // 1_000_000]))[0]
    ends = (record["lift_at"][0].astype(np.int64) + LIFT_ENDS_DAYS * DAY_S) * 1_000_000
    return [
        Lift(names.get(int(key), "other"), round(float(left[i]), 2), CAUSES[int(cause)], int(ends[i]))
        for i, (key, cause) in enumerate(zip(record["lift_code"][0], record["lift_cause"][0], strict=True))
        if left[i] > 0
    ]


def given_up(record: Records, now_us: int, tier: Tier = Tier.QUESTION, budget: Budget = USUAL) -> GivenUp:
    """What sensitivity a person gives up for a budget, as a code and numbers that a page can word.

    Parameters
    ----------
    record : STATE[1]
    now_us : int
        Microseconds UTC.
    tier : Tier
        QUESTION or RING.
    budget : Budget
    """
    usual, floor = float(ARM_NATS[tier]), float(FLOOR_NATS[tier])
    arm = float(thresholds(record, budget)[0, tier])
    every = {Tier.QUESTION: budget.question_days, Tier.RING: budget.ring_days}.get(tier, np.inf)
    tails = _tails(record)[0]
    total = float(tails[0])
    middle = (np.arange(BINS) + 0.5) * BIN_NATS
    # If evidence is a likelihood ratio, true events show it exp(evidence) times as often as quiet days do.
    weight = record["days"][0].astype(np.float64) * np.exp(middle)
    above, lost = weight[middle >= usual].sum(), weight[(middle >= usual) & (middle < arm)].sum()
    at = round(arm / BIN_NATS)
    month = QUESTION_EVERY_DAYS / max(total, 1.0)
    lifted = float(_lift_nats(record, np.array([now_us // 1_000_000])).max())
    expected = float(tails[min(at, BINS - 1)])
    unkept = arm >= floor and 1 + total >= every and (1 + expected) / (1 + total) > 1 / every
    if unkept:
        code = "at_floor"
    elif lifted > 0:
        code = "verdicts"
    elif 1 + total < every:
        code = "learning"
    else:
        code = "own_days" if arm > usual else "nothing"
    params: dict[str, float | int | str | bool | None] = {
        "arm": arm, "usual_arm": usual, "floor": floor, "days": int(total), "days_needed": int(np.ceil(every - 1)),
        "asked_a_month": round(expected * month, 2),
        "asked_a_month_at_usual": round(float(tails[round(usual / BIN_NATS)]) * month, 2),
        "share": round(float(lost / above), 3) if above > 0 else 0.0, "lift": round(lifted, 2),
    }  # fmt: skip
    return GivenUp(code, params)


def dispatches_kept(false: int, home_days: float) -> tuple[bool, float, float]:
    """Whether a site's false dispatches keep the budget: not shown to exceed it, with the exact 95 % interval.

    Parameters
    ----------
    false : int
        False dispatches.
    home_days : float
        Homes times days, positive.

    Returns
    -------
    (bool, float, float)
        Kept, and the ends of the interval of the rate per home-day.
    """
    if not home_days > 0:
        raise ValueError(f"home_days must be positive, was {home_days!r}: give homes times days watched")
    low = 0.0 if false == 0 else float(chi2.ppf(0.025, 2 * false)) / 2 / home_days
    return low <= DISPATCHES_PER_HOME_DAY, low, float(chi2.ppf(0.975, 2 * false + 2)) / 2 / home_days
