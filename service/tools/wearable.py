"""A device as the tools need it: enrols itself, signs what it posts, keeps nothing."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices import signatures

TIMEOUT_S = 30.0


class Wearable:
    """One enrolled device with its own key."""

    def __init__(self, url: str, keyid: str, key: Ed25519PrivateKey, session: requests.Session | None = None) -> None:
        self.url = url.rstrip("/")
        self.keyid = keyid
        self._key = key
        self._authority = urlsplit(self.url).netloc
        self._session = session or requests.Session()

    @classmethod
    def enrol(cls, url: str, code: str, model: str, session: requests.Session | None = None) -> Wearable:
        """Spend an enrolment code on a new device with a new Ed25519 key."""
        key = Ed25519PrivateKey.generate()
        session = session or requests.Session()
        wanted: dict[str, Any] = {
            "code": code,
            "alg": "ed25519",
            "model": model,
            "public_key": signatures.public_key_to_jwk(key.public_key()),
        }
        response = session.post(f"{url.rstrip('/')}/v1/devices/enrol", json=wanted, timeout=TIMEOUT_S)
        response.raise_for_status()
        return cls(url, response.json()["keyid"], key, session)

    def headers(
        self, body: bytes, nonce: str | None = None, content_type: str = "application/json"
    ) -> dict[str, str]:
        """The signed headers for one upload."""
        return signatures.sign(
            self._key,
            method="POST",
            authority=self._authority,
            path="/v1/readings",
            content_type=content_type,
            body=body,
            keyid=self.keyid,
            nonce=nonce or secrets.token_urlsafe(12),
            created=int(time.time()),
        )

    def post(self, upload: dict[str, Any]) -> requests.Response:
        """Post one upload and return whatever the service says."""
        return self.send(msgspec.json.encode(upload))

    def send(
        self, body: bytes, nonce: str | None = None, content_type: str = "application/json"
    ) -> requests.Response:
        """Post raw bytes, signed."""
        headers = self.headers(body, nonce, content_type) | {"Content-Type": content_type}
        return self._session.post(f"{self.url}/v1/readings", data=body, headers=headers, timeout=TIMEOUT_S)
