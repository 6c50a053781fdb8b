"""Whatever comes to a door gets a clear answer, and nothing good is lost on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from doors_stage import Band, Stage, assert_problem, make_stage, verdicts_by_seq

from dispatch.twilio_notifier import ROOT
from service import access
from service.api import events
from service.workflows import devices as device_flow
from service.workflows import incidents, people
from service.workflows.people import Care, Profile


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("doors"))
    yield made
    made.house.database.dispose()


@pytest.fixture
def band(stage: Stage) -> Band:
    return stage.band(stage.patient())


# --- what a device posts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b'{"upload_id": "', 400, "not_json"),
        (b'{"readings": [{"seq": 1, "heart_rate_bpm": NaN}]}', 400, "not_json"),
        (b'{"readings": [{"seq": 1, "heart_rate_bpm": Infinity}]}', 400, "not_json"),
        (b"\xff\xfe\x00", 400, "not_json"),
        (b'{"upload_id": "\xff"}', 400, "not_json"),
        (b"[" * 100_000, 400, "not_json"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "not_json"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "not_json"),
        (b"null", 422, "not_an_upload"),
        (b"[]", 422, "not_an_upload"),
        (b"7", 422, "not_an_upload"),
        (b'"sos"', 422, "not_an_upload"),
        (b"{}", 422, "upload_id_invalid"),
        (b'{"upload_id": 5}', 422, "upload_id_invalid"),
        (b'{"upload_id": "0190a7c2-0000-7000-8000-000000000001"}', 422, "boot_id_invalid"),
        (b" " * 2**20, 400, "not_json"),
    ],
)
def test_a_body_that_is_no_upload_is_refused_by_name(band: Band, body: bytes, status: int, code: str) -> None:
    assert_problem(band.send(body), status, code)


def test_a_truncated_upload_consumes_nothing_and_the_whole_one_is_taken_after_it(stage: Stage, band: Band) -> None:
    whole = json.dumps(band.upload({"heart_rate_bpm": 70}, {"event": "sos"}, at=stage.clock())).encode()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        assert_problem(band.send(whole[:cut]), 400, "not_json")
    answer = band.send(whole)
    assert {seq: said[0]["verdict"] for seq, said in verdicts_by_seq(answer).items()} == {1: "stored", 2: "stored"}


def test_ten_megabytes_are_refused_whatever_length_is_declared(stage: Stage, band: Band) -> None:
    body = b" " * 10 * 2**20
    assert_problem(band.send(body), 413, "too_large")
    without = {"wsgi.input_terminated": True}
    headers = band.headers(b"{}")
    chunked = band.client.post(
        "/v1/readings", input_stream=BytesIO(body), headers=headers, environ_overrides=without
    )
    assert_problem(chunked, 413, "too_large")
    lying = band.client.post(
        "/v1/readings", input_stream=BytesIO(body), headers=headers | {"Content-Length": "2"}
    )
    assert lying.status_code in {400, 401, 413}
    short = band.client.post(
        "/v1/readings", input_stream=BytesIO(b"{}"), headers=headers | {"Content-Length": "9000"}
    )
    assert_problem(short, 422, "upload_id_invalid")
    for length in ("-1", "abc", "1e9", "９"):
        odd = band.client.post("/v1/readings", input_stream=BytesIO(b"{}"), headers={"Content-Length": length})
        assert odd.status_code in {400, 401, 415}, length


class Dribbling(BytesIO):
    """A connection that gives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 4096) if size and size > 0 else 4096)


def test_a_body_that_comes_in_pieces_is_read_whole(stage: Stage, band: Band) -> None:
    body = json.dumps(band.upload(*[{"heart_rate_bpm": 70}] * 500, at=stage.clock())).encode()
    assert len(body) > 20_000
    terminated = {"wsgi.input_terminated": True}
    answer = band.client.post(
        "/v1/readings", input_stream=Dribbling(body), headers=band.headers(body), environ_overrides=terminated
    )
    assert answer.status_code == 200, answer.text
    many = Dribbling(b" " * 3 * 2**20)
    headers = band.headers(b"{}")
    answer = band.client.post("/v1/readings", input_stream=many, headers=headers, environ_overrides=terminated)
    assert_problem(answer, 413, "too_large")


