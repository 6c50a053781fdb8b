"""The devices' doors: enrolment and readings."""

from __future__ import annotations

import base64
import hashlib

import msgspec
from flask import Blueprint, Response, request

from devices import signatures
from devices.reading import MAX_BODY_BYTES
from service.api.auth import house, signing_device
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import people, readings
from service.workflows.readings import Answer

blueprint = Blueprint("readings", __name__)


class Enrolment(msgspec.Struct, kw_only=True):
    """What a device sends once; for ed25519 with its public key (JWK, OKP)."""

    code: str
    alg: str
    public_key: dict[str, str] | None = None
    model: str = ""


class Enrolled(msgspec.Struct, kw_only=True, omit_defaults=True):
    device_id: str
    keyid: str
    secret: str | None = None
    """base64url, only for hmac-sha256, shown this once."""


@blueprint.post("/v1/devices/enrol")
@operation(
    "Enrol a device with a one-time code",
    request=Enrolment,
    responses={201: Enrolled, 400: None, 401: None, 422: None},
    security="none",
)
def enrol() -> Response:
    """Bind a device to the wearer for whom the code was issued."""
    try:
        wanted = msgspec.json.decode(_body(), type=Enrolment)
    except msgspec.ValidationError as error:
        raise Problem(422, "not_an_enrolment", str(error)) from error
    except msgspec.DecodeError as error:
        raise Problem(400, "not_json", f"the body must be JSON: {error}") from error
    if wanted.alg not in {"ed25519", "hmac-sha256"}:
        raise Problem(
            422, "alg_unknown", f"alg must be ed25519 or hmac-sha256, was {wanted.alg!r}", field="alg"
        )
    public_key = _public_key(wanted) if wanted.alg == "ed25519" else None
    try:
        device_id, key = people.enrol_device(
            house(), wanted.code, alg=wanted.alg, public_key=public_key, model=wanted.model[:100]
        )
    except people.CodeRefused as error:
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
    body = _body()
    if request.mimetype != "application/json":
        raise Problem(
            415, "not_json", f"content-type must be application/json, was {request.mimetype or 'missing'}"
        )
    device, signed = signing_device(body)
    accepted = readings.accept_readings(house(), device, body, digest=hashlib.sha256(body).digest(), nonce=signed.nonce)
    response = Response(accepted.body, content_type="application/json")
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _body() -> bytes:
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        raise Problem(
            413, "too_large", f"the body must be at most {MAX_BODY_BYTES} bytes, was {length}; split the upload"
        )
    body = request.stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, "too_large", f"the body must be at most {MAX_BODY_BYTES} bytes; split the upload")
    return body
