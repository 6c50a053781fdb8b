"""Escalation policies as documents: readable, checked whole, and unable to weaken what is grave."""

from __future__ import annotations

import re
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_documents import documents, holds, written

from dispatch.dry_run import condition, dry_run, example
from dispatch.incident import Contact, Policy
from dispatch.policies import DEFAULT, FIELDS, Code, Document, PolicyError, Problem, parse
from dispatch.policy_fields import RULES, SHORTEST_STEP_S
from dispatch.policy_words import WORDS, problem_text

LEASE_S = 5
"""How long a dead sender holds a message; ``ANSIM_SEND_LEASE_S`` has this default."""


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        parse(text)
    return list(caught.value.problems)


def only(text: str) -> Problem:
    found = problems_of(text)
    assert len(found) == 1, found
    return found[0]


def test_the_document_that_ships_is_what_the_engine_has_without_one() -> None:
    assert parse(DEFAULT).policy() == Policy(version="default-1")
    assert parse('title = "nothing set"').policy() == Policy(version="default-1")


def test_the_document_that_ships_names_every_field_with_its_range_in_both_languages() -> None:
    for field in FIELDS:
        line = next(one for one in DEFAULT.splitlines() if one.startswith(f"{field.key} = {field.default}"))
        assert f"{field.low}-{field.high}" in line
    settings_of = [line for line in DEFAULT.splitlines() if " = " in line and not line.startswith("title")]
    assert len(settings_of) == len(FIELDS) + 1
    assert all(re.search(r"[가-힣]", line.partition("#")[2]) for line in settings_of)


def test_every_field_has_a_range_around_its_default_and_a_reason_in_both_languages() -> None:
    for field in FIELDS:
        assert field.low <= field.default <= field.high, field.name
        assert field.reason and re.search(r"[가-힣]", field.reason_ko), field.name


def test_no_step_can_be_shorter_than_a_dead_senders_lease() -> None:
    steps = ("contacts.step_s", "contacts.unvoiced_s", "desk.step_s", "desk.busy_s", "ask.attempt_s", "ask.overlap_s")
    lows = {field.name: field.low for field in FIELDS}
    assert all(lows[name] >= SHORTEST_STEP_S > LEASE_S for name in steps)


def test_nobody_can_be_left_waiting_by_a_document() -> None:
    highs = {field.name: field.high for field in FIELDS}
    assert highs["ask.budget_s"] <= 180
    assert highs["ask.overlap_s"] <= 60
    assert highs["desk.step_s"] <= 180
    assert highs["contacts.slow_round_s"] <= 900
    assert {field.name: field.low for field in FIELDS}["settle.settle_s"] >= 600


def test_what_is_rendered_reads_back_as_the_same_document() -> None:
    text = written({"ask.budget_s": 120, "contacts.rounds": 2}, title='Haeundae \\\\ \\"night\\"')
    document = parse(text)
    again = parse(document.rendered())
    assert (again.title, again.policy(), document.title) == (document.title, document.policy(), 'Haeundae \\ "night"')


@given(text=documents())
def test_any_document_that_holds_reads_back_after_rendering(text: str) -> None:
    document = parse(text)
    assert parse(document.rendered()).policy() == document.policy()


def test_a_document_says_numbers_and_never_whose() -> None:
    contacts = (Contact(person_id=UUID(int=1)),)
    document = parse(written({"ask.attempts": 1}))
    policy = document.policy(version="district-26350/v7", contacts=contacts, may_cancel=False)
    assert (policy.version, policy.contacts, policy.ask_attempts) == ("district-26350/v7", contacts, 1)
    with pytest.raises(TypeError, match="overlap_s must be said in the document"):
        parse(DEFAULT).policy(overlap_s=5)


