"""A house with its doors for the tests that try to break in: people, devices, a carrier that only notes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import fresh_database
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from devices import signatures
from dispatch.notifier import CallRequest, Receipt, TextRequest
from dispatch.twilio_notifier import TwilioNotifier
from service.app import build_app, build_house
from service.config import Settings
from service.store import schema
from service.workflows import devices as device_flow
from service.workflows import people
from service.workflows.house import House
from service.workflows.people import Care, Profile

TOKEN = "0123456789abcdef0123456789abcdef"
DESK = "+82515550199"
PROBLEM_CODES = {  # every code that a device or a machine may meet; new ones are added here on purpose
    "bad_request", "not_found", "method_not_allowed", "too_large", "unsupported_media_type", "internal_error",
    "unavailable", "not_json", "not_an_upload", "upload_id_invalid", "boot_id_invalid", "upload_id_reused",
    "nonce_reused", "unknown_device", "device_revoked", "signature_missing", "signature_incomplete",
    "signature_malformed", "signature_invalid", "digest_missing", "digest_mismatch", "alg_mismatch",
    "encoding_unsupported", "not_an_enrolment", "alg_unknown", "public_key_missing", "public_key_invalid",
    "code_refused", "key_unknown", "scope_missing", "not_logged_in", "csrf_missing", "forbidden",
    "action_unknown", "action_invalid", "language_unknown", "cursor_invalid", "state_unknown", "time_invalid",
    "vital_unknown", "span_invalid", "field_invalid", "not_allowed_now", "streams_full", "signature_refused",
    "callback_unreadable", "record_unreadable", "not_a_patient", "name_invalid", "district_code_invalid",
    "already_taken", "take_first", "unspoken", "unit_under_way", "push_not_set_up", "endpoint_invalid", "keys_invalid",
    "email_invalid", "phone_is_the_desks",
    "phone_invalid", "body_invalid", "login_invalid", "limits_invalid", "login_taken", "conflict",
    "policy_invalid", "policy_changed", "scope_invalid", "patient_id_invalid",
}  # fmt: skip


class NotingCarrier(TwilioNotifier):
    """The real adapter for callbacks; what would be sent is noted instead."""

    def __init__(self, public_url: str) -> None:
        super().__init__("AC" + "0" * 32, TOKEN, "+82515550100", public_url)
        self.calls: list[CallRequest] = []
        self.texts: list[TextRequest] = []

    def place_call(self, request: CallRequest) -> Receipt:
        self.calls.append(request)
        return Receipt(provider=self.name, id=f"CA{len(self.calls):032d}")

    def send_text(self, request: TextRequest) -> Receipt:
        self.texts.append(request)
        return Receipt(provider=self.name, id=f"SM{len(self.texts):032d}")


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Band:
    """An enrolled device in front of the test client."""

    client: FlaskClient
    keyid: str
    key: Ed25519PrivateKey | bytes
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    boot_id: str = field(default_factory=lambda: str(uuid4()))

    def headers(self, body: bytes, **changes: Any) -> dict[str, str]:
        said: dict[str, Any] = {
            "method": "POST",
            "path": "/v1/readings",
            "authority": "localhost",
            "content_type": "application/json",
            "keyid": self.keyid,
            "nonce": secrets.token_urlsafe(12),
            "created": 1_760_000_000,
        }
        return signatures.sign(self.key, body=body, **(said | changes))

    def send(self, body: bytes, headers: dict[str, str] | None = None, **changes: Any) -> TestResponse:
        return self.client.post("/v1/readings", data=body, headers=headers or self.headers(body, **changes))

    def post(self, upload: Any, **changes: Any) -> TestResponse:
        return self.send(json.dumps(upload).encode(), **changes)

    def upload(self, *readings: dict[str, Any], at: datetime, **more: Any) -> dict[str, Any]:
        """A plain upload; readings without a number or time get the next number and ``at``."""
        rows = [{"seq": next(self.numbers), "at": at.isoformat()} | row for row in readings]
        body = {"upload_id": str(uuid4()), "boot_id": self.boot_id, "sent_at": at.isoformat(), "readings": rows}
        return body | more


@dataclass
class Stage:
    house: House
    app: Flask
    clock: Clock
    carrier: NotingCarrier
    folder: Path
    organisation_id: UUID

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def patient(self, name: str = "김순자", *, phone: str = "+821055500101", care: Care | None = None) -> UUID:
        return people.add_patient(
            self.house,
            self.organisation_id,
            Profile(name=name, phones=[phone]),
            care or Care(),
            district_code="26350",
            simulated=True,
        )

    def band(self, patient_id: UUID, *, alg: str = "ed25519") -> Band:
        client = self.client
        key = Ed25519PrivateKey.generate()
        wanted: dict[str, Any] = {"code": device_flow.issue_code(self.house, patient_id), "alg": alg, "model": "test"}
        if alg == "ed25519":
            wanted["public_key"] = signatures.public_key_to_jwk(key.public_key())
        made = client.post("/v1/devices/enrol", json=wanted)
        assert made.status_code == 201, made.text
        if alg == "ed25519":
            return Band(client, made.json["keyid"], key)
        secret = base64.urlsafe_b64decode(made.json["secret"] + "=")
        return Band(client, made.json["keyid"], secret)

    def person(
        self,
        role: str,
        *,
        login: str | None = None,
        password: str = "right-password",
        patient_id: UUID | None = None,
        name: str = "이서연",
        phone: str | None = None,
        organisation_id: UUID | None = None,
        role_in: UUID | None = None,
    ) -> UUID:
        """Somebody with a role; ``role_in`` is the organisation of the role, if not the person's own."""
        own = organisation_id or self.organisation_id
        profile = Profile(name=name, phones=[phone] if phone else [])
        made = people.add_person(self.house, own, profile, login=login, password=password if login else None)
        people.add_role(self.house, made, role_in or own, role, patient_id=patient_id)
        return made

    def key(self, *scopes: str, organisation_id: UUID | None = None) -> dict[str, str]:
        made = people.add_service_key(self.house, organisation_id or self.organisation_id, "test", scopes)
        return {"Authorization": f"Bearer {made}"}

    def logged_in(self, login: str, password: str = "right-password") -> tuple[FlaskClient, str]:
        """A browser with a session, and the session's token."""
        client = self.client
        answer = client.post("/login", data={"name": login, "password": password})
        assert answer.status_code == 303, answer.status_code
        cookie = client.get_cookie("ansim_session")
        assert cookie is not None
        with self.house.database.read() as tx:
            csrf = tx.conn.exec_driver_sql(
                "SELECT csrf FROM session WHERE token_hash = ?", (hashlib.sha256(cookie.value.encode()).digest(),)
            ).scalar_one()
        return client, csrf

    def callback(self, path: str, form: dict[str, str] | None = None, *, token: str = TOKEN) -> TestResponse:
        """A carrier's callback, signed."""
        form = form or {}
        url = f"{self.house.settings.public_url}{path}"
        signed = RequestValidator(token).compute_signature(url, form)
        return self.client.post(
            path,
            data=urlencode(form),
            headers={"X-Twilio-Signature": signed, "Content-Type": "application/x-www-form-urlencoded"},
        )

    def rows(self, sql: str) -> list[Any]:
        with self.house.database.read() as tx:
            return list(tx.conn.exec_driver_sql(sql).all())

    def incidents(self) -> int:
        return int(self.rows("SELECT count(*) FROM incident")[0][0])


