"""Builds what carries messages, from settings; the only place that names a provider's adapter."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from dispatch import push_notifier
from dispatch.failover_notifier import FailoverNotifier
from dispatch.handover_notifier import PartnerDesk as HttpDesk
from dispatch.mail_notifier import SmtpMailer
from dispatch.notifier import (
    CarrierEvent,
    Fault,
    Found,
    Mailer,
    NotificationError,
    Notifier,
    PartnerDesk,
    Pusher,
    Reach,
    Receipt,
)
from dispatch.solapi_notifier import SolapiNotifier
from dispatch.twilio_notifier import TwilioNotifier
from service.carriage import Carrier, missing
from service.config import ConfigError, Settings

MARGIN_S = 0.5
"""Policy: what stays of the lease when a send, with all that a failure brings, has to be over."""

Clock = Callable[[], datetime]


class NoCarrier:
    """Stands in until a carrier is set: the commands that need none work, and no call is pretended."""

    name = "none"
    speaks_up_front = False

    def _refuse(self, *_given: object) -> NoReturn:
        detail = "no carrier is set (ANSIM_TWILIO_ACCOUNT_SID and the rest)"
        raise NotificationError(detail, permanent=True, fault=Fault.ACCOUNT)

    place_call = send_text = render = announce = _refuse

    def find_call(self, to: str, since: datetime, reference: str) -> Found:
        return Found()

    def find_text(self, to: str, since: datetime, reference: str, body: str) -> Found:
        return Found()

    def hang_up(self, call: Receipt) -> bool:
        return False

    def reach(self, number: str) -> frozenset[Reach]:
        return frozenset()

    def events(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str], body: bytes = b""
    ) -> list[CarrierEvent]:
        raise PermissionError("no carrier is set")


def build_notifier(settings: Settings, clock: Clock) -> Notifier:
    """The carriers that are set up, in the order of ANSIM_CARRIER, as one."""
    built = [_carrier(name, settings, clock) for name in settings.carrier if not missing(settings, name)]
    if len(built) < 2:
        return built[0] if built else NoCarrier()
    return FailoverNotifier(
        built,
        stopwatch=time.monotonic,
        budget_s=max(settings.send_timeout_s, settings.send_lease_s - MARGIN_S),
        step_s=settings.send_timeout_s,
    )


def _carrier(name: Carrier, settings: Settings, clock: Clock) -> Notifier:
    if name is Carrier.SOLAPI:
        return SolapiNotifier(
            api_key=settings.solapi_api_key,
            api_secret=settings.solapi_api_secret,
            from_number=settings.solapi_from,
            webhook_secret=settings.solapi_webhook_secret,
            clock=clock,
            api_url=settings.solapi_api_url or None,
            timeout_s=settings.send_timeout_s,
        )
    return TwilioNotifier(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        from_number=settings.twilio_from,
        public_url=settings.public_url,
        api_url=settings.twilio_api_url or None,
        timeout_s=settings.send_timeout_s,
    )


def build_mailer(settings: Settings, clock: Clock) -> Mailer | None:
    """The mail server, or None where none is set."""
    if not settings.smtp_url:
        return None
    return SmtpMailer(settings.smtp_url, settings.mail_from, clock, settings.send_timeout_s)


def build_pusher(settings: Settings, clock: Clock) -> Pusher | None:
    """Push to browsers, or None while there is no key for it; only the demonstration makes its own."""
    path = settings.vapid_private_key_file
    if settings.demo:
        make_vapid_key(settings)
    try:
        pem = path.read_bytes()
        contact = settings.public_url if settings.public_url.startswith("https://") else "mailto:ansim@localhost"
        return push_notifier.WebPusher(pem, contact, clock, settings.send_timeout_s, loopback=settings.push_loopback)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"ANSIM_VAPID_PRIVATE_KEY_FILE must be a P-256 private key in PEM that Ansim can read, was {path} ({why}): "
            "mend it, or remove it and run `ansim init`; a new key ends every browser's subscription."
        ) from None


def build_partner(settings: Settings) -> PartnerDesk | None:
    """The other emergency desk's door, or None where none is set."""
    if not settings.handover_url:
        return None
    try:
        return HttpDesk(settings.handover_url, settings.send_timeout_s)
    except ValueError:
        raise ConfigError(
            f"ANSIM_HANDOVER_URL must be https://, was {settings.handover_url}: whole records go there; correct it."
        ) from None


def make_vapid_key(settings: Settings) -> bool:
    """Make the key for push where there is none yet (mode 0600); whether it was made now."""
    path: Path = settings.vapid_private_key_file
    if path.exists():
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".vapid-{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(push_notifier.new_key())
        # A link appears whole or not at all, and the first of two processes wins.
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return True


def carriage(settings: Settings, clock: Clock, notifier: Notifier | None) -> dict[str, Any]:
    """What a house is given to reach people with."""
    return {
        "notifier": notifier or build_notifier(settings, clock),
        "mailer": build_mailer(settings, clock),
        "pusher": build_pusher(settings, clock),
        "partner": build_partner(settings),
    }
