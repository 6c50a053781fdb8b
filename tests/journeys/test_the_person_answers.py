"""The person is asked first: when "I am fine" is believed, when it is not, and what comes too late."""

from __future__ import annotations

import pytest
from journey_people import Home, Person
from journey_stage import Stage

from dispatch import messages
from service.workflows import family


def fallen(stage: Stage, *, measures: bool = True, **care: object) -> tuple[Home, Person]:
    """Somebody who fell a moment ago, with a daughter who takes it when she is rung."""
    daughter = stage.person("김민지")
    home = stage.home(daughter, **care)
    daughter.phone.answers("3")
    if measures:
        home.band.measures()
    return home, daughter


def test_fine_ends_a_check_and_rings_nobody(stage: Stage) -> None:
    home, daughter = fallen(stage)
    daughter.phone.keeps_quiet()
    home.phone.answers("1")
    answer = home.band.presses("fall")
    assert answer["ask"]["text"] == "괜찮으세요?"
    assert answer["settings"]["upload_interval_s"] < 60
    stage.finish_calls()
    case = stage.case(home)
    assert (case.state, case.ask.answer) == ("cancelled_by_patient", "fine")
    stage.advance(660)
    assert stage.case(home).state == "closed"
    assert stage.case(home).close_reason == "patient_fine"
    assert home.phone.rang == 1


def test_band_asks_too_and_its_ok_button_ends_the_check(stage: Stage) -> None:
    home, daughter = fallen(stage)
    daughter.phone.keeps_quiet()
    home.phone.waits_for_the_story()
    home.band.presses("fall")
    stage.advance(5)
    home.band.presses("ok_pressed")
    assert stage.case(home).state == "cancelled_by_patient"
    stage.network.hang_up(home.phone.number)
    stage.advance(660)
    assert stage.case(home).state == "closed"


