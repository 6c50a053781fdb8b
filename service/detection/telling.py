"""Weighed findings as alarm conditions: which sign, how urgent, since when, and the figures of its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from devices.signals.finding import Finding
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from service.detection.budget import ARM_NATS, Tier
from service.detection.layers import Heard
from service.detection.signs import HARD, LAYER, PRIORITY, Decision, Reason, weight

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OWN_SENTENCE = frozenset({"limits", "other"})
"""Layers whose conditions are raised by themselves, not through the weighing."""
_KEPT = frozenset(
    {
        "value", "usual", "duration_s", "age_s", "still_s", "last_place", "usual_s", "limit_s", "vital", "peak_g",
        "probability", "did_not_come_back",
    }
)  # fmt: skip
_RENAMED = {"vital": "worst", "did_not_come_back": "did_not_return"}


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _params(given: dict[str, Param], now_us: int, at_us: int) -> dict[str, Param]:
    found: dict[str, Param] = {}
    for name, value in given.items():
        if name in _KEPT and value is not None and value != "":
            found[_RENAMED.get(name, name)] = round(value, 2) if isinstance(value, float) else value
    measured = given.get("age_s")
    older = measured if isinstance(measured, int | float) else 0
    found["age_s"] = max(round(older + (now_us - at_us) / 1e6), 0)
    return found


def _condition(
    code: str, level: Tier, onset_us: int, at_us: int, given: dict[str, Param], now_us: int
) -> AlarmCondition:
    return AlarmCondition(
        code=code,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=PRIORITY.get(level, Priority.LOW),
        grave=HARD.get(code) == Tier.DISPATCH and level == Tier.DISPATCH,
        started_at=min(_moment(onset_us), _moment(now_us)),
        detected_at=_moment(now_us),
        params=_params(given, now_us, at_us),
    )


def _of_reason(reason: Reason, latest: dict[str, Finding], level: Tier, decided_us: int, now_us: int) -> AlarmCondition:
    finding = latest.get(reason.code)
    if finding is not None:
        return _condition(reason.code, level, finding.onset_us, finding.at_us, finding.params, now_us)
    told_us = decided_us - reason.age_s * 1_000_000
    given: dict[str, Param] = {"value": reason.value, "usual": reason.usual, "duration_s": reason.duration_s}
    return _condition(reason.code, level, decided_us - reason.duration_s * 1_000_000, told_us, given, now_us)


def conditions(heard: Heard, now_us: int) -> tuple[list[tuple[int, AlarmCondition]], list[tuple[int, str]]]:
    """What a person's decisions raise, and the codes that ended.

    Parameters
    ----------
    heard : Heard
        Findings and decisions of one upload.
    now_us : int
        Receipt, microseconds UTC.

    Returns
    -------
    (list[(int, AlarmCondition)], list[(int, str)])
        One condition a sign and decision, at the priority of the whole picture, and the codes that ended, signs that
        a layer took back among them; each with the time of the data that decided it, microseconds UTC. A lasting sign
        that is told again at a higher priority rises.
    """
    opened: list[tuple[int, AlarmCondition]] = []
    ended = [(one.at_us, one.code) for one in heard.findings if one.ended and one.layer not in OWN_SENTENCE]
    for decision in heard.decisions:
        if decision.ended:
            ended += [(decision.at_us, r.code) for r in decision.reasons if r.layer not in OWN_SENTENCE]
        if decision.opened:
            opened += [(decision.at_us, one) for one in _raised(decision, heard.findings, now_us)]
    return opened + _begun_again(heard.findings, opened, now_us), ended


def _begun_again(
    findings: Sequence[Finding], opened: Sequence[tuple[int, AlarmCondition]], now_us: int
) -> list[tuple[int, AlarmCondition]]:
    """A sign that is a line by itself is one whenever it begins, also while an older picture still stands."""
    told = {(at // 1_000_000, one.code) for at, one in opened}
    return [
        (one.at_us, _condition(one.code, Tier.LINE, one.onset_us, one.at_us, one.params, now_us))
        for one in findings
        if not one.ended
        and one.layer not in OWN_SENTENCE
        and (one.at_us // 1_000_000, one.code) not in told
        and weight(one, LAYER.get(one.layer, 0)) >= ARM_NATS[Tier.LINE]
    ]


def _raised(decision: Decision, findings: Sequence[Finding], now_us: int) -> list[AlarmCondition]:
    # Only what decided it just now has all its figures; of an older sign the picture kept the weightiest.
    latest = {f.code: f for f in findings if not f.ended and f.at_us // 1_000_000 == decision.at_us // 1_000_000}
    found = []
    for code in decision.hard:
        if code in latest:
            sign = latest[code]
            found.append(_condition(code, HARD[code], sign.onset_us, sign.at_us, sign.params, now_us))
    for reason in decision.reasons:
        if reason.layer not in OWN_SENTENCE and not reason.ended and reason.code not in decision.hard:
            found.append(_of_reason(reason, latest, decision.level, decision.at_us, now_us))
    return found


def of_limit(code: str, priority: Priority, at_us: int, place: int, *, ended: bool) -> Finding:
    """A condition of the first layer as evidence for the weighing: it corroborates what others find.

    Under a name of its own: the condition itself has been told already, hard as it is.
    """
    nats = 0.0 if ended else LIMIT_NATS[priority]
    return Finding("limits", f"limit:{code}", at_us, at_us, nats, ended, {"row": place})


LIMIT_NATS = {Priority.LOW: 0.0, Priority.MEDIUM: 3.0, Priority.HIGH: 4.5}
"""A limit of two NEWS2 points met for minutes is worth a question by itself, one of three a ring (policy). Both are
told by themselves, whatever the weighing says."""
