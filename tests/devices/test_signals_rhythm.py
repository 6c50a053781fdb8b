"""Rhythm from beat intervals."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from devices.models import load
from devices.signals import rhythm
from devices.signals.rhythm_features import FEATURES, Classifier, features, log_odds, mended
from devices.signals.rhythm_walk import Rhythm
from devices.signals.rhythm_windows import merge_double

DATA = Path(__file__).parents[2] / "../shared/data"
START = 1_700_000_000_000_000


def sinus(beats, mean=900.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.rint(mean + 25 * np.sin(np.arange(beats) * 1.3) + 8 * rng.standard_normal(beats))


def fibrillation(beats, mean=640.0, seed=1):
    return np.rint(np.clip(mean + 130 * np.random.default_rng(seed).standard_normal(beats), 320, 1400))


def feed(rr, cuts=(), records=None, start=START, limits=None):
    """Hand one person's beats over in parts."""
    records = rhythm.blank() if records is None else records
    rr = np.asarray(rr, dtype=np.float64)
    ends = start + 1000 * np.concatenate([[0], np.cumsum(np.nan_to_num(rr))]).astype(np.int64)
    found = []
    edges = [0, *sorted(cuts), rr.size]
    for a, b in pairwise(edges):
        zero = np.zeros(1, dtype=np.int64)
        found += rhythm.update(records, zero, ends[a : a + 1], rr[a:b], zero, limits=limits)[0]
    return records, found


def told(found):
    return [(one.code, one.ended) for one in found]


def test_state_fits_its_share_of_eight_kilobytes():
    assert rhythm.STATE.itemsize <= 600


def test_fibrillation_begins_within_45_seconds_and_ends_after_it():
    rr = np.concatenate([sinus(300), fibrillation(300), sinus(300)])
    _, found = feed(rr)
    assert told(found) == [("atrial_fibrillation", False), ("atrial_fibrillation", True)]
    onset = START + 1000 * int(rr[:300].sum())
    assert 0 < found[0].at_us - onset < 45e6
    assert abs(found[0].onset_us - onset) < 15e6
    assert found[0].llr > 2
    assert found[0].params["share"] > 0.8


def test_steady_sinus_rhythm_with_breathing_says_nothing():
    assert feed(sinus(3000))[1] == []


@pytest.mark.parametrize("pair", [(560.0, 1040.0), (600.0, 1000.0), (700.0, 1100.0), (800.0, 1100.0)])
def test_bigeminy_is_not_taken_for_fibrillation(pair):
    pairs = np.tile(pair, 300) + 6 * np.random.default_rng(2).standard_normal(600)
    assert "atrial_fibrillation" not in [one.code for one in feed(pairs)[1]]


def test_single_premature_beats_with_pauses_are_not_fibrillation():
    rr = sinus(800)
    rr[10::11] -= 300
    rr[11::11] += 300
    assert feed(rr)[1] == []


def test_any_division_of_the_same_beats_gives_the_same_findings_and_state():
    rr = np.concatenate([sinus(203), fibrillation(300), sinus(100), [4100.0], sinus(50), np.full(60, 1600.0)])
    rr[[40, 333]] = [120.0, np.nan]
    whole, found = feed(rr)
    rng = np.random.default_rng(3)
    assert len(found) >= 4
    for parts in (1, 5, 40, rr.size - 2):
        cuts = (rng.choice(rr.size - 1, parts, replace=False) + 1).tolist()
        state, again = feed(rr, cuts)
        assert again == found
        assert state.tobytes() == whole.tobytes()


def test_a_group_gives_each_patient_what_he_would_get_alone():
    runs = [sinus(250), fibrillation(331), np.full(77, 1700.0), np.full(300, 400.0)]
    size = np.array([one.size for one in runs])
    records = rhythm.blank(4)
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    together = rhythm.update(records, np.arange(4), np.full(4, START), np.concatenate(runs), first)
    for i, run in enumerate(runs):
        state, alone = feed(run)
        assert together[i] == alone
        assert records[i : i + 1].tobytes() == state.tobytes()
    assert [one.code for own in together for one in own] == ["atrial_fibrillation", "bradycardia", "tachycardia"]


