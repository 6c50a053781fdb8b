"""The drill's rules: one due step or over, nothing twice, nothing after the end, nothing but a drill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dispatch import drill as rules
from dispatch.codes import Message
from dispatch.drill import Drill, DrillDecision, DrillPolicy, DrillState, Link, Miss, Purpose, Rung
from dispatch.incident import NotificationKind, Step, Target
from dispatch.plan import Channel, Window

TEN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""Ten in the morning in Seoul."""
POLICY = DrillPolicy()


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def bare(*rungs: Rung, at: datetime = TEN, **more: object) -> Drill:
    drill = Drill(id=uuid4(), patient_id=uuid4(), policy=POLICY, started_at=at, rungs=list(rungs), **more)
    return rules.begin(drill, at).drill


def someone(**more: object) -> Rung:
    return Rung(person_id=uuid4(), **more)


def asking(*rungs: Rung, at: datetime = TEN) -> Drill:
    """A drill whose SOS came through."""
    return rules.detected(bare(*rungs, at=at), at).drill


def run(drill: Drill, at: datetime, until: datetime) -> tuple[Drill, list[tuple[datetime, Step]]]:
    """Take each step when it falls due; nobody answers anything."""
    sent: list[tuple[datetime, Step]] = []
    while drill.next_step_at is not None and max(at, drill.next_step_at) <= until:
        at = max(at, drill.next_step_at)
        decision = rules.step(drill, at)
        sent += [(at, one) for one in decision.steps]
        drill = decision.drill
    return drill, sent


def test_the_band_is_pressed_first_and_nobody_is_asked_before_it_came_through() -> None:
    drill = bare(someone())
    decision = rules.step(drill, TEN)
    assert decision.knock and decision.steps == []
    asked = rules.step(rules.detected(decision.drill, TEN).drill, TEN)
    assert [one.message for one in asked.steps] == [Message.DRILL_TEXT] and not asked.knock


@pytest.mark.parametrize(("taken", "link"), [(False, Link.DOOR), (True, Link.DETECTION)])
def test_what_does_not_come_through_within_two_minutes_is_a_broken_link_and_nobody_is_rung(
    taken: bool, link: Link
) -> None:
    drill, at, knocks = bare(someone()), TEN, 0
    while not drill.over:
        assert drill.next_step_at is not None
        at = drill.next_step_at
        decision = rules.step(drill, at)
        assert decision.steps == []
        knocks += decision.knock
        drill = rules.door_said(decision.drill, taken, at).drill
    assert (drill.state, drill.links, drill.next_step_at) == (DrillState.BROKEN, [link], None)
    assert at - TEN == minutes(2) and knocks == POLICY.knocks


def test_who_does_not_confirm_is_rung_after_ten_minutes_three_times_an_hour_apart() -> None:
    drill, sent = run(asking(someone()), TEN, TEN + timedelta(days=1))
    at = [when - TEN for when, one in sent if one.message == Message.DRILL_CALL]
    assert at == [minutes(10), minutes(70), minutes(130)]
    assert drill.rungs[0].broken is Miss.NO_ANSWER and drill.state is DrillState.BROKEN


def test_a_drill_at_three_in_the_morning_waits_for_nine() -> None:
    night = TEN - timedelta(hours=7)
    drill, sent = run(asking(someone(), at=night), night, night + timedelta(days=1))
    assert sent[0][0] == TEN - timedelta(hours=1)
    assert all(0 <= (when + timedelta(hours=9)).hour - 9 < 11 for when, _ in sent)
    assert drill.over


def test_a_contact_is_left_alone_in_their_quiet_hours() -> None:
    noon = Window(from_min=10 * 60, to_min=14 * 60)
    _, sent = run(asking(someone(quiet=(noon,))), TEN, TEN + timedelta(days=1))
    assert sent[0][0] == TEN + timedelta(hours=4)


def test_somebody_who_sleeps_by_day_is_written_to_and_never_rung() -> None:
    day = Window(from_min=8 * 60, to_min=21 * 60)
    drill, sent = run(asking(someone(quiet=(day,))), TEN, TEN + timedelta(days=2))
    assert {one.channel for _, one in sent if one.message != Message.DRILL_BROKEN} == {Channel.TEXT}
    assert drill.rungs[0].broken is Miss.UNREAD


def test_a_land_line_is_rung_at_once() -> None:
    decision = rules.step(asking(someone(channels=(Channel.VOICE,))), TEN)
    assert [one.channel for one in decision.steps] == [Channel.VOICE]


