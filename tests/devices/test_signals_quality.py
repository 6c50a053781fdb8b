import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from devices.signals import quality
from devices.signals.beats import Kind
from devices.signals.quality import agreement, assess, defects, intervals, lag_between, trusted

DATA = Path(__file__).parents[2] / "../shared/data/cinc2015"
RATE = 250


def ecg(at_s, length_s, rate_hz=RATE, noise=0.02, seed=1):
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    out = np.random.default_rng(seed).normal(0, noise, t.size)
    for a in at_s:
        out += np.exp(-((t - a) ** 2) / (2 * 0.012**2)) - 0.3 * np.exp(-((t - a - 0.035) ** 2) / (2 * 0.012**2))
        out += 0.25 * np.exp(-((t - a - 0.28) ** 2) / (2 * 0.05**2))
    return out


def pulse(at_s, length_s, rate_hz=RATE):
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    out = np.random.default_rng(2).normal(0, 0.003, t.size)
    for a in at_s:
        out += np.exp(-((t - a - 0.12) ** 2) / (2 * 0.06**2)) + 0.3 * np.exp(-((t - a - 0.40) ** 2) / (2 * 0.09**2))
    return out


BEATS = np.arange(0.7, 59.5, 0.8)


def test_agreement_of_four_and_three_beats_by_hand():
    assert agreement([1, 2, 3, 4], [1.1, 2.0, 3.4]) == pytest.approx(2 * 2 / 7)
    assert agreement([1, 2, 3], [1.3, 2.3, 3.3], lag_s=0.3) == 1
    assert agreement([1], []) == 0
    assert math.isnan(agreement([], []))


def test_the_delay_of_a_pulse_behind_its_qrs_is_found():
    a = np.arange(1, 20, 0.8)
    assert lag_between(a, a + 0.25) == pytest.approx(0.25)
    assert lag_between(a, np.empty(0)) == 0


def test_a_clean_ecg_and_a_clean_pulse_are_good_and_noise_is_not():
    assert assess(ecg(BEATS, 60), RATE, "ecg").index > 0.85
    assert assess(pulse(BEATS, 60), RATE, "ppg").index > 0.8
    noise = np.random.default_rng(4).normal(0, 1, 60 * RATE)
    assert assess(noise, RATE, "ecg").index < 0.4
    assert assess(noise, RATE, "ppg").index < 0.5


def test_more_noise_is_never_better():
    index = [assess(ecg(BEATS, 60, noise=n), RATE, "ecg").index for n in (0.02, 0.15, 0.4, 1.0)]
    assert index[0] > index[2] > index[3]
    assert index[0] >= index[1] >= index[2]


def test_kurtosis_tells_an_ecg_from_noise():
    assert assess(ecg(BEATS, 60), RATE, "ecg").kurtosis > 5
    assert abs(assess(np.random.default_rng(4).normal(0, 1, 15_000), RATE, "ecg").kurtosis) < 1.5


def test_missing_flat_and_clipped_samples_are_counted_apart():
    signal = ecg(BEATS, 60)
    signal[:1500] = np.nan
    signal[3000:6000] = 0.123
    held = signal[9000:].clip(-0.1, 0.15)
    missing, flat, clipped = (x.mean() for x in defects(signal, RATE, Kind.ECG))
    assert missing == pytest.approx(0.1)
    assert flat == pytest.approx(0.2, abs=0.01)
    assert clipped < 0.01
    assert defects(held, RATE, Kind.ECG)[2].mean() > 0.05


def test_a_flat_channel_is_worth_nothing():
    signal = ecg(BEATS, 60)
    signal[30 * RATE :] = signal[30 * RATE]
    assert assess(signal, RATE, "ecg").index < 0.1
    assert assess(np.zeros(5000), RATE, "ppg").index == 0


def test_a_clipped_channel_is_worth_less():
    signal = ecg(BEATS, 60)
    assert assess(np.clip(signal, -0.05, 0.10), RATE, "ecg").index < assess(signal, RATE, "ecg").index - 0.3


def test_clean_beats_come_out_as_one_run_with_the_right_intervals():
    (run,) = intervals([ecg(BEATS, 60)], RATE, "ecg")
    start, rr = run
    assert start == pytest.approx(BEATS[0], abs=0.02)
    assert rr.size == BEATS.size - 1
    assert np.abs(rr - 800).max() < 12


def test_a_bad_stretch_splits_the_run_and_gives_no_interval():
    signal = ecg(BEATS, 60)
    signal[25 * RATE : 35 * RATE] = np.random.default_rng(5).normal(0, 1.0, 10 * RATE)
    runs = intervals([signal], RATE, "ecg")
    assert len(runs) == 2
    for start, rr in runs:
        assert np.abs(rr - 800).max() < 15
        assert start + rr.sum() / 1000 < 25.5 or start > 34.5


