"""Somebody is rung when Ansim itself stops: the rules on a clock of their own, the seconds with real processes."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from doors_stage import make_stage

from dispatch.notifier import NotificationError, Receipt
from service.app import build_house
from service.store import incidents as incident_store
from service.store import site as site_store
from service.tools import stage, watchdog
from service.tools.load import descendants
from service.tools.watchdog import Fault, Watchdog
from service.workflows import health, watching

DESK, FIRST, SECOND = "+82515550199", "+821055500001", "+821055500002"
WEB = frozenset({Fault.WEB})
WELL: frozenset[Fault] = frozenset()


@dataclass
class Telephones:
    """A carrier that notes whom it was told to ring, and what to say."""

    said: list[tuple[str, str]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    name: str = "noting"

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        if to in self.dead:
            raise NotificationError("no such number", permanent=True)
        self.said.append((to, " ".join(lines)))
        return Receipt(provider=self.name, id=str(len(self.said)))


def dog_with(*numbers: str, language: str = "ko") -> tuple[Watchdog, Telephones]:
    telephones = Telephones()
    dog = Watchdog(telephones, numbers or (DESK,), language)  # type: ignore[arg-type]
    dog.noticed(WELL, 0.0)
    return dog, telephones


def plays(dog: Watchdog, faults: frozenset[Fault], since: float, until: float) -> None:
    at = since
    while at <= until:
        dog.noticed(faults, at)
        at += 5


def test_one_slow_answer_rings_nobody() -> None:
    dog, telephones = dog_with()
    for at in range(0, 300, 10):
        dog.noticed(WEB, at)
        dog.noticed(WELL, at + 5)
    assert telephones.said == []


@pytest.mark.parametrize("fault", list(Fault))
def test_what_is_bad_for_fifteen_seconds_rings_the_desk_with_its_code_word(fault: Fault) -> None:
    dog, telephones = dog_with()
    plays(dog, frozenset({fault}), 5, 15)
    assert telephones.said == []
    dog.noticed(frozenset({fault}), 20)
    assert [to for to, _ in telephones.said] == [DESK]
    assert watchdog.CODE_WORDS[fault][0] in telephones.said[0][1]


def test_the_english_desk_hears_english() -> None:
    dog, telephones = dog_with(language="en")
    plays(dog, WEB, 5, 20)
    assert "Ansim's own service has stopped" in telephones.said[0][1]
    assert "front door" in telephones.said[0][1]


def test_it_rings_everybody_in_turn_and_again_every_two_minutes_until_it_is_well() -> None:
    dog, telephones = dog_with(DESK, FIRST, SECOND)
    plays(dog, WEB, 5, 20 + 125)
    assert [to for to, _ in telephones.said] == [DESK, FIRST, SECOND, DESK]
    plays(dog, WEB, 150, 20 + 245)
    assert [to for to, _ in telephones.said].count(DESK) == 3


def test_with_one_number_it_rings_that_one_every_two_minutes() -> None:
    dog, telephones = dog_with()
    plays(dog, WEB, 5, 20 + 600)
    assert len(telephones.said) == 6


def test_a_number_that_the_carrier_does_not_take_makes_room_for_the_next_at_once() -> None:
    dog, telephones = dog_with(DESK, FIRST)
    telephones.dead = {DESK}
    plays(dog, WEB, 5, 20)
    assert [to for to, _ in telephones.said] == [FIRST]


def test_while_the_carrier_takes_nothing_it_tries_again_every_look() -> None:
    dog, telephones = dog_with(DESK, FIRST)
    telephones.dead = {DESK, FIRST}
    plays(dog, WEB, 5, 60)
    telephones.dead = set()
    dog.noticed(WEB, 65)
    assert [to for to, _ in telephones.said] == [DESK]


def test_when_it_is_well_again_it_says_so_once_to_those_it_rang() -> None:
    dog, telephones = dog_with(DESK, FIRST)
    plays(dog, WEB, 5, 50)
    rung = [to for to, _ in telephones.said]
    assert rung == [DESK, FIRST]
    plays(dog, WELL, 55, 300)
    assert [to for to, text in telephones.said if "다시 돌아갑니다" in text] == rung
    plays(dog, WEB, 305, 320)
    assert telephones.said[-1][0] == DESK, "the next outage begins with the desk again"


def test_started_together_with_the_service_it_gives_it_time_to_start() -> None:
    telephones = Telephones()
    dog = Watchdog(telephones, (DESK,), "ko")  # type: ignore[arg-type]
    plays(dog, WEB, 0, 29)
    assert telephones.said == []
    plays(dog, WEB, 30, 35)
    assert len(telephones.said) == 1


def test_a_fault_that_changes_its_face_is_still_rung_for_in_time() -> None:
    """The jobs die and then the door too: the patience of the first counts."""
    dog, telephones = dog_with()
    plays(dog, frozenset({Fault.JOBS}), 5, 10)
    plays(dog, frozenset({Fault.JOBS, Fault.WEB}), 15, 20)
    assert len(telephones.said) == 1


def test_a_slip_of_its_own_does_not_stop_its_looking() -> None:
    dog, _ = dog_with()
    dog.every_s = 0.01
    ended, looks = threading.Event(), [0]

    def look() -> frozenset[Fault]:
        looks[0] += 1
        if looks[0] == 4:
            ended.set()
        raise ValueError("a slip")

    watchdog.watch(dog, look, ended, beat=lambda: None)
    assert looks[0] == 4


def test_no_word_of_it_names_anybody_or_anything_medical() -> None:
    for language in ("ko", "en"):
        assert set(watchdog.WORDS) == set(watchdog.WELL_AGAIN) == {"ko", "en"}
        assert all(len(line) < 120 for line in watchdog.WORDS[language])
    assert set(watchdog.CODE_WORDS) == set(Fault)


# The service notices who looks


def test_the_service_says_when_no_watchdog_looks(tmp_path: Path) -> None:
    made = make_stage(tmp_path)
    assert "ansim watchdog" in health.details(made.house)["watchdog"]
    made.client.get("/readyz", headers={watching.HEADER: "4711-abc; DROP"})
    _until(lambda: watching.looks(made.house))
    with made.house.database.read() as tx:
        row = site_store.fact(tx, watching.BEAT)
    assert row is not None
    assert row.value == "4711-abcDROP"
    assert health.details(made.house)["watchdog"] == "ok"
    made.clock.advance(61)
    assert "ansim watchdog" in health.details(made.house)["watchdog"]
    assert not watching.looks(made.house)


# With real processes


class Played:
    """A service of its own, its telephones and its watchdog, all of them processes."""

    def __init__(self, own: stage.Stage, parts: list[stage.Part], environ: dict[str, str]) -> None:
        self.own, self.parts, self.environ = own, parts, environ
        self.carrier_url = environ["ANSIM_TWILIO_API_URL"]
        self.running = dict(zip(("loopback", "serve", "jobs"), own.parts, strict=True))

    def said(self) -> list[dict[str, Any]]:
        calls = requests.get(f"{self.carrier_url}/_calls", timeout=5).json()
        return [one for one in (calls["calls"] if isinstance(calls, dict) else calls) if one["to"] == stage.DESK_PHONE]

    def kill(self, *names: str, by: signal.Signals = signal.SIGKILL) -> None:
        for name in names:
            part = self.running[name]
            for pid in (part.pid, *descendants(part.pid)):
                os.kill(pid, by)
            if by is signal.SIGKILL:
                part.wait(10)

    def start(self, *names: str) -> None:
        for name in names:
            self.running[name] = stage.start(self.environ, name)
            self.parts.append(self.running[name])

    def rings_within(self, seconds: float, count: int) -> float:
        """Seconds until somebody is rung once more than ``count`` times."""
        begun = time.monotonic()
        _until(lambda: len(self.said()) > count, seconds)
        return time.monotonic() - begun


def _until(so: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not so():
        assert time.monotonic() < deadline, f"not so within {within_s:.0f} s"
        time.sleep(0.05)


EVERY_S = 0.5
MOST_S = 60 - 3 * (5 - EVERY_S)
"""What is left of a minute for a watchdog that looks ten times as often."""


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    env = {"ANSIM_WATCHDOG_EVERY_S": str(EVERY_S), "ANSIM_DESK_LANGUAGE": "en", "ANSIM_LOG_LEVEL": "error"}
    with stage.own_service(extra=env) as own, stage.stopped_politely() as parts:
        settings = own.settings
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")} | env
        environ |= {
            "ANSIM_DEMO": "yes",
            "ANSIM_DATA_DIR": str(settings.data_dir),
            "ANSIM_PORT": str(settings.port),
            "ANSIM_TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
            "ANSIM_TWILIO_AUTH_TOKEN": settings.twilio_auth_token,
            "ANSIM_TWILIO_FROM": settings.twilio_from,
            "ANSIM_TWILIO_API_URL": settings.twilio_api_url,
            "ANSIM_FALLBACK_NUMBER": settings.fallback_number,
        }
        assert settings.kek is not None
        environ["ANSIM_KEK"] = base64.b64encode(settings.kek).decode()
        phone = {"behaviour": "answer", "digits": [""], "delay_s": 0}
        requests.put(f"{environ['ANSIM_TWILIO_API_URL']}/_phones/{stage.DESK_PHONE}", json=phone, timeout=5)
        parts.append(stage.start(environ, "watchdog"))
        one = Played(own, parts, environ)
        _until(lambda: requests.get(f"{own.url}/readyz", timeout=5).json()["details"]["watchdog"] == "ok", 120)
        yield one


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("names", "by"),
    [
        (("serve",), signal.SIGKILL),
        (("jobs",), signal.SIGKILL),
        (("serve", "jobs"), signal.SIGKILL),
        (("jobs",), signal.SIGSTOP),
        (("serve",), signal.SIGSTOP),
    ],
    ids=["web killed", "jobs killed", "both killed", "jobs frozen", "web frozen"],
)
def test_a_human_is_rung_within_a_minute_when_a_part_dies_and_told_when_it_is_well(
    played: Played, names: tuple[str, ...], by: signal.Signals
) -> None:
    before = len(played.said())
    played.kill(*names, by=by)
    print(f"{played.rings_within(MOST_S, before):.1f} s from death to ringing")
    if by is signal.SIGSTOP:
        played.kill(*names, by=signal.SIGCONT)
    else:
        played.start(*names)
    played.rings_within(120, before + 1)
    time.sleep(3 * EVERY_S)
    assert len(played.said()) == before + 2, "one call, and one that says that it is well again"


@pytest.mark.timeout(400)
def test_a_human_is_rung_when_a_step_is_over_ten_seconds_late_although_the_jobs_beat(played: Played) -> None:
    before = len(played.said())
    played.kill("jobs")
    house = build_house(played.own.settings)
    ended = threading.Event()

    def beats() -> None:
        while not ended.wait(0.5):
            with house.database.write() as tx:
                site_store.put(tx, "jobs_beat", "", datetime.now(UTC))

    with house.database.write() as tx:
        site_store.put(tx, "jobs_beat", "", datetime.now(UTC))
    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        with house.database.write() as tx:
            _a_late_step(tx, datetime.now(UTC) - timedelta(seconds=8))
        assert played.rings_within(MOST_S, before) > 1.5, "eight seconds late is not yet late"
        with house.database.write() as tx:
            tx.conn.exec_driver_sql("delete from incident")
        played.rings_within(120, before + 1)
    finally:
        ended.set()
        thread.join()
        house.database.dispose()
        played.start("jobs")


def _a_late_step(tx: Any, due: datetime) -> None:
    """A case whose next step nobody takes; nothing else of it matters to the watchdog."""
    incident_store.add_incident(
        tx, patient_id=UUID(int=1), id=UUID(int=2), organisation_id=UUID(int=3), district_code="26350",
        is_simulated=True, state="confirmed", priority="high", technical=False, acknowledged=False, owner_id=None,
        opened_at=due, next_step_at=due, closed_at=None, version=1, sealed=b"",
    )  # fmt: skip
