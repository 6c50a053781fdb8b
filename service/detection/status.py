"""What the pages may say about one person now: values with their ages, NEWS2, and one word with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from devices.reading import COLUMNS, INDEX
from service.detection import state
from service.detection.conditions import codes, moment, physiological, shown
from service.detection.limits import FORGOTTEN_S, MAX_AGE_S, PersonSettings, combine, score_evidence
from service.detection.news2 import BANDS, MEDIUM_TOTAL, PARAMETERS, Band
from service.detection.quality import WORN_HOLDS_S
from service.detection.segments import Floats, Ints
from service.detection.state import EVIDENCE, LATCHES, NEVER
from service.detection.usual import corrected

STALE_S = 900
"""A sensed vital older than this is stale and cannot support "well" (policy)."""
HAND_MEASURED_STALE_S = 43_200
"""The same for what is measured by hand: the RCP's longest interval between observations is 12 hours."""
SENSED = ("heart_rate_bpm", "pulse_rate_bpm", "spo2_pct", "respiratory_rate_bpm", "skin_temperature_c")
SUFFICIENT = 2
"""How many of heart rate, SpO2 and breathing must be fresh before anyone is "well" (policy)."""
_NOT_VITAL = ("steps", "worn", "battery_pct")

Word = Literal["well", "check", "unknown"]


@dataclass(frozen=True, slots=True)
class VitalNow:
    """The latest usable value of one vital sign."""

    code: str
    value: float
    unit: str
    at: datetime
    age_s: float
    stale: bool
    doubtful: bool
    usual: float | None


@dataclass(frozen=True, slots=True)
class News2Now:
    """NEWS2 as of now; `total` is "at least" while anything is missing."""

    total: int
    known: int
    missing: tuple[str, ...]
    band: Band
    single_parameter_3: bool
    worst: str | None
    ages: dict[str, float]
    """Seconds since each known parameter was measured."""


@dataclass(frozen=True, slots=True)
class Status:
    """One person as the pages may show them."""

    word: Word
    why: str
    """Why that word: a condition's code, or ok, never_reported, stale, not_worn, signal_contradiction, doubtful,
    too_few_vitals, news2_single_3, news2_medium."""
    age_s: float | None
    """Seconds since the newest reading was measured; None if there is none."""
    newest_at: datetime | None
    vitals: list[VitalNow] = field(default_factory=list)
    news2: News2Now | None = None
    worn: bool | None = None
    battery_pct: float | None = None
    contradictions: tuple[str, ...] = ()
    active: tuple[str, ...] = ()


def _vitals(record: Any, now_s: int) -> list[VitalNow]:
    found = []
    for i, column in enumerate(COLUMNS):
        at = int(record["last_t"][i])
        if column.name in _NOT_VITAL or at == NEVER:
            continue
        age = max(now_s - at, 0)
        limit = STALE_S if column.name in SENSED else HAND_MEASURED_STALE_S
        usual = None
        if column.name in EVIDENCE:
            k = EVIDENCE.index(column.name)
            usual = corrected(float(record["usual_m"][k]), int(record["usual_n"][k]))
        found.append(
            VitalNow(
                column.name, float(record["last_v"][i]), column.ucum, moment(at), float(age), age > limit,
                bool(record["last_doubt"][i]), usual,
            )
        )  # fmt: skip
    return found


def _news2(record: Any, settings: PersonSettings, now_s: int) -> tuple[News2Now | None, News2Now | None]:
    """NEWS2 on persistent values, which the rules go by, and the higher of that and the one on the latest values.

    A page may show a total that rests on lone readings or on somebody walking: it says how old each is, and rings
    nobody. Only the higher is shown, so that a tile out of range never stands beside a total of 0.
    """
    lane = record["lane"][0]
    news = (lane["news_v"], np.maximum(now_s - lane["news_t"], 0))
    lone = (lane["lone_v"], np.maximum(now_s - lane["lone_t"], 0))
    _, values, _ = combine(news, lone, MAX_AGE_S, int(MAX_AGE_S[0]))
    from_lone = np.isnan(np.where(news[1] <= MAX_AGE_S, news[0], np.nan))
    judged = _scored(values, np.where(from_lone, lone[1], news[1]), settings)
    column = [INDEX[name] for name in EVIDENCE]
    if record["last_t"][INDEX["heart_rate_bpm"]] < record["last_t"][INDEX["pulse_rate_bpm"]]:
        column[0] = INDEX["pulse_rate_bpm"]
    age = np.maximum(now_s - record["last_t"][column], 0)
    usable = (age <= MAX_AGE_S) & (record["last_v"][column] > 0)
    latest = _scored(np.where(usable, record["last_v"][column], np.nan), age, settings)
    return judged, max((n for n in (judged, latest) if n is not None), key=lambda n: n.total, default=None)


