"""Accepted evidence, thinned to one sample in 15 s, and its persistent medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.detection.quality import REASONS, Gate, Reason
from service.detection.segments import Bools, Floats, Ints
from service.detection.state import RING, WINDOWED, Records

CELL_S = 15
"""One sample of a vital is kept in so many seconds (policy): 20 of them make a median as steady as 300."""
WINDOW_S = 300
"""Five-minute medians at rest: measured on wearers, alarms fall from 1.91 to 0.18 a patient-day (DETECTION 3c)."""
WINDOW_SPAN_S = 240
"""How much of the window its samples must cover (policy)."""
WINDOW_READINGS = 3
SHORT_S = 135
"""Two minutes of low SpO2, with room for readings a minute apart that come a little late (policy)."""
SHORT_SPAN_S = 105
GAP_S = 900
"""Sparse readings further apart than this do not speak for the time between them (policy)."""
SHARE = 0.8
"""Share of a window that must say the same, so that one drop-out in five changes nothing (policy)."""
_RESTING_BPM = 70.0


@dataclass(slots=True)
class Samples:
    """k kept samples of the windowed vitals, by vital, then lane, then arrival, each with its windows.

    A window holds the RING latest samples, oldest first, this one last.
    """

    row: Ints
    vital: Ints
    age: Ints
    """int64[k, RING]: seconds behind the front of the lane."""
    value: Floats
    """float64[k, RING]: NaN where there is no sample."""
    median: Floats
    """float64[k]: NaN where the samples are too few to call it persistent."""
    within: Bools
    """bool[k, RING]: samples that the median rests on."""
    lone: Bools
    """bool[k]: no other sample for GAP_S before it."""


def evidence(gate: Gate, first: Ints) -> Floats:
    """What the rules may use of each row: float64[m, EVIDENCE], NaN where nothing.

    Heart and pulse rate that disagree give the milder of the two: both sensors say it is at least so bad.
    """
    usable = (gate.code == 0) | (gate.code == REASONS.index(Reason.FLAT_LINE))
    accepted = np.where(usable, gate.value, np.nan)
    heart = np.where(np.isnan(accepted[:, 0]), accepted[:, 1], accepted[:, 0])
    disagree = gate.code[:, :2] == REASONS.index(Reason.RATES_DISAGREE)
    rows = np.flatnonzero(disagree.any(axis=1))
    if rows.size:
        pair = gate.value[gate.seen[rows, :2], np.arange(2)]
        milder = np.abs(pair - _RESTING_BPM).argmin(axis=1)
        heart[rows] = pair[np.arange(rows.size), milder]
    found = np.column_stack([heart, accepted[:, 2:]])
    # What a ring carries is what a window sees, however rows are divided into uploads.
    found[:, :WINDOWED] = found[:, :WINDOWED].astype(np.float32)
    found[first] = np.nan
    return found


def _first_in_cell(segment: Ints, cell: Ints) -> Bools:
    kept = np.zeros(segment.size, dtype=bool)
    kept[np.unique(segment * 2**36 + cell, return_index=True)[1]] = True
    return kept


def thin(found: Floats, time: Ints, lane: Ints, front: Ints, lanes: Records) -> Samples:
    """Keep the first accepted reading in each cell of 15 s and look back from it.

    Parameters
    ----------
    found : float64[m, EVIDENCE]
    time, lane, front : int64[m]
        When measured; rank of the lane; latest time in the lane so far.
    lanes : structured[lanes]
        Carried state; its rings are brought up to date in place.
    """
    count = lanes.size
    vital, row = np.nonzero(~np.isnan(found[:, :WINDOWED]).T)
    ring_t = lanes["ring_t"].astype(np.int64).transpose(1, 0, 2).reshape(-1, RING)
    ring_v = lanes["ring_v"].transpose(1, 0, 2).reshape(-1, RING)
    segments = WINDOWED * count
    held = np.repeat(np.arange(segments), RING)
    # An empty place in a ring has a cell of its own, so that it hides no sample.
    ring_cell = np.where(ring_t > 0, ring_t // CELL_S, -1 - np.arange(RING))
    fresh = vital * count + lane[row]
    kept = _first_in_cell(np.concatenate([held, fresh]), np.concatenate([ring_cell.ravel(), time[row] // CELL_S]))[
        held.size :
    ]
    vital, row, fresh = vital[kept], row[kept], fresh[kept]

    # Stack each segment's ring and its new samples, so that a window is a slice.
    added = np.bincount(fresh, minlength=segments)
    start = np.concatenate([[0], np.cumsum(added + RING)[:-1]])
    place = RING * (fresh + 1) + np.arange(fresh.size)
    all_t = np.zeros(segments * RING + fresh.size, dtype=np.int64)
    all_v = np.full(all_t.size, np.nan)
    ring_place = (start[:, None] + np.arange(RING)).ravel()
    all_t[ring_place], all_v[ring_place] = ring_t.ravel(), ring_v.ravel()
    all_t[place], all_v[place] = time[row], found[row, vital]
    back = np.arange(1 - RING, 1)
    window = place[:, None] + back
    samples = _look_back(row, vital, front[row][:, None] - all_t[window], all_v[window])

    newest = (start + RING + added - 1)[:, None] + back
    shape = (WINDOWED, count, RING)
    lanes["ring_t"] = all_t[newest].reshape(shape).transpose(1, 0, 2)
    lanes["ring_v"] = all_v[newest].reshape(shape).transpose(1, 0, 2)
    return samples


def _look_back(row: Ints, vital: Ints, age: Ints, value: Floats) -> Samples:
    within = age <= WINDOW_S
    few = within.sum(axis=1) < WINDOW_READINGS
    joined = age[:, -WINDOW_READINGS:-1] - age[:, -WINDOW_READINGS + 1 :] <= GAP_S
    sparse = few & joined.all(axis=1)
    within[sparse] = False
    within[sparse, -WINDOW_READINGS:] = True
    enough = (~few | sparse) & (span(age, within) >= WINDOW_SPAN_S)
    median = np.where(enough, masked_median(value, within), np.nan)
    return Samples(row, vital, age, value, median, within, age[:, -2] - age[:, -1] > GAP_S)


def span(age: Ints, within: Bools) -> Ints:
    """Seconds between the oldest and the newest sample of each window; 0 where it holds none."""
    oldest = np.where(within, age, -1).max(axis=1)
    newest = np.where(within, age, 2**40).min(axis=1)
    return np.maximum(oldest - newest, 0)


def masked_median(value: Floats, within: Bools) -> Floats:
    """Median of the chosen entries of each row, NaN where none is chosen."""
    ordered = np.sort(np.where(within, value, np.nan), axis=1)
    count = within.sum(axis=1)
    rows = np.arange(count.size)
    middle: Floats = (
        ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, RING - 1)]
    ) / 2
    return middle


def persistent(age: Ints, says: Bools) -> Bools:
    """Whether statements about samples held for two minutes and more, a drop-out in five forgiven.

    Parameters
    ----------
    age : int64[k, RING]
        Of each sample of each window, seconds.
    says : bool[s, k, RING]
        Each statement about each of them.

    Returns
    -------
    bool[s, k]
        True where four fifths of the last two minutes agree, or of the last five, or the last two readings
        when these come more than two minutes and at most GAP_S apart.
    """
    apart = age[:, -2] - age[:, -1]
    result: Bools = (apart >= SHORT_SPAN_S) & (apart <= GAP_S) & says[:, :, -2:].all(axis=2)
    for reach in (SHORT_S, WINDOW_S):
        within = age <= reach
        count = within.sum(axis=1)
        covered = (count >= WINDOW_READINGS) & (span(age, within) >= SHORT_SPAN_S)
        result |= covered & ((says & within).sum(axis=2) >= SHARE * count)
    return result
