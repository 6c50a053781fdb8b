"""Who is there, who comes too and who may end it: by signed links, on pages and for machines, said as it happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import Stage, assert_problem, make_stage
from werkzeug.test import TestResponse

from service.store import incidents as store
from service.workflows import cases, sending

NUMBERS = {"민지": "+821055550001", "지호": "+821055550002", "소라": "+821055550003"}


@dataclass
class Home:
    """A person who pressed the help button, and three contacts with log-ins."""

    stage: Stage
    people: dict[str, UUID]
    patient_id: UUID
    incident_id: UUID

    @property
    def case(self) -> Any:
        with self.stage.house.database.read() as tx:
            return cases.open_case(self.stage.house, store.incident(tx, self.incident_id))

    def log(self) -> list[str]:
        key = self.stage.key("incidents:read")
        record = self.stage.client.get(f"/v1/incidents/{self.incident_id}?language=ko", headers=key).json
        return [line["text"] for line in record["log"]]

    def send(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            for future in wait(sending.send_pending(self.stage.house, "w", pool)).done:
                future.result()

    def link(self, name: str, action: str, **fields: str) -> TestResponse:
        found = [re.search(r"/r/[\w-]{43}", text.body) for text in self.stage.carrier.texts if text.to == NUMBERS[name]]
        path = next(match[0] for match in found if match)
        return self.stage.client.post(path, data={"action": action, **fields})

    def page(self, name: str, action: str, *, fragment: bool = False, **fields: str) -> TestResponse:
        browser, csrf = self.stage.logged_in(name)
        path = f"/patients/{self.patient_id}/case/{self.incident_id}/{action}"
        headers = {"X-Ansim": "fragment"} if fragment else {}
        return browser.post(path, data={"csrf": csrf, **fields}, headers=headers)

    def api(self, name: str, action: str, **body: str) -> TestResponse:
        browser, csrf = self.stage.logged_in(name)
        path = f"/v1/incidents/{self.incident_id}/{action}"
        return browser.post(path, json=body, headers={"X-CSRF-Token": csrf})

    def shown(self, name: str) -> str:
        browser, _ = self.stage.logged_in(name)
        return browser.get(f"/patients/{self.patient_id}").text

    def desk(self, action: str, **body: str | bool) -> TestResponse:
        key = self.stage.key("incidents:write", "incidents:read")
        return self.stage.client.post(f"/v1/incidents/{self.incident_id}/{action}", json=body, headers=key)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    stage = make_stage(tmp_path)
    patient_id = stage.patient()
    contacts = {
        name: stage.person("caregiver", login=name, patient_id=patient_id, phone=number, name=name)
        for name, number in NUMBERS.items()
    }
    band = stage.band(patient_id)
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    with stage.house.database.read() as tx:
        incident = store.open_incident_of(tx, patient_id)
    assert incident is not None
    made = Home(stage, contacts, patient_id, incident.id)
    made.send()
    yield made
    stage.house.database.dispose()


def rung_too(home: Home) -> None:
    """Minji was rung and takes it with a time; Jiho was rung beside her."""
    home.link("민지", "decline")
    home.send()
    assert home.link("지호", "going", eta_min="20").status_code == 200


def test_who_declined_cannot_close_somebodys_cry_by_two_taps(home: Home) -> None:
    rung_too(home)
    arrived = home.link("민지", "arrived")
    assert arrived.status_code == 200 and "맡은 분은 그대로입니다" in arrived.text
    safe = home.link("민지", "safe")
    assert safe.status_code == 200 and "확인하면 마칩니다" in safe.text
    case = home.case
    assert (case.state, case.owner_id) == ("confirmed", home.people["지호"])
    assert "김순자" not in arrived.text + safe.text


def test_who_declined_and_finds_nobody_has_it_is_told_to_take_it_first(home: Home) -> None:
    home.link("민지", "decline")
    answer = home.link("민지", "arrived")
    assert answer.status_code == 409 and "먼저 맡은 다음" in answer.text
    assert not home.case.acknowledged
    assert_problem(home.api("민지", "arrived"), 409, "take_first")


def test_who_got_there_first_asks_the_one_on_the_way_who_ends_it_by_their_link(home: Home) -> None:
    home.link("민지", "going", eta_min="20")
    assert home.page("지호", "arrived").status_code == 303
    assert home.case.owner_id == home.people["지호"]
    asked = home.page("지호", "safe")
    assert asked.status_code == 202 and "앞서 맡은 분이나 관제센터가 확인하면" in asked.text
    assert home.case.open
    home.send()
    [text] = [t.body for t in home.stage.carrier.texts if t.to == NUMBERS["민지"] and "무사하다고" in t.body]
    assert "지호" not in text and "/r/" in text
    shown = home.link("민지", "show").text
    assert "지호 님이 무사하다고 합니다" in shown and "네, 무사해요" in shown
    closed = home.link("민지", "safe")
    assert closed.status_code == 200 and home.case.close_reason == "patient_fine"


def test_the_others_are_not_told_that_the_one_who_took_it_arrived_when_it_was_another(home: Home) -> None:
    home.link("민지", "going", eta_min="20")
    home.page("지호", "arrived")
    home.send()
    bodies = [t.body for t in home.stage.carrier.texts if t.to == NUMBERS["민지"]]
    assert any("다른 분이 먼저 도착" in body for body in bodies)
    assert not any("맡은 분이 도착" in body for body in bodies)
    assert "이미 지호 님이 맡았습니다" in home.link("민지", "show").text


def test_all_is_well_from_afar_is_answered_with_what_happened(home: Home) -> None:
    home.link("민지", "acknowledge")
    by_link, by_page = home.link("민지", "safe"), home.page("민지", "safe", fragment=True)
    by_api = home.api("민지", "safe")
    assert by_link.status_code == 200 and "아직 마치지 않았고" in by_link.text
    assert (by_page.status_code, by_api.status_code) == (202, 202)
    assert "아직 마치지 않았고" in by_page.get_json()["message"]
    assert by_api.get_json()["noted"] == "safe_noted"
    assert home.case.open
    assert any("적어만 두었고 관제센터가 판단합니다" in line for line in home.log())


def test_arriving_while_a_dispatcher_has_it_is_answered_with_what_happened(home: Home) -> None:
    home.desk("acknowledge")
    by_link = home.link("민지", "arrived")
    assert "관제센터가 맡고 있으며" in by_link.text
    assert home.api("지호", "arrived").get_json()["noted"] == "arrived_by_dispatcher"
    assert home.api("지호", "safe").get_json()["noted"] == "safe_by_dispatcher"
    case = home.case
    assert (case.state, case.owner_role) == ("at_patient", "dispatcher")
    assert "지호 님도 곁에 있다고 합니다" in home.shown("소라")


def test_119_is_recorded_beside_somebody_who_is_there_and_followed_on_every_page(home: Home) -> None:
    home.link("민지", "acknowledge")
    home.link("민지", "arrived")
    answer = home.desk("dispatch", reference="119-7")
    assert answer.status_code == 200, answer.text
    assert (answer.json["state"], answer.json["unit_stage"]) == ("at_patient", "called")
    assert home.desk("progress", state="en_route").json["unit_stage"] == "en_route"
    home.stage.person("dispatcher", login="desk")
    browser, csrf = home.stage.logged_in("desk")
    page = browser.get(f"/incidents/{home.incident_id}").text
    assert "대상자와 함께 있음" in page and "119 출동 중" in page and "119 현장 도착" in page
    assert "119 출동 중" in browser.get("/board").text
    assert "119 출동 중" in home.shown("민지")
    sent = browser.post(f"/incidents/{home.incident_id}/progress", data={"csrf": csrf, "state": "at_patient"})
    assert sent.status_code == 303 and home.case.unit.stage == "with_patient"
    assert any("119가 곁에 있음" in line for line in home.log())


def test_who_is_there_says_by_link_or_page_that_they_called_119(home: Home) -> None:
    assert home.link("민지", "called_119").status_code == 409
    home.link("민지", "acknowledge")
    assert "119에 신고했어요" in home.link("민지", "arrived").text
    answer = home.link("민지", "called_119", reference="박 소방교")
    assert answer.status_code == 200 and "119 신고함" in answer.text and "119에 신고했어요" not in answer.text
    case = home.case
    assert (case.state, case.external_reference, case.owner_id) == ("at_patient", "박 소방교", home.people["민지"])
    assert home.page("지호", "called_119", fragment=True).status_code == 409
    assert_problem(home.api("민지", "called_119", reference="x" * 101), 422, "field_invalid")


def test_a_cry_that_nobody_spoke_about_is_closed_on_the_page_only_after_a_second_look(home: Home) -> None:
    home.stage.person("dispatcher", login="desk")
    browser, csrf = home.stage.logged_in("desk")
    for action in ("close", "stand_down"):
        answer = browser.post(f"/incidents/{home.incident_id}/{action}", data={"csrf": csrf, "reason": "test"})
        assert answer.status_code == 409 and "아직 아무도 본인과 이야기하거나" in answer.text
        assert home.case.open and not home.case.settle_at
    assert "<div data-sure>" in browser.get(f"/incidents/{home.incident_id}").text
    data = {"csrf": csrf, "reason": "false_alarm_person", "sure": "yes"}
    assert browser.post(f"/incidents/{home.incident_id}/close", data=data).status_code == 303
    assert not home.case.open


def test_a_cry_that_somebody_went_to_is_closed_as_ever(home: Home) -> None:
    home.link("민지", "acknowledge")
    home.link("민지", "arrived")
    home.stage.person("dispatcher", login="desk")
    browser, csrf = home.stage.logged_in("desk")
    assert "<div data-sure hidden>" in browser.get(f"/incidents/{home.incident_id}").text
    answer = browser.post(f"/incidents/{home.incident_id}/close", data={"csrf": csrf, "reason": "needed_help"})
    assert answer.status_code == 303 and not home.case.open


def test_a_machine_closes_with_its_reason_as_the_contract_says(home: Home) -> None:
    assert home.desk("close", reason="test").status_code == 200
    assert any("본인과 이야기하거나 곁에 간 사람이 확인되지 않은 채 마침" in line for line in home.log())


@pytest.mark.parametrize("action", ["close", "stand_down"])
def test_a_machine_that_is_not_sure_is_told_that_nobody_spoke_before_it_ends_a_cry(home: Home, action: str) -> None:
    key = home.stage.key("incidents:read")
    record = home.stage.client.get(f"/v1/incidents/{home.incident_id}", headers=key).json
    assert record["doubts"] == ["unspoken"]
    refused = home.desk(action, reason="test", sure=False)
    assert_problem(refused, 422, "unspoken")
    assert refused.json["field"] == "sure" and "nobody has spoken with the person" in refused.json["detail"]
    assert home.case.open and not home.case.settle_at
    assert home.desk(action, reason="test", sure=True).status_code == 200


def test_a_case_with_a_unit_under_way_beside_somebody_is_closed_only_after_a_second_look(home: Home) -> None:
    home.link("민지", "acknowledge")
    home.link("민지", "arrived")
    home.desk("dispatch", reference="119-7")
    home.stage.person("dispatcher", login="desk")
    browser, csrf = home.stage.logged_in("desk")
    page = browser.get(f"/incidents/{home.incident_id}").text
    assert "119가 아직 대상자에게 가는 중입니다" in page and "아직 아무도 본인과" not in page
    refused = browser.post(f"/incidents/{home.incident_id}/close", data={"csrf": csrf, "reason": "needed_help"})
    assert refused.status_code == 409 and "119가 아직 대상자에게 가는 중입니다" in refused.text and home.case.open
    assert_problem(home.desk("close", reason="needed_help", sure=False), 422, "unit_under_way")
    data = {"csrf": csrf, "reason": "needed_help", "sure": "yes"}
    assert browser.post(f"/incidents/{home.incident_id}/close", data=data).status_code == 303
    assert not home.case.open
    assert any("119가 아직 가는 중인데 마침" in line for line in home.log())


@pytest.mark.parametrize("state", [None, "en_route"])
def test_a_case_whose_unit_is_on_its_way_to_nobody_else_is_called_off_only_after_a_second_look(
    home: Home, state: str | None
) -> None:
    home.desk("dispatch", reference="119-7")
    if state:
        home.desk("progress", state=state)
    refused = home.desk("stand_down", reason="false_alarm_person", sure=False)
    assert_problem(refused, 422)
    assert "a unit of 119 is still on its way" in refused.json["detail"]
    assert home.desk("stand_down", reason="false_alarm_person", sure=True).status_code == 200
    assert any("119가 아직 가는 중인데 마침" in line for line in home.log())


@pytest.mark.parametrize("sure", [False, True])
def test_what_cannot_be_done_now_is_refused_whoever_is_sure(home: Home, sure: bool) -> None:
    home.desk("dispatch", reference="119-7")
    home.desk("progress", state="on_scene")
    assert_problem(home.desk("stand_down", reason="false_alarm_person", sure=sure), 409, "not_allowed_now")


def test_a_unit_that_is_there_keeps_nobody_from_closing(home: Home) -> None:
    home.link("민지", "acknowledge")
    home.link("민지", "arrived")
    home.desk("dispatch", reference="119-7")
    home.desk("progress", state="at_patient")
    assert home.desk("close", reason="needed_help", sure=False).status_code == 200


def test_a_late_word_that_all_is_well_is_refused(home: Home) -> None:
    home.link("민지", "acknowledge")
    home.desk("close", reason="test")
    assert_problem(home.api("지호", "safe"), 409)
