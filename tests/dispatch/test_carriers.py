"""What each carrier is declared to reach."""

from __future__ import annotations

import pytest

from dispatch.carriers import ROWS, Line, line_kind, reach
from dispatch.notifier import Reach

VOICE, TEXT, REPLY = Reach.VOICE, Reach.TEXT, Reach.TEXT_REPLY
MOBILE, SEOUL, BUSAN, GYEONGGI, INTERNET = (
    "+821012345678",
    "+8221234567",
    "+82515550199",
    "+82311234567",
    "+827012345678",
)
REPRESENTATIVE, NEW_YORK, LONDON = "+8215881234", "+12125550100", "+442071234567"


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (MOBILE, Line.MOBILE),
        ("+821112345678", Line.MOBILE),
        (SEOUL, Line.LANDLINE),
        ("+82212345678", Line.LANDLINE),
        (BUSAN, Line.LANDLINE),
        (GYEONGGI, Line.LANDLINE),
        ("+82641234567", Line.LANDLINE),
        (INTERNET, Line.LANDLINE),
        (REPRESENTATIVE, Line.SPECIAL),
        ("+82801234567", Line.SPECIAL),
        (NEW_YORK, Line.UNKNOWN),
        ("+8210123", Line.UNKNOWN),
    ],
)
def test_the_kind_of_line_is_read_from_the_digits(number, line):
    assert line_kind(number) is line


@pytest.mark.parametrize(
    ("provider", "number", "ways"),
    [
        ("twilio", MOBILE, {VOICE, TEXT}),
        ("twilio", SEOUL, {VOICE}),
        ("twilio", BUSAN, {VOICE}),
        ("twilio", INTERNET, {VOICE}),
        ("twilio", REPRESENTATIVE, {VOICE}),
        ("twilio", NEW_YORK, {VOICE, TEXT, REPLY}),
        ("twilio", LONDON, {VOICE, TEXT}),
        ("solapi", MOBILE, {VOICE, TEXT}),
        ("solapi", GYEONGGI, {VOICE}),
        ("solapi", NEW_YORK, set()),
        ("another", MOBILE, {VOICE, TEXT}),
        ("another", SEOUL, {VOICE}),
    ],
)
def test_each_carrier_reaches_what_is_declared_for_it(provider, number, ways):
    assert reach(provider, number) == ways


def test_a_text_from_korea_is_never_counted_on_for_an_answer():
    assert not any(REPLY in reach(provider, MOBILE) for provider in ("twilio", "solapi"))


def test_a_korean_number_that_the_plan_does_not_know_is_at_least_rung():
    assert reach("twilio", "+82999999999") == reach("solapi", "+82999999999") == {VOICE}


@pytest.mark.parametrize("number", ["", "01012345678", "+0212345678", "mother"])
def test_what_is_no_number_is_reached_by_nobody(number):
    assert reach("twilio", number) == set()


def test_every_row_says_where_it_comes_from():
    assert all(row.source.startswith(("https://", "policy")) for row in ROWS)
