"""What a carrier's refusal says beyond one message: a number that does not exist, an account that is out of credit."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.sealing import SealingError
from service.store import incidents as store
from service.store import people as people_store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import cases, numbers, spending
from service.workflows.house import House, log, warn

CODE = "carrier_refuses"
"""The technical condition, and the fact of the site that says with whom it is kept."""


def number_broken(house: House, tx: Tx, row: Row[Any], now: datetime) -> None:
    """The carrier says that there is no such number: shown as broken until somebody answers there."""
    try:
        found = numbers.of_row(house, tx, row)
    except SealingError:
        return
    if found is not None:
        people_store.phone_broken(tx, row.target_id, house.keys.blind_index("phone", found), now)
        warn("number_broken", person=row.target_id)


def refuses_us(house: House, row: Row[Any]) -> None:
    """No call goes out until an operator acts: the desk is told once, with somebody who has no case of their own."""
    with house.database.read() as tx:
        if _kept_with(tx):
            return
        kept_with = _free(tx, row)

    def work(tx: Tx) -> None:
        now = house.clock()
        patient = people_store.lock_patient(tx, kept_with)
        if patient is None or not site_store.turn(tx, CODE, "", str(kept_with), now):
            return
        cases.raise_conditions(house, tx, patient, [_condition(now)], now)
        warn(CODE, patient=kept_with)

    house.committer.run(work, key=kept_with)


def accepted(house: House) -> None:
    """A carrier took a message: if it refused us before, that is over."""
    with house.database.read() as tx:
        kept = _kept_with(tx)
    if not kept:
        return
    patient_id = UUID(kept)

    def work(tx: Tx) -> None:
        now = house.clock()
        patient = people_store.lock_patient(tx, patient_id)
        if site_store.turn(tx, CODE, kept, "", now) and patient is not None:
            cases.end_conditions(house, tx, patient, [CODE], now)
            log("carrier_takes_us_again")

    house.committer.run(work, key=patient_id)


def notices(house: House, organisation_id: UUID, now: datetime) -> dict[str, bool]:
    """What a board must say about sending: no carrier takes us, or the day's money is spent."""
    with house.database.read() as tx:
        return {"carrier_refuses": bool(_kept_with(tx)), "spend_cap": spending.reached(house, tx, organisation_id, now)}


def _kept_with(tx: Tx) -> str:
    known = site_store.fact(tx, CODE)
    return str(known.value) if known is not None else ""


def _free(tx: Tx, row: Row[Any]) -> UUID:
    with_case = {one.patient_id for one in store.open_incidents(tx, row.organisation_id)}
    everybody = people_store.patients(tx, row.organisation_id)
    found: UUID = next((one.patient_id for one in everybody if one.patient_id not in with_case), row.patient_id)
    return found


def _condition(now: datetime) -> AlarmCondition:
    return AlarmCondition(
        code=CODE, kind=AlarmKind.TECHNICAL, priority=Priority.MEDIUM, started_at=now, detected_at=now
    )
