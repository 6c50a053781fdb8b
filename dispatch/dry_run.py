"""A dry run: who would be asked, rung and written to, and when, if this happened now. Nobody is rung."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from dispatch import messages
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from dispatch.codes import Log
from dispatch.incident import SYSTEM, Channel, Contact, Decision, LogEntry, NotificationKind, Policy, Step, Target
from dispatch.rehearsal import NOON, SILENCE, Behaviour, Rehearsal

PATIENT = "patient"
DESK = "desk"
MINUTES = 15.0
RUNG = {Log.ASKED: PATIENT, Log.CONTACT_RUNG: "", Log.DESK_RUNG: DESK}
LEFT_OUT = frozenset({Log.OPENED, Log.CHECK_ENDED, Log.OTHERS_TOLD})
"""Bookkeeping that tells a reader of a plan nothing."""
CASES: dict[str, tuple[str, AlarmKind, Priority, bool]] = {
    "sos": ("sos", AlarmKind.PHYSIOLOGICAL, Priority.HIGH, True),
    "grave": ("fall_still", AlarmKind.PHYSIOLOGICAL, Priority.HIGH, True),
    "high": ("fall", AlarmKind.PHYSIOLOGICAL, Priority.HIGH, False),
    "medium": ("news2_medium", AlarmKind.PHYSIOLOGICAL, Priority.MEDIUM, False),
    "silent": ("device_silent", AlarmKind.TECHNICAL, Priority.MEDIUM, False),
}
"""The cases that a policy is shown for."""
Answers = Mapping[str, Behaviour | Sequence[Behaviour]]
"""By person's id, ``patient`` or ``desk``; of several behaviours each call meets the next, the last one stays."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would happen."""

    at_s: float
    what: str
    """A ``codes.Log``, or a ``codes.Message`` that is written to somebody."""
    who: str
    """``patient``, ``desk``, a person's id, or ``system``."""
    channel: str = ""
    """A ``Channel`` where somebody is rung or written to, else empty."""
    params: dict[str, Param] = {}


def condition(case: str, at: datetime = NOON) -> AlarmCondition:
    """The sign of one of ``CASES``."""
    code, kind, priority, grave = CASES[case]
    return AlarmCondition(code=code, kind=kind, priority=priority, grave=grave, started_at=at, detected_at=at)


def example(policy_for: Callable[..., Policy], contacts: int = 2) -> Policy:
    """A plan for nobody in particular: so many contacts that can be rung and written to at any hour."""
    return policy_for(contacts=tuple(Contact(person_id=UUID(int=n)) for n in range(1, contacts + 1)))


def dry_run(
    policy: Policy,
    conditions: Sequence[AlarmCondition],
    answers: Answers | None = None,
    *,
    start: datetime = NOON,
    minutes: float = MINUTES,
) -> list[Line]:
    """Play a case and write down what would happen.

    Parameters
    ----------
    policy : Policy
        With contacts.
    conditions : sequence of AlarmCondition
        What opens the case.
    answers : mapping or None
        Who does what; whoever is not named does not answer.
    start : datetime
        Aware UTC, for quiet hours and absences.
    minutes : float
        How far to look, unless somebody has it before.

    Returns
    -------
    list of Line
        In the order in which it would happen.
    """
    lines: list[Line] = []
    plans = {who: list(met) if isinstance(met, Sequence) else [met] for who, met in (answers or {}).items()}

    def phones(step: Step, _at_s: float) -> Behaviour:
        plan = plans.get(_who(step), [])
        if not plan:
            return SILENCE
        return plan.pop(0) if len(plan) > 1 else plan[0]

    played = Rehearsal(
        policy, conditions, phones, start=start, listen=lambda at_s, decision: lines.extend(_lines(at_s, decision))
    )
    played.run(minutes * 60)
    return lines


def _who(step: Step) -> str:
    if step.target is Target.CONTACT:
        return str(step.person_id)
    return DESK if step.target is Target.DESK else PATIENT


def _lines(at_s: float, decision: Decision) -> list[Line]:
    told = [_logged(at_s, entry) for entry in decision.log if entry.what not in LEFT_OUT]
    written = [
        Line(at_s=at_s, what=step.message, who=_who(step), channel=step.channel.value)
        for step in decision.steps
        if step.channel is not Channel.VOICE and step.kind is not NotificationKind.INFORM
    ]
    return told + written


def _logged(at_s: float, entry: LogEntry) -> Line:
    rung = RUNG.get(Log(entry.what))
    if rung is None:
        return Line(at_s=at_s, what=entry.what, who=entry.who, params=entry.params)
    who = rung or str(entry.params.get("person", ""))
    return Line(at_s=at_s, what=entry.what, who=who, channel=Channel.VOICE.value, params=entry.params)


WRITTEN = {
    Channel.TEXT: ("A text goes to {who}", "{who}에게 문자를 보냅니다"),
    Channel.EMAIL: ("A mail goes to {who}", "{who}에게 이메일을 보냅니다"),
    Channel.PUSH: ("A push message goes to {who}", "{who}에게 푸시 알림을 보냅니다"),
}


def line_text(line: Line, language: str, name_of: Callable[[str], str]) -> str:
    """A line as a sentence; ``name_of`` is given ``person:<id>``."""
    if line.what in set(Log):
        who = line.who if not line.channel else SYSTEM
        return messages.log_text(LogEntry(what=line.what, who=who, params=dict(line.params)), language, name_of)
    english, korean = WRITTEN[Channel(line.channel)]
    return (korean if language == "ko" else english).format(who=name_of(f"person:{line.who}"))


def at_text(at_s: float) -> str:
    """Minutes and seconds after the beginning."""
    seconds = round(at_s)
    return f"{seconds // 60}:{seconds % 60:02d}"
