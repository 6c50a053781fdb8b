"""The agent's offline queue: stored before it is sent, deleted only by a verdict, safe against kill -9."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

SCHEMA = """
create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists items (
    boot_id text not null, seq integer not null, row text not null, urgent integer not null,
    held text, primary key (boot_id, seq)
) without rowid;
create index if not exists items_waiting on items (urgent desc, held);
create table if not exists flight (
    upload_id text primary key, boot_id text not null, urgent integer not null, built_us integer not null,
    body blob not null
) without rowid;
"""


@dataclass(frozen=True, slots=True)
class Flight:
    """An upload that was built and has no answer yet: it is sent again as it is, while it is young."""

    upload_id: str
    boot_id: str
    urgent: bool
    built_us: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued row with the number it keeps until it has a verdict."""

    boot_id: str
    seq: int
    row: dict[str, Any]


class Backlog:
    """Rows waiting for a verdict, the counter that numbers them, and the agent's few lasting facts."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file also holds the device's private key.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        # An SOS must survive the loss of power that follows it.
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        with self._lock, self._db:
            self._db.executescript(SCHEMA)
            if self.fact("boot_id") is None:
                self._new_boot()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def fact(self, key: str) -> str | None:
        """Look up a lasting fact."""
        with self._lock:
            found = self._db.execute("select value from meta where key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def remember(self, key: str, value: str) -> None:
        """Keep a lasting fact."""
        with self._lock, self._db:
            self._remember(key, value)

    @property
    def boot_id(self) -> UUID:
        return UUID(self.fact("boot_id"))

    def new_boot(self) -> None:
        """Begin to count again under a new boot id: what is queued keeps its old one."""
        with self._lock, self._db:
            self._new_boot()

    def put(self, row: dict[str, Any], urgent: bool) -> int:
        """Store a row durably and give the number it got."""
        with self._lock, self._db:
            return self._put(row, urgent)

    def waiting(self, urgent: bool, most: int) -> list[Waiting]:
        """The oldest rows of one boot, urgent ones alone or the others."""
        with self._lock:
            rows = self._db.execute(
                "select boot_id, seq, row from items where urgent = ? and held is null"
                " order by boot_id = (select value from meta where key = 'boot_id'), boot_id, seq limit ?",
                (urgent, most),
            ).fetchall()
        return [Waiting(boot_id, seq, json.loads(row)) for boot_id, seq, row in rows if boot_id == rows[0][0]]

    def size(self) -> int:
        """How many rows have no verdict yet."""
        with self._lock:
            return int(self._db.execute("select count(*) from items").fetchone()[0])

    def launch(self, flight: Flight) -> None:
        """Remember an upload before it is sent; another of the same lane gives way to it."""
        with self._lock, self._db:
            self._db.execute("delete from flight where urgent = ?", (flight.urgent,))
            self._db.execute(
                "insert into flight values (?, ?, ?, ?, ?)",
                (flight.upload_id, flight.boot_id, flight.urgent, flight.built_us, flight.body),
            )

    def flight(self, urgent: bool) -> Flight | None:
        """The upload of this lane that has no answer yet."""
        with self._lock:
            found = self._db.execute(
                "select upload_id, boot_id, urgent, built_us, body from flight where urgent = ?", (urgent,)
            ).fetchone()
        return None if found is None else Flight(found[0], found[1], bool(found[2]), found[3], found[4])

    def abandon(self, flight: Flight) -> None:
        """Forget an upload; its rows stay queued."""
        with self._lock, self._db:
            self._db.execute("delete from flight where upload_id = ?", (flight.upload_id,))

    def settle(self, flight: Flight, runs: Sequence[tuple[int, int]], conflicts: Sequence[int]) -> int:
        """Delete what has a verdict; rows whose number was taken are kept under a new boot id."""
        with self._lock, self._db:
            taken = [
                (json.loads(row), seq)
                for seq in conflicts
                for (row,) in self._db.execute(
                    "select row from items where boot_id = ? and seq = ?", (flight.boot_id, seq)
                ).fetchall()
            ]
            deleted = 0
            for first, last in runs:
                deleted += self._db.execute(
                    "delete from items where boot_id = ? and seq between ? and ?",
                    (flight.boot_id, first, last),
                ).rowcount
            self._db.execute("delete from flight where upload_id = ?", (flight.upload_id,))
            if conflicts and str(self.boot_id) == flight.boot_id:
                self._new_boot()
            for row, _ in taken:
                # An event under a taken number was acted on by the service already.
                if "event" not in row:
                    self._put(row, urgent=False)
        return deleted

    def hold(self, item: Waiting, code: str) -> None:
        """Set a row aside that the service will not even judge, so that it does not block the others."""
        with self._lock, self._db:
            self._db.execute(
                "update items set held = ? where boot_id = ? and seq = ?", (code, item.boot_id, item.seq)
            )

    def _put(self, row: dict[str, Any], urgent: bool) -> int:
        seq = int(self.fact("next_seq") or "0")
        text = json.dumps(row, allow_nan=False, separators=(",", ":"))
        self._db.execute(
            "insert into items (boot_id, seq, row, urgent) values (?, ?, ?, ?)",
            (str(self.boot_id), seq, text, urgent),
        )
        self._remember("next_seq", str(seq + 1))
        return seq

    def _new_boot(self) -> None:
        self._remember("boot_id", str(uuid4()))
        self._remember("next_seq", "1")

    def _remember(self, key: str, value: str) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (key, value))
