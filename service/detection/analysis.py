"""Uploads of a group of patients, judged together: new states, what opened and ended, each row's quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from devices.reading import INDEX, Batch
from devices.signals.finding import Finding
from dispatch.alarm import AlarmCondition, Priority
from service.detection import calm, layers, quality, samples, state, telling, usual
from service.detection.conditions import CODES, PHYSIOLOGICAL, Pass, codes, condition, physiological, shown
from service.detection.layers import Wearer
from service.detection.limits import LATE_S, REST_S, People, PersonSettings, signals
from service.detection.segments import Floats, Ints, latch, running_max
from service.detection.state import EVIDENCE, GATED, NEVER, Records

OUT_OF_ORDER_S = 150
"""Rows no further behind the newest belong to the present; older ones are a backlog (policy). No more, so that
the rings hold every sample that could arrive twice."""
_LATEST_S = 4_102_444_800
_VITALS = [i for name, i in INDEX.items() if name not in ("steps", "worn", "battery_pct")]


@dataclass(slots=True)
class Analysis:
    """What one upload of one patient showed.

    Attributes
    ----------
    state : bytes
        The patient's new state, at most 8 kB.
    opened : list[AlarmCondition]
        Conditions that opened or rose in priority, in order of arrival.
    ended : list[str]
        Codes that ended. A code both opened and ended here is over unless `active` holds it.
    active : tuple[str, ...]
        Codes that hold after the upload.
    quality : uint8[n_rows]
        0 all fields accepted, 1 some doubtful or rejected, 2 nothing usable; rows as given.
    fields : uint8[n_rows, columns]
        The same for each field; fields that no gate judges are 0.
    reasons : dict[int, str]
        Row to "field=reason field=reason" for rows not plainly accepted.
    findings : list[Finding]
        What the layers above the limits found, before it was weighed.
    at_us, ended_us : list[int]
        Time of the data that each of `opened` and of `ended` rests on, microseconds UTC.
    look_us : int or None
        When to look whether this person is quiet for too long, microseconds UTC; None where nothing they do is heard.
    """

    state: bytes
    opened: list[AlarmCondition] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    active: tuple[str, ...] = ()
    quality: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    fields: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, len(INDEX)), dtype=np.uint8))
    reasons: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    at_us: list[int] = field(default_factory=list)
    ended_us: list[int] = field(default_factory=list)
    look_us: int | None = None


@dataclass(slots=True)
class _Rows:
    """Rows of all patients in one stack, by patient, then arrival."""

    who: Ints
    source: Ints
    """int64[n]: row of the patient's batch; -1 for a worn or taken-off event."""
    time: Ints
    values: Floats


def _worn_events(batch: Batch) -> tuple[Ints, Ints, Floats]:
    """Taken-off and put-on events as rows, and the row that each comes before."""
    told = [e for e in batch.events if str(e.kind) in ("taken_off", "put_on")]
    at = np.array([e.at_us for e in told], dtype=np.int64)
    values = np.full((len(told), len(INDEX)), np.nan)
    values[:, INDEX["worn"]] = [float(str(e.kind) == "put_on") for e in told]
    earlier = [np.flatnonzero(batch.seq < e.seq) for e in told]
    return at, np.array([rows[-1] + 1 if rows.size else 0 for rows in earlier], dtype=np.int64), values


