"""Handing over to 119: one complete record, offered and answered, and never a unit that a machine sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from doors_stage import assert_problem, make_stage
from proof_stage import Played, play

from dispatch.codes import Log, Why
from dispatch.escalation_draft import Draft
from dispatch.handover_script import script
from dispatch.incident import Decision, Incident
from service.store import audit
from service.store import incidents as store
from service.workflows import caregiving, cases, handover, handover_partner, ticking


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    made = play(tmp_path, close=False, called=False)
    yield made
    made.stage.house.database.dispose()


def record_of(played: Played, language: str = "en") -> Any:
    return handover.record(played.stage.house, played.incident_id, played.dispatcher_id, language, open_case=True)


def test_the_record_holds_all_that_a_call_taker_asks(played: Played) -> None:
    record = record_of(played)
    assert record.subject.name == "김순자"
    assert record.findings[0].code == "sos"
    assert {one.name for one in record.vitals} >= {"heart rate", "blood oxygen"}
    assert [one.phone for one in record.callbacks] == ["+82515550199", "+821055550001", "+821055500101"]
    assert [one.part for one in record.helpers] == ["took"]
    assert "whether they are conscious" in record.unknown
    assert "the address" in record.unknown


@pytest.mark.parametrize(
    ("line", "how", "awake"),
    [
        (Log.ANSWERED_HELP, Why.NO_KEY, False),
        (Log.ANSWERED_HELP, None, True),
        (Log.LATE_FINE, None, True),
        (Log.PICKED_UP, None, False),
    ],
)
def test_only_who_spoke_or_pressed_a_key_is_known_to_be_awake(
    played: Played, line: Log, how: Why | None, awake: bool
) -> None:
    house = played.stage.house

    def heard(incident: Incident) -> Decision:
        draft = Draft(incident, house.clock())
        draft.log(line, **({"how": how.value} if how else {}))
        return draft.done()

    cases.change(house, played.patient_id, played.incident_id, heard)
    assert ("whether they are conscious" not in record_of(played).unknown) is awake


def test_vitals_are_not_in_the_record_of_a_closed_case(played: Played) -> None:
    stage = played.stage
    shown = handover.record(stage.house, played.incident_id, played.dispatcher_id, "en", open_case=False)
    assert shown.vitals == ()


# --- the offer ------------------------------------------------------------------------------------


def test_an_accepted_record_says_nothing_of_a_unit(played: Played) -> None:
    house = played.stage.house
    handover.offer(house, played.dispatcher_id, played.incident_id, "부산 119 상황실")
    case = handover.answered(house, played.dispatcher_id, played.incident_id, True, reference="R-7")
    assert (case.state, case.unit_called) == ("confirmed", False)
    assert case.handovers[-1].reference == "R-7"
    page = handover.face(house, played.incident_id, played.dispatcher_id, "en", open_case=True)
    assert page["standing"] == "accepted"
    played.act("dispatch", reference="119-1", called_at="")
    assert played.case().state == "dispatched"


def test_no_answer_in_time_turns_the_page_to_the_telephone(played: Played) -> None:
    stage, house = played.stage, played.stage.house
    stage.person("dispatcher", login="d", name="이서연")
    client, _ = stage.logged_in("d")
    handover.offer(house, played.dispatcher_id, played.incident_id, "부산 119 상황실")
    page = client.get(f"/incidents/{played.incident_id}/handover", headers={"Accept-Language": "en"})
    assert 'class="emergency"' not in page.text
    stage.clock.advance(played.case().policy.handover_s + 1)
    ticking.run_due(house)
    page = client.get(f"/incidents/{played.incident_id}/handover")
    assert 'class="emergency"' in page.text
    assert "119에 전화해" in page.text
    assert "구급 신고입니다" in page.text
    case = played.case()
    assert (case.handovers[-1].answer, case.state, case.unit_called) == ("unanswered", "confirmed", False)


def test_an_offer_nobody_answered_is_not_waited_for_once_the_case_is_closed(played: Played) -> None:
    house = played.stage.house
    handover.offer(house, played.dispatcher_id, played.incident_id, "부산 119 상황실")
    played.act("close", reason="needed_help")
    page = handover.face(house, played.incident_id, played.dispatcher_id, "ko", open_case=False)
    assert page["standing"] == "ended"
    played.stage.person("dispatcher", login="d", name="이서연")
    client, _ = played.stage.logged_in("d")
    path = f"/incidents/{played.incident_id}/handover"
    korean = client.get(path, headers={"Accept-Language": "ko"}).text
    assert "답을 기다리는 중" not in korean
    assert "기다리는 중" not in korean
    assert korean.count("종료될 때까지 답이 없었습니다") == 1, "where the offer stands"
    assert korean.count("종료까지 답 없음") == 1, "in the list of offers"


def test_a_late_answer_still_counts(played: Played) -> None:
    house = played.stage.house
    handover.offer(house, played.dispatcher_id, played.incident_id, "119")
    played.stage.clock.advance(3600)
    ticking.run_due(house)
    case = handover.answered(house, played.dispatcher_id, played.incident_id, True)
    assert case.handovers[-1].answer == "accepted"


def test_a_rejection_needs_its_reason(played: Played) -> None:
    key = played.stage.key("incidents:read", "incidents:write")
    client, path = played.stage.client, f"/v1/incidents/{played.incident_id}"
    assert client.post(f"{path}/hand_over", json={"to": "119"}, headers=key).status_code == 200
    refused = client.post(f"{path}/handover_answered", json={"answer": "rejected"}, headers=key)
    assert_problem(refused, 422, "field_invalid")
    given = {"answer": "rejected", "reason": "다른 관할"}
    answer = client.post(f"{path}/handover_answered", json=given, headers=key)
    assert answer.status_code == 200
    assert answer.json["state"] == "confirmed"
    assert played.case().handovers[-1].reason == "다른 관할"
    assert_problem(client.post(f"{path}/handover_answered", json=given, headers=key), 409, "not_allowed_now")


@pytest.mark.parametrize("body", [{}, {"to": ""}, {"to": "x" * 101}, {"to": 1}, {"to": "119", "by": "me"}, [], "no"])
def test_an_offer_names_its_desk(played: Played, body: Any) -> None:
    key = played.stage.key("incidents:read", "incidents:write")
    answer = played.stage.client.post(f"/v1/incidents/{played.incident_id}/hand_over", json=body, headers=key)
    assert_problem(answer, 422)
    assert played.case().handovers == []


# --- who may --------------------------------------------------------------------------------------


def test_only_who_handles_the_case_sees_or_offers_its_record_and_every_look_is_recorded(played: Played) -> None:
    stage, path = played.stage, f"/v1/incidents/{played.incident_id}"
    stage.person("caregiver", login="c", patient_id=played.patient_id)
    other = stage.house.settings and stage.key("incidents:read", organisation_id=played.caregiver_id)
    client, csrf = stage.logged_in("c")
    for answer in (
        client.get(f"{path}/eido"),
        client.post(f"{path}/hand_over", json={"to": "119"}, headers={"X-CSRF-Token": csrf}),
        stage.client.get(f"{path}/eido", headers=other),
        stage.client.post(f"{path}/hand_over", json={"to": "119"}, headers=stage.key("patients:read")),
    ):
        assert answer.status_code == 403, answer.text
    assert client.get(f"/incidents/{played.incident_id}/handover").status_code == 403
    key = stage.key("incidents:read")
    assert stage.client.get(f"{path}/eido", headers=key).status_code == 200
    with stage.house.database.read() as tx:
        looks = audit.accesses(tx, played.patient_id)
    assert (looks[0].viewer_role, looks[0].purpose) == ("machine", "eido")


# --- the other desk's machine ---------------------------------------------------------------------


class Desk:
    """Another desk's door: notes what it gets, answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answers: list[tuple[int, bytes]] = []
        desk = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                desk.got.append((dict(self.headers), json.loads(body)))
                status, answer = desk.answers.pop(0) if desk.answers else (202, b"")
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}/records"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def partnered(tmp_path: Path, desk: Desk) -> Iterator[Played]:
    stage = make_stage(tmp_path, ANSIM_HANDOVER_URL=desk.url)
    made = play(tmp_path, close=False, called=False, stage=stage)
    handover.offer(stage.house, made.dispatcher_id, made.incident_id, "119")
    yield made
    stage.house.database.dispose()


