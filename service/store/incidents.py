"""Queries about alarm conditions, incidents, their log, the outbox and the consoles' events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Row, and_, bindparam, case, func, insert, literal, or_, select, type_coerce, update

from dispatch.incident import SETTLING, Channel, NotificationKind, State, Target
from service.store.database import Tx
from service.store.tables import AlarmConditionRow, Counter, Event, IncidentLog, IncidentRow, Notification, table

_CONDITION, _INCIDENT = table(AlarmConditionRow), table(IncidentRow)
_LOG, _OUTBOX, _EVENT = table(IncidentLog), table(Notification), table(Event)
_COUNTER = table(Counter)

PAGING = (NotificationKind.PAGE.value, NotificationKind.ASK.value, NotificationKind.TECHNICAL.value)
"""Kinds that an acknowledgement stops."""
_OWE_PROOF = (
    update(_INCIDENT)
    .where(
        _INCIDENT.c.id == select(_OUTBOX.c.incident_id).where(_OUTBOX.c.id == bindparam("of")).scalar_subquery(),
        _INCIDENT.c.closed_at.is_not(None),
    )
    .values(proof_due_at=_INCIDENT.c.closed_at)
)
PENDING, CLAIMED, SENT, ENDED = "pending", "claimed", "sent", "ended"
CANCELLED, EXPIRED, FAILED = "cancelled", "expired", "failed"
CALLING_OFF = "calling_off"
"""A call that was sent, may still ring and needs nobody to pick it up: it is to be hung up."""


def add_condition(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_CONDITION), values)


def open_conditions(tx: Tx, patient_ids: list[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.patient_id.in_(patient_ids), _CONDITION.c.ended_at.is_(None))
        .order_by(_CONDITION.c.detected_at)
    ).all()


def conditions_of(tx: Tx, patient_id: UUID, most: int = 200) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_CONDITION)
        .where(_CONDITION.c.patient_id == patient_id)
        .order_by(_CONDITION.c.detected_at.desc())
        .limit(most)
    ).all()


def end_conditions(tx: Tx, patient_id: UUID, codes: list[str], now: datetime) -> int:
    done = tx.conn.execute(
        update(_CONDITION)
        .where(
            _CONDITION.c.patient_id == patient_id,
            _CONDITION.c.code.in_(codes),
            _CONDITION.c.ended_at.is_(None),
        )
        .values(ended_at=now)
        .returning(_CONDITION.c.incident_id)
    )
    theirs = done.scalars().all()
    cases = [one for one in theirs if one is not None]
    if cases:
        closed = _INCIDENT.c.id.in_(cases), _INCIDENT.c.closed_at.is_not(None)
        tx.conn.execute(update(_INCIDENT).where(*closed).values(proof_due_at=_INCIDENT.c.closed_at))
    return len(theirs)


def still_open(tx: Tx, codes: list[str], organisation_id: UUID | None = None) -> Sequence[Row[Any]]:
    """Open conditions of these codes, of everybody or of one organisation's people."""
    query = select(_CONDITION).where(_CONDITION.c.ended_at.is_(None), _CONDITION.c.code.in_(codes))
    if organisation_id is not None:
        query = query.where(_CONDITION.c.organisation_id == organisation_id)
    return tx.conn.execute(query.order_by(_CONDITION.c.detected_at)).all()


def lasting_conditions(tx: Tx, closed_before: datetime, most: int = 50) -> Sequence[Row[Any]]:
    """Open physiological conditions whose case was closed some time ago."""
    return tx.conn.execute(
        select(_CONDITION, _INCIDENT.c.closed_at)
        .join(
            _INCIDENT,
            and_(
                _INCIDENT.c.patient_id == _CONDITION.c.patient_id, _INCIDENT.c.id == _CONDITION.c.incident_id
            ),
        )
        .where(
            _CONDITION.c.ended_at.is_(None),
            _CONDITION.c.kind == "physiological",
            _CONDITION.c.priority.in_(["high", "medium"]),
            _INCIDENT.c.closed_at <= closed_before,
        )
        .limit(most)
    ).all()


