"""What the pages show, in the viewer's language; who may see it is decided before it gets here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import messages
from dispatch.alarm import AlarmCondition, AlarmKind
from dispatch.codes import HUMAN_CLOSE_REASONS
from dispatch.incident import Channel, Incident, Target, allowed_actions
from service.sealing import SealingError
from service.store import incidents as store
from service.store import outbox as outbox_store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import carriers, cases, contact_standing, health, outages, people, records, signs, vital_faces
from service.workflows.coming import going_face, part_of, stages_face, there_face, told_reasons, unit_face
from service.workflows.house import DESK, House, warn
from service.workflows.words import WORDS, relation_text, say

LAST_MINUTES = timedelta(minutes=30)


def board(house: House, organisation_id: UUID, viewer_id: UUID, language: str) -> dict[str, Any]:
    """Open cases, most urgent first; no vitals beyond the reason's sentence."""
    now = house.clock()
    with house.database.read() as tx:
        rows = store.open_incidents(tx, organisation_id)
        outbox = outbox_store.notifications_of(tx, [row.id for row in rows])
        shown = [
            case_row(house, tx, row, [n for n in outbox if n.incident_id == row.id], viewer_id, language, now)
            for row in rows
        ]
        technical = _technical(house, tx, organisation_id, language, now)
        cursor = store.last_cursor(tx)
    rank = {"high": 0, "medium": 1, "low": 2}
    shown.sort(
        key=lambda r: (r["settled"], r["acknowledged"], rank[r["priority"]], r["technical"], r["opened_at"])
    )
    unclaimed = sum(1 for r in shown if r["owner"] is None and not r["settled"])
    return {
        "rows": shown,
        "technical": technical,
        "calls_go_out": health.calls_go_out(house),
        "desk_unproven": health.desk_unproven(house),
        **carriers.notices(house, organisation_id, now),
        "counts": {"open": len(shown), "unclaimed": unclaimed},
        "cursor": cursor,
        "now": now,
    }


def _technical(
    house: House, tx: Tx, organisation_id: UUID, language: str, now: datetime
) -> list[dict[str, Any]]:
    """Low-priority conditions: a line, no case."""
    patients = {row.patient_id: row for row in people_store.patients(tx, organisation_id)}
    rows = [
        row
        for row in store.open_conditions(tx, list(patients))
        if row.priority == "low" and row.kind == AlarmKind.TECHNICAL
    ]
    names = records.names_of(house, tx, {row.patient_id for row in rows}, language)
    lines = []
    for row in rows:
        try:
            condition = house.unseal(
                row.patient_id, "alarm_condition", str(row.id), row.sealed, AlarmCondition
            )
        except SealingError:
            continue
        text = messages.reason_text(condition, language, now)
        lines.append({"patient": names[row.patient_id], "text": text, "since": row.started_at})
    return lines


def case_row(
    house: House,
    tx: Tx,
    row: Row[Any],
    outbox: list[Row[Any]],
    viewer_id: UUID,
    language: str,
    now: datetime,
    *,
    plain: bool = False,
) -> dict[str, Any]:
    """One case in a line; a closed one is told as of its closing, whoever looks whenever."""
    at = row.closed_at or now
    patient = people_store.patient(tx, row.patient_id)
    profile = people.profiles(house, tx, [row.patient_id]).get(row.patient_id)
    face: dict[str, Any] = {
        "id": row.id,
        "patient": patient_face(house, patient, profile, language, at),
        "priority": row.priority,
        "state": row.state,
        "state_text": messages.state_text(row.state, language),
        "technical": row.technical,
        "settled": row.state in {"cancelled_by_patient", "stood_down", "closed"},
        "reasons": [],
        "fine_text": None,
        "unit": None,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "owner": None,
        "mine": row.owner_id == viewer_id,
        "acknowledged": row.acknowledged,
        "deadline_at": None,
        "next_step_text": None,
        "next_step_at": row.next_step_at,
        "last_rung": None,
        "going": None,
    }
    try:
        case = cases.open_case(house, row)
    except SealingError as error:
        warn("record_unreadable", table="incident", record=row.id, why=type(error).__name__)
        face["reasons"] = [say("why.unreadable", language)]
        return face
    ids = {n.target_id for n in outbox} | {c.person_id for c in case.policy.contacts}
    names = records.names_of(house, tx, ids | ({case.owner_id} if case.owner_id else set()), language)
    face["reasons"] = told_reasons(case, language, at, plain=plain)
    face["unit"] = unit_face(case, language)
    face["fine_text"] = messages.says_fine(language, case.ask.fine_at, now) if case.open else None
    face["deadline_at"] = case.deadline_at
    face["going"] = going_face(case)
    face["next_step_text"] = _next_step(case, names, language)
    if case.owner_role is not None:
        name = names[case.owner_id] if case.owner_id else say("desk", language)
        face["owner"] = {"name": name, "role_text": say(f"role.{case.owner_role}", language)}
    calls = rung(outbox, names, row.patient_id, language)
    face["last_rung"] = calls[-1] if calls else None
    return face


