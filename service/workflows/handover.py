"""Handing a case over to an emergency service: one complete record, offered by a human, answered or read out."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from dispatch import eido, escalation, handover_signs, messages
from dispatch.alarm import AlarmCondition
from dispatch.codes import Log
from dispatch.handover_script import script
from dispatch.incident import Handover, Incident, Reason, State, allowed_actions
from dispatch.spoken_numbers import spans
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import cases, faces, records, signs, vital_faces
from service.workflows.coming import reason_until, top_reasons
from service.workflows.house import House, log
from service.workflows.incidents import Refused, changed

SAME_LOOK = timedelta(minutes=5)
WORST_OF = timedelta(hours=6)
"""Policy: over how long the worst value of a sign is looked for."""
LONGEST_TO = 100
PLAIN = re.compile(rf"[^<>]{{1,{LONGEST_TO}}}")
LONGEST_REASON = 300
LONGEST_REFERENCE = 100
ANSWERS_SHOWN = 6
ASKED_AND_ANSWERED = frozenset(
    {
        Log.ASKED,
        Log.PICKED_UP,
        Log.ASK_CALL_ENDED,
        Log.ANSWERED_FINE,
        Log.ANSWERED_HELP,
        Log.ANSWERED_DURESS,
        Log.FINE_NOT_BELIEVED,
        Log.LATE_FINE,
        Log.LATE_HELP,
        Log.RETURNED_CALL,
        Log.BRIDGED,
    }
)
"""Lines of the log that tell what the person was asked and said."""

WORDS: dict[str, tuple[str, str]] = {
    "unknown.address": ("주소", "the address"),
    "unknown.access": ("들어가는 방법", "how to get in"),
    "unknown.age": ("나이", "the age"),
    "unknown.awake": ("의식이 있는지", "whether they are conscious"),
    "unknown.room": ("집 안 어디에 있는지", "where in the home they are"),
    "unknown.home": ("지금 집에 있는지", "whether they are at home now"),
    "unknown.vitals": ("지금의 생체신호", "their vital signs now"),
    "unknown.pressure": ("혈압", "the blood pressure"),
    "unknown.history": ("앓는 병과 먹는 약", "their illnesses and medicines"),
    "number.centre": ("관제센터", "our control centre"),
    "number.person": ("본인", "the person"),
    "number.took": ("맡은 사람", "whoever has taken charge"),
    "number.going": ("가고 있는 사람", "whoever is on the way"),
    "number.late": ("가기로 한 사람", "whoever should be there by now"),
    "number.there": ("곁에 있는 사람", "whoever is with them"),
    "flag.dementia": (
        "치매가 있어 본인의 대답만으로는 판단할 수 없습니다.",
        "They have dementia, so their own answer cannot be relied on.",
    ),
    "flag.voice": ("전화로 대화하기 어렵습니다.", "They cannot easily talk on the telephone."),
    "centre": ("안심 관제센터", "Ansim control centre"),
}


def _say(key: str, language: str) -> str:
    return WORDS[key][0 if language == "ko" else 1]


def record(house: House, incident_id: UUID, viewer_id: UUID, language: str, *, open_case: bool) -> eido.Record:
    """Everything a call-taker needs; place and vitals only while it is open. LookupError: there is no such case."""
    now = house.clock()
    face = faces.incident(house, incident_id, viewer_id, language, with_vitals=open_case)
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        if row is None:
            raise LookupError(f"no incident {incident_id}")
        try:
            case = cases.open_case(house, row)
        except SealingError:
            case = None
        seen = signs.look(house, tx, row.patient_id, now) if open_case else None
        findings = _findings(house, tx, case, language, row.closed_at or now)
        written = records.log_lines(house, tx, row)
        lines = records.worded(house, tx, written, language)
        care = faces._care(house, people_store.patient(tx, row.patient_id))
        by = records.names_of(house, tx, [viewer_id], language)[viewer_id]
    patient = face["patient"]
    measured = tuple(
        eido.Measured(
            name=shown["name"], value=v.value, unit=shown["unit"], at=v.at, age_s=v.age_s, doubtful=v.doubtful,
            stale=v.stale,
        )
        for v, shown in (zip(seen.vitals, vital_faces.latest(seen, language), strict=True) if seen else ())
    )  # fmt: skip
    helpers = tuple(_helper(one, case) for one in face["contacts"])
    flags = {"flag.dementia": care.dementia, "flag.voice": not care.voice_works}
    subject = eido.Subject(
        name=patient["name"],
        age=patient["age"],
        sex=care.sex,
        language=language,
        phones=tuple(patient.get("phones") or ()),
        flags=tuple(patient.get("flags") or ()),
        flags_said=tuple(_say(key, language) for key, is_so in flags.items() if is_so),
    )
    place = eido.Place(address=patient["address"], access_note=patient["access_note"], district=care.district)
    answers = tuple(
        eido.Entry(at=line.at, text=line.text, spoken=handover_signs.answer_said(said.what, said.params, language))
        for line, (_, said) in zip(lines, written, strict=True)
        if _of_the_person(line)
    )
    spoke = case is not None and case.spoken
    away = bool(care.away_until and care.away_until > now)
    return eido.Record(
        incident_id=incident_id,
        made_at=now,
        opened_at=row.opened_at,
        state=row.state,
        state_text=face["state_text"],
        priority=row.priority,
        simulated=bool(row.is_simulated),
        language=language,
        centre=_say("centre", language),
        element=urlsplit(house.settings.public_url).hostname or "ansim",
        subject=subject,
        place=place,
        findings=findings,
        vitals=measured,
        times=dict(case.times) if case else {},
        answers=answers[-ANSWERS_SHOWN:],
        helpers=helpers,
        callbacks=_callbacks(house, subject, helpers, language),
        unknown=_unknown(place, subject, measured, spoke=spoke, away=away, language=language) if open_case else (),
        reference=case.external_reference if case else None,
        by=by,
    )


def _of_the_person(line: records.LogRecord) -> bool:
    """Whether a line tells what the person was asked or said; others pick up calls too."""
    return line.what in ASKED_AND_ANSWERED and (line.what != Log.PICKED_UP or line.who == "patient")


def _findings(
    house: House, tx: Tx, case: Incident | None, language: str, at: datetime
) -> tuple[eido.Finding, ...]:
    """The signs that matter most, the most urgent first."""
    if case is None:
        return ()
    return tuple(
        eido.Finding(
            code=reason.condition.code,
            text=messages.reason_text(reason.condition, language, reason_until(reason, at)),
            spoken=_spoken(house, tx, case, reason, language, at),
            priority=reason.condition.priority.value,
            started_at=reason.condition.started_at,
            ended=reason.ended_at is not None,
        )
        for reason in top_reasons(case)
    )


def _spoken(house: House, tx: Tx, case: Incident, reason: Reason, language: str, at: datetime) -> str:
    """A sign as 119 hears it: since when, and how bad it was; how it is now the measured values say."""
    worst = _worst(house, tx, case.patient_id, reason.condition, reason_until(reason, at))
    return handover_signs.sign_said(reason.condition, language, at, worst, reason.ended_at)


def _worst(house: House, tx: Tx, patient_id: UUID, condition: AlarmCondition, at: datetime) -> float | None:
    """The worst value of a sign since it began: of what was found at first, and of medians of three since then."""
    of, found = handover_signs.watched(condition), condition.params.get("value")
    if of is None or not isinstance(found, int | float):
        return None
    vital, lowest = of
    since = max(condition.started_at, at - WORST_OF)
    values = [v for _, v in signs.points(house, tx, patient_id, vital, since, at) if v > 0]
    lasting = [median(values[i : i + 3]) for i in range(len(values) - 2)]
    return min([found, *lasting]) if lowest else max([found, *lasting])


def _helper(contact: dict[str, Any], case: Incident | None) -> eido.Helper:
    part = contact["part"]
    return eido.Helper(
        name=contact["name"],
        relation=contact["relation"],
        phone=contact["phone"],
        result=contact["result_text"] or "",
        part=part,
        eta_at=case.going.eta_at if case and case.going and part in {eido.Part.GOING, eido.Part.LATE} else None,
    )


def _callbacks(
    house: House, subject: eido.Subject, helpers: tuple[eido.Helper, ...], language: str
) -> tuple[eido.Number, ...]:
    """Our desk first: somebody there knows the case. Then who is going, then the person."""
    found = [(_say("number.centre", language), house.settings.fallback_number)]
    found += [(_say(f"number.{one.part}", language), one.phone) for one in helpers if one.part and one.phone]
    found += [(_say("number.person", language), one) for one in subject.phones[:1]]
    return tuple(eido.Number(label=label, phone=number) for label, number in found if number)


def _unknown(
    place: eido.Place,
    subject: eido.Subject,
    vitals: tuple[eido.Measured, ...],
    *,
    spoke: bool,
    away: bool,
    language: str,
) -> tuple[str, ...]:
    """What a call-taker might take for known, and is not."""
    fresh = [one for one in vitals if not one.stale and not one.doubtful]
    pressed = {messages.vital_text(code, language) for code in ("systolic_mmhg", "diastolic_mmhg")}
    missing = {
        "unknown.address": not place.address,
        "unknown.access": not place.access_note,
        "unknown.age": subject.age is None,
        "unknown.awake": not spoke,
        "unknown.room": True,
        "unknown.home": away,
        "unknown.vitals": not fresh,
        "unknown.pressure": bool(fresh) and not any(one.name in pressed for one in fresh),
        "unknown.history": True,
    }
    return tuple(_say(key, language) for key, is_missing in missing.items() if is_missing)


# --- the page ---------------------------------------------------------------------------------------


def face(house: House, incident_id: UUID, viewer_id: UUID, language: str, *, open_case: bool) -> dict[str, Any]:
    """The record, the script and where the offer stands."""
    found = record(house, incident_id, viewer_id, language, open_case=open_case)
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        try:
            case = cases.open_case(house, row) if row is not None else None
        except SealingError:
            case = None
        offers = case.handovers if case else []
        names = records.names_of(house, tx, {offer.by for offer in offers}, language)
    actions = [action.value for action in allowed_actions(case)] if case else []
    return {
        "now": found.made_at,
        "id": incident_id,
        "record": found,
        "script": [spans(line, language) for line in script(found, language)] if open_case else [],
        "offers": [_offer(offer, names[offer.by]) for offer in offers],
        "standing": _standing(offers, case),
        "actions": actions,
        "open": open_case,
        "partner": bool(house.settings.handover_url),
        "answer_s": case.policy.handover_s if case else 60,
    }


def _offer(offer: Handover, by: str) -> dict[str, Any]:
    return {
        "to": offer.to,
        "by": by,
        "offered_at": offer.offered_at,
        "due_at": offer.due_at,
        "answer": offer.answer.value if offer.answer else None,
        "reason": offer.reason,
        "reference": offer.reference,
    }


def _standing(offers: list[Handover], case: Incident | None) -> str:
    """``none``, ``waiting``, ``accepted``, ``rejected``, ``unanswered``, ``ended``: closed without an answer.

    ``called`` once a human has called 119.
    """
    if case is not None and case.unit_called:
        return "called"
    if not offers:
        return "none"
    last = offers[-1]
    if last.answer:
        return last.answer.value
    return "ended" if case is not None and case.state is State.CLOSED else "waiting"


# --- offering and answering -----------------------------------------------------------------------


def offer(house: House, person_id: UUID, incident_id: UUID, to: str) -> Incident:
    """A named human offers the record; nothing about a unit follows from it."""
    if not PLAIN.fullmatch(to.strip()) or not to.strip().isprintable():
        raise Refused(
            f"to must be a name of 1 to {LONGEST_TO} plain letters in one line, without < and >, was {to[:20]!r}: "
            "write the desk's name",
            code="field_invalid",
            field="to",
        )
    to = _text(to, "to", LONGEST_TO)
    after = changed(house, incident_id, lambda case: escalation.hand_over(case, person_id, to, house.clock()))
    log("handover_offered", incident=incident_id, by=person_id)
    return after


def answered(
    house: House, person_id: UUID, incident_id: UUID, accepted: bool, reason: str = "", reference: str = ""
) -> Incident:
    """The other desk took it or sent it back; a rejection says why."""
    reason = _text(reason, "reason", LONGEST_REASON, empty=accepted)
    reference = _text(reference, "reference", LONGEST_REFERENCE, empty=True)
    after = changed(
        house,
        incident_id,
        lambda case: escalation.handover_answered(case, person_id, accepted, reason, reference, house.clock()),
    )
    log("handover_answered", incident=incident_id, by=person_id, accepted=accepted)
    return after


def _text(text: str, name: str, most: int, *, empty: bool = False) -> str:
    text = "".join(letter for letter in text.strip() if letter.isprintable())
    if len(text) > most or not (text or empty):
        least = 0 if empty else 1
        raise Refused(
            f"{name} must have {least} to {most} characters, had {len(text)}", code="field_invalid", field=name
        )
    return text

