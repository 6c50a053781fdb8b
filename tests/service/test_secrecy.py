"""What tells about a person is readable nowhere but through the doors: not in files, logs or refusals."""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from doors_stage import TOKEN, Stage, make_stage
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dispatch.notifier import CallRequest, NotificationError, TextRequest
from dispatch.twilio_notifier import ROOT, TwilioNotifier
from service.app import start_logging
from service.workflows import arrivals, faces, readings, sending, ticking
from service.workflows.people import Care

NAME, CONTACT, STAFF = "남궁비밀순", "독고은밀", "제갈관제"
ADDRESS, DOOR, NOTE = "부산 숨은로 4321길 98", "열쇠는 보라색화분", "극비로 적은 메모 한 줄"
PHONE, CONTACT_PHONE = "+821098761234", "+821087654321"
LOGIN, PASSWORD, WRONG = "hidden-dispatcher", "parole-hidden-9431", "wrong-parole-5577"
REFERENCE, PLACE = "접수번호 7788-9900", "비밀의방"
HEART_RATE, SPO2, SKIN = 137.2613, 88.76561, 33.49217
TEXTS = (NAME, CONTACT, STAFF, ADDRESS, DOOR, NOTE, LOGIN, PASSWORD, WRONG, REFERENCE, PLACE)
PHONES = (PHONE, CONTACT_PHONE)
NUMBERS = (HEART_RATE, SPO2, SKIN)


def text_forms(text: str) -> list[bytes]:
    spellings = {text, quote(text), quote_plus(text), quote(text, safe=""), json.dumps(text)[1:-1]}
    return [one.encode(code) for one in spellings for code in ("utf-8", "utf-16-le", "utf-16-be")]


