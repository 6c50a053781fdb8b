"""Escalation policies in the house: which one holds for whom, who may publish it, and how it looks on a screen."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import Stage, assert_problem, make_stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import Channel, Policy, Window
from dispatch.policies import DEFAULT, PolicyError
from service import access
from service.store import incidents as incident_store
from service.store import people as people_store
from service.workflows import cases, contacts, people, plans, policies, policy_check
from service.workflows.people import Care, Profile
from service.workflows.policies import Changed, Place, PlaceError, Scope

PATIENT_PHONE = "+821055500101"
ORGANISATION = Place()
DISTRICT = Place(scope=Scope.DISTRICT, district_code="26350")


def text(overlap_s: int, title: str = "Haeundae") -> str:
    return f'title = "{title}"\n[ask]\noverlap_s = {overlap_s}\n'


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


@pytest.fixture
def operator(stage: Stage) -> UUID:
    return staff(stage, "operator")


def staff(stage: Stage, role: str, organisation_id: UUID | None = None) -> UUID:
    house, own = stage.house, organisation_id or stage.organisation_id
    login = f"{role}-{uuid4()}"
    person_id = people.add_person(house, own, Profile(name="정하늘"), login=login, password="a password")
    people.add_role(house, person_id, own, role)
    return person_id


def put(stage: Stage, author: UUID, where: Place, written: str, **more: Any) -> str:
    return policies.publish(stage.house, stage.organisation_id, author, where, written, **more)


def plan_of(stage: Stage, patient_id: UUID) -> Policy:
    with stage.house.database.read() as tx:
        patient = people_store.patient(tx, patient_id)
        assert patient is not None
        return plans.policy_for(stage.house, tx, patient)[0]


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


# --- for machines


@pytest.fixture
def machine(stage: Stage) -> dict[str, str]:
    key = people.add_service_key(stage.house, stage.organisation_id, "city", ["staff:write"])
    return {"Authorization": f"Bearer {key}"}


def test_a_machine_checks_publishes_and_reads_policies(stage: Stage, machine: dict[str, str]) -> None:
    client = stage.client
    wanted = {"scope": "district", "district_code": "26350", "text": text(30)}
    checked = client.post("/v1/policies/check", json=wanted, headers=machine).json
    assert checked["valid"] and checked["dry_run"]["sos"][0]["at_s"] == 0
    assert {one["measure"] for one in checked["cohort"]} >= {"needless_rings_per_home_year", "time_to_human_p50_s"}
    sos = next(one for one in checked["cohort"] if one["kind"] == "sos")
    assert sos["difference"] == 0.0 and checked["false_dispatch_cut"] > 0.5
    made = client.post("/v1/policies", json=wanted | {"seen": 0}, headers=machine)
    assert (made.status_code, made.json) == (201, {"version": "district-26350/v1"})
    listed = client.get("/v1/policies", headers=machine).json["policies"]
    assert [(one["version"], one["title"]) for one in listed] == [("district-26350/v1", "Haeundae")]
    older = client.get("/v1/policies?scope=district&district_code=26350", headers=machine).json["policies"]
    assert [one["text"] for one in older] == [text(30)]
    assert client.post("/v1/policies", json=wanted | {"seen": 0}, headers=machine).status_code == 409


def test_a_machine_hears_what_is_wrong_at_which_line(stage: Stage, machine: dict[str, str]) -> None:
    bad = {"text": 'title = "x"\n[ask]\nbudget = 75\n'}
    checked = stage.client.post("/v1/policies/check?language=ko", json=bad, headers=machine).json
    assert not checked["valid"] and checked["dry_run"] == {} and checked["cohort"] == []
    assert [(one["line"], one["argument"]) for one in checked["problems"]] == [(3, "ask.budget")]
    assert "ask.budget_s" in checked["problems"][0]["text"]
    refused = stage.client.post("/v1/policies", json=bad, headers=machine)
    assert_problem(refused, 422, "policy_invalid")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": "x", "scope": "moon"}, 422, "scope_invalid"),
        ({"text": "x", "scope": "district"}, 422, "scope_invalid"),
        ({"text": "x", "scope": "patient", "patient_id": str(uuid4())}, 404, "not_found"),
        ({"text": 3}, 422, "body_invalid"),
        ({}, 422, "body_invalid"),
        ({"text": "x", "weaken": "sos"}, 422, "body_invalid"),
    ],
)
def test_a_machines_slip_is_named(
    stage: Stage, machine: dict[str, str], body: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(stage.client.post("/v1/policies/check", json=body, headers=machine), status, code)
    if code != "not_found":
        assert_problem(stage.client.post("/v1/policies", json=body, headers=machine), status, code)


def test_nobody_but_an_operator_gets_near_a_policy(stage: Stage) -> None:
    key = people.add_service_key(stage.house, stage.organisation_id, "reader", ["incidents:write", "patients:write"])
    headers = {"Authorization": f"Bearer {key}"}
    for method, path in (("get", "/v1/policies"), ("post", "/v1/policies"), ("post", "/v1/policies/check")):
        body = {"json": {"text": text(30)}} if method == "post" else {}
        assert_problem(getattr(stage.client, method)(path, headers=headers, **body), 403, "scope_missing")
    for role in ("dispatcher", "caregiver"):
        client = logged_in(stage, staff(stage, role))[0]
        assert client.get("/policies").status_code == 403
        assert client.get("/policies/edit?scope=organisation").status_code == 403
    assert stage.client.get("/policies").status_code == 302


def test_nobody_sees_another_organisations_policies(stage: Stage, operator: UUID, machine: dict[str, str]) -> None:
    put(stage, operator, ORGANISATION, text(30, title="Ours"))
    other = people.add_organisation(stage.house, "다른 센터")
    client, _ = logged_in(stage, staff(stage, "operator", other))
    assert "Ours" not in client.get("/policies").get_data(as_text=True)
    assert "Ours" not in client.get("/policies/edit?scope=organisation").get_data(as_text=True)
    patient_id = stage.patient()
    assert client.get(f"/policies/edit?scope=patient&patient_id={patient_id}").status_code == 404


# --- on the screen


def logged_in(stage: Stage, person_id: UUID) -> tuple[Any, str]:
    """A browser with a session, and its form token."""
    from service.workflows import sessions

    token, csrf = f"session-{uuid4()}", "form-token"
    sessions.begin(stage.house, person_id, access._hash(token), csrf)
    client = stage.client
    client.set_cookie("ansim_session", token)
    return client, csrf


@pytest.fixture
def browser(stage: Stage, operator: UUID) -> Callable[..., Any]:
    client, csrf = logged_in(stage, operator)

    def go(path: str, **form: str) -> Any:
        if not form:
            return client.get(path)
        return client.post(path, data={"csrf": csrf, **form})

    return go


def checked_mark(page: str) -> str:
    return re.findall(r'name="checked" value="([0-9a-f]+)"', page)[0]


def test_an_operator_checks_and_publishes_without_any_script(stage: Stage, browser: Callable[..., Any]) -> None:
    form = {"scope": "district", "district_code": "26350", "seen": "0", "text": text(30)}
    opened = browser("/policies/edit?scope=district&district_code=26350").get_data(as_text=True)
    assert html.escape(DEFAULT.splitlines()[3]).replace("&quot;", "&#34;") in opened
    page = browser("/policies/check", **form).get_data(as_text=True)
    assert "모의 실행" in page and "연락처 1" in page and "가상 800가구" in page
    answer = browser("/policies/publish", **form, checked=checked_mark(page))
    assert answer.status_code == 303
    assert answer.headers["Location"].endswith("scope=district&district_code=26350&published=district-26350/v1")
    after = browser("/policies").get_data(as_text=True)
    assert "district-26350/v1" in after and "정하늘" in after and "Haeundae" in after
    assert plan_of(stage, stage.patient()).overlap_s == 30


def test_only_what_was_checked_is_published(stage: Stage, browser: Callable[..., Any]) -> None:
    form = {"scope": "organisation", "seen": "0"}
    mark = checked_mark(browser("/policies/check", **form, text=text(30)).get_data(as_text=True))
    for changed in (
        {"text": text(31), "checked": mark},
        {"text": text(30), "checked": ""},
        {"text": text(30), "checked": mark, "scope": "district", "district_code": "26350"},
        {"text": text(400), "checked": mark},
    ):
        assert browser("/policies/publish", **(form | changed)).status_code == 409
    assert policies.scopes(stage.house, stage.organisation_id) == []


def test_a_mistake_is_shown_at_its_line_and_what_was_typed_is_kept(browser: Callable[..., Any]) -> None:
    typed = 'title = "x"\r\n[ask]\r\nbudget_s = 500 # <b>ours</b>\r\n'
    answer = browser("/policies/check", scope="organisation", seen="0", text=typed)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "3번째 줄" in page and "25~180" in page
    assert '<span class="bad"><b>3</b>budget_s = 500 # &lt;b&gt;ours&lt;/b&gt;' in page
    assert "budget_s = 500 # &lt;b&gt;ours&lt;/b&gt;" in page.partition("<textarea id")[2]
    assert "/policies/publish" not in page


def test_a_colleague_who_published_meanwhile_is_not_overwritten(
    stage: Stage, operator: UUID, browser: Callable[..., Any]
) -> None:
    form = {"scope": "organisation", "seen": "0", "text": text(30)}
    mark = checked_mark(browser("/policies/check", **form).get_data(as_text=True))
    put(stage, operator, ORGANISATION, text(45))
    answer = browser("/policies/publish", **form, checked=mark)
    assert answer.status_code == 409 and "그사이" in answer.get_data(as_text=True)
    assert "overlap_s = 30" in answer.get_data(as_text=True)


def test_a_scopes_own_document_is_taken_back(stage: Stage, operator: UUID, browser: Callable[..., Any]) -> None:
    put(stage, operator, DISTRICT, text(30))
    form = {"scope": "district", "district_code": "26350", "seen": "1", "withdraw": "yes"}
    assert browser("/policies/publish", **form).status_code == 303
    assert plan_of(stage, stage.patient()).version == "default-1"
    assert "거두어들임" in browser("/policies").get_data(as_text=True)


@pytest.mark.parametrize(
    "path",
    [
        "/policies/edit",
        "/policies/edit?scope=moon",
        "/policies/edit?scope=patient&patient_id=x",
        "/policies/edit?scope=district&district_code=%3Cscript%3E",
    ],
)
def test_a_place_that_is_none_says_so_on_the_list(browser: Callable[..., Any], path: str) -> None:
    answer = browser(path)
    assert answer.status_code == 422 and "<script>" not in answer.get_data(as_text=True).partition("</head>")[2]


def test_a_form_without_its_token_changes_nothing(stage: Stage, operator: UUID) -> None:
    client, _ = logged_in(stage, operator)
    for path in ("/policies/check", "/policies/publish"):
        assert client.post(path, data={"scope": "organisation", "text": text(30)}).status_code == 403
    assert policies.scopes(stage.house, stage.organisation_id) == []


def test_an_operator_finds_the_policies_from_every_page(browser: Callable[..., Any]) -> None:
    assert 'href="/policies"' in browser("/help/operator").get_data(as_text=True)


def test_an_empty_document_is_not_taken_for_a_withdrawal(browser: Callable[..., Any]) -> None:
    answer = browser("/policies/check", scope="organisation", seen="0", text=" \n ")
    assert answer.status_code == 422 and "비어" in answer.get_data(as_text=True)


def test_an_older_version_that_is_brought_back_is_called_by_its_number(
    stage: Stage, operator: UUID, browser: Callable[..., Any]
) -> None:
    put(stage, operator, ORGANISATION, text(30))
    put(stage, operator, ORGANISATION, text(45, "Later"))
    opened = browser("/policies/edit?scope=organisation").get_data(as_text=True)
    assert "이 버전을 다시 확인하기" in opened, "each older version is one press away"
    form = {"scope": "organisation", "seen": "2", "text": text(30)}
    page = browser("/policies/check", **form).get_data(as_text=True)
    assert "버전 1의 문서와 같습니다" in page
    answer = browser("/policies/publish", **form, checked=checked_mark(page))
    after = browser(answer.headers["Location"]).get_data(as_text=True)
    assert "버전 1의 정책을 다시 적용합니다(새 버전 3)" in after
    newest = policy_check.history(stage.house, stage.organisation_id, ORGANISATION)[0]
    changed = [line for line in newest.difference if line[0] in "+-"]
    assert newest.again == 1
    assert sorted(changed) == ["+overlap_s = 30", '+title = "Haeundae"', "-overlap_s = 45", '-title = "Later"']


def test_a_first_version_and_one_after_a_withdrawal_are_compared_by_what_holds(stage: Stage, operator: UUID) -> None:
    """Not line by line with the default's explanations, which nobody has written or taken away."""
    put(stage, operator, ORGANISATION, text(30, "Ansim default"))
    put(stage, operator, DISTRICT, text(45, "Ansim default"))
    put(stage, operator, DISTRICT, "")
    put(stage, operator, DISTRICT, text(45, "Ansim default"))
    found = policy_check.history(stage.house, stage.organisation_id, DISTRICT)
    changed = [[line for line in one.difference if line[0] in "+-"] for one in found]
    there, back = ["-overlap_s = 30", "+overlap_s = 45"], ["-overlap_s = 45", "+overlap_s = 30"]
    assert changed == [there, back, there], "against the organisation's, which holds where the district has none"
    assert [one.again for one in found] == [2, None, None]
    [first] = policy_check.history(stage.house, stage.organisation_id, ORGANISATION)
    assert [line for line in first.difference if line[0] in "+-"] == ["-overlap_s = 20", "+overlap_s = 30"]
    changes = policy_check.changes(stage.house, stage.organisation_id, DISTRICT, text(50, "Ansim default"))
    assert [line for line in changes if line[0] in "+-"] == ["-overlap_s = 45", "+overlap_s = 50"]


def test_a_document_that_is_taken_back_says_which_one_holds_now(
    stage: Stage, operator: UUID, browser: Callable[..., Any]
) -> None:
    put(stage, operator, DISTRICT, text(30))
    form = {"scope": "district", "district_code": "26350", "seen": "1", "withdraw": "yes"}
    after = browser(browser("/policies/publish", **form).headers["Location"]).get_data(as_text=True)
    assert "이 범위의 문서를 거두었습니다(버전 2)" in after and "‘Ansim default’ 정책이 적용됩니다" in after


def test_a_machine_hears_which_version_is_in_force_again(stage: Stage, machine: dict[str, str]) -> None:
    made = [
        stage.client.post("/v1/policies", json={"text": one}, headers=machine).json
        for one in (text(30), text(45), text(30))
    ]
    assert [one.get("again") for one in made] == [None, None, 1]
