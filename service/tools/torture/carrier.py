"""The carrier's own log, streamed away before it forgets, and the weather it makes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import requests

from service.tools.torture.town import UNTOLD

NEWEST = 500
"""How many calls one look asks for; looks are so frequent that no call ends unseen."""
LOOK_S = 6.0
REFERENCE = re.compile(r"/(?:answer|digits|status|bridge)/([0-9a-f]{8}-[0-9a-f-]{27})")
TIMEOUT_S = 60.0
TRIES = 4
PAUSE_S = 0.5


@dataclass(frozen=True)
class Placed:
    """One call or text that the carrier took."""

    sid: str
    channel: str
    to: str
    at: datetime
    reference: UUID | None
    """Whose message it was, as our own callback address says it."""
    pressed: tuple[str, ...] = ()
    wrong_ear: bool = False
    """A name or address was said although no key had been pressed, or was written in a text."""


@dataclass
class Carrier:
    """The loopback telephone network, seen from outside."""

    url: str
    placed: dict[str, Placed] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    """What the carrier met at our callback doors, by status."""
    _session: requests.Session = field(default_factory=requests.Session)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._session.trust_env = False

    def configure(self, wish: Mapping[str, Any]) -> None:
        self._put("_network", wish)

    def set_phone(self, number: str, plan: Mapping[str, Any]) -> None:
        self._put(f"_phones/{number}", plan)

    def _put(self, path: str, wish: Mapping[str, Any]) -> None:
        self._ask("PUT", path, json=wish)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """The network survives everything but may be slow: under load it is given time, and asked again."""
        for left in reversed(range(TRIES)):
            try:
                answer = self._session.request(method, f"{self.url}/{path}", timeout=TIMEOUT_S, **more)
                answer.raise_for_status()
                break
            except requests.RequestException:
                if not left:
                    raise
                time.sleep(PAUSE_S)
        return answer.json()

    def idle(self) -> bool:
        return not any(self._ask("GET", "_idle").values())

    def collect(self, *, everything: bool = False) -> None:
        """Keep what has ended since the last look; at last, also what has not."""
        limit = {} if everything else {"limit": NEWEST}
        with self._turn:
            for path, channel in (("_calls", "voice"), ("_messages", "text")):
                for row in self._ask("GET", path, params=limit):
                    if row["sid"] not in self.placed and (everything or _over(row)):
                        self.placed[row["sid"]] = self._read(row, channel)

    def _read(self, row: dict[str, Any], channel: str) -> Placed:
        results = [one["result"] for name in ("callbacks", "requests") for one in row.get(name, [])]
        self.problems.update(str(result) for result in results if result not in {200, 204, "lost"})
        found = REFERENCE.search(json.dumps(row))
        return Placed(
            sid=row["sid"],
            channel=channel,
            to=row["to"],
            at=datetime.fromisoformat(row["times"]["created"]),
            reference=UUID(found.group(1)) if found else None,
            pressed=tuple(row.get("pressed", [])),
            wrong_ear=_wrong_ear(row),
        )


def _over(row: dict[str, Any]) -> bool:
    """Whether all is said: it has ended, and a callback that names our message was tried (or lost)."""
    ended = "ended" in row["times"] or row["status"] in {"delivered", "undelivered", "failed"}
    return ended and bool(row["callbacks"])


def _wrong_ear(row: dict[str, Any]) -> bool:
    if "body" in row:
        return UNTOLD in row["body"]
    first_key = min(row["pressed_at"], default="9999")
    return any(UNTOLD in one["text"] and one["at"] < first_key for one in row["said"])
