"""When to ask, ring, wait and stop: the rules, as functions of an incident and an instant.

Every function returns a Decision with a changed copy; the incident given is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec.structs import replace

from dispatch.alarm import AlarmCondition, Priority
from dispatch.codes import CloseReason, Disbelief, Log, Message, Why
from dispatch.escalation_answers import (
    ARRIVED_DIGIT,
    DECLINE_DIGIT,
    SAFE_DIGIT,
    TAKE_DIGIT,
    WRONG_NUMBER_DIGIT,
    call_picked_up,
    contact_answered,
    contact_call_ended,
    desk_answered,
    desk_call_ended,
    eta_pressed,
    wrong_key,
)
from dispatch.escalation_asking import (
    FINE_DIGIT,
    HELP_DIGIT,
    ask_again,
    ask_beside,
    ask_call_ended,
    ask_next_or_confirm,
    disbelief,
    overlap,
    patient_answered,
    plan_overlap,
)
from dispatch.escalation_draft import Draft, clamp, in_slow_gap, refuse
from dispatch.escalation_going import arrived, bridged, going, may_agree, safe
from dispatch.escalation_handover import hand_over, handover_answered, handover_timer
from dispatch.escalation_holding import close_now, confirm, deadline_passed, reopen, unit_overdue
from dispatch.escalation_hours import hours_said
from dispatch.escalation_ladder import alert, ladder_timer, ring_desk
from dispatch.escalation_people import acknowledge, called, claim, close, dispatch, note, progress, stand_down
from dispatch.escalation_removed import contact_removed, only_rung
from dispatch.escalation_telling import (
    coming,
    coming_call_ended,
    coming_heard,
    forget_fine,
    ring_coming,
    tell_owner,
    tell_rung,
)
from dispatch.incident import SETTLING, Decision, Incident, Reason, State

ASKED_BACK = frozenset({State.SUSPECTED, State.CHECKING, *SETTLING})
"""Where an SOS is the first word of it, or comes after all was over: the person is asked beside the ringing."""
EVENTS = frozenset({"sos", "fall", "fall_suspected", "fall_still"})
"""Codes that happen rather than last: another one is a new cry, not the same sign still there."""

WORSE_BY: dict[str, tuple[str, float]] = {
    "spo2_low": ("value", -2.0),
    "heart_rate_high": ("value", 10.0),
    "heart_rate_low": ("value", -5.0),
    "news2_high": ("total", 1.0),
    "news2_medium": ("total", 1.0),
}
"""Policy: by how much a sign must change, and which way, to have worsened after "I am fine"."""


def begin(incident: Incident, conditions: Sequence[AlarmCondition], now: datetime) -> Decision:
    """Start the plan that these conditions call for.

    Parameters
    ----------
    incident : Incident
        Fresh, in state suspected.
    conditions : sequence of AlarmCondition
        At least one.
    now : datetime
        Aware UTC.

    Raises
    ------
    IllegalMove
        When the incident has already begun.
    ValueError
        When there is no condition.
    """
    if not conditions:
        raise ValueError("conditions must hold at least one AlarmCondition, was empty")
    if incident.state is not State.SUSPECTED or incident.reasons:
        raise refuse(incident, "beginning it again")
    d = Draft(incident, now)
    d.incident.reasons = [Reason(condition=condition) for condition in conditions]
    d.incident.priority = max((c.priority for c in conditions), key=lambda priority: priority.rank)
    _stamp_beginning(d, conditions)
    codes = ",".join(condition.code for condition in conditions)
    d.log(Log.OPENED, codes=codes, priority=d.incident.priority.value)
    why = _unasked(d.incident)
    if why is not None:
        confirm(d, why)
        alert(d)
        if why is Why.SOS:
            ask_beside(d)
        return d.done()
    d.move(State.CHECKING)
    d.stamp("check_started_at")
    d.log(Log.CHECK_STARTED)
    ask_again(d)
    plan_overlap(d)
    return d.done()


def _stamp_beginning(d: Draft, conditions: Sequence[AlarmCondition]) -> None:
    worst = max(conditions, key=lambda condition: (condition.grave, condition.priority.rank))
    d.stamp("onset_estimated_at", min(condition.started_at for condition in conditions))
    d.stamp("sensor_event_at", worst.started_at)
    d.stamp("received_at", min(condition.detected_at for condition in conditions))
    d.stamp("opened_at")


def _unasked(incident: Incident) -> Why | None:
    """Why nothing waits for the person's answer, or None when it may."""
    if incident.sos:
        return Why.SOS
    if incident.desk_only:
        return Why.OWN_FAULT
    return None if incident.policy.can_be_asked else Why.CANNOT_BE_ASKED


