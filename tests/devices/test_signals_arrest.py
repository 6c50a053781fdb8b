"""No beats, and a quivering heart, in one upload's waveforms: looked for, judged, and always told."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from devices.signals.alarm_truth import Alarm, Truth
from devices.signals.arrest import screen, weight
from devices.signals.beats import Kind

HZ = 250.0
START = 1_790_000_000_000_000
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "cinc2015"
RNG = np.random.default_rng


def ecg(
    seconds: float = 30, still: tuple[float, float] = (99, 99), noise: float = 0.01, bpm: float = 70, seed: int = 0
):
    """A QRS and a T wave a beat, none within `still`; noise in shares of a QRS."""
    t = np.arange(round(seconds * HZ)) / HZ
    out = noise * RNG(seed).standard_normal(t.size)
    for at in np.arange(0.4, seconds, 60 / bpm):
        if not still[0] <= at <= still[1]:
            out += np.exp(-(((t - at) / 0.015) ** 2)) + 0.25 * np.exp(-(((t - at - 0.28) / 0.05) ** 2))
    return out


def ppg(seconds: float = 30, still: tuple[float, float] = (99, 99), bpm: float = 70):
    t = np.arange(round(seconds * HZ)) / HZ
    out = 0.005 * RNG(5).standard_normal(t.size)
    for at in np.arange(0.6, seconds, 60 / bpm):
        if not still[0] <= at - 0.2 <= still[1]:
            rise = np.clip((t - at) / 0.12, 0, None)
            out += rise**2 * np.exp(2 - 2 * rise) * (t >= at)
    return out


def quiver(seconds: float = 30, since: float = 12, size: float = 0.6, hz: float = 4.5):
    """Beats, and from `since` on a swinging that wanders about `hz`."""
    t = np.arange(round(seconds * HZ)) / HZ
    wave = np.sin(2 * np.pi * (hz * t + 0.3 * np.sin(0.9 * t))) * (1 + 0.3 * np.sin(1.7 * t))
    return np.where(t < since, ecg(seconds, (since - 0.4, 99)), size * wave + 0.01 * RNG(1).standard_normal(t.size))


def codes(*waves, hz: float = HZ) -> list[str]:
    return [finding.code for finding in screen(waves, hz, START)]


def test_a_steady_heart_is_nothing() -> None:
    for bpm in (38, 60, 110, 170):
        assert codes((ecg(bpm=bpm), "ecg"), (ppg(bpm=bpm), "ppg")) == []


def test_a_heart_that_stands_still_is_told_with_its_time_and_length() -> None:
    (found,) = screen([(ecg(still=(20, 99)), "ecg")], HZ, START)
    assert (found.layer, found.code, found.ended) == ("rhythm", "asystole", False)
    assert found.onset_us == pytest.approx(START + 19.26e6, abs=1e6)
    assert found.at_us == START + 30_000_000
    assert found.params["duration_s"] == pytest.approx(10.5, abs=0.6)
    assert found.llr >= 5
    assert found.params["confidence"] == "high"


def test_a_pause_shorter_than_four_seconds_is_none() -> None:
    assert codes((ecg(still=(15, 17.3)), "ecg")) == []
    assert codes((ecg(still=(15, 18.9)), "ecg")) == ["asystole"]


def test_a_lead_that_shows_beats_speaks_against_one_that_does_not() -> None:
    assert codes((np.stack([ecg(still=(20, 99)), ecg(seed=2)]), "ecg")) == []
    assert codes((np.stack([ecg(still=(20, 99)), ecg(still=(20, 99), seed=2)]), "ecg")) == ["asystole"]


def test_a_lead_of_noise_alone_speaks_against_nothing() -> None:
    noise = np.cumsum(RNG(3).standard_normal(7500)) * 0.05 + RNG(4).standard_normal(7500)
    assert codes((np.stack([ecg(still=(20, 99)), noise]), "ecg")) == ["asystole"]


def test_a_pacemaker_that_ticks_on_does_not_hide_that_the_pulse_has_gone() -> None:
    ticking = np.stack([ecg(still=(20, 99)), ecg(seed=2)])
    assert codes((ticking, "ecg"), (ppg(still=(20, 99)), "ppg")) == ["asystole"]
    assert codes((ticking, "ecg"), (ppg(), "ppg")) == []


def test_a_pulse_that_beats_on_lowers_confidence_and_silences_nothing() -> None:
    (found,) = screen([(ecg(still=(20, 99)), "ecg"), (ppg(), "ppg")], HZ, START)
    assert found.code == "asystole"
    assert 3.0 <= found.llr < 5.0
    assert found.params["confidence"] == "low"


@pytest.mark.parametrize("off", [0.0, math.nan])
def test_a_lead_that_is_off_the_body_is_no_still_heart(off: float) -> None:
    lead = ecg()
    lead[round(18 * HZ) :] = off
    assert codes((lead, "ecg")) == []
    assert codes((lead, "ecg"), (ppg(still=(18, 99)), "ppg")) == []
    assert codes((np.full(7500, off), "ecg")) == []


def test_an_upload_without_any_beat_is_told_where_noise_is_steady_and_no_pulse_beats() -> None:
    still = 0.01 * RNG(6).standard_normal(7500)
    (found,) = screen([(still, "ecg")], HZ, START)
    assert (found.code, found.params["duration_s"]) == ("asystole", 30.0)
    assert found.llr >= 3.0
    assert codes((still, "ecg"), (ppg(), "ppg")) == []
    moved = still * np.where((np.arange(7500) // 625) % 2 == 0, 1, 6)
    assert "asystole" not in codes((moved, "ecg"))


def test_a_quivering_heart_is_told() -> None:
    for size, hz in ((0.6, 4.5), (1.0, 3.2), (0.5, 6.5)):
        (found,) = screen([(quiver(size=size, hz=hz), "ecg")], HZ, START)
        assert found.code == "ventricular_fibrillation"
        assert found.onset_us == pytest.approx(START + 12e6, abs=2.1e6)
        assert 3.0 <= found.llr <= 8.0


def test_a_swinging_far_lower_than_a_heart_beat_is_no_fibrillation() -> None:
    assert "ventricular_fibrillation" not in codes((quiver(size=0.05), "ecg"))


def test_a_lead_with_beats_speaks_against_fibrillation_in_another() -> None:
    assert codes((np.stack([quiver(), ecg(seed=2)]), "ecg")) == []
    dead = np.zeros(7500)
    assert codes((np.stack([quiver(), dead]), "ecg")) == ["ventricular_fibrillation"]


def test_noise_is_no_fibrillation() -> None:
    for seed in range(6):
        assert "ventricular_fibrillation" not in codes((RNG(seed).standard_normal(7500), "ecg"))


def test_confidence_is_lowered_never_to_nothing() -> None:
    nats = [weight(Truth(Alarm.ASYSTOLE, p, False, False)) for p in (0.0, 0.2, 0.5, 0.9, 1.0, math.nan)]
    assert nats == pytest.approx([3.0, 3.614, 5.0, 7.197, 8.0, 3.5], abs=0.01)


def test_a_short_upload_is_told_as_unknown_and_a_pulse_alone_not_at_all() -> None:
    (found,) = screen([(quiver(8, 0), "ecg")], HZ, START)
    assert (found.llr, found.params["probability"], found.params["confidence"]) == (3.5, None, "unknown")
    assert codes((ppg(still=(18, 99)), "ppg")) == []
    assert codes() == []


def test_what_is_no_waveform_is_refused_with_a_reason() -> None:
    with pytest.raises(ValueError, match="shape"):
        screen([(np.zeros((2, 2, 9)), "ecg")], HZ, START)
    with pytest.raises(ValueError, match="sampling_rate_hz"):
        screen([(np.zeros(99), "ecg")], 5.0, START)


NUMBERS = st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, -math.inf, 1e30, 0.0]))


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 3), st.integers(0, 1400)), elements=NUMBERS, fill=NUMBERS),
    st.sampled_from([25.0, 100.0, 250.0]),
    st.sampled_from(list(Kind)),
)
def test_garbage_is_survived_and_what_is_told_stays_within_its_bounds(wave, hz: float, kind: Kind) -> None:
    found = screen([(wave, Kind.ECG), (wave[:1, ::2], kind)], hz, START)
    assert len({one.code for one in found}) == len(found)
    for one in found:
        assert 3.0 <= one.llr <= 8.0
        assert START <= one.onset_us < one.at_us


def test_every_true_arrest_of_the_challenge_is_told() -> None:
    if not (DATA / "ALARMS.csv").is_file():
        pytest.skip("data not present")
    expected = {"Asystole": "asystole", "Ventricular_Flutter_Fib": "ventricular_fibrillation"}
    with (DATA / "ALARMS.csv").open(newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if r["alarm"] in expected and r["true_alarm"] == "1"]
    spent = seconds = 0.0
    for row in rows:
        with np.load(DATA / f"{row['record']}.npz") as record:
            names, hz = [str(n).upper() for n in record["names"]], float(record["fs"])
            signal = np.where(record["sig"] == -32_768, np.nan, record["sig"].astype(float)).T
        kinds = {"PLETH": "ppg", "PPG": "ppg", "ABP": "pressure", "ART": "pressure", "RESP": None}
        waves = [(x, kind) for x, name in zip(signal, names, strict=True) if (kind := kinds.get(name, "ecg"))]
        began = time.process_time()
        found = screen(waves, hz, START)
        spent += time.process_time() - began
        seconds += signal.shape[1] / hz
        assert expected[row["alarm"]] in [one.code for one in found], row["record"]
    assert spent / seconds < 0.02
