"""Arbitrary and mutated uploads through the real door: a clear answer, a verdict for every number, the same twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from doors_stage import Band, Stage, assert_problem, make_stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from devices.reading import COLUMNS

EXAMPLES = 300
NAMES = [column.name for column in COLUMNS]
quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.house.database.dispose()


@pytest.fixture(scope="module")
def band(stage: Stage) -> Band:
    return stage.band(stage.patient(), alg="hmac-sha256")


numbers = st.one_of(
    st.integers(-5, 300),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(30, 200),
    st.sampled_from([10**400, -0.0, 2**53, 2**63, 1e308]),
)
texts = st.one_of(st.text(max_size=20), st.sampled_from(["", "\x00", "\ud800", "sos", "SOS ", "1970-01-01T00:00:00Z"]))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
seqs = st.one_of(st.integers(0, 40), st.sampled_from([0, 2**53 - 1, 2**53, -1, 2**64, 77.0, "99", None, True]))
moments = st.one_of(
    st.integers(-7200, 30).map(lambda s: ("now", s)),
    st.sampled_from(["1970-01-01T00:00:00Z", "yesterday", None, 5, "\ud800"]),
)


def maybe(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what it should be, sometimes anything."""
    return st.one_of(good, good, good, good, anything)


row = st.fixed_dictionaries(
    {"seq": seqs, "at": moments},
    optional={
        **{name: maybe(numbers) for name in NAMES[:6]},
        "worn": maybe(st.booleans()),
        "event": maybe(st.sampled_from(["sos", "fall", "ok_pressed", "motion", "door", "sos_cancelled"])),
        "place": maybe(texts),
        "blood_alcohol": scalars,
    },
)
column = maybe(st.lists(st.one_of(st.none(), numbers), max_size=6))
series = st.fixed_dictionaries(
    {"first_seq": seqs, "start": moments, "step_s": maybe(st.sampled_from([1.0, 60, 0, -1]))},
    optional={"heart_rate_bpm": column, "spo2_pct": column, "worn": column, "bogus": column},
)
beats = st.fixed_dictionaries({"first_seq": seqs, "start": moments, "rr_ms": column})
waveform = st.fixed_dictionaries(
    {
        "seq": seqs,
        "start": moments,
        "sampling_rate_hz": maybe(st.sampled_from([50, 0, 1e9])),
        "kind": maybe(st.sampled_from(["ecg", "ppg", "accelerometer"])),
        "unit": maybe(st.sampled_from(["mg", "uV", "raw"])),
        "channels": maybe(st.lists(st.lists(st.one_of(st.none(), numbers), max_size=5), max_size=3)),
    }
)
uploads = st.fixed_dictionaries(
    {},
    optional={
        "sent_at": maybe(moments),
        "readings": maybe(st.lists(maybe(row), max_size=6)),
        "series": maybe(st.lists(maybe(series), max_size=3)),
        "beats": maybe(st.lists(maybe(beats), max_size=3)),
        "waveforms": maybe(st.lists(maybe(waveform), max_size=2)),
    },
)


def dated(value: Any, stage: Stage) -> Any:
    """Replace ("now", seconds) by that time in words."""
    if isinstance(value, tuple):
        return (stage.clock() + timedelta(seconds=value[1])).isoformat()
    if isinstance(value, dict):
        return {key: dated(inner, stage) for key, inner in value.items()}
    return [dated(inner, stage) for inner in value] if isinstance(value, list) else value


def usable(seq: Any, count: int) -> bool:
    return type(seq) is int and seq >= 0 and seq + max(count, 1) - 1 <= 2**53 - 1


def expected(upload: dict[str, Any]) -> Counter[int]:
    """How often each plainly numbered item was posted; only of parts that are what they should be."""
    found: Counter[int] = Counter()
    for one in upload.get("readings") or []:
        if isinstance(one, dict) and usable(one.get("seq"), 1):
            found[one["seq"]] += 1
    for one in upload.get("waveforms") or []:
        if isinstance(one, dict) and usable(one.get("seq"), 1):
            found[one["seq"]] += 1
    for one in upload.get("beats") or []:
        if isinstance(one, dict):
            length = len(one["rr_ms"]) if isinstance(one.get("rr_ms"), list) else 0
            if usable(one.get("first_seq"), length):
                found.update(range(one["first_seq"], one["first_seq"] + max(length, 1)))
    for one in upload.get("series") or []:
        if isinstance(one, dict):
            columns = [one[name] for name in one.keys() - {"first_seq", "start", "step_s"}]
            length = max([len(column) for column in columns if isinstance(column, list)], default=0)
            if usable(one.get("first_seq"), length):
                found.update(range(one["first_seq"], one["first_seq"] + max(length, 1)))
    return found


