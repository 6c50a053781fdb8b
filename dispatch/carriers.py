"""How each carrier reaches a telephone number: a table of what is declared, row by row with its source.

The addresses say where a row can be checked again: carriers change what they offer. What has none is our policy.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from dispatch.notifier import Reach

E164 = re.compile(r"\+[1-9]\d{6,14}")


class Line(StrEnum):
    """What kind of telephone a number belongs to, as far as its digits tell."""

    MOBILE = "mobile"
    LANDLINE = "landline"
    """A fixed or internet telephone."""
    SPECIAL = "special"
    """Shared-cost, toll-free, premium and representative numbers: they ring a business, not a person."""
    UNKNOWN = "unknown"
    """The digits do not tell (North America), or the country's plan is not written here."""


VOICE = frozenset({Reach.VOICE})
TWO_WAYS = frozenset({Reach.VOICE, Reach.TEXT})
ALL = frozenset({Reach.VOICE, Reach.TEXT, Reach.TEXT_REPLY})
NONE: frozenset[Reach] = frozenset()

# Numbering plan of the Republic of Korea, ITU-T E.129 (communication of 2021): mobile +82 10 and the old 11, 16-19;
# fixed +82 2 and 31-64; internet +82 70; personal, toll-free, premium and common-service +82 50, 80, 60, 30, 15-18xx.
KOREAN = (
    (re.compile(r"\+8210\d{8}|\+821[16-9]\d{7,8}"), Line.MOBILE),
    (re.compile(r"\+82(2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70)\d{7,8}"), Line.LANDLINE),
    (re.compile(r"\+82(1[568]\d{6}|(30|50|60|80)\d{5,9})"), Line.SPECIAL),
)


class Row(NamedTuple):
    """One declaration; the first row that fits a number holds."""

    provider: str
    country: str
    """Calling code with its plus; empty stands for every country."""
    line: Line | None
    """None stands for every kind of line."""
    reach: frozenset[Reach]
    source: str


TWILIO_KR = "https://www.twilio.com/en-us/guidelines/kr/sms"
SOLAPI_DOCS = "https://developers.solapi.com/references"

ROWS: tuple[Row, ...] = (
    Row("twilio", "+82", Line.LANDLINE, VOICE, f"{TWILIO_KR} (no text to a landline); policy for internet telephones"),
    Row("twilio", "+82", Line.MOBILE, TWO_WAYS, f"{TWILIO_KR} (two-way SMS: no)"),
    Row("twilio", "+82", Line.SPECIAL, VOICE, "policy: a business's number is rung, never written to"),
    Row("twilio", "+82", None, VOICE, "policy: a number that the plan does not know is tried by voice"),
    Row("twilio", "+1", None, ALL, "https://www.twilio.com/en-us/guidelines/us/sms (two-way SMS: yes)"),
    Row("twilio", "", Line.LANDLINE, VOICE, "policy"),
    Row("twilio", "", None, TWO_WAYS, "policy: a reply is counted on only where it is documented"),
    Row("solapi", "+82", Line.LANDLINE, VOICE, f"{SOLAPI_DOCS}/voice; policy: no text to a landline"),
    Row("solapi", "+82", Line.MOBILE, TWO_WAYS, f"{SOLAPI_DOCS}/messages (no incoming texts without a reply number)"),
    Row("solapi", "+82", None, VOICE, "policy: a number that the plan does not know is tried by voice"),
    Row("solapi", "", None, NONE, "policy: its voice messages and registered sender numbers are for Korea"),
    Row("", "", Line.LANDLINE, VOICE, "policy: a carrier without rows of its own"),
    Row("", "", None, TWO_WAYS, "policy: a carrier without rows of its own"),
)


def line_kind(number: str) -> Line:
    """The kind of line that ``number`` (E.164) belongs to."""
    for shape, line in KOREAN:
        if shape.fullmatch(number):
            return line
    return Line.UNKNOWN


def row_for(provider: str, number: str) -> Row:
    """The declaration that holds for ``number`` by ``provider``."""
    line = line_kind(number)
    named = provider if any(row.provider == provider for row in ROWS) else ""
    return next(
        row
        for row in ROWS
        if row.provider == named and number.startswith(row.country) and row.line in {None, line}
    )


def reach(provider: str, number: str) -> frozenset[Reach]:
    """How ``provider`` reaches ``number``; nothing for what is not an E.164 number."""
    return row_for(provider, number).reach if E164.fullmatch(number) else NONE
