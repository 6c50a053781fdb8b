"""Peers of the early-warning score on the same stays: NEWS2, SAPS-I as recorded, river's half-space trees."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

from service.detection import news2
from service.detection.warning_model import HIGH as HIGHEST
from service.detection.warning_model import LOW, Floats
from service.tools.evaluation.common import Say, rate_interval

__all__ = ["hourly", "rate_interval", "scores"]

HOURS = 48
LAST = 12
EVERY = 4
Scored = tuple[str, str, Floats | None, str | None]


def hourly(stays: Any, kept: Any) -> Floats:
    """Last value carried to the end of each hour, plausible ones only: float64[stays, 48, 8]."""
    low, high = np.concatenate([LOW, [0.2, 0]]), np.concatenate([HIGHEST, [1.0, 1]])
    use = kept & (stays.value >= low[stays.channel]) & (stays.value <= high[stays.channel])
    hour = (stays.at_s - stays.at_s.min(initial=2**40)) // 3600 if stays.at_s.size else stays.at_s
    use &= hour < HOURS
    table = np.full((len(stays.ids), HOURS, low.size), np.nan)
    table[stays.who[use], hour[use], stays.channel[use]] = stays.value[use]
    for h in range(1, HOURS):
        table[:, h] = np.where(np.isnan(table[:, h]), table[:, h - 1], table[:, h])
    return table


def _news2(table: Floats, full: bool) -> Floats:
    """Mean NEWS2 over the last hours; missing parameters score nothing, as a paper chart does."""
    heart, spo2, breathing, temperature, systolic, coma, oxygen, ventilated = np.moveaxis(table[:, -LAST:], 2, 0)
    unknown = np.full(heart.size, np.nan)
    awake = np.where(np.isnan(coma), np.nan, coma < 15).ravel() if full else unknown
    given = np.where(np.isnan(oxygen) & np.isnan(ventilated), np.nan, (oxygen > 0.21) | (ventilated > 0)).ravel()
    total = news2.score(
        breathing.ravel(), spo2.ravel(), np.zeros(heart.size, dtype=bool), given if full else unknown,
        systolic.ravel(), heart.ravel(), awake, temperature.ravel(),
    ).total_known  # fmt: skip
    mean: Floats = total.reshape(heart.shape).mean(axis=1)
    return mean


def _half_space_trees(table: Floats) -> Floats:
    """Mean anomaly score of the last hours, learnt on the stream of all stays."""
    anomaly = importlib.import_module("river.anomaly")
    low, high = np.array([40, 80, 5, 34, 70]), np.array([150, 100, 40, 40, 200])
    scaled = np.clip((table[:, :, :5] - low) / (high - low), 0, 1)
    scaled = np.where(np.isnan(scaled), 0.5, scaled)[:, EVERY - 1 :: EVERY]
    model = anomaly.HalfSpaceTrees(n_trees=10, height=6, window_size=250, seed=1)
    found = np.zeros(scaled.shape[0])
    for i, stay in enumerate(scaled.tolist()):
        for j, row in enumerate(stay):
            x = dict(enumerate(row))
            if j >= len(stay) - LAST // EVERY:
                found[i] += model.score_one(x)
            model.learn_one(x)
    return found


def scores(stays: Any, deletions: list[tuple[float, Any]], say: Say) -> list[Scored]:
    """Detector, measure, score of each stay (NaN where unknown), or None with a note."""
    found: list[Scored] = []
    for deleted, kept in deletions:
        say(f"cinc2012 peers, {deleted:.0%} deleted")
        table = hourly(stays, kept)
        rest = f", {deleted:.0%} deleted" if deleted else ""
        found.append(("NEWS2", f"AUROC, 5 vitals{rest}", _news2(table, False), None))
        found.append(("NEWS2", f"AUROC, 5 vitals, oxygen and consciousness{rest}", _news2(table, True), None))
        if deleted:
            continue
        if importlib.util.find_spec("river") is None:
            found.append(("river HalfSpaceTrees", "AUROC, 5 vitals", None, "not installed"))
        else:
            found.append(("river HalfSpaceTrees", "AUROC, 5 vitals", _half_space_trees(table), None))
    if (stays.saps >= 0).any():
        saps = np.where(stays.saps >= 0, stays.saps, np.nan)
        found.append(("SAPS-I", "AUROC, as recorded", saps, None))
    return found
