"""A slow running mean of each person's accepted resting values, so that a sentence can say what is usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from service.detection.limits import HEART_RATE_LOW_BPM, People
from service.detection.segments import Bools, Floats, Ints, running_max
from service.detection.state import EVIDENCE, LATCH, NEVER, Records

MEMORY_MINUTES = 2880
"""Time constant: two days of measured minutes (policy)."""
ENOUGH_MINUTES = 60
"""Minutes measured before anything is called usual (policy)."""
_KEEP = 1 - 1 / MEMORY_MINUTES
_B, _A = np.array([1 - _KEEP]), np.array([1.0, -_KEEP])
_HEART = [LATCH[n] for n in ("heart_rate_high", "heart_rate_low")]


@dataclass(slots=True)
class Usual:
    """Usual values after each minute learnt; segment i is lane i // kinds, vital i % kinds of EVIDENCE."""

    row: Ints
    """Rows that taught something, by segment."""
    start: Ints
    """int64[segments + 1]: where each segment's rows begin."""
    mean: Floats
    """float64[segments, most + 1]: running mean before any row and after each."""
    count: Ints
    """int64[segments]: minutes known before."""
    minute: Ints
    """int64[lanes, EVIDENCE]: latest minute learnt."""

    def at(self, lane: int, vital: int, row: int) -> float | None:
        """Usual value as known in a row, None until enough minutes are measured."""
        i = lane * len(EVIDENCE) + vital
        k = int(np.searchsorted(self.row[self.start[i] : self.start[i + 1]], row, side="right"))
        return corrected(float(self.mean[i, k]), int(self.count[i]) + k)

    def final(self) -> tuple[Floats, Ints]:
        """Running means and counts after the last row: [lanes, EVIDENCE]."""
        learnt = np.diff(self.start)
        mean = self.mean[np.arange(learnt.size), learnt]
        return mean.reshape(self.minute.shape), (self.count + learnt).reshape(self.minute.shape)


def corrected(mean: float, count: int) -> float | None:
    """Undo the start from zero of the running mean; None until enough minutes are measured."""
    if count < ENOUGH_MINUTES:
        return None
    return float(mean / (1 - _KEEP ** int(count)))


def learn(
    found: Floats, teaches: Bools, rows: tuple[Ints, Ints, Ints], held: Bools, wearers: People, records: Records
) -> Usual:
    """Update the running means of the present lanes.

    Parameters
    ----------
    found : float64[m, EVIDENCE]
    teaches : bool[m]
        Rows at rest, in the present lane.
    rows : (int64[m], int64[m], int64[lanes])
        Time, rank of the lane, and the carried rows.
    held : bool[m, LATCHES]
        Latches after each row: what is alarming, or beyond a limit, is not learnt as usual.
    wearers : People
        Settings of each row's wearer.
    records : structured[lanes]
        States of the lanes' patients; not changed here.
    """
    time, lane, first = rows
    use = ~np.isnan(found) & teaches[:, None]
    within = (found[:, 0] < wearers.rate_high) & (found[:, 0] > np.maximum(wearers.rate_low, HEART_RATE_LOW_BPM))
    use[:, 0] &= within & ~held[:, _HEART].any(axis=1)
    use[:, 1] &= (found[:, 1] > wearers.spo2_low) & ~held[:, LATCH["spo2_low"]]
    minute = time // 60
    tried = np.where(use, minute[:, None], NEVER)
    tried[first] = records["usual_minute"]
    top = running_max(tried, lane)
    use[1:] &= minute[1:, None] > top[:-1]
    use[first] = False

    kinds = len(EVIDENCE)
    row, vital = np.nonzero(use)
    key = lane[row] * kinds + vital
    order = np.argsort(key, kind="stable")
    key, row = key[order], row[order]
    lengths = np.bincount(key, minlength=first.size * kinds)
    start = np.concatenate([[0], np.cumsum(lengths)])
    mean0, count0 = records["usual_m"].ravel(), records["usual_n"].ravel()
    padded = np.zeros((lengths.size, int(lengths.max(initial=0)) + 1))
    padded[key, np.arange(key.size) - start[key]] = found[row, key % kinds]
    filtered, _ = lfilter(_B, _A, padded, axis=1, zi=(_KEEP * mean0)[:, None])
    mean = np.concatenate([mean0[:, None], filtered], axis=1)
    last = np.append(first[1:], time.size) - 1
    return Usual(row, start, mean, count0, top[last])
