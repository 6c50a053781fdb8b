"""The composition root: builds the adapters, hands them down, puts the doors and pages together."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask

from dispatch.notifier import Notifier
from dispatch.twilio_notifier import TwilioNotifier
from service.api import errors, register
from service.config import Settings
from service.keystore import KeyStore, load_or_make_kek
from service.sealing import KeyRing
from service.store.database import Database
from service.web import pages
from service.workflows.house import House


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_house(
    settings: Settings, *, clock: Callable[[], datetime] = utc_now, notifier: Notifier | None = None
) -> House:
    """Everything the use cases need, from settings."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    kek = load_or_make_kek(settings)
    return House(
        settings=settings,
        database=Database(settings.database_url),
        keys=KeyRing(KeyStore(settings.keys_url), kek),
        notifier=notifier or build_notifier(settings),
        clock=clock,
    )


def build_notifier(settings: Settings) -> Notifier:
    return TwilioNotifier(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        from_number=settings.twilio_from,
        public_url=settings.public_url,
        api_url=settings.twilio_api_url or None,
        timeout_s=settings.send_timeout_s,
    )


def build_app(house: House) -> Flask:
    """The web application around a house."""
    app = Flask(__name__, static_folder=None)
    app.extensions["ansim"] = house
    register(app)
    app.register_blueprint(pages.create_blueprint())
    errors.install_fallbacks(app)
    return app


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
    # These libraries log addresses, numbers or whole requests at INFO.
    for talkative in ("twilio", "urllib3", "apscheduler", "werkzeug", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
