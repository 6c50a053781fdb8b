"""Wrong log-ins wait: a little, longer each time, never for good."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

LONGEST_WAIT_S = 60.0
FORGOTTEN_AFTER = timedelta(minutes=10)
MOST_KEPT = 10_000
"""So many names or addresses are remembered at most: guessing must not fill the memory."""


@dataclass
class _Tries:
    wrong: int
    last: datetime


class Patience:
    """Counts wrong tries by key (a name, an address) in this process.

    After ``free`` wrong tries each further one waits twice as long as the one before, up to a minute. The
    right password after the wait is always let in, so that guessing at a name locks nobody out.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._tries: OrderedDict[bytes, _Tries] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: bytes, now: datetime) -> int:
        """Whole seconds until this key may try again; 0 when it may now."""
        with self._lock:
            tries = self._fresh(key, now)
            if tries is None or tries.wrong < self._free:
                return 0
            pause_s = min(2.0 ** (tries.wrong - self._free), LONGEST_WAIT_S)
            left_s = pause_s - (now - tries.last).total_seconds()
            # A clock that was set back must not make anybody wait for hours.
            return ceil(min(max(left_s, 0.0), LONGEST_WAIT_S))

    def wrong(self, key: bytes, now: datetime) -> None:
        with self._lock:
            tries = self._fresh(key, now)
            self._tries[key] = _Tries((tries.wrong if tries else 0) + 1, now)
            self._tries.move_to_end(key)
            while len(self._tries) > MOST_KEPT:
                self._tries.popitem(last=False)

    def right(self, key: bytes) -> None:
        with self._lock:
            self._tries.pop(key, None)

    def _fresh(self, key: bytes, now: datetime) -> _Tries | None:
        tries = self._tries.get(key)
        if tries is not None and now - tries.last > FORGOTTEN_AFTER:
            del self._tries[key]
            return None
        return tries
