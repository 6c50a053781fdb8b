"""How many uploads a second are signed, checked, sealed, analysed and durable, beside a bare Flask POST."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import numpy as np
from sqlalchemy import select

from devices.simulator import listed, rfc3339
from service.app import build_house
from service.store.tables import Upload, table
from service.tools import load, stage
from service.tools.doctor import NotReady
from service.tools.load import Round
from service.tools.machine import Machine
from service.tools.stage import Part, Stage
from service.tools.wearable import Wearable
from service.workflows.uploads import open_batch

INSTANTS = 60
NAME = "ingest"
UNIT = "uploads/s (60 instants of 6 vital signs each)"
YARDSTICK = "bare no-op Flask POST of the same requests, same server and options (requests/s)"
SENT_AHEAD = timedelta(seconds=2)
"""Made a little before they are sent: the middle of a round is what ``sent_at`` says, within the 5 s tolerance."""
DISTRICT = "00000"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int = 5
    devices: int = 200
    uploads: int = 1000
    """In each round."""
    connections: int = 64
    workers: int = 2
    threads: int = 64
    database_url: str = ""
    """Empty: SQLite in the temporary folder."""


@dataclass
class Device:
    """One device with what it has posted so far."""

    band: Wearable
    rng: np.random.Generator
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    next_seq: int = 1
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def upload(self, sent_at: datetime) -> bytes:
        """The next minute of somebody well."""
        n = INSTANTS
        values = {
            "heart_rate_bpm": np.rint(self.rng.normal(72, 3, n)),
            "pulse_rate_bpm": np.rint(self.rng.normal(72, 3, n)),
            "spo2_pct": np.rint(np.clip(self.rng.normal(97, 0.5, n), 95, 100)),
            "respiratory_rate_bpm": np.rint(np.clip(self.rng.normal(15, 1, n), 12, 20)),
            "temperature_c": np.round(self.rng.normal(36.7, 0.05, n), 1),
            "skin_temperature_c": np.round(self.rng.normal(33.1, 0.1, n), 1),
        }
        series = {"first_seq": self.next_seq, "start": rfc3339(self.at), "step_s": 1.0}
        body = {
            "upload_id": str(uuid4()),
            "boot_id": self.boot_id,
            "sent_at": rfc3339(sent_at),
            "series": [series | {name: listed(column) for name, column in values.items()}],
        }
        self.next_seq += n
        self.at += timedelta(seconds=n)
        encoded = msgspec.json.encode(body)
        authority = urlsplit(self.band.url).netloc
        return load.request_bytes("/v1/readings", authority, self.band.headers(encoded), encoded)


@dataclass(frozen=True)
class Lap:
    """One round: ours and the yardstick's."""

    ours: Round
    bare: Round
    our_cpu_us: float
    bare_cpu_us: float


def measure(size: Size) -> dict[str, Any]:
    """Interleaved rounds of uploads and bare requests; every verdict and every stored reading is checked."""
    extra = {"ANSIM_DATABASE_URL": size.database_url} if size.database_url else {}
    with (
        stage.own_service(workers=size.workers, threads=size.threads, extra=extra) as own,
        _bare(own, size) as (bare_url, bare),
    ):
        devices = _enrol(own, size)
        _lap(own, bare_url, bare, devices, size, warm_up=True)
        laps = [_lap(own, bare_url, bare, devices, size) for _ in range(size.rounds)]
        _check_database(own, devices)
    return _report(laps, size)


@contextmanager
def _bare(own: Stage, size: Size) -> Iterator[tuple[str, Part]]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")}
    environ |= stage.demonstration(own.settings.data_dir, stage.free_port())
    environ |= {"ANSIM_WORKERS": str(size.workers), "ANSIM_THREADS": str(size.threads)}
    url = f"http://127.0.0.1:{environ['ANSIM_PORT']}"
    with stage.stopped_politely() as parts:
        parts.append(stage.start_module(environ, "service.tools.noop"))
        stage.wait_until_ready(url, parts, stage.never(), door="healthz")
        yield url, parts[0]


def _enrol(own: Stage, size: Size) -> list[Device]:
    _say(f"enrolling {size.devices} devices")
    machine = Machine(own.url, own.service_key)
    begins = datetime.now(UTC) - timedelta(days=7)

    def one(number: int) -> Device:
        code = machine.issue_code(machine.add_patient(f"시험 {number}", DISTRICT))
        band = Wearable.enrol(own.url, code, "ansim-bench", machine.session())
        return Device(band, np.random.default_rng(number), at=begins)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(size.devices)))


