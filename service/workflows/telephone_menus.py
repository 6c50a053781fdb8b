"""What is said in a call, and what the keys in it do: contact, owner, desk and the person themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Row

from dispatch import escalation, messages, messages_doors, messages_once
from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.codes import Message, Outcome, Role
from dispatch.incident import SETTLING, Incident, State, Target
from dispatch.notifier import Prompt
from service.store import outbox
from service.store.database import Tx
from service.workflows import cases, coming, people, readings
from service.workflows.house import House, log
from service.workflows.telephone_stages import (
    AGAIN,
    ASKED_BEFORE,
    CONNECT,
    REPEATED,
    Call,
    Stage,
    callee,
    knows,
    wrong_before,
)


def opening(row: Row[Any], language: str) -> Prompt:
    """The first words of a call, for a carrier that wants them with the request: neutral, like any first menu."""
    return replace(messages_once.once(row.message, language), reference=str(row.id))


def menu(house: House, tx: Tx, call: Call, *, turn: int) -> Prompt:
    """The first menu of a call, or its repetition."""
    row, incident = call.row, call.case.incident
    if row.step == CONNECT:
        return _asked(call, messages_doors.say(call.language, "connect_menu", ask=True, turn=Stage.CONNECT))
    if not incident.open:
        return messages.nothing_open(call.language)
    if row.target == Target.PATIENT:
        return _patient_menu(house, tx, call, turn)
    returned = row.step == "returned"
    if call.owns and (returned or row.message == Message.CONTACT_MENU):
        return _asked(call, messages_doors.say(call.language, "owner_menu", ask=True, turn=Stage.OWNER))
    if incident.acknowledged and incident.owner_id != row.target_id and row.message in _ASKS_TO_TAKE:
        return messages.already_taken(call.language)
    message = Message.CONTACT_MENU if returned else row.message
    return _asked(call, messages.prompt_for(message, call.language, turn))


_ASKS_TO_TAKE = frozenset({Message.CONTACT_MENU, Message.DESK_MENU, Message.DESK_TECHNICAL, Message.NEWS, "returned"})
"""Calls that are pointless once somebody else has it; what only tells something is told all the same."""


def _patient_menu(house: House, tx: Tx, call: Call, turn: int) -> Prompt:
    row, incident = call.row, call.case.incident
    if row.message == Message.PATIENT_COMING:
        return _asked(call, replace(messages.prompt_for(row.message, call.language), turn=Stage.COMING))
    returned = row.step == "returned"
    if returned and coming.said_to_the_person(house, tx, incident, call.language, house.clock()) is not None:
        return _asked(call, replace(messages.prompt_for(Message.PATIENT_COMING, call.language), turn=Stage.COMING))
    beside = row.message == Message.ASK_BESIDE
    return _asked(call, messages.ask_prompt(call.language, turn, Message.ASK_BESIDE if beside else Message.ASK))


def _asked(call: Call, prompt: Prompt) -> Prompt:
    return replace(prompt, reference=str(call.row.id))


def later_key(house: House, tx: Tx, call: Call, stage: Stage, digit: str, now: datetime) -> Prompt:
    """A key pressed (or not) at a question that came after the first."""
    asked, again = ASKED_BEFORE.get(stage, stage), AGAIN.get(stage)
    if stage is Stage.ETA and digit == "3" and call.owns:
        # Pressed twice out of doubt, the key that took it would be a promise to be there in thirty minutes.
        return _asked(call, messages_doors.say(call.language, "eta_thirty", ask=True, turn=Stage.ETA_AGAIN))
    wrong = digit if digit and not knows(call, asked, digit) else ""
    if wrong:
        _write_wrong(house, tx, call, wrong, now)
    if again is not None and (wrong or (not digit and stage in REPEATED)):
        prompt = _question(house, tx, call, asked, now)
        # What has become another question meanwhile keeps its own turn.
        prompt = replace(prompt, turn=again) if prompt.turn == asked else prompt
        return _after_wrong(call, prompt) if wrong else prompt
    if wrong or not digit:
        _ends_without_a_key(house, tx, call, asked, wrong, now)
    prompt = _after_question(house, tx, call, asked, "" if wrong else digit, now)
    return _after_wrong(call, prompt) if wrong else prompt


def _after_question(house: House, tx: Tx, call: Call, asked: Stage, digit: str, now: datetime) -> Prompt:
    if asked is Stage.ETA:
        return _eta(house, tx, call, digit, now)
    if asked is Stage.OWNER:
        return _owner_said(house, tx, call, digit, now)
    if asked is Stage.DESK or asked is Stage.CONNECT:
        return _to_the_person(house, tx, call, digit, now)
    return _patient_listens(house, tx, call, asked, digit, now)


def _question(house: House, tx: Tx, call: Call, asked: Stage, now: datetime) -> Prompt:
    if asked is Stage.ETA:
        return _asked(call, _eta_menu(call)) if call.owns else taken(house, tx, call, now)
    if asked is Stage.DESK:
        return _asked(call, messages_doors.say(call.language, "desk_five", ask=True, turn=Stage.DESK))
    if asked is Stage.HEARD:
        return _asked(call, messages_doors.say(call.language, "zero_for_desk", ask=True, turn=Stage.HEARD))
    return menu(house, tx, call, turn=2)


# --- keys that do nothing


def said_again(house: House, tx: Tx, call: Call, wrong: str, turn: int, now: datetime) -> Prompt:
    """The first menu once more, after a key that does nothing: a thumb that slipped is not an answer."""
    row = call.row
    # Told twice, or late: what came of the call meanwhile is not undone.
    if row.outcome is None or (wrong_before(row) and wrong_before(row) != wrong):
        outbox.update_notification(tx, row.id, outcome=f"wrong_{wrong}")
        _write_wrong(house, tx, call, wrong, now)
    return _after_wrong(call, menu(house, tx, call, turn=turn))


def _write_wrong(house: House, tx: Tx, call: Call, key: str, now: datetime) -> None:
    if call.case.incident.open:
        cases.settle(house, tx, call.case, escalation.wrong_key(call.case.incident, callee(call.row), key, now), now)


def _ends_without_a_key(house: House, tx: Tx, call: Call, asked: Stage, wrong: str, now: datetime) -> None:
    """We hang up now, not they; word of who comes that was not heard is brought once more."""
    row = call.row
    if row.outcome is not None:
        return
    outbox.update_notification(tx, row.id, outcome=f"no_key_{wrong}" if wrong else "no_key")
    if asked is Stage.COMING and row.step == "coming":
        ended = escalation.coming_call_ended(call.case.incident, Outcome.NO_KEY, row.attempt, now)
        cases.settle(house, tx, call.case, ended, now)


def _after_wrong(call: Call, prompt: Prompt) -> Prompt:
    return messages_doors.after(messages_doors.say(call.language, "wrong_key"), prompt)


# --- whoever has it


def contact_said(house: House, tx: Tx, call: Call, digit: str, now: datetime, wrong: str = "") -> Prompt:
    """A contact's key at the first menu; ``wrong`` is one that does nothing, when no other came."""
    row, case = call.row, call.case
    if digit in {"5", "6"}:
        return _owner_said(house, tx, call, digit, now)
    attempt = None if row.step == "returned" else row.attempt
    decision = escalation.contact_answered(case.incident, row.target_id, digit, now, attempt=attempt, wrong=wrong)
    after = cases.settle(house, tx, case, decision, now)
    if digit == "9":
        return messages.wrong_number(call.language)
    if digit == "3" or not after.open:
        return taken(house, tx, call, now)
    if after.acknowledged and after.owner_id != row.target_id:
        return messages.already_taken(call.language)
    if wrong:
        return messages_doors.say(call.language, "wrong_key", "wrong_key_end")
    return messages.declined(call.language) if digit == "4" else messages.no_key(call.language)


