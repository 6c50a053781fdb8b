"""The switch for alerts on a device, and the worker that shows them, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from browser_stage import chromium, errors, faults, needs_chromium, shown, size, wait_for
from site_stage import Site, running_site

from service.workflows import browsers, sending

pytestmark = needs_chromium
BROWSER = """
// Stands for the push service's part of the browser, which needs the internet: an address and keys, kept like theirs.
const kept = () => JSON.parse(localStorage.getItem("told-at") || "null");
const made = (told) => told && {
  endpoint: told.endpoint, expirationTime: null, options: { applicationServerKey: Uint8Array.from(told.key).buffer },
  toJSON: () => ({ endpoint: told.endpoint, expirationTime: null, keys: told.keys }),
  unsubscribe: async () => { localStorage.removeItem("told-at"); return true; },
};
PushManager.prototype.getSubscription = async () => made(kept());
PushManager.prototype.subscribe = async ({ applicationServerKey: key, userVisibleOnly }) => {
  if (!userVisibleOnly || key.length !== 65) throw new DOMException("refused", "NotAllowedError");
  const endpoint = `http://127.0.0.1:9/push/${crypto.randomUUID()}`;
  localStorage.setItem("told-at", JSON.stringify({ endpoint, key: [...key], keys: KEYS }));
  return made(kept());
};
""".replace(
    "KEYS",
    json.dumps(
        {
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        }
    ),
)
SHOWN = """
const done = arguments[0];
const told = (n) => ({ title: n.title, body: n.body, stays: n.requireInteraction, path: n.data?.path ?? null });
navigator.serviceWorker.getRegistration("/").then((worker) => worker.getNotifications())
  .then((all) => done(all.map(told)));
