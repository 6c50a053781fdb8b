from __future__ import annotations

import math

import numpy as np
import pytest

from service.detection import baseline
from service.detection.baseline import STEPS, VITALS, blank, update

HEART, SPO2 = VITALS.index("heart_rate_bpm"), VITALS.index("spo2_pct")
T0 = 1_790_000_000 // 86_400 * 86_400
SEOUL = 32_400


class Life:
    """One person's hours, four readings each, fed one after another."""

    def __init__(self, seed: int = 1, offset_s: int = SEOUL) -> None:
        self.rng = np.random.default_rng(seed)
        self.records, self.hour, self.offset_s = blank(), 0, offset_s
        self.found: list = []
        self.wave = True

    def usual(self, hour: int) -> float:
        local = (hour + SEOUL / 3600) % 24
        return 68 - 5 * math.cos(2 * math.pi * (local - 4) / 24) if self.wave else 68.0

    def live(self, days: float, lift: float = 0.0, rest: bool = True, vital: int = HEART) -> list:
        found = []
        for _ in range(round(24 * days)):
            values = np.full((4, len(VITALS)), np.nan)
            values[:, vital] = self.usual(self.hour) + lift + self.rng.normal(0, 2) + self.rng.normal(0, 1, 4)
            at_s = T0 + 3600 * self.hour + 900 * np.arange(4)
            found += self.post(at_s, values, rest)
            self.hour += 1
        return found

    def post(self, at_s, values, rest=True) -> list:
        got = update(self.records, np.zeros(at_s.size, dtype=np.int64), at_s, values, np.full(at_s.size, rest),
                     np.array([self.offset_s]))  # fmt: skip
        self.found += [f for _, f in got]
        return [f for _, f in got]


def told(found) -> list[str]:
    return [f.code for f in found if not f.ended]


def test_the_state_fits_its_share():
    assert baseline.STATE.itemsize <= 1700


def test_a_calm_month_tells_nothing():
    assert told(Life().live(25)) == []


def test_a_rise_of_eight_is_told_within_two_days_with_value_and_usual():
    life = Life()
    life.live(20)
    found = life.live(2, lift=8)
    assert told(found) == ["heart_rate_drift_up"]
    f = found[0]
    assert f.layer == "baseline" and f.params["vital"] == "heart_rate_bpm"
    assert f.params["value"] - f.params["usual"] > 3
    assert 63 <= f.params["usual"] <= 73
    assert f.llr > 0 and 0 <= f.at_us - f.onset_us <= 48 * 3600e6
    assert f.params["duration_s"] % 3600 == 0


def test_a_fall_of_twelve_is_told_as_a_fall():
    life = Life()
    life.live(20)
    assert told(life.live(3, lift=-12)) == ["heart_rate_drift_down"]


def test_a_drift_ends_once_when_the_rate_is_back():
    life = Life()
    life.live(20)
    life.live(2, lift=10)
    back = life.live(4)
    assert [(f.code, f.ended) for f in back] == [("heart_rate_drift_up", True)]


def test_a_drift_is_not_learnt_as_usual_while_it_is_suspected():
    life = Life()
    life.live(20)
    before = life.records["usual"][0, HEART].mean()
    life.live(5, lift=12)
    assert life.records["usual"][0, HEART].mean() - before < 2


def test_a_drift_that_lasts_becomes_the_new_usual():
    life = Life()
    life.live(16)
    life.live(23, lift=9)
    assert life.found[-1].ended and life.found[-1].code == "heart_rate_drift_up"


def test_nothing_is_told_in_the_first_three_days():
    life = Life()
    life.live(1)
    assert told(life.live(1.9, lift=15)) == []


def test_until_day_14_thresholds_are_higher():
    young, old = Life(), Life()
    young.live(6)
    old.live(20)
    soon = next(i for i in range(100) if told(old.live(1 / 24, lift=9)))
    later = next(i for i in range(100) if told(young.live(1 / 24, lift=9)))
    assert later > soon


