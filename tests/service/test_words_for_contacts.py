"""What family and neighbours read and hear: no score, no name before a tap, a link wherever they are told to look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import DESK, Stage, make_stage

from dispatch import escalation, messages
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import incidents as store
from service.store import outbox
from service.workflows import cases, sending
from service.workflows.people import Care

KST = timezone(timedelta(hours=9))
NUMBERS = {"민지": "+821055550001", "지호": "+821055550002"}
SCORE = re.compile(r"NEWS|점수|7점|score", re.IGNORECASE)


@dataclass
class Home:
    stage: Stage
    patient_id: UUID
    people: dict[str, UUID]
    incident_id: UUID

    def send(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            for future in wait(sending.send_pending(self.stage.house, "w", pool)).done:
                future.result()

    def texts(self, name: str) -> list[str]:
        return [text.body for text in self.stage.carrier.texts if text.to == NUMBERS[name]]

    def path(self, body: str) -> str:
        found = re.search(r"/r/[\w-]{43}", body)
        assert found is not None, body
        return found[0]

    def tap(self, name: str, action: str, **fields: str) -> Any:
        return self.stage.client.post(self.path(self.texts(name)[0]), data={"action": action, **fields})

    def rows(self) -> list[Any]:
        with self.stage.house.database.read() as tx:
            return list(outbox.notifications_of(tx, [self.incident_id]))

    def change(self, rule: Any) -> None:
        cases.change(self.stage.house, self.patient_id, self.incident_id, rule)
        self.send()

    def heard(self, number: str) -> str:
        """What whoever takes the call at this number hears after key 3."""
        call = next(r for r in reversed(self.rows()) if r.channel == "voice" and self.number_of(r) == number)
        form = {"CallSid": str(call.provider_id), "CallStatus": "in-progress", "To": number}
        self.stage.callback(f"/v1/telephony/twilio/answer/{call.id}", form)
        said = self.stage.callback(f"/v1/telephony/twilio/digits/{call.id}", form | {"Digits": "3"})
        assert said.status_code == 200, said.text
        return str(said.text)

    def number_of(self, row: Any) -> str:
        names = {person: NUMBERS[name] for name, person in self.people.items()}
        return DESK if row.target == "desk" else names.get(row.target_id, "")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    stage = make_stage(tmp_path)
    patient_id = stage.patient(care=Care(address="부산 우동 302호", voice_works=False))
    people = {n: stage.person("caregiver", login=n, name=n, phone=NUMBERS[n], patient_id=patient_id) for n in NUMBERS}
    stage.person("dispatcher", login="desk", name="이서연")
    now = stage.clock()
    worse = AlarmCondition(
        code="news2_high", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.HIGH, started_at=now, detected_at=now,
        params={"total": 7, "known": 5, "worst": "respiratory_rate_bpm", "age_s": 30.0},
    )  # fmt: skip

    def work(tx: Any) -> UUID:
        patient = cases.people_store.lock_patient(tx, patient_id)
        incident = cases.raise_conditions(stage.house, tx, patient, [worse], now)
        assert incident is not None
        return incident.id

    made = Home(stage, patient_id, people, stage.house.committer.run(work, key=patient_id))
    made.send()
    yield made
    stage.house.database.dispose()


def everybody_was_rung(home: Home) -> None:
    home.tap("민지", "decline")
    home.send()


# --- the score --------------------------------------------------------------------------------------


def test_family_is_told_in_plain_words_and_the_dispatcher_with_the_score(home: Home) -> None:
    taken = home.tap("민지", "acknowledge").text
    family = home.stage.logged_in("민지")[0].get(f"/patients/{home.patient_id}").text
    for page in (taken, family):
        assert "여러 생체 신호가 함께 크게 나빠졌습니다" in page
        assert SCORE.search(page) is None and "7개 항목" not in page
    desk = home.stage.logged_in("desk")[0]
    for path in ("/board", f"/incidents/{home.incident_id}"):
        assert "조기경고 점수 7점" in desk.get(path).text


def test_a_contact_hears_no_score(home: Home) -> None:
    said = home.heard(NUMBERS["민지"])
    assert "여러 생체 신호가" in said and SCORE.search(said) is None


def test_a_desk_that_pressed_its_key_hears_the_score_and_at_once_that_a_name_is_still_missing(home: Home) -> None:
    for name in NUMBERS:
        home.change(lambda i, who=home.people[name]: escalation.contact_answered(i, who, "4", home.stage.clock()))
    said = home.heard(DESK)
    assert "조기경고 점수" in said
    for line in messages.desk_taken("ko").lines:
        assert line in said
    for language, button in (("ko", "내가 맡기"), ("en", "Acknowledge")):
        words = " ".join(messages.desk_taken(language).lines)
        assert button in words and "3" not in words, "the button is named as it is on the screen"


# --- who has it -------------------------------------------------------------------------------------


def test_opening_a_link_names_no_holder_and_a_tap_does(home: Home) -> None:
    everybody_was_rung(home)
    home.tap("민지", "acknowledge")
    path = home.path(home.texts("지호")[0])
    for answer in (home.stage.client.get(path), home.stage.client.head(path)):
        assert answer.status_code == 200 and "민지" not in answer.text
    opened = home.stage.client.get(path).text
    assert 'value="show"' in opened and "누가 맡았는지" in opened
    before = [row.status for row in home.rows()]
    tapped = home.tap("지호", "show").text
    assert "민지 님이" in tapped and "김순자" not in tapped and "우동" not in tapped
    assert [row.status for row in home.rows()] == before, "to look is to take nothing"


def test_who_said_that_it_is_a_wrong_number_is_told_no_name_by_a_tap(home: Home) -> None:
    everybody_was_rung(home)
    home.tap("민지", "arrived")
    home.tap("민지", "acknowledge")
    home.change(lambda i: escalation.contact_answered(i, home.people["지호"], "9", home.stage.clock()))
    answer = home.tap("지호", "show")
    assert "민지" not in answer.text and "김순자" not in answer.text


# --- where to look ----------------------------------------------------------------------------------


def test_the_text_that_119_was_called_brings_a_link_that_shows_how_it_stands(home: Home) -> None:
    desk, csrf = home.stage.logged_in("desk")
    desk.post(f"/incidents/{home.incident_id}/acknowledge", data={"csrf": csrf})
    home.send()
    form = {"csrf": csrf, "called_at": "", "reference": "119-42"}
    form["called_at"] = home.stage.clock().astimezone(KST).strftime("%H:%M:%S")
    assert desk.post(f"/incidents/{home.incident_id}/dispatch", data=form).status_code == 303
    home.send()
    told = home.texts("민지")[-1]
    assert "119에 신고했습니다" in told and "보기: http" in told
    assert home.stage.client.get(home.path(told)).status_code == 200
    shown = home.stage.client.post(home.path(told), data={"action": "show"}).text
    assert "119 신고함" in shown and "이서연 님이" in shown
    with home.stage.house.database.read() as tx:
        assert not cases.open_case(home.stage.house, store.incident(tx, home.incident_id)).ladder.declined


def test_a_network_that_is_down_is_told_by_what_it_means(home: Home) -> None:
    silent = AlarmCondition(
        code="device_silent", kind=AlarmKind.TECHNICAL, priority=Priority.MEDIUM, started_at=home.stage.clock(),
        detected_at=home.stage.clock(), params={"age_s": 900.0, "cause": "network"},
    )  # fmt: skip
    for spoken in (False, True):
        korean = messages.reason_text(silent, "ko", home.stage.clock(), spoken=spoken)
        assert "소식이 늦고" in korean and "오래된 것일 수 있습니다" in korean
        english = messages.reason_text(silent, "en", home.stage.clock(), spoken=spoken)
        assert "reports come late and values may be old" in english
