"""Calls picked up too late, and calls back: whoever is needed elsewhere hears that, and a drill says that it is one."""

from __future__ import annotations

import pytest
from journey_drills import Drills
from journey_people import Home, Person, spoken
from journey_stage import Stage

from dispatch import messages, messages_drill
from dispatch.drill import DrillState
from service.workflows import records

NOTHING = messages.nothing_open("ko").lines[0]


def lines(stage: Stage, home: Home, language: str = "en") -> list[str]:
    with stage.database.read() as tx:
        return [line.text for line in records.log_records(stage.house, tx, stage.incidents(home)[-1], language)]


def two_cases(stage: Stage, *, ring_first: bool = True) -> tuple[Person, Home, Home]:
    """One daughter, two parents; her telephone rings for the first, and then the second needs her too."""
    daughter = stage.person("김민지")
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    first, second = stage.home(daughter), stage.home(daughter, name="박영호", address="부산 남구 대연동 7")
    for home in (first, second):
        home.phone.rings_out()
    first.band.sos()
    stage.advance(3)
    if ring_first:
        stage.network.pick_up(daughter.phone.number)
        stage.clockwork.run_due()
    second.band.wearable.post(second.band.upload(readings=[second.band.event("sos")]))
    return daughter, first, second


@pytest.mark.parametrize("action", ["acknowledge", "close"])
def test_late_call_offers_the_open_case_that_needs_whoever_picked_up(stage: Stage, action: str) -> None:
    daughter, first, second = two_cases(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    more = {"reason": "test"} if action == "close" else {}
    assert dispatcher.act(stage.incidents(first)[0].id, action, **more).status_code == 200
    stage.advance(2)
    call = daughter.phone.calls[0]
    assert messages.contact_menu("ko").lines[1] in spoken(call) and NOTHING not in spoken(call)
    assert "박영호" not in spoken(call), "nobody is named before a key"
    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(second).owner_id == daughter.id
    assert "대연동" in spoken(call)
    assert stage.log(second).count("offered") == 1
    assert "김민지 picked up about another case and was offered this one" in lines(stage, second)
    assert stage.case(first).owner_id != daughter.id


def test_late_key_three_hears_that_it_is_taken_and_is_offered_the_other_case(stage: Stage) -> None:
    daughter, first, second = two_cases(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    stage.advance(2)
    assert dispatcher.act(stage.incidents(first)[0].id, "acknowledge").status_code == 200
    daughter.phone.presses("3")
    stage.advance(2)
    call = daughter.phone.calls[0]
    assert "이미 이서연 님이 맡았습니다" in spoken(call)
    assert "박영호" not in spoken(call)
    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(second).owner_id == daughter.id


def test_late_call_offers_no_case_that_somebody_else_has(stage: Stage) -> None:
    daughter, first, second = two_cases(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    for home in (second, first):
        assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
    stage.finish_calls()
    assert spoken(daughter.phone.calls[0]) == " ".join(messages.already_taken("ko").lines)
    assert "offered" not in stage.log(second)


def test_offer_that_is_told_twice_is_written_down_once(stage: Stage) -> None:
    daughter, first, second = two_cases(stage, ring_first=False)
    dispatcher = stage.staff("이서연", "dispatcher")
    call = daughter.phone.calls[0]
    object.__setattr__(call.plan, "callbacks", "twice")
    stage.network.pick_up(daughter.phone.number)
    stage.clockwork.run_due()
    assert dispatcher.act(stage.incidents(first)[0].id, "acknowledge").status_code == 200
    stage.advance(2)
    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(second).owner_id == daughter.id
    log = stage.log(second)
    assert (log.count("offered"), log.count("acknowledged")) == (1, 1)


def test_ringing_back_after_a_missed_drill_call_says_that_it_is_a_drill_and_confirms(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.rings_out()
    drills.begin(home)
    stage.advance_until(lambda: son.phone.rang == 1, within_s=1200)
    stage.advance(60)
    call = son.phone.rings_us("3")
    assert "훈련" in call.said[0]["text"] and "실제 상황이 아닙니다" in call.said[0]["text"]
    assert messages_drill.WORDS["drill_confirmed"]["ko"].format(digit="3") in spoken(call)
    drill = drills.until_over(home)
    assert (drill.state, drill.rungs[0].how) == (DrillState.PROVEN, "key")
    assert son.phone.rang == 1
    call = son.phone.rings_us("3")
    assert NOTHING in spoken(call)


def test_ringing_back_without_a_key_confirms_no_drill(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.rings_out()
    drills.begin(home)
    stage.advance_until(lambda: son.phone.rang == 1, within_s=1200)
    stage.advance(60)
    son.phone.rings_us()
    assert drills.until_over(home).state is DrillState.BROKEN


def test_who_rings_back_while_something_is_real_hears_of_that_and_of_no_drill(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son)
    home.phone.rings_out()
    stage.desk.rings_out()
    drills = Drills(stage)
    son.phone.rings_out()
    drills.begin(home)
    stage.advance_until(lambda: son.phone.rang == 1, within_s=1200)
    stage.advance(60)
    home.band.sos()
    stage.advance(40)
    call = son.phone.rings_us("3")
    assert "훈련" not in spoken(call)
    assert stage.case(home).owner_id == son.id


def test_stranger_to_a_drill_hears_nothing_of_it(stage: Stage) -> None:
    son, stranger = stage.person("박서준"), stage.person("나그네")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.rings_out()
    drills.begin(home)
    stage.advance_until(lambda: son.phone.rang == 1, within_s=1200)
    call = stranger.phone.rings_us("3")
    assert spoken(call) == " ".join(messages.nothing_open("ko").lines)
