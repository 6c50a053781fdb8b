"""An additive early-warning score beside NEWS2: what each vital adds, how it fades with age, said in words.

Readings are gathered by hours of the clock. What is learnt is learnt when an hour closes, so that the same
readings give the same findings however they are divided into uploads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from devices.signals.finding import Finding
from service.detection.segments import chosen, running_max, starts
from service.detection.warning_model import (
    CHANNELS,
    COMA_SCORE,
    FRESH_H,
    HIGH,
    HOUR_S,
    LOW,
    STATE,
    VITALS,
    Bools,
    Coefficients,
    Floats,
    Ints,
    N,
    Records,
    blank,
    features,
    fold,
    shipped,
    terms,
)

__all__ = ["CHANNELS", "COMA_SCORE", "STATE", "Score", "blank", "score", "update"]

OWN_H = 336.0
PRIOR_H = 24.0
WARM_H = 24.0
"""Until so many of a person's own hours are known nothing is told and learning is not slowed: a stranger's usual is
not yet theirs, and the limits and NEWS2 watch meanwhile (policy)."""
PRIOR_SD = 0.15
"""A person's own usual score: two weeks of memory; the population's counts as one day with this spread."""
SUSPECT_RATE = 0.15
"""Learning is slowed so far while suspicion is up (DETECTION.md section 3b)."""
SHIFT = 0.6
FLOOR_SD = 0.3
"""Deterioration looked for: so much above the own usual score, log-odds; the least spread believed."""
ARM_LLR = 3.0
CLEAR_LLR = 0.9
ARM_HOURS = 2
"""Arms at 3 nats in two hours that follow each other, clears at 0.3 of it."""
FOLLOW_H = 6
_FIRST_ROW = np.zeros(1, dtype=np.int64)
HOME = np.array([70.0, 96, 16, 36.5, 132])
"""Population prior at home until a person's own is known: a quiet older adult (all 0 points of NEWS2)."""


@dataclass(slots=True)
class Score:
    """The score of n people.

    Attributes
    ----------
    log_odds, probability : float64[n]
        Of dying in hospital, for people like those of the model's card. Never shown as a person's risk at home.
    terms : float64[n, channels + 2]
        What each of `CHANNELS`, age and sex adds above the mean of those people, log-odds.
    value, usual, age_s : float64[n, channels]
        Mean of the latest measured hour, the slow mean of two days, and the age of the latest reading.
    """

    log_odds: Floats
    probability: Floats
    terms: Floats
    value: Floats
    usual: Floats
    age_s: Floats

    def top(self, row: int, most: int = 3) -> list[tuple[str, float]]:
        """Names and weights of the vitals that raise the score most."""
        raised = self.terms[row, :N]
        return [(CHANNELS[i], float(raised[i])) for i in np.argsort(-raised, kind="stable")[:most] if raised[i] > 0]


def score(
    records: Records,
    now_s: npt.ArrayLike,
    age: npt.ArrayLike,
    sex: npt.ArrayLike,
    models: tuple[Coefficients, Coefficients] | None = None,
) -> Score:
    """Score people as of now, the open hour included.

    Parameters
    ----------
    records : structured[n]
    now_s : int or int64[n]
        Seconds UTC.
    age, sex : float or float64[n]
        Years; 0 female, 1 male; NaN where not known.
    models : pair of Coefficients, optional
        Without and with consciousness; the shipped ones by default.

    Returns
    -------
    Score
    """
    plain, conscious = models or (shipped("vitals"), shipped("conscious"))
    closed = records.copy()
    fold(closed)
    found = features(closed, now_s, age, sex)
    with_it = found.seen[:, -1:]
    each = np.where(with_it, terms(found, conscious), terms(found, plain))
    each[:, N - 1] *= with_it[:, 0]
    intercept = np.where(with_it[:, 0], conscious.intercept, plain.intercept)
    log_odds = intercept + each.sum(axis=1)
    usual = np.where(with_it, conscious.usual, plain.usual)
    usual[:, N - 1] *= with_it[:, 0]
    values = closed["last_v"].astype(np.float64), closed["mean"].astype(np.float64)
    return Score(log_odds, 1 / (1 + np.exp(-log_odds)), each - usual, *values, found.age_s)