@pytest.mark.parametrize(
    ("text", "line", "argument", "near"),
    [
        ('title = "x"\n[ask]\nbudget = 75\n', 3, "ask.budget", "ask.budget_s"),
        ('title = "x"\n[ask]\n\novrlap_s = 20\n', 4, "ask.ovrlap_s", "ask.overlap_s"),
        ('title = "x"\n[contcts]\nring_s = 20\n', 2, "contcts", "contacts"),
        ('title = "x"\n[desk]\nring_s = 20\n', 3, "desk.ring_s", "contacts.ring_s"),
        ('budget_s = 75\ntitle = "x"\n', 1, "budget_s", "ask.budget_s"),
        ('title = "x"\n[ask]\ncontacts = 3\n', 3, "ask.contacts", ""),
        ('title = "x"\nask.attempts = 2\nask.attempz = 2\n', 3, "ask.attempz", "ask.attempts"),
        ('titel = "x"\ntitle = "x"\n', 1, "titel", "title"),
    ],
)
def test_an_unknown_word_is_refused_at_its_line_with_the_one_that_was_meant(
    text: str, line: int, argument: str, near: str
) -> None:
    problem = only(text)
    assert (problem.code, problem.line, problem.argument, problem.near) == (Code.UNKNOWN, line, argument, near)
    said = problem_text(problem, "en"), problem_text(problem, "ko")
    assert argument in said[0] and argument in said[1]
    assert (f"did you mean {near}?" in said[0]) == bool(near)
    assert near in said[1]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("181", Code.OUT_OF_RANGE),
        ("-1", Code.OUT_OF_RANGE),
        ("9" * 60, Code.OUT_OF_RANGE),
        ("75.0", Code.NOT_A_NUMBER),
        ('"75"', Code.NOT_A_NUMBER),
        ("true", Code.NOT_A_NUMBER),
        ("nan", Code.NOT_A_NUMBER),
        ("[75]", Code.NOT_A_NUMBER),
        ("2026-11-22", Code.NOT_A_NUMBER),
    ],
)
def test_a_value_outside_its_range_is_refused_with_line_argument_value_and_range(value: str, code: Code) -> None:
    problem = only(f'title = "x"\n\n# why\n[ask]\n  budget_s = {value}  # too long\n')
    assert (problem.code, problem.line, problem.argument) == (code, 5, "ask.budget_s")
    said = problem_text(problem, "en")
    assert "ask.budget_s must be" in said and problem.value in said and "25 to 180" in said
    assert re.search(r"[가-힣]", problem_text(problem, "ko"))


@pytest.mark.parametrize(
    ("numbers", "rule", "argument"),
    [
        ({"contacts.step_s": 30, "contacts.ring_s": 25}, "ring_fits_step", "contacts.step_s"),
        ({"ask.attempt_s": 30, "contacts.ring_s": 25}, "ring_fits_attempt", "ask.attempt_s"),
        ({"ask.attempts": 3, "ask.attempt_s": 45, "ask.budget_s": 100}, "attempts_fit_budget", "ask.budget_s"),
        ({"ask.attempts": 1, "ask.budget_s": 40, "ask.overlap_s": 40}, "overlap_in_budget", "ask.budget_s"),
        ({"contacts.rounds": 5, "contacts.step_s": 70}, "rounds_end", "contacts.rounds"),
    ],
)
def test_numbers_that_are_fine_alone_must_fit_one_another(numbers: dict[str, int], rule: str, argument: str) -> None:
    problem = only(written(numbers))
    assert (problem.code, problem.detail, problem.argument) == (Code.DOES_NOT_FIT, rule, argument)
    words = next(one for one in RULES if one.code == rule)
    assert words.english in problem_text(problem, "en") and words.korean in problem_text(problem, "ko")


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() -> None:
    found = problems_of("[ask]\nbudget_s = 1\n[desk]\nstep = 3\nbusy_s = 'x'\n")
    assert [(one.line, one.code) for one in found] == [
        (1, Code.NO_TITLE),
        (2, Code.OUT_OF_RANGE),
        (4, Code.UNKNOWN),
        (5, Code.NOT_A_NUMBER),
    ]
    assert "line 2" in str(PolicyError(found))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", Code.NO_TITLE, 1),
        ("title = 7", Code.NOT_A_TITLE, 1),
        ('title = "' + "x" * 81 + '"', Code.NOT_A_TITLE, 1),
        ('title = "two\\nlines"', Code.NOT_A_TITLE, 1),
        ('title = "   "', Code.NOT_A_TITLE, 1),
        ('title = "x"\n[ask]\nbudget_s = \n', Code.NOT_TOML, 3),
        ('title = "x"\n[ask]\n[ask]\n', Code.NOT_TOML, 3),
        ('title = "x"\nask = 3\n', Code.NOT_A_TABLE, 2),
        ('title = "x"\n[[ask]]\nbudget_s = 75\n', Code.NOT_A_TABLE, 2),
        ('title = "x"\n[contacts]\norder = "eldest first"\n', Code.WRONG_ORDER, 3),
        ("#" * 20_001, Code.TOO_LONG, 1),
        ("a = " + "[" * 5_000, Code.NOT_TOML, 1),
        ("a = " + "9" * 5_000, Code.NOT_TOML, 1),
        ('title = "\udcff"', Code.NOT_TOML, 1),
        ('title = "x\x00"', Code.NOT_TOML, 1),
        ("\x00", Code.NOT_TOML, 1),
        ("{" * 300, Code.NOT_TOML, 1),
    ],
)
def test_what_is_no_document_is_refused_with_a_sentence(text: str, code: Code, line: int) -> None:
    problem = only(text)
    assert (problem.code, problem.line) == (code, line)
    assert all(problem_text(problem, language) for language in ("ko", "en"))


