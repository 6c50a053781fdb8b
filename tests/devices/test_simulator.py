"""Synthetic wearers say what their scenario promises, in the contract's shape."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from devices.reading import INDEX, EventKind, parse
from devices.simulator import Scenario, Wearer, recorded, stamped

NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)


def us(moment):
    return round(moment.timestamp() * 1e6)


def parsed(body, moment):
    result = parse(json.dumps(body).encode(), us(moment))
    assert [(v.verdict, v.dropped) for v in result.verdicts.runs()] == [("stored", None)]
    return result


def column(result, name):
    return result.batch.values[:, INDEX[name]]


def lived(scenario, minutes=4, seed=3):
    wearer = Wearer(seed, scenario)
    moments = [NOW + timedelta(minutes=k) for k in range(minutes)]
    return [parsed(wearer.live(moment), moment) for moment in moments]


@pytest.mark.parametrize("seed", range(4))
def test_a_history_is_dense_plausible_and_of_somebody_well(seed):
    wearer = Wearer(seed)
    results = [parsed(body, NOW) for body in wearer.history(NOW, 72)]
    at_us = np.concatenate([result.batch.at_us for result in results])
    assert sum(len(result.batch.seq) for result in results) == 72 * 60 + 3
    assert us(NOW) - at_us.max() == 60_000_000
    heart = np.concatenate([column(result, "heart_rate_bpm") for result in results])
    assert np.nanmin(heart) >= 45 and np.nanmax(heart) < 111
    assert np.nanmin(np.concatenate([column(result, "spo2_pct") for result in results])) >= 94
    assert np.isfinite(np.concatenate([column(result, "systolic_mmhg") for result in results])).sum() == 3


def test_heart_rate_is_lower_at_night():
    body = next(Wearer(1).history(datetime(2026, 5, 1, 15, tzinfo=UTC), 24))
    heart = np.array(body["series"][0]["heart_rate_bpm"], dtype=float)
    assert heart[120:300].mean() + 5 < heart[14 * 60 : 18 * 60].mean()


def test_the_same_seed_gives_the_same_upload():
    def made():
        rng = random.Random(1)
        wearer = Wearer(7, Scenario.FALL, ids=lambda: UUID(int=rng.getrandbits(128)))
        return [*wearer.history(NOW, 2), wearer.live(NOW)]

    assert json.dumps(made()) == json.dumps(made())


def test_the_well_stay_well():
    for result in lived(Scenario.WELL):
        assert column(result, "heart_rate_bpm").max() < 111
        assert column(result, "spo2_pct").min() >= 94
        assert result.batch.events == []


def test_resting_tachycardia_is_fast_without_steps():
    last = lived(Scenario.RESTING_TACHYCARDIA)[-1]
    assert column(last, "heart_rate_bpm").min() >= 131
    assert column(last, "steps").max() == 0


def test_desaturation_falls_below_any_limit():
    assert column(lived(Scenario.DESATURATION)[-1], "spo2_pct").max() <= 88


@pytest.mark.parametrize("scenario", [Scenario.SOS, Scenario.FALL])
def test_sos_and_fall_come_once_with_the_first_live_upload(scenario):
    kinds = [[event.kind for event in result.batch.events] for result in lived(scenario)]
    assert kinds == [[EventKind(scenario.value)], [], [], []]


def test_a_fall_brings_its_acceleration():
    (wave,) = lived(Scenario.FALL)[0].batch.waveforms
    assert wave.channels.shape == (3, 500)
    assert np.linalg.norm(wave.channels, axis=0).max() > 3000


def test_the_silent_say_nothing():
    assert Wearer(1, Scenario.SILENT).live(NOW) is None


@pytest.mark.parametrize(
    ("scenario", "skew_s"),
    [
        (Scenario.CLOCK_AHEAD_75MIN, -75 * 60),
        (Scenario.CLOCK_1970, (NOW - timedelta(seconds=59)).timestamp()),
    ],
)
def test_a_wrong_clock_is_corrected_to_the_second(scenario, skew_s):
    results = lived(scenario)
    assert results[0].clock_skew_s == skew_s
    assert [result.batch.at_us[-1] for result in results] == [
        us(NOW + timedelta(minutes=k)) for k in range(4)
    ]


def test_a_wearer_can_press_sos_in_any_scenario():
    result = parsed(Wearer(1, Scenario.CLOCK_1970).live(NOW, event=EventKind.SOS), NOW)
    assert [event.kind for event in result.batch.events] == [EventKind.SOS]


def test_a_recording_is_cut_into_uploads_that_end_now_with_its_own_spacing():
    t_s = np.concatenate((np.arange(100), np.arange(160, 210)))
    columns = {"hr": np.linspace(60, 90, 150), "spo2": np.where(t_s % 10 == 0, np.nan, 97.0)}
    uploads = list(recorded(t_s, columns, now=NOW))
    assert [upload.recorded_s for upload in uploads] == [59, 179, 209]
    results = [parsed(upload.body, NOW) for upload in uploads]
    at_us = np.concatenate([result.batch.at_us for result in results])
    assert at_us[-1] == us(NOW)
    assert np.array_equal(at_us - at_us[0], (t_s - t_s[0]) * 1_000_000)
    assert np.concatenate([result.batch.seq for result in results]).tolist() == list(range(1, 151))
    assert np.allclose(
        np.concatenate([column(result, "heart_rate_bpm") for result in results]), columns["hr"]
    )


def test_an_upload_posted_later_is_stamped_so_that_its_times_stay():
    (upload,) = recorded([0, 1], {"hr": [60, 61]}, now=NOW)
    later = NOW + timedelta(minutes=10)
    assert parsed(stamped(upload.body, later), later).batch.at_us[-1] == us(NOW)


@pytest.mark.parametrize(
    ("t_s", "columns", "said"),
    [
        ([0, 0], {"hr": [1, 2]}, "ascending"),
        ([0, 1], {"aura": [1, 2]}, "aura"),
        ([0, 1], {"hr": [1, 2, 3]}, "2 long"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused(t_s, columns, said):
    with pytest.raises(ValueError, match=said):
        list(recorded(t_s, columns, now=NOW))
