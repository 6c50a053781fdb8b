"""Queries about escalation policy documents: every version is added once and stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, insert, or_, select
from sqlalchemy.sql import ColumnElement

from service.store.database import Tx
from service.store.tables import Organisation, Patient, PolicyDocument, table

_DOCUMENT = table(PolicyDocument)
_ORGANISATION = table(Organisation)
_PATIENT = table(Patient)


def add(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_DOCUMENT).values(**values))


def next_version(tx: Tx, organisation_id: UUID) -> int:
    """The version that the next document of an organisation bears; others who publish wait for this commit."""
    tx.conn.execute(select(_ORGANISATION.c.id).where(_ORGANISATION.c.id == organisation_id).with_for_update())
    last = tx.conn.execute(
        select(func.max(_DOCUMENT.c.version)).where(_DOCUMENT.c.organisation_id == organisation_id)
    ).scalar()
    return (last or 0) + 1


def holding(tx: Tx, organisation_id: UUID, district_code: str, patient_id: UUID | None) -> Sequence[Row[Any]]:
    """The latest document of each scope that a person (or, without one, a district) lies in, the narrowest first."""
    scopes = or_(
        _DOCUMENT.c.scope == "organisation",
        and_(_DOCUMENT.c.scope == "district", _DOCUMENT.c.district_code == district_code),
        and_(_DOCUMENT.c.scope == "patient", _DOCUMENT.c.patient_id == patient_id),
    )
    found = _latest(tx, organisation_id, scopes)
    return sorted(found, key=lambda row: ("patient", "district", "organisation").index(row.scope))


def latest(tx: Tx, organisation_id: UUID) -> Sequence[Row[Any]]:
    """The latest document of every scope of an organisation."""
    order = ("organisation", "district", "patient")
    return sorted(
        _latest(tx, organisation_id, None),
        key=lambda row: (order.index(row.scope), row.district_code, str(row.patient_id or "")),
    )


def _latest(tx: Tx, organisation_id: UUID, where: ColumnElement[bool] | None) -> Sequence[Row[Any]]:
    own = _DOCUMENT.c.organisation_id == organisation_id
    newest = select(func.max(_DOCUMENT.c.version)).where(own if where is None else and_(own, where))
    newest = newest.group_by(_DOCUMENT.c.scope, _DOCUMENT.c.district_code, _DOCUMENT.c.patient_id)
    return tx.conn.execute(select(_DOCUMENT).where(own, _DOCUMENT.c.version.in_(newest))).all()


def versions(
    tx: Tx, organisation_id: UUID, scope: str, district_code: str, patient_id: UUID | None, most: int = 50
) -> Sequence[Row[Any]]:
    """What was published for one scope, newest first."""
    of_patient = _DOCUMENT.c.patient_id.is_(None) if patient_id is None else _DOCUMENT.c.patient_id == patient_id
    return tx.conn.execute(
        select(_DOCUMENT)
        .where(
            _DOCUMENT.c.organisation_id == organisation_id,
            _DOCUMENT.c.scope == scope,
            _DOCUMENT.c.district_code == district_code,
            of_patient,
        )
        .order_by(_DOCUMENT.c.version.desc())
        .limit(most)
    ).all()


def districts(tx: Tx, organisation_id: UUID) -> list[str]:
    """The districts in which an organisation's people live."""
    codes = select(_PATIENT.c.district_code).where(_PATIENT.c.organisation_id == organisation_id).distinct()
    return sorted(tx.conn.execute(codes).scalars())
