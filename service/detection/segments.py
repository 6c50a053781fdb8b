"""Running values over many streams: rows of all lanes stacked, each lane led by a row of carried state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_APART = 2**44


def last_index(marked: Bools, first: Ints) -> Ints:
    """Row of the latest mark at or before each row of its lane; the lane's carried row where none.

    Parameters
    ----------
    marked : bool[m] or bool[m, k]
    first : int64[lanes]
        Rows that hold carried state.
    """
    rows = np.arange(marked.shape[0])
    index = np.where(marked, rows if marked.ndim == 1 else rows[:, None], 0)
    index[first] = first if marked.ndim == 1 else first[:, None]
    return np.maximum.accumulate(index, axis=0)


def starts(lane: Ints) -> Ints:
    """Row with which each lane begins; lanes are numbered in rising order along the rows."""
    new = np.ones(lane.size, dtype=bool)
    np.not_equal(lane[1:], lane[:-1], out=new[1:])
    return new.nonzero()[0]


def chosen(rows: Ints) -> Ints | slice:
    """The same rows of an array of records as an index: one alone is a slice, whose view spares a costly copy."""
    return slice(int(rows[0]), int(rows[0]) + 1) if rows.size == 1 else rows


def running_max(values: Ints, lane: Ints) -> Ints:
    """Largest value so far in each lane; lanes are numbered in rising order along the rows."""
    if values.size and lane[0] == lane[-1]:
        return np.maximum.accumulate(values, axis=0)
    lift = lane * _APART if values.ndim == 1 else (lane * _APART)[:, None]
    return np.maximum.accumulate(values + lift, axis=0) - lift


def runs(starts: Bools, counted: Bools, time: Ints, first: Ints, carried: tuple[Any, Any]) -> tuple[Ints, Ints]:
    """When the run that each row belongs to began, and how many counted rows it has so far.

    Parameters
    ----------
    starts, counted : bool[m, k]
        Rows that begin a run; rows that count (every start does).
    time : int64[m]
    first : int64[lanes]
    carried : (int64[lanes, k], int64[lanes, k])
        Beginning and count of the run under way before the first row.
    """
    index = last_index(starts, first)
    began = np.repeat(time[:, None], starts.shape[1], axis=1)
    began[first] = carried[0]
    base = starts.astype(np.int64)
    base[first] = carried[1]
    counted = counted.copy()
    counted[first] = False
    count = np.cumsum(counted, axis=0)
    columns = np.arange(starts.shape[1])
    return began[index, columns], base[index, columns] + count - count[index, columns]


def latch(arm: Bools, clear: Bools, first: Ints, carried: npt.NDArray[np.int8]) -> Bools:
    """State of each latch after each row: set by `arm`, kept until `clear`; `arm` wins when both.

    Parameters
    ----------
    arm, clear : bool[m, k]
    first : int64[lanes]
    carried : int8[lanes, k]
    """
    arm = arm.copy()
    arm[first] = carried != 0
    index = last_index(arm | clear, first)
    held: Bools = arm[index, np.arange(arm.shape[1])]
    return held