def test_an_offer_reaches_the_other_desk_and_its_answer_is_written_down(partnered: Played, desk: Desk) -> None:
    desk.answers = [(200, b'{"answer": "accepted", "reference": "P-1"}')]
    assert handover_partner.post_waiting(partnered.stage.house) == 1
    [(headers, body)] = desk.got
    assert body["eidoVersion"] == "1.0"
    assert headers["Idempotency-Key"] == f"{partnered.incident_id}-1"
    case = partnered.case()
    assert (case.handovers[-1].answer, case.handovers[-1].reference) == ("accepted", "P-1")
    assert (case.state, case.unit_called) == ("confirmed", False)
    assert handover_partner.post_waiting(partnered.stage.house) == 0


def test_a_desk_that_is_down_gets_the_same_offer_again_until_the_time_for_it_is_over(
    partnered: Played, desk: Desk
) -> None:
    desk.answers = [(503, b""), (500, b"")]
    house = partnered.stage.house
    assert [handover_partner.post_waiting(house) for _ in range(4)] == [0, 0, 1, 0]
    assert len({headers["Idempotency-Key"] for headers, _ in desk.got}) == 1
    partnered.stage.clock.advance(100)
    ticking.run_due(house)
    assert partnered.case().handovers[-1].answer == "unanswered"
    house.extras.clear()
    assert handover_partner.post_waiting(house) == 0