def taken(house: House, tx: Tx, call: Call, now: datetime) -> Prompt:
    """After key 3: who, why, where and "when will you be there", or that somebody else was faster."""
    case, incident = call.case, call.case.incident
    if not incident.open or incident.state in SETTLING:
        return messages.nothing_open(call.language)
    if call.owns:
        told = messages.contact_taken(call.language, **coming.who_and_why(house, tx, case, call.language, now))
        if incident.state in {State.AT_PATIENT, State.TRANSPORTING}:
            return told
        return _asked(call, messages_doors.after(told, _eta_menu(call)))
    if incident.acknowledged:
        return messages.already_taken(call.language, coming.name_of(house, tx, incident.owner_id))
    return messages.no_key(call.language)


def _eta_menu(call: Call) -> Prompt:
    return messages_doors.say(call.language, "eta_menu", ask=True, turn=Stage.ETA)


def _eta(house: House, tx: Tx, call: Call, digit: str, now: datetime) -> Prompt:
    row = call.row
    if not call.owns:
        return taken(house, tx, call, now)
    if not digit.isdecimal():
        return messages_doors.say(call.language, "eta_none")
    minutes = int(digit) * 10
    if row.outcome != f"going_{minutes}":  # a callback that comes twice says nothing new
        outbox.update_notification(tx, row.id, outcome=f"going_{minutes}")
        cases.settle(house, tx, call.case, escalation.eta_pressed(call.case.incident, row.target_id, digit, now), now)
        log("going", incident=row.incident_id, person=row.target_id, minutes=minutes)
    if not minutes:
        return messages_doors.say(call.language, "eta_none")
    return messages_doors.say(call.language, "eta_noted", minutes=minutes)


