"""Checks an installation and says what to mend."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys

from dispatch.notifier import NotificationError
from service.app import build_house
from service.config import Settings, shown_settings, unknown_names
from service.store import schema
from service.workflows import health, site
from service.workflows.house import House


class NotReady(Exception):
    """Something outside is missing; the message says what to do."""


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print every check; 0 when all are well, 1 when something is to mend."""
    problems = settings.check_ready_to_serve()
    if settings.kek is None and settings.kek_file is None and not settings.demo:
        # Nothing can be opened without it: say all that is missing at once, and touch nothing.
        raise NotReady("not ready to serve real people:\n" + "\n".join(f"  - {text}" for text in problems))
    house = build_house(settings)
    schema.upgrade(house.database)
    if given.ring_fallback:
        return ring_fallback(house)
    checks = examine(house)
    if given.json:
        print(json.dumps({"checks": checks}))
    else:
        for setting, value in shown_settings(settings):
            print(f"{setting.name:<32} {value}")
        print()
        for name, found in checks.items():
            print(f"{name:<10} {found}")
    return 0 if all(found == "ok" for found in checks.values()) else 1


def examine(house: House) -> dict[str, str]:
    """Each part with ``ok`` or what to do."""
    checks = dict(health.checks(house))
    has, wants = schema.revision(house.database)
    checks["schema"] = "ok" if has == wants else f"has {has}, wants {wants}: run `ansim init`"
    problems = house.settings.check_ready_to_serve()
    checks["settings"] = "ok" if not problems else " ".join(problems)
    unknown = unknown_names(os.environ)
    if unknown:
        checks["names"] = f"unknown settings, perhaps misspelt: {', '.join(unknown)}"
    if not house.settings.demo:
        checks["fallback"] = (
            "ok" if site.fallback_verified(house) else "not verified: run `ansim doctor --ring-fallback`"
        )
        checks["desk"] = health.DESK_LATE if health.desk_unproven(house) else "ok"
    return checks


def ring_fallback(house: House) -> int:
    """Ring the fallback desk, read it a code, and have that typed here: somebody is there."""
    settings = house.settings
    if not settings.fallback_number:
        raise NotReady("ANSIM_FALLBACK_NUMBER is not set: give the staffed desk's number, such as +82212345678")
    code = f"{secrets.randbelow(10**6):06d}"
    spoken = ", ".join(code)
    korean = settings.desk_language.value == "ko"
    line = f"안심 확인 번호는 {spoken} 입니다." if korean else f"Your Ansim code is {spoken}."
    try:
        house.notifier.announce(settings.fallback_number, (line, line), settings.desk_language.value, 40)
    except NotificationError as error:
        raise NotReady(f"the carrier would not ring the fallback desk: {error}") from error
    print("The fallback desk is being rung. Type the six digits that are read there:")
    typed = "".join(c for c in sys.stdin.readline() if c.isdigit())
    if not secrets.compare_digest(typed, code):
        print("That is not the code. Nothing is verified; try again.")
        return 1
    site.note_fallback_verified(house)
    print("The fallback desk is verified.")
    return 0