def patient_face(
    house: House, patient: Row[Any] | None, profile: people.Profile | None, language: str, now: datetime
) -> dict[str, Any]:
    care = _care(house, patient)
    return {
        "id": patient.patient_id if patient else None,
        "name": profile.name if profile else say("unnamed", language),
        "age": now.year - care.birth_year if care.birth_year else None,
        "district": care.district,
        "away_until": care.away_until if care.away_until and care.away_until > now else None,
        "simulated": bool(patient and patient.is_simulated),
    }


def _care(house: House, patient: Row[Any] | None) -> people.Care:
    if patient is None:
        return people.Care()
    try:
        return people.open_care(house, patient)
    except SealingError as error:
        warn("record_unreadable", table="patient", record=patient.patient_id, why=type(error).__name__)
        return people.Care()


def _next_step(case: Incident, names: dict[UUID, str], language: str) -> str | None:
    at = case.next_step_at
    if at is None:
        return None
    if at == case.ask.due_at:
        last = case.ask.attempt >= case.policy.ask_attempts
        return say("next.ask_end" if last else "next.ask", language)
    if at == case.ask.ends_at:
        return say("next.ask_end", language)
    if at == case.coming.due_at:
        return say("next.coming", language)
    if case.offered is not None and at == case.offered.due_at:
        return say("next.handover", language)
    if case.unit is not None and at == case.unit.due_at:
        return say("next.unit", language)
    if at == case.ask.overlap_at:
        return say("next.contacts", language)
    if at == case.ladder.due_at:
        person_id = contact_standing.next_rung(case, at)
        return say("next.contact", language, name=names[person_id]) if person_id else say("next.contacts", language)
    if at == case.desk.due_at:
        return say("next.desk", language)
    return say("next.settle" if at == case.settle_at else "next.deadline", language)


def rung(
    outbox: Iterable[Row[Any]], names: dict[UUID, str], patient_id: UUID, language: str, *, discreet: bool = False
) -> list[dict[str, Any]]:
    """Every call that went out, with how it ended; ``discreet`` where whoever stands beside the person may read it."""
    found = []
    for n in outbox:
        if n.channel != Channel.VOICE or n.status in {outbox_store.CANCELLED, outbox_store.PENDING}:
            continue
        who = (
            say("desk", language)
            if n.target_id == DESK
            else say("patient", language)
            if n.target_id == patient_id
            else names[n.target_id]
        )
        a_key = n.target == Target.PATIENT and (n.outcome or "").startswith("pressed_") and n.outcome != "pressed_2"
        told = say("patient.answered", language) if discreet and a_key else _result(n, language)
        found.append({"who": who, "result_text": told, "at": n.sent_at or n.created_at})
    return found


def _result(n: Row[Any], language: str) -> str:
    """How a call ended, in words; a key is told by what it meant to whom it was asked."""
    known = f"{n.target}.{n.outcome}"
    if known in WORDS:
        return say(known, language)
    if (n.outcome or "").startswith("going_"):
        return say("contact.going", language, minutes=str(n.outcome).removeprefix("going_"))
    told, _, key = (n.outcome or "").rpartition("_")
    if told == "pressed" and n.target == Target.PATIENT:
        return say("patient.pressed", language, pressed=key)
    if told in {"pressed", "wrong", "no_key"}:
        return say("wrong_key", language, pressed=key)
    if n.outcome == "no_key":
        return say(f"{'patient' if n.target == Target.PATIENT else 'contact'}.no_key", language)
    told = n.outcome or n.call_status
    return messages.outcome_text(told, language) if told else say("waiting", language)


def incident(
    house: House, incident_id: UUID, viewer_id: UUID, language: str, *, with_vitals: bool
) -> dict[str, Any]:
    """The screen-pop: one case with everything a helper needs."""
    now = house.clock()
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        if row is None:
            raise LookupError(f"no incident {incident_id}")
        outbox = list(outbox_store.notifications_of(tx, [incident_id]))
        face = case_row(house, tx, row, outbox, viewer_id, language, now)
        face |= {"now": now, "cost": _cost(house, outbox), "external_reference": None, "times": {}}
        face |= {"actions": [], "progress_states": [], "close_reasons": [], "call_list": []}
        _add_person(house, tx, face, row, language)
        lines = records.log_records(house, tx, row, language)
        face["timeline"] = [
            {"at": line.at, "t_s": (line.at - row.opened_at).total_seconds(), "text": line.text, "who_text": ""}
            for line in lines
        ]
        face |= {"vitals": [], "news2_text": None, "series": []}
        if with_vitals:
            seen = signs.look(house, tx, row.patient_id, now)
            face["vitals"] = vital_faces.latest(seen, language)
            face["news2_text"] = vital_faces.news2_text(seen.news2, language)
            face["series"] = vital_faces.series(house, tx, row.patient_id, LAST_MINUTES, language, now)
        try:
            case = cases.open_case(house, row)
        except SealingError:
            return face
        face["contacts"] = _contacts(house, tx, case, outbox, language)
        face["can_connect"] = case.open and bool(face["patient"]["phones"] and house.settings.fallback_number)
        if case.open and any(r.condition.code == "area_silent" for r in case.reasons):
            face["call_list"] = _call_list(house, tx, row.patient_id, language, now)
        face["times"] = case.times
        face["external_reference"] = case.external_reference
        face["actions"] = [action.value for action in allowed_actions(case)]
        face["progress_states"] = stages_face(case, language)
        face["doubts"] = [doubt.value for doubt in case.doubts]
        face |= there_face(house, tx, case, case.owner_id)
        face["close_reasons"] = [
            {"code": r.value, "text": messages.close_reason_text(r, language)} for r in HUMAN_CLOSE_REASONS
        ]
    return face


