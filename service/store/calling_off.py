"""Queries about calls that still ring and need nobody to pick them up: which they are, and who hangs them up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, bindparam, exists, or_, select, update

from dispatch.codes import Message
from dispatch.incident import SETTLING, Channel, NotificationKind, State, Target
from service.store.database import Tx
from service.store.outbox import CALLING_OFF, SENT
from service.store.tables import IncidentRow, Notification, table

_INCIDENT, _OUTBOX = table(IncidentRow), table(Notification)
_UNTRUE = timedelta(minutes=5)
"""A time further off than this was written before a clock was set back."""
_WHILE_OPEN = [Message.ASK.value, Message.ASK_BESIDE.value, Message.PATIENT_COMING.value, Message.NEWS.value]
"""Calls that matter until their case is closed: what the person presses counts, and what tells something is true."""
_RINGS_FOR_NOBODY = exists().where(
    _INCIDENT.c.patient_id == _OUTBOX.c.patient_id,
    _INCIDENT.c.id == _OUTBOX.c.incident_id,
    or_(
        and_(
            _OUTBOX.c.target != Target.PATIENT.value,
            _OUTBOX.c.kind.in_([NotificationKind.PAGE.value, NotificationKind.TECHNICAL.value]),
            or_(_INCIDENT.c.acknowledged, _INCIDENT.c.state.in_([*SETTLING, State.CLOSED])),
        ),
        and_(_OUTBOX.c.message.in_(_WHILE_OPEN), _INCIDENT.c.state == State.CLOSED),
    ),
).correlate(_OUTBOX)
_CALLED_OFF = (
    update(_OUTBOX)
    .where(
        _OUTBOX.c.status == SENT,
        _OUTBOX.c.channel == Channel.VOICE.value,
        _OUTBOX.c.answered_at.is_(None),
        _RINGS_FOR_NOBODY,
    )
    .values(status=CALLING_OFF, due_at=bindparam("now"))
)
_OF_CASE = _CALLED_OFF.where(_OUTBOX.c.incident_id == bindparam("of"))
_OF_CALL = _CALLED_OFF.where(_OUTBOX.c.id == bindparam("of"))
_RUNG_OUT = (
    update(_OUTBOX)
    .where(_OUTBOX.c.status == CALLING_OFF, _OUTBOX.c.sent_at < bindparam("before"))
    .values(status=SENT)
)


def call_off(tx: Tx, now: datetime, *, incident_id: UUID | None = None, notification_id: UUID | None = None) -> None:
    """Calls of a case, or one call, that may still ring and need nobody to pick up: have them hung up."""
    tx.conn.execute(_OF_CASE if incident_id else _OF_CALL, {"of": incident_id or notification_id, "now": now})


def in_vain(tx: Tx, notification_id: UUID) -> bool:
    """Whether nobody needs to pick this call up."""
    found = select(_OUTBOX.c.id).where(_OUTBOX.c.id == notification_id, _RINGS_FOR_NOBODY)
    return tx.conn.execute(found).first() is not None


def any_waiting(tx: Tx, now: datetime) -> bool:
    return tx.conn.execute(select(_OUTBOX.c.id).where(_waiting(now)).limit(1)).first() is not None


def claim(tx: Tx, now: datetime, again: datetime, rung_out: datetime, most: int) -> list[Row[Any]]:
    """Calls to hang up now, the latest first; whoever dies over it leaves them to the next who looks at ``again``.

    What was answered, or is wanted after all, goes on; what was sent before ``rung_out`` has long stopped ringing.
    """
    tx.conn.execute(_RUNG_OUT, {"before": rung_out})
    chosen = (
        select(_OUTBOX.c.id)
        .where(_waiting(now))
        .order_by(_OUTBOX.c.sent_at.desc())
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = tx.conn.execute(
        update(_OUTBOX).where(_OUTBOX.c.id.in_(chosen)).values(due_at=again).returning(_OUTBOX)
    ).all()
    ids = [row.id for row in rows]
    ringing = select(_OUTBOX.c.id).where(_OUTBOX.c.id.in_(ids), _OUTBOX.c.answered_at.is_(None), _RINGS_FOR_NOBODY)
    vain = set(tx.conn.execute(ringing).scalars())
    for row in rows:
        if row.id not in vain:
            done(tx, row.id)
    return [row for row in rows if row.id in vain]


def done(tx: Tx, notification_id: UUID, again: datetime | None = None) -> None:
    """Done with, for good or until ``again``; an end that the carrier told meanwhile stands."""
    values = {"status": SENT} if again is None else {"due_at": again}
    tx.conn.execute(
        update(_OUTBOX).where(_OUTBOX.c.id == notification_id, _OUTBOX.c.status == CALLING_OFF).values(**values)
    )


def _waiting(now: datetime) -> Any:
    return and_(_OUTBOX.c.status == CALLING_OFF, or_(_OUTBOX.c.due_at <= now, _OUTBOX.c.due_at > now + _UNTRUE))
