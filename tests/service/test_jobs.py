"""The ticker: it goes by a steady clock, and one job's trouble is not another's."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy.exc import OperationalError

from service import jobs as jobs_module
from service.app import build_house
from service.config import Settings
from service.jobs import Jobs
from service.store import schema
from service.tools import stage
from service.workflows import auditing, proof, sending, ticking

SET_BACK = timedelta(hours=1)
WAIT_MOST_S = 15.0


class WallClock(datetime):
    """The machine's clock, once somebody has set it back."""

    set_back = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - cls.set_back


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    house = build_house(Settings.from_env(stage.demonstration(tmp_path, stage.free_port())))
    schema.upgrade(house.database)
    made = Jobs(house)
    yield made
    made.stop()
    house.database.dispose()


def test_jobs_go_on_ticking_when_the_machines_clock_is_set_back_an_hour(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(ticking, "run_due", lambda _house: ticked.set())
    monkeypatch.setattr(WallClock, "set_back", timedelta())
    for name, module in list(sys.modules.items()):
        # Where a scheduler asks for the time; elsewhere it asks whether something is a datetime.
        if name.startswith("apscheduler.schedulers") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", WallClock)
    jobs.start()
    assert ticked.wait(WAIT_MOST_S)
    monkeypatch.setattr(WallClock, "set_back", SET_BACK)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() - SET_BACK.total_seconds())
    for _ in range(3):
        ticked.clear()
        assert ticked.wait(WAIT_MOST_S), "no step was taken any more"


def test_a_job_that_fails_or_hangs_stops_no_other(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, steps, sends = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def fails(_house: object) -> None:
        steps.release()
        raise RuntimeError("one broken case")

    def hangs(*_given: object) -> None:
        sends.release()
        let_go.wait(WAIT_MOST_S)

    monkeypatch.setattr(ticking, "run_due", fails)
    monkeypatch.setattr(sending, "send_pending", hangs)
    jobs.start()
    assert sends.acquire(timeout=WAIT_MOST_S)
    assert all(steps.acquire(timeout=WAIT_MOST_S) for _ in range(3))
    let_go.set()


def test_what_fails_at_every_look_is_not_written_at_every_look(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = threading.Semaphore(0)

    def full(*_given: object) -> None:
        looks.release()
        raise OperationalError("", {}, Exception("database or disk is full"))

    monkeypatch.setattr(jobs_module, "SAID_AGAIN_S", 3600.0)
    monkeypatch.setattr(sending, "send_pending", full)
    jobs.start()
    assert all(looks.acquire(timeout=WAIT_MOST_S) for _ in range(5))
    jobs.stop()
    told = [line.getMessage() for line in caplog.records if "tick_failed" in line.getMessage()]
    assert [line.partition(" where=")[0] for line in told] == ["tick_failed job=outbox why=OperationalError"]


def test_jobs_that_start_while_the_disk_is_full_begin_all_the_same(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(ticking, "run_due", lambda _house: ticked.set())

    def full(_house: object) -> None:
        raise OperationalError("", {}, Exception("database or disk is full"))

    monkeypatch.setattr(ticking, "beat", full)
    jobs.start()
    assert ticked.wait(WAIT_MOST_S)


def test_what_looks_after_open_cases_begins_with_the_jobs_and_not_an_interval_later(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(jobs_module, "SWEEP_S", 3600.0)
    monkeypatch.setattr(auditing, "look", lambda _house: looked.set())
    jobs.start()
    assert looked.wait(WAIT_MOST_S)


def test_the_long_jobs_do_not_keep_the_steps_waiting_by_beginning_at_one_moment(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: dict[str, float] = {}
    done = threading.Event()

    def begins(name: str) -> None:
        began.setdefault(name, time.monotonic())
        if len(began) == 3:
            done.set()

    monkeypatch.setattr(ticking, "check_silence", lambda _house: begins("sweep"))
    monkeypatch.setattr(auditing, "look", lambda _house: begins("audit"))
    monkeypatch.setattr(proof, "sign_closed", lambda _house: begins("proof"))
    jobs.start()
    assert done.wait(WAIT_MOST_S)
    first, second, third = sorted(began.values())
    assert min(second - first, third - second) > 0.2, began
