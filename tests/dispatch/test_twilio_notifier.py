"""The Twilio adapter: signatures, words, and what each of the carrier's failures means."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
import requests
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

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
from dispatch.twilio_notifier import TwilioNotifier
from service.loopback import LoopbackNetwork, LoopbackServer
from service.loopback.webhooks import signature

VECTORS = Path(__file__).parents[2] / "../shared/conformance/twilio/signature_vectors.json"
SID, TOKEN = "AC" + "3" * 32, "a-token-for-tests"
OURS, MOTHER = "+8221234567", "+821011112222"
PUBLIC = "https://ansim.example"
ANSWER = "/v1/telephony/twilio/answer/n1"
FORM = {
    "CallSid": "CA1",
    "CallStatus": "in-progress",
    "From": OURS,
    "To": MOTHER,
    "Direction": "outbound-api",
}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(LoopbackNetwork(SID, TOKEN, time_scale=100)) as one:
        yield one


@pytest.fixture
def notifier(server) -> TwilioNotifier:
    return TwilioNotifier(SID, TOKEN, OURS, PUBLIC, server.url, timeout_s=1.5)


def offline(public: str = PUBLIC) -> TwilioNotifier:
    return TwilioNotifier(SID, TOKEN, OURS, public)


def read(
    path: str, public: str = PUBLIC, seen_as: str = "http://10.0.0.7:8080", **changes: str
) -> CarrierEvent:
    form = {**FORM, **changes}
    signed = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(public + path, form)}
    return offline(public).verify_and_parse(seen_as + path, signed, form)


def request(to: str = MOTHER) -> CallRequest:
    return CallRequest(to=to, reference="n1", ring_s=20)


@contextmanager
def one_answer(answer: bytes) -> Iterator[str]:
    """Somebody who gives this answer to whatever is asked, once."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def reply() -> None:
            guest, _ = door.accept()
            with guest:
                guest.recv(65536)
                guest.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        thread.join()


def vectors() -> dict:
    if not VECTORS.exists():
        pytest.skip("data not present: ../shared/conformance/twilio")
    return json.loads(VECTORS.read_text())


def accepts(token: str, address: str, form: object, given: str) -> bool:
    """Whether the adapter would let a request to this public address pass its signature check."""
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    notifier = TwilioNotifier(SID, token, OURS, f"{scheme}://{host}")
    try:
        notifier.verify_and_parse(f"http://inside/{path}", {"x-twilio-signature": given}, form)  # type: ignore[arg-type]
    except PermissionError:
        return False
    except ValueError:
        # The vectors' addresses are not ours: past the signature, their path cannot be read.
        return True
    return True


def test_published_signature_vectors_hold():
    given = vectors()
    for case in given["cases"]:
        form = case.get("params", given["params"])
        assert accepts(given["auth_token"], case["uri"], form, case["signature"]) is case["valid"], case[
            "what"
        ]


def test_published_vector_with_repeated_keys_holds():
    given = vectors()
    form = MultiDict(parse_qsl(given["repeated_keys"]["form"]))
    assert accepts(given["auth_token"], given["uri"], form, given["repeated_keys"]["signature"])


def test_the_loopback_network_signs_as_the_published_vector_says():
    given = vectors()
    plain = given["cases"][0]
    assert signature(given["auth_token"], plain["uri"], given["params"]) == plain["signature"]


def test_a_signature_is_checked_on_the_public_address_whatever_the_host_header_says():
    event = read(ANSWER, seen_as="http://evil.example")
    assert (event.kind, event.reference, event.provider_id) == (CarrierEventKind.ANSWERED, "n1", "CA1")


def test_a_public_address_with_a_folder_is_checked_with_or_without_it():
    event = read(ANSWER, public="https://city.example/ansim")
    assert event.reference == "n1"
    form = dict(FORM)
    address = "https://city.example/ansim" + ANSWER
    signed = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(address, form)}
    kept = offline("https://city.example/ansim").verify_and_parse(
        f"http://10.0.0.7/ansim{ANSWER}", signed, form
    )
    assert kept.reference == "n1"


@pytest.mark.parametrize("headers", [{}, {"X-Twilio-Signature": ""}, {"X-Twilio-Signature": "c2lnbmF0dXJl"}])
def test_a_request_without_the_right_signature_is_forbidden(headers):
    with pytest.raises(PermissionError):
        offline().verify_and_parse(PUBLIC + ANSWER, headers, FORM)


