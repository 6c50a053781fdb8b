from __future__ import annotations

import csv
import lzma

import numpy as np
import pytest

from service.detection import absence
from service.detection.absence import NEVER, Place
from service.tools.evaluation import tihm_homes, tihm_silence

DAY0 = 20_000 * 86_400
HOUR = 3600
NONE = np.array([NEVER])
UTC = np.array([0])


def signs(records, at, place=Place.KITCHEN, offset=UTC, who=0):
    at = np.atleast_1d(np.asarray(at, dtype=np.int64))
    places = np.broadcast_to(np.asarray(place, dtype=np.int64), at.shape)
    return absence.update(records, np.full(at.size, who), at, places, offset)


def days(count: int, hours, every_s: int = 600, offset: int = 0):
    """Signs in the given local hours of each day."""
    hours = np.asarray(list(hours))
    one = (hours[:, None] * HOUR + np.arange(0, HOUR, every_s)).ravel()
    return DAY0 + (np.arange(count)[:, None] * 86_400 + one).ravel() - offset


def lived(count=20, hours=range(7, 22), place=Place.KITCHEN, until=None, every_s=600):
    records = absence.blank()
    at = days(count, hours, every_s)
    signs(records, at[at <= until] if until else at, place)
    return records


def limit(records, offset=UTC) -> int:
    return int(absence.limits(records, offset)[0][0])


def judge(records, now, away=NEVER, observed=None, since=DAY0):
    listened = now if observed is None else observed
    return absence.judge(records, now, UTC, np.array([away]), np.array([listened]), np.array([since]))[0]


def test_the_state_is_small():
    assert absence.STATE.itemsize <= 1500


def test_signs_and_quiet_slots_are_counted_by_hour_as_by_hand():
    records = absence.blank()
    signs(records, [DAY0, DAY0 + 600, DAY0 + 4200])
    # Slots 0, 1 and 7: six slots from 1 to 6 o'clock's end; from the fourth empty one on it is quiet.
    active, every, woke, quiet = records["today"][0].astype(int)
    assert (active[:2].tolist(), every[:2].tolist()) == ([2, 1], [6, 2])
    assert (woke[:2].tolist(), quiet[:2].tolist()) == ([0, 1], [1, 2])
    # Slots 0 and 1 lie seven and six before the last sign.
    assert records["recent"][0] == (1 << 6) | (1 << 5)


def test_a_day_passes_into_the_habits_and_halves_in_two_weeks():
    records = absence.blank()
    signs(records, [DAY0, DAY0 + 600])
    signs(records, DAY0 + 15 * 86_400)
    assert records["habit"][0, 0, 0] == pytest.approx(2 * 0.5, rel=1e-6)
    assert records["today"][0, 1, 0] == 0, "half a month without a sign is no habit"


@pytest.mark.parametrize("seed", range(3))
def test_other_batches_give_the_same_state(seed):
    rng = np.random.default_rng(seed)
    n = 4
    at = DAY0 + np.sort(rng.integers(0, 5 * 86_400, 400)) + rng.integers(-1500, 1500, 400)
    who, place = rng.integers(0, n, 400), rng.integers(-1, 6, 400)
    offset = np.array([0, 9 * HOUR, -5 * HOUR, 19_800])

    def run(cuts):
        records = absence.blank(n)
        for part in np.split(np.arange(400), cuts):
            by = part[np.argsort(who[part], kind="stable")]
            absence.update(records, who[by], at[by], place[by], offset)
        return records.tobytes()

    assert run([]) == run(range(1, 400)) == run([7, 150, 151, 390])


def test_late_signs_change_nothing():
    records = lived(3)
    before = records.tobytes()
    signs(records, DAY0 + 86_400, Place.DOOR)
    assert records.tobytes() == before


def test_garbage_is_passed_over():
    records = absence.blank(2)
    before = records.tobytes()
    absence.update(records, np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(2, int))
    absence.update(records, np.array([0, 0]), np.array([-5, 2**62]), np.array([1, 1]), np.zeros(2, int))
    assert records.tobytes() == before
    absence.update(records, np.array([1, 1]), np.array([DAY0, DAY0]), np.array([99, -7]), np.zeros(2, int))
    assert records["place"].tolist() == [Place.OTHER, Place.OTHER]
    assert np.isfinite(absence.limits(records, np.zeros(2, int))[1][1])


def test_steps_and_pressed_keys_leave_the_place_as_it_was():
    records = absence.blank()
    signs(records, DAY0, Place.BEDROOM)
    signs(records, DAY0 + 60, Place.NONE)
    assert (records["place"][0], records["last_t"][0]) == (Place.BEDROOM, DAY0 + 60)


