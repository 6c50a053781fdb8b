"""A hand on the service's clock: what a file says is added to it, in every process at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

HOUR_S = 3600.0


class ClockHand:
    """Moves the service's clock while it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset_s = 0.0
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{offset_s}\n")
        fresh.replace(self._path)
        self.offset_s = offset_s

    def now(self) -> datetime:
        """What the service takes for now."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_s)
