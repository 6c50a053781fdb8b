"""Whoever asks is told where a door is, which key opens it, and what is wrong with an odd question."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import DESK, Stage, assert_problem, good, make_stage

from dispatch.twilio_notifier import ROOT
from service.workflows import devices as device_flow
from service.workflows import people


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("machine-doors"))
    yield made
    made.house.database.dispose()


# --- methods and addresses ------------------------------------------------------------------------------


def test_a_wrong_method_is_refused_and_told_the_right_one(stage: Stage) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = stage.client.open("/v1/readings", method=method)
        assert_problem(answer, 405, "method_not_allowed")
        assert "POST" in answer.headers["Allow"]
    assert stage.client.open("/v1/readings", method="BREW").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nothing", "/v1/incidents/", "/v1/incidents/%00", "/v1/incidents/../readings", "/v1/%ff%fe",
     "/v1/incidents/" + "a" * 5000, "/v1/patients/1/status", "/v1/telephony/twilio/answer", "/v1/☎", "/v1/%E2%98%8E"],
)  # fmt: skip
def test_an_address_where_nothing_is_says_so(stage: Stage, path: str) -> None:
    answer = stage.client.get(path)
    assert answer.status_code in {404, 405}
    assert_problem(answer, answer.status_code)


def test_doubled_slashes_lead_to_the_right_address(stage: Stage) -> None:
    answer = stage.client.get("/v1//incidents", headers=stage.key("incidents:read"))
    assert answer.status_code == 308
    assert answer.headers["Location"].endswith("/v1/incidents")


# --- who asks -------------------------------------------------------------------------------------------

MACHINE_DOORS = [
    ("GET", "/v1/incidents", "incidents:read"),
    ("GET", "/v1/incidents/{id}", "incidents:read"),
    ("POST", "/v1/incidents/{id}/claim", "incidents:write"),
    ("GET", "/v1/patients", "patients:read"),
    ("GET", "/v1/patients/{id}/status", "patients:read"),
    ("GET", "/v1/patients/{id}/observations?vital=heart_rate_bpm", "patients:read"),
    ("GET", "/v1/events", "incidents:read"),
    ("POST", "/v1/patients", "devices:write"),
    ("POST", "/v1/patients/{id}/enrolment-codes", "devices:write"),
    ("GET", "/v1/patients/{id}/alarm-conditions", "patients:read"),
    ("POST", "/v1/patients/{id}/contacts", "patients:write"),
    ("PUT", "/v1/patients/{id}/limits", "patients:write"),
    ("POST", "/v1/devices/{id}/revoke", "devices:write"),
    ("POST", "/v1/staff", "staff:write"),
]
SCOPES = {scope for _, _, scope in MACHINE_DOORS}
WORDS = ["Bearer", "Bearer ", "Bearer x", "Bearer \xff\xfe", "Basic YTpi", "Digest", "\x80", "Bearer " + "a" * 8000]


@pytest.mark.parametrize(("method", "path", "scope"), MACHINE_DOORS)
def test_a_machine_door_opens_only_to_a_key_with_its_scope(stage: Stage, method: str, path: str, scope: str) -> None:
    path = path.format(id=uuid4())
    assert_problem(stage.client.open(path, method=method), 401, "not_logged_in")
    for word in WORDS:
        answer = stage.client.open(path, method=method, headers={"Authorization": word})
        assert_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"]
    wrong = stage.key(*(SCOPES - {scope}))
    assert_problem(stage.client.open(path, method=method, headers=wrong), 403, "scope_missing")


def test_a_garbled_cookie_is_no_session_and_no_crash(stage: Stage) -> None:
    for cookie in ("ansim_session=\xff\xfe", "ansim_session", "=;;=", 'ansim_session="\\377"', "ansim_session=é"):
        environ = {"HTTP_COOKIE": cookie.encode().decode("latin-1")}
        assert_problem(stage.client.get("/v1/incidents", environ_overrides=environ), 401, "not_logged_in")
        raw = {"HTTP_COOKIE": cookie if cookie.isascii() else "ansim_session=\xff\xfe"}
        assert_problem(stage.client.get("/v1/incidents", environ_overrides=raw), 401, "not_logged_in")
        assert stage.client.get("/login", environ_overrides=raw).status_code == 200


def test_a_revoked_key_opens_nothing(stage: Stage) -> None:
    key = stage.key("incidents:read")
    assert stage.client.get("/v1/incidents", headers=key).status_code == 200
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE service_key SET revoked_at = 1")
    assert_problem(stage.client.get("/v1/incidents", headers=key), 401, "key_unknown")


QUERIES = [
    ("/v1/incidents?cursor=x", 422, "cursor_invalid"),
    ("/v1/incidents?cursor=%00", 422, "cursor_invalid"),
    ("/v1/incidents?cursor=" + "9" * 9000, 422, "cursor_invalid"),
    ("/v1/incidents?state=drunk", 422, "state_unknown"),
    ("/v1/incidents?state=%00", 422, "state_unknown"),
    ("/v1/incidents?state=%ff%fe", 422, "state_unknown"),
    ("/v1/incidents?language=xx", 422, "language_unknown"),
    ("/v1/incidents?language=" + "x" * 9000, 422, "language_unknown"),
    ("/v1/patients/{patient}/status?language=%00", 422, "language_unknown"),
    ("/v1/patients/{patient}/observations", 422, "vital_unknown"),
    ("/v1/patients/{patient}/observations?vital=bogus", 422, "vital_unknown"),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&from=yesterday", 422, "time_invalid"),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&from=2026-01-01T00:00:00", 422, "time_invalid"),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&from=2026-01-01T00:00:00+00:00", 422, "time_invalid"),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&to=0001-01-01T00:00:00%2B14:00", 422, None),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&to=0001-01-01T00:00:00Z", 422, None),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&to=9999-12-31T23:59:59-14:00", 422, "time_invalid"),
    ("/v1/patients/{patient}/observations?vital=spo2_pct&from=2020-01-01T00:00:00Z", 422, "span_invalid"),
    ("/v1/patients/{stranger}/status", 404, "not_found"),
    ("/v1/incidents/{stranger}", 404, "not_found"),
]


@pytest.mark.parametrize(("path", "status", "code"), QUERIES)
def test_an_odd_question_gets_a_clear_answer(stage: Stage, path: str, status: int, code: str | None) -> None:
    key = stage.key("incidents:read", "patients:read")
    answer = stage.client.get(path.format(patient=stage.patient(), stranger=uuid4()), headers=key)
    if status == 200:
        assert answer.status_code == 200
    else:
        assert_problem(answer, status, code)


@pytest.mark.parametrize("mark", ["²", "9" * 5000, "-1", "1e3", "99999999999999999999", "٣", "\xff"])
def test_an_odd_last_event_id_starts_the_stream_all_the_same(stage: Stage, mark: str) -> None:
    key = stage.key("incidents:read")
    sent = {"HTTP_LAST_EVENT_ID": mark.encode("latin-1", "replace").decode("latin-1")}
    for answer in (
        stage.client.get("/v1/events", headers=key, environ_overrides=sent),
        stage.client.get("/v1/events", headers=key, query_string={"after": mark}),
    ):
        assert answer.status_code == 200
        stream = answer.iter_encoded()
        first = next(iter(stream))
        assert b"event: beat" in first
        answer.close()


PATIENT = {"name": "새 사람", "district_code": "26350"}
CONTACT = {"name": "딸", "phone": "+821055500111"}
STAFF = {"name": "이서연", "login": "new-staff", "role": "dispatcher"}
LIMITS = {"set_by": "Dr", "set_on": "2026-11-22T09:00:00Z"}
ODD_BODIES: list[tuple[str, Any]] = [
    *(("patients", body) for body in (
        b"", b"\xff", b"[]", b"null", b'{"name": "\xff"}', PATIENT | {"name": ""}, PATIENT | {"name": "x" * 101},
        PATIENT | {"district_code": "\x00"}, PATIENT | {"phones": ["112"]}, PATIENT | {"phones": "+821055500111"},
        PATIENT | {"bogus": 1}, PATIENT | {"birth_year": "1941"}, PATIENT | {"language": "xx"},
    )),
    *(("contacts", body) for body in (
        b"{", CONTACT | {"phone": "119"}, CONTACT | {"phone": "+8210555001١١"}, CONTACT | {"position": 2**70},
        CONTACT | {"position": -1}, CONTACT | {"login": "a b"}, CONTACT | {"login": "\x00\x00"},
        CONTACT | {"name": " "},
    )),
    *(("staff", body) for body in (
        b"{", STAFF | {"role": "operator\x00"}, STAFF | {"role": "caregiver"}, STAFF | {"login": ""},
        STAFF | {"login": "x" * 61}, STAFF | {"name": None},
    )),
    *(("limits", body) for body in (
        b"{", LIMITS | {"spo2_scale": 3}, LIMITS | {"set_on": "2026-11-22"}, LIMITS | {"heart_rate_high_bpm": "high"},
        LIMITS | {"heart_rate_high_bpm": 10**400}, LIMITS | {"heart_rate_high_bpm": -5},
        LIMITS | {"heart_rate_low_bpm": 200, "heart_rate_high_bpm": 100}, LIMITS | {"spo2_low_pct": 500},
    )),
]  # fmt: skip


def people_door(stage: Stage, name: str, patient_id: UUID) -> tuple[str, str]:
    own = f"/v1/patients/{patient_id}/{name}"
    return ("PUT" if name == "limits" else "POST"), own if name in {"contacts", "limits"} else f"/v1/{name}"


@pytest.mark.parametrize(("name", "body"), ODD_BODIES, ids=range(len(ODD_BODIES)))
def test_a_body_about_people_that_cannot_be_is_refused(stage: Stage, name: str, body: Any) -> None:
    method, path = people_door(stage, name, stage.patient())
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = stage.client.open(path, method=method, data=data, headers=stage.key(*SCOPES))
    assert answer.status_code in {400, 422}, answer.text
    assert_problem(answer, answer.status_code)


def test_a_number_that_is_given_twice_for_a_person_is_one_number(stage: Stage) -> None:
    before = len(stage.rows("SELECT * FROM person_phone"))
    phones = ["+821055512345", "+8201055512345", "+821055512345"]
    made = stage.client.post("/v1/patients", json=PATIENT | {"phones": phones}, headers=stage.key(*SCOPES))
    assert made.status_code == 201, made.text
    assert len(stage.rows("SELECT * FROM person_phone")) == before + 1


def test_the_desks_number_is_nobodys_own(stage: Stage) -> None:
    key, people = stage.key(*SCOPES), stage.rows("SELECT count(*) FROM person")
    refused = stage.client.post("/v1/patients", json=PATIENT | {"phones": ["+821055512345", DESK]}, headers=key)
    assert_problem(refused, 422, "phone_is_the_desks")
    assert DESK not in refused.text
    assert stage.rows("SELECT count(*) FROM person") == people


def test_odd_but_possible_words_about_people_are_taken(stage: Stage) -> None:
    key, patient_id = stage.key(*SCOPES), stage.patient()
    contact = CONTACT | {"relation": "a\x00b\u202e" * 30, "name": "\x00 \U0001f9d3"}
    assert stage.client.post(f"/v1/patients/{patient_id}/contacts", json=contact, headers=key).status_code in {201, 422}
    person = PATIENT | {"address": "\x00" * 50, "sex": "\x00"}
    assert stage.client.post("/v1/patients", json=person, headers=key).status_code in {201, 422}
    staff = STAFF | {"login": f"staff-{uuid4().hex[:8]}"}
    assert stage.client.post("/v1/staff", json=staff, headers=key).status_code == 201
    assert_problem(stage.client.post("/v1/staff", json=staff, headers=key), 409)


def test_another_organisations_key_changes_nobody_here(stage: Stage) -> None:
    other = people.add_organisation(stage.house, "sixth")
    key, patient_id = stage.key(*SCOPES, organisation_id=other), stage.patient()
    band = stage.band(patient_id)
    doors = [("POST", "contacts", CONTACT), ("PUT", "limits", LIMITS), ("POST", "enrolment-codes", {})]
    for method, tail, body in doors:
        path = f"/v1/patients/{patient_id}/{tail}"
        assert_problem(stage.client.open(path, method=method, json=body, headers=key), 403, "forbidden")
    assert_problem(stage.client.post(f"/v1/devices/{band.keyid}/revoke", headers=key), 403, "forbidden")
    conditions = stage.client.get(f"/v1/patients/{patient_id}/alarm-conditions", headers=key)
    assert_problem(conditions, 403, "forbidden")
    assert band.send(good(band, stage)).status_code == 200


def test_people_without_the_role_change_nobody(stage: Stage) -> None:
    own = stage.patient()
    stage.person("caregiver", login="son", patient_id=own)
    stage.person("dispatcher", login="board-only")
    band = stage.band(own)
    for login in ("son", "board-only"):
        browser, csrf = stage.logged_in(login)
        token = {"X-CSRF-Token": csrf}
        for name, body in (("contacts", CONTACT), ("limits", LIMITS), ("staff", STAFF), ("patients", PATIENT)):
            method, path = people_door(stage, name, own)
            assert_problem(browser.open(path, method=method, json=body, headers=token), 403, "forbidden")
        assert_problem(browser.post(f"/v1/patients/{own}/enrolment-codes", headers=token), 403, "forbidden")
        assert_problem(browser.post(f"/v1/devices/{band.keyid}/revoke", headers=token), 403, "forbidden")


@pytest.mark.postgres
def test_postgresql_refuses_no_more_than_sqlite_does(tmp_path: Any, postgres: Callable[[str], str]) -> None:
    """It takes no NUL in a text and no number beyond 64 bits: neither may come so far."""
    address = postgres("doors").replace("postgresql://", "postgresql+psycopg://")
    stage = make_stage(tmp_path, ANSIM_DATABASE_URL=address)
    test_odd_but_possible_words_about_people_are_taken(stage)
    key, patient_id = stage.key(*SCOPES), stage.patient()
    for name, body in ODD_BODIES:
        method, path = people_door(stage, name, patient_id)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = stage.client.open(path, method=method, data=data, headers=key)
        assert answer.status_code in {400, 422}, (name, body, answer.text)
    for query, status, _ in QUERIES:
        answer = stage.client.get(query.format(patient=patient_id, stranger=uuid4()), headers=key)
        assert answer.status_code == status, query
    code = device_flow.issue_code(stage.house, patient_id)
    enrolment = {"code": code, "alg": "hmac-sha256", "model": "\x00"}
    assert stage.client.post("/v1/devices/enrol", json=enrolment).status_code == 201
    band = stage.band(patient_id)
    place = band.upload({"event": "motion", "place": "\x00\ud800"}, {"event": "sos"}, at=stage.clock())
    assert band.post(place).status_code == 200
    assert stage.client.post("/login", data={"name": "\x00", "password": "\x00"}).status_code == 401
    stream = stage.client.get("/v1/events?after=" + "9" * 18, headers=key)
    assert stream.status_code == 200
    stream.close()
    form = {"CallSid": "C\x00" * 99, "CallStatus": "completed", "From": "\x00"}
    (reference,) = stage.rows("SELECT id FROM notification LIMIT 1")[0]
    for kind in ("status", "answer", "digits"):
        assert stage.callback(f"{ROOT}/{kind}/{reference}", form).status_code in {200, 204, 400}
    stage.house.database.dispose()
