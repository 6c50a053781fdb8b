"""Bringing a database to this version's tables."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from service.store.database import Database, ensure_counter

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_ONE_AT_A_TIME = 715_517
"""Number of the PostgreSQL advisory lock that keeps two starts from migrating at once."""


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def upgrade(database: Database) -> None:
    """Run what is missing; safe to call at every start, from several processes.

    Where nothing is missing nothing is written: a service comes up although the disk is full or somebody writes.
    """
    if _up_to_date(database):
        return
    with database.write() as tx:
        if not database.is_sqlite:
            tx.conn.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _ONE_AT_A_TIME})
        command.upgrade(config(tx.conn), "head")
        ensure_counter(tx)


def _up_to_date(database: Database) -> bool:
    has, wanted = revision(database)
    return has == wanted


def revision(database: Database) -> tuple[str | None, str | None]:
    """(what the database has, what this version wants)."""
    with database.read() as tx:
        return MigrationContext.configure(tx.conn).get_current_revision(), newest()


def newest() -> str:
    """The last of the migrations, by the number that its file begins with: every start asks, and none is run for it."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
