"""The common ground of fall detection: units, rates, impacts, windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.signals.impacts import (
    TO_G,
    between,
    impacts,
    magnitude,
    posture_change_deg,
    smoothed,
    still_share,
    to_g,
    unrest_g,
)


def standing(n: int) -> np.ndarray:
    return np.tile([0.0, 0.0, 1.0], (n, 1))


@pytest.mark.parametrize("unit", sorted(TO_G))
def test_every_unit_means_the_same_one_g(unit: str) -> None:
    assert to_g(standing(100) / TO_G[unit], 50, unit) == pytest.approx(standing(100))


@pytest.mark.parametrize("rate", [20.0, 25.0, 31.25, 33.3, 50.0, 62.5, 64.0, 100.0, 104.0, 200.0, 400.0])
def test_any_rate_becomes_fifty_hertz_and_a_resting_body_stays_at_one_g(rate: float) -> None:
    signal = to_g(standing(int(10 * rate)), rate, "g")
    assert abs(len(signal) - 500) <= 2
    assert signal == pytest.approx(standing(len(signal)), abs=2e-3)


@pytest.mark.parametrize(
    ("channels", "rate", "unit"),
    [
        (np.ones((10, 2)), 50, "g"),
        (np.ones(30), 50, "g"),
        (standing(10), 5, "g"),
        (standing(10), float("nan"), "g"),
        (standing(10), 1000, "g"),
        (standing(10), 50, "raw"),
    ],
)
def test_an_error_of_the_caller_is_said(channels: np.ndarray, rate: float, unit: str) -> None:
    with pytest.raises(ValueError, match="must"):
        to_g(channels, rate, unit)


def test_data_in_another_unit_than_they_say_yield_nothing() -> None:
    assert len(to_g(standing(100) * 9.8, 50, "g")) == 0
    assert len(to_g(standing(100) * 0.0, 50, "g")) == 0


def test_a_few_missing_samples_are_interpolated_and_many_yield_nothing() -> None:
    signal = standing(100)
    signal[10:20] = np.nan
    assert to_g(signal, 50, "g") == pytest.approx(standing(100))
    signal[10:40] = np.nan
    assert len(to_g(signal, 50, "g")) == 0


def test_of_two_peaks_close_together_the_higher_stays_and_of_two_alike_the_first() -> None:
    size = np.ones(200)
    size[[50, 60, 120, 130]] = 3.0, 4.0, 2.0, 2.0
    assert impacts(size, 1.5, 0.5).tolist() == [60, 120]
    assert impacts(size, 1.5, 0.1).tolist() == [50, 60, 120, 130]
    assert impacts(size, 4.5).tolist() == []


def test_a_clipped_impact_counts_once() -> None:
    size = np.ones(100)
    size[40:44] = 8.0
    assert impacts(size, 2.0).tolist() == [40]


@given(st.lists(st.floats(0, 8), min_size=0, max_size=300), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_a_cut_changes_no_impact_that_lies_away_from_it(values: list[float], cut: int) -> None:
    size = np.array(values)
    whole = [i for i in impacts(size, 1.5).tolist() if i < cut - 26]
    assert [i for i in impacts(size[:cut], 1.5).tolist() if i < cut - 26] == whole


def test_windows_at_the_ends_of_a_recording_hold_something() -> None:
    signal = np.arange(300.0).reshape(100, 3)
    assert len(between(signal, 0, -3, -1)) == 5
    assert len(between(signal, 99, 1, 3)) == 5
    assert between(signal, 50, -0.2, 0.2).tolist() == signal[40:60].tolist()


def test_a_quarter_turn_is_ninety_degrees_however_the_sensor_is_mounted() -> None:
    signal = np.concatenate([standing(200), np.tile([1.0, 0.0, 0.0], (200, 1))])
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    for mounted in (signal, signal @ turn):
        assert posture_change_deg(mounted, 200, (-3, -1), (1, 3)) == pytest.approx(90)


def test_unrest_sees_turning_and_shaking_and_not_gravity() -> None:
    assert unrest_g(standing(50)) == 0
    shaking = standing(50)
    shaking[::2, 0] = 0.2
    assert unrest_g(shaking) == pytest.approx(0.1)
    assert still_share(np.concatenate([standing(50), shaking]), 0.05) == 0.5
    assert np.isnan(still_share(standing(10), 0.05))


def test_the_running_mean_keeps_length_and_holds_the_edges() -> None:
    assert smoothed(np.array([0.0, 3.0, 0.0, 3.0]), 3) == pytest.approx([1.0, 1.0, 2.0, 2.0])
    assert smoothed(np.ones(2), 3).tolist() == [1.0, 1.0]
    assert magnitude(np.array([[3.0, 4.0, 0.0]])).tolist() == [5.0]
