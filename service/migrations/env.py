"""Alembic's entry: runs the migrations on the connection it is given."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from service.store import tables

assert tables.Upload.metadata is SQLModel.metadata  # noqa: S101 - the tables are registered

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations are run by `ansim init`, which knows the database")
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
