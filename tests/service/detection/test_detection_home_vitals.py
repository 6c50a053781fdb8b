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


def test_a_first_day_at_the_limit_is_not_told_but_a_later_one_is():
    assert run(*days([163.0, 84, 72]))[1] == []
    assert [f.code for f in on(6, [163.0, 84, 72])[1]] == ["blood_pressure_high"]


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
    assert all((r.weights[4:] >= 0).all() for r in rule)


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
