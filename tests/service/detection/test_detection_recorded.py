"""Recorded people. The rules stand on their sources; what they raise here is inspected, not tuned."""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from datetime import datetime

import numpy as np
import pytest
from detection_rows import Wearer, batch, bidmc, part, shared

from devices.reading import Batch


@pytest.fixture(scope="module")
def icu() -> dict[str, Wearer]:
    """Every recorded ICU patient, replayed by the minute."""
    found = {}
    for subject, whole in bidmc().items():
        w = found[subject] = Wearer()
        for i in range(0, whole.seq.size, 60):
            w.post(part(whole, i, i + 60))
    return found


def test_spo2_below_90_throughout_opens_within_three_minutes(icu):
    whole = bidmc()["49"]
    w = Wearer()
    for i in range(0, 180, 60):
        w.post(part(whole, i, i + 60))
    assert [(c.code, c.priority) for c in w.opened] == [("spo2_low", "high")]
    assert [c.code for c in icu["49"].opened] == ["spo2_low"]


@pytest.mark.parametrize("subject", ["21", "25"])
def test_a_resting_rate_of_124_opens_heart_rate_high(icu, subject):
    assert [(c.code, c.priority) for c in icu[subject].opened] == [("heart_rate_high", "medium")]


def test_zeros_of_breathing_beside_a_beating_heart_are_technical(icu):
    assert icu["13"].codes == ["signal_contradiction"]


def test_the_other_recorded_patients_raise_nothing_physiological(icu):
    others = {s: w.codes for s, w in icu.items() if s not in ("13", "21", "25", "49")}
    loud = {s: codes for s, codes in others.items() if codes}
    print("others that raise something:", loud)
    assert len(loud) <= 2


def _per_day(people: dict[str, tuple[Batch, float]]) -> dict[str, float]:
    counts: dict[str, int] = defaultdict(int)
    days = 0.0
    for whole, spent in people.values():
        w = Wearer()
        for i in range(0, whole.seq.size, 60):
            w.post(part(whole, i, i + 60))
        days += spent
        for c in w.opened:
            counts[f"{c.code}/{c.priority}"] += 1
    print({code: round(n / days, 3) for code, n in counts.items()}, f"alarms a patient-day over {days:.1f} days")
    return {code: n / days for code, n in counts.items()}


def test_a_healthy_day_without_known_steps_alarms_less_than_the_plain_rule():
    with np.load(shared("data/rr24h_nsr2_chf2.npz")) as store:
        people = {}
        for name in [n for n in store.files if n.startswith("nsr")][:12]:
            rr = store[name].astype(float)
            minute = (np.cumsum(rr) // 60).astype(int)
            fine = (rr > 0.24) & (rr < 3)
            beats = np.bincount(minute[fine])
            seconds = np.bincount(minute[fine], weights=rr[fine])
            rate = 60 * beats / np.where(beats > 20, seconds, np.nan)
            people[name] = (batch(60 * np.arange(rate.size), hr=np.round(rate)), np.isfinite(rate).sum() / 1440)
    # 12 free-living people whose steps nobody counted: stairs look like tachycardia at rest (reported, not tuned).
    assert sum(_per_day(people).values()) < 6


def test_minutes_with_steps_alarm_rarely():
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with lzma.open(shared("data/fitabase_minute.csv.xz"), "rt") as f:
        for row in csv.DictReader(f):
            when = datetime.fromisoformat(row["time"] + "+00:00").timestamp()
            rows[row["user"]].append((when, float(row["hr"]), float(row["steps"])))
    people = {}
    for user, table in rows.items():
        t, hr, steps = np.array(sorted(table)).T
        people[user] = (batch(t - t[0], hr=hr, steps=steps), t.size / 1440)
    assert sum(_per_day(people).values()) < 0.5