def _judge(records: Records, age: Floats, sex: Floats) -> tuple[Floats, Floats, Bools, Bools]:
    """Weigh a closed hour against the person's usual: llr, rise of each vital, arms now, ends now. In place."""
    now = (records["hour"] + 1).astype(np.int64) * HOUR_S
    model = shipped("vitals")
    found = features(records, now, age, sex)
    each = terms(found, model)[:, :VITALS]
    fresh = found.age_s[:, :VITALS] <= FRESH_H * HOUR_S
    n = records["own_n"].astype(np.float64)
    mean = (n * records["own_mean"] + PRIOR_H * home()) / (n + PRIOR_H)
    var = (n * records["own_var"] + PRIOR_H * PRIOR_SD**2) / (n + PRIOR_H)
    rise = np.where(fresh, each - mean, 0.0)
    spread = FLOOR_SD**2 + np.where(fresh, var, 0.0).sum(axis=1)
    llr = SHIFT * (rise.sum(axis=1) - SHIFT / 2) / spread
    warm = n.max(axis=1) >= WARM_H
    high = warm & (llr >= ARM_LLR)
    follows = (records["streak"] > 0) & (records["hour"] - records["high_hour"] <= FOLLOW_H)
    streak = np.where(high, np.where(follows, np.minimum(records["streak"] + 1, 100), 1), 0)
    records["since"] = np.where(high & (streak == 1) & (records["held"] == 0), records["hour"], records["since"])
    records["high_hour"] = np.where(high, records["hour"], records["high_hour"])
    records["streak"] = streak
    arms = (streak >= ARM_HOURS) & (records["held"] == 0)
    ends = (llr <= CLEAR_LLR) & (records["held"] == 1)
    records["held"] = np.where(arms, 1, np.where(ends, 0, records["held"]))
    suspicion = np.where(warm & (llr > CLEAR_LLR), SUSPECT_RATE, 1.0)[:, None]
    rate = np.where(fresh, suspicion / np.minimum(n + 1, OWN_H), 0.0)
    step = each - records["own_mean"]
    own = records["own_mean"] + rate * step
    records["own_var"] = records["own_var"] + rate * (step * (each - own) - records["own_var"])
    records["own_mean"] = own
    records["own_n"] = np.minimum(n + np.where(fresh, suspicion, 0.0), OWN_H)
    return llr, rise, arms, ends


@cache
def home() -> Floats:
    """Terms of a quiet older adult at home with a day of steady readings: float64[vitals]."""
    one = blank()
    for hour in range(100_000, 100_024):
        one["hour"] = hour
        one["sum"][0, :VITALS], one["count"][0, :VITALS] = np.rint(HOME * 10), 1
        one["last_t"] = (hour + 1) * HOUR_S
        fold(one)
    return terms(features(one, 100_024 * HOUR_S, 80.0, np.nan), shipped("vitals"))[0, :VITALS]


def _told(records: Records, row: int, llr: float, rise: Floats, ended: bool) -> Finding:
    """Put a latch that changed into a finding, with the vitals that raise it most."""
    record = records[row]
    at_s = (int(record["hour"]) + 1) * HOUR_S
    params: dict[str, float | int | str | bool | None] = {"rise": round(float(rise.sum()), 2)}
    worst = [i for i in np.argsort(-rise, kind="stable")[:3].tolist() if rise[i] > 0]
    for place, i in enumerate(worst):
        end = f"_{place + 1}" if place else ""
        params["vital" + end] = CHANNELS[i]
        params["value" + end] = round(float(record["last_v"][i]), 1)
        params["usual" + end] = round(float(record["mean"][i]), 1)
        params["age_s" + end] = max(0, at_s - int(record["last_t"][i]))
        params["weight" + end] = round(float(rise[i]), 2)
    since = int(record["since"]) * HOUR_S
    params["duration_s"] = at_s - since
    return Finding("warning", "deterioration_likely", since * 1_000_000, at_s * 1_000_000, round(llr, 4), ended, params)


def plausible(values: Floats) -> Bools:
    """Rows that say anything of a living person: bool[n]."""
    said: Bools = np.any(_filled(values), axis=1)
    return said


def _filled(values: Floats) -> Bools:
    """Where a plausible value is."""
    count = values.shape[1]
    filled: Bools = (values >= LOW[:count]) & (values <= HIGH[:count])
    return filled


