"""Taking a case: who is first, that paging stops then, and that what nobody moves comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from journey_marks import both_engines
from journey_people import Home
from journey_stage import Stage

from dispatch.notifier import CallRequest, NotificationError
from service.store import outbox
from service.workflows import ticking


@both_engines
def test_acknowledgement_just_before_the_timer_stops_all_paging(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    son.phone.rings_out()
    home.band.sos()
    stage.advance(25)
    assert daughter.phone.rang == 0
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "acknowledge").status_code == 200
    son.phone.keeps_quiet(texts=True)
    stage.advance(600)
    assert "contact_call_ended" not in stage.log(home)


def test_page_in_flight_that_fails_after_the_acknowledgement_is_not_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    place = stage.house.notifier.place_call

    def acknowledged_meanwhile(request: CallRequest) -> str:
        if request.to == daughter.phone.number and not stage.case(home).acknowledged:
            assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
            raise NotificationError("the line broke", permanent=False)
        return place(request)

    monkeypatch.setattr(stage.house.notifier, "place_call", acknowledged_meanwhile)
    daughter.phone.keeps_quiet(texts=True)
    home.band.sos()
    stage.advance(120)
    [page] = [m for m in stage.outbox(home) if (m.step, m.channel) == ("contact", "voice")]
    assert page.status == "cancelled"


def test_page_that_a_dead_worker_held_is_not_sent_after_the_acknowledgement(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.keeps_quiet(texts=True)
    response = home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    assert response.status_code == 200
    with stage.database.write() as tx:
        now = stage.clock()
        claimed = outbox.claim_notifications(tx, "dead", now, now + timedelta(seconds=5))
        assert [row.kind for row in claimed] == ["page", "page", "ask"]
    assert dispatcher.act(stage.incidents(home)[0].id, "acknowledge").status_code == 200
    stage.advance(60)
    assert {m.status for m in stage.outbox(home) if m.step == "contact"} == {"cancelled"}


def test_page_that_a_dead_worker_held_is_sent_when_its_lease_ends(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    with stage.database.write() as tx:
        now = stage.clock()
        lease = timedelta(seconds=stage.house.settings.send_lease_s)
        outbox.claim_notifications(tx, "dead", now, now + lease)
    stage.advance(stage.house.settings.send_lease_s - 1)
    assert daughter.phone.rang == 0
    stage.advance(2)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


@both_engines
def test_acknowledgement_and_tick_race_and_no_page_is_claimed_afterwards(stage: Stage) -> None:
    homes = [stage.home(stage.person(f"아들{i}"), stage.person(f"딸{i}"), name=f"어르신{i}") for i in range(8)]
    dispatcher = stage.staff("이서연", "dispatcher")
    for home in homes:
        for contact in home.contacts:
            contact.phone.is_busy()
    stage.desk.rings_out()
    for home in homes:
        home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    stage.clock.move_to(stage.clock() + timedelta(seconds=45))
    start = threading.Barrier(3)
    bad: list[str] = []

    def tick() -> None:
        start.wait()
        for _ in range(20):
            ticking.run_due(stage.house)
            claim_pages(stage)

    def acknowledge() -> None:
        start.wait()
        for home in homes:
            answer = dispatcher.act(stage.incidents(home)[0].id, "acknowledge")
            if answer.status_code != 200:
                bad.append(answer.text)
            # Committed: from here on nothing of this case may be claimed.
            with stage.database.read() as tx:
                rows = outbox.notifications_of(tx, [stage.incidents(home)[0].id])
            bad.extend(f"{m.kind} {m.status}" for m in rows if m.kind == "page" and m.status == "pending")

    threads = [threading.Thread(target=work) for work in (tick, tick, acknowledge)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not bad
    for home in homes:
        assert stage.case(home).acknowledged
    held = [m for home in homes for m in stage.outbox(home) if m.kind == "page" and m.status == "pending"]
    assert not held


def claim_pages(stage: Stage) -> list[object]:
    now = stage.clock()
    with stage.database.write() as tx:
        lease = now + timedelta(seconds=5)
        return list(outbox.claim_notifications(tx, "racer", now, lease))


@both_engines
def test_fifty_claim_one_case_and_exactly_one_wins(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.band.sos()
    [row] = stage.incidents(home)
    consoles = [stage.staff(f"관제사{i}", "dispatcher", login=f"dispatcher{i}") for i in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda console: console.act(row.id, "claim").status_code, consoles))
    assert sorted(answers) == [200] + [409] * 49
    winner = consoles[answers.index(200)]
    assert stage.case(home).owner_id == winner.person_id
    assert stage.log(home).count("claimed") == 1


def sos(stage: Stage) -> tuple[Home, Callable[[], object]]:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.rings_out()
    stage.desk.rings_out()
    home.band.sos()
    return home, lambda: stage.incidents(home)[0].id


def test_claim_that_went_stale_may_be_taken_by_another(stage: Stage) -> None:
    home, incident_id = sos(stage)
    first, second = stage.staff("이서연", "dispatcher"), stage.staff("박하나", "dispatcher", login="second")
    assert first.act(incident_id(), "claim").status_code == 200
    refused = second.act(incident_id(), "claim")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_allowed_now")
    stage.advance(181)
    assert second.act(incident_id(), "claim").status_code == 200
    assert stage.case(home).owner_id == second.person_id


def test_claim_alone_does_not_stop_paging(stage: Stage) -> None:
    home, incident_id = sos(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    assert dispatcher.act(incident_id(), "claim").status_code == 200
    rang = home.contacts[0].phone.rang
    stage.advance(120)
    assert home.contacts[0].phone.rang > rang


def test_acknowledged_without_progress_returns_to_the_queue(stage: Stage) -> None:
    home, incident_id = sos(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    assert dispatcher.act(incident_id(), "acknowledge").status_code == 200
    stage.finish_calls()
    rang = home.contacts[0].phone.rang
    stage.advance(850)
    assert home.contacts[0].phone.rang == rang
    stage.advance(60)
    assert "returned_to_queue" in stage.log(home)
    assert home.contacts[0].phone.rang > rang
    assert not stage.case(home).acknowledged


def test_two_contacts_press_three_and_the_second_hears_that_it_is_taken(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.waits_for_the_story()
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance(2)
    stage.network.pick_up(son.phone.number)
    stage.advance(3)
    son.phone.presses("4")
    stage.advance(3)
    daughter.phone.presses("3")
    stage.finish_calls()
    call = son.phone.rings_us("3")
    assert stage.case(home).owner_id == daughter.id
    said = " ".join(line["text"] for line in call.said)
    assert "이미" in said
    assert "김순자" not in said
    assert "행복빌라" not in said


def test_caregiver_who_took_it_and_cannot_go_gives_it_back(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_id == son.id
    daughter.phone.answers("3")
    son.phone.rings_us("4")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
