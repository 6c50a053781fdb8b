"""Our own faults: a detector that breaks, records that do not open. Never silence, never a 500."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from journey_marks import both_engines
from journey_people import Home, Person
from journey_stage import Stage
from sqlalchemy import func, select, update

from service.detection import analyse
from service.store.tables import DetectorState, IncidentRow, Patient, Receipt, Upload, table
from service.store.tables import Person as PersonRow
from service.workflows import arrivals, readings

_UPLOAD = table(Upload)


def family(stage: Stage) -> tuple[Home, Person]:
    daughter = stage.person("김민지")
    return stage.home(daughter), daughter


def broken(*_args: object, **_kwargs: object) -> None:
    raise ZeroDivisionError("a bug in a detector")


def break_detection(patch: pytest.MonkeyPatch) -> None:
    for room in (readings, arrivals):
        patch.setattr(room, "analyse", broken)


def mend_detection(patch: pytest.MonkeyPatch) -> None:
    for room in (readings, arrivals):
        patch.setattr(room, "analyse", analyse)


@both_engines
def test_detector_that_breaks_costs_no_reading_and_the_desk_hears_of_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, daughter = family(stage)
    home.band.measures()
    stage.advance(400)
    break_detection(monkeypatch)
    stage.desk.rings_out()
    answer = home.band.measures(spo2_pct=82)
    assert {v["verdict"] for v in answer["verdicts"]} == {"stored"}
    assert stage.conditions(home) == ["detection_failed"]
    assert (stage.desk.rang, home.phone.rang, daughter.phone.rang) == (1, 0, 0)
    [row] = stage.incidents(home)
    assert row.technical
    status = stage.machine().get(f"/v1/patients/{home.id}/status").json()
    assert (status["word"], status["why"]) == ("unknown", "undetected")
    own = stage.caregiver("김민지", "own", home)
    assert own.get(f"/patients/{home.id}").status_code == 200

    # An SOS needs no detector.
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id

    # Mended: the sweeper finds in the old readings what was missed.
    mend_detection(monkeypatch)
    stage.advance(5)
    assert set(stage.conditions(home)) == {"sos", "spo2_low"}
    assert stage.rows(select(func.count()).where(_UPLOAD.c.detected_at.is_(None)))[0][0] == 0
    assert stage.machine().get(f"/v1/patients/{home.id}/status").json()["why"] == "sign"


def test_detector_that_breaks_on_the_upload_with_the_sos_does_not_stop_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, daughter = family(stage)
    daughter.phone.answers("3")
    stage.desk.rings_out()
    break_detection(monkeypatch)
    home.band.post(series=[home.band.series(20)], readings=[home.band.event("sos")])
    stage.finish_calls()
    case = stage.case(home)
    assert {r.condition.code for r in case.reasons} == {"sos", "detection_failed"}
    assert case.owner_id == daughter.id


def test_upload_that_waits_for_detection_makes_later_ones_wait_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = family(stage)
    stage.desk.rings_out()
    break_detection(monkeypatch)
    home.band.measures(60)
    stage.advance(60)
    home.band.measures(60)
    assert stage.rows(select(func.count()).where(_UPLOAD.c.detected_at.is_(None)))[0][0] == 2
    seen: list[int] = []

    def watching(states: Any, batches: Any, *more: Any) -> Any:
        seen.extend(int(batch.seq[0]) for batch in batches)
        return analyse(states, batches, *more)

    monkeypatch.setattr(readings, "analyse", watching)
    stage.advance(60)
    home.band.measures(60)
    assert seen == sorted(seen)
    assert len(seen) == 3
    assert "detection_failed" not in stage.conditions(home)


def tamper(stage: Stage, model: Any, **where: Any) -> None:
    """Flip one byte of every such row's sealed value, as a disk or an intruder would."""
    rows = table(model)
    column = next(c for c in rows.c if c.name == "sealed")
    for row in stage.rows(select(rows)):
        if all(getattr(row, name) == value for name, value in where.items()):
            sealed = bytearray(row.sealed)
            sealed[-1] ^= 1
            same = [c == getattr(row, c.name) for c in rows.primary_key]
            with stage.database.write() as tx:
                tx.conn.execute(update(rows).where(*same).values({column: bytes(sealed)}))


