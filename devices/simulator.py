"""Synthetic wearers and replay of recorded ones, as upload bodies in the contract's shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import numpy.typing as npt

from devices.batch import EventKind
from devices.vitals import INDEX

Floats = npt.NDArray[np.float64]
Body = dict[str, Any]

CLOCK_AHEAD = timedelta(minutes=75)
_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Short names of recorded data sets.
ALIASES = {
    "hr": "heart_rate_bpm",
    "pulse": "pulse_rate_bpm",
    "resp": "respiratory_rate_bpm",
    "spo2": "spo2_pct",
}
# A series row needs one step within this of the others (s).
_SAME_STEP_S = 1e-3


class Scenario(StrEnum):
    """What happens to a synthetic wearer once live uploads begin."""

    WELL = "well"
    RESTING_TACHYCARDIA = "resting_tachycardia"
    DESATURATION = "desaturation"
    SOS = "sos"
    FALL = "fall"
    SILENT = "silent"
    CLOCK_AHEAD_75MIN = "clock_ahead_75min"
    CLOCK_1970 = "clock_1970"


@dataclass(frozen=True, slots=True)
class _Habits:
    """One person's usual values."""

    heart_rate_bpm: float
    respiratory_rate_bpm: float
    spo2_pct: float
    skin_temperature_c: float
    temperature_c: float
    systolic_mmhg: float
    diastolic_mmhg: float


