"""The doors that carriers call back at: who is believed, and what reaches the rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from doors_stage import TOKEN, Stage, assert_problem, make_stage
from werkzeug.test import TestResponse

from dispatch.failover_notifier import FailoverNotifier
from dispatch.notifier import CarrierEvent, CarrierEventKind, NotificationError
from dispatch.solapi_notifier import SolapiNotifier
from service.workflows import telephone

ROOT = "/v1/telephony"
WEBHOOK = "a-webhook-secret"
SHOWN = hashlib.sha1(WEBHOOK.encode()).hexdigest()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[CarrierEvent]:
    """What the rules are told."""
    told: list[CarrierEvent] = []
    monkeypatch.setattr(telephone, "carrier_event", lambda _house, event: told.append(event))
    return told


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = make_stage(tmp_path)
    solapi = SolapiNotifier(
        "NCS1", "secret", "+8221234567", WEBHOOK, lambda: datetime.now(UTC), "http://127.0.0.1:9", 0.5
    )
    one.house.notifier = FailoverNotifier(
        (one.carrier, solapi), stopwatch=lambda: 0.0, budget_s=4.5, step_s=3.0
    )
    yield one
    one.house.database.dispose()


def report(stage: Stage, *rows: dict[str, Any], secret: str = SHOWN, raw: bytes | None = None) -> TestResponse:
    headers = {"X-Solapi-Secret": secret, "X-Solapi-Event-Name": "SINGLE-REPORT"}
    body = json.dumps(rows).encode() if raw is None else raw
    return stage.client.post(f"{ROOT}/solapi/report", data=body, headers=headers, content_type="application/json")


def row(**more: Any) -> dict[str, Any]:
    return {"messageId": "M1", "type": "VOICE", "statusCode": "4000", "customFields": {"reference": "n1"}} | more


def test_each_report_of_a_webhook_is_heard(stage: Stage, heard: list[CarrierEvent]) -> None:
    keyed = {"reference": "n2", "key": "3"}
    answer = report(stage, row(), row(messageId="M2", customFields=keyed, voiceReplied=True))
    assert (answer.status_code, answer.data) == (204, b"")
    assert [(e.kind, e.reference, e.digits, e.provider) for e in heard] == [
        (CarrierEventKind.STATUS, "n1", "", "solapi"),
        (CarrierEventKind.DIGITS, "n2", "3", "solapi"),
        (CarrierEventKind.STATUS, "n2", "", "solapi"),
    ]


def test_a_report_without_our_secret_is_refused_and_not_heard(stage: Stage, heard: list[CarrierEvent]) -> None:
    for wrong in ("", "0" * 40, WEBHOOK):
        assert_problem(report(stage, row(), secret=wrong), 403, "signature_refused")
    assert heard == []


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b"[1]", b"a=b", b"\xff" * 40, b'[{"messageId": "M\\u00001"}]'])
def test_a_report_of_garbage_is_refused_and_not_heard(stage: Stage, heard: list[CarrierEvent], raw: bytes) -> None:
    answer = report(stage, raw=raw)
    if raw.startswith(b'[{"messageId"'):
        assert answer.status_code == 204  # no reference: nothing of ours
    else:
        assert_problem(answer, 400, "callback_unreadable")
    assert heard == []


def test_a_report_with_a_nul_in_what_is_ours_is_refused(stage: Stage, heard: list[CarrierEvent]) -> None:
    assert_problem(report(stage, row(messageId="M\0")), 400, "callback_unreadable")
    assert heard == []


def test_a_report_whose_key_cannot_be_looked_up_is_asked_for_again(stage: Stage, heard: list[CarrierEvent]) -> None:
    keyed = {"reference": "n1", "key": "3"}
    assert_problem(report(stage, row(customFields=keyed)), 503, "unavailable")
    assert heard == []


def test_a_text_to_us_is_heard_and_answered_by_nobody(stage: Stage, heard: list[CarrierEvent]) -> None:
    form = {"MessageSid": "SM1", "From": "+821012345678", "To": "+82515550100", "Body": "4821", "SmsStatus": "received"}
    answer = stage.callback(f"{ROOT}/twilio/text", form)
    assert (answer.status_code, answer.data) == (204, b"")
    assert [(e.kind, e.body, e.from_number) for e in heard] == [(CarrierEventKind.TEXT_IN, "4821", "+821012345678")]
    assert_problem(stage.callback(f"{ROOT}/twilio/text", form, token="wrong" * 6), 403, "signature_refused")
    assert_problem(stage.callback(f"{ROOT}/twilio/text", {"Body": "4821"}), 400, "callback_unreadable")
    assert len(heard) == 1


def test_when_a_bridge_has_ended_the_call_is_told_to_hang_up(stage: Stage, heard: list[CarrierEvent]) -> None:
    form = {"CallSid": "CA1", "CallStatus": "in-progress", "DialCallStatus": "no-answer"}
    answer = stage.callback(f"{ROOT}/twilio/bridge/n1", form)
    assert answer.status_code == 200
    assert b"<Hangup" in answer.data
    (event,) = heard
    assert event.bridged == "no_answer"


def test_another_carriers_path_is_nobodys(stage: Stage, heard: list[CarrierEvent]) -> None:
    assert stage.client.post(f"{ROOT}/telex/report", data=b"[]").status_code in {404, 405}
    assert TOKEN
    with pytest.raises(PermissionError):
        stage.house.notifier.events("https://ansim.example/v1/telephony/telex/report", {}, {})


def test_a_carrier_in_trouble_is_no_slip_of_ours(
    stage: Stage, heard: list[CarrierEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object, **_more: object) -> list[CarrierEvent]:
        raise NotificationError("no", permanent=False)

    monkeypatch.setattr(stage.house.notifier, "events", broken)
    assert_problem(stage.callback(f"{ROOT}/twilio/status/n1", {"CallSid": "CA1"}), 503, "unavailable")
