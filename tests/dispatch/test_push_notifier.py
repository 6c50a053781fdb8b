"""Web Push: against a push service on loopback that opens what it gets as the browser would."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from dispatch.notifier import Fault, NotificationError, PushRequest
from dispatch.push_notifier import LONGEST_BYTES, WebPusher, encrypted, new_key, read_key

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
REFERENCE = "0199e0a2-7c3a-7bbb-8000-000000000001"


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def mac(key: bytes, data: bytes) -> bytes:
    one = hmac.HMAC(key, hashes.SHA256())
    one.update(data)
    return one.finalize()


def opened(body: bytes, key: ec.EllipticCurvePrivateKey, secret: bytes) -> bytes:
    """As a browser does it, step by step as RFC 8291 section 3.4 writes it: HMAC by HMAC."""
    salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    theirs, sealed = body[21 : 21 + length], body[21 + length :]
    assert len(sealed) <= size
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
    info = b"WebPush: info\x00" + point(key.public_key()) + theirs
    seed = mac(mac(secret, shared), info + b"\x01")
    pseudo = mac(salt, seed)
    content = mac(pseudo, b"Content-Encoding: aes128gcm\x00\x01")[:16]
    nonce = mac(pseudo, b"Content-Encoding: nonce\x00\x01")[:12]
    plain = AESGCM(content).decrypt(nonce, sealed, None)
    assert plain.endswith(b"\x02")
    return plain[:-1]


@dataclass
class Browser:
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    secret: bytes = b"0123456789abcdef"

    def subscription(self, endpoint: str) -> dict[str, object]:
        keys = {"p256dh": b64(point(self.key.public_key())), "auth": b64(self.secret)}
        return {"endpoint": endpoint, "expirationTime": None, "keys": keys}


class Silent(WSGIRequestHandler):
    def log_request(self, *_args, **_kwargs):
        pass


class PushService:
    """Refuses what RFC 8030 and RFC 8292 refuse, and opens the rest with the browser's own keys."""

    def __init__(self, browser: Browser, ours: str) -> None:
        self.browser, self.ours = browser, ours
        self.status, self.wait, self.slow_s = 201, "", 0.0
        self.onward, self.endless = "", False
        self.asked: list[str] = []
        self.shown: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        app = Flask(__name__)
        app.add_url_rule("/push/<one>", view_func=self.take, methods=["POST"])
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def take(self, one: str) -> Response:
        time.sleep(self.slow_s)
        self.asked.append(one)
        if not self.allowed():
            return Response(status=403)
        if request.headers.get("Content-Encoding") != "aes128gcm" or not request.headers.get("TTL", "").isdigit():
            return Response(status=400)
        if self.status != 201:
            headers = {"Retry-After": self.wait, "Location": self.onward}
            return Response(status=self.status, headers={name: said for name, said in headers.items() if said})
        self.shown.append(json.loads(opened(request.get_data(), self.browser.key, self.browser.secret)))
        self.headers.append(dict(request.headers))
        if self.endless:
            return Response((time.sleep(0.2) or b"." for _ in range(150)), status=201)
        return Response(status=201, headers={"Location": f"{self.url}/message/{one}"})

    def allowed(self) -> bool:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        given = dict(part.strip().split("=", 1) for part in rest.split(","))
        head, claims, signature = given["t"].split(".")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw(given["k"]))
        r, s = (int.from_bytes(raw(signature)[i : i + 32], "big") for i in (0, 32))
        try:
            key.verify(encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        said = json.loads(raw(claims))
        lasts = said["exp"] - NOW.timestamp()
        known = given["k"] == self.ours and json.loads(raw(head)) == {"typ": "JWT", "alg": "ES256"}
        return scheme == "vapid" and known and said["aud"] == self.url and 0 < lasts <= 86_400

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def pusher() -> WebPusher:
    return WebPusher(new_key(), "mailto:ansim@city.example", lambda: NOW, 4.5, loopback=True)


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def service(browser, pusher) -> Iterator[PushService]:
    one = PushService(browser, pusher.public_key)
    yield one
    one.stop()


def request_to(subscription: dict[str, object], **more: object) -> PushRequest:
    given = {"reference": REFERENCE, "title": "안심", "body": "확인이 필요해요.", "path": "/r/x"}
    return PushRequest(subscription=subscription, **{**given, **more})  # type: ignore[arg-type]


def test_the_published_example_comes_out_byte_for_byte():
    """RFC 8291, section 5 and appendix A."""
    ours = ec.derive_private_key(
        int.from_bytes(raw("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    theirs = ec.derive_private_key(
        int.from_bytes(raw("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big"), ec.SECP256R1()
    )
    assert b64(point(theirs.public_key())) == (
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    )
    sealed = encrypted(
        b"When I grow up, I want to be a watermelon",
        theirs.public_key(),
        raw("BTBZMqHH6r4Tts7J_aSIgg"),
        ours,
        raw("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert b64(sealed) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
        "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_push_reaches_the_browser_that_asked_and_only_that_can_open_it(service, pusher, browser):
    told = pusher.push(request_to(browser.subscription(f"{service.url}/push/1")))
    assert told == f"{service.url}/message/1"
    assert service.shown == [
        {
            "title": "안심",
            "body": "확인이 필요해요.",
            "path": "/r/x",
            "stays": False,
            "tag": REFERENCE,
        }
    ]
    (headers,) = service.headers
    assert (headers["Ttl"], headers["Urgency"], len(headers["Topic"])) == ("300", "high", 32)


def test_another_browser_cannot_open_it(pusher, browser):
    sealed = encrypted(b"x", browser.key.public_key(), browser.secret)
    with pytest.raises(InvalidTag):
        opened(sealed, Browser().key, browser.secret)


@pytest.mark.parametrize(
    ("status", "permanent", "fault"),
    [
        (404, True, Fault.NUMBER),
        (410, True, Fault.NUMBER),
        (401, True, Fault.ACCOUNT),
        (400, True, Fault.CARRIER),
        (413, True, Fault.CARRIER),
        (429, False, Fault.CARRIER),
        (500, False, Fault.CARRIER),
        (503, False, Fault.CARRIER),
    ],
)
def test_a_subscription_that_is_gone_is_told_from_a_service_in_trouble(
    service, pusher, browser, status, permanent, fault
):
    service.status, service.wait = status, "11"
    with pytest.raises(NotificationError) as caught:
        pusher.push(request_to(browser.subscription(f"{service.url}/push/1")))
    assert (caught.value.permanent, caught.value.fault, caught.value.code) == (permanent, fault, str(status))
    assert caught.value.retry_after_s == (None if permanent else 11.0)
    assert service.url not in str(caught.value)


def test_another_installations_key_is_refused(service, browser):
    with pytest.raises(NotificationError) as caught:
        WebPusher(new_key(), "mailto:a@b.example", lambda: NOW, loopback=True).push(
            request_to(browser.subscription(f"{service.url}/push/1"))
        )
    assert caught.value.fault is Fault.ACCOUNT


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"endpoint": "https://push.example/1"},
        {"endpoint": "https://push.example/1", "keys": {"p256dh": "AAAA", "auth": "MDEyMzQ1Njc4OWFiY2RlZg"}},
        {"endpoint": "https://push.example/1", "keys": {"p256dh": None, "auth": None}},
        {"endpoint": 7, "keys": {}},
    ],
)
def test_a_subscription_that_cannot_be_used_is_gone(pusher, broken):
    with pytest.raises(NotificationError) as caught:
        pusher.push(request_to(broken))
    assert (caught.value.permanent, caught.value.fault) == (True, Fault.NUMBER)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.7",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fd00::1",
        "fe80::1%lo",
        "::ffff:10.0.0.7",
        "64:ff9b::a00:7",
        "2002:a00:7::",
    ],
)
def test_a_name_that_stands_for_a_private_address_is_not_posted_to(browser, monkeypatch, address):
    """Judged at every connection: a name may stand for another address than when the browser gave it."""
    touched = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", (address, port))])
    monkeypatch.setattr("dispatch.push_notifier.create_connection", lambda *a, **_: touched.append(a))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    pusher = WebPusher(new_key(), "mailto:a@b.example", lambda: NOW)
    with pytest.raises(NotificationError) as caught:
        pusher.push(request_to(browser.subscription("https://push.example/1")))
    assert touched == []
    # For now only: a resolver that is led astray must not end anybody's subscription.
    assert (caught.value.permanent, caught.value.ambiguous, caught.value.code) == (False, False, "not_public")


def test_the_address_that_was_judged_is_the_one_that_is_posted_to(browser, monkeypatch):
    touched = []

    def refuse(address, *_, **__):
        touched.append(address)
        raise ConnectionRefusedError

    answers = [(2, 1, 6, "", ("10.0.0.7", 443)), (2, 1, 6, "", ("8.8.8.8", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    monkeypatch.setattr("dispatch.push_notifier.create_connection", refuse)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotificationError):
        WebPusher(new_key(), "mailto:a@b.example", lambda: NOW).push(
            request_to(browser.subscription("https://push.example/1"))
        )
    assert touched == [("8.8.8.8", 443)]


def test_a_push_service_that_sends_us_elsewhere_is_not_followed(service, pusher, browser):
    service.status, service.onward = 307, f"{service.url}/push/elsewhere"
    with pytest.raises(NotificationError) as caught:
        pusher.push(request_to(browser.subscription(f"{service.url}/push/1")))
    assert (caught.value.permanent, caught.value.fault, caught.value.code) == (True, Fault.CARRIER, "307")
    assert service.asked == ["1"]


def test_an_answer_without_an_end_keeps_no_sender_waiting(service, pusher, browser):
    service.endless = True
    started = time.monotonic()
    assert pusher.push(request_to(browser.subscription(f"{service.url}/push/1")))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("endpoint", ["http://push.example/1", "https://127.0.0.1:8443/1", "http://localhost/1", "file:///etc"])
def test_a_browser_cannot_make_us_post_into_our_own_machine(browser, endpoint):
    with pytest.raises(NotificationError) as caught:
        WebPusher(new_key(), "mailto:a@b.example", lambda: NOW).push(request_to(browser.subscription(endpoint)))
    assert caught.value.code == "subscription"


def test_a_service_that_is_not_there_or_silent_is_left_in_time(service, pusher, browser):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotificationError) as caught:
            pusher.push(request_to(browser.subscription(f"http://127.0.0.1:{taken.getsockname()[1]}/push/1")))
    assert (caught.value.permanent, caught.value.ambiguous) == (False, False)
    service.slow_s = 1.5
    hasty = WebPusher(new_key(), "mailto:ansim@city.example", lambda: NOW, 1.0, loopback=True)
    with pytest.raises(NotificationError) as caught:
        hasty.push(request_to(browser.subscription(f"{service.url}/push/1")))
    assert (caught.value.permanent, caught.value.ambiguous) == (False, True)


def test_what_does_not_fit_is_refused_before_it_is_sent(pusher, browser):
    with pytest.raises(ValueError, match="must fit into"):
        pusher.push(request_to(browser.subscription("http://127.0.0.1:9/1"), body="가" * LONGEST_BYTES))


def test_nothing_personal_is_logged(service, pusher, browser, caplog):
    with caplog.at_level(logging.DEBUG):
        pusher.push(request_to(browser.subscription(f"{service.url}/push/secret-address")))
    assert "secret-address" not in caplog.text
    assert "확인이" not in caplog.text


def test_keys_of_another_kind_are_refused():
    wrong = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="P-256"):
        read_key(wrong)
    with pytest.raises(ValueError, match="unencrypted private key"):
        read_key(b"what")
    with pytest.raises(ValueError, match="contact must be"):
        WebPusher(new_key(), "ansim", lambda: NOW)
    pem = new_key()
    assert raw(WebPusher(pem, "mailto:a@b.example", lambda: NOW).public_key) == point(read_key(pem).public_key())
