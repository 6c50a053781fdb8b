from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from detection_rows import Wearer, at, batch, part

from service.detection import PersonSettings

MINUTES = np.arange(0, 3600, 60)
SECONDS = np.arange(0, 600)


def personal(**limits) -> PersonSettings:
    return PersonSettings(set_by="Dr. Kim", set_on=at(0), **limits)


@pytest.mark.parametrize("times", [SECONDS, MINUTES[:10]], ids=["every second", "every minute"])
@pytest.mark.parametrize(
    ("rate", "code", "priority"),
    [(110, None, None), (111, "heart_rate_high", "medium"), (130, "heart_rate_high", "medium"),
     (131, "heart_rate_high", "high"), (41, None, None), (40, "heart_rate_low", "high"), (50, None, None)],
)  # fmt: skip
def test_resting_heart_rate_limits_are_those_of_the_table(times, rate, code, priority):
    w = Wearer()
    w.post(batch(times, hr=rate))
    assert w.codes == ([code] if code else [])
    if code:
        assert (w.opened[0].priority, w.opened[0].params["value"], w.opened[0].params["usual"]) == (
            priority,
            rate,
            None,
        )


def test_a_short_burst_of_a_high_rate_raises_nothing():
    w = Wearer()
    w.post(batch(SECONDS, hr=np.where((SECONDS > 200) & (SECONDS < 320), 135, 75)))
    assert w.codes == []


def test_a_rate_raised_by_walking_raises_nothing_and_by_rest_does():
    w = Wearer()
    w.post(batch(MINUTES[:20], hr=105, steps=80))
    assert w.codes == []
    w.post(batch(1200 + MINUTES[:11], hr=105, steps=0))
    assert w.codes == []
    w.post(batch(1860 + MINUTES[:7], hr=125, steps=0))
    assert w.codes == ["heart_rate_high"]


def test_after_effort_at_a_raised_rate_rest_is_waited_for_longer_but_not_for_ever():
    w = Wearer()
    w.post(batch(MINUTES[:20], hr=135, steps=80))
    w.post(batch(1200 + MINUTES[:29], hr=135, steps=0))
    assert w.codes == []
    w.post(batch(1200 + 1740 + MINUTES[:3], hr=135, steps=0))
    assert w.codes == ["heart_rate_high"]


def test_a_rate_that_rises_again_after_recovery_is_not_put_down_to_the_effort():
    w = Wearer()
    w.post(batch(MINUTES[:20], hr=135, steps=80))
    w.post(batch(1200 + MINUTES[:14], hr=85, steps=0))
    w.post(batch(1200 + 840 + MINUTES[:7], hr=125, steps=0))
    assert w.codes == ["heart_rate_high"]


def test_steps_taken_after_a_resting_rate_rose_do_not_hide_it():
    w = Wearer()
    w.post(batch(MINUTES[:20], hr=70, steps=0))
    w.post(batch(1200 + MINUTES[:8], hr=128, steps=[0, 0, 12, 0, 30, 20, 9, 0]))
    assert w.codes == ["heart_rate_high"]


