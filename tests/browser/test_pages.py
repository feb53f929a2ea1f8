"""Every page holds to the strict policy, and axe finds nothing to mend on it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visitor import PREDICTIONS, L, Visitor, come_true, intercept
from tests.letters.visitor import Visitor as Program
from tests.running import Site

PAGES = ("/samples", "/mine", "/about", "/privacy", "/api/", "/no-such-page")
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


def complaints(page: Page) -> str:
    """What axe finds against WCAG and good practice, in words; empty where it finds nothing."""
    come_true(page, "document.getAnimations().every((it) => it.playState !== 'running')")  # half faded is pale
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    return found.generate_report() if found.violations_count else ""


@pytest.fixture(params=["light", "dark"])
def context(new_context: Callable[..., BrowserContext], request: pytest.FixtureRequest) -> BrowserContext:
    """A profile that prefers the one or the other. axe itself could not run under the site's policy."""
    return new_context(color_scheme=request.param, bypass_csp=True)


@pytest.fixture(scope="module")
def approved(site: Site) -> None:
    """A letter that staff have approved, for the samples to show."""
    with Program(site) as program:
        kept = program.keep(strokes=[[[60, 40], [60, 150], [140, 150]]], character="L")
    site.rows("UPDATE letters_drawing SET state = 'approved' WHERE id = %s", uuid.UUID(kept["id"]))


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_on_a_page_to_read(context: BrowserContext, approved: None, path: str) -> None:
    page = context.new_page()
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert complaints(page) == ""


def test_axe_finds_nothing_on_the_drawing_page(context: BrowserContext) -> None:
    visitor = Visitor(context.new_page()).come()
    assert complaints(visitor.page) == "", "empty"
    visitor.draw_and_see(L, "I read an L")
    assert complaints(visitor.page) == "", "with a reading"
    visitor.right.click()
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    assert complaints(visitor.page) == "", "asking for consent"
    visitor.other.click()
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    assert complaints(visitor.page) == "", "with the letters"
    visitor.page.keyboard.press("Escape")
    intercept(visitor.page, PREDICTIONS, lambda route: route.abort())
    visitor.draw_and_see([[(0.7, 0.2), (0.7, 0.5)]], "I cannot be reached")
    assert complaints(visitor.page) == "", "in trouble"


def test_axe_finds_nothing_after_a_letter_is_kept(context: BrowserContext) -> None:
    visitor = Visitor(context.new_page()).come()
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    visitor.right.click()
    visitor.sees("Thank you, your L is kept")
    assert complaints(visitor.page) == "", "the thank-you"
    visitor.page.locator("#receipt").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Your capital L")
    assert complaints(visitor.page) == "", "the receipt"
    visitor.button("Delete this drawing").click()
    assert complaints(visitor.page) == "", "the question before deleting"
    visitor.button("Keep it").click()
    visitor.page.goto("/mine")
    expect(visitor.page.locator("#mine-list li")).to_have_count(1)
    assert complaints(visitor.page) == "", "mine, with a letter"


def test_the_samples_show_what_was_approved(page: Page, approved: None) -> None:
    page.goto("/samples")
    sample = page.locator("main img").first
    expect(sample).to_be_visible()
    come_true(page, "document.querySelector('main img').naturalWidth === 28")


def test_each_page_carries_the_strict_policy(page: Page) -> None:
    """That none is broken is looked at after every test of this folder; here, that there is one to break."""
    for path in ("/", *PAGES, "/admin/login/"):
        response = page.goto(path)
        assert response is not None
        assert set(response.headers["content-security-policy"].split("; ")) == POLICY, path
        assert page.evaluate("window.violations") == [], path


def test_a_broken_policy_would_be_seen(page: Page, faults: list[str]) -> None:
    page.goto("/about")
    with page.expect_console_message(lambda line: "Content Security" in line.text):
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: '1' }))")
    assert page.evaluate("window.violations.splice(0).length") == 1
    assert len(faults) == 1
    faults.clear()


def test_the_main_things_are_reached_with_the_tab_key(page: Page) -> None:
    visitor = Visitor(page).come()
    visitor.draw_and_see(L, "I read an L")
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert [name for name in ("sheet", "undo", "clear", "consent", "right", "other") if name not in reached] == []


def test_each_file_is_loaded_once_and_under_a_name_that_can_be_kept(page: Page) -> None:
    visitor = Visitor(page).come()
    visitor.draw_and_see(L, "I read an L")
    loaded = page.evaluate("performance.getEntriesByType('resource').map((it) => new URL(it.name).pathname)")
    ours = [path for path in loaded if path.startswith("/static/")]
    assert len(ours) > 10
    assert [path for path in ours if not re.search(r"\.[0-9a-f]{12}\.\w+$", path)] == []
    assert len(ours) == len(set(ours))