def test_a_changed_turn_breaks_the_signature():
    path = "/v1/telephony/twilio/digits/n1?turn=1"
    signed = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(PUBLIC + path, FORM)}
    with pytest.raises(PermissionError):
        offline().verify_and_parse(PUBLIC + path.replace("turn=1", "turn=2"), signed, FORM)


@pytest.mark.parametrize(
    "path", ["/v1/telephony/twilio/answer", "/v1/telephony/twilio/incoming/n1", "/elsewhere/n1"]
)
def test_a_signed_request_to_an_unknown_place_is_unreadable(path):
    with pytest.raises(ValueError, match="path must be"):
        read(path)


def test_a_status_nobody_knows_is_unreadable():
    with pytest.raises(ValueError, match="status must be one of"):
        read("/v1/telephony/twilio/status/n1", CallStatus="sneezed")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", CallStatus.QUEUED),
        ("initiated", CallStatus.QUEUED),
        ("ringing", CallStatus.RINGING),
        ("in-progress", CallStatus.IN_PROGRESS),
        ("completed", CallStatus.COMPLETED),
        ("busy", CallStatus.BUSY),
        ("no-answer", CallStatus.NO_ANSWER),
        ("failed", CallStatus.FAILED),
        ("canceled", CallStatus.CANCELLED),
    ],
)
def test_every_status_of_a_call_is_understood(word, status):
    event = read("/v1/telephony/twilio/status/n1", CallStatus=word, CallDuration="7", SequenceNumber="3")
    assert (event.kind, event.status, event.duration_s, event.sequence) == (
        CarrierEventKind.STATUS,
        status,
        7,
        3,
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [("sent", CallStatus.SENT), ("delivered", CallStatus.DELIVERED), ("undelivered", CallStatus.UNDELIVERED)],
)
def test_every_status_of_a_text_is_understood(word, status):
    event = read("/v1/telephony/twilio/status/t1", MessageSid="SM1", MessageStatus=word, ErrorCode="30003")
    assert (event.status, event.provider_id, event.error_code) == (status, "SM1", "30003")


@pytest.mark.parametrize(
    ("who", "voicemail"),
    [
        ("machine_start", True),
        ("machine_end_beep", True),
        ("fax", True),
        ("human", False),
        ("unknown", False),
    ],
)
def test_machines_are_told_from_people(who, voicemail):
    assert read(ANSWER, AnsweredBy=who).voicemail is voicemail


def test_a_key_carries_its_reference_and_turn():
    event = read("/v1/telephony/twilio/digits/n1?turn=2", Digits="1")
    assert (event.kind, event.reference, event.digits, event.turn) == (CarrierEventKind.DIGITS, "n1", "1", 2)
    silent = read("/v1/telephony/twilio/digits/n1?turn=rubbish", Digits="")
    assert (silent.digits, silent.turn) == ("", 1)


def test_a_returned_call_has_no_reference():
    event = read("/v1/telephony/twilio/incoming", From=MOTHER, To=OURS, CallStatus="ringing")
    assert (event.kind, event.reference, event.from_number) == (CarrierEventKind.INCOMING, None, MOTHER)


def test_a_question_waits_for_one_key_in_korean():
    words = offline().render(
        Prompt(language="ko", lines=("안녕하세요 & 반갑습니다",), ask=True, reference="n1", turn=2)
    )
    (gather,) = ElementTree.fromstring(words)
    assert gather.attrib == {
        "input": "dtmf",
        "numDigits": "1",
        "finishOnKey": "",
        "timeout": "8",
        "actionOnEmptyResult": "true",
        "action": f"{PUBLIC}/v1/telephony/twilio/digits/n1?turn=2",
        "method": "POST",
    }
    (say,) = gather
    assert (say.text, say.attrib) == (
        "안녕하세요 & 반갑습니다",
        {"language": "ko-KR", "voice": "Polly.Seoyeon"},
    )


def test_an_english_statement_ends_by_hanging_up():
    say, hangup = ElementTree.fromstring(offline().render(Prompt(language="en", lines=("Thank you.",))))
    assert say.attrib == {"language": "en-US", "voice": "Polly.Joanna"}
    assert hangup.tag == "Hangup"


def test_a_question_without_a_reference_is_refused():
    with pytest.raises(ValueError, match=r"prompt\.reference must be set"):
        offline().render(Prompt(language="ko", lines=("?",), ask=True))


