"""Parse an upload: correct its times, keep what is plausible, and give every item a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from devices.batch import Batch, Beats, Event, EventKind, Floats, Ints, Waveform
from devices.dating import NEWEST_US, NO_TIME, OFF_TIME, OLDEST_US, Clock, us
from devices.streams import Outcome, judge_beats, judge_waveform
from devices.verdicts import Dropped, VerdictBook
from devices.vitals import COLUMNS
from devices.wire import MAX_SEQ, Decoded, Item, Refusal, clean, decode, event_kind, refuse_too_many

# Policy: a sample a millisecond to a sample a month.
STEP_S = (0.001, 30 * 86_400.0)

_LOW = np.array([c.low for c in COLUMNS])
_HIGH = np.array([c.high for c in COLUMNS])
_ZERO_KEPT = np.array([c.zero_means_no_signal for c in COLUMNS])
_YES_NO = np.array([c.name == "worn" for c in COLUMNS])


@dataclass(slots=True)
class Parsed:
    """What an upload holds and what is said about it."""

    upload_id: UUID
    boot_id: UUID
    sent_at_us: int | None
    clock_skew_s: float
    """Receipt minus ``sent_at``, added to device times when beyond 5 s; NaN if ``sent_at`` is unreadable."""
    batch: Batch
    verdicts: VerdictBook
    conflicting_events: list[Event] = field(default_factory=list)
    """To act on, not to store: their number holds other content within this upload, or they have none."""


@dataclass(slots=True)
class _Table:
    """All rows of `readings` and `series` before their verdicts."""

    seq: Ints
    device_us: Ints
    readable: npt.NDArray[np.bool_]
    values: Floats
    posted: int
    """So many of the rows come from `readings`; the rest from `series`, where absence is information."""
    kinds: dict[int, tuple[EventKind, str | None]] = field(default_factory=dict)
    dropped: dict[int, list[Dropped]] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)

    def drop(self, row: int, name: str, code: str, detail: str | None = None) -> None:
        self.dropped.setdefault(row, []).append(Dropped(name, code))
        if detail:
            self.details.setdefault(row, detail)


@dataclass(slots=True)
class _Kept:
    """What survives: a mask over the table's rows, and the items beside it."""

    rows: npt.NDArray[np.bool_]
    events: dict[int, Event]
    beats: list[Beats]
    waveforms: list[Waveform]

    def seqs(self, table: _Table) -> Ints:
        held = [table.seq[self.rows], np.array([wave.seq for wave in self.waveforms], dtype=np.int64)]
        return np.concatenate(held + [np.array(beats.seqs(), dtype=np.int64) for beats in self.beats])


def parse(body: bytes, received_at_us: int) -> Parsed:
    """Give a verdict on everything in an upload; raises UploadError where nothing of it can be consumed."""
    decoded = decode(body)
    refuse_too_many(_instants(decoded))
    clock = Clock(received_at_us, None if decoded.sent_at is None else us(decoded.sent_at))
    outcome = Outcome([(refusal, ()) for refusal in decoded.refused])
    table = _tabulate(decoded, outcome)
    _drop_implausible(table)
    kept = _Kept(
        rows=_judge_rows(table, clock, outcome),
        events={row: _event(clock, table, row, *said) for row, said in table.kinds.items()},
        beats=[piece for item in decoded.beats for piece in judge_beats(item, clock, outcome)],
        waveforms=[wave for item in decoded.waveforms for wave in judge_waveform(item, clock, outcome)],
    )
    book = VerdictBook()
    conflicting = _unnumbered_events(decoded, clock, book)
    if _repeats(table, kept):
        conflicting += _settle_repeats(table, kept, book)
    _write(book, table, kept, outcome)
    skew_s = math.nan if clock.sent_us is None else clock.skew_us / 1e6
    batch = _assemble(table, kept, clock)
    return Parsed(decoded.upload_id, decoded.boot_id, clock.sent_us, skew_s, batch, book, conflicting)


def _instants(decoded: Decoded) -> int:
    wired = len(decoded.readings) + len(decoded.waveforms) + len(decoded.unnumbered)
    beats = sum(max(len(item.wire.rr_ms), 1) for item in decoded.beats)
    series = sum(max(_series_length(item), 1) for item in decoded.series)
    return wired + beats + series + sum(refusal.count for refusal in decoded.refused)


def _columns(item: Item) -> list[list[Any] | None]:
    return list(msgspec.structs.astuple(item.wire)[3:])


def _series_length(item: Item) -> int:
    return max([item.length, *(len(column) for column in _columns(item) if column is not None)])


