"""Stories of asking beside ringing: an urgent case does not wait for the answer, a lesser one does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import DISPATCHER, GOOD, JIHO, MINJI, PATIENT, START, Stage, rung, sign, told

from dispatch import escalation
from dispatch.alarm import Priority
from dispatch.incident import State, Target


def seconds(stage: Stage) -> float:
    return (stage.now - START).total_seconds()


def test_an_urgent_case_rings_the_contacts_twenty_seconds_into_the_question():
    stage = Stage("spo2_low")
    assert stage.after() == 20
    assert rung(stage.wake()) == [MINJI]
    assert stage.incident.state is State.CHECKING
    stage.advance(25)
    assert rung(stage.last) == [PATIENT]
    assert seconds(stage) == 45


def test_a_lesser_case_waits_for_the_whole_budget():
    stage = Stage("heart_rate_high")
    stage.advance(74)
    assert not stage.incident.ladder.running
    assert {step.target for step in stage.steps} == {Target.PATIENT}


def test_a_grave_case_asks_and_rings_at_once_as_before():
    stage = Stage()
    stage.do(escalation.begin, [sign("fall", grave=True)])
    assert rung(stage.last) == [PATIENT, MINJI]
    assert stage.incident.ask.overlap_at is None


def test_fine_inside_the_budget_cancels_and_everybody_who_was_rung_hears_it():
    stage = Stage("spo2_low")
    stage.advance(30)
    stage.ended(MINJI)
    stage.answer("1")
    assert stage.incident.state is State.CANCELLED_BY_PATIENT
    assert stage.last.cancel_pages
    assert told(stage.last) == [(MINJI, "all_clear"), (JIHO, "all_clear")]
    stage.steps.clear()
    stage.advance(600)
    assert stage.incident.state is State.CLOSED and stage.steps == []


def test_fine_in_the_first_twenty_seconds_rings_nobody_at_all():
    stage = Stage("spo2_low")
    stage.advance(19)
    stage.answer("1")
    stage.advance(600)
    assert {step.target for step in stage.steps} == {Target.PATIENT}


def test_the_contacts_ladder_goes_on_when_the_budget_ends_and_starts_not_over():
    stage = Stage("spo2_low", contacts=3)
    stage.advance(75)
    assert stage.incident.state is State.CONFIRMED
    voice = [s for s in stage.steps if s.step == "contact" and s.channel == "voice"]
    assert [(s.person_id, s.attempt) for s in voice] == [(MINJI, 1), (JIHO, 1)]


def test_the_desk_is_not_rung_before_the_budget_ends():
    stage = Stage("spo2_low")
    stage.advance(20)
    stage.ended(MINJI, "busy")
    stage.ended(JIHO, "busy")
    assert stage.incident.desk.attempt == 0
    stage.advance(54)
    assert stage.incident.desk.attempt == 0
    stage.advance(1)
    assert "desk" in rung(stage.last)
    assert seconds(stage) == 75


@pytest.mark.parametrize("how", ["no contacts", "all declined", "all wrong numbers"])
def test_the_desk_is_rung_beside_the_question_where_nobody_else_can_be(how):
    stage = Stage("spo2_low", contacts=0 if how == "no contacts" else 2)
    digit = {"all declined": "4", "all wrong numbers": "9"}.get(how)
    stage.advance(20)
    if digit:
        assert stage.incident.desk.attempt == 0
        stage.press(MINJI, digit)
        stage.press(JIHO, digit)
    assert stage.incident.state is State.CHECKING
    assert stage.incident.desk.attempt == 1


def test_a_desk_that_rings_beside_the_question_falls_silent_with_fine():
    stage = Stage("spo2_low", contacts=0)
    stage.advance(20)
    stage.answer("1")
    assert stage.last.cancel_pages and stage.incident.desk.due_at is None


def test_a_case_that_becomes_urgent_counts_from_the_first_question():
    stage = Stage("heart_rate_high")
    stage.advance(10)
    stage.do(escalation.join, [sign("spo2_low")])
    assert stage.after() == 10
    stage = Stage("heart_rate_high")
    stage.advance(30)
    assert rung(stage.do(escalation.join, [sign("spo2_low")])) == [MINJI]
    assert stage.incident.state is State.CHECKING


def test_a_sign_that_rises_to_urgent_rings_the_contacts_too():
    stage = Stage("heart_rate_high")
    stage.advance(30)
    assert rung(stage.do(escalation.join, [sign("heart_rate_high", priority=Priority.HIGH)])) == [MINJI]


def test_a_contact_who_takes_it_ends_the_question():
    stage = Stage("spo2_low")
    stage.advance(20)
    stage.press(MINJI, "3")
    assert stage.incident.state is State.CONFIRMED
    assert stage.last.cancel_asks and stage.last.cancel_pages
    stage.answer("1")
    assert stage.wrote() == ["late_fine", "owner_told"]


def test_help_beside_ringing_contacts_rings_nobody_twice():
    stage = Stage("spo2_low")
    stage.advance(20)
    assert rung(stage.answer("2")) == []
    assert stage.incident.ladder.round == 1
    assert stage.incident.ask.overlap_at is None


def test_an_sos_never_waits_for_an_overlap():
    assert rung(Stage("sos").last) == [MINJI, PATIENT]
    stage = Stage("spo2_low")
    assert rung(stage.do(escalation.join, [sign("sos")])) == [MINJI]
    assert stage.incident.ask.overlap_at is None


def test_a_clock_set_back_delays_the_overlap_by_no_more_than_itself():
    stage = Stage("spo2_low")
    stage.now -= timedelta(hours=1)
    stage.do(escalation.next_steps)
    assert stage.after() == 20
    stage = Stage("heart_rate_high")
    stage.now -= timedelta(hours=1)
    stage.do(escalation.join, [sign("spo2_low", at=stage.now)])
    assert stage.after() == 20


def test_a_clock_set_forward_ends_question_and_overlap_in_one():
    stage = Stage("spo2_low")
    stage.now += timedelta(hours=1)
    assert rung(stage.do(escalation.next_steps)) == [MINJI]
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.ladder.round == 1


def test_standing_down_beside_the_question_stops_the_overlap():
    stage = Stage("spo2_low")
    stage.do(escalation.stand_down, DISPATCHER, "test")
    assert stage.after() == 600
    stage.steps.clear()
    stage.advance(590)
    assert stage.steps == []


def test_fine_that_is_not_believed_lets_the_contacts_ring_on():
    stage = Stage("spo2_low", may_cancel=False)
    stage.advance(20)
    assert rung(stage.answer("1", vitals=GOOD)) == []
    assert stage.incident.state is State.CONFIRMED
    stage.advance(45)
    assert JIHO in rung(stage.last)