def test_a_silence_is_told_once_when_its_limit_runs_out_and_ends_with_the_next_sign():
    records = lived(20, until=DAY0 + 19 * 86_400 + 12 * HOUR)
    last = int(records["last_t"][0])
    due = int(absence.next_check_s(records, UTC, NONE, np.array([DAY0]))[0])
    assert due == last + limit(records)
    assert judge(records, due - 1) is None
    found = judge(records, due)
    assert (found.layer, found.code) == ("absence", "person_silent")
    assert (found.onset_us, found.at_us) == (last * 10**6, due * 10**6)
    assert found.llr > 3
    assert found.params["last_place"] == "kitchen"
    assert found.params["age_s"] == found.params["limit_s"] == due - last
    assert found.params["local_hour"] == due % 86_400 // HOUR
    assert judge(records, due + 900) is None
    assert signs(records, due + 1000).tolist() == [0]
    assert signs(records, due + 1001).size == 0


def test_by_day_in_the_kitchen_a_busy_person_is_missed_within_three_hours():
    assert limit(lived(20, until=DAY0 + 19 * 86_400 + 16 * HOUR)) <= 3 * HOUR


def test_night_in_the_bedroom_and_a_closed_front_door_are_given_longer():
    by_day = limit(lived(20, until=DAY0 + 19 * 86_400 + 16 * HOUR))
    records = lived(20)
    signs(records, int(records["last_t"][0]) + 60, Place.BEDROOM)
    assert limit(records) > by_day + 3 * HOUR
    records = lived(20, until=DAY0 + 19 * 86_400 + 16 * HOUR)
    indoors = absence.survival(records, UTC)[0, 16]
    signs(records, int(records["last_t"][0]) + 60, Place.DOOR)
    assert absence.survival(records, UTC)[0, 16] > 5 * indoors
    assert limit(records) > by_day


def test_who_is_often_quiet_at_this_hour_is_expected_back_later():
    until = DAY0 + 19 * 86_400 + 13 * HOUR
    busy = lived(20, range(7, 22), Place.LOUNGE, until)
    naps = lived(20, [7, 8, 9, 10, 11, 12, 17, 18, 19, 20, 21], Place.LOUNGE, until)
    usual = [int(absence.limits(r, UTC)[2][0]) for r in (busy, naps)]
    assert usual[1] > usual[0] + 1800
    survives = [absence.survival(r, UTC)[0, 16] for r in (busy, naps)]
    assert survives[1] > 3 * survives[0]


def test_survival_falls_with_time_and_no_wait_exceeds_a_day_and_a_slot():
    records = absence.blank(200)
    rng = np.random.default_rng(1)
    at = DAY0 + rng.integers(0, 86_400, 200)
    absence.update(records, np.arange(200), at, rng.integers(0, 6, 200), np.zeros(200, int))
    survives = absence.survival(records, np.zeros(200, int))
    assert (np.diff(survives, axis=1) <= 0).all()
    assert ((survives >= 0) & (survives <= 1)).all()
    allowed, _, usual = absence.limits(records, np.zeros(200, int))
    assert allowed.min() >= 3 * 600
    assert allowed.max() <= 86_400 + 600
    assert usual.max() <= 86_400 + 600


def test_the_same_life_in_seoul_is_judged_by_the_clock_of_seoul():
    here, there = lived(16), absence.blank()
    seoul = np.array([9 * HOUR])
    signs(there, days(16, range(7, 22), offset=9 * HOUR), offset=seoul)
    assert (there["habit"] == here["habit"]).all()
    assert limit(there, seoul) == limit(here)
    assert limit(there, UTC) != limit(here)


def test_a_change_of_the_clocks_loses_nothing_and_shortens_no_silence():
    records = lived(16, until=DAY0 + 15 * 86_400 + 12 * HOUR)
    last = int(records["last_t"][0])
    signs(records, last + 600, offset=np.array([HOUR]))
    signs(records, last + 1200, offset=np.array([0]))
    assert records["last_t"][0] == last + 1200
    assert records["recent"][0] & 3 == 3


def test_a_silent_device_says_nothing_about_its_person():
    records = lived(20, until=DAY0 + 19 * 86_400 + 12 * HOUR)
    last = int(records["last_t"][0])
    assert judge(records, last + 30 * HOUR, observed=last + HOUR) is None
    assert judge(records, last + 30 * HOUR, observed=last + 29 * HOUR) is not None


def test_an_announced_absence_is_kept_and_ends_in_a_question():
    records = lived(20, until=DAY0 + 19 * 86_400 + 12 * HOUR)
    last = int(records["last_t"][0])
    back = last + 3 * 86_400
    assert judge(records, back + 7199, away=back) is None
    found = judge(records, back + 7200, away=back)
    assert found.params["did_not_come_back"] is True
    assert judge(lived(20), int(lived(20)["last_t"][0]) + 30 * HOUR, away=DAY0) is not None


