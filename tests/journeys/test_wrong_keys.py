"""A thumb that slipped: a key that does nothing brings the menu again, and is never taken for silence or an answer."""

from __future__ import annotations

import pytest
from journey_people import Home, Person, spoken
from journey_stage import Stage

from dispatch import messages, messages_doors
from service.workflows import faces, records

NO_SUCH_KEY = messages_doors.word("wrong_key", "ko")


def sos(stage: Stage, *contacts: Person) -> Home:
    home = stage.home(*contacts)
    home.phone.rings_out()
    home.band.sos()
    return home


def lines(stage: Stage, home: Home, language: str = "en") -> list[str]:
    with stage.database.read() as tx:
        return [line.text for line in records.log_records(stage.house, tx, stage.incidents(home)[-1], language)]


def results(stage: Stage, home: Home, language: str = "en") -> list[str]:
    return [one["result_text"] for one in faces.rung(stage.outbox(home), _Names(), home.id, language)]


class _Names(dict):  # type: ignore[type-arg]
    def __missing__(self, _key: object) -> str:
        return "somebody"


@pytest.mark.parametrize("key", ["5", "6", "7", "0", "*", "#"])
def test_wrong_key_brings_the_menu_again_and_rings_nobody_else(stage: Stage, key: str) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.answers(key, "3")
    stage.desk.rings_out()
    daughter.phone.keeps_quiet(texts=True)
    home = sos(stage, son, daughter)
    stage.finish_calls()
    assert stage.case(home).owner_id == son.id
    assert NO_SUCH_KEY in son.phone.heard
    assert son.phone.calls[0].menus == 3, "the menu, the menu again, and when they will be there"
    assert "contact_no_key" not in stage.log(home)
    assert f"김도윤 pressed {key}, which does nothing" in lines(stage, home)
    assert f"김도윤: 없는 번호를 눌러 다시 안내함 (누른 번호 {key})" in lines(stage, home, "ko")


