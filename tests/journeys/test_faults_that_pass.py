"""Faults that pass: a clock set forth and back, a database that could not be written to for a moment."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest
from journey_people import Home, Person
from journey_stage import Stage
from sqlalchemy.exc import OperationalError

from service.workflows import ticking

HOUR_S = 3600


def family(stage: Stage) -> tuple[Home, Person]:
    daughter = stage.person("김민지")
    return stage.home(daughter), daughter


def unwritable() -> OperationalError:
    return OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))


def test_silence_is_missed_in_time_although_the_clock_went_an_hour_forth_and_back(stage: Stage) -> None:
    home, daughter = family(stage)
    daughter.phone.answers("3")
    home.phone.rings_out()
    home.band.measures()
    ticking.beat(stage.house)
    for seconds in (HOUR_S, -HOUR_S):
        stage.clock.jump(seconds)
        ticking.beat(stage.house)
        stage.settle()
    assert stage.incidents(home) == []
    for _ in range(13):
        stage.clock.move_to(stage.clock() + timedelta(minutes=5))
        ticking.beat(stage.house)
        stage.settle()
    assert stage.conditions(home) == ["device_silent"]
    stage.finish_calls()


def test_step_that_the_database_could_not_take_is_taken_by_the_next_tick_and_is_no_broken_case(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, daughter = family(stage)
    home.phone.rings_out()
    daughter.phone.answers("3")
    home.band.presses("fall")
    [before] = stage.incidents(home)
    stage.clock.move_to(before.next_step_at)
    with monkeypatch.context() as patch:

        def locked(*_given: Any, **_more: Any) -> None:
            raise unwritable()

        patch.setattr(stage.house.committer, "run", locked)
        ticking.run_due(stage.house)
    [after] = stage.incidents(home)
    assert after.next_step_at == before.next_step_at
    assert stage.conditions(home) == ["fall"]
    stage.advance_until(lambda: daughter.phone.rang > 0, 300)
    stage.finish_calls()
