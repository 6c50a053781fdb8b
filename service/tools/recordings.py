"""Recordings of people, whatever their file is called: told by content, cut into uploads as a device would post."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from devices.simulator import ALIASES, RecordedUpload, listed, recorded, rfc3339
from devices.vitals import INDEX

Floats = npt.NDArray[np.float64]

UPLOAD_INSTANTS = 60
UPLOAD_S = 300.0
"""An upload holds at most so many instants and about so many recorded seconds: bands post every few minutes."""
MINUTE_S = 60.0
PLAUSIBLE_RR_S = (0.3, 2.0)
"""Beats that a minute's heart rate is made of: 200 down to 30 a minute (policy)."""
SENT_RR_S = (0.1, 30.0)
"""What the service takes as an interval; longer ones are gaps, posted alone so that beats keep their times."""
ENOUGH_OF_MINUTE_S = 30.0
"""A minute with fewer seconds of plausible beats has no heart rate (policy)."""
SUBJECTS = ("subject", "subject_id", "patient", "patient_id", "person", "user", "case_id", "record", "id")
TIMES = ("t_s", "t", "time_s", "seconds", "time_second", "time", "timestamp", "datetime", "at", "date")
HOURS = ("iculos", "hour", "hours", "t_h")
NAMES = ALIASES | {
    "heart_rate": "heart_rate_bpm",
    "heartrate": "heart_rate_bpm",
    "pulse_rate": "pulse_rate_bpm",
    "pr": "pulse_rate_bpm",
    "resp_rate": "respiratory_rate_bpm",
    "respiratory_rate": "respiratory_rate_bpm",
    "respiration": "respiratory_rate_bpm",
    "o2sat": "spo2_pct",
    "sao2": "spo2_pct",
    "temp": "temperature_c",
    "temperature": "temperature_c",
    "sbp": "systolic_mmhg",
    "dbp": "diastolic_mmhg",
    **{name: name for name in INDEX},
}
EXPECTED = (
    "expected a CSV (also .xz or .gz) with a subject column, t_s in seconds and any of hr, pulse, resp, spo2 or our "
    "own column names, or an .npz with one array of RR intervals in seconds a subject"
)
MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "."}


class NotARecording(Exception):
    """The file cannot be replayed; the message says what was found and what was expected."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}; {EXPECTED}")


@dataclass(frozen=True)
class Recording:
    """One subject's recording."""

    id: str
    duration_s: float
    instants: int
    """Sequence numbers that its uploads hold, each of which gets a verdict."""
    uploads: Callable[[datetime], Iterator[RecordedUpload]]
    """Uploads in order of time, the last instant at the given time."""


def read(path: Path) -> list[Recording]:
    """Every subject of a file, in its order; raises NotARecording."""
    try:
        data = path.read_bytes()
        if data.startswith(b"\xfd7zXZ\x00"):
            data = lzma.decompress(data)
        elif data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except OSError as error:
        raise NotARecording(path, f"cannot be read ({error.strerror or error})") from error
    except (lzma.LZMAError, EOFError) as error:
        raise NotARecording(path, f"is compressed but damaged ({error})") from error
    found = _read_npz(path, data) if data.startswith(b"PK") else _read_csv(path, data)
    if not found:
        raise NotARecording(path, "holds no instants")
    return found


def _read_csv(path: Path, data: bytes) -> list[Recording]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotARecording(path, "is neither text nor an .npz") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise NotARecording(path, f"is not a table ({error})") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise NotARecording(path, "is empty")
    names = [cell.strip().casefold() for cell in rows[0]]
    if not set(names) & {*TIMES, *HOURS}:
        raise NotARecording(path, f"has no column of times among {', '.join(names)[:200]!r}")
    vitals = _vital_columns(names)
    if not vitals:
        raise NotARecording(path, f"has no vital sign among its columns {', '.join(names)[:200]!r}")
    return _by_subject(path, names, vitals, rows[1:])


