"""Small words and refusals: each names what was wrong, what it was, what may be and what to do."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors_stage import Stage, assert_problem, make_stage

from dispatch import messages_doors, policies
from dispatch.messages_words import counted
from service.web.text import Translator
from service.workflows.proof_verify import COLUMN_SETS


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


def test_an_empty_policy_is_refused_where_there_is_nothing_to_take_back(stage: Stage) -> None:
    key = stage.key("staff:write")
    for text in ("", "  \n"):
        answer = stage.client.post("/v1/policies", json={"text": text}, headers=key)
        told = assert_problem(answer, 422, "policy_invalid")
        assert told["field"] == "text"
        for said in ("text must", "was empty", "take back", "send the document"):
            assert said in told["detail"]
    assert stage.rows("SELECT count(*) FROM policy_document")[0][0] == 0


def test_a_policy_is_taken_back_once_and_not_twice(stage: Stage) -> None:
    key, shown = stage.key("staff:write"), stage.client.get("/openapi.json").json
    assert "422" in shown["paths"]["/v1/policies"]["post"]["responses"]
    assert stage.client.post("/v1/policies", json={"text": policies.DEFAULT}, headers=key).status_code == 201
    assert stage.client.post("/v1/policies", json={"text": ""}, headers=key).status_code == 201
    assert_problem(stage.client.post("/v1/policies", json={"text": ""}, headers=key), 422, "policy_invalid")


@pytest.mark.parametrize("code", ["sos", "fall_still", "no_such_sign"])
def test_what_may_not_be_snoozed_is_refused_with_what_may_be(stage: Stage, code: str) -> None:
    patient_id = stage.patient()
    stage.person("caregiver", login="family", patient_id=patient_id)
    client, csrf = stage.logged_in("family")
    path, headers = f"/v1/patients/{patient_id}/snoozes", {"X-CSRF-Token": csrf}
    answer = client.post(path, json={"code": code, "hours": 2}, headers=headers)
    assert (answer.status_code, answer.json["field"]) == (422, "code")
    for said in (repr(code), "tachycardia", "always rings"):
        assert said in answer.json["detail"]
    answer = client.post(path, json={"code": "tachycardia", "hours": 3}, headers=headers)
    assert (answer.status_code, answer.json["field"]) == (422, "hours")
    assert "1, 2, 4, 8, was 3" in answer.json["detail"]
    assert client.post(path, json={"code": "tachycardia", "hours": 10**30}, headers=headers).status_code == 422


def test_a_method_that_is_not_taken_is_told_with_those_that_are(stage: Stage) -> None:
    told = assert_problem(stage.client.get("/v1/readings"), 405, "method_not_allowed")
    assert "POST" in told["detail"] and "was GET" in told["detail"]
    for path in ("/logout", "/policies/check"):
        page = stage.client.get(path)
        assert page.status_code == 405 and "POST" in page.headers["Allow"]
        assert "POST" in page.text.partition("<main")[2]
        assert "찾을 수 없" not in page.text.partition("<main")[2], "it is there, only not for this method"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1 years", "1 year"),
        ("21 years", "21 years"),
        ("ALTERED: 1 places", "ALTERED: 1 place"),
        ("0.1 seconds", "0.1 seconds"),
        ("1 incidents, 2 proofs, 1 rows in 1.1 s", "1 incident, 2 proofs, 1 row in 1.1 s"),
        ("there in about 1 minutes.", "there in about 1 minute."),
        ("11 days and 1 days", "11 days and 1 day"),
    ],
)
def test_one_of_anything_is_no_plural(said: str, meant: str) -> None:
    assert counted(said) == meant


def test_pages_and_calls_say_one_year_and_one_minute() -> None:
    assert Translator("en", strict=True)("age", n=1) == "1 year"
    assert "in about 1 minute." in messages_doors.word("who_comes_in", "en", name="Ann", minutes=1)


def test_what_verify_says_of_a_changed_row_reads_as_a_finding() -> None:
    for said in COLUMN_SETS.values():
        assert "was changed" in said and "may still" not in said


@pytest.mark.parametrize("page", ["/policies/edit?scope=district&district_code=26350", "/reach"])
def test_another_language_shows_the_same_page(stage: Stage, page: str) -> None:
    stage.person("operator", login="operator")
    client, csrf = stage.logged_in("operator")
    [back] = re.findall(r'name="next" value="([^"]*)"', client.get(page).text)[:1]
    moved = client.post("/language", data={"csrf": csrf, "lang": "en", "next": html.unescape(back)})
    assert (moved.status_code, moved.headers["Location"]) == (303, page)
