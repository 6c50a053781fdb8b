"""The machine beside our own figure: what its disk and its neighbours take, so that the two can be told apart."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

import numpy as np

EVERY_S = 0.25
PAGE = b"\0" * 8192
"""What one small commit writes, at least."""
_STAT = Path("/proc/stat")
_STOLEN, _LAST = 7, 8
"""Fields of its first line after the name (proc(5)): stolen; what follows is part of others."""


class Yardstick:
    """Syncs a page of its own every quarter of a second, in the folder of the database."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "yardstick"
        self._took_ms: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="yardstick", daemon=True)

    def __enter__(self) -> Yardstick:
        self._began = _ticks()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def figures(self) -> dict[str, float | None]:
        """How long the disk took to keep one page, and the share of the processors that others took (Linux)."""
        took = self._took_ms
        return {
            "disk_sync_p50_ms": round(float(np.percentile(took, 50)), 1) if took else None,
            "disk_sync_p99_ms": round(float(np.percentile(took, 99)), 1) if took else None,
            "cpu_stolen_share": self._stolen(),
        }

    def _stolen(self) -> float | None:
        if self._began is None or (now := _ticks()) is None:
            return None
        passed = [after - before for before, after in zip(self._began, now, strict=True)]
        return round(passed[_STOLEN] / max(1, sum(passed)), 3)

    def _measure(self) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not self._ended.wait(EVERY_S):
                began = time.perf_counter()
                os.pwrite(handle, PAGE, 0)
                os.fdatasync(handle)
                self._took_ms.append((time.perf_counter() - began) * 1000)
        finally:
            os.close(handle)


def _ticks() -> list[int] | None:
    if not _STAT.exists():
        return None
    return [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1 : _LAST + 1]]
