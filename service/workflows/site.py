"""This installation itself: its first people, its verified fallback desk."""

from __future__ import annotations

import secrets

from service.store import people as store
from service.store import site as site_store
from service.workflows import people
from service.workflows.house import House

VERIFIED = "fallback_verified"
SCOPES = ("incidents:read", "incidents:write", "patients:read", "patients:write", "devices:write", "staff:write")


def first_operator(house: House, organisation: str, login: str) -> tuple[str, str]:
    """The first organisation and its operator; returns a new password and a service key with every scope."""
    with house.database.read() as tx:
        organisation_id = store.first_organisation(tx)
    organisation_id = organisation_id or people.add_organisation(house, organisation)
    password = secrets.token_urlsafe(12)
    people.add_staff(
        house, organisation_id, "operator", people.Profile(name=login), login=login, password=password
    )
    return password, people.add_service_key(house, organisation_id, f"{login}'s first key", SCOPES)


def fallback_verified(house: House) -> bool:
    """Whether somebody at the present fallback number typed the code that was read to them."""
    with house.database.read() as tx:
        row = site_store.fact(tx, VERIFIED)
    number = house.settings.fallback_number
    return bool(number) and row is not None and row.value == index(house, number)


def note_fallback_verified(house: House) -> None:
    with house.database.write() as tx:
        site_store.put(tx, VERIFIED, index(house, house.settings.fallback_number), house.clock())


def index(house: House, number: str) -> str:
    """How a number is kept where only its equality matters."""
    return house.keys.blind_index("phone", number).hex()