def test_only_wrong_keys_count_as_no_answer_and_the_log_says_which(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.answers("7", "8", "#")
    daughter.phone.answers("3")
    home = sos(stage, son, daughter)
    stage.finish_calls()
    assert son.phone.calls[0].menus == 3
    assert messages_doors.word("wrong_key_end", "ko") in son.phone.heard
    assert stage.case(home).owner_id == daughter.id
    log = stage.log(home)
    assert (log.count("wrong_key"), log.count("contact_no_key")) == (2, 1)
    assert "김도윤 picked up, pressed # and no key that does anything" in lines(stage, home)
    assert "pressed #, which does nothing" in results(stage, home)


def test_wrong_key_and_then_silence_or_hanging_up_is_no_answer(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.answers("5")
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home = sos(stage, son, daughter)
    stage.advance_until(lambda: daughter.phone.rang == 1, within_s=60)
    assert "김도윤 picked up, pressed 5 and no key that does anything" in lines(stage, home)
    stage.advance(2)
    stage.network.pick_up(daughter.phone.number)
    stage.advance(3)
    daughter.phone.presses("8")
    stage.network.hang_up(daughter.phone.number)
    stage.settle()
    assert "contact_call_ended" in stage.log(home)
    [row] = [m for m in stage.outbox(home) if m.target_id == daughter.id and m.channel == "voice"][:1]
    assert (row.status, row.outcome) == ("ended", "wrong_8")


@pytest.mark.parametrize("callbacks", ["late", "twice", "reordered", "lost"])
def test_wrong_key_means_the_same_whatever_becomes_of_the_callbacks(stage: Stage, callbacks: str) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.answers("5", "5", "3", "1", callbacks=callbacks)
    daughter.phone.rings_out()
    stage.desk.rings_out()
    home = sos(stage, son, daughter)
    stage.advance_until(lambda: stage.case(home).going is not None, within_s=200)
    stage.finish_calls()
    stage.advance(60)
    assert stage.case(home).owner_id == son.id
    log = stage.log(home)
    assert (log.count("wrong_key"), log.count("contact_no_key"), log.count("acknowledged")) == (1, 0, 1)


@pytest.mark.parametrize("key", ["5", "0", "*", "#"])
def test_person_who_presses_another_key_is_helped_at_once_and_the_log_does_not_say_two(stage: Stage, key: str) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.behaves({"behaviour": "answer", "digits": [key], "delay_s": 3.0}, {"behaviour": "no_answer"})
    daughter.phone.answers("3")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert NO_SUCH_KEY not in spoken(home.phone.calls[0]), "whatever they press at that question, help is rung"
    said = lines(stage, home)
    assert f"The patient's answer: pressed another key, which counts as asking for help (key {key})" in said
    assert f"대상자의 답: 다른 번호를 눌러 도움 요청으로 봄 (누른 번호 {key})" in lines(stage, home, "ko")
    assert not [line for line in said if "asked for help" in line]
    assert f"pressed {key}, which counts as asking for help" in results(stage, home)


def test_desk_that_slips_hears_the_menu_again_and_takes_it(stage: Stage) -> None:
    home = stage.home()
    stage.desk.answers("1", "3", "9", "5")
    home.phone.answers()
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_role == "desk"
    assert spoken(stage.desk.calls[0]).count(NO_SUCH_KEY) == 2
    assert "bridged" in stage.log(home)


def test_desk_that_only_slips_is_rung_again_in_its_turn(stage: Stage) -> None:
    home = stage.home()
    stage.desk.answers("1", "2", "4")
    home.phone.rings_out()
    home.band.sos()
    stage.advance_until(lambda: "desk_no_key" in stage.log(home), within_s=120)
    assert "The control centre picked up and pressed 4, which does not take it" in lines(stage, home)
    assert not stage.case(home).acknowledged


def test_key_that_is_no_time_of_arrival_asks_for_it_again(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "*", "2")
    stage.desk.rings_out()
    home = sos(stage, daughter)
    stage.finish_calls()
    going = stage.case(home).going
    assert going is not None and (going.eta_at - going.said_at).total_seconds() == 1200
    assert NO_SUCH_KEY in daughter.phone.heard


def test_owner_who_slips_when_ringing_back_is_asked_again_and_keeps_it(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    home = sos(stage, daughter)
    stage.finish_calls()
    call = daughter.phone.rings_us("8", "5")
    assert NO_SUCH_KEY in spoken(call)
    assert stage.case(home).state == "at_patient"
    call = daughter.phone.rings_us("8", "0")
    assert messages_doors.word("eta_none", "ko") in spoken(call)
    case = stage.case(home)
    assert (case.state, case.owner_id) == ("at_patient", daughter.id)


def test_person_who_slips_when_told_who_comes_hears_the_choice_again(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "2")
    stage.desk.rings_out()
    home = stage.home(daughter)
    home.phone.answers("2", "9", "*")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    assert spoken(home.phone.calls[0]).count(NO_SUCH_KEY) == 2
    home.phone.answers("8", "1")
    stage.advance_until(lambda: bool(home.phone.told_who_comes), within_s=120)
    stage.finish_calls()
    said = spoken(home.phone.told_who_comes[0])
    assert NO_SUCH_KEY in said and "김민지 님이 가고 있습니다" in said


def test_who_is_told_who_comes_may_slip_twice_and_still_hear_it(stage: Stage) -> None:
    home = asked_for_help(stage, "8", "9", "1")
    said = spoken(home.phone.told_who_comes[0])
    assert said.count(NO_SUCH_KEY) == 2 and "김민지 님이 가고 있습니다" in said


def test_third_wrong_key_ends_the_call_that_says_who_comes_and_the_log_blames_nobody(stage: Stage) -> None:
    home = asked_for_help(stage, "8", "9", "*")
    said = spoken(home.phone.told_who_comes[0])
    assert said.count(NO_SUCH_KEY) == 3 and "김민지" not in said
    assert "Call to the patient: picked up, no key that does anything" in lines(stage, home)
    assert "대상자 전화: 받았으나 맞는 번호를 누르지 않음" in lines(stage, home, "ko")
    assert not [line for line in lines(stage, home) if "hung up" in line]
    assert "pressed *, which does nothing" in results(stage, home)
    stage.advance(70)
    assert len(home.phone.told_who_comes) == 2, "what was not heard is brought once more"


def test_silence_at_the_word_of_who_comes_is_not_told_as_hanging_up(stage: Stage) -> None:
    home = asked_for_help(stage)
    assert "Call to the patient: picked up, no key that does anything" in lines(stage, home)
    assert not [line for line in lines(stage, home) if "hung up" in line]


def asked_for_help(stage: Stage, *keys: str) -> Home:
    """The daughter comes, and the person presses these keys when they are rung to hear so."""
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "2")
    stage.desk.rings_out()
    home = stage.home(daughter)
    home.phone.answers("2")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    home.phone.answers(*keys)
    stage.advance_until(lambda: bool(home.phone.told_who_comes), within_s=120)
    stage.finish_calls()
    return home


def test_dispatcher_who_slips_is_connected_all_the_same(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.phone.answers()
    home.band.sos()
    dispatcher = stage.staff("이서연", "dispatcher")
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "acknowledge").status_code == 200
    stage.finish_calls()
    stage.desk.answers("4", "5")
    asked = dispatcher.session.post(f"{stage.url}/v1/incidents/{row.id}/connect", timeout=10)
    assert asked.status_code == 204
    stage.finish_calls()
    assert stage.log(home).count("bridged") == 1
    assert messages.desk_taken("ko").lines[0] not in stage.desk.heard
