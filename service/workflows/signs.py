"""How a person is, from what was detected and how old that is; and their measured series."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row

from devices.reading import INDEX
from dispatch import messages
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import State
from service.detection import PersonSettings, Status, current_status
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store import readings as readings_store
from service.store.database import Tx
from service.workflows import memory, people, uploads
from service.workflows.house import House, warn
from service.workflows.words import WORDS, say

CHART_POINTS = 360
HELPING = {
    State.CONFIRMED,
    State.DISPATCHED,
    State.EN_ROUTE,
    State.ON_SCENE,
    State.AT_PATIENT,
    State.TRANSPORTING,
}
ZERO_IS_NO_SIGNAL = {"heart_rate_bpm", "pulse_rate_bpm", "spo2_pct", "respiratory_rate_bpm"}


@dataclass
class Look:
    """What is known of a person now."""

    word: str
    why: str
    data_age_s: float | None
    stale: bool
    vitals: list[Any] = field(default_factory=list)
    news2: Any = None
    conditions: list[AlarmCondition] = field(default_factory=list)
    incident_row: Row[Any] | None = None


def look(house: House, tx: Tx, patient_id: UUID, now: datetime) -> Look:
    """Well, check, help or unknown. Raises LookupError for an unknown patient."""
    patient = people_store.patient(tx, patient_id)
    if patient is None:
        raise LookupError(f"no patient {patient_id}")
    status, broken = _status(house, tx, patient, now)
    conditions = open_conditions(house, tx, patient_id)
    incident_row = store.open_incident_of(tx, patient_id)
    newest = readings_store.newest_reading(tx, patient_id)
    word: str = status.word
    why = status.why
    if broken or any(c.code == "record_unreadable" for c in conditions):
        word, why = "unknown", "unreadable"
    elif readings_store.has_undetected(tx, patient_id):
        word, why = "unknown", "undetected"
    signs = [c for c in conditions if c.kind is AlarmKind.PHYSIOLOGICAL and c.priority is not Priority.LOW]
    if signs:
        word, why = "check", "sign"
    if incident_row is not None and not incident_row.technical:
        if State(incident_row.state) in HELPING:
            word, why = "help", "sign"
        elif State(incident_row.state) in {State.SUSPECTED, State.CHECKING}:
            word, why = "check", "sign"
    return Look(
        word=word,
        why=why,
        data_age_s=None if newest is None else max(0.0, (now - newest).total_seconds()),
        stale=status.word == "unknown",
        vitals=status.vitals,
        news2=status.news2,
        conditions=conditions,
        incident_row=incident_row,
    )


def _status(house: House, tx: Tx, patient: Row[Any], now: datetime) -> tuple[Status, bool]:
    held = readings_store.detector_state(tx, patient.patient_id)
    try:
        limits = people.open_care(house, patient).limits
        state = memory.open_state(house, held) if held is not None else None
        return current_status(state, limits, uploads.micros(now)), False
    except SealingError as error:
        warn("record_unreadable", table="detector_state", record=patient.patient_id, why=type(error).__name__)
        return current_status(None, PersonSettings(), uploads.micros(now)), True


def why_text(seen: Look, language: str, now: datetime, *, plain: bool = False) -> str:
    """One sentence: the most urgent open condition, or why we cannot tell; ``plain`` names no score."""
    fitting = [c for c in seen.conditions if c.code == seen.why] or (
        seen.conditions if seen.why == "sign" else []
    )
    if fitting:
        worst = max(
            fitting, key=lambda c: (c.kind is AlarmKind.PHYSIOLOGICAL, c.priority.rank, c.detected_at)
        )
        return messages.reason_text(worst, language, now, plain=plain)
    known = f"why.{seen.why}" in WORDS
    return say(f"why.{seen.why}" if known else "why.sign", language)


def open_conditions(house: House, tx: Tx, patient_id: UUID) -> list[AlarmCondition]:
    found = []
    for row in store.open_conditions(tx, [patient_id]):
        try:
            found.append(
                house.unseal(patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition)
            )
        except SealingError as error:
            warn("record_unreadable", table="alarm_condition", record=row.id, why=type(error).__name__)
    return found


def _arrays(
    house: House, tx: Tx, patient_id: UUID, since: datetime, until: datetime
) -> tuple[np.ndarray, np.ndarray]:
    """Corrected times (int64 microseconds) and values of all rows in a span, in order of time."""
    at, values = [], []
    for row in readings_store.uploads_between(tx, patient_id, since, until):
        try:
            batch = uploads.open_batch(house, row)
        except SealingError as error:
            warn("record_unreadable", table="upload", record=row.id, why=type(error).__name__)
            continue
        at.append(batch.at_us)
        values.append(batch.values)
    if not at:
        return np.empty(0, dtype=np.int64), np.empty((0, len(INDEX)))
    times, table = np.concatenate(at), np.concatenate(values)
    inside = (times >= uploads.micros(since)) & (times <= uploads.micros(until))
    order = np.argsort(times[inside], kind="stable")
    return times[inside][order], table[inside][order]


def points(
    house: House, tx: Tx, patient_id: UUID, vital: str, since: datetime, until: datetime
) -> list[tuple[datetime, float]]:
    """Every value of one vital in a span."""
    times, table = _arrays(house, tx, patient_id, since, until)
    column = table[:, INDEX[vital]]
    known = ~np.isnan(column)
    return [
        (uploads.moment(at), float(value))
        for at, value in zip(times[known].tolist(), column[known].tolist(), strict=True)
    ]


def series(
    house: House, tx: Tx, patient_id: UUID, vitals: list[str], span: timedelta, now: datetime
) -> dict[str, list[list[float]]]:
    """For charts: [epoch seconds, value], thinned to medians where there are too many."""
    times, table = _arrays(house, tx, patient_id, now - span, now + timedelta(minutes=5))
    found = {}
    for vital in vitals:
        column = table[:, INDEX[vital]]
        known = ~np.isnan(column)
        if vital in ZERO_IS_NO_SIGNAL:
            known &= column != 0
        found[vital] = _thin(times[known] / 1e6, column[known], span.total_seconds() / CHART_POINTS)
    return found


def _thin(at_s: np.ndarray, values: np.ndarray, bin_s: float) -> list[list[float]]:
    if at_s.size <= CHART_POINTS:
        return [[float(a), float(v)] for a, v in zip(at_s, values, strict=True)]
    bins = np.floor(at_s / bin_s).astype(np.int64)
    starts = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
    groups = zip(np.split(at_s, starts[1:]), np.split(values, starts[1:]), strict=True)
    return [[float(np.median(a)), round(float(np.median(v)), 1)] for a, v in groups]