def test_readings_in_motion_teach_nothing_and_tell_nothing():
    life = Life()
    life.live(10)
    life.live(1 / 24, rest=False)
    before = life.records["usual"].copy()
    assert life.live(3, lift=40, rest=False) == []
    assert (life.records["usual"] == before).all()


@pytest.mark.parametrize("hours", [-9, 6, 1])
def test_a_flight_alone_tells_nothing(hours):
    """The body keeps its rhythm by UTC for some days while local time has jumped; Life's rhythm never moves."""
    life = Life()
    life.live(15)
    life.offset_s += 3600 * hours
    assert told(life.live(9)) == []


def test_a_new_time_zone_is_blended_in_by_the_hour():
    life = Life()
    life.live(10)
    life.offset_s -= 6 * 3600
    life.live(2)
    left = float(life.records["body_s"][0]) - life.offset_s
    assert 3600 < left < 5.5 * 3600
    life.live(8)
    assert float(life.records["body_s"][0]) == life.offset_s


def test_hours_are_those_of_local_time():
    life = Life(offset_s=SEOUL)
    life.live(20)
    known = life.records["usual"][0, HEART]
    assert abs(int(known.argmin()) - 4) <= 3
    assert known.max() - known.min() > 6


def test_low_saturation_over_days_is_told():
    life = Life()
    life.wave = False
    life.usual = lambda hour: 97.0  # type: ignore[method-assign]
    life.live(20, vital=SPO2)
    assert told(life.live(3, lift=-5, vital=SPO2)) == ["spo2_drift_down"]


def test_a_person_who_stops_moving_is_told_of():
    life = Life()

    def day(steps: float) -> list:
        found = []
        for _ in range(24):
            local = (life.hour + 9) % 24
            values = np.full((12, len(VITALS)), np.nan)
            values[:, STEPS] = life.rng.poisson(steps) if 8 <= local < 20 else 0
            found += life.post(T0 + 3600 * life.hour + 300 * np.arange(12), values, rest=False)
            life.hour += 1
        return found

    for _ in range(20):
        assert told(day(40)) == []
    assert told([f for _ in range(4) for f in day(0)]) == ["activity_drift_down"]


def test_an_hour_worn_only_in_part_says_nothing_about_activity():
    life = Life()
    values = np.full((12, len(VITALS)), np.nan)
    values[:, STEPS] = 10.0
    life.post(T0 + 300 * np.arange(12), values)
    life.post(T0 + 3600 + 300 * np.arange(6), values[:6])
    life.post(T0 + 7200 + np.zeros(1, dtype=np.int64), values[:1])
    assert life.records["hours"][0, STEPS] == 1


