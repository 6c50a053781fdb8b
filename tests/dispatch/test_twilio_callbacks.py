"""What Twilio tells us and what we answer: signatures, each status, each key, and the words of a call."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
from twilio.request_validator import RequestValidator
from twilio_stage import MOTHER, OURS, PUBLIC, SID, TOKEN, offline
from werkzeug.datastructures import MultiDict

from dispatch.notifier import CallStatus, CarrierEvent, CarrierEventKind, Prompt
from dispatch.twilio_notifier import TwilioNotifier
from service.loopback.webhooks import signature

VECTORS = Path(__file__).parents[2] / "../shared/conformance/twilio/signature_vectors.json"
ANSWER = "/v1/telephony/twilio/answer/n1"
FORM = {
    "CallSid": "CA1",
    "CallStatus": "in-progress",
    "From": OURS,
    "To": MOTHER,
    "Direction": "outbound-api",
}


def read(
    path: str, public: str = PUBLIC, seen_as: str = "http://10.0.0.7:8080", **changes: str
) -> CarrierEvent:
    form = {**FORM, **changes}
    signed = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(public + path, form)}
    return offline(public).verify_and_parse(seen_as + path, signed, form)


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