def test_a_number_that_does_not_exist_is_not_rung_again() -> None:
    drill = rules.step(asking(someone()), TEN).drill
    person = drill.rungs[0].person_id
    drill = rules.missed(drill, person, 1, Miss.BAD_NUMBER, TEN).drill
    decision = rules.step(drill, TEN)
    assert [one.channel for one in decision.steps] == [Channel.VOICE], "the text failed: ring at once"
    drill = rules.missed(decision.drill, person, 2, Miss.BAD_NUMBER, TEN).drill
    assert drill.over and drill.rungs[0].broken is Miss.BAD_NUMBER


def test_a_carrier_that_is_out_is_the_broken_link_and_the_contact_is_not() -> None:
    drill, at = asking(someone()), TEN
    while not drill.over:
        assert drill.next_step_at is not None
        at = max(at, drill.next_step_at)
        decision = rules.step(drill, at)
        drill = decision.drill
        for one in decision.steps:
            assert one.person_id is not None
            drill = rules.missed(drill, one.person_id, one.attempt, Miss.CARRIER, at).drill
    assert drill.links == [Link.CARRIER] and drill.missed == []
    assert drill.tell_at is None, "what is ours is not told to the family"


def test_a_text_that_is_held_back_for_money_is_sent_another_time() -> None:
    drill = rules.step(asking(someone()), TEN).drill
    person = drill.rungs[0].person_id
    drill = rules.missed(drill, person, 1, Miss.HELD, TEN).drill
    assert drill.next_step_at == TEN + timedelta(hours=1) and drill.rungs[0].last_miss is None


def test_key_nine_ends_it_for_this_contact_or_rings_their_other_number() -> None:
    drill = rules.step(asking(someone()), TEN).drill
    person = drill.rungs[0].person_id
    assert rules.wrong_number(drill, person, TEN, another=False).drill.rungs[0].broken is Miss.WRONG_NUMBER
    again = rules.step(rules.wrong_number(drill, person, TEN, another=True).drill, TEN)
    assert [one.channel for one in again.steps] == [Channel.VOICE]


def test_an_incident_cancels_what_waits_and_the_drill_goes_on_afterwards_with_who_is_left() -> None:
    reached, left = someone(), someone()
    drill = rules.step(asking(reached, left), TEN).drill
    drill = rules.confirmed(drill, reached.person_id, "link", TEN).drill
    held = rules.step(drill, TEN, hold_until=TEN + minutes(1))
    assert held.cancel and held.steps == [] and held.drill.state is DrillState.WAITING
    still = rules.step(held.drill, TEN + minutes(1), hold_until=TEN + minutes(2))
    assert still.steps == [] and still.drill.next_step_at == TEN + minutes(2)
    on = rules.step(still.drill, TEN + minutes(90))
    assert [(one.person_id, one.message) for one in on.steps] == [(left.person_id, Message.DRILL_TEXT)]


def test_who_is_rung_for_somebody_else_just_now_is_left_alone() -> None:
    drill = asking(someone())
    decision = rules.step(drill, TEN, occupied={drill.rungs[0].person_id})
    assert decision.steps == [] and decision.drill.next_step_at == TEN + minutes(10)


def test_one_broken_link_is_told_once_by_day_to_those_who_can_mend_it() -> None:
    late = TEN + timedelta(hours=9, minutes=58)
    well, dead = someone(), someone(channels=())
    drill = asking(well, dead, at=late)
    drill = rules.confirmed(drill, well.person_id, "link", late + minutes(10)).drill
    assert drill.state is DrillState.BROKEN
    drill, sent = run(drill, late + minutes(10), late + timedelta(days=2))
    assert [(when.astimezone(UTC).hour, one.person_id, one.message) for when, one in sent] == [
        (0, well.person_id, Message.DRILL_BROKEN)
    ]
    assert drill.next_step_at is None


def test_nobody_to_reach_is_a_broken_link_and_who_is_away_is_none() -> None:
    assert asking().links == [Link.CONTACTS]
    drill = rules.confirmed(asking(a := someone(), someone(away=True)), a.person_id, "key", TEN).drill
    assert drill.state is DrillState.PROVEN


def test_a_tap_after_giving_up_counts_while_the_drill_goes_on_and_changes_nothing_afterwards() -> None:
    gone, other = someone(channels=(Channel.TEXT,)), someone()
    drill = asking(gone, other)
    drill.rungs[0].broken = Miss.UNREAD
    revived = rules.confirmed(drill, gone.person_id, "link", TEN).drill
    assert revived.rungs[0].broken is None and revived.reached
    over = rules.confirmed(drill, other.person_id, "key", TEN).drill
    assert over.state is DrillState.BROKEN
    assert rules.confirmed(over, gone.person_id, "link", TEN).drill == over


