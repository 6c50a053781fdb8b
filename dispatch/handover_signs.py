"""A case's signs and answers as whole sentences for 119: each sign since when, its worst value, no old one as new."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dispatch import messages
from dispatch.alarm import AlarmCondition, Param
from dispatch.codes import Log, Outcome, Why
from dispatch.messages_signs import CAUSES, MEASURED_IN, MEASURES, PLACES
from dispatch.messages_words import Pair, counted

EVENTS = frozenset({"sos", "fall", "fall_suspected", "fall_still", "pause"})
"""Signs that happened at one time; the others last."""
LATE_S = 60
LOWEST = frozenset({"spo2_low", "heart_rate_low", "bradycardia", "pulse_low", "blood_pressure_low"})
HIGHEST = frozenset({"heart_rate_high", "tachycardia", "ventricular_tachycardia", "pulse_high", "blood_pressure_high"})
"""Signs whose worst value is the lowest, or the highest, of one vital sign."""
WHOLE: dict[str, str] = {
    "fall_still": "There was a fall, and no movement since",
    "activity_drift_up": "There is more activity than usual",
    "activity_drift_down": "There is less activity than usual",
    "person_silent": "There is no movement at home",
}
"""English signs that are no sentence by themselves."""
SAID: dict[str, Pair] = {
    "began": {"ko": "{d} 전에 시작됐습니다.", "en": "It began {d} ago."},
    "began_low": {
        "ko": "{d} 전에 시작됐고, 그동안 가장 낮은 값은 {v}입니다.",
        "en": "It began {d} ago, and the lowest value since then is {v}.",
    },
    "began_high": {
        "ko": "{d} 전에 시작됐고, 그동안 가장 높은 값은 {v}입니다.",
        "en": "It began {d} ago, and the highest value since then is {v}.",
    },
    "was": {"ko": "{d} 전 일입니다.", "en": "That was {d} ago."},
    "over": {"ko": "다음 신호는 {d} 전에 사라졌습니다.", "en": "The following sign passed {d} ago."},
    "usual": {"ko": "평소에는 {v}입니다.", "en": "It is usually {v}."},
    "late": {"ko": "그 신호는 {d} 늦게 도착했습니다.", "en": "The signal of it arrived {d} late."},
    "clock": {"ko": "기기 시계가 맞지 않습니다.", "en": "The clock of the device is wrong."},
    "worst": {"ko": "가장 나쁜 항목은 {v}입니다.", "en": "The worst of them is the {v}."},
    "place": {"ko": "마지막으로 움직임이 있던 곳은 {v}입니다.", "en": "The last place with movement was the {v}."},
    "return": {"ko": "돌아온다고 한 때가 지났습니다.", "en": "They said that they would be back by now."},
}
ANSWERS: dict[str, Pair] = {
    Log.ASKED: {"ko": "본인에게 전화했습니다.", "en": "We rang the person."},
    Log.PICKED_UP: {"ko": "본인이 전화를 받았습니다.", "en": "The person picked up the telephone."},
    Log.RETURNED_CALL: {"ko": "저희에게 다시 걸려 온 전화가 있었습니다.", "en": "Somebody rang us back."},
    Log.ASK_CALL_ENDED: {"ko": "본인과 통화하지 못했습니다.", "en": "We could not speak with the person."},
    Log.ANSWERED_FINE: {"ko": "본인은 괜찮다고 답했습니다.", "en": "The person answered that they are fine."},
    Log.LATE_FINE: {"ko": "본인은 괜찮다고 답했습니다.", "en": "The person answered that they are fine."},
    Log.FINE_NOT_BELIEVED: {
        "ko": "괜찮다는 답만으로는 끝낼 수 없었습니다.",
        "en": "Their answer that they are fine was not enough.",
    },
    Log.ANSWERED_HELP: {
        "ko": "본인에게 도움이 필요하다고 보았습니다.",
        "en": "We took it that the person needs help.",
    },
    Log.ANSWERED_DURESS: {
        "ko": "본인이 비밀 도움 신호를 보냈습니다.",
        "en": "The person used the secret call for help.",
    },
    Log.BRIDGED: {"ko": "본인과 통화를 연결했습니다.", "en": "We were connected with the person."},
    Outcome.NO_ANSWER: {
        "ko": "본인이 전화를 받지 않았습니다.",
        "en": "The person did not answer the telephone.",
    },
    Outcome.VOICEMAIL: {
        "ko": "본인 전화가 음성사서함으로 넘어갔습니다.",
        "en": "Their telephone went to voicemail.",
    },
    Outcome.BUSY: {"ko": "본인 전화가 통화 중이었습니다.", "en": "Their line was busy."},
    Outcome.HUNG_UP: {"ko": "본인이 전화를 끊었습니다.", "en": "The person hung up."},
    Why.HELP: {"ko": "본인이 도움을 요청했습니다.", "en": "The person asked for help."},
    Why.OTHER_KEY: {
        "ko": "본인이 다른 번호를 눌러 도움을 요청한 것으로 보았습니다.",
        "en": "The person pressed another key, which we take as asking for help.",
    },
    Why.NO_KEY: {
        "ko": "본인이 전화는 받았으나 답이 없었습니다.",
        "en": "The person picked up the telephone but gave no answer.",
    },
    Why.UNANSWERED: {"ko": "본인에게서 답이 없었습니다.", "en": "There was no answer from the person."},
}
"""What the person was asked and said, by the line of the log, or by how that line says it came."""


def watched(condition: AlarmCondition) -> tuple[str, bool] | None:
    """Which vital a sign's worst value is of, and whether the lowest is the worst; None where there is none."""
    code, worst = condition.code, condition.params.get("worst")
    if code not in LOWEST | HIGHEST:
        return None
    pressure = isinstance(worst, str) and code.startswith("blood_pressure")
    return str(worst) if pressure else MEASURED_IN[code], code in LOWEST


