"""Escalation policies at the doors: what a machine may do, who may publish, and how it looks on a screen."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import Stage, assert_problem, make_stage
from policies_stage import DISTRICT, ORGANISATION, plan_of, put, staff, text

from dispatch.policies import DEFAULT
from service import access
from service.workflows import people, policies, policy_check


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


@pytest.fixture
def operator(stage: Stage) -> UUID:
    return staff(stage, "operator")


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
