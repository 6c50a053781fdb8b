"""The composition root: builds the adapters, hands them down, puts the doors and pages together."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from flask import Flask, Request, Response, current_app, request
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import RequestEntityTooLarge, TooManyRequests
from werkzeug.utils import cached_property

from devices.reading import MAX_BODY_BYTES
from dispatch.notifier import Notifier
from service import access, adapters, models
from service.api import errors, register
from service.config import Settings
from service.keystore import KeyStore, load_or_make_kek
from service.sealing import KeyRing
from service.store.database import Database
from service.web import care, links, pages, policies, proof, push, quiet, reach
from service.workflows.house import House, warn, where

SWITCH_S = 0.0005
"""SQLite: how long a thread that computes keeps the interpreter from one that has heard from the database.

Whoever holds the database's one write lock waits for this at every statement; five milliseconds, which is Python's
own choice, more than doubled how long it was held. Where several write at a time, all that switching costs more than
it brings (a fifth of what PostgreSQL gets done).
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


@cache
def read_types_in() -> None:
    """Have msgspec look through all our types now, while there is one thread.

    It does so when a type is first decoded, and a second thread that decodes it meanwhile finds it half looked through
    and ends the whole process with a segmentation fault (msgspec 0.22): the jobs, just started, with all cases due.
    """
    left: list[type[msgspec.Struct]] = [msgspec.Struct]
    while left:
        kind = left.pop()
        msgspec.msgpack.Decoder(kind)
        left += kind.__subclasses__()


def clock_of(settings: Settings) -> Callable[[], datetime]:
    """The machine's clock; in a demonstration, moved by the seconds that ``ANSIM_CLOCK_FILE`` holds at that moment."""
    path = settings.clock_file
    if path is None:
        return utc_now
    return lambda: utc_now() + timedelta(seconds=float(path.read_text()))


def build_house(
    settings: Settings, *, clock: Callable[[], datetime] | None = None, notifier: Notifier | None = None
) -> House:
    """Everything the use cases need, from settings."""
    read_types_in()
    models.put_in_force(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    kek = load_or_make_kek(settings)
    clock = clock or clock_of(settings)
    database = Database(settings.database_url)
    if database.is_sqlite:
        sys.setswitchinterval(SWITCH_S)
    return House(
        settings=settings,
        database=database,
        keys=KeyRing(KeyStore(settings.keys_url), kek),
        clock=clock,
        **adapters.carriage(settings, clock, notifier),
    )


class AnyRequest(Request):
    """A request whose cookies may be garbage and whose form may be huge: a client sends what it likes."""

    def _load_form_data(self) -> None:
        try:
            super()._load_form_data()
        except RequestEntityTooLarge:
            # The error page looks at the form for its language: refused once is enough.
            self.__dict__["form"] = ImmutableMultiDict[str, str]()
            raise

    @cached_property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        try:
            return super().cookies
        except UnicodeDecodeError:
            return ImmutableMultiDict()


class QuietFlask(Flask):
    """A slip is logged by its type and place: its message may hold a name or a value."""

    request_class = AnyRequest

    def log_exception(self, exc_info: Any) -> None:
        error = exc_info[1]
        path = request.url_rule.rule if request.url_rule else ""
        warn("internal_error", path=path, why=type(error).__name__, where=where(error))


def build_app(house: House) -> Flask:
    """The web application around a house."""
    app = QuietFlask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.extensions["ansim"] = house
    register(app)
    app.register_blueprint(pages.create_blueprint())
    app.register_blueprint(care.create_blueprint())
    app.register_blueprint(links.create_blueprint())
    app.register_blueprint(policies.create_blueprint())
    app.register_blueprint(quiet.create_blueprint())
    app.register_blueprint(reach.create_blueprint())
    app.register_blueprint(proof.create_blueprint())
    app.register_blueprint(push.create_blueprint())
    errors.install_fallbacks(app)
    app.register_error_handler(access.TooManyTries, _put_off)
    return app


def _put_off(error: access.TooManyTries) -> Response:
    page = current_app.make_response(current_app.handle_http_exception(TooManyRequests()))
    page.headers["Retry-After"] = str(error.wait_s)
    return page


def create_app() -> Flask:
    """What the server imports: everything from the environment."""
    settings = Settings.from_env(os.environ)
    start_logging(settings)
    return build_app(build_house(settings))


def start_logging(settings: Settings) -> None:
    """Log lines on standard error: an event and key=value."""
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.value.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    # A late tick is one tick; its warnings would drown what matters.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # These libraries log addresses, numbers or whole requests at INFO.
    for talkative in ("twilio", "urllib3", "werkzeug", "alembic", "sqlalchemy"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
