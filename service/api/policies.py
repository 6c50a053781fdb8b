"""Escalation policies for machines: check a document, publish it, read what is in force."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from flask import Blueprint, Response, request

from dispatch.policies import PolicyError
from dispatch.policy_words import problem_text
from service import access_policies
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.incidents import language
from service.api.openapi import operation
from service.workflows import policies
from service.workflows.policies import Changed, NothingToWithdraw, Place, PlaceError
from service.workflows.policy_check import Check, ScopeRecord

blueprint = Blueprint("policies", __name__)
SCOPE = "staff:write"


class PolicyText(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A document to look at, and for whom it is meant."""

    text: str
    scope: str = "organisation"
    district_code: str = ""
    patient_id: UUID | None = None
    cohort: bool = True
    """Whether to play the simulated homes too: a second of one core."""


class NewPolicy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A document to put in force; an empty text takes the scope's own back."""

    text: str
    scope: str = "organisation"
    district_code: str = ""
    patient_id: UUID | None = None
    seen: int | None = None
    """The number of the version that this one replaces; another in force is a conflict."""


class PolicyPublished(msgspec.Struct, kw_only=True, omit_defaults=True):
    version: str
    """As incidents remember it, such as ``district-26350/v7``."""
    again: int | None = None
    """The number of an earlier version of this scope with the very same text, which is in force again."""


class PolicyList(msgspec.Struct, kw_only=True):
    policies: list[ScopeRecord]


@blueprint.get("/v1/policies")
@operation(
    "The escalation policies in force, or every version of one scope",
    responses={200: PolicyList, 401: None, 403: None, 404: None, 422: None},
    query={
        "scope": "organisation, district or patient: every version of that one, newest first",
        "district_code": "which district",
        "patient_id": "which person",
    },
)
def in_force() -> Response:
    """The latest version of every scope; a person no narrower scope names lives by the wider one, at last by ours."""
    asking = viewer(SCOPE)
    scope = request.args.get("scope")
    if scope is None:
        return _json(PolicyList(policies=access_policies.scopes(house(), asking)))
    where = _place(scope, request.args.get("district_code", ""), _patient(request.args.get("patient_id")))
    return _json(PolicyList(policies=access_policies.history(house(), asking, where)))


@blueprint.post("/v1/policies/check")
@operation(
    "Look at an escalation policy without putting it in force",
    request=PolicyText,
    responses={200: Check, 401: None, 403: None, 404: None},
    query={"language": "ko or en (default en)"},
)
def check() -> Response:
    """What is wrong with it and where; else who would be rung when, and what simulated homes make of it."""
    asking = viewer(SCOPE)
    wanted = bodies.decode(bodies.read(), PolicyText, "body_invalid")
    where = _place(wanted.scope, wanted.district_code, wanted.patient_id)
    found = access_policies.check(house(), asking, where, wanted.text, language(asking), cohort=wanted.cohort)
    return _json(found)


@blueprint.post("/v1/policies")
@operation(
    "Put an escalation policy in force, from the next incident on",
    request=NewPolicy,
    responses={201: PolicyPublished, 400: None, 401: None, 403: None, 404: None, 409: None, 422: None},
)
def publish() -> Response:
    """The narrowest scope holds whole; incidents that run keep the version they began with."""
    asking = viewer(SCOPE)
    wanted = bodies.decode(bodies.read(), NewPolicy, "body_invalid")
    where = _place(wanted.scope, wanted.district_code, wanted.patient_id)
    try:
        version = access_policies.publish(house(), asking, where, wanted.text, wanted.seen)
    except PolicyError as error:
        said = "; ".join(f"line {one.line}: {problem_text(one, 'en')}" for one in error.problems)
        raise Problem(422, "policy_invalid", said, field="text") from error
    except NothingToWithdraw as error:
        raise Problem(422, "policy_invalid", str(error), field="text") from error
    except Changed as error:
        raise Problem(409, "policy_changed", f"{error}: read it again first", field="seen") from error
    found = access_policies.history(house(), asking, where)
    again = next((one.again for one in found if one.version == version), None)
    return _json(PolicyPublished(version=version, again=again), 201)


def _place(scope: str, district_code: str, patient_id: UUID | None) -> Place:
    try:
        return policies.place(scope, district_code, patient_id)
    except PlaceError as error:
        raise Problem(422, "scope_invalid", str(error), field="scope") from error


def _patient(given: str | None) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise Problem(422, "patient_id_invalid", "patient_id must be a UUID", field="patient_id") from error


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")
