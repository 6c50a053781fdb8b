"""HTTP doors for machines."""

from __future__ import annotations

from flask import Flask

from service.api import errors, events, health, incidents, openapi, patients, readings, telephony


def register(app: Flask) -> None:
    """Put every machine door into the application."""
    for room in (readings, incidents, patients, telephony, events, openapi, health):
        errors.install(room.blueprint)
        app.register_blueprint(room.blueprint)
