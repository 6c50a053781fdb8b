"""What carriers tell us: somebody picked up, pressed a key, hung up, wrote or rings us back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from dispatch import escalation, messages
from dispatch.codes import Log, Outcome
from dispatch.incident import Channel, LogEntry, Target
from dispatch.notifier import CallStatus, CarrierEvent, CarrierEventKind, Prompt
from service.sealing import SealingError
from service.store import calling_off, outbox
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import (
    cases,
    channels,
    desk_test,
    numbers,
    people,
    replies,
    returned_calls,
    spending,
    telephone_menus,
)
from service.workflows.drills import CONFIRMING, RUNG_BACK
from service.workflows.house import House, log, warn
from service.workflows.sending import call_ended
from service.workflows.telephone_stages import (
    CONNECT,
    FIRST_MENU,
    SAID_TWICE,
    Call,
    Stage,
    callee,
    wrong_at_first,
    wrong_before,
)

UNRUNG = frozenset({"returned", RUNG_BACK, CONNECT})
"""Steps whose calls no ladder waits for."""
WRONG_NUMBER = "9"


def carrier_event(house: House, event: CarrierEvent) -> Prompt | None:
    """Handle a callback; returns what the callee hears next, or None where nothing is said."""
    if event.kind is CarrierEventKind.INCOMING:
        return returned_calls.incoming(house, event)
    if event.kind is CarrierEventKind.TEXT_IN:
        replies.text_in(house, event)
        return None
    row = _row_of(house, event)
    if row is None and (tested := desk_test.said(house, event)) is not None:
        return tested
    if row is None:
        log("callback_unknown", provider_id=event.provider_id)
        return None if event.kind is CarrierEventKind.STATUS else messages.nothing_open("ko")
    if event.kind is CarrierEventKind.STATUS and not _is_news(row, event):
        return None
    prompt: Prompt | None = None

    def work(tx: Tx) -> Prompt | None:
        return _handle(house, tx, row, event)

    try:
        prompt = house.committer.run(work, key=row.patient_id)
    except SealingError as error:
        warn("callback_case_unreadable", incident=row.incident_id, why=type(error).__name__)
        cases.report_unreadable(house, row.patient_id, "incident", row.incident_id)
        prompt = messages.nothing_open("ko")
    if row.target == Target.DESK and event.digits:
        desk_test.answered(house)
    if prompt is not None and not prompt.ask:
        prompt = returned_calls.or_another(house, row, event, prompt)
    return prompt if event.kind is not CarrierEventKind.STATUS else None


def _row_of(house: House, event: CarrierEvent) -> Row[Any] | None:
    try:
        notification_id = UUID(event.reference or "")
    except ValueError:
        return None
    with house.database.read() as tx:
        return outbox.notification(tx, notification_id)


def _is_news(row: Row[Any], event: CarrierEvent) -> bool:
    """A call's state only goes up: what is not above the known one is late, repeated or reordered."""
    if event.bridged is not None:
        log("bridge_ended", notification=row.id, how=event.bridged.value)
        return False
    known = CallStatus(row.call_status) if row.call_status else None
    return event.status is not None and (known is None or event.status.rank > known.rank)


def _handle(house: House, tx: Tx, before: Row[Any], event: CarrierEvent) -> Prompt | None:
    other = channels.other_kind(before)
    if other is not None:
        return _of_other_kind(house, tx, before, event)
    if event.kind is CarrierEventKind.STATUS:
        _status(house, tx, before, event, house.clock())
        return None
    case = cases.load(house, tx, before.patient_id, before.incident_id)
    row = outbox.notification(tx, before.id)
    if case is None or row is None:
        return messages.nothing_open("ko")
    now = house.clock()
    call = Call(row, case, language(house, tx, row, case.incident.policy.language))
    if event.kind is CarrierEventKind.ANSWERED:
        return _answered(house, tx, call, event, now)
    return _digits(house, tx, call, event, now)


