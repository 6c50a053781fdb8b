"""Which call to one telephone belongs to which message: no message takes a call that another one made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.workflows.whose_call import Call, Doubt, Undecided, mine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def doubt(number: int, since: float = 0, until: float | None = None) -> Doubt:
    return Doubt(UUID(int=number), at(since), None if until is None else at(until))


def call(name: str, second: float | None) -> Call:
    return Call(name, None if second is None else at(second))


def owner(calls: list[Call], doubts: list[Doubt], me: Doubt) -> str | None:
    found = mine(calls, doubts, me.id)
    return found.id if found else None


def test_a_call_that_only_one_message_may_have_made_is_its_own_whoever_else_is_in_doubt() -> None:
    early, late, later = doubt(1), doubt(2, since=10), doubt(3, since=11)
    calls = [call("CA1", 1), call("CA2", 12)]
    assert owner(calls, [early, late, later], early) == "CA1"
    for other in (late, later):
        with pytest.raises(Undecided):
            mine(calls, [early, late, later], other.id)


def test_calls_of_which_no_time_is_told_go_by_their_order_and_only_when_there_are_enough() -> None:
    pair = [doubt(1), doubt(2, since=30)]
    assert [owner([call("CA1", None), call("CA2", None)], pair, one) for one in pair] == ["CA1", "CA2"]
    with pytest.raises(Undecided):
        mine([call("CA1", None)], pair, pair[0].id)


def test_a_message_without_a_believable_time_may_have_made_any_call() -> None:
    timeless = Doubt(UUID(int=9))
    with pytest.raises(Undecided):
        mine([call("CA1", 5)], [doubt(1), timeless], UUID(int=1))


def test_enough_calls_among_those_nearby_are_not_enough_when_a_third_message_shares_them() -> None:
    first, second, third = doubt(1, until=10), doubt(2, until=20), doubt(3, since=15, until=30)
    with pytest.raises(Undecided):
        mine([call("CA1", 5), call("CA2", 18)], [first, second, third], first.id)


@st.composite
def days(draw: st.DrawFn) -> tuple[list[Call], list[Doubt], dict[UUID, str]]:
    """What the carrier has, who is in doubt, and the truth: each made one call in its time, or none."""
    seconds = st.integers(0, 60)
    doubts, made = [], {}
    for number in range(draw(st.integers(1, 6))):
        since, lasts = draw(seconds), draw(st.none() | st.integers(0, 30))
        doubts.append(doubt(number + 1, since, None if lasts is None else since + lasts))
        if draw(st.booleans()):
            made[UUID(int=number + 1)] = since + draw(st.integers(0, 30 if lasts is None else lasts))
    in_turn = sorted(made.items(), key=lambda one: one[1])
    calls = [call(f"CA{place}", second) for place, (_, second) in enumerate(in_turn)]
    doubts.sort(key=lambda one: one.since or NOON)
    return calls, doubts, {key: f"CA{place}" for place, (key, _) in enumerate(in_turn)}


@given(days())
def test_who_made_no_call_takes_none_and_no_two_take_the_same(
    day: tuple[list[Call], list[Doubt], dict[UUID, str]],
) -> None:
    calls, doubts, made = day
    taken = []
    for one in doubts:
        try:
            found = mine(calls, doubts, one.id)
        except Undecided:
            continue
        if one.id not in made:
            assert found is None, "a page that never rang would count as rung"
        if found is not None:
            assert one.may_have(found)
            taken.append(found.id)
        else:
            assert one.id not in made, "a call that was made would be made again at once"
    assert len(taken) == len(set(taken))


@given(days())
def test_where_every_call_went_out_everybody_finds_one(
    day: tuple[list[Call], list[Doubt], dict[UUID, str]],
) -> None:
    calls, doubts, made = day
    sure = [one for one in doubts if one.id in made]
    assert sorted(mine(calls, sure, one.id).id for one in sure) == sorted(made.values())  # type: ignore[union-attr]