"""
CLOSED = """
const done = arguments[0];
navigator.serviceWorker.getRegistration("/").then((worker) => worker?.getNotifications() ?? []).then((all) => {
  all.forEach((n) => n.close()); done(all.length);
});
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def device(browser: Any, site: Site) -> Iterator[Any]:
    """A browser that may show notifications, and whose push service is near."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": BROWSER})
    allow(browser, site, "granted")
    size(browser, 390, 844)
    yield browser
    for person_id in site.people.values():
        for _, one in browsers.of(site.stage.house, person_id):
            browsers.remove(site.stage.house, person_id, str(one["endpoint"]))
    browser.execute_script("localStorage.clear()")
    browser.execute_async_script(CLOSED)
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added["identifier"]})
    allow(browser, site, "prompt")


def allow(browser: Any, site: Site, setting: str) -> None:
    given = {"permission": {"name": "notifications"}, "setting": setting, "origin": site.url}
    browser.execute_cdp_cmd("Browser.setPermission", given)


def state(browser: Any) -> str:
    return str(browser.execute_script("return document.getElementById('push')?.dataset.state ?? ''"))


def press(browser: Any, button: str) -> None:
    found = browser.find_element("id", button)
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' });", found)
    found.click()


def told_in(site: Site, who: str) -> list[str]:
    return [str(one["endpoint"]) for _, one in browsers.of(site.stage.house, site.people[who])]


def test_alerts_are_switched_on_and_off_by_one_tap_each(device: Any, site: Site) -> None:
    site.open(device, "family")
    errors(device)
    wait_for(lambda: state(device) == "off")
    press(device, "push-on")
    wait_for(lambda: state(device) == "on")
    assert len(told_in(site, "family")) == 1
    assert "알림을 받고 있습니다" in device.find_element("id", "push-state").text
    wait_for(lambda: "알림이 켜졌습니다" in str(device.execute_async_script(SHOWN)))
    assert not shown(device, "#push-on")
    assert faults(device) == {}
    device.refresh()
    wait_for(lambda: state(device) == "on")
    assert len(told_in(site, "family")) == 1
    press(device, "push-off")
    wait_for(lambda: state(device) == "off")
    assert told_in(site, "family") == []
    device.refresh()
    wait_for(lambda: state(device) == "off")
    assert errors(device) == []


def test_a_browser_that_forgot_is_told_again_once_the_page_is_open(device: Any, site: Site) -> None:
    site.open(device, "family")
    wait_for(lambda: state(device) == "off")
    press(device, "push-on")
    wait_for(lambda: state(device) == "on")
    [before] = told_in(site, "family")
    device.execute_script("localStorage.removeItem('told-at')")
    device.refresh()
    wait_for(lambda: state(device) == "on")
    assert before != told_in(site, "family")[0]
    for endpoint in told_in(site, "family"):
        browsers.remove(site.stage.house, site.people["family"], endpoint)
    device.refresh()
    wait_for(lambda: state(device) == "on" and len(told_in(site, "family")) == 1)


def test_a_device_that_tells_somebody_else_says_so_and_changes_hands_only_by_a_tap(device: Any, site: Site) -> None:
    site.open(device, "family")
    wait_for(lambda: state(device) == "off")
    press(device, "push-on")
    wait_for(lambda: state(device) == "on")
    site.open(device, "board", "en")
    wait_for(lambda: state(device) == "other")
    assert "somebody else's alerts" in device.find_element("id", "push-state").text
    assert (len(told_in(site, "family")), told_in(site, "dispatcher")) == (1, [])
    press(device, "push-on")
    wait_for(lambda: state(device) == "on")
    assert (told_in(site, "family"), len(told_in(site, "dispatcher"))) == ([], 1)


def test_a_browser_that_blocks_or_cannot_says_what_to_do(device: Any, site: Site) -> None:
    allow(device, site, "denied")
    site.open(device, "family", "en")
    wait_for(lambda: state(device) == "blocked")
    assert "Allow notifications" in device.find_element("id", "push-state").text
    assert not shown(device, "#push-on") and not shown(device, "#push-off")
    assert faults(device) == {}
    unable = {"source": "delete window.PushManager;"}
    added = device.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", unable)
    device.refresh()
    wait_for(lambda: state(device) == "unsupported")
    assert "home screen" in device.find_element("id", "push-state").text
    assert not shown(device, "#push-on")
    device.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added["identifier"]})


def test_without_a_key_nothing_is_offered(browser: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.stage.house, "pusher", None)
    for page in ("family", "board"):
        site.open(browser, page)
        assert browser.find_elements("id", "push") == []
        assert browser.find_elements("css selector", "link[rel=manifest]") == []


def deliver(browser: Any, site: Site, data: str) -> None:
    """As the push service would, past it: into the worker itself."""
    browser.execute_cdp_cmd("ServiceWorker.enable", {})
    for number in range(20):
        given = {"origin": site.url, "registrationId": str(number), "data": data}
        browser.execute_cdp_cmd("ServiceWorker.deliverPushMessage", given)


def test_what_is_pushed_is_shown_and_stays_and_says_nothing_of_anybody(
    device: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.open(device, "board")
    wait_for(lambda: state(device) == "off")
    press(device, "push-on")
    wait_for(lambda: state(device) == "on")
    pushed: list[bytes] = []
    answer = SimpleNamespace(status_code=201, headers={})
    monkeypatch.setattr("dispatch.push_notifier.encrypted", lambda plain, *_: plain)
    monkeypatch.setattr(
        site.stage.house.pusher, "_post", lambda _to, body, _headers: pushed.append(body) or nullcontext(answer)
    )
    patient_id = site.stage.patient("황말자", phone="+821055500177")
    band = site.stage.band(patient_id)
    assert band.post(band.upload({"event": "sos"}, at=site.stage.clock())).status_code == 200
    with ThreadPoolExecutor(2) as pool:
        for future in wait(sending.send_pending(site.stage.house, "w", pool)).done:
            future.result()
    [body] = pushed
    device.execute_async_script(CLOSED)
    deliver(device, site, body.decode())
    wait_for(lambda: len(device.execute_async_script(SHOWN)) == 1)
    [told] = device.execute_async_script(SHOWN)
    assert told["stays"] is True
    assert told["path"].startswith("/incidents/")
    assert told["title"] == "안심" and "현황판" in told["body"]
    assert "황말자" not in str(told)
    deliver(device, site, "not json")
    wait_for(lambda: "확인이 필요합니다. Please look." in str(device.execute_async_script(SHOWN)))


def test_a_tap_opens_the_page_that_was_sent_and_never_another_site(browser: Any, site: Site) -> None:
    """The worker's own handler, on a stage that notes what it opens."""
    site.open(browser, "family")
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.refresh()
    opened = browser.execute_async_script(
        """
        const [paths, done] = arguments;
        fetch("/service-worker.js").then((answer) => answer.text()).then(async (code) => {
          const handlers = {}, opened = [], focused = [];
          const here = { url: `${location.origin}/r/here`, focus: () => focused.push("/r/here") };
          const clients = { matchAll: async () => [here], openWindow: async (url) => opened.push(url) };
          const self = { location, clients };
          self.addEventListener = (name, handler) => { handlers[name] = handler; };
          new Function("self", code)(self);
          for (const path of paths) {
            let work = null;
            const notification = { close() {}, data: path === null ? undefined : { path } };
            handlers.notificationclick({ notification, waitUntil: (promise) => { work = promise; } });
            await work;
          }
          done([opened.map((url) => url.replace(location.origin, "")), focused]);
        });
        """,
        ["/r/abc", "/r/here", "//evil.example/x", "https://evil.example/", None],
    )
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    assert opened == [["/r/abc", "", "", "/"], ["/r/here"]]


def test_the_worker_is_served_from_the_root_with_the_headers_of_a_script(site: Site) -> None:
    answer = site.stage.client.get("/service-worker.js")
    assert answer.status_code == 200
    assert answer.content_type.split(";")[0] == "text/javascript"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert len(answer.data) < 4096
    manifest = site.stage.client.get("/manifest.webmanifest", headers={"Accept-Language": "ko"})
    assert manifest.content_type == "application/manifest+json"
    assert (manifest.get_json(force=True)["name"], manifest.get_json(force=True)["display"]) == ("안심", "standalone")
