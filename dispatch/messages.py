"""What is said and written, in Korean and English: prompts, texts, reasons and timeline lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from string import Formatter
from typing import Any

from dispatch.alarm import AlarmCondition, Param, Priority
from dispatch.codes import CloseReason, Log, Message, Role
from dispatch.incident import SYSTEM, LogEntry, State, UnitStage
from dispatch.messages_signs import CAUSES, FINE, MEASURED_IN, MEASURES, MORE_VITALS, PLACES, SHORTLY, SIGNS
from dispatch.messages_terms import (
    CLOSE_REASONS,
    CLOSED_BY,
    DISBELIEFS,
    LOGS,
    OUTCOMES,
    PRIORITIES,
    ROLES,
    STATES,
    UNIT_STAGES,
    WHYS,
)
from dispatch.messages_texts import FULLER, GOING_BY, TAKEN_BY, TEXTS, UNRUNG
from dispatch.messages_words import REASONS as FIRST_REASONS
from dispatch.messages_words import SAID, UNKNOWN_REASON, VITALS, Pair, Words, counted
from dispatch.notifier import CallStatus, Prompt

LANGUAGES = ("ko", "en")
REASONS = FIRST_REASONS | SIGNS
NAMED = {"last_place": PLACES, "cause": CAUSES}
"""Parameters that are worded by a table of their own; what it does not know is left unsaid."""
SILENT_SINCE = frozenset({"person_silent"})
"""Signs whose age is that of the silence: it began when they did."""
SCORED = frozenset({"total", "known"})
"""Parameters that say something only to who knows the early warning score."""

UNITS_OF_TIME = (
    (86_400, {"ko": "{n}일", "en": "{n} day"}),
    (3_600, {"ko": "{n}시간", "en": "{n} hour"}),
    (60, {"ko": "{n}분", "en": "{n} minute"}),
    (1, {"ko": "{n}초", "en": "{n} second"}),
)


LOG_TABLES: dict[str, tuple[Mapping[Any, Pair], ...]] = {
    "outcome": (OUTCOMES,),
    "how": (WHYS,),
    "why": (WHYS,),
    "reason": (CLOSE_REASONS, DISBELIEFS),
    "priority": (PRIORITIES,),
    "role": (ROLES,),
    "state": (STATES,),
    "unit": (UNIT_STAGES,),
}


class Reply(StrEnum):
    """What the person hears after a key; a duress key is answered exactly like ``fine``."""

    FINE = "fine"
    HELP = "help"
    HELP_HELD = "help_held"
    """Help was asked for again while somebody has it: nobody else is rung, they are."""
    UNCLEAR = "unclear"
    FINE_CHECKED = "fine_checked"
    """Fine was heard, but somebody looks in all the same."""
    LATE_FINE = "late_fine"


def spoken_language(language: str) -> str:
    """The language we can say it in: Korean where asked for, otherwise English."""
    return language if language in LANGUAGES else "en"


def duration_text(seconds: float, language: str) -> str:
    """A duration in its largest one or two units; below a minute in seconds."""
    language = spoken_language(language)
    left = max(0, round(seconds))
    if left >= 60:
        left -= left % 60
    parts: list[str] = []
    for size, names in UNITS_OF_TIME:
        count, left = divmod(left, size)
        if count or (size == 1 and not parts):
            plural = "s" if language == "en" and count != 1 else ""
            parts.append(names[language].format(n=count) + plural)
    return " ".join(parts[:2])


def vital_text(code: str, language: str) -> str:
    """A vital sign's name; a code without one stands for itself."""
    names = VITALS.get(code) or MORE_VITALS.get(code)
    return code if names is None else names[spoken_language(language)]


def _vital_named(code: str, language: str) -> str | None:
    return vital_text(code, language) if code in VITALS or code in MORE_VITALS else None


