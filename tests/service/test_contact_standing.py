"""The dispatcher's list of contacts says who can be rung now, in words and signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from contacts_stage import NAMES, case_with_contacts, contact, hours_around
from doors_stage import Stage, make_stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import drills as drill_store
from service.store import people as people_store
from service.workflows import availability, cases
from service.workflows.availability import Availability

QUIET, AWAY, UNPROVEN, PROVEN = NAMES


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    made.person("dispatcher", login="desk")
    yield made
    made.house.database.dispose()


def client_page(stage: Stage, incident_id: object) -> str:
    return stage.logged_in("desk")[0].get(f"/incidents/{incident_id}").text


def said(stage: Stage, incident_id: object, language: str = "ko") -> dict[str, str]:
    """What the page says of each contact, tags taken out; signs stay as their names."""
    client, csrf = stage.logged_in("desk")
    client.post("/language", data={"lang": language, "next": "/", "csrf": csrf})
    page = client.get(f"/incidents/{incident_id}").text
    found = {}
    for line in re.findall(r"<li class=\"[^\"]*\">\s*<span class=\"contact-name\">.*?</ul>\s*</li>", page, re.DOTALL):
        signs = re.sub(r'<use href="#i-([a-z-]+)">', r" <\1> ", line)
        text = " ".join(re.sub(r"<(?!(?:moon|going|doubt|calm|warn)>)[^>]*>", " ", signs).split())
        found[next(name for name in NAMES if name in text)] = text
    return found


def test_each_contact_is_shown_with_a_sign_and_a_word_for_whether_they_can_be_rung(stage: Stage) -> None:
    korean = said(stage, incident := case_with_contacts(stage))
    ends = hours_around(stage).to
    assert f"<moon> {ends}까지 전화받기 어려우나, 급해서 전화함" in korean[QUIET]
    assert "<going>" in korean[AWAY] and "자리 비움, 맨 나중에 전화" in korean[AWAY]
    assert "<doubt> 아직 확인되지 않은 번호" in korean[UNPROVEN]
    assert "<calm>" in korean[PROVEN] and "연락 확인됨" in korean[PROVEN]
    assert f"{UNPROVEN} 님에게 전화" in client_page(stage, incident), "whoever is away is not the next"
    english = said(stage, incident, "en")
    assert f"<moon> Not to be rung until {ends}, but this is urgent: rung all the same" in english[QUIET]
    assert "rung last" in english[AWAY]
    assert "<doubt> Number not proven yet" in english[UNPROVEN]
    assert "<calm> Proven reachable on" in english[PROVEN]
    assert "Proven" not in english[UNPROVEN]


def test_a_lesser_case_says_that_others_are_rung_first(stage: Stage) -> None:
    patient_id = stage.patient()
    quiet = contact(stage, patient_id, QUIET, 0)
    availability.change(stage.house, quiet, Availability(quiet=[hours_around(stage)]))
    now = stage.clock()
    sign = AlarmCondition(
        code="news2_medium", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.MEDIUM, started_at=now, detected_at=now
    )
    with stage.house.database.write() as tx:
        patient = people_store.lock_patient(tx, patient_id)
        incident = cases.raise_conditions(stage.house, tx, patient, [sign], now)
    assert incident is not None
    assert "전화받기 어려움, 다른 분께 먼저 전화" in said(stage, incident.id)[QUIET]


def test_whoever_did_not_answer_the_last_drill_is_marked(stage: Stage) -> None:
    patient_id = stage.patient("정만수", phone="+821055500105")
    incident_id = case_with_contacts(stage, patient_id)
    with stage.house.database.write() as tx:
        [last] = [one for one in people_store.caregivers(tx, patient_id) if one.position == 3]
        drill_store.set_reachability(tx, patient_id, stage.organisation_id, broken_link=f"{last.person_id}:no_answer")
    assert "<warn> 지난 훈련: 전화를 받지 않았습니다" in said(stage, incident_id)[PROVEN]
