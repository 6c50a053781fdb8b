"""Readings in columns: what an upload became, what is sealed, what detection reads."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from devices.codec import pack_floats, pack_ints, unpack_floats, unpack_ints
from devices.vitals import COLUMNS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VERSION = 1
_MOST_BYTES = 64 * 2**20


class EventKind(StrEnum):
    """What a wearer or a sensor of the home can report at once."""

    SOS = "sos"
    SOS_CANCELLED = "sos_cancelled"
    FALL = "fall"
    OK_PRESSED = "ok_pressed"
    TAKEN_OFF = "taken_off"
    PUT_ON = "put_on"
    CHARGING = "charging"
    MOTION = "motion"
    DOOR = "door"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened at one moment."""

    seq: int
    at_us: int
    device_at_us: int
    kind: EventKind
    place: str | None = None
    late_s: float | None = None
    """Receipt minus corrected time; None where the time could not be used."""
    clock_wrong: bool = False
    """True where the event is dated by receipt because its own time is unreadable or implausible."""
    time_readable: bool = True
    """False where `at` could not be read; `device_at_us` then repeats the receipt."""
    numbered: bool = True
    """False where no usable seq was posted; `seq` is then its place in `readings`: act, do not store."""

    def content(self) -> tuple[object, ...]:
        """What makes it the same event when it is posted again."""
        return ("event", self.kind.value, self.place, self.device_at_us if self.time_readable else None)


@dataclass(eq=False, slots=True)
class Beats:
    """Successive beat intervals; consumes one number a beat. NaN is an interval that was not measured."""

    first_seq: int
    start_us: int
    device_start_us: int
    rr_ms: Floats

    def seqs(self) -> range:
        return range(self.first_seq, self.first_seq + self.rr_ms.size)

    def contents(self) -> list[object]:
        """Each beat's end in device time with its interval (NaN-safe)."""
        ends = self.device_start_us + _elapsed_us(self.rr_ms)[1:]
        raw = [value.tobytes() for value in _canonical(self.rr_ms)]
        return [("beat", end, rr) for end, rr in zip(ends.tolist(), raw, strict=True)]

    def keeping(self, keep: npt.NDArray[np.bool_]) -> list[Beats]:
        """Split off the beats that are not kept; later pieces start where the intervals before them end."""
        elapsed = _elapsed_us(self.rr_ms)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], keep, [False])).astype(np.int8)))
        return [
            Beats(
                self.first_seq + a,
                self.start_us + int(elapsed[a]),
                self.device_start_us + int(elapsed[a]),
                self.rr_ms[a:b].copy(),
            )
            for a, b in edges.reshape(-1, 2).tolist()
        ]


