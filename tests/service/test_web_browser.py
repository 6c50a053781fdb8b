"""The pages in a real browser: the lost link, the typed form, the keys, the narrow screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser_stage import chromium, keys, needs_chromium, shown, size, wait_for
from flask import Flask, Response
from pages_stage import CASE, PATIENT, SPEECHES, Gate, card, case, row
from werkzeug.serving import make_server

from service.web import frame, pages

pytestmark = needs_chromium


class Desk:
    """A server with the real pages, a fake gate and an event stream that can fall silent."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.silent = False
        self.broken = False
        self.news = 0
        app = Flask("desk")
        settings = SimpleNamespace(demo=False, public_url="http://127.0.0.1", time_zone="Asia/Seoul")
        app.extensions["ansim"] = SimpleNamespace(settings=settings, demo_logins=list, clock=pages_clock)
        app.register_blueprint(pages.create_blueprint())
        app.add_url_rule("/v1/events", view_func=self.events)
        app.before_request(self.maybe_broken)
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def maybe_broken(self) -> Response | None:
        return Response("down", 503) if self.broken else None

    def events(self) -> Response:
        def lines() -> Iterator[str]:
            seen = -1
            for n in range(10_000):
                if self.silent or self.broken:
                    return
                if self.news != seen:
                    seen = self.news
                    yield f"id: {seen}\nevent: incident\ndata: {{}}\n\n"
                elif n % 10 == 0:
                    yield "event: beat\ndata: {}\n\n"
                time.sleep(0.1)

        return Response(lines(), content_type="text/event-stream")


def pages_clock() -> datetime:
    return datetime.now(UTC)


class LiveGate(Gate):
    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, Any] = {}

    def board(self, house: Any, viewer: Any) -> dict[str, Any]:
        now = pages_clock()
        return {
            **super().board(house, viewer),
            "rows": [row(SPEECHES[viewer.language], now, **self.changes)],
            "now": now,
        }

    def incident(self, house: Any, viewer: Any, incident_id: Any) -> dict[str, Any]:
        now = pages_clock()
        return {**case(SPEECHES[viewer.language], now, **self.changes), "now": now}

    def patient(self, house: Any, viewer: Any, patient_id: Any) -> dict[str, Any]:
        now = pages_clock()
        return {**card(SPEECHES["ko"], now, "help"), "now": now}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    gate = LiveGate()
    for room in (frame, pages):
        monkeypatch.setattr(room, "access", gate)
    running = Desk(gate)
    yield running
    running.silent = True
    running.server.shutdown()


def sign_in(browser: Any, desk: Desk, cookie: str) -> None:
    browser.get(f"{desk.url}/assets/favicon.svg")
    browser.delete_all_cookies()
    browser.add_cookie({"name": "ansim_session", "value": cookie, "path": "/"})


def is_live(browser: Any) -> bool:
    return bool(browser.execute_script("return document.querySelector('.link')?.dataset.state === 'live'"))


def open_board(browser: Any, desk: Desk) -> None:
    sign_in(browser, desk, "desk")
    size(browser, 1440, 900)
    browser.get(f"{desk.url}/board")
    wait_for(lambda: is_live(browser))


