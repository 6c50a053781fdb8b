"""What judging an upload costs by all layers, beside row-by-row statistics of the same numbers with SciPy.

The yardstick is what one would write first: for each row and vital a z-score against the window, for each vital a
slope, a median deviation and a rank test of its halves, through `scipy.stats` (no gate, no memory, no beats).
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from devices.reading import INDEX, Batch
from service.detection import PersonSettings, analyse
from service.tools.bench_ingest import Size
from service.tools.evaluation.cost import SEED, Load, upload

NAME = "detection"
UNIT = "us of processor time for one upload of 60 instants, all layers"
YARDSTICK = "the same rows through scipy.stats one by one: z-scores, slope, deviation, rank test (us)"
UPLOADS = 60
_VITALS = [INDEX[name] for name in ("heart_rate_bpm", "spo2_pct", "respiratory_rate_bpm")]


def measure(size: Size) -> dict[str, Any]:
    """Interleaved rounds of uploads of one person and of the plain statistics of the same uploads."""
    ours, plain = [], []
    for k in range(size.rounds + 1):
        a, b = _lap(replace(Load(), rounds=UPLOADS), k)
        ours.append(a)
        plain.append(b)
    value, yardstick = median(ours[1:]), median(plain[1:])  # the first round warms up
    return {
        "name": NAME,
        "value": round(value, 1),
        "unit": UNIT,
        "yardstick": YARDSTICK,
        "yardstick_value": round(yardstick, 1),
        "ratio": round(value / yardstick, 3),
        "rounds": size.rounds,
        "ratios": [round(a / b, 3) for a, b in zip(ours[1:], plain[1:], strict=True)],
    }


def _lap(load: Load, k: int) -> tuple[float, float]:
    rng = np.random.default_rng(SEED + k)
    state: bytes | None = None
    ours, plain = [], []
    for n in range(load.rounds):
        batch = upload(n, load, rng)
        begun = time.process_time()
        state = analyse([state], [batch], [PersonSettings()], int(batch.at_us[-1]))[0].state
        between = time.process_time()
        row_by_row(batch)
        ours.append(between - begun)
        plain.append(time.process_time() - between)
    return median(ours) * 1e6, median(plain) * 1e6


def row_by_row(batch: Batch) -> float:
    """The largest z-score and the sum of the other statistics, so that nothing is left out unseen."""
    found = 0.0
    for column in _VITALS:
        values = batch.values[:, column]
        at = np.arange(values.size)
        half = values.size // 2
        found += stats.linregress(at, values).slope + stats.median_abs_deviation(values)
        found += stats.mannwhitneyu(values[:half], values[half:]).pvalue
        found += max(abs(float(stats.zmap([v], values)[0])) for v in values)
    return found
