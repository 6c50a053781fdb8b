"""The dry run: who would be rung when, by the rules that run in earnest."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from escalation_stage import Stage

from dispatch.dry_run import CASES, DESK, PATIENT, Line, at_text, condition, dry_run, example, line_text
from dispatch.incident import Channel, Contact, Policy, Window
from dispatch.policies import DEFAULT, parse
from dispatch.rehearsal import Behaviour, Kind, Rehearsal

ONE, TWO = str(UUID(int=1)), str(UUID(int=2))


@pytest.fixture
def plan() -> Policy:
    return example(parse(DEFAULT).policy)


def seen(lines: list[Line]) -> list[tuple[int, str, str]]:
    """Second, what and who of every ring."""
    return [(round(line.at_s), line.what, line.who) for line in lines if line.channel == "voice"]


def test_sos_rings_the_first_contact_at_once_and_the_desk_after_one_round(plan: Policy) -> None:
    lines = dry_run(plan, [condition("sos")], minutes=1)
    assert seen(lines) == [
        (0, "contact_rung", ONE),
        (0, "asked", PATIENT),
        (26, "contact_rung", TWO),
        (26, "asked", PATIENT),
        (51, "desk_rung", DESK),
        (51, "contact_rung", ONE),
    ]


def test_a_serious_sign_asks_alone_for_twenty_seconds_and_a_mild_one_until_the_question_is_over(plan: Policy) -> None:
    high, mild = (dry_run(plan, [condition(case)], minutes=1) for case in ("high", "medium"))
    assert seen(high)[:3] == [(0, "asked", PATIENT), (20, "contact_rung", ONE), (26, "asked", PATIENT)]
    assert seen(mild) == [(0, "asked", PATIENT), (26, "asked", PATIENT), (51, "contact_rung", ONE)]


def test_a_grave_sign_rings_while_the_person_is_asked(plan: Policy) -> None:
    assert seen(dry_run(plan, [condition("grave")], minutes=0.3)) == [(0, "asked", PATIENT), (0, "contact_rung", ONE)]


def test_it_ends_when_somebody_takes_it(plan: Policy) -> None:
    answers = {ONE: Behaviour(Kind.BUSY), TWO: Behaviour(Kind.ANSWER, 4.0, "3", 6.0)}
    lines = dry_run(plan, [condition("sos")], answers)
    assert lines[-1].what == "acknowledged" and lines[-1].who == f"person:{TWO}"
    # Busy after 1.5 s; then half a second to connect, 4 s of ringing, 1 s of detection, 6 s of menu.
    assert lines[-1].at_s == pytest.approx(1.5 + 0.5 + 4.0 + 1.0 + 6.0)


def test_it_ends_when_the_person_says_that_they_are_fine(plan: Policy) -> None:
    lines = dry_run(plan, [condition("medium")], {PATIENT: Behaviour(Kind.ANSWER, 5.0, "1", 6.0)})
    assert lines[-1].what == "cancelled_by_patient"
    assert not [line for line in lines if line.what == "contact_rung"]


def test_each_call_meets_the_next_behaviour_and_the_last_one_stays(plan: Policy) -> None:
    answers = {ONE: [Behaviour(), Behaviour(Kind.ANSWER, 3.0, "3")]}
    lines = dry_run(plan, [condition("sos")], answers)
    assert [line.who for line in lines if line.what == "contact_rung"] == [ONE, TWO, ONE]


def test_voicemail_is_no_answer_whether_it_is_known_for_one_or_not(plan: Policy) -> None:
    for detected in (True, False):
        answers = {ONE: Behaviour(Kind.VOICEMAIL, 5.0, detected=detected)}
        lines = dry_run(plan, [condition("sos")], answers, minutes=3)
        assert "acknowledged" not in {line.what for line in lines}
        assert TWO in {line.who for line in lines if line.what == "contact_rung"}


def test_quiet_hours_show_for_a_mild_sign_and_not_for_a_serious_one() -> None:
    night = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # midnight in Korea
    sleeper = Contact(person_id=UUID(int=1), quiet=(Window(from_min=22 * 60, to_min=7 * 60),))
    plan = parse(DEFAULT).policy(contacts=(sleeper, Contact(person_id=UUID(int=2))))
    mild = dry_run(plan, [condition("medium", night)], start=night, minutes=2)
    serious = dry_run(plan, [condition("high", night)], start=night, minutes=2)
    assert ONE not in {line.who for line in mild if line.channel == "voice"}
    assert "contact_quiet" in {line.what for line in mild}
    assert ONE in {line.who for line in serious if line.channel == "voice"}


def test_who_can_only_be_written_to_is_written_to() -> None:
    reader = Contact(person_id=UUID(int=1), channels=(Channel.EMAIL,))
    plan = parse(DEFAULT).policy(contacts=(reader, Contact(person_id=UUID(int=2))))
    lines = dry_run(plan, [condition("sos")], minutes=1)
    written = next(line for line in lines if line.who == ONE)
    assert (written.channel, written.at_s) in {("email", 0), ("voice", 0)}
    assert [(line.channel, line.at_s) for line in lines if line.what == "contact_text"][0:1] == [("email", 0)]
    assert next(line.at_s for line in lines if line.who == TWO) == 15


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_line_reads_as_a_sentence_without_an_id(plan: Policy, case: str, language: str) -> None:
    def name_of(who: str) -> str:
        return "민지" if language == "ko" else "Minji"

    lines = dry_run(plan, [condition(case)], minutes=8)
    assert lines and [line.at_s for line in lines] == sorted(line.at_s for line in lines)
    for line in lines:
        said = line_text(line, language, name_of)
        assert said and "{" not in said and "0000-" not in said
        assert bool(re.search(r"[가-힣]", said)) == (language == "ko")
    assert [at_text(s) for s in (0, 59.6, 61, 600)] == ["0:00", "1:00", "1:01", "10:00"]


def test_it_sends_just_what_the_engine_sends_when_nobody_answers() -> None:
    stage = Stage("fall", overlap_s=15)
    # The stage hears no carrier, so the rehearsal's telephones must not tell of anything either.
    played = Rehearsal(
        stage.incident.policy,
        [reason.condition for reason in stage.incident.reasons],
        lambda step, at: Behaviour(Kind.ANSWER, after_s=0.0, menu_s=1e6, key="3"),
        start=stage.now,
    )
    played.run(16)
    stage.advance(16)
    sent = [(one.at_s, one.step.step) for one in played.sent]
    assert [step for _, step in sent] == [step.step for step in stage.steps]
    assert sent[0] == (0.0, "ask") and sent[1] == (15.0, "contact")


def test_time_never_goes_backwards_and_every_call_ends(plan: Policy) -> None:
    heard: list[float] = []
    played = Rehearsal(
        plan, [condition("high")], lambda step, at: Behaviour(Kind.REJECT, 2.0), listen=lambda at, _: heard.append(at)
    )
    played.run(3600)
    assert all(before <= after for before, after in pairwise(heard))
    assert len(played.sent) < 400 and not played.over
    assert played.incident.next_step_at is not None and played.incident.next_step_at > datetime.min.replace(
        tzinfo=UTC
    ) + timedelta(days=1)
