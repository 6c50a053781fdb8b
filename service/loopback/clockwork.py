"""Time for thousands of calls: one timer thread, a pool for the work, generators that sleep by yielding."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

log = logging.getLogger(__name__)

Steps = Generator[float, None, None]
Work = Callable[[], None]


class Clockwork:
    """Runs work now or later without a thread for each thing that waits."""

    def __init__(self, workers: int = 32) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loopback")
        self._due: list[tuple[float, int, Work]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._timer = threading.Thread(target=self._keep_time, name="loopback-timer", daemon=True)
        self._timer.start()

    def soon(self, work: Work) -> None:
        """Run ``work`` as soon as a worker is free."""
        with self._changed:
            if self._closed:
                return
            self._pool.submit(work).add_done_callback(_confess)

    def after(self, delay_s: float, work: Work) -> None:
        """Run ``work`` in ``delay_s`` real seconds."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._count), work))
            self._changed.notify()

    def close(self) -> None:
        """Forget what was due and stop."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._timer.join(timeout=5)

    def _keep_time(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                work = heapq.heappop(self._due)[2]
            self.soon(work)


class Life:
    """Drives a generator that yields seconds to sleep; between its steps it can be woken or interrupted."""

    def __init__(self, clockwork: Clockwork, steps: Steps) -> None:
        self._clockwork = clockwork
        self._steps = steps
        self._lock = threading.Lock()
        self._sleep = 0
        self._asleep = False
        self._woken = False
        self._interruption: Exception | None = None

    def start(self) -> None:
        """Go on, in this thread, to the first sleep: from there on it may be interrupted."""
        self._run()

    def wake(self) -> None:
        """End the present sleep; what is running now will not sleep before it has looked again."""
        with self._lock:
            self._woken = True
            if not self._asleep:
                return
            self._asleep = False
            self._sleep += 1
        self._clockwork.soon(self._run)

    def interrupt(self, reason: Exception) -> None:
        """Raise ``reason`` inside the generator at its next, or present, sleep."""
        with self._lock:
            self._interruption = reason
        self.wake()

    def _wake_from(self, sleep: int) -> None:
        with self._lock:
            if not self._asleep or sleep != self._sleep:
                return
            self._asleep = False
            self._sleep += 1
        self._run()

    def _run(self) -> None:
        while True:
            with self._lock:
                reason, self._interruption = self._interruption, None
                self._woken = False
            try:
                delay_s = self._steps.throw(reason) if reason else next(self._steps)
            except StopIteration:
                return
            with self._lock:
                if self._woken:
                    continue
                self._asleep = True
                sleep = self._sleep
            self._clockwork.after(delay_s, partial(self._wake_from, sleep))
            return


def _confess(future: Future[None]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None:
        log.error("loopback_work_failed error=%s", type(error).__name__, exc_info=error)
