"""The forms of an incident's page: what was refused comes back with what was chosen in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from doors_stage import Stage, make_stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import incidents as incident_store
from service.workflows import cases
from service.workflows.people import Care


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    made.person("dispatcher", login="desk", name="이서연")
    yield made
    made.house.database.dispose()


def raised(stage: Stage, code: str) -> UUID:
    patient_id, now = stage.patient(care=Care(voice_works=False)), stage.clock()
    condition = AlarmCondition(
        code=code, kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.HIGH, grave=True, started_at=now, detected_at=now
    )

    def work(tx: Any) -> UUID:
        patient = cases.people_store.lock_patient(tx, patient_id)
        incident = cases.raise_conditions(stage.house, tx, patient, [condition], now)
        assert incident is not None
        return incident.id

    found: UUID = stage.house.committer.run(work, key=patient_id)
    return found


@pytest.mark.parametrize("action", ["close", "stand_down"])
def test_the_reason_that_was_chosen_is_still_chosen_when_the_tick_is_asked_for(stage: Stage, action: str) -> None:
    incident_id = raised(stage, "sos")
    desk, csrf = stage.logged_in("desk")
    desk.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
    chosen = {"csrf": csrf, "reason": "false_alarm_person"}
    again = desk.post(f"/incidents/{incident_id}/{action}", data=chosen)
    assert again.status_code == 409
    [form] = re.findall(rf'<details name="act" id="d-{action}" open>.*?</details>', again.text, re.DOTALL)
    assert re.findall(r'<option value="(\w*)" selected>', form) == ["false_alarm_person"]
    assert '<input type="checkbox" name="sure" value="yes" required>' in form
    assert again.text.count(" selected>") == 1 and again.text.count('name="act"') > again.text.count('" open>') == 1
    assert desk.post(f"/incidents/{incident_id}/{action}", data=chosen | {"sure": "yes"}).status_code == 303


def test_a_page_opened_before_the_button_is_told_to_show_the_tick(stage: Stage) -> None:
    incident_id = raised(stage, "fall_still")
    desk, csrf = stage.logged_in("desk")
    page = desk.get(f"/incidents/{incident_id}").text
    assert '<div data-sure hidden>' in page and 'value="yes" disabled>' in page
    cry = raised(stage, "sos")
    said = desk.post(
        f"/incidents/{cry}/close", data={"csrf": csrf, "reason": "test"}, headers={"X-Ansim": "fragment"}
    )
    assert (said.status_code, said.json["sure"]) == (409, True)
    assert "answer.sure" in desk.get("/assets/forms.js").text


def test_a_time_that_cannot_be_read_costs_nobody_the_reference(stage: Stage) -> None:
    incident_id = raised(stage, "sos")
    desk, csrf = stage.logged_in("desk")
    desk.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
    typed = {"csrf": csrf, "called_at": "half past", "reference": '119-42 "a"'}
    again = desk.post(f"/incidents/{incident_id}/dispatch", data=typed)
    assert again.status_code == 409
    [form] = re.findall(r'<details name="act" id="d-dispatch" open>.*?</details>', again.text, re.DOTALL)
    assert 'value="half past"' in form and "data-now" not in form
    assert 'value="119-42 &#34;a&#34;"' in form


def test_clocks_on_pages_are_those_of_the_place_where_it_runs(tmp_path: Path) -> None:
    stage, zone = make_stage(tmp_path, ANSIM_TIME_ZONE="Pacific/Auckland"), ZoneInfo("Pacific/Auckland")
    stage.person("dispatcher", login="desk", name="이서연")
    incident_id = raised(stage, "sos")
    desk, csrf = stage.logged_in("desk")
    page = desk.get(f"/incidents/{incident_id}").text
    assert '<meta name="time-zone" content="Pacific/Auckland">' in page
    assert f"{stage.clock().astimezone(zone):%H:%M:%S}" in page
    stage.clock.advance(180)
    desk.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
    called_at = stage.clock().astimezone(zone).replace(microsecond=0) - timedelta(seconds=90)
    typed = {"csrf": csrf, "called_at": f"{called_at:%H:%M:%S}", "reference": "119-42"}
    assert desk.post(f"/incidents/{incident_id}/dispatch", data=typed).status_code == 303
    with stage.house.database.read() as tx:
        case = cases.open_case(stage.house, incident_store.incident(tx, incident_id))
    assert case.times["unit_notified_at"] == called_at
    stage.house.database.dispose()
