"""The page behind a signed link: it says nothing until something is tapped, and then whom, why and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from dispatch import messages
from dispatch.incident import SETTLING, Channel, Incident, NotificationKind, State
from service.sealing import SealingError
from service.store import incidents as store
from service.store import outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import caregiving, cases, channels, coming, links, people, verifying
from service.workflows.house import House, log, warn

CONFIRM = "confirm"
"""The one button of a drill's page. A tap on it means the drill, and never takes a case that opened meanwhile."""
ACTIONS = (*caregiving.ACTIONS, "show", CONFIRM)
HOW = {"acknowledge": "link_3", "decline": "link_4"}


class Gone(LookupError):
    """This link was never ours, is too old, or its case is over."""


@dataclass
class Link:
    """A link that still works: the message it came with, and its case (None for a drill)."""

    row: Row[Any]
    case: cases.Case | None
    language: str
    real: str = ""
    """A drill's link while something real is open: ``case`` leads there, ``waits`` or ``settled`` say nothing to do."""
    of: str = ""
    """What it came with, ``drill`` or ``verify``, where that was no case."""
    moved: bool = False
    """A verification's, and another number was given since: it proves nothing."""


def find(house: House, tx: Tx, given: str) -> Link:
    """Whom a link was made for. Raises Gone."""
    row = links.read(house, tx, given)
    if row is None:
        raise Gone(given[:8])
    if row.target_id not in {member.person_id for member in people_store.caregivers(tx, row.patient_id)}:
        raise Gone(given[:8])  # no contact any more
    language = people.language_of(tx, row.target_id)
    if channels.other_kind(row) is not None:
        return _of_a_drill(house, tx, row, language)
    incident, patient = store.incident(tx, row.incident_id), people_store.patient(tx, row.patient_id)
    if incident is None or patient is None or incident.closed_at is not None:
        raise Gone(given[:8])
    return Link(row, cases.Case(patient, cases.open_case(house, incident), incident.version), language)


def _of_a_drill(house: House, tx: Tx, row: Row[Any], language: str) -> Link:
    """A drill gives way: whoever is rung for what is open now is led there by the drill's link, others wait."""
    incident, patient = store.open_incident_of(tx, row.patient_id), people_store.patient(tx, row.patient_id)
    if incident is None or patient is None:
        return Link(row, None, language, of=_kind(row), moved=verifying.superseded(house, tx, row))
    rung = [one for one in outbox.notifications_of(tx, [incident.id]) if _rings(one, row)]
    try:
        case = cases.Case(patient, cases.open_case(house, incident), incident.version)
    except SealingError as error:
        warn("link_case_unreadable", why=type(error).__name__)
        return Link(row, None, language, "waits", _kind(row))
    if case.incident.state in SETTLING:
        return Link(row, None, language, "settled", _kind(row))
    if not rung:
        return Link(row, None, language, "waits", _kind(row))
    written = [one for one in rung if one.channel != Channel.VOICE]
    return Link((written or rung)[-1], case, language, "case", _kind(row))


def _rings(one: Row[Any], drilled: Row[Any]) -> bool:
    """Whether a message of a real case is a ring of whoever the drill's message went to."""
    theirs = one.target_id == drilled.target_id and one.kind == NotificationKind.PAGE.value
    return bool(theirs and one.status != outbox.CANCELLED)


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
        shown = {"language": link.language, "kind": "real" if link.real else link.of, "of": link.of, "told": None}
        return shown | {"standing": link.real or ("moved" if link.moved else "open")}
    standing = caregiving.standing(link.case.incident, link.row.target_id)
    may = caregiving.choices(link.case.incident, link.row.target_id)
    return {"language": link.language, "kind": "case", "standing": standing, "told": None, "may": may} | _real(link)


def _real(link: Link) -> dict[str, Any]:
    """What a tap on a drill's page must bring back, so that nobody takes a case while they mean the drill."""
    return {"real": str(link.case.incident.id), "of": link.of} if link.real and link.case is not None else {}


def _kind(row: Row[Any]) -> str:
    return "verify" if row.step == "verify" else "drill"


