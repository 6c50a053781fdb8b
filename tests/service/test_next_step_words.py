"""What is said to come next is what comes next: never that a case is about to be lost while somebody is rung."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dispatch.incident import Incident, Policy, State, open_incident
from dispatch.regions import Handover, Unit, UnitStage
from service.workflows import faces

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=47), NOW + timedelta(minutes=15)
QUEUE = {"ko": "진행이 없으면 대기열로 돌아감", "en": "returns to the queue unless there is progress"}


def held() -> Incident:
    """Taken, and nothing due but its holder's deadline."""
    incident = open_incident(id=uuid4(), patient_id=uuid4(), policy=Policy(version="1"))
    incident.state, incident.deadline_at = State.CONFIRMED, LATER
    return incident


def coming(incident: Incident) -> None:
    incident.coming.due_at = SOON


def offered(incident: Incident) -> None:
    incident.handovers = [Handover(to="119", by=uuid4(), offered_at=NOW, due_at=SOON)]


def unit(incident: Incident) -> None:
    incident.unit = Unit(stage=UnitStage.CALLED, due_at=SOON)


def overlap(incident: Incident) -> None:
    incident.ask.overlap_at = SOON


@pytest.mark.parametrize(
    ("due", "korean", "english"),
    [
        (coming, "누가 오는지 본인에게", "say who is coming"),
        (offered, "전화로 대본 읽기", "by telephone"),
        (unit, "119 소식이 없으면", "unless there is news of 119"),
        (overlap, "다음 연락처로 전화", "rings the next contact"),
    ],
)
def test_each_step_is_told_as_what_it_does(due: Callable[[Incident], None], korean: str, english: str) -> None:
    incident = held()
    assert {language: faces._next_step(incident, {}, language) for language in QUEUE} == QUEUE
    due(incident)
    assert korean in (faces._next_step(incident, {}, "ko") or "")
    assert english in (faces._next_step(incident, {}, "en") or "")