def test_ten_megabytes_are_refused_at_every_other_door_too(stage: Stage) -> None:
    body = b" " * 10 * 2**20
    key = stage.key("incidents:write")
    doors = ("/v1/devices/enrol", f"/v1/incidents/{uuid4()}/claim", f"{ROOT}/status/{uuid4()}", f"{ROOT}/incoming")
    for path in doors:
        answer = stage.client.post(path, data=body, headers=key | {"Content-Type": "application/json"})
        assert answer.status_code in {403, 404, 413}, path
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = stage.client.post(path, data=b"a=" + body, headers=key | form)
        assert answer.status_code in {403, 404, 413}, path


ODD_VALUES = [
    ({"heart_rate_bpm": 1e308}, "out_of_range"),
    ({"heart_rate_bpm": -1}, "out_of_range"),
    ({"heart_rate_bpm": "72"}, "wrong_type"),
    ({"heart_rate_bpm": True}, "wrong_type"),
    ({"heart_rate_bpm": [72]}, "wrong_type"),
    ({"heart_rate_bpm": 10**400}, "not_finite"),
    ({"spo2_pct": 200}, "out_of_range"),
    ({"systolic_mmhg": 17, "diastolic_mmhg": 10}, "out_of_range"),  # 17/10 kPa, sent as mmHg
    ({"blood_alcohol": 1}, "unknown_field"),
]


@pytest.mark.parametrize(("odd", "code"), ODD_VALUES, ids=lambda value: str(value)[:40])
def test_an_unusable_value_is_dropped_alone_and_named(stage: Stage, band: Band, odd: dict[str, Any], code: str) -> None:
    good = {"respiratory_rate_bpm": 16}
    answer = band.post(band.upload(odd, odd | good, {"spo2_pct": 97}, at=stage.clock()))
    assert answer.status_code == 200, answer.text
    said = verdicts_by_seq(answer)
    assert (said[1][0]["verdict"], said[1][0]["code"]) == ("rejected", code)
    assert said[2][0]["verdict"] == "stored"
    assert {dropped["code"] for dropped in said[2][0]["dropped"]} == {code}
    assert said[3] == [{"from": 3, "to": 3, "verdict": "stored"}]


@pytest.mark.parametrize("year", [1970, 2099, 1, 9999])
def test_a_wrong_year_refuses_the_vital_and_takes_the_event(stage: Stage, year: int) -> None:
    band = stage.band(stage.patient())
    at = datetime(year, 1, 2, tzinfo=UTC)
    upload = band.upload({"heart_rate_bpm": 70}, {"event": "sos"}, at=at, sent_at=stage.clock().isoformat())
    upload["readings"] = [row | {"at": at.strftime(f"{year:04d}-%m-%dT%H:%M:%SZ")} for row in upload["readings"]]
    before = stage.incidents()
    said = verdicts_by_seq(band.post(upload))
    assert (said[1][0]["verdict"], said[1][0]["code"]) == ("rejected", "time_out_of_range")
    assert said[2][0]["verdict"] == "stored"
    assert stage.incidents() == before + 1


def test_a_hundred_thousand_readings_are_refused_whole_and_ten_thousand_are_taken(stage: Stage, band: Band) -> None:
    rows = ",".join(f'{{"seq":{i}}}' for i in range(100_000))
    many = f'{{"upload_id":"{uuid4()}","boot_id":"{band.boot_id}","readings":[{rows}]}}'
    assert_problem(band.send(many[: 2**20].encode()), 400)
    assert_problem(band.send(many.encode()), 413, "too_large")
    values = [70 + i % 9 for i in range(100_000)]
    start = (stage.clock() - timedelta(days=2)).isoformat()
    series = {"first_seq": 0, "start": start, "step_s": 1, "heart_rate_bpm": values}
    upload = {"upload_id": str(uuid4()), "boot_id": band.boot_id, "series": [series]}
    assert_problem(band.post(upload), 413, "too_large")
    series["heart_rate_bpm"] = values[:10_000]
    answer = band.post(upload)
    assert answer.json["verdicts"] == [{"from": 0, "to": 9999, "verdict": "stored"}]


def test_one_key_written_twice_is_no_fault_of_ours(stage: Stage, band: Band) -> None:
    twice = '"readings":[],"readings":[{"seq":4,"event":"sos","event":"sos"}]'
    body = f'{{"upload_id":"{uuid4()}","boot_id":"{uuid4()}",{twice}}}'
    answer = band.send(body.encode())
    assert verdicts_by_seq(answer)[4][0]["verdict"] == "stored"


