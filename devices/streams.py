"""Judge beats and waveforms: what is kept of them, and what is said of the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Beats, Waveform
from devices.dating import Clock, us
from devices.verdicts import Dropped
from devices.wire import MAX_SEQ, Item, Refusal

# Policy: 600 beats a minute to the longest pause that a strap reports before it says "no contact".
RR_MS = (100.0, 30_000.0)
# Policy: 32-bit converters and a twelve-lead ECG at most.
SAMPLE = 2.0**32
MOST_CHANNELS = 16
SAMPLING_RATE_HZ = (0.01, 10_000.0)
WAVEFORM_KINDS = ("accelerometer", "ecg", "ppg")
WAVEFORM_UNITS = ("mg", "uV", "raw")


@dataclass(slots=True)
class Outcome:
    """Verdicts on their way into the book."""

    refused: list[tuple[Refusal, tuple[Dropped, ...]]] = field(default_factory=list)
    dropped: list[tuple[int, Dropped]] = field(default_factory=list)


def judge_beats(item: Item, clock: Clock, outcome: Outcome) -> list[Beats]:
    """Keep the plausible intervals, split where one had to be refused."""
    wire, n = item.wire, len(item.wire.rr_ms)
    refusal = None
    if wire.first_seq + n - 1 > MAX_SEQ:
        detail = f"first_seq must leave room up to {MAX_SEQ}"
        refusal = Refusal(None, max(n, 1), "seq_invalid", "first_seq", detail)
    elif n == 0:
        refusal = Refusal(wire.first_seq, 1, "empty", "rr_ms", "beats need at least one interval")
    else:
        refusal = clock.refusal(wire.start, wire.first_seq, n)
    if refusal is not None or wire.start is None:
        outcome.refused += [(refusal, tuple(item.dropped))] if refusal else []
        return []
    start_us = us(wire.start)
    rr_ms = np.array(wire.rr_ms, dtype=np.float64)
    keep = _refuse_intervals(rr_ms, item, outcome)
    whole = Beats(wire.first_seq, start_us + clock.shift_us, start_us, rr_ms)
    pieces = [whole] if keep.all() else whole.keeping(keep)
    outcome.dropped += [(seq, drop) for piece in pieces for seq in piece.seqs() for drop in item.dropped]
    return pieces


def _refuse_intervals(rr_ms: npt.NDArray[np.float64], item: Item, outcome: Outcome) -> npt.NDArray[np.bool_]:
    """Refuse each implausible or unreadable interval; an absent one is kept, as information."""
    outside = (rr_ms < RR_MS[0]) | (rr_ms > RR_MS[1])
    codes = {k: said[0].code for k, said in item.elements.items()}
    codes.update(dict.fromkeys(np.flatnonzero(outside).tolist(), "out_of_range"))
    detail = f"rr_ms must be a number within {RR_MS[0]:g} to {RR_MS[1]:g} ms"
    for k, code in sorted(codes.items()):
        refusal = Refusal(item.wire.first_seq + k, 1, code, "rr_ms", detail)
        outcome.refused.append((refusal, (*item.dropped, Dropped("rr_ms", code))))
    rr_ms[outside] = np.nan
    keep = np.ones(rr_ms.size, dtype=bool)
    keep[list(codes)] = False
    return keep


def judge_waveform(item: Item, clock: Clock, outcome: Outcome) -> list[Waveform]:
    """Keep a waveform of a known kind with at least one sample: one item or none."""
    wire = item.wire
    refusal = clock.refusal(wire.start, wire.seq, 1) or _waveform_refusal(wire)
    if refusal is None:
        channels, dropped = _samples(wire.channels)
        item.dropped += dropped
        if np.isnan(channels).all():
            detail = "a waveform needs at least one sample"
            refusal = Refusal(wire.seq, 1, "empty", "channels", detail)
    if refusal is not None or wire.start is None:
        outcome.refused += [(refusal, tuple(item.dropped))] if refusal else []
        return []
    outcome.dropped += [(wire.seq, drop) for drop in item.dropped]
    start_us = us(wire.start)
    shifted = start_us + clock.shift_us
    return [Waveform(wire.seq, shifted, start_us, wire.sampling_rate_hz, wire.kind, wire.unit, channels)]


def _waveform_refusal(wire: Any) -> Refusal | None:
    rate, (low, high) = wire.sampling_rate_hz, SAMPLING_RATE_HZ
    if rate is None or not low <= rate <= high:
        detail = f"sampling_rate_hz must be a number within {low:g} to {high:g}"
        return Refusal(wire.seq, 1, "out_of_range", "sampling_rate_hz", detail)
    if len(wire.channels) > MOST_CHANNELS:
        # Channels are made equally long: without a limit a megabyte could ask for gigabytes.
        detail = f"a waveform holds at most {MOST_CHANNELS} channels, were {len(wire.channels)}: split it"
        return Refusal(wire.seq, 1, "out_of_range", "channels", detail)
    for name, known in (("kind", WAVEFORM_KINDS), ("unit", WAVEFORM_UNITS)):
        if getattr(wire, name) not in known:
            return Refusal(wire.seq, 1, f"unknown_{name}", name, f"{name} must be one of {', '.join(known)}")
    return None


def _samples(channels: list[list[float | None]]) -> tuple[npt.NDArray[np.float32], list[Dropped]]:
    """Make channels equally long and finite, naming what that took."""
    length = max((len(channel) for channel in channels), default=0)
    samples = np.full((len(channels), length), np.nan)
    for i, channel in enumerate(channels):
        samples[i, : len(channel)] = channel
    dropped = []
    if any(len(channel) < length for channel in channels):
        dropped.append(Dropped("channels", "column_too_short"))
    outside = np.abs(samples) > SAMPLE
    if outside.any():
        samples[outside] = np.nan
        dropped.append(Dropped("channels", "out_of_range"))
    return samples.astype(np.float32) + np.float32(0), dropped
