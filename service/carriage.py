"""Settings of what carries messages: telephone carriers, mail and push; and what is missing before they can."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parseaddr
from enum import StrEnum
from typing import Any

from service.setting import ConfigError, Kind, Setting


class Carrier(StrEnum):
    TWILIO = "twilio"
    SOLAPI = "solapi"


CARRIER_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "ANSIM_CARRIER",
        "twilio",
        Kind.CHOICES,
        "Carriers for calls and texts, first choice first, with commas between; the next takes over when one fails.",
        choices=tuple(carrier.value for carrier in Carrier),
    ),
    Setting("ANSIM_TWILIO_ACCOUNT_SID", "", Kind.TEXT, "Account SID at the carrier."),
    Setting("ANSIM_TWILIO_AUTH_TOKEN", "", Kind.TEXT, "Auth token at the carrier.", secret=True),
    Setting("ANSIM_TWILIO_FROM", "", Kind.PHONE, "Number that calls and texts come from."),
    Setting(
        "ANSIM_TWILIO_API_URL",
        "",
        Kind.WEB_URL,
        "Another address for the carrier's API, such as the loopback telephone network; "
        "empty for the carrier's own.",
    ),
    Setting("ANSIM_SOLAPI_API_KEY", "", Kind.TEXT, "API key at SOLAPI (Korea)."),
    Setting("ANSIM_SOLAPI_API_SECRET", "", Kind.TEXT, "API secret at SOLAPI.", secret=True),
    Setting("ANSIM_SOLAPI_FROM", "", Kind.PHONE, "Sender number registered with SOLAPI."),
    Setting(
        "ANSIM_SOLAPI_WEBHOOK_SECRET",
        "",
        Kind.TEXT,
        "Secret given to SOLAPI with the webhook SINGLE-REPORT; its reports are believed by it alone.",
        secret=True,
    ),
    Setting(
        "ANSIM_SOLAPI_API_URL",
        "",
        Kind.WEB_URL,
        "Another address for SOLAPI's API, such as the loopback telephone network; empty for its own.",
    ),
    Setting(
        "ANSIM_SMTP_URL",
        "",
        Kind.MAIL_URL,
        "Mail server: starttls://USER:PASSWORD@HOST, smtps:// or smtp:// (no password in the clear); empty: no mail.",
        secret=True,
    ),
    Setting("ANSIM_MAIL_FROM", "", Kind.TEXT, "Sender of mails, such as `Ansim <ansim@city.example>`."),
    Setting(
        "ANSIM_VAPID_PRIVATE_KEY_FILE",
        "{data_dir}/keys/vapid.pem",
        Kind.PATH,
        "Key that push messages to browsers are signed with; `ansim init` makes it. A new key ends every subscription.",
    ),
    Setting(
        "ANSIM_PUSH_LOOPBACK",
        "no",
        Kind.FLAG,
        "Whether a browser may name a push service on this machine: for tests, only with ANSIM_DEMO=yes.",
    ),
)

NEEDED = {
    Carrier.TWILIO: ("ANSIM_TWILIO_ACCOUNT_SID", "ANSIM_TWILIO_AUTH_TOKEN", "ANSIM_TWILIO_FROM"),
    Carrier.SOLAPI: (
        "ANSIM_SOLAPI_API_KEY",
        "ANSIM_SOLAPI_API_SECRET",
        "ANSIM_SOLAPI_FROM",
        "ANSIM_SOLAPI_WEBHOOK_SECRET",
    ),
}


def missing(values: Any, carrier: Carrier) -> list[str]:
    """Names of the settings that this carrier still needs; ``values`` has them as attributes."""
    return [name for name in NEEDED[carrier] if not getattr(values, name.removeprefix("ANSIM_").lower())]


def problems(values: Any) -> list[str]:
    """Why people cannot be reached with these settings, a sentence each; empty when they can."""
    return [
        f"{name} is not set, but the carrier {carrier} needs it to ring anybody: copy it "
        "from the carrier's console, or try Ansim with `ansim demo`, which needs no carrier."
        for carrier in values.carrier
        for name in missing(values, carrier)
    ]


def check(values: Mapping[str, Any]) -> None:
    """Refuse settings that contradict each other."""
    if values["solapi_from"] and not values["solapi_from"].startswith("+82"):
        raise ConfigError(
            f"ANSIM_SOLAPI_FROM must be a Korean number, was {values['solapi_from']!r}: give the sender number that is "
            "registered with SOLAPI, like +82212345678."
        )
    sender = values["mail_from"]
    if sender and not re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", parseaddr(sender)[1]):
        raise ConfigError(
            f"ANSIM_MAIL_FROM must be an e-mail address, was {sender!r}: set it like "
            "ANSIM_MAIL_FROM=Ansim <ansim@city.example>."
        )
    if values["smtp_url"] and not sender:
        raise ConfigError(
            "ANSIM_MAIL_FROM must be set with ANSIM_SMTP_URL, was not: set it like "
            "ANSIM_MAIL_FROM=Ansim <ansim@city.example>."
        )
