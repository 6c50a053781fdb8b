"""The personal fire drill: a synthetic SOS through the whole chain, which rings only as a drill and proves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
import requests
from journey_drills import Drills
from journey_marks import both_engines
from journey_people import Band, Home, spoken
from journey_stage import Stage

from dispatch import messages_doors
from dispatch.drill import DrillState, Link, Miss
from dispatch.plan import Contact
from service.app import build_house
from service.store import people as people_store
from service.tools.wearable import Wearable
from service.workflows import devices as device_flow
from service.workflows import drills as drill_flow
from service.workflows import plans, verifying, virtual_bands

LINK = re.compile(r"/r/([\w-]{43})")


def tap(stage: Stage, body: str) -> requests.Response:
    """Somebody taps the link of a text and presses its one button."""
    path = LINK.search(body)
    assert path is not None, body
    answer = requests.post(f"{stage.url}/r/{path[1]}", data={"action": "acknowledge"}, timeout=20)
    stage.settle()
    return answer


@both_engines
def test_a_drill_proves_the_whole_chain_when_everybody_taps_the_link(stage: Stage) -> None:
    son, neighbour = stage.person("박서준"), stage.person("윤미경")
    home = stage.home(son, neighbour, band=False)
    drills = Drills(stage)
    for one in (son, neighbour):
        one.phone.answers("3")
    drills.begin(home)
    assert [len(one.phone.texts) for one in (son, neighbour)] == [1, 1]
    for one in (son, neighbour):
        assert "훈련" in one.phone.texts[0].body
        assert tap(stage, one.phone.texts[0].body).status_code == 200
    drill = drills.until_over(home)
    assert drill.state is DrillState.PROVEN
    assert (son.phone.rang, neighbour.phone.rang, home.phone.rang, stage.desk.rang) == (0, 0, 0, 0)
    assert stage.incidents(home) == []
    assert drills.reach(home).proven_at == drill.ended_at
    assert drills.reach(home).broken_since is None
    assert {row.kind for row in drills.messages(home)} == {"drill"}


def test_whoever_does_not_tap_is_rung_and_one_key_confirms(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    drills.begin(home)
    assert son.phone.rang == 0
    stage.advance(599)
    assert son.phone.rang == 0
    drill = drills.until_over(home)
    assert drill.state is DrillState.PROVEN and drill.rungs[0].how == "key"
    assert "훈련" in son.phone.calls[0].said[0]["text"]
    assert "3번을 누르셨습니다" in son.phone.heard and "훈련" in spoken(son.phone.calls[0])
    assert home.phone.rang == 0


def test_one_dead_number_shows_red_within_a_day_and_the_others_are_proven(stage: Stage) -> None:
    son, dead = stage.person("박서준"), stage.person("윤미경")
    home = stage.home(son, dead, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    dead.phone.is_switched_off()
    began = stage.clock()
    drills.begin(home)
    drill = drills.until_over(home)
    assert drill.state is DrillState.BROKEN
    assert drill.ended_at is not None and drill.ended_at - began < timedelta(days=1)
    assert [rung.broken for rung in drill.rungs] == [None, Miss.FAILED]
    assert dead.phone.rang == 3
    reach = drills.reach(home)
    assert reach.proven_at == drill.ended_at and reach.broken_link == f"{dead.id}:failed"
    told = [m.body for m in son.phone.texts]
    assert len(told) == 2 and "훈련" in told[1], "the family hears once what does not work"
    assert home.phone.rang == stage.desk.rang == 0


@pytest.mark.parametrize("how", ["busy", "rings_out", "voicemail", "hangs_up"])
def test_nothing_but_a_key_counts_and_the_tries_are_an_hour_apart(stage: Stage, how: str) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    phone = son.phone
    {"busy": phone.is_busy, "rings_out": phone.rings_out, "voicemail": phone.goes_to_voicemail,
     "hangs_up": lambda: phone.answers("", "")}[how]()  # fmt: skip
    drills.begin(home)
    drill = drills.until_over(home)
    wanted = {"busy": Miss.BUSY, "rings_out": Miss.NO_ANSWER, "voicemail": Miss.VOICEMAIL, "hangs_up": Miss.NO_KEY}
    assert (drill.state, drill.rungs[0].broken) == (DrillState.BROKEN, wanted[how])
    at = [call.times["created"] for call in phone.calls]
    assert [b - a for a, b in pairwise(at)] == [timedelta(hours=1)] * 2
    assert drills.reach(home).proven_at is None


def test_a_drill_gives_way_to_a_real_sos_and_ends_afterwards(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(ANSIM_SILENT_AFTER_S="86400")
    son = stage.person("박서준")
    home = stage.home(son)
    drills = Drills(stage)
    son.phone.answers("3")
    stage.desk.keeps_quiet()
    drills.begin(home)
    stage.advance(300)
    assert son.phone.rang == 0 and drills.last(home).state is DrillState.RUNNING
    assert home.band is not None
    home.phone.answers("2")
    home.band.sos()
    assert len(stage.incidents(home)) == 1, "a real press during a drill is a real incident"
    assert drills.last(home).state is DrillState.WAITING
    stage.advance(1200)
    kinds = {row.kind for row in stage.outbox(home) if row.channel == "voice"}
    assert "drill" not in kinds, "no drill rings beside a real incident"
    stage.machine().act(stage.incidents(home)[0].id, "close", reason="needed_help")
    closed = stage.clock()
    assert stage.incidents(home)[0].closed_at is not None
    stage.advance(3000)
    assert drills.last(home).state is DrillState.WAITING, "people are left alone for an hour"
    drill = drills.until_over(home)
    assert drill.state is DrillState.PROVEN and drill.ended_at is not None
    assert drill.ended_at - closed >= timedelta(hours=1)
    assert len(stage.incidents(home)) == 1


def test_a_drill_call_that_is_answered_after_a_real_incident_opened_says_to_hang_up(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son)
    drills = Drills(stage)
    son.phone.waits_for_the_story()
    stage.desk.answers("3")
    drills.begin(home)
    stage.advance(601)
    assert son.phone.rang == 1
    home.phone.answers("2")
    band = home.band
    assert band is not None
    assert band.wearable.post(band.upload(readings=[band.event("sos")])).status_code == 200
    stage.network.press(son.phone.number, "3")
    stage.advance(2)
    assert "끊고 다음 전화를" in spoken(son.phone.calls[0])


def test_the_virtual_bands_sos_can_never_open_an_incident_and_leaves_no_trace_as_a_reading(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    drills.begin(home)
    drills.until_over(home)
    for _ in range(3):
        assert virtual_bands.press(stage.house, home.id), "the door takes it without a drill too"
        stage.settle()
    stage.advance(3 * 3600)
    assert stage.incidents(home) == [] and stage.conditions(home) == []
    assert son.phone.rang == 1
    assert stage.machine().get("/v1/incidents").json()["incidents"] == []
    status = stage.machine().get(f"/v1/patients/{home.id}/status").json()
    assert status["word"] == "unknown" and status["data_age_s"] is None


def test_a_real_band_that_calls_itself_virtual_is_a_real_band(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    home.phone.answers("2")
    drills.begin(home)
    code = device_flow.issue_code(stage.house, home.id)
    Band(stage, Wearable.enrol(stage.url, code, virtual_bands.MODEL)).sos()
    assert [row.priority for row in stage.incidents(home)] == ["high"]
    stage.finish_calls()


def test_a_drill_at_three_in_the_morning_waits_for_nine_but_a_broken_door_is_seen_at_once(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage()
    stage.clock.move_to(stage.clock() + timedelta(hours=17))
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3").keeps_quiet()
    drills.begin(home)
    assert drills.last(home).detected_at is not None
    stage.advance(5.9 * 3600)
    assert son.phone.texts == []
    son.phone.answers("3")
    stage.advance(0.2 * 3600)
    assert len(son.phone.texts) == 1
    assert drills.until_over(home).state is DrillState.PROVEN


def test_a_door_that_does_not_answer_is_the_broken_link_and_nobody_is_rung(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(ANSIM_SELF_URL="http://127.0.0.1:9")
    home = stage.home(stage.person("박서준"), band=False)
    drills = Drills(stage)
    drills.begin(home)
    drill = drills.until_over(home)
    assert (drill.state, drill.links) == (DrillState.BROKEN, [Link.DOOR])
    assert stage.network.calls() == [] and stage.network.messages() == []


def test_a_carrier_that_is_out_is_the_broken_link_and_not_the_contact(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    stage.network.configure({"fail_next": 1000, "fail_mode": "500"})
    drills.begin(home)
    drill = drills.until_over(home)
    assert drill.links == [Link.CARRIER] and drill.missed == []
    assert drills.reach(home).broken_link == "carrier"
    assert [row.kind for row in drills.messages(home)] == ["drill"] * 4, "and the family is not told of it"


def test_a_wrong_number_is_retired_and_shows_red_at_once(stage: Stage) -> None:
    stranger = stage.person("박서준")
    home = stage.home(stranger, band=False)
    drills = Drills(stage)
    stranger.phone.answers("9")
    drills.begin(home)
    drill = drills.until_over(home)
    assert drill.rungs[0].broken is Miss.WRONG_NUMBER
    found = stage.machine().get(f"/v1/patients/{home.id}/reachability").json()
    assert found["red"] and [one["why"] for one in found["broken"] if one["link"] == "contact"] == ["wrong_number"]


@both_engines
def test_a_process_that_dies_between_two_steps_neither_loses_a_drill_nor_asks_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")

    def dies(*_given: object) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(virtual_bands, "press", dies)
        drills.begin(home)
    assert drills.last(home).knocks == 1 and drills.last(home).detected_at is None
    stage.advance(20)
    assert drills.last(home).detected_at is not None
    other = build_house(stage.house.settings, clock=stage.clock)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: drill_flow.tick(one), [stage.house, other] * 4))
    stage.settle()
    assert len(son.phone.texts) == 1
    assert drills.until_over(home).state is DrillState.PROVEN
    assert (len(son.phone.texts), son.phone.rang) == (1, 1)
    other.database.dispose()


def test_who_answers_after_the_end_clears_their_own_link(stage: Stage) -> None:
    son = stage.person("박서준")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.rings_out()
    drills.begin(home)
    assert drills.until_over(home).state is DrillState.BROKEN
    assert drills.reach(home).broken_since is not None
    tap(stage, son.phone.texts[0].body)
    reach = drills.reach(home)
    assert (reach.broken_since, reach.broken_link, reach.proven_at) == (None, "", stage.clock())
    assert drills.last(home).state is DrillState.BROKEN, "the drill stays as it ended"


def test_a_reply_with_the_exact_code_confirms_where_replies_come_back(stage: Stage) -> None:
    son = stage.person("박서준", "+12125550143")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("3")
    drills.begin(home)
    code = re.search(r"\b(\d{4}) 회신", son.phone.texts[0].body)
    assert code is not None, son.phone.texts[0].body
    stage.network.text_url = f"{stage.url}/v1/telephony/twilio/text"
    stage.phone(stage.our_number, "안심").may_text = True
    stage.network.texts.text_us(son.phone.number, stage.our_number, code[1])
    stage.settle()
    drill = drills.until_over(home)
    assert (drill.state, drill.rungs[0].how) == (DrillState.PROVEN, "reply")


def test_every_word_of_a_drill_says_so_in_english_too(stage: Stage) -> None:
    son = stage.person("박서준", language="en")
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("", "3")
    drills.begin(home)
    drills.until_over(home)
    assert "drill" in son.phone.texts[0].body and "Confirm here" in son.phone.texts[0].body
    assert all("drill" in line["text"] for line in son.phone.calls[0].said if "press" not in line["text"].lower()
               or "You pressed" in line["text"])  # fmt: skip
    page = requests.get(stage.url + LINK.search(son.phone.texts[0].body)[0], timeout=20)  # type: ignore[index]
    assert "drill" in page.text.lower()


def test_a_contact_of_two_people_is_not_drilled_while_the_other_needs_help(stage: Stage) -> None:
    daughter = stage.person("김민지")
    drilled, other = stage.home(daughter, band=False), stage.home(daughter, name="이정희")
    drills = Drills(stage)
    daughter.phone.answers("3")
    other.phone.answers("2")
    assert other.band is not None
    other.band.sos()
    drills.begin(drilled)
    assert not any("훈련" in text.body for text in daughter.phone.texts)
    stage.finish_calls()
    stage.machine().act(stage.incidents(other)[0].id, "close", reason="needed_help")
    assert drills.until_over(drilled).state is DrillState.PROVEN


def test_a_new_number_is_verified_by_a_link_and_counts_in_the_next_incident(stage: Stage) -> None:
    son = stage.person("박서준", verified=False)
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("1")
    assert _contact(stage, home).verified is False
    verifying.begin(stage.house, home.id, son.id)
    stage.settle()
    body = son.phone.texts[0].body
    assert "박서준" not in body and "번호가 맞는지" in body
    page = tap(stage, body)
    assert page.status_code == 200 and "훈련" not in page.text
    assert _contact(stage, home).verified is True
    assert drills.until_over(home).state is DrillState.PROVEN and son.phone.rang == 0
    with_case = verifying.begin(stage.house, home.id, son.id, call=True)
    stage.settle()
    assert drills.until_over(home).id == with_case
    assert son.phone.rang == 1 and "비상 연락처" in son.phone.heard
    stage.clock.move_to(stage.clock() + timedelta(days=181))
    assert _contact(stage, home).verified is False, "numbers change hands"


def _contact(stage: Stage, home: Home) -> Contact:
    with stage.house.database.read() as tx:
        patient = people_store.patient(tx, home.id)
        assert patient is not None
        return plans.policy_for(stage.house, tx, patient)[0].contacts[0]


@pytest.mark.parametrize("key", ["5", "0", "#"])
def test_a_thumb_that_slips_in_a_drill_hears_the_menu_again_and_may_still_confirm(stage: Stage, key: str) -> None:
    son = stage.person("박서준", verified=False)
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers(key, key, "3")
    drills.begin(home)
    drill = drills.until_over(home)
    assert drill.state is DrillState.PROVEN and son.phone.rang == 1
    assert son.phone.calls[0].menus == 3
    assert son.phone.heard.count(messages_doors.word("wrong_key", "ko")) == 2


def test_only_wrong_keys_in_a_drill_are_no_answer_and_prove_nothing(stage: Stage) -> None:
    son = stage.person("박서준", verified=False)
    home = stage.home(son, band=False)
    drills = Drills(stage)
    son.phone.answers("5", "6", "7", "3")
    drills.begin(home)
    drill = drills.until_over(home)
    assert (drill.state, drill.rungs[0].broken) == (DrillState.BROKEN, Miss.NO_KEY)
    assert son.phone.calls[0].menus == 3, "no more often than in a real call"
    with stage.house.database.read() as tx:
        assert [one.verified_at for one in people_store.phones_of(tx, [son.id])] == [None]


def test_a_drill_that_is_begun_in_the_evening_says_when_the_contacts_are_asked(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(ANSIM_TIME_ZONE="Asia/Tokyo")
    stage.clock.move_to(stage.clock() + timedelta(hours=17))
    home = stage.home(stage.person("박서준"), band=False)
    Drills(stage)
    desk = stage.staff("관제", "dispatcher")
    begun = desk.session.post(f"{desk.url}/v1/patients/{home.id}/drill?language=en", timeout=20).json()
    assert begun["contacts"]["later"] == "night" and "at 09:00" in begun["contacts"]["text"]
    stage.settle()
    assert "09:00에 연락드립니다" in desk.get("/reach").text
    reach = desk.get(f"/v1/patients/{home.id}/reachability?language=en").json()
    assert "between 20:00 and 09:00" in reach["drill"]["held"]["text"]
