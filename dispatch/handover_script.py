"""The hand-over as it is read aloud to 119: place, what, who, how they are, whom to ring back; numbers spelled."""

from __future__ import annotations

from datetime import datetime

from dispatch.eido import Entry, Helper, Measured, Part, Place, Record
from dispatch.messages import duration_text
from dispatch.messages_words import Pair
from dispatch.spoken_numbers import amount, english, korean_in, phone, romanised, sino, spelled

LAST_ANSWERS = 2
JUST_NOW_S = 5.0
STALE_TOLD_S = 6 * 3600
"""Policy: older than this a value is not read out at all, not even as an old one."""
_UNITS_SAID: dict[str, Pair] = {
    "회/분": {"ko": "분당 {n} 회", "en": "{n} a minute"},
    "/min": {"ko": "분당 {n} 회", "en": "{n} a minute"},
    "%": {"ko": "{n} 퍼센트", "en": "{n} percent"},
    "°C": {"ko": "{n} 도", "en": "{n} degrees"},
    "kg": {"ko": "{n} 킬로그램", "en": "{n} kilograms"},
}
_HELPING: dict[Part, Pair] = {
    Part.THERE: {"ko": "{who} 님이 지금 곁에 있습니다.", "en": "{who} is with them now."},
    Part.GOING: {
        "ko": "{who} 님이 가고 있고, {n} 분쯤 뒤에 도착할 예정입니다.",
        "en": "{who} is on the way, and is expected there in about {n} {minutes}.",
    },
    Part.LATE: {
        "ko": "{who} 님이 지금쯤 도착한다고 했는데, 아직 도착했다는 소식이 없습니다.",
        "en": "{who} said that they would be there by now, but has not told us that they are.",
    },
    Part.TOOK: {
        "ko": "{who} 님이 이 일을 알고 맡았습니다. 가고 있는지는 아직 모릅니다.",
        "en": "{who} knows of it and has taken charge. We do not know whether anybody is on the way.",
    },
}
"""What of each of those who hold it or are there may be said: to have taken it is not to be going."""


def script(record: Record, language: str) -> list[str]:
    """What a dispatcher says to 119, a sentence or two a line, in the order in which a call-taker asks.

    Parameters
    ----------
    record : Record
    language : str
        ``ko`` or ``en``; the record's own texts must be in it. What is Korean stays Korean in English, and is
        followed by how it is said.

    Returns
    -------
    list of str
        Place, way in, what happened, who, how they are, who goes, what is not known, whom to ring back.
    """
    lines = _korean(record) if language == "ko" else _english(record)
    return [line for line in lines if line]


def _korean(record: Record) -> list[str]:
    place, subject = record.place, record.subject
    where = spelled(place.address, "ko", address=True)
    age = f"{sino(subject.age)} 세 " if subject.age is not None else ""
    sex = {"male": "남성", "female": "여성"}.get(subject.sex or "", "")
    lines = [
        "모의 상황입니다. 119에 전화하지 마십시오." if record.simulated else "",
        f"구급 신고입니다. 주소는 {where}입니다." if where else "구급 신고입니다. 주소는 모릅니다.",
        f"들어가는 방법은 ‘{_noted(place.access_note, 'ko')}’라고 적혀 있습니다." if place.access_note else "",
        *_signs(record, "ko"),
        f"{age}{sex} {subject.name} 님입니다." if age or sex else f"{subject.name} 님입니다.",
        *(_sentence(flag) for flag in subject.flags_said or subject.flags),
        *_condition(record.vitals, "ko"),
        *_answers(record, "ko"),
        *(_helps(helper, record.made_at, "ko") for helper in record.helpers),
    ]
    if record.unknown:
        lines.append("저희가 아직 모르는 것은 " + ", ".join(_bare(text, "ko") for text in record.unknown) + "입니다.")
    lines += [f"다시 전화하실 번호는 {one.label} {phone(one.phone, 'ko')}입니다." for one in record.callbacks]
    return [*lines, "접수 번호를 알려 주세요."]


def _english(record: Record) -> list[str]:
    subject = record.subject
    age = f"{english(subject.age)} years old" if subject.age is not None else ""
    who = ", ".join(part for part in (_named(subject.name), subject.sex or "", age) if part)
    lines = [
        "This case is simulated. Do not ring 119." if record.simulated else "",
        *_place(record.place),
        *_signs(record, "en"),
        f"The person is {who}.",
        *(_sentence(flag) for flag in subject.flags_said or subject.flags),
        *_condition(record.vitals, "en"),
        *_answers(record, "en"),
        *(_helps(helper, record.made_at, "en") for helper in record.helpers),
    ]
    if record.unknown:
        lines.append("We do not know " + _listed([_bare(text, "en") for text in record.unknown], "or") + ".")
    lines += [f"To reach {one.label}, please ring {phone(one.phone, 'en')}." for one in record.callbacks]
    return [*lines, "Please give me your reference number."]