def _of_other_kind(house: House, tx: Tx, before: Row[Any], event: CarrierEvent) -> Prompt | None:
    """A drill's or a verification's call: its state is kept here, what it means is told there."""
    people_store.lock_patient(tx, before.patient_id)
    row, other = outbox.notification(tx, before.id), channels.other_kind(before)
    if row is None or other is None:
        return messages.nothing_open("ko")
    now = house.clock()
    if event.kind is CarrierEventKind.STATUS:
        if _note_status(house, tx, row, event, now) is None:
            return None
    else:
        changes: dict[str, Any] = {"answered_at": row.answered_at or now, "provider_id": event.provider_id}
        digit = event.digits[:1]
        if digit:
            changes["outcome"] = f"pressed_{digit}"
            if digit in CONFIRMING:
                # What was asked is whether the number is theirs: a key that means nothing there says nothing of it.
                _proves_number(house, tx, row, event, digit, now)
        elif event.voicemail:
            changes["outcome"] = "voicemail"
        outbox.update_notification(tx, row.id, **changes)
    current = outbox.notification(tx, row.id)
    return other.carrier_said(house, tx, current or row, event)


def language(house: House, tx: Tx, row: Row[Any], of_patient: str) -> str:
    if row.target == Target.DESK:
        return house.settings.desk_language.value
    return of_patient if row.target == Target.PATIENT else people.language_of(tx, row.target_id)


def _status(house: House, tx: Tx, before: Row[Any], event: CarrierEvent, now: datetime) -> None:
    """A text, and a call that only goes on, say nothing to the case: it is not opened for them."""
    people_store.lock_patient(tx, before.patient_id)
    row = outbox.notification(tx, before.id)
    outcome = None if row is None else _note_status(house, tx, row, event, now)
    if row is None or outcome is None:
        return
    if not outcome:
        if row.channel == Channel.VOICE and event.status is not CallStatus.IN_PROGRESS:
            # A sender that died over it, or was slow, lets a call ring that was not needed any more when it began.
            calling_off.call_off(tx, now, notification_id=row.id)
        return
    if outcome == Outcome.CALLED_OFF and calling_off.in_vain(tx, row.id):
        _called_off(house, tx, row, now)
    elif row.channel == Channel.VOICE and _without_a_key(outcome):
        case = cases.load(house, tx, row.patient_id, row.incident_id)
        if case is not None:
            cases.settle(house, tx, case, call_ended(case.incident, row, _ended_as(outcome), now), now)
    log("call_ended", incident=row.incident_id, step=row.step, attempt=row.attempt, outcome=outcome)


def _without_a_key(outcome: str) -> bool:
    """What a menu brought, be it no key, was dealt with when the menu ended."""
    return not outcome.startswith(("pressed", "going", "no_key")) and outcome not in {"heard", "bridged"}


def _ended_as(outcome: str) -> str:
    """What a call is to the ladder that ended after a key that does nothing, or was cancelled while it was needed."""
    if outcome.startswith("wrong"):
        return Outcome.HUNG_UP
    return Outcome.FAILED if outcome == Outcome.CALLED_OFF else outcome


def _called_off(house: House, tx: Tx, row: Row[Any], now: datetime) -> None:
    """Hung up by ourselves: a line in the log, and no answer of anybody's."""
    entry = LogEntry(what=Log.CALLED_OFF, who=callee(row))
    cases.write_log(house, tx, row.patient_id, row.incident_id, [entry], now)
    ids = {"patient_id": row.patient_id, "incident_id": row.incident_id}
    tx.emit("incident", organisation_id=row.organisation_id, at=now, **ids)


def _note_status(house: House, tx: Tx, row: Row[Any], event: CarrierEvent, now: datetime) -> str | None:
    """Write a call's or text's new state down: its outcome once over, empty before, None where it is no news."""
    status = event.status
    if status is None or not _is_news(row, event):
        return None
    values: dict[str, Any] = {"call_status": status.value, "provider_id": event.provider_id}
    if row.sent_at is None:
        values["sent_at"] = now
    if row.provider is None and event.provider:
        values["provider"] = event.provider
    if status is CallStatus.IN_PROGRESS and row.answered_at is None:
        values["answered_at"] = now
    if event.voicemail:
        values["outcome"] = "voicemail"
    if not status.ended:
        if row.status in {outbox.CLAIMED, outbox.PENDING}:
            # Also one that was given back in doubt: the carrier has it.
            values["status"] = outbox.SENT
        outbox.update_notification(tx, row.id, **values)
        return ""
    outcome = row.outcome or ("voicemail" if event.voicemail else _outcome(status))
    values |= {"status": outbox.ENDED, "outcome": outcome, "ended_at": now, "duration_s": event.duration_s}
    outbox.update_notification(tx, row.id, **values)
    spending.ended(house, tx, row, event.duration_s)
    return str(outcome)


