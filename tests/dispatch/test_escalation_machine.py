"""Random answers, failures, presses, arrivals, evidence and clock jumps against the invariants of dispatch."""

from __future__ import annotations

import os
from datetime import timedelta

import msgspec
import pytest
from escalation_model import PAGING, Judged, S
from escalation_stage import DISPATCHER, JIHO, MINJI, OTHER_DISPATCHER, PATIENT, SORA, START, Stage, sign
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from dispatch import escalation
from dispatch.alarm import Priority
from dispatch.codes import HUMAN_CLOSE_REASONS, Log, Message, Outcome
from dispatch.incident import (
    ON_THE_ROAD,
    SETTLING,
    THERE,
    UNDER_WAY,
    Channel,
    Contact,
    Decision,
    Target,
    Vitals,
    Window,
)

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
STEPS = 0
"""How many rules were run in this process."""


class Dispatch(Judged):
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

    @invariant()
    def counted(self):
        global STEPS
        STEPS += 1

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