def _stack(batches: Sequence[Batch]) -> _Rows:
    who, source, at, values = [], [], [], []
    for i, batch in enumerate(batches):
        rows, at_us, table = np.arange(batch.at_us.size), batch.at_us, batch.values
        if batch.events:
            event_at, before, event_values = _worn_events(batch)
            rows = np.insert(rows, before, -1)
            at_us, table = np.insert(at_us, before, event_at), np.insert(table, before, event_values, axis=0)
        who.append(np.full(rows.size, i))
        source.append(rows)
        at.append(at_us)
        values.append(table)
    time = np.clip(np.concatenate(at) // 1_000_000, 1, _LATEST_S)
    return _Rows(np.concatenate(who), np.concatenate(source), time, np.concatenate(values))


def _lanes(rows: _Rows, records: Records) -> tuple[Ints, Ints]:
    """Lane of each row (2 x patient, + 1 for the backlog) and the order that makes lanes contiguous."""
    front = np.maximum(running_max(rows.time, rows.who), records["lane"]["front"][rows.who, 0])
    lane = 2 * rows.who + (rows.time < front - OUT_OF_ORDER_S)
    if not (lane & 1).any():
        return lane, np.arange(lane.size)
    # A backlog is put in order of time; the present is judged as it arrives.
    return lane, np.lexsort((np.where(lane & 1, rows.time, 0), lane))


def _run(rows: _Rows, records: Records, people: People, now_us: Ints, late_s: float) -> tuple[Pass, Records]:
    lane_of, order = _lanes(rows, records)
    used, size = np.unique(lane_of, return_counts=True)
    first = np.concatenate([[0], np.cumsum(size + 1)[:-1]])
    lane = np.repeat(np.arange(used.size), size + 1)
    body = np.ones(lane.size, dtype=bool)
    body[first] = False
    time = np.zeros(lane.size, dtype=np.int64)
    values = np.full((lane.size, rows.values.shape[1]), np.nan)
    time[body], values[body] = rows.time[order], rows.values[order]

    lanes = records["lane"].reshape(-1)[used]
    # A backlog older than the one before it is a stretch of its own.
    behind = (used & 1 == 1) & (time[first + 1] < lanes["front"] - OUT_OF_ORDER_S)
    lanes[behind] = state.BLANK_LANE
    time[first] = lanes["front"]
    front = running_max(time, lane)
    wearers = people.at(used[lane] // 2)
    late = now_us[used[lane] // 2] // 1_000_000 - time
    gate = quality.gate(values, time, first, lanes, wearers.scale_2)
    found = samples.evidence(gate, first)
    kept = samples.thin(found, time, lane, front, lanes)
    judged = signals(gate, kept, found, (values, time, front, late), first, lanes, wearers, late_s)
    held = latch(judged.arm, judged.clear, first, lanes["latch"])
    rest = (time - gate.steps_t >= REST_S) & (used[lane] & 1 == 0)
    learnt = usual.learn(found, rest, (time, lane, first), held, wearers, records[used // 2])
    last = np.concatenate([first[1:], [lane.size]]) - 1
    done = Pass(
        order=order, body=np.flatnonzero(body), first=first, last=last, used=used, time=time, front=front, lane=lane,
        wearers=wearers, values=values, gate=gate, kept=kept, signals=judged, held=held, usual=learnt,
    )  # fmt: skip
    return done, lanes


def _save(done: Pass, lanes: Records, records: Records) -> None:
    """Carry the last row of each lane into the records (the rings are already brought up to date)."""
    gate, last = done.gate, done.last
    columns = np.arange(len(GATED))
    seen = gate.seen[last]
    lanes["front"] = done.front[last]
    lanes["row_t"] = done.time[last]
    lanes["seen_v"], lanes["seen_t"] = gate.value[seen, columns], gate.seen_t[seen, columns]
    for name in ("flat_t", "flat_n", "run_bad", "run_t", "run_n", "worn", "worn_t", "steps_t"):
        lanes[name] = getattr(gate, name)[last]
    kinds = np.arange(len(EVIDENCE))
    for name in ("news", "lone"):
        value, at = getattr(done.signals, name + "_v"), getattr(done.signals, name + "_t")
        index = getattr(done.signals, name + "_at")[last]
        lanes[name + "_v"], lanes[name + "_t"] = value[index, kinds], at[index, kinds]
    lanes["latch"] = done.held[last]
    flat = records["lane"].reshape(-1)
    flat[done.used] = lanes
    records["lane"] = flat.reshape(-1, 2)
    present = done.used & 1 == 0
    mean, count = done.usual.final()
    for name, fresh in (("usual_m", mean), ("usual_n", count), ("usual_minute", done.usual.minute)):
        records[name][done.used[present] // 2] = fresh[present]


def _save_latest(rows: _Rows, doubt: npt.NDArray[np.uint8], records: Records) -> None:
    """Keep the latest usable value of each column, by the time it was measured."""
    present, start = np.unique(rows.who, return_index=True)
    usable = ~np.isnan(rows.values) & (doubt < quality.Quality.REJECTED)
    time = np.where(usable, rows.time[:, None], NEVER)
    newest = np.maximum.reduceat(time, start, axis=0)
    spread = np.repeat(newest, np.diff(np.append(start, rows.who.size)), axis=0)
    place = np.where(usable & (time == spread), np.arange(rows.who.size)[:, None], -1)
    place = np.maximum.reduceat(place, start, axis=0)
    newer = (place >= 0) & (newest >= records["last_t"][present])
    columns = np.arange(rows.values.shape[1])
    for name, fresh in (("last_v", rows.values), ("last_t", time), ("last_doubt", doubt)):
        kept = records[name]
        kept[present] = np.where(newer, fresh[np.maximum(place, 0), columns], kept[present])
    records["newest"][present] = np.maximum(records["newest"][present], np.maximum.reduceat(rows.time, start))


def _fields(done: Pass, rows: _Rows) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Quality of each field, and reason codes of the gated ones, in the order of the stack."""
    code = np.zeros((rows.who.size, len(GATED)), dtype=np.uint8)
    code[done.order] = done.gate.code[done.body]
    doubt = np.zeros(rows.values.shape, dtype=np.uint8)
    doubt[:, [INDEX[name] for name in GATED]] = quality.LEVEL[code]
    skin = INDEX["skin_temperature_c"]
    doubt[done.order, skin] = np.where(done.gate.off[done.body] & ~np.isnan(rows.values[done.order, skin]), 2, 0)
    return doubt, code


@dataclass(slots=True)
class _Known:
    """When each stacked row was known: its place in the upload, and the newest time of anything that had come."""

    place: Ints
    front_us: Ints

    @staticmethod
    def of(rows: _Rows, records: Records) -> _Known:
        front = np.maximum(running_max(rows.time, rows.who), records["newest"][rows.who])
        return _Known(rows.source, front * 1_000_000)


def _tell(
    done: Pass, before: npt.NDArray[np.int8], known: _Known, results: list[Analysis], now_us: Ints
) -> None:
    """Turn changes of latches into conditions, patient by patient in order of arrival."""
    changed = done.held[1:] != done.held[:-1]
    changed[done.first[1:] - 1] = False
    rows = np.flatnonzero(changed.any(axis=1)) + 1
    if not rows.size:
        return
    arrival = np.zeros(done.time.size, dtype=np.int64)
    arrival[done.body] = done.order
    present: dict[int, set[int]] = {}
    for row in rows[np.argsort(arrival[rows])].tolist():
        patient, backlog = divmod(int(done.used[done.lane[row]]), 2)
        holds = present.setdefault(patient, set(np.flatnonzero(before[patient]).tolist()))
        at = known.front_us[arrival[row]], known.place[arrival[row]]
        when = (int(at[0]), int(at[1]))
        now_held = set(np.flatnonzero(done.held[row]).tolist())
        rose = now_held - set(np.flatnonzero(done.held[row - 1]).tolist())
        if backlog:
            _tell_backlog(done, row, rose - holds, results[patient], int(now_us[patient]), when)
            continue
        told = set(codes(shown(holds)))
        for latch_index in sorted(shown(rose)):
            if CODES[latch_index] != "signal_contradiction" or "signal_contradiction" not in told:
                _open(results[patient], done, row, latch_index, int(now_us[patient]), when)
        gone = sorted(set(codes(holds - now_held)) - set(codes(now_held)))
        _end(results[patient], gone, when)
        present[patient] = now_held


def _tell_backlog(
    done: Pass, row: int, rose: set[int], result: Analysis, now_us: int, when: tuple[int, int]
) -> None:
    """A sign found in late rows is told with its age, and is over: the present has rows of its own."""
    for latch_index in sorted(shown(rose)):
        if physiological(latch_index):
            _open(result, done, row, latch_index, now_us, when)
            _end(result, [CODES[latch_index]], when)


def _open(
    result: Analysis, done: Pass, row: int, latch_index: int, now_us: int, when: tuple[int, int]
) -> None:
    found, (at_us, place) = condition(done, row, latch_index, now_us), when
    result.opened.append(found)
    result.at_us.append(at_us)
    if physiological(latch_index):
        result.findings.append(telling.of_limit(found.code, found.priority, at_us, place, ended=False))


def _end(result: Analysis, gone: Sequence[str], when: tuple[int, int]) -> None:
    at_us, place = when
    for code in gone:
        result.ended.append(code)
        result.ended_us.append(at_us)
        if code in PHYSIOLOGICAL:
            result.findings.append(telling.of_limit(code, Priority.LOW, at_us, place, ended=True))


def _explain(results: list[Analysis], rows: _Rows, doubt: npt.NDArray[np.uint8], code: npt.NDArray[np.uint8]) -> None:
    """Write each row's quality, fields and reasons into the results."""
    posted = ~np.isnan(rows.values[:, _VITALS])
    level = np.where(posted, doubt[:, _VITALS], 0)
    usable = (posted & (level < quality.Quality.REJECTED)).any(axis=1)
    worst = np.where(level.max(axis=1) == 0, 0, np.where(usable, 1, 2)).astype(np.uint8)
    real = rows.source >= 0
    edges = np.searchsorted(rows.who[real], np.arange(len(results) + 1)).tolist()
    worst_real, doubt_real = worst[real], doubt[real]
    for i, result in enumerate(results):
        if edges[i] == edges[i + 1]:
            continue
        result.quality, result.fields = worst_real[edges[i] : edges[i + 1]], doubt_real[edges[i] : edges[i + 1]]
    for row in np.flatnonzero((worst > 0) & real).tolist():
        names = [f"{GATED[g]}={quality.REASONS[code[row, g]]}" for g in np.flatnonzero(code[row]).tolist()]
        said = " ".join(names) or f"skin_temperature_c={quality.Reason.NOT_WORN}"
        results[rows.who[row]].reasons[int(rows.source[row])] = said


def _without_calm(
    records: Records, batches: Sequence[Batch], settings: Sequence[PersonSettings], results: list[Analysis]
) -> list[Batch]:
    """Take the short way for each upload in which nothing can alarm; the others as they are."""
    if len(batches) > calm.MOST_PEOPLE:
        return list(batches)
    left = list(batches)
    for i, batch in enumerate(batches):
        told = any(str(e.kind) in ("taken_off", "put_on") for e in batch.events)
        if batch.seq.size and not told and calm.take(records[i], batch, settings[i]):
            left[i] = Batch()
            results[i].quality = np.zeros(batch.seq.size, dtype=np.uint8)
            results[i].fields = np.zeros(batch.values.shape, dtype=np.uint8)
    return left


def _finite(batch: Batch) -> Batch:
    """What is infinite was never measured: absent, as NaN is."""
    endless = np.isinf(batch.values)
    if not np.count_nonzero(endless):
        return batch
    return replace(batch, values=np.where(endless, np.nan, batch.values))


def analyse(
    states: Sequence[bytes | None],
    batches: Sequence[Batch],
    settings: Sequence[PersonSettings],
    now_us: int | Sequence[int],
    late_s: float = LATE_S,
    wearers: Sequence[Wearer] | None = None,
) -> list[Analysis]:
    """Judge one upload of each of a group of patients.

    Parameters
    ----------
    states : sequence of bytes or None
        Each patient's state after the upload before; None before the first.
    batches : sequence of Batch
        Each patient's upload, rows in order of arrival, on corrected time.
    settings : sequence of PersonSettings
    now_us : int or sequence of int
        Receipt, of all or of each, microseconds UTC.
    late_s : float
        Seconds; medium and low signs older than this at receipt open nothing (policy).
    wearers : sequence of Wearer, optional
        Age, sex, local time and where the device is worn; not known where left out.

    Returns
    -------
    list[Analysis]
        One a patient, in the same order. The same uploads give the same states to the bit; the same rows in
        the same order give the same conditions however they are divided into uploads (a backlog: as long as
        it arrives in order of time).

    Raises
    ------
    StateError
        If a state is damaged, cut off, or of another version.
    ValueError
        If the sequences differ in length.
    """
    if not len(states) == len(batches) == len(settings):
        raise ValueError(
            "states, batches and settings must be of one length, were "
            f"{len(states)}, {len(batches)}, {len(settings)}: give one of each a patient"
        )
    received = np.full(len(states), now_us, dtype=np.int64)
    people = list(wearers) if wearers is not None else [Wearer()] * len(states)
    memory, records = layers.decode(states), state.decode(states)
    batches = [_finite(batch) for batch in batches]
    results = [Analysis(state=b"") for _ in batches]
    rest = _without_calm(records, batches, settings, results)
    rows = _stack(rest) if any(b.at_us.size or b.events for b in rest) else None
    if rows is not None and rows.who.size:
        before = records["lane"]["latch"][:, 0].copy()
        known = _Known.of(rows, records)
        done, lanes = _run(rows, records, People.of(settings), received, late_s)
        doubt, code = _fields(done, rows)
        _save(done, lanes, records)
        _save_latest(rows, doubt, records)
        _tell(done, before, known, results, received)
        _explain(results, rows, doubt, code)
    first = state.encode(records)
    held = records["lane"]["latch"][:, 0]
    for i in np.flatnonzero(np.any(held, axis=1)).tolist():
        results[i].active = codes(shown(set(held[i].nonzero()[0].tolist())))
    memory.begun = layers.begun(first)
    above = _weigh(memory, batches, settings, people, received, results)
    for result, data, more in zip(results, first, above, strict=True):
        result.state = data + more
    return results


def _weigh(
    memory: layers.Memory,
    batches: Sequence[Batch],
    settings: Sequence[PersonSettings],
    people: Sequence[Wearer],
    received: Ints,
    results: list[Analysis],
) -> list[bytes]:
    """Let the layers above hear what was accepted, and weigh it with what the limits say; returns their states."""
    doubts = [result.fields for result in results]
    heard = layers.listen(memory, batches, doubts, settings, people, received)
    for one, result in zip(heard, results, strict=True):
        one.findings = sorted([*one.findings, *result.findings], key=layers.place)
    newest = [int(b.at_us.max()) if b.at_us.size else 0 for b in batches]
    layers.weigh(memory, heard, np.minimum(np.array(newest, dtype=np.int64), received))
    looks = memory.own["look_t"].tolist()
    for one, result, now, look_t in zip(heard, results, received.tolist(), looks, strict=True):
        result.look_us = None if look_t == state.NEVER else look_t * 1_000_000
        if one.findings or one.decisions:
            _merge(result, one, now)
    return layers.encode(memory)


def _merge(result: Analysis, heard: layers.Heard, now_us: int) -> None:
    """Put what was weighed beside what the limits said, in order of the data's time."""
    opened, ended = telling.conditions(heard, now_us)
    both = sorted([*zip(result.at_us, result.opened, strict=True), *opened], key=lambda pair: pair[0])
    over = sorted([*zip(result.ended_us, result.ended, strict=True), *ended], key=lambda pair: pair[0])
    result.at_us, result.opened = [at for at, _ in both], [one for _, one in both]
    result.ended_us, result.ended = [at for at, _ in over], [code for _, code in over]
    last = {code: at for at, code in ended}
    again = [one.code for at, one in opened if at > last.get(one.code, at)]
    result.active += tuple(code for code in dict.fromkeys(again) if code not in result.active)
    result.findings = heard.findings
