"""The whole house on one stage: fake time, a real web server, real carrier SDK, loopback telephones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import fresh_database
import pytest
import requests
from journey_people import Band, Console, Home, Person, Phone
from journey_time import Clock, stage_network_time
from journey_watch import Watch
from sqlalchemy import Row, func, select
from werkzeug.serving import make_server

from dispatch.incident import Incident
from service import access
from service.app import build_app, build_house
from service.config import Settings
from service.loopback import LoopbackNetwork, LoopbackServer
from service.loopback.server import _SilentHandler
from service.store import incidents as incident_store
from service.store import people as people_store
from service.store import schema
from service.store.database import Database
from service.store.tables import DetectorState, Device, IncidentRow, Notification, table
from service.tools.wearable import Wearable
from service.workflows import calling_off, cases, people, readings, records, sending, ticking
from service.workflows import devices as device_flow
from service.workflows.people import Care, Profile

SID, TOKEN = "AC" + "1" * 32, "a-token-for-journeys"
OUR_NUMBER, DESK_NUMBER = "+82515550100", "+82515550199"
STEP_S = 180.0
"""No tick is further off than this, so that what has no due time of its own is looked at too."""
HUNG_S = 30.0
_INCIDENT, _OUTBOX, _DEVICE = table(IncidentRow), table(Notification), table(Device)
_STATE = table(DetectorState)


class Stage:
    """Builds everything in this process and plays it on fake time; ``settle`` and ``advance`` are its ticker."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, urls: tuple[str, str] | None, **env: str) -> None:
        self.clock = Clock()
        self.clockwork = stage_network_time(patch, self.clock)
        self.our_number = OUR_NUMBER
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_SilentHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        incoming = f"{self.url}/v1/telephony/twilio/incoming"
        keys = {"solapi_key": "NCS1", "solapi_secret": TOKEN, "solapi_webhook_secret": TOKEN}
        self.network = LoopbackNetwork(SID, TOKEN, voice_url=incoming, **keys)
        self.network.configure({"solapi_report_url": f"{self.url}/v1/telephony/solapi/report"})
        self._carrier = LoopbackServer(self.network).start()
        fresh_database.put_into(folder)
        self.house = build_house(Settings.from_env(self._environ(folder, urls) | env), clock=self.clock)
        if not self.house.database.is_sqlite:
            schema.upgrade(self.house.database)
        self._app = build_app(self.house)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="send")
        self.phones: dict[str, Phone] = {}
        self.organisation_id = people.add_organisation(self.house, "안심 시험 센터")
        self._numbers = 0
        self.mended = 0
        """Cases that the auditor had to put right: none, unless the story set a clock."""
        self.watch = Watch(self)
        self.desk = self.phone(DESK_NUMBER, "관제센터")
        scopes = ("incidents:read", "incidents:write", "patients:read", "devices:write")
        self._key = people.add_service_key(self.house, self.organisation_id, "test machine", scopes)

    def _environ(self, folder: Path, urls: tuple[str, str] | None) -> dict[str, str]:
        databases = {"ANSIM_DATABASE_URL": urls[0], "ANSIM_KEYS_URL": urls[1]} if urls else {}
        return databases | {
            "ANSIM_DATA_DIR": str(folder),
            "ANSIM_DEMO": "yes",
            "ANSIM_PORT": str(self._server.server_port),
            "ANSIM_TWILIO_ACCOUNT_SID": SID,
            "ANSIM_TWILIO_AUTH_TOKEN": TOKEN,
            "ANSIM_TWILIO_FROM": OUR_NUMBER,
            "ANSIM_TWILIO_API_URL": self._carrier.url,
            "ANSIM_SOLAPI_API_KEY": "NCS1",
            "ANSIM_SOLAPI_API_SECRET": TOKEN,
            "ANSIM_SOLAPI_FROM": OUR_NUMBER,
            "ANSIM_SOLAPI_WEBHOOK_SECRET": TOKEN,
            "ANSIM_SOLAPI_API_URL": self._carrier.url,
            "ANSIM_FALLBACK_NUMBER": DESK_NUMBER,
        }

    def _serve(self, environ: Any, start_response: Any) -> Any:
        return self._app(environ, start_response)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(timeout=5)
        self._server.server_close()
        for call in self.network.calls():
            call.life = None  # what a failed test left hanging ends here, not when the interpreter does
        self._carrier.stop()
        self._pool.shutdown(wait=True)
        self.house.database.dispose()

    # Who is there

    def phone(self, number: str, label: str) -> Phone:
        return self.phones.setdefault(number, Phone(self, number, label))

    def _new_number(self) -> str:
        self._numbers += 1
        return f"+8210555{self._numbers:05d}"

    def person(self, name: str, number: str | None = None, **more: Any) -> Person:
        """Anybody with a telephone, whose number was proven to be theirs, unless the story says otherwise."""
        number, verified = number or self._new_number(), more.pop("verified", True)
        profile = Profile(name=name, phones=[number, *more.pop("further_numbers", [])])
        person_id = people.add_person(self.house, self.organisation_id, profile, **more)
        for phone in profile.phones if verified else ():
            with self.house.database.write() as tx:
                index = self.house.keys.blind_index("phone", phone)
                people_store.phone_answered(tx, person_id, index, self.clock())
        return Person(person_id, name, self.phone(number, name))

    def home(
        self,
        *contacts: Person,
        name: str = "김순자",
        address: str = "부산 해운대구 우동 행복빌라 302호",
        band: bool = True,
        language: str = "ko",
        **care: Any,
    ) -> Home:
        """A patient with these contacts; with ``band`` also a wearable, enrolled over HTTP."""
        number = self._new_number()
        known = Care(**({"birth_year": 1944, "address": address} | care))
        profile = Profile(name=name, phones=[number])
        patient_id = people.add_patient(
            self.house, self.organisation_id, profile, known, district_code="26350", language=language, simulated=True
        )
        home = Home(patient_id, name, address, self.phone(number, name), contacts, None)
        for position, contact in enumerate(contacts):
            self.link(contact, home, position)
        self.watch.never_say(name, address)
        for contact in contacts:
            self.watch.never_say(contact.name)
        if band:
            home.band = self.band(home)
        return home

    def another_organisation(self) -> UUID:
        return people.add_organisation(self.house, "다른 센터")

    def link(self, contact: Person, home: Home, position: int = 0) -> None:
        """Make a person a caregiver of somebody."""
        ids = (self.house, contact.id, self.organisation_id, "caregiver")
        people.add_role(*ids, patient_id=home.id, position=position, relation="daughter")

    def band(self, home: Home) -> Band:
        code = device_flow.issue_code(self.house, home.id)
        return Band(self, Wearable.enrol(self.url, code, "test-band"))

    def staff(self, name: str, role: str, login: str = "") -> Console:
        """A dispatcher or operator, logged in."""
        login, profile = login or role, Profile(name=name)
        person_id = people.add_person(self.house, self.organisation_id, profile, login=login, password="a password")
        people.add_role(self.house, person_id, self.organisation_id, role)
        return self.log_in(person_id, login)

    def caregiver(self, name: str, login: str, *homes: Home) -> Console:
        """A caregiver with a session and no telephone."""
        profile = Profile(name=name)
        person_id = people.add_person(self.house, self.organisation_id, profile, login=login, password="a password")
        for home in homes:
            people.add_role(self.house, person_id, self.organisation_id, "caregiver", patient_id=home.id, position=9)
        return self.log_in(person_id, login)

    def log_in(self, person_id: UUID, login: str) -> Console:
        opened = access.log_in(self.house, login, "a password", "127.0.0.1")
        assert opened is not None
        session = requests.Session()
        session.cookies.set("ansim_session", opened[0])
        session.headers["X-CSRF-Token"] = opened[1].csrf
        return Console(person_id, self.url, session)

    def machine(self) -> Console:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self._key}"
        return Console(UUID(int=0), self.url, session)

    # Time

    def settle(self) -> None:
        """Tick until nothing is due at this moment; the test fails with what hangs."""
        deadline = time.monotonic() + HUNG_S
        for _ in range(400):
            moved = ticking.run_due(self.house)
            moved += self._send()
            ticking.check_silence(self.house)
            ticking.look_at_quiet(self.house)
            readings.sweep_undetected(self.house)
            ticking.raise_again(self.house)
            moved += self.clockwork.run_due()
            mended = 0 if moved else ticking.audit(self.house)
            moved, self.mended = moved + mended, self.mended + mended
            if not moved:
                self.watch.look()
                return
            if time.monotonic() > deadline:
                break
        pytest.fail(f"still moving at {self.clock()}: {self.network.idle()}, due: {self._due()}")

    def _send(self) -> int:
        futures = sending.send_pending(self.house, "journey", self._pool)
        done, hanging = wait(futures, timeout=HUNG_S)
        if hanging:
            pytest.fail(f"{len(hanging)} messages hang in the hands of the sender")
        for future in done:
            future.result()
        hung_up = calling_off.hang_up_due(self.house, self._pool)
        for future in hung_up:
            future.result(HUNG_S)
        return len(futures) + len(hung_up)

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever something falls due."""
        until = self.clock() + timedelta(seconds=seconds)
        self.settle()
        while self.clock() < until:
            self.clock.move_to(min(until, self._next_at(), self.clock() + timedelta(seconds=STEP_S)))
            self.settle()

    def advance_until(self, happened: Callable[[], bool], within_s: float = 3600) -> None:
        """Let time pass until something is so; the test fails when it is not in time."""
        until = self.clock() + timedelta(seconds=within_s)
        self.settle()
        while not happened():
            if self.clock() >= until:
                pytest.fail(f"did not happen within {within_s:.0f} s; timeline:\n{self.timeline()}")
            self.clock.move_to(min(until, self._next_at(), self.clock() + timedelta(seconds=STEP_S)))
            self.settle()

    def finish_calls(self, within_s: float = 600) -> None:
        """Let time pass until no call is going on and nothing more comes of those that were."""
        self.advance_until(lambda: not any(self.network.idle().values()), within_s)

    def _next_at(self) -> datetime:
        due = [at for _, at in self._due() if at > self.clock()]
        in_s = self.clockwork.due_in_s()
        if in_s is not None:
            due.append(self.clock() + timedelta(seconds=max(in_s, 0.001)))
        return min(due, default=self.clock() + timedelta(seconds=STEP_S))

    def _due(self) -> list[tuple[str, datetime]]:
        queries = {
            "step": select(func.min(_INCIDENT.c.next_step_at)),
            "outbox": select(func.min(_OUTBOX.c.due_at)).where(_OUTBOX.c.status == "pending"),
            "hanging up": select(func.min(_OUTBOX.c.due_at)).where(_OUTBOX.c.status == "calling_off"),
            "lease": select(func.min(_OUTBOX.c.lease_until)).where(_OUTBOX.c.status == "claimed"),
            "look": select(func.min(_STATE.c.look_at)),
            "silence": select(func.min(_DEVICE.c.silence_due_at)).where(_DEVICE.c.revoked_at.is_(None)),
        }
        with self.house.database.read() as tx:
            found = {name: tx.conn.execute(query).scalar() for name, query in queries.items()}
        return [(name, at) for name, at in found.items() if at is not None]

    # What happened

    def rows(self, query: Any) -> list[Row[Any]]:
        with self.house.database.read() as tx:
            return list(tx.conn.execute(query).all())

    def incidents(self, home: Home) -> list[Row[Any]]:
        """All cases of a patient, oldest first."""
        query = select(_INCIDENT).where(_INCIDENT.c.patient_id == home.id).order_by(_INCIDENT.c.opened_at)
        return self.rows(query)

    def case(self, home: Home) -> Incident:
        """The newest case of a patient, opened."""
        return cases.open_case(self.house, self.incidents(home)[-1])

    def log(self, home: Home) -> list[str]:
        """What the newest case's log says, as codes."""
        with self.house.database.read() as tx:
            row = self.incidents(home)[-1]
            return [line.what for line in records.log_records(self.house, tx, row, "en")]

    def outbox(self, home: Home) -> list[Row[Any]]:
        """Every message of a patient's cases, in order."""
        query = select(_OUTBOX).where(_OUTBOX.c.patient_id == home.id).order_by(_OUTBOX.c.created_at, _OUTBOX.c.id)
        return self.rows(query)

    def asked_beside(self) -> set[str]:
        """The carrier's ids of calls that ask beside an SOS whether it was a mistake."""
        asked = _OUTBOX.c.message == "ask_beside"
        return {row.provider_id for row in self.rows(select(_OUTBOX.c.provider_id).where(asked))}

    def words_of_who_comes(self) -> set[str]:
        """The carrier's ids of calls that tell somebody who asked for help who comes."""
        return {row.provider_id for row in self.rows(select(_OUTBOX.c.provider_id).where(_OUTBOX.c.step == "coming"))}

    def conditions(self, home: Home) -> list[str]:
        """Codes of the conditions that are open."""
        with self.house.database.read() as tx:
            return [row.code for row in incident_store.open_conditions(tx, [home.id])]

    def timeline(self) -> str:
        """Every case's log, worded, for a failing test."""
        lines = []
        with self.house.database.read() as tx:
            for row in tx.conn.execute(select(_INCIDENT)).all():
                lines.append(f"{row.state} {row.priority} next={row.next_step_at}")
                for one in records.log_records(self.house, tx, row, "en"):
                    lines.append(f"  {one.at:%H:%M:%S} {one.what}: {one.text}")
        return "\n".join(lines)

    @property
    def database(self) -> Database:
        return self.house.database


class Lines(logging.Handler):
    """Keeps the service's log lines, so that a test can look for what must not be in them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
