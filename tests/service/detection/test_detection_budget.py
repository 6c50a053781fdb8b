"""What people bear: thresholds from a person's own days, verdicts that expire, what is given up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.detection import budget
from service.detection.budget import ARM_NATS, DAY_S, FLOOR_NATS, STATE, Cause, Tier

NOW_US = 1_790_000_000_000_000
DAY_US = DAY_S * 1_000_000


def lived(scores: list[float]) -> np.ndarray:
    """A person whose days had these highest scores."""
    record = budget.blank()
    for day, score in enumerate(scores):
        budget.roll(record, np.array([day]), np.zeros(1))
        budget.note(record, np.array([score]))
    budget.roll(record, np.array([len(scores)]), np.zeros(1))
    return record


def question(record: np.ndarray) -> float:
    return float(budget.thresholds(record)[0, Tier.QUESTION])


def test_the_state_is_small_and_of_plain_numbers() -> None:
    assert STATE.itemsize <= 300
    assert not STATE.hasobject


def test_the_population_threshold_holds_until_there_are_days_enough() -> None:
    assert question(lived([3.6] * 28)) == ARM_NATS[Tier.QUESTION]
    assert question(lived([3.6] * 40)) > ARM_NATS[Tier.QUESTION]


def test_a_quiet_person_is_not_asked_more_often_to_use_the_budget_up() -> None:
    assert question(lived([0.0] * 120)) == ARM_NATS[Tier.QUESTION]


def test_the_threshold_is_the_conformal_rank_of_the_persons_own_days() -> None:
    # 59 days weigh 180 (1 - (1 - 1/180)^59) = 50.4: one at 3.6, and the day to be judged, are two in 51.4.
    record = lived([*[0.5] * 58, 3.6])
    assert question(record) == 3.75
    assert float(budget.thresholds(record, budget.Budget(question_days=25.0))[0, Tier.QUESTION]) == 3.0
    assert float(budget.thresholds(record, budget.Budget(question_days=27.0))[0, Tier.QUESTION]) == 3.75


def test_a_budget_promise_holds_for_a_person_whose_days_are_alike() -> None:
    rng = np.random.default_rng(5)
    scores = np.minimum(rng.exponential(0.75, 900), 3.9)  # above 3 nats once in 55 days; all below the floor
    record, asked = budget.blank(), 0
    for day, score in enumerate(scores):
        budget.roll(record, np.array([day]), np.zeros(1))
        if day > 60:
            asked += bool(score >= question(record))
        budget.note(record, np.array([score]))
    assert asked <= 2 * (900 - 61) / budget.QUESTION_EVERY_DAYS / 2


def test_no_threshold_rises_above_the_sensitivity_floor() -> None:
    record = lived([9.0] * 200)
    assert (budget.thresholds(record)[0] <= FLOOR_NATS).all()
    told = budget.given_up(record, NOW_US)
    assert told.code == "at_floor"
    assert told.params["asked_a_month"] > 1


def test_a_day_on_which_something_happened_teaches_nothing() -> None:
    record = budget.blank()
    for day in range(60):
        budget.roll(record, np.array([day]), np.zeros(1))
        budget.note(record, np.array([3.9]))
        if day:
            budget.true_alarm(record, ())
    assert record["days"].sum() <= 1
    assert question(record) == ARM_NATS[Tier.QUESTION]


def test_a_line_and_a_dispatch_are_the_same_for_everybody() -> None:
    found = budget.thresholds(np.concatenate([lived([9.0] * 200), budget.blank()]))
    assert (found[:, Tier.LINE] == 1.0).all()
    assert (found[:, Tier.DISPATCH] == 8.0).all()


def keys(*codes: str) -> np.ndarray:
    return np.array([[budget.code_key(code) for code in codes]], dtype=np.uint32)


def lift(record: np.ndarray, code: str, now_us: int) -> float:
    return float(budget.lifts(record, keys(code), np.array([now_us // 1_000_000]))[0, 0])


def test_a_verdict_takes_a_bounded_step_off_its_own_sign_only() -> None:
    record = budget.blank()
    budget.false_alarm(record, "drift", Cause.EXERCISE, NOW_US)
    assert lift(record, "drift", NOW_US) == pytest.approx(0.5)
    assert lift(record, "absence", NOW_US) == 0
    for _ in range(20):
        budget.false_alarm(record, "drift", Cause.EXERCISE, NOW_US)
    assert lift(record, "drift", NOW_US) == budget.LIFT_MOST_NATS


def test_a_verdict_fades_and_ends_and_says_when() -> None:
    record = budget.blank()
    budget.false_alarm(record, "drift", Cause.DAILY_LIFE, NOW_US)
    assert lift(record, "drift", NOW_US + 14 * DAY_US) == pytest.approx(0.25)
    assert lift(record, "drift", NOW_US + 60 * DAY_US) == 0
    (told,) = budget.in_force(record, {budget.code_key("drift"): "drift"}, NOW_US + DAY_US)
    assert (told.code, told.cause, told.ends_us) == ("drift", Cause.DAILY_LIFE, NOW_US + 60 * DAY_US)
    assert budget.in_force(record, {}, NOW_US + 60 * DAY_US) == []


def test_something_true_takes_the_verdicts_against_its_signs_back() -> None:
    record = budget.blank()
    budget.false_alarm(record, "drift", Cause.OTHER, NOW_US)
    budget.false_alarm(record, "absence", Cause.AWAY, NOW_US)
    budget.true_alarm(record, ("drift",))
    assert lift(record, "drift", NOW_US) == 0
    assert lift(record, "absence", NOW_US) == pytest.approx(0.5)


def test_the_weakest_verdict_makes_place_for_another() -> None:
    record = budget.blank()
    for i in range(budget.LIFTS + 1):
        budget.false_alarm(record, f"sign_{i}", Cause.OTHER, NOW_US + i * DAY_US)
    now = NOW_US + budget.LIFTS * DAY_US
    assert lift(record, "sign_0", now) == 0
    assert all(lift(record, f"sign_{i}", now) > 0 for i in range(1, budget.LIFTS + 1))


def test_the_screen_says_what_is_given_up() -> None:
    assert budget.given_up(budget.blank(), NOW_US).code == "learning"
    assert budget.given_up(lived([0.2] * 100), NOW_US).code == "nothing"
    record = lived([0.2] * 90 + [3.1] * 10)
    told = budget.given_up(record, NOW_US)
    assert told.code == "own_days"
    assert told.params["arm"] == 3.25
    assert told.params["usual_arm"] == 3.0
    assert told.params["asked_a_month_at_usual"] > 2
    assert told.params["asked_a_month"] == 0
    assert told.params["share"] == 1.0
    budget.false_alarm(record, "drift", Cause.OTHER, NOW_US)
    assert budget.given_up(record, NOW_US).code == "verdicts"


def test_a_sites_dispatches_are_held_against_the_incumbents_rate() -> None:
    kept, low, high = budget.dispatches_kept(0, 1000.0)
    assert kept
    assert low == 0
    assert high == pytest.approx(3.689 / 1000, rel=1e-3)
    assert not budget.dispatches_kept(5, 1000.0)[0]
    with pytest.raises(ValueError, match="home_days must be positive, was 0"):
        budget.dispatches_kept(0, 0)


def test_a_budget_that_is_no_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="ring_days must be 1 or more, was 0"):
        budget.Budget(ring_days=0)


scores = st.lists(st.floats(0, 40, allow_nan=False) | st.just(float("nan")), max_size=150)


@settings(max_examples=60, deadline=None)
@given(scores)
def test_thresholds_stay_between_the_populations_and_the_floor(days: list[float]) -> None:
    found = budget.thresholds(lived(days))[0]
    assert (found >= ARM_NATS).all()
    assert (found <= FLOOR_NATS).all()
    assert found[Tier.QUESTION] <= found[Tier.RING] <= found[Tier.DISPATCH]
    told = budget.given_up(lived(days), NOW_US)
    assert 0 <= told.params["share"] <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-5, 200)), max_size=30))
def test_verdicts_never_take_more_than_their_bound(told: list[tuple[str, int]]) -> None:
    record = budget.blank()
    for code, day in told:
        budget.false_alarm(record, code, Cause.OTHER, NOW_US + day * DAY_US)
        found = budget.lifts(record, keys(*"abcdefgh"), np.array([(NOW_US + day * DAY_US) // 1_000_000]))
        assert (found >= 0).all()
        assert (found <= budget.LIFT_MOST_NATS).all()
