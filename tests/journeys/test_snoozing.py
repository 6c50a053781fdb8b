"""Being quiet about a sign for a while: it ends by itself, and nothing grave ever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from journey_people import Console, Home
from journey_stage import Stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from service.store import people as people_store
from service.store import snoozes as snooze_store
from service.store.database import Tx
from service.workflows import cases, snoozes

HOUR = 3600.0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stage(request: pytest.FixtureRequest, make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(request.param)


class Family:
    """A home with a daughter who has a page and a telephone; signs are found as detection would find them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.daughter = stage.person("이영희", login="daughter", password="a password")
        self.home: Home = stage.home(self.daughter, band=False)
        self.page: Console = stage.log_in(self.daughter.id, "daughter")

    def finds(
        self, code: str = "tachycardia", priority: Priority = Priority.MEDIUM, grave: bool = False
    ) -> None:
        now = self.stage.clock()
        condition = AlarmCondition(
            code=code, kind=AlarmKind.PHYSIOLOGICAL, priority=priority, grave=grave, started_at=now, detected_at=now
        )

        def work(tx: Tx) -> None:
            patient = people_store.lock_patient(tx, self.home.id)
            assert patient is not None
            cases.raise_conditions(self.stage.house, tx, patient, [condition], now)

        self.stage.house.committer.run(work, key=self.home.id)
        self.settle()

    def clears(self, code: str = "tachycardia") -> None:
        def work(tx: Tx) -> None:
            patient = people_store.lock_patient(tx, self.home.id)
            assert patient is not None
            cases.end_conditions(self.stage.house, tx, patient, [code], self.stage.clock())

        self.stage.house.committer.run(work, key=self.home.id)
        self.settle()

    def snoozes(self, code: str = "tachycardia", hours: int = 2) -> requests.Response:
        path = f"{self.stage.url}/v1/patients/{self.home.id}/snoozes"
        return self.page.session.post(path, json={"code": code, "hours": hours}, timeout=20)

    def ends(self, snooze_id: str) -> requests.Response:
        path = f"{self.stage.url}/v1/patients/{self.home.id}/snoozes/{snooze_id}"
        return self.page.session.delete(path, timeout=20)

    def running(self) -> list[dict[str, Any]]:
        return list(self.page.get(f"/v1/patients/{self.home.id}/snoozes").json()["snoozes"])

    def settle(self) -> None:
        snoozes.sweep(self.stage.house)
        self.stage.settle()

    def waits(self, seconds: float) -> None:
        """Time passes; the sweep looks whenever it could matter."""
        until = self.stage.clock() + timedelta(seconds=seconds)
        while self.stage.clock() < until:
            self.stage.advance(min(600.0, (until - self.stage.clock()).total_seconds()))
            self.settle()

    @property
    def cases(self) -> int:
        return len(self.stage.incidents(self.home))


@pytest.fixture
def family(stage: Stage) -> Family:
    one = Family(stage)
    one.daughter.phone.keeps_quiet()
    one.home.phone.keeps_quiet()
    return one


def lets_ring(family: Family) -> None:
    family.home.phone.rings_out()
    family.daughter.phone.answers("3")
    family.stage.desk.answers("3")


def test_a_snoozed_sign_opens_nothing_and_stands_on_the_page_with_its_end(family: Family) -> None:
    assert family.snoozes().status_code == 201
    family.finds()
    assert family.cases == 0
    assert family.stage.conditions(family.home) == ["tachycardia"]
    assert [(one["code"], one["holds"], one["by"]) for one in family.running()] == [("tachycardia", True, "이영희")]
    page = family.page.get(f"/patients/{family.home.id}").text
    assert "그때까지 계속되면 전화합니다" in page
    family.waits(1.9 * HOUR)
    assert family.cases == 0


def test_a_snoozed_sign_that_is_still_true_at_the_end_rings_then_and_says_why(family: Family) -> None:
    family.snoozes(hours=1)
    family.finds()
    family.waits(HOUR - 120)
    assert family.cases == 0
    lets_ring(family)
    family.waits(180)
    assert family.cases == 1
    assert "held_back" in family.stage.log(family.home)
    family.waits(300)
    assert family.daughter.phone.rang == 1
    assert family.running() == []


def test_a_snoozed_sign_that_cleared_is_only_logged(family: Family) -> None:
    family.snoozes(hours=1)
    family.finds()
    family.waits(600)
    family.clears()
    family.waits(2 * HOUR)
    assert family.cases == 0
    assert "초 동안" in family.page.get(f"/patients/{family.home.id}").text or "10분" in family.page.get(
        f"/patients/{family.home.id}"
    ).text


def test_a_snooze_is_ended_early_by_one_tap_and_what_waited_rings_at_once(family: Family) -> None:
    snooze_id = family.snoozes(hours=8).json()["id"]
    family.finds()
    lets_ring(family)
    assert family.ends(snooze_id).status_code == 204
    family.settle()
    assert family.cases == 1
    assert family.ends(snooze_id).status_code == 204, "a second tap changes nothing"
    assert family.cases == 1
    family.waits(300)


def test_a_graver_sign_breaks_through_at_once_and_brings_along_what_waited(family: Family) -> None:
    family.snoozes(hours=8)
    family.finds()
    lets_ring(family)
    family.finds(priority=Priority.HIGH)
    assert family.cases == 1
    assert family.stage.case(family.home).priority is Priority.HIGH
    family.waits(300)


