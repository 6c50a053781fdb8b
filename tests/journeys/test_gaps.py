"""A time in which nobody could be reached is seen a day ahead, shown, and told to the family once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from journey_people import Console, Home, Person
from journey_stage import Stage

from service.store import people as people_store
from service.store import reachability
from service.workflows import gaps

TEN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
NIGHT = {"from": "22:00", "to": "07:00"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stage(request: pytest.FixtureRequest, make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(request.param)


class Family:
    """A home with two contacts whose numbers are proven, each with a page of their own."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.daughter = stage.person("이영희", login="daughter", password="a password")
        self.son = stage.person("이철수", login="son", password="a password")
        self.home: Home = stage.home(self.daughter, self.son, band=False)
        logins = ((self.daughter, "daughter"), (self.son, "son"))
        self.pages = {one.id: stage.log_in(one.id, name) for one, name in logins}

    def says(self, who: Person, **availability: Any) -> requests.Response:
        page = self.pages[who.id]
        return page.session.put(f"{page.url}/v1/me/availability", json=availability, timeout=20)

    def looks(self) -> int:
        """The jobs' look, and whatever it sends."""
        looked = gaps.look_at_all(self.stage.house)
        self.stage.settle()
        return looked

    def an_hour_later(self) -> None:
        """Time that nobody else does anything in: no need to stop at every tick."""
        self.stage.clock.move_to(self.stage.clock() + timedelta(seconds=3700))

    def listed(self) -> list[gaps.GapLine]:
        return gaps.listed(self.stage.house, self.stage.organisation_id, "ko")

    def page(self, who: Person) -> str:
        return self.pages[who.id].get(f"/patients/{self.home.id}").text


@pytest.fixture
def family(stage: Stage) -> Family:
    return Family(stage)


def may_be_written_to(family: Family) -> None:
    for one in (family.daughter, family.son):
        one.phone.rings_out()
        one.phone.keeps_quiet(texts=True)


def test_while_somebody_can_be_rung_there_is_no_gap(family: Family) -> None:
    family.says(family.daughter, quiet=[NIGHT])
    assert family.looks() >= 1
    assert family.listed() == []
    assert "전화받을 분이 없습니다" not in family.page(family.daughter)


def test_a_gap_24_h_ahead_is_listed_shown_and_told_to_each_of_the_family_once(family: Family) -> None:
    may_be_written_to(family)
    for one in (family.daughter, family.son):
        assert family.says(one, quiet=[NIGHT]).status_code == 204
    family.looks()
    (line,) = family.listed()
    assert (line.patient_id, line.running) == (family.home.id, False)
    assert line.from_at == TEN + timedelta(hours=12)
    assert line.until_at == TEN + timedelta(hours=21)
    assert "3월 2일 22:00부터" in family.page(family.son)
    for one in (family.daughter, family.son):
        (text,) = one.phone.texts
        assert "3월 2일 22시부터" in text.body
        assert family.home.name not in text.body
    for _ in range(3):
        family.an_hour_later()
        assert family.looks() == 1
    assert len(family.daughter.phone.texts) == 1


def test_a_change_that_comes_during_the_hourly_look_is_looked_at_too(family: Family) -> None:
    family.looks()
    family.an_hour_later()
    now = family.stage.clock()
    with family.stage.house.database.write() as tx:
        reachability.look_again(tx, [family.home.id])
        reachability.looked_in_vain(tx, [family.home.id], now - gaps.LOOK_EVERY, now)
    assert family.looks() == 1
    assert family.looks() == 0


def test_the_hourly_look_at_who_can_be_reached_writes_for_all_at_once(family: Family, monkeypatch: Any) -> None:
    family.looks()
    family.an_hour_later()
    monkeypatch.setattr(gaps, "_look", lambda *_: pytest.fail("took the patient's lock for nothing"))
    assert family.looks() == 1
    assert family.looks() == 0


def test_a_gap_that_comes_every_night_is_told_once_a_week(family: Family) -> None:
    may_be_written_to(family)
    for one in (family.daughter, family.son):
        family.says(one, quiet=[NIGHT])
    for _ in range(40):
        family.looks()
        family.an_hour_later()
    assert len(family.daughter.phone.texts) == 1, "two nights, one week, one text"


