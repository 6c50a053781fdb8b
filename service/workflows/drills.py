"""Personal fire drills: begun monthly or on demand, through the door, detection and carrier to every contact's answer.

A drill opens no incident and no dispatch, rings nobody but this person's contacts, and is off as soon as a real
incident opens. Numbers are verified by the same steps (`verifying`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import Row

from dispatch import drill as rules
from dispatch import messages, messages_doors, messages_drill
from dispatch.drill import Drill, DrillDecision, DrillState, Miss, Purpose, Rung
from dispatch.incident import SYSTEM, Channel
from dispatch.notifier import CarrierEvent, CarrierEventKind, Prompt
from service.sealing import SealingError
from service.store import drills as store
from service.store import incidents as case_store
from service.store import outbox
from service.store import people as people_store
from service.store import site as site_store
from service.store.database import Tx
from service.workflows import (
    carriers,
    cases,
    channels,
    drill_book,
    drill_times,
    numbers,
    people,
    plans,
    spending,
    virtual_bands,
)
from service.workflows.house import House, log, new_id, warn, where
from service.workflows.plans import Known
from service.workflows.telephone_stages import FIRST_MENU, SAID_TWICE

BEGUN_AT_ONCE = 1
"""Policy: monthly drills begun in one look, so that a whole city enrolled in one night does not ring at once."""
CONFIRMING = frozenset({"1", "3"})
WRONG = "9"
RUNG_BACK = "drill_back"
"""Step of a call in which somebody rings us back after a drill's call that they missed."""
MISSES = {miss.value: miss for miss in Miss}


class NobodyToReach(LookupError):
    """This person is not a contact of that patient."""


# --- beginning


def begin(house: House, patient_id: UUID, by: str = SYSTEM) -> UUID:
    """Start a drill for a person now, or join the one that is going on; returns its id."""
    now = house.clock()

    def work(tx: Tx) -> UUID:
        patient = people_store.lock_patient(tx, patient_id)
        if patient is None:
            raise LookupError(f"no patient {patient_id}")
        running = store.going_on(tx, patient_id)
        if running:
            found: UUID = running[0].id
            return found
        virtual_bands.ensure(house, tx, patient, now)
        drill = Drill(
            id=new_id(),
            patient_id=patient_id,
            policy=drill_book.policy(house, now),
            by=by,
            started_at=now,
            rungs=_rungs(house, tx, patient_id, now),
        )
        decision = rules.begin(drill, now)
        due = rules.next_due(patient_id, now, drill.policy, first=False)
        store.set_reachability(tx, patient_id, patient.organisation_id, drill_due_at=due)
        drill_book.settle(house, tx, drill_book.Held(patient, drill, 0), decision, now)
        log("drill_begun", patient=patient_id, drill=drill.id)
        return drill.id

    begun: UUID = house.committer.run(work, key=patient_id)
    return begun


def _rungs(house: House, tx: Tx, patient_id: UUID, now: datetime) -> list[Rung]:
    """The contacts as a real incident would find them now, in order."""
    members = [member.person_id for member in people_store.caregivers(tx, patient_id)]
    them = plans.known(house, tx, members)
    found = [rung_of(house, them, them.people[person_id], now) for person_id in members if person_id in them.people]
    return [rung for rung in found if rung is not None]


def rung_of(house: House, them: Known, person: Row[Any], now: datetime, number: str = "") -> Rung | None:
    """One contact with how they can be reached, or at this number; None for who never left one or an address."""
    try:
        profile = people.open_profile(house, person)
    except SealingError as error:
        warn("record_unreadable", table="person", record=person.id, why=type(error).__name__)
        return Rung(person_id=person.id, language=person.language, channels=())
    contact = plans.contact(house, them, person, profile, now, number)
    if not contact.channels and not profile.phones:
        return None
    return Rung(
        person_id=person.id,
        language=person.language,
        channels=contact.channels,
        quiet=contact.quiet,
        away=contact.away_at(now),
        broken=Miss.WRONG_NUMBER if not contact.channels else None,
    )


# --- what falls due


