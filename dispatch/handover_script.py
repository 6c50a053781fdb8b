"""The hand-over as it is read aloud to 119: place, what, who, how they are, whom to ring back; numbers spelled."""

from __future__ import annotations

import re
from datetime import timedelta

from dispatch.eido import Helper, Measured, Record
from dispatch.messages import duration_text

_DIGITS_KO = "영일이삼사오육칠팔구"
_PHONE_KO = "공일이삼사오육칠팔구"
_SMALL_EN = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS_EN = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NATIVE_KO = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS_KO = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_NATIVE_UNITS = "시간|번(?!지)|개(?![월년국])|명|살|가지|차례"
_NUMBER = re.compile(rf"(\d+(?:,\d{{3}})*(?:\.\d+)?)(-\d+)?(?=( ?(?:{_NATIVE_UNITS}))?)([가-힣])?")
_UNITS_SAID = {
    "회/분": ("분당 {n} 회", ""),
    "/min": ("", "{n} a minute"),
    "%": ("{n} 퍼센트", "{n} percent"),
    "°C": ("{n} 도", "{n} degrees"),
    "mmHg": ("{n}", "{n}"),
    "mg/dL": ("{n}", "{n}"),
    "kg": ("{n} 킬로그램", "{n} kilograms"),
}


def sino(number: int) -> str:
    """A whole number from 0 to 99,999,999 in Sino-Korean: 142 is 백사십이."""
    if number == 0:
        return _DIGITS_KO[0]
    if number >= 10_000:
        high = sino(number // 10_000)
        return ("" if high == "일" else high) + "만" + (sino(number % 10_000) if number % 10_000 else "")
    said = ""
    for size, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = number // size % 10
        if digit:
            said += ("" if digit == 1 and name else _DIGITS_KO[digit]) + name
    return said


def native(number: int) -> str:
    """A whole number from 1 to 99 as counted before a noun: 3 is 세, 20 is 스무."""
    if not 1 <= number <= 99:
        return sino(number)
    if number == 20:
        return "스무"
    return _NATIVE_TENS_KO[number // 10] + _NATIVE_KO[number % 10]


def english(number: int) -> str:
    """A whole number from 0 to 999,999 in words: 142 is one hundred and forty-two."""
    if number < 20:
        return _SMALL_EN[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return _TENS_EN[ten] + (f"-{_SMALL_EN[one]}" if one else "")
    if number < 1000:
        hundred, rest = divmod(number, 100)
        return f"{_SMALL_EN[hundred]} hundred" + (f" and {english(rest)}" if rest else "")
    thousand, rest = divmod(number, 1000)
    return f"{english(thousand)} thousand" + (f" {english(rest)}" if rest else "")


def amount(text: str, language: str, *, counted: bool = False) -> str:
    """A number as it is read: ``36.6`` is 삼십육 점 육, or thirty-six point six."""
    whole, _, part = text.replace(",", "").partition(".")
    if len(whole) > 5:
        return digits(whole, language)
    if language == "ko":
        said = native(int(whole)) if counted and not part else sino(int(whole))
        return said + (f" 점 {''.join(_DIGITS_KO[int(c)] for c in part)}" if part else "")
    return english(int(whole)) + (f" point {' '.join(_SMALL_EN[int(c)] for c in part)}" if part else "")


def digits(text: str, language: str) -> str:
    """Digits one by one, as numbers of telephones are said; groups stay groups."""
    groups = re.findall(r"\d+", text)
    if language == "ko":
        return ", ".join("".join(_PHONE_KO[int(c)] for c in group) for group in groups)
    return ", ".join(" ".join(_SMALL_EN[int(c)] for c in group) for group in groups)


def spelled(text: str, language: str, *, address: bool = False, codes: bool = False) -> str:
    """A sentence with its numbers in words; in an English address, and with ``codes`` a door's code, digit by digit."""

    def said(found: re.Match[str]) -> str:
        number, dash, counted, follows = found[1], found[2], bool(found[3]), found[4] or ""
        if codes and not follows and not dash:
            return digits(number, language)
        if address and language != "ko":
            return digits(number + (dash or ""), language) + follows
        words = amount(number, language, counted=counted)
        if dash:
            words += f" {'다시' if language == 'ko' else 'dash'} {amount(dash[1:], language)}"
        return f"{words} {follows}" if follows else words

    return _NUMBER.sub(said, text)


def phone(number: str, language: str) -> str:
    """A Korean number as it is dialled here, spelled: +821055500131 is 공일공, 오오오공, 공일삼일."""
    local = "0" + number.removeprefix("+82") if number.startswith("+82") else number
    found = re.fullmatch(r"(02|0\d\d)(\d{3,4})(\d{4})", local)
    return digits(" ".join(found.groups()) if found else local, language)


def script(record: Record, language: str) -> list[str]:
    """What a dispatcher says to 119, a sentence or two a line, in the order in which a call-taker asks.

    Parameters
    ----------
    record : Record
    language : str
        ``ko`` or ``en``; the record's own texts must be in it.

    Returns
    -------
    list of str
        Place, way in, what happened, who, how they are, who goes, what is not known, whom to ring back.
    """
    lines = _korean(record) if language == "ko" else _english(record)
    return [line for line in lines if line]


def _since(record: Record) -> timedelta:
    return record.made_at - min([finding.started_at for finding in record.findings] or [record.opened_at])


def _korean(record: Record) -> list[str]:
    place, subject = record.place, record.subject
    where = spelled(place.address, "ko", address=True)
    age = f"{sino(subject.age)} 세 " if subject.age is not None else ""
    sex = {"male": "남성", "female": "여성"}.get(subject.sex or "", "")
    signs = " ".join(_sentence(spelled(finding.spoken, "ko")) for finding in record.findings if not finding.ended)
    lines = [
        "모의 상황입니다. 119에 전화하지 마십시오." if record.simulated else "",
        f"구급 신고입니다. 주소는 {where}입니다." if where else "구급 신고입니다. 주소는 모릅니다.",
        f"들어가는 방법은 {_sentence(spelled(place.access_note, 'ko', codes=True))}" if place.access_note else "",
        signs,
        f"{spelled(duration_text(_since(record).total_seconds(), 'ko'), 'ko')} 전에 시작됐습니다.",
        f"{age}{sex} {subject.name} 님입니다." if age or sex else f"{subject.name} 님입니다.",
        *(f"{_sentence(flag)}" for flag in subject.flags),
        _condition(record.vitals, "ko"),
        *(f"{_sentence(spelled(entry.text, 'ko'))}" for entry in record.answers[-2:]),
        *(_goes(helper, record, "ko") for helper in record.helpers if helper.going),
    ]
    if record.unknown:
        lines.append("모르는 것: " + ", ".join(spelled(text.rstrip("."), "ko") for text in record.unknown) + ".")
    lines += [f"다시 전화하실 번호는 {one.label} {phone(one.phone, 'ko')}입니다." for one in record.callbacks]
    return [*lines, "접수 번호를 알려 주세요."]


def _english(record: Record) -> list[str]:
    place, subject = record.place, record.subject
    age = f"{english(subject.age)} years old" if subject.age is not None else ""
    who = ", ".join(part for part in (subject.name, subject.sex or "", age) if part)
    signs = " ".join(_sentence(spelled(finding.spoken, "en")) for finding in record.findings if not finding.ended)
    where = spelled(place.address, "en", address=True)
    lines = [
        "This case is simulated. Do not ring 119." if record.simulated else "",
        f"A medical emergency. {f'The address is {where}.' if where else 'We do not know the address.'}",
        f"To get in: {_sentence(spelled(place.access_note, 'en', address=True))}" if place.access_note else "",
        signs,
        f"It began {spelled(duration_text(_since(record).total_seconds(), 'en'), 'en')} ago.",
        f"The person is {who}.",
        *(f"{_sentence(flag)}" for flag in subject.flags),
        _condition(record.vitals, "en"),
        *(f"{_sentence(spelled(entry.text, 'en'))}" for entry in record.answers[-2:]),
        *(_goes(helper, record, "en") for helper in record.helpers if helper.going),
    ]
    if record.unknown:
        lines.append("We do not know: " + "; ".join(spelled(text.rstrip("."), "en") for text in record.unknown) + ".")
    lines += [f"To call back, {one.label}: {phone(one.phone, 'en')}." for one in record.callbacks]
    return [*lines, "Please give me your reference number."]


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _condition(vitals: tuple[Measured, ...], language: str) -> str:
    """What was measured last and is fresh; nothing old, and nothing that is doubted."""
    fresh = [one for one in vitals if not one.stale and not one.doubtful]
    if not fresh:
        said = "지금 믿을 만한 측정값이 없습니다.", "There is no reading now that can be relied on."
        return said[0 if language == "ko" else 1]
    parts = []
    for one in fresh:
        number = amount(f"{one.value:.1f}".rstrip("0").rstrip("."), language)
        template = _UNITS_SAID.get(one.unit, ("{n}", "{n}"))[0 if language == "ko" else 1] or "{n}"
        parts.append(f"{one.name} {template.format(n=number)}")
    oldest = duration_text(max(one.age_s for one in fresh), language)
    age = spelled(oldest, language)
    return f"{', '.join(parts)}. {age} 전 값입니다." if language == "ko" else f"{', '.join(parts)}, {age} ago."


def _goes(helper: Helper, record: Record, language: str) -> str:
    who = f"{helper.relation} {helper.name}".strip()
    if helper.arrived:
        return f"{who} 님이 곁에 있습니다." if language == "ko" else f"{who} is with them."
    if helper.eta_at is None or helper.eta_at <= record.made_at:
        return f"{who} 님이 맡았습니다." if language == "ko" else f"{who} has taken it."
    minutes = max(1, round((helper.eta_at - record.made_at).total_seconds() / 60))
    if language == "ko":
        return f"{who} 님이 가고 있고, {sino(minutes)} 분쯤 뒤에 도착합니다."
    return f"{who} is on the way, and should be there in about {english(minutes)} minute{'' if minutes == 1 else 's'}."
