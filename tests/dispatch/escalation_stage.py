"""A stage for escalation stories: one incident, a clock, and everything that was sent and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from dispatch import escalation
from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from dispatch.incident import (
    Contact,
    Decision,
    Incident,
    LogEntry,
    NotificationKind,
    Policy,
    Step,
    Target,
    Vitals,
    open_incident,
)

START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
MINJI, JIHO, SORA = (UUID(int=n) for n in (1, 2, 3))
DISPATCHER, OTHER_DISPATCHER = UUID(int=11), UUID(int=12)
PATIENT = UUID(int=99)
GOOD = Vitals(fresh_age_s=20, worse=False)
TECHNICAL = {"device_silent", "device_never_reported", "detection_failed", "record_unreadable", "battery_low"}
HIGH = {"sos", "fall", "spo2_low", "news2_high"}


def sign(
    code: str,
    *,
    at: datetime = START,
    grave: bool = False,
    priority: Priority | None = None,
    params: dict[str, Param] | None = None,
) -> AlarmCondition:
    usual = Priority.HIGH if code in HIGH else Priority.LOW if code == "battery_low" else Priority.MEDIUM
    return AlarmCondition(
        code=code,
        kind=AlarmKind.TECHNICAL if code in TECHNICAL else AlarmKind.PHYSIOLOGICAL,
        priority=priority or usual,
        grave=grave or code == "sos",
        started_at=at - timedelta(seconds=30),
        detected_at=at,
        params=params or {},
    )


class Stage:
    def __init__(self, *codes: str, contacts: int = 2, **policy: object) -> None:
        people = tuple(Contact(person_id=person) for person in (MINJI, JIHO, SORA)[:contacts])
        self.now, self.codes, self.policy = START, codes, policy
        self.open(*people)

    def open(self, *contacts: Contact) -> None:
        """Begin with these contacts."""
        self.incident: Incident = open_incident(
            id=UUID(int=7),
            patient_id=PATIENT,
            policy=Policy(version="1", contacts=contacts, **self.policy),  # type: ignore[arg-type]
        )
        self.steps: list[Step] = []
        self.log: list[LogEntry] = []
        self.last = Decision(incident=self.incident)
        if self.codes:
            self.do(escalation.begin, [sign(code) for code in self.codes])

    def do(self, rule, *args, **kwargs) -> Decision:
        """Apply a rule at the stage's time and keep what comes of it."""
        return self.keep(rule(self.incident, *args, now=self.now, **kwargs))

    def keep(self, decision: Decision) -> Decision:
        self.last, self.incident = decision, decision.incident
        self.steps += decision.steps
        self.log += decision.log
        return decision

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the rules at every due instant on the way."""
        until = self.now + timedelta(seconds=seconds)
        while (due := self.incident.next_step_at) is not None and due <= until:
            self.now = max(due, self.now)
            self.do(escalation.next_steps)
        self.now = until

    def wake(self) -> Decision:
        """The next due instant."""
        due = self.incident.next_step_at
        assert due is not None
        self.now = max(due, self.now)
        return self.do(escalation.next_steps)

    def after(self) -> float | None:
        """Seconds until the next due step."""
        due = self.incident.next_step_at
        return None if due is None else (due - self.now).total_seconds()

    def held_for(self) -> float | None:
        """Seconds until whoever holds it must have moved it."""
        deadline = self.incident.deadline_at
        return None if deadline is None else (deadline - self.now).total_seconds()

    def answer(self, digit: str, vitals: Vitals = GOOD, by: str = "call") -> Decision:
        return self.do(escalation.patient_answered, digit, vitals=vitals, by=by)

    def press(self, person: UUID, digit: str, **kwargs) -> Decision:
        return self.do(escalation.contact_answered, person, digit, **kwargs)

    def ended(self, person: UUID, outcome: str = "no_answer", attempt: int | None = None) -> Decision:
        round_ = self.incident.ladder.round if attempt is None else attempt
        return self.do(escalation.contact_call_ended, person, outcome, round_)

    def wrote(self, *decisions: Decision) -> list[str]:
        """Log codes of the decisions given, or of the last one."""
        return [entry.what for decision in decisions or (self.last,) for entry in decision.log]

    def ever(self, code: str) -> bool:
        return any(entry.what == code for entry in self.log)


def rung(decision: Decision) -> list[UUID | str]:
    """Who is rung by voice, with a page or an ask; the desk is ``desk``."""
    ringing = {NotificationKind.PAGE, NotificationKind.ASK, NotificationKind.TECHNICAL}
    return [
        "desk" if step.target is Target.DESK else step.person_id or "?"
        for step in decision.steps
        if step.channel == "voice" and step.kind in ringing
    ]


def told(decision: Decision) -> list[tuple[UUID | None, str]]:
    return [(s.person_id, s.message) for s in decision.steps if s.kind is NotificationKind.INFORM]
