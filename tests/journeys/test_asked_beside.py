"""Asked beside an SOS, through the whole house: nothing waits, and whoever takes it hears what the person said."""

from __future__ import annotations

from datetime import timedelta

from journey_marks import both_engines
from journey_people import spoken
from journey_stage import Stage

from dispatch import messages
from dispatch.codes import Message
from service.store import outbox

FINE = "본인은 괜찮다고 답했습니다. 그래도 확인해 주세요."
KEYS = {"behaviour": "answer", "delay_s": 3.0}


@both_engines
def test_who_takes_an_sos_hears_that_the_person_called_it_a_mistake(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.answers("1")
    daughter.phone.answers("3", after=12.0)
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=60)
    [asked] = home.phone.asked_beside
    assert messages.prompt_for(Message.ASK_BESIDE, "ko").lines[1] in spoken(asked)
    stage.finish_calls()
    assert FINE in daughter.phone.heard
    case = stage.case(home)
    assert case.state == "confirmed" and case.owner_id == daughter.id
    assert messages.text_for(Message.SAYS_FINE, "ko") not in [text.body for text in daughter.phone.texts]
    # The dispatcher reads it under the reasons.
    page = stage.staff("이서연", "dispatcher").get(f"/incidents/{case.id}")
    assert page.status_code == 200 and FINE in page.text


def test_a_fine_after_somebody_took_it_reaches_them_in_writing_once(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.waits_for_the_story()
    daughter.phone.answers("3", after=1.0)
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=60)
    home.phone.presses("1")
    stage.advance(5)
    told = [text.body for text in daughter.phone.texts if messages.text_for(Message.SAYS_FINE, "ko") in text.body]
    assert len(told) == 1
    home.phone.rings_out()
    home.band.presses("ok_pressed")
    stage.advance(60)
    assert len([text for text in daughter.phone.texts if "괜찮다고" in text.body]) == 1
    assert stage.case(home).owner_id == daughter.id and stage.case(home).state == "confirmed"


def test_of_what_an_sos_sends_the_question_is_claimed_last(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    now = stage.clock()
    assert len({row.due_at for row in stage.outbox(home)}) == 1

    def claimed(most: int) -> list[str]:
        with stage.database.write() as tx:
            rows = outbox.claim_notifications(tx, "test", now, now + timedelta(seconds=5), most)
        return [row.kind for row in rows]

    assert claimed(1) == ["page"]
    assert claimed(2) == ["page", "ask"]
    daughter.phone.rings_out()
    stage.desk.rings_out()


def test_the_person_is_never_rung_twice_at_once(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.rings_out()
    daughter.phone.answers("3", "1", after=1.0)
    home.band.sos()
    stage.advance_until(lambda: bool(home.phone.told_who_comes), within_s=120)
    assert [call.status for call in home.phone.asked_beside] == ["no-answer"]
    assert len(home.phone.asked_beside) == 1


def test_the_answer_to_an_sos_lets_the_band_ask_and_its_ok_is_told(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.rings_out()
    daughter.phone.waits_for_the_story()
    answer = home.band.sos()
    assert answer["ask"]["text"] == messages.band_question("ko")
    home.band.presses("ok_pressed")
    daughter.phone.presses("3")
    stage.finish_calls()
    assert FINE in daughter.phone.heard
    assert "ask" not in home.band.measures(60)


def test_a_duress_key_beside_an_sos_is_told_to_nobody_as_fine(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter, duress_digit="7")
    home.phone.answers("7")
    daughter.phone.answers("3", after=14.0)
    home.band.sos()
    stage.finish_calls()
    assert home.phone.asked_beside == [] and home.phone.rang == 1
    assert "괜찮다고 답" not in daughter.phone.heard
    assert messages.ask_reply("ko", "fine").lines[0] in home.phone.heard
    assert not home.phone.told_who_comes


def test_help_beside_an_sos_offers_one_key_to_the_desk(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.answers("2")
    daughter.phone.waits_for_the_story()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance_until(lambda: "late_help" in stage.log(home), within_s=30)
    stage.advance(10)
    [asked] = home.phone.asked_beside
    assert "0번" in spoken(asked)
    daughter.phone.presses("3")
    stage.finish_calls()
    assert "괜찮다고 답" not in daughter.phone.heard
