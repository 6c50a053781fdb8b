"""Plain published rules on beat intervals, for comparison with ours on the same recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from service.tools.evaluation.af_data import Recording, judge
from service.tools.evaluation.common import Floats, Row

Bools = npt.NDArray[np.bool_]
DASH_BEATS, EVERY = 128, 8
_CHUNK = 2000


def dash(rr: Floats) -> Bools:
    """Dash 2009 (Ann Biomed Eng 37:1701): turning points, RMSSD over mean > 0.1, Shannon entropy > 0.7; 128 beats."""
    ordered = np.sort(rr, axis=1)
    inner = ordered[:, 8:-8]
    low, high = inner[:, :1], inner[:, -1:]
    place = np.clip((16 * (rr - low) / np.maximum(high - low, 1e-9)).astype(int), 0, 15)
    outlier = (rr < low) | (rr > high)
    share = np.stack([((place == k) & ~outlier).sum(axis=1) for k in range(16)], axis=1) / inner.shape[1]
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1) / np.log(16)
    step = np.diff(rr, axis=1)
    turning = (step[:, 1:] * step[:, :-1] < 0).sum(axis=1)
    n = rr.shape[1]
    expected, deviation = (2 * n - 4) / 3, np.sqrt((16 * n - 29) / 90)
    rough = np.sqrt((step**2).mean(axis=1)) / rr.mean(axis=1)
    chance: Bools = (np.abs(turning - expected) <= 1.96 * deviation) & (rough > 0.1) & (entropy > 0.7)
    return chance


def irregular(rr: Floats) -> Bools:
    """A fixed limit: RMSSD over mean above 0.1 in 32 beats."""
    found: Bools = np.sqrt((np.diff(rr, axis=1) ** 2).mean(axis=1)) / rr.mean(axis=1) > 0.1
    return found


def coefficient_of_sample_entropy(rr: Floats) -> Bools:
    """Lake & Moorman 2011 (Am J Physiol 300:H319): CosEn (m = 1, r = 30 ms) above -1.4 in 12 beats; here 32 beats."""
    near = np.abs(rr[:, :, None] - rr[:, None, :]) < 30.0
    m = rr.shape[1] - 1
    one = near[:, :-1, :-1].sum(axis=(1, 2)) - m
    two = (near[:, :-1, :-1] & near[:, 1:, 1:]).sum(axis=(1, 2)) - m
    entropy = np.log((one + 2) / (two + 2)) + np.log(60.0 / rr.mean(axis=1))
    found: Bools = entropy > -1.4
    return found


PEERS: tuple[tuple[str, Callable[[Floats], Bools], int], ...] = (
    ("Dash 2009 (128 beats)", dash, DASH_BEATS),
    ("fixed limit RMSSD/mean > 0.1 (32 beats)", irregular, 32),
    ("CosEn > -1.4 (32 beats)", coefficient_of_sample_entropy, 32),
)


def signs(one: Recording, rule: Callable[[Floats], Bools], beats: int) -> list[tuple[float, float]]:
    """When the rule held; windows over gaps are not judged."""
    if one.rr_ms.size < beats:
        return []
    ends = np.arange(beats - 1, one.rr_ms.size, EVERY)
    odd = np.concatenate([[0], np.cumsum((one.rr_ms < 200) | (one.rr_ms > 3000))])
    ends = ends[odd[ends + 1] == odd[ends + 1 - beats]]
    view = sliding_window_view(one.rr_ms, beats)
    held = [rule(view[ends[k : k + _CHUNK] - beats + 1]) for k in range(0, ends.size, _CHUNK)]
    on = np.concatenate(held) if held else np.zeros(0, dtype=bool)
    edge = np.flatnonzero(np.diff(on.astype(np.int8), prepend=0, append=0))
    at = np.append(one.heard_s[ends], np.inf)
    return list(zip(at[edge[::2]].tolist(), at[edge[1::2]].tolist(), strict=True))


def rows(people: list[Recording], mode: str, as_rows: Callable[..., Any]) -> list[Row]:
    """The same measures for each rule; nothing in them is fitted here."""
    found: list[Row] = []
    for name, rule, beats in PEERS:
        found += as_rows(people, judge(people, [signs(one, rule, beats) for one in people]), mode, name, False)
    return found
