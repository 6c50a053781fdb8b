"""Escalation policies in force: which document holds for a person, publishing a new one, and what came before."""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from dispatch import policies as rules
from dispatch.policies import Document, PolicyError
from service.store import people as people_store
from service.store import policies as store
from service.store.database import Tx
from service.workflows.house import House, log, new_id, warn

WITHDRAWN = ""
"""The text of a version that takes a document back: the wider scope holds again."""


class Scope(StrEnum):
    ORGANISATION = "organisation"
    DISTRICT = "district"
    PATIENT = "patient"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a document holds."""

    scope: Scope = Scope.ORGANISATION
    district_code: str = ""
    patient_id: UUID | None = None


class PlaceError(ValueError):
    """A scope without what it needs, or with what it cannot have."""


class NothingToWithdraw(Exception):
    """An empty text takes a scope's own document back, and this scope has none."""


class Changed(Exception):
    """Somebody published in the meantime; the newer version is the one to look at."""


def place(scope: str, district_code: str, patient_id: UUID | None) -> Place:
    """Where a document is to hold. Raises PlaceError."""
    if scope not in list(Scope):
        raise PlaceError(f"scope must be one of {', '.join(Scope)}, was {scope!r}")
    if scope == Scope.DISTRICT and not (district_code.isalnum() and len(district_code) <= 20):
        raise PlaceError(f"district_code must be 1 to 20 digits or letters such as 26350, was {district_code!r}")
    if scope == Scope.PATIENT and patient_id is None:
        raise PlaceError("patient_id must name the person, was missing")
    return Place(
        scope=Scope(scope),
        district_code=district_code if scope == Scope.DISTRICT else "",
        patient_id=patient_id if scope == Scope.PATIENT else None,
    )


def version_name(row: Row[Any]) -> str:
    """How an incident remembers the document that it began with."""
    return _named(row.scope, row.district_code, row.version)


def _named(scope: str, district_code: str, version: int) -> str:
    return f"district-{district_code}/v{version}" if scope == Scope.DISTRICT else f"{scope}/v{version}"


def document_for(
    house: House, tx: Tx, patient: Row[Any], broken: list[tuple[str, UUID]] | None = None
) -> tuple[Document, str]:
    """The document that holds for a person, whole, and its version.

    The narrowest scope wins; scopes are never merged. One that does not hold any more (its rules
    were tightened by an upgrade) is passed over for the next wider one, and named in ``broken``.
    """
    for row in store.holding(tx, patient.organisation_id, patient.district_code, patient.patient_id):
        if row.text == WITHDRAWN:
            continue
        try:
            return rules.parse(row.text), version_name(row)
        except PolicyError as error:
            warn("policy_unreadable", document=row.id, version=row.version, problems=len(error.problems))
            if broken is not None:
                broken.append(("policy_document", row.id))
    return rules.parse(rules.DEFAULT), rules.DEFAULT_VERSION


def latest_of(tx: Tx, organisation_id: UUID, where: Place) -> Row[Any] | None:
    found = store.versions(tx, organisation_id, where.scope.value, where.district_code, where.patient_id, most=1)
    return found[0] if found else None


def publish(
    house: House, organisation_id: UUID, author_id: UUID, where: Place, text: str, *, seen: int | None = None
) -> str:
    """Put a document in force from the next incident on; running ones keep theirs. Returns its version.

    Parameters
    ----------
    house : House
    organisation_id : UUID
        Whose people it is for.
    author_id : UUID
        Who answers for it.
    where : Place
        One scope; a patient must be the organisation's.
    text : str
        The document; empty takes the present one back.
    seen : int or None
        The version that the author looked at, where they looked at one.

    Raises
    ------
    PolicyError
        When the document cannot hold.
    Changed
        When another version than ``seen`` is in force.
    NothingToWithdraw
        When the text is empty and the scope has no document of its own.
    LookupError
        When there is no such patient.
    """
    text = normal(text)
    if text != WITHDRAWN:
        rules.parse(text)

    def work(tx: Tx) -> str:
        if where.patient_id is not None:
            patient = people_store.patient(tx, where.patient_id)
            if patient is None or patient.organisation_id != organisation_id:
                raise LookupError(f"no patient {where.patient_id}")
        version = store.next_version(tx, organisation_id)
        before = latest_of(tx, organisation_id, where)
        if seen is not None and seen != (before.version if before is not None else 0):
            raise Changed(f"version {before.version if before else 0} is in force, not {seen}")
        if text == WITHDRAWN and (before is None or before.text == WITHDRAWN):
            raise NothingToWithdraw(
                "text must hold a policy, was empty, and this scope has no policy of its own to take back: "
                "send the document, or name the scope whose policy is meant"
            )
        document_id = new_id()
        store.add(
            tx,
            id=document_id,
            organisation_id=organisation_id,
            scope=where.scope.value,
            district_code=where.district_code,
            patient_id=where.patient_id,
            version=version,
            text=text,
            author_id=author_id,
            created_at=house.clock(),
        )
        return _named(where.scope, where.district_code, version)

    published: str = house.committer.run(work, key=organisation_id)
    log("policy_published", version=published, organisation=organisation_id, author=author_id)
    return published


def normal(text: str) -> str:
    """As it is kept: a browser's line ends and the blanks around it are nobody's meaning."""
    kept = rules.LINE_ENDS.sub("\n", text).strip()
    return kept + "\n" if kept else WITHDRAWN


def history(house: House, organisation_id: UUID, where: Place) -> list[Row[Any]]:
    """Every version of one scope, newest first."""
    with house.database.read() as tx:
        return list(store.versions(tx, organisation_id, where.scope.value, where.district_code, where.patient_id))


def scopes(house: House, organisation_id: UUID) -> list[Row[Any]]:
    """The latest version of every scope, the widest scope first."""
    with house.database.read() as tx:
        return list(store.latest(tx, organisation_id))


def difference(before: str, after: str) -> list[str]:
    """What changed, as a unified diff without its header."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return list(lines)[2:]
