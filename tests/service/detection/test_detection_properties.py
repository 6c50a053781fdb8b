"""What must hold whatever is uploaded, in whatever pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from detection_rows import DEFAULT, T0, Wearer, at, batch, part
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.reading import COLUMNS, Batch, Event, EventKind
from devices.signals import falls
from service.detection import PersonSettings, analyse, current_status
from service.detection.state import MOST_BYTES, decode

NOW_US = (T0 + 40_000) * 1_000_000
PERSONAL = PersonSettings(spo2_scale=2, on_oxygen=True, heart_rate_low_bpm=50, set_by="Dr. Lee", set_on=at(0))


def restless(seed: int, rows: int, shuffle_s: float = 0.0) -> Batch:
    """A random walk through healthy, dangerous, contradictory, missing and unworn stretches."""
    rng = np.random.default_rng(seed)
    step = rng.choice([1, 5, 60, 120])
    times = np.cumsum(rng.choice([step, step, step, 7 * step, 1000], rows, p=[0.5, 0.25, 0.2, 0.04, 0.01]))
    stretch = np.repeat(rng.integers(0, 6, rows // 20 + 1), 20)[:rows]
    table = {
        "hr": np.array([72, 118, 138, 38, 75, 71])[stretch] + rng.integers(-3, 4, rows),
        "pulse": np.array([72, 118, 137, 38, 0, 110])[stretch] + 0.0,
        "spo2": np.array([97, 95, 90, 85, 97, 93])[stretch] + rng.integers(-1, 2, rows),
        "resp": np.array([15, 22, 27, 9, 0, 16])[stretch] + 0.0,
        "temp": np.where(rng.random(rows) < 0.05, 38.6, np.nan),
        "sys": np.where(rng.random(rows) < 0.05, rng.choice([85, 120], rows), np.nan),
        "steps": np.where(rng.random(rows) < 0.01, 40.0, 0.0) if seed % 2 else np.nan,
        "worn": np.where(rng.random(rows) < 0.02, rng.integers(0, 2, rows), np.nan),
        "battery": np.linspace(30, 5, rows),
    }
    for name in ("hr", "pulse", "spo2", "resp"):
        table[name] = np.where(rng.random(rows) < 0.1, np.nan, table[name])
    times = np.clip(times + rng.uniform(-shuffle_s, shuffle_s, rows), 0, 39_000)
    return batch(times, **table)


def told(conditions):
    return [(c.code, c.priority, c.started_at, sorted(c.params.items())) for c in conditions]


def feed(pieces, person):
    data, opened, ended, rows, states = None, [], [], [], []
    for piece in pieces:
        result = analyse([data], [piece], [person], NOW_US)[0]
        data = result.state
        assert len(data) <= MOST_BYTES
        opened += told(result.opened)
        ended += result.ended
        rows.append(result.fields)
        states.append(data)
    return opened, ended, np.concatenate(rows), states


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 240),
    st.lists(st.integers(1, 239), max_size=12),
    st.sampled_from([0.0, 60.0]),
    st.sampled_from([DEFAULT, PERSONAL]),
)
@example(2122, 196, [6], 60.0, DEFAULT)
def test_the_same_rows_in_other_uploads_give_identical_alarms(seed, rows, cuts, shuffle_s, person):
    whole = restless(seed, rows, shuffle_s)
    edges = [0, *sorted({c for c in cuts if c < rows}), rows]
    pieces = [part(whole, a, b) for a, b in pairwise(edges)]
    one, many = feed([whole], person), feed(pieces, person)
    assert sorted(one[0], key=str) == sorted(many[0], key=str)
    assert sorted(one[1]) == sorted(many[1])  # what fades does so unseen: it is told ended with the next upload
    np.testing.assert_array_equal(one[2], many[2])


@pytest.mark.parametrize("seed", range(4))
def test_rows_posted_one_by_one_give_identical_alarms(seed):
    whole = restless(seed, 300)
    one = feed([whole], DEFAULT)
    many = feed([part(whole, i, i + 1) for i in range(300)], DEFAULT)
    assert one[0], "the walk should alarm"
    assert sorted(one[0], key=str) == sorted(many[0], key=str)
    assert sorted(one[1]) == sorted(many[1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_a_replay_rebuilds_the_state_to_the_bit(seed, size):
    whole = restless(seed, 180, 30.0)
    pieces = [part(whole, i, i + size) for i in range(0, 180, size)]
    assert feed(pieces, DEFAULT)[3] == feed(pieces, DEFAULT)[3]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=6))
def test_patients_analysed_together_are_judged_as_if_alone(seeds):
    walks = [restless(seed, 40 + seed % 90) for seed in seeds] + [Batch()]
    people = [PERSONAL if seed % 3 else DEFAULT for seed in seeds] + [DEFAULT]
    states = [None] * len(walks)
    for _ in range(2):
        group = analyse(states, walks, people, NOW_US)
        for data, walk, person, result in zip(states, walks, people, group, strict=True):
            alone = analyse([data], [walk], [person], NOW_US)[0]
            assert alone.state == result.state
            assert told(alone.opened) == told(result.opened)
            assert (alone.ended, alone.active, alone.reasons) == (result.ended, result.active, result.reasons)
        states = [r.state for r in group]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_plausible_upload_is_ever_refused(data):
    rows = data.draw(st.integers(0, 12))
    at_us = data.draw(st.lists(st.integers(-(2**62), 2**62), min_size=rows, max_size=rows))
    if data.draw(st.booleans()):
        at_us = [(T0 + abs(t) % 5000) * 1_000_000 for t in at_us]
    columns = [
        st.one_of(st.just(np.nan), st.sampled_from([c.low, c.high, 0.0]), st.floats(c.low, c.high)) for c in COLUMNS
    ]
    values = np.array(data.draw(st.lists(st.tuples(*columns), min_size=rows, max_size=rows)), dtype=float)
    kinds = data.draw(st.lists(st.sampled_from(list(EventKind)), max_size=3))
    events = [Event(seq=i * 5, at_us=T0, device_at_us=T0, kind=k) for i, k in enumerate(kinds)]
    times = np.array(at_us, dtype=np.int64)
    upload = Batch(np.arange(rows), times, times, values.reshape(rows, len(COLUMNS)), events)
    first = analyse([None], [upload], [DEFAULT], NOW_US)[0]
    second = analyse([first.state], [upload], [DEFAULT], NOW_US)[0]
    for result in (first, second):
        assert len(result.state) <= MOST_BYTES
        assert result.quality.shape == (rows,)
        assert result.fields.shape == (rows, len(COLUMNS))
        assert all(c.started_at <= c.detected_at for c in result.opened)
        assert current_status(result.state, DEFAULT, NOW_US).word in ("well", "check", "unknown")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200))
def test_silence_after_an_upload_never_turns_a_word_into_well(seed, rows):
    result = analyse([None], [restless(seed, rows)], [DEFAULT], NOW_US)[0]
    assert current_status(result.state, DEFAULT, NOW_US + 10**12).word != "well"


def test_an_empty_upload_changes_nothing():
    w = Wearer()
    w.post(batch(np.arange(60), hr=72))
    before = w.state
    result = w.post(Batch())
    assert (result.state, result.opened, result.ended, result.quality.size) == (before, [], [], 0)
    assert analyse([], [], [], NOW_US) == []
    assert len(analyse([None], [Batch()], [DEFAULT], NOW_US)[0].state) <= MOST_BYTES


def test_rows_without_a_value_are_accepted_and_say_nothing():
    w = Wearer()
    result = w.post(batch(np.arange(60)))
    assert (w.codes, result.quality.tolist()) == ([], [0] * 60)
    assert current_status(w.state, DEFAULT, NOW_US).word == "unknown"


@pytest.mark.parametrize("endless", [np.inf, -np.inf])
def test_a_value_without_bound_is_one_that_was_not_measured(endless):
    calm = batch(np.arange(0, 900, 15), hr=72, spo2=97, resp=15, temp=36.6, sys=130, steps=0, worn=1, battery=80)
    rows = np.arange(0, calm.values.shape[0], 3)
    given, absent = (batch(np.arange(0, 900, 15)) for _ in range(2))
    given.values[:], absent.values[:] = calm.values, calm.values
    given.values[rows], absent.values[rows] = endless, np.nan
    one, other = (analyse([None], [upload], [DEFAULT], NOW_US)[0] for upload in (given, absent))
    assert (one.state, one.opened, one.findings) == (other.state, other.opened, other.findings)
    assert one.quality.tolist() == other.quality.tolist()
    assert np.isinf(given.values[rows]).all()


def test_state_keeps_within_its_size_with_the_open_end_of_a_fall():
    longest = falls._HEAD.size + 6 * falls.KEPT
    assert len(analyse([None], [Batch()], [DEFAULT], NOW_US)[0].state) + longest <= MOST_BYTES


def test_a_state_of_another_version_is_refused_with_a_remedy():
    data = bytearray(analyse([None], [Batch()], [DEFAULT], NOW_US)[0].state)
    data[0] ^= 0xFF
    with pytest.raises(ValueError, match="replay the patient's readings"):
        decode([bytes(data)])
    with pytest.raises(ValueError, match="must be of one length"):
        analyse([None], [], [], NOW_US)


def test_a_backlog_behind_the_present_is_judged_on_its_own_and_says_its_age():
    w = Wearer()
    w.post(batch(7200 + np.arange(60), hr=72, spo2=97), now_s=7260)
    old = np.arange(0, 1200, 60)
    result = w.post(batch(old, hr=72, spo2=84), now_s=7270)
    assert [(c.code, c.priority) for c in result.opened] == [("spo2_low", "high")]
    assert result.opened[0].params["age_s"] == 7270 - 120
    assert (result.ended, result.active) == (["spo2_low"], ())
    assert current_status(w.state, DEFAULT, (T0 + 7270) * 1_000_000).vitals[1].value == 97


def test_a_medium_sign_older_than_an_hour_opens_nothing_and_a_high_one_does():
    w = Wearer()
    w.post(batch(np.arange(0, 1200, 60), hr=118), now_s=9000)
    assert w.codes == []
    w.post(batch(1200 + np.arange(0, 1200, 60), hr=136), now_s=9000)
    assert [(c.code, c.priority) for c in w.opened] == [("heart_rate_high", "high")]
    assert w.opened[0].params["age_s"] > 3600


def test_an_upload_that_begins_with_its_newest_row_is_still_judged():
    times = np.arange(0, 1800, 60)[::-1].copy()
    w = Wearer()
    w.post(batch(times, hr=136, spo2=84), now_s=1800)
    assert {"spo2_low", "heart_rate_high"} <= set(w.codes)


def test_two_uploads_that_swap_places_hide_nothing():
    minutes = [batch(60 * i + np.arange(60), spo2=84, hr=72) for i in range(4)]
    w = Wearer()
    for i in (0, 2, 1, 3):
        w.post(minutes[i], now_s=300)
    assert w.codes == ["spo2_low"]
