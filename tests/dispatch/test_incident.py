"""The incident's own rules: edges, actions, next step, intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.codes import Action
from dispatch.incident import (
    EDGES,
    INTERVALS,
    PRE_SCENE,
    Contact,
    Going,
    Incident,
    Policy,
    Reason,
    State,
    allowed_actions,
    intervals,
    open_incident,
    progress_states,
)

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def fresh() -> Incident:
    return open_incident(id=uuid4(), patient_id=uuid4(), policy=Policy(version="1"))


def in_state(state: State) -> Incident:
    incident = fresh()
    incident.state = state
    return incident


def reason(code: str, kind: AlarmKind, priority: Priority = Priority.MEDIUM) -> Reason:
    found = AlarmCondition(code=code, kind=kind, priority=priority, started_at=NOW, detected_at=NOW)
    return Reason(condition=found)


def test_every_state_can_reach_closed():
    for state in State:
        seen, todo = {state}, [state]
        while todo:
            for following in EDGES[todo.pop()] - seen:
                seen.add(following)
                todo.append(following)
        assert State.CLOSED in seen


def test_every_state_before_the_scene_can_be_stood_down():
    for state in PRE_SCENE:
        assert State.STOOD_DOWN in EDGES[state]


def test_nothing_leaves_closed_and_only_confirmed_is_dispatched():
    assert EDGES[State.CLOSED] == frozenset()
    assert [s for s in State if State.DISPATCHED in EDGES[s]] == [State.CONFIRMED]


def test_the_next_step_is_the_earliest_of_all_due_times():
    incident = in_state(State.CHECKING)
    assert incident.next_step_at is None
    incident.ask.ends_at = NOW + timedelta(seconds=75)
    incident.ladder.due_at = NOW + timedelta(seconds=45)
    assert incident.next_step_at == NOW + timedelta(seconds=45)
    incident.state = State.CLOSED
    assert incident.next_step_at is None


@pytest.mark.parametrize("state", list(State))
def test_people_may_always_write_a_note(state):
    assert Action.NOTE in allowed_actions(in_state(state))


def test_the_allowed_actions_follow_the_state():
    assert allowed_actions(in_state(State.CLOSED)) == (Action.NOTE,)
    assert Action.CLOSE not in allowed_actions(in_state(State.CHECKING))
    assert Action.DISPATCH in allowed_actions(in_state(State.CONFIRMED))
    assert Action.DISPATCH not in allowed_actions(in_state(State.DISPATCHED))
    assert Action.STAND_DOWN not in allowed_actions(in_state(State.ON_SCENE))
    assert progress_states(in_state(State.CONFIRMED)) == (State.AT_PATIENT,)
    assert progress_states(in_state(State.AT_PATIENT)) == (State.TRANSPORTING,)


def test_a_low_condition_rides_along_without_changing_what_an_incident_is():
    incident = fresh()
    incident.reasons = [
        reason("detection_failed", AlarmKind.TECHNICAL),
        reason("battery_low", AlarmKind.TECHNICAL, Priority.LOW),
    ]
    assert incident.desk_only
    incident.reasons.append(reason("device_silent", AlarmKind.TECHNICAL))
    assert not incident.desk_only
    assert incident.technical


def test_response_intervals_are_differences_of_two_stamps():
    times = {"received_at": NOW, "first_help_at": NOW + timedelta(minutes=9)}
    assert intervals(times)["received_to_first_help_s"] == 540
    assert intervals(times)["onset_to_first_help_s"] is None
    assert set(intervals({})) == set(INTERVALS)


def test_an_incident_survives_being_stored():
    incident = fresh()
    incident.policy = Policy(version="1", contacts=(Contact(person_id=uuid4()),))
    incident.reasons = [reason("spo2_low", AlarmKind.PHYSIOLOGICAL)]
    incident.ladder.rung = [uuid4()]
    incident.settle_at = NOW
    assert msgspec.json.decode(msgspec.json.encode(incident), type=Incident) == incident


def test_an_incident_that_was_sealed_by_an_earlier_version_still_opens():
    incident = fresh()
    incident.policy = Policy(version="1", contacts=(Contact(person_id=uuid4()),))
    incident.ladder.rung = [incident.policy.contacts[0].person_id]
    stored = msgspec.to_builtins(incident)
    added = {
        "": ("going", "coming", "handovers"),
        "ask": ("overlap_at", "wants_help", "duress", "calling_until", "beside_last", "fine_at", "fine_told"),
        "ladder": ("called", "doubted"),
        "policy": (
            *("overlap_s", "unvoiced_s", "eta_grace_s", "coming_s", "coming_again_s", "handover_s", "utc_offset_s"),
        ),
    }
    for part, names in added.items():
        for name in names:
            del (stored[part] if part else stored)[name]
    for name in ("channels", "verified", "quiet", "away_until"):
        del stored["policy"]["contacts"][0][name]
    assert msgspec.convert(stored, Incident) == incident


def test_who_is_awaited_said_so_holds_it_and_is_not_there_yet():
    incident = in_state(State.CONFIRMED)
    assert incident.awaited is None
    incident.owner_id, incident.acknowledged = uuid4(), True
    incident.going = Going(person_id=incident.owner_id, said_at=NOW, eta_at=NOW + timedelta(minutes=20))
    assert incident.awaited == incident.going
    for state in (State.AT_PATIENT, State.TRANSPORTING, State.CLOSED, State.STOOD_DOWN):
        incident.state = state
        assert incident.awaited is None
    incident.state, incident.owner_id = State.EN_ROUTE, uuid4()
    assert incident.awaited is None
