"""Signed links: opening one says and does nothing, a tap takes the case, and nobody can make or keep one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import Stage, make_stage
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import audit, outbox
from service.store import incidents as store
from service.workflows import cases, links, sending
from service.workflows.people import Care, open_care

ADDRESS = "부산 해운대구 우동 행복빌라 302호"
SECRETS = ("김순자", ADDRESS, "행복빌라", "도움 버튼")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


def home(stage: Stage, *numbers: str) -> tuple[UUID, list[UUID]]:
    # Who cannot be asked by telephone: these stories are about the contacts' messages alone.
    patient_id = stage.patient(care=Care(address=ADDRESS, access_note="현관 비밀번호 1234", voice_works=False))
    people = [
        stage.person("caregiver", patient_id=patient_id, phone=n, name=f"보호자{i}") for i, n in enumerate(numbers)
    ]
    return patient_id, people


def cry(stage: Stage, patient_id: UUID) -> UUID:
    now = stage.clock()
    sos = AlarmCondition(
        code="sos", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.HIGH, grave=True, started_at=now, detected_at=now
    )

    def work(tx: Any) -> UUID:
        patient = cases.people_store.lock_patient(tx, patient_id)
        incident = cases.raise_conditions(stage.house, tx, patient, [sos], now)
        assert incident is not None
        return incident.id

    found: UUID = stage.house.committer.run(work, key=patient_id)
    send(stage)
    return found


def send(stage: Stage) -> None:
    with ThreadPoolExecutor(2) as pool:
        for future in wait(sending.send_pending(stage.house, "w", pool)).done:
            future.result()


def link_to(stage: Stage, number: str) -> str:
    [body] = [text.body for text in stage.carrier.texts if text.to == number][:1]
    found = re.search(r"/r/[\w-]{43}", body)
    assert found is not None, body
    return found[0]


def case(stage: Stage, incident_id: UUID) -> Any:
    with stage.house.database.read() as tx:
        return cases.open_case(stage.house, store.incident(tx, incident_id))


def log_of(stage: Stage, incident_id: UUID) -> list[str]:
    record = stage.client.get(f"/v1/incidents/{incident_id}?language=en", headers=stage.key("incidents:read")).json
    return [line["text"] for line in record["log"]]


@pytest.mark.parametrize("method", ["get", "head"])
def test_opening_or_previewing_a_link_says_nothing_and_takes_nothing(stage: Stage, method: str) -> None:
    patient_id, [_] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    answer = getattr(stage.client, method)(link_to(stage, "+821055550001"))
    assert answer.status_code == 200
    assert not [word for word in SECRETS if word in answer.text]
    assert not case(stage, incident_id).acknowledged
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_tap_takes_it_like_key_three_and_then_tells_whom_why_and_where(stage: Stage) -> None:
    patient_id, [person_id] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    answer = stage.client.post(link_to(stage, "+821055550001"), data={"action": "acknowledge"})
    assert answer.status_code == 200
    assert all(word in answer.text for word in SECRETS)
    held = case(stage, incident_id)
    assert (held.acknowledged, held.owner_id, held.owner_role) == (True, person_id, "caregiver")
    with stage.house.database.read() as tx:
        [look] = [row for row in audit.accesses(tx, patient_id) if row.purpose == "link"]
    assert (look.viewer_id, look.incident_id) == (person_id, incident_id)


def test_the_same_tap_again_shows_it_again_and_changes_nothing(stage: Stage) -> None:
    patient_id, [_] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    path = link_to(stage, "+821055550001")
    first = stage.client.post(path, data={"action": "acknowledge"})
    before = stage.rows("SELECT version FROM incident")
    again = stage.client.post(path, data={"action": "acknowledge"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert "김순자" in again.text
    assert stage.rows("SELECT version FROM incident") == before
    assert case(stage, incident_id).acknowledged


def test_going_arrived_and_safe_follow_by_the_same_link(stage: Stage) -> None:
    patient_id, [person_id] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    path = link_to(stage, "+821055550001")
    going = stage.client.post(path, data={"action": "going", "eta_min": "20"})
    assert going.status_code == 200
    held = case(stage, incident_id)
    assert held.owner_id == person_id
    assert (held.going.eta_at - stage.clock()).total_seconds() == 1200
    assert stage.client.post(path, data={"action": "arrived"}).status_code == 200
    assert case(stage, incident_id).state == "at_patient"
    safe = stage.client.post(path, data={"action": "safe"})
    assert safe.status_code == 200
    assert case(stage, incident_id).state == "closed"
    assert stage.client.get(path).status_code == 410


def test_the_second_to_tap_sees_that_it_is_taken_and_no_address(stage: Stage) -> None:
    patient_id, [first, _] = home(stage, "+821055550001", "+821055550002")
    incident_id = cry(stage, patient_id)
    stage.client.post(link_to(stage, "+821055550001"), data={"action": "decline"})
    send(stage)
    other = link_to(stage, "+821055550002")
    assert stage.client.post(link_to(stage, "+821055550001"), data={"action": "acknowledge"}).status_code == 200
    late = stage.client.post(other, data={"action": "acknowledge"})
    assert late.status_code == 409
    assert "보호자0" in late.text
    assert ADDRESS not in late.text
    assert "김순자" not in late.text
    assert case(stage, incident_id).owner_id == first


def test_who_came_too_is_not_told_that_there_is_nothing_to_do_and_can_ring_119(stage: Stage) -> None:
    patient_id, _ = home(stage, "+821055550001", "+821055550002")
    cry(stage, patient_id)
    first = link_to(stage, "+821055550001")
    stage.client.post(first, data={"action": "decline"})
    send(stage)
    second = link_to(stage, "+821055550002")
    for action in ("acknowledge", "arrived"):
        assert stage.client.post(first, data={"action": action}).status_code == 200
    before = stage.client.post(second, data={"action": "show"})
    assert "지금 하실 일은 없습니다" in before.text and "tel:119" not in before.text
    came = stage.client.post(second, data={"action": "arrived"})
    assert came.status_code == 200
    assert "맡은 분도 알고 있습니다" in came.text and "지금 하실 일은 없습니다" not in came.text
    assert "tel:119" in came.text


@pytest.mark.parametrize("fields", [{}, {"action": ""}, {"action": "junk"}, {"x": "y"}])
def test_a_post_that_is_no_action_says_no_name_and_writes_nothing(stage: Stage, fields: dict[str, str]) -> None:
    patient_id, [first, _] = home(stage, "+821055550001", "+821055550002")
    incident_id = cry(stage, patient_id)
    stage.client.post(link_to(stage, "+821055550001"), data={"action": "decline"})
    send(stage)
    stage.client.post(link_to(stage, "+821055550001"), data={"action": "acknowledge"})
    before, written = case(stage, incident_id), log_of(stage, incident_id)
    for number in ("+821055550001", "+821055550002"):
        answer = stage.client.post(link_to(stage, number), data=fields)
        assert answer.status_code == 400
        assert not [word for word in (*SECRETS, "보호자0") if word in answer.text]
    assert case(stage, incident_id) == before and before.owner_id == first
    assert log_of(stage, incident_id) == written


def test_declining_what_another_has_says_that_somebody_has_it_and_that_it_was_noted(stage: Stage) -> None:
    patient_id, [first, _] = home(stage, "+821055550001", "+821055550002")
    incident_id = cry(stage, patient_id)
    stage.client.post(link_to(stage, "+821055550001"), data={"action": "decline"})
    send(stage)
    stage.client.post(link_to(stage, "+821055550001"), data={"action": "acknowledge"})
    answer = stage.client.post(link_to(stage, "+821055550002"), data={"action": "decline"})
    assert answer.status_code == 200 and "이미 맡은 분이 있습니다. 어렵다고 하신 것은 적어 두었습니다" in answer.text
    assert case(stage, incident_id).owner_id == first
    assert "보호자1 cannot take it; 보호자0 has it already" in log_of(stage, incident_id)


def test_declining_rings_the_next_and_can_be_taken_back(stage: Stage) -> None:
    patient_id, [first, _] = home(stage, "+821055550001", "+821055550002")
    incident_id = cry(stage, patient_id)
    path = link_to(stage, "+821055550001")
    assert stage.client.post(path, data={"action": "decline"}).status_code == 200
    send(stage)
    assert [call.to for call in stage.carrier.calls] == ["+821055550001", "+821055550002"]
    assert stage.client.post(path, data={"action": "acknowledge"}).status_code == 200
    assert case(stage, incident_id).owner_id == first


@pytest.mark.parametrize("what", ["closed", "a day old", "a caregiver no more"])
def test_a_link_ends_with_its_case_its_day_and_the_bond(stage: Stage, what: str) -> None:
    patient_id, [person_id] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    path = link_to(stage, "+821055550001")
    if what == "closed":
        stage.client.post(path, data={"action": "arrived"})
        stage.client.post(path, data={"action": "safe"})
    elif what == "a day old":
        stage.clock.advance(86_401)
    else:
        with stage.house.database.write() as tx:
            tx.conn.exec_driver_sql("UPDATE membership SET ended_at = 1 WHERE person_id = ?", (person_id.hex,))
    for answer in (stage.client.get(path), stage.client.post(path, data={"action": "acknowledge"})):
        assert answer.status_code == 410
        assert not [word for word in SECRETS if word in answer.text]
    if what != "closed":
        assert not case(stage, incident_id).acknowledged


def test_a_link_for_one_person_is_not_one_for_another(stage: Stage) -> None:
    patient_id, [first, second] = home(stage, "+821055550001", "+821055550002")
    cry(stage, patient_id)
    [row] = [r for r in rows_of(stage, patient_id) if r.channel == "text" and r.target_id == first]
    with stage.house.database.read() as tx:
        assert links.read(stage.house, tx, links.token(stage.house, row.id, first)) is not None
        assert links.read(stage.house, tx, links.token(stage.house, row.id, second)) is None
        assert links.read(stage.house, tx, links.token(stage.house, uuid4(), first)) is None


def rows_of(stage: Stage, patient_id: UUID) -> list[Any]:
    with stage.house.database.read() as tx:
        open_one = store.open_incident_of(tx, patient_id)
        assert open_one is not None
        return list(outbox.notifications_of(tx, [open_one.id]))


def test_no_altered_link_works(stage: Stage) -> None:
    patient_id, [_] = home(stage, "+821055550001")
    incident_id = cry(stage, patient_id)
    token = link_to(stage, "+821055550001").removeprefix("/r/")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    @given(st.integers(0, 42), st.sampled_from(letters))
    @settings(max_examples=60, deadline=None)
    def altered(place: int, letter: str) -> None:
        other = token[:place] + letter + token[place + 1 :]
        if other != token:
            answer = stage.client.post(f"/r/{other}", data={"action": "acknowledge"})
            assert answer.status_code == 410

    altered()
    for nonsense in ("x", "", "a" * 43, "a" * 500, token + "A", token[:-1], "%00" * 20, "가" * 43):
        assert stage.client.get(f"/r/{nonsense}").status_code in {404, 410}
    assert not case(stage, incident_id).acknowledged


def test_the_page_speaks_the_persons_language_whatever_the_browser_asks_for(stage: Stage) -> None:
    patient_id, [person_id] = home(stage, "+821055550001")
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE person SET language = 'en' WHERE id = ?", (person_id.hex,))
    cry(stage, patient_id)
    page = stage.client.get(link_to(stage, "+821055550001"), headers={"Accept-Language": "ko"})
    assert 'lang="en"' in page.text
    assert "I&#39;ll take it" in page.text or "I'll take it" in page.text


def test_the_desk_and_the_person_get_no_link(stage: Stage) -> None:
    patient_id, [_] = home(stage, "+821055550001")
    cry(stage, patient_id)
    with stage.house.database.read() as tx:
        assert open_care(stage.house, cases.people_store.patient(tx, patient_id)).address == ADDRESS
    for row in rows_of(stage, patient_id):
        if row.target != "contact":
            with stage.house.database.read() as tx:
                assert links.read(stage.house, tx, links.token(stage.house, row.id, row.target_id)) is None


def test_the_watch_that_went_wrong_does_not_lock_anybody_out(stage: Stage) -> None:
    patient_id, [_] = home(stage, "+821055550001")
    cry(stage, patient_id)
    path = link_to(stage, "+821055550001")
    stage.clock.advance(-3600)
    assert stage.client.post(path, data={"action": "acknowledge"}).status_code == 200


def test_a_code_is_four_digits_and_belongs_to_one_message(stage: Stage) -> None:
    codes = {links.code(stage.house, uuid4()) for _ in range(200)}
    assert all(re.fullmatch(r"[1-9]\d{3}", one) for one in codes)
    assert len(codes) > 150