def test_half_a_letter_costs_neither_the_upload_nor_its_sos(stage: Stage, band: Band) -> None:
    """JSON may hold half a surrogate pair wherever it holds text."""
    odd = {"at": "\ud800", "event": "sos", "place": "\udfff", "\ud800": 1, "worn": "\ud800"}
    before = stage.incidents()
    answer = band.post(band.upload(odd, {"heart_rate_bpm": 70}, at=stage.clock(), sent_at="\ud800"))
    assert answer.status_code == 200, answer.text
    assert verdicts_by_seq(answer)[1][0]["verdict"] == "stored"
    assert stage.incidents() == before + 1
    assert_problem(band.post({"upload_id": "\ud800"}), 422, "upload_id_invalid")


def test_huge_and_odd_sequence_numbers_are_refused_by_name(stage: Stage, band: Band) -> None:
    rows = [{"seq": seq, "at": stage.clock().isoformat(), "spo2_pct": 97} for seq in (2**63, -1, 1.5, "9", None, True)]
    body = json.dumps(band.upload(at=stage.clock()) | {"readings": rows})
    answer = band.send(body.encode())
    assert answer.status_code == 200
    assert [v["code"] for v in answer.json["verdicts"]] == ["seq_invalid"] * 6


# --- how it is signed ---------------------------------------------------------------------------------


def good(band: Band, stage: Stage) -> bytes:
    return json.dumps(band.upload({"heart_rate_bpm": 70}, at=stage.clock())).encode()


def test_an_unsigned_or_wrongly_signed_upload_is_refused(stage: Stage, band: Band) -> None:
    body = good(band, stage)
    plain = {"Content-Type": "application/json"}
    assert_problem(band.send(body, plain), 401, "signature_missing")
    signed = band.headers(body)
    assert_problem(band.send(body + b" ", signed), 401, "digest_mismatch")
    stranger = Band(band.client, band.keyid, Ed25519PrivateKey.generate())
    assert_problem(stranger.send(body), 401, "signature_invalid")
    nobody = Band(band.client, str(uuid4()), band.key)
    assert_problem(nobody.send(body), 401, "unknown_device")
    assert_problem(band.send(body, path="/v1/other"), 401, "signature_invalid")
    assert_problem(band.send(body, authority="elsewhere.example"), 401, "signature_invalid")
    assert_problem(band.send(body, method="PUT"), 401, "signature_invalid")
    secret = Band(band.client, band.keyid, b"k" * 32)
    assert_problem(secret.send(body), 401, "alg_mismatch")
    del signed["Content-Digest"]
    assert_problem(band.send(body, signed), 401, "digest_missing")
    assert band.send(body).status_code == 200


GARBAGE = ["", "sig1", "sig1=", "sig1=()", 'sig1=("@method")', "sig1=:!!:", "sig1=::", "é=ü", "sig1=(\x7f)", "a" * 9000]


@pytest.mark.parametrize("name", ["Signature", "Signature-Input", "Content-Digest"])
@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_in_a_signature_header_is_refused(stage: Stage, band: Band, name: str, value: str) -> None:
    body = good(band, stage)
    answer = band.send(body, band.headers(body) | {name: value.encode().decode("latin-1")})
    assert_problem(answer, 401)


def test_a_revoked_device_is_refused_from_its_next_request_on(stage: Stage, band: Band) -> None:
    assert band.send(good(band, stage)).status_code == 200
    device = stage.rows(f"SELECT id FROM device WHERE keyid = '{band.keyid}'")
    assert device
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE device SET revoked_at = 1 WHERE keyid = ?", (band.keyid,))
    assert_problem(band.send(good(band, stage)), 401, "device_revoked")


def test_a_replayed_upload_gets_the_same_bytes_and_its_nonce_signs_nothing_else(stage: Stage, band: Band) -> None:
    body = good(band, stage)
    first = band.send(body, nonce="once")
    again = band.send(body, nonce="once")
    later = band.send(body, nonce="another")
    assert first.data == again.data == later.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == later.headers["Idempotent-Replayed"] == "true"
    assert_problem(band.send(good(band, stage), nonce="once"), 401, "nonce_reused")


