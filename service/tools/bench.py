"""Measuring against a yardstick in the same run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.config import Settings
from service.tools import bench_detection, bench_ingest
from service.tools.bench_ingest import Size

ROOT = Path(__file__).parents[2]
BENCHES: dict[str, Callable[[Size], dict[str, Any]]] = {
    bench_ingest.NAME: bench_ingest.measure,
    bench_detection.NAME: bench_detection.measure,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    usual = Size()
    parser.add_argument("name", choices=[*BENCHES, "all"], help="what to measure")
    parser.add_argument("--json", action="store_true", help="the figures alone on standard output; a list for all")
    parser.add_argument("--rounds", type=_positive, default=usual.rounds, help="interleaved rounds; medians are told")
    parser.add_argument("--uploads", type=_positive, default=usual.uploads, help="requests in each round")
    parser.add_argument("--devices", type=_positive, default=usual.devices)
    parser.add_argument("--connections", type=_positive, default=usual.connections)
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database instead of SQLite")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, was {text}")
    return number


def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Measure one thing or all of them; 0 when everything that was answered is also there."""
    size = Size(
        rounds=given.rounds,
        uploads=given.uploads,
        devices=given.devices,
        connections=given.connections,
        database_url=given.database_url,
    )
    names = list(BENCHES) if given.name == "all" else [given.name]
    about = {"machine": machine(), "commit": commit()}
    found = [BENCHES[name](size) | about for name in names]
    if given.json:
        print(json.dumps(found if given.name == "all" else found[0]))
    else:
        for one in found:
            print("\n".join(f"{key:<24} {value}" for key, value in one.items()))
    return 0


def machine() -> str:
    """What it was measured on: processor, cores, system."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    system = f"{platform.system()} {platform.release()}"
    return f"{name}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def commit() -> str:
    """The commit that was measured, with a plus when files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = [git, "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