def _needs(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def _worded(words: Words, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """The fullest sentence whose values are known, and the clauses whose values are."""
    full = words.full if words.full and _needs(words.full) <= values.keys() else words.plain
    clauses = [clause.format(**values) for clause in words.clauses if _needs(clause) <= values.keys()]
    return counted(full.format(**values)), clauses


def _value(name: str, value: Param, language: str) -> str | None:
    """How one parameter reads, or None when there is nothing to say."""
    if value is None or value is False:
        return None
    if value is True:
        return ""
    named = NAMED.get(name)
    if named is not None and isinstance(value, str):
        known = named.get(value)
        return None if known is None else known[language]
    if isinstance(value, str):
        return _vital_named(value, language) if name in {"worst", "field", "other_field"} else value
    if not math.isfinite(value):
        return None
    if name.endswith("_s"):
        return duration_text(abs(value), language) if round(abs(value)) else None
    return _plain(value, 1)


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _measured(condition: AlarmCondition, worded: Mapping[str, str], language: str) -> dict[str, str]:
    """Value and usual value with the unit of what they measure; as many decimals as tell them apart."""
    worst = condition.params.get("worst")
    vital = MEASURED_IN.get(condition.code) or str(worst)
    found = {name: condition.params.get(name) for name in ("value", "usual", "limit")}
    known = {k: float(v) for k, v in found.items() if k in worded and isinstance(v, int | float)}
    said: dict[str, str] = {}
    if vital in MEASURES:
        decimals = 1 if vital in FINE else 0
        same = len({_plain(v, decimals) for v in known.values()}) < len(set(known.values()))
        said = {name: _plain(v, 1 if same else decimals) for name, v in known.items()}
        for name, called, units in (("measured", "value", MEASURES), ("usually", "usual", MEASURES | SHORTLY)):
            if called in said:
                said[name] = counted(units[vital][language].format(n=said[called]))
    if "worst" in worded:
        said["worst_at"] = " ".join([worded["worst"], *([said["measured"]] if "measured" in said else [])])
    return said


def _condition_values(condition: AlarmCondition, language: str, now: datetime) -> dict[str, str]:
    params = dict(condition.params)
    age = params.get("age_s")
    if isinstance(age, int | float) and not isinstance(age, bool):
        params["age_s"] = max(age + max(0.0, (now - condition.detected_at).total_seconds()), 1.0)
        if condition.code in SILENT_SINCE:
            params["age_s"] = max((now - condition.started_at).total_seconds(), 1.0)
    late = params.get("late_s")
    if isinstance(late, int | float) and late <= 60:
        params["late_s"] = None
    read = {name: _value(name, value, language) for name, value in params.items()}
    worded = {name: text for name, text in read.items() if text is not None}
    return worded | _measured(condition, worded, language)


def sign_text(code: str, language: str) -> str:
    """A sign in one sentence without figures."""
    return REASONS.get(code, UNKNOWN_REASON)[spoken_language(language)].plain


def reason_text(
    condition: AlarmCondition, language: str, now: datetime, *, spoken: bool = False, plain: bool = False
) -> str:
    """Why this alarm: the sign, its value, what is usual, and how old the measurement is.

    Ages grow with ``now``; pass the time at which an ended condition ended. A missing value leaves
    its clause out, and an unknown code still says that something needs checking. ``plain`` leaves a
    score out, for family and neighbours.
    """
    language = spoken_language(language)
    words = REASONS.get(condition.code, UNKNOWN_REASON)[language]
    known = _condition_values(condition, language, now)
    sentence, clauses = _worded(words, {name: v for name, v in known.items() if not plain or name not in SCORED})
    if spoken:
        more = ", ".join(clauses)
        said = f"{sentence}. {more[0].upper()}{more[1:]}." if more else f"{sentence}."
        return said.replace(" mmHg", "").replace(" °C", " degrees")
    return f"{sentence} ({', '.join(clauses)})" if clauses else sentence


def _said(
    key: str,
    language: str,
    *more: str,
    ask: bool = False,
    turn: int = 1,
) -> Prompt:
    language = spoken_language(language)
    return Prompt(language=language, lines=(*SAID[key][language], *more), ask=ask, turn=turn)


def ask_prompt(language: str, turn: int = 1, message: Message = Message.ASK) -> Prompt:
    """The question to the person, without a name: another may have picked up."""
    return _said(message.value if turn == 1 else f"{message}_again", language, ask=True, turn=turn)


def band_question(language: str) -> str:
    """What a wristband shows while it buzzes."""
    return "괜찮으세요?" if spoken_language(language) == "ko" else "Are you all right?"


def ask_reply(language: str, reply: Reply | str) -> Prompt:
    """What the person hears after a key; "help" says that help is being rung."""
    return _said(f"reply_{Reply(reply)}", language)


def contact_menu(language: str, turn: int = 1) -> Prompt:
    """3 takes it, 4 passes it on, 9 is a wrong number; no name, vital or address before a key."""
    return _said("contact_menu" if turn == 1 else "contact_menu_again", language, ask=True, turn=turn)


def says_fine(language: str, fine_at: datetime | None, now: datetime) -> str | None:
    """That the person answered "fine", and how long ago once that is a minute; None where they did not."""
    if fine_at is None:
        return None
    age_s = (now - fine_at).total_seconds()
    ago = duration_text(age_s, language) if age_s >= 60 else ""
    if spoken_language(language) == "ko":
        return f"본인은 {ago + ' 전 ' if ago else ''}괜찮다고 답했습니다. 그래도 확인해 주세요."
    return f"They answered that they are fine{f', {ago} ago' if ago else ''}. Please check all the same."


def contact_taken(
    language: str, patient_name: str, reasons: Iterable[str], address: str | None = None, fine: str | None = None
) -> Prompt:
    """After key 3: the key spoken back, then who it is about, why, what they answered, and where."""
    korean = spoken_language(language) == "ko"
    lines = [f"{patient_name} 님 일입니다." if korean else f"It is about {patient_name}."]
    lines += [reason if reason.endswith(".") else f"{reason}." for reason in reasons]
    lines += [fine] if fine else []
    if address:
        lines.append(f"주소는 {address}입니다." if korean else f"The address is {address}.")
    return _said("contact_taken", language, *lines, *SAID["contact_end"][spoken_language(language)])


def already_taken(language: str, by: str | None = None) -> Prompt:
    """Somebody else was first; ``by`` is a name, said only to who pressed a key."""
    if by is None:
        return _said("already_taken", language)
    korean = spoken_language(language) == "ko"
    line = f"이미 {by} 님이 맡았습니다. 고맙습니다." if korean else f"{by} has already taken it. Thank you."
    return Prompt(language=spoken_language(language), lines=(line,))


def declined(language: str) -> Prompt:
    """After key 4."""
    return _said("declined", language)


def wrong_number(language: str) -> Prompt:
    """After key 9."""
    return _said("wrong_number", language)


def no_key(language: str) -> Prompt:
    """After the menu was heard twice without a key."""
    return _said("no_key", language)


def voicemail_neutral(language: str) -> Prompt:
    """For a machine: nothing that a stranger may not hear."""
    return _said("voicemail", language)


def desk_menu(language: str, turn: int = 1) -> Prompt:
    """What the staffed desk hears."""
    return _said("desk_menu", language, ask=True, turn=turn)


def desk_taken(language: str) -> Prompt:
    """After the desk's key 3."""
    return _said("desk_taken", language)


def desk_no_key(language: str) -> Prompt:
    """After the desk pressed nothing."""
    return _said("desk_no_key", language)


def nothing_open(language: str) -> Prompt:
    """A returned call when there is no open incident."""
    return _said("nothing_open", language)


def prompt_for(message: Message | str, language: str, turn: int = 1) -> Prompt:
    """What a voice step says once somebody picked up.

    Raises ``ValueError`` for a message that is only ever written.
    """
    key = Message(message)
    if key in {Message.ASK, Message.ASK_BESIDE}:
        return ask_prompt(language, turn, key)
    if key is Message.CONTACT_MENU:
        return contact_menu(language, turn)
    if key not in SPOKEN:
        raise ValueError(f"message must be one that is said ({', '.join(sorted(SPOKEN))}), was {key}")
    return _said(key.value, language, ask=key in ASKING, turn=turn)


ASKING = frozenset(
    {
        Message.DESK_MENU,
        Message.DESK_TECHNICAL,
        Message.NEWS,
        Message.PATIENT_COMING,
        Message.DRILL_CALL,
        Message.VERIFY_CALL,
    }
)
"""Spoken messages that wait for a key."""
SPOKEN = frozenset(message for message in Message if message.value in SAID)


def text_for(message: Message | str, language: str, params: Mapping[str, Param] | None = None) -> str:
    """A text message's body: neutral, for a text lies open on a screen.

    Raises ``ValueError`` for a message that is only ever said.
    """
    key, language = Message(message), spoken_language(language)
    if key not in TEXTS:
        raise ValueError(f"message must be one that is written ({', '.join(sorted(TEXTS))}), was {key}")
    given = {name: str(value) for name, value in (params or {}).items() if value not in {None, ""}}
    role = Role(given["role"]) if given.get("role") in set(Role) else None
    if key is Message.TAKEN and role is not None:
        return TAKEN_BY[role][language]
    if key is Message.CONTACT_TEXT and "unrung" in given:
        return UNRUNG[language]
    fuller = GOING_BY.get(role) if key is Message.GOING and role is not None else FULLER.get(key)
    said = "" if fuller is None else _worded(fuller[language], given)[0]
    return said or TEXTS[key][language]


def state_text(state: State | str, language: str) -> str:
    return STATES[State(state)][spoken_language(language)]


def unit_text(stage: UnitStage | str, language: str) -> str:
    return UNIT_STAGES[UnitStage(stage)][spoken_language(language)]


def priority_text(priority: Priority | str, language: str) -> str:
    return PRIORITIES[Priority(priority)][spoken_language(language)]


def role_text(role: Role | str, language: str) -> str:
    return ROLES[Role(role)][spoken_language(language)]


def close_reason_text(reason: CloseReason | str, language: str) -> str:
    return CLOSE_REASONS[CloseReason(reason)][spoken_language(language)]


def outcome_text(status: CallStatus | str, language: str) -> str:
    """A call's or text's status, or how a call ended; a carrier's own word stands for itself."""
    words = OUTCOMES.get(str(status))
    return str(status) if words is None else words[spoken_language(language)]


def who_text(who: str, language: str, name_of: Callable[[str], str]) -> str:
    """Who did it; ``name_of`` is asked for every ``person:<uuid>``."""
    korean = spoken_language(language) == "ko"
    fixed = {
        SYSTEM: "안심" if korean else "Ansim",
        "patient": "대상자" if korean else "the patient",
        "desk": "관제센터" if korean else "the control centre",
    }
    return fixed.get(who) or name_of(who)


LOG_TERMS: dict[str, tuple[dict[str, Pair], ...]] = {
    name: tuple({str(code): words for code, words in table.items()} for table in tables)
    for name, tables in LOG_TABLES.items()
}
"""Which words a timeline line's parameter is read from."""


def log_text(entry: LogEntry, language: str, name_of: Callable[[str], str]) -> str:
    """One line of the timeline; a code of a later version stands for itself."""
    language = spoken_language(language)
    if entry.what not in set(Log):
        return entry.what
    values = {"who": who_text(entry.who, language, name_of)}
    for name, value in entry.params.items():
        text = _log_value(name, value, language, name_of)
        if text is not None:
            values[name] = text
    by_hand = entry.what == Log.CLOSED and entry.who != SYSTEM
    words = CLOSED_BY if by_hand else LOGS[Log(entry.what)]
    sentence, clauses = _worded(words[language], values)
    return f"{sentence} ({', '.join(clauses)})" if clauses else sentence


def _log_value(name: str, value: Param, language: str, name_of: Callable[[str], str]) -> str | None:
    text = _value(name, value, language)
    if text is None or not isinstance(value, str):
        return text
    if name == "person":
        return name_of(f"person:{value}")
    if name == "owner":
        return who_text(value, language, name_of)
    if name == "code":
        return sign_text(value, language)
    found = next((table[value] for table in LOG_TERMS.get(name, ()) if value in table), None)
    return text if found is None else found[language]
