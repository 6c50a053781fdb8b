"""The stage must fail a story that rings the unannounced, says too much, or leaves a case to nobody."""

from __future__ import annotations

import pytest
from journey_stage import Stage
from sqlalchemy import update

from dispatch import messages
from service.loopback.calls import Call
from service.store.tables import IncidentRow, table
from service.workflows import telephone


def test_call_that_was_not_announced_fails_the_story(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    with pytest.raises(AssertionError, match=r"unexpected (call|text) to 김민지"):
        home.band.sos()
    daughter.phone.rings_out()


def test_text_after_the_telephone_was_told_to_keep_quiet_fails_the_story(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.is_switched_off()
    stage.desk.answers("3")
    home.band.sos()
    stage.advance_until(lambda: stage.desk.rang > 0)
    daughter.phone.keeps_quiet()
    with pytest.raises(AssertionError, match="unexpected text to 김민지"):
        stage.advance(30)
    daughter.phone.rings_out()


PRIVATE = ["김순자 님 일입니다.", "주소는 행복빌라입니다.", "심박수가 높습니다.", "82퍼센트입니다."]


@pytest.mark.parametrize("line", PRIVATE)
def test_private_word_before_a_key_fails_the_story(stage: Stage, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    menu = messages.contact_menu("ko")
    leaking = type(menu)(language="ko", lines=(line, *menu.lines), ask=True)
    monkeypatch.setattr(telephone.messages, "prompt_for", lambda *_args: leaking)
    with pytest.raises(AssertionError, match="before a key was pressed"):
        home.band.sos()
        stage.finish_calls()
    forget(stage.network.calls())


def forget(calls: list[Call]) -> None:
    for call in calls:
        call.said.clear()


def test_case_that_nothing_will_wake_fails_the_story(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.band.sos()
    with stage.database.write() as tx:
        tx.conn.execute(update(table(IncidentRow)).values(next_step_at=None))
    with pytest.raises(AssertionError, match="without a next step"):
        stage.watch.look()
    # The product's own auditor gives it back its step.
    stage.clock.jumped = True
    stage.settle()
    assert stage.mended == 1
