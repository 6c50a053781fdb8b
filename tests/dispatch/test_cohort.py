"""The simulated cohort: the same events under every policy, figures that can be checked, honest about its edges."""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
import pytest
from escalation_stage import START

from dispatch import cohort_report as figures
from dispatch.cohort import HORIZON_S, Played, Size, ours, play
from dispatch.cohort_parameters import KINDS, SHIPPED, Parameters, ParametersError, load
from dispatch.cohort_people import Scene, events, homes
from dispatch.cohort_report import AGAINST, ASK, GOALERT, NO_ASK, ONCALL, Report, arms, report, sweep
from dispatch.policies import DEFAULT, Document, parse
from dispatch.rehearsal import Kind

SIZE = Size(homes=1500, years=2.0, seed=3)
DOCUMENT = parse(DEFAULT)


@cache
def usual() -> Report:
    return report(DOCUMENT, size=SIZE)


@cache
def usual_play() -> Played:
    return play(load(), arms(DOCUMENT), SIZE)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


# --- what it must show


def test_asking_first_cuts_false_dispatches_by_four_fifths_where_the_person_is_asked() -> None:
    assert usual().goals["false_dispatch_cut"]
    assert usual().value("false_dispatch_cut", "asked") >= 0.80


def test_asking_first_adds_at_most_twenty_seconds_at_the_median_of_true_emergencies() -> None:
    assert usual().goals["added_s"]
    assert usual().value("added_s") <= 20.0
    assert usual().value("added_each_s", "without_sos") <= 20.0


def test_an_sos_is_not_one_second_later_for_anybody() -> None:
    assert usual().goals["sos_added_s"]
    played = usual_play()
    sos = played.kind == KINDS.index("sos")
    assert sos.sum() > 50
    for one in (played.outcomes[ASK], played.outcomes[NO_ASK]):
        assert np.array_equal(one.human_s[sos], played.outcomes[ASK].human_s[sos])
        assert np.array_equal(one.rings[sos], played.outcomes[ASK].rings[sos])


def test_a_grave_sign_is_not_one_second_later_for_anybody_who_needs_help() -> None:
    assert usual().value("added_most_s", "grave") == 0.0


def test_false_alarms_that_are_never_held_up_are_counted_too_and_are_a_goal_of_their_own() -> None:
    whole, asked = usual().value("false_dispatch_cut"), usual().value("false_dispatch_cut", "asked")
    assert whole < asked, "the whole figure must not hide SOS and grave signs"
    assert usual().goals["false_dispatch_cut_all"] == (whole >= 0.80)
    assert whole > 0.70


@pytest.mark.parametrize("kind", ["sos", "grave"])
def test_a_fine_that_is_told_beside_the_ringing_cuts_a_third_and_costs_no_second(kind: str) -> None:
    assert usual().value("false_dispatch_cut", kind) > 0.33
    assert usual().value("added_most_s", kind) == 0.0
    untold = report(DOCUMENT, load(changes={"verify.told_fine": 0.0}), peers=False, size=SIZE)
    assert untold.value("false_dispatch_cut", kind) == 0.0


def test_a_fine_counts_only_where_it_was_told_before_whoever_took_it_decided() -> None:
    def cut(**changes: float) -> float:
        named = {f"verify.{name}": value for name, value in changes.items()}
        return report(DOCUMENT, load(changes=named), peers=False, size=SIZE).value("false_dispatch_cut", "sos")

    assert cut(decide_median_s=0.0) < cut(decide_median_s=120.0)
    assert cut(reads_news=0.0) < cut(reads_news=1.0)


def test_a_true_emergency_that_a_fine_misled_is_counted_as_missed() -> None:
    wrong = {"person.ill_says_fine": 0.5, "verify.stands_down_wrongly": 0.5}
    found = report(DOCUMENT, load(changes=wrong), peers=False, size=SIZE)
    told, missed = (found.value(f"{name}_share") for name in ("emergencies_told_fine", "missed_after_fine"))
    assert missed == pytest.approx(told / 2, rel=0.25) and missed > 0.03
    assert found.value("missed_after_fine_share", policy=NO_ASK) == 0.0
    trusting = load(changes={**wrong, "verify.stands_down_wrongly": 0.0})
    assert report(DOCUMENT, trusting, peers=False, size=SIZE).value("missed_after_fine_share") == 0.0


