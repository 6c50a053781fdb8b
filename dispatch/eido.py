"""The record that an emergency service's call-taker gets, and its EIDO shape (NENA-STA-021, a draft, not certified).

The names are those that NENA publishes for version 1.0 (github.com/NENA911/EIDO-JSON, Schema/openapi.yaml). Where its
registries have no word for a telecare centre or a sensor we say so in our own words instead of borrowing a wrong one.
Times are also given under the names of NEMSIS eTimes, where there is one (nemsis.org, eTimes_v3).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from html import escape
from typing import Any
from uuid import UUID

import msgspec

VERSION = "1.0"
DRAFT = "EIDO-shaped, draft, not certified. Made by a machine for a human; no unit was dispatched by it."
PRIORITY_NUMBERS = {"high": 1, "medium": 5, "low": 9}
"""Policy: 1 is the most urgent."""
E_TIMES = {
    "unit_notified_at": "eTimes.03",
    "en_route_at": "eTimes.05",
    "on_scene_at": "eTimes.06",
    "at_patient_at": "eTimes.07",
    "left_scene_at": "eTimes.09",
    "at_hospital_at": "eTimes.11",
    "in_service_at": "eTimes.13",
}


class Place(msgspec.Struct, kw_only=True, frozen=True):
    address: str = ""
    access_note: str = ""
    district: str = ""


class Subject(msgspec.Struct, kw_only=True, frozen=True):
    """The person; what is not known is empty or None."""

    name: str
    age: int | None = None
    sex: str | None = None
    """``male`` or ``female``."""
    language: str = "ko"
    phones: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """Worded: dementia, cannot use the telephone ..."""
    flags_said: tuple[str, ...] = ()
    """The same as whole sentences."""


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """A sign: what it says in words, with value, usual value and age, and since when.

    ``spoken`` tells of no value as if it were of now: those are measured, each with its own age.
    """

    code: str
    text: str
    spoken: str
    priority: str
    started_at: datetime
    ended: bool = False


class Measured(msgspec.Struct, kw_only=True, frozen=True):
    name: str
    value: float
    unit: str
    at: datetime
    age_s: float
    doubtful: bool = False
    stale: bool = False


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    at: datetime
    text: str
    spoken: str = ""
    """The same as a whole sentence; empty where ``text`` is one."""


class Part(StrEnum):
    """What somebody does about it, as far as they told us."""

    TOOK = "took"
    """They know and have taken charge; nobody said that they are on the way."""
    GOING = "going"
    LATE = "late"
    """They should have been there by now."""
    THERE = "there"


class Helper(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody who was rung; ``part`` is None for who neither has it nor is there."""

    name: str
    relation: str = ""
    phone: str | None = None
    result: str = ""
    part: Part | None = None
    eta_at: datetime | None = None


