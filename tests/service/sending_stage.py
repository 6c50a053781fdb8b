"""Messages in the outbox: sent, claimed and looked at as a worker would."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from doors_stage import Stage
from sqlalchemy import select
from test_links import cry, home, rows_of

from service.store import outbox
from service.store.tables import Notification, table
from service.workflows import sending

_OUTBOX = table(Notification)


def send(stage: Stage, worker: str = "w") -> None:
    with ThreadPoolExecutor(2) as pool:
        for future in wait(sending.send_pending(stage.house, worker, pool)).done:
            future.result()


def pending_page(stage: Stage) -> Any:
    patient_id, _ = home(stage, "+821055550001")
    now = stage.clock()
    incident_id = cry(stage, patient_id)
    [row] = [r for r in rows_of(stage, patient_id) if r.channel == "voice"]
    with stage.house.database.write() as tx:
        outbox.update_notification(
            tx, row.id, status="pending", tries=0, due_at=now, sent_at=None, provider_id=None, unsure_since=None,
            claimed_by=None, lease_until=None,
        )  # fmt: skip
    stage.carrier.calls.clear()
    assert incident_id
    return row.id


def claim(stage: Stage, worker: str, now: datetime) -> list[Any]:
    with stage.house.database.write() as tx:
        return list(outbox.claim_notifications(tx, worker, now, now + timedelta(seconds=5)))


def one(stage: Stage, notification_id: Any) -> Any:
    with stage.house.database.read() as tx:
        return tx.conn.execute(select(_OUTBOX).where(_OUTBOX.c.id == notification_id)).one()
