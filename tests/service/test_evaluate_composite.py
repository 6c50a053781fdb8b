"""The composite: lives followed as the product follows them, findings merged, and nothing lost that was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from devices.reading import COLUMNS, INDEX
from service.tools.evaluation import composite, composite_events, composite_homes
from service.tools.evaluation.composite_follow import DAY_S, Followed, Life, Rows, Told, follow

DATA = Path(__file__).parents[2] / "../shared/data"
START = 1_700_006_400


def minutes(heart_rate: float, count: int, start: int = START) -> Rows:
    values = np.full((count, len(COLUMNS)), np.nan)
    values[:, INDEX["heart_rate_bpm"]], values[:, INDEX["steps"]] = heart_rate, 0
    return Rows(start + 60 * np.arange(count), values)


def life(rows: Rows, hours: float = 2.0) -> Life:
    return Life("somebody", START, START + int(hours * 3600), START, rows)


def test_an_upload_holds_what_lies_within_it_and_nothing_twice() -> None:
    one = life(minutes(70, 120))
    one.events = [(START + 599, "motion", "kitchen"), (START + 600, "door", "door")]
    one.beats_s, one.rr_ms = float(START), np.full(900, 1000.0)
    one.waves = [(START + 590.0, 50.0, "mg", np.zeros((1000, 3)))]
    first, second = one.upload(START, START + 600), one.upload(START + 600, START + 1200)
    assert [b.at_us.size for b in (first, second)] == [10, 10]
    assert [[str(e.kind) for e in b.events] for b in (first, second)] == [["motion"], ["door"]]
    assert sum(x.rr_ms.size for b in (first, second) for x in b.beats) == 900
    assert second.beats[0].start_us == first.beats[0].start_us + first.beats[0].rr_ms.size * 1_000_000
    assert [w.channels.shape for b in (first, second) for w in b.waveforms] == [(3, 500), (3, 500)]


def test_findings_less_than_an_hour_apart_are_one_at_their_highest_tier() -> None:
    done = Followed([life(Rows.none(), 24)])
    for hour, tier in ((1.0, 0), (1.5, 2), (2.4, 1), (4.0, 0), (5.1, -1)):
        done.told.append(Told(0, START + hour * 3600, "sign", tier))
    assert [(e.at_s - START, e.rank) for e in done.episodes()] == [(3600, 2), (4 * 3600, 0)]


def test_what_came_before_the_counted_time_is_not_counted() -> None:
    one = life(Rows.none(), 24)
    one.counted_s = START + 7200
    done = Followed([one], told=[Told(0, START + 3600.0, "sign", 1), Told(0, START + 7300.0, "sign", 1)])
    assert len(done.episodes()) == 1
    assert done.days == pytest.approx(22 / 24)


def test_a_fast_heart_at_rest_is_told_and_a_calm_one_is_not() -> None:
    rows = minutes(70, 120)
    rows.values[60:, INDEX["heart_rate_bpm"]] = 140
    fast, calm = follow([life(rows), life(minutes(70, 120))], 600).counted(), follow([life(minutes(70, 120))], 600)
    assert {t.who for t in fast} == {0}
    assert "heart_rate_high" in {t.code for t in fast}
    assert calm.counted() == []


def test_a_sign_found_but_never_told_counts_as_lost() -> None:
    rows = minutes(140, 120)
    done = follow([life(rows)], 600)
    told = composite_events.kept("fast", done, ("heart_rate_high",))
    assert (told.signs, told.told) == (1, 1)
    done.told.clear()
    lost = composite_events.kept("fast", done, ("heart_rate_high",))
    assert (lost.signs, lost.told) == (1, 0)


def test_rings_of_hard_limits_are_no_matter_of_the_budget() -> None:
    told = [Told(0, START, code, 2) for code in ("heart_rate_low", "heart_rate_low", "heart_rate_drift_down")]
    rows = composite._rows(composite.Quiet("somebody", 1, 91.31, told), "frozen", goals=True)
    rings = [r for r in rows if r.measure.startswith("rings")]
    assert [r.value for r in rings] == pytest.approx([3, 1, 2])
    assert [r.goal for r in rings] == [None, "<= 1", None]


def test_a_mean_does_not_hide_who_bears_most_of_it() -> None:
    first = composite.Quiet("years", 2, 2 * 365.0, [Told(0, START, "heart_rate_low", 2)] * 9)
    whole = first.joined(composite.Quiet("years", 2, 2 * 365.0, [Told(0, START, "news2_medium", 1)] * 4))
    assert [e.who for e in whole.episodes] == [0] * 9 + [2] * 4
    rows = {r.measure: r for r in composite._rows(whole, "frozen", goals=True)}
    assert rows["families rung at most once a quarter, years"].value == 0.75
    assert rows["families rung at most once a quarter but for hard limits, years"].value == 1
    assert rows["people asked at most once a month, years"].value == 1
    assert "in 1 of 4 people, half of them in 1" in rows["rings to the family per quarter, years"].note


def test_the_years_of_the_goal_are_followed() -> None:
    assert (composite.PERSON_YEARS, composite.YEAR_DAYS) == (200, 365)
    (year,) = composite_homes.years([1], 3)
    upload = year.upload(year.start_s, year.start_s + DAY_S)
    assert upload.values.shape == (upload.at_us.size, len(COLUMNS))
    assert np.isfinite(upload.values[:, INDEX["heart_rate_bpm"]]).all()
    assert np.isnan(upload.values[:, INDEX["systolic_mmhg"]]).all()


def test_simulated_years_are_the_same_each_time_and_state_their_days() -> None:
    first, again = (composite.simulated(2, 20, lambda _: None) for _ in range(2))
    assert first == again
    assert first.days == pytest.approx(40)
    rows = composite._rows(first, "frozen", goals=True)
    assert all(r.negative_hours == pytest.approx(960) and r.n_subjects == 2 for r in rows)
    assert {r.goal for r in rows} == {"<= 0.25", "<= 1", "<= 0.06", None}
    assert rows[6].value == 0
    assert rows[6].ci_high == pytest.approx(3.69 / 40 * 1000, rel=0.01)


def test_a_folder_without_any_recording_is_missing(tmp_path: Path) -> None:
    assert composite.missing(tmp_path) == "rr24h*.npz"
    parts = composite_homes.read(tmp_path)
    assert composite_homes.together(parts, 1) == []


def test_composite_people_have_all_that_was_recorded() -> None:
    if composite.missing(DATA) is not None or not list(DATA.glob("rr24h*.npz")):
        pytest.skip("data not present: rr24h*.npz")
    parts = composite_homes.Parts(
        hearts=[one for one in composite_homes.af_data.recordings(DATA) if one.group != "af"][:2],
        minutes=composite_homes.fitabase.people(DATA),
    )
    people = composite_homes.together(parts, 3)
    assert [p.counted_s - p.start_s for p in people] == [composite_homes.WARM_DAYS * DAY_S] * 2
    assert all(p.rr_ms.size > 10_000 and p.rows.at_s.size > 1000 for p in people)
    assert all((np.diff(p.rows.at_s) >= 0).all() for p in people)
