"""Fire drills and what they prove: start one, verify a number or give a new one, ask who can be reached."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from service import access_reach
from service.access_reach import Begins, Left, NumberRecord, ReachRecord, Why
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.incidents import language
from service.api.openapi import operation

blueprint = Blueprint("drills", __name__)


class DrillBegun(msgspec.Struct, kw_only=True):
    """The drill that is going on now; asking again while it is gives the same."""

    drill_id: UUID
    contacts: Begins
    """When the first contact is asked; the band's button is pressed at once."""


class VerificationBegun(msgspec.Struct, kw_only=True):
    verification_id: UUID
    asked: Begins


class NumberWritten(msgspec.Struct, kw_only=True):
    """A new number is written down, and somebody there is asked whether it is theirs."""

    verification_id: UUID
    rung_now: bool
    """Whether it is rung from now on: nothing proved the old one. Else the old one is, until this one is proven."""
    asked: Begins


class ReachList(msgspec.Struct, kw_only=True):
    people: list[ReachRecord]


class Verify(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    by: Literal["text", "call"] = "text"
    """A text with a link where one can be read; "call" rings first."""
    now: bool = False
    """Ring once at whatever hour, as whose number it is has just asked for: the owner may say so, and the staff."""


class NumberList(msgspec.Struct, kw_only=True):
    numbers: list[NumberRecord]


class NewNumber(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    phone: str
    """E.164, such as +821012345678."""


class Remove(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    why: Literal["left", "asked", "wrong_number"]
    """They moved on; they asked not to be called; the number is somebody else's, and is given up with that."""
    sure: bool = False
    """Also if nobody who is proven reachable is left."""


@blueprint.post("/v1/patients/<uuid:patient_id>/drill")
@operation(
    "Start a person's fire drill now",
    responses={202: DrillBegun, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default: the viewer's)"},
)
def drill(patient_id: UUID) -> Response:
    """A synthetic SOS through the whole chain to each contact, marked as a drill; it never opens a dispatch.

    It waits while a real incident is open, and for the hours in which people may be bothered.
    """
    asking = viewer("patients:write")
    spoken = language(asking)
    begun = access_reach.start_drill(house(), asking, patient_id)
    return _json(DrillBegun(drill_id=begun, contacts=access_reach.begins(house(), begun, spoken)), 202)


@blueprint.post("/v1/patients/<uuid:patient_id>/contacts/<uuid:person_id>/verify")
@operation(
    "Have a contact's number verified",
    request=Verify,
    responses={202: VerificationBegun, 400: None, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default: the viewer's)"},
)
def verify(patient_id: UUID, person_id: UUID) -> Response:
    """Key 1, a tap or the code proves it for 180 days; key 9 retires it. The person's own id verifies their own.

    The answer says when it asks, and why where that is not now.
    """
    asking = viewer("patients:write")
    spoken, body = language(asking), bodies.read()
    wanted = bodies.decode(body, Verify, "body_invalid") if body else Verify()
    try:
        call = wanted.by == "call"
        begun = access_reach.verify_number(house(), asking, patient_id, person_id, call=call, now=wanted.now)
    except access_reach.NobodyToReach as error:
        detail = "this person is not a contact of that patient, or has no number"
        raise Problem(404, "not_found", detail) from error
    return _json(VerificationBegun(verification_id=begun, asked=access_reach.begins(house(), begun, spoken)), 202)


@blueprint.get("/v1/patients/<uuid:patient_id>/numbers")
@operation(
    "The telephone numbers of a person and their contacts, as far as the caller may change them",
    responses={200: NumberList, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default: the viewer's)"},
)
def numbers(patient_id: UUID) -> Response:
    """What is rung now, when that was last proven, and a new number that is not proven yet."""
    asking = viewer("patients:write")
    return _json(NumberList(numbers=access_reach.numbers_of(house(), asking, patient_id, language=language(asking))))


@blueprint.put("/v1/patients/<uuid:patient_id>/contacts/<uuid:person_id>/phone")
@operation(
    "Give a new telephone number for a contact, or with the person's own id for the person",
    request=NewNumber,
    responses={202: NumberWritten, 400: None, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default: the viewer's)"},
)
def give_number(patient_id: UUID, person_id: UUID) -> Response:
    """The number that is known to work is rung until somebody confirmed at the new one, which is asked by day.

    One telephone is one contact: another contact's number, the person's own and the desk's are refused.
    """
    asking = viewer("patients:write")
    spoken = language(asking)
    wanted = bodies.decode(bodies.read(), NewNumber, "body_invalid")
    try:
        given = access_reach.give_number(house(), asking, patient_id, person_id, wanted.phone)
    except access_reach.NobodyToReach as error:
        raise Problem(404, "not_found", "this person is not a contact of that patient") from error
    asked = access_reach.begins(house(), given.verification_id, spoken)
    made = NumberWritten(verification_id=given.verification_id, rung_now=given.rung_now, asked=asked)
    return _json(made, 202)


@blueprint.post("/v1/patients/<uuid:patient_id>/contacts/<uuid:person_id>/remove")
@operation(
    "Take a contact off a person's list",
    request=Remove,
    responses={200: Left, 400: None, 401: None, 403: None, 404: None, 409: None, 422: None},
    query={"language": "ko or en (default: the viewer's)"},
)
def remove(patient_id: UUID, person_id: UUID) -> Response:
    """They are rung no more, nor in an open case, and their links stop working; answers what the ladder then is.

    The last one proven reachable wants ``sure``. While a case is open that has nobody else, only a wrong number goes.
    """
    asking = viewer("patients:write")
    spoken, wanted = language(asking), bodies.decode(bodies.read(), Remove, "body_invalid")
    why = Why(wanted.why)
    try:
        left = access_reach.remove_contact(
            house(), asking, patient_id, person_id, why, sure=wanted.sure, language=spoken
        )
    except access_reach.NoContact as error:
        raise Problem(404, "not_found", "this person is not a contact of that patient") from error
    return _json(left)


@blueprint.get("/v1/patients/<uuid:patient_id>/reachability")
@operation(
    "Whether help can be reached for a person, and when that was last proven",
    responses={200: ReachRecord, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def reachability(patient_id: UUID) -> Response:
    """The date of the last proof, the links that do not hold in plain words, and the next drill."""
    asking = viewer("patients:read")
    return _json(access_reach.reach(house(), asking, patient_id, language=language(asking)))


@blueprint.get("/v1/reachability")
@operation(
    "Whether help can be reached for everybody, the broken first",
    responses={200: ReachList, 401: None, 403: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def reachabilities() -> Response:
    """All people of the caller's organisation: red, overdue for more than 35 days, never proven, then by age."""
    asking = viewer("patients:read")
    return _json(ReachList(people=access_reach.reaches(house(), asking, language=language(asking))))


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")
