"""The record for 119: EIDO's names where NENA publishes them, and a script that can be read aloud."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.codes import Why
from dispatch.eido import (
    DRAFT,
    Entry,
    Finding,
    Helper,
    Measured,
    Number,
    Part,
    Place,
    Record,
    Subject,
    eido,
)
from dispatch.handover_script import script
from dispatch.handover_signs import answer_said, sign_said
from dispatch.messages import REASONS
from dispatch.spoken_numbers import amount, english, native, phone, romanised, sino, spans, spelled

ASKED_AND_ANSWERED = (
    "asked", "picked_up", "ask_call_ended", "answered_fine", "answered_help", "answered_duress", "fine_not_believed",
    "late_fine", "late_help", "returned_call", "bridged",
)  # fmt: skip
NOW = datetime(2026, 11, 22, 12, 4, 33, tzinfo=UTC)
REQUIRED: dict[str, tuple[str, ...]] = {
    "agencyComponent": ("agencyRoleDescriptionRegistryText", "agencyType"),
    "agentComponent": ("agentRoleRegistryText", "agencyReference"),
    "incidentComponent": ("incidentTypeCommonRegistryText",),
    "callComponent": ("callStateRegistryText", "standardPrimaryCallType", "direction", "callStartTimestamp"),
    "notesComponent": ("notesActionComments",),
    "locationComponent": ("locationTypeDescriptionRegistryText",),
    "personComponent": ("personIncidentRoleRegistryText",),
    "callbackComponent": (),
    "dispatchComponent": (),
    "alarmsSensorsComponent": (),
    "additionalDataComponent": (),
}
"""What NENA's openapi.yaml (version 1.0.0 of github.com/NENA911/EIDO-JSON) requires of each component."""
PROLOGUE = ("$id", "lastUpdateTimeStamp", "updatedByAgencyReference")


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "incident_id": UUID("01933b5e-7000-7000-8000-000000000001"),
        "made_at": NOW,
        "opened_at": NOW - timedelta(minutes=3),
        "state": "confirmed",
        "state_text": "확인됨",
        "priority": "high",
        "simulated": False,
        "language": "ko",
        "centre": "안심 관제센터",
        "element": "ansim.example",
        "subject": Subject(name="김순자", age=82, sex="female", phones=("+821055500131",), flags=("귀가 어두움",)),
        "place": Place(address="부산 해운대구 우동 12-3 행복빌라 302호", access_note="현관 비밀번호 1234"),
        "findings": (
            Finding(
                code="heart_rate_high", text="맥박이 높음 142", spoken="맥박이 142회입니다. 4분째입니다",
                priority="high", started_at=NOW - timedelta(minutes=4),
            ),
        ),
        "vitals": (Measured(name="맥박", value=142, unit="회/분", at=NOW, age_s=20),),
        "times": {"unit_notified_at": NOW, "received_at": NOW - timedelta(minutes=3)},
        "answers": (Entry(at=NOW, text="전화를 받지 않음"),),
        "helpers": (
            Helper(
                name="김민지", relation="딸", phone="+821055500132", part=Part.GOING,
                eta_at=NOW + timedelta(minutes=10),
            ),
            Helper(name="김도윤", result="통화 중"),
        ),
        "callbacks": (Number(label="관제센터", phone="+82515550199"),),
        "unknown": ("의식이 있는지",),
        "reference": "119-42",
        "by": "이서연",
    }  # fmt: skip
    return Record(**fields | changes)


