"""What family and neighbours read and hear: plain words, and no score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import DESK, Stage, make_stage

from dispatch import messages
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import outbox
from service.workflows import cases, sending
from service.workflows.people import Care

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
