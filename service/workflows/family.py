"""What the family sees: how old the knowledge is, one word, and who is going."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import messages
from dispatch.alarm import AlarmKind, Priority
from dispatch.incident import State
from service.detection import standing
from service.detection.budget import GivenUp
from service.sealing import SealingError
from service.store import audit
from service.store import incidents as store
from service.store import outbox as outbox_store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import (
    caregiving,
    cases,
    coming,
    faces,
    gaps,
    memory,
    people,
    reachability,
    records,
    signs,
    snoozes,
    uploads,
    vital_faces,
)
from service.workflows.house import DESK, House
from service.workflows.words import say

LAST_HOURS = timedelta(hours=6)
LINES_KEPT = timedelta(days=30)
LINES_MOST = 10


def my_patients(
    house: House, patient_ids: list[UUID], language: str, viewer_id: UUID | None = None
) -> dict[str, Any]:
    now = house.clock()
    with house.database.read() as tx:
        cards = [_card(house, tx, patient_id, language, now, viewer_id) for patient_id in patient_ids]
    rank = {"help": 0, "check": 1, "unknown": 2, "well": 3}
    return {"patients": sorted(cards, key=lambda c: rank[c["word"]]), "now": now}


def patient(house: House, patient_id: UUID, language: str, viewer_id: UUID | None = None) -> dict[str, Any]:
    """One person's page: the card, the last hours, what happened before, who looked."""
    now = house.clock()
    with house.database.read() as tx:
        face = _card(house, tx, patient_id, language, now, viewer_id)
        face["now"] = now
        face["series"] = vital_faces.series(house, tx, patient_id, LAST_HOURS, language, now)
        face["standing"] = _standing(house, tx, patient_id, language, now)
        face |= {"gap": gaps.ahead(tx, patient_id, now), "quiet": snoozes.face(house, tx, patient_id, language)}
        face["reach"] = _reach(house, tx, patient_id, language)
        past = _history(house, tx, patient_id, language) + _lines_over(house, tx, patient_id, language, now)
        face["history"] = sorted(past, key=lambda one: one["opened_at"], reverse=True)
        looks = audit.accesses(tx, patient_id, most=20)
        names = records.names_of(house, tx, {row.viewer_id for row in looks}, language)
    face["looked"] = [
        {"who": names[row.viewer_id], "role_text": say(f"role.{row.viewer_role}", language), "at": row.at}
        for row in looks
    ]
    return face


def _card(
    house: House, tx: Tx, patient_id: UUID, language: str, now: datetime, viewer_id: UUID | None
) -> dict[str, Any]:
    seen = signs.look(house, tx, patient_id, now)
    patient_row = people_store.patient(tx, patient_id)
    profile = people.profiles(house, tx, [patient_id]).get(patient_id)
    who = faces.patient_face(house, patient_row, profile, language, now)
    return {
        "id": patient_id,
        "name": who["name"],
        "age": who["age"],
        "simulated": who["simulated"],
        "phones": profile.phones if profile else [],
        "word": seen.word,
        "word_text": say(f"word.{seen.word}", language),
        "why": signs.why_text(seen, language, now, plain=True),
        "data_age_s": seen.data_age_s,
        "stale": seen.stale,
        "vitals": vital_faces.latest(seen, language),
        "technical": [
            messages.reason_text(c, language, now)
            for c in seen.conditions
            if c.kind is AlarmKind.TECHNICAL and c.code != seen.why
        ],
        "lines": [
            {"text": messages.reason_text(c, language, now, plain=True), "since": c.started_at}
            for c in seen.conditions
            if c.kind is AlarmKind.PHYSIOLOGICAL and c.priority is Priority.LOW
        ],
        "away_until": who["away_until"],
        "snoozes": snoozes.standing(house, tx, patient_id, language),
        "incident": _incident_strip(house, tx, seen.incident_row, language, now, viewer_id),
    }


