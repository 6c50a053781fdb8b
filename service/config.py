"""Settings: every one in the table below, read from a mapping, checked before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service import carriage
from service.carriage import CARRIER_SETTINGS, Carrier
from service.setting import READERS, ConfigError, Kind, Setting, text_of

__all__ = ["SETTINGS", "Carrier", "ConfigError", "LogLevel", "Setting", "Settings"]

SHORTEST_STEP_S = 10.0
"""Policy: a dead worker's lease must end before the shortest escalation step does (invariant 5)."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class DeskLanguage(StrEnum):
    KO = "ko"
    EN = "en"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


SETTINGS: tuple[Setting, ...] = (
    Setting("ANSIM_DATA_DIR", "./data", Kind.PATH, "Folder for everything that Ansim writes."),
    Setting("ANSIM_HOST", "127.0.0.1", Kind.TEXT, "Address to listen on; 0.0.0.0 inside a container."),
    Setting("ANSIM_PORT", "8080", Kind.WHOLE, "Port to listen on.", low=1, high=65535),
    Setting(
        "ANSIM_PUBLIC_URL",
        "http://127.0.0.1:{port}",
        Kind.WEB_URL,
        "Address by which browsers, devices and the carrier reach Ansim; callbacks are verified against it.",
    ),
    Setting(
        "ANSIM_SELF_URL",
        "http://127.0.0.1:{port}",
        Kind.WEB_URL,
        "Address by which the jobs reach the service's own front door: drills begin there like any device's signal.",
    ),
    Setting(
        "ANSIM_DATABASE_URL",
        "sqlite:///{data_dir}/ansim.db",
        Kind.DATABASE_URL,
        "Where readings and incidents are kept: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        secret=True,
    ),
    Setting(
        "ANSIM_KEYS_URL",
        "sqlite:///{data_dir}/keys/keys.db",
        Kind.DATABASE_URL,
        "Where the data keys are kept: another database, left out of the data's backups.",
        secret=True,
    ),
    Setting(
        "ANSIM_KEK",
        "",
        Kind.KEY,
        "Key-encryption key that wraps every data key: 32 bytes in base64 (`openssl rand -base64 32`).",
        secret=True,
    ),
    Setting("ANSIM_KEK_FILE", "", Kind.PATH, "File that holds the key-encryption key, instead of ANSIM_KEK."),
    Setting(
        "ANSIM_DEMO",
        "no",
        Kind.FLAG,
        "Demonstration: simulated people, the loopback telephone network, keys made on the spot.",
    ),
    Setting(
        "ANSIM_CLOCK_FILE",
        "",
        Kind.PATH,
        "File with seconds to move the service's clock by, read whenever it looks; only with ANSIM_DEMO=yes.",
    ),
    Setting("ANSIM_WORKERS", "1", Kind.WHOLE, "Processes that serve requests.", low=1, high=64),
    Setting(
        "ANSIM_THREADS", "64", Kind.WHOLE, "Threads in each process; also its open streams.", low=4, high=1024
    ),
    Setting(
        "ANSIM_TICK_S",
        "0.2",
        Kind.SECONDS,
        "How often the jobs look for what is due; for messages to send, four times as often.",
        low=0.05,
        high=5,
    ),
    *CARRIER_SETTINGS,
    Setting(
        "ANSIM_HANDOVER_URL",
        "",
        Kind.WEB_URL,
        "Where another emergency desk takes the records that a dispatcher hands over (EIDO-shaped, https).",
    ),
    Setting(
        "ANSIM_SEND_TIMEOUT_S", "3", Kind.SECONDS, "How long one request to the carrier may take.", 0.1, 30
    ),
    Setting(
        "ANSIM_SEND_LEASE_S",
        "5",
        Kind.SECONDS,
        "How long a worker holds a message before another may take it; longer than the send timeout.",
        0.2,
        60,
    ),
    Setting(
        "ANSIM_FALLBACK_NUMBER",
        "",
        Kind.PHONE,
        "Staffed telephone that rings when nobody else is on call; must be verified before serving.",
    ),
    Setting(
        "ANSIM_DESK_LANGUAGE",
        "ko",
        Kind.CHOICE,
        "Language spoken to the fallback desk.",
        choices=tuple(language.value for language in DeskLanguage),
    ),
    Setting(
        "ANSIM_WATCHDOG_NUMBERS",
        "",
        Kind.PHONES,
        "Telephones that the watchdog rings after the fallback desk when the service stops, in turn, with commas "
        "between.",
    ),
    Setting(
        "ANSIM_WATCHDOG_URL",
        "http://127.0.0.1:{port}",
        Kind.WEB_URL,
        "Where the watchdog looks at the service; on another machine, the public address.",
    ),
    Setting(
        "ANSIM_WATCHDOG_EVERY_S",
        "5",
        Kind.SECONDS,
        "How often the watchdog looks; it rings when something is amiss for three times as long.",
        0.2,
        5,
    ),
    Setting(
        "ANSIM_SILENT_AFTER_S",
        "3600",
        Kind.SECONDS,
        "Silence of a device that raises an alarm, unless the person has a limit of their own.",
        60,
        604800,
    ),
    Setting(
        "ANSIM_LATE_SIGN_AFTER_S",
        "3600",
        Kind.SECONDS,
        "A medium or low sign measured longer than this before it was received opens nothing; a high one always does.",
        60,
        864000,
    ),
    Setting(
        "ANSIM_MODELS_DIR",
        "",
        Kind.PATH,
        "Folder of an operator's own refitted models, used in place of the shipped ones; each must be signed.",
    ),
    Setting(
        "ANSIM_MODELS_PUBLIC_KEY",
        "",
        Kind.PATH,
        "PEM file of the Ed25519 public key that those models are signed by.",
    ),
    Setting("ANSIM_VOICE_COST_PER_MINUTE", "", Kind.MONEY, "Price of a minute of voice; empty: none shown."),
    Setting("ANSIM_TEXT_COST", "", Kind.MONEY, "Price of one text; empty: none shown."),
    Setting("ANSIM_COST_CURRENCY", "KRW", Kind.TEXT, "ISO 4217 code of the two prices."),
    Setting(
        "ANSIM_SPEND_CAP_PER_DAY",
        "",
        Kind.MONEY,
        "What calls and texts may cost a day (UTC); beyond it only news and drills wait, never a page, a question "
        "or a grave case; empty: no cap.",
    ),
    Setting("ANSIM_SESSION_HOURS", "12", Kind.WHOLE, "Hours until a person signs in again.", 1, 720),
    Setting("ANSIM_TIME_ZONE", "Asia/Seoul", Kind.ZONE, "Time zone of the pages and of night hours."),
    Setting(
        "ANSIM_LOG_LEVEL",
        "info",
        Kind.CHOICE,
        "How much is logged; never vitals, names, numbers or message bodies.",
        choices=tuple(level.value for level in LogLevel),
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment asked for, checked; secrets stay out of its ``repr``."""

    data_dir: Path
    host: str
    port: int
    public_url: str
    self_url: str
    database_url: str = field(repr=False)
    keys_url: str = field(repr=False)
    kek: bytes | None = field(repr=False)
    kek_file: Path | None
    demo: bool
    clock_file: Path | None
    workers: int
    threads: int
    tick_s: float
    carrier: tuple[Carrier, ...]
    """First choice first."""
    twilio_account_sid: str
    twilio_auth_token: str = field(repr=False)
    twilio_from: str
    twilio_api_url: str
    solapi_api_key: str
    solapi_api_secret: str = field(repr=False)
    solapi_from: str
    solapi_webhook_secret: str = field(repr=False)
    solapi_api_url: str
    smtp_url: str = field(repr=False)
    mail_from: str
    vapid_private_key_file: Path
    push_loopback: bool
    handover_url: str
    send_timeout_s: float
    send_lease_s: float
    fallback_number: str
    desk_language: DeskLanguage
    watchdog_numbers: tuple[str, ...]
    watchdog_url: str
    watchdog_every_s: float
    silent_after_s: float
    late_sign_after_s: float
    models_dir: Path | None
    models_public_key: Path | None
    voice_cost_per_minute: Decimal | None
    text_cost: Decimal | None
    cost_currency: str
    spend_cap_per_day: Decimal | None
    session_hours: int
    time_zone: str
    log_level: LogLevel

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every setting of ``environ``; an empty value counts as unset."""
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            text = text_of(setting, environ)
            if not text:
                text = setting.default.format(**values) if "{" in setting.default else setting.default
            values[setting.field] = READERS[setting.kind](setting, text)
        values["carrier"] = tuple(Carrier(name) for name in values["carrier"])
        values["desk_language"] = DeskLanguage(values["desk_language"])
        values["log_level"] = LogLevel(values["log_level"])
        carriage.check(values)
        settings = cls(**values)
        _cross_check(settings)
        return settings

    @property
    def run_file(self) -> Path:
        """Where ``run.json`` tells other programs how to reach this service."""
        return self.data_dir / "run.json"

    def check_ready_to_serve(self) -> list[str]:
        """Every reason not to serve real people with these settings, a sentence each; empty when ready.

        That the fallback number is verified is checked where the database is at hand.
        """
        if self.demo:
            return []
        problems = []
        if self.kek is None and self.kek_file is None:
            problems.append(
                "ANSIM_KEK is not set, expected 32 random bytes in base64: make one with "
                "`openssl rand -base64 32`, keep a copy offline, and give it in ANSIM_KEK or ANSIM_KEK_FILE."
            )
        problems += carriage.problems(self)
        if not self.fallback_number:
            problems.append(
                "ANSIM_FALLBACK_NUMBER is not set, expected a staffed telephone such as +82212345678: "
                "it rings when nobody else is on call."
            )
        problems += self._public_url_problems()
        return problems

    def _public_url_problems(self) -> list[str]:
        parts = urlsplit(self.public_url)
        here = parts.hostname in LOOPBACK_HOSTS
        if parts.scheme == "https" or (here and (self.twilio_api_url or self.solapi_api_url)):
            return []
        why = (
            "which the carrier cannot reach, so no pressed key would ever arrive"
            if here
            else "which sends sign-ins and callbacks in the clear"
        )
        return [f"ANSIM_PUBLIC_URL is {self.public_url}, {why}: give the https:// address of your proxy."]


def _cross_check(settings: Settings) -> None:
    if not settings.send_timeout_s < settings.send_lease_s:
        raise ConfigError(
            f"ANSIM_SEND_LEASE_S must be longer than ANSIM_SEND_TIMEOUT_S ({settings.send_timeout_s:g}), "
            f"was {settings.send_lease_s:g}: otherwise two workers hold one message; try "
            f"{settings.send_timeout_s + 2:g}."
        )
    if not settings.send_lease_s < SHORTEST_STEP_S:
        raise ConfigError(
            f"ANSIM_SEND_LEASE_S must be under {SHORTEST_STEP_S:g}, the shortest escalation step, "
            f"was {settings.send_lease_s:g}: otherwise a dead worker delays the next call; try 5."
        )
    if settings.database_url == settings.keys_url:
        raise ConfigError(
            "ANSIM_KEYS_URL must be another database than ANSIM_DATABASE_URL, was the same: "
            "keys kept beside the data would survive erasure in its backups."
        )
    if settings.clock_file is not None and not settings.demo:
        raise ConfigError(
            f"ANSIM_CLOCK_FILE must not be set without ANSIM_DEMO=yes, was {settings.clock_file}: it moves the clock "
            "that every step goes by, which only `ansim torture` may do; unset it."
        )
    if settings.push_loopback and not settings.demo:
        raise ConfigError(
            "ANSIM_PUSH_LOOPBACK must not be yes without ANSIM_DEMO=yes, was yes: whoever signs in could make Ansim "
            "post to this machine; unset it."
        )
    if settings.models_dir is not None and settings.models_public_key is None:
        raise ConfigError(
            f"ANSIM_MODELS_PUBLIC_KEY must be set with ANSIM_MODELS_DIR ({settings.models_dir}), was not: give the PEM "
            "file of the public key that the models were signed by, or unset ANSIM_MODELS_DIR to use the shipped ones."
        )
    prices = (settings.voice_cost_per_minute, settings.text_cost)
    if settings.spend_cap_per_day is not None and None in prices:
        raise ConfigError(
            f"ANSIM_SPEND_CAP_PER_DAY is {settings.spend_cap_per_day}, expected ANSIM_VOICE_COST_PER_MINUTE and "
            "ANSIM_TEXT_COST beside it: without prices nothing is ever counted; set both, or unset the cap."
        )
    if not re.fullmatch(r"[A-Z]{3}", settings.cost_currency):
        raise ConfigError(
            f"ANSIM_COST_CURRENCY must be an ISO 4217 code, was {settings.cost_currency!r}: "
            "set it like ANSIM_COST_CURRENCY=KRW."
        )


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """List the ``ANSIM_*`` names in ``environ`` that no setting has: mistyped ones, for ``ansim doctor``."""
    known = set(BY_NAME) | {f"{setting.name}_FILE" for setting in SETTINGS if setting.secret}
    return sorted(name for name in environ if name.startswith("ANSIM_") and name not in known)


def shown_settings(settings: Settings) -> list[tuple[Setting, str]]:
    """Give every setting with its value in force, secrets masked, for ``ansim doctor``."""
    rows = []
    for setting in SETTINGS:
        value = getattr(settings, setting.field)
        if setting.secret:
            text = "(set)" if value else "(not set)"
        else:
            text = "(not set)" if value is None or value == "" else str(value)
            text = ",".join(value) if isinstance(value, tuple) else text
        rows.append((setting, text))
    return rows


def settings_markdown() -> str:
    """The table of the settings page, one row a setting."""
    lines = ["| Setting | Default | Kind | What it is |", "|---|---|---|---|"]
    for setting in SETTINGS:
        joined = ", ".join if setting.kind is Kind.CHOICES else " or ".join
        kind = joined(setting.choices) or setting.kind.value.removeprefix("a ").removeprefix("an ")
        if math.isfinite(setting.low):
            kind += f", {setting.low:.6g} to {setting.high:.6g}"
        default = f"`{setting.default}`" if setting.default else "–"
        lines.append(f"| `{setting.name}` | {default} | {kind} | {setting.help_en} |")
    return "\n".join(lines) + "\n"
