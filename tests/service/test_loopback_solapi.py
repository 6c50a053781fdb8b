"""SOLAPI's door of the loopback telephone network, through SOLAPI's own SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from solapi import SolapiMessageService
from solapi.lib.authenticator import Authenticator
from solapi.model import RequestMessage, SendRequestConfig, VoiceOption
from solapi.model.request.messages.get_messages import GetMessagesRequest

from dispatch.notifier import CallRequest, Prompt, TextRequest
from dispatch.solapi_notifier import SolapiNotifier
from service.loopback import LoopbackNetwork, LoopbackServer

KEY, SECRET = "NCSLOOPBACK", "an-api-secret-for-tests"
OURS, MOTHER = "021234567", "01011112222"


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    network = LoopbackNetwork("AC1", "token", time_scale=200, solapi_key=KEY, solapi_secret=SECRET)
    with LoopbackServer(network) as one:
        yield one


@pytest.fixture
def sdk(server) -> SolapiMessageService:
    service = SolapiMessageService(KEY, SECRET)
    service.base_url = server.url
    return service


def idle(network: LoopbackNetwork) -> None:
    limit = time.monotonic() + 20
    while any(network.idle().values()):
        assert time.monotonic() < limit, "the loopback network did not come to rest"
        time.sleep(0.005)


def post(server: LoopbackServer, body: object, authorization: str | None = None) -> requests.Response:
    shown = Authenticator(KEY, SECRET).get_auth_info() if authorization is None else authorization
    return requests.post(
        f"{server.url}/messages/v4/send-many/detail", json=body, headers={"Authorization": shown}, timeout=5
    )


def message(**changes: Any) -> dict[str, Any]:
    return {"messages": [{"to": MOTHER, "from": OURS, "text": "x", "type": "SMS"} | changes]}


def test_the_vendors_sdk_sends_a_text_and_finds_it_again(server, sdk):
    answer = sdk.send(
        RequestMessage(from_=OURS, to=MOTHER, text="확인해 주세요.", custom_fields={"reference": "t1"}),
        SendRequestConfig(show_message_list=True),
    )
    (sent,) = answer.message_list
    idle(server.network)
    since = datetime.now(UTC) - timedelta(minutes=1)
    found = sdk.get_messages(GetMessagesRequest(to=MOTHER, start_date=since.isoformat(), limit=5))
    assert found.message_list[sent.message_id].status_code == "4000"
    assert found.message_list[sent.message_id].custom_fields == {"reference": "t1"}
    (kept,) = server.network.messages()
    assert (kept.to, kept.from_, kept.body) == ("+821011112222", "+8221234567", "확인해 주세요.")


def test_the_vendors_sdk_makes_a_voice_message_and_a_person_presses_a_key(server, sdk):
    server.network.configure_phone("+821011112222", {"behaviour": "answer", "digits": ["2"]})
    options = VoiceOption(voice_type="FEMALE", reply_range=3)
    sdk.send(RequestMessage(from_=OURS, to=MOTHER, text="누르세요", type="VOICE", voice_options=options))
    idle(server.network)
    (call,) = server.network.calls()
    assert call.pressed == ["2"]
    (row,) = requests.get(
        f"{server.url}/messages/v4/list",
        headers={"Authorization": Authenticator(KEY, SECRET).get_auth_info()},
        timeout=5,
    ).json()["messageList"].values()
    assert (row["type"], row["voiceReplied"], row["statusCode"]) == ("VOICE", True, "4000")


def test_what_our_adapter_sends_is_what_the_vendors_models_make_of_it(server, monkeypatch):
    sent: list[dict[str, Any]] = []
    real = requests.Session.request

    def noted(self, method, url, **more):
        sent.extend(more.get("json", {}).get("messages", []))
        return real(self, method, url, **more)

    monkeypatch.setattr(requests.Session, "request", noted)
    carrier = SolapiNotifier(KEY, SECRET, "+8221234567", "w", lambda: datetime.now(UTC), server.url)
    prompt = Prompt(language="ko", lines=("안녕하세요.", "1번을 눌러 주세요."), ask=True, one_key="3")
    carrier.place_call(CallRequest(to="+821011112222", reference="n1", ring_s=20, prompt=prompt))
    carrier.send_text(TextRequest(to="+821011112222", reference="t1", body="확인해 주세요. " * 20, valid_s=60))
    assert [one["type"] for one in sent] == ["VOICE", "LMS"]
    for ours in sent:
        theirs = RequestMessage.model_validate(ours).model_dump(exclude_none=True, by_alias=True)
        assert theirs == ours


def test_sdk_and_service_agree_that_a_number_is_wrong(server, sdk):
    with pytest.raises(Exception, match="실패"):
        sdk.send(RequestMessage(from_=OURS, to="not a number", text="x"))
    assert server.network.messages() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": ["x"]},
        message(text=""),
        message(type="ATA"),
        message(type="SMS", text="가" * 46),
        message(imageid="x"),
        message(type="VOICE"),
        message(type="VOICE", voiceOptions={"voiceType": "CHILD"}),
        message(type="VOICE", voiceOptions={"voiceType": "MALE", "replyRange": 10}),
        message(type="VOICE", voiceOptions={"voiceType": "MALE", "replyRange": True}),
        message(type="VOICE", voiceOptions={"voiceType": "MALE", "replyRange": 1, "counselorNumber": "02"}),
        message(customFields={"n": 1}),
        message() | {"unknown": 1},
    ],
)
def test_what_solapi_does_not_know_is_refused(server, body):
    answer = post(server, body)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "ValidationError")
    assert server.network.messages() == server.network.calls() == []


def test_nobody_sends_without_the_right_signature(server):
    shown = Authenticator(KEY, SECRET).get_auth_info()
    assert post(server, message(), shown).status_code == 200
    assert post(server, message(), shown).json()["errorCode"] == "DuplicatedSignature"
    for wrong in ("", "Bearer x", shown.replace("HMAC", "MAC"), Authenticator(KEY, "wrong").get_auth_info()):
        assert post(server, message(), wrong).status_code in {401, 403}
    late = Authenticator(KEY, SECRET)
    late.get_iso_datetime = lambda: (datetime.now(UTC) - timedelta(hours=1)).isoformat()  # type: ignore[method-assign]
    assert post(server, message(), late.get_auth_info()).json()["errorCode"] == "RequestTimeTooSkewed"


def test_each_provider_has_weather_of_its_own(server, sdk):
    server.network.configure({"fail": {"solapi": {"next": 2, "mode": "out_of_credit"}}})
    assert [post(server, message()).status_code for _ in range(3)] == [402, 402, 200]
    server.network.configure({"fail": {"twilio": {"next": 2}}})
    assert post(server, message()).status_code == 200


def test_twilios_lists_do_not_show_what_solapi_carried(server):
    assert post(server, message()).status_code == 200
    answer = requests.get(
        f"{server.url}/2010-04-01/Accounts/AC1/Messages.json", auth=("AC1", "token"), timeout=5
    )
    assert answer.json()["messages"] == []
