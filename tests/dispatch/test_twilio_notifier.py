"""What we ask of Twilio: calls, texts and searches, and what each of the carrier's failures means."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio_stage import MOTHER, OURS, PUBLIC, SID, TOKEN, offline

from dispatch import twilio_notifier
from dispatch.notifier import CallRequest, Fault, Found, NotificationError, Reach, Receipt, TextRequest
from dispatch.twilio_notifier import TwilioNotifier
from service.loopback import LoopbackNetwork, LoopbackServer


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(LoopbackNetwork(SID, TOKEN, time_scale=100)) as one:
        yield one


@pytest.fixture
def notifier(server) -> TwilioNotifier:
    return TwilioNotifier(SID, TOKEN, OURS, PUBLIC, server.url, timeout_s=1.5)


def ids(found: Found) -> list[str]:
    return [one.id for one in found.receipts]


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
    assert ids(notifier.find_call(MOTHER, since, "n1")) == [call.sid]


def test_after_a_timeout_without_effect_no_call_is_found(server, notifier):
    server.network.configure({"fail_next": 1, "fail_mode": "timeout"})
    with pytest.raises(NotificationError):
        notifier.place_call(request())
    assert notifier.find_call(MOTHER, datetime.now(UTC) - timedelta(minutes=1), "n1") == Found()


def test_only_calls_since_the_attempt_are_found(server, notifier):
    sid = notifier.place_call(request())
    text = notifier.send_text(TextRequest(to=MOTHER, reference="t1", body="x", valid_s=60))
    ago = datetime.now(UTC) - timedelta(minutes=1)
    (found,) = notifier.find_call(MOTHER, ago, "n1").receipts
    assert (found.provider, found.id) == (sid.provider, sid.id)
    in_words = notifier.find_text(MOTHER, ago, "t1", "x")
    assert (ids(in_words), in_words.sure) == ([text.id], True)
    assert notifier.find_call("+821099998888", ago, "n1") == Found()
    for call in server.network.calls():
        call.times["created"] -= timedelta(minutes=10)
    assert notifier.find_call(MOTHER, ago, "n1") == Found()


def test_every_call_to_a_number_is_found_and_the_oldest_stands_first(server, notifier):
    placed = [notifier.place_call(request()).id for _ in range(3)]
    found = notifier.find_call(MOTHER, datetime.now(UTC), "n1")
    assert (ids(found), found.sure) == (placed, False)


def test_a_number_that_was_called_more_often_than_a_page_shows_is_looked_through_as_far_back_as_asked(
    server, notifier, monkeypatch
):
    monkeypatch.setattr(twilio_notifier, "LISTED", 2)
    placed = [notifier.place_call(request()).id for _ in range(7)]
    server.network.call(placed[0]).times["created"] -= timedelta(minutes=10)
    assert ids(notifier.find_call(MOTHER, datetime.now(UTC), "n1")) == placed[1:]


def test_a_found_call_tells_its_age_by_the_carriers_own_clock(server, notifier):
    sid = notifier.place_call(request()).id
    server.network.call(sid).times["created"] -= timedelta(seconds=40)
    (found,) = notifier.find_call(MOTHER, datetime.now(UTC) - timedelta(hours=1), "n1").receipts
    assert found.age_s == pytest.approx(40, abs=3)


@pytest.mark.parametrize("said", ["{:%a, %d %b %Y %H:%M:%S} -0000", "{0:%a, %d %b %Y %H:%M:%S} GMT, {0:%a, %d}", ""])
def test_a_call_is_found_whatever_the_carrier_says_of_the_time(server, notifier, monkeypatch, said):
    sid = notifier.place_call(request()).id
    monkeypatch.setattr(twilio_notifier, "parsedate_to_datetime", _saying(said.format(datetime.now(UTC))))
    assert ids(notifier.find_call(MOTHER, datetime.now(UTC) - timedelta(seconds=5), "n1")) == [sid]


def _saying(said):
    return lambda _header: parsedate_to_datetime(said)


def test_a_text_is_found_by_its_words_and_not_by_its_number_alone(server, notifier):
    sent = {
        words: notifier.send_text(TextRequest(to=MOTHER, reference="t1", body=words, valid_s=60))
        for words in ("맡으시려면 https://ansim.example/r/a", "맡으시려면 https://ansim.example/r/b")
    }
    for words, receipt in sent.items():
        found = notifier.find_text(MOTHER, datetime.now(UTC), "t1", words)
        assert (ids(found), found.sure) == ([receipt.id], True)
    assert notifier.find_text(MOTHER, datetime.now(UTC), "t1", "다른 말").receipts == ()


def test_a_call_is_found_although_our_clock_was_an_hour_ahead_when_it_went_out(server, notifier):
    sid = notifier.place_call(request())
    assert notifier.find_call(MOTHER, datetime.now(UTC) + timedelta(hours=1), "n1").receipts[0].id == sid.id


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
        "StatusCallbackEvent": {"ringing", "answered", "completed"},
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
