"""Rhythm from beat intervals: atrial fibrillation, too slow, too fast, pauses; the same on gateway and server.

A lane is one stream in time: the present (0), or a backlog that arrives behind it (1). Beats are judged eight at a
time, counted from the last break, so that the findings do not depend on how the beats were divided into uploads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals.finding import Finding
from devices.signals.rhythm_features import BEATS, FEATURES, log_odds, mended
from devices.signals.rhythm_walk import AFRESH, CARRIED, NEVER, Judged, Rhythm, Walk
from devices.signals.rhythm_windows import EVERY, LONGEST_MS, Floats, Ints, Stretch, merge_double, stretch

__all__ = ["FEATURES", "STATE", "Rhythm", "blank", "shipped", "update"]

LOW_BPM, HIGH_BPM = 40.0, 131.0
"""NEWS2 scores three points at <= 40 and >= 131 (Royal College of Physicians 2017)."""
TOLERANCE_US = 2_000_000
"""A run that starts this far from the end of the last one still follows it (policy: device clocks, lost parts)."""
STEADY = 0.12
"""Eight beats that spread by no more than this share of their median need no further look (policy)."""
_MOST_MS = 1e7

_LANE = np.dtype(
    [("end_us", "<i8"), ("count", "<u4"), ("pending_ms", "<u2"), ("ring", "<u2", BEATS), ("walk", CARRIED)]
)
STATE = np.dtype([("lane", _LANE, 2)])
"""What is carried for one patient: 336 bytes."""
Records = npt.NDArray[Any]


def blank(patients: int = 1) -> Records:
    """States of people whose heart has not been heard yet.

    Parameters
    ----------
    patients : int

    Returns
    -------
    structured[patients]
        Of dtype `STATE`.
    """
    records = np.zeros(patients, dtype=STATE)
    records["lane"]["end_us"] = NEVER
    records["lane"]["walk"] = AFRESH
    return records


@cache
def shipped() -> Rhythm:
    """The released model; raises ``devices.models.ModelError``."""
    return Rhythm.of(load("af").parameters)


def update(
    records: Records,
    who: Ints,
    start_us: Ints,
    rr_ms: Floats,
    first: Ints,
    model: Rhythm | None = None,
    limits: tuple[Floats, Floats] | None = None,
) -> list[list[Finding]]:
    """Judge new runs of beats of a group of patients and bring their states up to date in place.

    Parameters
    ----------
    records : structured[patients]
        Of dtype `STATE`; changed.
    who : int64[runs]
        Which record each run belongs to; runs of one patient in order of arrival.
    start_us : int64[runs]
        When the first interval of each run began, microseconds UTC, corrected time.
    rr_ms : float64[beats]
        Intervals of all runs, one after another; NaN is one that was not measured.
    first : int64[runs]
        Where each run begins in `rr_ms`, rising from 0.
    model : Rhythm, optional
        The shipped one if left out.
    limits : (float64[patients], float64[patients]), optional
        Slow at or below, fast at or above, beats/min, where a clinician set them.

    Returns
    -------
    list[list[Finding]]
        For each patient what began or ended, in order of time.
    """
    found: list[list[Finding]] = [[] for _ in range(records.size)]
    if not rr_ms.size:
        return found
    low, high = limits or (np.full(records.size, LOW_BPM), np.full(records.size, HIGH_BPM))
    model = model or shipped()
    lanes = _Lanes(records, who, start_us, rr_ms, first)
    laid = lanes.lay()
    events = _judge(laid, lanes, model)
    carried, saved = lanes.records["walk"].tolist(), []
    for k, used in enumerate(lanes.used):
        walk = Walk(carried[k], model, (float(low[used // 2]), float(high[used // 2])), bool(used & 1))
        a, b = events.edges[k], events.edges[k + 1]
        for i in range(a, b):
            walk.step(events.rows[i])
        saved.append(walk.carried())
        found[used // 2] += walk.found
    lanes.records["walk"] = saved
    lanes.save(laid)
    # By two indices: the records may lie apart, and a flat view of them would be a copy.
    records["lane"][lanes.patient, lanes.behind] = lanes.records
    return found


class _Events:
    """Rows worth a step, as plain numbers, by lane."""

    __slots__ = ("edges", "rows")

    def __init__(self, rows: list[Judged], edges: list[int]) -> None:
        self.rows, self.edges = rows, edges


class _Lanes:
    """The runs of one call, put by lane: times, intervals, breaks."""

    def __init__(self, records: Records, who: Ints, start_us: Ints, rr_ms: Floats, first: Ints) -> None:
        rr = np.where((rr_ms >= 0) & (rr_ms < _MOST_MS), np.rint(rr_ms), np.nan)
        size = np.diff(np.append(first, rr.size))
        run = np.repeat(np.arange(first.size), size)
        total = np.concatenate([[0], np.cumsum(np.where(np.isnan(rr), 0, rr).astype(np.int64))])
        at = start_us[run] + 1000 * (total[1:] - total[first][run])
        end = start_us + 1000 * (total[first + size] - total[first])
        lane, follows = self._place(records, who, start_us, end, size)
        broken = np.zeros(rr.size, dtype=bool)
        broken[first[(size > 0) & ~follows]] = True
        beat_lane = lane[run]
        order = np.argsort(beat_lane, kind="stable")
        self.used = np.unique(beat_lane).tolist()
        self.patient, self.behind = [k // 2 for k in self.used], [k % 2 for k in self.used]
        self.records = records["lane"][self.patient, self.behind]
        self.rr, self.at, self.broken = rr[order], at[order], broken[order]
        self.edges = np.searchsorted(beat_lane[order], np.append(self.used, 2 * records.size)).tolist()
        self._join()

    @staticmethod
    def _place(
        records: Records, who: Ints, start_us: Ints, end: Ints, size: Ints
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Lane of each run, and whether it follows the beat before it without a break."""
        ends = records["lane"]["end_us"].tolist()
        lane, follows = [], []
        for i, begin, stop, beats in zip(who.tolist(), start_us.tolist(), end.tolist(), size.tolist(), strict=True):
            behind = begin < ends[i][0] - TOLERANCE_US
            lane.append(2 * i + behind)
            follows.append(abs(begin - ends[i][behind]) <= TOLERANCE_US)
            if beats:
                ends[i][behind] = stop
        for i in set(who.tolist()):
            records["lane"]["end_us"][i] = ends[i]
        return np.array(lane, dtype=np.int64), np.array(follows, dtype=bool)

    def _join(self) -> None:
        """Merge double detections, lane by lane where there are any."""
        pending = self.records["pending_ms"].tolist()
        if not any(pending) and not (self.rr < 200).any():
            return
        rr, kept, edges = [], [], [0]
        for k in range(len(self.used)):
            a, b = self.edges[k], self.edges[k + 1]
            joined, stay, left = merge_double(self.rr[a:b], 0.0 if self.broken[a] else float(pending[k]))
            self.records["pending_ms"][k] = left
            rr.append(joined)
            kept.append(stay)
            edges.append(edges[-1] + int(stay.sum()))
        keep = np.concatenate(kept)
        moved = np.flatnonzero(self.broken & ~keep)
        broken = self.broken.copy()
        for i in moved.tolist():
            later = np.flatnonzero(keep[i:])
            if later.size:
                broken[i + later[0]] = True
        self.rr, self.at, self.broken, self.edges = np.concatenate(rr)[keep], self.at[keep], broken[keep], edges

    def lay(self) -> Stretch:
        """The lanes in one array, each led by the beats that it carries."""
        lanes = len(self.used)
        edges = np.array(self.edges)
        lane = np.repeat(np.arange(lanes), np.diff(edges))
        self.place = np.arange(self.rr.size) + BEATS * (lane + 1)
        self.first = edges[:-1] + BEATS * np.arange(lanes)
        self.lane = lane
        rr = np.full(self.rr.size + BEATS * lanes, np.nan)
        broken = np.zeros(rr.size, dtype=bool)
        rr[self.place], broken[self.place] = self.rr, self.broken
        ring = self.records["ring"].astype(np.float64)
        return stretch(rr, broken, self.first, ring, self.records["count"].astype(np.int64))

    def save(self, laid: Stretch) -> None:
        """Carry the last beats of each lane."""
        last = self.first + BEATS + np.diff(np.array(self.edges)) - 1
        grown = last >= self.first + BEATS
        tail = laid.windows(last)
        self.records["ring"] = np.where((tail >= 0) & (tail < LONGEST_MS), tail, 0).astype(np.uint16)
        # A whole number of windows is taken off, so that the count stays small and its phase as it was.
        count = np.where(grown, laid.count[last], self.records["count"])
        self.records["count"] = np.where(count > 2**20, BEATS + count % EVERY + EVERY, count)