def _scored(values: Floats, age: Ints, settings: PersonSettings) -> News2Now | None:
    if np.isnan(values).all():
        return None
    oxygen = np.nan if settings.on_oxygen is None else float(settings.on_oxygen)
    scored = score_evidence(values[None, :], np.array([settings.spo2_scale == 2]), np.array([oxygen]))
    ages = {EVIDENCE[k]: float(age[k]) for k in np.flatnonzero(~np.isnan(values)).tolist()}
    return News2Now(
        int(scored.total_known[0]),
        int(scored.known[0]),
        scored.missing(0),
        BANDS[int(scored.band[0])],
        bool(scored.single_parameter_3[0]),
        scored.worst(0),
        {name: ages[name] for name in PARAMETERS if name in ages},
    )


def _worn(record: Any, vitals: list[VitalNow], now_s: int) -> bool | None:
    """What the device last said; a fresh sensed vital later than that shows that it is worn."""
    lane = record["lane"][0]
    sensed = max((int(v.at.timestamp()) for v in vitals if v.code in SENSED and not v.stale), default=NEVER)
    said_t = int(lane["worn_t"])
    if sensed > said_t + WORN_HOLDS_S or (sensed != NEVER and np.isnan(lane["worn"])):
        return True
    if np.isnan(lane["worn"]) or (lane["worn"] == 1 and now_s - said_t > STALE_S):
        return None
    return bool(lane["worn"] == 1)


def _word(
    active: set[int], vitals: list[VitalNow], news2: News2Now | None, worn: bool | None, newest: int, now_s: int
) -> tuple[Word, str]:
    if newest == NEVER:
        return "unknown", "never_reported"
    person = codes(shown({latch for latch in active if physiological(latch)}))
    if person:
        return "check", person[0]
    fresh = {v.code: v for v in vitals if v.code in SENSED and not v.stale}
    if worn is False:
        return "unknown", "not_worn"
    if "signal_contradiction" in codes(active):
        return "unknown", "signal_contradiction"
    if not fresh:
        return "unknown", "stale"
    if news2 is not None and news2.total >= MEDIUM_TOTAL:
        return "check", "news2_medium"
    if news2 is not None and news2.single_parameter_3:
        return "check", "news2_single_3"
    kinds = {("heart_rate_bpm" if c == "pulse_rate_bpm" else c) for c in fresh} - {"skin_temperature_c"}
    if len(kinds) < SUFFICIENT or "heart_rate_bpm" not in kinds:
        return "unknown", "too_few_vitals"
    if any(v.doubtful for v in fresh.values()):
        return "unknown", "doubtful"
    # Until medians have settled NEWS2 rests on lone readings, which are enough to look well but not to ring.
    return ("well", "ok") if worn else ("unknown", "not_worn")


def current_status(data: bytes | None, settings: PersonSettings, now_us: int) -> Status:
    """Say what may be shown about one person.

    Parameters
    ----------
    data : bytes or None
        The state that `analyse` returned last; None if nothing was ever received.
    settings : PersonSettings
    now_us : int
        Microseconds UTC; every age is as of this moment.
    """
    now_s = now_us // 1_000_000
    record = state.decode([data])[0]
    newest = int(record["newest"])
    active = set(np.flatnonzero(record["lane"]["latch"][0]).tolist())
    vitals = _vitals(record, now_s)
    judged, news2 = _news2(record, settings, now_s)
    worn = _worn(record, vitals, now_s)
    word, why = _word(active, vitals, judged, worn, newest, now_s)
    battery = int(record["last_t"][INDEX["battery_pct"]])
    return Status(
        word=word,
        why=why,
        age_s=None if newest == NEVER else float(max(now_s - newest, 0)),
        newest_at=None if newest == NEVER else moment(newest),
        vitals=vitals,
        news2=news2,
        worn=worn,
        battery_pct=float(record["last_v"][INDEX["battery_pct"]]) if now_s - battery <= FORGOTTEN_S else None,
        contradictions=tuple(
            LATCHES[i].split(":")[1] for i in sorted(active) if LATCHES[i].startswith("signal_contradiction")
        ),
        active=codes(shown(active)),
    )