def test_somebody_never_heard_of_is_missed_a_day_after_enrolment():
    records = absence.blank()
    assert judge(records, DAY0 + 86_399) is None
    found = judge(records, DAY0 + 86_400)
    assert (found.code, found.params["last_place"], found.llr) == ("person_silent", None, 0.0)


def test_the_moment_of_telling_weighs_waiting_against_false_alarms():
    wait = np.array([[600, 1200, 1800, 2400, 3000]])
    survives = np.array([[0.9, 0.5, 0.3, 0.2, 0.0]])
    # At the third slot 0.3 of a cost of 2 is less than being late (1); of a cost of 5 it is more.
    assert absence.limit_step(survives, wait, 2.0, 2000.0, 0.0).tolist() == [2]
    assert absence.limit_step(survives, wait, 5.0, 2000.0, 0.0).tolist() == [4]
    assert absence.limit_s(wait, np.array([2]), 2000.0, np.array([True])).tolist() == [2000]
    assert absence.limit_s(wait, np.array([4]), 2000.0, np.array([True])).tolist() == [3000]
    day = np.array([[86_400]])
    assert absence.limit_s(day, np.array([0]), 2000.0, np.array([True])).tolist() == [14 * HOUR]
    assert absence.limit_s(day, np.array([0]), 2000.0, np.array([False])).tolist() == [86_400]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Six made-up homes in the form of the recordings, with one outage of ours."""
    folder = tmp_path_factory.mktemp("homes")
    (folder / "tihm").mkdir()
    rng = np.random.default_rng(5)
    with lzma.open(folder / tihm_homes.FILE, "wt", preset=0) as f:
        out = csv.writer(f)
        out.writerow(["patient_id", "location", "time"])
        for person in range(6):
            # One of them is up all night: that nobody at all gives a sign for hours is an outage.
            at = days(18, range(24) if person == 0 else range(7, 23), 1800)
            at = at + rng.integers(0, 1800, at.size)
            at = at[(at < DAY0 + 16 * 86_400 + 9 * HOUR) | (at > DAY0 + 17 * 86_400 + 9 * HOUR)]
            for t in at.tolist():
                room = rng.choice(["kitchen", "lounge", "bedroom"])
                out.writerow([f"h{person}", room, np.datetime64(t, "s").astype(str)])
    return folder


@pytest.mark.parametrize("mode", ["nested", "frozen"])
def test_the_evaluation_measures_homes_that_it_has_never_seen(homes, mode, monkeypatch):
    monkeypatch.setattr(tihm_silence, "FOLDS", 2)
    monkeypatch.setattr(tihm_silence, "INNER", 2)
    monkeypatch.setattr(tihm_silence, "INJECTED", 10)
    outcome = tihm_silence.evaluate(homes, mode, True, lambda line: None)
    rows = {(r.measure, r.detector): r for r in outcome.rows}
    rate = rows["false alarms per patient-day, with away state", "ansim"]
    assert rate.n_subjects == 6
    assert rate.negative_hours == pytest.approx(6 * 24 * 2.7, rel=0.15)
    assert rate.ci_low <= rate.value <= rate.ci_high
    assert rows["delay median h, last sign indoors", "ansim"].value <= 24.2
    assert rows["delay median h, last sign indoors", "fixed 4 h"].value == 4
    assert "unknown" in str(list(rows))
    assert len(outcome.curves[0].x) == len(outcome.curves[0].y)


def test_our_own_outage_is_nobodys_silence(homes):
    found = tihm_homes.read(homes)
    assert len(found.outages) == 1
    pauses, _ = tihm_homes.replay(found, 2)
    over = pauses.take(pauses.outage_end > 0)
    assert over.who.size == 6
    limits = np.full(6, 4 * HOUR)
    late = over.outage_begin + 5 * HOUR
    early = tihm_homes.Pauses(over.state, over.who, over.length_s, over.learnt, over.outage_end, late)
    assert tihm_homes.alarms(early, limits, announced=False).all(), "told before the outage began"
    assert not tihm_homes.alarms(over, limits, announced=False).any()
    assert tihm_homes.alarms(over, limits, outage=False, announced=False).all()
    assert not tihm_homes.alarms(over, limits, outage=False, announced=True).any()


def test_the_weight_is_the_smallest_that_keeps_the_rate():
    raised = np.zeros((tihm_silence.WEIGHTS.size, 10), dtype=bool)
    raised[:30, :4] = True
    assert tihm_silence.choose_weight(raised, 100.0, 0.03) == tihm_silence.WEIGHTS[30]
    assert tihm_silence.choose_weight(raised, 200.0, 0.03) == tihm_silence.WEIGHTS[0]
