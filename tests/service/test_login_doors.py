"""Who is let in, for how long, and that nobody sees or touches what is not theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from doors_stage import Stage, assert_problem, incident_of, make_stage

from service import access
from service.api import events
from service.workflows import people
from service.workflows.people import Care, Profile


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("login-doors"))
    yield made
    made.house.database.dispose()


# --- log-in ------------------------------------------------------------------------------------------------


def test_empty_and_huge_log_ins_are_refused_cheaply(stage: Stage) -> None:
    stage.person("dispatcher", login="huge")
    for name, password in (("", ""), ("huge", ""), ("", "x"), ("\x00", "\x00"), ("huge", "x" * 200_000)):
        assert stage.client.post("/login", data={"name": name, "password": password}).status_code == 401
    hashed = []
    verify = people._passwords.verify

    class Watching:
        def verify(self, stored: str, given: str) -> bool:
            hashed.append(len(given))
            return bool(verify(stored, given))

    people._passwords, kept = Watching(), people._passwords  # type: ignore[assignment]
    try:
        answer = stage.client.post("/login", data={"name": "huge", "password": "x" * 2**20})
    finally:
        people._passwords = kept
    assert answer.status_code in {401, 413}
    assert all(length <= 1024 for length in hashed)


def test_too_many_wrong_log_ins_wait_a_little_and_are_let_in_again(tmp_path: Any) -> None:
    stage = make_stage(tmp_path)
    stage.person("dispatcher", login="guessed")
    stage.person("dispatcher", login="other")
    client = stage.client
    seen = [client.post("/login", data={"name": "guessed", "password": f"wrong-{n}"}) for n in range(12)]
    assert [one.status_code for one in seen[:5]] == [401] * 5
    refused = seen[-1]
    assert refused.status_code == 429
    wait_s = int(refused.headers["Retry-After"])
    assert 0 < wait_s <= 60
    right = {"name": "GUESSED ", "password": "right-password"}
    assert client.post("/login", data=right).status_code == 429
    assert client.post("/login", data={"name": "other", "password": "right-password"}).status_code == 303
    stage.clock.advance(wait_s)
    assert stage.client.post("/login", data=right).status_code == 303
    assert stage.client.post("/login", data={"name": "guessed", "password": "x"}).status_code == 401
    stage.house.database.dispose()


def test_one_address_that_tries_many_names_has_to_wait(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=64)
    monkeypatch.setattr(people, "_passwords", cheap)
    monkeypatch.setattr(people, "_NOBODY", cheap.hash("nobody"))
    stage = make_stage(tmp_path)
    stage.person("dispatcher", login="quiet")
    statuses = set()
    for n in range(access.ADDRESS_TRIES + 2):
        answer = stage.client.post("/login", data={"name": f"name-{n}", "password": "x"})
        statuses.add(answer.status_code)
    assert statuses == {401, 429}
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    data = {"name": "quiet", "password": "right-password"}
    assert stage.client.post("/login", data=data, environ_overrides=elsewhere).status_code == 303
    stage.house.database.dispose()


# --- whose is it ----------------------------------------------------------------------------------------------


def test_nothing_of_one_organisation_is_seen_or_touched_by_another(stage: Stage) -> None:
    incident = incident_of(stage)
    (raw,) = stage.rows("SELECT patient_id FROM incident ORDER BY opened_at DESC, id DESC LIMIT 1")[0]
    patient = UUID(hex=raw)
    other = people.add_organisation(stage.house, "other")
    keys = stage.key("incidents:read", "incidents:write", "patients:read", organisation_id=other)
    stage.person("dispatcher", login="elsewhere", organisation_id=other)
    browser, csrf = stage.logged_in("elsewhere")
    for client, headers in ((stage.client, keys), (browser, {"X-CSRF-Token": csrf})):
        assert_problem(client.get(f"/v1/incidents/{incident}", headers=headers), 403, "forbidden")
        assert_problem(client.post(f"/v1/incidents/{incident}/claim", headers=headers), 403, "forbidden")
        for path in ("status", "observations?vital=heart_rate_bpm"):
            assert_problem(client.get(f"/v1/patients/{patient}/{path}", headers=headers), 403, "forbidden")
        assert client.get("/v1/incidents", headers=headers).json["incidents"] == []
    assert stage.client.get("/v1/patients", headers=keys).json["patients"] == []


def test_a_role_in_one_organisation_is_no_role_in_another(stage: Stage) -> None:
    incident = incident_of(stage)
    other = people.add_organisation(stage.house, "third")
    stage.person("dispatcher", login="visitor", role_in=other)
    browser, csrf = stage.logged_in("visitor")
    assert_problem(browser.get("/v1/incidents"), 403, "forbidden")
    assert_problem(browser.get(f"/v1/incidents/{incident}"), 403, "forbidden")
    answer = browser.post(f"/v1/incidents/{incident}/claim", headers={"X-CSRF-Token": csrf})
    assert_problem(answer, 403, "forbidden")


def test_a_caregiver_sees_only_their_own_and_acts_on_no_case(stage: Stage) -> None:
    incident = incident_of(stage)
    own, stranger = stage.patient(), stage.patient()
    stage.person("caregiver", login="daughter", patient_id=own)
    browser, csrf = stage.logged_in("daughter")
    assert browser.get(f"/v1/patients/{own}/status").status_code == 200
    assert_problem(browser.get(f"/v1/patients/{stranger}/status"), 403, "forbidden")
    assert [p["id"] for p in browser.get("/v1/patients").json["patients"]] == [str(own)]
    assert_problem(browser.get("/v1/incidents"), 403, "forbidden")
    assert_problem(browser.get(f"/v1/incidents/{incident}"), 403, "forbidden")
    answer = browser.post(f"/v1/incidents/{incident}/close", headers={"X-CSRF-Token": csrf}, json={})
    assert_problem(answer, 403, "forbidden")


def test_a_persons_post_without_the_sessions_own_token_is_refused(stage: Stage) -> None:
    incident = incident_of(stage)
    stage.person("dispatcher", login="clicker")
    stage.person("dispatcher", login="clicker-2")
    browser, csrf = stage.logged_in("clicker")
    _, others = stage.logged_in("clicker-2")
    path = f"/v1/incidents/{incident}/claim"
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": others}, {"X-CSRF-Token": "\xff"}):
        assert_problem(browser.post(path, headers=headers), 403, "csrf_missing")
    assert browser.post(path, headers={"X-CSRF-Token": csrf}).status_code == 200


def test_a_session_planted_before_the_log_in_is_not_the_one_after_it(stage: Stage) -> None:
    stage.person("dispatcher", login="victim")
    client = stage.client
    client.set_cookie("ansim_session", "planted")
    client.post("/login", data={"name": "victim", "password": "right-password"})
    cookie = client.get_cookie("ansim_session")
    assert cookie is not None
    assert cookie.value != "planted"
    attacker = stage.client
    attacker.set_cookie("ansim_session", "planted")
    assert_problem(attacker.get("/v1/incidents"), 401, "not_logged_in")


def test_a_session_ends_at_log_out_and_by_its_time(stage: Stage) -> None:
    stage.person("dispatcher", login="leaver")
    browser, csrf = stage.logged_in("leaver")
    token = browser.get_cookie("ansim_session")
    assert token is not None
    assert browser.post("/logout", data={"csrf": csrf}).status_code == 303
    thief = stage.client
    thief.set_cookie("ansim_session", token.value)
    assert_problem(thief.get("/v1/incidents"), 401, "not_logged_in")
    browser, _ = stage.logged_in("leaver")
    stage.clock.advance(12 * 3600 + 1)
    try:
        assert_problem(browser.get("/v1/incidents"), 401, "not_logged_in")
    finally:
        stage.clock.advance(-12 * 3600 - 1)


def test_a_stream_tells_each_viewer_only_of_their_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.3)
    other = people.add_organisation(stage.house, "fourth")
    mine = stage.patient()
    stage.person("caregiver", login="listener", patient_id=mine)
    browser, _ = stage.logged_in("listener")
    after = stage.rows("SELECT value FROM counter WHERE name = 'event'")[0][0]
    theirs = people.add_patient(
        stage.house, other, Profile(name="x"), Care(), district_code="1", simulated=True
    )
    for patient_id in (theirs, stage.patient(), mine):
        band = stage.band(patient_id)
        assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    board = stage.client.get(f"/v1/events?after={after}", headers=stage.key("incidents:read"))
    own = browser.get(f"/v1/events?after={after}")
    strange = stage.client.get(
        f"/v1/events?after={after}", headers=stage.key("incidents:read", organisation_id=other)
    )
    seen = patients_in(board)
    assert str(mine) in seen
    assert str(theirs) not in seen
    assert patients_in(own) == {str(mine)}
    assert patients_in(strange) == {str(theirs)}


def patients_in(answer: Any) -> set[str]:
    """The patients told of until the first beat after the beginning."""
    found: set[str] = set()
    for number, piece in enumerate(answer.iter_encoded()):
        if number and b"event: beat" in piece:
            break
        for line in piece.decode().splitlines():
            if line.startswith("data: ") and "patient_id" in line:
                found.add(json.loads(line.removeprefix("data: "))["patient_id"])
    answer.close()
    return found


def test_a_stream_keeps_its_beat_while_only_others_have_news(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.3)
    other = people.add_organisation(stage.house, "fifth")
    after = stage.rows("SELECT value FROM counter WHERE name = 'event'")[0][0]
    answer = stage.client.get(f"/v1/events?after={after}", headers=stage.key("incidents:read", organisation_id=other))
    pieces = answer.iter_encoded()
    assert b"event: beat" in next(pieces)
    assert stage.incidents()
    incident_of(stage)
    assert b"event: beat" in next(pieces)
    answer.close()
