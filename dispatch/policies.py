"""Escalation policies as documents: TOML that people write, checked whole, and turned into a plan.

A document sets delays and counts only. What is grave, who is rung for it at once and what an answer is worth are
rules of the engine, which no document can reach.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from dispatch.plan import Policy
from dispatch.policy_fields import (
    BY_NAME,
    CALL_TAIL_S,
    DEFAULTS,
    FIELDS,
    LONGEST_ROUNDS_S,
    ORDER,
    RULES,
    SECTION_WORDS,
    SECTIONS,
    Field,
)

LONGEST_TEXT = 20_000
LONGEST_TITLE = 80
DEFAULT_VERSION = "default-1"
SHOWN = 40
"""How much of a refused value is repeated."""
LINE_ENDS = re.compile(r"\r\n?")
"""What browsers and some editors end a line with."""
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_. -]+?)["']?\s*=""")
_TABLE = re.compile(r"""\s*\[\[?\s*["']?([A-Za-z0-9_. -]+?)["']?\s*\]""")


class Code(StrEnum):
    """What may be wrong with a document; ``policy_words`` says each in both languages."""

    TOO_LONG = "too_long"
    NOT_TOML = "not_toml"
    UNKNOWN = "unknown"
    NOT_A_TABLE = "not_a_table"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    NOT_A_TITLE = "not_a_title"
    NO_TITLE = "no_title"
    WRONG_ORDER = "wrong_order"
    DOES_NOT_FIT = "does_not_fit"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: where, which argument, what it was."""

    code: Code
    line: int
    """From 1."""
    argument: str = ""
    value: str = ""
    near: str = ""
    """Did you mean this one?"""
    detail: str = ""
    """The parser's own words, or which rule is broken."""
    low: int = 0
    high: int = 0


class PolicyError(ValueError):
    """A document that cannot hold, with everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda one: one.line))
        said = (f"line {p.line}: {p.argument or 'document'} was {p.value!r}: {p.code}" for p in self.problems)
        super().__init__("; ".join(said))


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that was checked; what it does not name has the value that ships."""

    title: str
    values: Mapping[str, int] = {}
    """By attribute of ``plan.Policy``; only what the text names."""

    def number(self, field: Field) -> int:
        return self.values.get(field.attribute, field.default)

    def policy(self, *, version: str = DEFAULT_VERSION, **personal: Any) -> Policy:
        """The plan for one person: this document's numbers with that person's contacts and needs.

        Parameters
        ----------
        version : str
            Frozen into the incident.
        **personal
            What a document never says: ``contacts``, ``can_be_asked``, ``may_cancel``, ``duress_digit``,
            ``language``, ``utc_offset_s``.

        Raises
        ------
        TypeError
            When ``personal`` names one of the document's own numbers.
        """
        own = {field.attribute for field in FIELDS} & personal.keys()
        if own:
            raise TypeError(f"{', '.join(sorted(own))} must be said in the document, was given as a personal fact")
        numbers: dict[str, Any] = dict(self.values)
        return Policy(version=version, **numbers, **personal)

    def rendered(self) -> str:
        """This document as text, every field with its range and reason in both languages."""
        lines = [f"title = {_quoted(self.title)}"]
        for section in SECTIONS:
            english, korean = SECTION_WORDS[section]
            lines += ["", f"[{section}]  # {english} / {korean}"]
            for field in FIELDS:
                if field.section != section:
                    continue
                setting = f"{field.key} = {self.number(field)}"
                lines.append(f"{setting:<22} # {field.low}-{field.high}: {field.english} / {field.korean}")
            if section == "contacts":
                listed = f"order = {_quoted(ORDER)}"
                lines.append(f"{listed:<22} # the only one: as the family listed them / 등록한 순서")
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=256)
def parse(text: str) -> Document:
    """Read a document.

    Parameters
    ----------
    text : str
        TOML, at most 20,000 characters.

    Returns
    -------
    Document
        With every number inside its range and all of them fitting one another.

    Raises
    ------
    PolicyError
        With everything that is wrong, each with its line, argument and value.
    """
    if len(text) > LONGEST_TEXT:
        raise PolicyError([Problem(code=Code.TOO_LONG, line=1, value=str(len(text)), high=LONGEST_TEXT)])
    try:
        text.encode()
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError([_unreadable(text, error)]) from error
    problems: list[Problem] = []
    lines = _lines(text)
    title = _title(given, lines, problems)
    values = _values(given, lines, problems)
    if not problems:
        problems += _misfits(values, lines)
    if problems:
        raise PolicyError(problems)
    return Document(title=title, values=values)


def _unreadable(text: str, error: Exception) -> Problem:
    said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not readable"
    where = _AT_LINE.search(said)
    # "at end of document" has no line of its own: it is the last one.
    line = int(where[1]) if where else text.count("\n") + 1
    shown = text.split("\n")[line - 1].strip()[:SHOWN]
    return Problem(code=Code.NOT_TOML, line=line, value=shown, detail=_AT_LINE.sub("", said).strip())


def _title(given: Mapping[str, Any], lines: Mapping[str, int], problems: list[Problem]) -> str:
    title = given.get("title")
    if title is None:
        problems.append(Problem(code=Code.NO_TITLE, line=1, argument="title"))
    elif not isinstance(title, str) or not 1 <= len(title.strip()) <= LONGEST_TITLE or not title.isprintable():
        where = lines.get("title", 1)
        problems.append(
            Problem(code=Code.NOT_A_TITLE, line=where, argument="title", value=_shown(title), high=LONGEST_TITLE)
        )
    else:
        return title.strip()
    return ""


