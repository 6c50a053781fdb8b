"""A working copy of an incident on which a rule records what it decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from dispatch.alarm import Param, Priority
from dispatch.codes import SPOKE, Log, Message, Why
from dispatch.incident import (
    EDGES,
    SYSTEM,
    UNDER_WAY,
    Channel,
    Decision,
    IllegalMove,
    Incident,
    LogEntry,
    NotificationKind,
    State,
    Step,
    Target,
    allowed_actions,
)

PATIENT = "patient"
DESK = "desk"


def who(person_id: UUID | None) -> str:
    """How a log line names a person; no person is the desk."""
    return DESK if person_id is None else f"person:{person_id}"


def copied(incident: Incident) -> Incident:
    """An incident that shares nothing mutable with the one given."""
    ladder = incident.ladder
    lists = {name: list(getattr(ladder, name)) for name in ("rung", "called", "declined", "retired")}
    return replace(
        incident,
        reasons=[replace(reason) for reason in incident.reasons],
        times=dict(incident.times),
        ask=replace(incident.ask),
        ladder=replace(ladder, **lists),
        desk=replace(incident.desk),
        going=None if incident.going is None else replace(incident.going),
        coming=replace(incident.coming),
        handovers=[replace(handover) for handover in incident.handovers],
        unit=None if incident.unit is None else replace(incident.unit),
        there=list(incident.there),
        relieved=None if incident.relieved is None else replace(incident.relieved),
        said_safe=list(incident.said_safe),
    )


def refuse(incident: Incident, asked: str) -> IllegalMove:
    """The sentence that a person gets who asked for something this state does not allow."""
    allowed = ", ".join(allowed_actions(incident))
    return IllegalMove(f"incident is {incident.state}: {asked} is not possible; allowed now: {allowed}")


class Draft:
    """An incident being changed at one instant, with the steps and log lines that come of it.

    Parameters
    ----------
    incident : Incident
        As stored; it is copied, never changed.
    now : datetime
        Aware UTC; the only clock the rules know.
    """

    def __init__(self, incident: Incident, now: datetime) -> None:
        self.incident = copied(incident)
        self.now = now
        self.steps: list[Step] = []
        self.lines: list[LogEntry] = []
        self.cancel_pages = False
        self.cancel_asks = False
        self.retire_number_of: UUID | None = None

    def done(self) -> Decision:
        return Decision(
            incident=self.incident,
            steps=self.steps,
            log=self.lines,
            cancel_pages=self.cancel_pages,
            cancel_asks=self.cancel_asks,
            retire_number_of=self.retire_number_of,
        )

    def log(self, what: Log, by: str = SYSTEM, /, **params: Param) -> None:
        self.lines.append(LogEntry(what=what.value, who=by, params=params))
        if what in SPOKE and params.get("how") != Why.NO_KEY.value and self.incident.open:
            self.incident.spoken = True

    def move(self, state: State) -> None:
        if state not in EDGES[self.incident.state]:
            raise refuse(self.incident, f"a move to {state}")
        self.incident.state = state

    def stamp(self, name: str, at: datetime | None = None) -> None:
        """Set a time once; what happened first stays."""
        self.incident.times.setdefault(name, at or self.now)

    def after(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def due(self, at: datetime | None) -> bool:
        return at is not None and at <= self.now

    def raise_priority(self, priority: Priority) -> None:
        """Priority only ever rises."""
        if priority.rank > self.incident.priority.rank:
            self.incident.priority = priority
            self.log(Log.PRIORITY_RAISED, priority=priority.value)

    def send(
        self,
        step: str,
        target: Target,
        message: Message,
        *,
        kind: NotificationKind,
        channel: Channel = Channel.VOICE,
        attempt: int,
        person_id: UUID | None = None,
        params: dict[str, Param] | None = None,
        expires_s: float = 300,
    ) -> None:
        policy = self.incident.policy
        language = next((c.language for c in policy.contacts if c.person_id == person_id), policy.language)
        self.steps.append(
            Step(
                step=step,
                target=target,
                person_id=person_id,
                channel=channel,
                attempt=attempt,
                kind=kind,
                message=message.value,
                params=params or {},
                language=language,
                ring_s=policy.ring_s,
                # A staffed desk has no voicemail, and detection costs its callee seconds of silence.
                detect_voicemail=channel is Channel.VOICE and target is not Target.DESK,
                expires_in=timedelta(seconds=expires_s),
            )
        )


def held_s(incident: Incident) -> float:
    """How long whoever holds the incident may go without progress, in seconds."""
    policy, going = incident.policy, incident.awaited
    if going is not None:
        return (going.eta_at - going.said_at).total_seconds() + policy.eta_grace_s
    if incident.state in UNDER_WAY:
        return policy.dispatched_s
    return policy.acknowledged_s if incident.acknowledged else policy.claim_s


def renewed(d: Draft) -> datetime:
    """Until when the owner holds it after a sign of life; who said when they arrive keeps to that time."""
    incident, going = d.incident, d.incident.awaited
    if going is None:
        return d.after(held_s(incident))
    promised = going.eta_at + timedelta(seconds=incident.policy.eta_grace_s)
    return max(promised, d.after(min(incident.policy.claim_s, held_s(incident))))


def desk_s(incident: Incident) -> int:
    """Seconds between two calls to the desk; our own faults are not worth one every two minutes."""
    policy = incident.policy
    return policy.slow_round_s if incident.desk_only else policy.desk_step_s


def in_slow_gap(incident: Incident) -> bool:
    """Whether the contacts' ladder rests between two slow rounds."""
    ladder, policy = incident.ladder, incident.policy
    return ladder.running and ladder.index >= len(policy.contacts) and ladder.round - ladder.base >= policy.rounds


def clamp(incident: Incident, now: datetime) -> Incident:
    """Pull in every due time that lies further off than its own delay (the clock was set back)."""
    fixed = copied(incident)
    policy, ladder = fixed.policy, fixed.ladder

    def at_most(at: datetime | None, seconds: float) -> datetime | None:
        return None if at is None else min(at, now + timedelta(seconds=seconds))

    fixed.ask.due_at = at_most(fixed.ask.due_at, max(policy.ask_attempt_s, policy.ask_talk_s))
    fixed.ask.ends_at = at_most(fixed.ask.ends_at, max(policy.ask_budget_s, policy.ask_talk_s))
    fixed.ask.overlap_at = at_most(fixed.ask.overlap_at, policy.overlap_s)
    call_s = policy.ring_s + policy.ask_talk_s
    fixed.ask.calling_until = at_most(fixed.ask.calling_until, call_s)
    ladder.due_at = at_most(ladder.due_at, policy.slow_round_s if in_slow_gap(fixed) else policy.contact_step_s)
    ladder.round_started_at = at_most(ladder.round_started_at, 0)
    fixed.desk.due_at = at_most(fixed.desk.due_at, desk_s(fixed))
    fixed.deadline_at = at_most(fixed.deadline_at, held_s(fixed))
    fixed.settle_at = at_most(fixed.settle_at, policy.settle_s)
    fixed.coming.due_at = at_most(fixed.coming.due_at, max(policy.coming_s, policy.coming_again_s, call_s))
    for handover in fixed.handovers[-1:]:
        handover.due_at = at_most(handover.due_at, policy.handover_s)
    if fixed.unit is not None:
        fixed.unit.due_at = at_most(fixed.unit.due_at, policy.dispatched_s)
    if fixed.going is not None:
        fixed.going.eta_at = min(fixed.going.eta_at, now + (fixed.going.eta_at - fixed.going.said_at))
        fixed.going.said_at = min(fixed.going.said_at, now)
    return fixed
