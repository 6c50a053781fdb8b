"""Status callbacks of one call or text: in order, or in whatever disorder its telephone asks for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.loopback.calls import now, stamp
from service.loopback.clockwork import Clockwork
from service.loopback.phones import Callbacks
from service.loopback.webhooks import Answer

LATE_S = 5.0
"""How long after the end of the call late callbacks come."""


@dataclass(frozen=True)
class Callback:
    event: str
    url: str
    method: str
    form: dict[str, str]


class Sends(Protocol):
    """How a provider posts: signed or not, as a form or as JSON, with its own second tries."""

    def send(self, method: str, url: str, form: Mapping[str, str], timeout_s: float) -> list[Answer]:
        """Every answer in order."""


class Lane:
    """Posts one callback at a time, so that only ``reordered`` can change their order."""

    def __init__(
        self,
        clockwork: Clockwork,
        poster: Sends,
        mode: Callbacks,
        late_s: Callable[[], float],
        timeout_s: Callable[[], float],
        record: list[dict[str, Any]],
    ) -> None:
        self._clockwork = clockwork
        self._poster = poster
        self._mode = mode
        self._late_s = late_s
        self._timeout_s = timeout_s
        self._record = record
        self._lock = threading.Lock()
        self._queue: deque[Callback] = deque()
        self._held: list[Callback] = []
        self._posting = False

    @property
    def pending(self) -> int:
        with self._lock:
            return len(self._queue) + len(self._held) + self._posting

    def add(self, callback: Callback) -> None:
        """Take one more."""
        if self._mode is Callbacks.LOST:
            self._note(callback, "lost", 0)
            return
        with self._lock:
            if self._mode in {Callbacks.LATE, Callbacks.REORDERED}:
                self._held.append(callback)
            else:
                self._queue.extend([callback] * (2 if self._mode is Callbacks.TWICE else 1))
        self._go()

    def end(self) -> None:
        """The call or text is over: what was held back may go, in its time."""
        if self._mode is Callbacks.LATE:
            self._clockwork.after(self._late_s(), self._release)
        elif self._mode is Callbacks.REORDERED:
            self._release()

    def _release(self) -> None:
        with self._lock:
            held, self._held = self._held, []
            self._queue.extend(reversed(held) if self._mode is Callbacks.REORDERED else held)
        self._go()

    def _go(self) -> None:
        with self._lock:
            if self._posting or not self._queue:
                return
            self._posting = True
        self._clockwork.soon(self._post_all)

    def _post_all(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._posting = False
                    return
                callback = self._queue.popleft()
            answers = self._poster.send(callback.method, callback.url, callback.form, self._timeout_s())
            for attempt, answer in enumerate(answers, start=1):
                self._note(callback, answer.result, attempt)

    def _note(self, callback: Callback, result: int | str, attempt: int) -> None:
        status = callback.form.get("CallStatus") or callback.form.get("MessageStatus") or callback.form.get("SmsStatus")
        self._record.append(
            {
                "event": callback.event,
                "status": status,
                "sequence": int(callback.form.get("SequenceNumber", "0")),
                "url": callback.url,
                "attempt": attempt,
                "result": result,
                "at": stamp(now()),
            }
        )
