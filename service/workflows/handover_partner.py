"""The record given to another desk's machine: sent until it arrives, answered at once, later, or not at all."""

from __future__ import annotations

import base64
import binascii
import hmac
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from dispatch.eido import eido
from dispatch.incident import HandoverAnswer, Incident
from dispatch.notifier import NotificationError
from service.sealing import SealingError
from service.store import incidents as store
from service.workflows import cases, handover, looks
from service.workflows.house import House, log, warn, where
from service.workflows.incidents import Refused

MAC_BYTES = 16


def partner_id(house: House) -> UUID:
    """Under which id the partner's answers and looks are written down."""
    return uuid5(NAMESPACE_URL, house.settings.handover_url)


def post_waiting(house: House) -> int:
    """Send every offer that waits and did not arrive yet; returns how many did.

    What is to be sent follows from the open cases alone, so a crash delays it by one tick. It may arrive twice, under
    the same key; a time-out needs nothing here, since the case itself counts no answer in time as none.
    """
    if house.partner is None:
        return 0
    with house.database.read() as tx:
        rows = store.all_open_incidents(tx)
    arrived: set[tuple[UUID, int]] = house.extras.setdefault("handover_arrived", set())
    sent = 0
    for row in rows:
        try:
            case = cases.open_case(house, row)
        except SealingError:
            continue  # its own due time brings it to the desk
        key = row.id, len(case.handovers)
        if case.offered is None or key in arrived:
            continue
        try:
            _post(house, case, len(case.handovers))
        except NotificationError as error:
            warn("handover_not_delivered", incident=row.id, code=error.code)
        except Exception as error:  # noqa: BLE001 - one record that cannot be made must not hold up the others
            warn("handover_failed", incident=row.id, why=type(error).__name__, where=where(error))
        else:
            arrived.add(key)
            sent += 1
    return sent


def _post(house: House, case: Incident, n: int) -> None:
    assert house.partner is not None  # noqa: S101 - asked a moment ago
    whom = case.handovers[-1].by
    record = handover.record(house, case.id, whom, "ko", open_case=True)
    given = token(house, case.id, n)
    body = msgspec.json.encode(eido(record))
    callback = f"{house.settings.public_url.rstrip('/')}/v1/handover/{given}"
    partner = partner_id(house)
    looks.note_access(house, case.patient_id, partner, "machine", "handover", case.id, again_after=handover.SAME_LOOK)
    answer = house.partner.offer(body, callback, f"{case.id}-{n}")
    log("handover_delivered", incident=case.id, answer=answer.answer if answer else "later")
    if answer is not None:
        _take(house, case.id, n, answer.answer == HandoverAnswer.ACCEPTED, answer.reason, answer.reference)


def token(house: House, incident_id: UUID, n: int) -> str:
    """What lets the partner answer this very offer, and nothing else."""
    number = n.to_bytes(2, "big")
    return base64.urlsafe_b64encode(incident_id.bytes + number + _mac(house, incident_id, n)).decode().rstrip("=")


def _mac(house: House, incident_id: UUID, n: int) -> bytes:
    return house.keys.blind_index("handover", f"{incident_id}:{n}")[:MAC_BYTES]


def answered(house: House, given: str, accepted: bool, reason: str, reference: str) -> None:
    """A later answer. LookupError for a token that is not ours; Refused when that offer is answered already."""
    try:
        raw = base64.b64decode(given.encode("ascii") + b"=" * (-len(given) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise LookupError("no such hand-over") from error
    if len(raw) != 16 + 2 + MAC_BYTES:
        raise LookupError("no such hand-over")
    incident_id, n = UUID(bytes=raw[:16]), int.from_bytes(raw[16:18], "big")
    # The whole text, and not its bytes alone: its last letter has bits to spare.
    if not hmac.compare_digest(given, token(house, incident_id, n)):
        raise LookupError("no such hand-over")
    _take(house, incident_id, n, accepted, reason, reference)


def _take(house: House, incident_id: UUID, n: int, accepted: bool, reason: str, reference: str) -> None:
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
        if row is None:
            raise LookupError(f"no incident {incident_id}")
        offers = cases.open_case(house, row).handovers
    if len(offers) != n:
        raise Refused("another offer was made meanwhile: answer that one")
    # A machine that gives no reason is not asked again: somebody waits.
    reason = reason.strip()[: handover.LONGEST_REASON] or ("" if accepted else "no reason given")
    reference = reference.strip()[: handover.LONGEST_REFERENCE]
    handover.answered(house, partner_id(house), incident_id, accepted, reason, reference)