def _canonical(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give equal values equal bytes: one NaN, one zero."""
    same: npt.NDArray[Any] = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
    same += values.dtype.type(0)
    return same


def _elapsed_us(rr_ms: Floats) -> Ints:
    known = np.nan_to_num(rr_ms, nan=0.0)
    elapsed: Ints = np.rint(np.concatenate(([0.0], np.cumsum(known))) * 1000).astype(np.int64)
    return elapsed


@dataclass(eq=False, slots=True)
class Waveform:
    """A stretch of raw signal under one number; NaN is a sample that was not measured."""

    seq: int
    start_us: int
    device_start_us: int
    sampling_rate_hz: float
    kind: str
    unit: str
    channels: npt.NDArray[np.float32]

    def content(self) -> tuple[object, ...]:
        return (
            "waveform",
            self.device_start_us,
            self.sampling_rate_hz,
            self.kind,
            self.unit,
            self.channels.shape,
            _canonical(self.channels).tobytes(),
        )


def _no_values() -> Floats:
    return np.empty((0, len(COLUMNS)), dtype=np.float64)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(eq=False, slots=True)
class Batch:
    """Rows of vital signs in columns (NaN is absent), with the events, beats and waveforms beside them."""

    seq: Ints = field(default_factory=_no_ints)
    at_us: Ints = field(default_factory=_no_ints)
    device_at_us: Ints = field(default_factory=_no_ints)
    values: Floats = field(default_factory=_no_values)
    events: list[Event] = field(default_factory=list)
    beats: list[Beats] = field(default_factory=list)
    waveforms: list[Waveform] = field(default_factory=list)

    def seqs(self) -> list[int]:
        """Every number that the batch holds, ascending."""
        held = set(self.seq.tolist())
        held.update(event.seq for event in self.events)
        held.update(waveform.seq for waveform in self.waveforms)
        for beats in self.beats:
            held.update(beats.seqs())
        return sorted(held)

    def contents(self) -> dict[int, object]:
        """Each number with what makes its item the same when posted again: device time and values."""
        found: dict[int, object] = {}
        times = self.device_at_us.tolist()
        for seq, device_us, row in zip(self.seq.tolist(), times, _canonical(self.values), strict=True):
            found[seq] = (("row", device_us, row.tobytes()),)
        for event in self.events:
            before = found.get(event.seq, ())
            found[event.seq] = (*before, event.content()) if isinstance(before, tuple) else (event.content(),)
        for beats in self.beats:
            found.update(zip(beats.seqs(), beats.contents(), strict=True))
        for waveform in self.waveforms:
            found[waveform.seq] = waveform.content()
        return found

    def without(self, seqs: Container[int]) -> Batch:
        """Leave out every item with one of these numbers."""
        keep = np.fromiter((seq not in seqs for seq in self.seq.tolist()), dtype=bool, count=self.seq.size)
        beats: list[Beats] = []
        for piece in self.beats:
            kept = np.fromiter((seq not in seqs for seq in piece.seqs()), dtype=bool, count=piece.rr_ms.size)
            beats += [piece] if kept.all() else piece.keeping(kept)
        return Batch(
            seq=self.seq[keep],
            at_us=self.at_us[keep],
            device_at_us=self.device_at_us[keep],
            values=self.values[keep],
            events=[event for event in self.events if event.seq not in seqs],
            beats=beats,
            waveforms=[waveform for waveform in self.waveforms if waveform.seq not in seqs],
        )

    def to_bytes(self) -> bytes:
        """A version byte, then zstd over msgpack of the packed columns; `from_bytes` gives the same back."""
        held = [i for i in range(self.values.shape[1]) if not np.isnan(self.values[:, i]).all()]
        packed = (
            self.seq.size,
            pack_ints(self.seq),
            pack_ints(self.device_at_us),
            pack_ints(self.at_us - self.device_at_us),
            [(i, pack_floats(self.values[:, i])) for i in held],
            self.events,
            [_pack_beats(beats) for beats in self.beats],
            [_pack_waveform(waveform) for waveform in self.waveforms],
        )
        # Compressors of zstandard are not safe to share between threads: one a call.
        squeezed = zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(packed))
        return bytes([VERSION]) + squeezed

    @staticmethod
    def from_bytes(data: bytes) -> Batch:
        """Undo `to_bytes`; raises ValueError for another version or damaged bytes."""
        if not data or data[0] != VERSION:
            raise ValueError(
                f"data must begin with version {VERSION}, was {data[:1]!r}: read it with its writer"
            )
        try:
            plain = zstandard.ZstdDecompressor().decompress(data[1:], max_output_size=_MOST_BYTES)
            n, seq, device, shift, columns, events, beats, waveforms = _DECODER.decode(plain)
        except (zstandard.ZstdError, msgspec.DecodeError) as why:
            raise ValueError(f"data must be a packed batch, could not be read ({why}): restore it") from why
        device_at_us = unpack_ints(device, n)
        values = np.full((n, len(COLUMNS)), np.nan)
        for i, packed in columns:
            values[:, i] = unpack_floats(packed, n)
        return Batch(
            seq=unpack_ints(seq, n),
            at_us=device_at_us + unpack_ints(shift, n),
            device_at_us=device_at_us,
            values=values,
            events=events,
            beats=[_unpack_beats(packed) for packed in beats],
            waveforms=[_unpack_waveform(packed) for packed in waveforms],
        )

    @staticmethod
    def concat(batches: list[Batch]) -> Batch:
        """Put batches after one another, in the order given."""
        if not batches:
            return Batch()
        return Batch(
            seq=np.concatenate([batch.seq for batch in batches]),
            at_us=np.concatenate([batch.at_us for batch in batches]),
            device_at_us=np.concatenate([batch.device_at_us for batch in batches]),
            values=np.concatenate([batch.values for batch in batches]),
            events=[event for batch in batches for event in batch.events],
            beats=[beats for batch in batches for beats in batch.beats],
            waveforms=[waveform for batch in batches for waveform in batch.waveforms],
        )


_Packed = tuple[
    int,
    list[Any],
    list[Any],
    list[Any],
    list[tuple[int, list[Any]]],
    list[Event],
    list[list[Any]],
    list[list[Any]],
]
_DECODER: msgspec.msgpack.Decoder[_Packed] = msgspec.msgpack.Decoder(_Packed)


def _pack_beats(beats: Beats) -> list[Any]:
    rr = pack_floats(beats.rr_ms)
    return [beats.first_seq, beats.start_us, beats.device_start_us, beats.rr_ms.size, rr]


def _unpack_beats(packed: list[Any]) -> Beats:
    first_seq, start_us, device_start_us, n, rr = packed
    return Beats(first_seq, start_us, device_start_us, unpack_floats(rr, n))


def _pack_waveform(waveform: Waveform) -> list[Any]:
    shape = list(waveform.channels.shape)
    # A channel at a time, so that differences are between neighbours in time.
    flat = [pack_floats(channel) for channel in waveform.channels]
    head = [waveform.seq, waveform.start_us, waveform.device_start_us, waveform.sampling_rate_hz]
    return [*head, waveform.kind, waveform.unit, shape, flat]


def _unpack_waveform(packed: list[Any]) -> Waveform:
    seq, start_us, device_start_us, rate, kind, unit, (count, length), flat = packed
    channels = np.empty((count, length), dtype=np.float32)
    for i, channel in enumerate(flat):
        channels[i] = unpack_floats(channel, length, np.float32)
    return Waveform(seq, start_us, device_start_us, rate, kind, unit, channels)
