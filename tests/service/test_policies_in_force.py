"""Escalation policies in the house: which one holds for whom, and what of a person no document can change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import Stage, make_stage
from policies_stage import DISTRICT, ORGANISATION, plan_of, put, staff, text

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import Channel, Policy, Window
from dispatch.policies import PolicyError
from service.store import incidents as incident_store
from service.store import people as people_store
from service.workflows import cases, contacts, people, policies, policy_check
from service.workflows.people import Care, Profile
from service.workflows.policies import Changed, Place, PlaceError, Scope


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


@pytest.fixture
def operator(stage: Stage) -> UUID:
    return staff(stage, "operator")


def raise_sign(stage: Stage, patient_id: UUID, code: str = "news2_medium") -> UUID:
    now = stage.clock()
    sign = AlarmCondition(
        code=code, kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.MEDIUM, started_at=now, detected_at=now
    )

    def work(tx: Any) -> UUID:
        patient = people_store.lock_patient(tx, patient_id)
        incident = cases.raise_conditions(stage.house, tx, patient, [sign], now)
        assert incident is not None
        return incident.id

    made: UUID = stage.house.committer.run(work, key=patient_id)
    return made


def incident_policy(stage: Stage, incident_id: UUID) -> Policy:
    with stage.house.database.read() as tx:
        return cases.open_case(stage.house, incident_store.incident(tx, incident_id)).policy


# --- which one holds


def test_where_nothing_was_published_the_document_that_ships_holds(stage: Stage) -> None:
    assert plan_of(stage, stage.patient()).version == "default-1"


def test_the_narrowest_scope_holds_whole_and_nothing_is_merged(stage: Stage, operator: UUID) -> None:
    patient_id, neighbour = stage.patient(), stage.patient(phone="+821055500102")
    assert put(stage, operator, ORGANISATION, text(30) + "budget_s = 120\n") == "organisation/v1"
    assert (plan_of(stage, patient_id).overlap_s, plan_of(stage, patient_id).ask_budget_s) == (30, 120)
    assert put(stage, operator, DISTRICT, text(40)) == "district-26350/v2"
    own = Place(scope=Scope.PATIENT, patient_id=patient_id)
    assert put(stage, operator, own, text(50)) == "patient/v3"
    mine, theirs = plan_of(stage, patient_id), plan_of(stage, neighbour)
    assert (mine.version, mine.overlap_s, mine.ask_budget_s) == ("patient/v3", 50, 75)
    assert (theirs.version, theirs.overlap_s, theirs.ask_budget_s) == ("district-26350/v2", 40, 75)


def test_another_district_and_another_organisation_are_untouched(stage: Stage, operator: UUID) -> None:
    put(stage, operator, Place(scope=Scope.DISTRICT, district_code="99999"), text(40))
    other = people.add_organisation(stage.house, "다른 센터")
    policies.publish(stage.house, other, operator, ORGANISATION, text(50))
    assert plan_of(stage, stage.patient()).version == "default-1"
    with pytest.raises(LookupError):
        own = Place(scope=Scope.PATIENT, patient_id=stage.patient())
        policies.publish(stage.house, other, operator, own, text(50))


def test_a_running_incident_keeps_the_policy_that_it_began_with(stage: Stage, operator: UUID) -> None:
    patient_id = stage.patient()
    before = raise_sign(stage, patient_id)
    put(stage, operator, ORGANISATION, text(30))
    assert incident_policy(stage, before).version == "default-1"
    raise_sign(stage, patient_id, "heart_rate_high")
    assert incident_policy(stage, before).version == "default-1"
    after = raise_sign(stage, stage.patient(phone="+821055500103"))
    assert incident_policy(stage, after).version == "organisation/v1"
    assert incident_policy(stage, after).overlap_s == 30


def test_withdrawn_the_wider_scope_holds_again(stage: Stage, operator: UUID) -> None:
    patient_id = stage.patient()
    put(stage, operator, ORGANISATION, text(30))
    put(stage, operator, DISTRICT, text(40))
    assert put(stage, operator, DISTRICT, "", seen=2) == "district-26350/v3"
    assert plan_of(stage, patient_id).version == "organisation/v1"
    put(stage, operator, ORGANISATION, "  \n")
    assert plan_of(stage, patient_id).version == "default-1"


def test_a_document_that_no_longer_fits_the_rules_is_passed_over_and_the_desk_hears_of_it(
    stage: Stage, operator: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_id = stage.patient()
    put(stage, operator, ORGANISATION, text(30))
    # As written by a version whose rules were wider.
    with monkeypatch.context() as patch:
        patch.setattr(policies.rules, "parse", lambda _text: None)
        put(stage, operator, DISTRICT, text(400))
    incident_id = raise_sign(stage, patient_id)
    assert incident_policy(stage, incident_id).version == "organisation/v1"
    with stage.house.database.read() as tx:
        case = cases.open_case(stage.house, incident_store.incident(tx, incident_id))
    told = [r.condition for r in case.reasons if r.condition.code == "record_unreadable"]
    assert [one.params["table"] for one in told] == ["policy_document"]
    assert [one.holds for one in policy_check.scopes(stage.house, stage.organisation_id)] == [True, False]


def test_a_bad_document_is_never_stored(stage: Stage, operator: UUID) -> None:
    with pytest.raises(PolicyError):
        put(stage, operator, ORGANISATION, text(400))
    assert policies.scopes(stage.house, stage.organisation_id) == []


def test_whoever_looked_at_an_older_version_does_not_overwrite_a_newer_one(stage: Stage, operator: UUID) -> None:
    put(stage, operator, ORGANISATION, text(30), seen=0)
    with pytest.raises(Changed):
        put(stage, operator, ORGANISATION, text(40), seen=0)
    assert put(stage, operator, ORGANISATION, text(40), seen=1) == "organisation/v2"


def test_every_version_stays_with_its_author_its_time_and_what_it_changed(stage: Stage, operator: UUID) -> None:
    put(stage, operator, ORGANISATION, text(30))
    stage.clock.advance(3600)
    put(stage, operator, ORGANISATION, text(45).replace("\n", "\r\n"))
    new, old = policy_check.history(stage.house, stage.organisation_id, ORGANISATION)
    assert (new.version, new.author, new.at - old.at) == ("organisation/v2", "정하늘", timedelta(hours=1))
    assert [line for line in new.difference if line[0] in "+-"] == ["-overlap_s = 30", "+overlap_s = 45"]
    assert old.text == text(30) and "\r" not in new.text


def test_versions_are_not_given_twice_when_many_publish_at_once(stage: Stage, operator: UUID) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: put(stage, operator, ORGANISATION, text(10 + n)), range(20)))
    assert sorted(made) == sorted(f"organisation/v{n}" for n in range(1, 21))


@pytest.mark.parametrize(
    ("scope", "district", "patient"),
    [("everywhere", "", None), ("district", "", None), ("district", "a b", None), ("patient", "", None)],
)
def test_a_scope_needs_what_it_names(scope: str, district: str, patient: UUID | None) -> None:
    with pytest.raises(PlaceError):
        policies.place(scope, district, patient)


# --- personal facts


def contact_of(stage: Stage, profile: Profile, *, verified_ago: timedelta | None = None) -> Any:
    patient_id = stage.patient(care=Care(dementia=True, duress_digit="7"))
    contact_id = contacts.add(
        stage.house, stage.organisation_id, patient_id, profile, relation="딸", position=0, language="en"
    )
    if verified_ago is not None:
        index = stage.house.keys.blind_index("phone", profile.phones[0])
        with stage.house.database.write() as tx:
            people_store.phone_answered(tx, contact_id, index, stage.clock() - verified_ago)
    return plan_of(stage, patient_id)


def test_personal_facts_stay_personal_whatever_the_document_says(stage: Stage, operator: UUID) -> None:
    put(stage, operator, ORGANISATION, text(30))
    plan = contact_of(stage, Profile(name="김민지", phones=["+821055500201"]))
    assert (plan.may_cancel, plan.duress_digit, plan.can_be_asked, plan.overlap_s) == (False, "7", True, 30)
    assert plan.utc_offset_s == 9 * 3600
    assert plan.contacts[0].language == "en"


@pytest.mark.parametrize(("days", "verified"), [(None, False), (1, True), (180, True), (181, False)])
def test_a_number_counts_as_verified_for_half_a_year(stage: Stage, days: int | None, verified: bool) -> None:
    ago = None if days is None else timedelta(days=days)
    plan = contact_of(stage, Profile(name="김민지", phones=["+821055500201"]), verified_ago=ago)
    assert plan.contacts[0].verified is verified


@pytest.mark.parametrize(
    ("number", "channels"),
    [
        ("+821055500201", (Channel.VOICE, Channel.TEXT)),
        ("+82515550201", (Channel.VOICE,)),
    ],
)
def test_a_land_line_is_rung_and_not_written_to(stage: Stage, number: str, channels: tuple[Channel, ...]) -> None:
    plan = contact_of(stage, Profile(name="김민지", phones=[number]))
    assert plan.contacts[0].channels == channels


def test_an_address_counts_as_a_channel_only_where_mail_is_set_up(stage: Stage) -> None:
    written_to = Profile(name="김민지", phones=["+821055500201"], emails=["minji@example.org"])
    assert Channel.EMAIL not in contact_of(stage, written_to).contacts[0].channels

    class Post:
        name = "post"

        def send_mail(self, request: Any) -> str:
            return "1"

    stage.house.mailer = Post()
    assert contact_of(stage, written_to).contacts[0].channels == (Channel.VOICE, Channel.TEXT, Channel.EMAIL)
    only = Profile(name="이웃", emails=["n@example.org"])
    assert contact_of(stage, only).contacts[0].channels == (Channel.EMAIL,)


def test_who_can_be_reached_by_nothing_is_no_contact(stage: Stage) -> None:
    assert contact_of(stage, Profile(name="김민지")).contacts == ()


def test_quiet_hours_and_an_absence_are_frozen_into_the_plan(stage: Stage) -> None:
    until = stage.clock() + timedelta(days=3)
    quiet = Window(from_min=1320, to_min=420)
    profile = Profile(name="김민지", phones=["+821055500201"], quiet=[quiet], away_until=until)
    contact = contact_of(stage, profile).contacts[0]
    assert (contact.quiet, contact.away_until) == ((quiet,), until)
