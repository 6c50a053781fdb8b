"""The page behind a signed link: it says nothing until something is tapped, and then whom, why and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from dispatch import messages
from dispatch.incident import State
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import caregiving, cases, channels, coming, links, people
from service.workflows.house import House, log, warn

ACTIONS = (*caregiving.ACTIONS, "show")
HOW = {"acknowledge": "link_3", "decline": "link_4"}


class Gone(LookupError):
    """This link was never ours, is too old, or its case is over."""


@dataclass
class Link:
    """A link that still works: the message it came with, and its case (None for a drill)."""

    row: Row[Any]
    case: cases.Case | None
    language: str


def find(house: House, tx: Tx, given: str) -> Link:
    """Whom a link was made for. Raises Gone."""
    row = links.read(house, tx, given)
    if row is None:
        raise Gone(given[:8])
    language = people.language_of(tx, row.target_id)
    if channels.other_kind(row) is not None:
        return Link(row, None, language)
    incident, patient = store.incident(tx, row.incident_id), people_store.patient(tx, row.patient_id)
    known = row.target_id in {member.person_id for member in people_store.caregivers(tx, row.patient_id)}
    if incident is None or patient is None or incident.closed_at is not None or not known:
        raise Gone(given[:8])
    return Link(row, cases.Case(patient, cases.open_case(house, incident), incident.version), language)


def face(house: House, given: str) -> dict[str, Any]:
    """What is shown before anything is tapped: no name, no sign, no address."""
    with house.database.read() as tx:
        return _neutral(_opened(house, tx, given))


def _opened(house: House, tx: Tx, given: str) -> Link:
    try:
        return find(house, tx, given)
    except SealingError as error:
        warn("link_case_unreadable", why=type(error).__name__)
        raise Gone(given[:8]) from error


def _neutral(link: Link) -> dict[str, Any]:
    if link.case is None:
        return {"language": link.language, "kind": _kind(link.row), "standing": "open", "told": None}
    standing = caregiving.standing(link.case.incident, link.row.target_id)
    return {"language": link.language, "kind": "case", "standing": standing, "told": None}


def _kind(row: Row[Any]) -> str:
    return "verify" if row.step == "verify" else "drill"


def act(house: House, given: str, action: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a tap does, and what may be shown after it. Raises Gone, Refused."""
    with house.database.read() as tx:
        link = _opened(house, tx, given)
    row = link.row
    if link.case is None:
        _confirm(house, row)
        return {"language": link.language, "kind": _kind(row), "standing": "done", "told": None}
    mine = caregiving.standing(link.case.incident, row.target_id) == "mine"
    # Tapped again by whoever has it: nothing to do, only to show.
    if action != "show" and not (action == "acknowledge" and mine):
        caregiving.act(house, row.target_id, row.incident_id, action, fields)
        _note(house, row, action)
    with house.database.read() as tx:
        return _told(house, tx, link, action)


def _confirm(house: House, row: Row[Any]) -> None:
    def work(tx: Tx) -> None:
        people_store.lock_patient(tx, row.patient_id)
        other, current = channels.other_kind(row), store.notification(tx, row.id)
        if other is not None and current is not None:
            other.confirmed(house, tx, current, "link")

    house.committer.run(work, key=row.patient_id)
    log("link_confirmed", notification=row.id)


def _note(house: House, row: Row[Any], action: str) -> None:
    if action not in HOW:
        return

    def work(tx: Tx) -> None:
        store.update_notification(tx, row.id, outcome=HOW[action], answered_at=row.answered_at or house.clock())

    house.committer.run(work, key=row.patient_id)


def told_by_now(house: House, given: str, language: str) -> dict[str, Any]:
    """As things stand after a tap that came to nothing: who has it, said to who tapped."""
    with house.database.read() as tx:
        return _told(house, tx, _opened(house, tx, given), "show") | {"language": language}


def _told(house: House, tx: Tx, link: Link, action: str) -> dict[str, Any]:
    """To whoever has it: whom, why, where. To others who tapped: who has it."""
    now, person_id = house.clock(), link.row.target_id
    row = store.incident(tx, link.row.incident_id)
    if row is None or link.case is None:
        raise Gone("no incident")
    case = cases.Case(link.case.patient, cases.open_case(house, row), row.version)
    incident = case.incident
    standing = caregiving.standing(incident, person_id)
    shown: dict[str, Any] = {"language": link.language, "kind": "case", "standing": standing, "did": action}
    shown |= {"told": None, "owner": None, "now": now, "patient_id": link.row.patient_id, "incident_id": row.id}
    shown["person_id"] = person_id
    if standing == "taken":
        shown["owner"] = coming.name_of(house, tx, incident.owner_id)
    if standing != "mine":
        return shown
    profile = people.profiles(house, tx, [row.patient_id]).get(row.patient_id)
    about = coming.who_and_why(house, tx, case, link.language, now)
    shown["told"] = about | {
        "reasons": [
            messages.reason_text(r.condition, link.language, r.ended_at or now) for r in coming.top_reasons(incident)
        ],
        "access_note": _access_note(house, case),
        "phones": profile.phones if profile else [],
        "going": coming.going_face(incident),
        "deadline_at": incident.deadline_at,
        "there": incident.state in {State.AT_PATIENT, State.TRANSPORTING},
        "simulated": row.is_simulated,
    }
    return shown


def _access_note(house: House, case: cases.Case) -> str:
    try:
        return people.open_care(house, case.patient).access_note
    except SealingError:
        return ""
