"""The pages: who sees which, what a form may do, and what every answer carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from pages_stage import CASE, MEDIUM, NOW, PATIENT, SPEECHES, Gate, card, case, person, row
from werkzeug.exceptions import HTTPException

from service.web import frame, pages
from service.workflows.incidents import Refused


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    fake = Gate()
    for room in (frame, pages):
        monkeypatch.setattr(room, "access", fake)
    return fake


@pytest.fixture
def app(gate: Gate) -> Iterator[Flask]:
    built = Flask(__name__)
    built.testing = True
    settings = SimpleNamespace(demo=True, public_url="https://ansim.example", time_zone="Asia/Seoul")
    logins = [{"role": "dispatcher", "name": "이지은", "password": "demo-1"}]
    built.extensions["ansim"] = SimpleNamespace(settings=settings, demo_logins=lambda: logins, clock=lambda: NOW)
    built.register_blueprint(pages.create_blueprint())
    built.register_error_handler(HTTPException, lambda error: error)
    yield built


def as_(app: Flask, cookie: str) -> FlaskClient:
    client = app.test_client()
    client.set_cookie("ansim_session", cookie)
    return client


PAGES = ["/board", "/board/rows", f"/incidents/{CASE}", f"/incidents/{CASE}/body"]
FAMILY = ["/patients", "/patients/body", f"/patients/{PATIENT}", f"/patients/{PATIENT}/body"]


@pytest.mark.parametrize("path", PAGES)
def test_dispatcher_pages_open_in_both_languages(app: Flask, path: str) -> None:
    korean = as_(app, "desk").get(path)
    english = as_(app, "desk-en").get(path)
    assert (korean.status_code, english.status_code) == (200, 200)
    assert "긴급" in korean.text
    assert "Emergency" in english.text


@pytest.mark.parametrize("path", FAMILY)
@pytest.mark.parametrize("word", ["well", "check", "help", "unknown"])
def test_caregiver_pages_open_for_every_word(app: Flask, gate: Gate, path: str, word: str) -> None:
    gate.cards = [card(SPEECHES["ko"], word=word)]
    page = as_(app, "family").get(path)
    assert page.status_code == 200
    assert SPEECHES["ko"][f"{word}_w"] in page.text


@pytest.mark.parametrize("path", PAGES + FAMILY)
def test_every_page_is_shielded_and_never_stored(app: Flask, path: str) -> None:
    headers = as_(app, "desk").get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES + FAMILY)
def test_no_page_needs_inline_script_or_style(app: Flask, path: str) -> None:
    html = as_(app, "desk").get(path).text
    assert not re.search(r"<script(?![^>]*(src=|application/json))", html)
    assert not re.search(r"\s(style|on[a-z]+)=", html)
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")


def test_stranger_is_sent_to_log_in_and_back(app: Flask) -> None:
    answer = app.test_client().get(f"/incidents/{CASE}")
    assert answer.location == f"/login?next=%2Fincidents%2F{CASE}"


def test_refreshing_part_of_a_page_after_the_session_ended_is_401(app: Flask) -> None:
    assert app.test_client().get("/board/rows", headers={"X-Ansim": "fragment"}).status_code == 401


def test_log_in_sets_a_guarded_cookie_and_goes_where_the_person_wanted(app: Flask) -> None:
    answer = app.test_client().post("/login", data={"name": "이지은", "password": "demo-1", "next": "/board"})
    cookie = answer.headers["Set-Cookie"]
    assert answer.location == "/board"
    assert all(part in cookie for part in ("ansim_session=desk", "HttpOnly", "SameSite=Lax", "Secure"))


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "board"])
def test_log_in_never_leads_to_another_site(app: Flask, elsewhere: str) -> None:
    answer = app.test_client().post("/login", data={"name": "이지은", "password": "demo-1", "next": elsewhere})
    assert answer.location == "/board"


def test_wrong_password_says_so_calmly_and_keeps_the_name(app: Flask) -> None:
    answer = app.test_client().post("/login", data={"name": "이지은", "password": "x"})
    assert answer.status_code == 401
    assert 'value="이지은"' in answer.text
    assert "맞지 않습니다" in answer.text


def test_log_in_form_from_another_site_is_refused(app: Flask) -> None:
    answer = app.test_client().post(
        "/login", data={"name": "이지은", "password": "demo-1"}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403


def test_demo_log_ins_are_listed_as_simulated_only_in_a_demo(app: Flask) -> None:
    assert "demo-1" in app.test_client().get("/login").text
    assert "가상 인물" in app.test_client().get("/login").text
    app.extensions["ansim"].demo_logins = list
    assert "demo-1" not in app.test_client().get("/login").text


def test_language_may_be_chosen_before_log_in(app: Flask) -> None:
    assert "Password" in app.test_client().get("/login?lang=en").text
    assert "비밀번호" in app.test_client().get("/login?lang=ko", headers={"Accept-Language": "en"}).text
    assert "Password" in app.test_client().get("/login", headers={"Accept-Language": "en-GB,en"}).text


@pytest.mark.parametrize(
    ("cookie", "path"), [("desk", "/board"), ("family", f"/patients/{PATIENT}"), ("both", "/help/operator")]
)
def test_first_page_follows_the_role(app: Flask, cookie: str, path: str) -> None:
    assert as_(app, cookie).get("/").location == path


def test_caregiver_of_two_gets_the_list(app: Flask, gate: Gate) -> None:
    gate.cards = [card(SPEECHES["ko"]), card(SPEECHES["ko"], word="unknown")]
    assert as_(app, "family").get("/").location == "/patients"


def test_caregiver_may_not_open_the_board(app: Flask) -> None:
    answer = as_(app, "family").get("/board")
    assert answer.status_code == 403
    assert "볼 수 없는 화면" in answer.text and "119" in answer.text


def test_form_without_the_right_token_does_nothing(app: Flask, gate: Gate) -> None:
    for data in ({}, {"csrf": "wrong"}):
        assert as_(app, "desk").post(f"/incidents/{CASE}/claim", data=data).status_code == 403
    assert gate.done == []


def test_claim_is_done_once_and_returns_to_the_board(app: Flask, gate: Gate) -> None:
    answer = as_(app, "desk").post(f"/incidents/{CASE}/claim", data={"csrf": "token", "next": "/board"})
    assert (answer.status_code, answer.location) == (303, "/board")
    assert gate.done == [(CASE, "claim", {})]


def test_119_call_is_recorded_with_time_of_day_in_seoul_and_reference(app: Flask, gate: Gate) -> None:
    as_(app, "desk").post(
        f"/incidents/{CASE}/dispatch", data={"csrf": "token", "called_at": "21:03:10", "reference": " A-77 "}
    )
    fields = gate.done[0][2]
    assert datetime.fromisoformat(fields["called_at"]) == datetime(2026, 11, 22, 12, 3, 10, tzinfo=UTC)
    assert fields["reference"] == "A-77"


def test_unreadable_time_of_a_119_call_is_asked_for_again(app: Flask, gate: Gate) -> None:
    answer = as_(app, "desk").post(f"/incidents/{CASE}/dispatch", data={"csrf": "token", "called_at": "soon"})
    assert answer.status_code == 409
    assert "14:05" in answer.text
    assert gate.done == []


def test_only_the_fields_of_an_action_reach_the_rules(app: Flask, gate: Gate) -> None:
    as_(app, "desk").post(f"/incidents/{CASE}/note", data={"csrf": "token", "text": "문 앞", "state": "closed"})
    assert gate.done == [(CASE, "note", {"text": "문 앞"})]


def test_refused_action_is_explained_in_the_viewers_language(app: Flask, gate: Gate) -> None:
    gate.refusal = Refused("closed is reached from at_patient", code="not_allowed_now")
    page = as_(app, "desk").post(f"/incidents/{CASE}/close", data={"csrf": "token", "reason": "helped"})
    short = as_(app, "desk-en").post(
        f"/incidents/{CASE}/close",
        data={"csrf": "token", "reason": "helped"},
        headers={"X-Ansim": "fragment"},
    )
    assert (page.status_code, short.status_code) == (409, 409)
    assert "지금 상태에서는 할 수 없습니다" in page.text
    assert "cannot be done" in short.get_json()["message"]


def test_unknown_action_and_unknown_incident_are_not_found(app: Flask) -> None:
    desk = as_(app, "desk")
    assert desk.post(f"/incidents/{CASE}/explode", data={"csrf": "token"}).status_code == 404
    assert desk.get(f"/incidents/{MEDIUM}").status_code == 404
    assert desk.get("/nowhere").status_code == 404


def test_error_pages_speak_both_languages(app: Flask, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    app.testing = False
    monkeypatch.setattr(gate, "board", lambda *_: 1 / 0)
    for path, status in (("/nowhere", 404), ("/board", 500)):
        answer = as_(app, "desk").get(path)
        assert answer.status_code == status
        assert 'lang="ko"' in answer.text and 'lang="en"' in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


def test_slip_of_our_own_is_not_told_as_not_found(app: Flask, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    app.testing = False
    monkeypatch.setattr(gate, "board", lambda *_: {}["missing"])
    assert as_(app, "desk").get("/board").status_code == 500


def test_machine_answer_to_an_unknown_address_is_left_alone(app: Flask) -> None:
    problem = Response("{}", 404, content_type="application/problem+json")
    app.register_error_handler(HTTPException, lambda _: problem)
    assert app.test_client().get("/v1/nothing").text == "{}"


def test_simulated_person_is_marked_and_a_real_one_is_not(app: Flask, gate: Gate) -> None:
    assert "가상 인물" in as_(app, "desk").get("/board").text
    gate.rows = [row(SPEECHES["ko"], patient=person(simulated=False))]
    assert "가상 인물" not in as_(app, "desk").get("/board/rows").text


def test_names_cannot_smuggle_markup(app: Flask, gate: Gate) -> None:
    gate.rows = [row(SPEECHES["ko"], patient=person(name="<script>alert(1)</script>"))]
    assert "<script>alert" not in as_(app, "desk").get("/board").text


def test_empty_board_says_when_it_was_checked(app: Flask, gate: Gate) -> None:
    gate.rows = []
    text = as_(app, "desk").get("/board/rows").text
    assert "열린 사건이 없습니다" in text and "21:04:33" in text


def test_claimed_row_offers_no_claim_and_names_its_owner(app: Flask, gate: Gate) -> None:
    gate.rows = [row(SPEECHES["ko"], owner={"name": "최유리", "role_text": "관제 요원"}, acknowledged=True)]
    text = as_(app, "desk").get("/board/rows").text
    assert "최유리" in text and "/claim" not in text and "data-unclaimed" not in text.split('data-part="row')[1]


def test_settled_case_neither_calls_for_a_claim_nor_sounds(app: Flask, gate: Gate) -> None:
    gate.rows = [row(SPEECHES["ko"], state="stood_down", settled=True)]
    text = as_(app, "desk").get("/board/rows").text.split('data-part="row')[1]
    assert "data-unclaimed" not in text
    assert "<form" not in text


def test_only_allowed_actions_are_offered(app: Flask, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "incident", lambda *_: case(SPEECHES["ko"], actions=["note"]))
    html = as_(app, "desk").get(f"/incidents/{CASE}").text
    assert re.findall(r'action="/incidents/[^"]*/(\w+)"', html) == ["note"]


def test_age_of_the_data_comes_before_the_word(app: Flask) -> None:
    text = as_(app, "family").get(f"/patients/{PATIENT}").text
    assert text.index("2분 전") < text.index("잘 지내고 계세요")


def test_stale_card_is_never_shown_as_well(app: Flask, gate: Gate) -> None:
    gate.cards = [card(SPEECHES["ko"], stale=True)]
    assert 'class="glance well' not in as_(app, "family").get("/patients").text


def test_language_switch_is_remembered(app: Flask, gate: Gate) -> None:
    answer = as_(app, "desk").post("/language", data={"csrf": "token", "lang": "en", "next": "/board"})
    assert (answer.location, gate.languages) == ("/board", ["en"])


def test_log_out_ends_the_session_on_the_server(app: Flask, gate: Gate) -> None:
    answer = as_(app, "desk").post("/logout", data={"csrf": "token"})
    assert answer.location == "/login"
    assert gate.ended == ["desk"]


def test_scripts_and_styles_are_served_from_here(app: Flask) -> None:
    for name in ("ansim.css", "board.js", "watch.js", "ticker.js"):
        answer = app.test_client().get(f"/assets/{name}")
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_family_say_until_when_somebody_is_away_and_that_they_are_back(app: Flask, gate: Gate) -> None:
    said = as_(app, "family").post(f"/patients/{PATIENT}/away", data={"csrf": "token", "until": "2026-11-25"})
    as_(app, "family").post(f"/patients/{PATIENT}/away", data={"csrf": "token", "until": ""})
    assert (said.status_code, said.location) == (303, f"/patients/{PATIENT}")
    assert gate.aways == [(PATIENT, datetime(2026, 11, 25, 14, 59, tzinfo=UTC)), (PATIENT, None)]


def test_a_day_of_return_that_cannot_be_is_answered_with_a_sentence(app: Flask, gate: Gate) -> None:
    for typed in ("2020-01-01", "next week"):
        answer = as_(app, "family").post(f"/patients/{PATIENT}/away", data={"csrf": "token", "until": typed})
        assert answer.status_code == 409
        assert "두 달 안에서" in answer.text


def test_page_says_until_when_somebody_is_away_and_what_is_worth_knowing(app: Flask, gate: Gate) -> None:
    away = datetime(2026, 11, 25, 14, 59, tzinfo=UTC)
    gate.cards = [card(SPEECHES["ko"], away_until=away, lines=[{"text": "심방세동이 의심됩니다", "since": NOW}])]
    text = as_(app, "family").get(f"/patients/{PATIENT}").text
    assert "11월 25일까지 집에 안 계세요" in text and "돌아오셨어요" in text
    assert "심방세동이 의심됩니다" in text


def test_line_says_since_when_and_one_that_is_over_is_history(app: Flask, gate: Gate) -> None:
    over = {"opened_at": NOW - timedelta(days=3), "reason": "호흡이 평소보다 빨라졌습니다", "lasted_text": "9시간"}
    lines = [{"text": "심방세동이 의심됩니다", "since": NOW - timedelta(days=2)}]
    gate.cards = [card(SPEECHES["ko"], lines=lines, history=[over])]
    text = as_(app, "family").get(f"/patients/{PATIENT}").text
    assert "11월 20일 21:04부터" in text
    assert "9시간 동안 이어지다 지나갔습니다" in text


def test_page_says_what_is_given_up_and_nothing_where_nothing_is(app: Flask, gate: Gate) -> None:
    until = datetime(2026, 12, 2, 20, tzinfo=UTC)
    lifted = [{"sign": "여러 측정값이 함께 나빠지고 있습니다", "until": until}]
    given_up = {"key": "ask_days", "percent": 12, "month": 0.9}
    said = {"learnt_days": 3, "learning_days": 14, "lifted": lifted, "given_up": given_up}
    gate.cards = [card(SPEECHES["ko"], standing=said)]
    text = as_(app, "family").get(f"/patients/{PATIENT}").text
    assert "14일 가운데 3일" in text
    assert "12월 3일까지는 더 뚜렷할 때만 전화해요" in text
    assert "100번 가운데 12번쯤" in text
    assert "도움 버튼, 넘어진 뒤 움직임이 없을 때" in text
    gate.cards = [card(SPEECHES["ko"])]
    assert "뚜렷할 때만" not in as_(app, "family").get(f"/patients/{PATIENT}").text


@pytest.mark.parametrize("key", ["ask_days", "ask_floor", "ring_days", "ring_floor"])
def test_each_way_of_giving_something_up_has_its_sentence(app: Flask, gate: Gate, key: str) -> None:
    given_up = {"key": key, "percent": 0, "month": 2.5}
    said = {"learnt_days": None, "learning_days": 14, "lifted": [], "given_up": given_up}
    gate.cards = [card(SPEECHES["ko"], standing=said)]
    text = as_(app, "family").get(f"/patients/{PATIENT}").text
    assert ("2.5번쯤" in text) == key.endswith("floor")
    assert ("가족께 전화" in text) == key.startswith("ring")
    assert "100번 가운데" not in text and "care." not in text.split("<main")[1]
