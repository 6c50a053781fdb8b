"""Acting on a case, by a key or by a carrier's callback: what makes no sense is refused without harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import Stage, assert_problem, incident_of, make_stage

from dispatch.twilio_notifier import ROOT
from service.workflows import incidents


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("case-doors"))
    yield made
    made.house.database.dispose()


# --- acting on a case -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "body", "status", "code"),
    [
        ("explode", b"{}", 404, "action_unknown"),
        ("claim", b"{", 400, "not_json"),
        ("claim", b"\xff", 400, "not_json"),
        ("claim", b'"\xff"', 422, "action_invalid"),
        ("claim", b'{"text": "\xff"}', 400, "not_json"),
        ("claim", b"[" * 100_000, 422, "action_invalid"),
        ("claim", b'{"text":' * 50_000, 422, "action_invalid"),
        ("claim", b"[]", 422, "action_invalid"),
        ("claim", b"null", 422, "action_invalid"),
        ("claim", b'{"bogus": 1}', 422, "action_invalid"),
        ("note", b'{"text": 5}', 422, "action_invalid"),
        ("note", b"{}", 422, "field_invalid"),
        ("note", json.dumps({"text": "x" * 5000}).encode(), 422, "field_invalid"),
        ("close", b'{"reason": "bored"}', 422, "field_invalid"),
        ("progress", b'{"state": "closed"}', 422, "field_invalid"),
        ("progress", b'{"state": "on_scene"}', 409, "not_allowed_now"),
        ("dispatch", b'{"reference": "r", "called_at": "soon"}', 422, "field_invalid"),
        ("dispatch", b'{"reference": "r", "called_at": "0001-01-01T00:00:00+14:00"}', 422, "field_invalid"),
        ("dispatch", b'{"reference": "r", "called_at": "99:99"}', 422, "field_invalid"),
        ("dispatch", json.dumps({"reference": "r", "called_at": "9" * 2000}).encode(), 422, "field_invalid"),
    ],
)
def test_an_action_that_makes_no_sense_is_refused(
    stage: Stage, action: str, body: bytes, status: int, code: str
) -> None:
    key = stage.key("incidents:write", "incidents:read")
    answer = stage.client.post(f"/v1/incidents/{incident_of(stage)}/{action}", data=body, headers=key)
    assert_problem(answer, status, code)


def test_a_call_to_119_counts_although_our_clock_was_set_back_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, incident_id = stage.key("incidents:write", "incidents:read"), incident_of(stage)
    changed = incidents.changed

    def later(*given: Any) -> Any:
        stage.clock.advance(-3600)
        return changed(*given)

    monkeypatch.setattr(incidents, "changed", later)
    answer = stage.client.post(f"/v1/incidents/{incident_id}/dispatch", json={"reference": "119-42"}, headers=key)
    assert answer.status_code == 200, answer.text
    assert answer.json["state"] == "dispatched"


def test_a_key_that_may_only_write_is_answered_after_it_has_acted(stage: Stage) -> None:
    answer = stage.client.post(f"/v1/incidents/{incident_of(stage)}/claim", headers=stage.key("incidents:write"))
    assert answer.status_code == 200, answer.text


def test_odd_letters_in_a_note_come_back_as_they_were(stage: Stage) -> None:
    key = stage.key("incidents:write", "incidents:read")
    text = "a\x00b \u202e안심 \U0001f9d3 <script>"
    path = f"/v1/incidents/{incident_of(stage)}/note"
    answer = stage.client.post(path, json={"text": text}, headers=key)
    assert answer.status_code == 200, answer.text


# --- the carrier's callbacks -------------------------------------------------------------------------------


def test_an_unsigned_callback_is_refused(stage: Stage) -> None:
    paths = [f"{ROOT}/{kind}/{uuid4()}" for kind in ("answer", "digits", "status")] + [f"{ROOT}/incoming"]
    for path in paths:
        assert_problem(stage.client.post(path, data={"CallSid": "CA1"}), 403, "signature_refused")
        odd = {"X-Twilio-Signature": "\xff\xfe"}
        assert_problem(stage.client.post(path, data={"CallSid": "CA1"}, headers=odd), 403, "signature_refused")
        assert_problem(stage.callback(path, {"CallSid": "CA1"}, token="wrong" * 6), 403, "signature_refused")


def test_a_signed_callback_with_garbage_is_refused_without_harm(stage: Stage) -> None:
    reference = str(uuid4())
    assert_problem(stage.callback(f"{ROOT}/status/{reference}", {}), 400, "callback_unreadable")
    assert_problem(
        stage.callback(f"{ROOT}/status/{reference}", {"CallSid": "CA1", "CallStatus": "exploded"}),
        400,
        "callback_unreadable",
    )
    assert_problem(stage.callback(f"{ROOT}/answer/{reference}", {}), 400, "callback_unreadable")
    assert_problem(stage.callback(f"{ROOT}/bogus/{reference}", {"CallSid": "CA1"}), 404, "not_found")
    odd = {"CallSid": "CA1", "Digits": "\x00" * 50, "From": "안녕", "CallDuration": "9" * 5000}
    assert stage.callback(f"{ROOT}/digits/{reference}?turn={'9' * 5000}", odd).status_code in {200, 400}


def test_a_callback_about_nothing_we_know_says_nothing_of_anybody(stage: Stage) -> None:
    form = {"CallSid": "CA1", "CallStatus": "completed"}
    for reference in (str(uuid4()), "not-an-id", "%00", "안심"):
        assert stage.callback(f"{ROOT}/status/{reference}", form).status_code in {204, 403}
        answer = stage.callback(f"{ROOT}/answer/{reference}", {"CallSid": "CA1"})
        assert answer.status_code in {200, 403}
    assert stage.callback(f"{ROOT}/incoming", {"CallSid": "CA1", "From": "+10000000000"}).status_code == 200


def test_a_callback_of_an_old_case_opens_nothing_again(stage: Stage) -> None:
    incident = incident_of(stage)
    key = stage.key("incidents:write", "incidents:read")
    (raw,) = stage.rows("SELECT id FROM notification ORDER BY created_at DESC, id DESC LIMIT 1")[0]
    reference = UUID(hex=raw)
    path = f"/v1/incidents/{incident}"
    stage.client.post(f"{path}/claim", headers=key)
    closing = stage.client.post(f"{path}/close", json={"reason": "false_alarm_person"}, headers=key)
    assert closing.json["state"] == "closed", closing.text
    for kind in ("answer", "digits", "status"):
        form = {"CallSid": "CA1", "CallStatus": "completed", "Digits": "3"}
        assert stage.callback(f"{ROOT}/{kind}/{reference}", form).status_code in {200, 204}
    assert stage.client.get(path, headers=key).json["state"] == "closed"