def test_a_verification_asks_one_number_and_tells_nobody() -> None:
    drill = bare(someone(), purpose=Purpose.VERIFY)
    drill, sent = run(drill, TEN, TEN + timedelta(days=1))
    assert [one.message for _, one in sent] == [Message.VERIFY_TEXT] + [Message.VERIFY_CALL] * 3
    assert {(one.step, one.kind) for _, one in sent} == {("verify", NotificationKind.TECHNICAL)}
    called = rules.step(bare(someone(), purpose=Purpose.VERIFY, call_first=True), TEN)
    assert [one.message for one in called.steps] == [Message.VERIFY_CALL]


def test_two_thousand_homes_enrolled_at_once_are_spread_over_the_month_and_the_day() -> None:
    rng = [UUID(int=(0x0197 << 112) | (i * 0x9E3779B97F4A7C15 % 2**62)) for i in range(2000)]
    first = [rules.next_due(one, TEN, POLICY, first=True) for one in rng]
    days = [sum(1 for at in first if (at - TEN).days == day) for day in range(30)]
    assert max(days) < 2 * 2000 / 30 and all(9 <= (at + timedelta(hours=9)).hour < 16 for at in first)
    then = [rules.next_due(one, at, POLICY, first=False) - at for one, at in zip(rng, first, strict=True)]
    assert all(timedelta(days=29) < wait < timedelta(days=31) for wait in then)


def test_the_first_drill_is_due_within_the_next_hour_of_the_day() -> None:
    one = uuid4()
    assert TEN < rules.first_due(one, TEN, POLICY) <= TEN + minutes(51)
    assert rules.first_due(one, TEN - timedelta(hours=7), POLICY) == TEN - timedelta(hours=1)


