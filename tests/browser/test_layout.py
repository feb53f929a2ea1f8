"""It fits every screen, nothing jumps, and motion is for those who want it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_drawing import STRANGE
from tests.browser.visitor import PREDICTIONS, L, Visitor, answer_changed, intercept, only_likely

WIDTHS = (320, 360, 540, 820, 1280, 1920, 2560)
PAGES = ("/", "/samples", "/mine", "/about", "/privacy", "/api/", "/no-such-page")
Box = dict[str, float]


def boxes(page: Page, *selectors: str) -> dict[str, Any]:
    """Where each stands on the screen."""
    return {selector: page.locator(selector).bounding_box() for selector in selectors}


def test_no_page_scrolls_sideways(page: Page) -> None:
    wider = {}
    for path in PAGES:
        page.goto(path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            taken = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
            if taken > width:
                wider[path, width] = taken
    assert wider == {}


@pytest.mark.parametrize("width", [320, 2560])
def test_a_reading_fits_the_narrowest_and_the_widest_screen(
    new_context: Callable[..., BrowserContext], width: int
) -> None:
    visitor = Visitor(new_context(viewport={"width": width, "height": 900}).new_page()).come()
    visitor.draw_and_see(L, "I read an L")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
    sheet = visitor.sheet.bounding_box()
    assert sheet is not None
    assert sheet["width"] == pytest.approx(sheet["height"], abs=1)
    assert sheet["width"] >= (240 if width == 320 else 700)


@pytest.mark.parametrize("height", [740, 640])
def test_on_a_phone_sheet_reading_and_buttons_are_seen_at_once(
    new_context: Callable[..., BrowserContext], height: int
) -> None:
    context = new_context(viewport={"width": 360, "height": height}, has_touch=True, is_mobile=True)
    phone = Visitor(context.new_page()).come()
    phone.touch(L[0])
    phone.sees("I read an L")
    assert phone.page.evaluate("scrollY") == 0
    seen = boxes(phone.page, "#sheet", "#reading-title", "#reading-letter", "#reading-actions", "#right", "#other")
    for selector, box in seen.items():
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= height, selector
    bottom = max(box["y"] + box["height"] for name, box in seen.items() if name not in ("#right", "#other"))
    assert bottom <= seen["#right"]["y"], "the buttons cover what was read"


def test_the_buttons_do_not_move_whatever_is_read(phone: Visitor) -> None:
    places = [boxes(phone.page, "#sheet", "#right", "#other", "#consent")]

    def look(title: str | re.Pattern[str], likely: tuple[tuple[str, float], ...] | None) -> None:
        phone.page.unroute_all()
        if likely:
            known = title != STRANGE
            intercept(phone.page, PREDICTIONS, answer_changed(only_likely(*likely, known=known)))
        else:
            intercept(phone.page, PREDICTIONS, lambda route: route.abort())
        phone.touch(L[0])
        phone.sees(title)
        places.append(boxes(phone.page, "#sheet", "#right", "#other", "#consent"))

    look("I read an L", (("L", 0.97), ("C", 0.01)))
    look(re.compile("^I am not sure: W or [Mm]"), (("W", 0.31), ("M", 0.3), ("N", 0.2), ("H", 0.1)))
    look(STRANGE, (("L", 0.1),))
    look("I cannot be reached", None)
    for place in places[1:]:
        assert place == places[0]


def test_what_is_tapped_is_large_enough(phone: Visitor) -> None:
    phone.touch(L[0])
    phone.sees("I read an L")
    small = "(all) => all.map((it) => [it.id || it.textContent, it.getBoundingClientRect()])"
    buttons = phone.page.locator("#undo, #redo, #clear, #right, #other, #reading-actions button:visible")
    measured = buttons.evaluate_all(small)
    assert len(measured) >= 7
    assert [name for name, box in measured if box["height"] < 44 or box["width"] < 44] == []
    expect(phone.reading).not_to_have_attribute("data-stale", "")  # the last reading puts the keys away again
    phone.other.tap()
    expect(phone.page.locator(".key").first).to_be_visible()
    keys = phone.page.locator(".key").evaluate_all(small)
    assert [name for name, box in keys if box["height"] < 44 or box["width"] < 40] == []


def keep_a_letter(visitor: Visitor) -> int:
    """How many leaves of paper were seen to fold."""
    visitor.page.evaluate("""() => {
      window.leaves = 0;
      new MutationObserver((changes) => {
        const added = changes.flatMap((change) => [...change.addedNodes]);
        window.leaves += added.filter((it) => it.className === "leaf").length;
      }).observe(document.querySelector("#sheet-frame"), { childList: true });
    }""")
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    visitor.right.click()
    visitor.sees("Thank you, your L is kept")
    return int(visitor.page.evaluate("window.leaves"))


def test_a_kept_letter_folds_into_the_corner(visitor: Visitor) -> None:
    assert keep_a_letter(visitor) == 1
    expect(visitor.page.locator("#dog-ear")).to_contain_text("1")


def test_nothing_moves_for_those_who_do_not_want_it(new_context: Callable[..., BrowserContext]) -> None:
    visitor = Visitor(new_context(reduced_motion="reduce").new_page()).come()
    assert keep_a_letter(visitor) == 0
    visitor.draw_and_see(L, "I read an L")
    assert visitor.page.evaluate("document.getAnimations().length") == 0
    moving = """() => [...document.querySelectorAll("*")].filter((it) =>
      ["", "::before", "::after"].some((part) => {
        const style = getComputedStyle(it, part || null);
        return [style.transitionDuration, style.animationDuration].some((time) => parseFloat(time) > 0.01);
      })).map((it) => it.tagName + "." + it.className)"""
    assert visitor.page.evaluate(moving) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_and_ink_follow_the_scheme(new_context: Callable[..., BrowserContext], scheme: str) -> None:
    visitor = Visitor(new_context(color_scheme=scheme).new_page()).come()
    visitor.draw_and_see(L, "I read an L")
    paper = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = visitor.sheet.evaluate(
        "(sheet) => [...sheet.getContext('2d').getImageData(0.32 * sheet.width, 0.46 * sheet.height, 1, 1).data]"
    )
    expected = {
        "light": ("rgb(251, 248, 243)", [0x1D, 0x20, 0x33, 255]),
        "dark": ("rgb(18, 20, 28)", [0xEC, 0xEA, 0xF4, 255]),
    }
    assert (paper, ink) == expected[scheme]