def test_steps_and_rates_in_any_division_are_judged_alike():
    rng = np.random.default_rng(4)
    for _ in range(50):
        n = 120
        minutes = 30.0 * np.arange(n) + rng.choice([0, 900], n, p=[0.97, 0.03]).cumsum()
        minutes -= rng.choice([0, 60], n, p=[0.9, 0.1])
        hr = np.repeat(rng.choice([70, 95, 105, 118, 140], n // 10), 10) + rng.integers(0, 4, n)
        steps = np.where(rng.random(n) < rng.choice([0.05, 0.3]), 30, 0)
        whole = batch(minutes, hr=hr, steps=steps)
        one, many = Wearer(), Wearer()
        one.post(whole, minutes.max())
        edges = [0, *sorted(rng.choice(np.arange(1, n), 6, replace=False)), n]
        for a, b in pairwise(edges):
            many.post(part(whole, a, b), minutes.max())
        assert [(c.code, c.started_at) for c in one.opened] == [(c.code, c.started_at) for c in many.opened]


def test_unknown_activity_counts_as_rest():
    w = Wearer()
    w.post(batch(MINUTES[:10], hr=118))
    assert w.codes == ["heart_rate_high"]


def test_a_condition_opens_once_rises_once_and_ends_clearly():
    w = Wearer()
    w.post(batch(MINUTES[:10], hr=115))
    w.post(batch(600 + MINUTES[:10], hr=np.resize([109, 113], 10)))
    assert w.codes == ["heart_rate_high"]
    w.post(batch(1200 + MINUTES[:10], hr=140))
    assert [(c.code, c.priority) for c in w.opened] == [("heart_rate_high", "medium"), ("heart_rate_high", "high")]
    w.post(batch(1800 + MINUTES[:10], hr=105))
    assert w.ended == []
    result = w.post(batch(2400 + MINUTES[:10], hr=80))
    assert (w.ended, result.active) == (["heart_rate_high"], ())
    w.post(batch(3000 + MINUTES[:10], hr=115))
    assert w.codes == ["heart_rate_high"] * 3


def test_personal_limits_take_the_place_of_the_default_but_hard_limits_stay():
    low = Wearer(personal(heart_rate_low_bpm=50))
    low.post(batch(MINUTES[:10], hr=48))
    assert [(c.code, c.priority, c.params["limit"]) for c in low.opened] == [("heart_rate_low", "medium", 50)]
    high = Wearer(personal(heart_rate_high_bpm=125))
    high.post(batch(MINUTES[:10], hr=118))
    assert high.codes == []
    high.post(batch(600 + MINUTES[:10], hr=133))
    assert high.opened[-1].priority == "high"
    never = Wearer(personal(heart_rate_high_bpm=200, heart_rate_low_bpm=20))
    never.post(batch(MINUTES[:10], hr=135))
    assert [c.priority for c in never.opened] == ["high"]


def test_personal_limits_without_a_name_and_a_date_are_refused():
    with pytest.raises(ValueError, match="set_by and set_on must be given"):
        PersonSettings(heart_rate_high_bpm=120)
    with pytest.raises(ValueError, match="set_by and set_on"):
        PersonSettings(spo2_scale=2)


@pytest.mark.parametrize(
    ("step", "until"), [(1, 120), (10, 130), (60, 120), (120, 120), (300, 300), (600, 600)]
)  # fmt: skip
def test_low_spo2_for_two_minutes_opens_whatever_the_sampling(step, until):
    before, after = np.arange(0, until - 15, step), np.arange(0, until + 15, step)
    w = Wearer()
    w.post(batch(before, spo2=86, hr=75))
    assert w.codes == []
    w = Wearer()
    w.post(batch(after, spo2=86, hr=75))
    assert [(c.code, c.priority) for c in w.opened] == [("spo2_low", "high")]
    assert w.opened[0].params["value"] == 86
    assert w.opened[0].started_at == at(0)
    assert w.opened[0].params["duration_s"] >= 105


def test_single_drop_outs_neither_open_nor_hide_low_spo2():
    w = Wearer()
    w.post(batch(SECONDS, spo2=np.where(SECONDS % 60 < 8, 84, 97)))
    w.post(batch(600 + MINUTES[:10], spo2=np.where(np.arange(10) == 4, 80, 97)))
    assert w.codes == []
    w.post(batch(1200 + MINUTES[:5], spo2=[86, 86, 97, 86, 86]))
    w.post(batch(1500 + MINUTES[:3], spo2=[86, 86, 86]))
    assert w.codes == ["spo2_low"]


def test_low_spo2_readings_that_lie_far_apart_are_not_joined():
    w = Wearer()
    w.post(batch([0, 60, 4000, 4060], spo2=86))
    assert w.codes == []


def test_spo2_of_89_to_91_is_left_to_news2():
    w = Wearer()
    w.post(batch(SECONDS, spo2=90, hr=70, resp=15))
    assert w.codes == []


def test_spo2_ends_when_clearly_back():
    w = Wearer()
    w.post(batch(SECONDS, spo2=86))
    w.post(batch(600 + SECONDS, spo2=89))
    assert w.ended == []
    w.post(batch(1200 + SECONDS, spo2=93))
    assert w.ended == ["spo2_low"]


def test_scale_2_lowers_the_spo2_limit_and_a_personal_limit_has_a_floor():
    w = Wearer(personal(spo2_scale=2))
    w.post(batch(SECONDS, spo2=87))
    assert w.codes == []
    w.post(batch(600 + SECONDS, spo2=84))
    assert w.opened[0].params["limit"] == 85
    w = Wearer(personal(spo2_low_pct=60))
    w.post(batch(SECONDS, spo2=79))
    assert w.codes == ["spo2_low"]


def test_news2_opens_on_persistent_medians_and_rises():
    w = Wearer()
    # 2 (breathing 22) + 2 (SpO2 93) + 1 (95 bpm) = 5; then 3 + 2 + 2 = 7.
    w.post(batch(SECONDS, resp=22, spo2=93, hr=95))
    assert [(c.code, c.priority) for c in w.opened] == [("news2_medium", "medium")]
    assert {k: w.opened[0].params[k] for k in ("total", "known")} == {"total": 5, "known": 3}
    w.post(batch(600 + SECONDS, resp=26, spo2=93, hr=112))
    assert "news2_high" in w.codes
    high = next(c for c in w.opened if c.code == "news2_high")
    assert (high.priority, high.params["total"], high.params["worst"]) == ("high", 7, "respiratory_rate_bpm")


def test_a_burst_in_every_vital_is_not_persistent():
    w = Wearer()
    bad = (SECONDS > 300) & (SECONDS < 400)
    w.post(batch(SECONDS, resp=np.where(bad, 28, 16), spo2=np.where(bad, 91, 97), hr=np.where(bad, 125, 75)))
    assert w.codes == []


def test_a_parameter_that_falls_silent_clears_nothing():
    w = Wearer()
    w.post(batch(SECONDS, resp=22, spo2=93, hr=95))
    result = w.post(batch(600 + np.arange(0, 7200, 60), hr=75))
    assert result.active == ("news2_medium",)
    result = w.post(batch(8000 + SECONDS, resp=16, spo2=97, hr=75))
    assert (result.active, w.ended) == ((), ["news2_medium"])


def test_one_full_set_measured_once_a_day_rings_when_many_vitals_agree():
    w = Wearer()
    w.post(batch([0], hr=135, resp=26, spo2=90, temp=39.5, sys=88))
    assert w.codes == ["news2_high"]
    assert w.opened[0].params["total"] == 14
    w = Wearer()
    w.post(batch([0], hr=135, resp=26, spo2=97))
    assert w.codes == []


def test_oxygen_counts_when_it_is_known():
    w = Wearer(PersonSettings(on_oxygen=True))
    w.post(batch(SECONDS, resp=22, spo2=95, hr=75))
    assert w.opened[0].params["total"] == 5
    assert w.opened[0].params["known"] == 4


def test_usual_is_said_only_after_an_hour_of_minutes():
    w = Wearer()
    w.post(batch(MINUTES, hr=70, spo2=97))
    w.post(batch(3600 + SECONDS, hr=115, spo2=97))
    assert w.opened[0].params["value"] == 115
    assert w.opened[0].params["usual"] == pytest.approx(70, abs=0.1)
    w = Wearer()
    w.post(batch(MINUTES[:50], hr=70))
    w.post(batch(3000 + SECONDS, hr=115))
    assert w.opened[0].params["usual"] is None


def test_an_alarming_rate_is_not_learnt_as_usual():
    w = Wearer()
    w.post(batch(MINUTES, hr=70))
    w.post(batch(3600 + np.arange(0, 36_000, 60), hr=125))
    w.post(batch(39_600 + MINUTES, hr=70))
    w.post(batch(43_200 + MINUTES, hr=125))
    assert w.opened[-1].params["usual"] == pytest.approx(70, abs=5)


def test_battery_low_is_a_line_with_hysteresis():
    w = Wearer()
    w.post(batch(MINUTES[:6], battery=[20, 14, 16, 14, 30, 14]))
    assert [(c.code, c.priority, c.kind, c.params) for c in w.opened] == [
        ("battery_low", "low", "technical", {"value": 14})
    ] * 2
    assert w.ended == ["battery_low"]


def test_a_rate_is_not_persistent_before_four_minutes_of_it_are_known():
    w = Wearer()
    w.post(batch(SECONDS[:180], hr=140))
    assert w.codes == []
    w.post(batch(SECONDS[180:270], hr=140))
    assert w.codes == ["heart_rate_high"]


def test_sparse_readings_need_three_in_a_row():
    for n, codes in ((2, []), (3, ["heart_rate_high"])):
        w = Wearer()
        w.post(batch(600 * np.arange(n), hr=140))
        assert w.codes == codes
