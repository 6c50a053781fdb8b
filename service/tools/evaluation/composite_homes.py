"""People put together from recordings: a home, a heart, a wrist and minutes of wear, all of other people."""

from __future__ import annotations

import csv
import lzma
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from devices.reading import COLUMNS, INDEX
from service.detection import Wearer
from service.tools.evaluation import af_data, fitabase, tihm_homes, wrist_training
from service.tools.evaluation.composite_follow import DAY_S, Life, Rows
from service.tools.evaluation.people_years import PER_DAY, person_year

WARM_DAYS = 15
"""Days that the product has known a composite person before findings count."""
OUTDOORS = ("front-door", "back-door")
MEASURED = {
    "Systolic blood pressure": "systolic_mmhg",
    "Diastolic blood pressure": "diastolic_mmhg",
    "Heart rate": "pulse_rate_bpm",
    "Body Temperature": "temperature_c",
}
YEAR_COLUMNS = {
    "heart_rate_bpm": "heart_rate",
    "steps": "steps",
    "respiratory_rate_bpm": "breathing",
    "spo2_pct": "spo2",
    "temperature_c": "temperature",
}


@dataclass(slots=True)
class Parts:
    """What lies in the data folder; a kind that is not there is empty."""

    homes: list[Life] = field(default_factory=list)
    minutes: list[fitabase.Person] = field(default_factory=list)
    hearts: list[af_data.Recording] = field(default_factory=list)
    fibrillating: list[af_data.Recording] = field(default_factory=list)
    wrists: list[wrist_training.Recording] = field(default_factory=list)
    falls: list[wrist_training.Recording] = field(default_factory=list)


def read(data: Path) -> Parts:
    """All recordings of the folder."""
    beating = af_data.recordings(data)
    return Parts(
        homes=homes(data) if (data / tihm_homes.FILE).is_file() else [],
        minutes=fitabase.people(data),
        hearts=[one for one in beating if one.group != "af"],
        fibrillating=[one for one in beating if one.group == "af"],
        wrists=list(wrist_training.wear(data)),
        falls=[one for one in wrist_training.weda(data) if one.kind == "fall"],
    )


def _years(band: str) -> float:
    ages = [float(n) for n in re.findall(r"\d+", band)]
    return sum(ages) / len(ages) if ages else float("nan")


def _events(data: Path) -> dict[str, list[tuple[int, str, str]]]:
    found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    with lzma.open(data / tihm_homes.FILE, "rt") as f:
        for row in csv.DictReader(f):
            at = int(np.datetime64(row["time"], "s").astype(np.int64))
            where = row["location"]
            place = "door" if where in OUTDOORS else "kitchen" if where == "fridge-door" else where
            kind = "door" if where in OUTDOORS else "motion"
            found[row["patient_id"]].append((at, kind, place))
    return found


def _measured(data: Path) -> dict[str, Rows]:
    """Pressure, pulse and temperature taken by hand, by person."""
    path = data / "tihm/physiology.csv.xz"
    table: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    if path.is_file():
        with lzma.open(path, "rt", newline="") as f:
            for row in csv.DictReader(f):
                if row["device_type"] in MEASURED and row["value"]:
                    at = int(datetime.fromisoformat(row["date"]).replace(tzinfo=UTC).timestamp())
                    values = table[row["patient_id"]].setdefault(at, np.full(len(COLUMNS), np.nan))
                    values[INDEX[MEASURED[row["device_type"]]]] = float(row["value"])
    return {
        who: Rows(np.array(sorted(rows), dtype=np.int64), np.stack([rows[t] for t in sorted(rows)]))
        for who, rows in table.items()
    }


def homes(data: Path) -> list[Life]:
    """Each home of TIHM from its first to its last sign; absences of more than a day are announced."""
    known = tihm_homes.read(data)
    events, measured = _events(data), _measured(data)
    lives = []
    for who, band, sex, time in zip(known.people, known.band, known.sex, known.time, strict=True):
        long = np.flatnonzero(np.diff(time) > DAY_S)
        start, end = int(time[0]) // 600 * 600, int(time[-1])
        if end - start < 2 * DAY_S:
            continue
        rows = measured.get(who, Rows.none())
        inside = (rows.at_s >= start) & (rows.at_s <= end)
        male = {"male": 1.0, "female": 0.0}.get(sex.lower(), float("nan"))
        lives.append(
            Life(
                name=f"home {who}", start_s=start, end_s=end, counted_s=start,
                rows=Rows(rows.at_s[inside], rows.values[inside]), events=sorted(events[who]),
                away=[(int(time[k]), int(time[k + 1])) for k in long], deaf=list(known.outages),
                wearer=Wearer(age_years=_years(band), sex=male, worn_at="wrist"),
            )
        )  # fmt: skip
    return lives


