"""The OpenAPI document, generated from the routes themselves: what is not described fails a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Flask, Response, current_app

from devices.reading import WireUpload
from service.api.errors import CODES

blueprint = Blueprint("openapi", __name__)
F = TypeVar("F", bound=Callable[..., Any])
MARK = "__operation__"
_CONVERTER = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Operation:
    summary: str
    request: type | None
    responses: dict[int, type | None]
    security: str
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def operation(
    summary: str,
    *,
    request: type | None = None,
    responses: dict[int, type | None],
    security: str = "key",
    query: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> Callable[[F], F]:
    """Describe a view: what it takes, what it answers, who may ask (``none``, ``key``, ``signature``, ``carrier``)."""

    def mark(view: F) -> F:
        setattr(view, MARK, Operation(summary, request, responses, security, query or {}, content_type))
        return view

    return mark


class ProblemBody(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details with a stable code."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None


def document(app: Flask) -> dict[str, Any]:
    """The whole OpenAPI 3.1 document of an application."""
    operations = [
        (rule, method, getattr(app.view_functions[rule.endpoint], MARK))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if hasattr(app.view_functions[rule.endpoint], MARK)
    ]
    structs: set[type] = {ProblemBody, WireUpload}
    for _, _, described in operations:
        structs |= {s for s in [described.request, *described.responses.values()] if s is not None}
    ordered = sorted(structs, key=lambda s: s.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, described in operations:
        path = _CONVERTER.sub(r"{\2}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _describe(rule.rule, rule.endpoint, described, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ansim", "version": "1"},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": 'RFC 9421, label sig1, over "@method" "@path" "@authority" '
                    '"content-type" "content-digest"',
                },
                "carrier": {"type": "apiKey", "in": "header", "name": "X-Twilio-Signature"},
            },
        },
    }


def _describe(
    rule: str, endpoint: str, described: Operation, schema_of: dict[type, dict[str, Any]]
) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **({"format": "uuid"} if kind == "uuid" else {})},
        }
        for kind, name in _CONVERTER.findall(rule)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in described.query.items()
    ]
    listed = dict(described.responses)
    if rule.startswith("/v1/"):
        listed |= {500: None, 503: None}  # any door, on a bad day
    if described.request is not None:
        listed |= {400: None, 413: None, 415: None, 422: None}
    one: dict[str, Any] = {
        "operationId": endpoint.replace(".", "_"),
        "summary": described.summary,
        "parameters": parameters,
        "responses": {str(status): _response(status, kind, described, schema_of)
                      for status, kind in sorted(listed.items())},
    }
    body = WireUpload if rule == "/v1/readings" else described.request
    if body is not None:
        one["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[body]}},
        }
    if described.security != "none":
        one["security"] = [{described.security: []}]
    return one


def _response(
    status: int, kind: type | None, described: Operation, schema_of: dict[type, dict[str, Any]]
) -> dict[str, Any]:
    if status >= 400 and kind is None:
        content = {"application/problem+json": {"schema": schema_of[ProblemBody]}}
        return {"description": CODES.get(status, "error").replace("_", " "), "content": content}
    if status == 204:
        return {"description": "noted, nothing to say"}
    schema = schema_of[kind] if kind is not None else {}
    return {"description": "as asked", "content": {described.content_type: {"schema": schema}}}


@blueprint.get("/openapi.json")
@operation("This document", responses={200: None}, security="none")
def show() -> Response:
    """The OpenAPI document."""
    return Response(msgspec.json.encode(document(current_app)), content_type="application/json")
