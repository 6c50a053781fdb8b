"""Engines, transactions and the committer that groups waiting requests into one durable commit."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, insert, select, update
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.store import spending
from service.store.tables import Counter, Event, table

_READ = "ansim_read"
_RESTS_SINCE = "ansim_rests_since"
_RESTED_S = 1.0
_GROUP_MOST = 64
_AT_A_TIME = 16
_LEADERS = 4
"""How many groups a process commits at a time where the database lets several write."""
_COUNTER, _EVENT = table(Counter), table(Event)
UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeout, ConnectionError)
"""The database (or the key store) is locked, full, read-only or away: nothing is wrong with what it was asked."""
T = TypeVar("T")


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


Many = Callable[[Tx, list[Any], bool], list[Any]]


@dataclass(eq=False)
class _Job(Generic[T]):
    work: Callable[[Tx], T] | None
    key: bytes
    many: Many | None = None
    item: Any = None
    leads: bool = False
    """Its thread commits, for others of its kind too."""
    done: bool = False
    result: Any = None
    error: BaseException | None = None
    woken: threading.Event = field(default_factory=threading.Event)
    """Set once it is done, or once it leads."""

    def over(self) -> None:
        self.done = True
        self.woken.set()

    def run(self, tx: Tx) -> None:
        self.result = self.work(tx) if self.work else _careful(tx, self)


class _Broke(Exception):
    """One piece of a group raised."""

    def __init__(self, job: _Job[Any], error: BaseException) -> None:
        self.job, self.error = job, error


class Committer:
    """Groups the work of waiting threads into one transaction: one fsync serves them all.

    One of them leads and commits for everybody waiting (several do on PostgreSQL); the others sleep until their own
    work is done, or until they lead. Work must be repeatable: when a piece of a group fails, it runs again in a
    transaction of its own, and the others in another group.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Job[Any]] = []
        self._lock = threading.Lock()
        self._free = 1 if database.is_sqlite else _LEADERS

    def run(self, work: Callable[[Tx], Any], *, key: UUID | None = None) -> Any:
        """Run ``work`` in a transaction and return its result once that is durable.

        ``key`` is the patient whose rows are locked; groups lock in key order, so that two of them
        cannot wait for each other.
        """
        return self._wait(_Job(work, key.bytes if key else b""))

    def run_many(self, many: Many, item: Any, *, key: UUID) -> Any:
        """Like `run`, for work that is cheaper together: ``many`` gets the items of its group at once.

        It returns their results in order. When a group fails, each item comes again alone, with True as the
        third argument.
        """
        return self._wait(_Job(None, key.bytes, many, item))

    def each(self, items: Sequence[T], work: Callable[[T], Any]) -> None:
        """Do ``work`` for every item, begun in their order and several at a time: what they commit is grouped.

        What ``work`` raises is raised here, once all are done.
        """
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="each") as pool:
            list(pool.map(work, items))

    def _wait(self, job: _Job[Any]) -> Any:
        with self._lock:
            self._waiting.append(job)
            if self._free:
                self._free -= 1
                job.leads = True
        if not job.leads:
            self._sleep(job)
        if job.leads:
            try:
                while not job.done:
                    self._commit(job)
            finally:
                self._pass_on()
        if job.error is not None:
            raise job.error
        return job.result

    def _sleep(self, job: _Job[Any]) -> None:
        try:
            job.woken.wait()
        except BaseException:  # the process is told to end: nobody may wait for this thread to lead
            with self._lock:
                self._waiting = [one for one in self._waiting if one is not job]
            if job.leads:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Whoever has waited longest leads next; with nobody waiting, whoever comes."""
        with self._lock:
            following = next((job for job in self._waiting if not job.leads), None)
            if following is None:
                self._free += 1
            else:
                following.leads = True
                following.woken.set()

    def _take(self, leader: _Job[Any]) -> list[_Job[Any]]:
        """Its group. Of one kind only: a group locks its patients once through, in the order of their keys."""
        with self._lock:
            others = [job for job in self._waiting if job.many is leader.many and not job.leads]
            group = [leader, *others[: _GROUP_MOST - 1]]
            self._waiting = [job for job in self._waiting if job not in group]
        return sorted(group, key=lambda job: job.key)

    def _commit(self, leader: _Job[Any]) -> None:
        group: list[_Job[Any]] = []
        try:
            with self._database.write() as tx:
                # Taken only now: whoever came while another process was writing shares this commit.
                group = self._take(leader)
                _work(tx, group)
        except _Broke as broke:
            if len(group) == 1 and not _may_pass(broke.error):
                _refuse(group, broke.error)
            else:
                self._without(broke.job, group)
        except BaseException as error:  # noqa: BLE001 - handed to the waiting threads, never swallowed
            self._apart(group or self._take(leader), error)
        else:
            for job in group:
                job.over()

    def _without(self, broken: _Job[Any], group: list[_Job[Any]]) -> None:
        """One piece failed: it runs alone, and the others again, unless there is no writing at all."""
        self._commit_alone(broken)
        others = [job for job in group if job is not broken]
        if isinstance(broken.error, UNAVAILABLE):
            _refuse(others, broken.error)
            return
        with self._lock:
            self._waiting = others + self._waiting

    def _apart(self, group: list[_Job[Any]], error: BaseException) -> None:
        """The commit failed, or what is done for many at once: each alone, until it shows that nothing is written."""
        if len(group) == 1 and group[0].many is None and not _may_pass(error):
            _refuse(group, error)
            return
        for number, job in enumerate(group, start=1):
            self._commit_alone(job)
            if isinstance(job.error, UNAVAILABLE):
                _refuse(group[number:], job.error)
                return

    def _commit_alone(self, job: _Job[Any]) -> None:
        for attempt in range(3):
            try:
                with self._database.write() as tx:
                    job.run(tx)
                job.error = None
                break
            except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, never swallowed
                job.error = error
                if not _may_pass(error) or attempt == 2:
                    break
        job.over()


def _work(tx: Tx, group: list[_Job[Any]]) -> None:
    many = group[0].many
    if many is not None:
        for job, result in zip(group, many(tx, [job.item for job in group], False), strict=True):
            job.result = result
        return
    for job in group:
        try:
            job.run(tx)
        except BaseException as error:
            raise _Broke(job, error) from error


def _refuse(jobs: list[_Job[Any]], error: BaseException) -> None:
    for job in jobs:
        job.error = error
        job.over()


def _careful(tx: Tx, job: _Job[Any]) -> Any:
    assert job.many is not None  # noqa: S101 - a job has work or many
    return job.many(tx, [job.item], True)[0]


def _may_pass(error: BaseException) -> bool:
    """A race with another process (unique key, deadlock, lock): the work, run again, sees the winner."""
    return isinstance(error, IntegrityError | DBAPIError)


def ensure_counter(tx: Tx) -> None:
    """The event counter exists from the first start on."""
    if tx.conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == "event")).first() is None:
        tx.conn.execute(insert(_COUNTER).values(name=bindparam("n"), value=0), {"n": "event"})
