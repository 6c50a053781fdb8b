"""What detection carries from one upload of a patient to the next: one record of fixed size.

Times are whole seconds UTC since 1970, `NEVER` (in the rings 0) where there is none. Sizes are fixed, so that
the states of a group of patients are one structured array after a single `np.frombuffer`. Behind this record lies
what the layers above carry, and last a checksum of both (`layers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from devices.reading import COLUMNS

VERSION = 2
MOST_BYTES = 8192
NEVER = -(2**40)
_SUM_BYTES, _UNCHECKED = 4, 1
RING = 24
"""Samples carried for each windowed vital: more than five minutes at one in 15 s, hours when sparse."""

GATED = (
    "heart_rate_bpm",
    "pulse_rate_bpm",
    "spo2_pct",
    "respiratory_rate_bpm",
    "temperature_c",
    "systolic_mmhg",
)
"""Vitals that the quality gate judges."""
EVIDENCE = ("heart_rate_bpm", "spo2_pct", "respiratory_rate_bpm", "temperature_c", "systolic_mmhg")
"""What the rules see: heart rate is that of the heart-rate sensor or else of the pulse sensor."""
WINDOWED = 3
"""The first of `EVIDENCE` are judged by medians over a window, the others by their last value."""
RUNS = 5
"""Contradictions followed: heart rate, pulse, SpO2, breathing, and heart rate against pulse."""
LATCHES = (
    "spo2_low",
    "heart_rate_high",
    "heart_rate_high:high",
    "heart_rate_low",
    "heart_rate_low:high",
    "news2_medium",
    "news2_high",
    "signal_contradiction:heart_rate_bpm",
    "signal_contradiction:pulse_rate_bpm",
    "signal_contradiction:spo2_pct",
    "signal_contradiction:respiratory_rate_bpm",
    "signal_contradiction:rates",
    "not_worn",
    "battery_low",
)
LATCH = {name: i for i, name in enumerate(LATCHES)}

# A lane is one stream in time: the present (0), or a backlog that arrives behind it (1).
_LANE = np.dtype(
    [
        ("front", "<i8"),
        ("seen_v", "<f8", len(GATED)),
        ("seen_t", "<i8", len(GATED)),
        ("flat_t", "<i8", 2),
        ("flat_n", "<i8", 2),
        ("run_bad", "<i1", RUNS),
        ("run_t", "<i8", RUNS),
        ("run_n", "<i8", RUNS),
        ("steps_t", "<i8"),
        ("row_t", "<i8"),
        ("worn", "<f8"),
        ("worn_t", "<i8"),
        ("ring_t", "<u4", (WINDOWED, RING)),
        ("ring_v", "<f4", (WINDOWED, RING)),
        ("news_v", "<f8", len(EVIDENCE)),
        ("news_t", "<i8", len(EVIDENCE)),
        ("lone_v", "<f8", len(EVIDENCE)),
        ("lone_t", "<i8", len(EVIDENCE)),
        ("latch", "<i1", len(LATCHES)),
    ]
)
STATE = np.dtype(
    [
        ("version", "<u2"),
        ("lane", _LANE, 2),
        ("usual_m", "<f8", len(EVIDENCE)),
        ("usual_n", "<i8", len(EVIDENCE)),
        ("usual_minute", "<i8", len(EVIDENCE)),
        ("last_v", "<f8", len(COLUMNS)),
        ("last_t", "<i8", len(COLUMNS)),
        ("last_doubt", "<u1", len(COLUMNS)),
        ("newest", "<i8"),
    ]
)
Records = npt.NDArray[Any]


def _blank_lane() -> Records:
    lane = np.zeros(1, dtype=_LANE)
    for name in ("front", "seen_t", "flat_t", "run_t", "steps_t", "row_t", "worn_t", "news_t", "lone_t"):
        lane[name] = NEVER
    for name in ("seen_v", "worn", "ring_v", "news_v", "lone_v"):
        lane[name] = np.nan
    return lane


def _blank() -> Records:
    state = np.zeros(1, dtype=STATE)
    state["version"] = VERSION
    state["lane"] = _blank_lane()
    state["last_v"] = np.nan
    for name in ("usual_minute", "last_t", "newest"):
        state[name] = NEVER
    return state


BLANK_LANE = _blank_lane()[0]
BLANK = _blank().tobytes()


class StateError(ValueError):
    """A carried state that is damaged, cut off, or of another version."""


def decode(states: Sequence[bytes | None]) -> Records:
    """Read the first layer's part of states into one record a patient; None is a patient never analysed.

    The checksum lies with the layers above: `layers.decode` compares it.

    Raises
    ------
    StateError
        If a state is cut off or was written by another version.
    """
    size = len(BLANK)
    for data in states:
        if data is not None and (len(data) < size or data[:2] != BLANK[:2]):
            raise StateError(
                f"state must be {size} bytes or more of version {VERSION}, was {len(data)} bytes beginning "
                f"{data[:2]!r}: replay the patient's readings to rebuild it"
            )
    # Of a bytearray it may be written to: copying records field by field costs more than judging a calm minute.
    whole = bytearray().join([BLANK if s is None else s[:size] for s in states])
    return np.frombuffer(whole, dtype=STATE)


def encode(records: Records) -> list[bytes]:
    """The bytes of each record."""
    return [records[i : i + 1].tobytes() for i in range(records.size)]


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """Checksum of bytes that follow others whose checksum was `before`."""
    return crc32(data, before)


def checked(part: bytes, before: int) -> bytes:
    """The last part of a state with the checksum of all of it; `before` is that of what lies before."""
    return part + checksum(part, before).to_bytes(_SUM_BYTES, "little")


def rest(data: bytes | None, blank: bytes, version: int, layout: int) -> tuple[bytes, bytes, int]:
    """What lies behind the first record of a state: the layers' record, what follows it, and the checksum before them.

    Parameters
    ----------
    data : bytes or None
        The whole state; None is a patient never analysed.
    blank : bytes
        The layers' record of such a patient. It begins with its version.
    version, layout : int
        The version read, and with what its checksums begin. Version 1 had no checksum.

    Raises
    ------
    StateError
        If the state is damaged, cut off, or of another version.
    """
    size = len(BLANK)
    if data is None:
        return blank, b"", checksum(BLANK, layout)
    view, said, end = memoryview(data), int.from_bytes(data[size : size + 2], "little"), len(data)
    before = checksum(view[:size], layout)
    matches = said == _UNCHECKED
    if said == version:
        end -= _SUM_BYTES
        matches = int.from_bytes(view[end:], "little") == checksum(view[size:end], before)
    if not matches or data[:2] != BLANK[:2] or end < size + len(blank):
        raise StateError(
            f"state must be whole and unaltered, of versions {VERSION} and {version}, was {len(data)} bytes beginning "
            f"{data[:2]!r} of layers' version {said}: replay the patient's readings to rebuild it"
        )
    return blank[:2] + data[size + 2 : size + len(blank)], data[size + len(blank) : end], before
