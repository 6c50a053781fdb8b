"""Asking beside ringing, through the whole house: who is rung when, who hears how it ends, and that the desk waits."""

from __future__ import annotations

from datetime import timedelta

from journey_marks import both_engines
from journey_people import Home, Person
from journey_stage import Stage

from dispatch import messages
from dispatch.codes import Message

NO_ANSWER = {"behaviour": "no_answer"}
FINE = {"behaviour": "answer", "digits": ["1"], "delay_s": 3.0}


def fallen(stage: Stage, *names: str) -> tuple[Home, list[Person]]:
    """Somebody who fell a moment ago and was well until then."""
    contacts = [stage.person(name) for name in names]
    home = stage.home(*contacts)
    home.band.measures()
    return home, contacts


@both_engines
def test_contacts_ring_twenty_seconds_into_the_question_and_hear_that_the_person_is_fine(stage: Stage) -> None:
    home, [son, daughter] = fallen(stage, "김도윤", "김민지")
    home.phone.behaves(NO_ANSWER, FINE)
    son.phone.rings_out()
    home.band.presses("fall")
    began = stage.clock()
    stage.advance(19)
    assert (home.phone.rang, son.phone.rang) == (1, 0)
    stage.advance_until(lambda: son.phone.rang == 1, within_s=2)
    assert stage.case(home).state == "checking"
    stage.advance_until(lambda: stage.case(home).state == "cancelled_by_patient", within_s=60)
    assert stage.clock() - began < timedelta(seconds=75)
    stage.finish_calls()
    assert son.phone.texts[-1].body == messages.text_for(Message.ALL_CLEAR, "ko")
    assert (daughter.phone.rang, daughter.phone.texts, stage.desk.rang) == (0, [], 0)
    son.phone.keeps_quiet()
    stage.advance(660)
    assert stage.case(home).close_reason == "patient_fine"


def test_a_contact_takes_it_while_the_person_is_still_being_asked(stage: Stage) -> None:
    home, [daughter] = fallen(stage, "김민지")
    home.phone.rings_out()
    daughter.phone.answers("3")
    home.band.presses("fall")
    began = stage.clock()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=60)
    assert stage.clock() - began < timedelta(seconds=40)
    assert stage.case(home).owner_id == daughter.id
    stage.finish_calls()
    assert home.phone.rang <= 2


def test_the_desk_waits_for_the_answer_although_every_contact_was_busy(stage: Stage) -> None:
    home, [daughter] = fallen(stage, "김민지")
    home.phone.rings_out()
    daughter.phone.is_busy()
    home.band.presses("fall")
    stage.desk.answers("3")
    stage.advance_until(lambda: stage.case(home).state == "confirmed", within_s=80)
    assert "round_ended" in stage.log(home)
    log = stage.log(home)
    assert log.index("check_ended") < log.index("desk_rung")
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=60)
    stage.finish_calls()


def test_a_help_button_pressed_during_the_question_waits_for_nothing(stage: Stage) -> None:
    home, [daughter] = fallen(stage, "김민지")
    home.phone.waits_for_the_story()
    daughter.phone.answers("3")
    home.band.presses("fall")
    stage.advance(3)
    assert daughter.phone.rang == 0
    home.band.sos()
    assert daughter.phone.rang == 1
    stage.network.hang_up(home.phone.number)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_numbers_that_nobody_proved_bring_in_the_desk_after_one_round(stage: Stage) -> None:
    daughter = stage.person("김민지", verified=False)
    home = stage.home(daughter)
    home.phone.rings_out()
    daughter.phone.rings_out()
    stage.desk.answers("3")
    home.band.measures()
    stage.advance(3660)
    assert stage.conditions(home) == ["device_silent"]
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=300)
    stage.finish_calls()
    assert stage.log(home).count("last_rung_unverified") == 1
    assert (daughter.phone.rang, stage.case(home).owner_role) == (1, "desk")


def test_who_picked_up_just_before_the_person_said_fine_takes_nothing_and_hears_that_it_is_over(stage: Stage) -> None:
    home, [daughter] = fallen(stage, "김민지")
    home.phone.waits_for_the_story()
    daughter.phone.waits_for_the_story()
    home.band.presses("fall")
    stage.advance(22)
    assert daughter.phone.rang == 1
    stage.network.pick_up(daughter.phone.number)
    stage.advance(1)
    home.phone.presses("1")
    stage.advance_until(lambda: stage.case(home).state == "cancelled_by_patient", within_s=10)
    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(home).state == "cancelled_by_patient" and not stage.case(home).acknowledged
    assert messages.nothing_open("ko").lines[0] in daughter.phone.heard
    assert home.name not in daughter.phone.heard