def test_fine_of_somebody_with_dementia_tells_nobody_anything() -> None:
    parameters = load(changes={"person.may_not_cancel": 1.0})
    played = play(parameters, arms(DOCUMENT, peers=False), Size(homes=200, years=1.0))
    ask, no_ask = played.outcomes[ASK], played.outcomes[NO_ASK]
    assert not ask.told_fine.any()
    assert ask.sent[~played.true].sum() == pytest.approx(no_ask.sent[~played.true].sum(), rel=0.1)


def test_asking_alone_for_less_time_costs_less_and_rings_more() -> None:
    short, usual_overlap = figures.overlaps(DOCUMENT, SIZE, seconds=(10, 20))
    assert (short.parameter, short.value, usual_overlap.value) == ("ask.overlap_s", 10, 20)
    assert short.added_s == pytest.approx(10.0, abs=0.1) and usual_overlap.added_s == pytest.approx(20.0, abs=0.1)
    assert short.rings > usual_overlap.rings
    assert usual_overlap.cut_all == usual().value("false_dispatch_cut")


def test_what_asking_costs_is_reported() -> None:
    share = usual().value("ended_by_own_word_share")
    assert 0 < share < 0.05
    assert usual().value("ended_by_own_word_share", policy=NO_ASK) == 0.0


def test_our_ladder_reaches_a_human_sooner_than_the_two_others_on_the_same_telephones() -> None:
    found = usual()
    for other in (GOALERT, ONCALL):
        for measure in ("time_to_human_p50_s", "time_to_human_p95_s"):
            assert found.value(measure) < found.value(measure, policy=other), (measure, other)
        rings = "needless_rings_per_home_year"
        assert found.value(rings) < found.value(rings, policy=other), other


def test_it_stops_holding_where_fewer_people_answer() -> None:
    few = Size(homes=600, years=2.0, seed=3)
    swept = sweep(DOCUMENT, few, names=["person.well_answers"])
    cuts = [one.cut_asked for one in swept]
    assert cuts == sorted(cuts, reverse=True)
    assert cuts[0] > 0.75 > cuts[-1]
    assert all(one.cut_all < one.cut_asked for one in swept)


def test_the_edge_of_a_goal_lies_between_two_values_of_its_sweep() -> None:
    def at(value: float, met: bool) -> figures.Swept:
        return figures.Swept(
            parameter="p", value=value, cut_asked=0.8, cut_all=0.8, added_s=20.0, missed=0.0, rings=0.2, met=met
        )

    assert figures.holds_until([at(1.0, True), at(0.9, True), at(0.8, False)], "p") == (0.9, 0.8)
    assert figures.holds_until([at(1.0, False)], "p") is None


# --- that the figures mean what they say


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    small = Size(homes=200, years=1.0, seed=5)
    one, again = report(DOCUMENT, size=small, peers=False), report(DOCUMENT, size=small, peers=False)
    assert one == again
    other = report(DOCUMENT, size=Size(homes=200, years=1.0, seed=6), peers=False)
    assert one.rows != other.rows


def test_a_policy_against_itself_differs_in_nothing() -> None:
    found = report(DOCUMENT, against=DOCUMENT, peers=False, size=Size(homes=300, years=1.0))
    assert found.value("added_most_s_against") == 0.0
    assert found.value("false_dispatch_cut_against") == 0.0
    assert found.value("needless_rings_cut_against") == 0.0


def test_a_longer_overlap_costs_a_true_emergency_just_that_much_and_spares_rings() -> None:
    slower = parse('title = "slower"\n[ask]\noverlap_s = 40\n')
    found = report(slower, against=DOCUMENT, peers=False, size=SIZE)
    assert found.value("added_each_s_against", "high") == pytest.approx(20.0, abs=0.1)
    assert found.value("needless_rings_cut_against") > 0
    assert found.value("added_most_s_against", "sos") == 0.0


