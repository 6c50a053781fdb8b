"""When nobody answers: round after round, the staffed desk, and machines that pick up."""

from __future__ import annotations

import itertools

import pytest
from journey_marks import both_engines
from journey_people import Home, Person, spoken
from journey_stage import Stage

from dispatch import messages
from service.loopback.calls import Call
from service.loopback.life import CallLife


def gaps_s(calls: list[Call]) -> list[float]:
    """Seconds between the beginnings of calls."""
    at = [call.times["created"] for call in calls]
    return [(b - a).total_seconds() for a, b in itertools.pairwise(at)]


def nobody(stage: Stage) -> tuple[Home, Person, Person]:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    for phone in (home.phone, son.phone, daughter.phone):
        phone.rings_out()
    return home, son, daughter


@both_engines
def test_ladder_goes_round_three_times_then_the_desk_owns_it_and_contacts_ring_every_ten_minutes(stage: Stage) -> None:
    home, son, daughter = nobody(stage)
    home.band.measures()
    # Silence is of medium priority: the desk's turn comes after the third round.
    stage.advance(3600 + 60)
    assert "device_silent" in stage.conditions(home)
    stage.advance_until(lambda: "contact_rung" in stage.log(home), within_s=180)
    assert home.phone.rang == 2
    stage.desk.rings_out()
    stage.advance_until(lambda: "desk_rung" in stage.log(home))
    assert (son.phone.rang, daughter.phone.rang) == (3, 3)
    assert all(gap >= 45 for gap in gaps_s(son.phone.calls))

    stage.advance(3 * 655)
    assert son.phone.rang == daughter.phone.rang == 6
    assert all(600 <= gap < 660 for gap in gaps_s(son.phone.calls)[-3:])
    assert all(gap <= 121 for gap in gaps_s(stage.desk.calls)), "the desk is rung every two minutes meanwhile"
    # One text a contact is enough: it says that a call follows.
    assert len(son.phone.texts) == 1

    stage.desk.answers("3")
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=180)
    son.phone.keeps_quiet(texts=True)
    daughter.phone.keeps_quiet(texts=True)
    stage.finish_calls()
    stage.advance(120)
    assert stage.case(home).owner_role == "desk"


def test_desk_is_rung_after_the_first_round_when_priority_is_high(stage: Stage) -> None:
    home, _, daughter = nobody(stage)
    stage.desk.answers("3")
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=180)
    stage.finish_calls()
    assert (daughter.phone.rang, stage.desk.rang) == (1, 1)
    assert stage.case(home).owner_role == "desk"


def test_what_the_desk_took_and_nobody_moved_returns_to_the_queue(stage: Stage) -> None:
    home, son, _ = nobody(stage)
    stage.desk.behaves({"behaviour": "answer", "digits": ["3"]}, {"behaviour": "no_answer"})
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=180)
    stage.finish_calls()
    rang = son.phone.rang
    stage.advance(900)
    assert "returned_to_queue" in stage.log(home)
    assert son.phone.rang > rang


def test_no_answer_of_the_person_who_declined_is_rung_over_again_in_later_rounds(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.answers("4")
    daughter.phone.behaves({"behaviour": "no_answer"}, {"behaviour": "answer", "digits": ["3"]})
    stage.desk.rings_out()
    home.band.sos()
    stage.finish_calls()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=300)
    stage.finish_calls()
    assert (son.phone.rang, daughter.phone.rang) == (1, 2)
    assert stage.case(home).owner_id == daughter.id


@pytest.mark.parametrize("detected", [True, False], ids=["machine detected", "machine not detected"])
def test_voicemail_is_no_answer_and_hears_nothing_private(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, detected: bool
) -> None:
    if not detected:
        monkeypatch.setattr(CallLife, "_meet", lambda _life: iter(()))
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.goes_to_voicemail()
    daughter.phone.answers("3")
    stage.desk.rings_out()
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    heard = spoken(son.phone.calls[0])
    neutral = messages.voicemail_neutral("ko") if detected else messages.contact_menu("ko")
    assert neutral.lines[0] in heard
    assert (son.phone.calls[0].status, son.phone.calls[0].pressed) == ("completed", [])
    assert "contact_call_ended" in stage.log(home) or "contact_no_key" in stage.log(home)


def test_voicemail_of_the_person_asked_means_unanswered(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.goes_to_voicemail()
    daughter.phone.answers("3")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=180)
    stage.finish_calls()
    assert stage.case(home).ask.answer == "unanswered"
    assert messages.voicemail_neutral("ko").lines[0] in home.phone.heard


def test_delivered_text_and_completed_call_are_no_acknowledgement(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("", "")
    stage.desk.rings_out()
    home.band.sos()
    stage.finish_calls()
    assert {call.status for call in daughter.phone.calls} == {"completed"}
    assert {text.status for text in daughter.phone.texts} == {"delivered"}
    stage.advance(60)
    assert not stage.case(home).acknowledged
    assert daughter.phone.rang >= 2