def test_a_bad_number_is_permanent_and_the_numbers_own_fault(notifier):
    with pytest.raises(NotificationError) as caught:
        notifier.place_call(request("+15005550001"))
    error = caught.value
    assert (error.permanent, error.ambiguous, error.fault, error.code) == (True, False, Fault.NUMBER, "21211")
    assert "5005550001" not in str(error)
    assert error.__suppress_context__


def test_bad_credentials_are_permanent_and_our_own_fault(server):
    with pytest.raises(NotificationError) as caught:
        TwilioNotifier(SID, "wrong", OURS, PUBLIC, server.url).place_call(request())
    assert (caught.value.permanent, caught.value.fault) == (True, Fault.ACCOUNT)


@pytest.mark.parametrize(
    ("mode", "permanent", "ambiguous", "fault"),
    [
        ("500", False, True, Fault.CARRIER),
        ("429", False, False, Fault.CARRIER),
        ("out_of_credit", True, False, Fault.ACCOUNT),
    ],
)
def test_each_refusal_says_whether_trying_again_can_help(server, notifier, mode, permanent, ambiguous, fault):
    server.network.configure({"fail_next": 1, "fail_mode": mode})
    with pytest.raises(NotificationError) as caught:
        notifier.send_text(TextRequest(to=MOTHER, reference="t1", body="x", valid_s=60))
    assert (caught.value.permanent, caught.value.ambiguous, caught.value.fault) == (
        permanent,
        ambiguous,
        fault,
    )
    assert notifier.send_text(TextRequest(to=MOTHER, reference="t1", body="x", valid_s=60)).id.startswith("SM")


def test_a_carrier_that_does_not_answer_is_left_in_time_and_may_have_acted(server, notifier):
    server.network.configure({"fail_next": 1, "fail_mode": "timeout_acted"})
    since = datetime.now(UTC)
    with pytest.raises(NotificationError) as caught:
        notifier.place_call(request())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, True)
    (call,) = server.network.calls()
    assert notifier.find_call(MOTHER, since, "n1") == Found(receipts=(Receipt(provider="twilio", id=call.sid),))


def test_after_a_timeout_without_effect_no_call_is_found(server, notifier):
    server.network.configure({"fail_next": 1, "fail_mode": "timeout"})
    with pytest.raises(NotificationError):
        notifier.place_call(request())
    assert notifier.find_call(MOTHER, datetime.now(UTC) - timedelta(minutes=1), "n1") == Found()


def test_only_calls_since_the_attempt_are_found(server, notifier):
    sid = notifier.place_call(request())
    text = notifier.send_text(TextRequest(to=MOTHER, reference="t1", body="x", valid_s=60))
    ago = datetime.now(UTC) - timedelta(minutes=1)
    assert notifier.find_call(MOTHER, ago, "n1") == Found(receipts=(sid,))
    assert notifier.find_text(MOTHER, ago, "t1", "x") == Found(receipts=(text,), sure=True)
    assert notifier.find_call("+821099998888", ago, "n1") == Found()
    for call in server.network.calls():
        call.times["created"] -= timedelta(minutes=10)
    assert notifier.find_call(MOTHER, ago, "n1") == Found()


def test_every_call_to_a_number_is_found_and_the_oldest_stands_first(server, notifier):
    placed = tuple(notifier.place_call(request()) for _ in range(3))
    assert notifier.find_call(MOTHER, datetime.now(UTC), "n1") == Found(receipts=placed)


def test_a_text_is_found_by_its_words_and_not_by_its_number_alone(server, notifier):
    sent = {
        words: notifier.send_text(TextRequest(to=MOTHER, reference="t1", body=words, valid_s=60))
        for words in ("맡으시려면 https://ansim.example/r/a", "맡으시려면 https://ansim.example/r/b")
    }
    for words, receipt in sent.items():
        assert notifier.find_text(MOTHER, datetime.now(UTC), "t1", words) == Found(receipts=(receipt,), sure=True)
    assert notifier.find_text(MOTHER, datetime.now(UTC), "t1", "다른 말").receipts == ()


def test_a_call_is_found_although_our_clock_was_an_hour_ahead_when_it_went_out(server, notifier):
    sid = notifier.place_call(request())
    assert notifier.find_call(MOTHER, datetime.now(UTC) + timedelta(hours=1), "n1").receipts == (sid,)


def test_a_search_that_is_refused_is_an_error_and_not_an_empty_answer(server):
    with pytest.raises(NotificationError) as caught:
        TwilioNotifier(SID, "wrong", OURS, PUBLIC, server.url).find_call(MOTHER, datetime.now(UTC), "n1")
    assert caught.value.permanent


