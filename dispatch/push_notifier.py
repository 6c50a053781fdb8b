"""Web Push: the only module that knows it.

RFC 8030 (delivery), RFC 8291 and RFC 8188 (encryption for one browser), RFC 8292 (who sends: VAPID). Written on
``cryptography`` and ``requests``: the usual library brings an asynchronous HTTP client and parts without wheels along.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from dispatch import subscription
from dispatch.notifier import Fault, NotificationError, PushRequest

RECORD_BYTES = 4096
LONGEST_BYTES = 3993
"""RFC 8291 section 4: what fits into the one record that push services must take."""
TOKEN_LASTS = timedelta(hours=12)
"""RFC 8292 section 2: at most 24 hours."""
LONGEST_ID = 500
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class NotPublic(NewConnectionError):
    """A name that stands for no address on the public network: nothing was sent."""


class _PublicConnection(HTTPSConnection):
    """Connects to public addresses only, and to the very one that was judged."""

    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, socket.gaierror(str(error))) from error
        addresses = [str(one[4][0]).partition("%")[0] for one in found]
        public = [one for one in addresses if subscription.is_public(ip_address(one))]
        if not public:
            raise NotPublic(self, "the push service's name stands for no public address")
        try:
            options = self.socket_options
            return create_connection((public[0], self.port), self.timeout, self.source_address, options)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the push service did not answer in time") from error
        except OSError as error:
            raise NewConnectionError(self, "the push service was not reached") from error


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicAdapter(HTTPAdapter):
    """A name was judged when the browser gave it; what it stands for is judged at every connection.

    Where the site reaches the network through a proxy, the proxy looks names up and answers for them.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool}


class WebPusher:
    """Sends to browsers; signs as this installation."""

    name = "web_push"

    def __init__(
        self,
        private_key_pem: bytes,
        contact: str,
        clock: Callable[[], datetime],
        timeout_s: float = 3.0,
        *,
        loopback: bool = False,
    ) -> None:
        self._key = read_key(private_key_pem)
        if not contact.startswith(("mailto:", "https://")):
            raise ValueError("contact must be mailto: or https://, so that a push service can reach who sends")
        self._contact = contact
        # A browser names the address that we post to: only tests and the demonstration may mean this machine.
        self._loopback = loopback
        self._clock = clock
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.mount("https://", _PublicAdapter())
        if loopback:
            for host in LOCAL_HOSTS:
                name = f"[{host}]" if ":" in host else host
                self._session.mount(f"https://{name}", HTTPAdapter())
        self.public_key = _text(_point(self._key.public_key()))
        """What a browser is given as ``applicationServerKey``."""
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def push(self, request: PushRequest) -> str:
        """Send to one browser; the push service's message id, or our reference where it gives none."""
        endpoint, theirs, secret = _subscribed(request.subscription, self._loopback)
        shown = {"title": request.title, "body": request.body, "path": request.path, "stays": request.stays}
        plain = json.dumps(shown | {"tag": request.reference}, ensure_ascii=False).encode()
        if len(plain) > LONGEST_BYTES:
            raise ValueError(f"title and body must fit into {LONGEST_BYTES} bytes, were {len(plain)}")
        headers = {
            "Authorization": self._token(endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(0, request.valid_s)),
            "Urgency": "high",
            # RFC 8030 5.4: a second try replaces the first where that has not been delivered yet.
            "Topic": re.sub(r"[^A-Za-z0-9_]", "", request.reference)[:32],
        }
        # What it says is not read: whoever named this address could keep a sender reading for ever.
        with self._post(endpoint, encrypted(plain, theirs, secret), headers) as answer:
            if answer.status_code < 300:
                return str(answer.headers.get("Location", "") or request.reference)[:LONGEST_ID]
            raise _refusal(answer.status_code, answer.headers.get("Retry-After", ""))

    def _post(self, endpoint: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.post(
                endpoint,
                data=body,
                headers=headers,
                timeout=(self._timeout_s / 3, self._timeout_s * 2 / 3),
                allow_redirects=False,
                stream=True,
                proxies={"http": "", "https": ""} if urlsplit(endpoint).hostname in LOCAL_HOSTS else None,
            )
        except requests.RequestException as error:
            kind = "not_public" if isinstance(_reason(error), NotPublic) else type(error).__name__
            detail = f"the push service was not reached: {kind}"
            ambiguous = not _never_arrived(error)
            raise NotificationError(
                detail, permanent=False, ambiguous=ambiguous, code=kind, provider=self.name
            ) from None

    def _token(self, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int((self._clock() + TOKEN_LASTS).timestamp()),
            "sub": self._contact,
        }
        said = ".".join(_text(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
        r, s = decode_dss_signature(self._key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"vapid t={said}.{_text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}, k={self.public_key}"


def new_key() -> bytes:
    """A private key for VAPID, as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key, or a ``ValueError`` that says so."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the VAPID key must be an unencrypted private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the VAPID key must be on the curve P-256 (`openssl ecparam -name prime256v1 -genkey`)")
    return key


def encrypted(
    plain: bytes,
    theirs: ec.EllipticCurvePublicKey,
    secret: bytes,
    ours: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """``plain`` for one browser: RFC 8291, one record of aes128gcm (RFC 8188).

    ``ours`` and ``salt`` are given only to check against the published example.
    """
    ours = ours or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    point = _point(ours.public_key())
    info = b"WebPush: info\0" + _point(theirs) + point
    seed = _derived(ours.exchange(ec.ECDH(), theirs), secret, info, 32)
    key = _derived(seed, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(seed, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(point)]) + point
    # 0x02 ends the last record.
    return header + AESGCM(key).encrypt(nonce, plain + b"\x02", None)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _subscribed(given: dict[str, object], loopback: bool) -> tuple[str, ec.EllipticCurvePublicKey, bytes]:
    """Address and keys of a browser; one that cannot be used will never work."""
    endpoint, keys = given.get("endpoint"), given.get("keys")
    try:
        if not isinstance(endpoint, str) or not isinstance(keys, dict):
            raise ValueError("endpoint and keys must be present")
        subscription.check_endpoint(endpoint, loopback=loopback)
        point = subscription.point(str(keys["p256dh"]))
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        secret = subscription.secret(str(keys["auth"]))
    except (ValueError, KeyError):
        detail = "the browser's subscription cannot be used"
        raise NotificationError(
            detail, permanent=True, fault=Fault.NUMBER, code="subscription", provider=WebPusher.name
        ) from None
    return endpoint, theirs, secret


def _never_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    return isinstance(_reason(error), NewConnectionError)


def _reason(error: requests.RequestException) -> object:
    return getattr(error.args[0], "reason", None) if error.args else None


def _refusal(status: int, wait: str) -> NotificationError:
    """RFC 8030: 404 and 410 say that the browser has ended its subscription."""
    detail, code = f"the push service refused it: status={status}", str(status)
    wait_s = float(wait) if wait.isascii() and wait.isdigit() else None
    if status == 429 or status >= 500:
        return NotificationError(
            detail, permanent=False, ambiguous=False, code=code, retry_after_s=wait_s, provider=WebPusher.name
        )
    fault = Fault.NUMBER if status in {404, 410} else Fault.CARRIER
    if status in {401, 403}:
        fault = Fault.ACCOUNT
    return NotificationError(detail, permanent=True, fault=fault, code=code, provider=WebPusher.name)
