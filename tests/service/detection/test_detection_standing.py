"""What a person's page says is given up: read from the state, changed by nothing."""

from __future__ import annotations

import numpy as np

from service.detection import baseline, budget, fusion, layers, state, verdict
from service.detection.budget import Cause, Tier
from service.detection.standing import LEARNING_DAYS, standing

DAY_US = 86_400_000_000
NOW_US = 20_500 * DAY_US
HOUR = NOW_US // 3_600_000_000


def carried(memory: layers.Memory) -> bytes:
    return state.BLANK + layers.encode(memory)[0]


def lived(scores: list[float], hours: int | None = None) -> bytes:
    """A person whose days' strongest evidence was `scores`, and whose usual was learnt for so many hours."""
    memory = layers.decode([None])
    days = memory.fusion["budget"].copy()
    for day, score in enumerate(scores):
        budget.roll(days, np.array([day]), np.zeros(1))
        budget.note(days, np.array([score]))
    budget.roll(days, np.array([len(scores)]), np.zeros(1))
    memory.fusion["budget"] = days
    if hours is not None:
        memory.baseline["begun"], memory.baseline["hour"], memory.baseline["hours"] = HOUR - hours, HOUR, 1
    return carried(memory)


def test_of_somebody_unknown_nothing_is_said() -> None:
    told = standing(carried(layers.decode([None])), NOW_US)
    assert (told.question.code, told.lifts, told.learnt_days) == ("learning", (), None)


def test_learning_is_told_in_days_until_it_is_over() -> None:
    assert standing(lived([], hours=3 * 24 + 5), NOW_US).learnt_days == 3
    assert standing(lived([], hours=LEARNING_DAYS * 24 - 1), NOW_US).learnt_days == LEARNING_DAYS - 1
    assert standing(lived([], hours=LEARNING_DAYS * 24), NOW_US).learnt_days is None


def test_days_that_raised_the_threshold_are_told_with_their_figures() -> None:
    told = standing(lived([*[0.5] * 58, 3.6]), NOW_US)
    assert told.question.code == "own_days"
    assert told.question.params["arm"] == 3.75
    assert told.ring.params["arm"] == budget.ARM_NATS[Tier.RING]


def test_verdicts_are_told_by_sign_and_end_and_the_state_stays_as_it_was() -> None:
    before = verdict.take(
        lived([]), ("tachycardia", "pause"), false_because=Cause.DAILY_LIFE, was_true=False, now_us=NOW_US
    )
    later = verdict.take(
        before, ("person_silent", "sos"), false_because=Cause.AWAY, was_true=False, now_us=NOW_US + DAY_US
    )
    told = standing(later, NOW_US + 2 * DAY_US)
    assert [one.code for one in told.lifts] == ["person_silent", "tachycardia"]
    assert told.lifts[1].ends_us == NOW_US + budget.LIFT_ENDS_DAYS * DAY_US
    assert standing(later, NOW_US + 90 * DAY_US).lifts == ()
    assert told == standing(later, NOW_US + 2 * DAY_US)


def test_learning_is_as_long_as_the_baseline_is_careful() -> None:
    assert LEARNING_DAYS * 24 == baseline.ACCEPT_HOURS
    assert fusion.STATE["budget"] == budget.STATE
