"""What concerns whoever asks: the browsers in which they want to be told, and what messages cost."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response

from service import access_doors
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows.browsers import Browser
from service.workflows.spending import SpendRecord

blueprint = Blueprint("me", __name__)


class PushKey(msgspec.Struct, kw_only=True):
    """What a browser needs before it can ask to be told; null where no push is set up."""

    public_key: str | None


class Endpoint(msgspec.Struct, kw_only=True):
    endpoint: str


@blueprint.get("/v1/me/push")
@operation("The key by which a browser asks to be told", responses={200: PushKey, 401: None})
def push_key() -> Response:
    """VAPID application server key, base64url."""
    viewer()
    key: Any = getattr(house().pusher, "public_key", None)
    return Response(msgspec.json.encode(PushKey(public_key=key)), content_type="application/json")


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
    except ValueError as error:
        raise Problem(422, "endpoint_invalid", str(error), field="endpoint") from error
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
