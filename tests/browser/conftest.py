"""A real Chromium against the real site. Without a browser these tests are skipped, and the run says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.visitor import Visitor
from tests.running import ROOT, Site

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
PATIENCE = 20_000  # ms; a machine that trains a model at the same time is slow
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} refused ${event.blockedURI} in ${event.sourceFile}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that asks for a browser is marked as such."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def program() -> str:
    """The path of a Chromium that starts."""
    asked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "browser.py"), "--present"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        pytest.skip("there is no Chromium on this machine: name one in LETTERLOOP_CHROMIUM, or run `make test`")
    return asked.stdout.strip()


@pytest.fixture(scope="session")
def playwright(program: str) -> Iterator[Playwright]:
    """From here on Django refuses to let this thread ask a database: see tests/conftest.py for the order."""
    with sync_playwright() as started:
        expect.set_options(timeout=PATIENCE)
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright, program: str) -> Iterator[Browser]:
    """The browser."""
    browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What no page may do, as it is seen: break the policy, fail."""
    return []


@pytest.fixture
def new_context(chromium: Browser, site: Site, faults: list[str]) -> Iterator[Callable[..., BrowserContext]]:
    """Makes a fresh profile; `options` are Playwright's. At the end no page may have been at fault."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        options = {"locale": "en-US", "viewport": {"width": 1280, "height": 800}} | options
        context = chromium.new_context(base_url=site.base_url, **options)
        context.set_default_timeout(PATIENCE)
        context.add_init_script(NOTE_VIOLATIONS)
        context.on("weberror", lambda error: faults.append(f"uncaught: {error.error}"))
        context.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
        made.append(context)
        return context

    yield make
    for context in made:
        for page in context.pages:
            faults += page.evaluate("window.violations ?? []")
        context.close()
    assert not faults


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A page of a visitor who was never here, on a screen of 1280 x 800."""
    return new_context().new_page()


@pytest.fixture
def visitor(page: Page) -> Visitor:
    """Somebody at the sheet, with a mouse."""
    return Visitor(page).come()


@pytest.fixture
def phone(new_context: Callable[..., BrowserContext]) -> Visitor:
    """Somebody at the sheet, with a finger on a phone of 360 x 740."""
    context = new_context(viewport={"width": 360, "height": 740}, device_scale_factor=3, has_touch=True, is_mobile=True)
    return Visitor(context.new_page()).come()


@pytest.fixture(autouse=True)
def _no_configured_browser_is_lost() -> None:
    """Where a browser was named it must be one: a wrong name would skip all of these tests in silence."""
    named = os.environ.get("LETTERLOOP_CHROMIUM")
    assert not named or os.access(named, os.X_OK), f"LETTERLOOP_CHROMIUM names no program: {named}"