def _owner_said(house: House, tx: Tx, call: Call, digit: str, now: datetime) -> Prompt:
    row, before = call.row, call.case.incident
    if not call.owns:
        return taken(house, tx, call, now)
    if not digit:
        return messages_doors.say(call.language, "eta_none")
    outbox.update_notification(tx, row.id, outcome=f"pressed_{digit}")
    if row.outcome != f"pressed_{digit}":
        after = cases.settle(house, tx, call.case, escalation.contact_answered(before, row.target_id, digit, now), now)
    else:
        after = before
    if digit == "3":
        return taken(house, tx, call, now)
    if digit == "9":
        return messages.wrong_number(call.language)
    if digit == "5":
        return messages_doors.say(call.language, "arrived" if after.state is State.AT_PATIENT else "not_now")
    if digit == "6":
        return messages_doors.say(call.language, "safe_noted" if after.open else "safe")
    return messages_doors.say(call.language, "gave_back" if digit == "4" and not after.acknowledged else "not_now")


# --- the desk


def desk_said(house: House, tx: Tx, call: Call, digit: str, now: datetime, wrong: str = "") -> Prompt:
    """The staffed desk's key at the first menu; ``wrong`` is one that does nothing, when no other came."""
    case = call.case
    after = cases.settle(house, tx, case, escalation.desk_answered(case.incident, digit, now, wrong), now)
    if wrong:
        return messages_doors.say(call.language, "wrong_key", "wrong_key_desk")
    if digit != "3":
        return messages.desk_no_key(call.language)
    return desk_taken(house, tx, call, after, now)


def desk_taken(house: House, tx: Tx, call: Call, after: Incident, now: datetime) -> Prompt:
    if not after.open:
        return messages.nothing_open(call.language)
    if after.owner_role != Role.DESK:
        return messages.already_taken(call.language)
    about = coming.who_and_why(house, tx, call.case, call.language, now, plain=False)
    told = messages_doors.after(
        messages.contact_taken(call.language, **about), messages.desk_taken(call.language)
    )
    if people.number_of(house, tx, call.case.patient.patient_id) is None:
        return told
    offered = messages_doors.say(call.language, "desk_five", ask=True, turn=Stage.DESK)
    return _asked(call, messages_doors.after(told, offered))


def _to_the_person(house: House, tx: Tx, call: Call, digit: str, now: datetime) -> Prompt:
    """Key 5 at the desk: connected with the person, which is written down."""
    if digit != "5":
        return messages.desk_taken(call.language)
    number = people.number_of(house, tx, call.case.patient.patient_id)
    if number is not None:
        by = "desk"
        if call.row.step == CONNECT:
            message = house.unseal(
                call.row.patient_id, "notification", str(call.row.id), call.row.sealed, cases.Message
            )
            by = str(message.params.get("by") or by)
        _bridged(house, tx, call, by, now)
    return _asked(call, messages_doors.bridge(call.language, number[0] if number else ""))