@both_engines
def test_case_that_does_not_open_is_reported_to_the_desk(stage: Stage) -> None:
    home, daughter = family(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.rings_out()
    home.band.sos()
    stage.advance(5)
    tamper(stage, IncidentRow)
    [row] = stage.incidents(home)
    stage.desk.rings_out()
    stage.advance(120)
    assert "record_unreadable" in stage.conditions(home)
    assert stage.desk.rang >= 1

    broken_case = stage.machine().get(f"/v1/incidents/{row.id}")
    assert broken_case.status_code == 200
    assert broken_case.json()["unreadable"] is True
    assert dispatcher.get("/board").status_code == 200
    assert dispatcher.get(f"/incidents/{row.id}").status_code == 200
    refused = dispatcher.act(row.id, "acknowledge")
    assert (refused.status_code, refused.json()["code"]) == (409, "record_unreadable")

    # The next cry opens a case that can be handled.
    rang = daughter.phone.rang
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    assert daughter.phone.rang > rang
    assert stage.case(home).owner_id == daughter.id


def test_key_pressed_for_a_case_that_does_not_open_reaches_the_desk(stage: Stage) -> None:
    home, daughter = family(stage)
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance(2)
    tamper(stage, IncidentRow)
    daughter.phone.presses("3")
    stage.advance(10)
    assert "record_unreadable" in stage.conditions(home)
    assert stage.desk.rang >= 1
    assert "행복빌라" not in daughter.phone.heard


def test_two_sealed_cases_swapped_do_not_open(stage: Stage) -> None:
    homes = [family(stage)[0], stage.home(stage.person("박서준"), name="박영호")]
    for home in homes:
        home.contacts[0].phone.rings_out()
        home.band.sos()
    stage.advance(2)
    incident = table(IncidentRow)
    [first], [second] = (stage.incidents(home) for home in homes)
    with stage.database.write() as tx:
        for one, other in ((first, second), (second, first)):
            tx.conn.execute(update(incident).where(incident.c.id == one.id).values(sealed=other.sealed))
    stage.desk.rings_out()
    stage.advance(120)
    for home in homes:
        assert "record_unreadable" in stage.conditions(home)


def test_report_of_an_unreadable_case_is_heard_again_after_the_desk_closed_an_earlier_one(stage: Stage) -> None:
    home, daughter = family(stage)
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.rings_out()
    stage.desk.rings_out()
    home.band.measures()
    tamper(stage, Upload)
    home.band.next_seq = 1
    home.band.measures(10)
    assert "record_unreadable" in stage.conditions(home)
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "close", reason="technical").status_code == 200
    stage.finish_calls()
    rang = stage.desk.rang
    stage.advance(3000)
    home.band.measures(10)
    assert stage.desk.rang == rang, "what the desk closed does not nag"
    home.band.sos()
    stage.advance(2)
    tamper(stage, IncidentRow, closed_at=None)
    stage.advance(120)
    assert stage.desk.rang > rang


def test_detectors_memory_that_does_not_open_is_reported_and_begun_anew(stage: Stage) -> None:
    home, daughter = family(stage)
    home.band.measures()
    tamper(stage, DetectorState)
    stage.desk.rings_out()
    status = stage.machine().get(f"/v1/patients/{home.id}/status")
    assert (status.status_code, status.json()["word"]) == (200, "unknown")
    stage.advance(400)
    answer = home.band.measures()
    assert {v["verdict"] for v in answer["verdicts"]} == {"stored"}
    assert stage.conditions(home) == ["record_unreadable"]
    assert stage.desk.rang == 1
    # Watched over again: the next bad sign is found.
    stage.advance(400)
    home.phone.answers("2")
    daughter.phone.answers("3")
    home.band.measures(spo2_pct=82)
    stage.finish_calls()
    assert "spo2_low" in stage.conditions(home)
    assert stage.case(home).owner_id == daughter.id


def test_upload_that_does_not_open_is_reported_and_detection_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = family(stage)
    stage.desk.rings_out()
    break_detection(monkeypatch)
    home.band.measures(60)
    tamper(stage, Upload)
    mend_detection(monkeypatch)
    stage.advance(60)
    home.band.measures(60)
    assert "record_unreadable" in stage.conditions(home)
    assert stage.rows(select(func.count()).where(_UPLOAD.c.detected_at.is_(None)))[0][0] == 0
    page = stage.machine().get(f"/v1/patients/{home.id}/observations", vital="spo2_pct")
    assert (page.status_code, len(page.json()["observations"])) == (200, 60)


@pytest.mark.parametrize("model", [Upload, Receipt])
def test_sos_rings_although_what_it_is_compared_with_does_not_open(stage: Stage, model: Any) -> None:
    home, daughter = family(stage)
    daughter.phone.answers("3")
    stage.desk.rings_out()
    upload = home.band.upload(series=[home.band.series(20)])
    assert home.band.wearable.post(upload).status_code == 200
    tamper(stage, model)
    assert home.band.wearable.post(upload).status_code == 200
    home.band.next_seq = 5
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


@pytest.mark.parametrize("whose", ["patient", "patients profile", "contact"])
@both_engines
def test_sos_rings_although_a_persons_record_does_not_open(stage: Stage, whose: str) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    daughter.phone.answers("3")
    son.phone.is_busy()
    stage.desk.rings_out()
    spoil: dict[str, Callable[[], None]] = {
        "patient": lambda: tamper(stage, Patient),
        "patients profile": lambda: tamper(stage, PersonRow, id=home.id),
        "contact": lambda: tamper(stage, PersonRow, id=son.id),
    }
    spoil[whose]()
    home.band.sos()
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert son.phone.rang == (0 if whose == "contact" else 1)
    assert "record_unreadable" in {r.condition.code for r in stage.case(home).reasons}
    assert stage.machine().get(f"/v1/patients/{home.id}/status").status_code == 200


def test_one_unreadable_person_does_not_hide_another_persons_silence(stage: Stage) -> None:
    first, second = stage.home(name="김순자"), stage.home(name="박영호")
    tamper(stage, Patient, patient_id=first.id)
    tamper(stage, PersonRow, id=first.id)
    stage.desk.rings_out()
    second.phone.rings_out()
    stage.advance(3700)
    assert "device_never_reported" in stage.conditions(second)
    assert "device_never_reported" in stage.conditions(first)
