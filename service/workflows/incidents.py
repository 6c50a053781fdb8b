"""What people at the board do with a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from dispatch import escalation
from dispatch.codes import HUMAN_CLOSE_REASONS, CloseReason, Doubt
from dispatch.incident import Decision, IllegalMove, Incident, State
from service.sealing import SealingError
from service.store import incidents as store
from service.workflows import cases
from service.workflows.house import House, log

NOTE_MOST = 2000
ACTIONS = ("claim", "acknowledge", "dispatch", "progress", "note", "stand_down", "close")
UNSURE = "no"
DOUBTS = {
    Doubt.UNSPOKEN: "the help button was pressed, and nobody has spoken with the person or been there yet",
    Doubt.UNIT_UNDER_WAY: "a unit of 119 is still on its way to the person",
}


class Refused(Exception):
    """An action that cannot be taken, with a sentence for whoever asked for it."""

    def __init__(self, message: str, *, code: str = "not_allowed_now", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field


def act(
    house: House, person_id: UUID, role: str, incident_id: UUID, action: str, fields: Mapping[str, str]
) -> Incident:
    """One named human's action on one case.

    Raises LookupError when there is no such case, Refused when it cannot be done (now, or so).
    """
    after = changed(house, incident_id, _rule(house, person_id, role, action, fields))
    if action == "acknowledge" and after.owner_id != person_id:
        raise Refused("somebody else has taken it already", code="already_taken")
    log("incident_action", incident=incident_id, action=action, by=person_id, state=after.state)
    return after


def changed(house: House, incident_id: UUID, rule: Callable[[Incident], Decision]) -> Incident:
    """One case after a person's action on it, whoever acts and wherever.

    Raises LookupError when there is no such case, Refused when the rule does not allow it or the record does not open.
    """
    with house.database.read() as tx:
        row = store.incident(tx, incident_id)
    if row is None:
        raise LookupError(f"no incident {incident_id}")
    try:
        after = cases.change(house, row.patient_id, incident_id, rule)
    except IllegalMove as error:
        raise Refused(str(error)) from error
    except SealingError as error:
        cases.report_unreadable(house, row.patient_id, "incident", incident_id)
        raise Refused(
            "this case's record cannot be opened; the desk has a new case for this person",
            code="record_unreadable",
        ) from error
    if after is None:
        raise LookupError(f"no incident {incident_id}")
    return after


def _rule(
    house: House, person_id: UUID, role: str, action: str, fields: Mapping[str, str]
) -> Callable[[Incident], Decision]:
    if action == "claim":
        return lambda i: escalation.claim(i, person_id, house.clock())
    if action == "acknowledge":
        return lambda i: escalation.acknowledge(i, person_id, role, house.clock())
    if action == "dispatch":
        reference = _text(fields, "reference", 100)
        called_at = _called_at(house, fields)

        def dispatch(incident: Incident) -> Decision:
            now = house.clock()  # may have been set back since the form was read
            return escalation.dispatch(incident, person_id, reference, min(called_at, now), now)

        return dispatch
    if action == "progress":
        state = _state(fields)
        return lambda i: escalation.progress(i, person_id, state, house.clock(), role)
    if action == "note":
        text = _text(fields, "text", NOTE_MOST)
        return lambda i: escalation.note(i, person_id, text, house.clock())
    if action == "stand_down":
        because = _close_reason(fields)
        return lambda i: _undoubted(i, fields, escalation.stand_down(i, person_id, because, house.clock()))
    if action == "close":
        closing = _close_reason(fields)
        return lambda i: _undoubted(i, fields, escalation.close(i, person_id, closing, house.clock()))
    raise Refused(
        f"action must be one of {', '.join(ACTIONS)}, was {action!r}", code="action_unknown", field="action"
    )


def _undoubted(incident: Incident, fields: Mapping[str, str], ended: Decision) -> Decision:
    """The case ended, unless something speaks against it and whoever does so wants to hear of that first.

    Who does not say whether they are sure ends it as ever, and the log says so: within /v1 nothing is newly required.
    """
    doubts = incident.doubts
    if doubts and fields.get("sure") == UNSURE:
        told = "; ".join(DOUBTS[doubt] for doubt in doubts)
        raise Refused(f"{told}: check it, then send the same with sure true", code=doubts[0].value, field="sure")
    return ended


def _text(fields: Mapping[str, str], name: str, most: int) -> str:
    text = fields.get(name, "").strip()
    if not text or len(text) > most:
        raise Refused(
            f"{name} must have 1 to {most} characters, had {len(text)}", code="field_invalid", field=name
        )
    return text


def _called_at(house: House, fields: Mapping[str, str]) -> datetime:
    """When 119 was called: now, unless another time is given (RFC 3339, or HH:MM of today)."""
    now, text = house.clock(), fields.get("called_at", "").strip()
    zone = ZoneInfo(house.settings.time_zone)
    at: datetime | None
    if not text:
        return now
    try:
        if len(text) in {5, 8} and text[2] == ":":
            local = now.astimezone(zone)
            clock = datetime.strptime(text[:5], "%H:%M").replace(tzinfo=zone)
            at = local.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
            # Just after midnight, 23:58 is yesterday's.
            at = at - timedelta(days=1) if at > local + timedelta(minutes=5) else at
        else:
            at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not now - timedelta(days=2) < at < now + timedelta(minutes=5):
        raise Refused(
            f"called_at must be a time that has passed, HH:MM or RFC 3339, was {text[:40]!r}",
            code="field_invalid",
            field="called_at",
        )
    return at


def _state(fields: Mapping[str, str]) -> State:
    allowed = [State.EN_ROUTE, State.ON_SCENE, State.AT_PATIENT, State.TRANSPORTING]
    text = fields.get("state", "")
    if text not in {state.value for state in allowed}:
        raise Refused(
            f"state must be one of {', '.join(allowed)}, was {text!r}", code="field_invalid", field="state"
        )
    return State(text)


def _close_reason(fields: Mapping[str, str]) -> CloseReason:
    text = fields.get("reason", "")
    if text not in {reason.value for reason in HUMAN_CLOSE_REASONS}:
        expected = ", ".join(HUMAN_CLOSE_REASONS)
        raise Refused(f"reason must be one of {expected}, was {text!r}", code="field_invalid", field="reason")
    return CloseReason(text)
