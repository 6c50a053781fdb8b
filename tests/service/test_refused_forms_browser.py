"""What came back in a refused form outlives the page's own refreshing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser_stage import chromium, faults, needs_chromium, size, wait_for
from site_stage import Site, running_site

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def send(browser: Any, form: str, **fields: str) -> None:
    """As a browser whose script has not come yet sends it."""
    browser.execute_script(
        """const form = document.querySelector(arguments[0]), given = arguments[1];
        for (const name in given) form.elements[name].value = given[name];
        HTMLFormElement.prototype.submit.call(form);""",
        form,
        fields,
    )
    wait_for(lambda: browser.find_elements("css selector", "form[data-kept]"))


def refreshed(browser: Any) -> None:
    """Wait until the page, once its stream is open, has asked for what changes and has put it in its place."""
    read = "performance.getEntriesByType('resource').some((e) => e.name.endsWith('/body') && e.responseEnd > 0)"
    wait_for(lambda: browser.execute_script(f"return {read}"), 30)
    browser.execute_async_script("setTimeout(arguments[0], 300);")


@pytest.mark.parametrize(
    ("page", "form", "fields"),
    [
        ("incident", "#d-dispatch form", {"called_at": "half past", "reference": "119-42"}),
        ("handover", "#h-offer form", {"to": "부산<119>"}),
        ("family", "#d-mine form", {"quiet_from": "22:00", "quiet_to": ""}),
    ],
)
def test_what_a_refused_form_kept_is_there_after_the_page_has_refreshed_itself(
    browser: Any, site: Site, page: str, form: str, fields: dict[str, str]
) -> None:
    size(browser, 390, 844)
    site.open(browser, page)
    if page == "incident":
        incident_id = site.paths[page][1].rpartition("/")[2]
        client, csrf = site.stage.logged_in("dispatcher")
        client.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
        browser.refresh()
    send(browser, form, **fields)
    refreshed(browser)
    for name, typed in fields.items():
        assert browser.execute_script(f"return document.querySelector('{form}').elements.{name}.value") == typed
    assert browser.find_element("css selector", form).is_displayed()
    told = browser.execute_script("return document.querySelector('[data-changed]')?.hidden ?? true")
    assert told, "nothing but the form itself has changed"
    assert faults(browser) == {}


def test_every_tick_is_large_enough_for_a_finger(browser: Any, site: Site) -> None:
    size(browser, 320, 640)
    for page, language in (("numbers", "ko"), ("incident", "en")):
        site.open(browser, page, language)
        browser.execute_script(
            "document.querySelectorAll('details').forEach((d) => { d.removeAttribute('name'); d.open = true; });"
        )
        assert (page, faults(browser)) == (page, {})
