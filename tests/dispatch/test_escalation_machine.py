"""Random answers, failures, presses, evidence and clock jumps against the invariants of dispatch."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from escalation_stage import (
    DISPATCHER,
    JIHO,
    MINJI,
    OTHER_DISPATCHER,
    PATIENT,
    SORA,
    Stage,
    sign,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dispatch import escalation, messages
from dispatch.codes import HUMAN_CLOSE_REASONS, Log, Outcome
from dispatch.incident import (
    EDGES,
    SETTLING,
    UNDER_WAY,
    Channel,
    Decision,
    IllegalMove,
    NotificationKind,
    State,
    Target,
    Vitals,
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
LONGEST_S = 900
CODES = ["sos", "fall", "spo2_low", "heart_rate_high", "device_silent", "detection_failed", "battery_low"]
BEGINNING = {
    "codes": st.lists(st.sampled_from([*CODES[:-1], "fall", "spo2_low"]), min_size=1, max_size=2, unique=True),
    "contacts": st.integers(0, 3),
    "can_be_asked": st.sampled_from([True, True, True, False]),
    "may_cancel": st.sampled_from([True, True, False]),
    "grave": st.booleans(),
    "at_once": st.sampled_from([None, None, "fine", "fine", "fine but worse"]),
}
PEOPLE = st.sampled_from([MINJI, JIHO, SORA])
STAFF = st.sampled_from([DISPATCHER, OTHER_DISPATCHER])
FAILURES = st.sampled_from(list(Outcome))
HUMAN = frozenset({"contact_3", "desk_3", "acknowledge", "dispatch", "progress"})
"""What may acknowledge."""


class Dispatch(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.presses = 0
        self.keys: set[tuple[object, ...]] = set()

    @initialize(**BEGINNING)
    def begin(self, codes, contacts, can_be_asked, may_cancel, grave, at_once):
        self.start(codes, contacts, can_be_asked, may_cancel, grave, at_once)

    @precondition(lambda self: not self.stage.incident.open)
    @rule(**BEGINNING)
    def another_incident(self, codes, contacts, can_be_asked, may_cancel, grave, at_once):
        self.keys.clear()
        self.start(codes, contacts, can_be_asked, may_cancel, grave, at_once)

    def start(self, codes, contacts, can_be_asked, may_cancel, grave, at_once):
        self.stage = Stage(contacts=contacts, can_be_asked=can_be_asked, may_cancel=may_cancel, duress_digit="7")
        self.act("begin", escalation.begin, [sign(c, grave=grave and c == "fall") for c in codes])
        begun = self.stage.incident
        if "sos" in codes or not can_be_asked:
            assert begun.state is S.CONFIRMED and begun.ask.attempt == 0
        if begun.state is S.CHECKING:
            assert begun.ladder.running == (grave and "fall" in codes)
            if at_once:
                self.the_person_says_fine(age=10, worse=at_once == "fine but worse", by="call")

    # --- acting and judging every single decision

    def act(self, name: str, what, *args, **kwargs) -> Decision | None:
        before, stored = self.stage.incident, msgspec.json.encode(self.stage.incident)
        try:
            decision = self.stage.do(what, *args, **kwargs)
        except IllegalMove as refusal:
            assert "allowed now: " in str(refusal)
            assert name in {"claim", "acknowledge", "dispatch", "progress", "stand_down", "close", "join"}
            return None
        finally:
            assert msgspec.json.encode(before) == stored, "the argument was changed"
        self.judge_moves(name, before, decision)
        self.judge_messages(decision)
        return decision

    def judge_moves(self, name, before, decision):
        after = decision.incident
        moved = (before.state, after.state)
        assert after.state in {before.state, *EDGES[before.state]} or moved in AT_ONCE, moved
        assert after.priority.rank >= before.priority.rank
        if after.state is S.DISPATCHED and before.state is not S.DISPATCHED:
            assert name == "dispatch"
        if after.acknowledged and not before.acknowledged:
            assert name in HUMAN
            assert decision.cancel_pages
        if after.state in STOPPED and before.state not in STOPPED:
            assert decision.cancel_pages
        if after.state in STOPPED or after.acknowledged:
            paging = {NotificationKind.PAGE, NotificationKind.ASK}
            assert not [step for step in decision.steps if step.kind in paging]
        if after.state is S.CANCELLED_BY_PATIENT and before.state is not after.state:
            assert name == "fine" and before.state is S.CHECKING
            assert not before.sos and not before.grave and before.policy.may_cancel
        if before.state is S.CONFIRMED and after.state in STOPPED:
            silent = after.close_reason == "device_reports_again"
            assert name in {"stand_down", "close"} or (name == "ended" and silent)

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
            if step.target is Target.CONTACT and step.kind is NotificationKind.PAGE:
                assert step.person_id not in decision.incident.ladder.retired
            if decision.incident.desk_only:
                assert step.target is Target.DESK or step.kind is NotificationKind.INFORM
        for entry in decision.log:
            assert entry.what != Log.ORPHAN_FOUND
            for language in messages.LANGUAGES:
                assert "{" not in messages.log_text(entry, language, lambda who: who)

    @invariant()
    def nobody_is_ever_orphaned(self):
        incident = self.stage.incident
        if not incident.reasons or not incident.open:
            return
        assert incident.next_step_at is not None
        waits = [incident.ask.due_at, incident.ask.ends_at, incident.ladder.due_at, incident.desk.due_at]
        if incident.state in SETTLING:
            assert incident.settle_at is not None and not any(waits)
        elif incident.acknowledged:
            assert incident.deadline_at is not None and not any(waits)
            assert incident.owner_role is not None
        else:
            assert any(waits) and incident.settle_at is None
            assert incident.state not in UNDER_WAY

    # --- the clock

    @rule(seconds=st.sampled_from([1, 10, 45, 75, 200, 600, 900]))
    def time_passes(self, seconds):
        until = self.stage.now + timedelta(seconds=seconds)
        for _ in range(200):
            due = self.stage.incident.next_step_at
            if due is None or due > until:
                break
            self.stage.now = max(self.stage.now, due)
            self.tick()
        self.stage.now = until
        self.tick()

    @rule(hours=st.sampled_from([-1, 1]))
    def the_clock_jumps(self, hours):
        self.stage.now += timedelta(hours=hours)
        self.tick()
        decision = self.act("tick", escalation.next_steps)
        assert decision is not None and not decision.steps and not decision.log

    def tick(self):
        decision = self.act("tick", escalation.next_steps)
        due = self.stage.incident.next_step_at
        assert decision is not None
        if self.stage.incident.open:
            assert due is not None
            assert self.stage.now < due <= self.stage.now + timedelta(seconds=LONGEST_S)

    # --- answers and failures

    @rule(
        age=st.sampled_from([10, 10, 10, 1000, None]),
        worse=st.sampled_from([False, False, True]),
        by=st.sampled_from(["call", "band"]),
    )
    def the_person_says_fine(self, age, worse, by):
        before = self.stage.incident
        self.act(
            "fine",
            escalation.patient_answered,
            "1",
            vitals=Vitals(fresh_age_s=age, worse=worse),
            by=by,
        )
        after = self.stage.incident
        if before.state is S.CHECKING:
            assert after.state is not S.CHECKING
            if worse or (not before.technical and age != 10):
                assert after.state is S.CONFIRMED
        else:
            assert after == before

    @rule(digit=st.sampled_from(["2", "", "8", "7"]))
    def the_person_asks_for_help(self, digit):
        self.act("help", escalation.patient_answered, digit, vitals=Vitals(fresh_age_s=1))
        after = self.stage.incident
        if after.open:
            assert after.state not in {*SETTLING, S.SUSPECTED, S.CHECKING}
            assert after.acknowledged or after.ladder.running or after.desk.due_at

    @rule(outcome=FAILURES, back=st.integers(0, 1))
    def the_persons_call_fails(self, outcome, back):
        attempt = self.stage.incident.ask.attempt - back
        self.act("failure", escalation.ask_call_ended, outcome, attempt)

    @rule(person=PEOPLE, outcome=FAILURES, back=st.sampled_from([0, 0, 0, 1]))
    def a_contacts_call_fails(self, person, outcome, back):
        attempt = self.stage.incident.ladder.round - back
        self.act("failure", escalation.contact_call_ended, person, outcome, attempt)

    @rule(outcome=FAILURES)
    def the_desks_call_fails(self, outcome):
        self.act("failure", escalation.desk_call_ended, outcome, self.stage.incident.desk.attempt)

    @rule(person=st.sampled_from([PATIENT, MINJI, JIHO]), back=st.integers(0, 1))
    def somebody_picks_up(self, person, back):
        target = Target.PATIENT if person == PATIENT else Target.CONTACT
        held = self.stage.incident
        attempt = (held.ask.attempt if person == PATIENT else held.ladder.round) - back
        self.act("picked_up", escalation.call_picked_up, target, person, attempt)

    @rule(person=PEOPLE, digit=st.sampled_from(["3", "4", "9", "", "1"]))
    def a_contact_presses(self, person, digit):
        before = self.stage.incident
        self.act(f"contact_{digit}", escalation.contact_answered, person, digit)
        if before.acknowledged and not (digit == "4" and before.owner_id == person):
            assert self.stage.incident.owner_id == before.owner_id

    @rule(digit=st.sampled_from(["3", ""]))
    def the_desk_presses(self, digit):
        self.act(f"desk_{digit}", escalation.desk_answered, digit)

    # --- people and evidence

    @rule(person=STAFF)
    def somebody_claims(self, person):
        self.act("claim", escalation.claim, person)

    @rule(person=PEOPLE)
    def somebody_acknowledges(self, person):
        self.act("acknowledge", escalation.acknowledge, person, "caregiver")

    @rule(person=STAFF)
    def somebody_dispatches(self, person):
        self.act("dispatch", escalation.dispatch, person, "A-1", self.stage.now)

    @rule(person=STAFF, state=st.sampled_from([S.EN_ROUTE, S.ON_SCENE, S.AT_PATIENT, S.TRANSPORTING]))
    def somebody_reports_progress(self, person, state):
        self.act("progress", escalation.progress, person, state)

    @rule(person=STAFF, reason=st.sampled_from(HUMAN_CLOSE_REASONS))
    def somebody_stands_down(self, person, reason):
        self.act("stand_down", escalation.stand_down, person, reason)

    @rule(person=STAFF, sure=st.integers(0, 2))
    def somebody_closes(self, person, sure):
        if sure == 0:
            self.act("close", escalation.close, person, "test")

    @rule(code=st.sampled_from(CODES), grave=st.booleans())
    def evidence_joins(self, code, grave):
        self.presses += 1
        at = self.stage.now + timedelta(milliseconds=self.presses)
        self.act("join", escalation.join, [sign(code, at=at, grave=grave and code == "fall")])
        after = self.stage.incident
        if code == "sos" and after.open:
            assert after.state not in {*SETTLING, S.SUSPECTED, S.CHECKING}
            assert after.acknowledged or after.ladder.running

    @rule(code=st.sampled_from(CODES))
    def evidence_ends(self, code):
        before = self.stage.incident
        self.act("ended", escalation.condition_ended, code)
        if self.stage.incident.state is not before.state:
            assert before.silence_only and not before.acknowledged


TestDispatch = Dispatch.TestCase
TestDispatch.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
