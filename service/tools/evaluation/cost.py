"""What detection costs: microseconds a reading in groups, milliseconds an upload alone, bytes a person."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from devices.reading import COLUMNS, INDEX, Batch, Beats
from service.detection import PersonSettings, analyse
from service.tools.evaluation.common import Outcome, Row, Say

NAMES: tuple[str, ...] = ("cost",)
MODELS: tuple[str, ...] = ()
SEED = 11
GROUP, INSTANTS, BEATS = 64, 60, 80
ROUNDS = 30
CITY = 10_000
"""People of whom each sends a reading and 80 beats a minute."""


def missing(data: Path) -> str | None:
    """Needs no data."""
    return None


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Nothing to fit."""
    return {}


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Time the product's own `analyse` on simulated uploads, all layers, interpreter included."""
    say("cost: uploads of 60 instants alone and in groups of 64")
    rows = [
        _row("cost a reading, groups of 64 uploads of 60 instants", _batched(INSTANTS, 1.0, 0), "us", "<= 20"),
        _row(
            "cost a reading, groups of 64 uploads of a minute: 1 instant, 80 beats",
            _batched(1, 60.0, BEATS),
            "us",
            None,
        ),
        _row("cost of one upload of 60 instants alone", _alone() * 1e3, "ms", "<= 1"),
        _row("bytes of state a person", float(_state_bytes()), "bytes", "<= 8192"),
    ]
    minute = rows[1].value or 0.0
    rows.append(
        _row(
            "share of a core for 10,000 people, a reading and 80 beats a minute each",
            CITY * minute / 60e6,
            "",
            "<= 0.1",
        )
    )
    if peers:
        rows.append(_peer())
    return Outcome(rows=rows)


def _row(measure: str, value: float, unit: str, goal: str | None) -> Row:
    return Row("cost", f"{measure} ({unit})" if unit else measure, "ansim", value, mode="measured", goal=goal)


def _upload(k: int, instants: int, step_s: float, beats: int, rng: np.random.Generator) -> Batch:
    values = np.full((instants, len(COLUMNS)), np.nan)
    for name, level, spread in (("heart_rate_bpm", 72, 3), ("spo2_pct", 97, 1), ("respiratory_rate_bpm", 16, 1)):
        values[:, INDEX[name]] = level + rng.integers(-spread, spread + 1, instants)
    values[:, INDEX["steps"]] = 0
    start = 1_790_000_000 + k * instants * step_s
    at = ((start + step_s * np.arange(instants)) * 1e6).astype(np.int64)
    found = []
    if beats:
        rr = 60_000 / beats * (1 + 0.03 * rng.standard_normal(beats))
        found = [Beats(first_seq=(k + 1) * 1000, start_us=int(at[0]), device_start_us=int(at[0]), rr_ms=rr)]
    seq = np.arange(instants) + k * instants
    return Batch(seq=seq, at_us=at, device_at_us=at.copy(), values=values, beats=found)


def _times(people: int, instants: int, step_s: float, beats: int, rounds: int) -> tuple[float, list[bytes]]:
    rng = np.random.default_rng(SEED)
    settings = [PersonSettings()] * people
    states: list[bytes | None] = [None] * people
    took = []
    for k in range(rounds):
        batches = [_upload(k, instants, step_s, beats, rng) for _ in range(people)]
        now_us = int(batches[0].at_us[-1])
        begun = time.perf_counter()
        found = analyse(states, batches, settings, now_us)
        took.append(time.perf_counter() - begun)
        states = [one.state for one in found]
    return float(np.median(took[rounds // 5 :])), [s for s in states if s is not None]


def _batched(instants: int, step_s: float, beats: int) -> float:
    seconds, _ = _times(GROUP, instants, step_s, beats, ROUNDS)
    return seconds / (GROUP * instants) * 1e6


def _alone() -> float:
    return _times(1, INSTANTS, 1.0, 0, 10 * ROUNDS)[0]


def _state_bytes() -> int:
    return max(len(s) for s in _times(1, INSTANTS, 1.0, 0, 2)[1])


def _peer() -> Row:
    name = "river HalfSpaceTrees, 25 trees of height 8"
    measure = "cost a reading (us)"
    if importlib.util.find_spec("river") is None:
        return Row("cost", measure, name, None, mode="measured", note="not installed")
    trees = importlib.import_module("river.anomaly").HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=SEED)
    rng = np.random.default_rng(SEED)
    samples = [{"x": float(x)} for x in rng.random(500)]
    return Row(
        "cost", measure, name, _timed(lambda x: (trees.score_one(x), trees.learn_one(x)), samples), mode="measured"
    )


def _timed(work: Callable[[dict[str, float]], object], samples: list[dict[str, float]]) -> float:
    begun = time.perf_counter()
    for x in samples:
        work(x)
    return (time.perf_counter() - begun) / len(samples) * 1e6
