import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.models import load
from devices.signals.alarm_features import channel, extreme_rates, ventricular_features
from devices.signals.alarm_truth import MODEL, NEVER_SUPPRESSED, Alarm, Truth, alarm_features, judge, weigh
from devices.signals.beats import Beats, Kind

DATA = Path(__file__).parents[2] / "../shared/data/cinc2015"
RATE = 250
LENGTH = 60


def ecg(at_s, wide_s=(), noise=0.02, seed=1):
    """Narrow beats of 1 mV at `at_s`, broad ventricular ones at `wide_s`."""
    t = np.arange(LENGTH * RATE) / RATE
    out = np.random.default_rng(seed).normal(0, noise, t.size)
    for a in at_s:
        out += np.exp(-((t - a) ** 2) / (2 * 0.012**2)) + 0.25 * np.exp(-((t - a - 0.28) ** 2) / (2 * 0.05**2))
    for a in wide_s:
        out += 1.3 * np.exp(-((t - a) ** 2) / (2 * 0.05**2)) - 0.9 * np.exp(-((t - a - 0.17) ** 2) / (2 * 0.06**2))
    return out


def pulse(at_s, height=None):
    t = np.arange(LENGTH * RATE) / RATE
    out = np.random.default_rng(2).normal(0, 0.003, t.size)
    for k, a in enumerate(at_s):
        h = 1.0 if height is None else height[k]
        out += h * np.exp(-((t - a - 0.3) ** 2) / (2 * 0.06**2))
        out += 0.3 * h * np.exp(-((t - a - 0.58) ** 2) / (2 * 0.09**2))
    return out


def regular(rate_bpm, until_s=LENGTH):
    return np.arange(0.5, until_s - 0.5, 60 / rate_bpm)


STOPPED = regular(70, LENGTH - 7)
SLOW = np.concatenate((regular(70, 44), np.arange(44.5, 59.8, 60 / 32)))
FAST = np.concatenate((regular(80, 44), np.arange(44.2, 59.8, 60 / 165)))
RUN = np.arange(LENGTH - 6.0, LENGTH - 2.0, 0.36)


def channels(ecg_signal, pulse_signal):
    noise = np.random.default_rng(9).normal(0, 0.02, ecg_signal.size)
    return [(ecg_signal, Kind.ECG), (0.7 * ecg_signal + noise, Kind.ECG), (pulse_signal, Kind.PPG)]


def test_rates_and_pause_of_hand_made_beats():
    beats = Beats(np.concatenate((np.arange(0, 50, 1.0), [54.0, 55, 56, 57, 58, 59])), np.ones(56))
    low, high, longest = extreme_rates(beats, 60)
    assert low == pytest.approx(60 * 4 / 8)
    assert high == pytest.approx(60 * 13 / 17, rel=0.2)
    assert longest == 5.0


def test_rates_of_no_beats_are_unknown_and_the_pause_is_the_whole_window():
    low, high, longest = extreme_rates(Beats(np.empty(0), np.empty(0)), 60)
    assert math.isnan(low) and math.isnan(high) and longest == 14


@pytest.mark.parametrize(
    ("alarm", "at"), [(Alarm.ASYSTOLE, STOPPED), (Alarm.BRADYCARDIA, SLOW), (Alarm.TACHYCARDIA, FAST)]
)
def test_a_true_event_in_all_channels_is_confirmed_and_a_normal_rhythm_is_not(alarm, at):
    true = judge(channels(ecg(at), pulse(at)), RATE, alarm)
    false = judge(channels(ecg(regular(70)), pulse(regular(70))), RATE, alarm)
    assert true.confirmed and true.probability > 0.6 and true.llr > 0 and not true.suppressible
    assert not false.confirmed and false.probability < 0.1 and false.llr < -1
    assert false.suppressible is (alarm not in NEVER_SUPPRESSED)


def test_one_good_pulse_denies_an_asystole_of_fallen_electrodes():
    signal = ecg(STOPPED)
    signal[-7 * RATE :] = 0.0
    beating = regular(70)
    denied = judge(channels(signal, pulse(beating)), RATE, "asystole")
    assert denied.probability < 0.1 < 0.6 < judge(channels(signal, pulse(STOPPED)), RATE, "asystole").probability


def test_a_pulse_that_does_not_go_with_a_clear_slow_ecg_denies_no_bradycardia():
    balloon = pulse(regular(121))
    assert judge(channels(ecg(SLOW), balloon), RATE, "bradycardia").confirmed


def test_a_run_of_broad_beats_with_a_falling_pulse_is_ventricular_tachycardia():
    sinus = regular(75, LENGTH - 6.2)
    after = np.arange(LENGTH - 1.5, LENGTH - 0.2, 0.8)
    weak = np.concatenate((np.ones(sinus.size), np.full(RUN.size, 0.25), np.ones(after.size)))
    found = pulse(np.concatenate((sinus, RUN, after)), weak)
    signal = ecg(np.concatenate((sinus, after)), RUN)
    true = judge(channels(signal, found), RATE, "ventricular_tachycardia")
    false = judge(channels(ecg(regular(75)), pulse(regular(75))), RATE, "ventricular_tachycardia")
    assert true.confirmed and true.probability > 0.5
    assert false.probability < 0.3 < true.probability - 0.3


def test_broad_beats_in_a_row_score_higher_than_narrow_ones_of_the_same_rate():
    sinus = regular(75, LENGTH - 6.2)
    broad = ventricular_features([channel(ecg(sinus, RUN), RATE, Kind.ECG)])
    narrow = ventricular_features([channel(ecg(np.concatenate((sinus, RUN))), RATE, Kind.ECG)])
    assert broad["vt_score_both"] > narrow["vt_score_both"] + 0.2
    assert broad["vt_lag_both"] == pytest.approx(0.36, abs=0.02)