def act(house: House, given: str, action: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a tap does, and what may be shown after it. Raises Gone, Refused."""
    with house.database.read() as tx:
        link = _opened(house, tx, given)
    row = link.row
    if link.case is None:
        return _drilled(house, given, link, meant_real=bool(fields.get("case")))
    if link.real and fields.get("case") != str(link.case.incident.id):
        return _neutral(link)
    mine = caregiving.standing(link.case.incident, row.target_id) == "mine"
    noted = None
    # Tapped again by whoever has it: nothing to do, only to show.
    if action not in {"show", CONFIRM} and not (action == "acknowledge" and mine):
        after = caregiving.act(house, row.target_id, row.incident_id, action, fields)
        noted = caregiving.noted(after, row.target_id, action)
        _note(house, row, action)
    with house.database.read() as tx:
        return _told(house, tx, link, action) | _real(link) | {"noted": noted}


def _drilled(house: House, given: str, link: Link, *, meant_real: bool) -> dict[str, Any]:
    """A tap on a drill's or a verification's page: confirmed, unless something real is open by now."""
    if link.real:
        return _neutral(link)
    if meant_real:
        return {"language": link.language, "kind": "case", "standing": "over", "told": None}
    try:
        _confirm(house, link.row)
    except SealingError as error:
        warn("link_drill_unreadable", why=type(error).__name__)
        raise Gone(given[:8]) from error
    with house.database.read() as tx:
        now = _opened(house, tx, given)
    return _neutral(now) | ({} if now.real or now.moved else {"standing": "done"})


def _confirm(house: House, row: Row[Any]) -> None:
    def work(tx: Tx) -> bool:
        people_store.lock_patient(tx, row.patient_id)
        other, current = channels.other_kind(row), outbox.notification(tx, row.id)
        if other is None or current is None or verifying.superseded(house, tx, current):
            return False
        other.confirmed(house, tx, current, "link")
        return True

    if house.committer.run(work, key=row.patient_id):
        log("link_confirmed", notification=row.id)


def _note(house: House, row: Row[Any], action: str) -> None:
    if action not in HOW or row.channel == Channel.VOICE:
        return  # a call's own row tells how the call ended

    def work(tx: Tx) -> None:
        outbox.update_notification(tx, row.id, outcome=HOW[action], answered_at=row.answered_at or house.clock())

    house.committer.run(work, key=row.patient_id)


def told_by_now(house: House, given: str, language: str) -> dict[str, Any]:
    """As things stand after a tap that came to nothing: who has it, said to who tapped."""
    with house.database.read() as tx:
        link = _opened(house, tx, given)
        return _told(house, tx, link, "show") | _real(link) | {"language": language}


def _told(house: House, tx: Tx, link: Link, action: str) -> dict[str, Any]:
    """To whoever has it: whom, why, where. To others who tapped: who has it, as a pressed key tells them too.

    Opening the page tells nobody anything. Who said that it is a wrong number is told no name by a tap either.
    """
    now, person_id = house.clock(), link.row.target_id
    row = store.incident(tx, link.row.incident_id)
    if row is None or link.case is None:
        raise Gone("no incident")
    case = cases.Case(link.case.patient, cases.open_case(house, row), row.version)
    incident = case.incident
    standing = caregiving.standing(incident, person_id)
    shown: dict[str, Any] = {"language": link.language, "kind": "case", "standing": standing, "did": action}
    shown |= {"told": None, "owner": None, "now": now, "patient_id": link.row.patient_id, "incident_id": row.id}
    shown |= {"person_id": person_id, "may": caregiving.choices(incident, person_id)}
    shown["help"] = _help_text(incident, link.language) if standing == "taken" else None
    if person_id not in incident.ladder.retired:
        shown |= coming.there_face(house, tx, incident, person_id)
        shown["owner"] = coming.name_of(house, tx, incident.owner_id) if standing == "taken" else None
        shown["coming"] = coming.going_face(incident) if standing == "taken" else None
    if standing != "mine":
        return shown
    profile = people.profiles(house, tx, [row.patient_id]).get(row.patient_id)
    about = coming.who_and_why(house, tx, case, link.language, now)
    shown["told"] = about | {
        "reasons": [
            messages.reason_text(r.condition, link.language, r.ended_at or now, plain=True)
            for r in coming.top_reasons(incident)
        ],
        "access_note": _access_note(house, case),
        "phones": profile.phones if profile else [],
        "going": coming.going_face(incident),
        "unit": coming.unit_face(incident, link.language),
        "deadline_at": incident.deadline_at,
        "there": incident.state in {State.AT_PATIENT, State.TRANSPORTING},
        "simulated": row.is_simulated,
    }
    return shown


def _help_text(incident: Incident, language: str) -> str | None:
    """How far 119 is; None while nobody has called them."""
    if not incident.unit_called:
        return None
    unit = coming.unit_face(incident, language)
    return unit["text"] if unit else messages.state_text(incident.state, language)


def _access_note(house: House, case: cases.Case) -> str:
    try:
        return people.open_care(house, case.patient).access_note
    except SealingError:
        return ""
