"""Stories of somebody who goes: when, there or not, all well, and what the person and the others hear of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import DISPATCHER, GOOD, JIHO, MINJI, PATIENT, SORA, START, Stage, rung, sign, told

from dispatch import escalation
from dispatch.incident import Channel, Contact, State, Target


def coming_calls(stage: Stage) -> list[dict[str, object]]:
    return [dict(step.params) for step in stage.steps if step.step == "coming"]


# --- going


def test_who_goes_takes_it_and_holds_it_until_five_minutes_after_they_said():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1200)
    assert stage.incident.owner_id == MINJI and stage.incident.acknowledged
    assert stage.last.cancel_pages
    assert stage.held_for() == 1200 + 300
    assert stage.incident.going.eta_at == START + timedelta(minutes=20)
    assert stage.wrote() == ["acknowledged", "going"]


def test_the_others_hear_once_who_goes_and_when():
    stage = Stage("sos")
    stage.ended(MINJI)
    stage.do(escalation.going, JIHO, 1200)
    assert told(stage.last) == [(MINJI, "going")]
    assert stage.last.steps[0].params == {"role": "caregiver", "eta_min": 20}
    stage.do(escalation.going, JIHO, 1800)
    assert told(stage.last) == []
    assert stage.held_for() == 1800 + 300


@pytest.mark.parametrize(("digit", "eta_s"), [("1", 600), ("3", 1800), ("9", 5400)])
def test_the_digit_after_three_says_when_in_tens_of_minutes(digit, eta_s):
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.eta_pressed, MINJI, digit)
    assert stage.held_for() == eta_s + 300


def test_who_takes_it_and_goes_not_themselves_presses_zero():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.eta_pressed, MINJI, "0")
    assert stage.wrote() == ["still_on_it"]
    assert stage.incident.going is None and stage.held_for() == 900


@pytest.mark.parametrize("digit", ["", "#", "12", "١"])
def test_another_key_after_three_changes_nothing(digit):
    stage = Stage("sos")
    stage.press(MINJI, "3")
    before = stage.incident
    stage.do(escalation.eta_pressed, MINJI, digit)
    stage.do(escalation.eta_pressed, JIHO, "2")
    assert stage.incident == before


def test_who_does_not_hold_it_cannot_say_that_they_go():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    before = stage.incident
    stage.do(escalation.going, JIHO, 600)
    assert stage.wrote() == ["already_taken"]
    assert stage.incident == before


def test_nobody_goes_where_it_is_over():
    stage = Stage("spo2_low")
    stage.answer("1")
    stage.do(escalation.going, MINJI, 600)
    assert stage.wrote() == ["nothing_to_take"]
    assert stage.incident.state is State.CANCELLED_BY_PATIENT


@pytest.mark.parametrize("eta_s", [-1, 7201])
def test_a_time_of_arrival_has_its_limits(eta_s):
    with pytest.raises(ValueError, match="eta_s must be 0 to 7200"):
        Stage("sos").do(escalation.going, MINJI, eta_s)


def test_an_urgent_case_whose_helper_is_far_is_shown_to_the_desk():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 3600)
    assert (None, "desk_news") in told(stage.last)
    stage = Stage("heart_rate_high", can_be_asked=False)
    stage.do(escalation.going, MINJI, 3600)
    assert told(stage.last) == []


def test_who_is_on_the_way_says_so_again_and_keeps_their_time():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1200)
    stage.advance(600)
    stage.press(MINJI, "3")
    assert stage.wrote() == ["still_on_it"]
    assert stage.held_for() == 900
    stage.advance(890)
    stage.press(MINJI, "3")
    assert stage.held_for() == 180


# --- not arrived


def test_who_does_not_arrive_within_five_minutes_of_their_time_is_reminded_and_everybody_is_rung_again():
    stage = Stage("sos", contacts=3)
    stage.press(JIHO, "4")
    stage.do(escalation.going, MINJI, 600)
    stage.advance(899)
    assert stage.incident.acknowledged
    stage.advance(1)
    assert stage.wrote()[0] == "not_arrived"
    assert "returned_to_queue" in stage.wrote()
    assert (MINJI, "reminder") in told(stage.last)
    assert rung(stage.last) == [MINJI, "desk"]
    assert not stage.incident.acknowledged and stage.incident.going is None
    stage.steps.clear()
    stage.advance(90)
    assert [s.person_id for s in stage.steps if s.step == "contact" and s.channel == "voice"] == [JIHO, SORA]


def test_a_lesser_case_whose_helper_does_not_arrive_leaves_the_desk_in_peace_the_first_time():
    stage = Stage("heart_rate_high", can_be_asked=False)
    stage.do(escalation.going, MINJI, 600)
    stage.advance(900)
    assert rung(stage.last) == [MINJI]


def test_with_119_under_way_a_helper_who_does_not_arrive_is_reminded_and_the_desk_told():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 600)
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    assert stage.incident.owner_id == MINJI and stage.held_for() == 900
    stage.advance(900)
    assert "not_arrived" in stage.wrote()
    assert told(stage.last) == [(MINJI, "reminder"), (None, "desk_reminder")]
    assert stage.incident.state is State.DISPATCHED and stage.incident.acknowledged


def test_grave_news_shortens_the_wait_for_who_is_on_the_way_and_a_key_restores_it():
    stage = Stage("heart_rate_high", can_be_asked=False)
    stage.do(escalation.going, MINJI, 1200)
    stage.do(escalation.join, [sign("sos")])
    assert stage.held_for() == 180
    stage.press(MINJI, "3")
    assert stage.held_for() == 1500


def test_a_clock_set_back_waits_for_nobody_longer_than_they_said():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1200)
    stage.now -= timedelta(hours=1)
    stage.do(escalation.next_steps)
    assert stage.held_for() == 1500
    assert stage.incident.going.eta_at - stage.now == timedelta(minutes=20)


# --- there, and all is well


def test_who_arrives_is_the_first_help_and_the_others_hear_it():
    stage = Stage("sos")
    stage.ended(MINJI)
    stage.do(escalation.going, JIHO, 600)
    stage.advance(500)
    stage.press(JIHO, "5")
    assert stage.incident.state is State.AT_PATIENT
    times = stage.incident.times
    assert times["first_help_at"] == times["at_patient_at"] == START + timedelta(seconds=500)
    assert stage.incident.going.arrived_at == START + timedelta(seconds=500)
    assert told(stage.last) == [(MINJI, "arrived")]
    assert stage.held_for() == 900


def test_a_neighbour_who_is_there_first_takes_it_over_from_a_caregiver_on_the_way():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1800)
    stage.do(escalation.arrived, JIHO)
    assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, JIHO)
    assert stage.incident.going is None
    assert told(stage.last) == [(MINJI, "arrived_other"), (None, "desk_news")]


def test_who_arrives_does_not_take_it_from_a_dispatcher():
    stage = Stage("sos")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.arrived, MINJI)
    assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, DISPATCHER)


def test_who_arrives_while_the_person_is_asked_ends_the_question():
    stage = Stage("spo2_low")
    stage.do(escalation.arrived, MINJI)
    assert stage.incident.state is State.AT_PATIENT
    assert stage.last.cancel_asks and stage.last.cancel_pages


def test_arriving_twice_is_written_once_and_renews_the_deadline():
    stage = Stage("sos")
    stage.do(escalation.arrived, MINJI)
    stage.advance(600)
    stage.press(MINJI, "5")
    assert stage.wrote() == ["still_on_it"]
    assert stage.held_for() == 900


def test_all_is_well_from_who_is_there_closes_it_and_tells_everybody():
    stage = Stage("sos")
    stage.ended(MINJI)
    stage.press(JIHO, "3")
    stage.press(JIHO, "5")
    stage.press(JIHO, "6")
    assert (stage.incident.state, stage.incident.close_reason) == (State.CLOSED, "patient_fine")
    assert told(stage.last) == [(MINJI, "all_clear")]
    assert stage.incident.next_step_at is None


def test_all_is_well_from_afar_is_only_news_for_the_desk():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.press(MINJI, "6")
    assert stage.incident.state is State.CONFIRMED and stage.held_for() == 900
    assert "safe_noted" in stage.wrote() and told(stage.last) == [(None, "desk_news")]


def test_all_is_well_with_a_unit_under_way_is_only_news_for_the_desk():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.press(MINJI, "5")
    stage.do(escalation.safe, MINJI)
    assert stage.incident.state is State.AT_PATIENT
    assert told(stage.last) == [(None, "desk_news")]


def test_all_is_well_counts_only_from_who_holds_it():
    stage = Stage("sos")
    stage.do(escalation.arrived, MINJI)
    stage.do(escalation.safe, JIHO)
    assert stage.wrote() == ["already_taken"]
    stage.press(JIHO, "6")
    assert stage.wrote() == ["contact_no_key"]
    assert stage.incident.state is State.AT_PATIENT
    with pytest.raises(ValueError, match="reason must be one of"):
        stage.do(escalation.safe, MINJI, reason="because")


def test_going_arriving_and_being_well_change_nothing_once_it_is_over():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.close, DISPATCHER, "test")
    before = stage.incident
    for rule, args in [
        (escalation.going, (MINJI, 600)),
        (escalation.arrived, (MINJI,)),
        (escalation.safe, (MINJI,)),
        (escalation.eta_pressed, (MINJI, "2")),
        (escalation.bridged, ("patient",)),
        (escalation.coming_heard, ()),
        (escalation.coming_call_ended, ("busy", 1)),
    ]:
        assert stage.do(rule, *args).steps == []
        assert stage.incident == before


def test_a_bridged_call_is_written_down():
    stage = Stage("sos")
    stage.do(escalation.bridged, "patient")
    assert [(entry.what, entry.who) for entry in stage.last.log] == [("bridged", "patient")]


# --- what the person hears


def asked_for_help() -> Stage:
    stage = Stage("spo2_low", duress_digit="7")
    stage.answer("2")
    return stage


def test_after_help_the_person_hears_who_comes_and_when_in_one_call():
    stage = asked_for_help()
    stage.press(MINJI, "3")
    assert coming_calls(stage) == []
    stage.advance(5)
    stage.do(escalation.eta_pressed, MINJI, "2")
    stage.advance(10)
    assert coming_calls(stage) == [{"owner": str(MINJI), "role": "caregiver", "eta_min": 20}]
    [step] = [s for s in stage.steps if s.step == "coming"]
    assert (step.target, step.person_id, step.channel, step.kind) == (Target.PATIENT, PATIENT, Channel.VOICE, "inform")
    assert stage.ever("patient_told")


def test_a_time_that_is_given_later_is_told_in_another_call():
    stage = asked_for_help()
    stage.press(MINJI, "3")
    stage.advance(60)
    stage.do(escalation.coming_heard)
    stage.do(escalation.going, MINJI, 900)
    stage.advance(60)
    assert [call["eta_min"] for call in coming_calls(stage)] == [None, 15]
    stage.do(escalation.going, MINJI, 850)
    stage.advance(60)
    assert len(coming_calls(stage)) == 2


@pytest.mark.parametrize("how", ["sos", "unanswered", "late help"])
def test_who_pressed_for_help_or_was_not_reached_hears_who_comes(how):
    stage = Stage("sos" if how == "sos" else "heart_rate_high")
    if how == "late help":
        stage.answer("1", vitals=GOOD)
        stage.answer("2")
    else:
        stage.advance(80)
        for attempt in (1, 2):
            stage.do(escalation.ask_call_ended, "no_answer", attempt)
    stage.press(MINJI, "3")
    stage.advance(10)
    assert len(coming_calls(stage)) == 1


def test_who_asks_for_help_when_somebody_comes_already_hears_who():
    stage = Stage("spo2_low", may_cancel=False)
    stage.answer("1")
    stage.press(MINJI, "3")
    stage.advance(60)
    assert coming_calls(stage) == []
    for _ in range(3):
        stage.answer("2")
        stage.advance(60)
        assert len(coming_calls(stage)) == 1


def test_after_a_duress_key_the_persons_telephone_never_speaks_of_help():
    stage = Stage("spo2_low", duress_digit="7")
    stage.answer("7")
    stage.press(MINJI, "3")
    stage.answer("2")
    stage.do(escalation.join, [sign("sos")])
    stage.do(escalation.going, MINJI, 600)
    stage.advance(300)
    assert coming_calls(stage) == []
    assert escalation.coming(stage.incident, stage.now) is None


def test_a_duress_key_stops_a_call_that_was_planned():
    stage = Stage("sos", duress_digit="7")
    stage.press(MINJI, "3")
    stage.answer("7")
    stage.advance(300)
    assert coming_calls(stage) == []


def test_who_cannot_use_the_telephone_is_not_rung_to_hear_who_comes():
    stage = Stage("sos", can_be_asked=False)
    stage.press(MINJI, "3")
    stage.advance(300)
    assert coming_calls(stage) == []


def test_who_comes_is_not_said_when_nobody_has_it_any_more():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.press(MINJI, "4")
    stage.advance(20)
    assert coming_calls(stage) == []
    assert escalation.coming(stage.incident, stage.now) is None


def test_nobody_is_rung_to_hear_of_who_is_there_already():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.press(MINJI, "5")
    stage.advance(60)
    assert coming_calls(stage) == []


def test_the_newest_word_of_who_comes_counts():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1200)
    stage.advance(250)
    assert escalation.coming(stage.incident, stage.now) == (MINJI, "caregiver", 16)
    stage.advance(1000)
    assert escalation.coming(stage.incident, stage.now) == (MINJI, "caregiver", None)
    desk = Stage("sos", contacts=0)
    desk.do(escalation.desk_answered, "3")
    assert escalation.coming(desk.incident, desk.now) == (None, "desk", None)


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "failed", "voicemail", "hung_up"])
def test_word_of_who_comes_that_was_not_heard_is_tried_once_more(outcome):
    stage = asked_for_help()
    stage.press(MINJI, "3")
    stage.advance(12)
    stage.do(escalation.coming_call_ended, outcome, 1)
    stage.do(escalation.coming_call_ended, outcome, 1)
    stage.advance(60)
    assert len(coming_calls(stage)) == 2
    stage.do(escalation.coming_call_ended, outcome, 2)
    stage.do(escalation.coming_call_ended, outcome, 1)
    stage.advance(300)
    assert [step.attempt for step in stage.steps if step.step == "coming"] == [1, 2]


def test_word_that_was_heard_is_not_repeated():
    stage = asked_for_help()
    stage.press(MINJI, "3")
    stage.advance(12)
    stage.do(escalation.coming_heard)
    stage.do(escalation.coming_call_ended, "hung_up", 1)
    stage.advance(300)
    assert len(coming_calls(stage)) == 1


# --- ways to tell


def test_the_others_are_told_by_the_way_they_can_be_told():
    ways = [(Channel.VOICE,), (Channel.VOICE, Channel.EMAIL), (Channel.PUSH, Channel.EMAIL)]
    stage = Stage("sos", contacts=0)
    people = zip((MINJI, JIHO, SORA), ways, strict=True)
    stage.open(*(Contact(person_id=person, channels=channels) for person, channels in people))
    stage.advance(150)
    stage.do(escalation.close, DISPATCHER, "test")
    found = {s.person_id: s.channel for s in stage.last.steps if s.message == "all_clear"}
    assert found == {MINJI: Channel.VOICE, JIHO: Channel.EMAIL, SORA: Channel.PUSH}
