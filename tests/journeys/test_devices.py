"""Devices that say nothing, whose clocks are wrong, that are revoked; codes that work once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests
from journey_marks import both_engines
from journey_people import Home, Person
from journey_stage import Stage

from service.tools.wearable import Wearable
from service.workflows import devices as device_flow


def family(stage: Stage) -> tuple[Home, Person]:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.phone.rings_out()
    return home, daughter


@both_engines
def test_device_that_never_reported_raises_an_alarm(stage: Stage) -> None:
    home, daughter = family(stage)
    stage.advance(3590)
    assert stage.incidents(home) == []
    stage.advance(200)
    assert stage.conditions(home) == ["device_never_reported"]
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert stage.case(home).priority == "medium"


@both_engines
def test_silent_device_raises_an_alarm_and_its_return_ends_it(stage: Stage) -> None:
    home, daughter = family(stage)
    daughter.phone.rings_out()
    stage.advance(600)
    home.band.measures()
    stage.advance(3700)
    assert stage.conditions(home) == ["device_silent"]
    [silence] = stage.case(home).reasons
    assert silence.condition.params["age_s"] >= 3600
    stage.advance_until(lambda: daughter.phone.rang == 1, within_s=180)
    home.band.measures(60)
    assert stage.conditions(home) == []
    case = stage.case(home)
    assert (case.state, case.close_reason) == ("closed", "device_reports_again")
    stage.finish_calls()
    assert len(daughter.phone.texts) == 2  # that a call follows, and that it is over


def test_person_who_answers_for_a_silent_device_is_believed(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.answers("1")
    stage.advance(3700)
    assert stage.case(home).state == "cancelled_by_patient"
    assert daughter.phone.rang == 0


def test_band_of_which_only_the_button_is_heard_is_not_silent(stage: Stage) -> None:
    home, _ = family(stage)
    for _ in range(4):
        stage.advance(1800)
        home.band.presses("ok_pressed")
    assert stage.incidents(home) == []
    stage.advance(3700)
    assert stage.conditions(home) == ["device_silent"]


def test_second_band_that_reports_means_that_nobody_is_silent(stage: Stage) -> None:
    home, _ = family(stage)
    second = stage.band(home)
    for _ in range(8):
        stage.advance(600)
        second.measures(60)
    assert stage.incidents(home) == []


@pytest.mark.parametrize(
    "clock_off", [timedelta(minutes=75), datetime(1970, 1, 1, tzinfo=UTC) - datetime(2026, 3, 2, 1, tzinfo=UTC)]
)
def test_silence_is_judged_by_receipt_whatever_the_devices_clock_says(stage: Stage, clock_off: timedelta) -> None:
    home, _ = family(stage)
    home.band.clock_off = clock_off
    home.band.measures()
    assert stage.conditions(home) == ["device_clock_wrong"]
    stage.advance(3500)
    assert stage.incidents(home) == []
    stage.advance(200)
    assert "device_silent" in stage.conditions(home)


@pytest.mark.parametrize(
    ("clock_off", "sent_at"),
    [
        (timedelta(minutes=75), True),
        (timedelta(minutes=75), False),
        (datetime(1970, 1, 1, tzinfo=UTC) - datetime(2026, 3, 2, 1, tzinfo=UTC), True),
        (datetime(1970, 1, 1, tzinfo=UTC) - datetime(2026, 3, 2, 1, tzinfo=UTC), False),
    ],
)
def test_sos_rings_at_once_whatever_the_devices_clock_says(
    stage: Stage, clock_off: timedelta, sent_at: bool
) -> None:
    home, daughter = family(stage)
    home.band.clock_off = clock_off
    upload = home.band.upload(readings=[home.band.event("sos")])
    if not sent_at:
        # A clock that was set between the press and the upload, or a device that says nothing about it.
        upload["sent_at"] = stage.clock().isoformat()
    response = home.band.wearable.post(upload)
    assert response.status_code == 200
    stage.settle()
    assert daughter.phone.rang == 1
    [reason] = [r for r in stage.case(home).reasons if r.condition.code == "sos"]
    assert abs((reason.condition.started_at - stage.clock()).total_seconds()) < 1
    assert reason.condition.params["clock_wrong"] is not sent_at
    stage.finish_calls()
    if not sent_at:
        assert "시계가 맞지 않음" in daughter.phone.heard
    else:
        assert "device_clock_wrong" in stage.conditions(home)


def test_late_sos_rings_and_says_how_late(stage: Stage) -> None:
    home, daughter = family(stage)
    home.band.sos(ago_s=2 * 3600)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert "2시간" in daughter.phone.heard


def test_our_own_clock_set_back_or_forward_an_hour_takes_no_step_twice(stage: Stage) -> None:
    home, daughter = family(stage)
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    assert daughter.phone.rang == 1
    stage.clock.jump(-3600)
    stage.settle()
    assert daughter.phone.rang == 1
    stage.clock.jump(+3600)
    stage.settle()
    # Forwards, an hour looks as if it had passed: the next step is due, and only that.
    assert daughter.phone.rang == 2
    daughter.phone.presses("3")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    stage.clock.jump(-3600)
    stage.advance(60)
    assert daughter.phone.rang == 2
    stage.advance(900)
    assert "returned_to_queue" in stage.log(home), "nothing waits longer than its own delay"


def test_revoked_device_is_refused_at_its_next_request_and_others_are_not(stage: Stage) -> None:
    home, _ = family(stage)
    other = stage.band(home)
    home.band.measures(10)
    assert device_flow.revoke_device(stage.house, home.band.id, stage.clock())
    refused = home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    assert (refused.status_code, refused.json()["code"]) == (401, "device_revoked")
    assert stage.incidents(home) == []
    other.measures(10)
    stage.advance(3000)
    other.measures(10)
    stage.advance(3000)
    assert stage.incidents(home) == [], "a revoked device is not silent"


@both_engines
def test_enrolment_code_works_once_and_expires(stage: Stage) -> None:
    home = stage.home(band=False)
    code = device_flow.issue_code(stage.house, home.id)
    Wearable.enrol(stage.url, code, "test-band")
    with pytest.raises(requests.HTTPError) as refused:
        Wearable.enrol(stage.url, code, "test-band")
    assert refused.value.response.status_code == 401
    assert refused.value.response.json()["code"] == "code_refused"
    late = device_flow.issue_code(stage.house, home.id)
    stage.clock.move_to(stage.clock() + timedelta(days=7, seconds=1))
    with pytest.raises(requests.HTTPError):
        Wearable.enrol(stage.url, late, "test-band")
    with pytest.raises(requests.HTTPError):
        Wearable.enrol(stage.url, "AAAAAAAAAA", "test-band")
