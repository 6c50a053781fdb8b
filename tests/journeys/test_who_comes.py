"""Somebody goes: the person hears who and when, the others too, and who does not arrive is missed."""

from __future__ import annotations

import pytest
from journey_marks import both_engines
from journey_people import Home, Person, spoken
from journey_stage import Stage

from dispatch import messages
from dispatch.codes import Message


def answer(*digits: str) -> dict[str, object]:
    return {"behaviour": "answer", "digits": list(digits), "delay_s": 3.0}


def help_asked(stage: Stage, **care: object) -> tuple[Home, Person, Person]:
    """Somebody who fell and asked for help; the son's line is busy, the daughter takes it and comes in 20 minutes."""
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter, **care)
    home.band.measures()
    son.phone.is_busy()
    daughter.phone.answers("3", "2")
    return home, son, daughter


@both_engines
def test_after_help_the_person_hears_who_comes_and_when_after_a_key(stage: Stage) -> None:
    home, son, daughter = help_asked(stage)
    home.phone.behaves(answer("2"), answer("1"))
    home.band.presses("fall")
    stage.advance(90)
    stage.finish_calls()
    case = stage.case(home)
    assert (case.owner_id, case.going.person_id) == (daughter.id, daughter.id)
    [call] = home.phone.told_who_comes
    heard = spoken(call)
    assert "김민지" in heard and "분" in heard
    assert "patient_told" in stage.log(home)
    # The son, who was rung in vain, hears that she goes and when.
    assert messages.text_for(Message.GOING, "ko", {"role": "caregiver", "eta_min": 20}) in {
        text.body for text in son.phone.texts
    }


def test_after_a_duress_key_the_telephone_does_not_ring_to_say_who_comes(stage: Stage) -> None:
    home, _, daughter = help_asked(stage, duress_digit="7")
    home.phone.answers("7")
    home.band.presses("fall")
    stage.advance(180)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert home.phone.told_who_comes == [] and home.phone.rang == 1


def test_help_pressed_while_somebody_has_it_rings_them_and_the_person_hears_just_that(stage: Stage) -> None:
    home, _son, daughter = help_asked(stage)
    home.phone.behaves(answer("2"), answer("1"))
    home.band.presses("fall")
    stage.advance(90)
    stage.finish_calls()
    rang, desk = daughter.phone.rang, stage.desk.rang
    call = home.phone.rings_us("2")
    said = spoken(call)
    assert "맡고 계신 분께 지금 다시 전화하고 있습니다" in said and "김민지 님이" in said
    assert "도와드릴 분께 전화하고 있습니다" not in said, "nobody else is rung"
    stage.advance(10)
    assert (daughter.phone.rang, stage.desk.rang) == (rang + 1, desk), "they had asked for help before"


def test_who_does_not_arrive_is_reminded_and_everybody_is_rung_again(stage: Stage) -> None:
    home, son, daughter = help_asked(stage)
    home.phone.behaves(answer("2"), answer("1"))
    home.band.presses("fall")
    stage.advance(90)
    stage.finish_calls()
    assert stage.case(home).going is not None
    rang = daughter.phone.rang
    son.phone.rings_out()
    daughter.phone.rings_out()
    stage.desk.rings_out()
    stage.advance_until(lambda: "not_arrived" in stage.log(home), within_s=20 * 60 + 5 * 60 + 30)
    reminder = messages.text_for(Message.REMINDER, "ko")
    stage.settle()
    assert [text for text in daughter.phone.texts if text.body.startswith(reminder)]
    stage.advance(60)
    assert son.phone.rang >= 2 and daughter.phone.rang > rang and stage.desk.rang >= 1
    assert not stage.case(home).acknowledged


def test_who_arrives_says_so_by_ringing_back_and_then_that_all_is_well(stage: Stage) -> None:
    home, son, daughter = help_asked(stage)
    home.phone.behaves(answer("2"), answer("1"))
    home.band.presses("fall")
    stage.advance(90)
    stage.finish_calls()
    daughter.phone.rings_us("5")
    case = stage.case(home)
    assert (case.state, case.owner_id) == ("at_patient", daughter.id)
    assert case.times["first_help_at"] == case.times["at_patient_at"]
    daughter.phone.rings_us("6")
    stage.settle()
    assert (stage.case(home).state, stage.case(home).close_reason) == ("closed", "patient_fine")
    bodies = [text.body for text in son.phone.texts]
    assert bodies[-2:] == [messages.text_for(message, "ko") for message in (Message.ARRIVED, Message.ALL_CLEAR)]


@pytest.mark.parametrize("outcome", ["no_answer", "busy"])
def test_word_that_could_not_be_brought_is_tried_once_more(stage: Stage, outcome: str) -> None:
    home, _, _ = help_asked(stage)
    home.phone.behaves(answer("2"), {"behaviour": outcome}, answer("1"))
    home.band.presses("fall")
    stage.advance(240)
    stage.finish_calls()
    assert [call.status for call in home.phone.told_who_comes] == [outcome.replace("_", "-"), "completed"]
