"""HTTP doors for machines."""

from __future__ import annotations

from flask import Flask

from service.api import (
    availability,
    care,
    drills,
    errors,
    events,
    handover,
    health,
    incidents,
    me,
    openapi,
    patients,
    policies,
    proof,
    readings,
    telephony,
)

ROOMS = (
    readings, incidents, patients, care, drills, policies, me, availability, handover,
    proof, telephony, events, openapi, health,
)  # fmt: skip
for _room in ROOMS:
    # Once a process, not once an application: a blueprint in use takes no more handlers.
    errors.install(_room.blueprint)


def register(app: Flask) -> None:
    """Put every machine door into the application."""
    for room in ROOMS:
        app.register_blueprint(room.blueprint)
