"""The quality gate: each reading of each vital is accepted, doubtful or rejected, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

from devices.reading import INDEX
from service.detection.segments import Bools, Floats, Ints, last_index, running_max, runs
from service.detection.state import GATED, RUNS, Records

Codes = npt.NDArray[np.uint8]


class Quality(IntEnum):
    ACCEPTED = 0
    DOUBTFUL = 1
    REJECTED = 2


class Reason(StrEnum):
    """Why a reading is not plainly accepted, in rising order of weight."""

    NONE = ""
    RATE_OF_CHANGE = "rate_of_change"
    FLAT_LINE = "flat_line"
    RATES_DISAGREE = "rates_disagree"
    MOTION = "motion"
    SIGNAL_CONTRADICTION = "signal_contradiction"
    NOT_WORN = "not_worn"


REASONS: tuple[Reason, ...] = tuple(Reason)
_CODE = {reason: i for i, reason in enumerate(REASONS)}
LEVEL = np.array([0, 1, 1, 1, 1, 2, 2], dtype=np.uint8)
"""`Quality` of each of `REASONS`."""

# Largest believable step between successive readings no more than RATE_WITHIN_S apart: base + rate x seconds,
# in the order of GATED. Policy: above what a heart or a lung does, below what a slipped sensor does.
STEP_BASE = np.array([30.0, 30, 8, 15, 0.8, 60])
STEP_PER_S = np.array([1.0, 1, 2, 1, 0.02, 2])
RATE_WITHIN_S = 60
FLAT_S = 7200
FLAT_READINGS = 60
"""A heart or pulse rate that repeats to the digit for so long looks like a stuck device (policy). It is shown as
doubtful and still judged: a steady dangerous rate must not fall silent for being steady."""
FLAT_GAP_S = 300
DISAGREE_BPM = 10.0
DISAGREE_SHARE = 0.15
"""Heart and pulse rate agree within 10 bpm or 15 % (policy: an ECG meter may err by 5 bpm or 10 % (EC13), a pulse
meter by a few bpm more)."""
SAME_MOMENT_S = 15
WITNESS_S = 90
"""A second vital may speak against a zero when no older than this: one missed reading a minute (policy)."""
NORMAL_RATE = (41.0, 130.0)
NORMAL_SPO2_SCALE_1 = 92.0
NORMAL_SPO2_SCALE_2 = 88.0
"""A witness is normal where NEWS2 gives it fewer than 3 points (RCP 2017); scale 2 aims at 88-92."""
WALKING_PER_MIN = 30.0
"""Steps a minute from which optical SpO2 and breathing are doubtful (policy)."""
RAISED_BPM = 111.0
"""NEWS2 pulse: 2 points from here (RCP 2017, chart 1)."""
CALM_BPM = 100.0
"""Below it a rate has recovered from effort: the usual edge of tachycardia in adults."""
RECOVERY_S = 1080
"""Steps taken at a raised rate put rest off by so much more, unless the rate calms before: after hard exercise it
takes half an hour and more to come back (policy; what rises at rest is not held back)."""
RESTED_S = 720
"""No step for 12 minutes: at rest, as in `limits.REST_S`."""
RATE_FRESH_S = 150
"""A rate no older than this speaks for the moment of a step: one missed reading a minute (policy)."""
WORN_HOLDS_S = 600
"""For how long "not worn" speaks for rows that do not say (policy)."""

_HEART, _PULSE, _SPO2, _RESP = range(4)
_CONTACT = 4


@dataclass(slots=True)
class Gate:
    """What the gate found for m stacked rows (carried rows included)."""

    code: Codes
    """uint8[m, gated]: index into `REASONS`."""
    value: Floats
    """float64[m, gated]: as posted, carried values in carried rows."""
    seen: Ints
    """int64[m, gated]: row of the latest value at or before each row."""
    seen_t: Ints
    """int64[m, gated]: when each row's own value was measured."""
    bad: Bools
    """bool[m, RUNS]: contradicted in this row."""
    judged: Bools
    """bool[m, RUNS]: could be contradicted in this row."""
    run_bad: Bools
    """bool[m, RUNS]: whether the run under way contradicts."""
    run_t: Ints
    run_n: Ints
    flat_t: Ints
    flat_n: Ints
    worn: Floats
    """float64[m]: the latest word of whether it is worn; NaN is never said."""
    worn_t: Ints
    off: Bools
    """bool[m]: whether what touches the skin is not worn."""
    steps_t: Ints
    """int64[m]: from when rest is counted, `RECOVERY_S` ahead while a rate raised by steps is still raised."""


def _shift(rows: Ints) -> Ints:
    shifted = np.empty_like(rows)
    shifted[0], shifted[1:] = rows[0], rows[:-1]
    return shifted


