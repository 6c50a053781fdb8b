"""The kinds of setting and how each is read from text; what a bad value is told."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

KEK_BYTES = 32


class ConfigError(Exception):
    """A setting that stops the start; the message names it, its value, what was expected and what to do."""


class Kind(StrEnum):
    TEXT = "text"
    FLAG = "yes or no"
    WHOLE = "a whole number"
    SECONDS = "a number of seconds"
    MONEY = "an amount"
    PATH = "a path"
    WEB_URL = "a web address"
    DATABASE_URL = "a database address"
    PHONE = "a telephone number"
    PHONES = "telephone numbers"
    KEY = "a key"
    ZONE = "a time zone"
    CHOICE = "one of"
    CHOICES = "some of, in order"
    MAIL_URL = "a mail server's address"


@dataclass(frozen=True)
class Setting:
    """One row of the table: what ``ansim doctor`` and the settings page print."""

    name: str
    default: str
    """As it would be typed; empty is unset. ``{data_dir}`` and ``{port}`` stand for those settings."""
    kind: Kind
    help_en: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    secret: bool = False
    """Never printed, and also read from the file that ``NAME_FILE`` names."""

    @property
    def field(self) -> str:
        return self.name.removeprefix("ANSIM_").lower()


N = TypeVar("N", int, float)


def _bad(setting: Setting, text: str, expected: str, remedy: str = "") -> ConfigError:
    shown = "(a secret, not shown)" if setting.secret else repr(text)
    if not remedy:
        remedy = f"set it like {setting.name}={setting.default}" if setting.default else "correct or unset it"
    return ConfigError(f"{setting.name} must be {expected}, was {shown}: {remedy}.")


def text_of(setting: Setting, environ: Mapping[str, str]) -> str:
    text = environ.get(setting.name, "").strip()
    file_name = f"{setting.name}_FILE"
    path = environ.get(file_name, "").strip() if setting.secret else ""
    if not path:
        return text
    if text:
        raise ConfigError(
            f"{setting.name} and {file_name} are both set, expected one of them: unset the one not meant."
        )
    try:
        return Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file_name} must name a readable text file, was {path!r} ({error}): "
            "correct the path or its permissions."
        ) from error


def _as_is(setting: Setting, text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise _bad(setting, text, "one line of text")
    return text


def _flag(setting: Setting, text: str) -> bool:
    word = text.lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise _bad(setting, text, "yes or no")


def _number(setting: Setting, text: str, reader: Callable[[str], N]) -> N:
    expected = f"{setting.kind.value} from {setting.low:.6g} to {setting.high:.6g}"
    try:
        number = reader(text)
    except ValueError as error:
        raise _bad(setting, text, expected) from error
    # Written so that NaN is outside.
    if not setting.low <= number <= setting.high:
        raise _bad(setting, text, expected)
    return number


def _whole(setting: Setting, text: str) -> int:
    return _number(setting, text, int)


def _seconds(setting: Setting, text: str) -> float:
    return _number(setting, text, float)


def _money(setting: Setting, text: str) -> Decimal | None:
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise _bad(setting, text, "an amount such as 12.5") from error
    if not amount.is_finite() or amount < 0:
        raise _bad(setting, text, "an amount of 0 or more")
    return amount


def _path(setting: Setting, text: str) -> Path | None:
    # Absolute at once: a later change of folder must not move the database.
    return Path(text).expanduser().absolute() if text else None


def _web_url(setting: Setting, text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise _bad(setting, text, "an http:// or https:// address without a query")
    return text.rstrip("/")


def _database_url(setting: Setting, text: str) -> str:
    for plain in ("postgresql://", "postgres://"):
        if text.startswith(plain):
            return "postgresql+psycopg://" + text.removeprefix(plain)
    # Three slashes and nothing more would be a database in memory, lost at every restart.
    if re.match(r"(sqlite:///|postgresql\+psycopg://)[^:\s]", text):
        return text
    raise _bad(setting, text, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME", "correct or unset it")


def _phone(setting: Setting, text: str) -> str:
    if text and not re.fullmatch(r"\+[1-9][0-9]{6,14}", text):
        raise _bad(
            setting,
            text,
            "a number in E.164 form",
            "write it with a plus and the country code, like +82212345678",
        )
    return text


def _phones(setting: Setting, text: str) -> tuple[str, ...]:
    """Several numbers with commas between, in the order given, each once."""
    return tuple(dict.fromkeys(_phone(setting, one.strip()) for one in text.split(",") if one.strip()))


def parse_kek(text: str, name: str) -> bytes:
    """Decode a key-encryption key in base64 (either alphabet); ConfigError names ``name``."""
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(
            f"{name} must be {KEK_BYTES} bytes in base64, was not base64 (a secret, not shown): "
            "make one with `openssl rand -base64 32`."
        ) from error
    if len(key) != KEK_BYTES:
        raise ConfigError(
            f"{name} must be {KEK_BYTES} bytes in base64, was {len(key)} bytes: "
            "make one with `openssl rand -base64 32`."
        )
    return key


def _key(setting: Setting, text: str) -> bytes | None:
    return parse_kek(text, setting.name) if text else None


def _zone(setting: Setting, text: str) -> str:
    try:
        ZoneInfo(text)
    except (OSError, ValueError, KeyError) as error:
        raise _bad(setting, text, "an IANA time zone") from error
    return text


def _choice(setting: Setting, text: str) -> str:
    if text.lower() not in setting.choices:
        raise _bad(setting, text, " or ".join(setting.choices))
    return text.lower()


def _choices(setting: Setting, text: str) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in text.split(","))
    if not set(words) <= set(setting.choices) or len(set(words)) < len(words):
        raise _bad(setting, text, f"some of {', '.join(setting.choices)}, each once, with commas between")
    return words


def _mail_url(setting: Setting, text: str) -> str:
    if not text:
        return ""
    expected, remedy = "smtp://, starttls:// or smtps:// with a host", "write it like starttls://USER:PASSWORD@HOST"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"smtp", "starttls", "smtps"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _bad(setting, text, expected, remedy)
    if parts.password and parts.scheme == "smtp":
        raise _bad(setting, text, "starttls:// or smtps:// where there is a password", remedy)
    return text


READERS: dict[Kind, Callable[[Setting, str], Any]] = {
    Kind.TEXT: _as_is,
    Kind.FLAG: _flag,
    Kind.WHOLE: _whole,
    Kind.SECONDS: _seconds,
    Kind.MONEY: _money,
    Kind.PATH: _path,
    Kind.WEB_URL: _web_url,
    Kind.DATABASE_URL: _database_url,
    Kind.PHONE: _phone,
    Kind.PHONES: _phones,
    Kind.KEY: _key,
    Kind.ZONE: _zone,
    Kind.CHOICE: _choice,
    Kind.CHOICES: _choices,
    Kind.MAIL_URL: _mail_url,
}
