"""The OpenAPI document tells the whole truth about the machines' doors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from doors_stage import Stage, make_stage
from werkzeug.test import TestResponse

from devices.reading import COLUMNS
from dispatch.twilio_notifier import ROOT

Doc = dict[str, Any]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("openapi"))
    yield made
    made.house.database.dispose()


@pytest.fixture(scope="module")
def doc(stage: Stage) -> Doc:
    answer = stage.client.get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.get_json())


def operations(doc: Doc) -> Iterator[tuple[str, str, Doc]]:
    for path, item in doc["paths"].items():
        for method, one in item.items():
            yield path, method, one


def schema_errors(doc: Doc, schema: Doc, value: Any, at: str = "$") -> list[str]:
    """What keeps a value from fitting a schema: the few keywords that our documents use."""
    if "$ref" in schema:
        return schema_errors(doc, resolve(doc, schema["$ref"]), value, at)
    if "anyOf" in schema:
        tried = [schema_errors(doc, one, value, at) for one in schema["anyOf"]]
        return [] if [] in tried else [f"{at}: fits none of {len(tried)}"]
    errors = [f"{at}: not {schema['type']}"] if "type" in schema and not is_a(schema["type"], value) else []
    if "enum" in schema and value not in schema["enum"]:
        errors.append(f"{at}: not among {schema['enum']}")
    if schema.get("format") in READERS and isinstance(value, str):
        try:
            READERS[schema["format"]](value)
        except ValueError:
            errors.append(f"{at}: not a {schema['format']}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        errors += [f"{at}: lacks {name}" for name in schema.get("required", ()) if name not in value]
        for name, inner in value.items():
            if name in known:
                errors += schema_errors(doc, known[name], inner, f"{at}.{name}")
            elif schema.get("additionalProperties") is False or (known and "additionalProperties" not in schema):
                errors.append(f"{at}: {name} is not described")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, inner in enumerate(value):
            errors += schema_errors(doc, schema["items"], inner, f"{at}[{i}]")
    return errors


READERS: dict[str, Any] = {"uuid": UUID, "date-time": datetime.fromisoformat}
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "integer": (int,),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def is_a(kind: str | list[str], value: Any) -> bool:
    if isinstance(kind, list):
        return any(is_a(one, value) for one in kind)
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def resolve(doc: Doc, reference: str) -> Doc:
    found: Any = doc
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        found = found[part]
    return dict(found)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_machine_route_is_described(stage: Stage, doc: Doc) -> None:
    wanted = set()
    for rule in stage.app.url_map.iter_rules():
        if rule.rule.startswith(("/v1", "/openapi", "/healthz", "/readyz", "/metrics")):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            wanted |= {(path, method.lower()) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert {(path, method) for path, method, _ in operations(doc)} == wanted
    assert len(wanted) >= 15


def test_every_reference_leads_somewhere_and_every_schema_is_led_to(doc: Doc) -> None:
    led_to = set(references(doc))
    for reference in led_to:
        assert resolve(doc, reference)
    held = {f"#/components/schemas/{name}" for name in doc["components"]["schemas"]}
    assert held == led_to


def test_every_operation_says_what_it_takes_and_answers(doc: Doc) -> None:
    names = [one["operationId"] for _, _, one in operations(doc)]
    assert len(set(names)) == len(names)
    for path, method, one in operations(doc):
        assert one["summary"], path
        declared = {parameter["name"] for parameter in one["parameters"] if parameter["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert any(200 <= int(status) < 300 for status in one["responses"]), (path, method)
        for security in one.get("security", ()):
            assert set(security) <= set(doc["components"]["securitySchemes"])
        for status, response in one["responses"].items():
            assert response["description"]
            if int(status) >= 400 and path != "/readyz":
                assert list(response["content"]) == ["application/problem+json"]
        if path.startswith("/v1/"):
            assert {"500", "503"} <= set(one["responses"]), path
        if "requestBody" in one:
            assert {"400", "413", "415", "422"} <= set(one["responses"]), path


UPLOAD: Doc = {
    "upload_id": "0190a7c2-0000-7000-8000-000000000001",
    "boot_id": "0190a7c2-0000-7000-8000-000000000002",
    "sent_at": "2026-11-22T09:00:00Z",
    "readings": [
        {
            "seq": 1041, "at": "2026-11-22T09:00:00Z", "heart_rate_bpm": 72, "pulse_rate_bpm": 71, "spo2_pct": 97,
            "respiratory_rate_bpm": 16, "temperature_c": 36.6, "skin_temperature_c": 33.1, "systolic_mmhg": 128,
            "diastolic_mmhg": 76, "glucose_mgdl": 101, "weight_kg": 61.2, "steps": 12, "worn": True, "battery_pct": 81,
        },
        {"seq": 1042, "at": "2026-11-22T18:00:00+09:00", "event": "sos"},
    ],
    "series": [
        {"first_seq": 1043, "start": "2026-11-22T08:59:00Z", "step_s": 1.0, "heart_rate_bpm": [72, 73, None],
         "spo2_pct": [97, 97, 96]}
    ],
    "beats": [{"first_seq": 1046, "start": "2026-11-22T08:59:00Z", "rr_ms": [812, 805]}],
    "waveforms": [
        {"seq": 1048, "start": "2026-11-22T08:59:00Z", "sampling_rate_hz": 50, "kind": "accelerometer", "unit": "mg",
         "channels": [[1, 2], [3, 4], [5, 6]]}
    ],
}  # fmt: skip


def test_the_contracts_example_fits_the_published_schema_and_is_taken(stage: Stage, doc: Doc) -> None:
    schema = doc["paths"]["/v1/readings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema_errors(doc, schema, UPLOAD) == []
    row = resolve(doc, schema["$ref"])["properties"]["readings"]
    assert {column.name for column in COLUMNS} <= set(resolve(doc, next(references(row)))["properties"])
    assert schema_errors(doc, schema, UPLOAD | {"upload_id": 7}) != []
    assert schema_errors(doc, schema, {"boot_id": UPLOAD["boot_id"]}) != []
    band = stage.band(stage.patient())
    at = stage.clock().isoformat()
    text = msgspec.json.encode(UPLOAD).decode()
    posted = msgspec.json.decode(re.sub(r"2026-11-22T[0-9:]+(Z|\+09:00)", at, text))
    answer = band.post(posted)
    assert answer.json["verdicts"] == [{"from": 1041, "to": 1048, "verdict": "stored"}]


def test_answers_fit_what_is_published(stage: Stage, doc: Doc) -> None:
    """One of each door, good and refused: the status is listed and the body fits its schema."""
    patient_id = stage.patient()
    band = stage.band(patient_id)
    key = stage.key("incidents:read", "incidents:write", "patients:read", "devices:write")
    weak = stage.key("none")
    at = stage.clock()
    rows = [{"heart_rate_bpm": 70, "spo2_pct": 97}, {"spo2_pct": 900}, {"event": "sos"}]
    check(doc, "/v1/readings", band.post(band.upload(*rows, at=at)))
    check(doc, "/v1/readings", band.send(b"{"))
    check(doc, "/v1/readings", band.send(b"{}", {}))
    check(doc, "/v1/readings", band.send(b"{}", content_type="text/plain"))
    check(doc, "/v1/readings", band.send(b" " * 2**21))
    enrol = {"code": "X", "alg": "hmac-sha256"}
    check(doc, "/v1/devices/enrol", stage.client.post("/v1/devices/enrol", json=enrol))
    check(doc, "/v1/devices/enrol", stage.client.post("/v1/devices/enrol", json={}))
    listing = stage.client.get("/v1/incidents", headers=key)
    incident = listing.json["incidents"][0]["id"]
    check(doc, "/v1/incidents", listing)
    check(doc, "/v1/patients", stage.client.get("/v1/patients", headers=key))
    new = {"name": "새 사람", "district_code": "26350", "phones": ["+821055500109"]}
    check(doc, "/v1/patients", stage.client.post("/v1/patients", json=new, headers=key), "post")
    check(doc, "/v1/patients", stage.client.post("/v1/patients", data=b"\xff", headers=key), "post")
    for status in (200, 401, 403, 404):
        headers = {200: key, 401: {}, 403: weak, 404: key}[status]
        chosen = uuid4() if status == 404 else patient_id
        for tail in ("status", "observations?vital=spo2_pct", "alarm-conditions"):
            path = "/v1/patients/{patient_id}/" + tail.partition("?")[0]
            answer = stage.client.get(f"/v1/patients/{chosen}/{tail}", headers=headers)
            assert answer.status_code == status, answer.text
            check(doc, path, answer)
        made = stage.client.post(f"/v1/patients/{chosen}/enrolment-codes", headers=headers)
        check(doc, "/v1/patients/{patient_id}/enrolment-codes", made, "post")
        one = uuid4() if status == 404 else incident
        check(doc, "/v1/incidents/{incident_id}", stage.client.get(f"/v1/incidents/{one}", headers=headers))
        acted = stage.client.post(f"/v1/incidents/{one}/claim", headers=headers)
        check(doc, "/v1/incidents/{incident_id}/{action}", acted, "post")
    path = f"/v1/incidents/{incident}/progress"
    for body in (b"{", b"[]", b'{"state": "on_scene"}', b" " * 2**21):
        answer = stage.client.post(path, data=body, headers=key)
        check(doc, "/v1/incidents/{incident_id}/{action}", answer, "post")
    for kind in ("answer", "status", "bogus"):
        path = "/v1/telephony/twilio/{kind}/{reference}"
        form = {"CallSid": "CA1", "CallStatus": "completed"}
        check(doc, path, stage.callback(f"{ROOT}/{kind}/{uuid4()}", form))
        check(doc, path, stage.callback(f"{ROOT}/{kind}/{uuid4()}", {}))
        check(doc, path, stage.client.post(f"{ROOT}/{kind}/{uuid4()}"))
    for path in ("/healthz", "/readyz", "/metrics"):
        check(doc, path, stage.client.get(path))


def check(doc: Doc, path: str, answer: TestResponse, method: str | None = None) -> None:
    item = doc["paths"][path]
    one = item[method or ("get" if "get" in item else "post")]
    status = str(answer.status_code)
    assert status in one["responses"], (path, status, answer.text[:200])
    content = one["responses"][status].get("content", {})
    if not content:
        assert not answer.data
        return
    assert answer.mimetype in content, (path, status, answer.mimetype)
    schema = content[answer.mimetype]["schema"]
    if "json" in answer.mimetype:
        assert schema_errors(doc, schema, answer.get_json(force=True)) == [], (path, status)