def sign_said(
    condition: AlarmCondition,
    language: str,
    at: datetime,
    worst: float | None = None,
    ended_at: datetime | None = None,
) -> str:
    """A sign in whole sentences: what, since when, its worst value since then, and what is usual; never a value "now".

    Parameters
    ----------
    condition : AlarmCondition
    language : str
        ``ko`` or ``en``.
    at : datetime
        Aware UTC; "ago" is before this.
    worst : float or None
        The worst value measured since it began, where the sign is ``watched``.
    ended_at : datetime or None
        When it was over; that is said first.
    """
    over = []
    if ended_at is not None:
        ago = messages.duration_text(max(1.0, (at - ended_at).total_seconds()), language)
        over = [_say("over", language, d=ago)]
    found = [*over, _plain(condition.code, language), _since(condition, language, at, worst)]
    return " ".join([*found, *_more(condition, language)])


def _plain(code: str, language: str) -> str:
    plain = messages.sign_text(code, language) if language == "ko" else WHOLE.get(code)
    return f"{plain or messages.sign_text(code, language)}."


def _since(condition: AlarmCondition, language: str, at: datetime, worst: float | None) -> str:
    age, seconds = condition.params.get("age_s"), (at - condition.started_at).total_seconds()
    if isinstance(age, int | float) and not isinstance(age, bool):
        seconds = max(seconds, age + (at - condition.detected_at).total_seconds())
    ago = messages.duration_text(max(1.0, seconds), language)
    if condition.code in EVENTS:
        return _say("was", language, d=ago)
    of = watched(condition)
    value = _value(of[0], worst, language) if of else None
    if of is None or value is None:
        return _say("began", language, d=ago)
    return _say("began_low" if of[1] else "began_high", language, d=ago, v=value)


def _more(condition: AlarmCondition, language: str) -> list[str]:
    params, said = condition.params, []
    late, worst, place, cause = (params.get(name) for name in ("late_s", "worst", "last_place", "cause"))
    of = watched(condition)
    usual = _value(of[0], params.get("usual"), language) if of else None
    if usual is not None:
        said.append(_say("usual", language, v=usual))
    if isinstance(late, int | float) and late > LATE_S:
        said.append(_say("late", language, d=messages.duration_text(late, language)))
    if params.get("clock_wrong"):
        said.append(_say("clock", language))
    if of is None and isinstance(worst, str) and messages.vital_text(worst, language) != worst:
        said.append(_say("worst", language, v=messages.vital_text(worst, language)))
    if isinstance(place, str) and place in PLACES and place != "other":
        said.append(_say("place", language, v=PLACES[place][language]))
    if params.get("did_not_return"):
        said.append(_say("return", language))
    if isinstance(cause, str) and cause in CAUSES:
        why = CAUSES[cause][language]
        said.append(f"{why[0].upper()}{why[1:]}.")
    return said


def _value(vital: str, value: Param, language: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or vital not in MEASURES:
        return None
    number = f"{value:.1f}" if vital == "temperature_c" else f"{value:.0f}"
    return counted(MEASURES[vital][language].format(n=number.removesuffix(".0")))


def _say(key: str, language: str, **values: str) -> str:
    return SAID[key][language].format(**values)


def answer_said(what: str, params: Mapping[str, Param], language: str) -> str:
    """A line of the log about the person's answer as a sentence; empty for any other line."""
    code = Log.ANSWERED_HELP if what == Log.LATE_HELP else what
    how = params.get("how" if code == Log.ANSWERED_HELP else "outcome")
    closer = ANSWERS.get(str(how)) if code in {Log.ANSWERED_HELP, Log.ASK_CALL_ENDED} else None
    words = closer or ANSWERS.get(code)
    return "" if words is None else words[language]
