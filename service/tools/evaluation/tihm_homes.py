"""Homes of TIHM as the product follows them: pauses between signs of life, and silences injected."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.detection import absence
from service.detection.absence import SLOT_S, Place
from service.tools.evaluation.common import Floats

FILE = "tihm/activity.csv.xz"
PLACES = {
    "front-door": Place.DOOR,
    "back-door": Place.DOOR,
    "bedroom": Place.BEDROOM,
    "bathroom": Place.BATHROOM,
    "kitchen": Place.KITCHEN,
    "fridge-door": Place.KITCHEN,
    "lounge": Place.LOUNGE,
}
DAY_S = 86_400
LEARNING_S = 14 * DAY_S
OUTAGE_S = 6 * 3600
OUTAGE_HOMES = 5
"""Nothing from any of so many homes for so long is our own outage (policy; the product, which hears the devices'
heartbeats, knows it within minutes)."""
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Pauses:
    """Pauses between signs (or injected silences): the state at their beginning, and how they went."""

    state: absence.Records
    who: Ints
    length_s: Ints
    learnt: Bools
    """Whether the person had been known for two weeks."""
    outage_end: Ints
    """End of an outage of ours within the pause; 0 where none."""
    outage_begin: Ints

    def take(self, mask: Bools) -> Pauses:
        outage = self.outage_end[mask], self.outage_begin[mask]
        return Pauses(self.state[mask], self.who[mask], self.length_s[mask], self.learnt[mask], *outage)


@dataclass(slots=True)
class Homes:
    people: list[str]
    band: list[str]
    sex: list[str]
    time: list[Ints]
    place: list[Ints]
    outages: list[tuple[int, int]] = field(default_factory=list)
    days: Floats = field(default_factory=lambda: np.zeros(0))
    """Observed days after, and before, the first two weeks: float64[people, 2]."""


def read(data: Path) -> Homes:
    """All homes, with age band and sex where known."""
    signs: dict[str, list[tuple[int, int]]] = {}
    with lzma.open(data / FILE, "rt") as f:
        for row in csv.DictReader(f):
            at = int(np.datetime64(row["time"], "s").astype(np.int64))
            signs.setdefault(row["patient_id"], []).append((at, int(PLACES.get(row["location"], Place.OTHER))))
    known: dict[str, dict[str, str]] = {}
    if (data / "tihm/demographics.csv.xz").is_file():
        with lzma.open(data / "tihm/demographics.csv.xz", "rt") as f:
            known = {row["patient_id"]: row for row in csv.DictReader(f)}
    people = sorted(signs)
    table = [np.array(sorted(signs[p]), dtype=np.int64) for p in people]
    homes = Homes(
        people,
        [known.get(p, {}).get("age", "") or "unknown" for p in people],
        [known.get(p, {}).get("sex", "") or "unknown" for p in people],
        [t[:, 0] for t in table],
        [t[:, 1] for t in table],
    )
    homes.outages = _outages(homes)
    homes.days = np.array([_days(t, homes.outages) for t in homes.time])
    return homes


def _outages(homes: Homes) -> list[tuple[int, int]]:
    """Stretches in which nothing came from any of at least `OUTAGE_HOMES` homes installed on both sides."""
    every = np.sort(np.concatenate(homes.time))
    found = []
    for i in np.flatnonzero(np.diff(every) > OUTAGE_S).tolist():
        a, b = int(every[i]), int(every[i + 1])
        if sum(int(t[0]) <= a and int(t[-1]) >= b for t in homes.time) >= OUTAGE_HOMES:
            found.append((a, b))
    return found


def _days(time: Ints, outages: Sequence[tuple[int, int]]) -> tuple[float, float]:
    start, end = int(time[0]), int(time[-1])
    known = min(start + LEARNING_S, end)

    def seen(a: int, b: int) -> float:
        return (b - a - sum(max(0, min(b, d) - max(a, c)) for c, d in outages)) / DAY_S

    return seen(known, end), seen(start, known)


def replay(homes: Homes, injected: int, seed: int = 11) -> tuple[Pauses, Pauses]:
    """Let the product follow every home; its state at each pause of a slot or more, and at random signs."""
    n = len(homes.people)
    who = np.repeat(np.arange(n), [t.size for t in homes.time])
    at, place = np.concatenate(homes.time), np.concatenate(homes.place)
    begins = np.concatenate([[0], np.cumsum([t.size for t in homes.time])])
    length = np.diff(at, append=0)
    length[begins[1:] - 1] = 0
    pause = (length > 0) & (np.append(at[1:], 0) // SLOT_S - at // SLOT_S >= 2)
    drawn = np.zeros(at.size, dtype=np.int64)
    for i in range(n):
        may = begins[i] + np.flatnonzero(homes.time[i] >= homes.time[i][0] + LEARNING_S)
        if may.size:
            picks = np.random.default_rng([seed, i]).choice(may, injected)
            np.add.at(drawn, picks, 1)
    order = np.lexsort((np.arange(at.size), at))
    w, t, p = who[order], at[order], place[order]
    marked = drawn[order] > 0
    cut = np.flatnonzero((np.diff(t // SLOT_S, append=-1) != 0) | marked) + 1
    records, offset = absence.blank(n), np.zeros(n, dtype=np.int64)
    states: tuple[list[Any], list[Any]] = ([], [])
    rows: tuple[list[int], list[int]] = ([], [])
    a = 0
    for b in cut.tolist():
        by = np.argsort(w[a:b], kind="stable") + a
        absence.update(records, w[by], t[by], p[by], offset)
        for j in order[a:b][pause[order[a:b]]].tolist():
            states[0].append(records[who[j]].tobytes())
            rows[0].append(j)
        if marked[b - 1]:
            j = int(order[b - 1])
            states[1].extend([records[who[j]].tobytes()] * int(drawn[j]))
            rows[1].extend([j] * int(drawn[j]))
        a = b
    starts = np.array([times[0] for times in homes.time])
    return (
        _pauses(states[0], np.array(rows[0], dtype=np.int64), (who, at, length, starts), homes.outages),
        _pauses(states[1], np.array(rows[1], dtype=np.int64), (who, at, length, starts), []),
    )


def _pauses(
    states: list[bytes], rows: Ints, signs: tuple[Ints, Ints, Ints, Ints], outages: Sequence[tuple[int, int]]
) -> Pauses:
    who, at, length, starts = signs
    begin, end = at[rows], at[rows] + length[rows]
    outage, outage_begin = np.zeros((2, rows.size), dtype=np.int64)
    for a, b in outages:
        within = (begin <= a) & (end >= b)
        outage[within], outage_begin[within] = b, a
    state = np.frombuffer(b"".join(states), dtype=absence.STATE)
    return Pauses(state, who[rows], length[rows], begin >= starts[who[rows]] + LEARNING_S, outage, outage_begin)


def alarms(pauses: Pauses, limit_s: Ints, outage: bool = True, announced: bool = True) -> Bools:
    """Which pauses raise an alarm: bool[..., pauses].

    An outage of ours tells of nobody: unless the wait had run out before it, it begins anew after it. An absence of
    more than a day counts as announced.
    """
    begin = pauses.state["last_t"]
    raised = limit_s < pauses.length_s
    if outage:
        before = begin + limit_s <= pauses.outage_begin
        anew = (pauses.outage_end > 0) & ~before & (begin + pauses.length_s - pauses.outage_end <= limit_s)
        raised = raised & ~anew
    return raised & (pauses.length_s <= DAY_S) if announced else raised