def _vital_columns(names: list[str]) -> dict[str, int]:
    """Contract name to column; the first of two that mean the same counts."""
    found: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in NAMES:
            found.setdefault(NAMES[name], i)
    return found


def _by_subject(path: Path, names: list[str], vitals: dict[str, int], rows: list[list[str]]) -> list[Recording]:
    of = next((names.index(name) for name in SUBJECTS if name in names), None)
    at = next(names.index(name) for name in (*TIMES, *HOURS) if name in names)
    scale = 3600.0 if names[at] in HOURS else 1.0
    subjects: dict[str, list[list[str]]] = {}
    for line, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise NotARecording(path, f"line {line} has {len(row)} cells where the header has {len(names)}")
        subjects.setdefault(row[of].strip() if of is not None else path.name.split(".")[0], []).append(row)
    found = []
    for subject, own in subjects.items():
        times = np.array([_seconds(path, row[at]) for row in own]) * scale
        columns = {name: np.array([_number(path, name, row[i]) for row in own]) for name, i in vitals.items()}
        found.append(_vitals_recording(subject, times, columns))
    return found


def _seconds(path: Path, cell: str) -> float:
    """Seconds of a cell: a number, or a date and time."""
    text = cell.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise NotARecording(path, f"has {text!r} where a time was expected") from error
        # A recording without a zone keeps its spacing in any: it is moved to now as a whole.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not np.isfinite(seconds):
        raise NotARecording(path, f"has {text!r} where a time was expected")
    return seconds


def _number(path: Path, name: str, cell: str) -> float:
    text = cell.strip()
    if text.casefold() in MISSING:
        return np.nan
    if text.casefold() in {"true", "false"}:
        return float(text.casefold() == "true")
    try:
        number = float(text)
    except ValueError as error:
        raise NotARecording(path, f"has {text!r} in its column for {name}") from error
    return number if np.isfinite(number) else np.nan


