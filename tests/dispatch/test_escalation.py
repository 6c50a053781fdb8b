"""Stories of a case: how it begins, what joins it or ends, and what the clock does to it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from escalation_stage import DISPATCHER, GOOD, JIHO, MINJI, PATIENT, SORA, START, Stage, rung, sign, told

from dispatch import escalation
from dispatch.alarm import Priority
from dispatch.escalation_draft import Draft
from dispatch.incident import IllegalMove, NotificationKind, State, Target

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
