"""What a person's page says that is given up for fewer needless calls: the threshold, the verdicts, the learning."""

from __future__ import annotations

from dataclasses import dataclass

from service.detection import baseline, budget, layers
from service.detection.budget import GivenUp, Lift, Tier
from service.detection.signs import NAMES

LEARNING_DAYS = baseline.ACCEPT_HOURS // 24
"""Until then drift is told at raised thresholds, since too little is known of this person."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one person stands between being asked too often and too late.

    Attributes
    ----------
    question, ring : GivenUp
        What the budget gives up before the person is asked, and before the family is rung.
    lifts : tuple[Lift, ...]
        Verdicts in force, the one that lasts longest first.
    learnt_days : int or None
        Whole days for which this person's usual was learnt, while fewer than `LEARNING_DAYS`; else None.
    """

    question: GivenUp
    ring: GivenUp
    lifts: tuple[Lift, ...]
    learnt_days: int | None


def standing(carried: bytes, now_us: int) -> Standing:
    """Read a person's state; changes nothing.

    Parameters
    ----------
    carried : bytes
        The person's state after the latest upload.
    now_us : int
        Microseconds UTC.
    """
    memory = layers.decode([carried])
    record = memory.fusion["budget"].copy()
    lifts = sorted(budget.in_force(record, NAMES, now_us), key=lambda one: -one.ends_us)
    return Standing(
        question=budget.given_up(record, now_us, Tier.QUESTION),
        ring=budget.given_up(record, now_us, Tier.RING),
        lifts=tuple(lifts),
        learnt_days=_learnt_days(memory),
    )


def _learnt_days(memory: layers.Memory) -> int | None:
    """Of the same clock as the raised thresholds: from the first hour that taught to the newest."""
    record = memory.baseline[0]
    if not record["hours"].any():
        return None
    days = (int(record["hour"]) - int(record["begun"])) // 24
    return days if days < LEARNING_DAYS else None
