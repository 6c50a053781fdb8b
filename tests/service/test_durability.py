"""Killed at random moments under load, the service loses no reading, no SOS, and rings nobody's case twice."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import requests

from devices.reading import INDEX
from service.app import build_house
from service.config import Settings
from service.store import audit, schema
from service.store import incidents as case_store
from service.store import readings as reading_store
from service.tools import stage
from service.tools.wearable import Wearable
from service.workflows import cases, people, uploads
from service.workflows import devices as device_flow
from service.workflows.house import House
from service.workflows.people import Care, Profile

KILLS = 10
PATIENTS = 10
POSTERS = 4
ROWS = 4
START_MOST_S = 30.0
RUNG_MOST_S = 30.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Worn:
    """One patient's band with everything that it was ever answered."""

    patient_id: UUID
    contact_phone: str
    band: Wearable
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    next_seq: int = 1
    sos_due: threading.Event = field(default_factory=threading.Event)
    sos_posted: bool = False
    answered: list[tuple[bytes, bytes]] = field(default_factory=list)

    def body(self, rng: random.Random) -> bytes:
        now = datetime.now(UTC).isoformat()
        rows: list[dict[str, Any]] = [
            {"seq": self.next_seq + i, "at": now, "heart_rate_bpm": rng.randint(600, 900) / 10} for i in range(ROWS)
        ]
        if self.sos_due.is_set() and not self.sos_posted:
            rows.append({"seq": self.next_seq + ROWS, "at": now, "event": "sos"})
            self.sos_posted = True
        self.next_seq += ROWS + 1
        upload = {"upload_id": str(uuid4()), "boot_id": self.boot_id, "sent_at": now, "readings": rows}
        return json.dumps(upload).encode()

    def post_until_answered(self, body: bytes, give_up_s: float) -> None:
        deadline = time.monotonic() + give_up_s
        while time.monotonic() < deadline:
            try:
                answer = self.band.send(body)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.answered.append((body, answer.content))
                return
            assert answer.status_code == 503, answer.text
        raise AssertionError("an upload was never answered")


class Parts:
    """serve and jobs, each in a process group of its own so that a kill takes its workers along."""

    def __init__(self, environ: dict[str, str], url: str) -> None:
        self._environ, self._url = environ, url
        self._running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str) -> None:
        words = [sys.executable, "-m", "service.cli", name]
        self._running[name] = subprocess.Popen(words, env=self._environ, start_new_session=True, text=True)

    def kill(self, name: str) -> None:
        part = self._running.pop(name)
        os.killpg(part.pid, signal.SIGKILL)
        part.wait()

    def wait_until_serving(self) -> None:
        deadline = time.monotonic() + START_MOST_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self._url}/healthz", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                time.sleep(0.05)
        raise AssertionError("serve did not come back")

    def end(self) -> None:
        for name in list(self._running):
            self.kill(name)


@contextmanager
def loopback(environ: dict[str, str]) -> Iterator[str]:
    parts: list[stage.Part] = []
    try:
        yield stage.start_loopback(parts, environ)
    finally:
        for part in parts:
            part.kill()
            part.wait()
            if part.stdout:
                part.stdout.close()


def seed(house: House, carrier_url: str) -> list[tuple[UUID, str, str]]:
    organisation_id = people.add_organisation(house, "durable")
    made = []
    for number in range(PATIENTS):
        own, contact = f"+8210555010{number:02d}", f"+8210555020{number:02d}"
        patient_id = people.add_patient(
            house, organisation_id, Profile(name=f"P{number}", phones=[own]), Care(), district_code="1", simulated=True
        )
        person = people.add_person(house, organisation_id, Profile(name=f"C{number}", phones=[contact]))
        people.add_role(house, person, organisation_id, "caregiver", patient_id=patient_id)
        plan = {"behaviour": "answer", "digits": ["3"], "delay_s": 1.0}
        requests.put(f"{carrier_url}/_phones/{contact}", json=plan, timeout=5).raise_for_status()
        made.append((patient_id, contact, device_flow.issue_code(house, patient_id)))
    return made


def keep_posting(worn: list[Worn], rng: random.Random, stop: threading.Event, errors: list[str]) -> None:
    try:
        while not stop.is_set():
            for one in worn:
                one.post_until_answered(one.body(rng), START_MOST_S)
        for one in worn:
            if one.sos_due.is_set() and not one.sos_posted:
                one.post_until_answered(one.body(rng), START_MOST_S)
    except AssertionError as error:
        errors.append(str(error))