def test_the_mean_of_an_hour_is_held_against_it_and_late_rows_are_left_out():
    life = Life()
    values = np.full((3, len(VITALS)), np.nan)
    values[:, HEART] = [60.0, 70.0, 80.0]
    at_s = T0 + np.array([0, 1800, 3599])
    life.post(at_s, values)
    life.post(np.array([T0 + 3600]), np.full((1, len(VITALS)), np.nan))
    hod = (T0 // 3600 + 9) % 24
    assert life.records["usual"][0, HEART, hod] == 70
    life.post(at_s, values + 100)
    assert life.records["count"][0, HEART] == 0


def _random_rows(rng, people=5, n=600):
    who = np.sort(rng.integers(0, people, n))
    at_s = T0 + np.sort(rng.integers(0, 40 * 3600, n)) + rng.integers(-100, 100, n)
    values = np.where(rng.random((n, len(VITALS))) < 0.7, rng.normal(70, 9, (n, len(VITALS))), np.nan)
    order = np.argsort(who, kind="stable")
    return who[order], at_s[order], values[order], (rng.random(n) < 0.8)[order]


def test_other_divisions_of_the_same_rows_give_the_same_state_to_the_bit():
    rng = np.random.default_rng(3)
    offset = np.full(5, SEOUL)
    for _ in range(5):
        who, at_s, values, rest = _random_rows(rng)
        one, many = blank(5), blank(5)
        found = update(one, who, at_s, values, rest, offset)
        again = []
        for lot in range(8):
            mine = np.zeros(who.size, dtype=bool)
            for p in range(5):
                rows = np.flatnonzero(who == p)
                mine[np.array_split(rows, 8)[lot]] = True
            again += update(many, who[mine], at_s[mine], values[mine], rest[mine], offset)
        assert one.tobytes() == many.tobytes()
        assert sorted(found, key=lambda x: (x[0], x[1].at_us, x[1].code)) == sorted(
            again, key=lambda x: (x[0], x[1].at_us, x[1].code)
        )


def test_one_person_among_many_is_judged_as_alone():
    rng = np.random.default_rng(8)
    who, at_s, values, rest = _random_rows(rng)
    group = blank(5)
    update(group, who, at_s, values, rest, np.full(5, SEOUL))
    for p in range(5):
        mine, alone = who == p, blank()
        update(alone, np.zeros(mine.sum(), dtype=np.int64), at_s[mine], values[mine], rest[mine], np.array([SEOUL]))
        assert alone.tobytes() == group[p : p + 1].tobytes()


def test_garbage_neither_raises_nor_leaves_anything_but_numbers():
    rng = np.random.default_rng(5)
    records = blank(3)
    for _ in range(40):
        n = int(rng.integers(0, 30))
        who = np.sort(rng.integers(0, 3, n))
        at_s = T0 + rng.integers(-(10**6), 10**8, n)
        values = rng.choice([np.nan, np.inf, -np.inf, 0.0, -5.0, 1e300, 70.0], (n, len(VITALS)))
        update(records, who, at_s, values, rng.random(n) < 0.5, rng.integers(-(10**6), 10**6, 3))
    for name in ("usual", "spread", "level", "stat", "residual", "near", "body_s"):
        assert np.isfinite(records[name]).all()


def test_nothing_arrives_and_nothing_happens():
    none = np.zeros(0, dtype=np.int64)
    values = np.zeros((0, len(VITALS)))
    assert update(blank(0), none, none, values, none > 0, none) == []


def test_the_whitened_ratio_of_one_hour_is_as_computed_by_hand():
    """A settled hour: level and usual 70, variance 16 known for ever, one residual of +8 after a long gap."""
    model = baseline.shipped()
    records = blank()
    records["begun"], records["last"] = T0 // 3600 - 24 * 30, T0 // 3600 - 20
    records["hour"] = T0 // 3600
    records["body_s"] = SEOUL
    records["usual"][0, HEART], records["spread"][0, HEART] = 70, 16
    records["known"][0, HEART] = 160
    records["level"][0, HEART], records["hours"][0, HEART] = 70, 240
    records["count"][0, HEART], records["sum"][0, HEART] = 10, 10 * 7800
    update(records, np.zeros(1, dtype=np.int64), np.array([T0 + 3600]), np.full((1, len(VITALS)), np.nan),
           np.array([True]), np.array([SEOUL]))  # fmt: skip
    hod = (T0 // 3600 + 9) % 24
    prior = 70 + model.shape[HEART, hod]
    usual = (70 * 10 + prior * model.prior_days) / (10 + model.prior_days)
    weight = 10 + 2 * model.prior_days
    variance = (16 * 10 + 25 * 2 * model.prior_days) / weight * (1 + 1 / (10 + model.prior_days)) + 100 / 241
    sd = math.sqrt(variance * 1.1)
    rho = model.keep**20
    white = (78 - usual) / sd / math.sqrt(1 - rho**2)
    step = model.delta[HEART] / sd * math.sqrt((1 - rho) / (1 + rho))
    assert records["stat"][0, HEART, 0] == pytest.approx(max(step * (white - step / 2), 0), rel=1e-3)
    assert records["stat"][0, HEART, 1] == 0
