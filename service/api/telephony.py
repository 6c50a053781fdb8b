"""The carriers' callbacks, each believed by what its carrier proves itself with on our public address."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from dispatch.notifier import CarrierEvent, NotificationError, Prompt
from service.api.auth import house
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import telephone

blueprint = Blueprint("telephony", __name__)

KINDS = ("answer", "digits", "status", "bridge")
NOTHING_MORE = Prompt(language="ko", lines=())
"""A call whose bridge has ended is over: it is told to hang up."""


@blueprint.post("/v1/telephony/twilio/<kind>/<reference>")
@operation(
    "A carrier's callback about one call or text (kind: answer, digits, status or bridge)",
    responses={200: None, 204: None, 400: None, 403: None, 404: None, 413: None},
    security="carrier",
    content_type="text/xml",
)
def callback(kind: str, reference: str) -> Response:
    """Somebody picked up, pressed a key, or the call changed state."""
    if kind not in KINDS:
        raise Problem(404, "not_found", f"kind must be {', '.join(KINDS)}, was {kind!r}")
    return _handle(NOTHING_MORE if kind == "bridge" else None)


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


@blueprint.post("/v1/telephony/twilio/text")
@operation(
    "Somebody writes to our number",
    responses={204: None, 400: None, 403: None, 413: None},
    security="carrier",
    content_type="text/xml",
)
def text() -> Response:
    """A text may answer one of ours; it is never answered by the carrier itself."""
    _handle()
    return Response(b"", status=204)


@blueprint.post("/v1/telephony/solapi/report")
@operation(
    "SOLAPI reports what became of calls and texts (webhook SINGLE-REPORT)",
    responses={204: None, 400: None, 403: None, 413: None, 503: None},
    security="carrier",
)
def report() -> Response:
    """Several at once; whatever is refused here is sent again."""
    _handle()
    return Response(b"", status=204)


def _handle(otherwise: Prompt | None = None) -> Response:
    prompt = otherwise
    for event in _events():
        prompt = telephone.carrier_event(house(), event) or otherwise
    if prompt is None:
        return Response(b"", status=204)
    return Response(house().notifier.render(prompt), content_type="text/xml")


def _events() -> list[CarrierEvent]:
    try:
        # The form is read first: what has been read as a form is no longer there as a body.
        form, body = request.form, request.get_data()
        events = house().notifier.events(request.url, dict(request.headers), form, body)
    except PermissionError as error:
        raise Problem(403, "signature_refused", "the carrier's signature does not fit this address") from error
    except ValueError as error:
        raise Problem(400, "callback_unreadable", "this callback cannot be read") from error
    except NotificationError as error:
        raise Problem(503, "unavailable", "the carrier could not be asked for the rest; send it again") from error
    told = [value for event in events for value in msgspec.structs.astuple(event) if isinstance(value, str)]
    if any("\0" in value for value in [*request.form.values(), *told]):
        # PostgreSQL holds no NUL in a text.
        raise Problem(400, "callback_unreadable", "this callback holds a NUL")
    return events
