"""Stories of asking: when the person is rung, when silence is a yes, and what each key means."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import DISPATCHER, JIHO, MINJI, PATIENT, START, Stage, rung, sign, told

from dispatch import escalation
from dispatch.alarm import Priority
from dispatch.codes import Doubt
from dispatch.incident import NotificationKind, State, Target, Vitals

# --- asking


def test_silence_means_yes_when_the_budget_ends():
    stage = Stage("heart_rate_high")
    assert stage.after() == 45
    assert rung(stage.wake()) == [PATIENT]
    assert stage.after() == 30
    assert rung(stage.wake()) == [MINJI]
    assert stage.now == START + timedelta(seconds=75)
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.ask.answer == "unanswered"


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "failed", "voicemail", "hung_up"])
def test_an_ask_that_fails_is_tried_again_at_once_and_then_contacts_ring(outcome):
    stage = Stage("spo2_low")
    assert rung(stage.do(escalation.ask_call_ended, outcome, 1)) == [PATIENT]
    assert rung(stage.do(escalation.ask_call_ended, outcome, 1)) == []
    assert stage.incident.state is State.CHECKING
    assert rung(stage.do(escalation.ask_call_ended, outcome, 2)) == [MINJI]
    assert stage.now == START


def test_the_budget_counts_from_the_first_attempt():
    stage = Stage("spo2_low", ask_attempts=9)
    stage.advance(20)
    stage.do(escalation.ask_call_ended, "busy", 1)
    stage.advance(55)
    assert stage.incident.state is State.CONFIRMED


def test_picking_up_leaves_time_for_the_menu_once():
    stage = Stage("spo2_low")
    stage.advance(70)
    for _ in range(3):
        stage.do(escalation.call_picked_up, Target.PATIENT, PATIENT, 2)
    stage.advance(20)
    assert stage.incident.state is State.CHECKING
    stage.do(escalation.call_picked_up, Target.PATIENT, PATIENT, 2)
    stage.advance(5)
    assert stage.incident.state is State.CONFIRMED


def test_a_contact_who_picked_up_is_not_overtaken_while_listening():
    stage = Stage("sos")
    stage.advance(40)
    stage.do(escalation.call_picked_up, Target.CONTACT, MINJI, 1)
    assert stage.after() == 25
    stage.do(escalation.call_picked_up, Target.CONTACT, JIHO, 1)
    assert rung(stage.wake()) == [JIHO]


# --- what the person says


def test_fine_with_fresh_vitals_ends_the_check_and_closes_after_ten_minutes():
    stage = Stage("spo2_low")
    stage.answer("1")
    assert stage.incident.state is State.CANCELLED_BY_PATIENT
    assert stage.last.cancel_pages
    assert stage.after() == 600
    stage.advance(600)
    assert stage.incident.state is State.CLOSED
    assert stage.incident.close_reason == "patient_fine"
    assert [step for step in stage.steps if step.kind is NotificationKind.PAGE] == []


@pytest.mark.parametrize(
    ("vitals", "reason"),
    [
        (Vitals(fresh_age_s=None), "no_vitals"),
        (Vitals(fresh_age_s=301), "stale_vitals"),
        (Vitals(fresh_age_s=-5), "stale_vitals"),
        (Vitals(fresh_age_s=float("nan")), "stale_vitals"),
        (Vitals(fresh_age_s=5, worse=True), "worse"),
    ],
)
def test_fine_is_not_believed_without_fresh_vitals_that_agree(vitals, reason):
    stage = Stage("spo2_low")
    assert rung(stage.answer("1", vitals)) == [MINJI]
    assert stage.incident.state is State.CONFIRMED
    assert [e.params["reason"] for e in stage.log if e.what == "fine_not_believed"] == [reason]


def test_fine_five_minutes_old_is_still_fresh():
    assert Stage("spo2_low").answer("1", Vitals(fresh_age_s=300)).incident.settle_at is not None


def test_fine_never_cancels_for_a_person_flagged_with_dementia():
    stage = Stage("spo2_low", may_cancel=False)
    assert rung(stage.answer("1")) == [MINJI]
    assert stage.last.log[1].params == {"reason": "may_not_cancel"}


def test_fine_never_cancels_a_grave_sign():
    stage = Stage()
    stage.do(escalation.begin, [sign("fall", grave=True)])
    stage.answer("1")
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.ladder.running
    assert rung(stage.last) == []  # already ringing, not twice
    assert stage.last.cancel_asks and not stage.last.cancel_pages


@pytest.mark.parametrize("by", ["call", "band", "returned_call"])
def test_fine_never_cancels_an_sos(by):
    stage = Stage("sos")
    stage.answer("1", by=by)
    assert stage.incident.state is State.CONFIRMED
    assert stage.wrote() == ["late_fine"]
    assert not stage.last.cancel_pages


@pytest.mark.parametrize("code", ["device_silent", "device_never_reported"])
def test_who_answers_proves_more_than_a_silent_device(code):
    stage = Stage(code)
    stage.answer("1", Vitals())
    assert stage.incident.state is State.CANCELLED_BY_PATIENT


def test_a_silent_device_beside_a_real_sign_needs_vitals_again():
    stage = Stage("device_silent", "spo2_low")
    stage.answer("1", Vitals())
    assert stage.incident.state is State.CONFIRMED


@pytest.mark.parametrize("digit", ["2", "5", "#", ""])
def test_any_other_key_or_none_is_a_call_for_help(digit):
    stage = Stage("spo2_low")
    assert rung(stage.answer(digit)) == [MINJI]
    assert stage.incident.ask.answer == "help"


def test_who_asks_for_help_is_as_urgent_as_an_sos():
    stage = Stage("heart_rate_high")
    assert stage.incident.priority is Priority.MEDIUM
    stage.answer("2")
    assert stage.incident.priority is Priority.HIGH


def test_the_duress_key_sounds_like_fine_and_rings_the_contacts():
    stage = Stage("spo2_low", duress_digit="7")
    assert rung(stage.answer("7")) == [MINJI]
    assert stage.incident.ask.answer == "duress"
    assert "answered_duress" in stage.wrote()


def test_a_late_fine_is_written_down_and_stops_nothing():
    stage = Stage("spo2_low")
    stage.advance(80)
    before = stage.incident
    stage.answer("1")
    assert stage.wrote() == ["late_fine"]
    after = stage.incident
    assert (after.state, after.ladder, after.desk) == (before.state, before.ladder, before.desk)
    assert stage.last.steps == [] and not stage.last.cancel_pages


@pytest.mark.parametrize("digit", ["2", "", "7"])
def test_a_late_help_after_fine_reopens_and_rings(digit):
    stage = Stage("spo2_low", duress_digit="7")
    stage.answer("1")
    stage.advance(300)
    assert rung(stage.answer(digit)) == [MINJI]
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.settle_at is None and stage.incident.close_reason is None


def test_a_late_help_after_standing_down_reopens_too():
    stage = Stage("sos")
    stage.do(escalation.stand_down, DISPATCHER, "false_alarm_device")
    assert rung(stage.answer("2")) == [MINJI]
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.owner_id is None


def test_a_late_help_tells_whoever_has_it():
    stage = Stage("spo2_low")
    stage.advance(80)
    stage.press(MINJI, "3")
    stage.answer("2")
    assert (MINJI, "news") in told(stage.last)
    assert stage.incident.acknowledged


def test_key_two_while_somebody_has_it_rings_them_and_the_desk_and_they_must_soon_say_that_they_go():
    stage = Stage("heart_rate_high")
    stage.advance(80)
    stage.press(MINJI, "3")
    assert stage.held_for() == 900 and stage.incident.priority is Priority.MEDIUM
    decision = stage.answer("2")
    voices = [(s.person_id, s.message) for s in decision.steps if s.channel == "voice"]
    assert voices == [(MINJI, "news"), (None, "desk_news")]
    assert stage.incident.priority is Priority.HIGH
    assert stage.held_for() == stage.incident.policy.claim_s
    stage.press(MINJI, "3")
    assert stage.held_for() == 900
    assert rung(decision) == [], "nobody else is paged"
    assert {person for person, _ in told(stage.answer("2"))} == {MINJI}, "the desk knows by now"


def test_key_two_while_somebody_is_on_the_way_keeps_the_time_that_they_gave():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.going, MINJI, 1200)
    stage.answer("2")
    assert stage.held_for() == 1500
    assert (None, "desk_news") in told(stage.last)


def test_no_key_or_another_one_while_somebody_has_it_tells_them_alone():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    for digit in ("", "5"):
        assert {person for person, _ in told(stage.answer(digit))} == {MINJI}
    assert stage.held_for() == 900
    assert (None, "desk_news") in told(stage.answer("2")), "the first cry in so many keys"


def test_a_call_that_was_picked_up_without_a_key_spoke_with_nobody():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.answer("")
    assert stage.incident.doubts == (Doubt.UNSPOKEN,)
    stage.answer("5")
    assert stage.incident.doubts == ()


def test_a_late_help_wakes_a_ladder_that_rests():
    stage = Stage("heart_rate_high", contacts=1)
    stage.advance(300)
    assert escalation.in_slow_gap(stage.incident)
    assert rung(stage.answer("2")) == [MINJI]


def test_help_after_the_end_is_written_down_for_a_new_incident():
    stage = Stage("sos")
    stage.do(escalation.close, DISPATCHER, "test")
    stage.answer("2")
    assert stage.wrote() == ["late_help"]
    assert stage.incident.state is State.CLOSED