def condition_ended(tx: Tx, patient_id: UUID, condition_id: UUID) -> bool:
    return (
        tx.conn.execute(
            select(_CONDITION.c.id).where(
                _CONDITION.c.patient_id == patient_id,
                _CONDITION.c.id == condition_id,
                _CONDITION.c.ended_at.is_(None),
            )
        ).first()
        is None
    )


def incident(tx: Tx, incident_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_INCIDENT).where(_INCIDENT.c.id == incident_id)).first()


def open_incident_of(tx: Tx, patient_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(
        select(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.closed_at.is_(None))
        .order_by(_INCIDENT.c.opened_at.desc())
        .limit(1)
    ).first()


def open_incidents(tx: Tx, organisation_id: UUID, patient_ids: list[UUID] | None = None) -> Sequence[Row[Any]]:
    query = select(_INCIDENT).where(
        _INCIDENT.c.organisation_id == organisation_id, _INCIDENT.c.closed_at.is_(None)
    )
    if patient_ids is not None:
        query = query.where(_INCIDENT.c.patient_id.in_(patient_ids))
    return tx.conn.execute(query.order_by(_INCIDENT.c.opened_at)).all()


def list_incidents(
    tx: Tx, organisation_id: UUID, *, state: str | None, before: UUID | None, most: int
) -> Sequence[Row[Any]]:
    """Newest first; ids are time-ordered, so the cursor is an id."""
    query = select(_INCIDENT).where(_INCIDENT.c.organisation_id == organisation_id)
    if state == "open":
        query = query.where(_INCIDENT.c.closed_at.is_(None))
    elif state is not None:
        query = query.where(_INCIDENT.c.state == state)
    if before is not None:
        query = query.where(_INCIDENT.c.id < before)
    return tx.conn.execute(query.order_by(_INCIDENT.c.id.desc()).limit(most)).all()


def incidents_of(tx: Tx, patient_id: UUID, most: int = 50) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id)
        .order_by(_INCIDENT.c.opened_at.desc())
        .limit(most)
    ).all()


def due_incidents(tx: Tx, now: datetime, most: int = 200) -> list[tuple[UUID, UUID]]:
    """(patient, incident) whose next step is due, the most overdue first."""
    rows = tx.conn.execute(
        select(_INCIDENT.c.patient_id, _INCIDENT.c.id)
        .where(_INCIDENT.c.next_step_at <= now)
        .order_by(_INCIDENT.c.next_step_at)
        .limit(most)
    )
    return [(row.patient_id, row.id) for row in rows]


def all_open_incidents(tx: Tx) -> Sequence[Row[Any]]:
    return tx.conn.execute(select(_INCIDENT).where(_INCIDENT.c.closed_at.is_(None))).all()


def oldest_due_step(tx: Tx) -> datetime | None:
    return tx.conn.execute(
        select(_INCIDENT.c.next_step_at)
        .where(_INCIDENT.c.next_step_at.is_not(None))
        .order_by(_INCIDENT.c.next_step_at)
        .limit(1)
    ).scalar()


def oldest_unsent(tx: Tx) -> datetime | None:
    """When the message that waits longest for a worker was due."""
    return tx.conn.execute(
        select(_OUTBOX.c.due_at).where(_OUTBOX.c.status == PENDING).order_by(_OUTBOX.c.due_at).limit(1)
    ).scalar()


def count_open(tx: Tx) -> int:
    return tx.conn.execute(
        select(func.count()).select_from(_INCIDENT).where(_INCIDENT.c.closed_at.is_(None))
    ).scalar_one()


def count_outbox(tx: Tx) -> int:
    return tx.conn.execute(
        select(func.count()).select_from(_OUTBOX).where(_OUTBOX.c.status.in_([PENDING, CLAIMED]))
    ).scalar_one()


def add_incident(tx: Tx, **values: Any) -> None:
    tx.conn.execute(insert(_INCIDENT), values)