def test_lost_link_is_unmistakable_within_ten_seconds_and_the_return_is_said(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    desk.broken = True
    assert wait_for(lambda: shown(browser, "#lost"), 10.0) <= 10.0
    assert "화면이 멈춰 있습니다" in browser.find_element("id", "lost").text
    assert browser.execute_script("return document.documentElement.dataset.urgency") == "lost"
    desk.broken = False
    wait_for(lambda: not shown(browser, "#lost"))
    assert "다시 연결되어" in browser.find_element("id", "toast").text


def test_row_appears_without_a_reload_and_what_is_new_is_said_aloud(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    desk.gate.changes = {"id": PATIENT}  # type: ignore[attr-defined]
    desk.news += 1
    wait_for(lambda: browser.find_elements("id", f"row-{PATIENT}"))
    wait_for(lambda: "새 사건" in browser.find_element("id", "said").get_attribute("textContent"))


def test_board_works_by_keyboard_alone(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    keys(browser, "j")
    keys(browser, "c")
    wait_for(lambda: desk.gate.done == [(CASE, "claim", {})])
    wait_for(lambda: shown(browser, "#panel [data-part=head]"))
    keys(browser, "a")
    wait_for(lambda: desk.gate.done[-1][1] == "acknowledge")


def test_what_a_person_is_typing_survives_a_refresh_and_is_sent(browser: Any, desk: Desk) -> None:
    sign_in(browser, desk, "desk")
    size(browser, 1440, 900)
    browser.get(f"{desk.url}/incidents/{CASE}")
    wait_for(lambda: is_live(browser))
    browser.find_element("css selector", "#d-note summary").click()
    browser.find_element("id", "note-text").send_keys("문 앞에 도착")
    desk.gate.changes = {"actions": ["note", "close"], "state_text": "바뀐 상태"}  # type: ignore[attr-defined]
    desk.news += 1
    wait_for(lambda: "바뀐 상태" in browser.find_element("css selector", ".case-head").text)
    assert browser.find_element("id", "note-text").get_attribute("value") == "문 앞에 도착"
    assert shown(browser, "[data-changed]")
    browser.find_element("css selector", "#d-note button").click()
    wait_for(lambda: desk.gate.done == [(CASE, "note", {"text": "문 앞에 도착"})])
    wait_for(lambda: not browser.find_elements("id", "d-stand_down"))


def test_refused_action_is_said_calmly_and_nothing_is_lost(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    desk.gate.refusal = pages.incidents.Refused("no", code="not_allowed_now")
    keys(browser, "j")
    keys(browser, "c")
    wait_for(lambda: "지금 상태에서는 할 수 없습니다" in browser.find_element("id", "toast").text)


def test_ended_session_is_as_loud_as_a_lost_link(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    browser.delete_all_cookies()
    desk.news += 1
    wait_for(lambda: shown(browser, "#lost a.button"), 10.0)


def test_family_page_never_says_well_without_a_link(browser: Any, desk: Desk) -> None:
    sign_in(browser, desk, "family")
    size(browser, 390, 844)
    desk.gate.cards = [card(SPEECHES["ko"], pages_clock())]
    browser.get(f"{desk.url}/patients")
    wait_for(lambda: "잘 지내고 계세요" in browser.find_element("tag name", "main").text)
    desk.broken = True
    wait_for(lambda: shown(browser, "#lost"), 10.0)
    assert "잘 지내고 계세요" not in browser.find_element("tag name", "main").text
    assert "지금은 알 수 없어요" in browser.find_element("tag name", "main").text


@pytest.mark.parametrize("cookie", ["desk", "desk-en", "family"])
@pytest.mark.parametrize("width", [320, 390, 720, 1440])
def test_nothing_is_cut_off_and_every_target_is_large_enough(browser: Any, desk: Desk, cookie: str, width: int) -> None:
    sign_in(browser, desk, cookie)
    size(browser, width, 844)
    paths = ["/patients", f"/patients/{PATIENT}"] if cookie == "family" else ["/board", f"/incidents/{CASE}"]
    for path in paths:
        browser.get(desk.url + path)
        too_wide, small = browser.execute_script(
            """
            const wide = Math.max(0, document.documentElement.scrollWidth - innerWidth);
            const targets = [...document.querySelectorAll("button, summary, .button, input:not([type=hidden])")];
            const box = (e) => e.getBoundingClientRect();
            const small = targets.filter((e) => box(e).width && box(e).height < 43.5);
            return [wide, small.map((e) => e.outerHTML.slice(0, 80))];
            """
        )
        assert (too_wide, small) == (0, []), path


def test_browser_reports_no_error_of_ours(browser: Any, desk: Desk) -> None:
    open_board(browser, desk)
    browser.get_log("browser")
    browser.get(f"{desk.url}/board")
    wait_for(lambda: is_live(browser))
    assert [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    assert Path(browser.current_url).name == "board"