def test_a_gap_in_the_recording_never_becomes_an_interval():
    signal = ecg(BEATS, 60)
    signal[int(30.6 * RATE) : int(32.0 * RATE)] = np.nan
    for _, rr in intervals([signal], RATE, "ecg"):
        assert rr.max() < 900


def test_the_better_of_two_leads_is_taken():
    noise = np.random.default_rng(6).normal(0, 1, 60 * RATE)
    runs = intervals([noise, ecg(BEATS, 60)], RATE, "ecg")
    assert sum(rr.size for _, rr in runs) == BEATS.size - 1


def test_noise_gives_no_runs():
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 1, 60 * RATE)
        assert sum(rr.size for _, rr in intervals([noise], RATE, "ecg")) < 8


@pytest.mark.parametrize("band_hz", [(0.5, 6.0), (0.8, 3.0)])
def test_motion_in_the_band_of_a_pulse_gives_hardly_any_interval(band_hz):
    sos = butter(2, band_hz, "bandpass", fs=RATE, output="sos")
    kept = 0
    for seed in range(8):
        motion = sosfiltfilt(sos, np.random.default_rng(seed).normal(0, 1, 60 * RATE))
        kept += sum(rr.size for _, rr in intervals([motion], RATE, "ppg"))
    assert kept < 0.1 * 8 * 80


def test_an_irregular_and_an_upside_down_pulse_are_kept():
    rng = np.random.default_rng(8)
    at = 0.6 + np.cumsum(rng.uniform(0.5, 1.2, 60))
    at = at[at < 58.5]
    for signal in (pulse(at, 60), -pulse(BEATS, 60)):
        assert sum(rr.size for _, rr in intervals([signal], RATE, "ppg")) >= 0.8 * 55


def test_a_stretch_of_unsure_beats_is_not_trusted(monkeypatch):
    monkeypatch.setattr(quality, "second_opinion", lambda *_: np.empty(0))
    assert intervals([ecg(BEATS, 60)], RATE, "ecg") == []


def test_irregular_rhythm_is_kept_because_it_is_not_noise():
    rng = np.random.default_rng(8)
    at = 0.6 + np.cumsum(rng.uniform(0.45, 1.1, 70))
    at = at[at < 59.4]
    runs = intervals([ecg(at, 60)], RATE, "ecg")
    assert sum(rr.size for _, rr in runs) >= 0.9 * (at.size - 1)


@pytest.mark.parametrize("rate_hz", [25, 50, 100])
def test_wrist_pulse_gives_runs_at_wearable_rates(rate_hz):
    runs = intervals([pulse(BEATS, 60, rate_hz)], rate_hz, "ppg")
    assert sum(rr.size for _, rr in runs) >= 0.9 * (BEATS.size - 1)
    assert all(np.abs(rr - 800).max() < 40 for _, rr in runs)


@pytest.mark.parametrize("signal", [[], [1.0], [0.0] * 9, np.zeros(4000), np.full(4000, np.nan), np.full(900, np.inf)])
@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_is_trusted_in_empty_constant_and_missing_signals(signal, kind):
    assert intervals([signal], RATE, kind) == []
    assert assess(signal, RATE, kind).index == 0
    beats, good = trusted(signal, RATE, kind)
    assert beats.at_s.size == good.size == 0


def test_no_channel_at_all_gives_nothing_and_ragged_ones_say_so():
    assert intervals(np.empty((0, 100)), RATE) == []
    with pytest.raises(ValueError, match="channels must be"):
        intervals([[1.0, 2.0], [1.0]], RATE)
    with pytest.raises(ValueError, match="channels must have the shape"):
        intervals(np.zeros((2, 3, 4)), RATE)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e3, 1e3)), max_size=200),
    st.floats(20, 2000),
    st.sampled_from(list(Kind)),
)
def test_quality_lies_between_0_and_1_and_never_raises(values, rate_hz, kind):
    found = assess(values, rate_hz, kind)
    for share in (found.index, found.missing, found.flat, found.clipped, found.noise, found.likeness, found.agreement):
        assert 0 <= share <= 1
    assert isinstance(intervals([values], rate_hz, kind), list)


def test_telegraph_noise_on_a_pressure_line_is_not_believed():
    path = DATA / "v147l.npz"
    if not path.is_file():
        pytest.skip(f"data not present: {path}")
    with np.load(path) as record:
        names, signal = list(record["names"]), record["sig"].astype(float)
    good = assess(signal[-3500:, names.index("PLETH")], RATE, "ppg")
    bad = assess(signal[-3500:, names.index("ABP")], RATE, "pressure")
    assert good.index > 0.9 > bad.index + 0.25