def test_an_sos_rings_although_everything_is_snoozed_and_tells_what_waited(family: Family) -> None:
    for code in ("tachycardia", "news2_medium"):
        family.snoozes(code, hours=8)
    family.finds()
    lets_ring(family)
    family.stage.band(family.home).sos()
    assert family.cases == 1
    case = family.stage.case(family.home)
    assert {reason.condition.code for reason in case.reasons} == {"sos", "tachycardia"}
    with family.stage.house.database.read() as tx:
        assert snooze_store.held(tx, family.home.id) == []
    family.waits(300)


def test_another_sign_of_the_same_weight_rings_by_itself_and_leaves_the_snoozed_one_alone(family: Family) -> None:
    family.snoozes("tachycardia", hours=8)
    family.finds("tachycardia")
    lets_ring(family)
    family.finds("news2_medium")
    assert [r.condition.code for r in family.stage.case(family.home).reasons] == ["news2_medium"]
    family.waits(300)


@pytest.mark.parametrize("code", ["sos", "fall", "fall_still", "spo2_low", "person_silent", "detection_failed", "x"])
def test_what_may_be_grave_cannot_be_snoozed(family: Family, code: str) -> None:
    answer = family.snoozes(code)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_snoozable")


def test_nothing_is_snoozed_longer_than_eight_hours(family: Family) -> None:
    for hours in (0, 3, 9, 24, -1):
        assert family.snoozes(hours=hours).status_code == 422
    family.snoozes(hours=8)
    family.finds()
    lets_ring(family)
    family.waits(8 * HOUR + 60)
    assert family.cases == 1


def test_a_snooze_and_what_it_holds_survive_a_restart(family: Family) -> None:
    family.snoozes(hours=1)
    family.finds()
    # Nothing of it is in memory: whoever sweeps next finds it in the tables.
    family.stage.house.extras.clear()
    lets_ring(family)
    family.waits(HOUR + 60)
    assert family.cases == 1


@pytest.mark.parametrize("jump_s", [-HOUR, HOUR])
def test_a_clock_set_by_an_hour_holds_nothing_longer_than_its_window(family: Family, jump_s: float) -> None:
    family.snoozes(hours=2)
    family.finds()
    family.waits(HOUR)
    assert family.cases == 0
    lets_ring(family)
    family.stage.clock.jump(jump_s)
    family.settle()
    since = family.stage.clock()
    while not family.cases and family.stage.clock() - since < timedelta(seconds=HOUR + 60):
        family.waits(300)
    assert family.cases == 1, "two hours after it was said nothing may be held any more"


def test_a_stranger_and_a_machine_cannot_snooze(family: Family) -> None:
    path = f"/v1/patients/{family.home.id}/snoozes"
    stranger = family.stage.caregiver("박낯선", "stranger")
    for one in (stranger, family.stage.machine()):
        answer = one.session.post(one.url + path, json={"code": "tachycardia", "hours": 1}, timeout=20)
        assert answer.status_code == 403
    dispatcher = family.stage.staff("관제사", "dispatcher")
    answer = dispatcher.session.post(dispatcher.url + path, json={"code": "tachycardia", "hours": 1}, timeout=20)
    assert answer.status_code == 403, "no case of theirs is open"


def test_a_dispatcher_sees_and_ends_a_snooze_while_a_case_is_open(family: Family) -> None:
    snooze_id = family.snoozes(hours=8).json()["id"]
    lets_ring(family)
    family.finds("news2_medium")
    dispatcher = family.stage.staff("관제사", "dispatcher")
    case = family.stage.incidents(family.home)[-1].id
    assert "빠르게" in dispatcher.get(f"/incidents/{case}").text
    path = f"{family.stage.url}/v1/patients/{family.home.id}/snoozes/{snooze_id}"
    assert dispatcher.session.delete(path, timeout=20).status_code == 204
    assert family.running() == []
    family.waits(300)


def test_the_form_on_the_page_snoozes_and_ends(family: Family) -> None:
    lets_ring(family)
    family.finds()
    family.waits(300)
    csrf = family.page.session.headers["X-CSRF-Token"]
    url = f"{family.stage.url}/patients/{family.home.id}"
    page = family.page.get(f"/patients/{family.home.id}").text
    assert 'name="hours" value="8"' in page
    form = {"csrf": csrf, "code": "tachycardia", "hours": "4"}
    said = family.page.session.post(f"{url}/snooze", data=form, timeout=20)
    assert said.status_code == 200
    assert "알림을" in said.text
    wrong = family.page.session.post(f"{url}/snooze", data={"csrf": csrf, "code": "sos", "hours": "4"}, timeout=20)
    assert wrong.status_code == 409
    assert "미룰 수 없습니다" in wrong.text
    snooze_id = family.running()[0]["id"]
    ended = family.page.session.post(f"{url}/snoozes/{snooze_id}/end", data={"csrf": csrf}, timeout=20)
    assert ended.status_code == 200
    assert family.running() == []


def test_a_sign_that_comes_back_after_its_case_was_closed_waits_for_the_end_of_its_snooze(family: Family) -> None:
    lets_ring(family)
    family.finds()
    family.waits(300)
    dispatcher = family.stage.staff("관제사", "dispatcher")
    first = family.stage.incidents(family.home)[-1].id
    dispatcher.act(first, "close", reason="false_alarm_person")
    family.snoozes(hours=2)
    family.finds()
    assert family.cases == 1
    family.waits(1.9 * HOUR)
    assert family.cases == 1
    family.waits(0.2 * HOUR)
    assert family.cases == 2
    family.waits(300)
