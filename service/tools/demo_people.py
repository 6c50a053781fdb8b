"""The people of the demonstration: invented, and marked as simulated wherever they show."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from devices.simulator import Scenario
from service.store import people as people_store
from service.tools.stage import DESK_PHONE
from service.workflows import devices as device_flow
from service.workflows import people
from service.workflows.house import House
from service.workflows.people import Care, Profile
from service.workflows.site import SCOPES


@dataclass(frozen=True)
class Contact:
    name: str
    phone: str
    relation: str
    plan: dict[str, Any]
    """How their loopback telephone behaves."""
    login: str | None = None


@dataclass(frozen=True)
class Played:
    """One simulated person with what happens to them, and how the telephones around them behave."""

    name: str
    phone: str
    care: Care
    scenario: Scenario
    begins_s: float
    plan: dict[str, Any]
    contacts: tuple[Contact, ...] = ()
    reports: bool = True
    district_code: str = "26350"


@dataclass
class Cast:
    """Who was made, with everything the demonstration needs to play them."""

    organisation_id: UUID
    played: list[tuple[Played, UUID, str]] = field(default_factory=list)
    """(person, patient id, enrolment code)."""
    logins: list[dict[str, str]] = field(default_factory=list)
    service_key: str = ""


def answers(*digits: str, delay_s: float = 3.0) -> dict[str, Any]:
    return {"behaviour": "answer", "digits": list(digits), "delay_s": delay_s}


MINJI = Contact("김민지", "+821055500112", "daughter", answers("3", delay_s=4.0), login="minji")
CAST = (
    Played(
        "김순자",
        "+821055500101",
        Care(
            birth_year=1944,
            sex="female",
            district="해운대구 우2동",
            address="부산 해운대구 우동 (가상) 행복빌라 302호",
            access_note="열쇠함이 현관 왼쪽 기둥에 있음. 승강기 없음.",
        ),
        Scenario.DESATURATION,
        5.0,
        answers("2", delay_s=3.0),
        (Contact("김도윤", "+821055500111", "son", {"behaviour": "busy"}), MINJI),
    ),
    Played(
        "박영호",
        "+821055500102",
        Care(birth_year=1947, sex="male", district="동래구 온천1동", address="부산 동래구 온천동 (가상) 3길 12"),
        Scenario.FALL,
        20.0,
        answers("1", delay_s=4.0),
        (Contact("박서준", "+821055500121", "son", answers("3")),),
        district_code="26260",
    ),
    Played(
        "최말순",
        "+821055500103",
        Care(
            birth_year=1935,
            sex="female",
            district="영도구 동삼1동",
            address="부산 영도구 동삼동 (가상) 바다맨션 1105호",
            access_note="현관 비밀번호는 이웃 윤미경 님이 알고 있음.",
            dementia=True,
        ),
        Scenario.SOS,
        45.0,
        {"behaviour": "no_answer"},
        (
            Contact("최성민", "+821055500131", "son", {"behaviour": "voicemail"}),
            Contact("윤미경", "+821055500132", "neighbour", {"behaviour": "no_answer"}),
        ),
        district_code="26200",
    ),
    Played(
        "이정희",
        "+821055500104",
        Care(birth_year=1941, sex="female", district="수영구 광안2동", address="부산 수영구 광안동 (가상) 8-4"),
        Scenario.WELL,
        0.0,
        answers("1"),
        (MINJI,),
        district_code="26500",
    ),
    Played(
        "정만수",
        "+821055500105",
        Care(birth_year=1949, sex="male", district="사하구 괴정3동", address="부산 사하구 괴정동 (가상) 21-7"),
        Scenario.SILENT,
        0.0,
        {"behaviour": "no_answer"},
        (Contact("정하늘", "+821055500151", "daughter", answers("4")),),
        reports=False,
        district_code="26380",
    ),
)


def seed(house: House, url: str) -> Cast:
    """Make the demonstration's people, their contacts, log-ins and a service key."""
    organisation_id = people.add_organisation(house, "안심 시연 센터")
    cast = Cast(organisation_id)
    made: dict[str, UUID] = {}
    for played in CAST:
        patient_id = people.add_patient(
            house,
            organisation_id,
            Profile(name=played.name, phones=[played.phone]),
            played.care,
            district_code=played.district_code,
            simulated=True,
        )
        for position, contact in enumerate(played.contacts):
            if contact.phone not in made:
                made[contact.phone] = _person(house, cast, contact.name, contact.login, "caregiver", url, contact.phone)
            people.add_role(
                house,
                made[contact.phone],
                organisation_id,
                "caregiver",
                patient_id=patient_id,
                position=position,
                relation=contact.relation,
            )
        cast.played.append((played, patient_id, device_flow.issue_code(house, patient_id)))
    for name, login, role in (("이서연", "dispatch", "dispatcher"), ("강태호", "operator", "operator")):
        person_id = _person(house, cast, name, login, role, url, None)
        people.add_role(house, person_id, organisation_id, role)
    cast.service_key = people.add_service_key(house, organisation_id, "demo console", SCOPES)
    return cast


def _person(
    house: House, cast: Cast, name: str, login: str | None, role: str, url: str, phone: str | None
) -> UUID:
    password = secrets.token_urlsafe(6) if login else None
    person_id = people.add_person(
        house,
        cast.organisation_id,
        Profile(name=name, phones=[phone] if phone else []),
        login=login,
        password=password,
    )
    if phone:
        # Their numbers are proven, or the demonstration would begin by warning every family that nobody can be rung.
        with house.database.write() as tx:
            people_store.phone_answered(tx, person_id, house.keys.blind_index("phone", phone), house.clock())
    if login and password:
        cast.logins.append({"role": role, "url": f"{url}/login", "name": login, "password": password})
    return person_id


def phone_plans() -> dict[str, tuple[str, dict[str, Any]]]:
    """Number to (label, behaviour) for every loopback telephone of the demonstration."""
    plans = {played.phone: (played.name, played.plan) for played in CAST}
    for played in CAST:
        plans |= {contact.phone: (contact.name, contact.plan) for contact in played.contacts}
    plans[DESK_PHONE] = ("관제센터", {"behaviour": "manual"})
    return plans