def _place(place: Place) -> list[str]:
    """Where, and how to get in: a Korean address in Korean, for 119 knows it so, and then by its syllables."""
    address, note = place.address, place.access_note
    if not address:
        where = "This is a medical emergency. We do not know the address."
    elif korean_in(address):
        where = f"This is a medical emergency. The address is in Korean: {spelled(address, 'ko', address=True)}."
    else:
        where = f"This is a medical emergency. The address is {spelled(address, 'en', address=True)}."
    lines = [where, f"If you read no Korean, say it so: {romanised(address)}." if korean_in(address) else ""]
    if korean_in(note):
        lines.append(f"How to get in is noted in Korean as ‘{_noted(note, 'ko')}’.")
        lines.append(f"If you read no Korean, say it so: {romanised(note)}.")
    elif note:
        lines.append(f"How to get in is noted as ‘{_noted(note, 'en')}’.")
    return lines


def _noted(note: str, language: str) -> str:
    """The family's own words for how to get in; a door's code digit by digit."""
    note = note.strip().rstrip(".")
    return spelled(note, "ko", codes=True) if language == "ko" else spelled(note, "en", address=True)


def _named(name: str) -> str:
    """A name; a Korean one with its syllables behind it."""
    return f"{name} ({romanised(name)})" if korean_in(name) else name


def _signs(record: Record, language: str) -> list[str]:
    """Each sign once, with its own "since", those that are over last; without any, since when the case is open."""
    findings = sorted(record.findings, key=lambda finding: finding.ended)
    said = [_sentence(spelled(finding.spoken, language)) for finding in findings]
    if said:
        return said
    ago = _ago((record.made_at - record.opened_at).total_seconds(), language)
    return [f"{ago} 시작된 일입니다." if language == "ko" else f"This began {ago}."]


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _bare(text: str, language: str) -> str:
    return spelled(text.rstrip("."), language)


def _listed(parts: list[str], last: str) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _condition(vitals: tuple[Measured, ...], language: str) -> list[str]:
    """What was measured last, each with its age; the old is said to be old, and nothing that is doubted is said."""
    fresh = [one for one in vitals if not one.stale and not one.doubtful]
    old = [one for one in vitals if one.stale and not one.doubtful and one.age_s <= STALE_TOLD_S]
    none = "지금 믿을 만한 측정값이 없습니다.", "There is no reading now that can be relied on."
    said = [_measured(fresh, language, old=False)] if fresh else [none[0 if language == "ko" else 1]]
    return [*said, _measured(old, language, old=True)] if old else said


def _measured(vitals: list[Measured], language: str, *, old: bool) -> str:
    """One sentence for all values of one age, the newest first."""
    groups: dict[str, list[str]] = {}
    for one in sorted(vitals, key=lambda one: one.age_s):
        number = amount(f"{one.value:.1f}".rstrip("0").rstrip("."), language)
        value = _UNITS_SAID.get(one.unit, {"ko": "{n}", "en": "{n}"})[language].format(n=number)
        said = f"{one.name} {value}" if language == "ko" else f"{one.name} was {value}"
        groups.setdefault(_ago(one.age_s, language), []).append(said)
    if language == "ko":
        parts = [f"{ago} 잰 값은 {', '.join(values)}입니다." for ago, values in groups.items()]
        warning = "다음은 오래된 값이라 지금과 다를 수 있습니다."
    else:
        parts = [_upper(f"{ago}, {_listed(values, 'and')}.") for ago, values in groups.items()]
        warning = "The following is old, and may no longer be so."
    return " ".join([warning, *parts] if old else parts)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _answers(record: Record, language: str) -> list[str]:
    """What the person was asked and said last, each with when."""
    return [_answer(entry, record.made_at, language) for entry in record.answers[-LAST_ANSWERS:]]


def _answer(entry: Entry, now: datetime, language: str) -> str:
    said = _sentence(spelled(entry.spoken or entry.text, language))
    ago = _ago((now - entry.at).total_seconds(), language)
    if language == "ko":
        return f"{ago} {said}"
    return _upper(f"{ago}, {said[:1].lower()}{said[1:]}" if entry.spoken else f"{ago}: {said}")


def _ago(seconds: float, language: str) -> str:
    """How long ago, in words; of a few seconds it is just now."""
    if seconds < JUST_NOW_S:
        return "방금" if language == "ko" else "just now"
    words = spelled(duration_text(seconds, language), language)
    return f"{words} 전에" if language == "ko" else f"{words} ago"


def _helps(helper: Helper, now: datetime, language: str) -> str:
    """Who has it, goes, or is there; whoever was only rung is not told of."""
    if helper.part is None:
        return ""
    if language == "ko":
        who = f"{helper.relation} {helper.name}".strip()
    else:
        who = f"Their {helper.relation}, {_named(helper.name)}," if helper.relation else _named(helper.name)
    seconds = (helper.eta_at - now).total_seconds() if helper.eta_at else 0.0
    minutes = max(1, round(seconds / 60))
    n, unit = (sino if language == "ko" else english)(minutes), "minute" if minutes == 1 else "minutes"
    return _HELPING[helper.part][language].format(who=who, n=n, minutes=unit)