def _sums(filled: Bools, at_s: Ints, values: Floats, start: Ints) -> tuple[Ints, Ints, Ints]:
    """Tenths, which are whole, readings and latest reading of each stretch of rows."""
    total = np.add.reduceat(np.rint(np.where(filled, values, 0.0) * 10), start, axis=0).astype(np.int64)
    count = np.add.reduceat(filled, start, axis=0, dtype=np.int64)
    return total, count, np.maximum.reduceat(np.where(filled, at_s[:, None], 0), start, axis=0)


def _add(group: Records, total: Ints, count: Ints, latest: Ints) -> None:
    channels = total.shape[1]
    group["sum"][:, :channels] += total
    group["count"][:, :channels] += count
    last = group["last_t"][:, :channels]
    np.maximum(last, latest, out=last, casting="unsafe")


def gather(records: Records, who: Ints, at_s: Ints, values: Floats) -> None:
    """Take readings in as `update` does, judging nothing: what the model is fitted on."""
    _walk(records, who, at_s, values, None)


def update(
    records: Records, who: Ints, at_s: Ints, values: Floats, age: Floats, sex: Floats
) -> list[tuple[int, Finding]]:
    """Take in accepted readings of a group of patients; records change in place.

    Parameters
    ----------
    records : structured[patients]
        Of dtype `STATE`.
    who : int64[n]
        Patient of each row, rising; rows of one patient in order of arrival.
    at_s : int64[n]
        Corrected time, seconds UTC. Rows of an hour before the newest are passed over: the past forecasts
        nothing that the present does not show better.
    values : float64[n, 5 or 6]
        `EVIDENCE`, and the coma score if asked; NaN where missing.
    age, sex : float64[patients]
        Years; 0 female, 1 male; NaN where not known.

    Returns
    -------
    list[tuple[int, Finding]]
        Patient and what began or ended when an hour of theirs closed.
    """
    return _walk(records, who, at_s, values, (age, sex))


def _walk(
    records: Records, who: Ints, at_s: Ints, values: Floats, people: tuple[Floats, Floats] | None
) -> list[tuple[int, Finding]]:
    told: list[tuple[int, Finding]] = []
    if not who.size:
        return told
    hour, under_way, filled = at_s // HOUR_S, records["hour"][who], _filled(values)
    if who[0] == who[-1] and hour[0] > 0 and not np.count_nonzero(hour != under_way):
        # One person's hour under way, the most usual upload: nothing to sort out.
        _add(records[chosen(who[:1])], *_sums(filled, at_s, values, _FIRST_ROW))
        return told
    # Rows that can still be counted: plausible, and of no hour that has closed.
    said = np.flatnonzero(np.any(filled, axis=1))
    newest = running_max(np.maximum(hour, under_way)[said], who[said])
    use = said[(hour[said] == newest) & (newest > 0)]
    if not use.size:
        return told
    who, hour = who[use], hour[use]
    start = starts(who * 2**32 + hour)
    sums = _sums(filled[use], at_s[use], values[use], start)
    person, begins = who[start], hour[start]
    ahead = starts(person)
    rank = np.arange(start.size) - np.repeat(ahead, np.diff(np.append(ahead, start.size)))
    for k in range(int(rank.max()) + 1):
        of = (rank == k).nonzero()[0]
        patients = person[of]
        index = chosen(patients)
        group = records[index]
        closing = ((group["hour"] > 0) & (group["hour"] != begins[of])).nonzero()[0]
        if closing.size:
            told += _close(group, closing, patients, people)
        group["hour"] = begins[of]
        _add(group, *(one[of] for one in sums))
        if patients.size > 1:
            records[index] = group
    return sorted(told, key=lambda pair: pair[0])


def _close(
    group: Records, closing: Ints, patients: Ints, people: tuple[Floats, Floats] | None
) -> list[tuple[int, Finding]]:
    index = chosen(closing)
    done = group[index]
    fold(done)
    if people is None:
        group[index] = done
        return []
    age, sex = people
    who = patients[closing]
    llr, rise, arms, ends = _judge(done, age[who], sex[who])
    if closing.size > 1:
        group[index] = done
    return [
        (int(who[i]), _told(done, i, float(llr[i]), rise[i], bool(ends[i])))
        for i in (arms | ends).nonzero()[0].tolist()
    ]