def test_a_carrier_that_is_not_there_was_never_reached():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NotificationError) as caught:
            TwilioNotifier(SID, TOKEN, OURS, PUBLIC, address).place_call(request())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, False)
    assert MOTHER[1:] not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nwhat",
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_an_answer_that_makes_no_sense_is_ambiguous(answer):
    with one_answer(answer) as address, pytest.raises(NotificationError) as caught:
        TwilioNotifier(SID, TOKEN, OURS, PUBLIC, address).place_call(request())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, True)


def test_nothing_personal_is_logged_even_when_everything_is(server, notifier, caplog):
    with caplog.at_level(logging.DEBUG):
        notifier.place_call(request())
        notifier.send_text(TextRequest(to=MOTHER, reference="t1", body="어머니 소식", valid_s=60))
        notifier.find_call(MOTHER, datetime.now(UTC), "n1")
    assert MOTHER[1:] not in caplog.text
    assert "어머니" not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account_sid": ""}, "account_sid must not be empty"),
        ({"public_url": "ansim.example"}, "public_url must be an http"),
        ({"timeout_s": 0}, "timeout_s must be positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    usual = {"account_sid": SID, "auth_token": TOKEN, "from_number": OURS, "public_url": PUBLIC}
    with pytest.raises(ValueError, match=words):
        TwilioNotifier(**{**usual, **changes})


def test_whoever_asks_us_to_wait_is_heard(server, notifier):
    server.network.configure({"fail_next": 1, "fail_mode": "429", "retry_after_s": 7})
    with pytest.raises(NotificationError) as caught:
        notifier.place_call(request())
    assert (caught.value.permanent, caught.value.ambiguous, caught.value.retry_after_s) == (False, False, 7.0)
    server.network.configure({"fail_next": 1, "fail_mode": "500"})
    with pytest.raises(NotificationError) as caught:
        notifier.place_call(request())
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("code", "fault"),
    [(21614, Fault.NUMBER), (21610, Fault.NUMBER), (21408, Fault.ROUTE), (13227, Fault.ROUTE), (20003, Fault.ACCOUNT)],
)
def test_a_way_that_is_closed_is_not_the_numbers_own_fault(code, fault):
    answer = json.dumps({"code": code, "message": "no", "status": 400}).encode()
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    with one_answer(refusal) as address, pytest.raises(NotificationError) as caught:
        TwilioNotifier(SID, TOKEN, OURS, PUBLIC, address).place_call(request())
    assert (caught.value.permanent, caught.value.fault, caught.value.provider) == (True, fault, "twilio")


def test_a_bridge_shows_our_own_number_and_comes_back_to_us():
    words = offline().render(Prompt(language="ko", lines=("연결합니다.",), bridge_to=MOTHER, reference="n1"))
    say, dial = ElementTree.fromstring(words)
    assert (say.text, dial.tag, dial.text) == ("연결합니다.", "Dial", MOTHER)
    assert dial.attrib == {
        "callerId": OURS,
        "timeout": "30",
        "action": f"{PUBLIC}/v1/telephony/twilio/bridge/n1",
        "method": "POST",
    }
    (dial,) = ElementTree.fromstring(offline().render(Prompt(language="ko", lines=(), bridge_to=MOTHER)))
    assert "action" not in dial.attrib


def test_the_end_of_a_bridge_says_how_the_other_leg_ended_and_that_the_call_goes_on():
    event = read("/v1/telephony/twilio/bridge/n1", DialCallStatus="no-answer")
    assert (event.kind, event.status, event.bridged) == (
        CarrierEventKind.STATUS,
        CallStatus.IN_PROGRESS,
        CallStatus.NO_ANSWER,
    )
    with pytest.raises(ValueError, match="DialCallStatus"):
        read("/v1/telephony/twilio/bridge/n1", DialCallStatus="sneezed")


def test_a_text_to_us_is_read_with_who_wrote_it_and_no_more_than_a_text_can_hold():
    event = read("/v1/telephony/twilio/text", MessageSid="SM1", SmsStatus="received", From=MOTHER, Body="4821" * 500)
    assert (event.kind, event.reference, event.from_number, event.provider_id) == (
        CarrierEventKind.TEXT_IN,
        None,
        MOTHER,
        "SM1",
    )
    assert len(event.body) == 1600
    (again,) = offline().events(
        PUBLIC + ANSWER,
        {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(PUBLIC + ANSWER, FORM)},
        FORM,
        b"anything",
    )
    assert (again.kind, again.provider, again.body) == (CarrierEventKind.ANSWERED, "twilio", "")


