"""The desk's own daily drill: a test call that a key confirms, and red where nobody did for over 26 hours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from doors_stage import DESK, Stage, make_stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import people as people_store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import cases, desk_test, faces, health, site

TWO = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
"""Two in the afternoon in Seoul."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Not a demonstration."""
    made = make_stage(tmp_path, ANSIM_DEMO="no")
    made.clock.now = TWO
    yield made
    made.house.database.dispose()


def ticks(stage: Stage) -> int:
    return desk_test.tick(stage.house)


def rings(stage: Stage, kind: str, **form: str) -> str:
    call = stage.carrier.calls[-1]
    answer = stage.callback(f"/v1/telephony/twilio/{kind}/{call.reference}", {"CallSid": "CA1", "To": DESK} | form)
    assert answer.status_code in {200, 204}, answer.text
    return answer.text


def late(stage: Stage) -> bool:
    with stage.house.database.read() as tx:
        return desk_test.late(stage.house, tx, stage.clock())


def sos(stage: Stage) -> None:
    patient_id, now = stage.patient(), stage.clock()
    grave = AlarmCondition(
        code="sos", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.HIGH, grave=True, started_at=now, detected_at=now
    )

    def work(tx: Tx) -> None:
        patient = people_store.lock_patient(tx, patient_id)
        assert patient is not None
        cases.raise_conditions(stage.house, tx, patient, [grave], now)

    stage.house.committer.run(work, key=patient_id)


def test_the_desk_is_rung_once_a_day_with_a_neutral_test_and_a_key_confirms(stage: Stage) -> None:
    stage.clock.now = TWO - timedelta(minutes=1)
    assert ticks(stage) == 0, "not before its hour"
    stage.clock.now = TWO
    assert (ticks(stage), ticks(stage)) == (1, 0)
    [call] = stage.carrier.calls
    assert call.to == DESK
    heard = rings(stage, "answer", CallStatus="in-progress")
    assert "시험 전화" in heard and "실제 상황이 아닙니다" in heard and "Gather" in heard
    assert "1번을 누르셨습니다" in rings(stage, "digits", Digits="1")
    assert not late(stage)
    for hours in (1, 3, 20):
        stage.clock.now = TWO + timedelta(hours=hours)
        assert ticks(stage) == 0
    stage.clock.now = TWO + timedelta(days=1)
    assert ticks(stage) == 1


def test_a_desk_that_does_not_answer_is_tried_four_times_and_shows_red_after_26_hours(stage: Stage) -> None:
    stage.clock.now = TWO - timedelta(hours=1)
    site.note_fallback_verified(stage.house)
    assert health.details(stage.house)["desk"] == "ok"
    for minutes in range(0, 12 * 60, 5):
        stage.clock.now = TWO + timedelta(minutes=minutes)
        ticks(stage)
    assert len(stage.carrier.calls) == 4, "half an hour apart, and then not before tomorrow"
    stage.clock.now = TWO + timedelta(hours=25, seconds=1)
    assert late(stage)
    assert "ANSIM_FALLBACK_NUMBER" in health.details(stage.house)["desk"]
    assert health.measures(stage.house)["ansim_desk_unproven"][1] == 1.0
    stage.person("dispatcher", login="d")
    client, _ = stage.logged_in("d")
    assert "26시간 넘게" in client.get("/board").text
    site.note_fallback_verified(stage.house)
    assert "26시간 넘게" not in client.get("/board").text


@pytest.mark.parametrize("how", ["voicemail", "no key", "other key"])
def test_nothing_but_the_asked_key_proves_the_desk(stage: Stage, how: str) -> None:
    ticks(stage)
    if how == "voicemail":
        heard = rings(stage, "answer", CallStatus="in-progress", AnsweredBy="machine_start")
        assert "시험" not in heard
    elif how == "no key":
        assert "Gather" in rings(stage, "answer", CallStatus="in-progress")
        rings(stage, "digits", Digits="")
    else:
        assert "나중에 다시" in rings(stage, "digits", Digits="7")
    rings(stage, "status", CallStatus="completed")
    assert late(stage)


def test_the_test_gives_way_to_real_incidents(stage: Stage) -> None:
    ticks(stage)
    sos(stage)
    heard = rings(stage, "answer", CallStatus="in-progress")
    assert "끊고 다음 전화를" in heard and "Gather" not in heard
    stage.clock.now += timedelta(hours=1)
    assert ticks(stage) == 0, "while a case is open the desk's telephone is for that"


def test_a_call_that_is_no_test_proves_nothing(stage: Stage) -> None:
    ticks(stage)
    answer = stage.callback(f"/v1/telephony/twilio/digits/{uuid4()}", {"CallSid": "CA1", "Digits": "1"})
    assert re.search("시험", answer.text) is None
    assert late(stage)


def test_two_workers_place_one_call_and_a_demonstration_places_none(stage: Stage, tmp_path: Path) -> None:
    with stage.house.database.read() as tx:
        before = site_store.fact(tx, desk_test.TRIED)
    assert before is None and (ticks(stage), ticks(stage)) == (1, 0)
    with stage.house.database.write() as tx:
        assert not site_store.turn(tx, desk_test.TRIED, "", "mine 1", stage.clock())
    demo = make_stage(tmp_path / "demo")
    demo.clock.now = TWO
    assert desk_test.tick(demo.house) == 0
    assert faces.board(demo.house, demo.organisation_id, demo.organisation_id, "en")["desk_unproven"] is False
    demo.house.database.dispose()


def test_a_key_of_the_desk_in_a_real_call_proves_it_too(stage: Stage) -> None:
    assert late(stage)
    desk_test.answered(stage.house)
    assert not late(stage)
    assert ticks(stage) == 0, "today it was proven already"