def test_a_window_across_a_gap_is_not_judged():
    """Thirty beats of fibrillation between gaps never fill a window."""
    records, found = rhythm.blank(), []
    for k in range(40):
        found += feed(fibrillation(30, seed=k), records=records, start=START + k * 60_000_000)[1]
    assert found == []
    records, found = rhythm.blank(), []
    for k in range(40):
        records, new = feed(np.append(fibrillation(30, seed=k), np.nan), records=records, start=START + k * 20_000_000)
        found += new
    assert "atrial_fibrillation" not in [one.code for one in found]


def test_evidence_is_forgotten_over_a_long_gap_but_a_sign_that_holds_is_not():
    model = rhythm.shipped()
    records, found = feed(fibrillation(50))
    assert found == [] and records["lane"]["walk"]["sum"][0, 0] > 0
    feed(sinus(40), records=records, start=START + 600_000_000)
    assert records["lane"]["walk"]["sum"][0, 0] == 0
    records, found = feed(fibrillation(400))
    assert told(found) == [("atrial_fibrillation", False)]
    records, found = feed(fibrillation(60), records=records, start=START + 3_600_000_000)
    assert found == [] and records["lane"]["walk"]["sum"][0, 0] >= model.arm * 256


def test_forgotten_evidence_does_not_add_up_across_gaps():
    records, found = rhythm.blank(), []
    for k in range(20):
        found += feed(fibrillation(48, seed=k), records=records, start=START + k * 600_000_000)[1]
    assert found == []


def test_a_backlog_does_not_touch_the_present():
    present, _ = feed(sinus(200), start=START + 3_600_000_000)
    before = present["lane"][:, 0].tobytes()
    _, found = feed(fibrillation(200), records=present)
    assert present["lane"][:, 0].tobytes() == before
    assert told(found) == [("atrial_fibrillation", False)]
    assert found[0].params["backlog"] is True


def test_an_older_backlog_starts_anew_and_harms_nothing():
    records, _ = feed(sinus(100), start=START + 7_200_000_000)
    feed(sinus(100), records=records, start=START + 3_600_000_000)
    _, found = feed(fibrillation(200), records=records)
    assert told(found) == [("atrial_fibrillation", False)]


def test_slow_and_fast_hearts_are_told_once_and_end():
    rr = np.concatenate([sinus(80), np.full(60, 1600.0), sinus(80), np.full(300, 430.0), sinus(150)])
    _, found = feed(rr)
    assert told(found) == [
        ("bradycardia", False),
        ("bradycardia", True),
        ("tachycardia", False),
        ("tachycardia", True),
    ]
    assert found[0].params["value"] == 37.5
    assert found[0].params["duration_s"] >= 30


def test_a_short_burst_of_fast_beats_is_not_sustained():
    assert feed(np.concatenate([sinus(80), np.full(100, 430.0), sinus(80)]))[1] == []


def test_limits_of_the_person_replace_the_common_ones():
    rr = np.concatenate([sinus(40), np.full(80, 1250.0)])
    assert feed(rr)[1] == []
    _, found = feed(rr, limits=(np.array([50.0]), np.array([120.0])))
    assert told(found) == [("bradycardia", False)]


@pytest.mark.parametrize("interval", [3000.0, 4130.0, 9000.0])
def test_a_pause_between_steady_beats_is_told(interval):
    rr = np.concatenate([sinus(40), [interval], sinus(40)])
    _, found = feed(rr)
    assert told(found) == [("pause", False)]
    assert found[0].params["value"] == interval / 1000
    assert found[0].llr > 1


def test_an_interval_below_three_seconds_is_no_pause():
    assert feed(np.concatenate([sinus(40), [2990.0], sinus(40)]))[1] == []


def test_a_long_interval_amid_noise_is_no_pause():
    rng = np.random.default_rng(4)
    noise = rng.uniform(250, 2500, 20)
    assert "pause" not in [one.code for one in feed(np.concatenate([sinus(40), noise, [3900.0], noise, sinus(40)]))[1]]


def test_an_interval_like_asystole_is_doubted_but_never_suppressed():
    noise = np.random.default_rng(5).uniform(250, 2500, 20)
    _, found = feed(np.concatenate([sinus(40), noise, [15_000.0], noise]))
    assert [(one.code, one.llr <= 1) for one in found if one.code == "pause"] == [("pause", True)]
    _, found = feed(np.concatenate([sinus(40), [15_000.0], sinus(40)]))
    assert told(found) == [("pause", False)]
    assert 0 < found[0].llr <= 1


