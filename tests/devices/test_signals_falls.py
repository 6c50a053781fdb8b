"""Falls over uploads: asked at once, dispatched when still, lowered when up again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.signals import falls, waist_falls
from devices.signals.finding import Finding

DATA = Path(__file__).parents[2] / "../shared/data"
START = 1_700_000_000_000_000
SECOND = 1_000_000


def seconds(count: float, x: float, y: float, z: float, shake: float = 0.01, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([[x], [y], [z]]) + rng.normal(0, shake, (3, round(count * 50)))


def fall(lying_s: float = 40.0, shake: float = 0.01) -> np.ndarray:
    """Ten seconds of standing, 0.45 s of dropping while tipping over, the blow at 10.5 s, lying on one side."""
    down = seconds(0.45, 0.25, 0.0, 0.35, 0.05, 1)
    blow = np.array(
        [
            [3.0, 5.5, 3.0, 1.2, -0.4, 1.9, 0.6, 1.2],
            [1.0, 1.5, -1.0, 0.5, 0.6, -0.4, 0.2, 0.1],
            [2.0, 2.5, 1.0, 0, 0.4, 0, 0.2, 0.1],
        ]
    )
    return np.concatenate([seconds(10, 0, 0, 1), down, blow, seconds(lying_s, 1, 0.1, 0.1, shake, 2)], axis=1)


def walking(count: float) -> np.ndarray:
    t = np.arange(round(count * 50)) / 50
    return np.array([0.15 * np.sin(2 * np.pi * t), 0.1 * np.sin(4 * np.pi * t), 1 + 0.6 * np.sin(4 * np.pi * t)])


def scanned(signal: np.ndarray, cuts: tuple[int, ...] = (), device: str = "waist") -> list[Finding]:
    found, carry = [], None
    edges = [0, *sorted(cuts), signal.shape[1]]
    for low, high in pairwise(edges):
        some, carry = falls.scan(signal[:, low:high], 50, "g", device, START + low * 20_000, carry)
        assert carry is None or len(carry) <= 2_400
        found += some
    return found


def test_a_fall_is_asked_about_within_four_seconds_and_dispatched_when_still() -> None:
    asked, still = scanned(fall())
    assert (asked.code, still.code) == ("fall_suspected", "fall_still")
    assert asked.onset_us == pytest.approx(START + 10.5 * SECOND, abs=SECOND / 5)
    assert asked.at_us - asked.onset_us <= 3.5 * SECOND
    assert 25 * SECOND <= still.at_us - still.onset_us <= 30 * SECOND
    assert still.params["still_s"] >= falls.STILL_LEAST_S
    assert 75 <= asked.params["angle_deg"] <= 95
    assert still.llr > asked.llr > 0


def test_one_who_moves_on_the_floor_is_asked_and_not_dispatched() -> None:
    assert [f.code for f in scanned(fall(shake=0.2))] == ["fall_suspected"]


def test_one_who_is_up_and_walking_again_lowers_the_suspicion() -> None:
    findings = scanned(np.concatenate([fall(8), walking(40)], axis=1))
    assert [(f.code, f.ended) for f in findings] == [("fall_suspected", False), ("fall_suspected", True)]
    assert findings[1].llr < findings[0].llr


def test_standing_and_walking_are_no_fall() -> None:
    assert scanned(np.concatenate([seconds(30, 0, 0, 1), walking(60)], axis=1)) == []


def test_a_second_impact_within_ten_seconds_is_the_same_fall() -> None:
    again = np.concatenate([fall(2), fall()[:, 300:]], axis=1)
    assert [f.code for f in scanned(again)].count("fall_suspected") == 1
    later = np.concatenate([fall(2), fall()], axis=1)
    assert [f.code for f in scanned(later)].count("fall_suspected") == 2


@given(st.lists(st.integers(1, 2_500), max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_same_samples_in_other_uploads_give_the_same_findings(cuts: list[int]) -> None:
    signal = np.rint(np.concatenate([fall(12), walking(30)], axis=1) * 4096) / 4096
    assert scanned(signal, tuple(cuts)) == scanned(signal)


def test_a_fall_that_straddles_two_uploads_is_found() -> None:
    for cut in (500, 520, 526, 530, 600, 660, 690):
        assert [f.code for f in scanned(fall(), (cut,))] == ["fall_suspected", "fall_still"], cut


def test_a_gap_forgets_the_samples_and_keeps_the_open_suspicion() -> None:
    signal = fall()
    first, carry = falls.scan(signal[:, :900], 50, "g", "waist", START, carry=None)
    assert [f.code for f in first] == ["fall_suspected"]
    lying = seconds(30, 1, 0.1, 0.1)
    soon, _ = falls.scan(lying, 50, "g", "waist", START + 20 * SECOND, carry)
    assert soon == [], "two of the twenty seconds were not seen"
    late, _ = falls.scan(lying, 50, "g", "waist", START + 18 * SECOND + 200_000, carry)
    assert [f.code for f in late] == ["fall_still"]


def test_an_older_upload_that_comes_late_does_not_disturb_the_newer_carry() -> None:
    signal = fall()
    _, carry = falls.scan(signal[:, :900], 50, "g", "waist", START, carry=None)
    found, after = falls.scan(fall(20), 50, "g", "waist", START - 3600 * SECOND, carry)
    assert [f.code for f in found] == ["fall_suspected"]
    assert after == carry


def test_what_the_end_of_a_recording_leaves_open_is_settled() -> None:
    signal = fall(2.0)
    found, carry = falls.scan(signal, 50, "g", "waist", START, carry=None)
    assert found == []
    assert [f.code for f in falls.settle(carry)] == ["fall_suspected"]
    assert falls.settle(None) == falls.settle(b"") == falls.settle(b"rubbish") == []


def test_mounting_unit_and_rate_do_not_matter() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    assert [f.code for f in scanned(turn @ fall())] == ["fall_suspected", "fall_still"]
    found, _ = falls.scan(fall() * 1000, 50, "mg", "pendant", START, carry=None)
    assert [f.code for f in found] == ["fall_suspected", "fall_still"]
    fast = np.repeat(fall(), 4, axis=1)
    found, _ = falls.scan(fast, 200, "g", "waist", START, carry=None)
    assert [f.code for f in found] == ["fall_suspected", "fall_still"]


def test_an_unknown_class_is_judged_as_a_wrist() -> None:
    assert [falls.class_of(c) for c in ("waist", "Pendant", "wrist", None, "shoe")] == [
        "waist", "waist", "wrist", "wrist", "wrist",
    ]  # fmt: skip


def test_errors_of_the_caller_are_said_and_bad_data_find_nothing() -> None:
    for channels, rate, unit in ((np.ones((2, 100)), 50, "g"), (np.ones((3, 9)), 0, "g"), (np.ones((3, 9)), 50, "uV")):
        with pytest.raises(ValueError, match="must"):
            falls.scan(channels, rate, unit, "waist", START, carry=None)
        assert not falls.readable("accelerometer", unit, len(channels), rate)
    for bad in (np.full((3, 500), np.nan), np.zeros((3, 500)), np.full((3, 500), 1e30), np.empty((3, 0))):
        assert falls.scan(bad, 50, "g", "waist", START, carry=None) == ([], None)
    assert falls.readable("accelerometer", "mg", 3, 50)
    assert not falls.readable("ppg", "mg", 3, 50)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_carry_of_rubbish_is_ignored(rubbish: bytes) -> None:
    signal = fall(6)
    for carry in (rubbish, b"\x01\x01" + rubbish):
        found, _ = falls.scan(signal, 50, "g", "waist", START, carry)
        assert [f.code for f in found] == ["fall_suspected"]


def test_a_carry_that_was_cut_short_is_ignored() -> None:
    signal = fall(6)
    _, carry = falls.scan(seconds(10, 0, 0, 1), 50, "g", "waist", START - 10 * SECOND, carry=None)
    assert carry is not None
    for broken in (carry[:-3], carry[:40], carry + b"xy"):
        assert falls.scan(signal, 50, "g", "waist", START, broken) == falls.scan(signal, 50, "g", "waist", START)


def test_noise_of_any_size_neither_raises_nor_hangs() -> None:
    rng = np.random.default_rng(5)
    for scale in (0.5, 2, 8, 50):
        for device in ("waist", "wrist"):
            noise = np.array([[0.0], [0.0], [1.0]]) + rng.normal(0, scale, (3, 3_000))
            falls.scan(noise, 50, "g", device, START, carry=None)


def test_features_are_finite_and_do_not_know_the_mounting() -> None:
    ready = waist_falls.prepared(fall().T)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    rows = waist_falls.rows(ready, np.array([0, 3, 526, ready.shape[0] - 1]))
    assert rows.shape == (4, len(waist_falls.NAMES))
    assert np.isfinite(rows).all()
    # Cutting at 8 g works on each axis, so an impact below it is compared.
    assert waist_falls.rows(ready @ turn, np.array([526])) == pytest.approx(rows[2:3], abs=1e-6)
    assert waist_falls.features(ready, 526) == pytest.approx(rows[2])


def test_recorded_falls_are_found_and_an_elder_sitting_down_is_not() -> None:
    file = DATA / "sisfall_adxl345.npz"
    if not file.is_file():
        pytest.skip(f"data not present: {file}")
    found = 0
    with np.load(file) as held:
        for activity in range(1, 16):
            signal = held[f"F{activity:02}_SA05_R02"].T / 256
            found += bool(falls.scan(signal, 200, "g", "waist", START, carry=None)[0])
        for activity in ("D08", "D12", "D16"):
            signal = held[f"{activity}_SE03_R01"].T / 256
            assert falls.scan(signal, 200, "g", "waist", START, carry=None)[0] == []
    assert found >= 14


def test_the_waist_sees_the_same_impact_at_any_sharpness() -> None:
    spike, blunt = np.tile([0.0, 0.0, 1.0], (2, 200, 1))
    spike[100, 2] = 40.0
    blunt[100, 2] = 8.0
    assert waist_falls.prepared(spike)[99:102, 2] == pytest.approx([10 / 3] * 3)
    assert waist_falls.prepared(spike) == pytest.approx(waist_falls.prepared(blunt))
