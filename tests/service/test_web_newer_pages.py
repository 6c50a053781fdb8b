"""Policies, drills, hand-over and proof in a real browser: telephone and desk, day and night, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser_stage import chromium, dress, errors, faults, needs_chromium, shown, size, unreached, wait_for
from site_stage import Site, running_site

pytestmark = needs_chromium
SIZES = {"phone": (390, 844), "desk": (1440, 900)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


PAGES = ["policies", "policy", "reach", "handover", "incident", "proof", "board", "family", "numbers"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", SIZES)
def test_newer_page_is_whole_readable_and_named_on_every_screen(
    browser: Any, site: Site, page: str, kind: str
) -> None:
    size(browser, *SIZES[kind])
    for language, theme in (("ko", "light"), ("en", "dark")):
        dress(browser, theme)
        site.open(browser, page, language)
        errors(browser)
        browser.refresh()
        wait_for(lambda: browser.execute_script("return document.readyState") == "complete")
        assert (faults(browser), language, theme) == ({}, language, theme)
        assert errors(browser) == []


def test_a_narrow_telephone_cuts_nothing_off(browser: Any, site: Site) -> None:
    size(browser, 320, 640)
    for page in PAGES:
        site.open(browser, page, "en")
        assert (page, faults(browser)) == (page, {})


@pytest.mark.parametrize("page", PAGES)
def test_newer_page_is_reached_by_keyboard_alone(browser: Any, site: Site, page: str) -> None:
    size(browser, 1440, 900)
    dress(browser, "light")
    site.open(browser, page)
    assert unreached(browser) == []


def test_a_policy_is_checked_on_screen_and_its_findings_are_whole_too(browser: Any, site: Site) -> None:
    for kind, language, theme in (("phone", "ko", "dark"), ("desk", "en", "light")):
        size(browser, *SIZES[kind])
        dress(browser, theme)
        for text, part in (('title = "밤"\n[ask]\noverlap_s = 30\n', ".dry-runs"), ("[ask]\nnonsense\n", ".problems")):
            site.open(browser, "policy", language)
            browser.execute_script("document.querySelector('textarea').value = arguments[0];", text)
            browser.execute_script("document.querySelector('textarea').form.requestSubmit();")
            wait_for(lambda: browser.current_url.endswith("/policies/check"), 30)
            wait_for(lambda: browser.execute_script("return document.readyState") == "complete")
            assert shown(browser, part)
            assert (faults(browser), kind) == ({}, kind)


def test_a_drill_is_started_from_the_list(browser: Any, site: Site) -> None:
    site.open(browser, "reach")
    before = site.stage.rows("SELECT count(*) FROM drill")[0][0]
    browser.find_element("css selector", ".reach-list form button").click()
    wait_for(lambda: site.stage.rows("SELECT count(*) FROM drill")[0][0] == before + 1)
    wait_for(lambda: "훈련" in browser.find_element("tag name", "main").text)
