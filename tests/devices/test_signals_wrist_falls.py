"""Falls at the wrist: the two gates, what no device may give away, and staged falls against hours of wear."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.models import load
from devices.signals import wrist_falls
from devices.signals.impacts import impacts, magnitude
from service.tools.evaluation import wrist_training as training

DATA = Path(__file__).parents[2] / "../shared/data"
HIT = 400


def staged(turn_deg=80.0, settle_g=0.03, peak_g=3.5, seconds=16, seed=1):
    """Standing, 0.4 s of dropping, two hits, then lying turned by so much: (n, 3) in g at 50 Hz."""
    rng = np.random.default_rng(seed)
    turn = np.radians(turn_deg)
    signal = np.tile([0.0, 0.0, 1.0], (seconds * 50, 1))
    signal[:HIT] += rng.normal(0, 0.08, (HIT, 3))
    signal[HIT:] = [np.sin(turn), 0.0, np.cos(turn)]
    signal[HIT:] += rng.normal(0, settle_g * 1.73, signal[HIT:].shape)
    signal[HIT - 25 : HIT - 4] = [0.1, 0.2, 0.25]
    signal[HIT - 4 : HIT + 5] = [peak_g * 0.6, peak_g * 0.5, peak_g * 0.6]
    signal[HIT + 8 : HIT + 12] = [1.4, -1.2, 0.6]
    return signal


def likely(signal):
    return float(wrist_falls.probability(wrist_falls.features(signal, HIT)[None])[0])


def test_a_drop_with_a_hit_and_another_posture_asks_the_wearer() -> None:
    assert likely(staged()) > 0.05


def test_a_wrist_that_comes_back_to_its_place_has_made_a_gesture() -> None:
    assert wrist_falls.features(staged(turn_deg=10), HIT)[-2] < 20
    assert likely(staged(turn_deg=10)) == 0.0


def test_a_watch_that_lies_dead_still_at_once_was_put_on_a_table() -> None:
    assert likely(staged(settle_g=0.0)) == 0.0


def test_a_body_that_hardly_moves_after_a_fall_is_still_a_fall() -> None:
    row = wrist_falls.features(staged(settle_g=0.015), HIT)
    assert 0.006 < row[-1] < 0.04
    assert likely(staged(settle_g=0.015)) > 0.0


def test_a_sensor_of_two_g_and_one_of_sixteen_say_the_same() -> None:
    wide = staged(peak_g=12.0)
    np.testing.assert_array_equal(wrist_falls.features(wide, HIT), wrist_falls.features(np.clip(wide, -2.0, 2.0), HIT))


def test_the_noise_of_a_sensor_does_not_tell_which_one_it_is() -> None:
    quiet, noisy = staged(), staged()
    rng = np.random.default_rng(2)
    quiet[:300], noisy[:300] = [0.0, 0.0, 1.0], rng.normal([0.0, 0.0, 1.0], 0.004, (300, 3))
    away = np.abs(wrist_falls.features(quiet, HIT) - wrist_falls.features(noisy, HIT))
    assert away.max() < 0.35


def test_how_the_watch_is_turned_on_the_wrist_does_not_matter() -> None:
    soft = staged(peak_g=1.5)
    soft[HIT + 8 : HIT + 12] = [0.7, -0.6, 0.6]
    turned = soft[:, [1, 2, 0]] * [-1.0, 1.0, -1.0]
    np.testing.assert_allclose(wrist_falls.features(soft, HIT), wrist_falls.features(turned, HIT), atol=1e-6)


def test_many_impacts_at_once_give_what_each_gives_alone() -> None:
    signal = np.concatenate([staged(seed=k) for k in range(4)])
    found = impacts(magnitude(signal), wrist_falls.IMPACT_G)
    together = wrist_falls.described(wrist_falls.windows(signal, found))
    alone = np.array([wrist_falls.features(signal, int(i)) for i in found])
    np.testing.assert_allclose(together, alone, atol=1e-9)


def test_the_hit_is_found_although_the_index_is_a_fifth_of_a_second_off() -> None:
    signal = staged()
    np.testing.assert_allclose(wrist_falls.features(signal, HIT - 10), wrist_falls.features(signal, HIT), atol=1e-6)


def test_more_than_three_and_a_half_seconds_away_nothing_changes_a_judgement() -> None:
    near, far = staged(), staged()
    far[: HIT - 168 - 1] = 5.0
    far[HIT + 168 + 1 :] = -5.0
    np.testing.assert_array_equal(wrist_falls.features(near, HIT), wrist_falls.features(far, HIT))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(0, 59), st.sampled_from([0.0, 1e-9, 1.0, 150.0]), st.integers(0, 2**31),
)  # fmt: skip
def test_any_short_recording_gives_finite_numbers(n, index, scale, seed) -> None:
    signal = np.random.default_rng(seed).normal(0, 1, (n, 3)) * scale
    row = wrist_falls.features(signal, min(index, n - 1))
    assert np.isfinite(row).all()
    assert 0 <= wrist_falls.probability(row[None])[0] <= 1


def test_no_impact_is_no_row() -> None:
    rows = wrist_falls.described(wrist_falls.windows(staged(), np.empty(0, np.int64)))
    assert rows.shape == (0, wrist_falls.features(staged(), HIT).size)
    assert wrist_falls.probability(rows).size == 0


def test_the_shipped_threshold_lies_high_and_its_networks_fit_the_features() -> None:
    model = load(wrist_falls.MODEL)
    assert 0.8 < wrist_falls.prompt_threshold() < 1.0
    assert model.array("mean").size == wrist_falls.features(staged(), HIT).size - 2
    assert {"weda_fall", "exam_stress"} == {one["name"] for one in model.card["sets"]}


def test_a_score_is_the_mean_log_odds_of_the_networks_by_hand() -> None:
    """One feature, two networks: tanh(0) * 2 + 1 * 1 + 0 = 1 and 0 + 2 * 1 + 1 = 3, so log-odds 2."""
    net = {
        "mean": np.zeros(1), "scale": np.ones(1), "hidden": np.zeros((2, 1, 1)), "hidden_bias": np.zeros((2, 1)),
        "out": np.full((2, 1), 2.0), "direct": np.array([[1.0], [2.0]]), "bias": np.array([0.0, 1.0]),
    }  # fmt: skip
    rows = np.array([[1.0, 90.0, 0.05], [1.0, 19.0, 0.05], [1.0, 90.0, 0.005]])
    np.testing.assert_allclose(wrist_falls.score(net, rows), [1 / (1 + np.exp(-2.0)), 0.0, 0.0])


@pytest.mark.skipif(not (DATA / "weda_fall_accel.npz").is_file(), reason="data not present: weda_fall")
def test_staged_falls_are_found_and_an_hour_of_wear_brings_no_question() -> None:
    trials = [one for one in training.weda(DATA) if one.subject in ("weda-U03", "weda-U22")]
    seen = training.looks(trials)
    asked = wrist_falls.probability(seen.rows) >= wrist_falls.prompt_threshold()
    found = np.unique(seen.recording[asked & seen.inside]).size
    assert found >= 0.8 * sum(one.kind == "fall" for one in trials)
    assert not any(trials[i].elder for i in seen.recording[asked])
    session = next(training.wear(DATA), None)
    if session is None:
        pytest.skip("data not present: exam_stress")
    rows = training.looks([session]).rows
    assert not (wrist_falls.probability(rows) >= wrist_falls.prompt_threshold()).any()