def next_steps(incident: Incident, now: datetime) -> Decision:
    """Do everything that is due at or before ``now``.

    Parameters
    ----------
    incident : Incident
        In any state.
    now : datetime
        Aware UTC; it may have jumped either way since the last call.

    Returns
    -------
    Decision
        Without steps and log lines when nothing is due. An open incident always comes back with
        a ``next_step_at`` after ``now``; one found without any is put before the desk.
    """
    d = Draft(clamp(incident, now), now)
    held = d.incident
    if not held.open:
        return d.done()
    if held.next_step_at is None:
        d.log(Log.ORPHAN_FOUND)
        _adopt(d)
    if d.due(held.settle_at):
        close_now(d, held.close_reason or CloseReason.PATIENT_FINE)
        return d.done()
    if d.due(held.deadline_at):
        deadline_passed(d)
    if d.due(held.ask.due_at) or d.due(held.ask.ends_at):
        ask_next_or_confirm(d)
    if d.due(held.ask.overlap_at):
        overlap(d)
    if d.due(held.ladder.due_at):
        ladder_timer(d)
    if d.due(held.desk.due_at):
        ring_desk(d)
    if d.due(held.coming.due_at):
        ring_coming(d)
    if held.offered is not None and d.due(held.offered.due_at):
        handover_timer(d)
    if held.unit is not None and d.due(held.unit.due_at):
        unit_overdue(d)
    return d.done()


def _adopt(d: Draft) -> None:
    """An open incident that nobody holds and nothing will wake: give it back its next step."""
    held = d.incident
    if held.state in SETTLING:
        held.settle_at = d.after(held.policy.settle_s)
    else:
        ring_desk(d)


def join(incident: Incident, conditions: Sequence[AlarmCondition], now: datetime) -> Decision:
    """Further evidence about the same person joins the open incident.

    Parameters
    ----------
    incident : Incident
        Open; a closed one needs a new incident.
    conditions : sequence of AlarmCondition
        What detection found now; the same sign again makes no noise.
    now : datetime
        Aware UTC.

    Raises
    ------
    IllegalMove
        When the incident is closed.
    """
    if not incident.open:
        raise refuse(incident, "joining evidence")
    d = Draft(incident, now)
    found = [(condition, _absorb(d, condition)) for condition in conditions]
    news = [condition for condition, standing in found if standing is Standing.NEWS]
    standings = {standing for _, standing in found}
    if standings - {Standing.KNOWN}:
        forget_fine(d)
    _act_on(d, news, standings)
    if incident.state in ASKED_BACK and any(c.code == "sos" and s is not Standing.KNOWN for c, s in found):
        ask_beside(d)
    # A desk that was rung now and then for our own fault is rung at a person's pace from here on.
    d.incident = clamp(d.incident, now)
    return d.done()


class Standing(StrEnum):
    """How a condition relates to what the incident knew."""

    NEWS = "news"
    WORSE = "worse"
    AGAIN = "again"
    KNOWN = "known"


def _absorb(d: Draft, condition: AlarmCondition) -> Standing:
    """Write one condition into the incident and say how it stands to what was known."""
    incident = d.incident
    known = next((r for r in reversed(incident.reasons) if r.condition.code == condition.code), None)
    graver = condition.grave and not incident.grave
    if known is None:
        incident.reasons.append(Reason(condition=condition))
        d.log(Log.NEW_EVIDENCE, code=condition.code, priority=condition.priority.value)
        d.raise_priority(condition.priority)
        # What would not open an incident rides along as a line and rings nobody.
        return Standing.KNOWN if condition.priority is Priority.LOW else Standing.NEWS
    old = known.condition
    risen = condition.priority.rank > old.priority.rank or graver
    if risen:
        known.condition, known.ended_at = replace(condition, started_at=old.started_at), None
        d.log(Log.NEW_EVIDENCE, code=condition.code, priority=condition.priority.value)
        d.raise_priority(condition.priority)
        return Standing.NEWS
    if known.ended_at is not None:
        known.ended_at = None
        d.log(Log.EVIDENCE_AGAIN, code=condition.code)
        return Standing.AGAIN
    # Any other time is another cry: one that arrives late, or across a clock step, lies earlier.
    cried = condition.code in EVENTS and condition.started_at != old.started_at
    if cried or _measurably_worse(old, condition):
        # Kept, so that only a further worsening counts again.
        started_at = condition.started_at if cried else old.started_at
        known.condition = replace(condition, started_at=started_at, priority=old.priority, grave=old.grave)
        d.log(Log.EVIDENCE_AGAIN, code=condition.code)
        return Standing.WORSE
    return Standing.KNOWN