def needles(secrets: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Everything to look for, in every form in which it might lie about."""
    found = {text: text_forms(text) for text in (*TEXTS, *secrets)}
    for phone in PHONES:
        found[phone] = [form for way in (phone, phone[1:], "0" + phone[3:]) for form in text_forms(way)]
    for number in NUMBERS:
        # Four bytes alone lie by chance in what is sealed: forty equal readings would lie side by side.
        packed = [struct.pack(order, number) for order in ("<d", ">d")]
        packed += [struct.pack(order, number, number) for order in ("<2f", ">2f")]
        found[str(number)] = text_forms(str(number)) + packed
    return found


def hits(hay: bytes, wanted: dict[str, list[bytes]]) -> list[str]:
    return sorted(what for what, forms in wanted.items() if any(form in hay for form in forms))


class Keeping(logging.Handler):
    """Keeps every line as it would be printed, with its trace."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def logged() -> Iterator[Keeping]:
    """Everything that is logged at DEBUG with our own logging set up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quieted = ("twilio", "urllib3", "werkzeug", "sqlalchemy", "alembic")
    levels = {name: logging.getLogger(name).level for name in quieted}
    kept = Keeping()
    yield kept
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)


class Story:
    """Something of everything that happens, with all refusals kept."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.refusals: list[bytes] = []
        self.secrets: tuple[str, ...] = ()

    def tell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.people()
        self.readings()
        self.calls()
        self.board()
        self.slips(monkeypatch)

    def keep(self, answer: TestResponse) -> TestResponse:
        if answer.status_code >= 400:
            self.refusals.append(answer.data + str(answer.headers).encode())
        return answer

    def people(self) -> None:
        stage = self.stage
        care = Care(birth_year=1941, address=ADDRESS, access_note=DOOR)
        self.patient_id = stage.patient(NAME, phone=PHONE, care=care)
        stage.person("caregiver", name=CONTACT, phone=CONTACT_PHONE, patient_id=self.patient_id)
        stage.person("dispatcher", name=STAFF, login=LOGIN, password=PASSWORD)
        self.band = stage.band(self.patient_id, alg="hmac-sha256")
        self.key = stage.key("incidents:read", "incidents:write", "patients:read")
        assert isinstance(self.band.key, bytes)
        self.secrets = (self.band.key.hex(), self.key["Authorization"].removeprefix("Bearer "))

    def readings(self) -> None:
        band, at = self.band, self.stage.clock()
        rows: list[dict[str, Any]] = [
            {"heart_rate_bpm": HEART_RATE, "spo2_pct": SPO2, "skin_temperature_c": SKIN} for _ in range(40)
        ]
        for _ in range(3):
            self.stage.clock.advance(60)
            assert band.post(band.upload(*rows, at=self.stage.clock())).status_code == 200
        odd = {"heart_rate_bpm": HEART_RATE * 1000, "event": "motion", "place": PLACE}
        upload = band.upload(odd, {"event": "sos"}, {"heart_rate_bpm": HEART_RATE}, at=at)
        assert band.post(upload).status_code == 200
        self.keep(band.post(upload | {"sent_at": None}))
        self.keep(band.send(json.dumps(upload).encode()[:-9]))
        self.keep(band.post(upload | {"readings": HEART_RATE}))
        self.keep(band.post({"upload_id": NAME, "boot_id": HEART_RATE}))

    def calls(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            self.carry(pool)
            place, text = self.stage.carrier.place_call, self.stage.carrier.send_text
            self.stage.carrier.place_call = self.stage.carrier.send_text = raising(  # type: ignore[method-assign,assignment]
                NotificationError, "no", permanent=True
            )
            self.stage.clock.advance(90)
            self.carry(pool)
            self.stage.carrier.place_call, self.stage.carrier.send_text = place, text  # type: ignore[method-assign]
            self.stage.clock.advance(90)
            self.carry(pool)
        assert {call.to for call in self.stage.carrier.calls} >= {CONTACT_PHONE}
        for number, call in enumerate(self.stage.carrier.calls):
            form = {"CallSid": f"CA{number}", "From": PHONE, "To": call.to, "CallStatus": "in-progress"}
            for kind in ("status", "answer"):
                self.keep(self.stage.callback(f"{ROOT}/{kind}/{call.reference}", form))
            self.keep(self.stage.callback(f"{ROOT}/digits/{call.reference}", form | {"Digits": "3"}))
        self.keep(self.stage.callback(f"{ROOT}/incoming", {"CallSid": "CA9", "From": CONTACT_PHONE}))
        self.keep(self.stage.callback(f"{ROOT}/incoming", {"CallSid": "CA9", "From": PHONE}, token="no" * 16))

    def carry(self, pool: ThreadPoolExecutor) -> None:
        for _ in range(3):
            ticking.run_due(self.stage.house)
            wait(sending.send_pending(self.stage.house, "w", pool))
            self.stage.clock.advance(6)

    def board(self) -> None:
        stage = self.stage
        self.keep(stage.client.post("/login", data={"name": LOGIN, "password": WRONG}))
        self.keep(stage.client.post("/login", data={"name": f"{LOGIN}{NAME}", "password": PASSWORD}))
        browser, csrf = stage.logged_in(LOGIN, PASSWORD)
        cookie = browser.get_cookie("ansim_session")
        assert cookie is not None
        self.secrets += (cookie.value,)
        incident = stage.client.get("/v1/incidents", headers=self.key).json["incidents"][0]["id"]
        path = f"/v1/incidents/{incident}"
        say: Callable[[str, dict[str, str]], TestResponse] = lambda action, body: self.keep(  # noqa: E731
            browser.post(f"{path}/{action}", json=body, headers={"X-CSRF-Token": csrf})
        )
        for action, body in (
            ("claim", {}), ("note", {"text": NOTE}), ("note", {"text": NOTE * 500}),
            ("dispatch", {"reference": REFERENCE}), ("progress", {"state": "at_patient"}),
            ("close", {"reason": "true_emergency"}), ("note", {"text": NOTE}),
        ):  # fmt: skip
            say(action, body)
        self.look(browser, incident)

    def look(self, browser: FlaskClient, incident: str) -> None:
        """The pages themselves may tell; that these lookups leave nothing behind is the point."""
        page = browser.get(f"/incidents/{incident}")
        assert NAME in page.text
        for path in ("/board", f"/patients/{self.patient_id}", "/nothing", "/incidents/1"):
            self.keep(browser.get(path))
        person = f"/v1/patients/{self.patient_id}"
        for path in ("status", "observations?vital=heart_rate_bpm", "observations?vital=no"):
            self.keep(self.stage.client.get(f"{person}/{path}", headers=self.key))

    def slips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Errors of our own whose message holds a secret."""
        broken = raising(ValueError, f"{NAME} {HEART_RATE} {PHONE}")
        browser, _ = self.stage.logged_in(LOGIN, PASSWORD)
        with monkeypatch.context() as patched:
            patched.setattr(faces, "board", broken)
            self.keep(browser.get("/board"))
            patched.setattr(readings, "analyse", broken)
            patched.setattr(arrivals, "analyse", broken)
            answer = self.band.post(self.band.upload({"heart_rate_bpm": HEART_RATE}, at=self.stage.clock()))
            assert answer.status_code == 200
            patched.setattr(arrivals, "parse", broken)
            self.keep(self.band.post(self.band.upload({"heart_rate_bpm": HEART_RATE}, at=self.stage.clock())))


def raising(kind: type[Exception], *words: str, **more: Any) -> Callable[..., Any]:
    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise kind(*words, **more)

    return broken


def unreachable_carrier() -> None:
    """The real adapter at an address where nobody listens."""
    notifier = TwilioNotifier("AC" + "0" * 32, TOKEN, "+82515550100", "http://127.0.0.1:9", "http://127.0.0.1:9", 0.5)
    with pytest.raises(NotificationError):
        notifier.place_call(CallRequest(to=PHONE, reference="r", ring_s=5))
    with pytest.raises(NotificationError):
        notifier.send_text(TextRequest(to=PHONE, reference="r", body=f"{NAME} {HEART_RATE}", valid_s=60))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_secret_lies_in_files_logs_or_refusals(
    tmp_path: Path, logged: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(tmp_path, ANSIM_LOG_LEVEL="debug")
    start_logging(stage.house.settings)
    logging.getLogger().addHandler(logged)
    story = Story(stage)
    story.tell(monkeypatch)
    unreachable_carrier()
    wanted = needles(story.secrets)
    held = files(tmp_path)
    assert {"ansim.db", "ansim.db-wal", "keys/keys.db"} <= set(held)
    assert len(held["ansim.db-wal"]) > 100_000
    for name, content in held.items():
        assert not hits(content, wanted), name
    assert len(logged.lines) > 20
    assert any("login_refused" in line for line in logged.lines)
    assert any("detection_failed" in line for line in logged.lines)
    assert any("internal_error" in line and "board" in line for line in logged.lines)
    for line in logged.lines:
        assert not hits(line.encode(), wanted), line
    assert len(story.refusals) > 8
    for body in story.refusals:
        # A log-in form gives back the name just typed into it; a page greets whoever is logged in.
        allowed = {LOGIN, NAME} if b'name="password"' in body else {STAFF} if b"<html" in body else set()
        assert set(hits(body, wanted)) <= allowed, body[:500]
    for table in ("notification", "session", "incident", "incident_log", "receipt", "upload", "device"):
        told = repr(stage.rows(f"SELECT * FROM {table}"))
        assert len(told) > 10, table
        assert not hits(told.encode(), wanted), table
    stage.house.database.dispose()
    for name, content in files(tmp_path).items():
        assert not hits(content, wanted), f"{name} after closing"


def test_the_search_would_find_what_it_looks_for(tmp_path: Path, logged: Keeping) -> None:
    wanted = needles(("a-secret-key",))
    connection = sqlite3.connect(tmp_path / "leak.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE leak (text, number, packed)")
    for text in (*TEXTS, *PHONES, "a-secret-key"):
        connection.execute("INSERT INTO leak VALUES (?, NULL, NULL)", (json.dumps(text),))
    for number in NUMBERS:
        connection.execute("INSERT INTO leak VALUES (NULL, ?, ?)", (number, struct.pack("<2f", number, number)))
    connection.commit()
    found = set(hits(b"".join(files(tmp_path).values()), wanted))
    connection.close()
    assert found == set(wanted)
    logging.getLogger().addHandler(logged)
    logging.getLogger("ansim").warning("slip value=%s name=%s", HEART_RATE, quote(NAME))
    assert set(hits("\n".join(logged.lines).encode(), wanted)) == {NAME, str(HEART_RATE)}


@pytest.mark.postgres
def test_no_secret_lies_in_the_files_of_postgresql(
    tmp_path: Path, postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    url = postgres("secrecy")
    stage = make_stage(tmp_path, ANSIM_DATABASE_URL=url.replace("postgresql://", "postgresql+psycopg://"))
    story = Story(stage)
    story.people()
    story.readings()
    story.calls()
    wanted = needles(story.secrets)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        folder = Path(str(connection.execute("SHOW data_directory").fetchone()[0]))  # type: ignore[index]
    looked = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mtime >= began:
            content = path.read_bytes()
            looked += len(content)
            assert not hits(content, wanted), path.relative_to(folder)
    assert looked > 1_000_000
    stage.house.database.dispose()
