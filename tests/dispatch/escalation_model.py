"""The outbox beside a case, and what must hold after whatever the rules of dispatch decide."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from escalation_stage import Stage
from hypothesis.stateful import RuleBasedStateMachine, invariant

from dispatch import messages
from dispatch.alarm import Priority
from dispatch.codes import Log, Message
from dispatch.incident import (
    EDGES,
    ON_THE_ROAD,
    SETTLING,
    THERE,
    UNDER_WAY,
    Channel,
    Decision,
    IllegalMove,
    NotificationKind,
    State,
    Target,
    UnitStage,
)

S = State
AT_ONCE = {
    (S.CHECKING, S.CLOSED),
    (S.CHECKING, S.DISPATCHED),
    (S.CHECKING, S.AT_PATIENT),
    (S.CANCELLED_BY_PATIENT, S.DISPATCHED),
    (S.STOOD_DOWN, S.DISPATCHED),
}
"""Two edges in one decision, by way of confirmed."""
STOPPED = {*SETTLING, S.CLOSED}
PAGING = {NotificationKind.PAGE, NotificationKind.ASK, NotificationKind.TECHNICAL}
HUMAN = frozenset({"contact_3", "desk_3", "acknowledge", "dispatch", "called", "progress", "going", "arrived"})
"""What may acknowledge."""
REFUSES = frozenset(
    {"claim", "acknowledge", "dispatch", "progress", "stand_down", "close", "join", "hand_over", "handover_answered"}
) | {"called"}


class Judged(RuleBasedStateMachine):
    """A case whose every decision is judged; what happens to it is for whoever derives from it."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.presses = 0
        self.forget()

    def forget(self) -> None:
        self.keys: set[tuple[object, ...]] = set()
        self.pending: list[NotificationKind] = []
        """The outbox: pages and asks that no sender has taken yet."""
        self.rung: dict[object, tuple[object, int]] = {}
        """When each contact was last rung, and in which run of the ladder."""
        self.jumped = self.duress = False

    # --- acting and judging every single decision

    def act(self, name: str, what, *args, **kwargs) -> Decision | None:
        before, stored = self.stage.incident, msgspec.json.encode(self.stage.incident)
        try:
            decision = self.stage.do(what, *args, **kwargs)
        except IllegalMove as refusal:
            assert "allowed now: " in str(refusal)
            assert name in REFUSES
            return None
        finally:
            assert msgspec.json.encode(before) == stored, "the argument was changed"
        assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision
        self.judge_moves(name, before, decision)
        self.judge_messages(decision)
        self.judge_ringing(name, before, decision)
        self.judge_help(name, before, decision)
        self.write_down(before, decision)
        self.decided = decision
        return decision

    def write_down(self, before, decision):
        """What one commit does to the outbox; a change that nobody can read later is none."""
        after = decision.incident
        changed = (before.state, before.owner_id, before.acknowledged) != (
            after.state,
            after.owner_id,
            after.acknowledged,
        )
        assert decision.log or not (changed or decision.steps)
        if decision.cancel_pages:
            self.pending = [kind for kind in self.pending if kind not in PAGING]
        elif decision.cancel_asks:
            self.pending = [kind for kind in self.pending if kind is not NotificationKind.ASK]
        self.pending += [step.kind for step in decision.steps]

    def judge_moves(self, name, before, decision):
        after = decision.incident
        moved = (before.state, after.state)
        assert after.state in {before.state, *EDGES[before.state]} or moved in AT_ONCE, moved
        assert after.priority.rank >= before.priority.rank
        if after.state is S.DISPATCHED and before.state is not S.DISPATCHED:
            assert name in {"dispatch", "called"}
        assert before.times.items() <= after.times.items(), "a time stamp changed or went"
        if after.acknowledged and not before.acknowledged:
            assert name in HUMAN
            assert decision.cancel_pages
        if after.state in STOPPED and before.state not in STOPPED:
            assert decision.cancel_pages
        if after.state in STOPPED or after.acknowledged:
            assert not [step for step in decision.steps if step.kind in PAGING]
        if after.state is S.CANCELLED_BY_PATIENT and before.state is not after.state:
            assert name == "fine" and before.state is S.CHECKING
            assert not before.sos and not before.grave and before.policy.may_cancel
        if before.state is S.CONFIRMED and after.state in STOPPED:
            silent = after.close_reason == "device_reports_again"
            assert name in {"stand_down", "close"} or (name == "ended" and silent)
        if before.state in ON_THE_ROAD and after.state is S.CLOSED:
            assert before.state is S.CONFIRMED

    def judge_messages(self, decision):
        for step in decision.steps:
            key = (step.step, step.target, step.person_id, step.channel, step.attempt)
            assert key not in self.keys, key
            self.keys.add(key)
            if step.channel is Channel.VOICE:
                assert messages.prompt_for(step.message, step.language).lines
            else:
                assert messages.text_for(step.message, step.language, step.params)
            assert (step.person_id is None) == (step.target is Target.DESK)
            if step.target is Target.CONTACT and step.step != "news":
                assert step.person_id not in decision.incident.ladder.retired
                contact = next((c for c in decision.incident.policy.contacts if c.person_id == step.person_id), None)
                assert step.step != "contact" or step.channel in contact.channels
            assert set(step.params) <= {"role", "eta_min", "unrung", *(["owner"] if step.step == "coming" else [])}
            if decision.incident.desk_only:
                assert step.target is Target.DESK or step.kind is NotificationKind.INFORM
        for entry in decision.log:
            assert entry.what != Log.ORPHAN_FOUND
            for language in messages.LANGUAGES:
                assert "{" not in messages.log_text(entry, language, lambda who: who)

    def judge_ringing(self, name, before, decision):
        """Whom a decision sets ringing, and how soon again."""
        after, now = decision.incident, self.stage.now
        urgent = after.priority is Priority.HIGH or after.grave
        declined, retired = after.ladder.declined, after.ladder.retired
        right = [c for c in after.policy.contacts if c.channels and c.person_id not in retired]
        asleep = {c.person_id for c in right if c.quiet_at(now, after.policy.utc_offset_s)}
        willing = [c for c in right if c.person_id not in declined]
        for step in decision.steps:
            if step.step == "contact" and not urgent and step.person_id in asleep:
                assert all(c.person_id in asleep for c in willing), "rung in their sleep though others are awake"
            if step.step == "contact" and any(c.away_at(now) for c in right if c.person_id == step.person_id):
                here = [c for c in willing if not c.away_at(now) and (urgent or c.person_id not in asleep)]
                assert all(c.person_id in after.ladder.called for c in here), "rung while away before who is here"
            if step.step == "desk" and after.state is S.CHECKING and not after.grave:
                assert not willing, "the desk was rung while the contacts and the question had not had their time"
        assert not (urgent and any(entry.what == Log.CONTACT_QUIET for entry in decision.log))
        for step in decision.steps:
            if (step.step, step.channel) != ("contact", Channel.VOICE):
                continue
            at, base = self.rung.get(step.person_id, (None, -1))
            if name == "tick" and at is not None and base == after.ladder.base and not self.jumped:
                slow = after.ladder.round - base > after.policy.rounds
                least = after.policy.slow_round_s if slow else after.policy.contact_step_s
                assert (now - at).total_seconds() >= least, "noise"
            self.rung[step.person_id] = (now, after.ladder.base)
        assert len([step for step in decision.steps if step.step == "desk"]) <= 1

    def judge_help(self, name, before, decision):
        """Who goes, who is there, who hears of it, and what is handed over."""
        after, wrote = decision.incident, [entry.what for entry in decision.log]
        for step in decision.steps:
            if step.kind is NotificationKind.ASK:
                # Beside the ringing only after an SOS; and never two calls to the person at once.
                assert after.state is S.CHECKING or (after.sos and after.policy.can_be_asked and not self.duress)
                assert not [s for s in decision.steps if s.step == "coming"]
            if step.message == Message.SAYS_FINE:
                assert name == "fine" and after.acknowledged and after.policy.may_cancel
                assert not self.duress and not before.ask.fine_told
            if step.step == "coming":
                calling = before.ask.calling_until
                assert self.jumped or calling is None or calling <= self.stage.now, "two calls to the person at once"
            if step.message == Message.PATIENT_COMING:
                assert not self.duress and after.policy.can_be_asked and after.acknowledged
                assert after.sos or after.ask.wants_help or after.ask.answer == "unanswered"
                assert name == "tick" and after.coming.tries <= 2
        if Log.NOT_ARRIVED in wrote:
            assert name == "tick" and before.awaited is not None
            assert before.awaited.eta_at + timedelta(seconds=300) <= self.stage.now or self.jumped or before.grave
            assert after.state in UNDER_WAY or after.ladder.running or after.desk.due_at
            reminded = (before.owner_id, "reminder") in [(s.person_id, s.message) for s in decision.steps]
            assert reminded or before.owner_role != "caregiver"
        if after.going is not None and after.open:
            assert after.going.person_id == after.owner_id and after.acknowledged
        if after.state is S.CLOSED and before.state is S.AT_PATIENT and name == "safe":
            assert not before.unit_called
        self.judge_unit(name, before, after)
        if name in {"hand_over", "handover_answered"}:
            assert (after.state, after.times) == (before.state, before.times)
        if Log.HANDOVER_UNANSWERED in wrote:
            assert (None, "desk_news") in [(step.person_id, step.message) for step in decision.steps]

    def judge_unit(self, name, before, after):
        """A unit is followed beside somebody who is there: by a human's word only, forwards only, never forgotten."""
        stages = list(UnitStage)
        if after.unit is None:
            assert before.unit is None or before.state in ON_THE_ROAD
            assert not (before.state in ON_THE_ROAD and before.state is not S.CONFIRMED and after.state in THERE)
            return
        assert after.state in {*THERE, S.CLOSED} and "unit_notified_at" in after.times
        done = after.state is S.CLOSED or after.unit.stage is UnitStage.WITH_PATIENT
        assert (after.unit.due_at is None) == done
        if before.unit is None:
            assert name in {"dispatch", "called", "arrived", "progress"}
        elif before.unit.stage is not after.unit.stage:
            assert name == "progress" and stages.index(after.unit.stage) > stages.index(before.unit.stage)

    @invariant()
    def no_page_waits_in_the_outbox_of_what_somebody_has(self):
        incident = self.stage.incident
        if incident.acknowledged or incident.state in STOPPED:
            assert not set(self.pending) & PAGING

    @invariant()
    def the_question_and_the_contacts_overlap_as_agreed(self):
        incident = self.stage.incident
        if incident.state is not S.CHECKING or self.jumped:
            return
        asked_s = (self.stage.now - incident.times["check_started_at"]).total_seconds()
        high = incident.priority is Priority.HIGH and asked_s >= incident.policy.overlap_s
        assert incident.ladder.running == (incident.grave or high) or not self.reachable()

    @invariant()
    def fine_is_passed_on_only_where_it_may_be(self):
        incident = self.stage.incident
        assert incident.ask.fine_at is None or (incident.policy.may_cancel and not self.duress)
        if incident.state is not S.CHECKING:
            assert not any([incident.ask.due_at, incident.ask.ends_at, incident.ask.overlap_at])

    def reachable(self):
        incident = self.stage.incident
        return any(c.channels and c.person_id not in incident.ladder.retired for c in incident.policy.contacts)

    @invariant()
    def nobody_is_ever_orphaned(self):
        incident = self.stage.incident
        if not incident.reasons or not incident.open:
            return
        assert incident.next_step_at is not None
        ask = incident.ask
        waits = [ask.due_at, ask.ends_at, ask.overlap_at, incident.ladder.due_at, incident.desk.due_at]
        if incident.state in SETTLING:
            assert incident.settle_at is not None and not any(waits)
            assert incident.offered is None and incident.coming.due_at is None
        elif incident.acknowledged:
            assert incident.deadline_at is not None and not any(waits)
            assert incident.owner_role is not None
        else:
            assert any(waits) and incident.settle_at is None
            assert incident.state not in UNDER_WAY
