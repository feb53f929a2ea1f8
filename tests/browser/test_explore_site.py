"""The maps that a site has from its first start, from the sheet to the big map; and what staff find on it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.explorer import Explorer
from tests.browser.mapping import MadeUp
from tests.browser.visitor import L, Visitor, come_true
from tests.letters.reviewing import PASSWORD
from tests.running import Site


def test_a_drawing_shows_what_is_most_like_it_and_is_marked_on_the_big_map(visitor: Visitor) -> None:
    page = visitor.page
    visitor.draw_and_see(L, "I read an L")
    alike = page.locator("#alike-list li")
    expect(alike).to_have_count(8)
    assert "L" in alike.all_text_contents()
    link = page.locator("#map-link")
    come_true(page, "document.querySelector('#map-link').search.includes('mine=')")
    link.click()
    expect(page.locator("#atlas")).to_have_attribute("data-state", "ready")
    expect(page.locator("#summary")).to_contain_text("Your drawing is marked")
    page.locator("#select-view").click()
    expect(page.locator("#selection-counts")).to_contain_text("L")  # it lands among its like


def test_an_empty_sheet_leads_to_the_whole_map(visitor: Visitor) -> None:
    expect(visitor.page.locator("#map-link")).to_have_attribute("href", "/explore/")
    expect(visitor.page.locator("#alike")).to_be_hidden()


def test_staff_go_from_a_collected_letter_to_its_record(site: Site, page: Page) -> None:
    site.python(
        "import django; django.setup()\n"
        "from tests.letters.reviewing import a_reviewer\n"
        "a_reviewer('cartographer', 'maintainers')\n"
    )
    page.goto("/admin/login/?next=/explore/")
    page.get_by_label("Username").fill("cartographer")
    page.get_by_label("Password").fill(PASSWORD)
    explorer = Explorer(page, MadeUp(collected=1))
    page.get_by_role("button", name="Log in").click()
    explorer.is_in("ready")
    page.get_by_label("EMNIST", exact=True).uncheck()
    page.mouse.click(*explorer.point(explorer.map.emnist))
    record = explorer.card.get_by_role("link", name="Open its record")
    expect(record).to_have_attribute("href", f"/admin/letters/drawing/{explorer.map.ids[0]}/change/")
    page.get_by_role("link", name="LLE", exact=True).click()
    make = page.get_by_role("link", name="Have it made")
    expect(make).to_have_attribute("href", "/admin/letters/lettermap/")