@dataclass(slots=True)
class Wearer:
    """A seeded wearer: the same seed, scenario and times give the same values.

    Upload and boot ids are random unless ``ids`` is given, so that a second demo on the same database is not
    taken for a repetition of the first.
    """

    seed: int
    scenario: Scenario = Scenario.WELL
    utc_offset_h: float = 9.0
    ids: Callable[[], UUID] = uuid4
    next_seq: int = 1
    boot_id: UUID = field(init=False)
    _rng: np.random.Generator = field(init=False)
    _habits: _Habits = field(init=False)
    _began: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.boot_id = self.ids()
        self._rng = np.random.default_rng(self.seed)
        draw = self._rng.normal
        self._habits = _Habits(
            heart_rate_bpm=float(np.clip(draw(68, 5), 56, 80)),
            respiratory_rate_bpm=float(np.clip(draw(15, 1), 13, 17)),
            spo2_pct=float(np.clip(draw(97, 0.5), 96.2, 98)),
            skin_temperature_c=float(draw(33, 0.4)),
            temperature_c=float(draw(36.6, 0.1)),
            systolic_mmhg=float(np.clip(draw(128, 6), 115, 142)),
            diastolic_mmhg=float(np.clip(draw(76, 4), 66, 86)),
        )

    def history(self, until: datetime, hours: float, per_upload: int = 1440) -> Iterator[Body]:
        """Back-fill the hours before ``until`` at one instant a minute, a cuff measurement each morning.

        Always of somebody well: the scenario begins with the first live upload. ``sent_at`` is ``until``; if
        posting takes longer than a few seconds, pass each body through `stamped` first.
        """
        total = round(hours * 60)
        for begin in range(0, total, per_upload):
            n = min(per_upload, total - begin)
            start = until - timedelta(minutes=total - begin)
            times = _times(start, 60.0, n)
            body = self._body(until)
            body["series"] = [self._series(start, 60.0, self._vitals(times))]
            body["readings"] = self._cuff(times)
            yield body

    def live(
        self, at: datetime, n: int = 60, step_s: float = 1.0, event: EventKind | None = None
    ) -> Body | None:
        """Give the upload that ends at ``at``, or None while the wearer is silent.

        The first call begins the scenario: rates change over its first minute, SOS and fall come with it.
        ``event`` adds any other event at ``at``.
        """
        start = at - timedelta(seconds=(n - 1) * step_s)
        first = self._began is None
        self._began = self._began or start
        if self.scenario is Scenario.SILENT:
            return None
        times = _times(start, step_s, n)
        values = self._vitals(times)
        self._suffer(values, times)
        body = self._body(self._told(at))
        body["series"] = [self._series(self._told(start), step_s, values)]
        events = [event] if event else []
        if first and self.scenario in (Scenario.SOS, Scenario.FALL):
            events.append(EventKind(self.scenario.value))
        body["readings"] = [self._row(self._told(at), event=kind.value) for kind in events]
        if EventKind.FALL in events:
            body["waveforms"] = [self._impact(self._told(at))]
        return body

    def restart(self) -> None:
        """Let the scenario begin anew with the next live upload."""
        self._began = None

    def _told(self, at: datetime) -> datetime:
        """What the wearer's own clock shows."""
        if self.scenario is Scenario.CLOCK_AHEAD_75MIN:
            return at + CLOCK_AHEAD
        if self.scenario is Scenario.CLOCK_1970:
            return _EPOCH + (at - (self._began or at))
        return at

    def _body(self, sent_at: datetime) -> Body:
        return {"upload_id": str(self.ids()), "boot_id": str(self.boot_id), "sent_at": rfc3339(sent_at)}

    def _take(self, n: int) -> int:
        first = self.next_seq
        self.next_seq += n
        return first

    def _row(self, at: datetime, **said: Any) -> Body:
        return {"seq": self._take(1), "at": rfc3339(at), **said}

    def _series(self, start: datetime, step_s: float, values: dict[str, Floats]) -> Body:
        n = max(column.size for column in values.values())
        columns = {name: listed(column) for name, column in values.items()}
        return {"first_seq": self._take(n), "start": rfc3339(start), "step_s": step_s, **columns}

    def _vitals(self, times: Floats) -> dict[str, Floats]:
        """Vital signs of somebody well: a circadian rhythm, sleep at night, bouts of motion by day."""
        habits, n = self._habits, times.size
        hour = ((times / 3600) + self.utc_offset_h) % 24
        # Heart rate peaks in the afternoon and is lowest around four in the morning.
        day = np.cos(2 * np.pi * (hour - 16) / 24)
        asleep = (hour >= 23) | (hour < 6.5)
        moving = self._bouts(times) & ~asleep
        heart = habits.heart_rate_bpm + 6 * day + 18 * moving + self._wander(n, 2.0)
        battery = 100 - 60 * ((hour - 8) % 24) / 24
        return {
            "heart_rate_bpm": np.clip(np.rint(heart), 45, 125),
            "spo2_pct": np.clip(np.rint(habits.spo2_pct - 0.6 * asleep + self._wander(n, 0.5)), 94, 100),
            "respiratory_rate_bpm": np.clip(
                np.rint(habits.respiratory_rate_bpm - asleep + 3 * moving + self._wander(n, 0.7)), 12, 20
            ),
            "skin_temperature_c": np.round(
                habits.skin_temperature_c + 0.5 * asleep + self._wander(n, 0.15), 1
            ),
            "temperature_c": np.round(habits.temperature_c + 0.2 * day + self._wander(n, 0.05), 1),
            "steps": np.where(moving, self._rng.poisson(1.2 * _step_s(times), n), 0).astype(np.float64),
            "worn": np.ones(n),
            "battery_pct": np.rint(battery),
        }

    def _bouts(self, times: Floats) -> npt.NDArray[np.bool_]:
        """Whether the wearer walks about: ten-minute bouts, fixed by seed and time of day."""
        block = (times // 600).astype(np.int64)
        mixed = (block * 2_654_435_761 + self.seed * 40_503) % 1_000
        return mixed < 180

    def _wander(self, n: int, spread: float) -> Floats:
        """Noise that a sensor shows: each sample remembers most of the one before."""
        memory, shock = 0.9, self._rng.normal(0, spread * np.sqrt(1 - 0.9**2), n)
        out = np.empty(n)
        last = self._rng.normal(0, spread)
        for i in range(n):
            last = memory * last + shock[i]
            out[i] = last
        return out

    def _suffer(self, values: dict[str, Floats], times: Floats) -> None:
        """Bend the values of a live upload to the scenario, over a minute from its beginning."""
        began = (self._began or datetime.fromtimestamp(times[0], UTC)).timestamp()
        grown = np.clip((times - began) / 60, 0, 1)
        if self.scenario in (Scenario.RESTING_TACHYCARDIA, Scenario.DESATURATION, Scenario.FALL):
            values["steps"][:] = 0
        if self.scenario is Scenario.RESTING_TACHYCARDIA:
            _blend(values, "heart_rate_bpm", 140, grown)
        if self.scenario is Scenario.DESATURATION:
            _blend(values, "spo2_pct", 83, grown)
            _blend(values, "respiratory_rate_bpm", 26, grown)
            _blend(values, "heart_rate_bpm", 106, grown)
        if self.scenario is Scenario.FALL:
            _blend(values, "heart_rate_bpm", 98, grown)

    def _cuff(self, times: Floats) -> list[Body]:
        """A blood pressure at eight each morning of the stretch."""
        local = times + self.utc_offset_h * 3600
        mornings = np.flatnonzero((local % _DAY_S) // 60 == 8 * 60)
        habits = self._habits
        return [
            self._row(
                datetime.fromtimestamp(times[i], UTC),
                systolic_mmhg=round(habits.systolic_mmhg + float(self._rng.normal(0, 5))),
                diastolic_mmhg=round(habits.diastolic_mmhg + float(self._rng.normal(0, 3))),
            )
            for i in mornings.tolist()
        ]

    def _impact(self, end: datetime) -> Body:
        """Ten seconds of acceleration (mg, 50 Hz): standing, falling, the impact, and lying still."""
        rate, n = 50, 500
        xyz = np.zeros((3, n))
        xyz[2, :150] = 1000
        xyz[:, 150:170] = 150
        xyz[:, 170:176] = np.array([[1800], [1500], [2600]])
        xyz[0, 176:] = 980
        xyz += self._rng.normal(0, 12, (3, n))
        return {
            "seq": self._take(1),
            "start": rfc3339(end - timedelta(seconds=n / rate)),
            "sampling_rate_hz": rate,
            "kind": "accelerometer",
            "unit": "mg",
            "channels": [listed(np.rint(axis)) for axis in xyz],
        }


@dataclass(frozen=True, slots=True)
class RecordedUpload:
    """One upload of a replay: when it would have been sent, and how far into the recording it ends."""

    at: datetime
    recorded_s: float
    body: Body


def recorded(
    t_s: npt.ArrayLike,
    columns: Mapping[str, npt.ArrayLike],
    *,
    now: datetime,
    instants: int = 60,
    boot_id: UUID | None = None,
    first_seq: int = 1,
    ids: Callable[[], UUID] = uuid4,
) -> Iterator[RecordedUpload]:
    """Cut recorded arrays into columnar uploads with the recorded spacing, the last instant at ``now``.

    ``t_s`` are seconds, ascending; ``columns`` are equally long arrays under contract names or `ALIASES`, NaN
    where nothing was recorded. Irregular stretches become several series within one upload. Pass each body
    through `stamped` when it is posted: ``sent_at`` is ``now``.
    """
    times = np.asarray(t_s, dtype=np.float64)
    named = {
        ALIASES.get(name, name): np.asarray(column, dtype=np.float64) for name, column in columns.items()
    }
    _check_recorded(times, named, instants)
    boot = str(boot_id or ids())
    for begin in range(0, times.size, instants):
        end = min(begin + instants, times.size)
        series = [
            {
                "first_seq": first_seq + a,
                "start": rfc3339(now - timedelta(seconds=float(times[-1] - times[a]))),
                "step_s": _step_s(times[a:b]),
                **{name: listed(column[a:b]) for name, column in named.items()},
            }
            for a, b in _regular(times, begin, end)
        ]
        body = {"upload_id": str(ids()), "boot_id": boot, "sent_at": rfc3339(now), "series": series}
        at = now - timedelta(seconds=float(times[-1] - times[end - 1]))
        yield RecordedUpload(at, float(times[end - 1] - times[0]), body)


def stamped(body: Body, now: datetime) -> Body:
    """The same upload, sent now: the service corrects times by receipt minus ``sent_at``."""
    return {**body, "sent_at": rfc3339(now)}


def rfc3339(moment: datetime) -> str:
    """Write an aware time as the contract has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def listed(column: Floats) -> list[float | int | None]:
    """Write numbers as short JSON: absent as null, whole ones without a point."""
    return [None if x != x else int(x) if x == int(x) else x for x in column.tolist()]


def _check_recorded(times: Floats, columns: Mapping[str, Floats], instants: int) -> None:
    if instants < 1:
        raise ValueError(f"instants must be positive, was {instants}")
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError("t_s must be finite seconds, strictly ascending: sort it and drop repetitions")
    for name, column in columns.items():
        if name not in INDEX:
            raise ValueError(
                f"columns must be vital signs of the contract, was {name!r}: rename or leave it out"
            )
        if column.shape != times.shape:
            raise ValueError(f"columns[{name!r}] must be {times.size} long like t_s, was {column.size}")


def _regular(times: Floats, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a stretch into runs of one step."""
    while begin < end:
        stop = begin + 1
        while stop < end and (
            stop == begin + 1
            or abs((times[stop] - times[stop - 1]) - (times[begin + 1] - times[begin])) < _SAME_STEP_S
        ):
            stop += 1
        yield begin, stop
        begin = stop


def _times(start: datetime, step_s: float, n: int) -> Floats:
    return np.asarray(start.timestamp() + step_s * np.arange(n), dtype=np.float64)


def _step_s(times: Floats) -> float:
    return round(float(times[-1] - times[0]) / (times.size - 1), 6) if times.size > 1 else 1.0


def _blend(values: dict[str, Floats], name: str, target: float, grown: Floats) -> None:
    values[name] = np.rint(values[name] * (1 - grown) + (target + values[name] % 2) * grown)
