"""The auditor: what should have moved and did not is counted, mended, and told to the desk once an hour."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import Stage, make_stage
from sqlalchemy import select, update

from service.store import incidents as store
from service.store import outbox
from service.store.tables import AlarmConditionRow, IncidentRow, Notification, Snooze, table
from service.workflows import auditing, cases, health, ticking

_INCIDENT, _OUTBOX = table(IncidentRow), table(Notification)
_SNOOZE, _CONDITION = table(Snooze), table(AlarmConditionRow)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = make_stage(tmp_path)
    for _ in range(2):
        made.patient()
    return made


def sos(stage: Stage) -> UUID:
    patient_id = stage.patient()
    band = stage.band(patient_id)
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    return patient_id


def change(stage: Stage, query: Any) -> None:
    with stage.house.database.write() as tx:
        tx.conn.execute(query)


def own_faults(stage: Stage) -> int:
    with stage.house.database.read() as tx:
        rows = tx.conn.execute(select(_CONDITION.c.code).where(_CONDITION.c.code == auditing.CODE)).all()
    return len(rows)


def test_a_service_that_works_has_nothing_to_tell(stage: Stage) -> None:
    sos(stage)
    assert auditing.look(stage.house).amiss == 0
    assert own_faults(stage) == 0
    assert health.details(stage.house)["audit"] == "ok"


def test_a_step_that_falls_due_between_two_ticks_is_nothing_amiss(stage: Stage) -> None:
    sos(stage)
    stage.clock.advance(180)
    found = auditing.look(stage.house)
    assert (found.mended, found.steps_overdue) == (0, 1)
    assert ticking.run_due(stage.house) == 1


def test_a_case_without_a_next_step_is_mended_and_the_desk_hears_of_it_once_an_hour(stage: Stage) -> None:
    sos(stage)
    change(stage, update(_INCIDENT).values(next_step_at=None))
    assert auditing.look(stage.house).mended == 1
    with stage.house.database.read() as tx:
        rows = store.all_open_incidents(tx)
        assert all(row.next_step_at is not None for row in rows)
        assert auditing.mended_so_far(tx) == 1
    technical = [row for row in rows if row.technical]
    assert len(technical) == 1
    assert [r.condition.code for r in cases.open_case(stage.house, technical[0]).reasons] == [auditing.CODE]
    with stage.house.database.read() as tx:
        targets = {row.target for row in outbox.notifications_of(tx, [technical[0].id])}
    assert targets == {"desk"}, "our own fault rings no family"
    change(stage, update(_INCIDENT).where(_INCIDENT.c.id != technical[0].id).values(next_step_at=None))
    assert auditing.look(stage.house).mended == 1
    assert own_faults(stage) == 1, "within the hour it is counted, not told again"


def test_an_hour_without_anything_to_mend_ends_the_condition_and_the_next_is_told_again(stage: Stage) -> None:
    sos(stage)
    change(stage, update(_INCIDENT).values(next_step_at=None))
    auditing.look(stage.house)
    stage.clock.advance(3700)
    ticking.run_due(stage.house)
    auditing.look(stage.house)
    with stage.house.database.read() as tx:
        assert store.still_open(tx, [auditing.CODE]) == []
    change(stage, update(_INCIDENT).where(_INCIDENT.c.technical.is_(False)).values(next_step_at=None))
    auditing.look(stage.house)
    assert own_faults(stage) == 2


def test_a_next_step_that_a_clock_set_back_put_too_far_off_is_mended(stage: Stage) -> None:
    sos(stage)
    stage.clock.advance(-3600)
    assert auditing.look(stage.house).mended >= 1


def test_jobs_that_are_killed_while_they_look_have_mended_what_they_saw_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        sos(stage)
    change(stage, update(_INCIDENT).values(next_step_at=None))
    opened, looked = cases.open_case, []  # it is opened once more to be put right

    def killed_at_the_second(house: Any, row: Any) -> Any:
        if row.id not in looked:
            looked.append(row.id)
        if len(looked) == 2:
            raise SystemExit
        return opened(house, row)

    monkeypatch.setattr(ticking, "AUDITED", 1)
    monkeypatch.setattr(cases, "open_case", killed_at_the_second)
    with pytest.raises(SystemExit):
        ticking.audit(stage.house)
    with stage.house.database.read() as tx:
        waiting = {row.id: row.next_step_at for row in store.all_open_incidents(tx)}
    assert waiting[looked[0]] is not None and waiting[looked[1]] is None


def test_a_page_that_could_go_out_after_somebody_took_the_case_is_taken_back(stage: Stage) -> None:
    sos(stage)
    change(stage, update(_INCIDENT).values(acknowledged=True))
    found = auditing.look(stage.house)
    assert found.pages_after_ack >= 1
    assert found.mended >= found.pages_after_ack
    with stage.house.database.read() as tx:
        kinds = {r.kind for r in tx.conn.execute(select(_OUTBOX).where(_OUTBOX.c.status == outbox.PENDING)).all()}
    assert not kinds & set(outbox.PAGING) or kinds <= {"technical", "page"}
    assert auditing.standing(stage.house).pages_after_ack == 0


def test_a_message_whose_worker_died_long_ago_is_counted(stage: Stage) -> None:
    sos(stage)
    long_ago = stage.clock() - timedelta(seconds=30)
    change(stage, update(_OUTBOX).values(status=outbox.CLAIMED, claimed_by="dead", lease_until=long_ago))
    assert auditing.look(stage.house).leases_dead >= 1
    assert "leases_dead" in health.details(stage.house)["audit"]


def test_a_snooze_and_a_held_sign_past_their_end_are_counted(stage: Stage) -> None:
    patient_id, ended = sos(stage), stage.clock() - timedelta(minutes=1)
    with stage.house.database.write() as tx:
        tx.conn.execute(
            _SNOOZE.insert().values(
                patient_id=patient_id, id=UUID(int=1), organisation_id=stage.organisation_id, code="tachycardia",
                from_at=ended - timedelta(hours=1), until_at=ended, by_id=UUID(int=2),
            )
        )  # fmt: skip
        tx.conn.execute(update(_CONDITION).values(held_until=ended))
    assert auditing.standing(stage.house).quiet_overdue == 2


def test_the_measures_tell_what_the_auditor_found(stage: Stage) -> None:
    sos(stage)
    change(stage, update(_INCIDENT).values(next_step_at=None))
    auditing.look(stage.house)
    measures = health.measures(stage.house)
    assert measures["ansim_audit_mended_total"][1] == 1
    assert measures["ansim_watchdog_looks"][1] == 0
    names = ("ansim_steps_overdue", "ansim_pages_after_ack", "ansim_leases_dead", "ansim_quiet_overdue")
    assert all(measures[name][1] == 0 for name in names)


def test_jobs_that_keep_being_killed_mend_every_case_in_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        sos(stage)
    # Written while the clock was an hour ahead.
    with stage.house.database.read() as tx:
        later = {row.id: row.next_step_at + timedelta(hours=1) for row in store.all_open_incidents(tx)}
    for incident_id, at in later.items():
        change(stage, update(_INCIDENT).where(_INCIDENT.c.id == incident_id).values(next_step_at=at))
    step, mended, alive, one_at_a_time = ticking._step, set(), set(), threading.Lock()

    def killed_after_one(house: Any, patient_id: UUID, incident_id: UUID) -> None:
        with one_at_a_time:
            if not alive:
                return  # the process has ended
            step(house, patient_id, incident_id)
            mended.add(incident_id)
            alive.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(ticking, "_step", killed_after_one)
    for _ in later:
        alive.add("jobs")
        with pytest.raises(KeyboardInterrupt):
            ticking.audit(stage.house)
    assert mended == set(later)


def test_a_case_that_was_put_off_because_it_cannot_go_on_is_left_alone_until_then(stage: Stage) -> None:
    patient_id = sos(stage)
    with stage.house.database.write() as tx:
        [row] = store.all_open_incidents(tx)
        store.put_off(tx, patient_id, row.id, stage.clock() + cases.LOOK_AGAIN)
    stage.clock.advance(90)
    assert ticking.audit(stage.house) == 0
    stage.clock.advance(600)
    assert ticking.run_due(stage.house) == 1
