from __future__ import annotations

import numpy as np
import pytest
from detection_rows import DEFAULT, T0, Wearer, batch

from devices.reading import INDEX, Event, EventKind
from service.detection import current_status

SECONDS = np.arange(0, 300)
MINUTES = np.arange(0, 600, 60)


@pytest.mark.parametrize("times", [SECONDS, MINUTES], ids=["every second", "every minute"])
@pytest.mark.parametrize(
    ("zero", "others", "field"),
    [
        ({"resp": 0}, {"hr": 67, "spo2": 99}, "respiratory_rate_bpm"),
        ({"resp": 0}, {"hr": 67}, "respiratory_rate_bpm"),
        ({"pulse": 0}, {"hr": 70, "spo2": 97}, "pulse_rate_bpm"),
        ({"hr": 0}, {"pulse": 70}, "heart_rate_bpm"),
        ({"spo2": 0}, {"hr": 70}, "spo2_pct"),
    ],
)
def test_a_zero_that_other_vitals_contradict_is_technical(times, zero, others, field):
    w = Wearer()
    result = w.post(batch(times, **zero, **others))
    assert [(c.code, c.kind, c.priority) for c in w.opened] == [("signal_contradiction", "technical", "low")]
    params = w.opened[0].params
    assert (params["field"], params["value"]) == (field, 0)
    assert params["other_value"] == (others.get("hr") or others["pulse"])
    assert set(result.fields[:, INDEX[field]]) == {2}
    assert set(result.quality) == {1}
    assert result.reasons[0] == f"{field}=signal_contradiction"
    status = current_status(w.state, DEFAULT, int(result.state and (T0 + times[-1]) * 1e6))
    assert (status.word, status.why, status.contradictions) == ("unknown", "signal_contradiction", (field,))


def test_a_contradicted_zero_is_not_scored():
    w = Wearer()
    # Were breathing scored, 3 + 2 + 1 would make 6.
    w.post(batch(SECONDS, resp=0, hr=95, spo2=93))
    status = current_status(w.state, DEFAULT, (T0 + 300) * 1_000_000)
    assert (status.news2.total, status.news2.known) == (3, 2)
    assert "respiratory_rate_bpm" in status.news2.missing
    assert w.codes == ["signal_contradiction"]


def test_a_zero_beside_low_spo2_is_an_emergency_and_no_contradiction():
    w = Wearer()
    w.post(batch(SECONDS, resp=0, hr=115, spo2=85))
    assert "signal_contradiction" not in w.codes
    assert "news2_high" in w.codes


def test_pulse_and_heart_rate_of_zero_agree_and_are_judged():
    w = Wearer()
    w.post(batch(SECONDS, hr=0, pulse=0))
    assert [(c.code, c.priority) for c in w.opened] == [("heart_rate_low", "high")]


def test_a_brief_contradiction_is_only_a_mark():
    w = Wearer()
    result = w.post(batch(SECONDS, resp=np.where((SECONDS > 100) & (SECONDS < 120), 0, 16), hr=70, spo2=97))
    assert w.codes == []
    assert np.flatnonzero(result.fields[:, INDEX["respiratory_rate_bpm"]] == 2).tolist() == list(range(101, 120))


def test_a_contradiction_ends_when_the_signals_agree_for_a_minute():
    w = Wearer()
    w.post(batch(SECONDS, resp=0, hr=70, spo2=97))
    w.post(batch(300 + SECONDS[:50], resp=16, hr=70, spo2=97))
    assert w.ended == []
    w.post(batch(350 + SECONDS[:50], resp=16, hr=70, spo2=97))
    assert w.ended == ["signal_contradiction"]


def test_heart_and_pulse_rate_that_disagree_are_doubtful_and_the_milder_is_judged():
    w = Wearer()
    result = w.post(batch(SECONDS, hr=145, pulse=75, spo2=97))
    assert set(result.reasons.values()) == {"heart_rate_bpm=rates_disagree pulse_rate_bpm=rates_disagree"}
    assert w.codes == []
    w.post(batch(300 + SECONDS, hr=145, pulse=75, spo2=97))
    assert w.codes == ["signal_contradiction"]
    both = Wearer()
    both.post(batch(SECONDS, hr=150, pulse=118))
    assert [(c.code, c.priority, c.params["value"]) for c in both.opened] == [("heart_rate_high", "medium", 118)]


def test_a_jump_no_heart_makes_is_doubtful_and_a_new_level_is_accepted():
    rate = np.full(60, 72.0)
    rate[30] = 190
    result = Wearer().post(batch(np.arange(60), hr=rate))
    assert np.flatnonzero(result.quality).tolist() == [30, 31]
    assert result.reasons[30] == "heart_rate_bpm=rate_of_change"
    rate[30:] = 120
    result = Wearer().post(batch(np.arange(60), hr=rate))
    assert np.flatnonzero(result.quality).tolist() == [30]


def test_a_rate_that_never_moves_is_doubtful_but_a_dangerous_one_still_rings():
    w = Wearer()
    result = w.post(batch(np.arange(0, 9000, 60), hr=135))
    assert set(result.reasons.values()) == {"heart_rate_bpm=flat_line"}
    assert min(result.reasons) == 120
    assert w.codes == ["heart_rate_high"]


def test_what_is_not_worn_is_rejected_and_raises_nothing():
    w = Wearer()
    result = w.post(batch(SECONDS, hr=180, spo2=70, worn=0, skin=22))
    assert w.codes == ["not_worn"]
    assert set(result.quality) == {2}
    status = current_status(w.state, DEFAULT, (T0 + 300) * 1_000_000)
    assert (status.word, status.why, status.worn) == ("unknown", "not_worn", False)
    w.post(batch(300 + SECONDS, hr=70, spo2=97, worn=1))
    assert w.ended == ["not_worn"]


def test_taken_off_speaks_for_rows_that_say_nothing():
    w = Wearer()
    off = Event(seq=10, at_us=(T0 + 10) * 1_000_000, device_at_us=0, kind=EventKind.TAKEN_OFF)
    times = np.delete(np.arange(0, 60), 10)
    upload = batch(times, hr=70, events=[off])
    upload.seq = times
    result = w.post(upload)
    assert result.quality.tolist() == [0] * 10 + [2] * 49
    assert w.codes == ["not_worn"]


def test_spo2_and_breathing_are_doubtful_while_walking():
    result = Wearer().post(batch(MINUTES, hr=95, spo2=85, resp=28, steps=90))
    assert result.quality.tolist() == [0] + [1] * 9
    assert result.reasons[1] == "spo2_pct=motion respiratory_rate_bpm=motion"


def test_a_row_that_says_not_worn_rejects_hand_measured_values_too_but_later_rows_keep_them():
    w = Wearer()
    result = w.post(batch([0, 60], temp=36.5, worn=[0, np.nan]))
    assert result.quality.tolist() == [2, 0]
    assert result.reasons == {0: "temperature_c=not_worn"}
