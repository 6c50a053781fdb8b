"""Beat intervals of many people as unbroken windows: what cannot be a beat is set aside, nothing spans a gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.signals.rhythm_features import BEATS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SHORTEST_MS = 200.0
"""Two detections closer than this are one beat: the heart's absolute refractory period (about 200 ms)."""
LONGEST_MS = 3000.0
"""An interval this long is a pause or a lost signal, never part of a rhythm (pause >= 3 s: ACC/AHA/HRS 2018)."""
EVERY = 8
"""Beats between two judgements (policy: a quarter of a window costs at most seven beats of delay)."""


def merge_double(rr_ms: Floats, pending_ms: float = 0.0) -> tuple[Floats, Bools, float]:
    """Add detections that follow too soon to the interval after them.

    Parameters
    ----------
    rr_ms : float64[n]
        Intervals as posted.
    pending_ms : float
        Time of a double detection carried from the beats before.

    Returns
    -------
    (float64[n], bool[n], float)
        Intervals; which of them remain; time still pending.
    """
    short = (rr_ms >= 0) & (rr_ms < SHORTEST_MS)
    if not pending_ms and not short.any():
        return rr_ms, np.ones(rr_ms.size, dtype=bool), 0.0
    joined, kept = rr_ms.copy(), np.ones(rr_ms.size, dtype=bool)
    pending = pending_ms
    for i in np.flatnonzero(short | np.concatenate([[True], short[:-1]])).tolist():
        total = float(rr_ms[i]) + pending
        if short[i] and total < SHORTEST_MS:
            kept[i], pending = False, total
        else:
            joined[i], pending = total, 0.0
    return joined, kept, pending


_NONE = -(2**33)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Intervals of several lanes in one row each lane led by the 32 that it carries.

    Attributes
    ----------
    rr : float64[m]
        ms; NaN where an interval was not measured.
    valid : bool[m]
        May be part of a rhythm.
    count : int64[m]
        Beats since the last break, this one included; 0 at an interval that is none.
    """

    rr: Floats
    valid: Bools
    count: Ints

    def windows(self, rows: Ints) -> Floats:
        """The 32 intervals that end at each of `rows`."""
        return self.rr[rows[:, None] + np.arange(1 - BEATS, 1)]


def stretch(rr: Floats, broken: Bools, first: Ints, ring: Floats, carried: Ints) -> Stretch:
    """Lay the lanes out and count the beats of each unbroken run.

    Parameters
    ----------
    rr : float64[m]
        Intervals with 32 free places before those of each lane.
    broken : bool[m]
        True where the beat does not follow the one before it.
    first : int64[lanes]
        Where each lane's free places begin.
    ring : float64[lanes, 32]
    carried : int64[lanes]
        Beats since the last break, before this stretch.
    """
    places = first[:, None] + np.arange(BEATS)
    rr[places] = ring
    valid = (rr >= SHORTEST_MS) & (rr < LONGEST_MS)
    index = np.arange(rr.size)
    base = np.where(valid, np.where(broken, index - 1, _NONE), index)
    base[places] = _NONE
    last = first + BEATS - 1
    base[last] = last - carried
    # A lane's beginning may lie before the last break of the lane above it: lift each lane above the others.
    lane = np.zeros(rr.size, dtype=np.int64)
    lane[first[1:]] = 1
    lift = np.cumsum(lane) * (rr.size - 2 * _NONE)
    base = np.maximum.accumulate(base + lift) - lift
    count = index - base
    count[places] = 0
    return Stretch(rr, valid, count)