def _values(given: Mapping[str, Any], lines: Mapping[str, int], problems: list[Problem]) -> dict[str, int]:
    values: dict[str, int] = {}
    for section, entries in given.items():
        if section == "title":
            continue
        where = lines.get(section, 1)
        if section not in SECTIONS:
            problems.append(_unknown(section, entries, where))
        elif not isinstance(entries, dict):
            problems.append(Problem(code=Code.NOT_A_TABLE, line=where, argument=section, value=_shown(entries)))
        else:
            for key, value in entries.items():
                found = _value(f"{section}.{key}", value, lines.get(f"{section}.{key}", where), problems)
                if found is not None:
                    values[BY_NAME[f"{section}.{key}"].attribute] = found
    return values


def _value(name: str, value: object, line: int, problems: list[Problem]) -> int | None:
    if name == "contacts.order":
        if value != ORDER:
            problems.append(Problem(code=Code.WRONG_ORDER, line=line, argument=name, value=_shown(value)))
        return None
    field = BY_NAME.get(name)
    if field is None:
        problems.append(_unknown(name, value, line))
    elif isinstance(value, bool) or not isinstance(value, int):
        problems.append(
            Problem(
                code=Code.NOT_A_NUMBER, line=line, argument=name, value=_shown(value), low=field.low, high=field.high
            )
        )
    elif not field.low <= value <= field.high:
        problems.append(
            Problem(
                code=Code.OUT_OF_RANGE, line=line, argument=name, value=_shown(value), low=field.low, high=field.high
            )
        )
    else:
        return value
    return None


def _unknown(name: str, value: object, line: int) -> Problem:
    section, _, own = name.rpartition(".")
    if section:
        # A misspelt word of this section, else a word that belongs into another one.
        here = {key: f"{section}.{key}" for key in _keys(section)}
        elsewhere = {field.key: field.name for field in reversed(FIELDS)}
        near = difflib.get_close_matches(own, here, n=1, cutoff=0.6)
        named = [here[one] for one in near] or [elsewhere[one] for one in [own] if one in elsewhere]
    else:
        named = difflib.get_close_matches(own, [*SECTIONS, "title"], n=1, cutoff=0.6)
        named = named or [field.name for field in FIELDS if field.key == own]
    return Problem(
        code=Code.UNKNOWN, line=line, argument=name[:SHOWN], value=_shown(value), near=named[0] if named else ""
    )


def _keys(section: str) -> list[str]:
    own = [field.key for field in FIELDS if field.section == section]
    return [*own, "order"] if section == "contacts" else own


def _misfits(values: Mapping[str, int], lines: Mapping[str, int]) -> list[Problem]:
    """What the numbers, each fine by itself, owe one another."""
    plan = replace(Policy(version=""), **values)
    fits = {
        "ring_fits_step": plan.contact_step_s >= plan.ring_s + CALL_TAIL_S,
        "ring_fits_attempt": plan.ask_attempt_s >= plan.ring_s + CALL_TAIL_S,
        "attempts_fit_budget": plan.ask_budget_s >= (plan.ask_attempts - 1) * plan.ask_attempt_s + plan.ring_s,
        "overlap_in_budget": plan.ask_budget_s > plan.overlap_s,
        "rounds_end": plan.rounds * plan.contact_step_s <= LONGEST_ROUNDS_S,
    }
    return [
        Problem(
            code=Code.DOES_NOT_FIT,
            # Where nothing is written the shipped value holds, so the line of the other field is the one to change.
            line=lines.get(rule.left) or lines.get(rule.right) or 1,
            argument=rule.left,
            value=str(getattr(plan, BY_NAME[rule.left].attribute)),
            detail=rule.code,
        )
        for rule in RULES
        if not fits[rule.code]
    ]


def _lines(text: str) -> dict[str, int]:
    """Where each argument is written: ``section`` and ``section.key`` by line, the first one counts."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _TABLE.match(line), _KEY.match(line)
        if header:
            table = header[1].strip()
            found.setdefault(table, number)
        elif key:
            name = ".".join(part.strip() for part in key[1].split("."))
            found.setdefault(f"{table}.{name}" if table else name, number)
            if not table and "." in name:
                found.setdefault(name.partition(".")[0], number)
    return found


def _shown(value: object) -> str:
    """What was written there, short, as a document writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "a very large number"
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    text = str(value) if isinstance(value, str | int | float | date | datetime | time) else type(value).__name__
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


DEFAULT: str = "# Ansim escalation policy: who is asked, rung and waited for, and how long. Seconds.\n" + (
    "# 안심 연락 정책: 누구에게 묻고 누구에게 걸며 얼마나 기다리는지 정합니다. 단위는 초입니다.\n\n"
    + Document(title="Ansim default").rendered()
)
"""The document that holds where nobody published another; good as it is."""

__all__ = [
    "DEFAULT",
    "DEFAULTS",
    "DEFAULT_VERSION",
    "FIELDS",
    "Code",
    "Document",
    "Field",
    "PolicyError",
    "Problem",
    "parse",
]