def test_an_interval_of_whole_beats_weighs_less_because_beats_may_be_missing():
    steady = np.full(40, 1000.0)
    missed = feed(np.concatenate([steady, [4000.0], steady]))[1][0].llr
    true = feed(np.concatenate([steady, [4500.0], steady]))[1][0].llr
    assert 0 < missed < true


def test_pauses_in_a_row_are_one_sign_that_ends_hours_later():
    part = np.concatenate([np.full(30, 1000.0), [3500.0]])
    _, found = feed(np.concatenate([*[part] * 5, np.full(22_000, 1000.0)]))
    assert told(found) == [("pause", False), ("pause", True)]


def test_a_detection_too_soon_is_added_to_the_next_interval():
    joined, kept, pending = merge_double(np.array([800.0, 100.0, 700.0, 150.0]))
    assert joined[kept].tolist() == [800.0, 800.0]
    assert pending == 150.0
    joined, kept, pending = merge_double(np.array([650.0]), pending)
    assert joined[kept].tolist() == [800.0]


def test_double_detections_alone_raise_nothing():
    rr = sinus(600)
    split = np.sort(np.random.default_rng(6).choice(np.arange(1, 600), 30, replace=False))
    split = split[np.append(True, np.diff(split) > 1)]
    rr[split] -= 110
    assert feed(np.insert(rr, split, 110.0))[1] == []


def test_garbage_never_raises():
    rng = np.random.default_rng(7)
    strange = [np.nan, np.inf, -np.inf, -5.0, 0.0, 1e300, 199.0, 200.0, 2999.6, 3000.0, 59_999.0, 60_000.0]
    for seed in range(60):
        n = int(rng.integers(0, 80))
        rr = np.where(rng.random(n) < 0.4, rng.choice(strange, n), rng.uniform(100, 2000, n))
        records = rhythm.blank()
        for start in rng.integers(-(2**40), 2**51, 5).tolist():
            zero = np.zeros(1, dtype=np.int64)
            rhythm.update(records, zero, np.array([start]), rr, zero)
        assert seed >= 0


def test_nothing_new_changes_nothing():
    records, _ = feed(fibrillation(100))
    before = records.tobytes()
    empty = np.zeros(0, dtype=np.int64)
    assert rhythm.update(records, empty, empty, np.zeros(0), empty) == [[]]
    assert records.tobytes() == before


def test_features_of_a_regular_rhythm_by_hand():
    found = dict(zip(FEATURES, features(np.full((1, 32), 1000.0))[0].tolist(), strict=True))
    assert found["interval"] == pytest.approx(np.log(1000))
    assert found["step_q50"] == pytest.approx(np.log(0.012))
    assert found["turning"] == 0
    assert found["density"] == pytest.approx(np.log((31 * 32 + 2) / (31 * 32)))
    assert found["sample_entropy"] == pytest.approx(np.log((31 * 31 - 31 + 2) / (31 * 31 - 31 + 2)))


def test_log_odds_are_the_quadratic_form_of_the_card():
    model = Classifier(np.zeros(12), np.ones(12), 0.5, np.zeros(12), np.zeros(78))
    assert log_odds(fibrillation(32)[None], model).tolist() == [0.5]
    with pytest.raises(ValueError, match="shape"):
        log_odds(np.zeros((1, 31)), model)


def test_shipped_model_has_its_rule_and_names_its_people():
    model = load("af")
    rule = Rhythm.of(model.parameters)
    assert 0 < rule.clear < rule.arm < rule.most
    assert model.card["subjects"] and model.card["limits"]


