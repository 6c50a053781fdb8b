"""Stories of asking and ringing: who hears what, when, and what stops it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from escalation_stage import (
    DISPATCHER,
    GOOD,
    JIHO,
    MINJI,
    PATIENT,
    SORA,
    START,
    Stage,
    rung,
    sign,
    told,
)

from dispatch import escalation
from dispatch.alarm import Priority
from dispatch.codes import Doubt
from dispatch.escalation_draft import Draft
from dispatch.incident import IllegalMove, NotificationKind, State, Target, Vitals

# --- beginning


def test_sos_confirms_at_once_and_rings_the_first_contact_before_the_person():
    stage = Stage("sos")
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.priority is Priority.HIGH
    assert rung(stage.last) == [MINJI, PATIENT]
    assert "check_started_at" not in stage.incident.times


def test_a_lesser_sign_asks_the_person_first_and_rings_nobody_else():
    stage = Stage("spo2_low")
    assert stage.incident.state is State.CHECKING
    assert rung(stage.last) == [PATIENT]
    assert stage.last.steps[0].detect_voicemail


def test_a_grave_sign_asks_and_rings_in_parallel():
    stage = Stage()
    stage.do(escalation.begin, [sign("fall", grave=True)])
    assert stage.incident.state is State.CHECKING
    assert rung(stage.last) == [PATIENT, MINJI]


@pytest.mark.parametrize("grave", [False, True])
def test_who_cannot_be_asked_is_not_and_contacts_ring_at_once(grave):
    stage = Stage(can_be_asked=False)
    stage.do(escalation.begin, [sign("fall", grave=grave)])
    assert stage.incident.state is State.CONFIRMED
    assert rung(stage.last) == [MINJI]


def test_our_own_fault_rings_only_the_desk_and_keeps_ringing_it_slowly():
    stage = Stage("detection_failed", "record_unreadable")
    assert rung(stage.last) == ["desk"]
    assert {step.kind for step in stage.steps} == {NotificationKind.TECHNICAL}
    stage.advance(3600)
    assert {step.target for step in stage.steps} == {Target.DESK}
    assert len(stage.steps) == 7


def test_our_own_fault_beside_a_sign_is_not_desk_only():
    assert rung(Stage("detection_failed", "spo2_low").last) == [PATIENT]


def test_beginning_writes_the_times_that_every_interval_is_made_of():
    stage = Stage("sos")
    times = stage.incident.times
    assert times["onset_estimated_at"] == times["sensor_event_at"] == START - timedelta(seconds=30)
    assert times["received_at"] == START
    assert "first_notified_at" not in times  # the carrier's word counts, not our intention


def test_an_incident_begins_once_and_not_without_a_condition():
    stage = Stage("sos")
    with pytest.raises(IllegalMove, match="incident is confirmed: beginning it again is not possible"):
        stage.do(escalation.begin, [sign("fall")])
    with pytest.raises(ValueError, match="conditions"):
        Stage().do(escalation.begin, [])


def test_the_incident_given_is_never_changed():
    stage = Stage("fall", contacts=3)
    for rule, args in [
        (escalation.next_steps, ()),
        (escalation.patient_answered, ("2",)),
        (escalation.contact_answered, (MINJI, "9")),
        (escalation.join, ([sign("sos")],)),
        (escalation.condition_ended, ("fall",)),
    ]:
        before = msgspec.json.encode(stage.incident)
        kwargs = {"vitals": GOOD} if rule is escalation.patient_answered else {}
        rule(stage.incident, *args, now=stage.now + timedelta(hours=1), **kwargs)
        assert msgspec.json.encode(stage.incident) == before


def test_no_rule_can_move_along_an_edge_that_does_not_exist():
    draft = Draft(Stage("spo2_low").incident, START)
    with pytest.raises(IllegalMove, match="incident is checking: a move to dispatched is not possible"):
        draft.move(State.DISPATCHED)


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


# --- further evidence


def test_sos_joining_a_check_ends_it_and_rings_at_once():
    stage = Stage("heart_rate_high")
    assert rung(stage.do(escalation.join, [sign("sos")])) == [MINJI]
    assert stage.incident.state is State.CONFIRMED
    assert stage.incident.priority is Priority.HIGH
    # The question that rings already goes on: the person is not rung a second time.
    assert not stage.last.cancel_asks and not stage.last.cancel_pages


def test_a_grave_sign_joining_a_check_rings_while_asking_goes_on():
    stage = Stage("heart_rate_high")
    assert rung(stage.do(escalation.join, [sign("fall", grave=True)])) == [MINJI]
    assert stage.incident.state is State.CHECKING


def test_priority_only_rises():
    stage = Stage("spo2_low")
    stage.do(escalation.join, [sign("heart_rate_high"), sign("battery_low")])
    stage.do(escalation.condition_ended, "spo2_low")
    assert stage.incident.priority is Priority.HIGH


def test_the_same_sign_again_makes_no_noise():
    stage = Stage("spo2_low")
    stage.advance(80)
    stage.press(MINJI, "3")
    decision = stage.do(escalation.join, [sign("spo2_low", at=stage.now)])
    assert (decision.steps, decision.log) == ([], [])


def test_a_new_sign_re_alerts_whoever_took_it():
    stage = Stage("heart_rate_high")
    stage.advance(80)
    stage.press(MINJI, "3")
    stage.do(escalation.join, [sign("device_silent")])
    assert told(stage.last) == [(MINJI, "news")]
    stage.do(escalation.join, [sign("heart_rate_high", priority=Priority.HIGH)])
    assert told(stage.last) == [(MINJI, "news"), (MINJI, "news")]
    assert [s.channel for s in stage.last.steps] == ["text", "voice"]
    assert stage.incident.acknowledged


def test_a_low_sign_rings_nobody():
    stage = Stage("spo2_low")
    stage.answer("1")
    decision = stage.do(escalation.join, [sign("battery_low")])
    assert decision.steps == []
    assert stage.incident.state is State.CANCELLED_BY_PATIENT


def test_an_sos_on_a_lesser_case_that_was_taken_gives_its_owner_three_minutes():
    stage = Stage("device_silent")
    stage.advance(80)
    stage.press(MINJI, "3")
    stage.do(escalation.join, [sign("sos")])
    assert (MINJI, "news") in told(stage.last) and (None, "desk_news") in told(stage.last)
    assert stage.held_for() == 180
    stage.advance(180)
    assert not stage.incident.acknowledged
    assert rung(stage.last) == [MINJI]


def test_worse_signs_after_fine_reopen_and_ring():
    for worse in [
        sign("sos"),
        sign("news2_high"),
        sign("spo2_low", params={"value": 84.0}),
        sign("heart_rate_high"),
    ]:
        stage = Stage()
        stage.do(escalation.begin, [sign("spo2_low", params={"value": 88.0})])
        stage.answer("1")
        stage.advance(599)
        asked = [PATIENT] if worse.code == "sos" else []
        assert rung(stage.do(escalation.join, [worse])) == [MINJI, *asked]
        assert stage.incident.state is State.CONFIRMED


def test_the_same_sign_still_there_after_fine_does_not_reopen():
    stage = Stage()
    stage.do(escalation.begin, [sign("spo2_low", params={"value": 88.0})])
    stage.answer("1")
    stage.do(escalation.join, [sign("spo2_low", params={"value": 87.0})])
    assert stage.incident.state is State.CANCELLED_BY_PATIENT


def test_a_sign_that_went_and_came_back_after_fine_reopens():
    stage = Stage("spo2_low")
    stage.answer("1")
    stage.do(escalation.condition_ended, "spo2_low")
    assert rung(stage.do(escalation.join, [sign("spo2_low")])) == [MINJI]


def test_a_second_fall_after_fine_reopens():
    stage = Stage("fall")
    stage.answer("1")
    assert stage.do(escalation.join, [sign("fall")]).steps == []
    assert rung(stage.do(escalation.join, [sign("fall", at=START + timedelta(minutes=5))])) == [MINJI]


def test_a_sign_that_flaps_does_not_shorten_the_slow_rounds():
    stage = Stage("heart_rate_high", contacts=1)
    stage.advance(300)
    stage.do(escalation.condition_ended, "heart_rate_high")
    assert stage.do(escalation.join, [sign("heart_rate_high")]).steps == []


def test_an_sos_wakes_a_ladder_that_rests():
    stage = Stage("heart_rate_high", contacts=1)
    stage.advance(300)
    assert rung(stage.do(escalation.join, [sign("sos")])) == [MINJI]


def test_a_sign_joining_our_own_fault_rings_the_contacts():
    stage = Stage("detection_failed")
    assert rung(stage.do(escalation.join, [sign("spo2_low")])) == [MINJI]


def test_nothing_joins_a_closed_incident():
    stage = Stage("sos")
    stage.do(escalation.close, DISPATCHER, "test")
    with pytest.raises(IllegalMove, match="joining evidence"):
        stage.do(escalation.join, [sign("fall")])


# --- a sign that ends


def test_a_sign_that_ends_closes_nothing():
    stage = Stage("spo2_low")
    stage.do(escalation.condition_ended, "spo2_low")
    assert stage.incident.state is State.CHECKING
    assert stage.incident.reasons[0].ended_at == START
    assert stage.wrote() == ["evidence_ended"]


def test_a_device_that_reports_again_closes_its_silence_and_tells_who_was_rung():
    stage = Stage("device_silent")
    stage.advance(80)
    stage.do(escalation.condition_ended, "device_silent")
    assert stage.incident.state is State.CLOSED
    assert stage.incident.close_reason == "device_reports_again"
    assert told(stage.last) == [(MINJI, "all_clear")]
    assert stage.last.cancel_pages


def test_a_device_that_reports_again_ends_the_check():
    stage = Stage("device_never_reported")
    stage.do(escalation.condition_ended, "device_never_reported")
    assert stage.incident.state is State.CLOSED
    assert stage.wrote() == ["evidence_ended", "check_ended", "confirmed", "closed"]
    assert stage.last.steps == []


def test_a_silence_that_somebody_took_is_theirs_to_close():
    stage = Stage("device_silent")
    stage.advance(80)
    stage.press(MINJI, "3")
    stage.do(escalation.condition_ended, "device_silent")
    assert stage.incident.state is State.CONFIRMED


def test_a_silence_beside_another_sign_does_not_close_by_itself():
    stage = Stage("device_silent", "spo2_low")
    for code in ("device_silent", "spo2_low"):
        stage.do(escalation.condition_ended, code)
    assert stage.incident.state is State.CHECKING


# --- the clock


def test_nothing_happens_when_nothing_is_due():
    for stage in (Stage("sos"), Stage("spo2_low"), Stage("detection_failed")):
        before = stage.incident
        for _ in range(3):
            decision = stage.do(escalation.next_steps)
            assert (decision.steps, decision.log, decision.incident) == ([], [], before)


def test_a_clock_set_back_an_hour_delays_no_step_beyond_its_own_delay():
    for stage, delay in (
        (Stage("sos"), 45),
        (Stage("heart_rate_high"), 45),
        (Stage("spo2_low"), 20),
        (Stage("detection_failed"), 600),
    ):
        stage.now -= timedelta(hours=1)
        stage.do(escalation.next_steps)
        assert stage.after() == delay


def test_a_clock_set_forward_an_hour_fires_once():
    stage = Stage("sos")
    stage.now += timedelta(hours=1)
    assert rung(stage.do(escalation.next_steps)) == [JIHO]
    assert rung(stage.do(escalation.next_steps)) == []
    stage.now -= timedelta(hours=1)
    assert rung(stage.do(escalation.next_steps)) == []


@pytest.mark.parametrize("hold", ["acknowledged", "claimed", "dispatched", "settling", "slow"])
def test_every_kind_of_waiting_is_clamped(hold):
    stage = Stage("heart_rate_high", contacts=1)
    if hold == "acknowledged":
        stage.do(escalation.acknowledge, MINJI, "caregiver")
    elif hold == "claimed":
        stage.do(escalation.claim, DISPATCHER)
    elif hold == "dispatched":
        stage.do(escalation.dispatch, DISPATCHER, "A-1", START)
    elif hold == "settling":
        stage.answer("1")
    else:
        stage.advance(300)
    most = {"claimed": 45, "slow": 120}.get(hold, 900)
    stage.now -= timedelta(hours=1)
    stage.do(escalation.next_steps)
    after = stage.after()
    assert after is not None and after <= most


def test_an_orphan_is_found_and_put_before_the_desk():
    stage = Stage("sos", contacts=3)
    stage.incident.ladder.due_at = None
    assert stage.incident.next_step_at is None
    assert rung(stage.do(escalation.next_steps)) == ["desk"]
    assert stage.wrote()[0] == "orphan_found"
    assert stage.after() == 120
    assert SORA not in rung(stage.last)


def test_help_counts_as_told_when_the_carrier_first_took_a_message_and_not_again():
    stage = Stage("sos")
    first = escalation.notified(stage.incident, START + timedelta(seconds=2)).incident
    later = escalation.notified(first, START + timedelta(seconds=9)).incident
    assert first.times["first_notified_at"] == later.times["first_notified_at"] == START + timedelta(seconds=2)
