"""Whoever is added is added whole: as a person and as what they are, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import Stage, make_stage

from service.store import people as people_store
from service.workflows import contacts, people
from service.workflows.people import Care, Profile

NAME = Profile(name="한새롬", phones=["+821055512345"])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    yield made
    made.house.database.dispose()


def patient(stage: Stage, _patient_id: UUID) -> UUID:
    return people.add_patient(stage.house, stage.organisation_id, NAME, Care(), district_code="26350")


def contact(stage: Stage, patient_id: UUID) -> UUID:
    ids = stage.organisation_id, patient_id
    return contacts.add(stage.house, *ids, NAME, relation="", position=0, login="new", password="a password")


def staff(stage: Stage, _patient_id: UUID) -> UUID:
    return people.add_staff(stage.house, stage.organisation_id, "operator", NAME, login="new", password="a password")


@pytest.mark.parametrize(
    ("add", "last"), [(patient, "add_patient"), (contact, "add_membership"), (staff, "add_membership")]
)
def test_nobody_is_added_by_half(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, add: Callable[[Stage, UUID], UUID], last: str
) -> None:
    patient_id = stage.patient()
    before = stage.rows("SELECT count(*) FROM person"), stage.rows("SELECT count(*) FROM person_phone")

    def full(*_given: Any, **_more: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(people_store, last, full)
    with pytest.raises(RuntimeError):
        add(stage, patient_id)
    assert (stage.rows("SELECT count(*) FROM person"), stage.rows("SELECT count(*) FROM person_phone")) == before
    monkeypatch.undo()
    assert add(stage, patient_id)