def save_incident(tx: Tx, patient_id: UUID, incident_id: UUID, version: int, **values: Any) -> bool:
    """Compare-and-set: ``version`` is the new one; False when somebody else was faster."""
    done = tx.conn.execute(
        update(_INCIDENT)
        .where(
            _INCIDENT.c.patient_id == patient_id,
            _INCIDENT.c.id == incident_id,
            _INCIDENT.c.version == version - 1,
        )
        .values(version=version, **values)
    )
    return done.rowcount == 1


def put_off(tx: Tx, patient_id: UUID, incident_id: UUID, until: datetime) -> None:
    """An incident that cannot be opened is looked at again later, and never forgotten."""
    tx.conn.execute(
        update(_INCIDENT)
        .where(_INCIDENT.c.patient_id == patient_id, _INCIDENT.c.id == incident_id)
        .values(next_step_at=until)
    )


def last_log(tx: Tx, patient_id: UUID, incident_id: UUID) -> tuple[int, bytes]:
    row = tx.conn.execute(
        select(_LOG.c.seq, _LOG.c.hash)
        .where(_LOG.c.patient_id == patient_id, _LOG.c.incident_id == incident_id)
        .order_by(_LOG.c.seq.desc())
        .limit(1)
    ).first()
    return (row.seq, row.hash) if row else (0, incident_id.bytes)


def add_log(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.conn.execute(insert(_LOG), rows)


def log(tx: Tx, patient_id: UUID, incident_id: UUID) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_LOG)
        .where(_LOG.c.patient_id == patient_id, _LOG.c.incident_id == incident_id)
        .order_by(_LOG.c.seq)
    ).all()


def add_notifications(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.conn.execute(insert(_OUTBOX), rows)


def notification(tx: Tx, notification_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(select(_OUTBOX).where(_OUTBOX.c.id == notification_id)).first()


def notifications_of(tx: Tx, incident_ids: list[UUID]) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_OUTBOX).where(_OUTBOX.c.incident_id.in_(incident_ids)).order_by(_OUTBOX.c.created_at, _OUTBOX.c.id)
    ).all()


def next_attempt(tx: Tx, incident_id: UUID, step: str, target_id: UUID, channel: str) -> int:
    highest = tx.conn.execute(
        select(func.max(_OUTBOX.c.attempt)).where(
            _OUTBOX.c.incident_id == incident_id,
            _OUTBOX.c.step == step,
            _OUTBOX.c.target_id == target_id,
            _OUTBOX.c.channel == channel,
        )
    ).scalar()
    return (highest or 0) + 1


def cancel_pending(tx: Tx, patient_id: UUID, incident_id: UUID, kinds: list[str], now: datetime) -> int:
    """What no worker holds yet is not sent any more; what is in flight finishes and is marked."""
    done = tx.conn.execute(
        update(_OUTBOX)
        .where(
            _OUTBOX.c.patient_id == patient_id,
            _OUTBOX.c.incident_id == incident_id,
            _OUTBOX.c.kind.in_(kinds),
            _OUTBOX.c.status == PENDING,
        )
        .values(status=CANCELLED, ended_at=now)
    )
    return done.rowcount


def expire_notifications(tx: Tx, now: datetime) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        update(_OUTBOX)
        .where(
            or_(
                _OUTBOX.c.status == PENDING,
                and_(_OUTBOX.c.status == CLAIMED, _OUTBOX.c.lease_until <= now),
            ),
            _OUTBOX.c.expires_at <= now,
        )
        .values(status=EXPIRED, ended_at=now)
        .returning(_OUTBOX)
    ).all()


def any_expired(tx: Tx, now: datetime) -> bool:
    return (
        tx.conn.execute(
            select(_OUTBOX.c.id)
            .where(_OUTBOX.c.status.in_([PENDING, CLAIMED]), _OUTBOX.c.expires_at <= now)
            .limit(1)
        ).first()
        is not None
    )


