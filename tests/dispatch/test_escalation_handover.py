"""Stories of the record that is handed to an emergency service's desk: offered, answered, or read out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from escalation_stage import DISPATCHER, MINJI, OTHER_DISPATCHER, START, Stage, told

from dispatch import escalation
from dispatch.codes import Action
from dispatch.incident import IllegalMove, State, allowed_actions

DESK_119 = "119 부산소방"


def offered() -> Stage:
    stage = Stage("sos")
    stage.do(escalation.acknowledge, DISPATCHER, "dispatcher")
    stage.do(escalation.hand_over, DISPATCHER, f" {DESK_119} ")
    return stage


def test_a_record_is_offered_by_a_named_human_and_dispatches_nobody():
    stage = offered()
    [offer] = stage.incident.handovers
    assert (offer.to, offer.by, offer.due_at) == (DESK_119, DISPATCHER, START + timedelta(seconds=60))
    assert stage.incident.state is State.CONFIRMED
    assert "unit_notified_at" not in stage.incident.times
    assert [(e.what, e.who) for e in stage.last.log] == [("handed_over", f"person:{DISPATCHER}")]


def test_an_accepted_record_is_still_no_dispatch():
    stage = offered()
    stage.do(escalation.handover_answered, OTHER_DISPATCHER, True, "", " 119-7 ")
    assert stage.incident.handovers[-1].answer == "accepted"
    assert stage.incident.handovers[-1].reference == "119-7"
    assert stage.incident.state is State.CONFIRMED
    assert told(stage.last) == []
    stage.advance(120)
    assert not stage.ever("handover_unanswered")
    stage.do(escalation.dispatch, DISPATCHER, "119-7", stage.now)
    assert stage.incident.state is State.DISPATCHED


def test_a_record_that_was_sent_back_is_read_out_by_the_desk():
    stage = offered()
    stage.do(escalation.handover_answered, DISPATCHER, False, "관할이 아님", "")
    assert stage.incident.handovers[-1].answer == "rejected"
    assert told(stage.last) == [(None, "desk_news")]
    assert stage.log[-2].params == {"to": DESK_119, "reason": "관할이 아님"}


def test_a_record_that_nobody_answers_is_read_out_by_the_desk():
    stage = offered()
    stage.advance(59)
    assert stage.incident.handovers[-1].answer is None
    stage.advance(1)
    assert stage.incident.handovers[-1].answer == "unanswered"
    assert told(stage.last) == [(None, "desk_news")]
    stage.steps.clear()
    stage.advance(300)
    assert [s for s in stage.steps if s.message == "desk_news"] == []


def test_an_answer_after_the_time_for_it_still_counts():
    stage = offered()
    stage.advance(90)
    stage.do(escalation.handover_answered, DISPATCHER, True, "", "A")
    assert stage.incident.handovers[-1].answer == "accepted"
    with pytest.raises(IllegalMove, match="handover_answered is not possible"):
        stage.do(escalation.handover_answered, DISPATCHER, False, "", "")


def test_one_offer_waits_at_a_time_and_the_next_may_follow():
    stage = offered()
    with pytest.raises(IllegalMove, match="hand_over is not possible"):
        stage.do(escalation.hand_over, DISPATCHER, "112")
    stage.do(escalation.handover_answered, DISPATCHER, False, "", "")
    stage.do(escalation.hand_over, DISPATCHER, "112")
    assert [offer.to for offer in stage.incident.handovers] == [DESK_119, "112"]


def test_nothing_is_offered_to_nobody_nor_once_it_is_over():
    stage = Stage("sos")
    with pytest.raises(ValueError, match="to must name the desk"):
        stage.do(escalation.hand_over, DISPATCHER, " ")
    with pytest.raises(IllegalMove):
        stage.do(escalation.handover_answered, DISPATCHER, True, "", "")
    stage.do(escalation.stand_down, DISPATCHER, "test")
    with pytest.raises(IllegalMove):
        stage.do(escalation.hand_over, DISPATCHER, DESK_119)


@pytest.mark.parametrize("end", ["close", "stand_down"])
def test_an_offer_does_not_outlive_its_case(end):
    stage = offered()
    stage.do(getattr(escalation, end), DISPATCHER, "test")
    stage.steps.clear()
    stage.advance(300)
    assert stage.steps == []
    assert stage.incident.offered is None


def test_an_offer_pages_nobody_and_stops_no_page():
    stage = Stage("sos")
    stage.do(escalation.hand_over, DISPATCHER, DESK_119)
    assert not stage.last.cancel_pages and not stage.incident.acknowledged
    stage.advance(45)
    assert stage.incident.ladder.index == 1


def test_a_clock_set_back_makes_no_offer_wait_longer():
    stage = offered()
    stage.now -= timedelta(hours=1)
    stage.do(escalation.next_steps)
    assert stage.incident.offered.due_at == stage.now + timedelta(seconds=60)


def test_the_allowed_actions_name_going_arriving_and_handing_over():
    stage = Stage("sos")
    assert {Action.GOING, Action.ARRIVED, Action.HAND_OVER} <= set(allowed_actions(stage.incident))
    assert Action.SAFE not in allowed_actions(stage.incident)
    stage.press(MINJI, "3")
    stage.press(MINJI, "5")
    assert Action.SAFE in allowed_actions(stage.incident)
    assert Action.GOING not in allowed_actions(stage.incident)
    stage.press(MINJI, "6")
    assert allowed_actions(stage.incident) == (Action.NOTE,)
