"""What a version of a policy changed, beside what was in force before it, and which earlier one it brings back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import policies as rules
from dispatch.policies import Document, PolicyError
from service.store import people as people_store
from service.workflows import policies
from service.workflows.house import House
from service.workflows.policies import WITHDRAWN, Place, Scope


def differences(house: House, organisation_id: UUID, where: Place, rows: list[Row[Any]]) -> list[list[str]]:
    """What each version (newest first) changed in force.

    Two documents of one scope are compared as they were written; where a wider one held before or holds after, what
    people wrote has nothing in common, so the values that hold are compared.
    """
    wider = _wider(house, organisation_id, where)
    found = []
    for n, row in enumerate(rows):
        before = rows[n + 1] if n + 1 < len(rows) else None
        if before is not None and _own(before) is not None and _own(row) is not None:
            found.append(policies.difference(before.text, row.text))
            continue
        held = (_own(before) if before is not None else None) or _at(wider, row.version)
        holds = _own(row) or _at(wider, row.version)
        found.append(policies.difference(_values(held), _values(holds)))
    return found


def again(rows: list[Row[Any]]) -> list[int | None]:
    """By version (newest first): the number of the latest earlier one with the very same text, if there is any."""
    return [
        next((one.version for one in rows[n + 1 :] if row.text not in {WITHDRAWN} and one.text == row.text), None)
        for n, row in enumerate(rows)
    ]


def changes(own: bool, in_force: Document, text: str, before: str) -> list[str]:
    """What a document would change: as it is written, or where a wider one is in force, of the values that hold."""
    if own:
        return policies.difference(before, text)
    try:
        return policies.difference(_values(in_force), _values(rules.parse(text)))
    except PolicyError:
        return policies.difference(before, text)


def _values(document: Document) -> str:
    """Title, sections and values without their explanations."""
    title, *lines = document.rendered().splitlines()
    return "\n".join([title, *(line.partition("#")[0].rstrip() for line in lines)])


def _own(row: Row[Any]) -> Document | None:
    """The document of a version; None where it takes one back, or does not hold any more."""
    if row.text == WITHDRAWN:
        return None
    try:
        return rules.parse(row.text)
    except PolicyError:
        return None


def _wider(house: House, organisation_id: UUID, where: Place) -> list[list[Row[Any]]]:
    """The versions of each wider scope, the narrowest scope first."""
    found = []
    if where.patient_id is not None:
        with house.database.read() as tx:
            patient = people_store.patient(tx, where.patient_id)
        if patient is not None:
            district = Place(scope=Scope.DISTRICT, district_code=patient.district_code)
            found.append(policies.history(house, organisation_id, district))
    if where.scope is not Scope.ORGANISATION:
        found.append(policies.history(house, organisation_id, Place()))
    return found


def _at(wider: list[list[Row[Any]]], version: int) -> Document:
    """The wider document that held when that version was published: versions count on within the organisation."""
    for rows in wider:
        newest = next((row for row in rows if row.version < version), None)
        document = _own(newest) if newest is not None else None
        if document is not None:
            return document
    return rules.parse(rules.DEFAULT)
