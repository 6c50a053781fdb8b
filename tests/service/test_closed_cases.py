"""A closed case is told as of its closing, whoever looks whenever, and without what was for those who went."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doors_stage import Stage, make_stage
from flask.testing import FlaskClient
from proof_stage import Played, play

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import Decision, Incident, Reason
from dispatch.regions import Going, Unit, UnitStage
from service.workflows import cases, faces, family, handover, people, proof_page, records

SILENT = {"ko": "기기 신호가 {}째 없습니다", "en": "The device has been silent for {}"}
MINUTES = {"ko": "{}분", "en": "{} minutes"}
ONLY_OPEN = {"ko": "사건이 열려 있는 동안에만", "en": "only while the incident is open"}
LASTED = {"ko": "신호부터 종료까지", "en": "from the signal to closing"}
NO_VITALS = {"ko": "받은 활력 징후가 없습니다", "en": "No vital signs have been received"}
NOT_YET = {"ko": "아직 연락하지 않음", "en": "Not rung yet"}
ADDRESS, ACCESS = "부산 해운대구 좌동로 12", "공동현관 1234#"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path / "data")
    yield made
    made.house.database.dispose()


@pytest.fixture
def played(stage: Stage, tmp_path: Path) -> Played:
    """Open still, with a silent device among its reasons, 119 followed beside it, and somebody on the way."""
    made = play(tmp_path, stage=stage, close=False)
    people._change_care(stage.house, made.patient_id, address=ADDRESS, access_note=ACCESS)
    now = stage.clock()
    stage.person("dispatcher", login="d")
    unrung = stage.person("caregiver", login="c", patient_id=made.patient_id)

    def joined(incident: Incident) -> Decision:
        changed = copy.deepcopy(incident)
        silent = AlarmCondition(
            code="device_silent",
            kind=AlarmKind.TECHNICAL,
            priority=Priority.MEDIUM,
            started_at=now,
            detected_at=now,
            params={"age_s": 300},
        )
        changed.reasons.append(Reason(condition=silent))
        contacts = changed.policy.contacts
        also = msgspec.structs.replace(contacts[0], person_id=unrung)
        changed.policy = msgspec.structs.replace(changed.policy, contacts=[*contacts, also])
        changed.unit = Unit(stage=UnitStage.EN_ROUTE)
        changed.owner_id = changed.owner_id or made.dispatcher_id
        changed.owner_role = changed.owner_role or "dispatcher"
        changed.acknowledged = True
        changed.going = Going(person_id=changed.owner_id, said_at=now, eta_at=now + timedelta(minutes=90))
        changed.there = [made.caregiver_id, made.dispatcher_id]
        changed.ask.fine_at = now
        return Decision(incident=changed)

    cases.change(stage.house, made.patient_id, made.incident_id, joined)
    stage.clock.advance(120)
    return made


def reading(played: Played, login: str, language: str) -> FlaskClient:
    client, csrf = played.stage.logged_in(login)
    assert client.post("/language", data={"lang": language, "csrf": csrf}).status_code == 303
    return client


def silent_for(language: str, minutes: int) -> str:
    return SILENT[language].format(MINUTES[language].format(minutes))


def test_the_proof_of_a_closed_case_says_the_same_whenever_whoever_reads_it(played: Played) -> None:
    played.closes()
    for minutes in (0, 8, 600):
        played.stage.clock.advance(60 * minutes)
        for login in ("d", "c"):
            for language in ("ko", "en"):
                page = reading(played, login, language).get(f"/incidents/{played.incident_id}/proof").text
                assert silent_for(language, 7) in page, (minutes, login, language)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_page_of_a_closed_case_stands_still(played: Played, language: str) -> None:
    client = reading(played, "d", language)
    assert NOT_YET[language] in client.get(f"/incidents/{played.incident_id}/body").text
    played.closes()
    first = client.get(f"/incidents/{played.incident_id}/body").text
    played.stage.clock.advance(3600)
    later = client.get(f"/incidents/{played.incident_id}/body").text
    assert first == later
    assert silent_for(language, 7) in later
    assert LASTED[language] in later
    assert NOT_YET[language] not in later
    assert not re.search(r"data-(clock|ago|until)", later)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_nobody_is_on_the_way_or_there_in_a_closed_case(played: Played, language: str) -> None:
    def shown() -> dict[str, Any]:
        return faces.incident(
            played.stage.house, played.incident_id, played.dispatcher_id, language, with_vitals=False
        )  # fmt: skip

    before = shown()
    assert before["unit"]
    assert before["going"]
    assert before["fine_text"]
    assert before["there_names"]
    played.closes()
    after = shown()
    told = [after[name] for name in ("unit", "going", "fine_text", "deadline_at", "next_step_text")]
    assert told == [None] * 5
    assert (after["there_names"], after["safe_names"], after["call_list"]) == ([], [], [])
    assert not [c for c in after["contacts"] if c["part"] or c["broken"] or c["standing"]]


def test_the_record_for_machines_counts_no_further_than_the_closing(played: Played) -> None:
    open_age = records.incident(played.stage.house, played.incident_id, "en").reasons[-1].age_s
    assert open_age == 300 + 120
    played.closes()
    first = records.incident(played.stage.house, played.incident_id, "en").reasons
    played.stage.clock.advance(3600)
    assert records.incident(played.stage.house, played.incident_id, "en").reasons == first
    assert first[-1].age_s == open_age
    assert first[-1].text.startswith(silent_for("en", 7))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_address_way_in_and_vitals_are_shown_only_while_the_case_is_open(played: Played, language: str) -> None:
    client, key = reading(played, "d", language), played.stage.key("incidents:read")
    path = f"/incidents/{played.incident_id}"
    doors = [path, f"{path}/body", f"{path}/handover", f"/v1{path}/eido", f"/v1{path}"]

    def seen() -> str:
        answers = [client.get(door, headers=key if door.startswith("/v1") else {}) for door in doors]
        assert [one.status_code for one in answers] == [200] * len(doors)
        return "".join(one.text for one in answers)

    for plain in (ADDRESS, ACCESS):
        assert plain in seen()
    assert ONLY_OPEN[language] not in seen()
    played.closes()
    after = seen()
    for plain in (ADDRESS, ACCESS, NO_VITALS[language]):
        assert plain not in after, plain
    assert ONLY_OPEN[language] in after


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_hand_over_page_of_a_closed_case_has_nothing_to_read_to_119_and_no_clock(
    played: Played, language: str
) -> None:
    house = played.stage.house
    open_face = handover.face(house, played.incident_id, played.dispatcher_id, language, open_case=True)
    assert open_face["script"]
    played.closes()
    played.stage.clock.advance(3600)
    face = handover.face(house, played.incident_id, played.dispatcher_id, language, open_case=False)
    assert face["script"] == []
    told = next(f.text for f in face["record"].findings if f.code == "device_silent")
    assert told.startswith(silent_for(language, 7))
    page = reading(played, "d", language).get(f"/incidents/{played.incident_id}/handover/body").text
    assert not re.search(r"data-(clock|ago|until)", page)


def test_the_familys_history_tells_a_sign_that_ended_before_the_closing_as_it_ended(played: Played) -> None:
    def ended(incident: Incident) -> Decision:
        changed = copy.deepcopy(incident)
        changed.reasons.reverse()
        changed.reasons[0].ended_at = played.stage.clock() - timedelta(seconds=60)
        return Decision(incident=changed)

    cases.change(played.stage.house, played.patient_id, played.incident_id, ended)
    played.stage.clock.advance(600)
    played.closes()
    [past] = family.patient(played.stage.house, played.patient_id, "en")["history"]
    assert past["reason"].startswith(silent_for("en", 6))


def test_an_open_case_still_counts(played: Played) -> None:
    for minutes in (7, 8):
        [*_, told] = proof_page.face(played.stage.house, played.incident_id, "en", full=True)["reasons"]
        assert told.startswith(silent_for("en", minutes))
        played.stage.clock.advance(60)
