"""Simulated people, a year each: what a wristband would say every five minutes of a person who stays as they are.

Nothing here happens to anybody: every finding on these years is a false one. They are made harsher than a calm
life: days that differ, seasons, late weekends, evenings out, colds left out, naps, nights and days without the
device, flights, a new device. Sizes are policy, set around what is published of wearers: resting heart rate
varies by 2 to 3 bpm from day to day within a person and by a few bpm over the year (Quer 2020, PLOS ONE 0227709).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP_S = 300
PER_HOUR = 12
PER_DAY = 288
START_S = 1_704_067_200
"""Monday, 2024-01-01 00:00 UTC."""
HOME_OFFSET_S = 32_400
_JET_LAG_H_PER_DAY = 1.2
"""The body clock follows about 57 min a day eastward, 92 westward (Aschoff 1975)."""


@dataclass(frozen=True, slots=True)
class PersonYear:
    """One person; all arrays are float64[n] or int64[n], a value every five minutes, NaN where not worn."""

    at_s: Ints
    """Seconds UTC."""
    offset_s: Ints
    """Of local time."""
    heart_rate: Floats
    steps: Floats
    """Since the value before."""
    breathing: Floats
    spo2: Floats
    temperature: Floats
    """Of the body, degrees Celsius."""
    rest: npt.NDArray[np.bool_]
    """No step for 15 minutes."""


def _ar(rng: np.random.Generator, n: int, scale: float, steps: float) -> Floats:
    """Noise of standard deviation `scale` that forgets over so many steps."""
    keep = float(np.exp(-1 / steps))
    noise: Floats = lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(n + 1))[1:]
    return scale * noise


def _travel(rng: np.random.Generator, days: int) -> tuple[Ints, Floats]:
    """Local offset and that of the body clock, seconds, for every step."""
    local = np.full(days, HOME_OFFSET_S)
    for _ in range(rng.poisson(2 * days / 365)):
        start, length = int(rng.integers(0, days)), int(rng.integers(4, 15))
        local[start : start + length] += 3600 * int(rng.choice([-9, -8, -7, -5, -2, -1, 1, 2, 3, 6]))
    body = np.empty(days)
    now = float(local[0])
    for day in range(days):
        now += float(np.clip(local[day] - now, -3600 * _JET_LAG_H_PER_DAY, 3600 * _JET_LAG_H_PER_DAY))
        body[day] = now
    return np.repeat(local, PER_DAY), np.repeat(body, PER_DAY)


def _asleep(rng: np.random.Generator, local_s: Floats, body_s: Floats, days: int) -> npt.NDArray[np.bool_]:
    """Whether asleep: nights of their own length, later at weekends, some poor; naps in old age."""
    clock = (0.5 * (local_s + body_s)) / 3600
    day = np.clip((clock // 24 - clock[0] // 24).astype(np.int64), 0, days + 1)
    hour = clock % 24
    weekend = ((clock // 24 + 3) % 7).astype(np.int64)[::PER_DAY]
    late = np.zeros(days + 2)
    late[: weekend.size] = np.isin(weekend, (4, 5)) * rng.uniform(0.2, 1.8)
    bed = rng.normal(23, 0.8) + late + rng.normal(0, 0.6, days + 2)
    wake = rng.normal(6.8, 0.7) + np.roll(late, 1) + rng.normal(0, 0.6, days + 2)
    nap = np.where(rng.random(days + 2) < rng.uniform(0, 0.6), rng.normal(14, 0.7, days + 2), 99)
    after_midnight = np.roll(bed, 1)[day] - 24
    asleep = (hour >= bed[day]) | ((hour < wake[day]) & (hour >= after_midnight))
    napping = (hour >= nap[day]) & (hour < nap[day] + 0.8)
    result: npt.NDArray[np.bool_] = asleep | napping
    return result


def _steps(rng: np.random.Generator, asleep: npt.NDArray[np.bool_], days: int) -> Floats:
    n = asleep.size
    steps = np.where(rng.random(n) < rng.uniform(0.15, 0.4), rng.integers(3, 40, n), 0).astype(float)
    busy = rng.uniform(2, 9) * np.exp(rng.normal(0, 0.35, days))
    for start in rng.integers(0, n, rng.poisson(busy.sum())):
        length = int(rng.integers(1, 8))
        steps[start : start + length] += rng.uniform(150, 550)
    visits = rng.random(n) < 1 / 60
    return np.where(asleep, np.where(visits, rng.integers(5, 30, n), 0), steps)


def _evenings(rng: np.random.Generator, hour: Floats, days: int) -> Floats:
    """Drink, a big meal or hard exercise: a raised rate from the evening until the small hours."""
    lift = np.zeros(hour.size)
    length = 10 * PER_HOUR
    shape = np.exp(-np.arange(length) / (4 * PER_HOUR))
    for day in np.flatnonzero(rng.random(days) < rng.uniform(0.01, 0.1)):
        evening = np.flatnonzero(hour[day * PER_DAY : (day + 1) * PER_DAY] >= rng.uniform(18, 22))
        if evening.size:
            start = day * PER_DAY + int(evening[0])
            here = lift[start : start + length]
            here += rng.uniform(4, 14) * shape[: here.size]
    return lift


def _worn(rng: np.random.Generator, hour: Floats, days: int) -> npt.NDArray[np.bool_]:
    n = hour.size
    worn = np.ones(n, dtype=bool)
    charge = rng.uniform(8, 21)
    charging = (hour >= charge) & (hour < charge + rng.uniform(0.5, 1.5))
    worn &= ~(charging & np.repeat(rng.random(days) < 0.7, PER_DAY))
    nights_off = np.repeat(rng.random(days) < rng.uniform(0.02, 0.25), PER_DAY)
    worn &= ~(nights_off & ((hour >= 22) | (hour < 8)))
    for start in rng.integers(0, n, rng.poisson(10 * days / 365)):
        worn[start : start + int(rng.uniform(0.2, 4) * PER_DAY)] = False
    return worn & (rng.random(n) > 0.02)


def _slow(rng: np.random.Generator, days: int, between: float, season: float, device: float) -> Floats:
    """What changes from day to day: mood of the day, season, a slow wander, a new device."""
    day = np.arange(days + 1)
    level = _ar(rng, days + 1, between, rng.uniform(0.7, 2.0)) + _ar(rng, days + 1, between / 2, 25)
    level += season * np.sin(2 * np.pi * (day - rng.uniform(0, 365)) / 365)
    level += between / 5 * np.sin(2 * np.pi * (day - rng.uniform(0, 7)) / 7)
    level += np.where(day >= rng.integers(0, max(days, 365)), rng.normal(0, device), 0)
    grid = np.arange(days * PER_DAY) / PER_DAY
    smooth: Floats = np.interp(grid, day, level)
    return smooth


def person_year(seed: int, days: int = 365) -> PersonYear:
    """Simulate one person.

    Parameters
    ----------
    seed : int
        Of the person: the same seed gives the same year.
    days : int

    Returns
    -------
    PersonYear
    """
    rng = np.random.default_rng([20_240, seed])
    n = days * PER_DAY
    at_s = START_S + STEP_S * np.arange(n)
    local, body = _travel(rng, days)
    hour = ((at_s + local) % 86_400) / 3600
    body_hour = ((at_s + body) % 86_400) / 3600
    asleep = _asleep(rng, at_s + local.astype(float), at_s + body, days)
    steps = _steps(rng, asleep, days)
    effort = lfilter([1], [1, -np.exp(-1 / rng.uniform(1.0, 2.5))], np.minimum(steps, 600) / 600)
    night = lfilter([1 / 9], [1, -8 / 9], asleep.astype(float), zi=[8 / 9 * float(asleep[0])])[0]
    wave = np.cos(2 * np.pi * (body_hour - rng.uniform(15, 18)) / 24)

    heart = rng.uniform(56, 80) + _slow(rng, days, rng.uniform(1.8, 3.0), rng.uniform(0.5, 3), 1.0)
    heart = heart + rng.uniform(1.5, 4) * wave - rng.uniform(4, 10) * night
    heart += rng.uniform(20, 45) * np.minimum(effort, 1.6) + _evenings(rng, hour, days)
    heart += _ar(rng, n, rng.uniform(2, 3.5), PER_HOUR * rng.uniform(0.7, 2)) * (1 - 0.5 * night)
    heart += rng.normal(0, rng.uniform(1.5, 3), n)
    breathing = rng.uniform(13, 18.5) + _slow(rng, days, rng.uniform(0.3, 0.6), 0.2, 0.2) - rng.uniform(0, 1.5) * night
    breathing += 5 * np.minimum(effort, 1.6) + _ar(rng, n, 0.8, PER_HOUR) + rng.normal(0, 0.8, n)
    spo2 = rng.uniform(95, 97.8) + _slow(rng, days, 0.35, 0.1, 0.3) - rng.uniform(0, 1.5) * night
    spo2 += _ar(rng, n, 0.5, PER_HOUR) + rng.normal(0, 0.8, n)
    temperature = rng.uniform(36.2, 36.7) + _slow(rng, days, rng.uniform(0.08, 0.14), 0.05, 0.06)
    temperature += rng.uniform(0.15, 0.3) * wave + _ar(rng, n, 0.1, PER_HOUR * 2) + rng.normal(0, 0.06, n)

    worn = _worn(rng, hour, days)
    off = np.where(worn, 0.0, np.nan)
    calm = lfilter([1, 1, 1, 1], [1], steps) == 0
    return PersonYear(
        at_s, local, np.round(np.clip(heart, 38, 190)) + off, steps + off, np.round(np.clip(breathing, 6, 40), 1) + off,
        np.minimum(np.round(spo2), 100) + off, np.round(temperature, 1) + off, calm & worn,
    )  # fmt: skip