def test_an_upload_id_with_another_body_is_a_conflict(stage: Stage, band: Band) -> None:
    upload = band.upload({"heart_rate_bpm": 70}, at=stage.clock())
    first = band.post(upload)
    other = upload | {"readings": [*upload["readings"], {"seq": 9, "event": "sos"}]}
    assert_problem(band.post(other), 409, "upload_id_reused")
    assert band.post(upload).data == first.data


def test_another_content_type_or_encoding_is_refused_and_says_so(stage: Stage, band: Band) -> None:
    body = good(band, stage)
    assert_problem(band.send(body, content_type="text/plain"), 415, "unsupported_media_type")
    assert_problem(band.send(body, content_type=""), 415, "unsupported_media_type")
    packed = gzip.compress(body)
    headers = band.headers(packed) | {"Content-Encoding": "gzip"}
    assert_problem(band.send(packed, headers), 415, "encoding_unsupported")
    headers = band.headers(body) | {"Content-Encoding": "identity"}
    assert band.send(body, headers).status_code == 200


def test_a_content_type_with_a_charset_is_json_all_the_same(stage: Stage, band: Band) -> None:
    assert band.send(good(band, stage), content_type="application/json; charset=utf-8").status_code == 200


def test_nonces_and_upload_ids_of_one_device_are_nobody_elses(stage: Stage) -> None:
    one, two = stage.band(stage.patient()), stage.band(stage.patient())
    upload = one.upload({"heart_rate_bpm": 70}, at=stage.clock())
    assert one.post(upload, nonce="n").status_code == 200
    answer = two.post(upload, nonce="n")
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers


def test_an_sos_opens_a_case_although_the_patients_own_record_cannot_be_opened(stage: Stage) -> None:
    patient_id = stage.patient()
    band = stage.band(patient_id)
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql(
            "UPDATE patient SET sealed = x'00' WHERE patient_id = ?", (patient_id.hex,)
        )
    before = stage.incidents()
    answer = band.post(band.upload({"event": "sos"}, at=stage.clock()))
    assert answer.status_code == 200, answer.text
    assert stage.incidents() == before + 1


def test_an_sos_opens_a_case_although_an_earlier_upload_cannot_be_opened(stage: Stage) -> None:
    patient_id = stage.patient()
    band = stage.band(patient_id)
    assert band.post(band.upload({"heart_rate_bpm": 70}, at=stage.clock())).status_code == 200
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE upload SET sealed = x'00' WHERE patient_id = ?", (patient_id.hex,))
    before = stage.incidents()
    upload = band.upload(at=stage.clock())
    upload["readings"] = [
        {"seq": 1, "at": stage.clock().isoformat(), "heart_rate_bpm": 70},
        {"seq": 2, "at": stage.clock().isoformat(), "event": "sos"},
    ]
    answer = band.post(upload)
    assert answer.status_code == 200, answer.text
    assert verdicts_by_seq(answer)[2][0]["verdict"] == "stored"
    assert stage.incidents() == before + 1


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


# --- acting on a case -----------------------------------------------------------------------------------


def incident_of(stage: Stage) -> str:
    """A case just opened by an SOS."""
    band = stage.band(stage.patient())
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    key = stage.key("incidents:read")
    return str(stage.client.get("/v1/incidents", headers=key).json["incidents"][0]["id"])


@pytest.mark.parametrize(
    ("action", "body", "status", "code"),
    [
        ("explode", b"{}", 404, "action_unknown"),
        ("claim", b"{", 400, "not_json"),
        ("claim", b"\xff", 400, "not_json"),
        ("claim", b'"\xff"', 422, "action_invalid"),
        ("claim", b'{"text": "\xff"}', 400, "not_json"),
        ("claim", b"[" * 100_000, 422, "action_invalid"),
        ("claim", b'{"text":' * 50_000, 422, "action_invalid"),
        ("claim", b"[]", 422, "action_invalid"),
        ("claim", b"null", 422, "action_invalid"),
        ("claim", b'{"bogus": 1}', 422, "action_invalid"),
        ("note", b'{"text": 5}', 422, "action_invalid"),
        ("note", b"{}", 422, "field_invalid"),
        ("note", json.dumps({"text": "x" * 5000}).encode(), 422, "field_invalid"),
        ("close", b'{"reason": "bored"}', 422, "field_invalid"),
        ("progress", b'{"state": "closed"}', 422, "field_invalid"),
        ("progress", b'{"state": "on_scene"}', 409, "not_allowed_now"),
        ("dispatch", b'{"reference": "r", "called_at": "soon"}', 422, "field_invalid"),
        ("dispatch", b'{"reference": "r", "called_at": "0001-01-01T00:00:00+14:00"}', 422, "field_invalid"),
        ("dispatch", b'{"reference": "r", "called_at": "99:99"}', 422, "field_invalid"),
        ("dispatch", json.dumps({"reference": "r", "called_at": "9" * 2000}).encode(), 422, "field_invalid"),
    ],
)
def test_an_action_that_makes_no_sense_is_refused(
    stage: Stage, action: str, body: bytes, status: int, code: str
) -> None:
    key = stage.key("incidents:write", "incidents:read")
    answer = stage.client.post(f"/v1/incidents/{incident_of(stage)}/{action}", data=body, headers=key)
    assert_problem(answer, status, code)