def settings_of(folder: Path, **more: str) -> Settings:
    return Settings.from_env(
        {
            "ANSIM_DATA_DIR": str(folder),
            "ANSIM_DEMO": "yes",
            "ANSIM_KEK": base64.b64encode(b"k" * 32).decode(),
            "ANSIM_TWILIO_AUTH_TOKEN": TOKEN,
            "ANSIM_FALLBACK_NUMBER": DESK,
            **more,
        }
    )


def make_stage(folder: Path, **more: str) -> Stage:
    """A house of its own in this folder, with one organisation."""
    settings = settings_of(folder, **more)
    clock = Clock()
    carrier = NotingCarrier(settings.public_url)
    fresh_database.put_into(folder)
    house = build_house(settings, clock=clock, notifier=carrier)
    if not house.database.is_sqlite:
        schema.upgrade(house.database)
    organisation_id = people.add_organisation(house, "test")
    return Stage(house, build_app(house), clock, carrier, folder, organisation_id)


def assert_problem(answer: TestResponse, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer is problem+json in the documented shape, with a code that is known."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.content_type == "application/problem+json", answer.content_type
    body = answer.get_json(force=True)
    assert set(body) - {"field"} == {"type", "title", "status", "code", "detail"}, body
    assert body["status"] == status
    assert body["code"] in PROBLEM_CODES, body["code"]
    assert code is None or body["code"] == code, body
    assert isinstance(body["detail"], str)
    assert 0 < len(body["detail"]) < 1000, body["detail"][:200]
    assert "Traceback" not in body["detail"]
    assert 'File "' not in body["detail"]
    return dict(body)


def verdicts_by_seq(answer: TestResponse) -> dict[int, list[dict[str, Any]]]:
    """Every verdict of an answer, by sequence number."""
    found: dict[int, list[dict[str, Any]]] = {}
    for verdict in answer.get_json()["verdicts"]:
        if verdict["from"] is not None:
            for seq in range(verdict["from"], verdict["to"] + 1):
                found.setdefault(seq, []).append(verdict)
    return found


def good(band: Band, stage: Stage) -> bytes:
    """The body of an upload that is taken."""
    return json.dumps(band.upload({"heart_rate_bpm": 70}, at=stage.clock())).encode()


def incident_of(stage: Stage) -> str:
    """A case just opened by an SOS."""
    band = stage.band(stage.patient())
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    key = stage.key("incidents:read")
    return str(stage.client.get("/v1/incidents", headers=key).json["incidents"][0]["id"])
