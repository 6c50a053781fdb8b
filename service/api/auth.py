"""Who is at a machine's door: a device by its signature, a machine by its key, a person by session."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import current_app, request
from sqlalchemy import Row

from devices import signatures
from service import access
from service.access import Viewer
from service.api.errors import Problem
from service.workflows import devices as device_flow
from service.workflows.house import House, log

SESSION_COOKIE = "ansim_session"


def house() -> House:
    built: House = current_app.extensions["ansim"]
    return built


def signing_device(body: bytes) -> tuple[Row[Any], signatures.SignatureInput]:
    """The enrolled device that signed this request, or 401.

    Nothing is refused for the device's clock: freshness rests on upload id, digest and nonce.
    """
    try:
        signed = signatures.read(request.headers)
        device, key = device_flow.find(house(), signed.keyid)
        if device is None or key is None:
            raise signatures.SignatureError("unknown_device", "this key id is not known; enrol the device")
        if device.revoked_at is not None:
            raise signatures.SignatureError("device_revoked", "this device was revoked; enrol it again")
        _verify(signed, key, device.alg, body)
    except signatures.SignatureError as error:
        log("signature_refused", code=error.code)
        raise Problem(401, error.code, error.detail) from error
    return device, signed


def _verify(signed: signatures.SignatureInput, key: bytes, alg: str, body: bytes) -> None:
    verifying = key if alg == "hmac-sha256" else Ed25519PublicKey.from_public_bytes(key)
    # Behind a proxy the device signed the public name, which may differ from the Host we are given.
    names = list(dict.fromkeys([request.host, urlsplit(house().settings.public_url).netloc]))
    for authority in names:
        try:
            signatures.verify(
                signed,
                verifying,
                method=request.method,
                path=request.path,
                authority=authority,
                content_type=request.headers.get("Content-Type", ""),
                body=body,
            )
            return
        except signatures.SignatureError as refusal:
            if refusal.code != "signature_invalid" or authority == names[-1]:
                raise


def credentials() -> tuple[str, bool]:
    """What this request showed of itself: (service key or session cookie, whether it is a key)."""
    # RFC 9110 section 11.1: the scheme's case does not matter.
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip(), True
    return request.cookies.get(SESSION_COOKIE, ""), False


def viewer(scope: str | None = None) -> Viewer:
    """The machine (bearer key) or person (session) asking; 401 when neither.

    A person's POST must carry the session's CSRF token, since a browser sends cookies by itself.
    """
    secret, is_key = credentials()
    if is_key:
        found = access.viewer_from_key(house(), secret)
        if found is None:
            raise Problem(401, "key_unknown", "this service key is not known or was revoked")
        if scope is not None and scope not in found.scopes:
            raise Problem(403, "scope_missing", f"this service key lacks the scope {scope}")
        return found
    person = access.viewer_from_cookie(house(), secret)
    if person is None:
        raise Problem(401, "not_logged_in", "send a service key (Authorization: Bearer ...) or log in")
    token = request.headers.get("X-CSRF-Token", "")
    if request.method not in {"GET", "HEAD"} and not hmac.compare_digest(token.encode(), person.csrf.encode()):
        raise Problem(403, "csrf_missing", "send the session's token in X-CSRF-Token")
    return person
