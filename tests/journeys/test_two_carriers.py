"""Two carriers behind one seam: somebody is rung although the first choice is out, and nobody twice without need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from journey_stage import Stage

BOTH = {"ANSIM_CARRIER": "twilio,solapi"}


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage("sqlite", **BOTH)


def weather(stage: Stage, mode: str, times: int = 99, provider: str = "twilio") -> None:
    stage.network.configure({"fail": {provider: {"next": times, "mode": mode}}, "hang_s": 0.1})


@pytest.mark.parametrize("mode", ["500", "429", "out_of_credit"])
def test_a_daughter_is_rung_by_the_second_carrier_and_takes_it_with_its_one_key(stage: Stage, mode: str) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("1")
    weather(stage, mode)
    home.band.sos()
    # After a server error the first is asked whether it acted all the same, and then the second.
    stage.advance(1)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    (call,) = [call for call in daughter.phone.calls if call.pressed]
    assert (call.provider, call.pressed) == ("solapi", ["1"])
    [page] = [m for m in stage.outbox(home) if (m.step, m.channel) == ("contact", "voice")]
    assert (page.provider, page.provider_id) == ("solapi", call.sid)


def test_who_only_listens_has_not_taken_it(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers()
    stage.desk.rings_out()
    weather(stage, "out_of_credit")
    home.band.sos()
    stage.advance_until(lambda: stage.desk.rang > 0)
    assert not stage.case(home).acknowledged
    assert {call.provider for call in daughter.phone.calls} == {"solapi"}


def test_a_call_that_the_first_carrier_took_in_spite_of_its_error_is_not_made_again(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.phone.rings_out()
    weather(stage, "500_acted")
    home.band.sos()
    stage.advance(1)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    assert len(daughter.phone.calls) == 1


def test_when_both_are_out_it_is_tried_until_one_is_back(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    stage.desk.rings_out()
    stage.network.configure({"fail_next": 6, "fail_mode": "429"})
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).owner_id == daughter.id, within_s=120)
    stage.finish_calls()


@pytest.mark.parametrize("callbacks", ["twice", "late", "lost"])
def test_a_report_may_come_twice_late_or_never_and_somebody_still_takes_it(stage: Stage, callbacks: str) -> None:
    daughter, son = stage.person("김민지"), stage.person("김민수")
    home = stage.home(daughter, son)
    daughter.phone.answers("1", callbacks=callbacks)
    son.phone.answers("1")
    stage.desk.rings_out()
    weather(stage, "out_of_credit", times=999)
    home.band.sos()
    taker = son if callbacks == "lost" else daughter
    stage.advance_until(lambda: stage.case(home).owner_id == taker.id, within_s=900)
    stage.finish_calls()
    assert stage.log(home).count("acknowledged") == 1