def _outcome(status: CallStatus) -> str:
    return {
        CallStatus.COMPLETED: "hung_up",
        CallStatus.BUSY: "busy",
        CallStatus.NO_ANSWER: "no_answer",
        CallStatus.CANCELLED: Outcome.CALLED_OFF.value,
        CallStatus.DELIVERED: "delivered",
        CallStatus.UNDELIVERED: "undelivered",
    }.get(status, "failed")


def _answered(house: House, tx: Tx, call: Call, event: CarrierEvent, now: datetime) -> Prompt:
    row, incident = call.row, call.case.incident
    outbox.update_notification(
        tx, row.id, answered_at=row.answered_at or now, provider_id=event.provider_id
    )
    if event.voicemail:
        outbox.update_notification(tx, row.id, outcome="voicemail")
        cases.settle(house, tx, call.case, call_ended(incident, row, "voicemail", now), now)
        return messages.voicemail_neutral(call.language)
    person_id = None if row.target == Target.DESK else row.target_id
    if row.step not in UNRUNG:
        decision = escalation.call_picked_up(incident, Target(row.target), person_id, row.attempt, now)
        cases.settle(house, tx, call.case, decision, now)
    return telephone_menus.menu(house, tx, call, turn=1)


def _digits(house: House, tx: Tx, call: Call, event: CarrierEvent, now: datetime) -> Prompt:
    row, digit = call.row, event.digits[:1]
    log("key_pressed", incident=row.incident_id, step=row.step, attempt=row.attempt, key=digit or "none")
    _proves_number(house, tx, row, event, digit, now)
    if event.turn > FIRST_MENU:
        stage = Stage(event.turn) if event.turn in set(Stage) else Stage.HEARD
        return telephone_menus.later_key(house, tx, call, stage, digit, now)
    if not digit and event.turn < SAID_TWICE and not event.final:
        return telephone_menus.menu(house, tx, call, turn=event.turn + 1)
    wrong = wrong_at_first(call, digit)
    if wrong and event.turn < FIRST_MENU and not event.final:
        return telephone_menus.said_again(house, tx, call, wrong, event.turn + 1, now)
    if wrong:
        digit = ""
    elif not digit:
        wrong = wrong_before(row)
    pressed = f"pressed_{digit}" if digit else f"no_key_{wrong}" if wrong else "no_key"
    if row.outcome == pressed or (digit == "3" and (row.outcome or "").startswith("going")):
        # Told twice, perhaps much later: what came of it meanwhile must not be undone.
        return _said_before(house, tx, call, digit, now)
    outbox.update_notification(
        tx, row.id, outcome=pressed, answered_at=row.answered_at or now, provider_id=event.provider_id
    )
    if row.target == Target.PATIENT:
        return telephone_menus.patient_said(house, tx, call, digit, now)
    if row.target == Target.DESK:
        return telephone_menus.desk_said(house, tx, call, digit, now, wrong)
    return telephone_menus.contact_said(house, tx, call, digit, now, wrong)


def _said_before(house: House, tx: Tx, call: Call, digit: str, now: datetime) -> Prompt:
    """The same words again, as things stand now, and nothing done."""
    row, incident = call.row, call.case.incident
    if row.target == Target.PATIENT:
        return telephone_menus.patient_reply(house, tx, call, digit, incident, incident, now)
    if row.target == Target.DESK:
        if digit != "3":
            return messages.desk_no_key(call.language)
        return telephone_menus.desk_taken(house, tx, call, incident, now)
    if digit == "3":
        return telephone_menus.taken(house, tx, call, now)
    if digit == WRONG_NUMBER:
        return messages.wrong_number(call.language)
    return messages.declined(call.language) if digit == "4" else messages.no_key(call.language)


def _proves_number(house: House, tx: Tx, row: Row[Any], event: CarrierEvent, digit: str, now: datetime) -> None:
    """Whoever pressed a key in a call of ours is there: the number is verified anew, and works."""
    if not digit or digit == WRONG_NUMBER or row.target == Target.DESK or row.step in UNRUNG:
        return
    number = event.to_number
    if not number:
        number = numbers.of_row(house, tx, row) or ""
    if number:
        people_store.phone_answered(tx, row.target_id, house.keys.blind_index("phone", number), now)
