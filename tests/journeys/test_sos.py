"""From the help button to somebody who goes: the whole road, and that its times add up."""

from __future__ import annotations

from datetime import datetime, timedelta

from journey_marks import both_engines
from journey_people import spoken
from journey_stage import Stage
from sqlalchemy import select

from service.store.tables import AccessLog, table


@both_engines
def test_sos_rings_the_contact_who_takes_it_and_the_timeline_adds_up(stage: Stage) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    son.phone.is_busy()
    daughter.phone.answers("3", after=6.0)
    home.band.measures()
    stage.advance(20)
    received_at = stage.clock()

    home.band.sos(ago_s=4)
    stage.advance(120)

    assert (son.phone.rang, daughter.phone.rang) == (1, 1)
    [row] = stage.incidents(home)
    case = stage.machine().get(f"/v1/incidents/{row.id}").json()
    times = {name: datetime.fromisoformat(at) for name, at in case["times"].items()}
    assert times["onset_estimated_at"] == times["sensor_event_at"] == received_at - timedelta(seconds=4)
    assert times["received_at"] == times["first_notified_at"] == received_at
    # 1.5 s until the busy tone, 0.5 s to be put through, 6 s of ringing, 1 s of machine detection,
    # three sentences of half a second and half a second to the key.
    assert times["acknowledged_at"] - received_at == timedelta(seconds=1.5 + 0.5 + 6 + 1 + 3 * 0.5 + 0.5)
    assert list(times.values()) == sorted(times.values())
    for name, interval in case["intervals_s"].items():
        assert interval is None or interval >= 0, name
    assert case["intervals_s"]["received_to_acknowledged_s"] == 11.0
    assert case["intervals_s"]["onset_to_received_s"] == 4.0
    assert case["owner"] == {"id": str(daughter.id), "role": "caregiver", "name": "김민지"}
    assert [entry["at"] for entry in case["log"]] == sorted(entry["at"] for entry in case["log"])

    # Whoever was rung in vain learns that it is taken; who took it knows.
    assert len(son.phone.texts) == len(daughter.phone.texts) + 1
    # After the key, and only then, she hears whom it is about, why and where.
    assert all(word in daughter.phone.heard for word in ("김순자", "도움 버튼", "행복빌라"))

    closed = dispatcher.act(row.id, "close", reason="needed_help")
    assert closed.status_code == 200, closed.text
    assert (closed.json()["state"], closed.json()["close_reason"]) == ("closed", "needed_help")
    stage.advance(900)
    assert (son.phone.rang, daughter.phone.rang) == (1, 1)
    assert stage.rows(select(table(AccessLog)).where(table(AccessLog).c.purpose == "action:close"))


def test_sos_waits_for_no_answer_and_ok_pressed_does_not_close_it(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    assert stage.case(home).state == "confirmed"
    assert home.phone.rang == 0

    home.band.presses("ok_pressed")
    home.band.presses("sos_cancelled")
    stage.advance(10)
    assert stage.case(home).state == "confirmed"
    assert "late_fine" in stage.log(home)

    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_sos_of_somebody_without_contacts_rings_the_desk_at_once(stage: Stage) -> None:
    home = stage.home()
    stage.desk.answers("3")
    home.band.sos()
    stage.finish_calls()
    case = stage.case(home)
    assert (stage.desk.rang, case.acknowledged, case.owner_role) == (1, True, "desk")
    assert "김순자" in spoken(stage.desk.calls[0])


def test_second_sos_joins_the_open_case_and_opens_no_other(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.band.sos()
    stage.finish_calls()
    home.band.sos()
    stage.advance(60)
    assert len(stage.incidents(home)) == 1


def test_dispatcher_follows_the_case_to_the_end(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    dispatcher = stage.staff("이서연", "dispatcher")
    daughter.phone.waits_for_the_story()
    home.band.sos()
    [row] = stage.incidents(home)
    assert dispatcher.act(row.id, "claim").status_code == 200
    stage.advance(5)
    assert dispatcher.act(row.id, "acknowledge").status_code == 200
    daughter.phone.keeps_quiet(texts=True)
    stage.advance(30)
    assert dispatcher.act(row.id, "dispatch", reference="").status_code == 422
    assert dispatcher.act(row.id, "dispatch", reference="119-2026-77").status_code == 200
    for state in ("en_route", "on_scene", "at_patient", "transporting"):
        stage.advance(60)
        assert dispatcher.act(row.id, "progress", state=state).status_code == 200
    assert dispatcher.act(row.id, "close", reason="true_emergency").status_code == 200
    stage.settle()
    case = stage.machine().get(f"/v1/incidents/{row.id}").json()
    times = list(case["times"].values())
    assert times == sorted(times)
    assert case["intervals_s"]["unit_notified_to_on_scene_s"] == 120.0
    assert case["external_reference"] == "119-2026-77"
    assert dispatcher.act(row.id, "claim").status_code == 409
