"""Reading a copy of the database raw, as damaged as it may be: no keys, no writing, nothing converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.elements import TextClause

from service.store.proof import COVERS, KINDS, TABLES

Raw = Mapping[str, Any]
BATCH = 500


class CopyUnreadable(Exception):
    """There is no database of ours at that address."""


class CopyDamaged(Exception):
    """The database itself cannot be read at some place; ``table`` says in which."""

    def __init__(self, table: str, why: str) -> None:
        super().__init__(f"{table}: {why}")
        self.table, self.why = table, why


class Copy:
    """One copy of the database, inside one reading transaction."""

    def __init__(self, conn: Connection, is_sqlite: bool) -> None:
        self._conn, self._is_sqlite = conn, is_sqlite
        self._statements: dict[str, TextClause] = {}

    def rows(self, name: str, where: str = "", order: str = "", **given: Any) -> list[Raw]:
        """Rows of one table, values as the driver gives them."""
        return list(self.stream(name, where, order, **given))

    def stream(self, name: str, where: str = "", order: str = "", **given: Any) -> Iterator[Raw]:
        columns = _columns(name)
        query = f"SELECT {', '.join(columns)} FROM {name}"  # noqa: S608 - names of our own tables
        query += f" WHERE {where}" if where else ""
        query += f" ORDER BY {order}" if order else ""
        values = {key: self._given(value) for key, value in given.items()}
        try:
            # Made once: reading and comparing a statement costs more than running it.
            if query not in self._statements:
                self._statements[query] = text(query)
            statement = self._statements[query]
            found = self._conn.execution_options(stream_results=not given).execute(statement, values)
            for row in found:
                yield dict(zip(columns, row, strict=True))
        except (SQLAlchemyError, UnicodeError) as error:
            raise CopyDamaged(name, str(getattr(error, "orig", error)).splitlines()[0]) from error

    def _given(self, value: Any) -> Any:
        return value.hex if self._is_sqlite and isinstance(value, UUID) else value

    def site(self, prefix: str) -> dict[str, str]:
        """This installation's published facts whose names begin so."""
        query = text("SELECT name, value FROM site WHERE name LIKE :prefix")
        return {row[0]: row[1] for row in self._conn.execute(query, {"prefix": f"{prefix}%"})}


def _columns(name: str) -> Sequence[str]:
    cover = COVERS.get(name)
    return tuple(KINDS[name]) if cover is None else (*cover.columns, *cover.left_out)


@contextmanager
def open_copy(where: str) -> Iterator[Copy]:
    """A SQLite file, or a PostgreSQL or SQLite address; nothing is ever written to it.

    Raises CopyUnreadable when there is no such database, or none of ours.
    """
    is_file = "://" not in where
    path = Path(where if is_file else where.partition(":///")[2]) if is_file or where.startswith("sqlite") else None
    if path is not None and not path.is_file():
        raise CopyUnreadable(f"--database must be an existing SQLite file or an address, was {where!r}")
    if path is None and not where.startswith("postgresql"):
        scheme = where.partition("://")[0][:20]
        raise CopyUnreadable(f"--database must be a SQLite file or a postgresql:// address, was one of {scheme!r}")
    last: Exception | None = None
    # A copy on a read-only disk has no place for the file that readers share: then it cannot change either.
    for url in [_url(path, more) for more in ("mode=ro", "mode=ro&immutable=1")] if path else [_psycopg(where)]:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        if path:
            event.listen(engine, "connect", _as_it_is)
        try:
            with engine.connect() as conn:
                if not path:
                    conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                there = set(inspect(conn).get_table_names())
                missing = [name for name in TABLES if name not in there]
                if missing:
                    raise CopyUnreadable(f"the database has no table {missing[0]}: give a copy of an Ansim database")
                yield Copy(conn, path is not None)
                return
        except SQLAlchemyError as error:
            last = error
        finally:
            engine.dispose()
    why = str(getattr(last, "orig", last)).splitlines()[0]
    raise CopyUnreadable(f"the database at --database could not be opened ({why})")


def _url(path: Path, more: str) -> str:
    return f"sqlite:///file:{path.absolute()}?{more}&uri=true"


def _psycopg(where: str) -> str:
    return where.replace("postgresql://", "postgresql+psycopg://", 1)


def _as_it_is(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    # A damaged text must be shown, not stumbled over.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    connection.execute("BEGIN")
