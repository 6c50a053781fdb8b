"""The short way for calm uploads: the same state to the bit, or none at all."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from detection_rows import DEFAULT, batch, bidmc, part
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.reading import Batch
from service.detection import Analysis, PersonSettings, analyse, calm


def both_ways(uploads: list[Batch], monkeypatch: pytest.MonkeyPatch, person: PersonSettings = DEFAULT) -> int:
    """Analyse by the short way and by the long one, compare everything, and say how often the short one was taken."""
    taken = 0
    original = calm.take

    def counting(*given: object) -> bool:
        nonlocal taken
        taken += original(*given)
        return taken > before

    states: list[bytes | None] = [None, None]
    for upload in uploads:
        found: list[Analysis] = []
        for way in (0, 1):
            with monkeypatch.context() as patch:
                before = taken
                patch.setattr(calm, "MOST_PEOPLE", 4 if way == 0 else 0)
                patch.setattr(calm, "take", counting)
                now_us = int(upload.at_us.max()) if upload.at_us.size else 0
                found.append(analyse([states[way]], [upload], [person], now_us)[0])
        short, long = found
        assert short.state == long.state
        assert (short.opened, short.ended, short.active) == (long.opened, long.ended, long.active)
        assert np.array_equal(short.quality, long.quality)
        assert np.array_equal(short.fields, long.fields)
        assert short.reasons == long.reasons
        states = [short.state, long.state]
    return taken


def wandering(seed: int, uploads: int = 40, wild: float = 0.1) -> list[Batch]:
    """One person's uploads: mostly calm, sometimes with steps, gaps, absent columns, late rows, zeros and fevers."""
    rng = np.random.default_rng(seed)
    t, seq, made = 0.0, 0, []
    step = float(rng.choice([1, 5, 15, 60, 300]))
    level = {"hr": 72.0, "pulse": 72.0, "spo2": 97.0, "resp": 16.0, "temp": 36.6, "sys": 128.0}
    columns = [c for c in level if rng.random() < (0.8 if c != "pulse" else 0.3)] or ["hr"]
    for _ in range(uploads):
        n = int(rng.integers(1, 61))
        times = t + step * np.arange(n)
        values = {}
        for name in columns:
            noise = rng.integers(-2, 3, n) if name != "temp" else rng.integers(-2, 3, n) / 10
            values[name] = level[name] + noise
            if rng.random() < wild:
                values[name][rng.random(n) < 0.3] = np.nan
            if rng.random() < wild / 3:
                values[name][rng.integers(n)] = 0
            if rng.random() < wild / 2:
                values[name] = values[name] * rng.choice([0.75, 0.9, 1.1, 1.5])
            if rng.random() < wild:
                values[name] = np.full(n, level[name])
        if rng.random() < 0.5:
            values["steps"] = np.where(rng.random(n) < rng.choice([0, 0.1, 0.8]), rng.integers(0, 60, n), 0)
        if rng.random() < 0.3:
            values["worn"] = np.where(rng.random(n) < wild / 4, 0.0, 1.0)
        if rng.random() < 0.2:
            values["battery"] = float(rng.choice([12.0, 80.0]) if rng.random() < wild else 80.0)
        if rng.random() < wild:
            times = times[rng.permutation(n)]
        made.append(batch(times, first_seq=seq, **values))
        seq += n
        t += step * n + (float(rng.exponential(4000)) if rng.random() < 0.1 else 0.0)
    return made


@pytest.mark.parametrize("seed", range(25))
def test_short_way_leaves_the_same_state_as_the_long_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    both_ways(wandering(seed), monkeypatch)


def test_short_way_is_the_usual_one_for_somebody_well(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = sum(both_ways(wandering(seed, wild=0.0), monkeypatch) for seed in range(5))
    assert taken > 100  # of 200; the others walk


def test_personal_limits_and_oxygen_are_kept_on_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    own = PersonSettings(
        heart_rate_high_bpm=80.0, spo2_low_pct=96.0, on_oxygen=True, set_by="Dr Kim", set_on=day
    )
    for seed in range(5):
        both_ways(wandering(seed), monkeypatch, own)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.sampled_from([0.0, 39.0, 41.0, 60.0, 72.0, 90.0, 111.0, float("nan")]),
            st.sampled_from([0.0, 88.0, 94.0, 97.0, float("nan")]),
        ),
        min_size=1,
        max_size=12,
    ),
    cut=st.integers(0, 12),
)
def test_no_row_makes_the_two_ways_differ(rows: list[tuple[int, float, float]], cut: int) -> None:
    t = np.cumsum([r[0] for r in rows])
    whole = batch(t, hr=[r[1] for r in rows], spo2=[r[2] for r in rows])
    with pytest.MonkeyPatch.context() as patch:
        both_ways([u for u in (part(whole, 0, cut), part(whole, cut, len(rows))) if u.seq.size], patch)


def test_recorded_people_give_the_same_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for whole in list(bidmc().values())[:6]:
        n = whole.seq.size
        both_ways([part(whole, a, min(a + 60, n)) for a in range(0, n, 60)], monkeypatch)
