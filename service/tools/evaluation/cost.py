"""What detection costs: microseconds a reading in groups, milliseconds an upload alone, bytes a person.

Times are those of this process on its processor (`time.process_time`), so that a machine with other work to do does
not lie; on a machine that shares its cores they still come out higher than on a quiet one, and a yardstick of plain
NumPy, taken turn by turn with the uploads, says by how much.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Waveform
from devices.reading import COLUMNS, INDEX, Batch, Beats
from service.detection import PersonSettings, analyse
from service.tools.evaluation.common import Outcome, Row, Say

NAMES: tuple[str, ...] = ("cost",)
MODELS: tuple[str, ...] = ()
SEED = 11
GROUP, INSTANTS, BEATS, HZ = 64, 60, 80, 50
CITY = 10_000
"""People of whom each sends a reading and 80 beats a minute."""
START_S = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """Uploads of one kind, one after another."""

    people: int = 1
    instants: int = INSTANTS
    step_s: float = 1.0
    beats: int = 0
    acceleration: bool = False
    gap_s: float = 0.0
    """Between uploads; an hour lets each close the hour of the one before."""
    rounds: int = 150


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time of each upload of a group, after a warm-up, and of the yardstick beside it."""

    took: npt.NDArray[np.float64]
    yardstick: npt.NDArray[np.float64]
    state_bytes: int

    def us(self, share: float = 50.0, parts: int = 1) -> float:
        """A percentile in microseconds, of each of so many parts."""
        return float(np.percentile(self.took, share)) / parts * 1e6

    def yardsticks(self) -> float:
        """Median in yardsticks: what does not depend on the machine or on what else it does."""
        return float(np.median(self.took / self.yardstick))


ALONE = {
    "60 instants": Load(rounds=400),
    "60 instants that close an hour": Load(gap_s=3600),
    "60 instants a minute apart": Load(step_s=60),
    "60 instants and 80 beats": Load(beats=BEATS),
    "60 instants and a minute of acceleration at 50 Hz": Load(acceleration=True, rounds=60),
}
TOGETHER = Load(people=GROUP, rounds=30)
MINUTE = Load(people=GROUP, instants=1, step_s=60, beats=BEATS, rounds=30)


def missing(data: Path) -> str | None:
    """Needs no data."""
    return None


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Nothing to fit."""
    return {}


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Time the product's own `analyse` on simulated uploads, all layers, interpreter included."""
    say("cost: groups of 64 uploads, and uploads alone; processor time of this process")
    together, minute = measure(TOGETHER), measure(MINUTE)
    reading, each = together.us(parts=GROUP * INSTANTS), minute.us(parts=GROUP)
    share = CITY * each / 60e6
    rows = [
        _row(f"a reading, groups of {GROUP} uploads of {INSTANTS} instants", reading, "us", "<= 20"),
        _row(f"a reading, groups of {GROUP} uploads of a minute: 1 instant, {BEATS} beats", each, "us", None),
        _row(f"share of a core for {CITY:,} people, a reading and {BEATS} beats a minute each", share, "", "<= 0.1"),
    ]
    for name, load in ALONE.items():
        found = measure(load)
        goal = "<= 1" if name == "60 instants" else None
        note = f"{found.yardsticks():.0f} yardsticks of {np.median(found.yardstick) * 1e6:.2f} us in the same run"
        rows.append(_row(f"one upload of {name} alone, median", found.us() / 1e3, "ms", goal, note))
        rows.append(_row(f"one upload of {name} alone, p95", found.us(95) / 1e3, "ms", None))
    rows.append(_row("bytes of state a person", float(together.state_bytes), "bytes", "<= 8192"))
    return Outcome(rows=rows + ([_peer()] if peers else []))


def _row(measure: str, value: float, unit: str, goal: str | None, note: str = "") -> Row:
    said = f"{measure} ({unit})" if unit else measure
    return Row("cost", said, "ansim", value, mode="measured", goal=goal, note=note or "processor time")


def upload(k: int, load: Load, rng: np.random.Generator) -> Batch:
    """The k-th upload of somebody well who sits still."""
    values = np.full((load.instants, len(COLUMNS)), np.nan)
    for name, level, spread in (("heart_rate_bpm", 72, 3), ("spo2_pct", 97, 1), ("respiratory_rate_bpm", 16, 1)):
        values[:, INDEX[name]] = level + rng.integers(-spread, spread + 1, load.instants)
    values[:, INDEX["steps"]] = 0
    start = START_S + k * (load.instants * load.step_s + load.gap_s)
    at = ((start + load.step_s * np.arange(load.instants)) * 1e6).astype(np.int64)
    begun = int(at[0])
    found, waves = [], []
    if load.beats:
        rr = 60_000 / load.beats * (1 + 0.03 * rng.standard_normal(load.beats))
        found = [Beats(first_seq=(k + 1) * 1000, start_us=begun, device_start_us=begun, rr_ms=rr)]
    if load.acceleration:
        still = 0.02 * rng.standard_normal((3, 60 * HZ)) + np.array([[0.0], [0.0], [1.0]])
        waves = [Waveform(k, begun, begun, HZ, "accelerometer", "g", still.astype(np.float32))]
    seq = np.arange(load.instants) + k * load.instants
    return Batch(seq=seq, at_us=at, device_at_us=at.copy(), values=values, beats=found, waveforms=waves)


def measure(load: Load) -> Cost:
    """Processor time of `analyse` for a load, the yardstick between its rounds."""
    rng = np.random.default_rng(SEED)
    settings = [PersonSettings()] * load.people
    states: Sequence[bytes | None] = [None] * load.people
    took, beside = [], []
    for k in range(load.rounds):
        batches = [upload(k, load, rng) for _ in range(load.people)]
        now_us = int(batches[0].at_us[-1])
        begun = time.process_time()
        found = analyse(states, batches, settings, now_us)
        took.append(time.process_time() - begun)
        states = [one.state for one in found]
        beside.append(yardstick())
    warm = load.rounds // 5
    return Cost(np.array(took[warm:]), np.array(beside[warm:]), max(len(s) for s in states if s is not None))


def yardstick(turns: int = 50) -> float:
    """Seconds of processor time of one sum of two arrays of 64 numbers: NumPy's cost of a call, here and now."""
    a = np.arange(64.0)
    begun = time.process_time()
    for _ in range(turns):
        np.add(a, a)
    return (time.process_time() - begun) / turns


def _peer() -> Row:
    name = "river HalfSpaceTrees, 25 trees of height 8"
    what = "a reading (us)"
    if importlib.util.find_spec("river") is None:
        return Row("cost", what, name, None, mode="measured", note="not installed")
    trees = importlib.import_module("river.anomaly").HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=SEED)
    rng = np.random.default_rng(SEED)
    samples = [{"x": float(x)} for x in rng.random(500)]
    return Row("cost", what, name, _timed(lambda x: (trees.score_one(x), trees.learn_one(x)), samples), mode="measured")


def _timed(work: Callable[[dict[str, float]], object], samples: list[dict[str, float]]) -> float:
    begun = time.process_time()
    for x in samples:
        work(x)
    return (time.process_time() - begun) / len(samples) * 1e6
