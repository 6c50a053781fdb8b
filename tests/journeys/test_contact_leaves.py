"""Somebody is a contact no more: never rung again, and never so that nobody notices who is left."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from journey_drills import Drills
from journey_people import Console, Home, Person
from journey_stage import Stage

from dispatch import messages_drill
from service.store import audit
from service.store import people as people_store
from service.workflows import reachability, records

LINK = re.compile(r"/r/([\w-]{43})")


class Two:
    """A home with a son and a daughter, both proven, and an operator."""

    def __init__(self, stage: Stage, *, daughter_proven: bool = True) -> None:
        self.stage = stage
        self.son: Person = stage.person("김도윤", login="son", password="a password")
        self.daughter: Person = stage.person("김민지", verified=daughter_proven)
        self.home: Home = stage.home(self.son, self.daughter)
        self.desk: Console = stage.staff("운영", "operator")
        self.home.phone.rings_out()
        stage.desk.rings_out()

    def remove(self, who: Person, by: Console | None = None, **more: object) -> requests.Response:
        asking, path = by or self.desk, f"/v1/patients/{self.home.id}/contacts/{who.id}/remove?language=en"
        answer = asking.session.post(f"{asking.url}{path}", json={"why": "left", **more}, timeout=20)
        self.stage.settle()
        return answer

    def sos(self) -> None:
        assert self.home.band is not None
        self.home.band.sos()

    def lines(self, language: str = "en") -> list[str]:
        with self.stage.database.read() as tx:
            found = records.log_records(self.stage.house, tx, self.stage.incidents(self.home)[-1], language)
        return [line.text for line in found]


@pytest.fixture
def two(make_stage: Callable[..., Stage]) -> Two:
    return Two(make_stage(ANSIM_SILENT_AFTER_S="604800"))


def test_who_was_removed_is_rung_no_more_and_sees_nothing_any_more(two: Two) -> None:
    stage = two.stage
    page = stage.log_in(two.son.id, "son")
    assert page.get(f"/v1/patients/{two.home.id}/status").status_code == 200
    gone = two.remove(two.son)
    assert gone.status_code == 200
    assert (gone.json()["contacts"], gone.json()["proven"], gone.json()["last_proven"]) == (1, 1, False)
    assert gone.json()["text"].startswith("Then 1 proven")
    assert page.get(f"/v1/patients/{two.home.id}/status").status_code == 403
    assert two.remove(two.son).status_code == 404, "it is done once"
    two.son.phone.keeps_quiet()
    two.daughter.phone.answers("3")
    two.sos()
    stage.finish_calls()
    assert stage.case(two.home).owner_id == two.daughter.id
    with stage.house.database.read() as tx:
        looks = audit.accesses(tx, two.home.id, most=50)
    assert [one.viewer_id for one in looks if one.purpose == "action:remove_contact"].count(two.desk.person_id) >= 1


def test_the_last_who_is_proven_reachable_goes_only_with_a_second_look(make_stage: Callable[..., Stage]) -> None:
    two = Two(make_stage(ANSIM_SILENT_AFTER_S="604800"), daughter_proven=False)
    asked = two.remove(two.son)
    assert (asked.status_code, asked.json()["code"], asked.json()["field"]) == (422, "last_proven", "sure")
    assert "sure must be true" in asked.json()["detail"] and "none of the 1 left is proven" in asked.json()["detail"]
    assert two.remove(two.daughter).json()["last_proven"] is False, "nothing proven goes with her"
    nobody = two.remove(two.son)
    assert "nobody left to ring but the control centre" in nobody.json()["detail"]
    assert two.remove(two.son, sure=True).status_code == 200
    assert "contacts" in {one.link for one in reachability.of_patient(two.stage.house, two.home.id, "en").broken}


def test_removed_while_a_case_is_open_they_are_rung_no_more_and_the_log_says_so(two: Two) -> None:
    stage = two.stage
    two.son.phone.rings_out()
    two.daughter.phone.rings_out()
    two.sos()
    stage.advance_until(lambda: two.daughter.phone.rang > 0, 180)
    link = LINK.search(two.son.phone.texts[-1].body)
    assert link is not None
    rang = two.son.phone.rang
    assert two.remove(two.son, why="asked").status_code == 200
    two.son.phone.keeps_quiet(texts=False)
    stage.advance(400)
    assert two.son.phone.rang == rang and two.daughter.phone.rang > 1, "her second round has come"
    assert any("removed 김도윤, who is rung no more" in line for line in two.lines())
    assert any("김도윤 님을 연락처에서 뺌" in line for line in two.lines("ko"))
    assert requests.get(f"{stage.url}/r/{link[1]}", timeout=20).status_code in {404, 410}
    assert requests.post(f"{stage.url}/r/{link[1]}", data={"action": "acknowledge"}, timeout=20).status_code >= 400
    assert not stage.case(two.home).acknowledged


def test_whose_turn_it_is_when_they_are_removed_is_followed_by_the_next_at_once(two: Two) -> None:
    stage = two.stage
    two.son.phone.waits_for_the_story()
    two.daughter.phone.answers("3")
    two.sos()
    stage.advance_until(lambda: two.son.phone.rang > 0, 120)
    assert two.daughter.phone.rang == 0
    two.remove(two.son, why="wrong_number")
    stage.advance_until(lambda: two.daughter.phone.rang > 0, 10)


def test_the_only_one_left_to_ring_for_an_open_case_stays_unless_the_number_is_wrong(two: Two) -> None:
    stage = two.stage
    two.remove(two.daughter)
    two.son.phone.rings_out()
    two.sos()
    stage.advance_until(lambda: two.son.phone.rang > 0, 120)
    kept = two.remove(two.son, why="asked", sure=True)
    assert (kept.status_code, kept.json()["code"]) == (409, "only_rung")
    assert two.remove(two.son, why="wrong_number", sure=True).status_code == 200
    before = stage.desk.rang
    stage.advance_until(lambda: stage.desk.rang > before, 180)


def test_a_drill_goes_on_without_them_and_nothing_red_is_left_of_them(two: Two) -> None:
    stage, drills = two.stage, Drills(two.stage)
    two.son.phone.is_switched_off()
    two.daughter.phone.answers("3")
    drills.begin(two.home)
    stage.advance_until(lambda: two.son.phone.rang > 0, 3600)
    link = LINK.search(two.son.phone.texts[-1].body)
    two.remove(two.son)
    two.son.phone.keeps_quiet()
    drill = drills.until_over(two.home)
    assert drill.missed == [] and [rung.away for rung in drill.rungs] == [True, False]
    assert not reachability.of_patient(stage.house, two.home.id, "en").red
    assert link is not None and requests.get(f"{stage.url}/r/{link[1]}", timeout=20).status_code in {404, 410}


def test_who_may_remove_a_contact(two: Two) -> None:
    stage = two.stage
    neighbour = stage.person("박이웃", login="neighbour", password="a password")
    stage.link(neighbour, two.home, 2)
    family = stage.log_in(neighbour.id, "neighbour")
    assert two.remove(two.son, by=family).status_code == 403, "another contact's place is not theirs to give away"
    assert two.remove(two.son, by=stage.machine()).status_code == 403, "without patients:write"
    assert two.remove(two.son, by=two.desk, why="tired").status_code == 422
    assert two.remove(neighbour, by=family).status_code == 200, "their own is"
    with stage.house.database.read() as tx:
        assert neighbour.id not in {one.person_id for one in people_store.caregivers(tx, two.home.id)}


def test_the_page_shows_what_the_ladder_is_then_and_wants_a_tick_for_the_last(two: Two) -> None:
    desk, path = two.desk, f"/patients/{two.home.id}/numbers"
    csrf = {"csrf": desk.session.headers["X-CSRF-Token"], "why": "left"}
    first = desk.get(path).text
    assert first.count("연락처에서 빼기</button>") == 2 and 'name="sure"' not in first
    done = desk.session.post(f"{desk.url}{path}/{two.daughter.id}/remove", data=csrf, timeout=20)
    assert done.status_code == 200 and "연락처에서 뺐습니다." in done.text and "확인된 연락처 1곳" in done.text
    assert 'name="sure"' in done.text and "관제센터 말고는 전화할 분이 없습니다" in done.text
    refused = desk.session.post(f"{desk.url}{path}/{two.son.id}/remove", data=csrf, timeout=20)
    assert refused.status_code == 409 and "확인된 마지막 연락처입니다" in refused.text
    ticked = desk.session.post(f"{desk.url}{path}/{two.son.id}/remove", data=csrf | {"sure": "yes"}, timeout=20)
    assert ticked.status_code == 200


def test_what_is_left_of_a_ladder_has_its_words() -> None:
    for case, pair in messages_drill.LEFT.items():
        for language in ("ko", "en"):
            said = messages_drill.left_text(case, 2, 1, "22:00", language)
            assert "{" not in said and said != pair["en" if language == "ko" else "ko"]
