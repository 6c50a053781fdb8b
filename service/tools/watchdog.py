"""A process of its own that rings a human when Ansim itself has stopped; it needs neither database nor jobs."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
import requests

from dispatch.notifier import NotificationError, Notifier
from service import adapters
from service.config import Settings
from service.stopping import Stop, Stoppable
from service.tools.doctor import NotReady
from service.workflows.house import log, warn
from service.workflows.watching import HEADER

BAD_LOOKS = 3
"""Policy: one slow answer is no outage. With a look every 5 s somebody is rung within 35 s, the jobs' 10 s included."""
LATE_S = 10.0
AGAIN_S = 120.0
NEXT_S = 30.0
"""How long one number has before the next is rung."""
RETRY_S = 5.0
"""When no number could be rung at all."""
START_S = 30.0
"""Started together with the service, it waits so long for the first good look."""
CONNECT_S, READ_S = 2.0, 3.0
RING_S = 25
BEAT_FILE = "watchdog.beat"
_OVERDUE = re.compile(r"^ansim_oldest_overdue_step_seconds ([0-9.e+]+)$", re.MULTILINE)


class Fault(StrEnum):
    WEB = "web"
    """The door does not answer."""
    JOBS = "jobs"
    DATABASE = "database"
    KEYS = "keys"
    STEPS = "steps"
    """A step is over 10 s late, or nobody can say."""


WORDS: dict[str, tuple[str, ...]] = {
    "ko": (
        "안심 서비스가 멈췄습니다. 지금은 비상 전화가 나가지 않을 수 있습니다.",
        "운영자에게 바로 알려 주세요. 확인 단어는 {word}입니다.",
    ),
    "en": (
        "Ansim's own service has stopped. Emergency calls may not go out now.",
        "Please tell the operator at once. The code word is: {word}.",
    ),
}
CODE_WORDS: dict[Fault, tuple[str, str]] = {
    Fault.WEB: ("현관", "front door"),
    Fault.JOBS: ("시계", "clock"),
    Fault.DATABASE: ("창고", "storehouse"),
    Fault.KEYS: ("열쇠", "key"),
    Fault.STEPS: ("지각", "late"),
}
"""The runbook's headings: a word that survives a bad line."""
WELL_AGAIN = {
    "ko": ("안심 서비스가 다시 돌아갑니다. 지난 동안의 일을 화면에서 확인해 주세요.",),
    "en": ("Ansim's service is running again. Please check on the board what happened meanwhile.",),
}


class Told(msgspec.Struct):
    """What ``/readyz`` answers."""

    checks: dict[str, str]
    details: dict[str, str] = {}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


@dataclass
class Door:
    """One look at the service over HTTP, with time-outs of its own."""

    url: str
    name: str
    session: requests.Session = field(default_factory=requests.Session)

    def look(self) -> frozenset[Fault]:
        """What is amiss now; empty when all is well."""
        try:
            answer = self._get("/readyz")
            told = msgspec.json.decode(answer.content, type=Told)
        except (requests.RequestException, msgspec.DecodeError):
            return frozenset({Fault.WEB})
        known = {Fault.JOBS, Fault.DATABASE, Fault.KEYS}
        bad = {fault for fault in known if told.checks.get(fault.value) != "ok"}
        if not bad and answer.status_code != 200:
            bad = {Fault.WEB}
        # Without its database the service cannot say how late it is; that it is late then is told already.
        return frozenset(bad) if Fault.DATABASE in bad else frozenset(bad | self._late(told.details))

    def _late(self, details: dict[str, str]) -> set[Fault]:
        """A service that says nothing of it there (an older one) says it in its measurements."""
        if "overdue_s" in details:
            return set() if _number(details["overdue_s"]) <= LATE_S else {Fault.STEPS}
        try:
            answer = self._get("/metrics")
        except requests.RequestException:
            return {Fault.STEPS}
        found = _OVERDUE.search(answer.text) if answer.status_code == 200 else None
        return set() if found is not None and _number(found[1]) <= LATE_S else {Fault.STEPS}

    def _get(self, path: str) -> requests.Response:
        headers = {HEADER: self.name, "Connection": "close"}
        return self.session.get(self.url + path, headers=headers, timeout=(CONNECT_S, READ_S), allow_redirects=False)