@pytest.mark.parametrize("alarm", sorted(NEVER_SUPPRESSED))
def test_asystole_and_fibrillation_are_never_suppressible_however_false_they_look(alarm):
    found = judge(channels(ecg(regular(70)), pulse(regular(70))), RATE, alarm)
    assert not found.confirmed and found.probability < 0.1 and not found.suppressible


def test_the_two_grave_alarms_are_the_ones_never_suppressed():
    assert {Alarm.ASYSTOLE, Alarm.VENTRICULAR_FIBRILLATION} == NEVER_SUPPRESSED


@pytest.mark.parametrize("alarm", list(Alarm))
@pytest.mark.parametrize(
    "given_channels",
    [[], [([], "ecg")], [([1.0], "ecg")], [(np.full(15_000, np.nan), "ecg")], [(np.zeros(15_000), "ppg")],
     [(np.ones(1_000), "ecg"), (np.ones(0), "ppg")]],
)  # fmt: skip
def test_without_signal_nothing_is_said_and_nothing_suppressed(given_channels, alarm):
    found = judge(given_channels, RATE, alarm)
    assert math.isnan(found.probability) and found.confirmed and not found.suppressible and found.llr == 0


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 4_000),
    st.floats(25, 400),
    st.sampled_from(list(Alarm)),
    st.sampled_from(["noise", "steps", "spikes", "holes"]),
    st.integers(0, 99),
)
def test_garbage_never_raises_and_gives_a_probability_or_none(n, rate_hz, alarm, what, seed):
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 1, n)
    if what == "steps":
        signal = np.cumsum(rng.choice([0.0, 0.0, 5.0, -5.0], n))
    elif what == "spikes":
        signal = np.where(rng.random(n) < 0.01, 1e9, 0.0)
    elif what == "holes":
        signal[rng.random(n) < 0.5] = np.nan
    found = judge([(signal, "ecg"), (signal[::-1], "ppg"), (signal, "pressure")], rate_hz, alarm)
    assert math.isnan(found.probability) or 0 <= found.probability <= 1
    assert abs(found.llr) <= 3


@pytest.mark.parametrize("rate_hz", [100, 125, 360, 500])
def test_the_sampling_rate_changes_no_verdict(rate_hz):
    slow, usual = channels(ecg(SLOW), pulse(SLOW)), channels(ecg(regular(70)), pulse(regular(70)))
    at = np.arange(round(LENGTH * rate_hz)) / rate_hz
    then = np.arange(LENGTH * RATE) / RATE
    for given_channels, expected in ((slow, True), (usual, False)):
        other = [(np.interp(at, then, x), kind) for x, kind in given_channels]
        assert judge(other, rate_hz, "bradycardia").confirmed is expected


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="sampling_rate_hz"):
        alarm_features([], float("nan"))
    with pytest.raises(ValueError, match="signal must have the shape"):
        judge([(np.zeros((2, 5_000)), "ecg")], RATE, "asystole")
    with pytest.raises(ValueError, match="flutter"):
        judge([], RATE, "flutter")


def test_a_missing_feature_adds_nothing_and_a_far_one_is_held():
    terms = {"centre": [1.0, 0.0], "scale": [2.0, 1.0], "weights": [1.0, 1.0], "bias": -1.0}
    p = weigh(terms, np.array([[np.nan, np.nan], [3.0, np.nan], [1e9, np.nan], [7.0, np.nan]]))
    assert p[0] == pytest.approx(1 / (1 + math.e))
    assert p[1] == pytest.approx(0.5)
    assert p[2] == p[3] == pytest.approx(1 / (1 + math.exp(-2)))


def test_evidence_is_capped_and_zero_where_unknown():
    assert Truth(Alarm.BRADYCARDIA, 1.0, True, False).llr == 3
    assert Truth(Alarm.BRADYCARDIA, 0.0, False, True).llr == -3
    assert Truth(Alarm.BRADYCARDIA, 0.5, True, False).llr == 0


def test_the_shipped_model_names_features_that_are_computed():
    known = alarm_features(channels(ecg(regular(70)), pulse(regular(70))), RATE)
    model = load(MODEL)
    assert set(model.parameters) == {a.value for a in Alarm}
    for terms in model.parameters.values():
        assert set(terms["features"]) <= set(known)
        assert len(terms["weights"]) == len(terms["centre"]) == len(terms["scale"]) == len(terms["features"])
        assert 0 < terms["threshold"] < 0.5


@pytest.mark.parametrize(("record", "alarm", "true"), [
    ("v131l", Alarm.VENTRICULAR_TACHYCARDIA, True), ("v100s", Alarm.VENTRICULAR_TACHYCARDIA, False),
    ("a796s", Alarm.ASYSTOLE, True), ("a165l", Alarm.ASYSTOLE, False), ("b299l", Alarm.BRADYCARDIA, True),
    ("b849l", Alarm.BRADYCARDIA, False),
])  # fmt: skip
def test_recorded_alarms_of_each_kind_are_told_apart(record, alarm, true):
    path = DATA / f"{record}.npz"
    if not path.is_file():
        pytest.skip(f"data not present: {path}")
    kinds = {"PLETH": Kind.PPG, "ABP": Kind.PRESSURE}
    with np.load(path) as found:
        signal = np.where(found["sig"] == -32_768, np.nan, found["sig"].astype(float))
        names = [str(n) for n in found["names"]]
    given_channels = [(signal[:, k], kinds.get(n, Kind.ECG)) for k, n in enumerate(names) if n != "RESP"]
    assert judge(given_channels, RATE, alarm).confirmed is true
