"""Who says that they are away, back or asleep while a case is open is heard in that case too, from the next ring on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from journey_people import Home, Person
from journey_stage import Stage

from service.sealing import SealingError
from service.workflows import cases, records

NAMES = {"son": "이철수", "daughter": "이영희", "niece": "이수진"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stage(request: pytest.FixtureRequest, make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(request.param)


class Family:
    """Three contacts with a page of their own, none of whom picks up, and an SOS that just began."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        made = {login: stage.person(name, login=login, password="a password") for login, name in NAMES.items()}
        self.son, self.daughter, self.niece = made.values()
        self.logins = {one.id: login for login, one in made.items()}
        for one in made.values():
            one.phone.rings_out()
        stage.desk.rings_out()
        self.home: Home = stage.home(*made.values())
        self.home.phone.rings_out()
        self.home.band.sos()

    def says(self, who: Person, **availability: Any) -> requests.Response:
        page = self.stage.log_in(who.id, self.logins[who.id])
        return page.session.put(f"{page.url}/v1/me/availability", json=availability, timeout=20)

    def away(self, who: Person) -> requests.Response:
        return self.says(who, away_until=(self.stage.clock() + timedelta(days=1)).isoformat())

    def rang(self) -> tuple[int, int, int]:
        return self.son.phone.rang, self.daughter.phone.rang, self.niece.phone.rang

    def lines(self, language: str) -> list[str]:
        with self.stage.database.read() as tx:
            row = self.stage.incidents(self.home)[-1]
            return [line.text for line in records.log_records(self.stage.house, tx, row, language)]


@pytest.fixture
def family(stage: Stage) -> Family:
    return Family(stage)


def test_who_says_away_during_an_open_case_is_rung_after_the_others_and_the_log_says_why(family: Family) -> None:
    family.stage.advance_until(lambda: family.son.phone.rang == 1, within_s=20)
    assert family.away(family.daughter).status_code == 204
    family.stage.advance_until(lambda: family.niece.phone.rang == 1, within_s=60)
    assert family.rang() == (1, 0, 1)
    assert "이영희: 자리를 비운다고 알림. 이제 다른 분들 다음에 전화함" in family.lines("ko")
    assert "이영희 says that they are away, and is rung after the others from here on" in family.lines("en")
    family.stage.advance_until(lambda: family.daughter.phone.rang == 1, within_s=60)
    assert family.rang()[1:] == (1, 1), "last, and rung all the same"


def test_who_is_back_during_an_open_case_is_rung_in_their_turn_again(family: Family) -> None:
    family.stage.advance_until(lambda: family.son.phone.rang == 1, within_s=20)
    family.away(family.daughter)
    assert family.says(family.daughter).status_code == 204
    assert "contact_is_back" in family.stage.log(family.home)
    family.stage.advance_until(lambda: family.daughter.phone.rang == 1, within_s=60)
    assert family.niece.phone.rang == 0


def test_everybody_away_during_a_cry_are_all_rung_all_the_same_and_so_is_the_desk(family: Family) -> None:
    for one in (family.son, family.daughter, family.niece):
        family.away(one)
    family.stage.advance_until(lambda: family.stage.desk.rang > 0, within_s=240)
    assert min(family.rang()) >= 1


def test_who_has_it_and_says_that_they_are_away_still_has_it(family: Family) -> None:
    stage = family.stage
    family.daughter.phone.answers("3", "2")
    stage.advance_until(lambda: stage.case(family.home).acknowledged, within_s=120)
    stage.finish_calls()
    held = stage.case(family.home)
    family.away(family.daughter)
    case = stage.case(family.home)
    assert (case.owner_id, case.deadline_at, case.going) == (family.daughter.id, held.deadline_at, held.going)


def test_a_case_whose_record_does_not_open_keeps_nobody_from_saying_that_they_are_away(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise SealingError("it does not open")

    with monkeypatch.context() as patched:
        patched.setattr(cases, "open_case", broken)
        assert family.away(family.daughter).status_code == 204
    page = family.stage.log_in(family.daughter.id, "daughter")
    assert page.get("/v1/me/availability").json()["away_until"] is not None
