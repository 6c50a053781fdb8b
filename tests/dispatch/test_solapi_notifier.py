"""SOLAPI: what it is asked, what its reports mean, and what each of its failures means."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import requests
from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

from dispatch import messages, messages_once
from dispatch.codes import Message
from dispatch.notifier import (
    CallRequest,
    CallStatus,
    CarrierEvent,
    CarrierEventKind,
    Fault,
    Found,
    NotificationError,
    Prompt,
    Reach,
    Receipt,
    TextRequest,
)
from dispatch.solapi_notifier import SolapiNotifier
from service.loopback import LoopbackNetwork, LoopbackServer

KEY, SECRET, WEBHOOK = "NCSLOOPBACK", "an-api-secret-for-tests", "a-webhook-secret"
OURS, MOTHER, DESK, NEW_YORK = "+8221234567", "+821011112222", "+82515550199", "+12125550100"
REPORT = "http://10.0.0.7/v1/telephony/solapi/report"
SHOWN = {"X-Solapi-Secret": hashlib.sha1(WEBHOOK.encode()).hexdigest(), "X-Solapi-Event-Name": "SINGLE-REPORT"}


def now() -> datetime:
    return datetime.now(UTC)


def carrier(url: str | None = None, **changes: object) -> SolapiNotifier:
    given = {"api_key": KEY, "api_secret": SECRET, "from_number": OURS, "webhook_secret": WEBHOOK, "clock": now}
    return SolapiNotifier(**{**given, "api_url": url, "timeout_s": 1.5, **changes})  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    network = LoopbackNetwork(
        "AC1", "token", time_scale=200, solapi_key=KEY, solapi_secret=SECRET, solapi_webhook_secret=WEBHOOK
    )
    with LoopbackServer(network) as one:
        yield one


@pytest.fixture
def solapi(server) -> SolapiNotifier:
    return carrier(server.url)


class Silent(WSGIRequestHandler):
    def log_request(self, *_args, **_kwargs):
        pass


@contextmanager
def reports_to(network: LoopbackNetwork, solapi: SolapiNotifier) -> Iterator[list[CarrierEvent]]:
    """Our own door for reports."""
    told: list[CarrierEvent] = []
    app = Flask(__name__)

    @app.post("/v1/telephony/solapi/report")
    def report() -> tuple[str, int]:
        told.extend(solapi.events(request.url, dict(request.headers), request.form, request.get_data()))
        return "", 204

    door = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    network.configure({"solapi_report_url": f"http://127.0.0.1:{door.server_port}/v1/telephony/solapi/report"})
    thread = threading.Thread(target=door.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield told
    door.shutdown()
    thread.join()
    door.server_close()


def until(met: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not met():
        assert time.monotonic() < limit, "the loopback network did not come to rest"
        time.sleep(0.005)


def idle(network: LoopbackNetwork) -> None:
    until(lambda: not any(network.idle().values()))


def call(message: Message = Message.CONTACT_MENU, to: str = MOTHER) -> CallRequest:
    return CallRequest(to=to, reference="n1", ring_s=20, prompt=messages_once.once(message, "ko"))


def text(body: str = "x", to: str = MOTHER) -> TextRequest:
    return TextRequest(to=to, reference="t1", body=body, valid_s=60)


def events(*reports: dict[str, object], headers: dict[str, str] | None = None) -> list[CarrierEvent]:
    body = json.dumps(reports).encode()
    return carrier("http://127.0.0.1:9").events(REPORT, SHOWN if headers is None else headers, {}, body)


def said(**more: object) -> dict[str, object]:
    return {"messageId": "M1", "type": "VOICE", "customFields": {"reference": "n1", "key": "3"}} | more


def test_a_key_pressed_in_a_voice_message_comes_back_as_the_key_of_the_full_menu(server, solapi):
    server.network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    with reports_to(server.network, solapi) as told:
        receipt = solapi.place_call(call())
        idle(server.network)
    assert receipt.provider == "solapi"
    assert [(e.kind, e.reference, e.digits, e.status, e.final, e.provider_id) for e in told] == [
        (CarrierEventKind.DIGITS, "n1", "3", CallStatus.COMPLETED, True, receipt.id),
        (CarrierEventKind.STATUS, "n1", "", CallStatus.COMPLETED, True, receipt.id),
    ]
    (rung,) = [c.as_json() for c in server.network.calls()]
    assert (rung["provider"], rung["pressed"]) == ("solapi", ["1"])
    assert "1번을 눌러" in rung["said"][0]["text"]


@pytest.mark.parametrize("in_the_report", [True, False])
def test_a_report_that_leaves_out_the_key_is_looked_up(server, solapi, in_the_report):
    server.network.configure({"solapi_report_replies": in_the_report})
    server.network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    with reports_to(server.network, solapi) as told:
        solapi.place_call(call(Message.ASK))
        idle(server.network)
    assert [e.digits for e in told if e.kind is CarrierEventKind.DIGITS] == ["1"]


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        ({"behaviour": "answer", "digits": []}, CallStatus.COMPLETED),
        ({"behaviour": "answer", "digits": ["9"]}, CallStatus.COMPLETED),
        ({"behaviour": "voicemail"}, CallStatus.COMPLETED),
        ({"behaviour": "no_answer"}, CallStatus.NO_ANSWER),
        ({"behaviour": "busy"}, CallStatus.NO_ANSWER),
        ({"behaviour": "unreachable"}, CallStatus.NO_ANSWER),
    ],
)
def test_listening_without_the_key_that_was_offered_is_no_answer_to_the_question(server, solapi, plan, status):
    server.network.configure_phone(MOTHER, plan)
    with reports_to(server.network, solapi) as told:
        solapi.place_call(call())
        idle(server.network)
    assert [(e.kind, e.status) for e in told] == [(CarrierEventKind.STATUS, status)]


def test_a_key_that_nobody_can_vouch_for_is_asked_again_instead_of_guessed():
    with pytest.raises(NotificationError):
        events(said(statusCode="4000"))


def test_an_announcement_takes_no_key(server, solapi):
    server.network.configure_phone(DESK, {"behaviour": "answer", "digits": ["1"]})
    with reports_to(server.network, solapi) as told:
        solapi.announce(DESK, ("확인 번호는 1, 2 입니다.",), "ko", 30)
        idle(server.network)
    (rung,) = server.network.calls()
    assert (rung.menus, rung.pressed, told) == (0, [], [])


def test_a_text_is_sent_short_or_long_and_its_arrival_reported(server, solapi):
    with reports_to(server.network, solapi) as told:
        receipt = solapi.send_text(text("확인해 주세요. " * 20))
        idle(server.network)
    assert [(e.kind, e.status, e.reference, e.provider_id) for e in told] == [
        (CarrierEventKind.STATUS, CallStatus.DELIVERED, "t1", receipt.id)
    ]
    (sent,) = server.network.messages()
    assert (sent.to, sent.from_, sent.provider) == (MOTHER, OURS, "solapi")


def test_a_text_that_does_not_arrive_says_why(server, solapi):
    server.network.configure_phone(MOTHER, {"behaviour": "unreachable"})
    with reports_to(server.network, solapi) as told:
        solapi.send_text(text())
        idle(server.network)
    assert [(e.status, e.error_code) for e in told] == [(CallStatus.UNDELIVERED, "3024")]


def test_one_webhook_may_tell_of_several_messages():
    told = events(
        said(statusCode="4000", voiceReplied=1, voiceDuration=12.6, to="01011112222"),
        said(messageId="M2", statusCode="3026"),
        said(messageId="M3", statusCode="3000"),
        {"data": {"messageId": "M4", "type": "SMS", "statusCode": "4000", "customFields": {"reference": "t9"}}},
        {"messageId": "M5", "type": "SMS", "statusCode": "4000", "customFields": None},
    )
    assert [(e.provider_id, e.kind, e.status, e.digits, e.duration_s) for e in told] == [
        ("M1", CarrierEventKind.DIGITS, CallStatus.COMPLETED, "3", None),
        ("M1", CarrierEventKind.STATUS, CallStatus.COMPLETED, "", 13),
        ("M2", CarrierEventKind.STATUS, CallStatus.NO_ANSWER, "", None),
        ("M4", CarrierEventKind.STATUS, CallStatus.DELIVERED, "", None),
    ]
    assert told[0].to_number == MOTHER


@pytest.mark.parametrize("headers", [{}, {"X-Solapi-Secret": ""}, {"X-Solapi-Secret": WEBHOOK}])
def test_a_report_that_does_not_show_our_secrets_digest_is_forbidden(headers):
    with pytest.raises(PermissionError):
        events(said(statusCode="4000"), headers=headers)


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b'["x"]', b"what", b'[{"messageId": 1}]'])
def test_what_is_no_list_of_reports_is_unreadable(body):
    with pytest.raises(ValueError, match="list of reports"):
        carrier().events(REPORT, SHOWN, {}, body)


def test_another_event_or_place_is_unreadable():
    with pytest.raises(ValueError, match="event must be"):
        events(said(), headers=SHOWN | {"X-Solapi-Event-Name": "GROUP-REPORT"})
    with pytest.raises(ValueError, match="path must be"):
        carrier().events("http://10.0.0.7/v1/telephony/solapi/other", SHOWN, {}, b"[]")


@pytest.mark.parametrize(
    ("mode", "permanent", "ambiguous", "fault", "wait_s"),
    [
        ("500", False, True, Fault.CARRIER, None),
        ("500_acted", False, True, Fault.CARRIER, None),
        ("429", False, False, Fault.CARRIER, 4.0),
        ("out_of_credit", True, False, Fault.ACCOUNT, None),
    ],
)
def test_each_refusal_says_whether_trying_again_can_help(server, solapi, mode, permanent, ambiguous, fault, wait_s):
    server.network.configure({"fail": {"solapi": {"next": 1, "mode": mode}}, "retry_after_s": 4})
    with pytest.raises(NotificationError) as caught:
        solapi.send_text(text())
    error = caught.value
    assert (error.permanent, error.ambiguous, error.fault, error.retry_after_s) == (permanent, ambiguous, fault, wait_s)
    assert error.provider == "solapi"
    assert error.__suppress_context__ or error.__context__ is None
    assert solapi.send_text(text()).provider == "solapi"


def test_after_a_timeout_what_was_taken_is_found_by_our_own_reference(server, solapi):
    server.network.configure({"fail": {"solapi": {"next": 1, "mode": "timeout_acted"}}})
    began, since = time.monotonic(), now()
    with pytest.raises(NotificationError) as caught:
        solapi.place_call(call())
    assert time.monotonic() - began < 20, "it hung"
    assert (caught.value.permanent, caught.value.ambiguous) == (False, True)
    (rung,) = server.network.calls()
    found = solapi.find_call(MOTHER, since - timedelta(seconds=1), "n1")
    assert found == Found(receipts=(Receipt(provider="solapi", id=rung.sid),), sure=True)
    assert solapi.find_call(MOTHER, since - timedelta(seconds=1), "n2").receipts == ()
    assert solapi.find_call(MOTHER, since + timedelta(minutes=5), "n1").receipts == ()
    assert solapi.find_text(NEW_YORK, since, "n1", "x") == Found()


def test_wrong_credentials_are_our_own_fault(server):
    for changes in ({"api_secret": "wrong"}, {"api_key": "wrong"}):
        with pytest.raises(NotificationError) as caught:
            carrier(server.url, **changes).send_text(text())
        assert (caught.value.permanent, caught.value.fault) == (True, Fault.ACCOUNT)


def test_a_carrier_that_is_not_there_was_never_reached():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotificationError) as caught:
            carrier(f"http://127.0.0.1:{taken.getsockname()[1]}").send_text(text())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, False)


@pytest.mark.parametrize("answer", ["what", "[]", "{}", '{"messageList": 3}', '{"messageList": []}'])
def test_an_answer_that_makes_no_sense_is_ambiguous(monkeypatch, answer):
    def answered(*_args: object, **_more: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response._content = 200, answer.encode()
        return response

    monkeypatch.setattr(requests.Session, "request", answered)
    with pytest.raises(NotificationError) as caught:
        carrier().send_text(text())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, True)


def test_a_number_outside_korea_and_a_call_without_words_are_not_its_to_take(solapi):
    for refused in (
        lambda: solapi.send_text(text(to=NEW_YORK)),
        lambda: solapi.place_call(call(to=NEW_YORK)),
        lambda: solapi.place_call(CallRequest(to=MOTHER, reference="n1", ring_s=20)),
    ):
        with pytest.raises(NotificationError) as caught:
            refused()
        assert (caught.value.permanent, caught.value.fault) == (True, Fault.ROUTE)


def test_its_reach_is_the_declared_one():
    assert carrier().reach(MOTHER) == {Reach.VOICE, Reach.TEXT}
    assert carrier().reach(DESK) == {Reach.VOICE}
    assert carrier().reach(NEW_YORK) == set()


def test_nothing_personal_is_logged_even_when_everything_is(server, solapi, caplog):
    with caplog.at_level(logging.DEBUG):
        solapi.place_call(call())
        solapi.send_text(text("어머니 소식"))
        solapi.find_call(MOTHER, now(), "n1")
    for secret in ("1011112222", "어머니", SECRET, KEY):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"api_key": ""}, "api_key must not be empty"),
        ({"webhook_secret": ""}, "webhook_secret must not be empty"),
        ({"from_number": NEW_YORK}, "from_number must be a Korean number"),
        ({"timeout_s": 0}, "timeout_s must be positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        carrier(**changes)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("message", sorted(messages.SPOKEN))
def test_words_for_one_key_offer_that_key_and_no_other(message, language):
    prompt, full = messages_once.once(message, language), messages.prompt_for(message, language)
    words = " ".join(prompt.lines)
    offered = "1번" if language == "ko" else "press 1"
    assert (offered in words) is prompt.ask
    assert prompt.ask is (prompt.one_key != "")
    for key in "0234569":
        assert f"{key}번" not in words
        assert f"press {key}" not in words
    if prompt.ask:
        assert full.ask
        assert any(f"{prompt.one_key}번" in line or f"press {prompt.one_key}" in line for line in full.lines)
    assert len(words.encode("cp949")) <= 400
    assert prompt.language == language


def test_key_one_is_never_fine_where_it_was_not_asked():
    """Its meaning travels with the call: of all that a person hears, only the question takes a key."""
    assert messages_once.once(Message.ASK, "ko").one_key == "1"
    assert messages_once.once(Message.PATIENT_COMING, "ko").one_key == ""


def test_a_statement_is_said_and_asks_nothing(server, solapi):
    server.network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    solapi.place_call(CallRequest(to=MOTHER, reference="n1", ring_s=20, prompt=Prompt(language="ko", lines=("네.",))))
    idle(server.network)
    (rung,) = server.network.calls()
    assert rung.pressed == []