def said(answer: TestResponse) -> Counter[int]:
    found: Counter[int] = Counter()
    for verdict in answer.get_json()["verdicts"]:
        assert verdict["verdict"] in {"stored", "duplicate", "rejected"}
        assert verdict["verdict"] != "rejected" or verdict["code"]
        if verdict["from"] is not None:
            found.update(range(verdict["from"], verdict["to"] + 1))
    return found


def fair(band: Band, body: bytes) -> TestResponse:
    """Post twice: never our fault, and the second answer to a 200 has the same bytes."""
    answer = band.send(body)
    if answer.status_code != 200:
        assert_problem(answer, answer.status_code)
        assert answer.status_code in {400, 413, 422}
        return answer
    again = band.send(body)
    assert again.data == answer.data
    assert again.headers["Idempotent-Replayed"] == "true"
    return answer


@quick
@given(upload=uploads, same_boot=st.booleans())
def test_an_upload_of_any_shape_gets_one_verdict_for_each_posted_number(
    stage: Stage, band: Band, upload: dict[str, Any], same_boot: bool
) -> None:
    boot_id = band.boot_id if same_boot else str(uuid4())
    upload = dated(upload, stage) | {"upload_id": str(uuid4()), "boot_id": boot_id}
    answer = fair(band, json.dumps(upload).encode())
    if answer.status_code == 200:
        wanted, got = expected(upload), said(answer)
        # An event may also count by a number that was not quite one, such as 77.0 or "99".
        assert {seq: got[seq] for seq in got if seq not in {77, 99}} == dict(wanted)


@quick
@given(body=st.one_of(anything.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_any_body_at_all_is_answered_clearly(band: Band, body: bytes) -> None:
    answer = fair(band, body)
    assert answer.status_code in {400, 422}


@quick
@given(data=st.data())
def test_a_good_upload_with_bytes_changed_is_answered_clearly(stage: Stage, band: Band, data: st.DataObject) -> None:
    upload = Band(band.client, band.keyid, band.key).upload(
        {"heart_rate_bpm": 70, "spo2_pct": 97}, {"event": "ok_pressed"}, {"worn": True}, at=stage.clock()
    )
    body = bytearray(json.dumps(upload).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "double", "insert"]))
        if how == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del body[at : at + data.draw(st.integers(1, 9))]
        elif how == "double":
            body[at:at] = body[at : at + data.draw(st.integers(1, 40))]
        else:
            body[at:at] = data.draw(st.binary(max_size=6))
        if not body:
            return
    fair(band, bytes(body))


headers_sent = ["Signature", "Signature-Input", "Content-Digest", "Content-Type", "Host", "Authorization", "Cookie"]
odd = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@quick
@given(name=st.sampled_from(headers_sent), value=odd, cut=st.integers(0, 200))
def test_any_header_is_answered_clearly(stage: Stage, band: Band, name: str, value: str, cut: int) -> None:
    body = json.dumps(band.upload({"heart_rate_bpm": 70}, at=stage.clock())).encode()
    headers = band.headers(body)
    for said in (value, headers.get(name, "")[:cut] + value, value + headers.get(name, "")[cut:]):
        answer = band.send(body, headers | {name: said})
        if answer.status_code != 200:
            assert_problem(answer, answer.status_code)
            assert 400 <= answer.status_code < 500


@quick
@given(
    path=st.sampled_from(["incidents", "patients/{id}/status", "patients/{id}/observations", "patients"]),
    query=st.dictionaries(
        st.sampled_from(["state", "cursor", "language", "vital", "from", "to"]),
        st.one_of(
            texts.map(lambda text: text.encode("utf-8", "replace").decode()),
            st.sampled_from([*NAMES, "ko", "open"]),
            st.datetimes().map(lambda at: at.isoformat() + "Z"),
        ),
    ),
)
def test_any_question_is_answered_clearly(stage: Stage, path: str, query: dict[str, str]) -> None:
    if "fuzz_key" not in stage.house.extras:
        stage.house.extras["fuzz_key"] = stage.key("incidents:read", "patients:read"), stage.patient()
    key, patient_id = stage.house.extras["fuzz_key"]
    answer = stage.client.get(f"/v1/{path.format(id=patient_id)}", query_string=query, headers=key)
    if answer.status_code != 200:
        assert_problem(answer, 422)
