"""Whatever a device posts, signs or enrols with gets a clear answer, and nothing good is lost on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from doors_stage import Band, Stage, assert_problem, good, make_stage, verdicts_by_seq

from dispatch.twilio_notifier import ROOT
from service.workflows import devices as device_flow


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("device-doors"))
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