def test_recorded_fibrillation_is_found_and_a_recorded_healthy_day_is_quiet():
    if not (DATA / "afdb_rr.npz").is_file():
        pytest.skip("data not present: afdb_rr.npz")
    with np.load(DATA / "afdb_rr.npz") as file:
        key = sorted(k for k in file.files if k.endswith("_rr"))[2]
        found = feed(file[key][:12_000] * 1000.0, cuts=range(500, 12_000, 500))[1]
        hours = float(file[key][:12_000].sum()) / 3600
        labelled = (file[key[:-3] + "_rhythm"][:12_000].astype("S1") == b"B").any()
    begun = [one for one in found if one.code == "atrial_fibrillation" and not one.ended]
    assert bool(begun) == labelled and len(begun) < 3 * hours + 1
    day = next(iter(sorted(DATA.glob("rr24h*.npz"))), None)
    if day is None:
        pytest.skip("data not present: rr24h")
    with np.load(day) as file:
        rr = file["nsr001"][:20_000] * 1000.0
    assert "atrial_fibrillation" not in [one.code for one in feed(rr, cuts=range(2000, 20_000, 2000))[1]]


def test_an_older_backlog_forgets_the_one_before_it():
    records, _ = feed(sinus(100), start=START + 7_200_000_000)
    feed(fibrillation(50), records=records, start=START + 3_600_000_000)
    assert records["lane"]["walk"]["sum"][0, 1] > 0
    feed(sinus(40), records=records)
    assert records["lane"]["walk"]["sum"][0, 1] == 0


def test_a_premature_beat_and_its_pause_are_levelled():
    rr = np.full((1, 32), 1000.0)
    rr[0, [10, 20]], rr[0, [11, 21]] = 700.0, 1300.0
    found = dict(zip(FEATURES, features(rr)[0].tolist(), strict=True))
    assert found["step_q90"] > np.log(0.25)
    assert found["paired_q75"] == pytest.approx(np.log(0.012))
    rr[0, 0:30:2], rr[0, 1:30:2] = 700.0, 1300.0
    found = dict(zip(FEATURES, features(rr)[0].tolist(), strict=True))
    assert found["paired_q75"] == pytest.approx(np.log(0.012))


def test_an_unsteady_rhythm_before_a_long_interval_makes_it_no_pause():
    rough = np.tile([500.0, 1500.0, 900.0], 6)
    assert feed(np.concatenate([np.full(40, 1000.0), rough, [3900.0], np.full(40, 1000.0)]))[1] == []


def test_an_unsteady_rhythm_after_a_long_interval_makes_it_no_pause():
    rough = np.tile([500.0, 1500.0, 900.0], 6)
    assert feed(np.concatenate([np.full(40, 1000.0), [3900.0], rough, np.full(40, 1000.0)]))[1] == []


def test_beats_missed_and_added_are_told_from_irregular_ones():
    eights = np.array([
        [800.0, 810, 790, 800, 805, 795, 800, 800],
        [800.0, 810, 790, 1600, 805, 795, 800, 800],
        [800.0, 810, 300, 500, 805, 795, 800, 800],
        [800.0, 500, 1100, 800, 805, 795, 800, 800],
        [1000.0, 1000, 1000, 1000, 1000, 890, 210, 2500],
        [610.0, 900, 480, 1010, 720, 560, 1240, 700],
    ])  # fmt: skip
    assert mended(eights, np.median(eights, axis=1)).tolist() == [1, 2, 2, 0, 0, 0]


def lossy(rr, every=31):
    """The same beats through a sensor that misses some."""
    ends = np.cumsum(rr)
    return np.diff(np.delete(ends, np.arange(5, ends.size, every)), prepend=0.0)


def test_a_signal_that_loses_beats_needs_more_evidence_for_fibrillation():
    quiet, rough = sinus(1200), lossy(sinus(1200))
    assert feed(rough)[1] == []
    share = feed(rough)[0]["lane"]["walk"]["rough"][0, 0] / 65_536
    assert share > 0.1 and feed(quiet)[0]["lane"]["walk"]["rough"][0, 0] == 0
    told_at = []
    for before in (quiet, rough):
        _, found = feed(np.concatenate([before, fibrillation(300)]))
        assert told(found)[:1] == [("atrial_fibrillation", False)]
        told_at.append(found[0].at_us - START - 1000 * int(before.sum()))
    assert 10e6 < told_at[1] - told_at[0] < 60e6


def test_fibrillation_itself_is_not_taken_for_a_signal_that_loses_beats():
    records, _ = feed(fibrillation(20_000, mean=700.0))
    assert records["lane"]["walk"]["rough"][0, 0] / 65_536 < 0.05