@pytest.mark.parametrize(("written", "shown"), [("{a = 1}", "{…}"), ("[1, 2]", "[…]"), ("true", "true")])
def test_a_value_of_the_wrong_kind_is_shown_as_documents_write_it(written: str, shown: str) -> None:
    assert only(f'title = "x"\n[ask]\nbudget_s = {written}\n').value == shown


LIKE_TOML = r"(\[[a-z]{1,9}\]\n|[a-z_]{1,9} = [0-9\"a-z.\[\]{}]{1,9}\n){1,9}"


@given(text=st.text(max_size=300) | st.from_regex(LIKE_TOML))
@settings(max_examples=300)
def test_any_text_at_all_is_either_a_document_or_refused_with_its_lines(text: str) -> None:
    try:
        parse(text)
    except PolicyError as error:
        assert error.problems
        for problem in error.problems:
            assert 1 <= problem.line <= text.count("\n") + 1
            assert len(problem_text(problem, "en")) < 600 and problem_text(problem, "ko")


def test_every_kind_of_mistake_is_worded_in_both_languages() -> None:
    assert set(WORDS) == set(Code)
    assert all(english and re.search(r"[가-힣]", korean) for english, korean in WORDS.values())


# --- what no document can do


@given(text=documents())
@settings(max_examples=150, deadline=None)
def test_no_document_can_delay_an_sos_or_hold_up_a_grave_sign_behind_the_question(text: str) -> None:
    plan = example(parse(text).policy)
    for case in ("sos", "grave"):
        lines = dry_run(plan, [condition(case)], minutes=20)
        rung = [line for line in lines if line.what == "contact_rung"]
        assert rung[0].at_s == 0.0, case
        desk = [line.at_s for line in lines if line.what == "desk_rung"]
        # Two contacts once round, and the desk is rung: at most a step for each of them.
        assert desk and desk[0] <= 2 * 90, case
        times = [line.at_s for line in lines if line.what in {"contact_rung", "desk_rung"}]
        assert all(after - before <= 180 for before, after in pairwise(times)), "somebody rings all the time"
    asked = [line for line in dry_run(plan, [condition("grave")], minutes=5) if line.what == "asked"]
    assert asked and asked[0].at_s == 0.0, "asked beside them, not instead"


@given(text=documents())
@settings(max_examples=100, deadline=None)
def test_no_document_keeps_a_silent_person_waiting_longer_than_its_bounds(text: str) -> None:
    plan = example(parse(text).policy)
    high = [line.at_s for line in dry_run(plan, [condition("high")], minutes=10) if line.what == "contact_rung"]
    medium = dry_run(plan, [condition("medium")], minutes=30)
    assert high and high[0] <= 60
    assert next(line.at_s for line in medium if line.what == "contact_rung") <= 180
    # The question, then at most five minutes of rounds with one contact, with two at most twice that.
    assert next(line.at_s for line in medium if line.what == "desk_rung") <= 180 + 2 * 300


def test_a_document_can_name_nothing_that_is_grave() -> None:
    words = " ".join(field.name for field in FIELDS)
    assert not re.search(r"sos|grave|fall|priority|cancel|skip|off|silent|snooze", words)
    assert not holds('title = "x"\n[sos]\ndelay_s = 60\n')
    assert Document.__struct_fields__ == ("title", "values")
