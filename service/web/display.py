"""Times and ages as people read them: in the installation's time zone, 24 hours, explicit patterns."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from service.web.text import Translator

_CLOCK = re.compile(r"^\s*(\d{1,2}):(\d{2})(?::(\d{2}))?\s*$")


def time_of_day(at: datetime, zone: ZoneInfo) -> str:
    """Return the wall clock there, to the second."""
    return f"{at.astimezone(zone):%H:%M:%S}"


def date_and_time(at: datetime, t: Translator, zone: ZoneInfo) -> str:
    """Return day and minute there, in the order that the language reads them."""
    local = at.astimezone(zone)
    month = t(f"month.{local.month}")
    return t("date.pattern", month=month, day=local.day, time=f"{local:%H:%M}")


def day_of(at: datetime, t: Translator, zone: ZoneInfo) -> str:
    """Return a day there, in the order that the language reads it."""
    local = at.astimezone(zone)
    return t("date.day", month=t(f"month.{local.month}"), day=local.day)


def day_input(now: datetime, days: int, zone: ZoneInfo) -> str:
    """Return the day so many days from now there, as a date field takes it."""
    return f"{now.astimezone(zone) + timedelta(days=days):%Y-%m-%d}"


def typed_day(text: str, zone: ZoneInfo) -> datetime:
    """Return the end of a day typed as ``yyyy-mm-dd``, there; raises ValueError."""
    day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
    return day.replace(hour=23, minute=59)


def epoch(at: datetime) -> int:
    """Return whole seconds since 1970, for the browser's own clock."""
    return round(at.timestamp())


def seconds_clock(seconds: float) -> str:
    """Return a running clock: ``0:24``, ``12:05``, ``1:02:05``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def ago(seconds: float | None, t: Translator) -> str:
    """Return how old something is; static/clock.js says the same words each second."""
    if seconds is None:
        return t("js.ago.never")
    whole = int(seconds)
    if whole < 10:
        return t("js.ago.now")
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        n = whole // size
        if n >= 1:
            return t(f"js.ago.{unit}" if n == 1 else f"js.ago.{unit}s", n=n)
    return t("js.ago.now")


def until(seconds: float, t: Translator) -> str:
    """Return how soon something is due, never as what could be read as a time of day; clock.js says the same."""
    whole = int(seconds)
    if whole <= 0:
        return t("js.until.now")
    if whole < 100:
        return t("js.until.seconds", n=whole)
    m, s = divmod(whole, 60)
    if m < 10:
        return t("js.until.minutes_seconds", m=m, s=s)
    return t("js.until.minutes", m=m) if m < 100 else t("js.until.hours", h=m // 60, m=m % 60)


def number(value: float) -> str:
    """Return a measured value without needless digits."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def phone(number: str) -> str:
    """Return a Korean number as it is read aloud and dialled at home; others as they are."""
    if not number.startswith("+82"):
        return number
    digits = "0" + number.removeprefix("+82").replace("-", "").replace(" ", "")
    area = 2 if digits.startswith("02") else 3
    return f"{digits[:area]}-{digits[area:-4]}-{digits[-4:]}" if len(digits) >= 9 else number


def typed_phone(text: str) -> str:
    """Return a number typed as at home in Korea, or with its country, in E.164; what is neither is returned bare."""
    bare = re.sub(r"[\s().-]", "", text.strip())
    return f"+82{bare[1:]}" if re.fullmatch(r"0[1-9][0-9]{7,9}", bare) else bare


def typed_time(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment that a typed wall-clock time means there: the latest one not in the future.

    Raises
    ------
    ValueError
        If `text` is not ``hh:mm`` or ``hh:mm:ss``.
    """
    found = _CLOCK.match(text)
    if not found:
        raise ValueError(f"time must be hh:mm or hh:mm:ss, was {text!r}")
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    local = now.astimezone(zone)
    if not (hour < 24 and minute < 60 and second < 60):
        raise ValueError(f"time must be between 00:00 and 23:59, was {text!r}")
    at = local.replace(hour=hour, minute=minute, second=second, microsecond=0)
    # A minute's grace: the dispatcher's own wall clock may run ahead of ours.
    return at if at <= local + timedelta(minutes=1) else at - timedelta(days=1)