def _bridged(house: House, tx: Tx, call: Call, by: str, now: datetime) -> None:
    if call.row.outcome == "bridged":
        return
    outbox.update_notification(tx, call.row.id, outcome="bridged")
    cases.settle(house, tx, call.case, escalation.bridged(call.case.incident, by, now), now)
    log("bridged", incident=call.row.incident_id, step=call.row.step)


# --- the person


def patient_said(house: House, tx: Tx, call: Call, digit: str, now: datetime) -> Prompt:
    """The person's key at "are you all right"."""
    before = call.case.incident
    vitals = readings.vitals_now(house, tx, call.case.patient, now)
    by = "returned_call" if call.row.step == "returned" else "call"
    decision = escalation.patient_answered(before, digit, now, vitals, by=by)
    after = cases.settle(house, tx, call.case, decision, now)
    if not before.open and digit not in {"", "1"}:
        # The case they were asked about is over; whoever asks for help gets a new one.
        cases.raise_conditions(house, tx, call.case.patient, [asked_for_help(now)], now)
    return patient_reply(house, tx, call, digit, before, after, now)


def patient_reply(
    house: House, tx: Tx, call: Call, digit: str, before: Incident, after: Incident, now: datetime
) -> Prompt:
    """What the person hears; after "help" also who comes, as far as it is known, and the key for the desk."""
    reply = _reply(digit, before, after)
    prompt = messages.ask_reply(call.language, reply)
    if reply not in {messages.Reply.HELP, messages.Reply.HELP_HELD} or not digit:
        return prompt
    known = coming.said_to_the_person(house, tx, after, call.language, now)
    if known is not None:
        prompt = replace(prompt, lines=(*prompt.lines, known))
        # Heard now: they need not be rung for it again.
        cases.settle(house, tx, call.case, escalation.coming_heard(after, now), now)
    return _with_zero(house, call, prompt)


def asked_for_help(now: datetime) -> AlarmCondition:
    return AlarmCondition(
        code="sos",
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        grave=True,
        started_at=now,
        detected_at=now,
    )


def _reply(digit: str, before: Incident, after: Incident) -> messages.Reply:
    duress = before.policy.duress_digit
    if digit and digit == duress:
        return messages.Reply.FINE  # whoever listens in must hear what "fine" sounds like
    if digit != "1":
        return messages.Reply.HELP_HELD if after.open and after.acknowledged else messages.Reply.HELP
    if after.state is State.CANCELLED_BY_PATIENT:
        return messages.Reply.FINE
    return messages.Reply.FINE_CHECKED if before.state is State.CHECKING else messages.Reply.LATE_FINE


def _with_zero(house: House, call: Call, prompt: Prompt) -> Prompt:
    """Offer the desk, where there is one."""
    if not house.settings.fallback_number:
        return prompt
    offered = messages_doors.say(call.language, "zero_for_desk", ask=True, turn=Stage.HEARD)
    return _asked(call, messages_doors.after(prompt, offered))


def _patient_listens(house: House, tx: Tx, call: Call, stage: Stage, digit: str, now: datetime) -> Prompt:
    """Who comes (1), a human voice (0); 2 asks for help here as everywhere."""
    if digit == "0":
        _bridged(house, tx, call, "patient", now)
        return _asked(call, messages_doors.bridge(call.language, house.settings.fallback_number))
    if digit and digit in {"2", call.case.incident.policy.duress_digit}:
        return patient_said(house, tx, call, digit, now)
    if digit == "1" and stage is not Stage.HEARD:
        return _who_comes(house, tx, call, now)
    return messages_doors.say(call.language, "goodbye")


def _who_comes(house: House, tx: Tx, call: Call, now: datetime) -> Prompt:
    incident = call.case.incident
    if call.row.outcome is None or call.row.outcome == "no_key":
        outbox.update_notification(tx, call.row.id, outcome="heard")
    told = coming.said_to_the_person(house, tx, incident, call.language, now)
    cases.settle(house, tx, call.case, escalation.coming_heard(incident, now), now)
    if not incident.open or incident.ask.duress:
        return messages.nothing_open(call.language)  # who stands beside them must not hear of help
    if told is None:
        return _with_zero(house, call, messages_doors.say(call.language, "nobody_yet"))
    return _with_zero(house, call, Prompt(language=call.language, lines=(told,)))
