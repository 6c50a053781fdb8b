"""The jobs: a ticker over what is due in our own tables, never the owner of a due time."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor as SchedulerThreads
from apscheduler.schedulers.background import BackgroundScheduler

from service.workflows import readings, sending, ticking
from service.workflows.house import House, log, warn, where

SENDERS = 32
SWEEP_S = 5.0
BEAT_S = 2.0


class Jobs:
    """One process's jobs. Several may run: every claim and step is decided in the database."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="send")
        self._scheduler = BackgroundScheduler(
            executors={"default": SchedulerThreads(4)},
            # Late ticks are one tick, and never dropped: what is due is in the tables.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def start(self) -> None:
        tick_s = self._house.settings.tick_s
        for name, seconds, work in (
            ("steps", tick_s, self._steps),
            ("outbox", tick_s, self._outbox),
            ("sweep", SWEEP_S, self._sweep),
            ("beat", BEAT_S, self._beat),
        ):
            self._scheduler.add_job(self._guarded(name, work), "interval", seconds=seconds, id=name)
        self._scheduler.start()
        self._beat()
        log("jobs_started", worker=self.worker)

    def stop(self) -> None:
        self._scheduler.shutdown(wait=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        log("jobs_stopped", worker=self.worker)

    def run_until_stopped(self) -> None:
        """Tick until SIGTERM or SIGINT."""
        ended = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            ended.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        self.start()
        ended.wait()
        self.stop()

    def _guarded(self, name: str, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the next tick tries again; dying would end all steps
                warn("tick_failed", job=name, why=type(error).__name__, where=where(error))

        return run

    def _steps(self) -> None:
        ticking.run_due(self._house)

    def _outbox(self) -> None:
        sending.send_pending(self._house, self.worker, self._pool)

    def _sweep(self) -> None:
        ticking.check_silence(self._house)
        ticking.look_at_quiet(self._house)
        readings.sweep_undetected(self._house)
        ticking.raise_again(self._house)
        ticking.audit(self._house)

    def _beat(self) -> None:
        ticking.beat(self._house)
