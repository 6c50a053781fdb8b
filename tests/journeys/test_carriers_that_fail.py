"""A carrier that says nothing, is busy, refuses us or knows no such number; and what a spent day holds back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journey_marks import both_engines
from journey_people import Home, Person
from journey_stage import Stage

from dispatch.alarm import AlarmCondition, AlarmKind, Priority
from dispatch.incident import NotificationKind
from dispatch.notifier import (
    CallRequest,
    Fault,
    Found,
    MailRequest,
    NotificationError,
    PushRequest,
    Receipt,
    TextRequest,
)
from service.store import people as people_store
from service.workflows import browsers, cases, people, spending
from service.workflows.browsers import Browser, BrowserKeys
from service.workflows.people import Profile

PRICES = {"ANSIM_VOICE_COST_PER_MINUTE": "100", "ANSIM_TEXT_COST": "20"}


def sos(stage: Stage, *contacts: Person) -> Home:
    home = stage.home(*contacts)
    home.phone.answers("1")
    home.band.sos()
    return home


@pytest.mark.parametrize("channel", ["voice", "text"])
def test_carrier_that_acted_without_answering_is_asked_and_nobody_is_rung_twice(
    make_stage: Callable[..., Stage], channel: str
) -> None:
    stage = make_stage(ANSIM_SEND_TIMEOUT_S="0.6")
    daughter = stage.person("김민지")
    stage.desk.rings_out()
    daughter.phone.answers("3", "1")
    stage.network.configure({"fail_mode": "timeout_acted", "fail_next": 2})
    home = sos(stage, daughter)
    stage.advance(30)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id
    found = daughter.phone.calls if channel == "voice" else [t for t in daughter.phone.texts if "/r/" in t.body]
    assert len(found) == 1
    assert {m.status for m in stage.outbox(home) if m.step == "contact"} <= {"sent", "ended"}


@both_engines
def test_worker_that_died_after_the_carrier_took_it_rings_nobody_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter = stage.person("김민지")
    stage.desk.rings_out()
    daughter.phone.answers("3", "1")
    place, died = stage.house.notifier.place_call, []

    def place_and_die(request: CallRequest) -> Receipt:
        receipt = place(request)
        if request.to == daughter.phone.number and not died:
            died.append(receipt)
            raise SystemExit  # nothing is written down, as after a kill -9
        return receipt

    monkeypatch.setattr(stage.house.notifier, "place_call", place_and_die)
    home = stage.home(daughter)
    home.phone.answers("1")
    home.band.wearable.post(home.band.upload(readings=[home.band.event("sos")]))
    with pytest.raises(SystemExit):
        stage.settle()
    stage.advance(30)
    stage.finish_calls()
    assert died
    assert daughter.phone.rang == 1
    assert stage.case(home).owner_id == daughter.id


def test_lookup_that_finds_another_message_does_not_stand_for_this_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    first = sos(stage, daughter)
    stage.finish_calls()
    [known] = [m for m in stage.outbox(first) if (m.step, m.channel) == ("contact", "voice")]
    taken = Found(receipts=(Receipt(provider="twilio", id=known.provider_id),))
    monkeypatch.setattr(stage.house.notifier, "find_call", lambda *_asked: taken)
    place, failed = stage.house.notifier.place_call, []

    def unsure_once(request: CallRequest) -> Receipt:
        if request.to == daughter.phone.number and not failed:
            failed.append(request)
            raise NotificationError("no answer", permanent=False, ambiguous=True)
        return place(request)

    monkeypatch.setattr(stage.house.notifier, "place_call", unsure_once)
    second = stage.home(daughter, name="박영호")
    second.phone.answers("1")
    second.band.sos()
    stage.advance(10)
    stage.finish_calls()
    assert daughter.phone.rang == 2
    assert stage.case(second).owner_id == daughter.id


def test_carrier_that_cannot_be_asked_rings_again_rather_than_never(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    place, failed = stage.house.notifier.place_call, []

    def unsure_once(request: CallRequest) -> Receipt:
        if request.to == daughter.phone.number and not failed:
            failed.append(request)
            raise NotificationError("no answer", permanent=False, ambiguous=True)
        return place(request)

    def refuse(*_asked: Any) -> Found:
        raise NotificationError("no answer", permanent=False)

    monkeypatch.setattr(stage.house.notifier, "place_call", unsure_once)
    monkeypatch.setattr(stage.house.notifier, "find_call", refuse)
    stage.house.extras["stopwatch"] = lambda: stage.clock().timestamp()
    home = sos(stage, daughter)
    stage.advance(10)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_busy_carrier_costs_a_page_no_try_however_often(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    daughter = stage.person("김민지")
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    stage.house.extras["random"] = Random(1)
    place, refused = stage.house.notifier.place_call, []

    def too_many(request: CallRequest) -> Receipt:
        if request.to == daughter.phone.number and len(refused) < 7:
            refused.append(stage.clock())
            raise NotificationError("too many", permanent=False, code="429", retry_after_s=2.0)
        return place(request)

    monkeypatch.setattr(stage.house.notifier, "place_call", too_many)
    home = sos(stage, daughter)
    stage.advance_until(lambda: len(refused) == 7, within_s=200)
    waits = [(b - a).total_seconds() for a, b in pairwise(refused)]
    assert all(wait >= 2.0 for wait in waits)
    assert len(set(waits)) == len(waits)
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=120)
    stage.finish_calls()


def test_account_out_of_credit_counts_against_nobody_and_the_desk_is_told_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    neighbour = stage.home(name="이웃집", band=False)
    home = stage.home(son, daughter)
    son.phone.answers("3", "1")
    stage.desk.rings_out()
    place, send, broke = stage.house.notifier.place_call, stage.house.notifier.send_text, [True]

    def refusing(go: Callable[[Any], Receipt]) -> Callable[[Any], Receipt]:
        def maybe(request: CallRequest | TextRequest) -> Receipt:
            if broke[0]:
                raise NotificationError("no credit", permanent=True, fault=Fault.ACCOUNT, code="20005")
            return go(request)

        return maybe

    monkeypatch.setattr(stage.house.notifier, "place_call", refusing(place))
    monkeypatch.setattr(stage.house.notifier, "send_text", refusing(send))
    home.phone.answers("1")
    home.band.sos()
    stage.advance(20)
    assert "contact_call_ended" not in stage.log(home)
    assert stage.conditions(neighbour) == ["carrier_refuses"]
    assert len(stage.incidents(neighbour)) == 1
    board = stage.staff("이서연", "dispatcher").get("/board").text
    assert "통신사가 전화와 문자를 받아 주지 않습니다" in board
    broke[0] = False
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=120)
    stage.finish_calls()
    assert stage.conditions(neighbour) == []
    with stage.database.read() as tx:
        assert {p.broken_at for p in people_store.phones_of(tx, [son.id, daughter.id])} == {None}


def test_number_that_does_not_exist_is_passed_over_at_once_and_shown_as_broken(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    son = stage.person("김도윤", further_numbers=["+821077770000"])
    daughter = stage.person("김민지")
    stage.desk.rings_out()
    stage.phone("+821077770000", "김도윤의 다른 전화").rings_out()
    place = stage.house.notifier.place_call

    def no_such(request: CallRequest) -> Receipt:
        if request.to == son.phone.number:
            raise NotificationError("no such number", permanent=True, fault=Fault.NUMBER, code="21211")
        return place(request)

    monkeypatch.setattr(stage.house.notifier, "place_call", no_such)
    daughter.phone.answers("4")
    son.phone.keeps_quiet(texts=True)
    began = stage.clock()
    home = sos(stage, son, daughter)
    assert daughter.phone.rang == 1
    assert stage.clock() == began
    page = stage.staff("이서연", "dispatcher").get(f"/incidents/{stage.incidents(home)[0].id}").text
    assert "없는 번호" in page
    with stage.database.read() as tx:
        assert people.number_of(stage.house, tx, son.id) == ("+821077770000", "ko")
    stage.advance(60)
    assert stage.phone("+821077770000", "").rang >= 1


def test_spent_day_holds_back_news_and_never_a_page(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(**PRICES, ANSIM_SPEND_CAP_PER_DAY="1")
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    son.phone.rings_out()
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    home.phone.rings_out()
    medium(stage, home)
    stage.advance_until(lambda: stage.case(home).going is not None, within_s=600)
    stage.advance(90)
    case = stage.case(home)
    assert case.priority == "medium"
    told = [m for m in stage.outbox(home) if m.kind == "inform"]
    paged = [m for m in stage.outbox(home) if m.kind in {"page", "ask"}]
    assert {m.status for m in paged} <= {"sent", "ended", "cancelled"}
    assert {m.status for m in told} == {"pending"}
    assert {m.tries for m in told} == {0}
    assert "하루 비용 한도" in stage.staff("이서연", "dispatcher").get("/board").text
    stage.advance(300)
    later = {m.status for m in stage.outbox(home) if m.kind == "inform"}
    assert "expired" in later
    assert later <= {"expired", "pending"}


def medium(stage: Stage, home: Home) -> None:
    """A sign that opens a case of medium priority."""
    now = stage.clock()
    sign = AlarmCondition(
        code="heart_rate_high",
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.MEDIUM,
        started_at=now,
        detected_at=now,
    )

    def work(tx: Any) -> None:
        cases.raise_conditions(stage.house, tx, people_store.lock_patient(tx, home.id), [sign], now)

    stage.house.committer.run(work, key=home.id)
    stage.settle()


@given(
    kind=st.sampled_from(NotificationKind),
    step=st.sampled_from(["contact", "ask", "desk", "tell", "news", "coming", "verify", "drill", "connect"]),
    priority=st.sampled_from([None, "low", "medium", "high"]),
    grave=st.booleans(),
)
def test_no_page_question_or_grave_case_ever_waits_for_money(
    kind: str, step: str, priority: str | None, grave: bool
) -> None:
    waits = spending.may_wait(kind, step, priority, grave)
    if kind in {"page", "ask", "dispatch"} or grave or priority == "high":
        assert not waits
    if kind in {"inform", "drill"} and not grave and priority != "high":
        assert waits


def test_spent_day_holds_back_nothing_of_a_grave_case(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(**PRICES, ANSIM_SPEND_CAP_PER_DAY="1")
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    son.phone.rings_out()
    daughter.phone.answers("3", "1")
    stage.desk.rings_out()
    home = sos(stage, son, daughter)
    stage.advance_until(lambda: stage.case(home).going is not None, within_s=120)
    stage.finish_calls()
    stage.advance(30)
    stage.finish_calls()
    assert any("가고 있습니다" in text.body for text in son.phone.texts)
    assert not [m for m in stage.outbox(home) if m.status in {"pending", "expired"}]


def test_cost_of_a_day_is_counted_by_what_calls_really_took(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(**PRICES)
    daughter = stage.person("김민지")
    daughter.phone.rings_out()
    stage.desk.rings_out()
    home = sos(stage, daughter)
    stage.staff("이서연", "dispatcher").act(stage.incidents(home)[0].id, "acknowledge")
    stage.finish_calls()
    record = spending.record(stage.house, stage.organisation_id)
    by_channel = {day.channel: day for day in record.days}
    assert by_channel["text"].cost == str(20 * by_channel["text"].messages)
    # One call was picked up, for less than a minute; those that rang out cost nothing.
    stage.finish_calls()
    answered = [m for m in stage.outbox(home) if m.channel == "voice" and m.duration_s]
    assert by_channel["voice"].messages > len(answered)
    assert by_channel["voice"].cost == str(100 * len(answered))


BROWSER_KEYS = {  # of the example in RFC 8291, section 5
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}


class Mails:
    name = "mails"

    def __init__(self) -> None:
        self.sent: list[MailRequest] = []

    def send_mail(self, request: MailRequest) -> str:
        self.sent.append(request)
        return f"<{request.reference}@test>"


class Pushes:
    name, public_key = "pushes", "BKey"

    def __init__(self) -> None:
        self.sent: list[PushRequest] = []
        self.gone: set[str] = set()

    def push(self, request: PushRequest) -> str:
        if request.subscription["endpoint"] in self.gone:
            raise NotificationError("gone", permanent=True, fault=Fault.NUMBER)
        self.sent.append(request)
        return request.reference


def test_mail_and_push_bring_the_link_and_nothing_of_anybody(stage: Stage) -> None:
    stage.house.mailer, stage.house.pusher = Mails(), Pushes()
    profile = Profile(name="김민지", phones=["+821055598765"], emails=["minji@example.com"])
    daughter = people.add_person(stage.house, stage.organisation_id, profile)
    phone = stage.phone("+821055598765", "김민지")
    phone.rings_out()
    stage.desk.rings_out()
    person = Person(daughter, "김민지", phone)
    for endpoint in ("https://push.example/one", "https://push.example/two"):
        browsers.add(stage.house, daughter, Browser(endpoint=endpoint, keys=BrowserKeys(**BROWSER_KEYS)))
    stage.house.pusher.gone.add("https://push.example/one")
    home = sos(stage, person)
    [mail], [push] = stage.house.mailer.sent, stage.house.pusher.sent
    assert mail.to == "minji@example.com"
    assert "/r/" in mail.body
    assert push.path.startswith("/r/")
    assert push.subscription["endpoint"] == "https://push.example/two"
    for text in (mail.subject, mail.body, push.title, push.body):
        assert not [word for word in ("김순자", "행복빌라", "도움 버튼") if word in text]
    rows = {m.channel: (m.status, m.provider) for m in stage.outbox(home) if m.step == "contact"}
    assert rows["email"] == ("sent", "mails")
    assert rows["push"] == ("sent", "pushes")
    assert [endpoint["endpoint"] for _, endpoint in browsers.of(stage.house, daughter)] == ["https://push.example/two"]


def test_browser_asks_to_be_told_and_to_be_left_alone(stage: Stage) -> None:
    stage.house.pusher = Pushes()
    home = stage.home(stage.person("김민지"))
    page = stage.caregiver("김하늘", "haneul", home)
    wanted = {"endpoint": "https://push.example/x", "expirationTime": None, "keys": BROWSER_KEYS}
    assert page.get("/v1/me/push").json() == {"public_key": "BKey", "browsers": []}
    for _ in range(2):
        assert page.session.post(f"{stage.url}/v1/me/push", json=wanted, timeout=9).status_code == 204
    assert len(browsers.of(stage.house, page.person_id)) == 1
    # A browser knows itself by the mark; only to the address itself anything can be sent.
    mark = base64.urlsafe_b64encode(hashlib.sha256(b"https://push.example/x").digest()).rstrip(b"=").decode()
    assert page.get("/v1/me/push").json()["browsers"] == [mark]
    gone = page.session.delete(f"{stage.url}/v1/me/push", json={"endpoint": wanted["endpoint"]}, timeout=9)
    assert gone.status_code == 204
    assert browsers.of(stage.house, page.person_id) == []
