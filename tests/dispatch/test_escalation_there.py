"""Stories of what follows once somebody is there: 119 beside them, others who come too, and who may end it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import DISPATCHER, JIHO, MINJI, OTHER_DISPATCHER, PATIENT, SORA, START, Stage, told

from dispatch import escalation
from dispatch.codes import Action
from dispatch.incident import IllegalMove, State, UnitStage, allowed_actions, intervals, progress_states

STRANGER = PATIENT


def there(**policy: object) -> Stage:
    """Minji took an SOS and is with the person."""
    stage = Stage("sos", contacts=3, **policy)
    stage.ended(MINJI)
    stage.press(MINJI, "3")
    stage.press(MINJI, "5")
    return stage


def relieved() -> Stage:
    """Minji is on the way, and Jiho, who was asked too, got there first."""
    stage = Stage("sos", contacts=3)
    stage.ended(MINJI)
    stage.do(escalation.going, MINJI, 1200)
    stage.do(escalation.arrived, JIHO)
    return stage


# --- 119 beside somebody who is there


def test_119_that_is_called_while_somebody_is_there_is_written_down_and_they_stay():
    stage = there()
    stage.now += timedelta(minutes=2)
    stage.do(escalation.dispatch, DISPATCHER, "119-7", stage.now)
    case = stage.incident
    assert (case.state, case.owner_id, case.external_reference) == (State.AT_PATIENT, MINJI, "119-7")
    assert case.times["first_help_at"] == START
    assert case.times["unit_notified_at"] == START + timedelta(minutes=2)
    assert case.unit.stage is UnitStage.CALLED
    assert stage.held_for() == 900
    assert "dispatched" in stage.wrote() and (MINJI, "help_sent") in told(stage.last)


def test_a_record_that_was_sent_back_does_not_keep_119_from_being_written_down():
    stage = there()
    stage.do(escalation.hand_over, DISPATCHER, "119")
    stage.do(escalation.handover_answered, DISPATCHER, False, "관할이 아님", "")
    assert Action.DISPATCH in allowed_actions(stage.incident)
    stage.do(escalation.dispatch, DISPATCHER, "119-7", START)
    assert stage.incident.unit_called


def test_a_unit_is_followed_to_the_end_beside_who_is_there():
    stage = there()
    stage.do(escalation.dispatch, DISPATCHER, "119-7", START)
    for minutes, state in ((3, "en_route"), (9, "on_scene"), (11, "at_patient")):
        stage.now = START + timedelta(minutes=minutes)
        stage.do(escalation.progress, DISPATCHER, state)
        assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, MINJI)
        assert stage.wrote() == ["unit_progressed"]
    assert stage.incident.unit.stage is UnitStage.WITH_PATIENT
    stage.do(escalation.progress, DISPATCHER, "transporting")
    assert stage.incident.state is State.TRANSPORTING
    times = stage.incident.times
    assert times["first_help_at"] == times["at_patient_at"] == START
    assert times["on_scene_at"] == START + timedelta(minutes=9)
    assert intervals(times)["unit_notified_to_on_scene_s"] == 540
    assert intervals(times)["on_scene_to_at_patient_s"] is None
    assert progress_states(stage.incident) == ()


def test_a_unit_under_way_is_still_followed_when_a_caregiver_gets_there_first():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.progress, DISPATCHER, "en_route")
    stage.press(MINJI, "5")
    assert (stage.incident.state, stage.incident.unit.stage) == (State.AT_PATIENT, UnitStage.EN_ROUTE)
    assert progress_states(stage.incident) == (State.ON_SCENE, State.AT_PATIENT, State.TRANSPORTING)
    stage.do(escalation.progress, DISPATCHER, "on_scene")
    assert "on_scene_at" in stage.incident.times


def test_a_unit_never_goes_back():
    stage = there()
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.progress, DISPATCHER, "on_scene")
    with pytest.raises(IllegalMove, match="progress to en_route is not possible"):
        stage.do(escalation.progress, DISPATCHER, "en_route")
    with pytest.raises(IllegalMove, match="dispatch is not possible"):
        stage.do(escalation.dispatch, DISPATCHER, "B", START)


def test_the_desk_is_rung_when_nothing_is_heard_of_the_unit_though_somebody_is_there_and_says_so():
    stage = there()
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    for _ in range(2):
        stage.advance(600)
        stage.press(MINJI, "5")
    assert stage.ever("unit_reminded") and not stage.ever("reminded")
    assert [s.person_id for s in stage.steps if s.message == "desk_reminder"] == [None]
    stage.do(escalation.progress, DISPATCHER, "at_patient")
    stage.steps.clear()
    stage.advance(600)
    assert not [s for s in stage.steps if s.message == "desk_reminder"]


def test_a_clock_set_back_waits_for_news_of_the_unit_no_longer_than_its_time():
    stage = there()
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.now -= timedelta(hours=1)
    stage.do(escalation.next_steps)
    assert stage.incident.unit.due_at == stage.now + timedelta(seconds=900)


def test_a_unit_that_came_by_the_radio_alone_is_called_once():
    stage = Stage("sos")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.progress, DISPATCHER, "at_patient")
    assert stage.incident.unit.stage is UnitStage.WITH_PATIENT
    assert Action.DISPATCH not in allowed_actions(stage.incident)
    assert progress_states(stage.incident) == (State.TRANSPORTING,)


def test_nothing_of_a_unit_is_waited_for_once_it_is_closed():
    stage = there()
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.close, DISPATCHER, "true_emergency")
    assert stage.incident.next_step_at is None and stage.incident.unit.due_at is None
    with pytest.raises(IllegalMove):
        stage.do(escalation.progress, DISPATCHER, "en_route")


def test_who_is_there_writes_down_that_they_called_119_without_a_reference_and_the_desk_hears_it():
    stage = there()
    stage.do(escalation.called, MINJI, " ", START)
    assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, MINJI)
    assert stage.incident.unit.stage is UnitStage.CALLED
    assert (None, "desk_news") in told(stage.last)
    assert stage.last.log[0].who == f"person:{MINJI}"
    with pytest.raises(IllegalMove, match="called_119 is not possible"):
        stage.do(escalation.called, MINJI, "", START)


def test_who_holds_it_and_calls_119_from_the_road_keeps_it():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.called, MINJI, "김 소방교", START)
    assert (stage.incident.state, stage.incident.owner_id) == (State.DISPATCHED, MINJI)
    assert stage.incident.external_reference == "김 소방교"


def test_who_neither_holds_it_nor_is_there_cannot_say_that_119_was_called():
    stage = there()
    with pytest.raises(IllegalMove, match="neither holds it nor is there"):
        stage.do(escalation.called, JIHO, "", START)
    stage.do(escalation.arrived, JIHO)
    stage.do(escalation.called, JIHO, "", START)
    assert stage.incident.unit_called and stage.incident.owner_id == MINJI


# --- others who come too


def test_another_contact_who_comes_too_is_written_down_and_who_is_there_keeps_it():
    stage = there()
    stage.do(escalation.arrived, JIHO)
    assert stage.wrote()[0] == "arrived_too"
    assert stage.incident.owner_id == MINJI and stage.incident.there == [MINJI, JIHO]
    assert told(stage.last) == [(MINJI, "arrived_too"), (None, "desk_news")]
    stage.do(escalation.arrived, JIHO)
    assert told(stage.last) == []


def test_the_one_on_the_way_and_the_desk_hear_that_it_was_another_who_arrived():
    stage = relieved()
    assert stage.incident.owner_id == JIHO
    assert stage.incident.relieved.person_id == MINJI
    assert told(stage.last) == [(MINJI, "arrived_other"), (None, "desk_news")]
    assert "arrived" not in [message for _, message in told(stage.last)]


def test_who_took_it_on_a_page_and_was_never_rung_hears_it_too():
    stage = Stage("sos", contacts=3)
    stage.do(escalation.going, SORA, 1200)
    stage.do(escalation.arrived, JIHO)
    assert (SORA, "arrived_other") in told(stage.last)


def test_who_keeps_it_is_never_told_that_somebody_else_got_there_first():
    stage = Stage("sos", contacts=3)
    stage.ended(MINJI)
    stage.press(JIHO, "4")
    stage.do(escalation.going, MINJI, 1200)
    stage.do(escalation.arrived, JIHO)
    assert (stage.incident.owner_id, stage.incident.awaited.person_id) == (MINJI, MINJI)
    assert told(stage.last) == [(MINJI, "arrived_too"), (None, "desk_news")]


def test_somebody_who_was_not_asked_is_heard_of_and_relieves_nobody():
    stage = Stage("sos")
    stage.do(escalation.going, MINJI, 1200)
    stage.do(escalation.arrived, STRANGER)
    case = stage.incident
    assert (case.state, case.owner_id, case.awaited.person_id) == (State.CONFIRMED, MINJI, MINJI)
    assert case.times["first_help_at"] == START and "at_patient_at" not in case.times
    assert (None, "desk_news") in told(stage.last)
    assert stage.held_for() == 1500


def test_who_declined_takes_it_first():
    stage = Stage("sos")
    stage.press(MINJI, "4")
    before = stage.incident
    stage.do(escalation.arrived, MINJI)
    assert stage.wrote() == ["take_first"] and stage.incident == before
    stage.press(MINJI, "3")
    stage.do(escalation.arrived, MINJI)
    assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, MINJI)


def test_who_declined_relieves_nobody():
    stage = Stage("sos")
    stage.press(MINJI, "4")
    stage.press(JIHO, "3")
    stage.do(escalation.arrived, MINJI)
    assert (stage.incident.state, stage.incident.owner_id) == (State.CONFIRMED, JIHO)
    stage.do(escalation.safe, MINJI)
    assert stage.wrote()[0] == "safe_asked" and stage.incident.state is State.CONFIRMED


def test_a_dispatcher_who_has_it_hears_who_arrived_and_keeps_it():
    stage = Stage("sos")
    stage.do(escalation.acknowledge, DISPATCHER, "dispatcher")
    stage.do(escalation.arrived, MINJI)
    assert (stage.incident.state, stage.incident.owner_id) == (State.AT_PATIENT, DISPATCHER)
    assert (None, "desk_news") in told(stage.last)


def test_a_dispatcher_who_reports_that_somebody_is_there_has_it_as_a_dispatcher():
    stage = Stage("sos")
    stage.do(escalation.progress, DISPATCHER, "at_patient", role="dispatcher")
    assert (stage.incident.owner_id, stage.incident.owner_role) == (DISPATCHER, "dispatcher")


# --- who may end it


def test_a_cry_is_not_ended_by_who_relieved_another_until_they_agree():
    stage = relieved()
    stage.do(escalation.safe, JIHO)
    assert stage.incident.state is State.AT_PATIENT and stage.wrote()[0] == "safe_asked"
    assert told(stage.last) == [(MINJI, "safe_asked"), (None, "desk_news")]
    stage.do(escalation.safe, JIHO)
    assert told(stage.last) == [] and stage.incident.state is State.AT_PATIENT
    stage.do(escalation.safe, MINJI)
    assert (stage.incident.state, stage.incident.close_reason) == (State.CLOSED, "patient_fine")


def test_agreeing_works_by_key_too():
    stage = relieved()
    stage.do(escalation.safe, JIHO)
    stage.press(MINJI, "6")
    assert stage.incident.state is State.CLOSED


def test_nobody_can_agree_before_anything_was_said():
    stage = relieved()
    stage.do(escalation.safe, MINJI)
    assert stage.wrote() == ["already_taken"] and stage.incident.state is State.AT_PATIENT


def test_the_desk_ends_it_when_the_one_before_does_not_answer():
    stage = relieved()
    stage.do(escalation.safe, JIHO)
    stage.advance(901)
    assert stage.incident.open and stage.ever("reminded")
    stage.do(escalation.close, OTHER_DISPATCHER, "patient_fine")
    assert not stage.incident.open


def test_a_desk_that_was_relieved_is_asked():
    stage = Stage("sos")
    stage.do(escalation.desk_answered, "3")
    stage.do(escalation.arrived, MINJI)
    assert stage.incident.owner_id == MINJI
    stage.do(escalation.safe, MINJI)
    assert stage.incident.open and told(stage.last) == [(None, "desk_news")]


def test_a_lesser_case_is_ended_by_who_is_there():
    stage = Stage("heart_rate_high", can_be_asked=False)
    stage.do(escalation.going, MINJI, 1200)
    stage.do(escalation.arrived, JIHO)
    stage.do(escalation.safe, JIHO)
    assert stage.incident.state is State.CLOSED


def test_all_is_well_from_who_is_there_while_a_dispatcher_has_it_asks_the_dispatcher():
    stage = Stage("sos")
    stage.do(escalation.acknowledge, DISPATCHER, "dispatcher")
    stage.do(escalation.arrived, MINJI)
    stage.do(escalation.safe, MINJI)
    assert stage.incident.open and stage.wrote()[0] == "safe_asked"
    assert told(stage.last) == [(None, "desk_news")]


def test_with_119_called_agreeing_is_only_written_down():
    stage = relieved()
    stage.do(escalation.safe, JIHO)
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.safe, MINJI)
    assert stage.incident.open and stage.wrote()[0] == "safe_noted"
