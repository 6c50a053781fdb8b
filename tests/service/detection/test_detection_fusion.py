"""One picture of a person: evidence capped and fading, severity that only rises, hard signs that nothing silences."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.signals.finding import Finding
from dispatch.alarm import Priority
from service.detection import budget, fusion
from service.detection.budget import FLOOR_NATS, Cause, Tier
from service.detection.signs import ALONE_NATS, CAP_NATS, HALF_S, HARD, HARD_FROM_NATS, HOLD_S, LAYER, LAYERS, condition

T0 = 1_790_000_000 // 86_400 * 86_400 + 3600
US = 1_000_000
HOUR = 3600


def sign(layer: str, nats: float, at: float = 0, code: str = "", **given) -> Finding:
    at_us = int((T0 + at) * US)
    onset = int((T0 + given.pop("onset", at)) * US)
    return Finding(layer, code or f"{layer}_sign", onset, at_us, nats, given.pop("ended", False), given)


class Person:
    """One person, upload by upload."""

    def __init__(self) -> None:
        self.record = fusion.blank()
        self.told: list[fusion.Decision] = []

    def post(self, *findings: Finding, until: float | None = None, hard: tuple[str, ...] = ()) -> list[fusion.Decision]:
        until_us = max((f.at_us for f in findings), default=0) if until is None else int((T0 + until) * US)
        news = fusion.fuse(self.record, [findings], [hard], [until_us]).get(0, [])
        self.told += news
        return news

    @property
    def level(self) -> Tier:
        return Tier(int(self.record["level"][0]))

    def score(self, at: float) -> float:
        return fusion.picture(self.record, int((T0 + at) * US)).score


def test_the_state_fits_its_share() -> None:
    assert fusion.STATE.itemsize <= 600
    assert not fusion.STATE.hasobject


def test_weak_evidence_is_nothing_more_is_a_line_a_question_a_ring() -> None:
    for nats, level in ((0.9, Tier.NOTHING), (1.0, Tier.LINE), (3.0, Tier.QUESTION), (4.75, Tier.QUESTION)):
        person = Person()
        news = person.post(sign("fall", nats))
        assert person.level == level
        assert bool(news) == (level > Tier.NOTHING)
    (news,) = person.post(sign("absence", 0.25, at=1))
    assert news.opened
    assert news.level == Tier.RING
    assert news.priority == Priority.HIGH
    assert not news.grave


def test_fibrillation_is_a_line_and_fast_fibrillation_asks() -> None:
    person = Person()
    assert [d.level for d in person.post(sign("rhythm", 9.0, code="atrial_fibrillation"))] == [Tier.LINE]
    assert [d.level for d in person.post(sign("rhythm", 9.0, at=60, code="tachycardia"))] == [Tier.QUESTION]


@pytest.mark.parametrize("first", ["pause", "atrial_fibrillation"])
def test_a_doubtful_pause_is_no_second_sign_beside_fibrillation(first: str) -> None:
    signs = {
        "pause": [sign("rhythm", 0.1, at=k, code="pause", value=10.75) for k in (0, 20)],
        "atrial_fibrillation": [sign("rhythm", 9.0, at=10, code="atrial_fibrillation", value=87.0)],
    }
    person = Person()
    for code in (first, *(signs.keys() - {first})):
        person.post(*signs[code])
    assert person.level == Tier.LINE
    assert person.score(20) == pytest.approx(2.75)
    assert {r.code for r in fusion.picture(person.record, (T0 + 20) * US).reasons} == set(signs)


def test_a_pause_that_is_borne_out_makes_fibrillation_a_question() -> None:
    person = Person()
    person.post(sign("rhythm", 9.0, code="atrial_fibrillation"), sign("rhythm", 4.0, at=1, code="pause", value=4.0))
    assert person.level == Tier.QUESTION


def test_doubtful_pauses_and_rates_of_a_day_do_not_make_a_line_a_question() -> None:
    person = Person()
    person.post(sign("home_vitals", 9.0))
    person.post(sign("rhythm", 0.1, at=60, code="pause", value=12.0))
    person.post(sign("rhythm", 2.0, at=90, code="tachycardia", value=140.0))
    assert person.level == Tier.LINE
    assert person.score(90) == pytest.approx(CAP_NATS[LAYER["home_vitals"]] + ALONE_NATS)


@pytest.mark.parametrize("line", ["baseline", "home_vitals"])
def test_two_signs_that_are_a_line_each_ask_and_do_not_ring(line: str) -> None:
    person = Person()
    person.post(sign(line, 9.0), sign("rhythm", 9.0, at=1, code="atrial_fibrillation"))
    assert person.level == Tier.QUESTION


@pytest.mark.parametrize("second", ["fall", "absence", "warning", "limits"])
def test_fibrillation_and_a_sign_of_another_kind_reach_people(second: str) -> None:
    person = Person()
    person.post(sign("rhythm", 9.0, code="atrial_fibrillation"), sign("rhythm", 0.1, at=1, code="pause", value=12.0))
    assert person.level == Tier.LINE
    person.post(sign(second, 3.0, at=60))
    assert person.level >= Tier.QUESTION


def test_a_pause_is_weighed_until_its_layer_is_sure_of_it() -> None:
    short, borne_out, certain = (Person() for _ in range(3))
    assert short.post(sign("rhythm", 2.0, code="pause", value=4.0)) == []
    (weighed,) = borne_out.post(sign("rhythm", 4.0, code="pause", value=4.0))
    (ring,) = certain.post(sign("rhythm", 5.0, code="pause", value=4.0))
    assert (weighed.level, weighed.hard) == (Tier.LINE, ())
    assert (ring.level, ring.hard) == (Tier.RING, ("pause",))


@pytest.mark.parametrize("code", ["asystole", "ventricular_fibrillation"])
def test_an_arrest_brings_help_where_it_is_rather_true_and_asks_the_person_however_doubtful(code: str) -> None:
    (news,) = Person().post(sign("rhythm", 5.0, code=code))
    assert (news.level, news.hard, news.grave) == (Tier.DISPATCH, (code,), True)
    for nats in (4.9, 3.0, 0.0, -9.0):
        (asked,) = Person().post(sign("rhythm", nats, code=code))
        assert (asked.level, asked.hard) == (Tier.QUESTION, ())


def test_a_long_pause_however_doubtful_is_a_line_as_soon_as_anything_else_speaks() -> None:
    short, long = Person(), Person()
    assert short.post(sign("rhythm", 0.1, code="pause", value=4.0)) == []
    assert long.post(sign("rhythm", 0.1, code="pause", value=12.0)) == []
    assert short.post(sign("warning", 0.6, at=60)) == []
    (line,) = long.post(sign("warning", 0.6, at=60))
    assert (line.level, {r.code for r in line.reasons}) == (Tier.LINE, {"pause", "warning_sign"})


@pytest.mark.parametrize(
    ("bpm", "alone"), [(112.0, True), (131.0, False), (149.0, False), (150.0, True), (190.0, True)]
)
def test_a_rate_from_beats_that_effort_explains_is_told_only_with_other_signs(bpm: float, alone: bool) -> None:
    person = Person()
    assert bool(person.post(sign("rhythm", 2.0, code="tachycardia", value=bpm))) == alone
    person.post(sign("rhythm", 9.0, at=60, code="atrial_fibrillation"))
    assert person.level == Tier.QUESTION


@pytest.mark.parametrize("layer", [layer.name for layer in LAYERS])
def test_no_layer_alone_counts_more_than_its_cap_or_does_more_than_ask(layer: str) -> None:
    person = Person()
    person.post(*(sign(layer, 50.0, code=f"sign_{i}") for i in range(5)))
    assert person.score(0) == pytest.approx(CAP_NATS[LAYER[layer]])
    assert person.level <= Tier.QUESTION


def test_two_layers_together_reach_a_dispatch_that_is_grave() -> None:
    person = Person()
    person.post(sign("fall", 9.0))
    (news,) = person.post(sign("warning", 4.0, at=60))
    assert person.level == Tier.DISPATCH
    assert news.grave
    assert [r.layer for r in news.reasons] == ["fall", "warning"]


def test_a_sign_counts_in_full_while_it_is_told_then_halves_and_faster_once_it_ended() -> None:
    layer = LAYER["rhythm"]
    hold, half = HOLD_S[layer], HALF_S[layer]
    person = Person()
    person.post(sign("rhythm", 4.0))
    assert person.score(hold) == pytest.approx(4.0)
    assert person.score(hold + half) == pytest.approx(2.0)
    person.post(sign("rhythm", 0.0, at=60, ended=True))
    assert person.score(60 + fusion.ENDED_SHARE * half) == pytest.approx(2.0, rel=1e-3)


def test_told_again_it_counts_in_full_again() -> None:
    person = Person()
    person.post(sign("fall", 3.0))
    person.post(sign("fall", 3.0, at=3600))
    assert person.score(3600) == pytest.approx(3.0)


def test_it_clears_at_three_tenths_of_what_armed_it_and_not_before() -> None:
    layer = LAYER["fall"]
    at = HOLD_S[layer] + HALF_S[layer] * np.log2(1.0 / fusion.CLEAR_SHARE)
    person = Person()
    person.post(sign("fall", 3.0))
    assert person.post(until=at - 5) == []
    (news,) = person.post(until=at + 5)
    assert news.ended
    assert not news.opened
    assert person.post(until=at + 50) == []


def test_a_line_ends_by_itself_and_a_question_waits_for_a_person() -> None:
    line, asked = Person(), Person()
    line.post(sign("fall", 2.0))
    asked.post(sign("fall", 3.5))
    line.post(until=6 * HOUR)
    asked.post(until=6 * HOUR)
    assert line.level == Tier.NOTHING
    assert asked.level == Tier.QUESTION
    fusion.clear(asked.record, int((T0 + 7 * HOUR) * US))
    assert asked.level == Tier.NOTHING


def test_severity_only_rises_until_a_person_clears_it() -> None:
    person = Person()
    person.post(sign("fall", 4.75), sign("warning", 2.0))
    person.post(until=24 * HOUR)
    (news,) = person.post(sign("rhythm", 3.2, at=25 * HOUR))
    assert news.opened
    assert news.level == Tier.RING


def test_the_same_evidence_does_not_ask_again_after_a_person_cleared_it_but_more_does() -> None:
    person = Person()
    person.post(sign("absence", 3.2))
    fusion.clear(person.record, (T0 + 60) * US)
    assert person.post(sign("absence", 3.2, at=120)) == []
    assert person.post(sign("absence", 4.1, at=180)) != []
    person = Person()
    person.post(sign("absence", 3.2))
    fusion.clear(person.record, (T0 + 60) * US)
    assert person.post(sign("absence", 3.2, at=fusion.AGAIN_S + 61)) != []


def test_evidence_that_crosses_the_floor_asks_although_it_was_cleared_just_now() -> None:
    person = Person()
    person.post(sign("absence", 3.9))
    fusion.clear(person.record, (T0 + 60) * US)
    assert [d.level for d in person.post(sign("absence", 4.2, at=120))] == [Tier.QUESTION]


def test_the_three_strongest_reasons_say_value_usual_age_and_duration() -> None:
    person = Person()
    person.post(
        sign("baseline", 2.0, onset=-7200, code="heart_rate_drift_up", value=82.04, usual=70),
        sign("rhythm", 3.0, at=600, code="atrial_fibrillation"),
        sign("warning", 1.0, at=600),
        sign("home_vitals", 0.5, at=600),
    )
    seen = fusion.picture(person.record, (T0 + 1200) * US)
    assert [r.code for r in seen.reasons] == ["atrial_fibrillation", "heart_rate_drift_up", "warning"]
    drift = seen.reasons[1]
    assert (drift.value, drift.usual, drift.age_s, drift.duration_s) == (82.04, 70.0, 1200, 8400)
    assert (seen.reasons[0].value, seen.reasons[0].age_s) == (None, 600)


@pytest.mark.parametrize("code", [code for code in HARD if not code.startswith("heart_rate")])
def test_a_hard_sign_reaches_its_tier_whatever_its_weight_and_the_verdicts(code: str) -> None:
    person = Person()
    for day in range(200):
        budget.roll(person.record["budget"], np.array([day]), np.zeros(1))
        budget.note(person.record["budget"], np.array([9.0]))
    for _ in range(9):
        fusion.false_alarm(person.record, [code, "fall_sign"], Cause.OTHER, (T0 - 60) * US)
    (news,) = person.post(sign("rhythm", HARD_FROM_NATS.get(code, 0.0), code=code))
    assert news.level == HARD[code]
    assert news.hard == (code,)
    held = Person()
    (news,) = held.post(until=5, hard=(code,))
    assert (news.level, news.hard) == (HARD[code], (code,))
    assert held.post(until=65, hard=(code,)) == []
    assert held.post(until=70) == []
    assert held.post(until=99, hard=(code,)) != []


def test_a_hard_condition_of_a_name_unknown_here_is_believed() -> None:
    person = Person()
    (news,) = person.post(until=5, hard=("something_new",))
    assert news.level == Tier.RING


def test_verdicts_make_a_person_less_often_asked_about_that_sign_and_not_below_the_floor() -> None:
    person = Person()
    for _ in range(9):
        fusion.false_alarm(person.record, ["fall_sign"], Cause.EXERCISE, (T0 - 60) * US)
    assert [d.level for d in person.post(sign("fall", 3.5))] == [Tier.LINE]
    strong = Person()
    for _ in range(9):
        fusion.false_alarm(strong.record, ["fall_sign"], Cause.EXERCISE, (T0 - 60) * US)
    assert [d.level for d in strong.post(sign("fall", float(FLOOR_NATS[Tier.QUESTION])))] == [Tier.QUESTION]


def test_a_persons_own_days_raise_what_asks_and_the_floor_still_asks() -> None:
    person = Person()
    for day in range(100):
        person.post(sign("rhythm", 3.4, at=day * 86_400), until=day * 86_400 + 40_000)
        fusion.clear(person.record, int((T0 + day * 86_400 + 40_000) * US))
    told = [d.level for d in person.told if d.opened]
    assert told[:20] == [Tier.QUESTION] * 20
    assert Tier.QUESTION not in told[-50:]
    assert [d.level for d in person.post(sign("rhythm", 4.2, at=101 * 86_400))] == [Tier.QUESTION]


def test_a_true_alarm_makes_its_day_no_lesson() -> None:
    person = Person()
    person.post(sign("fall", 3.5), until=60)
    fusion.true_alarm(person.record, ["fall_sign"], (T0 + 90) * US)
    person.post(until=2 * 86_400)
    assert person.record["budget"]["days"][0, budget._bin(np.array([3.5]))[0]] == 0


def test_dispatch_is_told_the_strongest_sign_with_its_figures_and_the_others() -> None:
    person = Person()
    (line,) = person.post(sign("baseline", 2.0, at=600, onset=0, code="heart_rate_drift_up", value=82, usual=70))
    (asked,) = person.post(sign("warning", 1.5, at=900, code="deterioration_likely"))
    told = condition(line, (T0 + 700) * US)
    assert (told.code, told.priority, told.grave) == ("heart_rate_drift_up", Priority.LOW, False)
    assert told.params | {"value": 82.0, "usual": 70.0, "duration_s": 600, "tier": "line", "also": ""} == told.params
    assert int(told.started_at.timestamp()) == T0
    assert condition(asked, (T0 + 901) * US).params["also"] == "deterioration_likely"
    (rung,) = person.post(until=1000, hard=("sos",))
    told = condition(rung, (T0 + 1000) * US)
    assert (told.code, told.priority, told.grave) == ("sos", Priority.HIGH, True)
    assert told.params["also"] == "heart_rate_drift_up deterioration_likely"
    (ended,) = [d for d in person.post(until=90 * 86_400) if d.ended]
    assert condition(ended, (T0 + 90 * 86_400) * US) is None


def test_late_news_of_earlier_than_what_is_known_change_nothing() -> None:
    person = Person()
    person.post(sign("rhythm", 3.0, at=1000))
    person.post(sign("rhythm", 0.0, at=2000, ended=True))
    before = person.record.tobytes()
    person.post(sign("rhythm", 4.0, at=1500))
    assert person.record.tobytes() == before


@pytest.mark.parametrize("nats", [float("nan"), float("-inf"), -3.0, 0.0])
def test_evidence_that_is_no_evidence_weighs_nothing(nats: float) -> None:
    person = Person()
    assert person.post(sign("fall", nats)) == []
    assert person.score(0) == 0


def test_infinite_evidence_and_garbage_are_taken_calmly() -> None:
    person = Person()
    odd = Finding("no such layer", "x" * 300, -5, 2**62, float("inf"), params={"value": "high", "usual": True})
    (news,) = person.post(odd, until=1)
    assert news.score == CAP_NATS[LAYER["other"]]
    assert news.reasons[0].value is None


def test_more_signs_than_there_is_room_for_keep_the_strongest() -> None:
    person = Person()
    person.post(*(sign(LAYERS[i % 8].name, 0.1 + i / 100, code=f"sign_{i}") for i in range(30)))
    person.post(sign("fall", 4.0, at=5))
    assert person.score(5) >= 4.0


def test_a_group_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one length, were 2, 1, 2, 2"):
        fusion.fuse(fusion.blank(2), [()], [(), ()], [0, 0])


finding = st.builds(
    lambda layer, code, nats, at, ended: sign(layer, nats, at, f"{layer}_{code}", ended=ended),
    st.sampled_from([layer.name for layer in LAYERS]), st.sampled_from("a"),
    st.floats(-1, 12), st.integers(0, 9 * HOUR), st.booleans(),
)  # fmt: skip


def run(findings: list[Finding], cuts: list[int], hours: int = 10) -> tuple[Person, list[tuple]]:
    """Post findings in order of time, divided at these seconds."""
    person = Person()
    edges = [*sorted(set(cuts)), hours * HOUR]
    left = sorted(findings, key=lambda f: f.at_us)
    for edge in edges:
        now = [f for f in left if f.at_us < (T0 + edge) * US]
        left = left[len(now) :]
        person.post(*now, until=edge)
    return person, [(d.level, d.opened, d.ended) for d in person.told]


@settings(max_examples=80, deadline=None)
@given(st.lists(finding, max_size=12), st.lists(st.integers(1, 10 * HOUR - 1), max_size=5))
def test_the_same_findings_give_the_same_decisions_however_they_are_divided(findings, cuts) -> None:
    whole, told = run(findings, [])
    parts, told_in_parts = run(findings, cuts)
    assert told == told_in_parts
    assert whole.level == parts.level
    again, _ = run(findings, cuts)
    assert again.record.tobytes() == parts.record.tobytes()


@settings(max_examples=80, deadline=None)
@given(st.lists(finding, max_size=10), st.lists(finding, max_size=6))
def test_more_evidence_never_lowers_severity(findings, more) -> None:
    findings = [replace(f, ended=False) for f in findings]
    more = [replace(f, ended=False) for f in more]
    few, many = Person(), Person()
    for f in sorted(findings, key=lambda f: f.at_us):
        few.post(f)
    highest = max((d.level for d in few.told), default=Tier.NOTHING)
    for f in sorted([*findings, *more], key=lambda f: f.at_us):
        many.post(f)
    assert max((d.level for d in many.told), default=Tier.NOTHING) >= highest
    assert many.level >= few.level or few.level <= Tier.LINE


verdicts = st.lists(st.tuples(st.sampled_from([*HARD, "fall_a", "rhythm_a"]), st.sampled_from(Cause)), max_size=12)


@settings(max_examples=80, deadline=None)
@given(verdicts, st.lists(finding, max_size=8), st.lists(st.floats(0, 30), max_size=120), st.sampled_from([*HARD]))
def test_nothing_learnt_or_said_silences_a_hard_sign(said, findings, days, code) -> None:
    person = Person()
    first = T0 // 86_400 - len(days) - 1
    for i, score in enumerate(days):
        budget.roll(person.record["budget"], np.array([first + i]), np.zeros(1))
        budget.note(person.record["budget"], np.array([score]))
    for one, cause in said:
        fusion.false_alarm(person.record, [one], cause, (T0 - 60) * US)
    person.post(*findings, until=10 * HOUR)
    fusion.clear(person.record, (T0 + 10 * HOUR) * US)
    news = person.post(until=10 * HOUR + 1, hard=(code,))
    assert any(d.opened and d.level >= HARD[code] and code in d.hard for d in news)


@settings(max_examples=80, deadline=None)
@given(verdicts, st.lists(st.floats(0, 30), max_size=120), st.integers(2, 4), st.sampled_from(["fall", "absence"]))
def test_evidence_at_the_floor_always_reaches_its_tier(said, days, tier, layer) -> None:
    person = Person()
    first = T0 // 86_400 - len(days) - 1
    for i, score in enumerate(days):
        budget.roll(person.record["budget"], np.array([first + i]), np.zeros(1))
        budget.note(person.record["budget"], np.array([score]))
    for one, cause in said:
        signs = [one, "fall_sign", "absence_sign", "rhythm_sign"]
        fusion.false_alarm(person.record, signs, cause, (T0 - 60) * US)
    need = float(FLOOR_NATS[tier])
    own = min(need, float(CAP_NATS[LAYER[layer]]))
    person.post(sign(layer, own), sign("rhythm", need - own))
    assert person.level >= tier


def test_a_group_is_judged_as_each_alone_and_quickly() -> None:
    rng = np.random.default_rng(3)
    people = 300
    findings = [
        [sign(LAYERS[int(rng.integers(8))].name, float(rng.uniform(0, 7)), float(rng.integers(3600)))]
        if rng.random() < 0.1 else []
        for _ in range(people)
    ]  # fmt: skip
    until = [(T0 + 4000) * US] * people
    records = fusion.blank(people)
    told = fusion.fuse(records, findings, [()] * people, until)
    for i in range(0, people, 7):
        alone = fusion.blank()
        assert fusion.fuse(alone, [findings[i]], [()], until[:1]).get(0, []) == told.get(i, [])
        assert alone.tobytes() == records[i : i + 1].tobytes()
    quiet = fusion.blank(people)
    fusion.fuse(quiet, [()] * people, [()] * people, until)
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        fusion.fuse(quiet, [()] * people, [()] * people, until)
        spent.append(time.perf_counter() - started)
    assert min(spent) / people < 50e-6
