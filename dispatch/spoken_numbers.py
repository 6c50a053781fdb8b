"""Numbers, telephone numbers and Korean names as they are said aloud: for a voice, or for who reads no Korean."""

from __future__ import annotations

import re

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
_KOREAN = re.compile(r"[가-힣](?:[^A-Za-z]*[가-힣])?")
_INITIALS = ("g", "kk", "n", "d", "tt", "r", "m", "b", "pp", "s", "ss", "", "j", "jj", "ch", "k", "t", "p", "h")
_VOWELS = (
    "a", "ae", "ya", "yae", "eo", "e", "yeo", "ye", "o", "wa", "wae", "oe", "yo", "u", "wo", "we", "wi", "yu", "eu",
    "ui", "i",
)  # fmt: skip
_FINALS = (
    "", "k", "k", "k", "n", "n", "n", "t", "l", "k", "m", "l", "l", "l", "p", "l", "m", "p", "p", "t", "t", "ng", "t",
    "t", "k", "t", "p", "t",
)  # fmt: skip
"""Letters of a Korean syllable in the Revised Romanization (Ministry of Culture 2000-8), each syllable by itself."""
_UNITS_ALOUD = (
    (re.compile(r"(?<=\d) ?%"), (" 퍼센트", " percent")),
    (re.compile(r"(?<=\d) ?°C"), ("도", " degrees")),
    (re.compile(r" ?(?:mmHg|mg/dL)"), ("", "")),
    (re.compile(r"(?<=\d) ?/min"), ("회", " a minute")),
)


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

    for unit, words in _UNITS_ALOUD:
        text = unit.sub(words[0 if language == "ko" else 1], text)
    return _NUMBER.sub(said, text)


def phone(number: str, language: str) -> str:
    """A Korean number as it is dialled here, spelled: +821055500131 is 공일공, 오오오공, 공일삼일."""
    local = "0" + number.removeprefix("+82") if number.startswith("+82") else number
    found = re.fullmatch(r"(02|0\d\d)(\d{3,4})(\d{4})", local)
    return digits(" ".join(found.groups()) if found else local, language)


def romanised(text: str) -> str:
    """Korean for somebody who reads none, syllable by syllable: 우동 302호 is u-dong, three zero two ho."""
    found = []
    for word in re.findall(r"[가-힣]+|[0-9]+|-|[A-Za-z]+", text):
        if word.isdigit():
            found.append(digits(word, "en"))
        elif "가" <= word[0] <= "힣":
            found.append("-".join(_syllable(letter) for letter in word))
        else:
            found.append("dash" if word == "-" else word)
    return " ".join(found)


def _syllable(letter: str) -> str:
    place = ord(letter) - ord("가")
    return _INITIALS[place // 588] + _VOWELS[place % 588 // 28] + _FINALS[place % 28]


def korean_in(text: str) -> bool:
    """Whether any of it is written in Korean."""
    return any("가" <= letter <= "힣" for letter in text)


def spans(line: str, language: str) -> list[tuple[str, str]]:
    """A line in pieces with the language of each, so that a page and its voice know what is Korean in English."""
    if language == "ko":
        return [(line, "ko")]
    found, at = [], 0
    for korean in _KOREAN.finditer(line):
        found += [(line[at : korean.start()], language), (korean[0], "ko")]
        at = korean.end()
    return [(text, of) for text, of in (*found, (line[at:], language)) if text]
