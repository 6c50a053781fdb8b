"""An empty SQLite database with this version's tables: made once a run and copied, for migrating takes its time."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from service.store import schema
from service.store.database import Database


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ansim-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(f"sqlite:///{folder / 'ansim.db'}")
    schema.upgrade(database)
    database.dispose()
    assert not (folder / "ansim.db-wal").exists()
    return folder / "ansim.db"


def put_into(folder: Path) -> None:
    """Where a service with this data folder looks for its database, unless it has one."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "ansim.db").exists():
        shutil.copy(_template(), folder / "ansim.db")
