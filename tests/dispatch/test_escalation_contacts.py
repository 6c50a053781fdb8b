"""Stories of whom a round rings: quiet hours, away, numbers that nobody proved, and who has no telephone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from escalation_stage import JIHO, MINJI, SORA, START, Stage, rung, sign

from dispatch import escalation
from dispatch.incident import Channel, Contact, Decision, Target, Window

# The stage begins at 03:00 UTC, which is 12:00 in Seoul.
NOON_NAP = Window(from_min=11 * 60, to_min=13 * 60)
NIGHT = Window(from_min=22 * 60, to_min=7 * 60)


def lesser(*contacts: Contact, **policy: object) -> Stage:
    """A case of medium priority that begins to ring at once."""
    stage = Stage("heart_rate_high", contacts=0, can_be_asked=False, **policy)
    stage.open(*contacts)
    return stage


def urgent(*contacts: Contact) -> Stage:
    stage = Stage("sos", contacts=0)
    stage.open(*contacts)
    return stage


def contact(person, **more) -> Contact:
    return Contact(person_id=person, **more)


def rung_in_turn(stage: Stage, seconds: float) -> list[object]:
    stage.advance(seconds)
    return [s.person_id for s in stage.steps if s.step == "contact" and s.channel == "voice"]


# --- quiet hours


def test_quiet_hours_keep_a_lesser_case_from_ringing_while_somebody_else_can_be():
    stage = lesser(contact(MINJI, quiet=(NOON_NAP,)), contact(JIHO))
    assert rung_in_turn(stage, 100) == [JIHO, JIHO, JIHO]
    quiet = [e.params["person"] for e in stage.log if e.what == "contact_quiet"]
    assert quiet == [str(MINJI)] * 3


def test_quiet_hours_hold_nobody_back_when_nobody_else_can_be_rung():
    stage = lesser(contact(MINJI, quiet=(NOON_NAP,)), contact(JIHO, quiet=(NOON_NAP,)))
    assert rung_in_turn(stage, 60) == [MINJI, JIHO]
    stage = lesser(contact(MINJI, quiet=(NOON_NAP,)), contact(JIHO))
    stage.press(JIHO, "9")
    assert rung_in_turn(stage, 60)[-1] == MINJI


@pytest.mark.parametrize("code", ["sos", "spo2_low"])
def test_an_urgent_case_breaks_through_quiet_hours(code):
    stage = Stage(code, contacts=0, can_be_asked=False)
    stage.open(contact(MINJI, quiet=(NOON_NAP,)), contact(JIHO))
    assert rung(stage.last) == [MINJI]
    assert not stage.ever("contact_quiet")


def test_a_case_that_grows_urgent_rings_who_was_let_sleep_in_the_same_round():
    stage = lesser(contact(MINJI, quiet=(NOON_NAP,)), contact(JIHO))
    stage.do(escalation.join, [sign("sos")])
    assert rung(stage.ended(JIHO)) == [MINJI]


def test_quiet_hours_end_by_themselves():
    stage = lesser(contact(MINJI, quiet=(Window(from_min=11 * 60, to_min=12 * 60 + 2),)), contact(JIHO))
    assert MINJI not in rung_in_turn(stage, 119)
    stage.advance(16)
    assert rung(stage.last) == [MINJI]


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"),
    [(21, 59, False), (22, 0, True), (23, 59, True), (0, 0, True), (6, 59, True), (7, 0, False), (12, 0, False)],
)
def test_a_window_over_midnight_holds_the_night_by_local_time(hour, minute, quiet):
    local = datetime(2026, 3, 2, hour, minute, tzinfo=UTC)
    someone = contact(MINJI, quiet=(NIGHT,))
    assert someone.quiet_at(local - timedelta(hours=9), 32_400) is quiet
    assert someone.quiet_at(local, 0) is quiet


def test_a_window_without_length_silences_nobody():
    assert not any(Window(from_min=m, to_min=m).holds(n) for m in (0, 600) for n in range(0, 1440, 60))


# --- away


def test_who_is_away_is_rung_after_everybody_else():
    stage = urgent(contact(MINJI, away_until=START + timedelta(days=3)), contact(JIHO), contact(SORA))
    assert rung_in_turn(stage, 91) == [JIHO, SORA, MINJI]
    assert [e.params["person"] for e in stage.log if e.what == "contact_away"] == [str(MINJI)]


def test_who_is_away_is_rung_when_nobody_else_is_there():
    assert rung(urgent(contact(MINJI, away_until=START + timedelta(days=3))).last)[:1] == [MINJI]


def test_being_away_ends_by_itself():
    stage = urgent(contact(MINJI, away_until=START + timedelta(seconds=80)), contact(JIHO))
    stage.advance(91)
    assert rung_in_turn(stage, 0) == [JIHO, MINJI, MINJI]


# --- numbers that nobody proved


def test_a_round_of_unproven_numbers_brings_in_the_desk_whatever_the_priority():
    stage = lesser(contact(MINJI, verified=False), contact(JIHO, verified=False))
    stage.advance(90)
    assert "desk" in rung(stage.last)
    assert [e.what for e in stage.log].count("last_rung_unverified") == 1
    stage.advance(600)
    assert [e.what for e in stage.log].count("last_rung_unverified") == 1


def test_one_proven_number_is_rung_out_first():
    stage = lesser(contact(MINJI, verified=False), contact(JIHO))
    stage.advance(200)
    assert stage.incident.desk.attempt == 0
    assert not stage.ever("last_rung_unverified")


def test_a_proven_number_that_declined_leaves_unproven_ones_and_the_desk():
    stage = lesser(contact(MINJI, verified=False), contact(JIHO))
    stage.press(JIHO, "4")
    stage.advance(90)
    assert stage.ever("last_rung_unverified") and stage.incident.desk.attempt >= 1


def test_unproven_numbers_beside_the_question_let_the_desk_wait_for_the_answer():
    stage = Stage("spo2_low", contacts=0)
    stage.open(contact(MINJI, verified=False))
    stage.advance(20)
    stage.ended(MINJI)
    assert stage.incident.desk.attempt == 0
    stage.advance(55)
    assert stage.incident.desk.attempt == 1


# --- channels


def test_the_first_round_writes_by_every_channel_and_later_ones_only_ring():
    everything = (Channel.VOICE, Channel.TEXT, Channel.EMAIL, Channel.PUSH)
    stage = urgent(contact(MINJI, channels=everything))
    assert [(s.channel, s.message, s.kind) for s in stage.last.steps if s.target is Target.CONTACT] == [
        ("voice", "contact_menu", "page"),
        ("text", "contact_text", "page"),
        ("email", "contact_text", "page"),
        ("push", "contact_text", "page"),
    ]
    stage.advance(45)
    again = [s for s in stage.last.steps if s.target is Target.CONTACT]
    assert [s.channel for s in again] == ["voice"]


def test_a_land_line_gets_no_text():
    stage = urgent(contact(MINJI, channels=(Channel.VOICE,)))
    assert [s.channel for s in stage.last.steps if s.target is Target.CONTACT] == ["voice"]


def test_who_can_only_be_written_to_does_not_keep_the_others_waiting():
    stage = urgent(contact(MINJI, channels=(Channel.TEXT,)), contact(JIHO))
    paged = [s for s in stage.last.steps if s.target is Target.CONTACT]
    assert [(s.channel, s.params) for s in paged] == [("text", {"unrung": True})]
    assert stage.after() == 15
    assert rung(stage.wake()) == [JIHO]


def test_who_can_only_be_written_to_is_written_to_in_every_round():
    stage = urgent(contact(MINJI, channels=(Channel.EMAIL, Channel.PUSH)))
    stage.advance(46)
    sent = [(s.channel, s.attempt) for s in stage.steps if s.target is Target.CONTACT]
    assert sent == [("email", 1), ("push", 1), ("email", 2), ("push", 2)]


def test_who_cannot_be_reached_by_any_channel_is_no_contact():
    assert rung(urgent(contact(MINJI, channels=())).last)[:1] == ["desk"]
    stage = urgent(contact(MINJI, channels=()), contact(JIHO))
    assert rung(stage.last)[:1] == [JIHO]
    stage.advance(120)
    assert MINJI not in {s.person_id for s in stage.steps}


def test_one_person_named_twice_is_rung_once_a_round():
    stage = urgent(contact(MINJI), contact(MINJI), contact(JIHO))
    assert rung_in_turn(stage, 46) == [MINJI, JIHO]


def test_a_round_begun_before_rounds_remembered_whom_they_rang_goes_on_in_order():
    stage = urgent(contact(MINJI), contact(JIHO), contact(SORA))
    stage.ended(MINJI)
    stage.incident.ladder.called = []
    assert rung(stage.ended(JIHO)) == [SORA]


# --- hours said while a case is open


def says(stage: Stage, person, *, quiet=(), away=None):
    return stage.do(escalation.hours_said, person, quiet, None if away is None else stage.now + away)


def test_who_goes_away_during_a_case_is_rung_after_everybody_else_from_the_next_ring_on():
    stage = urgent(contact(MINJI), contact(JIHO), contact(SORA))
    decision = says(stage, JIHO, away=timedelta(hours=1))
    assert decision.steps == [] and stage.wrote() == ["contact_went_away"]
    assert [entry.who for entry in decision.log] == [f"person:{JIHO}"]
    assert rung_in_turn(stage, 200) == [MINJI, SORA, JIHO, MINJI, SORA]
    assert [e.params["person"] for e in stage.log if e.what == "contact_away"] == [str(JIHO)]


def test_who_is_back_during_a_case_is_rung_in_their_turn_again():
    stage = urgent(contact(MINJI, away_until=START + timedelta(days=1)), contact(JIHO), contact(SORA))
    stage.advance(10)
    says(stage, MINJI)
    assert stage.wrote() == ["contact_is_back"]
    assert rung_in_turn(stage, 100) == [JIHO, MINJI, SORA]


def test_everybody_away_during_a_case_are_all_rung_all_the_same_and_so_is_the_desk():
    stage = urgent(contact(MINJI), contact(JIHO))
    for person in (MINJI, JIHO):
        says(stage, person, away=timedelta(days=1))
    assert rung_in_turn(stage, 60) == [MINJI, JIHO]
    stage.advance(60)
    assert stage.ever("desk_rung")
    assert stage.incident.next_step_at is not None


def test_quiet_hours_said_during_a_lesser_case_hold_from_the_next_ring_on():
    stage = lesser(contact(MINJI), contact(JIHO), contact(SORA))
    says(stage, JIHO, quiet=(NOON_NAP,))
    assert stage.wrote() == ["contact_hours"]
    assert rung_in_turn(stage, 60) == [MINJI, SORA]


def test_who_holds_it_and_says_that_they_are_away_goes_on_holding_it():
    stage = urgent(contact(MINJI), contact(JIHO))
    stage.press(MINJI, "3")
    held = stage.incident
    decision = says(stage, MINJI, away=timedelta(days=1))
    after = decision.incident
    assert (after.owner_id, after.acknowledged, after.deadline_at) == (MINJI, True, held.deadline_at)
    assert decision.steps == [] and stage.wrote() == ["contact_went_away"]


def test_hours_of_who_is_no_contact_or_of_a_closed_case_change_nothing():
    stage = urgent(contact(MINJI))
    assert says(stage, SORA, away=timedelta(days=1)) == Decision(incident=stage.incident)
    assert says(stage, MINJI) == Decision(incident=stage.incident)
    stage.do(escalation.close, MINJI, "test")
    assert says(stage, MINJI, away=timedelta(days=1)) == Decision(incident=stage.incident)
