"""The page of the data set, with the archive's images and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ml.labels import CLASSES
from tests.browser.mapping import MadeUp, letter_png, serve
from tests.browser.test_pages import complaints

SUMMARY: dict[str, Any] = {
    "classes": {label: 3_000 + 100 * number for number, label in enumerate(CLASSES)},
    "confused": [
        {"label": "I", "predicted": "L", "count": 112},
        {"label": "q", "predicted": "g", "count": 61},
    ],
    "has_images": True,
    "model": {"number": 3, "digest": "0" * 12},
}


def serve_emnist(page: Page, **change: Any) -> None:
    """Let the page be told of a data set that is made up."""
    page.route("**/api/v1/emnist/summary", lambda route: route.fulfill(json=SUMMARY | change))
    picture = letter_png(5)
    page.route("**/api/v1/emnist/*/*.png", lambda route: route.fulfill(body=picture, content_type="image/png"))
    serve(page, MadeUp(method="pca", space="pixels"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_counts_images_and_what_is_confused_are_shown(new_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = new_context(color_scheme=scheme, bypass_csp=True).new_page()
    serve_emnist(page)
    page.goto("/explore/emnist/")
    expect(page.locator("#counts li")).to_have_count(len(CLASSES))
    expect(page.locator("#pairs li").first).to_have_text("Iread asL112 times")
    expect(page.locator("#pairs-words")).to_contain_text("model 3")
    expect(page.locator("#looks img")).to_have_count(2 * len(CLASSES))
    expect(page.locator("#looks img").first).to_have_attribute("src", "/api/v1/emnist/mean/A.png")
    expect(page.locator("#variance img")).to_have_count(2)
    assert complaints(page) == ""
    page.set_viewport_size({"width": 320, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_without_the_archive_it_says_where_images_come_from(page: Page) -> None:
    serve_emnist(page, has_images=False)
    page.goto("/explore/emnist/")
    expect(page.locator("#looks-words")).to_contain_text("EMNIST_ARCHIVE")
    expect(page.locator("#looks li")).to_have_count(0)
    expect(page.locator("#counts-words")).to_contain_text("those of the map")


def test_a_site_that_cannot_be_reached_is_asked_again(page: Page) -> None:
    serve_emnist(page)
    page.route("**/api/v1/emnist/summary", lambda route: route.abort(), times=1)
    page.goto("/explore/emnist/")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#counts li")).to_have_count(len(CLASSES))
