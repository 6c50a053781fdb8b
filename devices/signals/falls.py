"""Falls in acceleration as it arrives, upload after upload, in two tiers.

``fall_suspected`` is told some three seconds after an impact that looks like a fall: ask the wearer. ``fall_still`` is
told when the body then lies still: send someone unless answered. A fall that straddles two uploads is found by way of
a small carry, and the same samples in other uploads give the same findings (to the bit at 50 Hz, where nothing has to
be resampled). Classes: "waist" (a pendant on a cord counts as one), "wrist"; an unknown class is judged as a wrist,
the stricter of the two. Every figure behind the models comes from staged falls, nearly all of young people.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from devices.models import load
from devices.signals import waist_falls, wrist_falls
from devices.signals.finding import Finding
from devices.signals.impacts import (
    RATE_HZ,
    TO_G,
    Floats,
    between,
    impacts,
    magnitude,
    mean_direction,
    plausible,
    to_g,
    unrest_g,
)

LAYER = "fall"
STEP_US = 1_000_000 // RATE_HZ
WAIT = 168
"""Samples after an impact before it is judged (3.4 s): the longest look ahead of a class."""
KEPT = 2 * WAIT + 12
"""Samples carried over: what the next impact looks back on."""
COUNTS = 4096
"""Steps of one g: 16 bits reach 8 g, and sums of such numbers are exact."""
JOIN_US = 250_000
"""A waveform that starts within this of the end of the last one continues it (policy: clocks of sensors jitter)."""
APART_US = 10_000_000
"""Impacts within this of a suspected fall belong to it: one fall, one question (policy)."""
STILL_FROM_S, STILL_TO_S, STILL_LEAST_S = 5, 25, 19
"""Of the seconds 5 to 25 after the impact so many must be still: one twitch is forgiven (policy)."""
WATCHED_S = 60
"""For so long after an impact the wearer is watched getting up (policy)."""
UP_DEG, UP_G, UP_LEAST_S = 40.0, 0.1, 5
"""Up again: five seconds of moving with gravity as it was before the impact (policy)."""
STILL_NATS = 2.0
"""What stillness adds to the weight of a fall (policy; in no recording of daily life has it followed a suspicion)."""

TOLD_FROM = 5 * RATE_HZ
"""Samples from which a wrong unit or a broken sensor can be told from a body in free fall (policy)."""

_HEAD = struct.Struct("<BBHHq?qBBB?3f3f")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Device:
    """How one class of devices is judged."""

    model: str
    impact_g: float
    apart_s: float
    still_g: float
    prepared: Callable[[Floats], Floats]
    rows: Callable[[Floats, npt.NDArray[np.int64]], Floats]
    probability: Callable[[Floats], Floats]
    threshold: Callable[[], float]


def _wrist_rows(signal: Floats, indices: npt.NDArray[np.int64]) -> Floats:
    return wrist_falls.described(wrist_falls.windows(signal, indices))


DEVICES = {
    "waist": Device(
        waist_falls.MODEL,
        waist_falls.IMPACT_G,
        waist_falls.APART_S,
        waist_falls.STILL_G,
        waist_falls.prepared,
        waist_falls.rows,
        waist_falls.probability,
        waist_falls.prompt_threshold,
    ),
    "wrist": Device(
        wrist_falls.MODEL,
        wrist_falls.IMPACT_G,
        0.5,
        0.06,
        lambda signal: signal,
        _wrist_rows,
        wrist_falls.probability,
        wrist_falls.prompt_threshold,
    ),
}
ALIASES = {"pendant": "waist", "belt": "waist", "hip": "waist", "watch": "wrist"}
_CODES = {"waist": 1, "wrist": 2}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A fall that was asked about, while it is still being watched."""

    impact_us: int
    seconds: int
    still: int
    up: int
    over: bool
    upright: tuple[float, float, float]
    peak_g: float
    angle_deg: float
    probability: float


def class_of(device_class: str | None) -> str:
    """ "waist" or "wrist"; what is not known is judged as the stricter wrist."""
    name = (device_class or "").strip().lower()
    name = ALIASES.get(name, name)
    return name if name in DEVICES else "wrist"


def readable(kind: str, unit: str, channels: int, sampling_rate_hz: float) -> bool:
    """Whether a waveform that arrived can be scanned at all: three axes of acceleration in a known unit and rate."""
    return kind == "accelerometer" and unit in TO_G and channels == 3 and 20 <= sampling_rate_hz <= 400


