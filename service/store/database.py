"""Engines and transactions."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, insert, select, update
from sqlalchemy.exc import InterfaceError, InternalError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.store import spending
from service.store.tables import Counter, Event, table

_READ = "ansim_read"
_RESTS_SINCE = "ansim_rests_since"
_RESTED_S = 1.0
_COUNTER, _EVENT = table(Counter), table(Event)
AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""The database itself is locked, full, read-only or away: nobody's work can be written."""
UNAVAILABLE = (*AWAY, ConnectionError)
"""The database (or the key store) is locked, full, read-only or away: nothing is wrong with what it was asked."""


@dataclass
class Tx:
    """One transaction. Events it emits get their cursors last, so that cursors follow commit order."""

    conn: Connection
    events: list[dict[str, Any]] = field(default_factory=list)
    spent: dict[tuple[UUID, str, str], tuple[int, int]] = field(default_factory=dict)

    def emit(
        self,
        kind: str,
        *,
        organisation_id: UUID,
        at: datetime,
        patient_id: UUID | None = None,
        incident_id: UUID | None = None,
    ) -> None:
        """Tell the consoles, once this commits."""
        self.events.append(
            {
                "organisation_id": organisation_id,
                "patient_id": patient_id,
                "incident_id": incident_id,
                "kind": kind,
                "at": at,
            }
        )

    def spend(self, organisation_id: UUID, day: str, channel: str, messages: int, cost_micros: int) -> None:
        """Count what messages cost, once this commits."""
        key = (organisation_id, day, channel)
        before = self.spent.get(key, (0, 0))
        self.spent[key] = (before[0] + messages, before[1] + cost_micros)

    def _flush(self) -> None:
        # A day's rows are everybody's: taken last and in one order, nobody waits for them the other way round.
        for key in sorted(self.spent, key=str):
            spending.add(self.conn, *key, *self.spent[key])
        self._flush_events()

    def _flush_events(self) -> None:
        if not self.events:
            return
        # The counter's row stays locked until the commit: a later cursor cannot be seen before an earlier.
        bumped = (
            update(_COUNTER)
            .where(_COUNTER.c.name == "event")
            .values(value=_COUNTER.c.value + len(self.events))
            .returning(_COUNTER.c.value)
        )
        last = self.conn.execute(bumped).scalar_one()
        first = last - len(self.events) + 1
        self.conn.execute(insert(_EVENT), [{**e, "cursor": first + i} for i, e in enumerate(self.events)])


class Database:
    """SQLite (WAL, synchronous FULL) or PostgreSQL behind one face."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        # Parameters stay out of error messages: those end up in logs.
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 20, "hide_parameters": True}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": 30, "check_same_thread": False}
        self.engine: Engine = create_engine(url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
            event.listen(self.engine, "begin", _sqlite_begin)
        else:
            event.listen(self.engine, "checkin", _rests)
            event.listen(self.engine, "checkout", partial(_still_there, self.engine.dialect))
        self._reader = self.engine.execution_options(**{_READ: True})
        self._gate = _Gate(self.engine.url.database if self.is_sqlite else None)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that may write; committed at the end, rolled back on any error."""
        with self._gate, self.engine.connect() as conn, conn.begin():
            tx = Tx(conn)
            yield tx
            tx._flush()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """For reading: a snapshot on SQLite; on PostgreSQL each statement sees what is committed by then."""
        with self._reader.connect() as conn, nullcontext() if self.is_sqlite else _no_transaction(conn), conn.begin():
            yield Tx(conn)

    def dispose(self) -> None:
        self.engine.dispose()
        self._gate.close()


class _Gate:
    """One writer at a time among the processes of a SQLite file, each in its turn; elsewhere always open.

    SQLite itself waits for another writer by sleeping ever longer, and leaves the file idle meanwhile. A lock of the
    system goes to whoever asks next, mostly who has just let it go: so whoever waits for it keeps the others from
    asking.
    """

    def __init__(self, path: str | None) -> None:
        apart = path not in {None, "", ":memory:"}
        self._files = [open(f"{path}.{name}", "ab") for name in ("turn", "writer") if apart]  # noqa: SIM115
        self._inside = threading.Lock()

    def __enter__(self) -> None:
        if self._files:
            turn, writer = self._files
            self._inside.acquire()
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(writer, fcntl.LOCK_EX)
            fcntl.flock(turn, fcntl.LOCK_UN)

    def __exit__(self, *_error: object) -> None:
        if self._files:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)
            self._inside.release()

    def close(self) -> None:
        for file in self._files:
            file.close()


def _sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling would begin late and deferred; we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _sqlite_begin(conn: Connection) -> None:
    conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get(_READ) else "BEGIN IMMEDIATE")


@contextmanager
def _no_transaction(conn: Connection) -> Iterator[None]:
    """Each statement sees what was committed before it all the same, and needs no BEGIN and no ROLLBACK."""
    raw: Any = conn.connection.dbapi_connection
    raw.autocommit = True
    try:
        yield
    finally:
        if not raw.closed:
            raw.autocommit = False


def _rests(_connection: Any, record: Any) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


def _still_there(dialect: Any, connection: Any, record: Any, _proxy: Any) -> None:
    """A connection that has rested may lead to a server that is gone: it is tried before it is used."""
    if time.monotonic() - record.info.get(_RESTS_SINCE, time.monotonic()) < _RESTED_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def ensure_counter(tx: Tx) -> None:
    """The event counter exists from the first start on."""
    if tx.conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == "event")).first() is None:
        tx.conn.execute(insert(_COUNTER).values(name=bindparam("n"), value=0), {"n": "event"})