def _tabulate(decoded: Decoded, outcome: Outcome) -> _Table:
    """Put rows and series under one another; series that nothing can be made of are refused."""
    flat = [msgspec.structs.astuple(row) for row in decoded.readings]
    n, width = len(flat), len(COLUMNS)
    values = [np.array([row[2 : 2 + width] for row in flat], dtype=np.float64).reshape(n, width)]
    seqs = [np.fromiter((row[0] for row in flat), np.int64, n)]
    times = [np.fromiter((0 if row[1] is None else us(row[1]) for row in flat), np.int64, n)]
    readable = [np.fromiter((row[1] is not None for row in flat), bool, n)]
    dropped = dict(decoded.row_dropped)
    kinds: dict[int, tuple[EventKind, str | None]] = {}
    for row in range(n):
        if flat[row][-2] is not None or flat[row][-1] is not None:
            _note_event(row, flat[row][-2], flat[row][-1], kinds, dropped)
    for item in decoded.series:
        block = _series_block(item, n, dropped, outcome)
        if block is not None:
            seqs.append(block[0])
            times.append(block[1])
            readable.append(block[2])
            values.append(block[3])
            n += block[0].size
    return _Table(
        np.concatenate(seqs),
        np.concatenate(times),
        np.concatenate(readable),
        np.concatenate(values) + 0.0,  # minus zero becomes zero: equal values shall have equal bytes
        len(flat),
        kinds,
        dropped,
    )


def _note_event(
    row: int,
    said: str | None,
    place: str | None,
    kinds: dict[int, tuple[EventKind, str | None]],
    dropped: dict[int, list[Dropped]],
) -> None:
    kind = event_kind(said)
    if kind is not None:
        kinds[row] = (kind, None if place is None else clean(place))
        return
    if said is not None:
        dropped.setdefault(row, []).append(Dropped("event", "unknown_event"))
    if place is not None:
        dropped.setdefault(row, []).append(Dropped("place", "without_event"))


def _series_block(
    item: Item, offset: int, dropped: dict[int, list[Dropped]], outcome: Outcome
) -> tuple[Ints, Ints, npt.NDArray[np.bool_], Floats] | None:
    wire, n, columns = item.wire, _series_length(item), _columns(item)
    refusal = _series_refusal(item, n, columns)
    if refusal is not None:
        outcome.refused.append((refusal, tuple(item.dropped)))
        return None
    values = np.full((n, len(COLUMNS)), np.nan)
    for i, column in enumerate(columns):
        if column is None:
            continue
        values[: len(column), i] = column
        for k in range(len(column), n):
            dropped.setdefault(offset + k, []).append(Dropped(COLUMNS[i].name, "column_too_short"))
    for k in range(n) if item.dropped else ():
        dropped.setdefault(offset + k, []).extend(item.dropped)
    for k, said in item.elements.items():
        dropped.setdefault(offset + k, []).extend(said)
    start_us = 0 if wire.start is None else us(wire.start)
    steps = np.rint(np.arange(n) * ((wire.step_s or 0.0) * 1e6)).astype(np.int64)
    seqs = np.arange(wire.first_seq, wire.first_seq + n, dtype=np.int64)
    return seqs, start_us + steps, np.full(n, wire.start is not None), values


def _series_refusal(item: Item, n: int, columns: list[list[Any] | None]) -> Refusal | None:
    wire, step_s = item.wire, item.wire.step_s
    if wire.first_seq + n - 1 > MAX_SEQ:
        detail = f"first_seq must leave room up to {MAX_SEQ}"
        return Refusal(None, max(n, 1), "seq_invalid", "first_seq", detail)
    if n == 0 or all(column is None for column in columns):
        detail = "a series needs a list of a known vital sign"
        return Refusal(wire.first_seq, max(n, 1), "empty", None, detail)
    if n > 1 and (step_s is None or not STEP_S[0] <= step_s <= STEP_S[1]):
        detail = f"step_s must be a number within {STEP_S[0]:g} to {STEP_S[1]:g}"
        return Refusal(wire.first_seq, n, "out_of_range", "step_s", detail)
    return None


def _drop_implausible(table: _Table) -> None:
    """Leave out each value outside its plausible range, naming it."""
    values = table.values
    with np.errstate(invalid="ignore"):
        outside = (values < _LOW) | (values > _HIGH)
        outside &= ~((values == 0) & _ZERO_KEPT)
        outside |= _YES_NO & (values > 0) & (values < 1)
    if not outside.any():
        return
    for row, column in np.argwhere(outside).tolist():
        # A verdict has one detail: only the first complaint of a row is put into words.
        complaint = None if row in table.details else COLUMNS[column].complaint(values[row, column])
        table.drop(row, COLUMNS[column].name, "out_of_range", complaint)
    values[outside] = np.nan


def _judge_rows(table: _Table, clock: Clock, outcome: Outcome) -> npt.NDArray[np.bool_]:
    """Tell which rows are kept; an event is kept whatever its time, without the vitals beside it."""
    ahead_us = table.device_us + clock.shift_us - clock.received_us
    timely = table.readable & (ahead_us >= -OLDEST_US) & (ahead_us <= NEWEST_US)
    filled = ~np.isnan(table.values).all(axis=1)
    keep = timely & filled
    for row in np.flatnonzero(~keep).tolist():
        code, detail = OFF_TIME if table.readable[row] else NO_TIME
        said = table.dropped.get(row, ())
        if row in table.kinds:
            keep[row] = True
            if not timely[row]:
                _undate(table, row, code)
        elif not timely[row]:
            name = "at" if row < table.posted else "start"
            _refuse(outcome, table, row, code, name, f"{name} {detail}")
        elif said:
            _refuse(outcome, table, row, said[0].code, said[0].field, table.details.get(row))
        elif row < table.posted:
            _refuse(outcome, table, row, "empty", None, "a reading needs a vital sign or an event")
        else:
            keep[row] = True
    return keep