def test_ten_kills_under_load_lose_nothing_and_double_no_case(tmp_path: Path) -> None:
    chosen = int(os.environ.get("ANSIM_TEST_SEED", secrets.randbelow(2**31)))
    print(f"durability seed: ANSIM_TEST_SEED={chosen}")
    rng = random.Random(chosen)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")}
    environ |= stage.demonstration(tmp_path / "data", stage.free_port()) | {"ANSIM_LOG_LEVEL": "error"}
    with loopback(environ) as carrier_url:
        environ["ANSIM_TWILIO_API_URL"] = carrier_url
        settings = Settings.from_env(environ)
        house = build_house(settings)
        schema.upgrade(house.database)
        seeded = seed(house, carrier_url)
        parts = Parts(environ, settings.public_url)
        try:
            worn = run_and_kill(parts, seeded, settings.public_url, rng)
            check_phones(carrier_url, worn)
            check_replays(worn)
        finally:
            parts.end()
        check_readings(house, worn)
        check_cases(house, worn)
        for engine in (house.database.engine, house.keys._store._engine):
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        house.database.dispose()


def run_and_kill(parts: Parts, seeded: list[tuple[UUID, str, str]], url: str, rng: random.Random) -> list[Worn]:
    parts.start("serve")
    parts.start("jobs")
    parts.wait_until_serving()
    worn = [Worn(patient_id, phone, Wearable.enrol(url, code, "test")) for patient_id, phone, code in seeded]
    stop, errors = threading.Event(), []
    posters = [
        threading.Thread(target=keep_posting, args=(worn[i::POSTERS], random.Random(rng.random()), stop, errors))
        for i in range(POSTERS)
    ]
    for poster in posters:
        poster.start()
    try:
        for number in range(KILLS):
            worn[number % PATIENTS].sos_due.set()
            time.sleep(rng.uniform(0.05, 1.0))
            for name in rng.choice([["serve"], ["jobs"], ["serve", "jobs"]]):
                parts.kill(name)
                parts.start(name)
            parts.wait_until_serving()
    finally:
        stop.set()
        for poster in posters:
            poster.join()
    assert not errors
    assert all(one.answered for one in worn)
    return worn


def check_phones(carrier_url: str, worn: list[Worn]) -> None:
    """Somebody was rung for every SOS."""
    wanted = {one.contact_phone for one in worn if one.sos_posted}
    assert len(wanted) == min(KILLS, PATIENTS)
    deadline = time.monotonic() + RUNG_MOST_S
    while time.monotonic() < deadline:
        rung = {call["to"] for call in requests.get(f"{carrier_url}/_calls", timeout=5).json()}
        if wanted <= rung:
            return
        time.sleep(0.2)
    raise AssertionError(f"never rung: {sorted(wanted - rung)}")


def check_replays(worn: list[Worn]) -> None:
    """Whatever was answered is answered again, byte for byte."""
    for one in worn:
        for body, said in one.answered:
            again = one.band.send(body)
            assert again.status_code == 200, again.text
            assert again.content == said
            assert again.headers["Idempotent-Replayed"] == "true"


def check_readings(house: House, worn: list[Worn]) -> None:
    """Every number with a verdict is stored once, with what was posted."""
    column = INDEX["heart_rate_bpm"]
    for one in worn:
        held: dict[int, float] = {}
        events: list[int] = []
        with house.database.read() as tx:
            rows = reading_store.uploads_between(tx, one.patient_id, LONG_AGO, FAR_AHEAD)
        for row in rows:
            batch = uploads.open_batch(house, row)
            for seq, value in zip(batch.seq.tolist(), batch.values[:, column].tolist(), strict=True):
                assert seq not in held, "stored twice"
                held[seq] = value
            events += [event.seq for event in batch.events]
            assert row.detected_at is not None
        posted: dict[int, float] = {}
        sos: list[int] = []
        for body, said in one.answered:
            for row in json.loads(body)["readings"]:
                if "event" in row:
                    sos.append(row["seq"])
                else:
                    posted[row["seq"]] = row["heart_rate_bpm"]
            assert {verdict["verdict"] for verdict in json.loads(said)["verdicts"]} == {"stored"}
        assert held == posted
        assert events == sos


def check_cases(house: House, worn: list[Worn]) -> None:
    """One case an SOS, going on to a human: held by somebody until a time, or with a next step."""
    for one in worn:
        with house.database.read() as tx:
            rows = case_store.incidents_of(tx, one.patient_id)
            assert len(rows) == (1 if one.sos_posted else 0)
            for row in rows:
                case = cases.open_case(house, row)
                assert [reason.condition.code for reason in case.reasons] == ["sos"]
                held = case.acknowledged and case.deadline_at is not None
                assert held or row.next_step_at is not None or case.close_reason
                check_chain(house, case_store.log(tx, one.patient_id, row.id), row.id)


def check_chain(house: House, lines: Any, incident_id: UUID) -> None:
    """The case's log has every line, in order, chained."""
    previous = incident_id.bytes
    for number, line in enumerate(lines, start=1):
        assert (line.seq, line.previous) == (number, previous)
        stamp = audit.stamp(line.at)
        link = audit.chain(previous, incident_id.bytes, number.to_bytes(8, "big"), stamp, line.sealed)
        assert line.hash == link
        previous = link
        house.unseal(line.patient_id, "incident_log", f"{incident_id}:{number}", line.sealed, cases.Line)
