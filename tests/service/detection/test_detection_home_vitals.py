from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.detection import home_vitals

DATA = Path(__file__).parents[3] / "../shared/data"
DAY = 86_400
START = 19_000 * DAY + 9 * 3600
USUAL = [132.0, 78.0, 70.0]


def days(*readings: list[float]):
    return START + np.arange(len(readings)) * DAY, np.array(readings)


def run(at, values, records=None, **more):
    records = home_vitals.blank() if records is None else records
    who = np.zeros(len(at), dtype=np.int64)
    return records, [f for _, f in home_vitals.update(records, who, np.asarray(at), np.asarray(values), **more)]


def known():
    return run(*days(*[USUAL] * 5))[0]


def on(day: int, reading: list[float], records=None):
    return run([START + day * DAY], [reading], known() if records is None else records)


def test_the_state_fits_its_share():
    assert home_vitals.STATE.itemsize <= 200


@pytest.mark.parametrize(
    ("reading", "code", "vital", "value"),
    [
        ([168.0, 84, 72], "blood_pressure_high", "systolic_mmhg", 168.0),
        ([140.0, 104, 72], "blood_pressure_high", "diastolic_mmhg", 104.0),
        ([104.0, 48, 72], "blood_pressure_low", "diastolic_mmhg", 48.0),
        ([132.0, 78, 112], "pulse_high", "pulse_rate_bpm", 112.0),
        ([132.0, 78, 44], "pulse_low", "pulse_rate_bpm", 44.0),
    ],
)
def test_a_reading_beyond_its_limit_is_found_and_told_with_the_usual(reading, code, vital, value):
    _, found = on(6, reading)
    assert [f.code for f in found] == [code]
    usual = USUAL[home_vitals.VITALS.index(vital)]
    assert (found[0].params["vital"], found[0].params["value"], found[0].params["usual"]) == (vital, value, usual)
    assert found[0].llr > 0


def test_ordinary_readings_say_nothing():
    rng = np.random.default_rng(2)
    values = np.array(USUAL) + rng.normal(0, [6, 4, 4], (90, 3))
    assert run(START + np.arange(90) * DAY, values)[1] == []


@pytest.mark.parametrize("reading", [[163.0, 84, 72], [132.0, 78, 103]])
def test_two_settling_days_at_the_limit_are_not_told_but_the_third_is(reading):
    assert run(*days(reading, reading))[1] == []
    assert [f.onset_us for f in run(*days(reading, reading, reading))[1]] == [(START + 2 * DAY) * 1_000_000]


def test_the_gravest_pressure_is_told_on_the_first_day_too():
    assert [f.code for f in run(*days([192.0, 112, 72]))[1]] == ["blood_pressure_high"]


@pytest.mark.parametrize(
    ("reading", "told"),
    [([160.0, 84, 72], 1), ([159.0, 89, 72], 0), ([138.0, 100, 72], 1), ([138.0, 99, 72], 0), ([138.0, 54, 72], 1),
     ([138.0, 55, 72], 0), ([132.0, 78, 100], 1), ([132.0, 78, 99], 0), ([132.0, 78, 50], 1), ([132.0, 78, 51], 0)],
)  # fmt: skip
def test_the_shipped_limits_stand_where_the_card_says(reading, told):
    assert len(on(6, reading)[1]) == told


def test_a_slow_pulse_weighs_as_much_as_a_fast_one():
    weights = home_vitals.shipped()[1].weights[home_vitals.AROUND :]
    assert (weights[:2] == weights[2:]).all()


def test_a_sign_is_told_once_a_day_and_ends_with_a_better_day():
    records, first = on(6, [170.0, 84, 72])
    again = run([START + 6 * DAY + 600], [[171.0, 85, 72]], records)[1]
    better = run([START + 6 * DAY + 1200], [[130.0, 80, 72]], records)[1]
    other = run([START + 6 * DAY + 1800], [[100.0, 44, 72]], records)[1]
    next_day = run([START + 7 * DAY], [USUAL], records)[1]
    assert len(first) == 1 and again == [] and better == []
    assert not any(f.ended for f in other)
    assert next_day[0].code == "blood_pressure_high" and all(f.ended for f in next_day)
    assert next_day[0].onset_us == first[0].onset_us