def minutes(person: fitabase.Person) -> Rows:
    values = np.full((person.at_s.size, len(COLUMNS)), np.nan)
    values[:, INDEX["heart_rate_bpm"]] = person.heart_rate
    values[:, INDEX["steps"]] = person.steps
    return Rows(person.at_s, values)


def wearing(person: fitabase.Person) -> Life:
    """The recorded minutes of a wearer alone."""
    start = int(person.at_s[0]) // 600 * 600
    return Life(f"minutes {person.name}", start, int(person.at_s[-1]) + 60, start, minutes(person))


def _repeated(rows: Rows, start: int, end: int) -> Rows:
    """A wearer's days over and over, at the hours of the day at which they were recorded."""
    first = int(rows.at_s[0]) // DAY_S * DAY_S
    span = (int(rows.at_s[-1]) // DAY_S + 1) * DAY_S - first
    begin = start // DAY_S * DAY_S
    parts = [Rows(rows.at_s - first + at, rows.values) for at in range(begin, end, span)]
    whole = Rows.joined(parts)
    kept = (whole.at_s >= start) & (whole.at_s < end)
    return Rows(whole.at_s[kept], whole.values[kept])


def _part(home: Life, start: int, end: int) -> Life:
    rows = (home.rows.at_s >= start) & (home.rows.at_s < end)
    return Life(
        name=home.name, start_s=start, end_s=end, counted_s=start,
        rows=Rows(home.rows.at_s[rows], home.rows.values[rows]),
        events=[e for e in home.events if start <= e[0] < end],
        away=[span for span in home.away if span[0] < end and span[1] > start], wearer=home.wearer,
    )  # fmt: skip


def together(parts: Parts, seed: int) -> list[Life]:
    """One person a recorded heart: known for `WARM_DAYS` at home, then followed as long as the heart was recorded.

    Home and wearer are drawn for each; a session of wrist acceleration lies within the counted day, each used in
    turn. Clocks are shifted by whole days, but for the heart, whose clock time is not known.
    """
    rng = np.random.default_rng(seed)
    lived = [h for h in parts.homes if h.end_s - h.start_s >= (WARM_DAYS + 2) * DAY_S]
    lives = []
    for k, heart in enumerate(parts.hearts):
        length = int(heart.rr_ms.sum() / 1000) // 600 * 600 + 600
        if lived:
            home = lived[int(rng.integers(len(lived)))]
            latest = home.end_s - home.start_s - (WARM_DAYS + 2) * DAY_S
            start = home.start_s + int(rng.integers(0, latest // 600 + 1)) * 600
        else:
            home, start = Life("no home", 0, 0, 0), 1_560_000_000
        counted = start + WARM_DAYS * DAY_S
        life = _part(home, start, counted + length)
        life.name, life.counted_s = f"{heart.name} + {home.name}", counted
        life.deaf = [span for span in home.deaf if span[0] < life.end_s and span[1] > start]
        life.beats_s, life.rr_ms = float(counted), heart.rr_ms
        if parts.minutes:
            worn = parts.minutes[int(rng.integers(len(parts.minutes)))]
            life.rows = Rows.joined([life.rows, _repeated(minutes(worn), start, life.end_s)])
        if parts.wrists:
            wrist = parts.wrists[k % len(parts.wrists)]
            latest = max(length - int(wrist.hours * 3600), 1)
            life.waves = [(float(counted + int(rng.integers(0, latest))), 50.0, "mg", wrist.signal * 1000.0)]
        lives.append(life)
    return lives


def wrists(parts: Parts) -> list[Life]:
    """The recorded sessions of wrist acceleration alone."""
    return [
        Life(
            one.key, 1_560_000_000, 1_560_000_000 + int(one.hours * 3600) + 60, 1_560_000_000,
            waves=[(1_560_000_000.0, 50.0, "mg", one.signal * 1000.0)], wearer=Wearer(worn_at="wrist"),
        )
        for one in parts.wrists
    ]  # fmt: skip


def years(seeds: Sequence[int], days: int, shift: float = 0.0, shifted_day: int = 0) -> list[Life]:
    """Simulated person-years; from `shifted_day` the heart rate rises by `shift` within a day."""
    lives = []
    for seed in seeds:
        year = person_year(seed, days)
        worn = ~np.isnan(year.heart_rate)
        held = {column: getattr(year, name)[worn] for column, name in YEAR_COLUMNS.items()}
        at = year.at_s[worn]
        if shift:
            ramp = np.clip((at - at[0]) / DAY_S - shifted_day, 0, 1)
            held["heart_rate_bpm"] = np.round(held["heart_rate_bpm"] + shift * ramp)
        start = int(year.at_s[0])
        rows = Rows(at, np.stack(list(held.values()), axis=1), tuple(INDEX[column] for column in held))
        lives.append(
            Life(f"simulated {seed}", start, start + days * DAY_S, start, rows,
                 wearer=Wearer(utc_offset_s=int(year.offset_s[0])), offset_s=year.offset_s[::PER_DAY])
        )  # fmt: skip
    return lives