def test_ok_button_pressed_before_the_fall_does_not_answer_for_it(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.rings_out()
    home.band.presses("fall")
    stage.advance(5)
    home.band.presses("ok_pressed", ago_s=1800)
    assert stage.case(home).state == "checking"
    stage.advance(120)
    assert stage.case(home).owner_id == daughter.id


def test_fine_is_not_believed_of_somebody_with_dementia(stage: Stage) -> None:
    home, daughter = fallen(stage, dementia=True)
    home.phone.answers("1")
    home.band.presses("fall")
    stage.finish_calls()
    assert "fine_not_believed" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id
    assert messages.ask_reply("ko", messages.Reply.FINE_CHECKED).lines[0] in home.phone.heard


@pytest.mark.parametrize("how", ["call", "band"])
def test_fine_is_not_believed_when_nothing_was_ever_measured(stage: Stage, how: str) -> None:
    home, daughter = fallen(stage, measures=False)
    home.phone.answers("1") if how == "call" else home.phone.waits_for_the_story()
    home.band.presses("fall")
    if how == "band":
        home.band.presses("ok_pressed")
        stage.network.hang_up(home.phone.number)
    stage.finish_calls()
    assert "fine_not_believed" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id


def test_fine_is_not_believed_on_stale_readings(stage: Stage) -> None:
    home, daughter = fallen(stage)
    stage.advance(600)
    home.phone.answers("1")
    home.band.presses("fall")
    stage.finish_calls()
    assert "fine_not_believed" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id


def test_fine_is_not_believed_while_a_high_priority_sign_is_open(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.answers("1")
    stage.advance(300)
    home.band.measures(spo2_pct=82)
    assert "spo2_low" in stage.conditions(home)
    stage.finish_calls()
    assert "fine_not_believed" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id


def test_fine_is_not_believed_once_an_sos_has_joined(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.waits_for_the_story()
    home.band.presses("fall")
    stage.advance(10)
    assert stage.case(home).state == "checking"
    home.band.sos()
    assert stage.case(home).state == "confirmed"
    home.phone.presses("1")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert "late_fine" in stage.log(home)


def test_duress_digit_sounds_like_fine_and_rings_for_help(stage: Stage) -> None:
    home, daughter = fallen(stage, duress_digit="7")
    home.phone.answers("7")
    home.band.presses("fall")
    stage.finish_calls()
    fine = messages.ask_reply("ko", messages.Reply.FINE).lines
    assert [line["text"] for line in home.phone.calls[0].said][-len(fine) :] == list(fine)
    assert stage.case(home).ask.answer == "duress"
    assert stage.case(home).owner_id == daughter.id


@pytest.mark.parametrize("digit", ["1", "7"])
def test_the_familys_page_does_not_tell_a_duress_key_from_fine(stage: Stage, digit: str) -> None:
    home, _ = fallen(stage, duress_digit="7", dementia=True)
    home.phone.answers(digit)
    home.band.presses("fall")
    stage.finish_calls()
    strip = family.patient(stage.house, home.id, "ko")["incident"]["rung"]
    assert next(line["result_text"] for line in strip if line["who"] == "본인") == "전화를 받음"


@pytest.mark.parametrize("digits", [("2",), ("8",), ("", "")])
def test_help_a_wrong_key_and_no_key_all_ring_for_help(stage: Stage, digits: tuple[str, ...]) -> None:
    home, daughter = fallen(stage)
    home.phone.answers(*digits)
    home.band.presses("fall")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_silence_means_yes(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.rings_out()
    home.band.presses("fall")
    began = stage.clock()
    stage.advance_until(lambda: stage.case(home).state == "confirmed", within_s=180)
    assert (stage.clock() - began).total_seconds() <= 75 + 1
    assert home.phone.rang == 2
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_contacts_ring_at_once_when_the_person_cannot_use_the_telephone(stage: Stage) -> None:
    home, daughter = fallen(stage, voice_works=False)
    home.band.presses("fall")
    stage.finish_calls()
    assert (home.phone.rang, daughter.phone.rang) == (0, 1)


def test_fine_reopens_when_signs_worsen_within_ten_minutes(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.answers("1")
    home.band.presses("fall")
    stage.finish_calls()
    assert stage.case(home).state == "cancelled_by_patient"
    stage.advance(400)
    home.band.measures(spo2_pct=82)
    stage.finish_calls()
    assert "reopened" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id
    assert len(stage.incidents(home)) == 1
    assert home.phone.rang == 1


def test_late_fine_is_written_down_and_cancels_nothing(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.rings_out()
    home.band.presses("fall")
    stage.advance_until(lambda: stage.case(home).acknowledged)
    stage.finish_calls()
    call = home.phone.rings_us("1")
    assert messages.ask_reply("ko", messages.Reply.LATE_FINE).lines[0] in [line["text"] for line in call.said]
    assert (stage.case(home).state, stage.case(home).owner_id) == ("confirmed", daughter.id)
    assert "late_fine" in stage.log(home)


def test_late_help_reopens_what_was_cancelled(stage: Stage) -> None:
    home, daughter = fallen(stage)
    home.phone.answers("1")
    home.band.presses("fall")
    stage.finish_calls()
    assert daughter.phone.rang == 0
    stage.advance(300)
    home.phone.rings_us("2")
    stage.finish_calls()
    assert "reopened" in stage.log(home)
    assert stage.case(home).owner_id == daughter.id


def test_a_sign_that_outlasts_its_closed_case_is_a_case_again(stage: Stage) -> None:
    home, daughter = fallen(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    help_, who_comes = ({"behaviour": "answer", "digits": [digit], "delay_s": 3.0} for digit in "21")
    home.phone.behaves(help_, who_comes, help_, who_comes)
    stage.advance(300)
    home.band.measures(spo2_pct=82)
    stage.finish_calls()
    assert dispatcher.act(stage.incidents(home)[0].id, "close", reason="false_alarm_device").status_code == 200
    for _ in range(16):
        stage.advance(60)
        home.band.measures(60, spo2_pct=82)
    stage.finish_calls()
    assert len(stage.incidents(home)) == 2
    assert daughter.phone.rang == 2