def _rate_of_change(x: Floats, seen: Ints, seen_t: Ints) -> Bools:
    before = _shift(seen)
    columns = np.arange(x.shape[1])
    apart = seen_t - seen_t[before, columns]
    old = x[before, columns]
    step = np.abs(x - old) > STEP_BASE + STEP_PER_S * apart
    found: Bools = step & (apart >= 0) & (apart <= RATE_WITHIN_S) & (x > 0) & (old > 0)
    return found


def _contradictions(x: Floats, age: Ints, latest: Floats, spo2_normal: Floats) -> Bools:
    """Zeros that other vitals speak against, for heart rate, pulse, SpO2 and breathing."""
    fresh = (age >= -WITNESS_S) & (age <= WITNESS_S)
    alive = fresh[:, :2] & (latest[:, :2] >= NORMAL_RATE[0]) & (latest[:, :2] <= NORMAL_RATE[1])
    any_alive = alive.any(axis=1)
    # A low SpO2 beside a breathing rate of 0 is no contradiction but an emergency.
    starved = fresh[:, _SPO2] & (latest[:, _SPO2] < spo2_normal) & (latest[:, _SPO2] > 0)
    witness = np.stack([alive[:, 1], alive[:, 0], any_alive, any_alive & ~starved], axis=1)
    found: Bools = (x[:, :4] == 0) & witness
    return found


def _disagreement(x: Floats, age: Ints, latest: Floats) -> tuple[Bools, Bools]:
    near = (np.abs(age[:, :2]) <= SAME_MOMENT_S) & (latest[:, :2] > 0)
    absent = np.isnan(x[:, :2])
    judged: Bools = near[:, 0] & near[:, 1] & ~(absent[:, 0] & absent[:, 1])
    heart, pulse = latest[:, _HEART], latest[:, _PULSE]
    limit = np.maximum(DISAGREE_BPM, DISAGREE_SHARE * np.maximum(heart, pulse))
    differ: Bools = judged & (np.abs(heart - pulse) > limit)
    return differ, judged


def _flat(
    x: Floats, present: Bools, seen: Ints, seen_t: Ints, time: Ints, first: Ints, lanes: Records
) -> tuple[Bools, Ints, Ints]:
    before = _shift(seen)[:, :2]
    columns = np.arange(2)
    x, present, seen_t = x[:, :2], present[:, :2], seen_t[:, :2]
    same = (x == x[before, columns]) & (seen_t - seen_t[before, columns] <= FLAT_GAP_S)
    began, count = runs(present & ~same, present, time, first, (lanes["flat_t"], lanes["flat_n"]))
    flat: Bools = present & (time[:, None] - began >= FLAT_S) & (count >= FLAT_READINGS)
    return flat, began, count


def _worn(values: Floats, time: Ints, first: Ints, lanes: Records) -> tuple[Floats, Ints, Bools, Bools]:
    """The latest word, when it was said, whether the row itself says "not worn", and whether that holds for it."""
    said = values[:, INDEX["worn"]].copy()
    own = said == 0
    said_t = time.copy()
    said[first], said_t[first] = lanes["worn"], lanes["worn_t"]
    index = last_index(~np.isnan(said), first)
    worn, worn_t = said[index], said_t[index]
    return worn, worn_t, own, (worn == 0) & (time - worn_t <= WORN_HOLDS_S)


def _walking(values: Floats, time: Ints, first: Ints, lanes: Records) -> Bools:
    steps = values[:, INDEX["steps"]]
    before = np.concatenate([time[:1], time[:-1]])
    before[first + 1] = lanes["row_t"]
    apart = time - before
    walking: Bools = (apart > 0) & (apart <= FLAT_GAP_S) & (steps * 60 >= WALKING_PER_MIN * np.maximum(apart, 1))
    return walking


def _rates(value: Floats, age: Ints) -> tuple[Bools, Bools]:
    """Whether all fresh rates, of heart and pulse, are raised; whether any is calm."""
    fresh = (np.abs(age) <= RATE_FRESH_S) & (value > 0)
    raised: Bools = np.any(fresh, axis=1) & ~np.any(fresh & (value < RAISED_BPM), axis=1)
    calm: Bools = np.any(fresh & (value < CALM_BPM), axis=1)
    return raised, calm


