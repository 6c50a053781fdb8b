"""Exact, compact bytes for the arrays of a batch: decimal scaling, differences, byte planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SCALES = (1, 10, 100, 1000)
# Integers beyond this are not all exact in float64.
_EXACT = 2.0**53
_RAW = 0


def pack_ints(values: Ints) -> list[Any]:
    """Turn integers into ``[first, step or None, width, bytes]``; a constant step needs no bytes."""
    if values.size == 0:
        return [0, 0, 0, b""]
    first = int(values[0])
    # Wraps around at 64 bits, and so does the sum that undoes it.
    steps = np.diff(values)
    if steps.size == 0:
        return [first, 0, 0, b""]
    if (steps == steps[0]).all():
        return [first, int(steps[0]), 0, b""]
    zigzag = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    top = int(zigzag.max())
    width = next(w for w in (1, 2, 4, 8) if top < 1 << (8 * w))
    return [first, None, width, _planes(zigzag.astype(f"<u{width}"))]


def unpack_ints(packed: list[Any], n: int) -> Ints:
    """Undo `pack_ints` for ``n`` integers."""
    first, step, width, data = packed
    out = np.empty(n, dtype=np.int64)
    if n == 0:
        return out
    out[0] = first
    if step is not None:
        out[1:] = step
    else:
        zigzag = _unplanes(data, n - 1, np.dtype(f"<u{width}")).astype(np.uint64)
        out[1:] = (zigzag >> np.uint64(1)).view(np.int64) ^ -(zigzag & np.uint64(1)).view(np.int64)
    np.cumsum(out, out=out)
    return out


def pack_floats(values: npt.NDArray[Any]) -> list[Any]:
    """Turn floats (float64 or float32, NaN for absent) into ``[scale, mask, payload]``, exactly."""
    absent = np.isnan(values)
    mask = np.packbits(absent).tobytes() if absent.any() else b""
    present = values[~absent] if mask else values
    for scale in SCALES:
        with np.errstate(over="ignore"):
            scaled = np.rint(present.astype(np.float64) * scale)
        if _undoes(scaled, scale, present):
            return [scale, mask, pack_ints(scaled.astype(np.int64))]
    return [_RAW, mask, _planes(present.astype(present.dtype.newbyteorder("<")))]


def unpack_floats(packed: list[Any], n: int, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Undo `pack_floats` for ``n`` floats of the type that was packed."""
    scale, mask, payload = packed
    absent = np.unpackbits(np.frombuffer(mask, np.uint8), count=n).astype(bool) if mask else None
    kept = n if absent is None else n - int(absent.sum())
    if scale == _RAW:
        present = _unplanes(payload, kept, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    else:
        present = (unpack_ints(payload, kept) / scale).astype(dtype)
    if absent is None:
        return present
    out = np.full(n, np.nan, dtype=dtype)
    out[~absent] = present
    return out


def _undoes(scaled: npt.NDArray[np.float64], scale: int, present: npt.NDArray[Any]) -> bool:
    if not (np.abs(scaled) < _EXACT).all():
        return False
    back = (scaled / scale).astype(present.dtype)
    # Minus zero equals zero but is not the same bits: an integer cannot carry it.
    return bool((back == present).all() and not (np.signbit(present) & (present == 0)).any())


def _planes(values: npt.NDArray[Any]) -> bytes:
    return values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes() if values.size else b""


def _unplanes(data: bytes, n: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    raw = np.frombuffer(data, dtype=np.uint8)
    if raw.size != n * dtype.itemsize:
        raise ValueError(f"packed bytes must be {n * dtype.itemsize}, were {raw.size}: data are damaged")
    return np.ascontiguousarray(raw.reshape(dtype.itemsize, n).T).view(dtype).reshape(n)
