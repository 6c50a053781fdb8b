"""The layers hear each person's upload alone, whoever else is in the group, and their memory survives its bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detection_rows import DEFAULT, T0, batch

from devices.reading import Batch, Beats, Waveform
from service.detection import analyse, layers
from service.detection import state as carried
from service.detection.state import BLANK, StateError


def beating(k: int, bpm: float, hr: float, **more: float) -> Batch:
    """Ten minutes of a person: a reading a minute, and their beats."""
    upload = batch(600 * k + 60 * np.arange(10), hr=hr, spo2=97, resp=15, **more)
    start = int(upload.at_us[0])
    rr = np.full(round(10 * bpm), 60_000 / bpm)
    upload.beats = [Beats(first_seq=10_000 * (k + 1), start_us=start, device_start_us=start, rr_ms=rr)]
    return upload


def test_beats_and_readings_of_a_group_are_heard_as_those_of_each_alone() -> None:
    rates = [(150.0, 72.0), (70.0, 71.0), (35.0, 70.0)]
    together: list[bytes | None] = [None] * 3
    alone: list[bytes | None] = [None] * 3
    told = set()
    for k in range(14):
        uploads = [beating(k, bpm, hr) for bpm, hr in rates]
        now_us = int(uploads[0].at_us[-1])
        group = analyse(together, uploads, [DEFAULT] * 3, now_us)
        for i, upload in enumerate(uploads):
            one = analyse([alone[i]], [upload], [DEFAULT], now_us)[0]
            assert (one.state, one.findings) == (group[i].state, group[i].findings)
            told |= {(i, finding.code) for finding in one.findings}
            alone[i] = one.state
        together = [one.state for one in group]
    assert {(0, "tachycardia"), (2, "bradycardia")} <= told
    assert not any(i == 1 for i, _ in told)


def test_memory_is_the_same_after_it_was_written_and_read() -> None:
    state = analyse([None], [beating(0, 70, 72)], [DEFAULT], T0 * 1_000_000)[0].state
    memory = layers.decode([state, None])
    first = state[: len(BLANK)], BLANK
    again = layers.decode([one + part for one, part in zip(first, layers.encode(memory), strict=True)])
    assert again.whole.tobytes() == memory.whole.tobytes()
    assert memory.own["look_t"][1] == layers.NEVER


def learnt() -> bytes:
    """A state with something in every part of it, the open end of a fall too."""
    data = analyse([None], [beating(0, 70, 72)], [DEFAULT], T0 * 1_000_000)[0].state
    memory = layers.decode([data])
    memory.ends[0] = bytes(range(60))
    return data[: len(BLANK)] + layers.encode(memory)[0]


def test_a_single_altered_bit_anywhere_in_a_state_is_noticed() -> None:
    data = learnt()
    upload = beating(1, 70, 72)
    for at in np.random.default_rng(1).integers(0, 8 * len(data), 400).tolist():
        altered = bytearray(data)
        altered[at // 8] ^= 1 << at % 8
        with pytest.raises(StateError, match="replay the patient's readings"):
            analyse([None, bytes(altered)], [upload] * 2, [DEFAULT] * 2, T0 * 1_000_000)


def test_a_state_cut_off_anywhere_is_noticed() -> None:
    data = learnt()
    for size in [0, 1, 2, len(BLANK), len(BLANK) + 1, *range(3, len(data), 97), len(data) - 1]:
        with pytest.raises(StateError, match="replay the patient's readings"):
            layers.decode([data[:size]])


def test_a_state_from_before_there_were_checksums_is_read() -> None:
    data = learnt()
    size = len(BLANK)
    older = data[:size] + b"\x01\x00" + data[size + 2 : -4]
    upload = [beating(1, 70, 72)]
    once, again = (analyse([one], upload, [DEFAULT], T0 * 1_000_000)[0] for one in (older, data))
    assert once.state == again.state
    assert once.state[size : size + 2] == b"\x02\x00"


def test_a_checksum_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = learnt()
    monkeypatch.setattr(layers, "_LAYOUT", carried.checksum(b"a layer has grown"))
    with pytest.raises(StateError):
        layers.decode([data])


def baseline_of(upload: Batch) -> tuple[list[int], list[int]]:
    """Heart-rate and step readings counted in the hour under way by the baseline, and readings by the forecast."""
    memory = layers.decode([analyse([None], [upload], [DEFAULT], int(upload.at_us[-1]))[0].state])
    return memory.baseline["count"][0].tolist(), memory.warning["count"][0].tolist()


def test_what_the_gate_doubted_teaches_no_layer() -> None:
    calm = batch(np.arange(20), hr=72, spo2=97)
    leaping = batch(np.arange(20), hr=72, spo2=np.where(np.arange(20) == 10, 60, 97))
    assert baseline_of(calm)[0][2] == 20
    assert baseline_of(leaping)[0][2] < 20


def test_a_zero_is_nobodys_usual() -> None:
    upload = batch(60 * np.arange(20), hr=np.where(np.arange(20) < 2, 0, 72))
    assert baseline_of(upload)[0][0] <= 18


def test_the_pulse_speaks_where_the_heart_rate_is_silent() -> None:
    upload = batch(60 * np.arange(20), pulse=70)
    counted, scored = baseline_of(upload)
    assert counted[0] == 20
    assert scored[0] == 20


@pytest.mark.parametrize("steps", [0.0, 3.0])
def test_neither_baseline_nor_forecast_learns_a_heart_rate_soon_after_steps(steps: float) -> None:
    counts = np.zeros(20)
    counts[5] = steps
    counted, scored = baseline_of(batch(60 * np.arange(20), hr=72, spo2=97, steps=counts))
    resting = 20 if not steps else 15  # a step, and the five minutes from it on
    assert counted[0] == resting
    assert scored[0] == resting
    assert scored[1] == 20


def test_a_step_of_the_upload_before_still_counts() -> None:
    first = batch(60 * np.arange(5), hr=72, steps=[0, 0, 0, 0, 3])
    second = batch(300 + 60 * np.arange(10), hr=72, steps=0, first_seq=5)
    state = analyse([None], [first], [DEFAULT], int(first.at_us[-1]))[0].state
    before = layers.decode([state]).baseline["count"][0, 0]
    state = analyse([state], [second], [DEFAULT], int(second.at_us[-1]))[0].state
    assert layers.decode([state]).baseline["count"][0, 0] - before == 6


def test_a_finding_of_an_hour_says_the_row_that_closed_it() -> None:
    rows = layers._Stack(
        who=np.array([0, 0, 1, 1]), at_s=np.array([100, 90, 50, 70]), carried_s=np.array([0, 60]),
        evidence=np.zeros((4, 5)), hand=np.zeros((4, 3)), steps=np.zeros(4),
    )  # fmt: skip
    assert [known.tolist() for known in rows.known()] == [[0, 1, 0, 1], [100, 100, 60, 70]]
    finding = layers.Finding("baseline", "heart_rate_drift_up", 0, 60_000_000, 1.0)
    [(who, told)] = layers._known(rows, None, [(1, finding)])
    assert (who, told.at_us, told.params["row"]) == (1, 70_000_000, 1)
    nothing = np.zeros(4, dtype=bool)
    assert layers._known(rows, nothing, [(1, replace(finding))]) == [(1, finding)]


def electrode(noise_seed: int, **vitals: float) -> Batch:
    """Half a minute of a loose electrode: noise at 250 Hz, and rows beside it."""
    upload = batch(np.arange(30), **vitals)
    start = int(upload.at_us[0])
    noise = np.random.default_rng(noise_seed).standard_normal((1, 7500)).astype(np.float32)
    upload.waveforms = [
        Waveform(seq=900, start_us=start, device_start_us=start, sampling_rate_hz=250.0, kind="ecg", unit="uV",
                 channels=1000 * noise)
    ]  # fmt: skip
    return upload


@pytest.mark.parametrize("vitals", [{"hr": 72.0, "pulse": 72.0}, {"spo2": 97.0}])
def test_a_loose_electrode_is_a_question_at_most_and_no_grave_sign(vitals: dict[str, float]) -> None:
    for seed in range(3):
        upload = electrode(seed, **vitals)
        opened = analyse([None], [upload], [DEFAULT], int(upload.at_us[-1]))[0].opened
        assert [c for c in opened if c.grave or c.priority == "high"] == []


def test_an_unworn_electrode_tells_no_arrest() -> None:
    upload = electrode(0, hr=72.0, worn=0.0)
    opened = analyse([None], [upload], [DEFAULT], int(upload.at_us[-1]))[0].opened
    assert {c.code for c in opened} <= {"not_worn"}
