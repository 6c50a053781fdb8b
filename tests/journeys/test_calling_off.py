"""Nobody picks up a telephone only to hear that it is taken: what still rings then is hung up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from journey_marks import both_engines
from journey_people import Home, Person, spoken
from journey_stage import Stage
from sqlalchemy import Row

from dispatch import messages
from dispatch.notifier import NotificationError, Receipt
from service.loopback.calls import Call
from service.store import outbox
from service.workflows import calling_off, faces, records


def sos(stage: Stage, *contacts: Person) -> tuple[Home, object]:
    home = stage.home(*contacts)
    home.phone.rings_out()
    stage.desk.rings_out()
    home.band.sos()
    return home, stage.incidents(home)[-1].id


def page(stage: Stage, home: Home, person: Person, which: int = 0) -> Row:  # type: ignore[type-arg]
    return [m for m in stage.outbox(home) if (m.target_id, m.channel, m.kind) == (person.id, "voice", "page")][which]


def lines(stage: Stage, home: Home, language: str = "en") -> list[str]:
    with stage.database.read() as tx:
        return [line.text for line in records.log_records(stage.house, tx, stage.incidents(home)[-1], language)]


def statuses(calls: list[Call]) -> list[str]:
    return [call.status for call in calls]


@both_engines
def test_call_that_rings_when_somebody_takes_it_is_hung_up_and_is_nobodys_silence(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    son.phone.rings_out()
    daughter.phone.rings_out()
    home, case_id = sos(stage, son, daughter)
    stage.advance(5)
    assert statuses(son.phone.calls) == ["ringing"]
    assert dispatcher.act(case_id, "acknowledge").status_code == 200
    stage.settle()
    assert statuses(son.phone.calls) == ["canceled"]
    row = page(stage, home, son)
    assert (row.status, row.outcome, row.answered_at) == ("ended", "called_off", None)
    stage.advance(60)
    log = stage.log(home)
    assert log.count("called_off") == 1 and "contact_call_ended" not in log
    assert "The call to 김도윤 was stopped: nobody else was needed" in lines(stage, home)
    assert "김도윤: 더 필요하지 않아 걸던 전화를 멈춤" in lines(stage, home, "ko")
    names = {son.id: son.name, daughter.id: daughter.name}
    told = {
        language: [one["result_text"] for one in faces.rung([row], names, home.id, language)]
        for language in ("ko", "en")
    }
    assert told == {"ko": ["더 필요하지 않아 전화를 멈춤"], "en": ["called off, no longer needed"]}
    assert daughter.phone.rang == 0


def test_line_is_free_again_for_a_second_persons_case(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    _, case_id = sos(stage, daughter)
    other = stage.home(daughter, name="박영호")
    other.phone.rings_out()
    stage.advance(5)
    assert dispatcher.act(case_id, "acknowledge").status_code == 200
    stage.settle()
    other.band.sos()
    stage.advance(5)
    assert statuses(daughter.phone.calls) == ["canceled", "ringing"]


def test_call_that_was_answered_goes_on_when_somebody_else_takes_it(stage: Stage) -> None:
    son = stage.person("김도윤")
    dispatcher = stage.staff("이서연", "dispatcher")
    son.phone.waits_for_the_story()
    home, case_id = sos(stage, son)
    stage.advance(3)
    stage.network.pick_up(son.phone.number)
    stage.advance(3)
    assert dispatcher.act(case_id, "acknowledge").status_code == 200
    stage.settle()
    assert statuses(son.phone.calls) == ["in-progress"]
    son.phone.presses("3")
    stage.finish_calls()
    assert "이미 이서연 님이 맡았습니다" in son.phone.heard
    assert page(stage, home, son).outcome == "pressed_3"


def test_closed_case_stops_every_call_that_rings_for_it(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    home, case_id = sos(stage, daughter)
    home.phone.waits_for_the_story()
    stage.advance(5)
    assert dispatcher.act(case_id, "close", reason="false_alarm_person").status_code == 200
    closed_at = stage.incidents(home)[-1].closed_at
    stage.finish_calls()
    assert {call.status for call in stage.network.calls() if "answered" not in call.times} <= {"canceled", "no-answer"}
    assert daughter.phone.calls[-1].status == "canceled"
    assert stage.incidents(home)[-1].closed_at == closed_at, "a hung-up call is not when the case ended"


def test_persons_own_telephone_rings_on_when_somebody_takes_the_case(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    home = stage.home(daughter)
    home.phone.waits_for_the_story()
    daughter.phone.keeps_quiet(texts=True)
    stage.desk.rings_out()
    home.band.measures()
    home.band.presses("fall")
    stage.advance(5)
    assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
    stage.advance(3)
    assert statuses(home.phone.calls) == ["ringing"]
    home.phone.presses("2")
    stage.finish_calls()
    assert stage.case(home).ask.wants_help


def test_desk_is_not_left_ringing(stage: Stage) -> None:
    home = stage.home()
    dispatcher = stage.staff("이서연", "dispatcher")
    home.phone.rings_out()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance(5)
    assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
    stage.settle()
    assert statuses(stage.desk.calls)[0] == "canceled"
    assert "desk_call_ended" not in stage.log(home)
    assert "The call to the control centre was stopped: nobody else was needed" in lines(stage, home)


def test_what_is_wanted_again_is_not_hung_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken and given back before the jobs came to it: the telephone rings on."""
    daughter = stage.person("김민지")
    daughter.phone.rings_out()
    home, _ = sos(stage, daughter)
    stage.advance(3)
    with stage.database.write() as tx:
        outbox.update_notification(tx, page(stage, home, daughter).id, status="calling_off", due_at=stage.clock())
    stage.advance(3)
    assert statuses(daughter.phone.calls) == ["ringing"]
    assert page(stage, home, daughter).status == "sent"


