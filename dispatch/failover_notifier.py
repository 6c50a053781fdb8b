"""Several carriers as one: the first choice first, the next when it cannot, and nobody rung twice without need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from dispatch.notifier import (
    CallRequest,
    CarrierEvent,
    Fault,
    Found,
    NotificationError,
    Notifier,
    Prompt,
    Reach,
    Receipt,
    TextRequest,
)

PATH = "/v1/telephony/"
REST_S = 30.0
"""How long a carrier that failed is passed over at first; doubled each time it fails again (policy)."""
LONGEST_REST_S = 300.0

Take = Callable[[Notifier], Receipt]
Find = Callable[[Notifier], Found]


class Health:
    """Which carriers failed lately. Each process learns for itself; being wrong costs one failed request."""

    def __init__(self, stopwatch: Callable[[], float]) -> None:
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._rests: dict[str, tuple[float, float]] = {}
        """By carrier: how long its rest is, and when it ends."""

    def ill(self, name: str) -> bool:
        """Whether this carrier is passed over now."""
        with self._lock:
            return name in self._rests and self._stopwatch() < self._rests[name][1]

    def failed(self, name: str, at_least_s: float | None = None) -> None:
        """It failed: rest it, twice as long as last time; one that failed while resting rests as long again."""
        with self._lock:
            now = self._stopwatch()
            rest_s, until = self._rests.get(name, (REST_S / 2, now))
            if now >= until:
                rest_s = min(LONGEST_REST_S, rest_s * 2)
            self._rests[name] = (rest_s, now + min(LONGEST_REST_S, max(rest_s, at_least_s or 0.0)))

    def well(self, name: str) -> None:
        with self._lock:
            self._rests.pop(name, None)


class FailoverNotifier:
    """A Notifier made of several, in order of preference.

    ``budget_s`` bounds one send: a further carrier is asked only when ``step_s``, the time-out of one request, still
    fits. A failure after which the carrier may have acted ends the send at once: whoever keeps the outbox looks it up
    first, and by then the carrier that failed is resting and the next one is asked.
    """

    def __init__(
        self,
        carriers: Sequence[Notifier],
        *,
        stopwatch: Callable[[], float],
        budget_s: float,
        step_s: float,
    ) -> None:
        if not carriers:
            raise ValueError("carriers must hold at least one carrier, was empty: name one in ANSIM_CARRIER")
        if budget_s < step_s:
            raise ValueError(f"budget_s must be at least step_s ({step_s:g}), was {budget_s:g}")
        self._carriers = tuple(carriers)
        self._health = Health(stopwatch)
        self._stopwatch = stopwatch
        self._budget_s = budget_s
        self._step_s = step_s
        self.name = ",".join(carrier.name for carrier in carriers)
        self.speaks_up_front = any(carrier.speaks_up_front for carrier in carriers)

    def place_call(self, request: CallRequest) -> Receipt:
        """Start a call by the first carrier that takes it."""
        return self._send(
            "call", self._in_turn(request.to, Reach.VOICE), lambda carrier: carrier.place_call(request)
        )

    def send_text(self, request: TextRequest) -> Receipt:
        """Send a text by the first carrier that takes it."""
        return self._send(
            "text", self._in_turn(request.to, Reach.TEXT), lambda carrier: carrier.send_text(request)
        )

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        """A call that only says something; nobody is harmed when it comes twice."""
        return self._send(
            "call",
            self._in_turn(to, Reach.VOICE),
            lambda carrier: carrier.announce(to, lines, language, ring_s),
            may_double=True,
        )

    def find_call(self, to: str, since: datetime, reference: str) -> Found:
        """The calls that any carrier took; raises when none knows of it and one of them could not be asked."""
        return self._find(self._in_turn(to, Reach.VOICE), lambda carrier: carrier.find_call(to, since, reference))

    def find_text(self, to: str, since: datetime, reference: str, body: str) -> Found:
        """As ``find_call``, for a text of these words."""
        return self._find(
            self._in_turn(to, Reach.TEXT), lambda carrier: carrier.find_text(to, since, reference, body)
        )

    def hang_up(self, call: Receipt) -> bool:
        """By the carrier that took it, ill or not: no other can."""
        return any(carrier.hang_up(call) for carrier in self._carriers if carrier.name == call.provider)

    def events(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str], body: bytes = b""
    ) -> list[CarrierEvent]:
        """Read by the carrier that the path names."""
        name = url.partition(PATH)[2].partition("/")[0]
        for carrier in self._carriers:
            if carrier.name == name:
                return carrier.events(url, headers, form, body)
        raise PermissionError("this carrier is not one of ours")

    def render(self, prompt: Prompt) -> bytes:
        """As the carrier says it that fetches its words; the others had theirs with the request."""
        return next((c for c in self._carriers if not c.speaks_up_front), self._carriers[0]).render(prompt)

    def reach(self, number: str) -> frozenset[Reach]:
        """What any of them can do."""
        return frozenset().union(*(carrier.reach(number) for carrier in self._carriers))

    def ill(self) -> tuple[str, ...]:
        """The carriers that are passed over at present."""
        return tuple(carrier.name for carrier in self._carriers if self._health.ill(carrier.name))

    def _in_turn(self, number: str, way: Reach) -> list[Notifier]:
        """Who reaches this number, the well ones first. Who is ill is still asked when nobody else is left."""
        able = [carrier for carrier in self._carriers if way in carrier.reach(number)]
        return sorted(able or self._carriers, key=lambda carrier: self._health.ill(carrier.name))

    def _send(
        self,
        what: str,
        in_turn: list[Notifier],
        take: Take,
        *,
        may_double: bool = False,
    ) -> Receipt:
        began = self._stopwatch()
        failures: list[NotificationError] = []
        for carrier in in_turn:
            if failures and not self._time_left(began):
                raise _together(what, failures, untried=True)
            try:
                receipt = take(carrier)
            except NotificationError as error:
                self._note(carrier, error)
                if error.permanent and error.fault is Fault.NUMBER:
                    raise
                failures.append(error)
                if error.ambiguous and not may_double:
                    # Only who keeps the outbox can tell whose a call is that was taken after all.
                    raise _together(what, failures, untried=carrier is not in_turn[-1]) from None
            else:
                self._health.well(carrier.name)
                names = tuple(error.provider for error in failures)
                return Receipt(provider=receipt.provider, id=receipt.id, after=names)
        raise _together(what, failures)

    def _time_left(self, began: float) -> bool:
        return self._stopwatch() - began + self._step_s <= self._budget_s

    def _note(self, carrier: Notifier, error: NotificationError) -> None:
        error.provider = carrier.name
        if error.fault in {Fault.CARRIER, Fault.ACCOUNT}:
            self._health.failed(carrier.name, error.retry_after_s)

    def _find(self, in_turn: list[Notifier], find: Find) -> Found:
        failures: list[NotificationError] = []
        perhaps: tuple[Receipt, ...] = ()
        for carrier in in_turn:
            try:
                found = find(carrier)
            except NotificationError as error:
                error.provider = carrier.name
                failures.append(error)
                continue
            if found.sure and found.receipts:
                return found
            perhaps += found.receipts
        if failures and not perhaps:
            raise _together("search", failures, untried=len(failures) < len(in_turn))
        return Found(receipts=perhaps)


def _together(what: str, failures: list[NotificationError], *, untried: bool = False) -> NotificationError:
    """What several carriers' failures come to: hopeless only when every one of them was tried and is."""
    waits = [error.retry_after_s for error in failures if error.retry_after_s is not None]
    said = " ".join(f"{error.provider}={error.code or error.fault.value}" for error in failures)
    ambiguous = any(error.ambiguous for error in failures)
    permanent = not ambiguous and not untried and all(error.permanent for error in failures)
    return NotificationError(
        f"no carrier took the {what}: {said}",
        permanent=permanent,
        ambiguous=ambiguous,
        fault=failures[-1].fault if permanent else Fault.CARRIER,
        code=failures[-1].code,
        retry_after_s=min(waits) if waits and not untried and len(waits) == len(failures) else None,
        elsewhere=untried,
    )
