from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from service.detection import warning, warning_model
from service.detection.warning_model import HOUR_S

DATA = Path(__file__).parents[3] / "../shared/data"
START = 473_000 * HOUR_S
QUIET = [68.0, 97, 15, 36.6, 128]
ILL = [138.0, 82, 36, 34.2, 74]


def hours(*vitals: list[float], per_hour: int = 4, start: int = START):
    """Rows of one patient: so many an hour, one hour for each entry."""
    at = start + np.arange(len(vitals) * per_hour) * (HOUR_S // per_hour)
    return at, np.repeat(np.array(vitals), per_hour, axis=0)


def run(at, values, cuts=(), records=None, age=80.0):
    records = warning.blank() if records is None else records
    found = []
    for piece in np.split(np.arange(at.size), list(cuts)):
        who = np.zeros(piece.size, dtype=np.int64)
        found += warning.update(records, who, at[piece], values[piece], np.array([age]), np.array([0.0]))
    return records, [f for _, f in found]


def test_the_state_fits_its_share():
    assert warning.STATE.itemsize <= 700


def test_a_person_who_turns_ill_is_found_within_hours_and_it_ends_with_recovery():
    at, values = hours(*[QUIET] * 72, *[ILL] * 8, *[QUIET] * 400)
    _, found = run(at, values)
    assert [f.ended for f in found] == [False, True]
    assert found[0].at_us / 1e6 - (START + 72 * HOUR_S) <= 4 * HOUR_S
    assert found[0].code == "deterioration_likely" and found[0].llr >= warning.ARM_LLR
    assert found[0].params["vital"] in warning.CHANNELS and "usual" in found[0].params


def test_a_quiet_month_with_ordinary_variation_says_nothing():
    rng = np.random.default_rng(3)
    day = np.arange(720)
    wave = 6 * np.sin(2 * np.pi * day / 24)
    values = np.array(QUIET) + rng.normal(0, [5, 0.8, 1.5, 0.2, 9], (720, 5))
    values[:, 0] += wave
    at = START + day * HOUR_S
    assert run(at, values)[1] == []


def test_one_bad_hour_alone_says_nothing():
    at, values = hours(*[QUIET] * 72, ILL, *[QUIET] * 12)
    assert run(at, values)[1] == []


def test_the_same_readings_in_other_uploads_give_the_same_findings_and_state():
    rng = np.random.default_rng(1)
    at, values = hours(*[QUIET] * 60, *[ILL] * 12, *[QUIET] * 90, per_hour=6)
    values = values + rng.normal(0, [4, 1, 2, 0.2, 8], values.shape)
    values[rng.random(values.shape) < 0.4] = np.nan
    whole, found = run(at, values)
    split, again = run(at, values, cuts=np.unique(rng.integers(1, at.size, 70)))
    assert found == again and found
    assert whole.tobytes() == split.tobytes()


def test_patients_in_one_group_are_judged_as_if_alone():
    a, b = hours(*[QUIET] * 40, *[ILL] * 6), hours(*[ILL] * 3, *[QUIET] * 20)
    group = warning.blank(2)
    who = np.repeat([0, 1], [a[0].size, b[0].size])
    ages, sexes = np.array([80.0, 80.0]), np.array([0.0, 0.0])
    found = warning.update(group, who, np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]), ages, sexes)
    alone = run(*a)[1]
    assert [f for p, f in found if p == 0] == alone and alone
    assert group[:1].tobytes() == run(*a)[0].tobytes()


def test_a_missing_vital_is_not_a_normal_one():
    at, values = hours(*[QUIET] * 24)
    known, _ = run(at, values)
    values = values.copy()
    values[:, 2] = np.nan
    unknown, _ = run(at, values)
    now = at[-1]
    a, b = warning.score(known, now, 80, 0), warning.score(unknown, now, 80, 0)
    never = warning_model.shipped("vitals").never[2] - warning_model.shipped("vitals").usual[2]
    assert b.terms[0, 2] == pytest.approx(never, abs=1e-9) and a.terms[0, 2] != b.terms[0, 2]
    assert np.isinf(b.age_s[0, 2]) and np.isnan(b.value[0, 2])