def test_without_a_single_answer_the_medians_are_those_of_the_ladder() -> None:
    changes = {"person.high_answers": 0.0, "person.ill_presses_ok": 0.0, "person.voice_fails": 0.0}
    certain = {"contacts.wrong_number": 0.0, "contacts.takes": 1.0, "contacts.declines": 0.0}
    still = {"contacts.pick_up_sigma": 0.0, "contacts.pick_up_median_s": 5.0}
    text = SHIPPED.read_text("utf-8")
    for name in ("answers_night", "answers_work", "answers_evening"):
        text = re.sub(rf"^{name} = .*$", f"{name} = [1.0, 1.0, 1.0, 1.0]", text, flags=re.MULTILINE)
    played = play(load(text, changes | certain | still), arms(DOCUMENT, peers=False), Size(homes=400, years=2.0))
    high = played.true & (played.kind == KINDS.index("high"))
    asked, unasked = (played.outcomes[name].human_s[high] for name in (ASK, NO_ASK))
    assert high.sum() > 10 and np.allclose(asked - unasked, 20.0)
    # Half a second to connect, five of ringing, one of detection, then the menu.
    assert np.all(unasked > 6.5) and np.all(unasked < 6.5 + 60)


def test_medians_and_shares_are_those_of_the_events() -> None:
    played, found = usual_play(), usual()
    mask = played.true & (played.kind == KINDS.index("high"))
    assert found.value("time_to_human_p50_s", "high") == pytest.approx(np.median(played.outcomes[ASK].human_s[mask]))
    rings = played.outcomes[ASK].rings[~played.true].sum() / (SIZE.homes * SIZE.years)
    assert found.value("needless_rings_per_home_year") == pytest.approx(rings)


def test_every_interval_holds_its_figure() -> None:
    for row in usual().rows:
        if row.ci_low is not None and row.ci_high is not None:
            assert row.ci_low - 1e-9 <= row.value <= row.ci_high + 1e-9, row


def test_intervals_narrow_with_more_homes() -> None:
    def width(homes: int) -> float:
        found = report(DOCUMENT, peers=False, size=Size(homes=homes, years=2.0, seed=9))
        row = next(r for r in found.rows if (r.measure, r.kind) == ("false_dispatch_cut", "asked"))
        assert row.ci_low is not None and row.ci_high is not None
        return row.ci_high - row.ci_low

    assert width(1600) < 0.75 * width(400)


def test_nothing_happening_is_no_figure_and_no_crash() -> None:
    text = re.sub(r"^(sos|grave|high|medium) = [0-9.]+", r"\1 = 0.0", SHIPPED.read_text("utf-8"), flags=re.MULTILINE)
    found = report(DOCUMENT, load(text), size=Size(homes=50, years=1.0))
    assert math.isnan(found.value("time_to_human_p50_s"))
    assert not any(found.goals.values())


def test_events_come_as_often_as_the_rates_say() -> None:
    parameters = load()
    many = events(parameters, 20_000, 5.0, rng())
    years = 100_000.0
    true_high = sum(one.true and one.kind == "high" for one in many)
    false_high = sum(not one.true and one.kind == "high" for one in many)
    for counted, expected in ((true_high, 32.1 / 1000 * years), (false_high, 0.5 / 1000 * 365.25 * years)):
        assert abs(counted - expected) < 5 * math.sqrt(expected)


def test_homes_have_contacts_in_the_shares_given() -> None:
    many = homes(load(), 20_000, rng())
    assert sum(len(one.contacts) == 2 for one in many) / 20_000 == pytest.approx(0.40, abs=0.02)
    assert sum(not one.may_cancel for one in many) / 20_000 == pytest.approx(0.05, abs=0.01)


def test_every_policy_meets_the_same_luck_whichever_call_comes_when() -> None:
    parameters = load()
    where, happened = homes(parameters, 50, rng()), events(parameters, 50, 20.0, rng(2))
    for event in happened[:200]:
        one, other = (Scene(parameters, where[event.home], event) for _ in range(2))
        other.desk_call(1)
        other.contact_call(0, 3)
        assert one.contact_call(0, 1) == other.contact_call(0, 1)
        assert (one.key, one.reach_s, one.vitals) == (other.key, other.reach_s, other.vitals)