def _vitals_recording(subject: str, times: Floats, columns: dict[str, Floats]) -> Recording:
    order = np.argsort(times, kind="stable")
    times = _apart(times[order])
    columns = {name: column[order] for name, column in columns.items()}
    steps = np.diff(times)
    usual_s = float(np.median(steps)) if steps.size else 1.0
    instants = int(np.clip(UPLOAD_S // max(usual_s, 1e-3), 1, UPLOAD_INSTANTS))

    def uploads(now: datetime) -> Iterator[RecordedUpload]:
        return recorded(times, columns, now=now, instants=instants)

    return Recording(subject, float(times[-1] - times[0]), int(times.size), uploads)


def _apart(times: Floats) -> Floats:
    """Move rows of the same time a millisecond apart: each of them is an instant of its own."""
    times = times - times[0]
    steps = np.arange(times.size) * 1e-3
    return np.maximum.accumulate(times - steps) + steps if (np.diff(times) <= 0).any() else times


def _read_npz(path: Path, data: bytes) -> list[Recording]:
    found = []
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if array.ndim == 1 and np.issubdtype(array.dtype, np.floating) and array.size:
                    found.append((name.removesuffix("_rr"), array.astype(np.float64)))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise NotARecording(path, f"is an archive that does not open ({error})") from error
    for name, rr_s in found:
        usual_s = float(np.nanmedian(rr_s)) if not np.isnan(rr_s).all() else np.nan
        if not PLAUSIBLE_RR_S[0] <= usual_s <= PLAUSIBLE_RR_S[1]:
            raise NotARecording(path, f"its array {name!r} holds no RR intervals in seconds (median {usual_s:.3g})")
    if not found:
        raise NotARecording(path, "holds no one-dimensional array of RR intervals")
    return [_beats_recording(name, rr_s) for name, rr_s in found]


def minute_rates(rr_s: Floats, ends_s: Floats) -> tuple[Floats, Floats]:
    """Heart rate of each whole minute from its beats.

    Parameters
    ----------
    rr_s, ends_s : float64[n]
        Intervals and when each of them ended, in seconds.

    Returns
    -------
    (float64[minutes], float64[minutes])
        Seconds at the end of each minute; 60 over the mean plausible interval, NaN where these cover less than
        half of it.
    """
    minutes = max(int(ends_s[-1] // MINUTE_S), 1)
    minute = (ends_s // MINUTE_S).astype(np.int64)
    good = (rr_s >= PLAUSIBLE_RR_S[0]) & (rr_s <= PLAUSIBLE_RR_S[1]) & (minute < minutes)
    total = np.bincount(minute[good], weights=rr_s[good], minlength=minutes)
    beats = np.bincount(minute[good], minlength=minutes)
    rates = np.full(minutes, np.nan)
    enough = total >= ENOUGH_OF_MINUTE_S
    rates[enough] = np.round(MINUTE_S * beats[enough] / total[enough], 1)
    return MINUTE_S * np.arange(1, minutes + 1, dtype=np.float64), rates


def _beats_recording(subject: str, rr_s: Floats) -> Recording:
    ends_s = np.cumsum(np.where(np.isfinite(rr_s) & (rr_s > 0), rr_s, 0.0))
    times, rates = minute_rates(rr_s, ends_s)
    duration_s = float(max(ends_s[-1], times[-1]))

    def uploads(now: datetime) -> Iterator[RecordedUpload]:
        return _beat_uploads(rr_s, ends_s, times, rates, now - timedelta(seconds=duration_s), duration_s)

    return Recording(subject, duration_s, int(rr_s.size + times.size), uploads)


def _beat_uploads(
    rr_s: Floats, ends_s: Floats, times: Floats, rates: Floats, begin: datetime, duration_s: float
) -> Iterator[RecordedUpload]:
    boot, seq = str(uuid4()), 1
    starts_s = np.concatenate([[0.0], ends_s[:-1]])
    edges = np.append(np.arange(UPLOAD_S, duration_s, UPLOAD_S), np.inf)
    beat_edges = np.searchsorted(ends_s, edges, side="right")
    rate_edges = np.searchsorted(times, edges, side="right")
    beat, rate = 0, 0
    for to_beat, to_rate in zip(beat_edges.tolist(), rate_edges.tolist(), strict=True):
        body: dict[str, object] = {"upload_id": str(uuid4()), "boot_id": boot, "sent_at": rfc3339(begin)}
        last_s = max([0.0, *ends_s[beat:to_beat][-1:].tolist(), *times[rate:to_rate][-1:].tolist()])
        if to_rate > rate:
            start = rfc3339(begin + timedelta(seconds=float(times[rate])))
            column = listed(rates[rate:to_rate])
            body["series"] = [{"first_seq": seq, "start": start, "step_s": MINUTE_S, "heart_rate_bpm": column}]
            seq += to_rate - rate
        pieces = _pieces(rr_s, beat, to_beat)
        if pieces:
            body["beats"] = [
                {
                    "first_seq": seq + a - beat,
                    "start": rfc3339(begin + timedelta(seconds=float(starts_s[a]))),
                    "rr_ms": listed(np.round(rr_s[a:b] * 1000, 1)),
                }
                for a, b in pieces
            ]
            seq += to_beat - beat
        if to_beat > beat or to_rate > rate:
            yield RecordedUpload(begin + timedelta(seconds=last_s), last_s, body)
        beat, rate = to_beat, to_rate


def _pieces(rr_s: Floats, begin: int, end: int) -> list[tuple[int, int]]:
    """Runs of beats, each interval that the service will refuse by itself."""
    stretch = rr_s[begin:end]
    with np.errstate(invalid="ignore"):
        odd = np.flatnonzero((stretch < SENT_RR_S[0]) | (stretch > SENT_RR_S[1])) + begin
    cuts = sorted({begin, end, *odd.tolist(), *(odd + 1).tolist()})
    return list(pairwise(cuts))
