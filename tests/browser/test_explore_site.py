"""The maps that a site has from its first start, from the sheet to the big map; and what staff find on it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.explorer import Explorer
from tests.browser.mapping import MadeUp, letter_png, serve
from tests.browser.visitor import L, Visitor, come_true, intercept
from tests.letters.reviewing import PASSWORD
from tests.running import Site, wait_for


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


def test_pictures_of_what_is_most_like_a_drawing_come_once_the_map_can_be_had(visitor: Visitor) -> None:
    """A map that failed, or was another model's, is asked for again with the next drawing."""
    page = visitor.page
    asked: list[str] = []
    answers = [None, {"models": ["another"], "has_images": True}]

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > len(answers):
            summary = route.fetch().json() | {"has_images": True}
            route.fulfill(json=summary)
        elif answers[len(asked) - 1] is None:
            route.abort()
        else:
            route.fulfill(json=answers[len(asked) - 1])

    intercept(page, "**/maps/umap?space=features", answer)
    page.route("**/sheets/*", lambda route: route.fulfill(body=letter_png(1), content_type="image/png"))
    pictures = page.locator("#alike-list .tile")
    for number in (1, 2, 3):
        visitor.draw_and_see(L, "I read an L")
        expect(page.locator("#alike-list li")).to_have_count(8)
        expect(pictures).to_have_count(8 if number == 3 else 0)
        assert len(asked) == number
        page.locator("#clear").click()
        expect(page.locator("#alike")).to_be_hidden()
    visitor.draw_and_see(L, "I read an L")
    expect(pictures).to_have_count(8)
    assert len(asked) == 3  # what was had is kept


@pytest.fixture(scope="module")
def _hired(site: Site) -> None:
    """There is a maintainer."""
    site.python(
        "import django; django.setup()\n"
        "from tests.letters.reviewing import a_reviewer\n"
        "a_reviewer('cartographer', 'maintainers')\n"
    )


@pytest.fixture
def cartographer(_hired: None, page: Page) -> Explorer:
    """A maintainer who is logged in, at a map that is made up."""
    page.goto("/admin/login/?next=/explore/")
    page.get_by_label("Username").fill("cartographer")
    page.get_by_label("Password").fill(PASSWORD)
    explorer = Explorer(page, MadeUp(collected=1))
    page.get_by_role("button", name="Log in").click()
    explorer.is_in("ready")
    return explorer


def test_staff_go_from_a_collected_letter_to_its_card_in_the_review(cartographer: Explorer) -> None:
    page = cartographer.page
    page.get_by_label("EMNIST", exact=True).uncheck()
    page.mouse.click(*cartographer.point(cartographer.map.emnist))
    card = cartographer.card.get_by_role("link", name="Review it")
    expect(card).to_have_attribute("href", f"/admin/review/?drawing={cartographer.map.ids[0]}")


class Making:
    """A worker made up: how far a map is, and whether it was cancelled."""

    def __init__(self, page: Page) -> None:
        self.job: dict[str, Any] = {"id": "11111111-1111-4111-8111-111111111111", "method": "umap", "space": "features"}
        self.told: list[str] = []
        self.stands("queued", 0)
        page.route("**/api/v1/maps", self._ask)
        page.route("**/maps/jobs/*", lambda route: route.fulfill(json=self.job))
        page.route("**/maps/jobs/*/cancel", self._cancel)

    def stands(self, state: str, share: float = 1, message: str = "") -> None:
        """What it says from now on."""
        self.job |= {"state": state, "progress": {"share": share, "message": "layout"}, "message": message}

    def _ask(self, route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        self.told.append(f"{route.request.post_data} {bool(route.request.headers.get('x-csrftoken'))}")
        return route.fulfill(status=202, json={"id": self.job["id"], "state": "queued", "joined": False})

    def _cancel(self, route: Route) -> None:
        self.stands("cancelled")
        route.fulfill(json={"job": self.job, "cancelled": True})


def test_maintainers_have_a_map_made_anew_and_see_how_far_it_is(cartographer: Explorer) -> None:
    page, making = cartographer.page, Making(cartographer.page)
    page.get_by_role("button", name="Make this map anew").click()
    expect(page.locator("#remake-words")).to_have_text("It waits for a worker.")
    assert making.told == ['{"method":"umap","space":"features"} True']
    making.stands("running", 0.4)
    expect(page.locator("#remake-words")).to_have_text("40\u00a0% done: layout")
    expect(page.get_by_role("progressbar", name="How far the map is")).to_have_attribute("value", "0.4")
    newer = MadeUp(collected=1, seed=9)
    serve(page, newer)
    page.route("**/api/v1/maps?again=*", lambda route: route.fulfill(json={"maps": [newer.summary], "making": []}))
    with page.expect_response(f"**/maps/{newer.id}/emnist"):  # and shows it when it is there
        making.stands("done")
    expect(page.locator("#remake-words")).to_have_text("It is made.")
    expect(page.get_by_role("button", name="Make this map anew")).to_be_visible()


def test_maintainers_cancel_what_they_asked_for(cartographer: Explorer) -> None:
    page, making = cartographer.page, Making(cartographer.page)
    page.get_by_role("button", name="Make this map anew").press("Enter")
    making.stands("running", 0.1)
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#remake-words")).to_have_text("It was cancelled; the map before it stays.")
    expect(page.get_by_role("button", name="Make this map anew")).to_be_focused()
    cartographer.is_in("ready")


def test_a_map_that_is_missing_is_asked_for_where_it_would_be(cartographer: Explorer) -> None:
    page, making = cartographer.page, Making(cartographer.page)
    page.get_by_role("link", name="LLE", exact=True).click()
    cartographer.is_in("missing")
    page.get_by_role("button", name="Have it made", exact=True).click()
    wait_for(lambda: making.told == ['{"method":"lle","space":"features"} True'], "it is asked for", timeout=20)
    making.job |= {"method": "lle"}
    making.stands("failed", 0.2, "the disk is full")
    expect(page.locator("#remake-words")).to_have_text("It could not be made: the disk is full")


def test_visitors_have_nothing_made(page: Page) -> None:
    Explorer(page, MadeUp()).come()
    expect(page.locator("#remake")).to_have_count(0)