def test_higher_pressure_never_scores_less():
    rule = home_vitals.shipped()
    assert all((r.weights[home_vitals.AROUND :] >= 0).all() for r in rule)


def test_the_same_readings_in_other_uploads_give_the_same_findings():
    rng = np.random.default_rng(5)
    values = np.array(USUAL) + rng.normal(0, [20, 12, 14], (80, 3))
    at = np.sort(START + rng.integers(0, 40 * DAY, 80))
    whole, found = run(at, values)
    split, again = home_vitals.blank(), []
    for piece in np.array_split(np.arange(80), 23):
        again += run(at[piece], values[piece], split)[1]
    assert found == again and found and whole.tobytes() == split.tobytes()


def test_a_reading_of_an_earlier_day_is_passed_over():
    records = known()
    before = records.copy()
    assert run([START - DAY], [[190.0, 120, 120]], records)[1] == [] and records.tobytes() == before.tobytes()


def test_the_day_is_that_of_the_person():
    late = START - 9 * 3600 + 23 * 3600
    records, _ = run([late], [USUAL], utc_offset_s=0)
    ahead, _ = run([late], [USUAL], utc_offset_s=9 * 3600)
    assert ahead["day"][0] == records["day"][0] + 1


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300])
def test_garbage_changes_nothing(garbage):
    records = home_vitals.blank()
    assert run(START + np.arange(3), np.full((3, 3), garbage), records)[1] == []
    assert records.tobytes() == home_vitals.blank().tobytes()


def test_no_rows_at_all_are_fine():
    assert run(np.zeros(0, dtype=np.int64), np.zeros((0, 3)))[1] == []


def test_recorded_alerts_are_found_by_the_shipped_model():
    tihm_vitals = pytest.importorskip("service.tools.evaluation.tihm_vitals")
    if tihm_vitals.missing(DATA):
        pytest.skip(f"data not present: {tihm_vitals.missing(DATA)}")
    found = tihm_vitals.load(DATA)
    scored = tihm_vitals.columns(found, "blood_pressure") @ home_vitals.shipped()[0].weights
    assert tihm_vitals.auroc(scored, found.positive("blood_pressure")) > 0.97


def test_a_long_upload_is_judged_as_its_readings_one_by_one() -> None:
    rng = np.random.default_rng(3)
    for spread in (0.0, 12.0, 40.0):
        at_s = 1_790_000_000 + np.cumsum(rng.integers(0, 2_000, 400))
        values = np.array([150.0, 82, 80]) + rng.normal(0, spread, (400, 3))
        values[rng.random(values.shape) < 0.2] = np.nan
        who = np.zeros(400, dtype=np.int64)
        whole, single = home_vitals.blank(), home_vitals.blank()
        told = home_vitals.update(whole, who, at_s, values)
        each = [home_vitals.update(single, who[:1], at_s[k : k + 1], values[k : k + 1]) for k in range(400)]
        assert told == [one for some in each for one in some]
        assert whole.tobytes() == single.tobytes()


def test_a_long_upload_of_high_pressure_is_judged_a_few_times_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    judge = home_vitals._judge
    monkeypatch.setattr(home_vitals, "_judge", lambda *given: judged.append(1) or judge(*given))
    n = 10_000
    at_s = 1_790_000_000 + 60 * np.arange(n)
    home_vitals.update(home_vitals.blank(), np.zeros(n, dtype=np.int64), at_s, np.tile([190.0, 110, 130], (n, 1)))
    assert len(judged) <= 3 * (n // 1440 + 2)