def test_its_reach_is_the_declared_one():
    assert offline().reach(MOTHER) == {Reach.VOICE, Reach.TEXT}
    assert offline().reach(OURS) == {Reach.VOICE}


# What Twilio's own API description says of the parameters that we use (Api20100401, as twilio-python 9.13, which is
# generated from it, declares them); the description itself is not part of this repository.
DESCRIBED = {
    "Calls.json": {
        "To": str,
        "From": str,
        "Url": str,
        "Method": {"GET", "POST"},
        "Timeout": int,
        "StatusCallback": str,
        "StatusCallbackMethod": {"GET", "POST"},
        "StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
        "MachineDetection": {"Enable", "DetectMessageEnd"},
        "Twiml": str,
    },
    "Messages.json": {"To": str, "From": str, "Body": str, "StatusCallback": str, "ValidityPeriod": int},
}


def test_every_request_fits_what_twilio_describes(monkeypatch):
    seen: list[tuple[str, str, dict[str, object]]] = []

    def asked(self, method, url, params=None, data=None, **more):
        seen.append((method, url.rsplit("/", 1)[-1], dict(data or {})))
        return Response(201, json.dumps({"sid": "CA1"}))

    monkeypatch.setattr(TwilioHttpClient, "request", asked)
    carrier = offline()
    carrier.place_call(CallRequest(to=MOTHER, reference="n1", ring_s=20, detect_voicemail=True))
    carrier.announce(MOTHER, ("안녕하세요",), "ko", 40)
    carrier.send_text(TextRequest(to=MOTHER, reference="t1", body="x", valid_s=300))
    assert [where for _, where, _ in seen] == ["Calls.json", "Calls.json", "Messages.json"]
    for method, where, data in seen:
        assert method == "POST"
        for name, value in data.items():
            kind = DESCRIBED[where][name]
            values = value if isinstance(value, list) else [value]
            assert all(type(one) is kind if isinstance(kind, type) else one in kind for one in values), name
    assert 1 <= seen[2][2]["ValidityPeriod"] <= 36_000
    assert 5 <= seen[0][2]["Timeout"] <= 600


def test_a_request_ends_within_the_time_out_and_a_search_after_a_failure_within_half_of_it(monkeypatch):
    given: list[tuple[float, float]] = []

    def deaf(_session, _request, *, timeout, **_more):
        given.append(timeout)
        raise requests.ReadTimeout

    monkeypatch.setattr(requests.Session, "send", deaf)
    carrier = TwilioNotifier(SID, TOKEN, OURS, PUBLIC, "http://127.0.0.1:9", timeout_s=0.9)
    for ask in (lambda: carrier.place_call(request()), lambda: carrier.find_call(MOTHER, datetime.now(UTC), "n1")):
        with pytest.raises(NotificationError):
            ask()
    assert [sum(connecting_and_reading) for connecting_and_reading in given] == pytest.approx([0.9, 0.45])


def test_a_call_that_rings_is_hung_up_and_one_that_was_answered_goes_on(server, notifier):
    network = server.network
    network.configure({"time_scale": 1})
    network.configure_phone(MOTHER, {"behaviour": "manual"})
    ringing = notifier.place_call(CallRequest(to=MOTHER, reference="n1", ring_s=600))
    assert notifier.hang_up(ringing)
    until(lambda: network.call(ringing.id).status == "canceled")
    assert not notifier.hang_up(ringing), "twice harms nothing"
    answered = notifier.announce(MOTHER, ("hello",) * 20, "en", 600)
    until(lambda: network.call(answered.id).status == "ringing")
    network.pick_up(MOTHER)
    until(lambda: network.call(answered.id).status == "in-progress")
    assert not notifier.hang_up(answered)
    assert network.call(answered.id).status == "in-progress"
    assert not notifier.hang_up(Receipt(provider="twilio", id="CA" + "0" * 32)), "the carrier has forgotten it"


def test_a_carrier_that_fails_while_hanging_up_is_told_apart_from_a_call_that_is_over(server, notifier):
    server.network.configure_phone(MOTHER, {"behaviour": "no_answer"})
    taken = notifier.place_call(CallRequest(to=MOTHER, reference="n1", ring_s=600))
    server.network.configure({"fail": {"twilio": {"next": 1, "mode": "500"}}})
    with pytest.raises(NotificationError) as caught:
        notifier.hang_up(taken)
    assert not caught.value.permanent


def until(met) -> None:
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)