@dataclass
class Watchdog:
    """When to ring whom; pure but for the notifier. All state is in memory: a new one starts watching afresh."""

    notifier: Notifier
    numbers: Sequence[str]
    language: str
    every_s: float = 5.0
    started_at: float = 0.0
    since: dict[Fault, float] = field(default_factory=dict)
    """Since when each fault has been seen without a good look between."""
    rung: list[str] = field(default_factory=list)
    """Who was rung for the outage that goes on."""
    seen_well: bool = False
    round_at: float = 0.0
    next_at: float = 0.0
    turn: int = 0

    def noticed(self, faults: frozenset[Fault], now: float) -> None:
        """Take one look into account, and ring if it is time. ``now`` is the steady clock, in seconds."""
        self.since = {fault: self.since.get(fault, now) for fault in faults}
        if not faults:
            self.seen_well = True
            if self.rung:
                self._say_well()
            return
        worst = min(self.since, key=lambda fault: (self.since[fault], list(Fault).index(fault)))
        patience_s = BAD_LOOKS * self.every_s
        if not self.seen_well:
            patience_s = max(patience_s, START_S - (self.since[worst] - self.started_at))
        if now - self.since[worst] >= patience_s and (not self.rung or now >= self.next_at):
            self._ring(worst, now)

    def _ring(self, fault: Fault, now: float) -> None:
        """Ring the next number; one that the carrier does not take makes room for the one after it at once."""
        if not self.rung:
            warn("service_stopped", fault=fault, since_s=round(now - self.since[fault]))
        word = CODE_WORDS[fault][0 if self.language == "ko" else 1]
        lines = tuple(line.format(word=word) for line in WORDS[self.language])
        for _ in self.numbers:
            number, first = self.numbers[self.turn], self.turn == 0
            self.turn = (self.turn + 1) % len(self.numbers)
            if first:
                self.round_at = now
            if self._announce(number, lines):
                self.rung += [] if number in self.rung else [number]
                # The last of a round waits for the next one; never longer than the policy says.
                over = self.turn == 0
                self.next_at = self.round_at + AGAIN_S if over else now + min(NEXT_S, AGAIN_S / len(self.numbers))
                return
        self.next_at = now + RETRY_S

    def _announce(self, number: str, lines: tuple[str, ...]) -> bool:
        try:
            receipt = self.notifier.announce(number, lines, self.language, RING_S)
        except NotificationError as error:
            warn("watchdog_could_not_ring", code=error.code or "none", fault=error.fault)
            return False
        log("watchdog_rang", provider=receipt.provider, call=receipt.id)
        return True

    def _say_well(self) -> None:
        log("service_well_again")
        for number in self.rung:
            self._announce(number, WELL_AGAIN[self.language])
        self.rung, self.turn, self.next_at = [], 0, 0.0


def numbers_of(settings: Settings) -> list[str]:
    """Whom to ring, in turn: the fallback desk, then those named for this."""
    return list(dict.fromkeys(one for one in (settings.fallback_number, *settings.watchdog_numbers) if one))


def run(_given: argparse.Namespace, settings: Settings) -> int:
    """Look until told to stop."""
    numbers = numbers_of(settings)
    if not numbers:
        raise NotReady(
            "ANSIM_FALLBACK_NUMBER and ANSIM_WATCHDOG_NUMBERS are not set, expected at least one telephone: "
            "the watchdog would have nobody to ring."
        )
    notifier = adapters.build_notifier(settings, lambda: datetime.now(UTC))
    dog = Watchdog(
        notifier, numbers, settings.desk_language.value, every_s=settings.watchdog_every_s, started_at=time.monotonic()
    )
    door = Door(settings.watchdog_url, f"{os.getpid()}-{secrets.token_hex(4)}")
    ended = Stop()
    log("watchdog_started", numbers=len(numbers), every_s=settings.watchdog_every_s)
    watch(dog, door.look, ended, beat=lambda: _beat(settings))
    log("watchdog_stopped")
    return 0


def watch(
    dog: Watchdog, look: Callable[[], frozenset[Fault]], ended: Stoppable, beat: Callable[[], None]
) -> None:
    """Look every so often by the steady clock; what goes wrong in here is logged, and looking goes on."""
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        due = max(due + dog.every_s, time.monotonic())
        try:
            faults = look()
            dog.noticed(faults, time.monotonic())
            beat()
        except Exception as error:  # noqa: BLE001 - a watchdog that dies of a slip watches nothing
            warn("watchdog_slipped", why=type(error).__name__)


def _beat(settings: Settings) -> None:
    """A file that a supervisor can look at; where nothing can be written the watching goes on."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / BEAT_FILE).write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
    except OSError as error:
        warn("watchdog_beat_failed", why=type(error).__name__)