class Number(msgspec.Struct, kw_only=True, frozen=True):
    label: str
    phone: str


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that a call-taker needs of one case, in one place."""

    incident_id: UUID
    made_at: datetime
    opened_at: datetime
    state: str
    state_text: str
    priority: str
    simulated: bool
    language: str
    centre: str
    element: str
    """Which system this comes from: the host of its public address."""
    subject: Subject
    place: Place
    findings: tuple[Finding, ...] = ()
    vitals: tuple[Measured, ...] = ()
    times: dict[str, datetime] = {}
    answers: tuple[Entry, ...] = ()
    """What the person was asked, and what came of it."""
    helpers: tuple[Helper, ...] = ()
    callbacks: tuple[Number, ...] = ()
    unknown: tuple[str, ...] = ()
    """What is not known, worded."""
    reference: str | None = None
    by: str = ""
    """Who hands it over."""


def eido(record: Record) -> dict[str, Any]:
    """The record in EIDO's shape, as plain JSON-ready values.

    Parameters
    ----------
    record : Record

    Returns
    -------
    dict
        An EmergencyIncidentDataObject; every ``$ref`` in it leads to a component of it.
    """
    return _Shape(record).whole()


class _Shape:
    def __init__(self, record: Record) -> None:
        self._record = record
        self._uid = record.incident_id.hex
        self._at = _time(record.made_at)
        self._notes: list[dict[str, Any]] = []
        self._callbacks: list[dict[str, Any]] = []

    def _id(self, kind: str, n: int = 0) -> str:
        return f"urn:emergency:uid:{kind}:{self._uid}{n:02d}:{self._record.element}"

    def _part(self, kind: str, n: int = 0, **more: Any) -> dict[str, Any]:
        """A component's prologue, and what of ``more`` is known."""
        known = {name: value for name, value in more.items() if value not in (None, "", [], {})}
        return {
            "$id": self._id(kind, n),
            "lastUpdateTimeStamp": self._at,
            "updatedByAgencyReference": {"$ref": self._id("agency")},
        } | known

    def _note(self, text: str) -> dict[str, str]:
        note = self._part("note", len(self._notes), notesActionComments=escape(text, quote=False))
        self._notes.append(note)
        return {"$ref": note["$id"]}

    def _callback(self, *phones: str) -> dict[str, str] | None:
        uris = [f"tel:{phone}" for phone in phones if phone]
        if not uris:
            return None
        one = self._part("callback", len(self._callbacks), callBackInformationUri=uris)
        self._callbacks.append(one)
        return {"$ref": one["$id"]}

    def whole(self) -> dict[str, Any]:
        record = self._record
        location, people = self._location(), self._people()
        incident = self._incident(location, people)
        found: dict[str, Any] = {
            "$id": self._id("incidentid"),
            "lastUpdateTimeStamp": self._at,
            "updatedByAgencyReference": {"$ref": self._id("agency")},
            "updatedByAgentReference": {"$ref": self._id("agent")},
            "eidoVersion": VERSION,
            "issuingElementIdentification": record.element,
            "incidentComponent": incident,
            "agencyComponent": [self._agency()],
            "agentComponent": [self._agent()],
            "alarmsSensorsComponent": self._sensors(),
            "callComponent": self._calls(people),
            "callbackComponent": self._callbacks,
            "dispatchComponent": self._dispatch(),
            "additionalDataComponent": [self._times()],
            "locationComponent": [location] if location else [],
            "personComponent": people,
            "notesComponent": self._notes,
        }
        empty = {name for name, value in found.items() if value == []}
        return {name: value for name, value in found.items() if name not in empty} | {
            "@context": {"@vocab": "./JSON-LD_Contexts/EmergencyIncidentDataObjectType.jsonld"}
        }

    def _agency(self) -> dict[str, Any]:
        return self._part(
            "agency",
            agencyRoleDescriptionRegistryText=["CallReceiving"],
            agencyType=["telecare"],
            incidentOwningAgencyIndicator=True,
            notesReference=[self._note(self._record.centre)] if self._record.centre else None,
        )

    def _agent(self) -> dict[str, Any]:
        return self._part(
            "agent",
            agentRoleRegistryText=["Call Taking"],
            agencyReference={"$ref": self._id("agency")},
            notesReference=[self._note(self._record.by)] if self._record.by else None,
        )

    def _incident(self, location: dict[str, Any] | None, people: list[dict[str, Any]]) -> dict[str, Any]:
        record = self._record
        notes = [self._note(DRAFT)]
        if record.simulated:
            notes.append(self._note("SIMULATED: this person does not exist."))
        notes += [self._note(f"{finding.text} [{_time(finding.started_at)}]") for finding in record.findings]
        notes += [self._note(f"{_time(entry.at)} {entry.text}") for entry in record.answers]
        notes += [self._note(f"NOT KNOWN: {text}") for text in record.unknown]
        worst = record.findings[0] if record.findings else None
        return self._part(
            "incident",
            incidentTypeCommonRegistryText="OTHER",
            incidentTypeInternalCode=worst.code if worst else None,
            incidentTypeInternalText=worst.text if worst else None,
            incidentStatusInternalText=[record.state],
            incidentPriorityInternalText=record.priority,
            incidentCommonPriorityNumber=PRIORITY_NUMBERS.get(record.priority, 5),
            internalIncidentId=str(record.incident_id),
            locationReference=[{"$ref": location["$id"]}] if location else None,
            personReference=[{"$ref": person["$id"]} for person in people],
            documentIdentification=[record.reference] if record.reference else None,
            notesReference=notes,
        )

    def _location(self) -> dict[str, Any] | None:
        place = self._record.place
        if not (place.address or place.district):
            return None
        notes = [self._note(place.access_note)] if place.access_note else None
        return self._part(
            "location",
            locationTypeDescriptionRegistryText="Incident",
            locationDescriptionText=place.address or place.district,
            locationByValue=_civic(place, self._id("location"), self._at) if place.address else None,
            notesReference=notes,
        )

    def _people(self) -> list[dict[str, Any]]:
        record, subject = self._record, self._record.subject
        found = [
            self._part(
                "person",
                personIncidentRoleRegistryText=["Patient"],
                ncPersonComponent=_nc_person(subject),
                callBackReference=self._callback(*subject.phones),
                notesReference=[self._note(flag) for flag in subject.flags],
            )
        ]
        for n, helper in enumerate(record.helpers, 1):
            said = ", ".join(part for part in (helper.relation, helper.result) if part)
            found.append(
                self._part(
                    "person",
                    n,
                    personIncidentRoleRegistryText=["Other"],
                    ncPersonComponent={"ncPersonName": [{"ncPersonFullName": {"value": helper.name}}]},
                    callBackReference=self._callback(helper.phone or ""),
                    eta=_time(helper.eta_at) if helper.eta_at and helper.part is Part.GOING else None,
                    notesReference=[self._note(said)] if said else None,
                )
            )
        return found

    def _sensors(self) -> list[dict[str, Any]]:
        return [
            self._part(
                "sensor",
                n,
                notesReference=[
                    self._note(
                        f"{one.name} {one.value:g} {one.unit} at {_time(one.at)}, {round(one.age_s)} s old"
                        + (" (doubtful)" if one.doubtful else "")
                    )
                ],
            )
            for n, one in enumerate(self._record.vitals)
        ]

    def _calls(self, people: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The call by which a human hands this over: begun when the record was made, to be answered by theirs."""
        centre = [one.phone for one in self._record.callbacks]
        return [
            self._part(
                "callid",
                callStateRegistryText="callBegin",
                standardPrimaryCallType="emergency",
                direction="outgoing",
                callStartTimestamp=self._at,
                callBackReference=self._callback(*centre),
                personReference=[{"$ref": people[0]["$id"]}],
            )
        ]

    def _dispatch(self) -> list[dict[str, Any]]:
        """Only what a human recorded: that 119 was called, and under which reference."""
        called = self._record.times.get("unit_notified_at")
        if called is None:
            return []
        text = f"A human called 119 at {_time(called)}, reference {self._record.reference or 'none'}."
        return [
            self._part("dispatch", agentReference={"$ref": self._id("agent")}, notesReference=[self._note(text)])
        ]

    def _times(self) -> dict[str, Any]:
        times = sorted(self._record.times.items(), key=lambda pair: (pair[1], pair[0]))
        named = {E_TIMES.get(name, name): _time(at) for name, at in times}
        return self._part("times", additionalDataByValue=msgspec.json.encode({"times": named}).decode())


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _nc_person(subject: Subject) -> dict[str, Any]:
    found: dict[str, Any] = {"ncPersonName": [{"ncPersonFullName": {"value": subject.name}}]}
    if subject.age is not None:
        found["ncPersonAgeMeasure"] = [{"ncMeasureIntegerValue": [{"value": subject.age}], "ncTimeUnitCode": "ANN"}]
    if subject.sex is not None:
        found["ncPersonSexCode"] = {"male": "M", "female": "F"}.get(subject.sex, "U")
    return found


def _civic(place: Place, entity: str, at: str) -> str:
    """A PIDF-LO with what is known: RFC 5139 has a field for an address that nobody took apart (LOC)."""
    civic = "urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr"
    return (
        f'<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"'
        f' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="pres:{escape(entity)}"><dm:device id="home">'
        f'<gp:geopriv><gp:location-info><civicAddress xmlns="{civic}"><country>KR</country>'
        f"<LOC>{escape(place.address, quote=False)}</LOC></civicAddress></gp:location-info><gp:usage-rules/>"
        f"<gp:method>Manual</gp:method></gp:geopriv><dm:timestamp>{at}</dm:timestamp></dm:device></presence>"
    )