def _undate(table: _Table, row: int, code: str) -> None:
    """Leave out what cannot be dated: the time itself, and the vitals that hang on it."""
    table.drop(row, "at", code)
    for column in np.flatnonzero(~np.isnan(table.values[row])).tolist():
        table.drop(row, COLUMNS[column].name, code)
    table.values[row] = np.nan


def _refuse(
    outcome: Outcome, table: _Table, row: int, code: str, name: str | None, detail: str | None
) -> None:
    detail = detail or f"{name} is not usable and nothing else is left"
    refusal = Refusal(int(table.seq[row]), 1, code, name, detail)
    outcome.refused.append((refusal, tuple(table.dropped.get(row, ()))))


def _event(clock: Clock, table: _Table, row: int, kind: EventKind, place: str | None) -> Event:
    device_us = int(table.device_us[row]) if table.readable[row] else None
    return clock.event(int(table.seq[row]), device_us, kind, place)


def _unnumbered_events(decoded: Decoded, clock: Clock, book: VerdictBook) -> list[Event]:
    events: list[Event] = []
    for place, row, detail in decoded.unnumbered:
        book.reject_nameless("seq_invalid", "seq", f"{detail}; its event is acted on all the same")
        kind = event_kind(row.event)
        if kind is not None:
            device_us = None if row.at is None else us(row.at)
            dated = clock.event(place, device_us, kind, row.place)
            events.append(msgspec.structs.replace(dated, numbered=False))
    return events


def _repeats(table: _Table, kept: _Kept) -> bool:
    seqs = kept.seqs(table)
    return bool(np.unique(seqs).size != seqs.size)


def _settle_repeats(table: _Table, kept: _Kept, book: VerdictBook) -> list[Event]:
    """Keep the first item under each number; give back the events of others that differ, to be acted on."""
    seen: dict[int, object] = {}
    conflicting: list[Event] = []

    def first(seq: int, content: object) -> bool:
        if seq not in seen:
            seen[seq] = content
            return True
        book.second(seq, same=seen[seq] == content)
        return False

    for row in np.flatnonzero(kept.rows).tolist():
        event = kept.events.get(row)
        seq = int(table.seq[row])
        at = None if event else int(table.device_us[row])
        content = (at, table.values[row].tobytes(), event.content() if event else None)
        if not first(seq, content):
            kept.rows[row] = False
            if event is not None and seen[seq] != content:
                conflicting.append(event)
    pieces: list[Beats] = []
    for beats in kept.beats:
        fresh = [first(seq, said) for seq, said in zip(beats.seqs(), beats.contents(), strict=True)]
        pieces += beats.keeping(np.array(fresh, dtype=bool))
    kept.beats = pieces
    kept.waveforms = [wave for wave in kept.waveforms if first(wave.seq, wave.content())]
    return conflicting


def _assemble(table: _Table, kept: _Kept, clock: Clock) -> Batch:
    rows = kept.rows.copy()
    events = [kept.events[row] for row in sorted(kept.events) if rows[row]]
    for row in kept.events:
        rows[row] &= not np.isnan(table.values[row]).all()
    device_us = table.device_us[rows]
    return Batch(
        table.seq[rows],
        device_us + clock.shift_us,
        device_us,
        table.values[rows],
        events,
        kept.beats,
        kept.waveforms,
    )


def _write(book: VerdictBook, table: _Table, kept: _Kept, outcome: Outcome) -> None:
    """Put every verdict into the book: first what is stored, then what is refused beside it."""
    accepted = kept.seqs(table)
    book.accept(accepted)
    for row, said in table.dropped.items():
        if kept.rows[row]:
            for drop in said:
                book.drop(int(table.seq[row]), drop.field, drop.code, table.details.get(row))
    for seq, drop in outcome.dropped:
        book.drop(seq, drop.field, drop.code)
    taken = set(accepted.tolist()) if outcome.refused else set()
    for refusal, dropped in outcome.refused:
        _write_refusal(book, refusal, dropped, taken)


def _write_refusal(
    book: VerdictBook, refusal: Refusal, dropped: tuple[Dropped, ...], taken: set[int]
) -> None:
    if refusal.seq is None:
        book.reject_nameless(refusal.code, refusal.field, refusal.detail)
        return
    for seq in range(refusal.seq, refusal.seq + refusal.count):
        if seq in taken:
            book.second_rejected(seq, refusal.code, refusal.field, refusal.detail, dropped)
            continue
        taken.add(seq)
        for drop in dropped:
            book.drop(seq, drop.field, drop.code)
        book.reject(seq, refusal.code, refusal.field, refusal.detail)
