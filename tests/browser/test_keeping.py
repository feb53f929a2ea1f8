"""A reading is confirmed or corrected, and the drawing kept: with consent, once, and for as long as its owner wants."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.test_drawing import HOUSE
from tests.browser.visitor import DRAWINGS, L, Visitor, asks_of, come_true, intercept
from tests.running import Site


def kept(site: Site, visitor: Visitor) -> dict[str, Any]:
    """The row of the drawing whose thank-you is shown."""
    link = visitor.page.locator("#receipt").get_attribute("href") or ""
    drawing = re.fullmatch(r"/drawings/([0-9a-f-]{36})#\S+", link)
    assert drawing, link
    query = "SELECT * FROM letters_drawing WHERE CAST(id AS TEXT) IN (%s, %s)"
    (row,) = site.rows(query, drawing[1], drawing[1].replace("-", ""))  # PostgreSQL writes the hyphens, SQLite does not
    return row


def draw_and_allow(visitor: Visitor) -> None:
    """Draw an L, and let it be kept."""
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")


def test_without_consent_nothing_is_stored_and_the_page_says_so(visitor: Visitor, site: Site) -> None:
    before, sent = site.count("drawing"), asks_of(visitor.page, "/drawings")
    visitor.draw_and_see(L, "I read an L")
    expect(visitor.consent).not_to_be_checked()
    visitor.right.click()
    callout = visitor.page.get_by_role("alert")
    expect(callout).to_contain_text("Nothing was stored: I keep your L only if you tick this box.")
    expect(visitor.consent).to_be_focused()
    assert sent == []
    assert site.count("drawing") == before
    assert len(visitor.strokes) == 1


def test_right_keeps_exactly_one_drawing(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    draw_and_allow(visitor)
    visitor.right.click()
    visitor.sees("Thank you, your L is kept")
    assert site.count("drawing") == before + 1
    row = kept(site, visitor)
    assert (row["character"], row["label"], row["predicted"], row["state"]) == ("L", "L", "L", "pending")
    assert visitor.strokes == []
    assert not visitor.has_ink()
    expect(visitor.right).to_have_attribute("aria-disabled", "true")


def test_consent_given_after_the_question_lets_the_same_drawing_be_kept(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    visitor.draw_and_see(L, "I read an L")
    visitor.right.click()
    visitor.consent.check()
    expect(visitor.page.get_by_role("alert")).to_be_hidden()
    visitor.right.click()
    visitor.sees("Thank you, your L is kept")
    assert site.count("drawing") == before + 1


def test_asked_twice_it_is_kept_once(visitor: Visitor, site: Site) -> None:
    before, sent = site.count("drawing"), asks_of(visitor.page, "/drawings")
    draw_and_allow(visitor)
    visitor.right.dblclick()
    visitor.page.keyboard.press("Enter")
    visitor.sees("Thank you, your L is kept")
    assert len(sent) == 1
    assert site.count("drawing") == before + 1


def test_the_receipt_shows_the_drawing_and_deletes_it(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    visitor.right.click()
    visitor.page.locator("#receipt").click()
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Your capital L")
    expect(page.locator("#kept-facts")).to_contain_text("The model readan L")
    expect(page.locator("#kept-state")).to_contain_text("It waits to be looked at")
    assert (
        Visitor(page)
        .page.locator("#kept-sheet")
        .evaluate("(sheet) => sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data.some(Boolean)")
    )
    receipt, before = page.url, site.count("drawing")
    page.get_by_role("button", name="Delete this drawing").click()
    page.get_by_role("button", name="Keep it").click()
    assert site.count("drawing") == before
    page.get_by_role("button", name="Delete this drawing").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("It is deleted")
    assert site.count("drawing") == before - 1
    page.goto("/")
    page.goto(receipt)
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such drawing")


def test_a_receipt_of_another_drawing_shows_nothing(visitor: Visitor) -> None:
    draw_and_allow(visitor)
    visitor.right.click()
    link = visitor.page.locator("#receipt")
    expect(link).to_be_visible()
    visitor.page.goto((link.get_attribute("href") or "") + "x")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("There is no such drawing")
    expect(visitor.page.locator("#kept")).to_be_hidden()


def test_a_wrong_reading_is_corrected_with_the_letters(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    visitor.other.click()
    letters = visitor.page.get_by_role("dialog", name="Which letter is it?")
    expect(letters.locator("[data-character]")).to_have_count(52)
    letters.locator("[data-character='c']").click()
    expect(letters).to_be_hidden()
    visitor.sees("Thank you, your c is kept")
    row = kept(site, visitor)
    assert (row["character"], row["label"], row["predicted"]) == ("c", "C", "L")


@pytest.mark.parametrize("typed", ["c", "Q"])
def test_a_wrong_reading_is_corrected_by_typing(visitor: Visitor, site: Site, typed: str) -> None:
    draw_and_allow(visitor)
    visitor.page.keyboard.type(typed)
    visitor.sees(f"Thank you, your {typed} is kept")
    row = kept(site, visitor)
    assert (row["character"], row["predicted"]) == (typed, "L")


def test_the_letters_answer_to_the_keyboard(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    before = site.count("drawing")
    visitor.other.focus()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    visitor.page.keyboard.press("Escape")
    expect(visitor.page.get_by_role("dialog")).to_be_hidden()
    assert len(visitor.strokes) == 1, "Escape closed the letters; the drawing stays"
    visitor.other.click()
    visitor.page.keyboard.type("d")
    visitor.sees("Thank you, your d is kept")
    assert site.count("drawing") == before + 1
    assert kept(site, visitor)["character"] == "d"


def test_the_likely_letters_beside_the_reading_answer_too(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    other_case = visitor.page.locator("#reading-actions [data-character='l']")
    expect(other_case).to_contain_text("small")
    other_case.click()
    visitor.sees("Thank you, your l is kept")
    assert kept(site, visitor)["character"] == "l"


def test_a_guess_at_what_looks_like_no_letter_is_one_tap_away(visitor: Visitor, site: Site) -> None:
    """Enter says nothing there; whoever means a letter can still give it."""
    before = site.count("drawing")
    visitor.consent.check()
    visitor.draw_and_see(HOUSE, "This does not look like a letter I know")
    visitor.page.keyboard.press("Enter")
    guess = visitor.page.locator("#reading-actions .chip").first
    letter = guess.locator(".glyph").inner_text()
    assert site.count("drawing") == before
    guess.click()
    visitor.sees(f"Thank you, your {letter} is kept")
    assert site.count("drawing") == before + 1
    assert kept(site, visitor)["character"] == letter


def test_consent_is_remembered_and_can_be_taken_back(visitor: Visitor, site: Site) -> None:
    expect(visitor.consent).not_to_be_checked()
    visitor.consent.check()
    visitor.come()
    expect(visitor.consent).to_be_checked()
    visitor.consent.uncheck()
    expect(visitor.page.locator("#slip")).to_contain_text("From now on nothing is kept.")
    visitor.come()
    expect(visitor.consent).not_to_be_checked()
    before = site.count("drawing")
    visitor.draw_and_see(L, "I read an L")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    assert site.count("drawing") == before


def test_what_this_browser_gave_stands_under_mine(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    visitor.page.keyboard.press("Enter")
    visitor.sees("Thank you, your L is kept")
    visitor.page.get_by_role("link", name="Mine", exact=True).click()
    page = visitor.page
    expect(page.locator("#mine-list li")).to_have_count(1)
    expect(page.locator("#mine-list li")).to_contain_text("capital L")
    before = site.count("drawing")
    page.get_by_role("button", name="Delete this capital L").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", name="This browser has given no letter")).to_be_visible()
    assert site.count("drawing") == before - 1


def test_it_can_be_taken_back_at_once(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    draw_and_allow(visitor)
    visitor.right.click()
    visitor.page.locator("#withdraw").click()
    visitor.page.get_by_role("button", name="Delete it").click()
    expect(visitor.page.locator("#slip")).to_have_text("It is deleted.")
    assert site.count("drawing") == before


def test_a_stroke_drawn_while_the_letter_is_sent_belongs_to_the_next(visitor: Visitor, site: Site) -> None:
    draw_and_allow(visitor)
    held: list[Route] = []
    intercept(visitor.page, DRAWINGS, lambda route: held.append(route))
    visitor.right.click()
    come_true(visitor.page, "document.querySelector('#right').getAttribute('aria-disabled') === 'true'")
    visitor.draw([[(0.8, 0.2), (0.8, 0.7)]])
    held[0].continue_()
    expect(visitor.page.locator("#slip")).to_contain_text("Thank you, your L is kept.")
    assert len(visitor.strokes) == 1
    assert visitor.ink_at((0.8, 0.4))
    assert not visitor.ink_at(L[0][1])
