"""Time that only a story moves: one clock for the service and for the loopback telephone network."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from service.loopback import calls, lanes, life, network, server, solapi, texts

MORNING = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""Ten in the morning in Busan."""
Work = Callable[[], None]


class Clock:
    """The service's clock. ``elapsed_s`` never jumps: machines next door have a clock of their own."""

    def __init__(self, start: datetime = MORNING) -> None:
        self._now, self._elapsed_s = start, 0.0
        self.jumped = False

    def __call__(self) -> datetime:
        return self._now

    def elapsed_s(self) -> float:
        return self._elapsed_s

    def move_to(self, at: datetime) -> None:
        """Let time pass; never backwards."""
        if at > self._now:
            self._elapsed_s += (at - self._now).total_seconds()
            self._now = at

    def reach(self, elapsed_s: float) -> None:
        """Round up to a due time: those are floats, the service's clock counts microseconds."""
        self._elapsed_s = max(self._elapsed_s, elapsed_s)

    def jump(self, seconds: float) -> None:
        """Somebody sets our clock: no time passes."""
        self._now += timedelta(seconds=seconds)
        self.jumped = True


class StagedClockwork:
    """The network's clockwork, driven by the story: nothing runs until it is told to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._now: deque[Work] = deque()
        self._later: list[tuple[float, int, Work]] = []
        self._count = itertools.count()

    def soon(self, work: Work) -> None:
        with self._lock:
            self._now.append(work)

    def after(self, delay_s: float, work: Work) -> None:
        with self._lock:
            heapq.heappush(self._later, (self._clock.elapsed_s() + delay_s, next(self._count), work))

    def close(self) -> None:
        with self._lock:
            dropped = [self._now, self._later]
            self._now, self._later = deque(), []
        # Outside the lock: a call that ends here tells of it.
        dropped.clear()

    def due_in_s(self) -> float | None:
        """Seconds until something is to be done; None when nothing is."""
        with self._lock:
            if self._now:
                return 0.0
            return self._later[0][0] - self._clock.elapsed_s() if self._later else None

    def run_due(self) -> int:
        """Do all that is due, one thing after the other. Returns how much that was."""
        done = 0
        while True:
            with self._lock:
                if self._later and self._later[0][0] <= self._clock.elapsed_s() + 1e-6:
                    at_s, _, work = heapq.heappop(self._later)
                    self._clock.reach(at_s)
                    self._now.append(work)
                if not self._now:
                    return done
                work = self._now.popleft()
            work()
            done += 1


def stage_network_time(patch: pytest.MonkeyPatch, clock: Clock) -> StagedClockwork:
    """Put the loopback network on the story's time."""
    clockwork = StagedClockwork(clock)
    patch.setattr(network, "Clockwork", lambda _workers: clockwork)
    patch.setattr(life, "time", SimpleNamespace(monotonic=clock.elapsed_s))
    for module in (calls, lanes, life, network, server, solapi, texts):
        patch.setattr(module, "now", clock)
    return clockwork
