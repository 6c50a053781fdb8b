"""Marks for journeys."""

from __future__ import annotations

import pytest

both_engines = pytest.mark.parametrize(
    "stage", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
"""For the stories that lean on the database: told on SQLite and on PostgreSQL."""