def test_an_old_value_fades():
    at, values = hours(*[ILL] * 12)
    records, _ = run(at, values)
    fresh, old = (
        warning_model.features(records, at[-1], 80, 0),
        warning_model.features(records, at[-1] + 172_800, 80, 0),
    )
    assert (old.weight[0, :5] < fresh.weight[0, :5] * 0.2).all()
    assert old.bands.sum() < fresh.bands.sum()


def test_what_is_fitted_is_what_is_scored():
    at, values = hours(*[QUIET] * 5, *[ILL] * 5)
    records, _ = run(at, values)
    warning_model.fold(records)
    rng = np.random.default_rng(0)
    found = warning_model.features(records, at[-1] + 900, np.array([71.0]), np.array([np.nan]))
    table = warning_model.design(found)
    flat = rng.normal(size=table.shape[1])
    model = warning_model.Coefficients.of(flat, np.zeros(8))
    assert model.intercept + warning_model.terms(found, model).sum() == pytest.approx((table @ flat)[0])


def test_more_illness_scores_more_and_its_terms_add_up():
    well, _ = run(*hours(*[QUIET] * 24))
    ill, _ = run(*hours(*[QUIET] * 12, *[ILL] * 12))
    now = START + 24 * HOUR_S
    a, b = warning.score(well, now, 80, 0), warning.score(ill, now, 80, 0)
    assert b.log_odds[0] > a.log_odds[0] + 1
    assert b.probability[0] == pytest.approx(1 / (1 + np.exp(-b.log_odds[0])))
    assert len(b.top(0)) == 3


def test_lost_consciousness_raises_the_score():
    at, values = hours(*[QUIET] * 24)
    awake = np.column_stack([values, np.full(at.size, warning.COMA_SCORE["A"])])
    asleep = np.column_stack([values, np.full(at.size, warning.COMA_SCORE["U"])])
    now = at[-1]
    scores = [warning.score(run(at, v)[0], now, 80, 1).log_odds[0] for v in (awake, asleep)]
    assert scores[1] > scores[0] + 1


def test_learning_slows_while_suspicion_is_up():
    base, _ = run(*hours(*[QUIET] * 100))
    start = START + 100 * HOUR_S
    after, _ = run(*hours(*[ILL] * 10, start=start), records=base.copy())
    moved = float((after["own_mean"] - base["own_mean"]).sum())
    risen = float(
        (warning.score(after, start + 10 * HOUR_S, 80, 0).terms - warning.score(base, start, 80, 0).terms).sum()
    )
    assert 0 < moved < 0.06 * risen


def test_late_rows_of_a_closed_hour_are_passed_over():
    at, values = hours(*[QUIET] * 10)
    records, _ = run(at, values)
    kept = records.copy()
    assert run(at[:8], values[:8] + 40, records=records)[1] == [] and records.tobytes() == kept.tobytes()


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300])
def test_garbage_changes_nothing(garbage):
    records = warning.blank()
    assert run(START + np.arange(5), np.full((5, 5), garbage), records=records)[1] == []
    assert records.tobytes() == warning.blank().tobytes()
    assert np.isfinite(warning.score(records, START, np.nan, np.nan).log_odds).all()


def test_no_rows_at_all_are_fine():
    assert run(np.zeros(0, dtype=np.int64), np.zeros((0, 5)))[1] == []


def test_the_shipped_model_ranks_recorded_stays(tmp_path):
    cinc2012 = pytest.importorskip("service.tools.evaluation.cinc2012")
    if cinc2012.missing(DATA):
        pytest.skip(f"data not present: {cinc2012.missing(DATA)}")
    folder = DATA / "cinc2012"
    (tmp_path / "cinc2012").mkdir()
    with lzma.open(sorted(folder.glob("set-*.csv.xz"))[0], "rt") as f:
        (tmp_path / "cinc2012/set-x.csv").write_text(f.read(8_000_000))
    (tmp_path / "cinc2012/Outcomes-x.txt").write_text(sorted(folder.glob("Outcomes-*.txt"))[0].read_text())
    stays = cinc2012.load(tmp_path)
    records = cinc2012.states(stays, cinc2012.keep(stays, 0.5, 5))
    log_odds = warning.score(records, cinc2012.END_S, stays.age, stays.sex).log_odds
    assert cinc2012.auroc(log_odds, stays.died) > 0.75
