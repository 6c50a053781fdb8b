"""Commits are shared and durable, events are told in commit order, and both engines hold the same."""

from __future__ import annotations

import fcntl
import multiprocessing
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlmodel import SQLModel

from service.store import incidents as store
from service.store import people as people_store
from service.store import schema
from service.store.committer import Committer
from service.store.database import Database, Tx
from service.workflows.house import new_id

AT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
AT_US = 1_795_309_323_456_789
WRITERS = 8
EACH = 25


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    fresh: Callable[[str], str] = request.getfixturevalue("postgres")
    return fresh("database").replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    schema.upgrade(made)
    yield made
    made.dispose()


def organisation(tx: Tx, name: str, organisation_id: UUID | None = None) -> None:
    people_store.add_organisation(tx, id=organisation_id or new_id(), name=name, created_at=AT)


def names(database: Database) -> set[str]:
    with database.read() as tx:
        return {row[0] for row in tx.conn.exec_driver_sql("SELECT name FROM organisation")}


def together(committer: Committer, works: list[Callable[[Tx], Any]]) -> list[Any]:
    """Run all at once, so that they wait for one another; a result or an error for each."""
    results: list[Any] = [None] * len(works)
    ready = threading.Barrier(len(works))

    def run(i: int) -> None:
        ready.wait()
        try:
            results[i] = committer.run(works[i])
        except (KeyError, IntegrityError) as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_failing_piece_of_work_does_not_harm_its_neighbours(database: Database) -> None:
    taken = new_id()
    with database.write() as tx:
        organisation(tx, "first", taken)

    def slip(tx: Tx) -> None:
        organisation(tx, "half done")
        raise KeyError("a slip")

    def clash(tx: Tx) -> None:
        organisation(tx, "clash", taken)

    def good(number: int) -> Callable[[Tx], int]:
        def work(tx: Tx) -> int:
            organisation(tx, f"good {number}")
            return number

        return work

    works: list[Callable[[Tx], Any]] = [slip, clash, *(good(n) for n in range(14))]
    results = together(Committer(database), works)
    assert isinstance(results[0], KeyError)
    assert isinstance(results[1], IntegrityError)
    assert results[2:] == list(range(14))
    assert names(database) == {"first", *(f"good {n}" for n in range(14))}


def grouped(committer: Committer, works: list[Callable[[Tx], Any]]) -> list[Any]:
    """Run them while whoever may commit is held up, so that they come in groups; a result or an error for each."""
    results: list[Any] = [None] * len(works)
    held, begun, free = [], [], threading.Event()

    def hold(_tx: Tx) -> None:
        held.append(None)
        free.wait(30)

    def run(i: int) -> None:
        begun.append(i)
        try:
            results[i] = committer.run(works[i])
        except Exception as error:  # noqa: BLE001 - what it raised is the result
            results[i] = error

    def be_held() -> None:
        with suppress(OperationalError):
            committer.run(hold)

    holders = [threading.Thread(target=be_held) for _ in range(4)]
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in holders:
        thread.start()
    until(lambda: bool(held))
    time.sleep(0.05)  # on PostgreSQL all four are held up by now, on SQLite the others wait for the first
    for thread in threads:
        thread.start()
    until(lambda: len(begun) == len(works))
    time.sleep(0.05)
    free.set()
    for thread in [*holders, *threads]:
        thread.join()
    return results


def test_what_is_refused_costs_its_neighbours_one_commit_more_and_not_one_each(database: Database) -> None:
    commits: list[Any] = []

    def refused(_tx: Tx) -> None:
        raise KeyError("refused")

    def good(number: int) -> Callable[[Tx], None]:
        return lambda tx: organisation(tx, f"good {number}")

    event.listen(database.engine, "commit", commits.append)
    results = grouped(Committer(database), [refused, *(good(n) for n in range(20))])
    assert isinstance(results[0], KeyError)
    assert names(database) == {f"good {n}" for n in range(20)}
    assert len(commits) <= 12