def test_a_gap_is_over_as_soon_as_somebody_does_something_about_it(family: Family) -> None:
    may_be_written_to(family)
    for one in (family.daughter, family.son):
        family.says(one, quiet=[NIGHT])
    family.looks()
    assert family.listed()
    family.says(family.son, quiet=[])
    assert family.looks() == 1, "what changed is looked at in the next tick, not in the next hour"
    assert family.listed() == []
    assert "전화받을 분이 없습니다" not in family.page(family.daughter)


def test_everybody_away_is_a_gap_until_the_first_is_back_and_away_ends_by_itself(family: Family) -> None:
    may_be_written_to(family)
    first, second = TEN + timedelta(hours=5), TEN + timedelta(days=3)
    family.says(family.daughter, away_until=first.isoformat())
    family.says(family.son, away_until=second.isoformat())
    family.looks()
    (line,) = family.listed()
    assert (line.running, line.until_at) == (True, first)
    for _ in range(5):
        family.an_hour_later()
    family.looks()
    assert family.listed() == []
    own = family.pages[family.daughter.id].get("/v1/me/availability").json()
    assert own["away_until"] is None, "over by itself"


def test_numbers_that_nobody_proved_are_a_gap_without_an_end(stage: Stage) -> None:
    stranger = stage.person("박이웃", verified=False)
    stranger.phone.rings_out()
    stranger.phone.keeps_quiet(texts=True)
    home = stage.home(stranger, band=False)
    gaps.look_at_all(stage.house)
    stage.settle()
    (line,) = gaps.listed(stage.house, stage.organisation_id, "en")
    assert (line.patient_id, line.until_at) == (home.id, None)
    assert stranger.phone.texts == [], "a new contact is not told that nobody can be reached"


@pytest.mark.parametrize("spoken_against", [people_store.phone_broken, people_store.retire_phone])
def test_a_number_that_was_proven_and_is_broken_or_given_up_since_reaches_nobody(
    stage: Stage, spoken_against: Callable[..., None]
) -> None:
    daughter = stage.person("이영희")
    home = stage.home(daughter, band=False)
    gaps.look_at_all(stage.house)
    assert gaps.listed(stage.house, stage.organisation_id, "en") == []
    with stage.house.database.write() as tx:
        index = stage.house.keys.blind_index("phone", daughter.phone.number)
        spoken_against(tx, daughter.id, index, stage.clock())
    gaps.look_at_all(stage.house)
    assert [line.patient_id for line in gaps.listed(stage.house, stage.organisation_id, "en")] == [home.id]


def test_a_family_whose_numbers_nobody_proved_reads_that_they_are_rung_all_the_same(stage: Stage) -> None:
    daughter = stage.person("이영희", login="daughter", password="a password", verified=False)
    home = stage.home(daughter, band=False)
    gaps.look_at_all(stage.house)
    page = stage.log_in(daughter.id, "daughter").get(f"/patients/{home.id}").text
    assert "부터 연락이 닿는다고 확인된 분이 없습니다" in page
    assert "그때까지도 그분들과 관제센터에 전화합니다" in page


def test_a_text_about_tomorrow_wakes_nobody(family: Family) -> None:
    for one in (family.daughter, family.son):
        family.says(one, quiet=[{"from": "20:00", "to": "23:00"}])
    for _ in range(15):  # until one in the morning
        family.an_hour_later()
    family.looks()
    assert family.listed()
    may_be_written_to(family)
    for _ in range(8):
        family.an_hour_later()
    family.looks()
    assert len(family.daughter.phone.texts) == 1