def _measurably_worse(old: AlarmCondition, new: AlarmCondition) -> bool:
    name, by = WORSE_BY.get(old.code, ("", 0.0))
    before, after = old.params.get(name), new.params.get(name)
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return False
    return after - before >= by if by > 0 else after - before <= by


def _act_on(d: Draft, news: list[AlarmCondition], standings: set[Standing]) -> None:
    incident = d.incident
    grave = any(condition.grave for condition in news)
    if incident.state in SETTLING:
        # A sign that had gone and came back is worse than when the person said "fine".
        returned = bool(standings & {Standing.WORSE, Standing.AGAIN})
        if returned or news:
            reopen(d, Why.WORSE)
    elif incident.state in {State.SUSPECTED, State.CHECKING}:
        if any(condition.code == "sos" for condition in news):
            confirm(d, Why.SOS)
            alert(d)
        elif grave or any(condition.priority is Priority.HIGH for condition in news):
            plan_overlap(d)
    elif incident.acknowledged:
        if news:
            _alert_owner(d, grave, urgent=any(c.priority is Priority.HIGH for c in news))
    elif news or (Standing.WORSE in standings and in_slow_gap(incident)):
        alert(d)


def _alert_owner(d: Draft, grave: bool, *, urgent: bool) -> None:
    """Who took a lesser case learns that it is graver, and must say within a claim's time that they go."""
    incident = d.incident
    tell_owner(d, Message.NEWS, urgent=urgent, desk_too=grave)
    if grave and incident.state is State.CONFIRMED and incident.deadline_at is not None:
        incident.deadline_at = min(incident.deadline_at, d.after(incident.policy.claim_s))


def notified(incident: Incident, now: datetime) -> Decision:
    """A carrier took a message to somebody other than the person: help was first told now, if not before."""
    d = Draft(incident, now)
    if "first_notified_at" not in incident.times:
        d.stamp("first_notified_at")
    return d.done()


def condition_ended(incident: Incident, code: str, now: datetime) -> Decision:
    """A sign is over. That lowers no priority and closes nothing, save one case.

    An incident made of nothing but a device's silence closes when the device reports again and
    nobody has acknowledged; those who were rung are told.
    """
    d = Draft(incident, now)
    held = d.incident
    ended = [r for r in held.reasons if r.condition.code == code and r.ended_at is None]
    if not held.open or not ended:
        return d.done()
    for reason in ended:
        reason.ended_at = now
    d.log(Log.EVIDENCE_ENDED, code=code)
    over = held.silence_only and all(reason.ended_at is not None for reason in held.weighty)
    if not over or held.acknowledged or held.state not in {State.SUSPECTED, State.CHECKING, State.CONFIRMED}:
        return d.done()
    if held.state is State.CHECKING:
        confirm(d, Why.DEVICE_REPORTS_AGAIN)
    close_now(d, CloseReason.DEVICE_REPORTS_AGAIN)
    tell_rung(d, Message.ALL_CLEAR)
    return d.done()


__all__ = [
    "ARRIVED_DIGIT",
    "DECLINE_DIGIT",
    "FINE_DIGIT",
    "HELP_DIGIT",
    "SAFE_DIGIT",
    "TAKE_DIGIT",
    "WRONG_NUMBER_DIGIT",
    "Disbelief",
    "acknowledge",
    "arrived",
    "ask_call_ended",
    "begin",
    "bridged",
    "call_picked_up",
    "called",
    "claim",
    "clamp",
    "close",
    "coming",
    "coming_call_ended",
    "coming_heard",
    "condition_ended",
    "contact_answered",
    "contact_call_ended",
    "contact_removed",
    "desk_answered",
    "desk_call_ended",
    "disbelief",
    "dispatch",
    "eta_pressed",
    "going",
    "hand_over",
    "handover_answered",
    "hours_said",
    "in_slow_gap",
    "join",
    "may_agree",
    "next_steps",
    "note",
    "only_rung",
    "patient_answered",
    "progress",
    "safe",
    "stand_down",
    "wrong_key",
]
