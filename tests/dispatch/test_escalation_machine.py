"""Random answers, failures, presses, arrivals, evidence and clock jumps against the invariants of dispatch."""

from __future__ import annotations

import os
from datetime import timedelta

import msgspec
import pytest
from escalation_stage import (
    DISPATCHER,
    JIHO,
    MINJI,
    OTHER_DISPATCHER,
    PATIENT,
    SORA,
    START,
    Stage,
    sign,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dispatch import escalation, messages
from dispatch.alarm import Priority
from dispatch.codes import HUMAN_CLOSE_REASONS, Log, Message, Outcome
from dispatch.incident import (
    EDGES,
    ON_THE_ROAD,
    SETTLING,
    THERE,
    UNDER_WAY,
    Channel,
    Contact,
    Decision,
    IllegalMove,
    NotificationKind,
    State,
    Target,
    UnitStage,
    Vitals,
    Window,
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
LONGEST_S = 900
CODES = ["sos", "fall", "spo2_low", "heart_rate_high", "device_silent", "detection_failed", "battery_low"]
ALWAYS = (Window(from_min=0, to_min=1440),)
KINDS: list[dict[str, object]] = [
    {},
    {},
    {"verified": False},
    {"quiet": ALWAYS},
    {"quiet": (Window(from_min=12 * 60 + 5, to_min=12 * 60),), "verified": False},
    {"away_until": START + timedelta(minutes=20)},
    {"channels": (Channel.TEXT,)},
    {"channels": (Channel.VOICE, Channel.EMAIL, Channel.PUSH)},
    {"channels": ()},
]
"""How contacts differ; most of them are simply there."""
BEGINNING = {
    "codes": st.lists(st.sampled_from([*CODES[:-1], "fall", "spo2_low"]), min_size=1, max_size=2, unique=True),
    "contacts": st.lists(st.sampled_from(KINDS), max_size=3),
    "can_be_asked": st.sampled_from([True, True, True, False]),
    "may_cancel": st.sampled_from([True, True, False]),
    "overlap_s": st.sampled_from([20, 20, 0, 90]),
    "grave": st.booleans(),
    "at_once": st.sampled_from([None, None, None, "fine", "fine but worse"]),
}
PEOPLE = st.sampled_from([MINJI, JIHO, SORA])
STAFF = st.sampled_from([DISPATCHER, OTHER_DISPATCHER])
ANYBODY = st.sampled_from([MINJI, JIHO, SORA, DISPATCHER])
FAILURES = st.sampled_from(list(Outcome))
HUMAN = frozenset({"contact_3", "desk_3", "acknowledge", "dispatch", "called", "progress", "going", "arrived"})
"""What may acknowledge."""
REFUSES = frozenset(
    {"claim", "acknowledge", "dispatch", "progress", "stand_down", "close", "join", "hand_over", "handover_answered"}
) | {"called"}
STEPS = 0
"""How many rules were run in this process."""


class Dispatch(RuleBasedStateMachine):
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

    @initialize(**BEGINNING)
    def begin(self, codes, contacts, can_be_asked, may_cancel, overlap_s, grave, at_once):
        self.start(codes, contacts, can_be_asked, may_cancel, overlap_s, grave, at_once)

    @precondition(lambda self: not self.stage.incident.open)
    @rule(**BEGINNING)
    def another_incident(self, codes, contacts, can_be_asked, may_cancel, overlap_s, grave, at_once):
        self.forget()
        self.start(codes, contacts, can_be_asked, may_cancel, overlap_s, grave, at_once)

    def start(self, codes, contacts, can_be_asked, may_cancel, overlap_s, grave, at_once):
        asked = {"can_be_asked": can_be_asked, "may_cancel": may_cancel, "overlap_s": overlap_s}
        self.stage = Stage(duress_digit="7", **asked)
        people = zip((MINJI, JIHO, SORA), contacts, strict=False)
        self.stage.open(*(Contact(person_id=person, **kind) for person, kind in people))
        self.act("begin", escalation.begin, [sign(c, grave=grave and c == "fall") for c in codes])
        begun = self.stage.incident
        if "sos" in codes or not can_be_asked:
            assert begun.state is S.CONFIRMED and begun.ask.attempt == (1 if can_be_asked else 0)
        if begun.state is S.CHECKING:
            at_once_too = overlap_s == 0 and begun.priority is Priority.HIGH
            assert begun.ladder.running == (at_once_too or (grave and "fall" in codes))
            if at_once:
                self.the_person_says_fine(age=10, worse=at_once == "fine but worse", by="call")

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
    def counted(self):
        global STEPS
        STEPS += 1

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

    @precondition(lambda self: self.stage.incident.state is S.CHECKING)
    @rule(seconds=st.sampled_from([5, 20, 25, 75]))
    def the_question_goes_on(self, seconds):
        self.time_passes(seconds=seconds)

    @precondition(lambda self: self.stage.incident.ladder.running)
    @rule(outcome=FAILURES)
    def the_one_who_is_rung_is_not_reached(self, outcome):
        held = self.stage.incident
        contact = held.policy.contacts[held.ladder.index] if held.ladder.index < len(held.policy.contacts) else None
        if contact is not None and held.ladder.due_at is not None:
            decision = self.act("failure", escalation.contact_call_ended, contact.person_id, outcome, held.ladder.round)
            # Whoever fails delays nobody: the next one rings now, or the round is over.
            assert decision is not None and decision.log
            assert {e.what for e in decision.log} & {Log.CONTACT_RUNG, Log.ROUND_ENDED}

    @rule(hours=st.sampled_from([-1, 1]))
    def the_clock_jumps(self, hours):
        self.jumped = True
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
            awaited = self.stage.incident.awaited
            longest = LONGEST_S if awaited is None else (awaited.eta_at - awaited.said_at).total_seconds() + 300
            assert self.stage.now < due <= self.stage.now + timedelta(seconds=max(LONGEST_S, longest))
            assert decision.incident.deadline_at is None or self.stage.now < decision.incident.deadline_at

    @rule()
    def a_sender_takes_the_messages(self):
        self.pending.clear()

    # --- answers and failures

    @rule(
        age=st.sampled_from([10, 10, 10, 1000, None]),
        worse=st.sampled_from([False, False, True]),
        by=st.sampled_from(["call", "band"]),
    )
    def the_person_says_fine(self, age, worse, by):
        before = self.stage.incident
        decision = self.act(
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
            # It ends, delays and moves nothing; all that may come of it is one line to whoever has it.
            assert decision is not None and not (decision.cancel_pages or decision.cancel_asks)
            assert {step.message for step in decision.steps} <= {Message.SAYS_FINE, Message.DESK_NEWS}
            kept = {name: getattr(before, name) for name in ("ask", "coming", "tells", "spoken")}
            assert msgspec.structs.replace(after, **kept) == before
            assert self.jumped or (after.coming.due_at is None) == (before.coming.due_at is None)

    @rule(digit=st.sampled_from(["2", "", "8", "7"]))
    def the_person_asks_for_help(self, digit):
        self.duress = self.duress or (digit == "7" and self.stage.incident.open)
        self.act("help", escalation.patient_answered, digit, vitals=Vitals(fresh_age_s=1))
        after = self.stage.incident
        assert not self.duress or escalation.coming(after, self.stage.now) is None
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

    @rule(person=PEOPLE, outcome=FAILURES)
    def callbacks_of_calls_long_over_change_nothing(self, person, outcome):
        before, late = self.stage.incident, -1
        for what, args in [
            (escalation.ask_call_ended, (outcome, late)),
            (escalation.contact_call_ended, (person, outcome, late)),
            (escalation.desk_call_ended, (outcome, late)),
            (escalation.coming_call_ended, (outcome, late)),
            (escalation.call_picked_up, (Target.CONTACT, person, late)),
            (escalation.call_picked_up, (Target.PATIENT, PATIENT, late)),
        ]:
            decision = self.act("failure", what, *args)
            assert decision is not None and decision == Decision(incident=before)

    @rule(outcome=FAILURES)
    def word_of_who_comes_is_not_heard(self, outcome):
        self.act("failure", escalation.coming_call_ended, outcome, self.stage.incident.coming.attempt)

    @rule()
    def word_of_who_comes_is_heard(self):
        self.act("heard", escalation.coming_heard)

    @rule(person=st.sampled_from([PATIENT, MINJI, JIHO]), back=st.integers(0, 1))
    def somebody_picks_up(self, person, back):
        target = Target.PATIENT if person == PATIENT else Target.CONTACT
        held = self.stage.incident
        attempt = (held.ask.attempt if person == PATIENT else held.ladder.round) - back
        self.act("picked_up", escalation.call_picked_up, target, person, attempt)

    @rule(person=PEOPLE, digit=st.sampled_from(["3", "4", "5", "6", "9", "", "1"]))
    def a_contact_presses(self, person, digit):
        before = self.stage.incident
        names = {"5": "arrived", "6": "safe"} if before.owner_id == person else {}
        names |= {"6": "safe"} if escalation.may_agree(before, person) else {}
        self.act(names.get(digit, f"contact_{digit}"), escalation.contact_answered, person, digit)
        if before.acknowledged and not (digit in {"4", "9"} and before.owner_id == person):
            assert self.stage.incident.owner_id == before.owner_id

    @rule(person=PEOPLE, digit=st.sampled_from(["0", "1", "2", "9", "", "#"]))
    def a_contact_says_when(self, person, digit):
        before = self.stage.incident
        self.act("going", escalation.eta_pressed, person, digit)
        after = self.stage.incident
        assert after.owner_id == before.owner_id
        holds = before.owner_id == person and before.acknowledged and after.state in ON_THE_ROAD
        if holds and digit in {"1", "2", "9"}:
            assert after.deadline_at == self.stage.now + timedelta(seconds=600 * int(digit) + 300)

    @rule(person=ANYBODY, eta_s=st.sampled_from([0, 300, 1200, 7200]))
    def somebody_goes(self, person, eta_s):
        before = self.stage.incident
        role = "dispatcher" if person == DISPATCHER else "caregiver"
        self.act("going", escalation.going, person, eta_s, role=role)
        after = self.stage.incident
        if before.acknowledged and before.owner_id != person:
            assert after.owner_id == before.owner_id or (before.owner_role, role) == ("desk", "dispatcher")
        elif before.open and before.state not in SETTLING:
            assert after.owner_id == person and not set(self.pending) & PAGING

    @rule(person=ANYBODY)
    def somebody_arrives(self, person):
        before = self.stage.incident
        self.act("arrived", escalation.arrived, person)
        after = self.stage.incident
        asked = {c.person_id for c in before.policy.contacts} - set(before.ladder.declined)
        declined = not before.acknowledged and person in before.ladder.declined
        if declined or not before.open or before.state in SETTLING:
            assert after == before
            return
        assert "first_help_at" in after.times and person in after.there and after.acknowledged
        if before.acknowledged and before.owner_id != person:
            waits = before.state in ON_THE_ROAD and before.owner_role != "dispatcher"
            assert (after.owner_id == person) == (waits and person in asked)
            told = [(step.person_id, step.message) for step in self.decided.steps]
            new = person not in before.there or after.state is not before.state
            assert ((None, "desk_news") in told) == new
            assert (person, "arrived") not in told and "arrived" not in [message for _, message in told]
        else:
            assert after.owner_id == person
        assert after.state in THERE or (before.acknowledged and person not in {before.owner_id, *asked})

    @rule(person=ANYBODY, sure=st.integers(0, 1))
    def somebody_says_that_all_is_well(self, person, sure):
        before = self.stage.incident
        if sure:
            return
        self.act("safe", escalation.safe, person)
        after, urgent = self.stage.incident, before.priority is Priority.HIGH or before.grave
        took = before.acknowledged and before.owner_id == person and not (before.relieved and urgent)
        agrees = before.relieved is not None and before.relieved.person_id == person and before.said_safe
        there = before.state is S.AT_PATIENT and not before.unit_called
        assert (after.state is S.CLOSED) == ((there and bool(took or agrees)) or not before.open)
        if after.state is not S.CLOSED and before.open and before.state not in SETTLING:
            assert (after.owner_id, after.deadline_at) == (before.owner_id, before.deadline_at)

    @rule(person=STAFF)
    def somebody_hands_over(self, person):
        self.act("hand_over", escalation.hand_over, person, "119")

    @rule(person=STAFF, accepted=st.booleans())
    def the_other_desk_answers(self, person, accepted):
        self.act("handover_answered", escalation.handover_answered, person, accepted, "why", "A-1")

    @rule(by=st.sampled_from(["patient", "desk"]))
    def two_are_connected(self, by):
        before = self.stage.incident
        self.act("bridged", escalation.bridged, by)
        assert self.stage.incident == msgspec.structs.replace(before, spoken=before.spoken or before.open)

    @rule(person=PEOPLE, quiet=st.sampled_from([(), (), ALWAYS]), away_min=st.sampled_from([0, 0, 5, 60]))
    def a_contact_says_when_they_can_be_rung(self, person, quiet, away_min):
        before, until = self.stage.incident, self.stage.now + timedelta(minutes=away_min) if away_min else None
        decision = self.act("hours", escalation.hours_said, person, quiet, until)
        after = self.stage.incident
        assert decision is not None and not decision.steps
        assert msgspec.structs.replace(after, policy=before.policy) == before, "it moves nothing but the hours"
        here = [c for c in after.policy.contacts if c.person_id == person]
        assert not before.open or all((c.quiet, c.away_until) == (quiet, until) for c in here)
        assert [c.person_id for c in after.policy.contacts] == [c.person_id for c in before.policy.contacts]

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
        before = self.stage.incident
        decision = self.act("dispatch", escalation.dispatch, person, "A-1", self.stage.now)
        free = before.state not in UNDER_WAY or (before.state in THERE and before.unit is None)
        assert decision is None or free, "two units for one case"
        assert decision is not None or not free or not before.open, "somebody called 119 and could not write it down"

    @rule(person=PEOPLE)
    def a_caregiver_calls_119(self, person):
        before = self.stage.incident
        decision = self.act("called", escalation.called, person, "", self.stage.now)
        assert decision is None or before.owner_id == person or person in before.there
        if decision is not None:
            assert (None, "desk_news") in [(step.person_id, step.message) for step in decision.steps]
            assert "unit_notified_at" in self.stage.incident.times

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


PHASES = (Phase.generate,) if os.environ.get("MUTATED") else (Phase.generate, Phase.shrink)
"""Where an invariant was broken on purpose, one example is as good as the shortest."""


def run(examples: int, steps: int, phases: tuple[Phase, ...] = PHASES) -> int:
    """Run the machine; how many steps it took."""
    began = STEPS
    wish = settings(
        phases=phases,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Dispatch, settings=wish)
    return STEPS - began


def test_whatever_happens_the_invariants_hold():
    assert run(250, 40) > 2_500


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_invariants_hold_for_a_hundred_thousand_steps(capsys):
    steps = 0
    while steps < 100_000:
        steps += run(2_000, 50)
    with capsys.disabled():
        print(f"\n{steps} steps of the escalation machine, no invariant broken")
