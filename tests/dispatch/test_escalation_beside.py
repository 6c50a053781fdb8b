"""Stories of asking beside an SOS or a grave sign: everybody rings at once, and "fine" is told, never obeyed."""

from __future__ import annotations

import msgspec
import pytest
from escalation_stage import DISPATCHER, GOOD, JIHO, MINJI, PATIENT, SORA, START, Stage, rung, sign, told

from dispatch import escalation, messages
from dispatch.codes import Message
from dispatch.dry_run import condition, dry_run
from dispatch.incident import Channel, Contact, NotificationKind, State, Target, Vitals

WORSE = Vitals(fresh_age_s=10, worse=True)


def grave(**policy: object) -> Stage:
    stage = Stage(**policy)
    stage.do(escalation.begin, [sign("fall", grave=True)])
    return stage


def asked(stage: Stage) -> list[tuple[float, str]]:
    """When the person was rung with the question, and in which words."""
    return [((stage.now - START).total_seconds(), s.message) for s in stage.last.steps if s.step == "ask"]


def pages(stage: Stage) -> list[object]:
    return [step for step in stage.steps if step.kind is NotificationKind.PAGE]


def fine_told(stage: Stage) -> list[tuple[object, str]]:
    return [(s.person_id, s.channel.value) for s in stage.steps if s.message == Message.SAYS_FINE]


# --- everything rings as before


def test_an_sos_rings_the_contact_first_and_the_person_in_the_same_breath():
    stage = Stage("sos")
    assert [s.step for s in stage.last.steps] == ["contact", "contact", "ask"]
    assert asked(stage) == [(0, "ask_beside")]
    assert stage.incident.state is State.CONFIRMED


@pytest.mark.parametrize("answers", [None, "1", "2", ""])
def test_whatever_the_person_answers_after_an_sos_every_page_goes_out_as_if_nobody_had_asked(answers):
    stage, unasked = Stage("sos", contacts=3), Stage("sos", contacts=3, can_be_asked=False)
    stage.advance(15)
    if answers is not None:
        stage.answer(answers)
    stage.advance(1800)
    unasked.advance(1815)
    assert pages(stage) == pages(unasked) and len(pages(stage)) > 10
    assert stage.incident.ladder == unasked.incident.ladder and stage.incident.desk == unasked.incident.desk


@pytest.mark.parametrize("vitals", [GOOD, WORSE])
def test_fine_after_an_sos_stops_delays_and_decides_nothing(vitals):
    stage = Stage("sos")
    stage.advance(15)
    before = stage.incident
    stage.answer("1", vitals)
    assert stage.incident.state is State.CONFIRMED and not stage.incident.acknowledged
    assert not stage.last.cancel_pages and stage.last.steps == []
    assert (stage.incident.ladder, stage.incident.desk) == (before.ladder, before.desk)
    assert stage.incident.next_step_at == before.next_step_at
    assert stage.wrote() == ["late_fine"]


def test_the_question_beside_an_sos_wakes_nothing_by_itself():
    stage = Stage("sos", contacts=0)
    assert stage.after() == stage.incident.policy.desk_step_s
    ask = stage.incident.ask
    assert (ask.due_at, ask.ends_at, ask.overlap_at) == (None, None, None)


def test_an_sos_of_somebody_who_cannot_be_asked_asks_nobody():
    assert PATIENT not in rung(Stage("sos", can_be_asked=False).last)


def test_the_person_is_rung_once_more_when_the_question_was_not_heard_and_then_no_more():
    stage = Stage("sos")
    assert rung(stage.do(escalation.ask_call_ended, "no_answer", 1)) == [PATIENT]
    assert rung(stage.do(escalation.ask_call_ended, "no_answer", 1)) == []
    assert rung(stage.do(escalation.ask_call_ended, "busy", 2)) == []


def test_once_somebody_took_it_the_question_is_not_dialled_again():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    assert stage.last.cancel_pages
    assert rung(stage.do(escalation.ask_call_ended, "no_answer", 1)) == []
    # Not even when it comes back to the queue.
    stage.advance(900)
    assert not stage.incident.acknowledged and PATIENT not in rung(stage.last)


def test_who_answered_on_the_wrist_is_not_rung_again():
    stage = Stage("sos")
    stage.answer("1", by="band")
    assert rung(stage.do(escalation.ask_call_ended, "no_answer", 1)) == []


def test_an_sos_that_joins_a_question_lets_it_go_on_and_rings_the_person_no_second_time():
    stage = Stage("spo2_low")
    stage.advance(5)
    assert rung(stage.do(escalation.join, [sign("sos", at=stage.now)])) == [MINJI]
    assert not stage.last.cancel_asks
    assert rung(stage.do(escalation.ask_call_ended, "no_answer", 1)) == [PATIENT]
    assert asked(stage)[0][1] == "ask_beside"