def scan(
    channels: npt.ArrayLike,
    sampling_rate_hz: float,
    unit: str,
    device_class: str | None,
    start_us: int,
    carry: bytes | None = None,
) -> tuple[list[Finding], bytes | None]:
    """Look for falls in one waveform.

    Parameters
    ----------
    channels : array_like, shape (3, n)
        Acceleration along x, y, z; NaN where not measured. Mounting does not matter.
    sampling_rate_hz : float
        20 to 400 Hz.
    unit : str
        "mg", "g", "m/s2" or "mm/s2".
    device_class : str or None
        "waist", "wrist" or one of `ALIASES`; anything else is judged as a wrist.
    start_us : int
        Time of the first sample, microseconds UTC.
    carry : bytes, optional
        What the scan of this device's last waveform returned (at most 2.2 kB). One that does not fit is ignored.

    Returns
    -------
    findings : list of Finding
        ``fall_suspected`` (`ended` once the wearer is up and moving) and ``fall_still``, with `params` peak_g,
        angle_deg, probability, still_s. A recording that cannot be acceleration of a worn sensor gives none.
    carry : bytes or None
        For the next waveform of the same device.

    Raises
    ------
    ValueError
        Another shape, rate or unit: see `readable`.
    """
    given = np.asarray(channels, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != 3:
        raise ValueError(f"channels must have the shape (3, n) for x, y, z, was {given.shape}: falls need all three")
    new = to_g(given.T, sampling_rate_hz, unit, check=False)
    if not len(new):
        return [], carry
    name = class_of(device_class)
    old, fresh, end_us, suspicion = _unpacked(carry, name)
    new_end_us = start_us + len(new) * STEP_US
    late = end_us is not None and new_end_us <= end_us
    left: list[Finding] = []
    if late or end_us is None or start_us - end_us < -JOIN_US:
        old, fresh, suspicion = old[:0], 0, None
    elif start_us - end_us > JOIN_US:
        first_us = end_us - len(old) * STEP_US
        left, suspicion = _walk(old / COUNTS, first_us, fresh, len(old), suspicion, DEVICES[name])
        old, fresh = old[:0], 0
    counts = np.clip(np.rint(new * COUNTS), -32768, 32767).astype(np.int16)
    whole = np.concatenate([old, counts])
    if len(whole) >= TOLD_FROM and not plausible(whole[::5] / COUNTS):
        return left, carry if late else None
    first_us = start_us - len(old) * STEP_US
    judged = max(len(whole) - WAIT, fresh)
    findings, suspicion = _walk(whole / COUNTS, first_us, fresh, judged, suspicion, DEVICES[name])
    if late:
        return findings, carry
    cut = max(len(whole) - KEPT, 0)
    return left + findings, _packed(name, whole[cut:], judged - cut, new_end_us, suspicion)


def settle(carry: bytes | None) -> list[Finding]:
    """Judge what the last seconds before a device fell silent leave open; drop the carry afterwards.

    `scan` does the same by itself when the next waveform does not continue the last.
    """
    name = {code: known for known, code in _CODES.items()}.get(carry[1] if carry and len(carry) > 1 else 0)
    if name is None:
        return []
    old, fresh, end_us, suspicion = _unpacked(carry, name)
    if end_us is None or not len(old):
        return []
    first_us = end_us - len(old) * STEP_US
    return _walk(old / COUNTS, first_us, fresh, len(old), suspicion, DEVICES[name])[0]


def _walk(
    signal: Floats, first_us: int, fresh: int, judged: int, suspicion: Suspicion | None, device: Device
) -> tuple[list[Finding], Suspicion | None]:
    """Judge the impacts from `fresh` up to `judged` in time order, watching the open suspicion in between."""
    findings: list[Finding] = []
    ready = device.prepared(signal)
    size = magnitude(ready)
    peaks = impacts(size, device.impact_g, device.apart_s)
    peaks = peaks[(peaks >= fresh) & (peaks < judged)]
    if peaks.size:
        likely = device.probability(device.rows(ready, peaks))
        for k in np.flatnonzero(likely >= device.threshold()).tolist():
            index = int(peaks[k])
            at_us = first_us + index * STEP_US
            if suspicion is not None:
                if at_us - suspicion.impact_us < APART_US:
                    continue
                suspicion = _watched(signal, first_us, index, suspicion, device, findings)
            suspicion = _suspected(signal, index, at_us, float(size[index]), float(likely[k]))
            findings.append(_finding("fall_suspected", at_us + WAIT * STEP_US, suspicion, device))
    if suspicion is not None:
        suspicion = _watched(signal, first_us, judged, suspicion, device, findings)
        if suspicion.seconds >= WATCHED_S or first_us + judged * STEP_US - suspicion.impact_us > WATCHED_S * 1_000_000:
            suspicion = None
    return findings, suspicion


def _suspected(signal: Floats, index: int, at_us: int, peak_g: float, probability: float) -> Suspicion:
    before = mean_direction(between(signal, index, -3, -1))
    after = mean_direction(between(signal, index, 1, 3))
    angle = math.degrees(math.acos(max(-1.0, min(1.0, float(before @ after)))))
    upright = (float(before[0]), float(before[1]), float(before[2]))
    return Suspicion(at_us, 0, 0, 0, False, upright, peak_g, angle, probability)


def _watched(
    signal: Floats, first_us: int, until: int, seen: Suspicion, device: Device, findings: list[Finding]
) -> Suspicion:
    """Count the still and the upright seconds that end at or before the sample `until`."""
    second, still, up, over = seen.seconds, seen.still, seen.up, seen.over
    begin = round((seen.impact_us - first_us) / STEP_US) + second * RATE_HZ
    while second < WATCHED_S and begin + RATE_HZ <= until:
        at, begin, second = begin, begin + RATE_HZ, second + 1
        if at < 0:
            continue  # lies in a gap
        part = signal[at:begin]
        unrest = unrest_g(part)
        still += STILL_FROM_S < second <= STILL_TO_S and unrest < device.still_g
        lean = float(mean_direction(part) @ np.array(seen.upright))
        up += unrest > UP_G and second > STILL_FROM_S and lean > math.cos(math.radians(UP_DEG))
        at_us = seen.impact_us + second * 1_000_000 + WAIT * STEP_US
        now = replace(seen, still=still, up=up, seconds=second)
        if second == STILL_TO_S and still >= STILL_LEAST_S:
            findings.append(_finding("fall_still", at_us, now, device))
        if up >= UP_LEAST_S and not over:
            over = True
            findings.append(_finding("fall_suspected", at_us, now, device, ended=True))
    return replace(seen, seconds=second, still=still, up=up, over=over)


def _finding(code: str, at_us: int, seen: Suspicion, device: Device, ended: bool = False) -> Finding:
    odds = min(max(seen.probability, 1e-6), 1 - 1e-6)
    prior = float(load(device.model).parameters.get("prior_log_odds", 0.0))
    llr = 0.0 if ended else math.log(odds / (1 - odds)) - prior + STILL_NATS * (code == "fall_still")
    params = {
        "peak_g": round(seen.peak_g, 2),
        "angle_deg": round(seen.angle_deg, 1),
        "probability": round(seen.probability, 4),
        "still_s": seen.still,
    }
    return Finding(LAYER, code, seen.impact_us, at_us, llr, ended, dict(params))


def _packed(name: str, counts: npt.NDArray[np.int16], fresh: int, end_us: int, seen: Suspicion | None) -> bytes:
    open_ = seen or Suspicion(0, 0, 0, 0, False, (0.0, 0.0, 0.0), 0.0, 0.0, 0.0)
    head = _HEAD.pack(
        _VERSION,
        _CODES[name],
        len(counts),
        max(fresh, 0),
        end_us,
        seen is not None,
        open_.impact_us,
        open_.seconds,
        open_.still,
        open_.up,
        open_.over,
        *open_.upright,
        open_.peak_g,
        open_.angle_deg,
        open_.probability,
    )
    return head + counts.astype("<i2").tobytes()


def _unpacked(carry: bytes | None, name: str) -> tuple[npt.NDArray[np.int16], int, int | None, Suspicion | None]:
    """Samples, the first unjudged one, the end in microseconds, the open suspicion; nothing where it does not fit."""
    nothing = np.empty((0, 3), np.int16), 0, None, None
    if carry is None or len(carry) < _HEAD.size or carry[0] != _VERSION or carry[1] != _CODES[name]:
        return nothing
    _, _, n, fresh, end_us, is_open, *rest = _HEAD.unpack_from(carry)
    if n > KEPT or fresh > n or len(carry) != _HEAD.size + 6 * n:
        return nothing
    counts = np.frombuffer(carry, "<i2", offset=_HEAD.size).reshape(-1, 3).astype(np.int16)
    if not is_open:
        return counts, fresh, end_us, None
    impact_us, seconds, still, up, over, x, y, z, peak_g, angle_deg, probability = rest
    upright = (x, y, z)
    return (
        counts,
        fresh,
        end_us,
        Suspicion(impact_us, seconds, still, up, over, upright, peak_g, angle_deg, probability),
    )
