"""From the letters to a report of one, and from the admin's front page to the decision about it, by one key."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, expect

from tests.browser.staff import go_as
from tests.letters.reviewing import PASSWORD
from tests.running import Site, wait_for

MAKE = """
import django; django.setup()
from tests.letters.reviewing import a_reviewer, make_drawing
from tests.letters.visitor import LETTERS
a_reviewer("rhea")
print(make_drawing(LETTERS["X"], "X", state="approved", size=200.0).pk)
"""
SCREENS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def drawing(site: Site) -> str:
    """A letter that is public."""
    return site.python(MAKE).split()[-1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_of_a_letter_is_for_everybody(
    new_context: Callable[..., BrowserContext], drawing: str, screen: str, scheme: str
) -> None:
    page = new_context(viewport=SCREENS[screen], color_scheme=scheme).new_page()
    page.goto(f"/samples/{drawing}")
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]
    assert Axe().run(page).violations_count == 0


def test_it_works(new_context: Callable[..., BrowserContext], site: Site, drawing: str) -> None:
    visitor = new_context().new_page()
    visitor.goto("/samples")
    visitor.locator(f'a[href="/samples/{drawing}"]').click()
    visitor.keyboard.press("Tab")
    visitor.get_by_label("It is offensive").focus()
    visitor.keyboard.press("Space")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", name="Thank you")).to_be_visible()
    visitor.get_by_role("link", name="All letters").click()
    expect(visitor.locator(f'a[href="/samples/{drawing}"]')).to_be_visible()  # one report takes nothing away

    reviewer = new_context().new_page()
    go_as(reviewer, site, "rhea", PASSWORD, "/admin/")
    reviewer.get_by_role("link", name="Reported letters").click()
    expect(reviewer.get_by_text("reported: it is offensive")).to_be_visible()
    reviewer.locator("#stage").focus()
    reviewer.keyboard.press("3")  # offensive
    row = "SELECT state FROM letters_drawing WHERE id = %s"
    wait_for(lambda: site.rows(row, uuid.UUID(drawing))[0]["state"] == "rejected", "it is rejected")
    visitor.reload()
    expect(visitor.locator(f'a[href="/samples/{drawing}"]')).to_have_count(0)
