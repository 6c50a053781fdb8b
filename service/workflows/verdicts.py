"""What people said of an alarm teaches the weighing of the next one, for this person, for a while."""

from __future__ import annotations

from datetime import datetime

from dispatch.codes import CloseReason
from dispatch.incident import Incident
from service.detection import verdict
from service.detection.budget import Cause
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import memory
from service.workflows.house import House

FALSE: dict[CloseReason, Cause] = {
    CloseReason.FALSE_ALARM_DEVICE: Cause.DEVICE_FAULT,
    CloseReason.FALSE_ALARM_PERSON: Cause.DAILY_LIFE,
    CloseReason.PATIENT_FINE: Cause.DAILY_LIFE,
}
TRUE = frozenset({CloseReason.TRUE_EMERGENCY, CloseReason.NEEDED_HELP})


def learn(house: House, tx: Tx, incident: Incident, now: datetime) -> None:
    """Take a closed case's reason to heart. Nothing learnt here ever touches SOS, stillness or a hard limit."""
    people_store.lock_patient(tx, incident.patient_id)
    version, state = memory.carried(house, tx, incident.patient_id)
    if state is None:
        return
    reason = CloseReason(incident.close_reason) if incident.close_reason else None
    new = verdict.take(
        state,
        tuple(r.condition.code for r in incident.reasons),
        false_because=FALSE.get(reason) if reason else None,
        was_true=reason in TRUE,
        now_us=memory.micros(now),
    )
    if new != state:
        memory.save(house, tx, incident.patient_id, version + 1, new, now, verdict.look_us(new))
