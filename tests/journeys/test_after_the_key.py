"""What follows a key: when somebody comes, who comes, and one more key that brings two people together."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from journey_people import Home, Person, spoken
from journey_stage import DESK_NUMBER, TOKEN, Stage
from twilio.request_validator import RequestValidator

from dispatch import messages, messages_doors
from service.loopback.calls import Call
from service.store import people as people_store

ADDRESS = "행복빌라"


def sos(stage: Stage, *contacts: Person) -> Home:
    home = stage.home(*contacts)
    stage.desk.rings_out()
    home.band.sos()
    return home


def legs(stage: Stage, number: str) -> list[Call]:
    """Calls that a bridge placed to a number."""
    return [c for c in stage.network.calls() if c.to == number and c.parent]


def test_whoever_takes_it_says_when_they_will_be_there_and_the_others_hear_it(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.rings_out()
    daughter.phone.answers("3", "2")
    home = sos(stage, son, daughter)
    home.phone.answers("1")
    stage.advance_until(lambda: stage.case(home).going is not None, within_s=120)
    stage.finish_calls()
    case = stage.case(home)
    assert (case.owner_id, case.going.person_id) == (daughter.id, daughter.id)
    assert case.deadline_at == case.going.eta_at + timedelta(seconds=case.policy.eta_grace_s)
    assert ADDRESS in daughter.phone.heard
    assert messages_doors.word("eta_noted", "ko", minutes=20) in daughter.phone.heard
    stage.advance(30)
    assert any("가고 있습니다" in text.body for text in son.phone.texts)


@pytest.mark.parametrize(("after", "minutes"), [((), None), (("3",), 30), (("1",), 10)])
def test_the_three_pressed_twice_out_of_doubt_is_no_promise_to_be_there_in_thirty_minutes(
    stage: Stage, after: tuple[str, ...], minutes: int | None
) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "3", *after)
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    stage.advance(60)
    going = stage.case(home).going
    assert stage.case(home).owner_id == daughter.id
    assert messages_doors.word("eta_thirty", "ko") in daughter.phone.heard
    assert (messages_doors.word("eta_noted", "ko", minutes=30) in daughter.phone.heard) == (minutes == 30)
    assert (going and stage.log(home).count("going")) == (minutes and 1)
    if minutes:
        assert f"{minutes}분 뒤 도착" in daughter.phone.heard


def test_no_digit_after_the_three_keeps_the_case_in_their_hands(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3")
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    stage.advance(60)
    case = stage.case(home)
    assert (case.owner_id, case.going, case.state) == (daughter.id, None, "confirmed")
    [page] = [m for m in stage.outbox(home) if (m.step, m.channel) == ("contact", "voice")]
    assert page.outcome == "pressed_3"


@pytest.mark.parametrize("callbacks", ["late", "twice", "reordered"])
def test_time_of_arrival_is_said_once_whatever_becomes_of_the_callbacks(stage: Stage, callbacks: str) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.rings_out()
    daughter.phone.answers("3", "1", callbacks=callbacks)
    home = sos(stage, son, daughter)
    home.phone.answers("1")
    stage.advance_until(lambda: stage.case(home).going is not None, within_s=200)
    stage.finish_calls()
    stage.advance(60)
    assert (stage.log(home).count("acknowledged"), stage.log(home).count("going")) == (1, 1)
    assert stage.case(home).owner_id == daughter.id


def test_who_has_it_rings_back_to_say_arrived_and_all_is_well(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "1")
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    stage.advance(300)
    call = daughter.phone.rings_us("5")
    assert messages_doors.word("arrived", "ko") in spoken(call)
    assert stage.case(home).state == "at_patient"
    call = daughter.phone.rings_us("6")
    assert messages_doors.word("safe", "ko") in spoken(call)
    case = stage.case(home)
    assert (case.state, case.close_reason) == ("closed", "patient_fine")


def test_who_has_it_rings_back_and_gives_it_back(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.answers("3", "2")
    home = sos(stage, son, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    daughter.phone.answers("3", "1")
    call = son.phone.rings_us("4")
    assert messages_doors.word("gave_back", "ko") in spoken(call)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_the_person_hears_who_comes_and_when_only_after_a_key(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "2")
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    stage.advance(30)
    stage.finish_calls()
    [call] = home.phone.told_who_comes
    assert "김민지 님이 가고 있습니다" in spoken(call)
    assert "김민지" not in call.said[0]["text"] + call.said[1]["text"]
    assert "20분" in spoken(call)


def test_one_key_connects_the_person_with_the_desk(stage: Stage) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "2")
    home = sos(stage, daughter)
    home.phone.answers("1", "0")
    stage.desk.answers()
    stage.finish_calls()
    stage.advance(30)
    stage.finish_calls()
    assert [c.to for c in legs(stage, DESK_NUMBER)] == [DESK_NUMBER]
    assert "bridged" in stage.log(home)


def test_asking_for_help_offers_the_desk_at_once(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.rings_out()
    stage.desk.answers()
    home.phone.answers("2", "0")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    assert stage.case(home).ask.answer == "help"
    assert [c.to for c in legs(stage, DESK_NUMBER)] == [DESK_NUMBER]


def test_a_duress_key_offers_and_says_nothing_of_help(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter, duress_digit="7")
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    home.phone.answers("7", "0")
    home.band.measures()
    home.band.presses("fall")
    stage.finish_calls()
    stage.advance(60)
    assert stage.case(home).acknowledged
    said = " ".join(spoken(c) for c in home.phone.calls)
    assert "0번" not in said
    assert "김민지" not in said
    call = home.phone.rings_us("1")
    assert "김민지" not in spoken(call)


def test_the_desk_takes_it_and_is_connected_with_the_person(stage: Stage) -> None:
    home = stage.home()
    stage.desk.answers("3", "5")
    home.phone.answers()
    home.band.sos()
    stage.finish_calls()
    assert [c.to for c in legs(stage, home.phone.number)] == [home.phone.number]
    assert "bridged" in stage.log(home)
    assert stage.case(home).owner_role == "desk"


def test_a_dispatcher_is_connected_by_a_button_and_one_key(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.band.sos()
    dispatcher = stage.staff("이서연", "dispatcher")
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "acknowledge").status_code == 200
    stage.finish_calls()
    stage.desk.answers("5")
    home.phone.answers()
    asked = dispatcher.session.post(f"{stage.url}/v1/incidents/{row.id}/connect", timeout=10)
    assert asked.status_code == 204
    again = dispatcher.session.post(f"{stage.url}/v1/incidents/{row.id}/connect", timeout=10)
    assert again.status_code == 204
    stage.finish_calls()
    assert len(legs(stage, home.phone.number)) == 1
    assert len([m for m in stage.outbox(home) if m.step == "connect"]) == 1
    assert stage.log(home).count("bridged") == 1


def test_a_connect_call_that_nobody_answers_rings_nobody_else(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.band.sos()
    dispatcher = stage.staff("이서연", "dispatcher")
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "acknowledge").status_code == 200
    stage.finish_calls()
    before = stage.desk.rang
    dispatcher.session.post(f"{stage.url}/v1/incidents/{row.id}/connect", timeout=10)
    stage.settle()
    stage.finish_calls()
    stage.advance(120)
    assert stage.desk.rang == before + 1
    assert not legs(stage, home.phone.number)


@pytest.mark.parametrize("digit", ["3", "4"])
def test_any_key_in_our_call_proves_the_number_anew(stage: Stage, digit: str) -> None:
    daughter = stage.person("김민지", verified=False)
    daughter.phone.answers(digit)
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    with stage.database.read() as tx:
        [known] = people_store.phones_of(tx, [daughter.id])
    assert known.verified_at is not None


def test_voicemail_and_a_silent_pick_up_prove_nothing(stage: Stage) -> None:
    son, daughter = stage.person("김도윤", verified=False), stage.person("김민지", verified=False)
    son.phone.goes_to_voicemail()
    daughter.phone.answers()
    home = sos(stage, son, daughter)
    stage.advance(200)
    assert not stage.case(home).acknowledged
    assert spoken(son.phone.calls[0]) == " ".join(messages.voicemail_neutral("ko").lines)
    with stage.database.read() as tx:
        assert {one.verified_at for one in people_store.phones_of(tx, [son.id, daughter.id])} == {None}


def test_a_key_told_again_after_the_case_went_back_takes_nothing(stage: Stage) -> None:
    """A carrier may repeat a callback much later: what came of the key meanwhile is not undone."""
    daughter = stage.person("김민지")
    daughter.phone.answers("3")
    home = sos(stage, daughter)
    home.phone.answers("1")
    stage.finish_calls()
    [page] = [m for m in stage.outbox(home) if (m.step, m.channel) == ("contact", "voice")]
    daughter.phone.rings_out()
    daughter.phone.rings_us("4")
    assert not stage.case(home).acknowledged
    form = {"CallSid": page.provider_id, "Digits": "3", "From": stage.our_number, "To": daughter.phone.number}
    url = f"{stage.url}/v1/telephony/twilio/digits/{page.id}?turn=1"
    signed = RequestValidator(TOKEN).compute_signature(url, form)
    said = requests.post(url, data=form, headers={"X-Twilio-Signature": signed}, timeout=10)
    assert said.status_code == 200
    assert not stage.case(home).acknowledged
