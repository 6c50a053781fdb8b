"""The outbox: what commits together, what happens once, who holds a message, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from doors_stage import Stage, make_stage
from sending_stage import claim, one, pending_page, send
from sqlalchemy.exc import IntegrityError
from test_links import case, cry, home, rows_of

from dispatch import escalation
from dispatch.notifier import CallRequest, Found, NotificationError, Receipt
from service.store import incidents as store
from service.store import outbox
from service.store.tables import Notification, table
from service.workflows import cases, sending

_OUTBOX = table(Notification)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


def test_state_audit_line_and_messages_commit_together_or_not_at_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_id, [_, _] = home(stage, "+821055550001", "+821055550002")
    incident_id = cry(stage, patient_id)
    before, messages = case(stage, incident_id), len(rows_of(stage, patient_id))
    who, now = uuid4(), stage.clock()

    def broken(*_given: Any) -> None:
        raise RuntimeError("no audit line")

    monkeypatch.setattr(store, "add_log", broken)
    with pytest.raises(RuntimeError):
        cases.change(stage.house, patient_id, incident_id, lambda i: escalation.acknowledge(i, who, "dispatcher", now))
    monkeypatch.undo()
    assert case(stage, incident_id) == before
    assert len(rows_of(stage, patient_id)) == messages


def test_a_step_is_in_the_outbox_once(stage: Stage) -> None:
    patient_id, _ = home(stage, "+821055550001")
    cry(stage, patient_id)
    [row] = [r for r in rows_of(stage, patient_id) if r.channel == "voice"]
    again = dict(row._mapping) | {"id": uuid4(), "status": "pending"}
    with pytest.raises(IntegrityError), stage.house.database.write() as tx:
        outbox.add_notifications(tx, [again])


def test_no_two_live_workers_hold_one_message_and_a_dead_ones_lease_ends(stage: Stage) -> None:
    page = pending_page(stage)
    now = stage.clock()
    assert [row.id for row in claim(stage, "one", now)] == [page]
    for seconds in (0, 2, 4.9):
        assert claim(stage, "two", now + timedelta(seconds=seconds)) == []
    assert [row.id for row in claim(stage, "two", now + timedelta(seconds=5))] == [page]


def test_worker_that_lost_its_lease_while_asking_sends_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pending_page(stage)
    claim(stage, "dead", stage.clock())
    stage.clock.advance(6)

    def slow(*_asked: Any) -> Found:
        # While this worker asks, its lease runs out and another takes the message.
        stage.clock.advance(6)
        assert [row.id for row in claim(stage, "other", stage.clock())] == [page]
        return Found()

    monkeypatch.setattr(stage.carrier, "find_call", slow)
    send(stage, "slow")
    assert stage.carrier.calls == []


def test_message_whose_worker_died_is_looked_up_before_it_is_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pending_page(stage)
    claim(stage, "dead", stage.clock())
    stage.clock.advance(6)
    asked: list[str] = []

    def find(_to: str, _since: datetime, reference: str) -> Found:
        asked.append(reference)
        return Found(receipts=(Receipt(provider="twilio", id="CA_found"),))

    monkeypatch.setattr(stage.carrier, "find_call", find)
    send(stage)
    assert asked == [str(page)]
    assert stage.carrier.calls == []
    row = one(stage, page)
    assert (row.status, row.provider_id, row.unsure_since) == ("sent", "CA_found", None)


def test_first_try_is_never_looked_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pending_page(stage)

    def asked(*_asked: Any) -> None:
        pytest.fail("asked before anything was sent")

    monkeypatch.setattr(stage.carrier, "find_call", asked)
    send(stage)
    assert len(stage.carrier.calls) == 1


def test_what_the_carrier_surely_refused_is_not_looked_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pending_page(stage)
    place = stage.carrier.place_call

    def refuse(_request: CallRequest) -> Receipt:
        raise NotificationError("busy", permanent=False)

    monkeypatch.setattr(stage.carrier, "place_call", refuse)
    send(stage)
    assert (one(stage, page).status, one(stage, page).unsure_since) == ("pending", None)
    monkeypatch.setattr(stage.carrier, "place_call", place)

    def asked(*_asked: Any) -> None:
        pytest.fail("asked although the carrier had refused")

    monkeypatch.setattr(stage.carrier, "find_call", asked)
    stage.clock.advance(2)
    send(stage)
    assert len(stage.carrier.calls) == 1


def test_message_that_fails_for_now_is_given_back_and_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pending_page(stage)
    place, failed = stage.carrier.place_call, []

    def refuse_twice(request: CallRequest) -> Receipt:
        if len(failed) < 2:
            failed.append(request)
            raise NotificationError("broken line", permanent=False)
        return place(request)

    monkeypatch.setattr(stage.carrier, "place_call", refuse_twice)
    for _ in range(3):
        send(stage)
        stage.clock.advance(3)
    assert one(stage, page).status == "sent"
    assert {request.reference for request in [*failed, *stage.carrier.calls]} == {str(page)}


def test_clock_set_back_does_not_make_a_worker_take_its_own_message_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending_page(stage)
    place = stage.carrier.place_call

    def set_back_meanwhile(request: CallRequest) -> Receipt:
        if not stage.carrier.calls:
            stage.carrier.calls.append(request)
            stage.clock.advance(-3600)
            send(stage, "w")
            stage.carrier.calls.clear()
        return place(request)

    monkeypatch.setattr(stage.carrier, "place_call", set_back_meanwhile)
    send(stage, "w")
    assert len(stage.carrier.calls) == 1


def test_no_more_is_taken_than_there_are_free_senders(stage: Stage) -> None:
    pending_page(stage)
    hands = stage.house.extras.setdefault("hands", sending.Hands())
    hands.take([uuid4() for _ in range(sending.AT_ONCE)])
    send(stage)
    assert stage.carrier.calls == []
    assert hands.free()[0] == 0


def test_page_that_expired_before_any_try_is_tried_once(stage: Stage) -> None:
    page = pending_page(stage)
    stage.clock.advance(3600)
    send(stage)
    assert len(stage.carrier.calls) == 1
    assert one(stage, page).status == "sent"


def test_page_whose_one_more_chance_has_passed_expires(stage: Stage) -> None:
    page = pending_page(stage)
    with stage.house.database.write() as tx:
        later, hour = stage.clock() + timedelta(hours=2), timedelta(hours=1)
        assert outbox.revive_pages(tx, stage.clock() + hour, later, hour) == 1
    stage.clock.advance(3 * 3600)
    send(stage)
    assert one(stage, page).status == "expired"


def test_pages_go_before_what_may_wait(stage: Stage) -> None:
    page = pending_page(stage)
    patient_id = one(stage, page).patient_id
    [text] = [r for r in rows_of(stage, patient_id) if r.channel == "text"]
    with stage.house.database.write() as tx:
        outbox.update_notification(
            tx, text.id, status="pending", kind="inform", tries=0, due_at=stage.clock() - timedelta(minutes=1)
        )
        [first] = outbox.claim_notifications(tx, "w", stage.clock(), stage.clock() + timedelta(seconds=5), 1)
    assert first.id == page


def test_word_of_a_call_that_says_nothing_new_waits_for_no_writer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pending_page(stage)
    send(stage)

    def told(status: str) -> int:
        form = {"CallSid": str(one(stage, page).provider_id), "CallStatus": status, "To": "+821055550001"}
        return stage.callback(f"/v1/telephony/twilio/status/{page}", form).status_code

    def busy(*_given: Any, **_more: Any) -> None:
        raise AssertionError("nothing is to be written")

    assert told("ringing") < 300
    monkeypatch.setattr(stage.house.committer, "run", busy)
    assert (told("initiated"), told("ringing")) == (204, 204)
    monkeypatch.undo()
    assert told("no-answer") < 300
    assert one(stage, page).call_status == "no_answer"
