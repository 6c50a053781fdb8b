"""The jobs: a ticker over what is due in our own tables, never the owner of a due time."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor as SchedulerThreads
from apscheduler.schedulers.background import BackgroundScheduler

from service.stopping import Stop
from service.workflows import (
    auditing,
    calling_off,
    desk_test,
    drills,
    gaps,
    handover_partner,
    proof,
    readings,
    sending,
    snoozes,
    ticking,
)
from service.workflows.house import House, log, warn, where

SENDERS = 32
HANGING_UP = 4
OUTBOX_LOOKS = 4
"""How often the outbox is looked at in the time in which everything else is looked at once."""
SWEEP_S = 5.0
SNOOZES_S = 1.0
DESK_S = 30.0
BEAT_S = 2.0
HANDOVER_S = 1.0
JOBS_MOST = 16
SAID_AGAIN_S = 5.0
"""How often the log says that the same look fails at the same place."""
CLOCK_S = 0.5
"""How often the clock is looked at, and by how much it must have been set to matter."""


class Ticker:
    """APScheduler, kept going when the machine's clock is set: it goes by the wall clock.

    Set back an hour, it would run nothing for an hour. So a thread compares that clock with the steady one, and when
    they part every job begins anew.
    """

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            # One thread a job: what hangs or fails holds up nothing else.
            executors={"default": SchedulerThreads(JOBS_MOST)},
            # Late ticks are one tick, and never dropped: what is due is in the tables.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        self._first_s: dict[str, float] = {}
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock", daemon=True)

    def every(self, name: str, seconds: float, work: Callable[[], None], *, first_s: float) -> None:
        """Run ``work`` every so many seconds, for the first time ``first_s`` after the start."""
        self._scheduler.add_job(work, "interval", seconds=seconds, id=name, next_run_time=_in(first_s))
        self._first_s[name] = first_s

    def start(self) -> None:
        self._scheduler.start()
        self._watch.start()

    def stop(self) -> None:
        """Return once what is being done is done."""
        self._ended.set()
        if self._watch.ident is not None:
            self._watch.join()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _watch_clock(self) -> None:
        apart = time.time() - time.monotonic()
        while not self._ended.wait(CLOCK_S):
            now = time.time() - time.monotonic()
            if abs(now - apart) < CLOCK_S:
                continue
            warn("clock_was_set", by_s=round(now - apart))
            apart = now
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=_in(self._first_s[job.id]))


def _in(seconds: float) -> datetime:
    return datetime.fromtimestamp(time.time() + seconds, UTC)


class Jobs:
    """One process's jobs. Several may run: every claim and step is decided in the database."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="send")
        # Apart from the senders: hanging up never keeps a call from going out.
        self._hanging_up = ThreadPoolExecutor(HANGING_UP, thread_name_prefix="hang-up")
        self._ticker = Ticker()

    def start(self) -> None:
        tick_s = self._house.settings.tick_s
        # First what looks after people whose case is open, or should be: never later for a process that keeps ending.
        # The long ones one after another: at one moment they would keep the steps waiting.
        for name, seconds, first_s, work in (
            ("steps", tick_s, 0.0, self._steps),
            # Whoever is to be told first waits for this look alone.
            ("outbox", tick_s / OUTBOX_LOOKS, 0.0, self._outbox),
            ("calling_off", tick_s, 0.0, self._calling_off),
            ("sweep", SWEEP_S, 0.0, self._sweep),
            ("audit", SWEEP_S, 0.3, self._audit),
            ("handover", HANDOVER_S, 0.4, self._handover),
            ("snoozes", SNOOZES_S, 0.6, self._snoozes),
            ("proof", SWEEP_S, 1.8, self._proof),
            ("beat", BEAT_S, BEAT_S, self._beat),
            ("gaps", SWEEP_S, 2.8, self._gaps),
            ("drills", SWEEP_S, 3.8, self._drills),
            ("desk", DESK_S, 4.4, self._desk),
        ):
            self._ticker.every(name, seconds, self._guarded(name, work), first_s=first_s)
        self._ticker.start()
        # At once, for whoever watches; a disk that is full now may have room at the next beat.
        self._guarded("beat", self._beat)()
        log("jobs_started", worker=self.worker)

    def stop(self) -> None:
        self._ticker.stop()
        for pool in (self._pool, self._hanging_up):
            pool.shutdown(wait=True, cancel_futures=True)
        log("jobs_stopped", worker=self.worker)

    def run_until_stopped(self) -> None:
        """Tick until SIGTERM or SIGINT."""
        told = Stop()
        self.start()
        told.wait()
        self.stop()

    def _guarded(self, name: str, work: Callable[[], None]) -> Callable[[], None]:
        told: dict[str, float] = {}

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the next tick tries again; dying would end all steps
                place, now = where(error), time.monotonic()
                # What fails at every look is not written at every look: a full disk has no room for that.
                if now - told.get(place, -SAID_AGAIN_S) >= SAID_AGAIN_S:
                    told[place] = now
                    warn("tick_failed", job=name, why=type(error).__name__, where=place)

        return run

    def _steps(self) -> None:
        ticking.run_due(self._house)

    def _outbox(self) -> None:
        sending.send_pending(self._house, self.worker, self._pool)

    def _calling_off(self) -> None:
        wait(calling_off.hang_up_due(self._house, self._hanging_up))

    def _sweep(self) -> None:
        ticking.check_silence(self._house)
        ticking.look_at_quiet(self._house)
        readings.sweep_undetected(self._house)
        ticking.raise_again(self._house)

    def _snoozes(self) -> None:
        snoozes.sweep(self._house)

    def _gaps(self) -> None:
        gaps.look_at_all(self._house)

    def _audit(self) -> None:
        auditing.look(self._house)

    def _drills(self) -> None:
        drills.tick(self._house)

    def _desk(self) -> None:
        desk_test.tick(self._house)

    def _proof(self) -> None:
        proof.sign_closed(self._house)

    def _handover(self) -> None:
        handover_partner.post_waiting(self._house)

    def _beat(self) -> None:
        ticking.beat(self._house)
