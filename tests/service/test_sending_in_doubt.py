"""Calls in doubt: whether the carrier took one that nobody told of, and what is done until that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from doors_stage import Stage, make_stage
from sending_stage import one, send
from sqlalchemy import select
from test_links import cry

from dispatch import escalation
from dispatch.notifier import Found, NotificationError, Receipt
from dispatch.twilio_notifier import ROOT
from service.store import outbox
from service.store.tables import Notification, table
from service.workflows import cases
from service.workflows.people import Care

_OUTBOX = table(Notification)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    made.house.extras["stopwatch"] = lambda: made.clock().timestamp()
    yield made
    made.house.database.dispose()


def desk_calls_of_a_dead_worker(stage: Stage, homes: int) -> list[Any]:
    """So many people without a family: the worker that had claimed the calls to the desk died before it told."""
    for _ in range(homes):
        stage.clock.advance(1)
        cry(stage, stage.patient(care=Care(voice_works=False)))
    with stage.house.database.write() as tx:
        rows = tx.conn.execute(select(_OUTBOX).where(_OUTBOX.c.channel == "voice").order_by(_OUTBOX.c.created_at)).all()
        for number, row in enumerate(rows):
            at = stage.clock() + timedelta(seconds=number)
            outbox.update_notification(
                tx, row.id, status="claimed", sent_at=None, provider_id=None, unsure_since=at, claimed_by="dead",
                lease_until=stage.clock(),
            )  # fmt: skip
    assert {row.target for row in rows} == {"desk"}
    assert len(rows) == homes
    stage.carrier.calls.clear()
    stage.clock.advance(10)
    return [row.id for row in rows]


def send_for_a_while(stage: Stage, seconds: int = 10) -> None:
    for _ in range(seconds):
        send(stage)
        stage.clock.advance(1)


def known(monkeypatch: pytest.MonkeyPatch, stage: Stage, *ids: str, sure: bool = False) -> None:
    receipts = tuple(Receipt(provider="twilio", id=one) for one in ids)
    monkeypatch.setattr(stage.carrier, "find_call", lambda *_asked: Found(receipts=receipts, sure=sure))


def test_calls_to_one_number_that_all_went_out_are_told_apart_by_their_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 3)
    known(monkeypatch, stage, "CA1", "CA2", "CA3")
    send(stage)
    assert [one(stage, call).provider_id for call in calls] == ["CA1", "CA2", "CA3"]
    assert stage.carrier.calls == []


def test_where_fewer_calls_went_out_than_are_in_doubt_each_is_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 2)
    known(monkeypatch, stage, "CA1")
    send_for_a_while(stage)
    assert {UUID(request.reference) for request in stage.carrier.calls} == set(calls)
    assert all(one(stage, call).unsure_since for call in calls), "one of the first tries rings all the same"


def fate(stage: Stage, call: Any, **values: Any) -> None:
    with stage.house.database.write() as tx:
        outbox.update_notification(tx, call, **values)


def test_a_call_of_an_hour_that_never_was_makes_nobody_doubt_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, call = desk_calls_of_a_dead_worker(stage, 2)
    ahead = stage.clock() + timedelta(hours=1)  # then our clock was set right
    fate(stage, earlier, status="sent", tries=2, sent_at=ahead, due_at=ahead, unsure_since=ahead, provider_id="CA0")
    known(monkeypatch, stage, "CA1")
    send(stage)
    assert one(stage, call).provider_id == "CA1"
    assert stage.carrier.calls == []


def test_a_call_that_was_made_twice_just_now_leaves_the_next_in_doubt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, call = desk_calls_of_a_dead_worker(stage, 2)
    fate(stage, earlier, status="sent", tries=2, sent_at=stage.clock(), provider_id="CA0")
    known(monkeypatch, stage, "CA1")
    send_for_a_while(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [call]


@pytest.mark.parametrize("status", ["cancelled", "expired", "failed"])
def test_the_call_of_a_page_that_was_given_up_is_not_taken_for_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    given_up, call = desk_calls_of_a_dead_worker(stage, 2)
    fate(stage, given_up, status=status, ended_at=stage.clock())
    known(monkeypatch, stage, "CA1")
    send_for_a_while(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [call]


def test_calls_that_may_be_ours_have_a_moment_to_say_so_before_they_are_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 2)
    for call in calls:
        fate(stage, call, unsure_since=stage.clock() - timedelta(seconds=5))
    known(monkeypatch, stage, "CA1")
    send(stage)
    assert stage.carrier.calls == []
    stage.clock.advance(1)
    stage.callback(f"{ROOT}/status/{calls[1]}", {"CallSid": "CA1", "CallStatus": "ringing"})
    send(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [calls[0]]
    assert (one(stage, calls[1]).status, one(stage, calls[1]).provider_id) == ("sent", "CA1")


def test_a_call_in_doubt_that_somebody_took_meanwhile_is_not_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, open_still = desk_calls_of_a_dead_worker(stage, 2)
    for call in (taken, open_still):
        fate(stage, call, unsure_since=stage.clock() - timedelta(seconds=5), tries=0)
    row = one(stage, taken)

    def find(_to: str, _since: datetime, reference: str) -> Found:
        if reference == str(taken):
            who, now = uuid4(), stage.clock()
            cases.change(
                stage.house,
                row.patient_id,
                row.incident_id,
                lambda incident: escalation.acknowledge(incident, who, "dispatcher", now),
            )
        return Found(receipts=(Receipt(provider="twilio", id="CA1"),))

    monkeypatch.setattr(stage.carrier, "find_call", find)
    for _ in range(10):
        send(stage)
        stage.clock.advance(1)
    assert {UUID(request.reference) for request in stage.carrier.calls} == {open_still}


def test_what_no_call_tells_within_that_moment_is_made_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 2)
    known(monkeypatch, stage, "CA1")
    send_for_a_while(stage, 8)
    assert stage.carrier.calls == []
    send(stage)
    assert {UUID(request.reference) for request in stage.carrier.calls} == set(calls)


def test_a_clock_that_was_set_meanwhile_neither_ends_that_moment_nor_prolongs_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 2)
    for call in calls:
        fate(stage, call, unsure_since=stage.clock() + timedelta(hours=1))
    known(monkeypatch, stage, "CA1")
    send_for_a_while(stage, 8)
    assert stage.carrier.calls == []
    send(stage)
    assert {UUID(request.reference) for request in stage.carrier.calls} == set(calls)


def test_no_call_waits_longer_however_often_its_worker_dies(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = desk_calls_of_a_dead_worker(stage, 2)
    known(monkeypatch, stage, "CA1")
    for _ in range(10):
        stage.house.extras.pop("doubted", None)
        send_for_a_while(stage, 3)
    assert {UUID(request.reference) for request in stage.carrier.calls} == set(calls)


def test_a_call_that_the_carrier_took_before_our_try_began_is_not_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    old = Receipt(provider="twilio", id="CA_old", age_s=25.0)
    monkeypatch.setattr(stage.carrier, "find_call", lambda *_asked: Found(receipts=(old,)))
    send(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [call]


def test_a_carrier_whose_times_cannot_be_is_believed_that_it_has_the_call(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    receipt = Receipt(provider="twilio", id="CA1", age_s=250_000.0)
    monkeypatch.setattr(stage.carrier, "find_call", lambda *_asked: Found(receipts=(receipt,)))
    send(stage)
    assert one(stage, call).provider_id == "CA1"
    assert stage.carrier.calls == []


def test_a_call_that_was_made_twice_before_our_try_began_leaves_us_in_no_doubt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, call = desk_calls_of_a_dead_worker(stage, 2)
    now = stage.clock()
    before = now - timedelta(seconds=40), now - timedelta(seconds=30)
    fate(stage, earlier, status="sent", tries=2, unsure_since=before[0], sent_at=before[1], provider_id="CA0")
    receipts = [Receipt(provider="twilio", id=name, age_s=age) for name, age in (("CA_lost", 39.0), ("CA1", 8.0))]
    monkeypatch.setattr(stage.carrier, "find_call", lambda *_asked: Found(receipts=tuple(receipts)))
    send(stage)
    assert one(stage, call).provider_id == "CA1"
    assert stage.carrier.calls == []


def test_a_call_that_was_given_back_in_doubt_and_then_rings_is_not_made_again(stage: Stage) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    fate(stage, call, status="pending", claimed_by=None, lease_until=None, due_at=stage.clock() + timedelta(seconds=2))
    stage.callback(f"{ROOT}/status/{call}", {"CallSid": "CA7", "CallStatus": "ringing"})
    stage.clock.advance(3)
    send(stage)
    assert stage.carrier.calls == []
    assert (one(stage, call).status, one(stage, call).provider_id) == ("sent", "CA7")


def test_a_call_of_which_the_carrier_has_told_is_not_looked_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    fate(stage, call, provider_id="CA7")

    def asked(*_asked: Any) -> None:
        pytest.fail("asked although the call itself had told")

    monkeypatch.setattr(stage.carrier, "find_call", asked)
    send(stage)
    assert stage.carrier.calls == []
    assert (one(stage, call).status, one(stage, call).provider_id) == ("sent", "CA7")


def test_a_carrier_that_does_not_answer_is_asked_again_before_a_call_is_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    answers: list[NotificationError | Found] = [NotificationError("no answer", permanent=False)] * 3
    answers.append(Found(receipts=(Receipt(provider="twilio", id="CA1"),)))
    monkeypatch.setattr(stage.carrier, "find_call", saying(answers))
    send_for_a_while(stage, 6)
    assert stage.carrier.calls == []
    assert one(stage, call).provider_id == "CA1"


@pytest.mark.parametrize(("elsewhere", "waits_s"), [(False, 4), (True, 0)])
def test_a_carrier_that_stays_silent_delays_a_call_by_a_moment_and_not_at_all_where_another_answers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, waits_s: int
) -> None:
    [call] = desk_calls_of_a_dead_worker(stage, 1)
    silence = NotificationError("no answer", permanent=False, elsewhere=elsewhere)
    monkeypatch.setattr(stage.carrier, "find_call", saying([silence] * 20))
    send_for_a_while(stage, waits_s)
    assert stage.carrier.calls == []
    send(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [call]


def saying(answers: list[NotificationError | Found]) -> Callable[..., Found]:
    def find(*_asked: Any) -> Found:
        answer = answers.pop(0)
        if isinstance(answer, NotificationError):
            raise answer
        return answer

    return find


def test_a_call_that_is_another_messages_stands_for_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = desk_calls_of_a_dead_worker(stage, 1)
    known(monkeypatch, stage, "CA1")
    send(stage)
    assert one(stage, first).provider_id == "CA1"
    cry(stage, stage.patient(care=Care(voice_works=False)))
    stage.carrier.calls.clear()
    with stage.house.database.write() as tx:
        second = tx.conn.execute(select(_OUTBOX).where(_OUTBOX.c.channel == "voice", _OUTBOX.c.id != first)).one()
        outbox.update_notification(
            tx, second.id, status="claimed", sent_at=None, provider_id=None, unsure_since=stage.clock(),
            claimed_by="dead", lease_until=stage.clock(),
        )  # fmt: skip
    stage.clock.advance(10)
    for sure in (False, True):
        known(monkeypatch, stage, "CA1", sure=sure)
        send(stage)
    assert [UUID(request.reference) for request in stage.carrier.calls] == [second.id]
