"""What every use case needs, built once by the composition root and handed down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from dispatch.notifier import Mailer, Notifier, PartnerDesk, Pusher
from service.config import Settings
from service.sealing import KeyRing
from service.store.committer import Committer
from service.store.database import Database

T = TypeVar("T")
DESK = UUID(int=0)
"""Stands for the site-wide fallback desk where a person's id is wanted."""


@dataclass
class House:
    settings: Settings
    database: Database
    keys: KeyRing
    notifier: Notifier
    clock: Callable[[], datetime]
    mailer: Mailer | None = None
    pusher: Pusher | None = None
    partner: PartnerDesk | None = None
    committer: Committer = field(init=False)
    extras: dict[str, Any] = field(default_factory=dict)
    """Per-process helpers that doors keep here, such as the hub of open streams."""

    def demo_logins(self) -> list[dict[str, str]]:
        """Who may be played in a demonstration; empty outside one."""
        path = self.settings.data_dir / "demo-logins.json"
        if not self.settings.demo or not path.exists():
            return []
        return msgspec.json.decode(path.read_bytes(), type=list[dict[str, str]])

    def __post_init__(self) -> None:
        self.committer = Committer(self.database)

    def seal(self, person_id: UUID, table: str, record: str, value: Any) -> bytes:
        """``value`` as msgpack, sealed with this person's key and bound to its row."""
        return self.keys.seal(person_id, table, record, msgspec.msgpack.encode(value))

    def unseal(self, person_id: UUID, table: str, record: str, sealed: bytes, kind: type[T]) -> T:
        """The sealed value as ``kind``; raises SealBroken or KeyErased."""
        return msgspec.msgpack.decode(self.keys.unseal(person_id, table, record, sealed), type=kind)


def new_id() -> UUID:
    """A time-ordered id (UUIDv7)."""
    return uuid7()


def log(event: str, **values: object) -> None:
    """One log line: an event and key=value; identifiers only, never a vital, a name or a number."""
    fields = " ".join(f"{key}={value}" for key, value in values.items())
    logging.getLogger("ansim").info("%s %s", event, fields)


def where(error: BaseException) -> str:
    """The innermost line of ours that an error passed: enough to find it, nothing that it was about."""
    found = "unknown"
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in {"service", "devices", "dispatch"}:
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def warn(event: str, **values: object) -> None:
    """A log line somebody should look at."""
    fields = " ".join(f"{key}={value}" for key, value in values.items())
    logging.getLogger("ansim").warning("%s %s", event, fields)