def tick(house: House) -> int:
    """Plan, begin and go on with drills and verifications. Returns how many moved."""
    now = house.clock()
    moved = _plan(house, now) + _begin_due(house, now)
    with house.database.read() as tx:
        due = store.due(tx, now, rules.LONGEST_WAIT)
    for patient_id, drill_id in due:
        try:
            _step(house, patient_id, drill_id)
        except SealingError as error:
            _give_up(house, patient_id, drill_id, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one person's broken record must not stop the others' drills
            warn("drill_step_failed", drill=drill_id, why=type(error).__name__, where=where(error))
    return moved + len(due)


def _plan(house: House, now: datetime) -> int:
    """Whoever got a first contact is drilled within the next hour of the day; in a demonstration a month on."""
    with house.database.read() as tx:
        new = store.never_planned(tx)
    policy = drill_book.policy(house, now)
    for patient in new:
        if house.settings.demo:
            due = rules.next_due(patient.patient_id, now, policy, first=False)
        else:
            due = rules.first_due(patient.patient_id, now, policy)

        def work(tx: Tx, patient: Row[Any] = patient, due: datetime = due) -> None:
            people_store.lock_patient(tx, patient.patient_id)
            store.set_reachability(tx, patient.patient_id, patient.organisation_id, drill_due_at=due)

        house.committer.run(work, key=patient.patient_id)
    return len(new)


def _begin_due(house: House, now: datetime) -> int:
    policy = drill_book.policy(house, now)
    if rules.opening(policy, (), now) != now:
        return 0
    with house.database.read() as tx:
        due = store.drills_due(tx, now, BEGUN_AT_ONCE)
    for patient_id in due:
        try:
            begin(house, patient_id)
        except Exception as error:  # noqa: BLE001 - one person's broken record must not keep the others' drills
            warn("drill_not_begun", patient=patient_id, why=type(error).__name__, where=where(error))
            _put_off(house, patient_id, now + timedelta(days=1))
    return len(due)


def _put_off(house: House, patient_id: UUID, until: datetime) -> None:
    with house.database.write() as tx:
        patient = people_store.lock_patient(tx, patient_id)
        if patient is not None:
            store.set_reachability(tx, patient_id, patient.organisation_id, drill_due_at=until)


def _step(house: House, patient_id: UUID, drill_id: UUID) -> None:
    def rule(tx: Tx, drill: Drill, now: datetime) -> DrillDecision:
        waiting = [one.person_id for one in drill.rungs if not one.settled]
        occupied = store.in_an_incident(tx, waiting)
        return rules.step(drill, now, hold_until=drill_times.hold_until(tx, patient_id, now), occupied=occupied)

    decision = _change(house, patient_id, drill_id, rule)
    if decision is not None and decision.knock:
        # Outside any transaction: what is asked here is whether the door takes it and writes it down.
        taken = virtual_bands.press(house, patient_id)
        _change(house, patient_id, drill_id, lambda _tx, drill, now: rules.door_said(drill, taken, now))


def _change(
    house: House, patient_id: UUID, drill_id: UUID, rule: Callable[[Tx, Drill, datetime], DrillDecision]
) -> DrillDecision | None:
    """Apply one rule to one drill in one commit; None when there is no such drill."""

    def work(tx: Tx) -> DrillDecision | None:
        held = drill_book.load(house, tx, patient_id, drill_id)
        if held is None:
            return None
        now = house.clock()
        decision = rule(tx, held.drill, now)
        drill_book.settle(house, tx, held, decision, now)
        return decision

    decided: DrillDecision | None = house.committer.run(work, key=patient_id)
    return decided


def _give_up(house: House, patient_id: UUID, drill_id: UUID, why: str) -> None:
    warn("record_unreadable", table="drill", record=drill_id, why=why)
    with house.database.write() as tx:
        store.give_up(tx, patient_id, drill_id, house.clock())


# --- what the telephone says


class _OfDrills:
    """Answers for the outbox rows of drills and verifications (`channels.OtherKind`)."""

    def carrier_said(self, house: House, tx: Tx, row: Row[Any], event: CarrierEvent) -> Prompt | None:
        return carrier_said(house, tx, row, event)

    def not_reached(self, house: House, row: Row[Any], outcome: str) -> None:
        not_reached(house, row, outcome)

    def confirmed(self, house: House, tx: Tx, row: Row[Any], how: str) -> None:
        confirmed(house, tx, row, how)


for _step_name in (*store.STEPS, RUNG_BACK):
    channels.OTHER_KINDS[_step_name] = _OfDrills()


def carrier_said(house: House, tx: Tx, row: Row[Any], event: CarrierEvent) -> Prompt | None:
    """A drill's call was answered, brought a key or ended; the patient's lock is held."""
    held = drill_book.load(house, tx, row.patient_id, row.incident_id)
    language = people.language_of(tx, row.target_id)
    if held is None:
        return messages.nothing_open(language)
    if event.kind is CarrierEventKind.STATUS:
        _ended(house, tx, held, row)
        return None
    if event.kind is CarrierEventKind.ANSWERED:
        return messages.voicemail_neutral(language) if event.voicemail else _menu(tx, held, row, language, turn=1)
    return _key(house, tx, held, row, event, language)


def _menu(tx: Tx, held: drill_book.Held, row: Row[Any], language: str, turn: int) -> Prompt:
    rung = held.drill.rung(row.target_id)
    if held.drill.over or rung is None or rung.reached_at is not None:
        return messages_drill.say(f"{held.drill.purpose}_over", language)
    if _stopped(tx, held):
        return messages_drill.say(f"{held.drill.purpose}_stopped", language)
    return replace(messages.prompt_for(row.message, language, turn), reference=str(row.id), turn=turn)


def rung_back(
    house: House, tx: Tx, patient_id: UUID, drill_id: UUID, person_id: UUID, note: Callable[[Row[Any]], Row[Any]]
) -> Prompt | None:
    """The drill's menu for who rings us back while it waits for their answer; ``note`` writes that call down."""
    held = drill_book.load(house, tx, patient_id, drill_id)
    rung = held.drill.rung(person_id) if held is not None else None
    if held is None or held.drill.over or rung is None or rung.settled or not rung.sent or _stopped(tx, held):
        return None
    log("drill_rung_back", drill=drill_id, person=person_id)
    return _menu(tx, held, note(held.patient), people.language_of(tx, person_id), turn=1)


def _stopped(tx: Tx, held: drill_book.Held) -> bool:
    waiting = held.drill.state is DrillState.WAITING
    return waiting or case_store.open_incident_of(tx, held.drill.patient_id) is not None


def _key(
    house: House, tx: Tx, held: drill_book.Held, row: Row[Any], event: CarrierEvent, language: str
) -> Prompt:
    now, digit, purpose = house.clock(), event.digits[:1], held.drill.purpose
    log("drill_key", drill=held.drill.id, attempt=row.attempt, key=digit or "none")
    if digit != WRONG and case_store.open_incident_of(tx, held.drill.patient_id) is not None:
        # Picked up before it opened: what is pressed now must not pass for an answer to what is real.
        return messages_drill.say(f"{purpose}_stopped", language)
    if digit in CONFIRMING:
        drill_book.settle(house, tx, held, rules.confirmed(held.drill, row.target_id, "key", now), now)
        _late(tx, held, row.target_id, now)
        if number := event.to_number or numbers.of_row(house, tx, row):
            numbers.proven(house, tx, row, number, now)
        return messages_drill.say(f"{purpose}_confirmed", language, digit)
    if digit == WRONG:
        another = not _not_theirs(house, tx, row, now) and people.number_of(house, tx, row.target_id) is not None
        decision = rules.wrong_number(held.drill, row.target_id, now, another=another)
        drill_book.settle(house, tx, held, decision, now)
        return messages.wrong_number(language)
    again = event.turn < (FIRST_MENU if digit else SAID_TWICE) and not event.final
    told = _menu(tx, held, row, language, turn=event.turn + 1) if again else _in_vain(tx, held, row, language)
    # A thumb that slipped hears that it did, as in a real call.
    return messages_doors.after(messages_doors.say(language, "wrong_key"), told) if digit else told


def _in_vain(tx: Tx, held: drill_book.Held, row: Row[Any], language: str) -> Prompt:
    outbox.update_notification(tx, row.id, outcome="no_key")
    return messages_drill.say(f"{held.drill.purpose}_no_key", language)


def _not_theirs(house: House, tx: Tx, row: Row[Any], now: datetime) -> bool:
    """Key 9: that number is not rung again; whether it was one given anew, whose check ends with that."""
    if row.step == store.VERIFY and numbers.refused(house, tx, row, now):
        return True
    cases.retire_number(house, tx, row.target_id, now)
    return False


def _ended(house: House, tx: Tx, held: drill_book.Held, row: Row[Any]) -> None:
    """A call that is over without a key, or a text that did not arrive."""
    if row.status != outbox.ENDED:
        return
    outcome = str(row.outcome or "")
    if row.channel == Channel.VOICE and outcome not in {f"pressed_{key}" for key in (*CONFIRMING, WRONG)}:
        miss = MISSES.get(outcome, Miss.NO_KEY if outcome.startswith("pressed") else Miss.FAILED)
    elif row.channel == Channel.TEXT and outcome in {"undelivered", "failed"}:
        miss = Miss.FAILED
    else:
        return
    now = house.clock()
    drill_book.settle(house, tx, held, rules.missed(held.drill, row.target_id, row.attempt, miss, now), now)


def confirmed(house: House, tx: Tx, row: Row[Any], how: str) -> None:
    """A signed link was tapped or a code came back; the patient's lock is held."""
    held = drill_book.load(house, tx, row.patient_id, row.incident_id)
    if held is None:
        return
    if case_store.open_incident_of(tx, row.patient_id) is not None:
        log("drill_not_confirmed", drill=held.drill.id, person=row.target_id, how=how)
        return  # something real is open: whoever answers now may well mean that
    now = house.clock()
    outbox.update_notification(tx, row.id, outcome=how, answered_at=row.answered_at or now)
    number = numbers.of_row(house, tx, row)
    if row.channel == Channel.TEXT and number is not None:
        # Only whoever holds that telephone has this link or code.
        numbers.proven(house, tx, row, number, now)
    drill_book.settle(house, tx, held, rules.confirmed(held.drill, row.target_id, how, now), now)
    _late(tx, held, row.target_id, now)
    log("drill_confirmed", drill=held.drill.id, person=row.target_id, how=how)


def _late(tx: Tx, held: drill_book.Held, person_id: UUID, now: datetime) -> None:
    """Answered after the end: the drill stays as it ended, but this contact is reached after all."""
    rung = held.drill.rung(person_id)
    if held.drill.over and rung is not None and rung.reached_at is None:
        drilled = held.drill.purpose is Purpose.DRILL and held.drill.detected_at is not None
        drill_book.mended(tx, held.patient, person_id, now, proven=drilled)


def not_reached(house: House, row: Row[Any], outcome: str) -> None:
    """A message could not be handed over, or waited too long; outside any transaction."""
    if row.step == "drill_news":
        return

    def rule(tx: Tx, drill: Drill, now: datetime) -> DrillDecision:
        return rules.missed(drill, row.target_id, row.attempt, _why(house, tx, row, now), now)

    try:
        _change(house, row.patient_id, row.incident_id, rule)
    except SealingError as error:
        _give_up(house, row.patient_id, row.incident_id, type(error).__name__)


def _why(house: House, tx: Tx, row: Row[Any], now: datetime) -> Miss:
    """Whose fault it is that a message did not go out: the number's, the carrier's, or the day's money."""
    current = outbox.notification(tx, row.id)
    if current is not None and current.outcome == "bad_number":
        return Miss.BAD_NUMBER
    if people.number_of(house, tx, row.target_id) is None and row.channel in {Channel.VOICE, Channel.TEXT}:
        return Miss.NO_NUMBER
    if spending.reached(house, tx, row.organisation_id, now):
        return Miss.HELD
    refused = site_store.fact(tx, carriers.CODE)
    never_tried = current is not None and current.tries == 0 and not (refused is not None and refused.value)
    return Miss.HELD if never_tried else Miss.CARRIER


