"""The people of the simulated cohort: their homes, what happens there, and what each telephone call meets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from statistics import NormalDist
from uuid import UUID

import msgspec
import numpy as np

from dispatch.alarm import AlarmCondition
from dispatch.cohort_parameters import KINDS, ContactNumbers, Parameters
from dispatch.dry_run import condition
from dispatch.incident import Contact, Step, Target, Vitals
from dispatch.rehearsal import NOON, Behaviour, Kind

MOST_CONTACTS = 4
ROUNDS = 6
"""How many calls to one person have random numbers of their own; later ones use them again."""
DESK_CALLS = 6
PERSON_DRAWS = 12
PERSON_NORMALS = 3
CALL_DRAWS = 4
WORK_FROM, WORK_TO = 9, 18
"""Office hours."""
IDS = tuple(UUID(int=100 + n) for n in range(MOST_CONTACTS))
CONTACTS = tuple(Contact(person_id=one) for one in IDS)
INDEX = {one: n for n, one in enumerate(IDS)}
HELP, FINE, TAKE, DECLINE, WRONG = "2", "1", "3", "4", "9"
DAYS = 365.25


class Home(msgspec.Struct, frozen=True):
    contacts: tuple[int, ...]
    """Each one's relation."""
    strangers: tuple[bool, ...]
    """Whose number is wrong."""
    may_cancel: bool
    can_be_asked: bool


class Event(msgspec.Struct, frozen=True):
    """Something that the band tells of, true or not, with every chance of it drawn beforehand.

    The same draws meet every policy (common random numbers), whichever call comes when.
    """

    home: int
    kind: str
    true: bool
    hour: float
    uniform: list[float]
    normal: list[float]


CALLS_AT = PERSON_DRAWS
DESK_AT = CALLS_AT + MOST_CONTACTS * ROUNDS * CALL_DRAWS
UNIFORMS = DESK_AT + DESK_CALLS * 2
NORMALS = PERSON_NORMALS + MOST_CONTACTS * ROUNDS * 2 + DESK_CALLS


def homes(parameters: Parameters, number: int, rng: np.random.Generator) -> list[Home]:
    """So many homes."""
    c, p = parameters.contacts, parameters.person
    counts = rng.choice(len(c.count), size=number, p=c.count) + 1
    relations = rng.choice(len(c.relations), size=(number, MOST_CONTACTS), p=c.share)
    strangers = rng.random((number, MOST_CONTACTS)) < c.wrong_number
    cancel = rng.random(number) >= p.may_not_cancel
    asked = rng.random(number) >= p.voice_fails
    return [
        Home(
            tuple(int(one) for one in relations[i, : counts[i]]),
            tuple(bool(one) for one in strangers[i, : counts[i]]),
            bool(cancel[i]),
            bool(asked[i]),
        )
        for i in range(number)
    ]


def events(parameters: Parameters, number: int, years: float, rng: np.random.Generator) -> list[Event]:
    """What happens in so many homes over so many years, in no particular order."""
    found: list[Event] = []
    for kind in KINDS:
        for true in (True, False):
            rate = parameters.true_per_1000_years.of(kind) / 1000 / DAYS
            if not true:
                rate = parameters.false_per_1000_days.of(kind) / 1000
            count = int(rng.poisson(rate * DAYS * years * number))
            where = rng.integers(0, number, size=count).tolist()
            hours = _hours(parameters, count, true, rng).tolist()
            uniform, normal = rng.random((count, UNIFORMS)), rng.standard_normal((count, NORMALS))
            found += [
                Event(where[i], kind, true, hours[i], uniform[i].tolist(), normal[i].tolist()) for i in range(count)
            ]
    return found


def _hours(parameters: Parameters, count: int, true: bool, rng: np.random.Generator) -> np.ndarray:
    """Hours of the day: emergencies at any, false alarms mostly while people move about."""
    if true:
        return rng.random(count) * 24
    weights = [parameters.hours.false_at_night if parameters.hours.asleep(h) else 1.0 for h in range(24)]
    hours: np.ndarray = rng.choice(24, size=count, p=np.array(weights) / sum(weights)) + rng.random(count)
    return hours