def test_a_call_to_119_counts_although_our_clock_was_set_back_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, incident_id = stage.key("incidents:write", "incidents:read"), incident_of(stage)
    changed = incidents.changed

    def later(*given: Any) -> Any:
        stage.clock.advance(-3600)
        return changed(*given)

    monkeypatch.setattr(incidents, "changed", later)
    answer = stage.client.post(f"/v1/incidents/{incident_id}/dispatch", json={"reference": "119-42"}, headers=key)
    assert answer.status_code == 200, answer.text
    assert answer.json["state"] == "dispatched"


def test_a_key_that_may_only_write_is_answered_after_it_has_acted(stage: Stage) -> None:
    answer = stage.client.post(f"/v1/incidents/{incident_of(stage)}/claim", headers=stage.key("incidents:write"))
    assert answer.status_code == 200, answer.text


def test_odd_letters_in_a_note_come_back_as_they_were(stage: Stage) -> None:
    key = stage.key("incidents:write", "incidents:read")
    text = "a\x00b \u202e안심 \U0001f9d3 <script>"
    path = f"/v1/incidents/{incident_of(stage)}/note"
    answer = stage.client.post(path, json={"text": text}, headers=key)
    assert answer.status_code == 200, answer.text


# --- enrolment ------------------------------------------------------------------------------------------

JWKS: list[Any] = [
    None, {}, {"kty": "RSA"}, {"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kty": "OKP", "crv": "Ed25519"},
    {"kty": "OKP", "crv": "Ed25519", "x": "!!"}, {"kty": "OKP", "crv": "Ed25519", "x": "é" * 43},
    {"kty": "OKP", "crv": "Ed25519", "x": "A" * 100_000}, {"kty": "OKP", "crv": "Ed25519", "x": 5}, [], "key",
    {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43},
]  # fmt: skip


@pytest.mark.parametrize("jwk", JWKS, ids=range(len(JWKS)))
def test_a_garbled_public_key_spends_no_code(stage: Stage, jwk: Any) -> None:
    code = device_flow.issue_code(stage.house, stage.patient())
    wanted = {"code": code, "alg": "ed25519", "public_key": jwk}
    assert_problem(stage.client.post("/v1/devices/enrol", json=wanted), 422)
    assert stage.client.post("/v1/devices/enrol", json={"code": code, "alg": "hmac-sha256"}).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"), (b"{", 400, "not_json"), (b"\xff", 400, "not_json"),
        (b'{"code": "\xff"}', 400, "not_json"), (b"[" * 100_000, 422, "not_an_enrolment"),
        (b'{"extra":' * 50_000, 400, "not_json"),
        (b"[]", 422, "not_an_enrolment"), (b"null", 422, "not_an_enrolment"), (b"{}", 422, "not_an_enrolment"),
        (b'{"code": 5, "alg": "ed25519"}', 422, "not_an_enrolment"),
        (b'{"code": "X", "alg": "none"}', 422, "alg_unknown"),
        (b'{"code": "NOPE", "alg": "hmac-sha256"}', 401, "code_refused"),
        (b'{"code": "", "alg": "hmac-sha256"}', 401, "code_refused"),
        (b'{"code": "\\u0000", "alg": "hmac-sha256"}', 401, "code_refused"),
        (b'{"code": "\\ud800", "alg": "hmac-sha256"}', 400, "not_json"),
    ],
)  # fmt: skip
def test_an_enrolment_that_cannot_be_is_refused(stage: Stage, body: bytes, status: int, code: str) -> None:
    assert_problem(stage.client.post("/v1/devices/enrol", data=body), status, code)