def _add_person(house: House, tx: Tx, face: dict[str, Any], row: Row[Any], language: str) -> None:
    """Who it is about; where they live and how to get in only while somebody may have to go there."""
    care = _care(house, people_store.patient(tx, row.patient_id))
    profile = people.profiles(house, tx, [row.patient_id]).get(row.patient_id)
    flags = [say("flag.dementia", language)] if care.dementia else []
    flags += [] if care.voice_works else [say("flag.voice", language)]
    face["patient"] |= {
        "sex_text": say(f"sex.{care.sex}", language) if care.sex else None,
        "birth_year": care.birth_year,
        "address": care.address if row.closed_at is None else "",
        "access_note": care.access_note if row.closed_at is None else "",
        "phones": profile.phones if profile else [],
        "flags": flags,
    }
    face["contacts"] = []


def _contacts(
    house: House, tx: Tx, case: Incident, outbox: list[Row[Any]], language: str
) -> list[dict[str, Any]]:
    members = {m.person_id: m for m in people_store.caregivers(tx, case.patient_id)}
    profiles = people.profiles(house, tx, [c.person_id for c in case.policy.contacts])
    broken = {p.person_id for p in people_store.phones_of(tx, list(profiles)) if p.broken_at and not p.retired_at}
    # Whether somebody can be rung now is no part of how a closed case went.
    now = house.clock()
    standings = contact_standing.standings(house, tx, case, now, language) if case.open else {}
    found = []
    for contact in case.policy.contacts:
        calls = [
            n
            for n in outbox
            if n.target_id == contact.person_id
            and n.channel == Channel.VOICE
            and n.target == Target.CONTACT
            and n.status not in {outbox_store.CANCELLED, outbox_store.PENDING}
        ]
        member, profile = members.get(contact.person_id), profiles.get(contact.person_id)
        last = calls[-1] if calls else None
        found.append(
            {
                "name": profile.name if profile else say("unnamed", language),
                "relation": relation_text(member.relation, language) if member else "",
                "phone": profile.phones[0] if profile and profile.phones else None,
                "result_text": _result(last, language) if last else None,
                "at": last.sent_at or last.created_at if last else None,
                "part": part_of(case, contact.person_id, now),
                "broken": case.open and contact.person_id in broken,
                "standing": standings.get(contact.person_id),
            }
        )
    return found


def _call_list(house: House, tx: Tx, patient_id: UUID, language: str, now: datetime) -> list[dict[str, Any]]:
    """Whom to call while an area is silent: an open SOS first, then the frailest."""
    found = []
    for one in outages.call_list(house, tx, patient_id, now):
        care = _care(house, people_store.patient(tx, one.patient_id))
        profile = people.profiles(house, tx, [one.patient_id]).get(one.patient_id)
        found.append(
            {
                "patient_id": one.patient_id,
                "name": profile.name if profile else say("unnamed", language),
                "age": now.year - care.birth_year if care.birth_year else None,
                "phone": profile.phones[0] if profile and profile.phones else None,
                "silent_s": one.silent_s,
                "sos": one.sos,
                "dementia": care.dementia,
            }
        )
    return found


def _cost(house: House, outbox: list[Row[Any]]) -> dict[str, Any]:
    """What the carrier charges for this case, by the prices in the settings."""
    settings = house.settings
    sent = [n for n in outbox if n.sent_at is not None and n.step != "returned"]
    calls = [n for n in sent if n.channel == Channel.VOICE]
    texts = sum(1 for n in sent if n.channel == Channel.TEXT)
    minutes = sum(ceil(n.duration_s / 60) for n in calls if n.duration_s)
    if settings.voice_cost_per_minute is None and settings.text_cost is None:
        amount_text = "–"
    else:
        amount = minutes * (settings.voice_cost_per_minute or Decimal(0)) + texts * (
            settings.text_cost or Decimal(0)
        )
        amount_text = _money(amount, settings.cost_currency)
    return {"calls": len(calls), "texts": texts, "amount_text": amount_text}


def _money(amount: Decimal, currency: str) -> str:
    if currency == "KRW":
        return f"₩ {amount.quantize(Decimal(1), ROUND_HALF_UP):,}"
    return f"{amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,} {currency}"