def any_pending(tx: Tx, now: datetime) -> bool:
    return tx.conn.execute(select(_OUTBOX.c.id).where(_claimable(now)).limit(1)).first() is not None


def revive_pages(tx: Tx, now: datetime, until: datetime, longest: timedelta) -> int:
    """A page that expired before anybody could try it (our clock leapt, we were down) is tried once all the same."""
    life = type_coerce(_OUTBOX.c.expires_at, BigInteger) - type_coerce(_OUTBOX.c.created_at, BigInteger)
    done = tx.conn.execute(
        update(_OUTBOX)
        .where(
            _OUTBOX.c.status == PENDING,
            _OUTBOX.c.kind == NotificationKind.PAGE.value,
            _OUTBOX.c.tries == 0,
            _OUTBOX.c.expires_at <= now,
            life <= longest // timedelta(microseconds=1),
        )
        .values(expires_at=until, due_at=now)
    )
    return done.rowcount


URGENT = [NotificationKind.PAGE.value, NotificationKind.ASK.value, NotificationKind.DISPATCH.value]


def claim_notifications(
    tx: Tx, worker: str, now: datetime, lease_until: datetime, most: int = 50, but: Iterable[UUID] = ()
) -> Sequence[Row[Any]]:
    """Take what is due, and what a dead worker left behind; nobody else gets it while the lease runs.

    What may wait goes after what may not; ``but`` are messages that this process holds in its hands already.
    """
    held = list(but)
    chosen = (
        select(_OUTBOX.c.id)
        .where(_claimable(now), *([_OUTBOX.c.id.not_in(held)] if held else []))
        .order_by(
            case((_OUTBOX.c.kind.in_(URGENT), 0), else_=1),
            _OUTBOX.c.due_at,
            # Of what one commit wrote, the question beside an SOS goes after the pages.
            case((_OUTBOX.c.kind == NotificationKind.ASK.value, 1), else_=0),
        )
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    claimed = tx.conn.execute(
        update(_OUTBOX)
        .where(_OUTBOX.c.id.in_(chosen))
        .values(
            status=CLAIMED,
            claimed_by=worker,
            lease_until=lease_until,
            tries=_OUTBOX.c.tries + 1,
            # Until its fate is told: if we die now, whoever takes it next asks the carrier first.
            unsure_since=func.coalesce(_OUTBOX.c.unsure_since, literal(now, _OUTBOX.c.unsure_since.type)),
        )
        .returning(_OUTBOX)
    ).all()
    # The database returns them in any order.
    return sorted(claimed, key=lambda row: row.kind == NotificationKind.ASK.value)


def _claimable(now: datetime) -> Any:
    # A time too far off to be true was written before a clock was set back.
    untrue = now + timedelta(minutes=5)
    due = or_(_OUTBOX.c.due_at <= now, _OUTBOX.c.due_at > untrue)
    left_behind = or_(_OUTBOX.c.lease_until <= now, _OUTBOX.c.lease_until > untrue)
    return and_(due, or_(_OUTBOX.c.status == PENDING, and_(_OUTBOX.c.status == CLAIMED, left_behind)))


def update_notification(tx: Tx, notification_id: UUID, **values: Any) -> None:
    tx.conn.execute(update(_OUTBOX).where(_OUTBOX.c.id == notification_id).values(**values))
    # A case that is closed and signed already is signed anew with what came late.
    tx.conn.execute(_OWE_PROOF, {"of": notification_id})


def still_wanted(tx: Tx, row: Row[Any]) -> bool:
    """Whether a message that has not gone out yet should: no page after the acknowledgement, no ask after the check."""
    held = tx.conn.execute(
        select(_INCIDENT.c.state, _INCIDENT.c.acknowledged).where(
            _INCIDENT.c.patient_id == row.patient_id, _INCIDENT.c.id == row.incident_id
        )
    ).first()
    if held is None or row.kind not in PAGING:
        return True
    if row.kind == NotificationKind.ASK:
        return held.state in {State.CHECKING, State.CONFIRMED} and not held.acknowledged
    return held.state not in {*SETTLING, State.CLOSED} and not held.acknowledged


def release_notification(
    tx: Tx, notification_id: UUID, worker: str, due_at: datetime, *, unsure: bool = False, uncounted: bool = False
) -> bool:
    """Give a claimed message back for another try; ``unsure``: the carrier may have acted all the same."""
    values: dict[str, Any] = {"status": PENDING, "due_at": due_at, "lease_until": None, "claimed_by": None}
    if not unsure:
        values["unsure_since"] = None
    if uncounted:
        values["tries"] = _OUTBOX.c.tries - 1
    return _of_worker(tx, notification_id, worker, values)


def renew_lease(tx: Tx, notification_id: UUID, worker: str, until: datetime) -> bool:
    """Hold a claimed message longer; False when another worker has it by now."""
    return _of_worker(tx, notification_id, worker, {"lease_until": until})


def _of_worker(tx: Tx, notification_id: UUID, worker: str, values: dict[str, Any]) -> bool:
    done = tx.conn.execute(
        update(_OUTBOX)
        .where(
            _OUTBOX.c.id == notification_id, _OUTBOX.c.status == CLAIMED, _OUTBOX.c.claimed_by == worker
        )
        .values(**values)
    )
    return done.rowcount == 1


def texts_to(tx: Tx, patient_id: UUID, person_id: UUID, since: datetime) -> Sequence[Row[Any]]:
    """What was written to one person about one patient lately, newest first."""
    return tx.conn.execute(
        select(_OUTBOX)
        .where(
            _OUTBOX.c.patient_id == patient_id,
            _OUTBOX.c.target_id == person_id,
            _OUTBOX.c.channel == Channel.TEXT.value,
            _OUTBOX.c.created_at >= since,
            _OUTBOX.c.sent_at.is_not(None),
        )
        .order_by(_OUTBOX.c.created_at.desc())
    ).all()


def others_provider_ids(tx: Tx, notification_id: UUID, provider_ids: Sequence[str]) -> set[str]:
    """Which of these the carrier gave to other messages of ours."""
    query = select(_OUTBOX.c.provider_id).where(
        _OUTBOX.c.provider_id.in_(provider_ids), _OUTBOX.c.id != notification_id
    )
    return set(tx.conn.execute(query).scalars())


def unsure_calls(tx: Tx, row: Row[Any], since: datetime) -> list[UUID]:
    """Calls to the same telephone of which we do not know whether the carrier took them, in the order of our tries.

    One that was made again in doubt since then counts on: its first try may be among what the carrier has.
    """
    same = [_OUTBOX.c.target == row.target]
    if row.target != Target.DESK:
        same.append(_OUTBOX.c.target_id == row.target_id)
    query = select(_OUTBOX.c.id).where(
        *same,
        or_(
            _OUTBOX.c.status.in_((PENDING, CLAIMED)),
            and_(_OUTBOX.c.status.in_((SENT, ENDED, CALLING_OFF)), _OUTBOX.c.due_at > since),
        ),
        _OUTBOX.c.channel == Channel.VOICE.value,
        _OUTBOX.c.unsure_since.is_not(None),
    )
    return list(tx.conn.execute(query.order_by(_OUTBOX.c.unsure_since, _OUTBOX.c.due_at, _OUTBOX.c.id)).scalars())


def of_call(tx: Tx, incident_id: UUID, person_id: UUID, provider_id: str) -> Row[Any] | None:
    """The row that a call to somebody has in another case, which they were offered in it."""
    mine = _OUTBOX.c.provider_id == provider_id, _OUTBOX.c.incident_id == incident_id
    return tx.conn.execute(select(_OUTBOX).where(*mine, _OUTBOX.c.target_id == person_id)).first()


def last_cursor(tx: Tx) -> int:
    return tx.conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == "event")).scalar() or 0


def events_after(tx: Tx, cursor: int, most: int = 500) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(_EVENT).where(_EVENT.c.cursor > cursor).order_by(_EVENT.c.cursor).limit(most)
    ).all()
