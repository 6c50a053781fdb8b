"""Who can be reached when: times ahead in which nobody could be rung, by hand and by brute force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import coverage, snoozing
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.coverage import Gap, gaps
from dispatch.messages import REASONS
from dispatch.plan import Channel, Contact, Window
from dispatch.snoozing import Quiet

SEOUL_S = 32_400
TEN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""Ten in the morning in Busan."""
NIGHT = Window(from_min=22 * 60, to_min=7 * 60)


def contact(number: int = 1, **more: object) -> Contact:
    return Contact(person_id=UUID(int=number), **more)  # type: ignore[arg-type]


def medium(found: list[Gap]) -> list[Gap]:
    return [gap for gap in found if gap.priority is Priority.MEDIUM]


def test_one_who_can_always_be_rung_leaves_no_gap() -> None:
    assert gaps([contact()], TEN) == []


def test_a_night_in_which_the_only_contact_sleeps_is_a_gap_from_ten_to_seven() -> None:
    assert gaps([contact(quiet=(NIGHT,))], TEN) == [
        Gap(from_at=TEN + timedelta(hours=12), until_at=TEN + timedelta(hours=21), priority=Priority.MEDIUM)
    ]


def test_one_who_is_awake_at_night_closes_it() -> None:
    assert gaps([contact(1, quiet=(NIGHT,)), contact(2)], TEN) == []


def test_a_number_that_was_never_proven_closes_no_gap_for_a_lesser_case_but_one_for_a_grave_one() -> None:
    assert gaps([contact(verified=False)], TEN) == [Gap(from_at=TEN, until_at=None, priority=Priority.MEDIUM)]


def test_while_the_only_one_is_away_nobody_at_all_can_be_reached_until_they_are_back() -> None:
    back = TEN + timedelta(hours=5)
    assert gaps([contact(away_until=back)], TEN) == [
        Gap(from_at=TEN, until_at=back, priority=Priority.HIGH),
        Gap(from_at=TEN, until_at=back, priority=Priority.MEDIUM),
    ]


def test_somebody_without_any_contact_has_a_gap_without_an_end() -> None:
    assert [gap.until_at for gap in gaps([], TEN)] == [None, None]


def test_who_can_only_be_written_to_is_no_one_to_ring() -> None:
    assert medium(gaps([contact(channels=(Channel.EMAIL,))], TEN)) == [
        Gap(from_at=TEN, until_at=None, priority=Priority.MEDIUM)
    ]


def test_how_far_to_look_is_bounded() -> None:
    with pytest.raises(ValueError, match="hours must be 1 to 168, was 0"):
        gaps([], TEN, hours=0)


minutes = st.integers(0, 1439)
windows = st.builds(Window, from_min=minutes, to_min=minutes)
contacts = st.builds(
    Contact,
    person_id=st.uuids(),
    channels=st.sampled_from([(Channel.VOICE,), (Channel.EMAIL,), ()]),
    verified=st.booleans(),
    quiet=st.lists(windows, max_size=2).map(tuple),
    away_until=st.none() | st.integers(-600, 2000).map(lambda m: TEN + timedelta(minutes=m)),
)


@given(st.lists(contacts, max_size=3), st.integers(0, 1439), st.sampled_from([0, SEOUL_S, -18_000]))
def test_gaps_are_what_a_look_at_every_minute_finds(found: list[Contact], start: int, offset_s: int) -> None:
    now = TEN + timedelta(minutes=start)
    told = gaps(found, now, utc_offset_s=offset_s)
    for minute in range(0, 24 * 60, 7):
        at = now + timedelta(minutes=minute)
        covered = {
            Priority.MEDIUM: any(coverage.rung_for_medium(one, at, offset_s) for one in found),
            Priority.HIGH: any(coverage.rung_for_high(one, at) for one in found),
        }
        for priority, yes in covered.items():
            inside = any(
                g.priority is priority and g.from_at <= at and (g.until_at is None or at < g.until_at) for g in told
            )
            assert inside is not yes


