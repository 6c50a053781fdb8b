"""Batches made by hand for the tests of detection."""

from __future__ import annotations

import csv
import lzma
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from devices.reading import COLUMNS, INDEX, Batch, Event
from service.detection import Analysis, PersonSettings, analyse

T0 = 1_790_000_000
"""A minute's beginning, seconds since 1970."""
DEFAULT = PersonSettings()
SHARED = Path(__file__).resolve().parents[4] / "shared"
SHORT = {
    "hr": "heart_rate_bpm",
    "pulse": "pulse_rate_bpm",
    "spo2": "spo2_pct",
    "resp": "respiratory_rate_bpm",
    "temp": "temperature_c",
    "sys": "systolic_mmhg",
    "steps": "steps",
    "worn": "worn",
    "battery": "battery_pct",
    "skin": "skin_temperature_c",
}


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def batch(times, first_seq: int = 0, events: list[Event] | None = None, **columns) -> Batch:
    """A batch of rows at `times` (seconds after T0); a column is a number or one value a row."""
    seconds = np.asarray(times, dtype=np.float64)
    at_us = ((T0 + seconds) * 1e6).astype(np.int64)
    values = np.full((seconds.size, len(COLUMNS)), np.nan)
    for name, column in columns.items():
        values[:, INDEX[SHORT[name]]] = column
    seq = np.arange(first_seq, first_seq + seconds.size)
    return Batch(seq=seq, at_us=at_us, device_at_us=at_us.copy(), values=values, events=events or [])


def part(whole: Batch, a: int, b: int) -> Batch:
    """Rows a to b of a batch."""
    return Batch(seq=whole.seq[a:b], at_us=whole.at_us[a:b], device_at_us=whole.device_at_us[a:b],
                 values=whole.values[a:b])  # fmt: skip


class Wearer:
    """One person whose uploads are analysed one after another."""

    def __init__(self, settings: PersonSettings = DEFAULT) -> None:
        self.settings, self.state = settings, None
        self.opened: list = []
        self.ended: list[str] = []

    def post(self, upload: Batch, now_s: float | None = None) -> Analysis:
        if now_s is None:
            now_us = int(upload.at_us.max()) if upload.at_us.size else T0 * 1_000_000
        else:
            now_us = int((T0 + now_s) * 1e6)
        result = analyse([self.state], [upload], [self.settings], now_us)[0]
        self.state = result.state
        self.opened += result.opened
        self.ended += result.ended
        return result

    @property
    def codes(self) -> list[str]:
        return [c.code for c in self.opened]


def shared(name: str) -> Path:
    """A file of the shared material, or skip."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"data not present: {name}")
    return path


def bidmc() -> dict[str, Batch]:
    """Each recorded person's whole record at 1 Hz."""
    table: dict[str, list[list[float]]] = defaultdict(list)
    with lzma.open(shared("data/bidmc_numerics.csv.xz"), "rt") as f:
        for row in csv.DictReader(f):
            table[row["subject"]].append(
                [float(row[k]) if row[k] else np.nan for k in ("t_s", "hr", "pulse", "resp", "spo2")]
            )
    found = {}
    for subject, rows in table.items():
        t, hr, pulse, resp, spo2 = np.array(rows).T
        found[subject] = batch(t, hr=hr, pulse=pulse, resp=resp, spo2=spo2)
    return found
