"""Is this process alive, can it do its work, and how is it doing."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from service.api.auth import house
from service.api.openapi import operation
from service.workflows import health, watching

blueprint = Blueprint("health", __name__)


class Alive(msgspec.Struct):
    status: str


class Ready(msgspec.Struct):
    status: str
    checks: dict[str, str]
    details: dict[str, str]
    """What is no reason to send requests elsewhere: the auditor's findings, and whether a watchdog looks."""


@blueprint.get("/healthz")
@operation("Is this process alive", responses={200: Alive}, security="none")
def healthz() -> Response:
    """Always 200 while the process answers."""
    return Response(msgspec.json.encode(Alive("ok")), content_type="application/json")


@blueprint.get("/readyz")
@operation("Can it do its work", responses={200: Ready, 503: Ready}, security="none")
def readyz() -> Response:
    """200 when the database, the keys and the jobs answer; else 503 with what does not."""
    checks = health.checks(house())
    fine = all(text == "ok" for text in checks.values())
    body = Ready("ok" if fine else "unavailable", checks, health.details(house()))
    name = request.headers.get(watching.HEADER)
    if name is not None:
        watching.note(house(), name)
    return Response(msgspec.json.encode(body), status=200 if fine else 503, content_type="application/json")


@blueprint.get("/metrics")
@operation("Measurements for Prometheus", responses={200: None}, security="none", content_type="text/plain")
def metrics() -> Response:
    """Counts from the database, so that every replica tells the same."""
    registry = CollectorRegistry()
    for name, (text, value) in health.measures(house()).items():
        Gauge(name, text, registry=registry).set(value)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
