"""The loopback telephone network's own doors: Twilio's REST API and the levers behind it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from dispatch.twilio_notifier import QuietHttpClient
from service.loopback import LoopbackNetwork, LoopbackServer

SID, TOKEN = "AC" + "2" * 32, "another-token-for-tests"
OURS, MOTHER = "+8221234567", "+821011112222"
WORDS = "<Response><Say>hello</Say></Response>"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(LoopbackNetwork(SID, TOKEN, time_scale=200, default_behaviour="answer")) as one:
        yield one


@pytest.fixture
def client(server) -> Client:
    return Client(SID, TOKEN, http_client=QuietHttpClient(3.0, server.url))


def idle(server: LoopbackServer) -> None:
    limit = time.monotonic() + 20
    while any(requests.get(f"{server.url}/_idle", timeout=5).json().values()):
        assert time.monotonic() < limit, "the loopback network did not come to rest"
        time.sleep(0.005)


def test_an_answer_tells_the_networks_own_time_and_tells_it_once(server, monkeypatch):
    monkeypatch.setattr("service.loopback.server.now", lambda: datetime(2026, 3, 2, 1, 0, tzinfo=UTC))
    answer = requests.get(f"{server.url}/_idle", timeout=5)
    assert answer.headers["Date"] == "Mon, 02 Mar 2026 01:00:00 GMT"


def test_a_call_has_the_shape_that_twilio_documents(server, client):
    raw = requests.post(
        f"{server.url}/2010-04-01/Accounts/{SID}/Calls.json",
        data={"To": MOTHER, "From": OURS, "Twiml": WORDS, "TimeLimit": "600"},
        auth=(SID, TOKEN),
        timeout=5,
    )
    call = raw.json()
    assert raw.status_code == 201
    assert re.fullmatch("CA[0-9a-f]{32}", call["sid"])
    assert (call["status"], call["direction"], call["price"]) == ("queued", "outbound-api", None)
    assert call["uri"] == f"/2010-04-01/Accounts/{SID}/Calls/{call['sid']}.json"
    assert "user_defined_messages" in call["subresource_uris"]
    idle(server)
    ended = client.calls(call["sid"]).fetch()
    assert (ended.status, ended.price_unit) == ("completed", "USD")
    assert float(ended.price) <= 0
    assert ended.duration.isdigit()
    assert ended.end_time >= ended.start_time >= ended.date_created


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"From": OURS, "Twiml": WORDS}, 21201),
        ({"To": "01012345678", "From": OURS, "Twiml": WORDS}, 21211),
        ({"To": "+15005550001", "From": OURS, "Twiml": WORDS}, 21211),
        ({"To": MOTHER, "Twiml": WORDS}, 21213),
        ({"To": MOTHER, "From": "hello", "Twiml": WORDS}, 21212),
        ({"To": MOTHER, "From": OURS}, 21205),
        ({"To": MOTHER, "From": OURS, "Url": "not an address"}, 21205),
        ({"To": MOTHER, "From": OURS, "Twiml": WORDS, "StatusCallback": "nowhere"}, 21609),
        ({"To": MOTHER, "From": OURS, "Twiml": WORDS, "StatusCallbackEvent": "sneezed"}, 21626),
        ({"To": MOTHER, "From": OURS, "Twiml": WORDS, "Timeout": "601"}, 20001),
        ({"To": MOTHER, "From": OURS, "Twiml": WORDS, "MachineDetection": "Perhaps"}, 20001),
    ],
)
def test_a_wrong_call_is_refused_with_twilios_own_code(server, form, code):
    answer = requests.post(
        f"{server.url}/2010-04-01/Accounts/{SID}/Calls.json", data=form, auth=(SID, TOKEN), timeout=5
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["more_info"].endswith(str(code))
    assert server.network.calls() == []


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"From": OURS, "Body": "x"}, 21604),
        ({"To": MOTHER, "Body": "x"}, 21603),
        ({"To": MOTHER, "From": OURS}, 21602),
        ({"To": MOTHER, "From": OURS, "Body": "x" * 1601}, 21617),
        ({"To": MOTHER, "From": OURS, "Body": "x", "ValidityPeriod": "0"}, 20001),
    ],
)
def test_a_wrong_text_is_refused_with_twilios_own_code(server, form, code):
    answer = requests.post(
        f"{server.url}/2010-04-01/Accounts/{SID}/Messages.json", data=form, auth=(SID, TOKEN), timeout=5
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("auth", [None, (SID, "wrong"), ("AC" + "9" * 32, TOKEN)])
def test_nobody_rings_without_the_right_credentials(server, auth):
    answer = requests.post(
        f"{server.url}/2010-04-01/Accounts/{SID}/Calls.json",
        data={"To": MOTHER, "From": OURS, "Twiml": WORDS},
        auth=auth,
        timeout=5,
    )
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)


def test_an_unknown_call_is_not_found(client):
    with pytest.raises(TwilioRestException) as caught:
        client.calls("CA" + "0" * 32).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)


def test_lists_are_filtered_and_paged_through_the_sdk(server, client):
    numbers = [f"+8210{n:08d}" for n in range(7)]
    for number in numbers:
        client.calls.create(to=number, from_=OURS, twiml=WORDS)
        client.messages.create(to=number, from_=OURS, body="hello")
    idle(server)
    yesterday, tomorrow = (datetime.now(UTC) + timedelta(days=d) for d in (-1, 1))
    assert [c.to for c in client.calls.list(page_size=3)] == numbers[::-1]
    assert [c.to for c in client.calls.list(to=numbers[2])] == [numbers[2]]
    assert len(client.calls.list(status="completed", start_time_after=yesterday)) == 7
    assert client.calls.list(start_time_after=tomorrow) == []
    assert len(client.calls.list(start_time_before=tomorrow, from_=OURS)) == 7
    assert client.calls.list(start_time=yesterday.date()) == []
    assert [m.to for m in client.messages.list(page_size=2)] == numbers[::-1]
    assert client.messages.list(date_sent_before=yesterday) == []
    assert client.messages(client.messages.list(to=numbers[0])[0].sid).fetch().status == "delivered"


def test_a_call_that_has_ended_cannot_be_ended_again(server, client):
    sid = client.calls.create(to=MOTHER, from_=OURS, twiml=WORDS).sid
    idle(server)
    with pytest.raises(TwilioRestException) as caught:
        client.calls(sid).update(status="completed")
    assert caught.value.code == 21220


def test_levers_work_over_http(server, client):
    url = server.url
    phone = requests.put(
        f"{url}/_phones/{MOTHER}",
        json={"behaviour": "voicemail", "label": "어머니", "delay_s": 1, "callbacks": "late"},
        timeout=5,
    )
    assert phone.status_code == 200
    assert requests.get(f"{url}/_phones/{MOTHER}", timeout=5).json()["label"] == "어머니"
    assert (
        requests.put(f"{url}/_phones/{MOTHER}", json={"label": "엄마"}, timeout=5).json()["behaviour"]
        == "voicemail"
    )
    client.calls.create(to=MOTHER, from_=OURS, twiml=WORDS, machine_detection="DetectMessageEnd")
    client.messages.create(to=MOTHER, from_=OURS, body="hello")
    idle(server)
    (call,) = requests.get(f"{url}/_calls", timeout=5).json()
    assert (call["answered_by"], call["said"][0]["text"]) == ("machine_end_beep", "hello")
    assert len(requests.get(f"{url}/_calls?to=%2B821099999999", timeout=5).json()) == 0
    assert requests.get(f"{url}/_messages?limit=5", timeout=5).json()[0]["body"] == "hello"
    assert requests.get(f"{url}/_phones", timeout=5).json()[0]["call"] is None
    for what in ("_calls", "_messages", "_phones"):
        assert requests.delete(f"{url}/{what}", timeout=5).status_code == 204
        assert requests.get(f"{url}/{what}", timeout=5).json() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", f"_phones/{MOTHER}", {"behaviour": "sing"}, 400, "behaviour must be one of answer, busy"),
        ("PUT", f"_phones/{MOTHER}", {"digits": "1"}, 400, "digits must be a list"),
        ("PUT", f"_phones/{MOTHER}", {"digits": ["one"]}, 400, "digits must be texts of 0-9"),
        ("PUT", f"_phones/{MOTHER}", {"delay_s": -1}, 400, "delay_s must be a number"),
        ("PUT", f"_phones/{MOTHER}", {"behavior": "answer"}, 400, "was given behavior"),
        ("PUT", f"_phones/{MOTHER}", [], 400, "JSON object"),
        ("PUT", "_phones/hello", {"behaviour": "answer"}, 400, "E.164"),
        ("POST", f"_phones/{MOTHER}/press", {"digit": "1"}, 409, "must be ringing or in a call"),
        ("POST", f"_phones/{MOTHER}/press", {"digit": "x"}, 400, "digit must be one of"),
        ("POST", f"_phones/{MOTHER}/ring", {"to": OURS}, 409, "voice_url must be set first"),
        ("PUT", "_network", {"time_scale": 0}, 400, "time_scale must be positive"),
        ("PUT", "_network", {"weather": "fine"}, 400, "was given weather"),
        ("PUT", "_network", {"voice_url": "ftp://x"}, 400, "voice_url must be"),
    ],
)
def test_a_wrong_lever_says_what_it_expects(server, method, path, body, status, words):
    answer = requests.request(method, f"{server.url}/{path}", json=body, timeout=5)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_the_page_says_that_no_real_telephone_rings_and_loads_nothing_from_elsewhere(server):
    page = requests.get(server.url, timeout=5)
    assert "no real phone rings" in page.text.lower()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_it_starts_as_a_process_of_its_own_and_stops_when_told(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "service.loopback", "--port", "0", "--time-scale", "100"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        word, _, text = process.stdout.readline().partition(" ")
        ready = json.loads(text)
        client = Client(
            ready["account_sid"], ready["auth_token"], http_client=QuietHttpClient(3.0, ready["url"])
        )
        assert word == "LOOPBACK_READY"
        assert client.calls.create(to=MOTHER, from_=OURS, twiml=WORDS).status == "queued"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        process.stdout.close()


def test_a_wrong_start_says_so():
    run = subprocess.run(
        [sys.executable, "-m", "service.loopback", "--default-behaviour", "sing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 2
    assert "default_behaviour must be one of" in run.stderr