def test_worker_killed_between_the_carriers_word_and_ours_hangs_up_again(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    home, case_id = sos(stage, daughter)
    stage.advance(5)
    hang_up, asked = stage.house.notifier.hang_up, []

    class Killed(BaseException):
        pass

    def killed(call: Receipt) -> bool:
        asked.append(hang_up(call))
        raise Killed

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(stage.house.notifier, "hang_up", killed)
        assert dispatcher.act(case_id, "acknowledge").status_code == 200
        for future in calling_off.hang_up_due(stage.house, pool):
            assert isinstance(future.exception(), Killed)
        assert asked == [True]
        assert calling_off.hang_up_due(stage.house, pool) == [], "whoever died holds it for a moment"
        assert page(stage, home, daughter).status == "calling_off"
    stage.advance(30)
    row = page(stage, home, daughter)
    assert (row.status, row.outcome) == ("ended", "called_off")
    assert statuses(daughter.phone.calls)[0] == "canceled"


def test_carrier_that_fails_is_asked_again_for_as_long_as_it_may_ring(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    _, case_id = sos(stage, daughter)
    stage.advance(5)
    hang_up, tries = stage.house.notifier.hang_up, []

    def failing(call: Receipt) -> bool:
        tries.append(stage.clock())
        if len(tries) < 3:
            raise NotificationError("no", permanent=False, ambiguous=True)
        return hang_up(call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.house.notifier, "hang_up", failing)
        assert dispatcher.act(case_id, "acknowledge").status_code == 200
        stage.advance(10)
    assert [(at - tries[0]).total_seconds() for at in tries] == [0.0, 2.0, 4.0]
    assert statuses(daughter.phone.calls)[0] == "canceled"


def test_carrier_that_never_lets_us_is_asked_no_longer_than_it_may_ring(stage: Stage) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.rings_out("lost")
    home, case_id = sos(stage, daughter)
    stage.advance(5)
    tries = []

    def failing(call: Receipt) -> bool:
        tries.append(call)
        raise NotificationError("no", permanent=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.house.notifier, "hang_up", failing)
        assert dispatcher.act(case_id, "acknowledge").status_code == 200
        stage.advance(300)
    mine = [call for call in tries if call.id == page(stage, home, daughter).provider_id]
    assert 20 <= len(mine) <= 30
    assert page(stage, home, daughter).status == "sent"


def test_call_that_rings_now_is_hung_up_before_those_that_waited_too_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter, son = stage.person("김민지"), stage.person("김도윤")
    dispatcher = stage.staff("이서연", "dispatcher")
    for one in (daughter, son):
        one.phone.rings_out("lost")
    with monkeypatch.context() as patch:
        patch.setattr(calling_off, "hang_up_due", lambda *_jobs: [])
        first, first_case = sos(stage, daughter)
        stage.advance(5)
        assert dispatcher.act(first_case, "acknowledge").status_code == 200
        stage.advance(120)
    assert page(stage, first, daughter).status == "calling_off"
    monkeypatch.setattr(calling_off, "AT_ONCE", 1)
    hang_up, asked = stage.house.notifier.hang_up, []
    monkeypatch.setattr(stage.house.notifier, "hang_up", lambda call: asked.append(call.id) or hang_up(call))
    second, second_case = sos(stage, son)
    stage.advance(5)
    assert dispatcher.act(second_case, "acknowledge").status_code == 200
    stage.advance(10)
    assert asked[0] == page(stage, second, son).provider_id
    assert page(stage, first, daughter).provider_id not in asked
    assert page(stage, first, daughter).status == "sent"


def test_call_that_was_on_its_way_to_the_carrier_when_it_was_taken_is_hung_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter = stage.person("김민지")
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    home = stage.home(daughter)
    home.phone.rings_out()
    place = stage.house.notifier.place_call

    def taken_meanwhile(request: object) -> Receipt:
        if not stage.case(home).acknowledged and request.to == daughter.phone.number:  # type: ignore[attr-defined]
            assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
        return place(request)  # type: ignore[arg-type]

    monkeypatch.setattr(stage.house.notifier, "place_call", taken_meanwhile)
    home.band.sos()
    stage.advance(2)
    assert statuses(daughter.phone.calls) == ["canceled"]


def test_call_cancelled_by_others_while_it_is_needed_brings_the_next_contact(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.waits_for_the_story()
    daughter.phone.answers("3")
    home, _ = sos(stage, son, daughter)
    stage.advance(3)
    stage.house.notifier.hang_up(Receipt(provider="twilio", id=son.phone.calls[0].sid))
    stage.advance(1)
    assert stage.case(home).ladder.called == [son.id, daughter.id]
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


@pytest.mark.parametrize("callbacks", ["late", "twice", "reordered", "lost"])
def test_hanging_up_survives_callbacks_in_disorder(make_stage: Callable[..., Stage], callbacks: str) -> None:
    stage = make_stage()
    son = stage.person("김도윤")
    dispatcher = stage.staff("이서연", "dispatcher")
    son.phone.rings_out(callbacks)
    home, case_id = sos(stage, son)
    stage.advance(8)
    assert dispatcher.act(case_id, "acknowledge").status_code == 200
    stage.finish_calls()
    stage.advance(60)
    assert statuses(son.phone.calls) == ["canceled"]
    assert stage.log(home).count("called_off") == (0 if callbacks == "lost" else 1)
    assert "contact_call_ended" not in stage.log(home)
    assert spoken(son.phone.calls[0]) == ""
    assert messages.already_taken("ko").lines[0] not in spoken(son.phone.calls[0])
