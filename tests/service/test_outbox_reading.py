"""What is asked for each call must not read the whole outbox: in a city it holds millions of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, insert

from dispatch.incident import Channel, NotificationKind, Target
from service.store import outbox, schema
from service.store.database import Database, Tx
from service.store.tables import Notification, table
from service.workflows.house import DESK, new_id

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPAN = timedelta(minutes=5)
LONG_AGO = NOW - timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


def call(tx: Tx, target_id: UUID, **values: Any) -> UUID:
    row = {
        "patient_id": uuid4(),
        "id": new_id(),
        "organisation_id": uuid4(),
        "incident_id": uuid4(),
        "step": "contact",
        "target": Target.CONTACT.value,
        "target_id": target_id,
        "channel": Channel.VOICE.value,
        "attempt": 1,
        "kind": NotificationKind.PAGE.value,
        "message": "",
        "sealed": b"",
        "created_at": LONG_AGO,
        "due_at": LONG_AGO,
        "expires_at": NOW,
        "status": outbox.SENT,
        "tries": 2,
        "unsure_since": LONG_AGO,
        "sent_at": LONG_AGO,
    }
    tx.conn.execute(insert(table(Notification)).values(row | values))
    return row["id"]


def test_in_doubt_are_calls_that_wait_were_made_again_or_given_up_lately_or_are_listed(database: Database) -> None:
    person = uuid4()
    with database.write() as tx:
        waiting = call(tx, person, status=outbox.PENDING, sent_at=None, tries=1)
        again = call(tx, person, sent_at=NOW)
        listed = call(tx, person, provider_id="CA1", unsure_since=LONG_AGO + SPAN)
        given_up = call(tx, person, status=outbox.EXPIRED, sent_at=None, ended_at=NOW, unsure_since=NOW)
        for others in (
            {"sent_at": NOW, "tries": 1},
            {"sent_at": NOW, "unsure_since": None},
            {"provider_id": "CA2"},
            {"provider_id": "CA1", "status": outbox.EXPIRED, "ended_at": LONG_AGO},
            {"status": outbox.EXPIRED, "ended_at": LONG_AGO},
            {"sent_at": NOW, "channel": Channel.TEXT.value},
        ):
            call(tx, person, **others)
        call(tx, uuid4(), provider_id="CA1", sent_at=NOW)
        row: Any = SimpleNamespace(target=Target.CONTACT.value, target_id=person)
        found = outbox.unsure_calls(tx, row, NOW, SPAN, ["CA1"])
    assert {one.id for one in found} == {waiting, again, listed, given_up}
    assert [one.id for one in found[-2:]] == [listed, given_up]
    assert {one.id: one.until for one in found} == {waiting: None, again: NOW, listed: LONG_AGO, given_up: NOW}


@pytest.mark.parametrize("target", [Target.CONTACT, Target.PATIENT, Target.DESK])
def test_which_calls_to_a_telephone_are_in_doubt_is_found_by_indexes_alone(database: Database, target: Target) -> None:
    row: Any = SimpleNamespace(target=target.value, target_id=DESK if target is Target.DESK else uuid4())
    assert reads_of(database, lambda tx: outbox.unsure_calls(tx, row, NOW, SPAN, ["CA1", "CA2"])) == [
        "target_id=? AND status=?)",
        "target_id=? AND status=? AND sent_at>? AND sent_at<?)",
        "target_id=? AND status=? AND ended_at>? AND ended_at<?)",
        "provider_id=?)",
    ]


def test_whether_a_message_is_to_be_sent_is_found_by_an_index_alone(database: Database) -> None:
    found = reads_of(database, lambda tx: outbox.waiting(tx, NOW))
    assert found
    assert all(read.startswith("status=?") for read in found)


def reads_of(database: Database, ask: Callable[[Tx], object]) -> list[str]:
    """By what each read of the outbox finds its rows."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as tx:
        ask(tx)
        event.remove(database.engine, "before_cursor_execute", note)
        return [
            str(step.detail).partition("(")[2]
            for statement, parameters in asked
            if "FROM notification" in statement
            for step in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            if "notification" in str(step.detail)
        ]
