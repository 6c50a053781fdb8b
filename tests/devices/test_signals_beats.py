from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.signals.beats import Kind, checked_rate, find_beats, prepare

DATA = Path(__file__).parents[2] / "../shared/data/cinc2015"


def ecg(at_s, length_s, rate_hz, noise=0.02, seed=1, twave=0.25):
    """An ECG with a QRS of 1 mV and a T wave at each time."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    out = np.random.default_rng(seed).normal(0, noise, t.size)
    for a in at_s:
        out += np.exp(-((t - a) ** 2) / (2 * 0.012**2)) - 0.3 * np.exp(-((t - a - 0.035) ** 2) / (2 * 0.012**2))
        out += twave * np.exp(-((t - a - 0.28) ** 2) / (2 * 0.05**2))
    return out


def pulse(at_s, length_s, rate_hz, noise=0.005, seed=2):
    """A pulse wave: steep rise, slow fall, dicrotic wave."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    out = np.random.default_rng(seed).normal(0, noise, t.size)
    for a in at_s:
        out += np.exp(-((t - a - 0.12) ** 2) / (2 * 0.06**2)) + 0.3 * np.exp(-((t - a - 0.40) ** 2) / (2 * 0.09**2))
    return out


def times(rr_s, length_s):
    at = 0.6 + np.cumsum(np.concatenate(([0.0], np.resize(rr_s, round(length_s / np.min(rr_s))))))
    return at[at < length_s - 0.6]


@pytest.mark.parametrize("rate_hz", [100, 128, 200, 250, 333.3, 512, 1000])
def test_every_beat_of_an_ecg_is_found_within_20_ms_at_any_rate(rate_hz):
    at = times([0.8, 0.9, 0.75, 0.82], 40)
    found = find_beats(ecg(at, 40, rate_hz), rate_hz, "ecg")
    assert found.at_s.size == at.size
    assert np.abs(found.at_s - at).max() < 0.02
    assert found.confidence.min() > 0.5


@pytest.mark.parametrize("rate_hz", [25, 50, 64, 125, 250])
def test_pulse_intervals_are_right_at_the_rates_of_wearables(rate_hz):
    at = times([0.9, 0.86, 0.95], 40)
    found = find_beats(pulse(at, 40, rate_hz), rate_hz, "ppg")
    assert found.at_s.size == at.size
    assert np.abs(np.diff(found.at_s) - np.diff(at)).max() < 0.02


def test_polarity_and_unit_of_an_ecg_do_not_matter():
    at = times([0.8, 0.9], 30)
    signal = ecg(at, 30, 250)
    there = find_beats(signal, 250, "ecg").at_s
    assert np.allclose(find_beats(-3_000 * signal + 12_345, 250, "ecg").at_s, there, atol=0.004)


def test_a_pause_stays_a_pause():
    at = np.concatenate((np.arange(1, 20, 0.8), np.arange(27, 40, 0.8)))
    found = find_beats(ecg(at, 41, 250), 250, "ecg").at_s
    assert not ((found > 20.6) & (found < 26.5)).any()
    assert found.size == at.size


def test_a_low_beat_in_a_long_gap_is_found():
    at = np.arange(1, 40, 0.8)
    signal = ecg(at, 41, 250, twave=0.0)
    low = np.abs(np.arange(signal.size) / 250 - at[20]) < 0.1
    signal[low] *= 0.32
    found = find_beats(signal, 250, "ecg").at_s
    assert np.abs(found - at[20]).min() < 0.03


def test_a_high_t_wave_is_not_a_beat():
    at = np.arange(1, 40, 1.0)
    t = np.arange(41 * 250) / 250
    signal = ecg(at, 41, 250, twave=0)
    for a in at:
        signal += 0.55 * np.exp(-((t - a - 0.28) ** 2) / (2 * 0.022**2))
    assert find_beats(signal, 250, "ecg").at_s.size == at.size


