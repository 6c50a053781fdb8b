"""Calls that come back, numbers that are wrong, callbacks in disorder, a carrier that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from journey_marks import both_engines
from journey_people import Home, spoken
from journey_stage import Stage

from dispatch import messages
from dispatch.notifier import CallRequest, NotificationError
from service.workflows import people


def said_when(open_: bool) -> str:
    return (messages.contact_menu("ko") if open_ else messages.nothing_open("ko")).lines[0]


def test_contact_who_missed_the_call_rings_back_and_takes_it(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.rings_out()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance(40)
    call = daughter.phone.rings_us("3")
    assert said_when(True) in spoken(call)
    assert "행복빌라" in spoken(call)
    case = stage.case(home)
    assert (case.acknowledged, case.owner_id) == (True, daughter.id)
    assert "returned_call" in stage.log(home)


def test_patient_rings_back_and_reaches_the_question(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.rings_out()
    home.band.measures()
    home.band.presses("fall")
    stage.advance(10)
    call = home.phone.rings_us("1")
    assert messages.ask_prompt("ko").lines[1] in spoken(call)
    assert stage.case(home).state == "cancelled_by_patient"
    assert daughter.phone.rang == 0


def test_unknown_number_and_contact_without_a_case_hear_that_nothing_is_open(stage: Stage) -> None:
    son, daughter, stranger = stage.person("김도윤"), stage.person("김민지"), stage.person("나그네")
    home = stage.home(daughter)
    stage.home(son, name="박영호")
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    for phone in (stranger.phone, stage.phone("+821099998888", "nobody"), son.phone):
        call = phone.rings_us("3")
        assert spoken(call) == " ".join(messages.nothing_open("ko").lines)
    assert stage.case(home).owner_id == daughter.id


@both_engines
def test_wrong_number_is_retired_and_never_rung_again(stage: Stage) -> None:
    wrong, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(wrong, daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    wrong.phone.answers("9")
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    assert messages.wrong_number("ko").lines[1] in wrong.phone.heard
    assert stage.case(home).owner_id == daughter.id
    assert "wrong_number" in stage.log(home)

    # Not even told that somebody has it; and nothing of the case when they ring us.
    wrong.phone.keeps_quiet()
    call = wrong.phone.rings_us("3")
    assert spoken(call) == " ".join(messages.nothing_open("ko").lines)

    assert dispatcher.act(stage.incidents(home)[0].id, "close", reason="test").status_code == 200
    stage.advance(60)
    home.band.sos()
    stage.finish_calls()
    assert len(stage.incidents(home)) == 2
    assert stage.case(home).owner_id == daughter.id


def test_wrong_number_reported_twice_retires_only_the_number_that_was_rung(stage: Stage) -> None:
    son = stage.person("김도윤", further_numbers=["+821077770000"])
    daughter = stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.answers("9", callbacks="twice")
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    with stage.database.read() as tx:
        assert people.number_of(stage.house, tx, son.id) == ("+821077770000", "ko")


@pytest.mark.parametrize("callbacks", ["normal", "late", "twice", "reordered", "lost"])
def test_outcome_is_the_same_whatever_becomes_of_the_callbacks(stage: Stage, callbacks: str) -> None:
    busy, silent, daughter = stage.person("김도윤"), stage.person("김하늘"), stage.person("김민지")
    home = stage.home(busy, silent, daughter)
    busy.phone.is_busy(callbacks)
    silent.phone.goes_to_voicemail(callbacks)
    daughter.phone.answers("3", callbacks=callbacks)
    plan = {"behaviour": "answer", "callbacks": callbacks, "delay_s": 3.0}
    home.phone.behaves(plan | {"digits": ["2"]}, plan | {"digits": ["1"]})
    stage.desk.rings_out()
    home.band.measures()
    home.band.presses("fall")
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=300)
    stage.finish_calls()
    stage.advance(60)
    case = stage.case(home)
    assert (case.state, case.owner_id, case.ask.answer) == ("confirmed", daughter.id, "help")
    assert [phone.rang for phone in (home.phone, busy.phone, silent.phone, daughter.phone)] == [1, 1, 1, 1]
    log = stage.log(home)
    assert (log.count("acknowledged"), log.count("answered_help"), log.count("contact_rung")) == (1, 1, 3)
    if callbacks != "lost":
        outcomes = {m.target_id: m.outcome for m in stage.outbox(home) if m.step == "contact" and m.channel == "voice"}
        assert outcomes == {busy.id: "busy", silent.id: "voicemail", daughter.id: "pressed_3"}


@pytest.mark.parametrize("mode", ["500", "429"])
def test_carrier_that_fails_twice_is_asked_again(stage: Stage, mode: str) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    stage.network.configure({"fail_mode": mode, "fail_next": 4})
    home.band.sos()
    assert daughter.phone.rang == 0
    stage.advance(4)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert daughter.phone.rang == 1


def test_carrier_that_does_not_answer_is_asked_again(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(ANSIM_SEND_TIMEOUT_S="0.6")
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    stage.network.configure({"fail_mode": "timeout", "fail_next": 2})
    began = time.monotonic()
    home.band.sos()
    assert time.monotonic() - began < 10
    stage.advance(2)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_carrier_that_acted_without_answering_rings_twice_rather_than_never(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(ANSIM_SEND_TIMEOUT_S="0.6")
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.rings_out()
    daughter.phone.answers("3")
    stage.network.configure({"fail_mode": "timeout_acted", "fail_next": 2})
    home.band.sos()
    stage.advance(30)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert 1 <= daughter.phone.rang <= 2
    assert stage.log(home).count("acknowledged") == 1


def test_contact_whom_the_carrier_refuses_is_passed_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.keeps_quiet(texts=True)
    daughter.phone.answers("3")
    refuse(stage, monkeypatch, son.phone.number, permanent=True)
    began = stage.clock()
    home.band.sos()
    assert daughter.phone.rang == 1
    assert stage.clock() == began
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def refuse(stage: Stage, monkeypatch: pytest.MonkeyPatch, number: str, *, permanent: bool) -> None:
    place = stage.house.notifier.place_call

    def refusing(request: CallRequest) -> str:
        if request.to == number:
            raise NotificationError("not this number", permanent=permanent)
        return place(request)

    monkeypatch.setattr(stage.house.notifier, "place_call", refusing)


def test_one_targets_failure_does_not_delay_anothers_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    homes: list[Home] = []
    for name in ("김순자", "박영호"):
        homes.append(stage.home(stage.person(f"{name}의 딸"), name=name))
    unlucky, lucky = (home.contacts[0].phone for home in homes)
    unlucky.keeps_quiet(texts=True)
    lucky.answers("3")
    stage.desk.rings_out()
    refuse(stage, monkeypatch, unlucky.number, permanent=False)
    began = stage.clock()
    for home in homes:
        home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    stage.settle()
    assert [call.times["created"] for call in lucky.calls] == [began]
    stage.finish_calls()
    assert stage.case(homes[1]).acknowledged
    # Nobody could be reached for the other one: the desk is.
    stage.advance(60)
    assert stage.desk.rang >= 1


def test_callback_with_a_forged_signature_changes_nothing(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance(2)
    [page] = [m for m in stage.outbox(home) if (m.step, m.channel) == ("contact", "voice")]
    forged = stage.machine().session.post(
        f"{stage.url}/v1/telephony/twilio/digits/{page.id}?turn=1",
        data={"CallSid": page.provider_id, "Digits": "3"},
        headers={"X-Twilio-Signature": "bm90IGEgc2lnbmF0dXJl"},
        timeout=10,
    )
    assert forged.status_code == 403
    assert not stage.case(home).acknowledged


def test_english_speaker_is_spoken_to_in_english(stage: Stage) -> None:
    emma = stage.person("Emma Kim", language="en")
    home = stage.home(emma)
    emma.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    assert messages.contact_menu("en").lines[0] in emma.phone.heard
    assert {line["language"] for line in emma.phone.calls[0].said} == {"en-US"}