def components(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, value in document.items():
        if name.endswith("Component"):
            found += [(name, one) for one in (value if isinstance(value, list) else [value])]
    return found


def refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if set(value) == {"$ref"} else []
        return here + [ref for one in value.values() for ref in refs(one)]
    return [ref for one in value for ref in refs(one)] if isinstance(value, list) else []


def assert_shaped(document: dict[str, Any]) -> None:
    assert document["eidoVersion"] == "1.0"
    assert document["issuingElementIdentification"]
    assert document["agencyComponent"]
    for name in PROLOGUE:
        assert name in document
    ids = [one["$id"] for _, one in components(document)]
    assert len(ids) == len(set(ids))
    for name, one in components(document):
        for field in (*PROLOGUE, *REQUIRED[name]):
            assert field in one, (name, field)
        datetime.fromisoformat(one["lastUpdateTimeStamp"])
        assert None not in one.values()
    assert set(refs(document)) <= set(ids), "every reference leads somewhere in the document"


def test_every_component_has_what_the_published_schema_requires_and_every_reference_leads_somewhere() -> None:
    document = eido(record())
    assert_shaped(document)
    assert set(document) >= set(REQUIRED)
    json.dumps(document)


def test_the_record_is_labelled_a_draft_and_claims_no_dispatch() -> None:
    text = json.dumps(eido(record(times={}, reference=None)), ensure_ascii=False)
    assert DRAFT in text
    assert "dispatchComponent" not in text, "nobody was called yet"
    told = json.dumps(eido(record()), ensure_ascii=False)
    assert "A human called 119 at 2026-11-22T12:04:33.000Z, reference 119-42." in told


def test_what_is_not_known_is_said_and_not_left_out() -> None:
    notes = [one["notesActionComments"] for one in eido(record())["notesComponent"]]
    assert "NOT KNOWN: 의식이 있는지" in notes
    bare = eido(record(place=Place(), vitals=(), findings=(), answers=(), helpers=(), callbacks=(), unknown=()))
    assert_shaped(bare)
    assert "locationComponent" not in bare


def test_times_carry_their_nemsis_names() -> None:
    [more] = eido(record())["additionalDataComponent"]
    times = json.loads(more["additionalDataByValue"])["times"]
    assert times == {"received_at": "2026-11-22T12:01:33.000Z", "eTimes.03": "2026-11-22T12:04:33.000Z"}


def test_an_address_cannot_break_out_of_its_xml_nor_a_note_out_of_its_html() -> None:
    nasty = '</LOC><script>"&'
    document = eido(record(place=Place(address=nasty, access_note="<b>&")))
    [place] = document["locationComponent"]
    tree = ElementTree.fromstring(place["locationByValue"])
    assert [one.text for one in tree.iter() if one.tag.endswith("LOC")] == [nasty]
    assert "&lt;b&gt;&amp;" in [one["notesActionComments"] for one in document["notesComponent"]]


words = st.text(max_size=30)


@given(words, words, words, st.lists(words, max_size=3), st.integers(0, 120) | st.none(), st.sampled_from(["ko", "en"]))
def test_any_record_has_its_shape_and_a_script(
    name: str, address: str, note: str, unknown: list[str], age: int | None, language: str
) -> None:
    made = record(
        subject=Subject(name=name, age=age), place=Place(address=address, access_note=note), unknown=tuple(unknown)
    )
    assert_shaped(msgspec.json.decode(msgspec.json.encode(eido(made))))
    assert all(script(made, language))


# --- the script -----------------------------------------------------------------------------------


def test_the_script_says_where_before_what_before_who_before_how_before_whom_to_ring() -> None:
    lines = "\n".join(script(record(), "ko"))
    assert "거실" not in lines, "heard as the living room"
    assert "다시 전화하실 번호는" in lines
    order = ["우동", "비밀번호", "맥박이 백사십이 회", "팔십이 세 여성", "귀가 어두움", "잰 값은 맥박", "딸 김민지"]
    at = [lines.index(word) for word in [*order, "의식이", "공오일"]]
    assert at == sorted(at), lines
    assert "행복빌라 삼백이 호" in lines
    assert "비밀번호 일이삼사" in lines, "a door's code is said digit by digit"
    assert "십 분쯤 뒤" in lines


def test_the_english_script_says_the_same_in_the_same_order() -> None:
    finding = Finding(
        code="x", text="High rate", spoken="Heart rate 142", priority="high", started_at=NOW - timedelta(minutes=4)
    )
    lines = "\n".join(script(record(findings=(finding,), language="en"), "en"))
    order = ["The address", "three zero two", "How to get in", "one hundred and forty-two", "female, eighty-two"]
    at = [lines.index(word) for word in [*order, "on the way", "do not know", "zero five one"]]
    assert at == sorted(at), lines


@pytest.mark.parametrize("language", ["ko", "en"])
def test_no_digit_is_left_to_be_misread(language: str) -> None:
    lines = script(record(), language)
    assert [line for line in lines if re.search(r"\d", line.replace("119", ""))] == []


def test_an_old_value_is_said_to_be_old_and_a_doubted_one_is_not_said() -> None:
    old = Measured(name="맥박", value=40, unit="회/분", at=NOW, age_s=4000, stale=True)
    older = Measured(name="체온", value=35, unit="°C", at=NOW, age_s=90_000, stale=True)
    doubted = Measured(name="산소포화도", value=70, unit="%", at=NOW, age_s=4, doubtful=True)
    lines = script(record(vitals=(old, older, doubted)), "ko")
    none = lines.index("지금 믿을 만한 측정값이 없습니다.")
    assert lines[none + 1] == (
        "다음은 오래된 값이라 지금과 다를 수 있습니다. 한 시간 육 분 전에 잰 값은 맥박 분당 사십 회입니다."
    )
    assert not re.search("칠십|삼십오", "".join(lines))
    english_lines = script(record(vitals=(msgspec.structs.replace(old, name="pulse", unit="/min"),)), "en")
    said = "The following is old, and may no longer be so. One hour six minutes ago, pulse was forty a minute."
    assert said in english_lines


def test_a_simulated_case_says_first_that_119_must_not_be_rung() -> None:
    assert script(record(simulated=True), "ko")[0] == "모의 상황입니다. 119에 전화하지 마십시오."
    assert "Do not ring 119" in script(record(simulated=True), "en")[0]
    assert "SIMULATED: this person does not exist." in json.dumps(eido(record(simulated=True)))


def test_who_is_there_already_is_not_said_to_be_on_the_way() -> None:
    there = Helper(name="김민지", relation="딸", part=Part.THERE)
    late = Helper(name="김민지", relation="딸", part=Part.LATE, eta_at=NOW - timedelta(minutes=5))
    assert "딸 김민지 님이 지금 곁에 있습니다." in script(record(helpers=(there,)), "ko")
    said = "딸 김민지 님이 지금쯤 도착한다고 했는데, 아직 도착했다는 소식이 없습니다."
    assert said in script(record(helpers=(late,)), "ko")


@pytest.mark.parametrize(
    ("number", "korean", "words"),
    [
        (0, "영", "zero"),
        (10, "십", "ten"),
        (21, "이십일", "twenty-one"),
        (100, "백", "one hundred"),
        (142, "백사십이", "one hundred and forty-two"),
        (1004, "천사", "one thousand four"),
        (10000, "만", "ten thousand"),
        (23456, "이만삼천사백오십육", "twenty-three thousand four hundred and fifty-six"),
    ],
)
def test_numbers_are_said_as_people_say_them(number: int, korean: str, words: str) -> None:
    assert (sino(number), english(number)) == (korean, words)


def test_counted_things_and_fractions_are_read_as_in_korean() -> None:
    assert [native(n) for n in (1, 3, 20, 21, 82)] == ["한", "세", "스무", "스물한", "여든두"]
    assert spelled("3시간 2분, 1번 넘어짐", "ko") == "세 시간 이 분, 한 번 넘어짐"
    assert spelled("7개 항목 중 4개 측정, 3개월 전", "ko") == "일곱 개 항목 중 네 개 측정, 삼 개월 전"
    assert (amount("36.6", "ko"), amount("36.6", "en")) == ("삼십육 점 육", "thirty-six point six")
    assert spelled("우동 12-3번지 302호", "ko", address=True) == "우동 십이 다시 삼 번지 삼백이 호"


def test_telephone_numbers_are_said_digit_by_digit_as_they_are_dialled_here() -> None:
    assert phone("+821055500131", "ko") == "공일공, 오오오공, 공일삼일"
    assert phone("+82215771000", "en") == "zero two, one five seven seven, one zero zero zero"
    assert phone("+4420794600", "ko") == "사사이공칠구사육공공"


def low_oxygen(**params: Any) -> AlarmCondition:
    began = NOW - timedelta(minutes=21)
    given = {"value": 84.0, "usual": 97.0, "limit": 88.0, "duration_s": 60, "age_s": 0} | params
    return AlarmCondition(
        code="spo2_low", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.HIGH, started_at=began,
        detected_at=began + timedelta(minutes=1), params=given,
    )  # fmt: skip


def found(condition: AlarmCondition, language: str, worst: float | None = None) -> Finding:
    return Finding(
        code=condition.code, text="", spoken=sign_said(condition, language, NOW, worst), priority="high",
        started_at=condition.started_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("language", "sign", "vitals"),
    [
        (
            "ko",
            "혈중 산소가 낮습니다. 이십일 분 전에 시작됐고, 그동안 가장 낮은 값은 팔십사 퍼센트입니다. "
            "평소에는 구십칠 퍼센트입니다.",
            "일 분 전에 잰 값은 혈중 산소 구십삼 퍼센트입니다.",
        ),
        (
            "en",
            "Blood oxygen is low. It began twenty-one minutes ago, and the lowest value since then is eighty-four "
            "percent. It is usually ninety-seven percent.",
            "One minute ago, blood oxygen was ninety-three percent.",
        ),
    ],
)
def test_a_sign_is_told_since_when_and_how_bad_and_the_value_of_now_once_with_its_own_age(
    language: str, sign: str, vitals: str
) -> None:
    now = Measured(name="혈중 산소" if language == "ko" else "blood oxygen", value=93, unit="%", at=NOW, age_s=60)
    lines = script(record(findings=(found(low_oxygen(), language, 84.0),), vitals=(now,)), language)
    assert [sign, vitals] == [line for line in lines if "산소" in line or "oxygen" in line]
    assert not re.search("[%]|측정|measured|동안 계속|for one minute", " ".join(lines))


def test_two_values_of_two_ages_are_two_sentences_and_two_of_one_age_are_one() -> None:
    vitals = (
        Measured(name="heart rate", value=74, unit="/min", at=NOW, age_s=60),
        Measured(name="systolic pressure", value=128, unit="mmHg", at=NOW, age_s=7200),
        Measured(name="blood oxygen", value=97, unit="%", at=NOW, age_s=62),
    )
    assert (
        "One minute ago, heart rate was seventy-four a minute and blood oxygen was ninety-seven percent. "
        "Two hours ago, systolic pressure was one hundred and twenty-eight." in script(record(vitals=vitals), "en")
    )


@pytest.mark.parametrize(
    ("part", "korean", "words"),
    [
        (
            Part.TOOK,
            "딸 김민지 님이 이 일을 알고 맡았습니다. 가고 있는지는 아직 모릅니다.",
            "knows of it and has taken charge. We do not know whether anybody is on the way.",
        ),
        (Part.GOING, "가고 있고, 십 분쯤 뒤에 도착할 예정입니다.", "is on the way, and is expected there in about ten"),
        (Part.THERE, "님이 지금 곁에 있습니다.", "is with them now."),
    ],
)
def test_who_took_it_is_not_said_to_be_going_and_who_goes_is_not_said_to_be_there(
    part: Part, korean: str, words: str
) -> None:
    helper = Helper(name="김민지", relation="딸", part=part, eta_at=NOW + timedelta(minutes=10))
    said = {language: "\n".join(script(record(helpers=(helper,)), language)) for language in ("ko", "en")}
    assert korean in said["ko"] and words in said["en"]
    for other in set(Part) - {part}:
        unlike = msgspec.structs.replace(helper, part=other)
        assert korean not in "\n".join(script(record(helpers=(unlike,)), "ko"))
        assert words not in "\n".join(script(record(helpers=(unlike,)), "en"))


def test_a_korean_address_stays_korean_in_the_english_script_and_is_followed_by_its_syllables() -> None:
    lines = script(record(language="en"), "en")
    at = next(i for i, line in enumerate(lines) if "The address is in Korean" in line)
    assert lines[at] == (
        "This is a medical emergency. The address is in Korean: "
        "부산 해운대구 우동 십이 다시 삼 행복빌라 삼백이 호."
    )
    assert lines[at + 1] == (
        "If you read no Korean, say it so: bu-san hae-un-dae-gu u-dong one two dash three haeng-bok-bil-ra "
        "three zero two ho."
    )
    pieces = spans(lines[at], "en")
    assert [of for _, of in pieces] == ["en", "ko", "en"] and "".join(text for text, _ in pieces) == lines[at]
    assert pieces[1][0].startswith("부산") and pieces[1][0].endswith("호")
    plain = script(record(place=Place(address="12 High Street")), "en")
    assert "This is a medical emergency. The address is one two High Street." in plain


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_sign_reaches_119_in_whole_sentences_without_an_old_figure(code: str, language: str) -> None:
    params: dict[str, Any] = {
        "value": 84.0, "usual": 97.0, "limit": 90.0, "total": 7, "known": 5, "worst": "respiratory_rate_bpm",
        "late_s": 600, "clock_wrong": True, "last_place": "kitchen", "did_not_return": True, "cause": "network",
        "age_s": 30.0, "still_s": 50.0, "duration_s": 60,
    }  # fmt: skip
    told = msgspec.structs.replace(low_oxygen(), code=code, params=params)
    line = spelled(sign_said(told, language, NOW, 84.0), language)
    sentences = [one.strip() for one in re.split(r"(?<=[.])\s", line)]
    assert all(one.endswith(".") and one[0].upper() == one[0] for one in sentences), line
    endings = ("다.", "요.") if language == "ko" else "."
    assert all(one.endswith(endings) for one in sentences), line
    assert not re.search(r"[\d%{}_()]|None|nan|°|mmHg", line), line
    ago = "이십일 분 전" if language == "ko" else "twenty-one minutes ago"
    assert line.count(ago) == 1 and "fifty seconds" not in line and "칠 점" not in line


@pytest.mark.parametrize("what", sorted(ASKED_AND_ANSWERED))
def test_every_answer_is_read_as_a_sentence_with_when_it_was(what: str) -> None:
    for how in (None, *Why):
        for language, ends in (("ko", "다."), ("en", ".")):
            said = answer_said(what, {"how": how, "outcome": "no_answer"}, language)
            assert said.endswith(ends) and ":" not in said
    entry = Entry(at=NOW - timedelta(minutes=2), text="x", spoken=answer_said(what, {}, "en"))
    said = f"Two minutes ago, {entry.spoken[0].lower()}{entry.spoken[1:]}"
    assert said in script(record(answers=(entry,)), "en")
    now = Entry(at=NOW, text="x", spoken=answer_said(what, {}, "ko"))
    assert f"방금 {now.spoken}" in script(record(answers=(now,)), "ko")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_script_is_whole_sentences(language: str) -> None:
    said = {
        "findings": (found(low_oxygen(), language, 84.0),),
        "subject": Subject(name="김순자", age=82, flags=("x",), flags_said=("귀가 어둡습니다." * (language == "ko"),)),
        "answers": (Entry(at=NOW, text="x", spoken=answer_said("ask_call_ended", {"outcome": "busy"}, language)),),
    }
    for made in (record(**said), record(place=Place(), vitals=(), findings=(), answers=(), helpers=(), unknown=())):
        lines = [line for line in script(made, language) if "귀가 어두움" not in line]
        assert [line for line in lines if not line.endswith(("다.", "오.", "요.") if language == "ko" else ".")] == []
        assert [line for line in lines if ": " in line and not line.startswith(("This", "If"))] == []


def test_korean_is_romanised_syllable_by_syllable() -> None:
    assert romanised("김순자") == "gim-sun-ja"
    assert romanised("현관 비밀번호 1234*") == "hyeon-gwan bi-mil-beon-ho one two three four"
    assert romanised("B동 옥탑방") == "B dong ok-tap-bang"


def test_units_are_said_in_words() -> None:
    assert spelled("84%로, 36.6°C, 128 mmHg", "ko") == "팔십사 퍼센트로, 삼십육 점 육 도, 백이십팔"
    assert spelled("84%, 72/min", "en") == "eighty-four percent, seventy-two a minute"
