"""The devices' doors: enrolment and readings."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import msgspec
from flask import Blueprint, Response, request

from devices import signatures
from devices.reading import UploadError
from service.api import bodies
from service.api.auth import house, signing_device
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import arrivals, rescue
from service.workflows import devices as device_flow
from service.workflows.uploads import Answer

blueprint = Blueprint("readings", __name__)


class Enrolment(msgspec.Struct, kw_only=True):
    """What a device sends once; for ed25519 with its public key (JWK, OKP)."""

    code: str
    alg: str
    public_key: dict[str, str] | None = None
    model: str = ""
    worn_at: Literal["wrist", "waist", "chest", ""] = ""
    """Falls are judged by where a device is worn; unsaid, as at the wrist."""


class Enrolled(msgspec.Struct, kw_only=True, omit_defaults=True):
    device_id: str
    keyid: str
    secret: str | None = None
    """base64url, only for hmac-sha256, shown this once."""


@blueprint.post("/v1/devices/enrol")
@operation(
    "Enrol a device with a one-time code",
    request=Enrolment,
    responses={201: Enrolled, 400: None, 401: None, 413: None, 415: None, 422: None},
    security="none",
)
def enrol() -> Response:
    """Bind a device to the wearer for whom the code was issued."""
    wanted = bodies.decode(bodies.read(), Enrolment, "not_an_enrolment")
    if wanted.alg not in {"ed25519", "hmac-sha256"}:
        raise Problem(
            422, "alg_unknown", f"alg must be ed25519 or hmac-sha256, was {wanted.alg!r}", field="alg"
        )
    public_key = _public_key(wanted) if wanted.alg == "ed25519" else None
    # PostgreSQL takes no NUL, and a log or page no control characters.
    model = "".join(letter for letter in wanted.model[:100] if letter.isprintable())
    try:
        device_id, key = device_flow.enrol_device(
            house(), wanted.code, alg=wanted.alg, public_key=public_key, model=model, worn_at=wanted.worn_at
        )
    except device_flow.CodeRefused as error:
        raise Problem(
            401, "code_refused", "this enrolment code is unknown, used or expired; ask for a new one"
        ) from error
    secret = base64.urlsafe_b64encode(key).rstrip(b"=").decode() if public_key is None else None
    made = Enrolled(device_id=str(device_id), keyid=str(device_id), secret=secret)
    return Response(msgspec.json.encode(made), status=201, content_type="application/json")


def _public_key(wanted: Enrolment) -> bytes:
    if wanted.public_key is None:
        raise Problem(422, "public_key_missing", "public_key must be a JWK for ed25519", field="public_key")
    try:
        return signatures.public_key_from_jwk(wanted.public_key).public_bytes_raw()
    except ValueError as error:
        raise Problem(422, "public_key_invalid", str(error), field="public_key") from error


@blueprint.post("/v1/readings")
@operation(
    "Post readings; a verdict for every sequence number",
    request=None,
    responses={200: Answer, 400: None, 401: None, 409: None, 413: None, 415: None, 422: None, 503: None},
    security="signature",
)
def post_readings() -> Response:
    """Take one signed upload. Answered only once it is durable."""
    body = bodies.read()
    device, signed = signing_device(body)
    digest = hashlib.sha256(body).digest()
    try:
        if request.mimetype != "application/json":
            detail = f"content-type must be application/json, was {request.mimetype[:40] or 'missing'}"
            raise UploadError(415, "unsupported_media_type", detail, None)
        accepted = arrivals.accept_readings(house(), device, body, digest=digest, nonce=signed.nonce)
    except UploadError as error:
        # Whatever is wrong with the rest, the press was signed by the wearer's own device.
        rescue.rescue_sos(house(), device, body, digest)
        raise error
    response = Response(accepted.body, content_type="application/json")
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
