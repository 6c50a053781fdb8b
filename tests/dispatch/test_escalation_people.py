"""Stories of contacts, the desk and people at a screen: the ladder, taking it, and what follows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import (
    DISPATCHER,
    JIHO,
    MINJI,
    OTHER_DISPATCHER,
    PATIENT,
    SORA,
    START,
    Stage,
    rung,
    told,
)

from dispatch import escalation
from dispatch.incident import Channel, IllegalMove, NotificationKind, State, Target

# --- the ladder


def test_the_ladder_rings_in_order_round_by_round_and_then_slowly():
    stage = Stage("heart_rate_high", can_be_asked=False)
    rings = [(0.0, rung(stage.last))]
    while len(rings) < 14:
        decision = stage.wake()
        rings.append(((stage.now - START).total_seconds(), rung(decision)))
    assert rings[:7] == [
        (0, [MINJI]),
        (45, [JIHO]),
        (90, [MINJI]),
        (135, [JIHO]),
        (180, [MINJI]),
        (225, [JIHO]),
        (270, ["desk"]),
    ]
    assert (390, ["desk"]) in rings
    slow = [(at, who) for at, who in rings if MINJI in who][3:]
    assert slow[0][0] == 870


def test_the_first_round_also_writes_a_neutral_text():
    stage = Stage("sos", contacts=1)
    assert [(s.channel, s.kind, s.attempt) for s in stage.last.steps if s.target is Target.CONTACT] == [
        (Channel.VOICE, NotificationKind.PAGE, 1),
        (Channel.TEXT, NotificationKind.PAGE, 1),
    ]
    stage.advance(45)
    again = [s for s in stage.last.steps if s.target is Target.CONTACT]
    assert [(s.channel, s.attempt) for s in again] == [(Channel.VOICE, 2)]


def test_a_high_priority_nobody_took_rings_the_desk_after_the_first_round():
    stage = Stage("sos")
    stage.ended(MINJI)
    assert "desk" in rung(stage.ended(JIHO))


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "failed", "voicemail", "hung_up"])
def test_who_cannot_be_reached_delays_nobody(outcome):
    stage = Stage("sos")
    assert rung(stage.ended(MINJI, outcome)) == [JIHO]
    assert not stage.incident.acknowledged
    assert stage.incident.owner_id is None


def test_stale_and_repeated_callbacks_ring_nobody():
    stage = Stage("sos", contacts=3)
    stage.ended(MINJI)
    for person, attempt in ((MINJI, 1), (SORA, 1), (JIHO, 0), (JIHO, 2)):
        decision = stage.ended(person, attempt=attempt)
        assert (decision.steps, decision.log) == ([], [])


def test_an_only_contact_whose_line_is_busy_is_redialled_within_a_minute_not_at_once():
    stage = Stage("sos", contacts=1)
    stage.advance(3)
    assert rung(stage.ended(MINJI, "busy")) == ["desk"]
    assert stage.after() == 42
    assert MINJI in rung(stage.wake())


def test_without_contacts_the_desk_is_rung_at_once():
    stage = Stage("sos", contacts=0)
    assert rung(stage.last) == ["desk", PATIENT]
    assert stage.after() == 120
    stage.advance(1200)
    attempts = [s.attempt for s in stage.steps if s.target is Target.DESK]
    assert attempts == list(range(1, 12))


def test_who_declines_passes_it_on_and_is_left_out_of_the_next_rounds():
    stage = Stage("heart_rate_high", can_be_asked=False)
    assert rung(stage.press(MINJI, "4")) == [JIHO]
    stage.advance(45)
    assert stage.incident.ladder.round == 2
    assert rung(stage.last) == [JIHO]


def test_when_all_decline_the_desk_is_rung_and_all_are_tried_again():
    stage = Stage("heart_rate_high", can_be_asked=False)
    stage.press(MINJI, "4")
    assert "desk" in rung(stage.press(JIHO, "4"))
    stage.advance(45)
    assert MINJI in rung(stage.last)


def test_a_wrong_number_is_retired_for_good():
    stage = Stage("sos")
    decision = stage.press(MINJI, "9")
    assert decision.retire_number_of == MINJI
    assert rung(decision) == [JIHO]
    stage.steps.clear()
    stage.advance(7200)
    assert MINJI not in {step.person_id for step in stage.steps}


def test_when_every_number_is_wrong_only_the_desk_is_left():
    stage = Stage("heart_rate_high", can_be_asked=False, contacts=1)
    assert rung(stage.press(MINJI, "9")) == ["desk"]
    stage.advance(120)
    assert rung(stage.last) == ["desk"]


def test_no_key_is_no_answer():
    stage = Stage("sos")
    assert rung(stage.press(MINJI, "")) == [JIHO]
    assert rung(stage.press(JIHO, "", attempt=7)) == []


# --- taking it


def test_who_takes_it_stops_the_paging_and_the_others_hear_of_it():
    stage = Stage("sos")
    stage.ended(MINJI)
    decision = stage.press(JIHO, "3")
    assert decision.cancel_pages
    assert told(decision) == [(MINJI, "taken")]
    assert decision.steps[0].params == {"role": "caregiver"}
    assert (stage.incident.owner_id, stage.incident.owner_role) == (JIHO, "caregiver")
    assert stage.incident.times["acknowledged_at"] == START
    assert stage.held_for() == 900
    stage.steps.clear()
    stage.advance(899)
    assert [step.message for step in stage.steps] == ["patient_coming"]


def test_the_first_to_take_it_wins():
    stage = Stage("sos")
    stage.ended(MINJI)
    stage.press(JIHO, "3")
    stage.press(MINJI, "3")
    assert stage.wrote() == ["already_taken"]
    assert stage.last.log[0].params["owner"] == f"person:{JIHO}"
    assert stage.incident.owner_id == JIHO
    assert stage.last.steps == []


def test_a_returned_call_takes_it_even_while_the_person_is_being_asked():
    stage = Stage("spo2_low")
    decision = stage.press(SORA, "3")
    assert stage.incident.state is State.CONFIRMED
    assert decision.cancel_pages
    assert stage.incident.ask.due_at is None
    assert stage.after() == 900


def test_nothing_can_be_taken_once_it_is_over():
    stage = Stage("spo2_low")
    stage.answer("1")
    stage.press(MINJI, "3")
    assert stage.wrote() == ["nothing_to_take"]
    with pytest.raises(IllegalMove, match="incident is cancelled_by_patient: acknowledge is not possible"):
        stage.do(escalation.acknowledge, MINJI, "caregiver")


def test_taken_without_progress_returns_to_the_queue_at_its_deadline():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(900)
    assert stage.wrote()[0] == "returned_to_queue"
    assert stage.incident.owner_id is None and not stage.incident.acknowledged
    assert rung(stage.last) == [MINJI]
    assert stage.last.steps[0].attempt == 2


def test_the_desk_hears_of_it_when_somebody_takes_it_twice_and_nothing_follows():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(900)
    assert "desk_rung" not in stage.wrote()
    stage.press(MINJI, "3")
    stage.advance(900)
    assert "desk_rung" in stage.wrote()
    assert any(step.target is Target.DESK for step in stage.last.steps)


def test_who_is_still_on_it_says_so_with_the_same_key():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(800)
    stage.press(MINJI, "3")
    assert stage.wrote() == ["still_on_it"]
    assert stage.after() == 900


def test_who_took_it_and_cannot_go_gives_it_back_with_four():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    assert rung(stage.press(MINJI, "4")) == [JIHO]
    assert not stage.incident.acknowledged


def test_the_desk_takes_it_with_three_and_a_dispatcher_then_by_name():
    stage = Stage("sos", contacts=0)
    stage.do(escalation.desk_answered, "5")
    assert stage.wrote() == ["desk_no_key"]
    stage.do(escalation.desk_answered, "3")
    assert (stage.incident.owner_id, stage.incident.owner_role) == (None, "desk")
    stage.do(escalation.claim, DISPATCHER)
    assert (stage.incident.owner_id, stage.incident.owner_role) == (DISPATCHER, "dispatcher")
    assert stage.incident.acknowledged


def test_a_busy_desk_is_rung_again_as_soon_as_it_may_be_free():
    stage = Stage("sos", contacts=0)
    stage.do(escalation.desk_call_ended, "busy", 1)
    assert stage.after() == 15


def test_a_desk_that_does_not_answer_is_rung_again_in_its_turn():
    stage = Stage("sos", contacts=0)
    stage.do(escalation.desk_call_ended, "no_answer", 1)
    assert stage.wrote() == ["desk_call_ended"]
    assert stage.after() == 120
    stage.advance(120)
    assert rung(stage.last) == ["desk"]


def test_who_was_a_wrong_number_is_told_nothing():
    stage = Stage("sos")
    stage.press(MINJI, "9")
    assert told(stage.press(JIHO, "3")) == []


def test_the_first_acknowledgement_is_the_one_that_counts():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(1000)
    stage.press(JIHO, "3")
    assert stage.incident.owner_id == JIHO
    assert stage.incident.times["acknowledged_at"] == START


def test_being_told_twice_are_two_messages():
    stage = Stage("sos")
    stage.ended(MINJI)
    stage.press(JIHO, "3")
    stage.do(escalation.close, DISPATCHER, "needed_help")
    attempts = [s.attempt for s in stage.steps if s.kind is NotificationKind.INFORM]
    assert attempts == [1, 2, 2]


# --- people at a screen


def test_a_claim_holds_it_while_paging_goes_on():
    stage = Stage("sos")
    stage.do(escalation.claim, DISPATCHER)
    assert not stage.last.cancel_pages and not stage.incident.acknowledged
    stage.advance(45)
    assert rung(stage.last) == [JIHO]
    with pytest.raises(IllegalMove, match="a claim while person:"):
        stage.do(escalation.claim, OTHER_DISPATCHER)
    stage.do(escalation.claim, DISPATCHER)


def test_a_stale_claim_can_be_retaken_even_before_the_ticker_noticed():
    stage = Stage("sos")
    stage.do(escalation.claim, DISPATCHER)
    stage.now += timedelta(seconds=180)
    stage.do(escalation.claim, OTHER_DISPATCHER)
    assert stage.incident.owner_id == OTHER_DISPATCHER


def test_a_claim_expires_by_itself():
    stage = Stage("sos")
    stage.do(escalation.claim, DISPATCHER)
    stage.advance(180)
    assert stage.ever("claim_expired")
    assert stage.incident.owner_id is None and stage.incident.next_step_at is not None


def test_what_is_taken_cannot_be_claimed():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    with pytest.raises(IllegalMove, match="allowed now: dispatch"):
        stage.do(escalation.claim, DISPATCHER)


def test_a_claim_does_not_stop_a_contact_from_taking_it():
    stage = Stage("sos")
    stage.do(escalation.claim, DISPATCHER)
    stage.press(MINJI, "3")
    assert stage.incident.owner_id == MINJI and stage.incident.acknowledged


def test_an_acknowledgement_at_the_screen_loses_to_an_earlier_key():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.acknowledge, DISPATCHER, "dispatcher")
    assert stage.wrote() == ["already_taken"]
    assert stage.incident.owner_id == MINJI


@pytest.mark.parametrize("codes", [("sos",), ("spo2_low",)])
def test_a_named_human_dispatches_with_time_and_reference(codes):
    stage = Stage(*codes)
    stage.now += timedelta(seconds=40)
    stage.do(escalation.dispatch, DISPATCHER, " 119-4711 ", START + timedelta(seconds=20))
    assert stage.incident.state is State.DISPATCHED
    assert stage.incident.external_reference == "119-4711"
    assert stage.incident.times["unit_notified_at"] == START + timedelta(seconds=20)
    assert stage.incident.owner_id == DISPATCHER and stage.incident.acknowledged
    assert stage.last.cancel_pages
    assert stage.last.log[-1].who == f"person:{DISPATCHER}" or stage.wrote()[-1] == "others_told"
    assert stage.held_for() == 900


def test_dispatching_leaves_a_caregiver_who_goes_as_owner():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    assert stage.incident.owner_id == MINJI
    assert told(stage.last) == [(MINJI, "help_sent")]


def test_only_a_human_dispatches():
    stage = Stage("sos", contacts=3)
    stage.advance(6 * 3600)
    assert stage.incident.state is State.CONFIRMED


def test_dispatch_wants_a_reference_and_a_time_that_has_been():
    stage = Stage("sos")
    with pytest.raises(ValueError, match="reference must say what 119 gave you"):
        stage.do(escalation.dispatch, DISPATCHER, "  ", START)
    with pytest.raises(ValueError, match="called_at must be the time of the call"):
        stage.do(escalation.dispatch, DISPATCHER, "A", START + timedelta(minutes=5))
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    with pytest.raises(IllegalMove, match="incident is dispatched: dispatch is not possible"):
        stage.do(escalation.dispatch, DISPATCHER, "B", START)


def test_under_way_without_progress_reminds_the_desk_and_keeps_its_state():
    stage = Stage("sos")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.advance(900)
    assert told(stage.last) == [(None, "desk_reminder")]
    assert stage.incident.state is State.DISPATCHED
    assert stage.after() == 900
    stage.advance(900)
    assert stage.last.steps[0].attempt != stage.steps[-2].attempt


def test_progress_stamps_its_times_and_renews_the_deadline():
    stage = Stage("sos")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    for minutes, state in ((2, "en_route"), (7, "on_scene"), (9, "at_patient"), (20, "transporting")):
        stage.now = START + timedelta(minutes=minutes)
        stage.do(escalation.progress, DISPATCHER, state)
        assert stage.held_for() == 900
    times = stage.incident.times
    assert times["first_help_at"] == times["at_patient_at"] == START + timedelta(minutes=9)
    assert times["left_scene_at"] == START + timedelta(minutes=20)
    stage.do(escalation.close, DISPATCHER, "true_emergency")
    assert stage.incident.state is State.CLOSED


def test_a_caregiver_who_gets_there_first_is_the_first_help():
    stage = Stage("spo2_low")
    stage.do(escalation.progress, MINJI, "at_patient")
    assert stage.incident.state is State.AT_PATIENT
    assert stage.incident.owner_id == MINJI
    assert stage.incident.times["first_help_at"] == START
    assert stage.last.cancel_pages


def test_progress_never_goes_back():
    stage = Stage("sos")
    stage.do(escalation.dispatch, DISPATCHER, "A", START)
    stage.do(escalation.progress, DISPATCHER, "on_scene")
    with pytest.raises(IllegalMove, match="incident is on_scene: progress to en_route is not possible"):
        stage.do(escalation.progress, DISPATCHER, "en_route")


def test_a_note_moves_nothing():
    stage = Stage("sos")
    before = stage.incident
    stage.do(escalation.note, DISPATCHER, " 열쇠는 이웃에게 ")
    assert stage.incident == before
    assert stage.last.log[0].params == {"text": "열쇠는 이웃에게"}
    with pytest.raises(ValueError, match="text"):
        stage.do(escalation.note, DISPATCHER, " ")


def test_standing_down_stops_everything_and_closes_by_itself():
    stage = Stage("sos")
    stage.do(escalation.stand_down, DISPATCHER, "false_alarm_person")
    assert stage.last.cancel_pages
    assert told(stage.last) == [(MINJI, "all_clear")]
    stage.steps.clear()
    stage.advance(600)
    assert stage.incident.state is State.CLOSED
    assert stage.incident.close_reason == "false_alarm_person"
    assert stage.steps == []


def test_closing_needs_a_reason_from_the_closed_set():
    stage = Stage("sos")
    for reason in ("because", "device_reports_again"):
        with pytest.raises(ValueError, match="reason must be one of true_emergency"):
            stage.do(escalation.close, DISPATCHER, reason)
    stage.do(escalation.close, DISPATCHER, "needed_help")
    assert stage.incident.next_step_at is None
    assert told(stage.last) == [(MINJI, "all_clear")]
    with pytest.raises(IllegalMove, match="incident is closed: close is not possible; allowed now: note"):
        stage.do(escalation.close, DISPATCHER, "needed_help")


def test_a_check_is_stood_down_not_closed():
    stage = Stage("spo2_low")
    with pytest.raises(IllegalMove, match="stand_down"):
        stage.do(escalation.close, DISPATCHER, "patient_fine")


def test_after_closing_no_callback_changes_anything():
    stage = Stage("sos")
    stage.do(escalation.close, DISPATCHER, "test")
    before = stage.incident
    stage.press(MINJI, "3")
    stage.press(MINJI, "")
    stage.ended(MINJI)
    stage.do(escalation.desk_call_ended, "busy", 1)
    stage.do(escalation.ask_call_ended, "busy", 1)
    stage.answer("1")
    stage.do(escalation.condition_ended, "sos")
    stage.do(escalation.next_steps)
    assert stage.incident == before
