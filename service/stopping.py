"""Being told to stop, by SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Protocol

LOOK_S = 0.1


class Stoppable(Protocol):
    """Something that may be told to stop: a `Stop`, or a `threading.Event` that no signal sets."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Stop:
    """Set once SIGTERM or SIGINT has come; made in the main thread, looked at in any.

    No `threading.Event`: a signal that comes while the main thread is about to wait for one finds its lock taken by
    that very thread, and waits for ever; or it is heard only when the wait is over.
    """

    def __init__(self) -> None:
        self._told = False
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True

    def is_set(self) -> bool:
        return self._told

    def wait(self, timeout: float | None = None) -> bool:
        """Return once told, or after so many seconds; whether told."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._told:
            left_s = LOOK_S if until is None else min(LOOK_S, until - time.monotonic())
            if left_s <= 0:
                break
            time.sleep(left_s)
        return self._told