def _effort(stepped: Bools, x: Floats, seen: Ints, seen_t: Ints, time: Ints, first: Ints, lanes: Records) -> Ints:
    """From when rest is counted: the latest step, put off while a raised rate recovers from it.

    Steps taken when the rate of a resting person was raised before them are not its cause and count as none.
    """
    size = np.diff(np.append(first, time.size))
    if not stepped.any() and not (lanes["steps_t"] > lanes["front"]).any():
        return np.repeat(lanes["steps_t"], size)
    front = time.copy()
    front[first] = lanes["front"]
    front = running_max(front, np.repeat(np.arange(first.size), size))
    columns = np.arange(2)
    latest, before = seen[:, :2], _shift(seen)[:, :2]
    raised, calm = _rates(x[latest, columns], time[:, None] - seen_t[latest, columns])
    already, _ = _rates(x[before, columns], time[:, None] - seen_t[before, columns])
    calm &= ~stepped
    calm[first] = False
    mark = np.where(raised, front + RECOVERY_S, front)
    mark[first] = lanes["steps_t"]
    if_all_count = _rest_from(stepped, calm, mark, front, first)
    innocent = stepped & already & (front - _shift(if_all_count) >= RESTED_S)
    chain = last_index(innocent | (stepped & ~already), first)
    return _rest_from(stepped & ~innocent[chain], calm, mark, front, first)


def _rest_from(stepped: Bools, calm: Bools, mark: Ints, front: Ints, first: Ints) -> Ints:
    """The mark of the latest step, or the first calm row after it where that is earlier."""
    event = _shift(last_index(stepped | calm, first))
    first_calm = calm & ~calm[event]
    step = last_index(stepped, first)
    row = last_index(stepped | first_calm, first)
    return np.where(first_calm[row], np.minimum(mark[step], front[row]), mark[step])


def gate(values: Floats, time: Ints, first: Ints, lanes: Records, scale_2: Bools) -> Gate:
    """Judge every reading of every lane.

    Parameters
    ----------
    values : float64[m, columns]
        Stacked rows of `devices.reading.COLUMNS`; NaN is absent; carried rows are all NaN, and each lane has
        at least one row after its carried one.
    time : int64[m]
        Seconds; in a carried row anything.
    first : int64[lanes]
        The carried rows.
    lanes : structured[lanes]
        Carried state.
    scale_2 : bool[m]
        Whether the wearer's SpO2 is judged on NEWS2 scale 2.
    """
    x = values[:, [INDEX[name] for name in GATED]]
    seen_t = np.repeat(time[:, None], len(GATED), axis=1)
    x[first], seen_t[first] = lanes["seen_v"], lanes["seen_t"]
    present = ~np.isnan(x)
    present[first] = False
    seen = last_index(present, first)
    columns = np.arange(len(GATED))
    latest, age = x[seen, columns], time[:, None] - seen_t[seen, columns]
    zero = _contradictions(x, age, latest, np.where(scale_2, NORMAL_SPO2_SCALE_2, NORMAL_SPO2_SCALE_1))
    differ, comparable = _disagreement(x, age, latest)
    flat, flat_t, flat_n = _flat(x, present, seen, seen_t, time, first, lanes)
    worn, worn_t, off_now, off = _worn(values, time, first, lanes)
    walking = _walking(values, time, first, lanes)
    stepped = values[:, INDEX["steps"]] > 0
    steps_t = _effort(stepped, x, seen, seen_t, time, first, lanes)

    code = np.where(_rate_of_change(x, seen, seen_t), _CODE[Reason.RATE_OF_CHANGE], 0).astype(np.uint8)
    code[:, :2][flat] = _CODE[Reason.FLAT_LINE]
    code[:, :2][differ] = _CODE[Reason.RATES_DISAGREE]
    code[:, _SPO2:_CONTACT][walking] = _CODE[Reason.MOTION]
    code[:, :4][zero] = _CODE[Reason.SIGNAL_CONTRADICTION]
    code[:, :_CONTACT][off] = _CODE[Reason.NOT_WORN]
    code[off_now] = _CODE[Reason.NOT_WORN]
    code[~present] = 0

    judged = np.column_stack([present[:, :4] & ~off[:, None], comparable & ~off])
    judged[first] = False
    bad = np.column_stack([zero, differ]) & judged
    run_bad, run_t, run_n = _contradiction_runs(bad, judged, time, first, lanes)
    return Gate(code, x, seen, seen_t, bad, judged, run_bad, run_t, run_n, flat_t, flat_n, worn, worn_t, off, steps_t)


def _contradiction_runs(bad: Bools, judged: Bools, time: Ints, first: Ints, lanes: Records) -> tuple[Bools, Ints, Ints]:
    """Runs of rows that contradict, or do not: a row that cannot be judged breaks no run."""
    state = bad.copy()
    state[first] = lanes["run_bad"] != 0
    index = last_index(judged, first)
    columns = np.arange(RUNS)
    before = _shift(index)
    started = judged & (state != state[before, columns])
    # A carried run without a row yet: the first judged row starts one.
    fresh = np.zeros_like(judged)
    fresh[first] = lanes["run_n"] == 0
    started |= judged & fresh[before, columns]
    began, count = runs(started, judged, time, first, (lanes["run_t"], lanes["run_n"]))
    return state[index, columns], began, count
