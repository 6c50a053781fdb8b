"""The key store: a database of its own for wrapped keys, so that erasing one erases every old backup too."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from service.config import ConfigError, Settings
from service.setting import KEK_BYTES, parse_kek

SCHEMA_LOCK = 0x416E736D
"""Any constant of our own: PostgreSQL's CREATE TABLE IF NOT EXISTS alone fails when two do it at once."""

metadata = sa.MetaData()
person_key = sa.Table(
    "person_key",
    metadata,
    sa.Column("person_id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.LargeBinary, nullable=False),
    sa.Column("kek_id", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=True),
)
sa.Index(
    "person_key_erased",
    person_key.c.erased_at,
    sqlite_where=person_key.c.erased_at.is_not(None),
    postgresql_where=person_key.c.erased_at.is_not(None),
)
site_key = sa.Table(
    "site_key",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kek_id", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)


class KeyStoreUnreachable(ConnectionError):
    """The key store's database did not answer; trying again later may help."""


class WrappedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A person's data key as stored; ``wrapped`` is None once erased. Times are microseconds UTC."""

    person_id: str
    key_id: bytes
    kek_id: str
    wrapped: bytes | None
    created_at: int
    erased_at: int | None = None


class SiteKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the whole site, such as the one for blind indexes."""

    name: str
    kek_id: str
    wrapped: bytes


class KeyStore:
    """Wrapped keys in SQLite or PostgreSQL; safe to share between threads, open one a process.

    Parameters
    ----------
    url : str
        ``sqlite:///PATH``, ``sqlite://`` (in memory, for tests) or ``postgresql+psycopg://...``. The folder
        of a SQLite file is made with mode 0700; the tables are made when absent, by any number of processes
        at once.

    Raises
    ------
    KeyStoreUnreachable
        When the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": not self._sqlite}
        if self._sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif self._sqlite:
            options |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        self._engine = sa.create_engine(url, hide_parameters=True, **options)
        self._insert = sqlite_insert if self._sqlite else postgresql_insert
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _set_pragmas)
        self._make_tables()

    def _make_tables(self) -> None:
        try:
            with self._engine.begin() as connection:
                if not self._sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
                for table in metadata.sorted_tables:
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        except SQLAlchemyError as error:
            raise KeyStoreUnreachable(f"key store could not be opened: {_reason(error)}") from error

    def add_people(self, keys: Iterable[WrappedKey]) -> None:
        """Store the keys of people who have none yet; whoever came first keeps theirs."""
        rows = [msgspec.structs.asdict(key) for key in keys]
        if rows:
            self._write(self._insert(person_key).on_conflict_do_nothing(), rows)

    def person(self, person_id: str) -> WrappedKey | None:
        """Read one person's key, an erased one too; None if there never was one."""
        row = self._read(sa.select(person_key).where(person_key.c.person_id == person_id))
        return WrappedKey(**row) if row else None

    def erase(self, person_id: str, at_us: int) -> bool:
        """Destroy a person's wrapped key for good; whether there was one to destroy."""
        statement = (
            sa.update(person_key)
            .where(person_key.c.person_id == person_id, person_key.c.erased_at.is_(None))
            .values(wrapped=None, erased_at=at_us)
        )
        erased = self._write(statement) == 1
        if erased:
            self._scrub()
        return erased

    def erasures(self) -> int:
        """How many keys were ever erased: it only grows, so a change means somebody erased one."""
        row = self._read(
            sa.select(sa.func.count().label("n")).where(person_key.c.erased_at.is_not(None))
        )
        return int(row["n"]) if row else 0

    def add_site_key(self, key: SiteKey) -> None:
        """Store a site key unless there is one by that name."""
        self._write(self._insert(site_key).on_conflict_do_nothing(), [msgspec.structs.asdict(key)])

    def site_key(self, name: str) -> SiteKey | None:
        """Read a site key by name."""
        row = self._read(sa.select(site_key).where(site_key.c.name == name))
        return SiteKey(**row) if row else None

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _scrub(self) -> None:
        # The old row would live on in SQLite's log or PostgreSQL's dead tuples. Best effort: a reader in the
        # way delays it until the next checkpoint or vacuum, and the erasure itself is already committed.
        with suppress(SQLAlchemyError), self._engine.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)" if self._sqlite else "VACUUM person_key")

    def _read(self, statement: sa.Select[Any]) -> dict[str, Any] | None:
        try:
            with self._engine.connect() as connection:
                row = connection.execute(statement).mappings().first()
                return dict(row) if row else None
        except SQLAlchemyError as error:
            raise KeyStoreUnreachable(f"key store could not be read: {_reason(error)}") from error

    def _write(self, statement: Any, rows: list[dict[str, Any]] | None = None) -> int:
        try:
            with self._engine.begin() as connection:
                result = connection.execute(statement, rows) if rows else connection.execute(statement)
                return int(result.rowcount)
        except SQLAlchemyError as error:
            raise KeyStoreUnreachable(f"key store could not be written: {_reason(error)}") from error


def _reason(error: SQLAlchemyError) -> str:
    # The driver's own words: SQLAlchemy's text would add the statement.
    return str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout = 10000",
        "journal_mode = WAL",
        "synchronous = FULL",
        # Overwrites erased bytes instead of leaving them on the free list.
        "secure_delete = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def load_or_make_kek(settings: Settings) -> bytes:
    """Give the key-encryption key; only the demo makes its own, in ``{data_dir}/keys/kek`` (mode 0600).

    Parameters
    ----------
    settings : Settings
        ``kek`` (from ANSIM_KEK or ANSIM_KEK_FILE), ``demo`` and ``data_dir`` are read.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    ConfigError
        Outside the demo without a key, or when the demo's file cannot be read or is not a key.
    """
    if settings.kek is not None:
        return settings.kek
    if not settings.demo:
        raise ConfigError(
            "ANSIM_KEK is not set, expected 32 random bytes in base64: make one with "
            "`openssl rand -base64 32`, keep a copy offline, and give it in ANSIM_KEK or ANSIM_KEK_FILE."
        )
    path = settings.data_dir / "keys" / "kek"
    try:
        if not path.exists():
            _write_once(path, secrets.token_bytes(KEK_BYTES))
        return parse_kek(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"ANSIM_DATA_DIR must be a folder that Ansim can write its demo key to, was {settings.data_dir} "
            f"({error}): choose another folder or mend its permissions."
        ) from error


def _write_once(path: Path, key: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".kek-{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and the first of two processes wins.
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