def _judge(laid: Stretch, lanes: _Lanes, model: Rhythm) -> _Events:
    """What each step needs: every eighth beat of an unbroken run, and every interval too long to be a beat."""
    count, rr = laid.count[lanes.place], lanes.rr
    long = rr >= LONGEST_MS
    judged = (count > 0) & (count % EVERY == 0)
    pick = np.flatnonzero(judged | long)
    place = lanes.place[pick]
    # The eight beats before a pause, or the eight that are judged.
    shift = np.where(long[pick], 1, 0)
    eight = laid.rr[(place - shift)[:, None] + np.arange(1 - EVERY, 1)]
    settled = laid.count[place - shift] * long[pick]
    lane = lanes.lane[pick]
    leading = long[pick] & (pick == np.array(lanes.edges)[lane])
    settled = np.where(leading, lanes.records["count"][lane], settled)
    settled = np.where(lanes.broken[pick], 0, settled)
    ordered = np.sort(eight, axis=1)
    middle = (ordered[:, EVERY // 2 - 1] + ordered[:, EVERY // 2]) / 2
    spread = ordered[:, -1] - ordered[:, 0]
    took = eight.sum(axis=1)
    steady = np.where((count[pick] > 0) & (spread <= STEADY * middle), 1, 0)
    doubtful = np.flatnonzero((steady == 0) & ~long[pick])
    if doubtful.size:
        steady[doubtful] = mended(eight[doubtful], middle[doubtful])
    odds = np.full(pick.size, np.nan)
    mean = np.full(pick.size, np.nan)
    whole = np.flatnonzero(~long[pick] & (count[pick] >= BEATS))
    if whole.size:
        windows = laid.windows(place[whole])
        odds[whole] = log_odds(windows, model.classifier)
        mean[whole] = windows.sum(axis=1) / BEATS
    columns: Sequence[Floats | Ints] = (
        lanes.at[pick], np.where(long[pick], 0, count[pick]), rr[pick], middle, spread, took, odds, mean, settled,
        steady,
    )  # fmt: skip
    rows = [Judged(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]
    return _Events(rows, np.searchsorted(pick, np.array(lanes.edges)).tolist())
