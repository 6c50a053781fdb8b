"""What is said and written: both languages complete, neutral before a key, short enough."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from string import Formatter
from uuid import uuid4

import pytest

from dispatch import messages, messages_doors, messages_signs, messages_terms, messages_texts, messages_words
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from dispatch.codes import CloseReason, Disbelief, Log, Message, Outcome, Role, Why
from dispatch.incident import LogEntry, State
from dispatch.notifier import CallStatus, Prompt
from service.detection.baseline import TOLD
from service.detection.signs import SIGNS

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
CODES = {
    "sos", "fall", "spo2_low", "heart_rate_high", "heart_rate_low", "news2_high", "news2_medium",
    "signal_contradiction", "device_silent", "device_never_reported", "device_clock_wrong", "not_worn",
    "battery_low", "detection_failed", "record_unreadable", "carrier_refuses", "audit_mended",
}  # fmt: skip


def condition(code: str, **params: Param) -> AlarmCondition:
    return AlarmCondition(
        code=code,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        started_at=NOW - timedelta(minutes=5),
        detected_at=NOW,
        params=params,
    )


def everything_said_before_a_key(language: str) -> list[Prompt]:
    return [
        *(messages.prompt_for(m, language, turn) for m in messages.SPOKEN for turn in (1, 2)),
        messages.voicemail_neutral(language),
        messages.already_taken(language),
        messages.nothing_open(language),
    ]


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (messages_words.REASONS, CODES),
        (messages_terms.STATES, set(State)),
        (messages_terms.PRIORITIES, set(Priority)),
        (messages_terms.ROLES, set(Role)),
        (messages_terms.CLOSE_REASONS, set(CloseReason)),
        (messages_terms.OUTCOMES, {str(s) for s in CallStatus} | {str(o) for o in Outcome}),
        (messages_terms.WHYS, set(Why)),
        (messages_terms.DISBELIEFS, set(Disbelief)),
        (messages_terms.LOGS, set(Log)),
    ],
)
def test_every_code_has_its_words(table, keys):
    assert set(table) == keys


@pytest.mark.parametrize(
    "table",
    [
        messages_words.REASONS,
        messages_signs.SIGNS,
        messages_signs.MORE_VITALS,
        {"unknown": messages_words.UNKNOWN_REASON},
        messages_words.VITALS,
        messages_texts.TEXTS,
        messages_texts.TAKEN_BY,
        messages_texts.GOING_BY,
        messages_texts.FULLER,
        {"unrung": messages_texts.UNRUNG},
        messages_words.SAID,
        messages_terms.STATES,
        messages_terms.PRIORITIES,
        messages_terms.ROLES,
        messages_terms.CLOSE_REASONS,
        messages_terms.OUTCOMES,
        messages_terms.WHYS,
        messages_terms.DISBELIEFS,
        messages_terms.LOGS,
    ],
)
def test_every_key_exists_in_korean_and_english(table):
    for key, words in table.items():
        assert set(words) == {"ko", "en"}, key
        korean, english = str(words["ko"]), str(words["en"])
        assert re.search("[가-힣]", korean), key
        assert not re.search("[가-힣]", english), key


@pytest.mark.parametrize("table", [messages_words.REASONS, messages_signs.SIGNS, messages_terms.LOGS])
def test_both_languages_use_the_same_values(table):
    for key, words in table.items():
        ko, en = words["ko"], words["en"]
        assert fields(ko.full) | {f for c in ko.clauses for f in fields(c)} == fields(en.full) | {
            f for c in en.clauses for f in fields(c)
        }, key


@pytest.mark.parametrize("message", list(Message))
def test_every_message_can_be_said_or_written(message):
    said = message in messages.SPOKEN
    written = message in messages_texts.TEXTS
    assert said or written
    for language in messages.LANGUAGES:
        if said:
            assert messages.prompt_for(message, language).lines
        else:
            with pytest.raises(ValueError, match="message must be one that is said"):
                messages.prompt_for(message, language)
        if written:
            assert messages.text_for(message, language)
        else:
            with pytest.raises(ValueError, match="message must be one that is written"):
                messages.text_for(message, language)


def test_korean_texts_fit_into_one_short_message():
    texts = [messages.text_for(message, "ko") for message in messages_texts.TEXTS]
    texts += [messages.text_for(Message.TAKEN, "ko", {"role": role.value}) for role in Role]
    assert max(map(len, texts)) <= 70


def test_whoever_keeps_it_though_another_is_there_reads_that_it_is_still_theirs():
    ko, en = (messages.text_for(Message.ARRIVED_TOO, language) for language in ("ko", "en"))
    assert "먼저" not in ko and "맡고 계" in ko and "계속" in ko
    assert "first" not in en and "still yours" in en and "go on" in en


def test_the_owners_menu_asks_whether_the_person_is_well_not_the_caller():
    for key in ("owner_menu", "arrived"):
        assert "어르신이 무사하시면" in messages_doors.WORDS[key]["ko"]


@pytest.mark.parametrize(
    ("entry", "ko", "en"),
    [
        (
            LogEntry(what="owner_told", who="system", params={"owner": "desk"}),
            "알렸습니다: 관제센터",
            "Told the control centre",
        ),
        (
            LogEntry(what="unit_progressed", who="person:x", params={"unit": "en_route"}),
            "119 출동 중 (적은 사람: 관제센터)",
            "119 on the way (written down by 관제센터)",
        ),
        (
            LogEntry(what="contact_declined", who="person:x", params={"owner": "person:y"}),
            "관제센터: 어렵다고 답함. 이미 맡은 사람이 있음 (관제센터)",
            "관제센터 cannot take it; 관제센터 has it already",
        ),
        (
            LogEntry(what="contact_declined", who="person:x", params={}),
            "관제센터: 어렵다고 답함",
            "관제센터 cannot take it",
        ),
    ],
)
def test_the_log_makes_nobody_a_holder_or_a_crew_who_only_heard_or_wrote_it(entry, ko, en):
    assert messages.log_text(entry, "ko", lambda _: "관제센터") == ko
    assert messages.log_text(entry, "en", lambda _: "관제센터") == en


def test_korean_voice_says_119_digit_by_digit():
    for lines in (words["ko"] for words in messages_words.SAID.values()):
        assert "119" not in " ".join(lines)
    assert "일일구" in " ".join(messages.contact_taken("ko", "김순자", []).lines)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_nothing_said_before_a_key_has_a_place_for_a_name_or_a_value(language):
    for prompt in everything_said_before_a_key(language):
        assert "{" not in " ".join(prompt.lines)
        assert not re.search(r"bpm|심박|산소|heart|oxygen|주소|address", " ".join(prompt.lines))
    for message in messages_texts.TEXTS:
        text = messages.text_for(message, language)
        assert "{" not in text
        assert not re.search(r"심박|산소|heart|oxygen|주소", text)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_menus_wait_for_a_key_and_replies_do_not(language):
    assert messages.ask_prompt(language).ask
    assert messages.ask_prompt(language, 2).turn == 2
    assert messages.contact_menu(language, 2).ask
    assert messages.desk_menu(language).ask
    assert messages.prompt_for(Message.DESK_TECHNICAL, language).ask
    assert messages.prompt_for(Message.NEWS, language).ask
    for reply in messages.Reply:
        assert not messages.ask_reply(language, reply).ask
    replies = [messages.already_taken, messages.declined, messages.wrong_number, messages.no_key]
    replies += [messages.voicemail_neutral, messages.nothing_open, messages.desk_taken, messages.desk_no_key]
    for prompt_of in replies:
        assert not prompt_of(language).ask


def test_the_contacts_menu_names_its_three_keys():
    for language in messages.LANGUAGES:
        for turn in (1, 2):
            said = " ".join(messages.contact_menu(language, turn).lines)
            assert all(key in said for key in "349")


def test_who_took_it_hears_the_key_the_name_the_reason_and_the_address():
    reason = messages.reason_text(condition("fall"), "ko", NOW, spoken=True)
    said = messages.contact_taken("ko", "김순자", [reason], "부산 북구 화명동 1").lines
    assert said[0].startswith("3번을 누르셨습니다.")
    assert "김순자 님 일입니다." in said
    assert "넘어진 것으로 보입니다." in said
    assert "주소는 부산 북구 화명동 1입니다." in said


def test_already_taken_names_the_person_who_has_it():
    assert "박민지 님" in messages.already_taken("ko", "박민지").lines[0]
    assert "Minji" in messages.already_taken("en", "Minji").lines[0]


def test_a_reason_says_value_usual_value_and_age():
    low = condition("spo2_low", value=84.0, usual=97, limit=90, age_s=60, duration_s=180)
    assert (
        messages.reason_text(low, "ko", NOW + timedelta(seconds=60))
        == "혈중 산소가 84%로 낮습니다 (평소 97%, 기준 90%, 3분 동안 계속, 2분 전 측정)"
    )
    assert (
        messages.reason_text(low, "en", NOW)
        == "Blood oxygen is low at 84% (usually 97%, limit 90%, for 3 minutes, measured 1 minute ago)"
    )
    assert messages.reason_text(low, "ko", NOW, spoken=True).startswith("혈중 산소가 84%로 낮습니다. 평소 97%,")


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_reason_without_any_value_is_still_a_sentence(code, language):
    empty = messages.reason_text(condition(code), language, NOW)
    assert empty and "None" not in empty and "{" not in empty
    names = ("value", "usual", "limit", "age_s", "duration_s", "late_s", "total", "known", "worst")
    nothing = messages.reason_text(condition(code, **dict.fromkeys(names)), language, NOW)
    assert nothing == empty
    assert messages.reason_text(condition(code, value=float("nan")), language, NOW) == empty


def test_a_late_sos_says_how_late_it_is():
    assert messages.reason_text(condition("sos", late_s=30), "ko", NOW) == "도움 버튼을 눌렀습니다"
    assert "12분 늦게" in messages.reason_text(condition("sos", late_s=720), "ko", NOW)
    wrong = messages.reason_text(condition("sos", late_s=None, clock_wrong=True), "en", NOW)
    assert wrong == "The help button was pressed (the device clock is wrong)"
    assert "clock" not in messages.reason_text(condition("sos", clock_wrong=False), "en", NOW)


def test_vital_signs_inside_a_reason_are_named_in_the_readers_language():
    bad = condition(
        "signal_contradiction", field="heart_rate_bpm", value=0, other_field="pulse_rate_bpm", other_value=72
    )
    assert messages.reason_text(bad, "ko", NOW).endswith("심박수 0, 맥박수 72")
    worst = condition("news2_high", total=8, known=5, worst="respiratory_rate_bpm", age_s=5)
    assert "worst: breathing rate" in messages.reason_text(worst, "en", NOW)


def test_an_unknown_code_or_language_never_fails_an_alarm():
    assert messages.reason_text(condition("from_the_future"), "fr", NOW) == "There is a sign that needs checking"
    assert messages.contact_menu("fr").language == "en"
    assert messages.outcome_text("strange", "ko") == "strange"
    assert messages.log_text(LogEntry(what="strange", who="system"), "ko", str) == "strange"


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize("code", list(Log))
def test_every_log_code_reads_with_and_without_its_values(code, language):
    person = uuid4()
    full: dict[str, Param] = {
        "code": "spo2_low", "priority": "high", "attempt": 2, "outcome": "voicemail", "how": "unanswered",
        "reason": "stale_vitals", "why": "sos", "person": str(person), "round": 3, "role": "caregiver",
        "owner": f"person:{person}", "count": 2, "reference": "A-1", "state": "en_route", "text": "문이 잠김",
        "eta_s": 1200, "to": "119",
    }  # fmt: skip
    for params in ({}, full):
        said = messages.log_text(
            LogEntry(what=code, who=f"person:{person}", params=params), language, lambda who: "Minji"
        )
        assert said and "{" not in said and str(person) not in said


def test_a_log_line_names_people_and_words_its_codes():
    entry = LogEntry(what="contact_call_ended", who="person:x", params={"outcome": "voicemail"})
    assert messages.log_text(entry, "ko", lambda who: "박민지") == "박민지: 음성사서함"
    entry = LogEntry(what="fine_not_believed", who="system", params={"reason": "stale_vitals"})
    assert messages.log_text(entry, "en", str).endswith("the readings are too old")
    entry = LogEntry(what="closed", who="system", params={"reason": "patient_fine"})
    assert messages.log_text(entry, "en", str) == "Closed: The patient is fine"


def test_the_closed_line_names_the_person_who_closed_it_and_never_the_system():
    by_hand = LogEntry(what="closed", who="person:x", params={"reason": "patient_fine"})
    assert messages.log_text(by_hand, "en", lambda who: "Seoyeon Lee") == "Closed by Seoyeon Lee: The patient is fine"
    assert messages.log_text(by_hand, "ko", lambda who: "이서연").startswith("종료했습니다: 이서연 (")
    assert messages.log_text(LogEntry(what="closed", who="person:x"), "en", lambda who: "S") == "Closed by S"
    by_itself = LogEntry(what="closed", who="system", params={"reason": "patient_fine"})
    assert "안심" not in messages.log_text(by_itself, "ko", str)


def test_terms_read_in_both_languages():
    assert messages.state_text("checking", "ko") == "본인 확인 중"
    assert messages.priority_text(Priority.HIGH, "ko") == "긴급"
    assert messages.close_reason_text("duplicate", "en") == "Duplicate"
    assert messages.outcome_text(CallStatus.NO_ANSWER, "ko") == "받지 않음"
    assert messages.role_text("desk", "ko") == "관제센터"
    assert messages.duration_text(7810, "en") == "2 hours 10 minutes"
    assert messages.vital_text("unheard_of", "ko") == "unheard_of"


WEIGHED = sorted({*SIGNS, *TOLD.values()})
EXAMPLES: dict[str, dict[str, Param]] = {
    "pause": {"value": 4.23, "duration_s": 4.2},
    "fall_still": {"still_s": 52, "peak_g": 3.1, "probability": 0.93},
    "person_silent": {"limit_s": 20_000, "usual_s": 9_000, "last_place": "other", "did_not_return": True},
    "deterioration_likely": {"worst": "systolic_mmhg", "value": 91.4, "usual": 128.0},
    "blood_pressure_low": {"worst": "diastolic_mmhg", "value": 48.0, "usual": 71.5},
    "news2_high": {"total": 8, "known": 5, "worst": "on_oxygen"},
    "news2_medium": {"total": 5, "known": 5, "worst": "consciousness"},
}
ODD: dict[str, Param] = {
    "worst": "from_the_future", "last_place": "none", "usual": float("nan"), "value": float("inf"), "duration_s": 0,
}  # fmt: skip


def sign(code: str, **params: Param) -> AlarmCondition:
    given: dict[str, Param] = {"value": 92.34, "usual": 71.21, "duration_s": 172_800, "age_s": 240}
    return condition(code, **(given | EXAMPLES.get(code, {}) | params))


@pytest.mark.parametrize("code", WEIGHED)
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_sign_reads_aloud_with_and_without_its_values(code, language):
    for told in (sign(code), condition(code), sign(code, **ODD), condition(code, age_s=0, value=None)):
        for spoken in (False, True):
            text = messages.reason_text(told, language, NOW, spoken=spoken)
            assert messages_words.UNKNOWN_REASON[language].plain not in text
            assert not re.search(r"[_{}<>]|nan|inf\b|None|\b0초|\b0 seconds|-\d", text), text
            assert bool(re.search("[가-힣]", text)) == (language == "ko")
            assert not re.search(r"\d\.\d\d", text), text


@pytest.mark.parametrize("code", sorted(set(TOLD.values())))
def test_a_drift_says_value_usual_value_duration_and_age(code):
    text = messages.reason_text(sign(code), "en", NOW)
    assert re.search(r"\(92(\.3)?( a minute|%| °C| mmHg| steps an hour), usually 71", text), text
    assert text.endswith("for 2 days, measured 4 minutes ago)")


def test_a_drift_reads_as_people_say_it():
    told = sign("heart_rate_drift_up")
    assert (
        messages.reason_text(told, "ko", NOW, spoken=True)
        == "쉴 때 심박수가 평소보다 높아졌습니다. 분당 92회, 평소 71회, 2일 동안 계속, 4분 전 측정."
    )


def test_numbers_that_would_read_alike_are_told_more_finely():
    near = sign("breathing_drift_up", value=17.4, usual=16.6)
    assert "분당 17.4회, 평소 16.6회" in messages.reason_text(near, "ko", NOW)
    assert "분당 120회" in messages.reason_text(sign("tachycardia", value=120.0), "ko", NOW)


def test_the_worst_reading_is_named_with_its_value_and_a_pressure_has_no_unit_aloud():
    told = sign("deterioration_likely")
    assert "가장 나쁜 항목: 수축기 혈압 91 mmHg, 평소 128 mmHg" in messages.reason_text(told, "ko", NOW)
    assert "mmHg" not in messages.reason_text(told, "ko", NOW, spoken=True)
    assert messages.reason_text(sign("blood_pressure_low"), "en", NOW).startswith("The diastolic pressure is low")


def test_a_silence_is_told_by_how_long_it_lasts_whenever_it_was_noticed():
    told = sign("person_silent", age_s=30)
    later = NOW + timedelta(hours=9) - timedelta(minutes=5)
    text = messages.reason_text(told, "ko", later)
    assert text.startswith(
        "집에서 9시간째 움직임이 없습니다 (평소 이 시간에는 2시간 30분 안에 움직임, 마지막 장소: 집 안"
    )
    assert "돌아온다고 한 때가 지남" in text
    nowhere = sign("person_silent", last_place="none", did_not_return=False)
    assert not re.search("장소|돌아온다고", messages.reason_text(nowhere, "ko", NOW))


def test_a_pause_kept_from_earlier_tells_its_own_seconds_not_its_age():
    told = sign("pause", duration_s=600)
    assert messages.reason_text(told, "en", NOW) == (
        "The heartbeat seems to have paused for 4.2 seconds (measured 4 minutes ago)"
    )


def test_who_goes_and_when_is_written_in_minutes():
    params: dict[str, Param] = {"role": "caregiver", "eta_min": 20}
    said = messages.text_for(Message.GOING, "ko", params)
    assert said.endswith("다른 보호자가 지금 가고 있습니다. 약 20분 뒤 도착합니다.")
    assert messages.text_for(Message.GOING, "en", params).endswith("there in about 20 min.")
    for known in ({}, {"role": "desk", "eta_min": 20}, {"role": "caregiver"}, {"role": "caregiver", "eta_min": None}):
        for language in messages.LANGUAGES:
            text = messages.text_for(Message.GOING, language, known)
            assert "{" not in text and "None" not in text and not re.search(r"\d", text)


def test_who_can_only_be_written_to_is_promised_no_call():
    for language, call in (("ko", "전화"), ("en", "call")):
        assert call in messages.text_for(Message.CONTACT_TEXT, language)
        text = messages.text_for(Message.CONTACT_TEXT, language, {"unrung": True})
        assert call not in text and len(text) <= 90


def test_a_gap_says_from_when_and_a_verification_says_its_digits():
    gap = messages.text_for(Message.GAP_AHEAD, "ko", {"when": "내일 오전 3시"})
    assert "내일 오전 3시부터" in gap and len(gap) <= 70
    assert "481516" in messages.text_for(Message.VERIFY_TEXT, "en", {"code": "481516"})
    for message in (Message.GAP_AHEAD, Message.VERIFY_TEXT):
        assert "{" not in messages.text_for(message, "ko", {"other": 1})


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_drill_says_first_that_it_is_one(language):
    drill = "훈련" if language == "ko" else "drill"
    assert drill in messages.prompt_for(Message.DRILL_CALL, language).lines[0]
    assert drill in messages.text_for(Message.DRILL_TEXT, language)[:40]
    for message in (Message.DRILL_CALL, Message.VERIFY_CALL):
        said = messages.prompt_for(message, language)
        assert said.ask and "9" in said.lines[-1]


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_word_of_who_comes_names_nobody_before_a_key(language):
    said = messages.prompt_for(Message.PATIENT_COMING, language)
    assert said.ask and "1" in said.lines[-1] and "0" in said.lines[-1]


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_whoever_can_only_be_rung_hears_what_the_others_read(language):
    for message in messages_texts.TEXTS.keys() - SENT_BY_TEXT_ONLY:
        assert not messages.prompt_for(message, language).ask or message is Message.NEWS


SENT_BY_TEXT_ONLY = {
    Message.CONTACT_TEXT,
    Message.DRILL_TEXT,
    Message.VERIFY_TEXT,
    Message.GAP_AHEAD,
    Message.DRILL_BROKEN,
}