@pytest.mark.parametrize(
    ("before", "gap_from_h", "same"),
    [(None, 0, False), ((-2, 4), 0, True), ((-2, None), 0, True), ((-9, -1), 0, False), ((5, 9), 5, True)],
)
def test_a_gap_that_runs_keeps_its_beginning(
    before: tuple[int, int | None] | None, gap_from_h: int, same: bool
) -> None:
    def at(hours: int | None) -> datetime | None:
        return None if hours is None else TEN + timedelta(hours=hours)

    gap = Gap(from_at=TEN + timedelta(hours=gap_from_h), until_at=None, priority=Priority.MEDIUM)
    known = None if before is None else (TEN + timedelta(hours=before[0]), at(before[1]))
    assert coverage.same(known, gap, TEN) is same


# What may be snoozed


def found(code: str, priority: Priority, grave: bool = False) -> AlarmCondition:
    return AlarmCondition(
        code=code, kind=AlarmKind.PHYSIOLOGICAL, priority=priority, grave=grave, started_at=TEN, detected_at=TEN
    )


def quiet(code: str, hours: float = 8) -> Quiet:
    return Quiet(code=code, from_at=TEN, until_at=TEN + timedelta(hours=hours))


@pytest.mark.parametrize("code", sorted(REASONS))
@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize("grave", [False, True])
def test_only_a_medium_sign_of_the_list_is_ever_held_back(code: str, priority: Priority, grave: bool) -> None:
    held = snoozing.held_until(found(code, priority, grave), [quiet(code)], TEN)
    may = code in snoozing.CODES and priority is Priority.MEDIUM and not grave
    assert (held is not None) is may


NEVER = (
    "sos", "fall", "fall_suspected", "fall_still", "asystole", "ventricular_fibrillation", "ventricular_tachycardia",
    "pause", "spo2_low", "news2_high", "person_silent", "detection_failed", "record_unreadable", "area_silent",
    "carrier_refuses", "audit_mended",
)  # fmt: skip


@pytest.mark.parametrize("code", NEVER)
def test_what_may_be_a_matter_of_life_or_our_own_fault_is_never_on_the_list(code: str) -> None:
    assert code not in snoozing.CODES
    assert code in REASONS


def test_every_sign_on_the_list_can_be_worded() -> None:
    assert set(snoozing.CODES) <= set(REASONS)


codes = st.sampled_from(snoozing.CODES) | st.sampled_from(sorted({*REASONS, "something_new"}))
any_quiet = st.builds(
    lambda a, b: Quiet(code="", from_at=TEN + timedelta(minutes=a), until_at=TEN + timedelta(minutes=b)),
    st.integers(-600, 60),
    st.integers(-60, 6000),
)


@given(codes, st.sampled_from(Priority), st.booleans(), st.lists(any_quiet, max_size=5))
def test_nothing_that_is_set_silences_the_grave_nor_holds_longer_than_its_window(
    code: str, priority: Priority, grave: bool, quiets: list[Quiet]
) -> None:
    about = [Quiet(code=code, from_at=one.from_at, until_at=one.until_at) for one in quiets]
    held = snoozing.held_until(found(code, priority, grave), about, TEN)
    if grave or priority is Priority.HIGH or code in NEVER or code not in snoozing.CODES:
        assert held is None
    if held is not None:
        assert TEN < held <= TEN + snoozing.LONGEST


def test_a_snooze_written_by_a_clock_that_was_ahead_holds_nothing() -> None:
    one = found("tachycardia", Priority.MEDIUM)
    ahead = Quiet(code="tachycardia", from_at=TEN + timedelta(hours=1), until_at=TEN + timedelta(hours=2))
    endless = Quiet(code="tachycardia", from_at=TEN, until_at=TEN + timedelta(days=1))
    assert snoozing.held_until(one, [ahead, endless], TEN) is None
