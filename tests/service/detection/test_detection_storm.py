from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import comb

import pytest

from service.detection.storm import Member, area_silence, call_list, frailty, tail

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def district(name: str, devices: int, silent: int, **more) -> list[Member]:
    return [Member(f"{name}{i}", name, i < silent, **more) for i in range(devices)]


def town(**silent: int) -> list[Member]:
    """Ten districts of ten devices."""
    return [m for name in "abcdefghij" for m in district(name, 10, silent.get(name, 0))]


def test_the_tail_is_that_of_the_binomial_worked_out_by_hand():
    # 2 or 3 of 3 at one half: (3 + 1) / 8.
    assert tail(2, 3, 0.5) == pytest.approx(0.5)
    assert tail(4, 10, 0.02) == pytest.approx(
        sum(comb(10, k) * 0.02**k * 0.98 ** (10 - k) for k in range(4, 11)), rel=1e-9
    )
    assert tail(0, 10, 0.02) == 1.0


def test_a_district_that_falls_silent_is_one_incident_and_names_nobody_twice():
    found = area_silence([*town(c=9), Member("c0", "c", True)], NOW)
    assert [(s.area, s.silent, s.devices) for s in found] == [("c", 10, 11)]
    assert found[0].expected == pytest.approx(0.22)
    assert len(found[0].call_list) == len(set(found[0].call_list)) == 9
    assert found[0].since == NOW


def test_single_faults_all_over_the_town_are_no_storm():
    assert area_silence(town(a=1, c=1, e=1), NOW) == []


def test_two_of_two_devices_are_too_few_for_a_storm():
    assert area_silence([*town(), *district("k", 2, 2)], NOW) == []


def test_many_faults_that_are_usual_there_are_no_storm():
    assert area_silence(town(c=5), NOW, shares={"c": 0.3}) == []
    assert [s.area for s in area_silence(town(c=5), NOW)] == ["c"]


def test_the_chance_is_shared_among_the_areas_looked_at():
    # 3 of 5 at 2 %: 7.8e-5, enough for one area alone, too little among eleven.
    assert 1e-4 / 11 < tail(3, 5, 0.02) < 1e-4
    assert area_silence([*town(), *district("k", 5, 3)], NOW) == []


def test_a_silent_site_is_told_once_and_not_district_by_district():
    found = area_silence(town(**dict.fromkeys("abcdefghij", 8)), NOW)
    assert [s.area for s in found] == [""]
    assert found[0].silent == 80


def test_a_storm_ends_only_when_few_are_silent():
    since = NOW - timedelta(hours=1)
    # Armed by three, it lasts with two and is over with one: somebody alone is no area.
    assert area_silence(town(c=2), NOW, open_since={"c": since})[0].since == since
    assert area_silence(town(c=2), NOW) == []
    assert area_silence(town(c=1), NOW, open_since={"c": since}) == []
    # Forty: armed by eight, over at three tenths of that.
    large = [*town(), *district("k", 40, 3)], [*town(), *district("k", 40, 2)]
    assert [len(area_silence(members, NOW, open_since={"k": since})) for members in large] == [1, 0]


def test_a_real_sos_stands_above_the_frailest_and_the_frailest_above_the_rest():
    members = [
        Member("well", "a", True, 1.0),
        Member("frail", "a", True, 9.0),
        Member("heard", "a", False, 20.0),
        Member("unknown", "a", True, float("nan")),
        Member("sos", "a", False, 0.0, sos=True),
    ]
    assert call_list(members) == ("sos", "unknown", "frail", "well")


def test_age_dementia_living_alone_and_vitals_each_raise_frailty():
    base = frailty(70, False, False, 0)
    assert base == 1.0
    assert frailty(90, False, False, 0) == 3.0
    assert frailty(70, True, False, 0) == frailty(70, False, True, 0) == base + 2
    assert frailty(70, False, False, 6) == base + 3
    assert frailty(None, False, False, None) == frailty(80, False, False, 3)


def test_nobody_at_all_is_no_storm():
    assert area_silence([], NOW) == []
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        tail(3, 10, 0.0)