def test_a_group_is_small_where_others_write_beside_it_and_wait_for_what_it_locks(database: Database) -> None:
    written_in: list[Tx] = []
    results = grouped(Committer(database), [written_in.append] * 40)
    assert results == [None] * 40
    largest = max(Counter(map(id, written_in)).values())
    assert largest <= 4 or database.is_sqlite
    assert largest == 40 or not database.is_sqlite


def test_when_nothing_can_be_written_all_who_wait_are_told_after_one_of_them_was_tried(database: Database) -> None:
    tried: list[None] = []

    def full(_tx: Tx) -> None:
        tried.append(None)
        raise OperationalError("INSERT", {}, Exception("the disk is full"))

    results = grouped(Committer(database), [full] * 40)
    assert all(isinstance(result, OperationalError) for result in results)
    assert len(tried) <= 16


def test_a_key_store_that_is_away_for_one_person_keeps_nobody_else(database: Database) -> None:
    def without_key(_tx: Tx) -> None:
        raise ConnectionError("the key store does not answer")

    works: list[Callable[[Tx], Any]] = [without_key, *(lambda tx, n=n: organisation(tx, f"good {n}") for n in range(9))]
    results = grouped(Committer(database), works)
    assert isinstance(results[0], ConnectionError)
    assert names(database) == {f"good {n}" for n in range(9)}


@pytest.mark.postgres
def test_a_commit_that_has_to_wait_does_not_keep_the_others(postgres: Callable[[str], str]) -> None:
    database = Database(postgres("lanes").replace("postgresql://", "postgresql+psycopg://"))
    schema.upgrade(database)
    committer, begun, freed = Committer(database), threading.Event(), threading.Event()

    def wait(_tx: Tx) -> None:
        begun.set()
        freed.wait(10)

    waits = threading.Thread(target=committer.run, args=(wait,))
    waits.start()
    begun.wait(10)
    committer.run(lambda tx: organisation(tx, "another"))
    assert not freed.is_set() and waits.is_alive()
    assert names(database) == {"another"}
    freed.set()
    waits.join()
    database.dispose()


