"""A drill's link, code and key while something real is open: they lead to what is real, and prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from journey_drills import Drills
from journey_people import Home, Person, spoken
from journey_stage import Stage

from dispatch.drill import DrillState
from service.workflows import verifying

LINK = re.compile(r"/r/([\w-]{43})")
CASE = re.compile(r'name="case" value="([0-9a-f-]{36})"')


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(ANSIM_SILENT_AFTER_S="86400")


def page_of(stage: Stage, body: str) -> str:
    path = LINK.search(body)
    assert path is not None, body
    return f"{stage.url}/r/{path[1]}"


def tap(stage: Stage, url: str, action: str, **more: str) -> requests.Response:
    answer = requests.post(url, data={"action": action} | more, timeout=20)
    stage.settle()
    return answer


def drilled(stage: Stage, *contacts: Person) -> tuple[Home, Drills, list[str]]:
    """A drill is going on, its links were written, and the person presses for help."""
    home, drills = stage.home(*contacts), Drills(stage)
    stage.desk.rings_out()
    for one in contacts:
        one.phone.waits_for_the_story()
    home.phone.answers("2")
    drills.begin(home)
    links = [page_of(stage, one.phone.texts[0].body) for one in contacts]
    assert "훈련입니다" in requests.get(links[0], timeout=20).text
    assert home.band is not None
    home.band.sos()
    stage.advance_until(lambda: contacts[0].phone.rang > 0, 120)
    return home, drills, links


def test_a_drills_link_opened_during_a_real_sos_says_so_and_takes_the_real_case(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills, [link] = drilled(stage, son)
    shown = requests.get(link, timeout=20)
    assert shown.status_code == 200
    assert "훈련이 아닙니다" in shown.text and "맡아 주실 수 있나요" in shown.text
    assert "훈련입니다" not in shown.text
    assert home.name not in shown.text and home.address not in shown.text, "nothing of anybody before a tap"
    case = CASE.search(shown.text)
    assert case is not None
    taken = tap(stage, link, "acknowledge", case=case[1])
    assert home.name in taken.text and home.address in taken.text
    [incident] = stage.incidents(home)
    assert (incident.acknowledged, incident.owner_id) == (True, son.id)
    going = tap(stage, link, "going", case=case[1], eta_min="10")
    assert going.status_code == 200 and CASE.search(going.text)
    wrong = tap(stage, link, "going", case=case[1], eta_min="<999>")
    assert wrong.status_code == 422 and "1분부터 120분까지" in wrong.text and "&lt;999&gt;" in wrong.text
    assert drills.last(home).state is DrillState.WAITING and drills.last(home).rungs[0].reached_at is None


def test_a_tap_meant_for_the_drill_takes_no_real_case_and_confirms_no_drill(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills, [link] = drilled(stage, son)
    for meant in ("confirm", "acknowledge", "show"):
        answer = tap(stage, link, meant)
        assert "훈련이 아닙니다" in answer.text and CASE.search(answer.text), meant
        assert home.name not in answer.text
    assert not stage.incidents(home)[0].acknowledged, "whoever tapped had only seen a drill"
    assert drills.last(home).rungs[0].reached_at is None
    assert drills.reach(home).proven_at is None


def test_a_contact_who_is_not_rung_for_it_yet_reads_neutral_words_and_can_take_nothing(stage: Stage) -> None:
    son, neighbour = stage.person("박서준"), stage.person("윤미경")
    home, drills, links = drilled(stage, son, neighbour)
    assert neighbour.phone.rang == 0
    shown = requests.get(links[1], timeout=20).text
    assert "훈련이 아닙니다" in shown and "다음 전화를 받아" in shown and "<form" not in shown.partition("<main")[2]
    tap(stage, links[1], "acknowledge", case=str(stage.incidents(home)[0].id))
    assert not stage.incidents(home)[0].acknowledged
    assert [one.reached_at for one in drills.last(home).rungs] == [None, None]


def test_a_tap_on_the_real_page_after_the_case_was_closed_confirms_no_drill(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills, [link] = drilled(stage, son)
    incident_id = stage.incidents(home)[0].id
    closed = stage.machine().act(incident_id, "close", reason="needed_help")
    assert closed.status_code == 200, closed.text
    answer = tap(stage, link, "acknowledge", case=str(incident_id))
    assert answer.status_code == 410 and "끝난 일입니다" in answer.text
    assert drills.last(home).rungs[0].reached_at is None
    assert "훈련입니다" in requests.get(link, timeout=20).text, "it is a drill again"
    assert "고맙습니다" in tap(stage, link, "confirm").text
    assert drills.last(home).rungs[0].reached_at == stage.clock()


def test_while_a_case_settles_the_drills_link_only_says_that_the_drill_waits(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills, [link] = drilled(stage, son)
    stood_down = stage.machine().act(stage.incidents(home)[0].id, "stand_down", reason="false_alarm_person")
    assert stood_down.status_code == 200, stood_down.text
    shown = tap(stage, link, "confirm").text
    assert "훈련을 잠시 멈추었습니다" in shown and "훈련이 아닙니다" not in shown
    assert drills.last(home).rungs[0].reached_at is None


def test_a_key_pressed_in_a_drills_call_after_a_real_sos_confirms_nothing(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills = stage.home(son), Drills(stage)
    stage.desk.rings_out()
    son.phone.waits_for_the_story()
    home.phone.waits_for_the_story()
    drills.begin(home)
    stage.advance_until(lambda: son.phone.rang > 0, 700)
    stage.network.pick_up(son.phone.number)
    stage.advance(2)
    assert home.band is not None
    assert home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")])).status_code == 200
    stage.network.press(son.phone.number, "3")
    stage.advance(2)
    assert "훈련을 멈추었습니다" in spoken(son.phone.calls[0])
    assert drills.last(home).rungs[0].reached_at is None


def test_a_verifications_link_gives_way_to_a_real_case_too(stage: Stage) -> None:
    son, neighbour = stage.person("박서준"), stage.person("윤미경", verified=False)
    home = stage.home(son, neighbour)
    Drills(stage)
    for one in (son, neighbour, home):
        one.phone.waits_for_the_story()
    stage.desk.rings_out()
    verifying.begin(stage.house, home.id, neighbour.id)
    stage.settle()
    link = page_of(stage, neighbour.phone.texts[0].body)
    assert "연락처 확인" in requests.get(link, timeout=20).text
    assert home.band is not None
    home.band.sos()
    assert "지금 실제 상황이 있습니다" in tap(stage, link, "confirm").text
    shown = requests.get(link, timeout=20).text
    assert "훈련" not in shown.partition("<main")[2], "nobody told them of a drill"
    stood_down = stage.machine().act(stage.incidents(home)[0].id, "stand_down", reason="false_alarm_person")
    assert stood_down.status_code == 200, stood_down.text
    settled = requests.get(link, timeout=20).text
    assert "번호 확인을 잠시 미루었습니다" in settled and "훈련" not in settled.partition("<main")[2]


def test_a_verifications_link_of_who_is_rung_leads_to_the_case_without_a_word_of_a_drill(stage: Stage) -> None:
    son = stage.person("박서준", verified=False)
    home = stage.home(son)
    Drills(stage)
    stage.desk.rings_out()
    son.phone.waits_for_the_story()
    home.phone.answers("2")
    verifying.begin(stage.house, home.id, son.id)
    stage.settle()
    link = page_of(stage, son.phone.texts[0].body)
    assert home.band is not None
    home.band.sos()
    stage.advance_until(lambda: son.phone.rang > 1, 120)
    shown = requests.get(link, timeout=20).text
    case = CASE.search(shown)
    assert case is not None
    taken = tap(stage, link, "acknowledge", case=case[1])
    assert home.name in taken.text
    for text in (shown, taken.text):
        assert "지금 실제 상황이 있습니다" in text and "훈련" not in text.partition("<main")[2]


def test_the_link_of_a_drill_that_does_not_open_says_that_it_is_over(stage: Stage) -> None:
    son = stage.person("박서준")
    home, drills = stage.home(son), Drills(stage)
    son.phone.waits_for_the_story()
    drills.begin(home)
    link = page_of(stage, son.phone.texts[0].body)
    with stage.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE drill SET sealed = x'00' WHERE patient_id = ?", (home.id.hex,))
    assert tap(stage, link, "confirm").status_code == 410
