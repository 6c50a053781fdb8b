"""The outbox: every message, written in the same commit as whatever makes it due, so that a crash can lose neither.

No carrier is asked inside that commit. A worker claims the row with a lease, hands it over and writes down what became
of it; one that dies in between leaves a row whose lease ends, which the next worker takes, asking the carrier first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Row,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    union_all,
    update,
)

from dispatch.incident import SETTLING, Channel, NotificationKind, State
from service.store.database import Tx
from service.store.tables import IncidentRow, Notification, table

_INCIDENT, _OUTBOX = table(IncidentRow), table(Notification)

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
_CASE_CLOSED_AT = (
    select(_INCIDENT.c.closed_at).where(_INCIDENT.c.id == _OUTBOX.c.incident_id).correlate(_OUTBOX).scalar_subquery()
)
PENDING, CLAIMED, SENT, ENDED = "pending", "claimed", "sent", "ended"
CANCELLED, EXPIRED, FAILED = "cancelled", "expired", "failed"
CALLING_OFF = "calling_off"
"""A call that was sent, may still ring and needs nobody to pick it up: it is to be hung up."""
_UNTRUE = timedelta(minutes=5)
"""A time so far off was written before a clock was set back."""
_ONE = select(_OUTBOX).where(_OUTBOX.c.id == bindparam("of"))


def _claimable(now: Any, untrue: Any) -> Any:
    due = or_(_OUTBOX.c.due_at <= now, _OUTBOX.c.due_at > untrue)
    left_behind = or_(_OUTBOX.c.lease_until <= now, _OUTBOX.c.lease_until > untrue)
    return and_(due, or_(_OUTBOX.c.status == PENDING, and_(_OUTBOX.c.status == CLAIMED, left_behind)))


# Built once: it is asked more often than anything else.
_WAITING = select(
    exists().where(_OUTBOX.c.status.in_([PENDING, CLAIMED]), _OUTBOX.c.expires_at <= bindparam("now")),
    exists().where(_claimable(bindparam("now"), bindparam("untrue"))),
)


def add_notifications(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.conn.execute(insert(_OUTBOX), rows)


def notification(tx: Tx, notification_id: UUID) -> Row[Any] | None:
    return tx.conn.execute(_ONE, {"of": notification_id}).first()


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


def cancel_to(tx: Tx, patient_id: UUID, person_id: UUID, now: datetime) -> None:
    """Nothing about this patient that no worker holds yet is sent to this person any more."""
    tx.conn.execute(
        update(_OUTBOX)
        .where(_OUTBOX.c.patient_id == patient_id, _OUTBOX.c.target_id == person_id, _OUTBOX.c.status == PENDING)
        .values(status=CANCELLED, ended_at=now)
    )


def oldest_unsent(tx: Tx) -> datetime | None:
    """When the message that waits longest for a worker was due."""
    return tx.conn.execute(
        select(_OUTBOX.c.due_at).where(_OUTBOX.c.status == PENDING).order_by(_OUTBOX.c.due_at).limit(1)
    ).scalar()


def count_outbox(tx: Tx) -> int:
    return tx.conn.execute(
        select(func.count()).select_from(_OUTBOX).where(_OUTBOX.c.status.in_([PENDING, CLAIMED]))
    ).scalar_one()


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


def waiting(tx: Tx, now: datetime) -> tuple[bool, bool]:
    """Whether a message has outlived its time, and whether one is to be sent."""
    expired, due = tx.conn.execute(_WAITING, {"now": now, "untrue": now + _UNTRUE}).one()
    return bool(expired), bool(due)


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
        .where(_claimable(now, now + _UNTRUE), *([_OUTBOX.c.id.not_in(held)] if held else []))
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


def update_notification(tx: Tx, notification_id: UUID, **values: Any) -> None:
    changed = update(_OUTBOX).where(_OUTBOX.c.id == notification_id).values(**values).returning(_CASE_CLOSED_AT)
    if tx.conn.execute(changed).scalar() is not None:
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


def unsure_calls(tx: Tx, row: Row[Any], now: datetime, span: timedelta, listed: Sequence[str]) -> list[Row[Any]]:
    """Calls to the same telephone that may be among those that the carrier listed, in the order of our tries.

    Of one that was made again in doubt its first try may be among them: as long as the second one is, or was made
    within ``span`` of ``now``. One that was given up in doubt may be among them too. Each with its ``id``,
    ``unsure_since`` and ``until``: when its last try had been made, None where another may be under way.
    """
    lately = now - span, now + span
    made, dropped = (SENT, ENDED, CALLING_OFF), (CANCELLED, EXPIRED, FAILED)
    until = case((_OUTBOX.c.status.in_(made), _OUTBOX.c.sent_at), (_OUTBOX.c.status.in_(dropped), _OUTBOX.c.ended_at))
    unsure = select(
        *(_OUTBOX.c[name] for name in ("id", "target", "target_id", "status", "unsure_since", "due_at")),
        until.label("until"),
    ).where(_OUTBOX.c.channel == Channel.VOICE.value, _OUTBOX.c.unsure_since.is_not(None))
    to_it = unsure.where(_OUTBOX.c.target == row.target, _OUTBOX.c.target_id == row.target_id)
    # Apart, each by an index of its own: all the calls ever made to the desk are not looked through.
    arms = union_all(
        to_it.where(_OUTBOX.c.status.in_((PENDING, CLAIMED))),
        to_it.where(_OUTBOX.c.status.in_(made), _OUTBOX.c.tries > 1, _OUTBOX.c.sent_at.between(*lately)),
        to_it.where(_OUTBOX.c.status.in_(dropped), _OUTBOX.c.ended_at.between(*lately)),
    )
    found = {one.id: one for one in tx.conn.execute(arms)}
    for one in tx.conn.execute(unsure.where(_OUTBOX.c.provider_id.in_(listed), _OUTBOX.c.tries > 1)):
        if one.status in made and (one.target, one.target_id) == (row.target, row.target_id):
            found[one.id] = one
    return sorted(found.values(), key=lambda one: (one.unsure_since, one.due_at, one.id))


def of_call(tx: Tx, incident_id: UUID, person_id: UUID, provider_id: str) -> Row[Any] | None:
    """The row that a call to somebody has in another case, which they were offered in it."""
    mine = _OUTBOX.c.provider_id == provider_id, _OUTBOX.c.incident_id == incident_id
    return tx.conn.execute(select(_OUTBOX).where(*mine, _OUTBOX.c.target_id == person_id)).first()