def test_one_enormous_artefact_hides_only_itself():
    at = np.arange(1, 60, 0.8)
    signal = ecg(at, 61, 250)
    signal[30 * 250 : 30 * 250 + 20] += 80.0
    found = find_beats(signal, 250, "ecg").at_s
    far = at[np.abs(at - 30) > 1.0]
    assert all(np.abs(found - a).min() < 0.03 for a in far)


def test_beats_are_not_invented_where_samples_are_missing():
    at = np.arange(1, 60, 0.8)
    signal = ecg(at, 61, 250)
    signal[20 * 250 : 30 * 250] = np.nan
    found = find_beats(signal, 250, "ecg").at_s
    assert not ((found > 20.2) & (found < 29.8)).any()
    assert (found < 20).sum() == (at < 20).sum()


def test_a_jump_across_missing_samples_is_no_beat():
    at = np.arange(1, 39, 0.8)
    signal = ecg(at, 40, 250)
    signal[5_080:5_100] = np.nan
    signal[5_100:] += 10.0
    found = find_beats(signal, 250, "ecg").at_s
    assert not ((found > 5_080 / 250) & (found < 5_100 / 250)).any()


def test_noise_alone_gets_little_confidence():
    noise = np.random.default_rng(3).normal(0, 1, 60 * 250)
    clean = find_beats(ecg(np.arange(1, 59, 0.8), 60, 250), 250, "ecg").confidence
    assert find_beats(noise, 250, "ecg").confidence.mean() < 0.4 < 0.7 < clean.mean()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "signal",
    [[], [1.0], [1.0, 2.0], np.zeros(5000), np.full(5000, 7.5), np.full(5000, np.nan), np.full(400, np.inf),
     np.tile([0.0, 1.0], 3000), np.full(3, np.nan)],
)  # fmt: skip
def test_nothing_is_found_or_raised_on_empty_constant_and_missing_signals(signal, kind):
    found = find_beats(signal, 250, kind)
    assert np.isfinite(found.at_s).all() and found.at_s.size == found.confidence.size
    if len(signal) < 100 or not np.isfinite(np.asarray(signal)).any() or np.ptp(signal) == 0:
        assert not found.at_s.size


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e3, 1e3)), max_size=300),
    st.floats(20, 2000),
    st.sampled_from(list(Kind)),
)
def test_beats_ascend_lie_inside_and_are_sure_between_0_and_1_whatever_comes(values, rate_hz, kind):
    found = find_beats(values, rate_hz, kind)
    assert (np.diff(found.at_s) > 0).all()
    assert ((found.at_s >= 0) & (found.at_s <= len(values) / rate_hz + 0.1)).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("rate_hz", [0, -4, 19, 2001, float("nan"), float("inf")])
def test_an_impossible_rate_is_named(rate_hz):
    with pytest.raises(ValueError, match="sampling_rate_hz must lie in"):
        checked_rate(rate_hz)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="signal must have the shape"):
        find_beats(np.zeros((2, 100)), 250)
    with pytest.raises(ValueError, match="eeg"):
        find_beats(np.zeros(100), 250, "eeg")


def test_a_rate_is_never_sampled_up():
    samples, real, rate = prepare(np.arange(100.0), 50, 125)
    assert samples.size == 100 and rate == 50 and real.all()
    samples, real, rate = prepare(np.arange(1000.0), 500, 125)
    assert samples.size == 250 and rate == 125 and real.size == 250


def test_lead_and_pulse_of_a_recorded_patient_agree():
    path = DATA / "v131l.npz"
    if not path.is_file():
        pytest.skip(f"data not present: {path}")
    with np.load(path) as record:
        signal = record["sig"].astype(float)[:20_000]
    a, b = (find_beats(signal[:, k], 250, kind).at_s for k, kind in ((0, "ecg"), (1, "ecg")))
    assert abs(a.size - b.size) <= 1
    assert np.median(np.abs(a[:, None] - b[None, :]).min(axis=1)) < 0.03