@pytest.mark.postgres
def test_connections_that_were_cut_while_nobody_used_them_cost_nobody_anything(
    postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres("cut")
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    schema.upgrade(database)
    names(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    later = time.monotonic() + 2
    monkeypatch.setattr("service.store.database.time.monotonic", lambda: later)
    assert names(database) == set()
    Committer(database).run(lambda tx: organisation(tx, "after"))
    assert names(database) == {"after"}
    database.dispose()


def test_what_is_done_for_many_shares_commits_and_one_failure_is_told_when_all_are_done(database: Database) -> None:
    committer, begun, commits = Committer(database), [], []
    event.listen(database.engine, "commit", commits.append)

    def add(number: int) -> None:
        begun.append(number)
        committer.run(lambda tx: made(tx, number))

    def made(tx: Tx, number: int) -> None:
        if number == 0 and len(commits) == 0:
            until(lambda: len(begun) >= 16)  # the others wait for this commit by now, or are about to
        if number == 5:
            raise ValueError("no such piece")
        organisation(tx, f"many {number}")

    with pytest.raises(ValueError, match="no such piece"):
        committer.each(range(16), add)
    assert names(database) == {f"many {number}" for number in range(16) if number != 5}
    committer.each([], add)


def test_whoever_waits_to_write_has_its_turn_before_one_that_writes_again(tmp_path: Path) -> None:
    busy, other = (Database(f"sqlite:///{tmp_path / 'test.db'}") for _ in range(2))
    order: list[str] = []

    def write(database: Database, name: str) -> None:
        with database.write():
            order.append(name)

    with busy.write():
        waits = threading.Thread(target=write, args=(other, "other"))
        waits.start()
        until(lambda: is_held(tmp_path / "test.db.turn"))
    for _ in range(3):
        write(busy, "busy")
    waits.join()
    assert order == ["other", "busy", "busy", "busy"]
    busy.dispose()
    other.dispose()


def is_held(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_what_was_returned_is_seen_by_everybody_at_once(database: Database, url: str) -> None:
    committer = Committer(database)
    for number in range(10):
        committer.run(lambda tx, number=number: organisation(tx, f"n{number}"))
        assert f"n{number}" in raw(url, "SELECT name FROM organisation")


def test_a_failed_commit_tells_no_event(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx.emit("incident", organisation_id=new_id(), at=AT)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Committer(database).run(work)
    with database.read() as tx:
        assert store.last_cursor(tx) == 0
        assert not store.events_after(tx, 0)


def test_a_reader_that_asks_for_what_came_after_never_misses_an_event(url: str, database: Database) -> None:
    """Two processes' worth of writers, with groups, single commits and slow ones in between."""
    other = Database(url)
    committers = [Committer(database), Committer(other)]
    told: list[int] = []
    done = threading.Event()

    def follow() -> None:
        last = 0
        while True:
            ended = done.is_set()
            with database.read() as tx:
                rows = store.events_after(tx, last, most=7)
            for row in rows:
                told.append(row.cursor)
                last = row.cursor
            if ended and not rows:
                return

    def write(number: int) -> None:
        for i in range(EACH):

            def work(tx: Tx, slow: bool = (i + number) % 5 == 0) -> None:
                tx.emit("incident", organisation_id=new_id(), at=AT)
                if slow:
                    time.sleep(0.002)
                tx.emit("condition", organisation_id=new_id(), at=AT)

            if i % 3:
                committers[number % 2].run(work)
            else:
                with (database if number % 2 else other).write() as tx:
                    work(tx)

    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    reader.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    other.dispose()
    assert told == list(range(1, 2 * WRITERS * EACH + 1))


def raw(url: str, sql: str) -> list[Any]:
    """Ask the database with its own driver, past all of our types."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            return [row[0] for row in connection.execute(sql)]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return [row[0] for row in connection.execute(sql)]


def test_times_are_whole_microseconds_in_the_database(database: Database, url: str) -> None:
    with database.write() as tx:
        organisation(tx, "x")
        tx.emit("incident", organisation_id=new_id(), at=AT)
    assert raw(url, "SELECT created_at FROM organisation") == [AT_US]
    assert raw(url, "SELECT at FROM event") == [AT_US]
    with database.read() as tx:
        assert store.events_after(tx, 0)[0].at == AT


def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.read() as tx:
        context = MigrationContext.configure(tx.conn, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    has, wants = schema.revision(database)
    assert has == wants == ScriptDirectory.from_config(schema.config()).get_current_head()


def test_upgrading_again_changes_nothing(database: Database) -> None:
    with database.write() as tx:
        organisation(tx, "kept")
        tx.emit("incident", organisation_id=new_id(), at=AT)
    schema.upgrade(database)
    assert names(database) == {"kept"}
    with database.read() as tx:
        assert store.last_cursor(tx) == 1


def write_nothing(database: Database) -> None:
    """As on a full disk, or in a database that only reads."""
    word = "PRAGMA query_only = ON" if database.is_sqlite else "SET default_transaction_read_only = on"

    @event.listens_for(database.engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.cursor().execute(word)
        connection.commit()


def test_a_service_comes_up_although_nothing_can_be_written_just_now(database: Database, url: str) -> None:
    full = Database(url)
    write_nothing(full)
    schema.upgrade(full)
    with pytest.raises(SQLAlchemyError), full.write() as tx:
        organisation(tx, "no room for it")
    full.dispose()


def upgrade_once(url: str, ready: Any, failures: Any) -> None:
    ready.wait()
    try:
        database = Database(url)
        schema.upgrade(database)
        database.dispose()
    except SQLAlchemyError as error:
        failures.put(repr(error))


def test_several_processes_upgrade_an_empty_database_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, failures = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=upgrade_once, args=(url, ready, failures)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert failures.empty(), failures.get()
    assert raw(url, "SELECT value FROM counter WHERE name = 'event'") == [0]


def test_an_error_of_the_database_does_not_repeat_what_was_to_be_stored(database: Database) -> None:
    taken = new_id()
    with database.write() as tx:
        organisation(tx, "first", taken)
    with pytest.raises(IntegrityError) as caught, database.write() as tx:
        organisation(tx, "순자의 병원", taken)
    assert "순자" not in str(caught.value).partition("\n")[2]
