"""What the pages show of measured values: the latest of each, and their courses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from devices.reading import COLUMNS, INDEX
from dispatch import messages
from service.detection.limits import HEART_RATE_LOW_BPM, HEART_RATE_MEDIUM_BPM, SPO2_LOW_PCT
from service.store.database import Tx
from service.workflows import signs
from service.workflows.house import House
from service.workflows.words import say, unit_text

CHARTED = ["heart_rate_bpm", "spo2_pct", "respiratory_rate_bpm"]


def latest(seen: signs.Look, language: str) -> list[dict[str, Any]]:
    """Each value that is known, how old it is, and whether it may be believed."""
    return [
        {
            "code": v.code,
            "name": messages.vital_text(v.code, language),
            "value": v.value,
            "unit": unit_text(COLUMNS[INDEX[v.code]].ucum, language),
            "age_s": v.age_s,
            "stale": v.stale,
            "doubtful": v.doubtful,
        }
        for v in seen.vitals
    ]


def news2_text(news2: Any, language: str) -> str | None:
    """The score in words, with how many of its seven signs are known."""
    if news2 is None:
        return None
    key = "news2.full" if news2.known == 7 else "news2"
    return say(key, language, total=news2.total, known=news2.known)


def series(
    house: House, tx: Tx, patient_id: UUID, span: timedelta, language: str, now: datetime
) -> list[dict[str, Any]]:
    """What is drawn: the course of each value that has one, with the limits it is seen against."""
    limits = {
        "heart_rate_bpm": (HEART_RATE_LOW_BPM, HEART_RATE_MEDIUM_BPM),
        "spo2_pct": (SPO2_LOW_PCT, None),
    }
    drawn = signs.series(house, tx, patient_id, [*CHARTED, "pulse_rate_bpm"], span, now)
    if not drawn["heart_rate_bpm"]:
        drawn["heart_rate_bpm"] = drawn["pulse_rate_bpm"]
    found = []
    for vital in CHARTED:
        low, high = limits.get(vital, (None, None))
        if not drawn[vital]:
            continue
        found.append(
            {
                "code": vital,
                "name": messages.vital_text(vital, language),
                "unit": unit_text(COLUMNS[INDEX[vital]].ucum, language),
                "points": drawn[vital],
                "low": low,
                "high": high,
            }
        )
    return found