def test_people_answer_less_at_night_and_care_workers_in_office_hours() -> None:
    parameters = load()
    where = homes(parameters, 400, rng())
    happened = [one for one in events(parameters, 400, 400.0, rng(4)) if one.kind == "sos"]

    def share(relation: str, low: float, high: float) -> float:
        met = [
            Scene(parameters, where[one.home], one).contact_call(0, 1).kind is Kind.ANSWER
            for one in happened
            if low <= one.hour < high and where[one.home].contacts[0] == parameters.contacts.relations.index(relation)
        ]
        return sum(met) / len(met)

    assert share("child", 0, 6) < share("child", 19, 22)
    assert share("care_worker", 10, 17) == pytest.approx(0.85, abs=0.06)
    assert share("care_worker", 0, 6) == pytest.approx(0.10, abs=0.06)


def test_who_cannot_be_asked_is_rung_for_at_once() -> None:
    parameters = load(changes={"person.voice_fails": 1.0})
    played = play(parameters, arms(DOCUMENT, peers=False), Size(homes=200, years=1.0))
    ask, no_ask = played.outcomes[ASK], played.outcomes[NO_ASK]
    assert np.array_equal(ask.human_s, no_ask.human_s) and np.array_equal(ask.rings, no_ask.rings)


def test_nobody_waits_beyond_the_horizon_uncounted() -> None:
    text = SHIPPED.read_text("utf-8")
    for name in ("answers_night", "answers_work", "answers_evening"):
        text = re.sub(rf"^{name} = .*$", f"{name} = [0.0, 0.0, 0.0, 0.0]", text, flags=re.MULTILINE)
    parameters = load(text, {"desk.answers": 0.0})
    played = play(parameters, {"ours": ours(DOCUMENT)}, Size(homes=100, years=1.0))
    one = played.outcomes["ours"]
    unheard = np.array([by == "nobody" for by in one.by])
    assert unheard.any() and np.all(one.human_s[unheard] == HORIZON_S) and not one.sent[unheard].any()


# --- its parameters


def test_every_parameter_names_its_source_or_says_that_it_is_assumed() -> None:
    for line in SHIPPED.read_text("utf-8").splitlines():
        if re.match(r"^[a-z_]+ = \[?[0-9]", line):
            said = line.partition("#")[2]
            named = re.search(r"\[A\]|PMC|Gurley|DISPATCH", said)
            assert named, line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "must be TOML"),
        ("x = 1", "cohort.toml"),
        (SHIPPED.read_text("utf-8").replace("may_not_cancel = 0.05", "may_not_cancel = 5"), "may_not_cancel"),
        (SHIPPED.read_text("utf-8").replace("may_not_cancel", "may_not_cancle"), "may_not_canc"),
        (SHIPPED.read_text("utf-8").replace("[0.25, 0.40, 0.25, 0.10]", "[0.5, 0.40, 0.25, 0.10]"), "sum to 1"),
        (SHIPPED.read_text("utf-8").replace("takes = 0.85", "takes = 0.95"), "at most 1"),
        (SHIPPED.read_text("utf-8").replace('["child", ', '["child", "friend", '), "one value for each"),
    ],
)
def test_a_parameter_file_that_cannot_be_used_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ParametersError, match=re.escape(said)):
        load(text)


def test_a_parameter_that_does_not_exist_cannot_be_changed() -> None:
    with pytest.raises(ParametersError, match=r"was 'person\.answer'"):
        load(changes={"person.answer": 0.5})
    assert isinstance(load(changes={"hours.night_from": 22}), Parameters)


def test_every_sweep_moves_a_parameter_that_exists_and_holds_the_shipped_value() -> None:
    for name, values in figures.SWEEPS.items():
        for value in values:
            load(changes=figures._changes(name, value))
        shipped = {"verify.found_out": load().verify.contact, "person.well_answers": 0.95}
        own = shipped.get(name)
        section, _, key = name.partition(".")
        assert (own if own is not None else getattr(getattr(load(), section), key)) in values


def test_the_other_ladders_are_what_they_are_said_to_be() -> None:
    found = usual_play()
    assert found.outcomes[ONCALL].human_s.min() > 10.0
    assert START.tzinfo is not None and isinstance(DOCUMENT, Document) and AGAINST not in found.outcomes