class Drilling(RuleBasedStateMachine):
    """Any order of steps, answers, callbacks, incidents and clocks."""

    @initialize(n=st.integers(0, 3), verify=st.booleans())
    def begun(self, n: int, verify: bool) -> None:
        self.now = TEN
        kinds = [(Channel.VOICE, Channel.TEXT), (Channel.VOICE,), (Channel.TEXT,), (Channel.EMAIL,), ()]
        rungs = [someone(channels=kinds[(i + n) % 5], away=i == 2) for i in range(n)]
        self.sent: list[Step] = []
        self.states: list[DrillState] = []
        self.told = 0
        self.ended: Drill | None = None
        self.reached: set[UUID] = set()
        purpose = Purpose.VERIFY if verify else Purpose.DRILL
        drill = Drill(id=uuid4(), patient_id=uuid4(), policy=POLICY, purpose=purpose, started_at=TEN, rungs=rungs)
        self.drill = drill
        self.take(rules.begin(drill, TEN))

    def take(self, decision: DrillDecision) -> None:
        for one in decision.steps:
            if one.message == Message.DRILL_BROKEN:
                self.told += 1
                assert self.drill.over
            else:
                assert not self.drill.over, "nobody is asked after the end"
                assert self.drill.detected_at is not None or self.drill.purpose is Purpose.VERIFY
        self.sent += decision.steps
        assert not (decision.knock and self.drill.over)
        self.drill = decision.drill
        self.states.append(self.drill.state)

    def somebody(self, i: int) -> UUID:
        return self.drill.rungs[i % len(self.drill.rungs)].person_id if self.drill.rungs else uuid4()

    @rule(minutes_on=st.sampled_from([0, 1, 10, 60, 600, 1500]), hold=st.booleans(), busy=st.booleans())
    def tick(self, minutes_on: int, hold: bool, busy: bool) -> None:
        self.now += minutes(minutes_on)
        until = self.now + minutes(1) if hold else None
        occupied = {rung.person_id for rung in self.drill.rungs} if busy else set()
        self.take(rules.step(self.drill, self.now, hold_until=until, occupied=occupied))

    @rule(hours=st.sampled_from([-1, 1]))
    def clock_jumps(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(taken=st.booleans())
    def door(self, taken: bool) -> None:
        self.take(rules.door_said(self.drill, taken, self.now))

    @rule()
    def comes_through(self) -> None:
        self.take(rules.detected(self.drill, self.now))

    @rule(i=st.integers(0, 2), how=st.sampled_from(["key", "link", "reply"]), twice=st.booleans())
    def answers(self, i: int, how: str, twice: bool) -> None:
        self.take(once := rules.confirmed(self.drill, self.somebody(i), how, self.now))
        if twice:
            assert rules.confirmed(once.drill, self.somebody(i), how, self.now).drill == once.drill

    @rule(i=st.integers(0, 2), attempt=st.integers(0, 6), miss=st.sampled_from(list(Miss)))
    def comes_to_nothing(self, i: int, attempt: int, miss: Miss) -> None:
        self.take(rules.missed(self.drill, self.somebody(i), attempt, miss, self.now))

    @rule(i=st.integers(0, 2), another=st.booleans())
    def wrong(self, i: int, another: bool) -> None:
        self.take(rules.wrong_number(self.drill, self.somebody(i), self.now, another=another))

    @precondition(lambda self: self.drill.next_step_at is not None)
    @rule()
    def what_is_due(self) -> None:
        assert self.drill.next_step_at is not None
        self.now = max(self.now, self.drill.next_step_at)
        self.take(rules.step(self.drill, self.now))

    @invariant()
    def one_due_step_or_over(self) -> None:
        drill = self.drill
        assert drill.over or drill.next_step_at is not None
        assert drill.over == (drill.ended_at is not None)
        if drill.over and self.ended is None:
            self.ended = drill
        if self.ended is not None:
            assert drill.state is self.ended.state and drill.rungs == self.ended.rungs

    @invariant()
    def nothing_goes_back(self) -> None:
        for before, after in pairwise(self.states):
            assert before not in rules.OVER or before is after
        reached = {rung.person_id for rung in self.drill.reached}
        assert self.reached <= reached
        self.reached = reached

    @invariant()
    def every_message_is_one_of_a_drill_and_only_once(self) -> None:
        keys = [(one.step, one.person_id, one.channel, one.attempt) for one in self.sent]
        assert len(keys) == len(set(keys))
        assert all(one.target is Target.CONTACT and one.person_id is not None for one in self.sent)
        kinds = {"drill": NotificationKind.DRILL, "drill_news": NotificationKind.DRILL}
        assert all(one.kind is kinds.get(one.step, NotificationKind.TECHNICAL) for one in self.sent)
        assert self.told <= len(self.drill.rungs)
        if self.drill.state is DrillState.PROVEN:
            assert self.drill.reached and not self.drill.missed and not self.drill.links


TestDrilling = Drilling.TestCase
TestDrilling.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


NIGHT = TEN + timedelta(hours=12)
"""Ten in the evening in Seoul."""


def check_of(rung: Rung, at: datetime) -> Drill:
    return bare(rung, at=at, purpose=Purpose.VERIFY, call_first=True)


def test_what_is_begun_in_the_evening_says_when_it_asks_and_why() -> None:
    morning = NIGHT + timedelta(hours=11)
    assert rules.asked_from(check_of(someone(), NIGHT), NIGHT) == (morning, rules.Later.NIGHT)
    assert rules.asked_from(check_of(someone(), TEN), TEN) == (TEN, None)
    quiet = someone(quiet=(Window(from_min=9 * 60, to_min=12 * 60),))
    assert rules.asked_from(check_of(quiet, TEN), TEN) == (TEN + timedelta(hours=2), rules.Later.QUIET)
    assert rules.asked_from(check_of(quiet, NIGHT), NIGHT) == (morning + timedelta(hours=3), rules.Later.QUIET)
    held = TEN + timedelta(hours=1)
    assert rules.asked_from(check_of(someone(), TEN), TEN, held) == (held, rules.Later.INCIDENT)
    one_awake = bare(someone(), someone(quiet=(Window(from_min=9 * 60, to_min=12 * 60),)))
    assert rules.asked_from(one_awake, TEN) == (TEN, None)


def test_who_asks_to_be_rung_at_night_is_rung_once_and_again_by_day() -> None:
    one = someone(quiet=(Window(from_min=21 * 60, to_min=10 * 60),))
    drill = check_of(one, NIGHT)
    assert run(drill, NIGHT, NIGHT + timedelta(hours=8))[1] == []
    hurried = rules.hurried(drill, one.person_id, NIGHT).drill
    assert rules.asked_from(hurried, NIGHT) == (NIGHT, None)
    _, sent = run(hurried, NIGHT, NIGHT + timedelta(days=1))
    assert [at for at, _ in sent] == [NIGHT, NIGHT + timedelta(hours=12), NIGHT + timedelta(hours=13)]
    assert {step.channel for _, step in sent} == {Channel.VOICE}


def test_a_button_pressed_twice_rings_once() -> None:
    one = someone()
    drill, sent = run(rules.hurried(check_of(one, NIGHT), one.person_id, NIGHT).drill, NIGHT, NIGHT)
    again = rules.hurried(drill, one.person_id, NIGHT + timedelta(seconds=119)).drill
    assert len(sent) == 1 and run(again, NIGHT + timedelta(seconds=119), NIGHT + minutes(30))[1] == []
    later = rules.hurried(drill, one.person_id, NIGHT + minutes(3)).drill
    assert len(run(later, NIGHT + minutes(3), NIGHT + minutes(30))[1]) == 1


def test_what_was_hurried_before_something_real_happened_wakes_nobody_afterwards() -> None:
    one = someone()
    drill = rules.hurried(check_of(one, NIGHT), one.person_id, NIGHT).drill
    held = rules.step(drill, NIGHT, hold_until=NIGHT + timedelta(hours=1)).drill
    _, sent = run(held, NIGHT + timedelta(hours=1), NIGHT + timedelta(hours=11, minutes=1))
    assert [at for at, _ in sent] == [NIGHT + timedelta(hours=11)]


def test_who_was_rung_three_times_in_vain_and_asks_to_be_rung_now_is_rung_and_once_more_by_day() -> None:
    one = someone()
    half_past_five = TEN + timedelta(hours=7, minutes=30)
    drill, sent = run(check_of(one, half_past_five), half_past_five, half_past_five + minutes(121))
    assert len(sent) == POLICY.tries and not drill.over
    at = half_past_five + minutes(125)
    _, rung = run(rules.hurried(drill, one.person_id, at).drill, at, at + timedelta(days=1))
    assert [step.channel for _, step in rung] == [Channel.VOICE] * 2
    assert [when for when, _ in rung] == [at, at + minutes(805)], "now, and at nine in the morning"


@pytest.mark.parametrize("miss", [Miss.NO_ANSWER, Miss.HELD])
def test_a_call_that_comes_to_nothing_takes_nothing_from_the_one_that_was_asked_for_since(miss: Miss) -> None:
    one = someone()
    drill, sent = run(check_of(one, TEN), TEN, TEN + minutes(121))
    at = TEN + minutes(122)
    hurried = rules.hurried(drill, one.person_id, at).drill
    ended = rules.missed(hurried, one.person_id, sent[-1][1].attempt, miss, at).drill
    assert [when for when, _ in run(ended, at, at + minutes(1))[1]] == [at]


def test_nothing_is_hurried_while_something_real_goes_first_but_once_it_is_over() -> None:
    one = someone()
    drill = check_of(one, NIGHT)
    over = NIGHT + timedelta(hours=1)
    held = rules.step(drill, NIGHT, hold_until=over).drill
    assert rules.hurried(held, one.person_id, NIGHT, hold_until=over).drill == held
    assert rules.asked_from(held, NIGHT, over) == (NIGHT + timedelta(hours=11), rules.Later.INCIDENT), "by day"
    _, sent = run(rules.hurried(held, one.person_id, over).drill, over, over + minutes(5))
    assert [at for at, _ in sent] == [over], "the hour is over, though nobody has looked since"


def test_who_was_asked_already_is_said_to_be_asked_next_when_they_really_are() -> None:
    eight = TEN + timedelta(hours=10)
    texted = bare(someone(), at=eight - minutes(2), purpose=Purpose.VERIFY)
    drill, sent = run(texted, eight - minutes(2), eight - minutes(2))
    assert [step.channel for _, step in sent] == [Channel.TEXT]
    morning = eight + timedelta(hours=13)
    assert rules.asked_from(drill, eight - minutes(1)) == (morning, rules.Later.NIGHT), "the call is due after eight"
    assert rules.asked_from(drill, eight + minutes(1)) == (morning, rules.Later.NIGHT)
    put_off, _ = run(drill, eight + minutes(1), eight + minutes(30))
    assert rules.asked_from(put_off, eight + minutes(31)) == (morning, rules.Later.NIGHT)
    by_day, _ = run(check_of(someone(), TEN), TEN, TEN)
    assert rules.asked_from(by_day, TEN + minutes(1)) == (TEN + minutes(60), None), "an hour later, as ever"
    quiet = someone(quiet=(Window(from_min=10 * 60 + 30, to_min=12 * 60),))
    asked, _ = run(check_of(quiet, TEN), TEN, TEN)
    assert rules.asked_from(asked, TEN + minutes(5)) == (TEN + timedelta(hours=2), rules.Later.QUIET)