def test_one_persons_broken_record_does_not_hide_the_others_gap(family: Family, monkeypatch: Any) -> None:
    may_be_written_to(family)
    other = family.stage.home(name="박말순", band=False)
    real = gaps.plans.policy_for

    def breaks(house: Any, tx: Any, patient: Any) -> Any:
        if patient.patient_id == other.id:
            raise ValueError("broken")
        return real(house, tx, patient)

    monkeypatch.setattr(gaps.plans, "policy_for", breaks)
    for one in (family.daughter, family.son):
        family.says(one, quiet=[NIGHT])
    assert family.looks() == 2
    assert [line.patient_id for line in family.listed()] == [family.home.id]
    assert family.looks() == 0, "the broken one is looked at again in an hour, not in every tick"
    family.an_hour_later()
    assert family.looks() == 2
    assert family.looks() == 0


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"quiet": [{"from": "22:00", "to": "22:00"}]}, "quiet"),
        ({"quiet": [{"from": "25:00", "to": "07:00"}]}, "quiet"),
        ({"quiet": [{"from": "00:00", "to": "16:01"}]}, "quiet"),
        ({"quiet": [{"from": "00:00", "to": "12:00"}, {"from": "11:00", "to": "23:59"}]}, "quiet"),
        ({"quiet": [NIGHT] * 5}, "quiet"),
        ({"away_until": "2026-03-01T00:00:00Z"}, "away_until"),
        ({"away_until": "2026-06-01T00:00:00Z"}, "away_until"),
        ({"away_until": "2026-03-04T00:00:00"}, "away_until"),
    ],
)
def test_nobody_can_be_quiet_all_day_or_away_without_an_end(family: Family, wanted: Any, field: str) -> None:
    answer = family.says(family.daughter, **wanted)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "availability_invalid", field)


def test_the_form_sets_hours_and_a_day_and_clears_them(family: Family) -> None:
    page: Console = family.pages[family.daughter.id]
    url = f"{page.url}/patients/{family.home.id}/availability"
    csrf = {"csrf": page.session.headers["X-CSRF-Token"]}
    form = csrf | {"quiet_from": "22:30", "quiet_to": "06:30", "away_until": "2026-03-05"}
    said = page.session.post(url, data=form, timeout=20)
    assert said.status_code == 200
    assert "매일 22:30부터 06:30까지는" in said.text
    assert "3월 5일까지 자리를 비웁니다" in said.text
    assert page.session.post(url, data=csrf | {"quiet_from": "22:30"}, timeout=20).status_code == 409
    assert page.session.post(url, data=csrf | {"away_until": "2027-03-05"}, timeout=20).status_code == 409
    assert "매일" not in page.session.post(url, data=csrf, timeout=20).text.split("quiet-from")[0]


def test_a_machine_has_no_hours_of_its_own(family: Family) -> None:
    machine = family.stage.machine()
    answer = machine.session.put(f"{machine.url}/v1/me/availability", json={}, timeout=20)
    assert answer.status_code == 403


def test_a_gap_is_over_as_soon_as_a_number_is_proven_and_not_an_hour_later(stage: Stage) -> None:
    neighbour = stage.person("박이웃", verified=False)
    neighbour.phone.rings_out()
    neighbour.phone.keeps_quiet(texts=True)
    home = stage.home(neighbour, band=False)
    gaps.look_at_all(stage.house)
    assert len(gaps.listed(stage.house, stage.organisation_id, "en")) == 1
    index = stage.house.keys.blind_index("phone", neighbour.phone.number)
    with stage.house.database.write() as tx:
        people_store.phone_answered(tx, neighbour.id, index, stage.clock())
    assert gaps.look_at_all(stage.house) == 1, "what changed is looked at in the next tick"
    assert gaps.listed(stage.house, stage.organisation_id, "en") == []
    with stage.house.database.write() as tx:
        people_store.phone_answered(tx, neighbour.id, index, stage.clock())
    assert gaps.look_at_all(stage.house) == 0, "a proof that is only renewed changes nothing"
    for change in (people_store.phone_broken, people_store.retire_phone):
        with stage.house.database.write() as tx:
            change(tx, neighbour.id, index, stage.clock())
        assert gaps.look_at_all(stage.house) == 1, change.__name__
    assert [line.patient_id for line in gaps.listed(stage.house, stage.organisation_id, "en")] == [home.id]
    stage.link(stage.person("이영희"), home, 1)
    assert gaps.look_at_all(stage.house) == 1, "somebody new to ring is looked at at once"
    assert gaps.listed(stage.house, stage.organisation_id, "en") == []


def test_a_gap_that_is_over_is_told_by_nobody_although_no_look_came_yet(family: Family) -> None:
    may_be_written_to(family)
    back = TEN + timedelta(minutes=30)
    for one in (family.daughter, family.son):
        family.says(one, away_until=back.isoformat())
    family.looks()
    path = f"/v1/patients/{family.home.id}/reachability"
    assert family.pages[family.son.id].get(path).json()["gap_from"] is not None
    family.stage.clock.move_to(back + timedelta(seconds=1))
    assert family.pages[family.son.id].get(path).json()["gap_from"] is None
