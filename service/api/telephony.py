"""The carrier's callbacks, checked by their signature on the public address."""

from __future__ import annotations

from flask import Blueprint, Response, request

from service.api.auth import house
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import telephone

blueprint = Blueprint("telephony", __name__)


@blueprint.post("/v1/telephony/twilio/<kind>/<reference>")
@operation(
    "A carrier's callback about one call or text (kind: answer, digits or status)",
    responses={200: None, 204: None, 400: None, 403: None, 404: None, 413: None},
    security="carrier",
    content_type="text/xml",
)
def callback(kind: str, reference: str) -> Response:
    """Somebody picked up, pressed a key, or the call changed state."""
    if kind not in {"answer", "digits", "status"}:
        raise Problem(404, "not_found", f"kind must be answer, digits or status, was {kind!r}")
    return _handle()


@blueprint.post("/v1/telephony/twilio/incoming")
@operation(
    "Somebody rings our number",
    responses={200: None, 400: None, 403: None, 413: None},
    security="carrier",
    content_type="text/xml",
)
def incoming() -> Response:
    """A returned call reaches its open case's menu."""
    return _handle()


def _handle() -> Response:
    carrier = house().notifier
    try:
        event = carrier.verify_and_parse(request.url, dict(request.headers), request.form)
    except PermissionError as error:
        raise Problem(403, "signature_refused", "the carrier's signature does not fit this address") from error
    except ValueError as error:
        raise Problem(400, "callback_unreadable", "this callback cannot be read") from error
    if any("\0" in value for value in request.form.values()):
        # PostgreSQL holds no NUL in a text.
        raise Problem(400, "callback_unreadable", "this callback holds a NUL")
    prompt = telephone.carrier_event(house(), event)
    if prompt is None:
        return Response(b"", status=204)
    return Response(carrier.render(prompt), content_type="text/xml")