class Scene:
    """One event at one home, as telephones and readings know it."""

    def __init__(self, parameters: Parameters, home: Home, event: Event) -> None:
        self.parameters, self.home, self.event = parameters, home, event
        p, u = parameters.person, event.uniform
        self.asleep = parameters.hours.asleep(event.hour)
        self.answers = u[0] < self._share()
        self.key = self._key()
        reach = p.reach_median_s * math.exp(p.reach_sigma * event.normal[0])
        self.reach_s = reach + (p.reach_asleep_s if self.asleep else 0.0)
        self.menu_s = p.menu_median_s * math.exp(p.menu_sigma * event.normal[1])
        fresh = event.true or u[2] < p.fresh_vitals
        self.vitals = Vitals(fresh_age_s=20.0 if fresh else None, worse=event.true and u[3] < p.worse_vitals)
        self.start = NOON + timedelta(hours=event.hour - 12.0)
        band = p.ill_presses_ok if event.true else p.band_answers
        self.band_s = p.band_median_s * math.exp(p.band_sigma * event.normal[2]) if u[6] < band else None
        """When OK is pressed on the wrist; it buzzes with the answer to the very upload that asked."""
        self._asked_at_s: float | None = None
        v = parameters.verify
        self.decide_s = v.decide_median_s * math.exp(v.decide_sigma * NormalDist().inv_cdf(max(u[7], 1e-12)))
        """How long whoever takes it looks into it before they send a unit or do not."""

    def conditions(self) -> list[AlarmCondition]:
        return [condition(self.event.kind, self.start)]

    def contacts(self) -> tuple[Contact, ...]:
        return CONTACTS[: len(self.home.contacts)]

    def _share(self) -> float:
        """How likely this person answers at all while being asked."""
        p = self.parameters.person
        if not self.event.true:
            return p.well_answers_asleep if self.asleep else p.well_answers
        shares = {"sos": p.sos_answers, "grave": p.grave_answers, "high": p.high_answers, "medium": p.medium_answers}
        return shares[self.event.kind]

    def _key(self) -> str:
        p, u = self.parameters.person, self.event.uniform[1]
        if not self.event.true:
            wrong = (1.0 - p.well_says_fine) / 2
            return FINE if u < p.well_says_fine else HELP if u < p.well_says_fine + wrong else ""
        if u < p.ill_says_fine:
            return FINE
        return "" if u < p.ill_says_fine + p.ill_presses_nothing else HELP

    def phones(self, step: Step, at_s: float) -> Behaviour:
        """What this call meets."""
        if step.target is Target.PATIENT:
            return self._person(at_s)
        if step.target is Target.DESK or step.person_id is None:
            return self.desk_call(step.attempt)
        return self.contact_call(INDEX[step.person_id], step.attempt)

    def _person(self, at_s: float) -> Behaviour:
        """On their way since the first ring: a second call meets them nearer."""
        if self._asked_at_s is None:
            self._asked_at_s = at_s
        if not self.answers:
            return Behaviour(Kind.NO_ANSWER)
        left_s = max(1.0, self.reach_s - (at_s - self._asked_at_s))
        return Behaviour(Kind.ANSWER, left_s, self.key, self.menu_s)

    def desk_call(self, attempt: int) -> Behaviour:
        d, n = self.parameters.desk, (attempt - 1) % DESK_CALLS
        answers, takes = self.event.uniform[DESK_AT + 2 * n : DESK_AT + 2 * n + 2]
        if answers >= d.answers:
            return Behaviour(Kind.NO_ANSWER)
        after_s = d.pick_up_median_s * math.exp(d.pick_up_sigma * self.event.normal[NORMALS - DESK_CALLS + n])
        return Behaviour(Kind.ANSWER, after_s, TAKE if takes < d.takes else "", self.menu_s)

    def contact_call(self, who: int, attempt: int) -> Behaviour:
        return contact_call(self.parameters.contacts, self.home, self.event, who, attempt)


def contact_call(c: ContactNumbers, home: Home, event: Event, who: int, attempt: int) -> Behaviour:
    """What the so-manieth call to one contact meets."""
    base = CALLS_AT + who * ROUNDS * CALL_DRAWS
    at = base + (attempt - 1) % ROUNDS * CALL_DRAWS
    same, answers, key, detected = event.uniform[at : at + CALL_DRAWS]
    if same < c.same_again:
        answers = event.uniform[base + 1]
    share = _answers(c, event.hour)[home.contacts[who]]
    if answers < share:
        n = PERSON_NORMALS + (who * ROUNDS + (attempt - 1) % ROUNDS) * 2
        after_s = c.pick_up_median_s * math.exp(c.pick_up_sigma * event.normal[n])
        pressed = TAKE if key < c.takes else DECLINE if key < c.takes + c.declines else ""
        menu_s = 7.0 * math.exp(0.35 * event.normal[n + 1])
        return Behaviour(Kind.ANSWER, after_s, WRONG if home.strangers[who] else pressed, menu_s)
    fate = (answers - share) / max(1.0 - share, 1e-9)
    for kind, part in ((Kind.VOICEMAIL, c.voicemail), (Kind.BUSY, c.busy), (Kind.UNREACHABLE, c.switched_off)):
        if fate < part:
            return Behaviour(kind, c.voicemail_after_s, detected=detected < c.detected)
        fate -= part
    return Behaviour(Kind.NO_ANSWER)


def _answers(c: ContactNumbers, hour: float) -> Sequence[float]:
    if WORK_FROM <= hour < WORK_TO:
        return c.answers_work
    return c.answers_evening if 7 <= hour < 23 else c.answers_night