def test_an_sos_after_all_was_over_is_asked_back_too():
    stage = Stage("spo2_low")
    stage.answer("1")
    stage.advance(300)
    assert rung(stage.do(escalation.join, [sign("sos", at=stage.now)])) == [MINJI, PATIENT]


# --- told to whoever takes it


def test_fine_before_somebody_takes_it_is_heard_on_taking_and_no_message_follows():
    stage = Stage("sos")
    stage.advance(15)
    stage.answer("1")
    fine_at = stage.now
    stage.advance(5)
    stage.press(MINJI, "3")
    assert stage.incident.ask.fine_at == fine_at and stage.incident.ask.fine_told
    stage.advance(10)
    stage.answer("1", by="band")
    assert fine_told(stage) == []


@pytest.mark.parametrize("begin", [lambda: Stage("sos"), grave, lambda: Stage("spo2_low", overlap_s=0)])
def test_fine_after_somebody_took_it_is_written_to_them_once(begin):
    stage = begin()
    stage.advance(5)
    stage.press(MINJI, "3")
    stage.advance(5)
    assert told(stage.answer("1")) == [(MINJI, "says_fine")]
    assert fine_told(stage) == [(MINJI, "text")]
    assert stage.incident.state is State.CONFIRMED and stage.incident.owner_id == MINJI
    stage.answer("1", by="band")
    assert len(fine_told(stage)) == 1


def test_a_fine_that_is_not_believed_is_passed_on_whatever_the_readings_say():
    for vitals in (GOOD, WORSE):
        stage = grave()
        stage.answer("1", vitals)
        assert stage.incident.state is State.CONFIRMED
        assert stage.incident.ask.fine_at == stage.now


def test_the_desk_that_took_it_is_rung_with_the_news_once():
    stage = Stage("sos", contacts=0)
    stage.do(escalation.desk_answered, "3")
    assert told(stage.answer("1")) == [(None, "desk_news")]
    assert told(stage.answer("1")) == []


def test_who_can_only_be_rung_is_told_by_voice():
    stage = Stage()
    stage.codes = ("sos",)
    stage.open(Contact(person_id=MINJI, channels=(Channel.VOICE,)))
    stage.press(MINJI, "3")
    stage.answer("1")
    assert fine_told(stage) == [(MINJI, "voice")]
    assert messages.prompt_for(Message.SAYS_FINE, "ko").lines


def test_nobody_is_told_of_a_fine_once_somebody_is_there():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.do(escalation.arrived, MINJI)
    stage.answer("1")
    assert fine_told(stage) == [] and stage.incident.ask.fine_at is None


def test_who_takes_it_after_it_came_back_hears_the_fine_too():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.answer("1")
    stage.press(MINJI, "4")
    assert not stage.incident.acknowledged
    stage.press(JIHO, "3")
    assert stage.incident.ask.fine_at is not None and len(fine_told(stage)) == 1


@pytest.mark.parametrize("code", ["sos", "fall", "spo2_low"])
def test_a_later_cry_outweighs_a_fine(code):
    stage = Stage("sos")
    stage.advance(15)
    stage.answer("1")
    stage.advance(15)
    stage.do(escalation.join, [sign(code, at=stage.now)])
    stage.press(MINJI, "3")
    assert stage.incident.ask.fine_at is None


def test_what_joins_without_weight_does_not_outweigh_it():
    stage = Stage("sos")
    stage.answer("1")
    stage.do(escalation.join, [sign("battery_low")])
    assert stage.incident.ask.fine_at is not None


# --- not told


@pytest.mark.parametrize("begin", [lambda **p: Stage("sos", **p), grave])
def test_fine_of_somebody_with_dementia_is_asked_for_written_down_and_told_to_nobody(begin):
    stage = begin(may_cancel=False)
    assert PATIENT in rung(stage.last)
    stage.answer("1")
    stage.press(MINJI, "3")
    stage.answer("1")
    assert stage.incident.ask.fine_at is None and fine_told(stage) == []


@pytest.mark.parametrize("begin", [lambda **p: Stage("sos", **p), grave])
def test_the_duress_key_beside_an_sos_is_never_told_as_fine(begin):
    stage = begin(duress_digit="7")
    stage.advance(10)
    stage.answer("7")
    stage.press(MINJI, "3")
    assert stage.incident.ask.fine_at is None
    # Nor is what comes after it: who stands beside them may press.
    stage.answer("1")
    assert stage.incident.ask.fine_at is None and fine_told(stage) == []
    stage.advance(120)
    assert not [s for s in stage.steps if s.step == "coming"]


def test_a_fine_that_a_duress_key_follows_is_taken_back():
    stage = Stage("sos", duress_digit="7")
    stage.answer("1")
    stage.answer("7")
    assert stage.incident.ask.fine_at is None and stage.incident.ask.duress