def _incident_strip(
    house: House, tx: Tx, row: Row[Any] | None, language: str, now: datetime, viewer_id: UUID | None
) -> dict[str, Any] | None:
    """For the family: what is happening, who was rung, who is going."""
    if row is None:
        return None
    outbox = list(outbox_store.notifications_of(tx, [row.id]))
    face = faces.case_row(house, tx, row, outbox, DESK, language, now, plain=True)
    names = records.names_of(house, tx, {n.target_id for n in outbox}, language)
    going, standing, there, fine = None, "", False, None
    beside: dict[str, Any] = {"may": {}, "there_names": [], "safe_names": []}
    try:
        case = cases.open_case(house, row)
        since = case.times.get("acknowledged_at", row.opened_at)
        standing = caregiving.standing(case, viewer_id) if viewer_id else ""
        there = case.state in {State.AT_PATIENT, State.TRANSPORTING}
        # Where there is a secret key, that this line is missing would tell whoever reads along of it.
        if standing == "mine" and not there and case.policy.duress_digit is None:
            fine = face["fine_text"]
        beside |= coming.there_face(house, tx, case, viewer_id)
        beside["may"] = caregiving.choices(case, viewer_id) if viewer_id else {}
    except SealingError:
        since = row.opened_at
    if face["acknowledged"] and face["owner"]:
        going = {"name": face["owner"]["name"], "since": since, **(face["going"] or {})}
    return {
        "id": row.id,
        "state_text": face["state_text"],
        "opened_at": row.opened_at,
        "reasons": face["reasons"],
        "rung": faces.rung(outbox, names, row.patient_id, language, discreet=True),
        "going": going,
        "standing": standing,
        "there": there,
        "fine": fine,
        **beside,
        "etas": caregiving.ETA_CHOICES_MIN,
        "unit": face["unit"],
        "next_step_text": face["next_step_text"],
    }


def _reach(house: House, tx: Tx, patient_id: UUID, language: str) -> reachability.ReachRecord | None:
    patient = people_store.patient(tx, patient_id)
    return None if patient is None else reachability.within(house, tx, patient, language)


def _history(house: House, tx: Tx, patient_id: UUID, language: str) -> list[dict[str, Any]]:
    found = []
    for row in store.incidents_of(tx, patient_id, most=20):
        if row.closed_at is None:
            continue
        try:
            case = cases.open_case(house, row)
        except SealingError:
            continue
        reason = case.reasons[0] if case.reasons else None
        until = coming.reason_until(reason, row.closed_at) if reason else row.closed_at
        found.append(
            {
                "incident_id": row.id,
                "opened_at": row.opened_at,
                "reason": messages.reason_text(reason.condition, language, until, plain=True) if reason else "",
                "outcome_text": messages.close_reason_text(case.close_reason, language)
                if case.close_reason
                else messages.state_text(case.state, language),
            }
        )
    return found


def _lines_over(house: House, tx: Tx, patient_id: UUID, language: str, now: datetime) -> list[dict[str, Any]]:
    """Lines that ended by themselves lately; one that rose to a question is told with its case."""
    rows = [r for r in store.conditions_of(tx, patient_id) if r.kind == AlarmKind.PHYSIOLOGICAL]
    risen = {(r.code, r.detected_at) for r in rows if r.priority != Priority.LOW}
    found = []
    for row in rows:
        over = row.ended_at is not None and now - row.ended_at < LINES_KEPT
        held = row.held_until is not None and row.incident_id is None
        line = row.priority == Priority.LOW and (row.code, row.ended_at) not in risen
        if not over or not (line or held):
            continue
        lasted = (row.ended_at - row.started_at).total_seconds()
        found.append(
            {
                "opened_at": row.started_at,
                "reason": messages.sign_text(row.code, language),
                "lasted_text": messages.duration_text(lasted, language),
            }
        )
    return found[:LINES_MOST]


def _standing(house: House, tx: Tx, patient_id: UUID, language: str, now: datetime) -> dict[str, Any] | None:
    """What is given up for fewer needless calls; None where nothing is."""
    try:
        _, state = memory.carried(house, tx, patient_id)
    except SealingError:
        return None  # the card says already that the record does not open
    if state is None:
        return None
    held = standing.standing(state, memory.micros(now))
    lifted = [
        {"sign": messages.sign_text(one.code, language), "until": uploads.moment(one.ends_us)} for one in held.lifts
    ]
    given_up = _given_up("ask", held.question) or _given_up("ring", held.ring)
    if not lifted and given_up is None and held.learnt_days is None:
        return None
    return {
        "learnt_days": held.learnt_days,
        "learning_days": standing.LEARNING_DAYS,
        "lifted": lifted,
        "given_up": given_up,
    }


def _given_up(before: str, told: GivenUp) -> dict[str, Any] | None:
    """A person's own threshold, as the page words it: before what, in how many of 100 signs, how often a month."""
    risen = float(told.params["arm"] or 0) > float(told.params["usual_arm"] or 0)
    if not risen:
        return None
    kept = "floor" if told.code == "at_floor" else "days"
    percent = round(100 * float(told.params["share"] or 0))
    return {"key": f"{before}_{kept}", "percent": percent, "month": float(told.params["asked_a_month"] or 0)}
