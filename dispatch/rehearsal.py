"""One incident played against pretend telephones, on a clock of its own, by the very rules that run in earnest."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from dispatch import escalation
from dispatch.alarm import AlarmCondition
from dispatch.codes import Outcome
from dispatch.incident import (
    SETTLING,
    Channel,
    Decision,
    Incident,
    NotificationKind,
    Policy,
    Step,
    Target,
    Vitals,
    open_incident,
)

SETUP_S = 0.5
"""From our request until the far telephone rings (as on the loopback network)."""
DETECTION_S = 1.0
"""What machine detection costs before the first word is said."""
TURNED_AWAY_S = 1.0
"""Until the network says that a line is busy or unreachable."""
FINE = "1"
MENUS = 2
"""How often a menu is spoken in one call before no key counts as none."""
WELL = Vitals(fresh_age_s=20.0)
NOON = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
"""Twelve o'clock in Korea: nobody's night."""
_NOBODY = UUID(int=0)


class Kind(StrEnum):
    """What one call meets, by the names of the loopback telephone network."""

    ANSWER = "answer"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    VOICEMAIL = "voicemail"
    UNREACHABLE = "unreachable"
    REJECT = "reject"


class Behaviour(msgspec.Struct, frozen=True):
    """What the other end of one call does."""

    kind: Kind = Kind.NO_ANSWER
    after_s: float = 3.0
    """Rings this long before it is picked up, by whomever or whatever."""
    key: str = ""
    """Pressed at the first menu; empty lets every menu run out."""
    menu_s: float = 8.0
    """From the menu's first word to the key, or to the end of one menu without one."""
    detected: bool = True
    """Whether machine detection knows a voicemail for what it is."""


SILENCE = Behaviour()
Phones = Callable[[Step, float], Behaviour]
"""What meets a call that is placed so many seconds after the beginning."""
Happening = Callable[[Incident, datetime], Decision]


class Sent(msgspec.Struct, frozen=True):
    at_s: float
    step: Step


class Rehearsal:
    """Plays until somebody has it, the person ended it, or time is up.

    Parameters
    ----------
    policy : Policy
        With the contacts of one person.
    conditions : sequence of AlarmCondition
        What opens the case, at second 0.
    phones : callable
        The behaviour that each voice call meets.
    vitals : Vitals
        What readings say when the person answers.
    start : datetime
        Aware UTC; the hour decides quiet hours.
    listen : callable or None
        Hears of every decision with its second.
    """

    def __init__(
        self,
        policy: Policy,
        conditions: Sequence[AlarmCondition],
        phones: Phones,
        *,
        vitals: Vitals = WELL,
        start: datetime = NOON,
        listen: Callable[[float, Decision], None] | None = None,
    ) -> None:
        self.incident = open_incident(id=_NOBODY, patient_id=UUID(int=1), policy=policy)
        self.sent: list[Sent] = []
        self._conditions, self._phones, self._vitals = conditions, phones, vitals
        self._start, self._listen = start, listen
        self._heap: list[tuple[float, int, Happening]] = []
        self._count = 0
        self.at_s = 0.0

    def band_says_fine(self, at_s: float) -> None:
        """OK is pressed on the wrist so many seconds after the beginning."""

        def happen(incident: Incident, now: datetime) -> Decision:
            return escalation.patient_answered(incident, FINE, now, self._vitals, by="band")

        self._after(at_s, happen)

    def run(self, until_s: float) -> None:
        """Play from the beginning for at most ``until_s`` seconds."""
        self._keep(escalation.begin(self.incident, self._conditions, self._start))
        self._play(until_s, lambda: self.over)

    def go_on(self, seconds: float) -> None:
        """Play so many seconds further, though somebody has it: what was begun ends, and may be told to them."""
        self._play(self.at_s + seconds, lambda: not self.incident.open)

    def _play(self, until_s: float, over: Callable[[], bool]) -> None:
        while not over():
            due_at = self.incident.next_step_at
            due_s = float("inf") if due_at is None else (due_at - self._start).total_seconds()
            call_s = self._heap[0][0] if self._heap else float("inf")
            if min(due_s, call_s) > until_s:
                return
            # What the carrier said before a timer was due has been handled when it fires.
            if call_s <= due_s:
                self.at_s, _, happening = heapq.heappop(self._heap)
                self._keep(happening(self.incident, self._now()))
            else:
                self.at_s = max(self.at_s, due_s)
                self._keep(escalation.next_steps(self.incident, self._now()))

    @property
    def over(self) -> bool:
        incident = self.incident
        return incident.acknowledged or incident.state in SETTLING or not incident.open

    def _now(self) -> datetime:
        return self._start + timedelta(seconds=self.at_s)

    def _keep(self, decision: Decision) -> None:
        self.incident = decision.incident
        if self._listen is not None:
            self._listen(self.at_s, decision)
        for step in decision.steps:
            self.sent.append(Sent(self.at_s, step))
            if step.channel is Channel.VOICE and step.kind is not NotificationKind.INFORM:
                self._call(step)

    def _after(self, seconds: float, happening: Happening) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.at_s + seconds, self._count, happening))

    def _call(self, step: Step) -> None:
        met = self._phones(step, self.at_s)
        if met.kind in {Kind.BUSY, Kind.UNREACHABLE}:
            outcome = Outcome.BUSY if met.kind is Kind.BUSY else Outcome.FAILED
            self._after(SETUP_S + TURNED_AWAY_S, _ended(step, outcome))
        elif met.kind is Kind.NO_ANSWER or met.after_s >= step.ring_s:
            self._after(SETUP_S + step.ring_s, _ended(step, Outcome.NO_ANSWER))
        elif met.kind is Kind.REJECT:
            self._after(SETUP_S + met.after_s, _ended(step, Outcome.BUSY))
        else:
            self._talk(step, met)

    def _talk(self, step: Step, met: Behaviour) -> None:
        up_s = SETUP_S + met.after_s + (DETECTION_S if step.detect_voicemail else 0.0)
        if met.kind is Kind.VOICEMAIL and met.detected:
            self._after(up_s, _ended(step, Outcome.VOICEMAIL))
            return
        self._after(up_s, _picked_up(step))
        key = met.key if met.kind is Kind.ANSWER else ""
        self._after(up_s + met.menu_s * (1 if key else MENUS), _pressed(step, key, self._vitals))


def _picked_up(step: Step) -> Happening:
    def happen(incident: Incident, now: datetime) -> Decision:
        return escalation.call_picked_up(incident, step.target, step.person_id, step.attempt, now)

    return happen


def _pressed(step: Step, key: str, vitals: Vitals) -> Happening:
    def happen(incident: Incident, now: datetime) -> Decision:
        if step.target is Target.PATIENT:
            return escalation.patient_answered(incident, key, now, vitals)
        if step.target is Target.DESK or step.person_id is None:
            return escalation.desk_answered(incident, key, now)
        return escalation.contact_answered(incident, step.person_id, key, now, attempt=step.attempt)

    return happen


def _ended(step: Step, outcome: Outcome) -> Happening:
    def happen(incident: Incident, now: datetime) -> Decision:
        if step.target is Target.PATIENT:
            return escalation.ask_call_ended(incident, outcome, step.attempt, now)
        if step.target is Target.DESK or step.person_id is None:
            return escalation.desk_call_ended(incident, outcome, step.attempt, now)
        return escalation.contact_call_ended(incident, step.person_id, outcome, step.attempt, now)

    return happen