def _lap(own: Stage, bare_url: str, bare: Part, devices: list[Device], size: Size, *, warm_up: bool = False) -> Lap:
    sent_at = datetime.now(UTC) + SENT_AHEAD
    requests = [devices[i % len(devices)].upload(sent_at) for i in range(size.uploads)]
    # All uploads of one device go over one connection, so that they arrive in order.
    lanes = [
        [i for i in range(size.uploads) if i % len(devices) % size.connections == lane]
        for lane in range(min(size.connections, len(devices)))
    ]
    server = own.parts[1]
    before_s = load.cpu_s(server.pid)
    ours = load.burst(own.url, requests, lanes)
    our_cpu_us = (load.cpu_s(server.pid) - before_s) / size.uploads * 1e6
    _check_verdicts(ours)
    before_s = load.cpu_s(bare.pid)
    bare_round = load.burst(bare_url, requests, lanes)
    bare_cpu_us = (load.cpu_s(bare.pid) - before_s) / size.uploads * 1e6
    lap = Lap(ours, bare_round, our_cpu_us, bare_cpu_us)
    if not warm_up:
        _say(f"{ours.per_s:.0f} uploads/s beside {bare_round.per_s:.0f} bare requests/s")
    return lap


def _check_verdicts(ours: Round) -> None:
    wrong = Counter(status for status in ours.statuses if status != 200)
    if wrong:
        body = next(b for b, s in zip(ours.bodies, ours.statuses, strict=True) if s != 200)
        raise NotReady(f"not every upload was answered with 200: {dict(wrong)}, such as {body[:300]!r}")
    for body in ours.bodies:
        verdicts = msgspec.json.decode(body)["verdicts"]
        stored = sum(v["to"] - v["from"] + 1 for v in verdicts if v["verdict"] == "stored")
        if stored != INSTANTS:
            raise NotReady(f"an upload of {INSTANTS} instants got other verdicts than stored: {verdicts}")


def _check_database(own: Stage, devices: list[Device]) -> None:
    """Every reading that got a verdict can be read back, and was looked at."""
    house = build_house(own.settings)
    owed = {device.band.keyid: device.next_seq - 1 for device in devices}
    uploads = table(Upload)
    found: Counter[str] = Counter()
    with house.database.read() as tx:
        for row in tx.conn.execute(select(uploads)):
            if row.detected_at is None:
                raise NotReady("an upload was never looked at by detection")
            found[str(row.device_id)] += len(set(open_batch(house, row).seq.tolist()))
    house.database.dispose()
    if found != Counter(owed):
        raise NotReady(f"of {sum(owed.values())} readings with a verdict {found.total()} are in the database")
    _say(f"all {found.total()} readings with a verdict are in the database")


def _report(laps: list[Lap], size: Size) -> dict[str, Any]:
    value = median(lap.ours.per_s for lap in laps)
    yardstick = median(lap.bare.per_s for lap in laps)
    return {
        "name": NAME,
        "value": round(value, 1),
        "unit": UNIT,
        "yardstick": YARDSTICK,
        "yardstick_value": round(yardstick, 1),
        "ratio": round(value / yardstick, 3),
        "rounds": size.rounds,
        "ratios": [round(lap.ours.per_s / lap.bare.per_s, 3) for lap in laps],
        "p50_ms": median(lap.ours.percentile_ms(50) for lap in laps),
        "p99_ms": median(lap.ours.percentile_ms(99) for lap in laps),
        "yardstick_p50_ms": median(lap.bare.percentile_ms(50) for lap in laps),
        "yardstick_p99_ms": median(lap.bare.percentile_ms(99) for lap in laps),
        "server_cpu_us": round(median(lap.our_cpu_us for lap in laps)),
        "yardstick_server_cpu_us": round(median(lap.bare_cpu_us for lap in laps)),
        "devices": size.devices,
        "connections": size.connections,
        "workers": size.workers,
        "database": "postgresql" if size.database_url.startswith("postgres") else "sqlite",
    }


def _say(text: str) -> None:
    sys.stderr.write(f"ansim bench: {time.strftime('%H:%M:%S')} {text}\n")
