"""Being quiet about a sign for a while, and when a contact does not want to be rung."""

from __future__ import annotations

from uuid import UUID

import msgspec
from flask import Blueprint, Response

from service import access_quiet
from service.api import bodies
from service.api.auth import house, viewer
from service.api.errors import Problem
from service.api.incidents import language
from service.api.openapi import operation
from service.workflows.availability import Availability, Impossible
from service.workflows.snoozes import SnoozeRecord

blueprint = Blueprint("availability", __name__)


class NewSnooze(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which sign to be quiet about, and for how long."""

    code: str
    """A sign that may be snoozed, whether it stands now or comes meanwhile; another is refused with the list."""
    hours: int
    """1, 2, 4 or 8."""


class SnoozeMade(msgspec.Struct, kw_only=True):
    id: UUID


class SnoozeList(msgspec.Struct, kw_only=True):
    snoozes: list[SnoozeRecord]


@blueprint.get("/v1/patients/<uuid:patient_id>/snoozes")
@operation(
    "What is being snoozed for a person, with its end",
    responses={200: SnoozeList, 401: None, 403: None, 404: None, 422: None},
    query={"language": "ko or en (default en)"},
)
def list_snoozes(patient_id: UUID) -> Response:
    """``holds`` says that the sign was found meanwhile and is still there: it rings at the end."""
    asking = viewer("patients:read")
    found = access_quiet.snoozes_of(house(), asking, patient_id, language=language(asking))
    return Response(msgspec.json.encode(SnoozeList(snoozes=found)), content_type="application/json")


@blueprint.post("/v1/patients/<uuid:patient_id>/snoozes")
@operation(
    "Be quiet about one sign of a person for some hours",
    request=NewSnooze,
    responses={201: SnoozeMade, 400: None, 401: None, 403: None, 404: None, 422: None},
)
def add_snooze(patient_id: UUID) -> Response:
    """A person's own act, by session. Only a medium sign can be; SOS, falls, arrests and hard limits ring at once."""
    asking = viewer()
    wanted = bodies.decode(bodies.read(), NewSnooze, "body_invalid")
    snooze_id = access_quiet.snooze(house(), asking, patient_id, wanted.code, wanted.hours)
    return Response(msgspec.json.encode(SnoozeMade(id=snooze_id)), 201, content_type="application/json")


@blueprint.delete("/v1/patients/<uuid:patient_id>/snoozes/<uuid:snooze_id>")
@operation(
    "Be quiet no longer",
    responses={204: None, 401: None, 403: None, 404: None},
)
def end_snooze(patient_id: UUID, snooze_id: UUID) -> Response:
    """What waited and is still true rings now."""
    access_quiet.end_snooze(house(), viewer(), patient_id, snooze_id)
    return Response(status=204)


@blueprint.get("/v1/me/availability")
@operation("When whoever asks is not to be rung", responses={200: Availability, 401: None, 403: None})
def availability() -> Response:
    """Hours of every day, local time, and a day of return, with their ends."""
    return Response(
        msgspec.json.encode(access_quiet.availability_of(house(), viewer())), content_type="application/json"
    )


@blueprint.put("/v1/me/availability")
@operation(
    "Say when not to be rung for a lesser case, and until when one is away",
    request=Availability,
    responses={204: None, 400: None, 401: None, 403: None, 422: None},
)
def set_availability() -> Response:
    """It replaces what was said before. An urgent case rings all the same; away ends by itself."""
    asking = viewer()
    wanted = bodies.decode(bodies.read(), Availability, "body_invalid")
    try:
        access_quiet.set_availability(house(), asking, wanted)
    except Impossible as error:
        raise Problem(422, "availability_invalid", str(error), field=error.field) from error
    return Response(status=204)