def test_a_code_works_once_and_only_for_a_week(stage: Stage) -> None:
    code = device_flow.issue_code(stage.house, stage.patient())
    wanted = {"code": code, "alg": "hmac-sha256", "model": "\x00 odd \x1f model" + "x" * 500}
    assert stage.client.post("/v1/devices/enrol", json=wanted).status_code == 201
    (model,) = stage.rows("SELECT model FROM device ORDER BY enrolled_at DESC, id DESC LIMIT 1")[0]
    assert model.isprintable()
    assert_problem(stage.client.post("/v1/devices/enrol", json=wanted), 401, "code_refused")
    old = device_flow.issue_code(stage.house, stage.patient())
    stage.clock.advance(7 * 86_400 + 1)
    try:
        assert_problem(stage.client.post("/v1/devices/enrol", json=wanted | {"code": old}), 401, "code_refused")
    finally:
        stage.clock.advance(-7 * 86_400 - 1)


# --- the carrier's callbacks -------------------------------------------------------------------------------


def test_an_unsigned_callback_is_refused(stage: Stage) -> None:
    paths = [f"{ROOT}/{kind}/{uuid4()}" for kind in ("answer", "digits", "status")] + [f"{ROOT}/incoming"]
    for path in paths:
        assert_problem(stage.client.post(path, data={"CallSid": "CA1"}), 403, "signature_refused")
        odd = {"X-Twilio-Signature": "\xff\xfe"}
        assert_problem(stage.client.post(path, data={"CallSid": "CA1"}, headers=odd), 403, "signature_refused")
        assert_problem(stage.callback(path, {"CallSid": "CA1"}, token="wrong" * 6), 403, "signature_refused")


def test_a_signed_callback_with_garbage_is_refused_without_harm(stage: Stage) -> None:
    reference = str(uuid4())
    assert_problem(stage.callback(f"{ROOT}/status/{reference}", {}), 400, "callback_unreadable")
    assert_problem(
        stage.callback(f"{ROOT}/status/{reference}", {"CallSid": "CA1", "CallStatus": "exploded"}),
        400,
        "callback_unreadable",
    )
    assert_problem(stage.callback(f"{ROOT}/answer/{reference}", {}), 400, "callback_unreadable")
    assert_problem(stage.callback(f"{ROOT}/bogus/{reference}", {"CallSid": "CA1"}), 404, "not_found")
    odd = {"CallSid": "CA1", "Digits": "\x00" * 50, "From": "안녕", "CallDuration": "9" * 5000}
    assert stage.callback(f"{ROOT}/digits/{reference}?turn={'9' * 5000}", odd).status_code in {200, 400}


def test_a_callback_about_nothing_we_know_says_nothing_of_anybody(stage: Stage) -> None:
    form = {"CallSid": "CA1", "CallStatus": "completed"}
    for reference in (str(uuid4()), "not-an-id", "%00", "안심"):
        assert stage.callback(f"{ROOT}/status/{reference}", form).status_code in {204, 403}
        answer = stage.callback(f"{ROOT}/answer/{reference}", {"CallSid": "CA1"})
        assert answer.status_code in {200, 403}
    assert stage.callback(f"{ROOT}/incoming", {"CallSid": "CA1", "From": "+10000000000"}).status_code == 200


def test_a_callback_of_an_old_case_opens_nothing_again(stage: Stage) -> None:
    incident = incident_of(stage)
    key = stage.key("incidents:write", "incidents:read")
    (raw,) = stage.rows("SELECT id FROM notification ORDER BY created_at DESC, id DESC LIMIT 1")[0]
    reference = UUID(hex=raw)
    path = f"/v1/incidents/{incident}"
    stage.client.post(f"{path}/claim", headers=key)
    closing = stage.client.post(f"{path}/close", json={"reason": "false_alarm_person"}, headers=key)
    assert closing.json["state"] == "closed", closing.text
    for kind in ("answer", "digits", "status"):
        form = {"CallSid": "CA1", "CallStatus": "completed", "Digits": "3"}
        assert stage.callback(f"{ROOT}/{kind}/{reference}", form).status_code in {200, 204}
    assert stage.client.get(path, headers=key).json["state"] == "closed"


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
