from __future__ import annotations

import numpy as np
from detection_rows import DEFAULT, T0, Wearer, at, batch

from service.detection import current_status

SECONDS = np.arange(0, 600)


def look(w: Wearer, seconds: float):
    return current_status(w.state, DEFAULT, int((T0 + seconds) * 1e6))


def test_who_never_reported_is_unknown():
    status = look(Wearer(), 0)
    assert (status.word, status.why, status.age_s, status.newest_at) == ("unknown", "never_reported", None, None)


def test_fresh_worn_sufficient_agreeing_readings_are_well():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, pulse=72, spo2=97, resp=15, worn=1, battery=81))
    status = look(w, 605)
    assert (status.word, status.why, status.worn, status.battery_pct) == ("well", "ok", True, 81)
    assert (status.age_s, status.newest_at) == (6, at(599))
    assert next((v.code, v.value, v.age_s, v.stale, v.doubtful) for v in status.vitals) == (
        "heart_rate_bpm", 72, 6, False, False,
    )  # fmt: skip
    assert (status.news2.total, status.news2.known, status.news2.band) == (0, 3, "routine")
    assert status.news2.ages["spo2_pct"] <= 20


def test_old_readings_are_never_well():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, spo2=97, worn=1))
    assert look(w, 1400).word == "well"
    status = look(w, 1600)
    assert (status.word, status.why, status.age_s) == ("unknown", "stale", 1001)
    assert all(v.stale for v in status.vitals)
    assert look(w, 20_000).news2 is None


def test_a_heart_rate_alone_is_not_enough_to_be_well():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, worn=1))
    assert (look(w, 600).word, look(w, 600).why) == ("unknown", "too_few_vitals")


def test_an_active_condition_asks_to_check():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, spo2=85))
    assert (look(w, 600).word, look(w, 600).why, look(w, 600).active) == ("check", "spo2_low", ("spo2_low",))


def test_a_condition_stays_until_somebody_knows_better():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, spo2=85))
    assert look(w, 50_000).word == "check"


def test_a_single_three_asks_to_check():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, spo2=90))
    assert (look(w, 600).word, look(w, 600).why) == ("check", "news2_single_3")


def test_rates_that_disagree_are_never_well():
    w = Wearer()
    w.post(batch(SECONDS[:120], hr=72, pulse=100, spo2=97))
    assert (look(w, 120).word, look(w, 120).why) == ("unknown", "doubtful")


def test_a_hand_measured_pressure_keeps_its_age():
    w = Wearer()
    w.post(batch([0], sys=128, temp=36.6))
    status = look(w, 7200)
    assert [(v.code, v.age_s, v.stale) for v in status.vitals] == [
        ("temperature_c", 7200, False), ("systolic_mmhg", 7200, False),
    ]  # fmt: skip
    assert (status.news2.known, status.word) == (2, "unknown")
    assert look(w, 50_000).news2 is None


def test_usual_values_are_shown_once_known():
    w = Wearer()
    w.post(batch(np.arange(0, 7200, 60), hr=72, spo2=97))
    assert round(look(w, 7200).vitals[0].usual, 6) == 72


def test_the_total_shown_is_never_below_what_the_latest_values_say():
    w = Wearer()
    w.post(batch(SECONDS, hr=72, spo2=97, resp=15, worn=1))
    w.post(batch(np.arange(600, 620), hr=112, spo2=91, resp=26, worn=1))
    status = look(w, 625)
    assert status.news2.total == 2 + 3 + 3
    assert status.active == ()  # twenty seconds ring nobody
