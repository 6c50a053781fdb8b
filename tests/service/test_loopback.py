"""Stories on the loopback telephone network, told through the real Twilio SDK and our own adapter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from dispatch.notifier import CallRequest, CallStatus, CarrierEvent, CarrierEventKind, Prompt, TextRequest
from dispatch.twilio_notifier import TwilioNotifier
from service.loopback import LoopbackNetwork, LoopbackServer

SID, TOKEN = "AC" + "1" * 32, "a-token-for-tests"
OURS, MOTHER, DAUGHTER = "+8221234567", "+821011112222", "+821033334444"
QUESTION = "괜찮으시면 1번을 눌러 주세요."


class Silent(WSGIRequestHandler):
    def log_request(self, *_args, **_kwargs):
        pass


class Service:
    """Our side of the line: verifies each callback, remembers it, asks its question twice."""

    def __init__(self, api_url: str) -> None:
        self.events: list[CarrierEvent] = []
        self.refused = 0
        self.reports_pass = threading.Event()
        self.reports_pass.set()
        self.say: Callable[[CarrierEvent], Response | bytes] = self.ask_twice
        app = Flask(__name__)
        app.add_url_rule("/<path:path>", view_func=self.callback, methods=["POST"])
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.notifier = TwilioNotifier(SID, TOKEN, OURS, self.url, api_url)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def callback(self, path: str) -> Response:
        try:
            event = self.notifier.verify_and_parse(request.url, request.headers, request.form)
        except PermissionError:
            self.refused += 1
            return Response(status=403)
        self.events.append(event)
        if event.kind is CarrierEventKind.STATUS:
            self.reports_pass.wait(20)
        answer = b"" if event.kind is CarrierEventKind.STATUS else self.say(event)
        return answer if isinstance(answer, Response) else Response(answer, mimetype="text/xml")

    def ask_twice(self, event: CarrierEvent) -> bytes:
        if event.voicemail:
            return self.notifier.render(
                Prompt(language="ko", lines=("안심 센터입니다. 다시 전화드리겠습니다.",))
            )
        if event.kind is CarrierEventKind.DIGITS and (event.digits or event.turn == 2):
            return self.notifier.render(Prompt(language="ko", lines=("감사합니다.",)))
        turn = 2 if event.kind is CarrierEventKind.DIGITS else 1
        reference = event.reference or "returned-call"
        return self.notifier.render(
            Prompt(
                language="ko", lines=("안심 센터입니다.", QUESTION), ask=True, reference=reference, turn=turn
            )
        )

    def ring(self, to: str = MOTHER, reference: str = "n1", ring_s: int = 25, voicemail: bool = True) -> str:
        return self.notifier.place_call(
            CallRequest(to=to, reference=reference, ring_s=ring_s, detect_voicemail=voicemail)
        ).id

    def of(self, kind: CarrierEventKind) -> list[CarrierEvent]:
        return [event for event in self.events if event.kind is kind]

    @property
    def statuses(self) -> list[CallStatus | None]:
        return [event.status for event in self.of(CarrierEventKind.STATUS)]

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def network() -> Iterator[LoopbackNetwork]:
    with LoopbackServer(LoopbackNetwork(SID, TOKEN, time_scale=100)) as server:
        server.network.carrier_url = server.url  # type: ignore[attr-defined]
        yield server.network


@pytest.fixture
def service(network) -> Iterator[Service]:
    ours = Service(network.carrier_url)
    yield ours
    ours.stop()


def idle(network: LoopbackNetwork) -> None:
    """Until nothing more will come by itself."""
    until(lambda: not any(network.idle().values()))


def until(met: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not met():
        assert time.monotonic() < limit, "the loopback network did not come to rest"
        time.sleep(0.005)


def test_an_answered_call_hears_the_question_and_presses_one(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    sid = service.ring()
    idle(network)
    (call,) = [c.as_json() for c in network.calls()]
    assert (call["sid"], call["status"], call["answered_by"]) == (sid, "completed", "human")
    assert [said["text"] for said in call["said"]] == ["안심 센터입니다.", QUESTION, "감사합니다."]
    assert {said["language"] for said in call["said"]} == {"ko-KR"}
    assert call["pressed"] == ["1"]
    assert service.statuses == ["ringing", "in_progress", "completed"]
    assert [e.sequence for e in service.of(CarrierEventKind.STATUS)] == [1, 2, 3]
    (digits,) = service.of(CarrierEventKind.DIGITS)
    assert (digits.reference, digits.provider_id, digits.digits, digits.turn) == ("n1", sid, "1", 1)
    assert service.refused == 0


def test_a_menu_is_asked_twice_and_the_second_key_counts(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["", "1"]})
    service.ring()
    idle(network)
    answers = [(e.turn, e.digits) for e in service.of(CarrierEventKind.DIGITS)]
    assert answers == [(1, ""), (2, "1")]
    assert network.calls()[0].menus == 2


def test_silence_runs_out_twice_and_the_call_still_ends(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer"})
    service.ring()
    idle(network)
    assert [(e.turn, e.digits) for e in service.of(CarrierEventKind.DIGITS)] == [(1, ""), (2, "")]
    assert network.calls()[0].pressed == []
    assert network.calls()[0].status == "completed"


@pytest.mark.parametrize(
    ("behaviour", "status", "heard"),
    [
        ("busy", "busy", ["busy"]),
        ("unreachable", "failed", ["failed"]),
        ("no_answer", "no-answer", ["ringing", "no_answer"]),
        ("reject", "busy", ["ringing", "busy"]),
    ],
)
def test_a_call_that_nobody_takes_ends_with_its_own_status(network, service, behaviour, status, heard):
    network.configure_phone(MOTHER, {"behaviour": behaviour})
    service.ring()
    idle(network)
    assert network.calls()[0].status == status
    assert network.calls()[0].said == []
    assert service.statuses == heard
    assert service.of(CarrierEventKind.STATUS)[-1].duration_s == 0


def test_an_unknown_telephone_does_what_the_network_says(network, service):
    network.configure({"default_behaviour": "busy"})
    service.ring()
    idle(network)
    assert network.calls()[0].status == "busy"


def test_ringing_ends_when_the_time_to_ring_is_over(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "delay_s": 40})
    service.ring(ring_s=20)
    idle(network)
    call = network.calls()[0]
    assert call.status == "no-answer"
    rang_s = (call.times["ended"] - call.times["ringing"]).total_seconds() * network.time_scale
    assert rang_s >= 20


def test_voicemail_is_told_apart_and_presses_nothing(network, service):
    network.configure_phone(MOTHER, {"behaviour": "voicemail", "digits": ["1"]})
    service.ring()
    idle(network)
    (answered,) = service.of(CarrierEventKind.ANSWERED)
    assert answered.voicemail
    call = network.calls()[0]
    assert call.answered_by == "machine_start"
    assert call.pressed == []
    assert [said["text"] for said in call.said] == ["안심 센터입니다. 다시 전화드리겠습니다."]


def test_voicemail_without_detection_hears_the_whole_menu_in_silence(network, service):
    network.configure_phone(MOTHER, {"behaviour": "voicemail", "digits": ["1"]})
    service.ring(voicemail=False)
    idle(network)
    call = network.calls()[0]
    assert call.answered_by is None
    assert not any(event.voicemail for event in service.events)
    assert [e.digits for e in service.of(CarrierEventKind.DIGITS)] == ["", ""]
    assert [said["text"] for said in call.said].count(QUESTION) == 2


def test_successive_calls_meet_successive_plans_and_the_last_one_stays(network, service):
    network.configure_phone(MOTHER, {"calls": [{"behaviour": "no_answer"}, {"digits": ["3"]}]})
    for reference in ("n1", "n2", "n3"):
        service.ring(reference=reference)
        idle(network)
    assert [c.status for c in network.calls()] == ["no-answer", "completed", "completed"]
    assert [(e.reference, e.digits) for e in service.of(CarrierEventKind.DIGITS)] == [
        ("n2", "3"),
        ("n3", "3"),
    ]


def test_callbacks_come_twice(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"], "callbacks": "twice"})
    service.ring()
    idle(network)
    assert service.statuses == [s for s in ("ringing", "in_progress", "completed") for _ in "ab"]
    assert [e.digits for e in service.of(CarrierEventKind.DIGITS)] == ["1", "1"]
    assert network.calls()[0].pressed == ["1"]


def test_callbacks_come_in_the_wrong_order(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"], "callbacks": "reordered"})
    service.ring()
    idle(network)
    assert service.statuses == ["completed", "in_progress", "ringing"]
    assert [e.sequence for e in service.of(CarrierEventKind.STATUS)] == [3, 2, 1]


def test_callbacks_come_late(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"], "callbacks": "late"})
    service.ring()
    idle(network)
    assert service.statuses == ["ringing", "in_progress", "completed"]
    kinds = [event.kind for event in service.events]
    assert kinds.index(CarrierEventKind.STATUS) > kinds.index(CarrierEventKind.DIGITS)


def test_what_a_call_does_next_waits_for_no_report_of_other_calls(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    service.reports_pass.clear()
    for number in range(40):
        service.ring(reference=f"n{number}")
    until(lambda: len(service.of(CarrierEventKind.DIGITS)) == 40)
    service.reports_pass.set()
    idle(network)
    assert len(service.of(CarrierEventKind.STATUS)) == 3 * 40


def test_callbacks_are_lost_but_the_keys_arrive(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"], "callbacks": "lost"})
    sid = service.ring()
    idle(network)
    assert service.statuses == []
    assert [e.digits for e in service.of(CarrierEventKind.DIGITS)] == ["1"]
    assert {c["result"] for c in network.call(sid).callbacks} == {"lost"}


def test_a_returned_call_is_signed_and_reaches_its_own_menu(network, service):
    network.configure({"voice_url": f"{service.url}/v1/telephony/twilio/incoming"})
    network.configure_phone(DAUGHTER, {"behaviour": "answer", "digits": ["1"]})
    call = network.ring_us(DAUGHTER, OURS)
    idle(network)
    (incoming,) = service.of(CarrierEventKind.INCOMING)
    assert (incoming.reference, incoming.from_number, incoming.to_number) == (None, DAUGHTER, OURS)
    (digits,) = service.of(CarrierEventKind.DIGITS)
    assert (digits.reference, digits.digits, digits.provider_id) == ("returned-call", "1", call.sid)
    assert (call.status, call.direction) == ("completed", "inbound")


def test_a_manual_telephone_rings_until_a_person_presses(network, service):
    network.configure({"time_scale": 10})
    network.configure_phone(MOTHER, {"behaviour": "manual"})
    sid = service.ring(ring_s=600)
    until(lambda: network.call(sid).status == "ringing")
    network.press(MOTHER, "1")
    idle(network)
    assert network.call(sid).pressed == ["1"]
    assert [e.digits for e in service.of(CarrierEventKind.DIGITS)] == ["1"]


def test_a_manual_telephone_can_be_picked_up_and_hung_up(network, service):
    network.configure({"time_scale": 10})
    network.configure_phone(MOTHER, {"behaviour": "manual"})
    sid = service.ring(ring_s=600)
    until(lambda: network.call(sid).status == "ringing")
    second = service.ring(reference="n2")
    network.pick_up(MOTHER)
    until(lambda: network.call(sid).listening)
    network.hang_up(MOTHER)
    idle(network)
    assert network.call(sid).status == "completed"
    assert network.call(second).status == "busy"
    assert service.of(CarrierEventKind.DIGITS) == []


def test_our_side_can_end_a_call_that_rings(network, service):
    network.configure({"time_scale": 1})
    network.configure_phone(MOTHER, {"behaviour": "no_answer"})
    sid = service.ring(ring_s=600)
    until(lambda: network.call(sid).status == "ringing")
    service.notifier._client.calls(sid).update(status="canceled")
    idle(network)
    assert network.call(sid).status == "canceled"
    assert service.statuses[-1] is CallStatus.CANCELLED


def test_a_failing_service_is_asked_again_once_and_then_excused(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    service.say = lambda event: Response(status=500)
    service.ring()
    idle(network)
    call = network.calls()[0]
    assert [r["result"] for r in call.requests] == [500, 500]
    assert call.errors == [11200]
    assert "application error" in call.said[-1]["text"]
    assert call.status == "completed"


def test_a_second_try_saves_the_call(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["1"]})
    failures = [500]

    def stumble(event: CarrierEvent) -> Response | bytes:
        return Response(status=failures.pop()) if failures else service.ask_twice(event)

    service.say = stumble
    service.ring()
    idle(network)
    assert network.calls()[0].pressed == ["1"]
    assert network.calls()[0].errors == []


def test_a_service_that_never_answers_does_not_hold_the_call(network, service):
    network.configure({"webhook_timeout_s": 0.05})
    network.configure_phone(MOTHER, {"behaviour": "answer"})
    release = threading.Event()

    def stay_silent(event: CarrierEvent) -> bytes:
        release.wait(10)
        return b""

    service.say = stay_silent
    service.ring()
    idle(network)
    release.set()
    assert [r["result"] for r in network.calls()[0].requests] == ["timeout", "timeout"]
    assert network.calls()[0].errors == [11205]


@pytest.mark.parametrize(
    ("words", "code"),
    [(b"<Response><Say>", 12100), (b"<Answer/>", 12200), (b"<Response><Dance/></Response>", 12200)],
)
def test_unreadable_words_end_the_call_with_an_apology(network, service, words, code):
    network.configure_phone(MOTHER, {"behaviour": "answer"})
    service.say = lambda event: words
    service.ring()
    idle(network)
    assert network.calls()[0].errors == [code]


def test_a_document_may_pause_redirect_and_reject(network, service):
    network.configure_phone(MOTHER, {"behaviour": "answer", "digits": ["", "5"]})
    away = b"<Redirect>/v1/telephony/twilio/digits/n1?turn=3</Redirect>"
    redirect = b"<Response><Pause length='2'/><Play>x.mp3</Play>" + away + b"</Response>"
    menus = b"<Gather timeout='3'><Say>one</Say></Gather><Gather/>"
    gather = b"<Response>" + menus + b"<Say>no key</Say><Dial>+8221190000</Dial></Response>"
    service.say = lambda event: gather if event.turn == 3 else redirect
    service.ring()
    idle(network)
    call = network.calls()[0]
    assert call.pressed == ["5"]
    assert [said["text"] for said in call.said] == ["one", "one", "no key"]
    assert call.dialled == ["+8221190000"]
    network.configure({"voice_url": f"{service.url}/v1/telephony/twilio/incoming"})
    service.say = lambda event: b"<Response><Reject reason='busy'/></Response>"
    returned = network.ring_us(DAUGHTER, OURS)
    idle(network)
    assert returned.status == "busy"
    assert "answered" not in returned.times


def test_a_forged_callback_is_refused(network, service):
    forged = requests.post(
        f"{service.url}/v1/telephony/twilio/digits/n1?turn=1",
        data={"CallSid": "CA1", "Digits": "1"},
        headers={"X-Twilio-Signature": "AAAA"},
        timeout=5,
    )
    assert forged.status_code == 403
    assert service.refused == 1


def test_a_text_is_sent_and_delivered(network, service):
    sid = service.notifier.send_text(
        TextRequest(to=DAUGHTER, reference="t1", body="확인해 주세요.", valid_s=300)
    ).id
    idle(network)
    assert service.statuses == [CallStatus.SENT, CallStatus.DELIVERED]
    assert {(e.reference, e.provider_id) for e in service.events} == {("t1", sid)}
    (text,) = [m.as_json() for m in network.messages()]
    assert (text["body"], text["validity_period_s"], text["status"]) == ("확인해 주세요.", 300, "delivered")


def test_a_text_to_an_unreachable_telephone_is_undelivered_and_says_why(network, service):
    network.configure_phone(DAUGHTER, {"behaviour": "unreachable", "callbacks": "reordered"})
    service.notifier.send_text(TextRequest(to=DAUGHTER, reference="t1", body="x", valid_s=300))
    idle(network)
    assert service.statuses == [CallStatus.UNDELIVERED, CallStatus.SENT]
    assert service.events[0].error_code == "30003"


def test_an_announcement_carries_its_own_words(network, service):
    network.configure_phone(DAUGHTER, {"behaviour": "answer"})
    service.notifier.announce(DAUGHTER, ("인증 번호는 1, 2, 3, 4 입니다.",), "ko", 20)
    idle(network)
    call = network.calls()[0]
    assert [said["text"] for said in call.said] == ["인증 번호는 1, 2, 3, 4 입니다."]
    assert service.events == []


def test_three_hundred_calls_ring_at_once_without_a_thread_each(network, service):
    network.configure({"default_behaviour": "no_answer", "time_scale": 10})
    details = {"from_": OURS, "twiml": "<Response/>", "ring_timeout_s": 20}
    before = threading.active_count()
    for number in range(300):
        network.place(to=f"+8210{number:08d}", **details)
    until(lambda: sum(call.status == "ringing" for call in network.calls()) == 300)
    assert threading.active_count() - before <= 40
    idle(network)
    assert {call.status for call in network.calls()} == {"no-answer"}


def test_only_the_newest_calls_are_remembered(network, monkeypatch):
    monkeypatch.setattr("service.loopback.calls.REMEMBERED", 5)
    for number in range(12):
        network.place(to=f"+8210{number:08d}", from_=OURS, twiml="<Response/>", ring_timeout_s=1)
        idle(network)
    assert [call.to[-2:] for call in network.calls()] == ["07", "08", "09", "10", "11"]
