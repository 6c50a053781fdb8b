"""What concerns whoever asks: the browsers in which they want to be told, and what messages cost."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response

from dispatch.subscription import Unusable
from service import access_doors
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows.browsers import Browser
from service.workflows.spending import SpendRecord

blueprint = Blueprint("me", __name__)


class PushKey(msgspec.Struct, kw_only=True):
    """What a browser needs before it can ask to be told."""

    public_key: str | None
    """VAPID application server key, base64url; null where no push is set up."""
    browsers: list[str] = []
    """In which browsers whoever asks is told already: SHA-256 of each endpoint, base64url."""


class Endpoint(msgspec.Struct, kw_only=True):
    endpoint: str


@blueprint.get("/v1/me/push")
@operation("The key by which a browser asks to be told", responses={200: PushKey, 401: None})
def push_key() -> Response:
    """With it a browser finds out whether it is one of those in which this person is told."""
    asking = viewer()
    key: Any = getattr(house().pusher, "public_key", None)
    told = PushKey(public_key=key, browsers=access_doors.browser_marks(house(), asking))
    return Response(msgspec.json.encode(told), content_type="application/json")


@blueprint.post("/v1/me/push")
@operation(
    "Be told in this browser",
    request=Browser,
    responses={204: None, 400: None, 401: None, 403: None, 409: None, 422: None},
)
def add_push() -> Response:
    """What ``PushSubscription.toJSON()`` gives; the same browser again changes nothing."""
    asking = viewer()
    wanted = bodies.decode(bodies.read(), Browser, "body_invalid")
    if house().pusher is None:
        raise Problem(409, "push_not_set_up", "this site sends no push messages; ask your operator")
    try:
        access_doors.add_browser(house(), asking, wanted)
    except Unusable as error:
        code = "endpoint_invalid" if error.field == "endpoint" else "keys_invalid"
        raise Problem(422, code, str(error), field=error.field) from error
    return Response(status=204)


@blueprint.delete("/v1/me/push")
@operation(
    "Be told in this browser no more",
    request=Endpoint,
    responses={204: None, 400: None, 401: None, 403: None, 422: None},
)
def remove_push() -> Response:
    """By its endpoint; one that is not known is gone already."""
    asking = viewer()
    access_doors.remove_browser(house(), asking, bodies.decode(bodies.read(), Endpoint, "body_invalid").endpoint)
    return Response(status=204)


@blueprint.get("/v1/spending")
@operation("What calls and texts cost, day by day", responses={200: SpendRecord, 401: None, 403: None})
def spend() -> Response:
    """The last days by channel, the day's cap, and whether messages that can wait are held back now."""
    found = access_doors.spend(house(), viewer("incidents:read"))
    return Response(msgspec.json.encode(found), content_type="application/json")
