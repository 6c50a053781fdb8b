"""A real Chromium for the tests of the pages, and what is looked for on every page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium not installed: pip install -e .[dev]")
SWAPPED = pytest.importorskip("selenium.common.exceptions").StaleElementReferenceException
TAB = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
)
FAULTS = Path(__file__).with_name("page_faults.js").read_text(encoding="utf-8")
"""What a page must not have, in the spirit of axe: too wide, cut off, too small, nameless, too pale, out of order."""
REACHABLE = """
const css = "a[href], button, summary, select, textarea, input:not([type=hidden])";
const found = [...document.querySelectorAll(css)].filter((e) => !e.disabled && e.checkVisibility());
window.reachable = found; // beside the page, not in it: what changes in the page may be swapped
return found.map((e) => e.outerHTML.slice(0, 90));
"""
FOCUSED = """
const e = document.activeElement, style = getComputedStyle(e);
return [String(window.reachable.indexOf(e)), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0];
"""


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS.split(), f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def size(browser: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def dress(browser: Any, theme: str) -> None:
    """Light or dark, as the person's own machine asks for it."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def wait_for(test: Callable[[], Any], most_s: float = 12.0) -> float:
    """Seconds until `test` holds; fails when it never does. A part swapped while it is read is read again."""
    started = time.monotonic()

    def holds() -> bool:
        try:
            return bool(test())
        except SWAPPED:
            return False

    while not holds():
        assert time.monotonic() - started < most_s, f"still not so after {most_s} s"
        time.sleep(0.05)
    return time.monotonic() - started


def shown(browser: Any, css: str) -> bool:
    found = browser.find_elements("css selector", css)
    return bool(found) and found[0].is_displayed()


def keys(browser: Any, text: str) -> None:
    webdriver.ActionChains(browser).send_keys(text).perform()


def faults(browser: Any) -> dict[str, Any]:
    """What is wrong with the page as it stands, by kind; empty when nothing is."""
    found: dict[str, Any] = browser.execute_script(FAULTS)
    return {kind: what for kind, what in found.items() if what}


def unreached(browser: Any) -> list[str]:
    """What the Tab key does not come to, or where nobody would see that it has."""
    there: list[str] = browser.execute_script(REACHABLE)
    browser.execute_script("document.activeElement.blur(); window.getSelection().removeAllRanges(); scrollTo(0, 0);")
    reached = {}
    for _ in range(len(there) + 4):
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "rawKeyDown", **TAB})
        nth, visible = browser.execute_script(FOCUSED)
        reached[nth] = visible
    missed = [(str(n), what) for n, what in enumerate(there) if not reached.get(str(n))]
    return [f"{what}: {'not seen' if n in reached else 'not reached'}" for n, what in missed]


def errors(browser: Any) -> list[str]:
    """What the browser complained about since it was last asked."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] in {"SEVERE", "WARNING"}]