def test_the_answer_may_come_later_by_the_token_that_came_with_the_record(partnered: Played, desk: Desk) -> None:
    stage = partnered.stage
    handover_partner.post_waiting(stage.house)
    path = desk.got[0][0]["Ansim-Answer-To"].partition("/v1/")[2]
    said = {"answer": "rejected", "reason": "no unit free"}
    assert stage.client.get(f"/v1/{path}").status_code == 405
    assert_problem(stage.client.post(f"/v1/{path[:-1]}{'C' if path[-1] == 'B' else 'B'}", json=said), 404)
    assert stage.client.post(f"/v1/{path}", json=said).status_code == 204
    assert partnered.case().handovers[-1].reason == "no unit free"
    assert_problem(stage.client.post(f"/v1/{path}", json=said), 409)
    # Their token is for that offer alone.
    handover.offer(stage.house, partnered.dispatcher_id, partnered.incident_id, "119")
    assert_problem(stage.client.post(f"/v1/{path}", json={"answer": "accepted"}), 409)


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 46, "A" * 99, "!" * 46, "%00"])
def test_a_made_up_token_is_no_right_to_anything(partnered: Played, token: str) -> None:
    answer = partnered.stage.client.post(f"/v1/handover/{token}", json={"answer": "accepted"})
    assert answer.status_code == 404
    assert partnered.case().handovers[-1].answer is None


def test_two_jobs_at_once_make_one_answer(partnered: Played, desk: Desk) -> None:
    desk.answers = [(200, b'{"answer": "accepted"}')] * 8
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: handover_partner.post_waiting(partnered.stage.house), range(8)))
    assert [one.answer for one in partnered.case().handovers] == ["accepted"]


@pytest.mark.parametrize("to", ["<b>119</b>", "119\0desk", "119\ndesk", "x" * 101, "  "])
def test_an_offer_to_what_is_no_name_is_refused_by_name(played: Played, to: str) -> None:
    headers = played.stage.key("incidents:write", "incidents:read")
    path = f"/v1/incidents/{played.incident_id}/hand_over"
    told = assert_problem(played.stage.client.post(path, json={"to": to}, headers=headers), 422, "field_invalid")
    assert told["field"] == "to" and told["detail"].startswith("to must be") and "was " in told["detail"]
    assert played.case().handovers == []


def test_an_acceptance_without_a_reference_says_that_none_was_given(played: Played) -> None:
    house = played.stage.house
    played.stage.person("dispatcher", login="d", name="이서연")
    client, _ = played.stage.logged_in("d")
    handover.offer(house, played.dispatcher_id, played.incident_id, "부산 119 상황실")
    handover.answered(house, played.dispatcher_id, played.incident_id, True)
    page = client.get(f"/incidents/{played.incident_id}/handover").text
    assert page.count("접수 번호는 받지 못했습니다") == 2, "beside the standing and in the list of offers"


def test_who_took_it_is_handed_over_as_going_only_once_they_said_that_they_go(played: Played) -> None:
    house, daughter = played.stage.house, played.caregiver_id

    def said(action: str | None = None, **fields: str) -> str:
        if action is not None:
            caregiving.act(house, daughter, played.incident_id, action, fields)
        return "\n".join(script(record_of(played), "en"))

    assert "knows of it and has taken charge" in said() and "on the way, and" not in said()
    assert "To reach whoever has taken charge, please ring" in said()
    assert "is expected there in about twenty minutes" in said("going", eta_min="20")
    assert "To reach whoever is on the way, please ring" in said()
    played.stage.clock.advance(21 * 60)
    assert "said that they would be there by now" in said()
    assert "is with them now" in said("arrived")
    assert "on the way" not in said()


def test_the_worst_value_since_a_sign_began_is_read_and_one_odd_value_is_not(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    patient_id, dispatcher_id = stage.patient(), stage.person("dispatcher", name="이서연")
    band = stage.band(patient_id)

    def measured(*values: int) -> None:
        for spo2 in values:
            stage.clock.advance(60)
            vitals = {"heart_rate_bpm": 80, "spo2_pct": spo2, "worn": True}
            assert band.post(band.upload(vitals, at=stage.clock())).status_code == 200

    measured(97, 97, 86, 86, 86, 86, 83, 83, 83, 70, 89, 89)
    with stage.house.database.read() as tx:
        [row] = store.all_open_incidents(tx)
    shown = handover.record(stage.house, row.id, dispatcher_id, "en", open_case=True)
    [line] = [line for line in script(shown, "en") if "It began" in line]
    assert line.startswith("Blood oxygen is low. It began ") and "since then is eighty-three percent." in line
    assert [one for one in script(shown, "en") if "blood oxygen was eighty-nine percent" in one]
    measured(97, 97, 97, 97)
    passed = "\n".join(script(handover.record(stage.house, row.id, dispatcher_id, "en", open_case=True), "en"))
    assert re.search(r"The following sign passed .* ago\. Blood oxygen is low\. It began", passed), passed
    assert "blood oxygen was ninety-seven percent" in passed
    stage.house.database.dispose()


def test_the_page_marks_what_is_korean_in_an_english_script(played: Played) -> None:
    stage = played.stage
    stage.person("dispatcher", login="d", name="이서연")
    client, csrf = stage.logged_in("d")
    client.post("/language", data={"csrf": csrf, "lang": "en"})
    page = client.get(f"/incidents/{played.incident_id}/handover").text
    assert 'The person is <span lang="ko">김순자</span> (gim-sun-ja)' in page
    assert '<span lang="en">' not in page