def test_who_has_a_duress_key_is_asked_without_a_word_of_help_called():
    stage = Stage("sos", duress_digit="7")
    assert asked(stage) == [(0, "ask")]
    assert "도움을 불렀" not in " ".join(messages.prompt_for(Message.ASK, "ko").lines)


@pytest.mark.parametrize("digit", ["2", ""])
def test_fine_after_a_call_for_help_is_only_written_down(digit):
    stage = Stage("sos")
    stage.answer(digit)
    stage.press(MINJI, "3")
    stage.answer("1")
    assert fine_told(stage) == [] and stage.incident.ask.fine_at is None


def test_fine_about_our_own_fault_is_told_to_nobody():
    stage = Stage("detection_failed")
    stage.do(escalation.desk_answered, "3")
    stage.answer("1", by="band")
    assert told(stage.last) == []


# --- help


def test_help_beside_an_sos_takes_back_a_fine_and_reaches_who_took_it():
    stage = Stage("sos")
    stage.answer("1")
    stage.press(MINJI, "3")
    stage.answer("2")
    assert stage.incident.ask.fine_at is None and stage.incident.ask.wants_help
    assert (MINJI, "news") in told(stage.last)


# --- one call to the person at a time


def test_word_of_who_comes_waits_until_the_question_is_over():
    stage = Stage("sos")
    stage.advance(20)
    stage.press(MINJI, "3")
    assert stage.incident.coming.due_at == START + (stage.now - START) * 2.5  # 50 s: ringing and menu
    stage.advance(5)
    stage.do(escalation.ask_call_ended, "no_answer", 1)
    assert (stage.incident.coming.due_at - stage.now).total_seconds() == 10
    stage.advance(10)
    assert [s.step for s in stage.last.steps] == ["coming"]


def test_word_of_who_comes_follows_ten_seconds_after_the_answer():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(12)
    stage.do(escalation.call_picked_up, Target.PATIENT, PATIENT, 1)
    stage.advance(8)
    stage.answer("1")
    stage.advance(10)
    assert [s.step for s in stage.last.steps] == ["coming"]


def test_who_listens_to_the_question_is_not_rung_meanwhile():
    stage = Stage("sos")
    stage.press(MINJI, "3")
    stage.advance(45)
    stage.do(escalation.call_picked_up, Target.PATIENT, PATIENT, 1)
    assert stage.wrote() == ["picked_up"]
    stage.advance(24)
    assert not [s for s in stage.steps if s.step == "coming"]
    stage.advance(1)
    assert [s.step for s in stage.last.steps] == ["coming"]


def test_after_a_case_is_closed_the_question_changes_nothing():
    stage = Stage("sos")
    stage.do(escalation.close, DISPATCHER, "test")
    before = msgspec.json.encode(stage.incident)
    stage.do(escalation.call_picked_up, Target.PATIENT, PATIENT, 1)
    stage.do(escalation.ask_call_ended, "no_answer", 1)
    stage.answer("1")
    assert msgspec.json.encode(stage.incident) == before


# --- what is said


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_question_beside_begins_with_a_neutral_line_and_says_that_help_is_called(language):
    first, question = messages.prompt_for(Message.ASK_BESIDE, language).lines
    assert first == messages.prompt_for(Message.ASK, language).lines[0]
    assert ("도움을 불렀습니다" if language == "ko" else "called for help") in question
    again = messages.prompt_for(Message.ASK_BESIDE, language, 2)
    assert again.ask and again.turn == 2 and again.lines != messages.prompt_for(Message.ASK, language, 2).lines


def test_who_takes_it_hears_the_fine_and_that_they_should_look_all_the_same():
    at = START
    line = messages.says_fine("ko", at, at)
    assert line == "본인은 괜찮다고 답했습니다. 그래도 확인해 주세요."
    lines = messages.contact_taken("ko", "김순자", ["도움 버튼을 눌렀습니다"], "부산 북구", line).lines
    assert lines.index(line) == lines.index("도움 버튼을 눌렀습니다.") + 1
    assert messages.says_fine("ko", None, at) is None and messages.says_fine("en", None, at) is None


def test_an_old_fine_is_told_with_its_age():
    later = Stage().now.replace(hour=4)
    assert messages.says_fine("ko", START, later) == "본인은 1시간 전 괜찮다고 답했습니다. 그래도 확인해 주세요."
    assert messages.says_fine("en", START, later) == (
        "They answered that they are fine, 1 hour ago. Please check all the same."
    )


def test_a_dry_run_shows_the_question_beside_an_sos():
    plan = Stage("sos").incident.policy
    lines = dry_run(plan, [condition("sos")], minutes=0.2)
    assert [(line.at_s, line.what) for line in lines if line.channel == "voice"] == [
        (0.0, "contact_rung"),
        (0.0, "asked"),
    ]
    assert SORA not in {line.who for line in lines}
