"""What the family reads of signs that ring nobody: while they last, when they are over, and what is still learnt."""

from __future__ import annotations

from datetime import timedelta

from journey_people import Home
from journey_stage import Stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.detection import verdict
from service.detection.budget import Cause
from service.store import people as people_store
from service.workflows import cases, family, memory


def sign(stage: Stage, code: str, priority: Priority = Priority.LOW, **params: float) -> AlarmCondition:
    now = stage.clock()
    return AlarmCondition(
        code=code,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=priority,
        started_at=now - timedelta(hours=9),
        detected_at=now,
        params={"age_s": 60, **params},
    )


def told(stage: Stage, home: Home, *found: AlarmCondition, ended: str = "") -> None:
    with stage.house.database.write() as tx:
        patient = people_store.lock_patient(tx, home.id)
        assert patient is not None
        cases.raise_conditions(stage.house, tx, patient, list(found), stage.clock())
        cases.end_conditions(stage.house, tx, patient, [ended] if ended else [], stage.clock())


def test_a_line_lasts_with_its_beginning_and_is_history_when_it_is_over(stage: Stage) -> None:
    home = stage.home(stage.person("김민지"))
    home.band.measures()
    told(stage, home, sign(stage, "breathing_drift_up", value=22.4, usual=16.1, duration_s=32_400))
    page = family.patient(stage.house, home.id, "ko")
    [line] = page["lines"]
    assert line["text"].startswith("호흡이 평소보다 빨라졌습니다 (분당 22회, 평소 16회, 9시간 동안 계속")
    assert line["since"] == stage.clock() - timedelta(hours=9)
    assert (page["word"], page["history"]) == ("well", [])
    told(stage, home, ended="breathing_drift_up")
    page = family.patient(stage.house, home.id, "en")
    assert page["lines"] == []
    [past] = page["history"]
    assert (past["reason"], past["lasted_text"]) == ("Breathing has become faster", "9 hours")


def test_a_line_that_rose_to_a_question_is_told_with_its_case_alone(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.answers("1")
    home.band.measures()
    told(stage, home, sign(stage, "deterioration_likely"))
    told(stage, home, sign(stage, "deterioration_likely", Priority.MEDIUM))
    page = family.patient(stage.house, home.id, "ko")
    assert (page["lines"], page["history"]) == ([], [])
    assert page["incident"]["reasons"][0].startswith("여러 측정값이 함께 나빠지고 있습니다")
    stage.finish_calls()


def test_the_page_says_which_verdict_raised_the_threshold_and_until_when(stage: Stage) -> None:
    home = stage.home(stage.person("김민지"))
    assert family.patient(stage.house, home.id, "ko")["standing"] is None
    home.band.measures()
    with stage.house.database.write() as tx:
        version, state = memory.carried(stage.house, tx, home.id)
        assert state is not None
        now_us = memory.micros(stage.clock())
        new = verdict.take(state, ("tachycardia",), false_because=Cause.DAILY_LIFE, was_true=False, now_us=now_us)
        memory.save(stage.house, tx, home.id, version + 1, new, stage.clock(), None)
    said = family.patient(stage.house, home.id, "ko")["standing"]
    [lifted] = said["lifted"]
    assert lifted["sign"] == "심장이 빠르게 뜁니다"
    assert abs(lifted["until"] - stage.clock() - timedelta(days=60)) < timedelta(seconds=2)
    assert said["given_up"] is None
