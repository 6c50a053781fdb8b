"""What the loopback network plays beside single calls: texts to us, bridges, weather by chance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask import Response
from test_loopback import DAUGHTER, MOTHER, OURS, SID, TOKEN, Service

from dispatch.notifier import CallStatus, CarrierEvent, CarrierEventKind, NotificationError, Prompt, TextRequest
from service.loopback import LoopbackNetwork, LoopbackServer
from service.loopback.weather import FailMode, Provider, Weather, read


@pytest.fixture
def network() -> Iterator[LoopbackNetwork]:
    with LoopbackServer(LoopbackNetwork(SID, TOKEN, time_scale=100)) as server:
        server.network.carrier_url = server.url  # type: ignore[attr-defined]
        yield server.network


@pytest.fixture
def service(network) -> Iterator[Service]:
    ours = Service(network.carrier_url)
    network.configure({"text_url": f"{ours.url}/v1/telephony/twilio/text"})
    yield ours
    ours.stop()


def until(met: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not met():
        assert time.monotonic() < limit, "the loopback network did not come to rest"
        time.sleep(0.005)


def idle(network: LoopbackNetwork) -> None:
    until(lambda: not any(network.idle().values()))


def ask(network: LoopbackNetwork, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{network.carrier_url}{path}", json=body, timeout=5)  # type: ignore[attr-defined]


def text(body: str) -> TextRequest:
    return TextRequest(to=DAUGHTER, reference="t1", body=body, valid_s=60)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_telephone_writes_to_us_and_the_webhook_is_signed(network, service, method):
    answer = ask(network, method, f"/_phones/{DAUGHTER}/text", {"to": OURS, "body": "4821 네"})
    assert answer.status_code == 201
    idle(network)
    (event,) = service.of(CarrierEventKind.TEXT_IN)
    assert (event.from_number, event.to_number, event.body, event.reference) == (DAUGHTER, OURS, "4821 네", None)
    assert event.provider_id == answer.json()["sid"]
    (kept,) = ask(network, "GET", "/_messages").json()
    assert (kept["direction"], kept["status"]) == ("inbound", "received")
    assert service.refused == 0


@pytest.mark.parametrize(("mode", "times"), [("twice", 2), ("lost", 0), ("late", 1)])
def test_a_text_to_us_may_come_twice_late_or_not_at_all(network, service, mode, times):
    network.configure_phone(DAUGHTER, {"behaviour": "answer", "callbacks": mode})
    ask(network, "POST", f"/_phones/{DAUGHTER}/text", {"to": OURS, "body": "x"})
    idle(network)
    assert len(service.of(CarrierEventKind.TEXT_IN)) == times


@pytest.mark.parametrize("body", [{}, {"to": OURS}, {"to": "x", "body": "y"}, {"to": OURS, "body": "y" * 1601}])
def test_a_text_that_could_not_be_written_is_refused(network, service, body):
    assert ask(network, "POST", f"/_phones/{DAUGHTER}/text", body).status_code == 400
    network.configure({"text_url": None})
    assert ask(network, "POST", f"/_phones/{DAUGHTER}/text", {"to": OURS, "body": "y"}).status_code == 409


def test_a_telephone_answers_a_text_with_the_code_in_it(network, service):
    network.configure_phone(DAUGHTER, {"behaviour": "answer", "reply": "{code} 네"})
    service.notifier.send_text(text("2026년 안심입니다. 문자로 맡으시려면 4821 회신"))
    idle(network)
    until(lambda: service.of(CarrierEventKind.TEXT_IN))
    (event,) = service.of(CarrierEventKind.TEXT_IN)
    assert event.body == "4821 네"
    service.notifier.send_text(text("코드가 없는 문자"))
    idle(network)
    assert ask(network, "GET", "/_idle").json()["pending_callbacks"] == 0
    assert len(service.of(CarrierEventKind.TEXT_IN)) == 1


def test_a_telephone_that_was_not_reached_answers_no_text(network, service):
    network.configure_phone(DAUGHTER, {"behaviour": "unreachable", "reply": "네"})
    service.notifier.send_text(text("4821"))
    idle(network)
    assert service.of(CarrierEventKind.TEXT_IN) == []


def bridging(service: Service) -> Callable[[CarrierEvent], Response | bytes]:
    def say(event: CarrierEvent) -> bytes:
        return service.notifier.render(
            Prompt(language="ko", lines=("연결합니다.",), bridge_to=DAUGHTER, reference=event.reference)
        )

    return say


@pytest.mark.parametrize(
    ("behaviour", "ended"),
    [
        ("answer", CallStatus.COMPLETED),
        ("busy", CallStatus.BUSY),
        ("no_answer", CallStatus.NO_ANSWER),
        ("unreachable", CallStatus.FAILED),
    ],
)
def test_a_bridge_rings_the_other_telephone_and_tells_us_how_that_ended(network, service, behaviour, ended):
    network.configure_phone(MOTHER, {"behaviour": "answer"})
    network.configure_phone(DAUGHTER, {"behaviour": behaviour})
    service.say = bridging(service)
    sid = service.ring(voicemail=False)
    idle(network)
    first, leg = ask(network, "GET", "/_calls").json()
    assert (first["sid"], first["bridged_to"], first["dialled"]) == (sid, leg["sid"], [DAUGHTER])
    assert (leg["parent_sid"], leg["to"], leg["from"], leg["direction"]) == (sid, DAUGHTER, OURS, "outbound-dial")
    (event,) = [event for event in service.events if event.bridged]
    assert (event.reference, event.bridged, event.status) == ("n1", ended, CallStatus.IN_PROGRESS)
    assert first["status"] == "completed"


def test_whoever_hangs_up_first_takes_the_other_along(network, service):
    for number in (MOTHER, DAUGHTER):
        network.configure_phone(number, {"behaviour": "manual"})
    service.say = bridging(service)
    for leaves in (MOTHER, DAUGHTER):
        sid = service.ring(voicemail=False)
        until(lambda: ask(network, "POST", f"/_phones/{MOTHER}/answer").ok)
        until(lambda: ask(network, "POST", f"/_phones/{DAUGHTER}/answer").ok)
        until(lambda: [c for c in network.calls() if c.phone_number == DAUGHTER][-1].status == "in-progress")
        ask(network, "POST", f"/_phones/{leaves}/hangup")
        idle(network)
        call = network.call(sid)
        assert call is not None
        leg = network.call(str(call.bridged_to))
        assert leg is not None
        assert (call.status, leg.status) == ("completed", "completed")


def test_a_bridge_to_what_is_no_number_ends_in_an_apology(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer"})
    service.say = lambda _event: b"<Response><Dial>119</Dial></Response>"
    service.ring(voicemail=False)
    idle(network)
    (call,) = network.calls()
    assert call.errors == [13223]


def test_the_same_seed_makes_the_same_weather():
    def weather(seed: int) -> list[FailMode | None]:
        one = Weather()
        one.configure({"fail_share": 0.3, "fail_modes": [FailMode.SERVER_ERROR, FailMode.TOO_MANY], "seed": seed})
        return [one.take(Provider.TWILIO) for _ in range(500)]

    assert weather(1) == weather(1) != weather(2)
    met = Counter(weather(1))
    assert 100 < met[FailMode.SERVER_ERROR] + met[FailMode.TOO_MANY] < 200
    assert set(met) == {None, FailMode.SERVER_ERROR, FailMode.TOO_MANY}


def test_a_share_of_all_requests_fails_and_none_when_it_clears(network, service):
    ask(network, "PUT", "/_network", {"fail_share": 1, "fail_modes": ["429"], "seed": 1, "retry_after_s": 2})
    with pytest.raises(NotificationError) as caught:
        service.notifier.send_text(text("x"))
    assert caught.value.retry_after_s == 2
    ask(network, "PUT", "/_network", {"fail_share": 0})
    assert service.notifier.send_text(text("x")).provider == "twilio"


def test_a_server_error_may_have_acted_all_the_same(network, service):
    network.configure({"fail_next": 1, "fail_mode": "500_acted"})
    with pytest.raises(NotificationError) as caught:
        service.ring()
    assert caught.value.ambiguous
    assert len(network.calls()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fail_share", 1.5),
        ("fail_share", "x"),
        ("fail_modes", []),
        ("fail_modes", ["rain"]),
        ("fail", {"telex": {"next": 1}}),
        ("fail", {"twilio": {"often": 1}}),
        ("fail", 3),
        ("seed", -1),
    ],
)
def test_weather_that_cannot_be_is_refused_and_nothing_taken(network, name, value):
    with pytest.raises(ValueError, match="must be"):
        read(name, value)
    before = network.settings()
    assert ask(network, "PUT", "/_network", {"fail_next": 7, name: value}).status_code == 400
    assert network.settings() == before
