"""A letter is drawn, and what the model reads appears."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from ml.labels import CLASSES
from tests.browser.visitor import PREDICTIONS, L, T, Visitor, answer_changed, asks_of, come_true, intercept, only_likely

STRANGE = "This does not look like a letter I know"
HOUSE = [
    [(0.25, 0.8), (0.25, 0.45), (0.75, 0.45), (0.75, 0.8), (0.25, 0.8)],
    [(0.2, 0.46), (0.5, 0.15), (0.8, 0.46)],
    [(0.44, 0.8), (0.44, 0.6), (0.57, 0.6), (0.57, 0.8)],
]


def test_a_letter_drawn_with_a_mouse_is_read(visitor: Visitor) -> None:
    visitor.draw_and_see(L, "I read an L")
    expect(visitor.detail).to_have_text(re.compile(r"^(over )?\d+\.\d\s% sure · \d+\sms$"))
    expect(visitor.right).to_have_text("Right, it is an L")


def test_all_37_letters_have_a_bar_and_the_likeliest_is_marked(visitor: Visitor) -> None:
    visitor.draw_and_see(L, "I read an L")
    bars = visitor.page.locator("#bars li")
    expect(bars).to_have_count(37)
    assert max(CLASSES, key=visitor.share_of) == "L"
    expect(visitor.page.locator("#bars .likely")).not_to_have_count(0)
    expect(visitor.page.locator("#bars [data-label='L']")).to_have_class(re.compile("likely"))
    expect(visitor.page.locator("#bars-table tbody tr")).to_have_count(37)


def test_the_image_is_shown_as_the_model_saw_it(visitor: Visitor) -> None:
    with visitor.page.expect_response(PREDICTIONS) as answered:
        visitor.draw(L)
    visitor.sees("I read an L")
    seen = visitor.page.locator("#seen")
    expect(seen).to_have_attribute("src", re.compile("^data:image/png;base64,"))
    assert seen.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [28, 28]
    assert answered.value.json()["preprocess"]


def test_the_reading_follows_each_stroke(visitor: Visitor) -> None:
    asked = asks_of(visitor.page, "/predictions")
    for strokes, title in ((T[1:], re.compile("I")), (T[:1], "I read a T")):
        visitor.draw_and_see(strokes, title)
        sent = asked[-1].post_data_json["strokes"]  # the whole of it: a stroke is read while it is drawn, too
        assert list(map(len, sent)) == list(map(len, visitor.strokes))


def test_low_confidence_is_said(visitor: Visitor) -> None:
    intercept(visitor.page, PREDICTIONS, answer_changed(only_likely(("L", 0.4), ("C", 0.35))))
    visitor.draw_and_see(L, re.compile("^I am not sure: L or [Cc]\\?$"))
    expect(visitor.reading).to_have_attribute("data-state", "unsure")


def test_what_is_no_letter_is_said(visitor: Visitor) -> None:
    """Its likeliest letters are guesses, in both cases, and nothing is claimed that one could be right about."""
    visitor.draw_and_see(HOUSE, STRANGE)
    expect(visitor.reading).to_have_attribute("data-state", "strange")
    expect(visitor.page.locator("#reading-letter")).to_be_empty()
    guess = re.fullmatch(r"If it is one: (\w) or (\w)\?", visitor.detail.inner_text())
    assert guess, visitor.detail.inner_text()
    first, second = guess.groups()
    chips = visitor.page.locator("#reading-actions .chip .glyph").all_inner_texts()
    assert chips == list(dict.fromkeys([first, second, first.swapcase(), second.swapcase()]))
    expect(visitor.page.locator("#announcer")).to_contain_text(f"{STRANGE}. If it is one: ")
    expect(visitor.right).to_have_attribute("aria-disabled", "true")
    expect(visitor.right).to_have_text("Right")
    expect(visitor.other).to_have_text("It is …")
    visitor.button("Clear").click()
    visitor.draw_and_see(L, "I read an L")
    expect(visitor.other).to_have_text("No, it is …")
    expect(visitor.right).to_have_text("Right, it is an L")


def test_half_a_stroke_is_not_called_strange(visitor: Visitor) -> None:
    """It may still become anything."""
    intercept(visitor.page, PREDICTIONS, answer_changed(only_likely(("L", 0.9), known=False)))
    visitor.page.mouse.move(*visitor.at(L[0][0]))
    visitor.page.mouse.down()
    for point in L[0][1:]:
        visitor.page.mouse.move(*visitor.at(point), steps=6)
    expect(visitor.title).to_have_text(re.compile("^I (read|am not sure)"))
    visitor.page.mouse.up()
    visitor.sees(STRANGE)


@pytest.mark.parametrize(
    ("likely", "offered"),
    [
        ((("L", 0.9), ("T", 0.05), ("I", 0.03)), ["l", "T", "I"]),  # a merged class: the other case comes first
        ((("F", 0.9), ("T", 0.05), ("P", 0.03)), ["f", "T", "P"]),  # classes of their own
        ((("F", 0.5), ("f", 0.45), ("T", 0.03)), ["f", "T"]),
        ((("t", 0.4), ("F", 0.35), ("X", 0.2)), ["T", "F", "f"]),  # in doubt: both cases of both
    ],
)
def test_the_second_letter_and_the_other_case_are_one_tap_away(
    visitor: Visitor, likely: tuple[tuple[str, float], ...], offered: list[str]
) -> None:
    intercept(visitor.page, PREDICTIONS, answer_changed(only_likely(*likely)))
    visitor.draw_and_see(L, re.compile("^I (read|am not sure)"))
    chips = visitor.page.locator("#reading-actions .chip .glyph")
    expect(chips.first).to_have_text(offered[0])
    assert chips.all_inner_texts()[: len(offered)] == offered
    expect(visitor.right).to_contain_text(likely[0][0])
    words = visitor.page.locator("#reading-actions .chip").first
    expect(words).to_contain_text("%" if offered[0] in dict(likely) else "small" if offered[0].islower() else "capital")


@pytest.mark.parametrize("width", [320, 360])
def test_on_a_phone_the_guesses_fit(new_context: Callable[..., BrowserContext], width: int) -> None:
    context = new_context(viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True)
    phone = Visitor(context.new_page()).come()
    for stroke in HOUSE:
        phone.touch(stroke)
    phone.sees(STRANGE)
    chips = phone.page.locator("#reading-actions .chip").all()
    assert len(chips) >= 3
    for chip in (*chips, phone.right, phone.other):
        box = chip.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 44
        assert box["width"] >= 44
    buttons = phone.right.bounding_box()
    assert buttons is not None
    lowest = max(box["y"] + box["height"] for chip in chips if (box := chip.bounding_box()))
    assert lowest <= buttons["y"], "the buttons cover a guess"


def test_a_finger_draws_and_the_page_stays_where_it_is(phone: Visitor) -> None:
    assert phone.page.evaluate("document.documentElement.scrollHeight > innerHeight"), "nothing could scroll here"
    for point in L[0]:
        assert not phone.ink_at(point)
    phone.touch(L[0][:3])
    phone.touch(L[0][2:])
    phone.sees(re.compile("I read an L"))
    assert phone.page.evaluate("scrollY") == 0
    down, along = phone.strokes
    heights = [y for _, y, *_ in down]
    assert len(down) >= 8, "a stroke that the page had stolen for scrolling would be short"
    assert heights == sorted(heights)
    assert heights[-1] - heights[0] == pytest.approx(0.56, abs=0.02)
    assert along[-1][0] - along[0][0] == pytest.approx(0.36, abs=0.02)


def test_a_cancelled_touch_loses_nothing(phone: Visitor) -> None:
    phone.touch(L[0], end="touchCancel")
    phone.sees("I read an L")
    assert len(phone.strokes) == 1
    assert phone.ink_at(L[0][0])
    assert phone.ink_at(L[0][-2])


def test_undo_redo_and_clear_by_their_buttons(visitor: Visitor) -> None:
    visitor.draw_and_see(T, "I read a T")
    visitor.button("Undo").click()
    assert len(visitor.strokes) == 1
    visitor.button("Redo").click()
    assert len(visitor.strokes) == 2
    visitor.sees("I read a T")
    visitor.button("Clear").click()
    assert visitor.strokes == []
    assert not visitor.has_ink()
    visitor.sees("Show me a letter")
    visitor.button("Undo").click()  # what was cleared by mistake comes back
    assert len(visitor.strokes) == 2
    visitor.sees("I read a T")


@pytest.mark.parametrize("redo", ["Control+Shift+Z", "Control+Y"])
def test_undo_redo_and_clear_by_keys(visitor: Visitor, redo: str) -> None:
    visitor.draw_and_see(T, "I read a T")
    visitor.page.keyboard.press("Control+Z")
    assert len(visitor.strokes) == 1
    visitor.page.keyboard.press(redo)
    assert len(visitor.strokes) == 2
    visitor.page.keyboard.press("Escape")
    assert visitor.strokes == []


def test_buttons_that_can_do_nothing_say_so(visitor: Visitor) -> None:
    for name in ("undo", "redo", "clear", "right", "other"):
        expect(visitor.page.locator(f"#{name}")).to_have_attribute("aria-disabled", "true")
    visitor.draw_and_see(L, "I read an L")
    for name in ("undo", "clear", "right", "other"):
        expect(visitor.page.locator(f"#{name}")).to_have_attribute("aria-disabled", "false")
    expect(visitor.page.locator("#redo")).to_have_attribute("aria-disabled", "true")


def test_a_letter_can_be_drawn_with_the_keyboard_alone(visitor: Visitor) -> None:
    visitor.sheet.focus()
    keys = visitor.page.keyboard
    for _ in range(12):
        keys.press("ArrowUp")
    keys.press("Space")
    for _ in range(25):
        keys.press("ArrowDown")
    for _ in range(16):
        keys.press("ArrowRight")
    keys.press("Space")
    visitor.sees("I read an L")
    expect(visitor.page.locator("#announcer")).to_contain_text("I read a capital L")


def test_only_the_answer_to_the_last_question_counts(visitor: Visitor) -> None:
    """The first is never answered; it is given up when the next is asked."""
    held: list[Route] = []
    aborted: list[str] = []
    visitor.page.on("requestfailed", lambda it: aborted.append(it.failure or ""))
    intercept(visitor.page, PREDICTIONS, lambda route: held.append(route))
    visitor.draw(T[1:])  # where this takes long, half a stroke is read first
    come_true(visitor.page, "document.querySelector('#reading').hasAttribute('data-stale')")
    visitor.page.unroute(PREDICTIONS)
    visitor.draw_and_see(T[:1], "I read a T")
    assert len(held) >= 1
    assert set(aborted) == {"net::ERR_ABORTED"}


def test_a_reload_keeps_the_drawing(visitor: Visitor) -> None:
    visitor.draw_and_see(T, "I read a T")
    before = visitor.strokes
    visitor.page.reload()
    visitor.sees("I read a T")
    assert visitor.strokes == before
    assert visitor.ink_at((0.5, 0.5))


def test_turning_the_phone_keeps_the_drawing(phone: Visitor) -> None:
    phone.touch(L[0])
    phone.sees("I read an L")
    before = phone.strokes
    phone.page.set_viewport_size({"width": 740, "height": 360})
    come_true(phone.page, "document.querySelector('#sheet').clientWidth < 320")
    sharp = "(sheet => sheet.width === Math.round(sheet.clientWidth * 3))(document.querySelector('#sheet'))"
    come_true(phone.page, sharp)
    assert phone.strokes == before
    for point in L[0]:
        assert phone.ink_at(point)
    assert not phone.ink_at((0.6, 0.3))


def test_a_stroke_survives_resizing_while_it_is_drawn(visitor: Visitor) -> None:
    page = visitor.page
    page.mouse.move(*visitor.at((0.3, 0.2)))
    page.mouse.down()
    page.mouse.move(*visitor.at((0.3, 0.7)), steps=6)
    page.set_viewport_size({"width": 1000, "height": 700})
    come_true(page, "(sheet => sheet.width === Math.round(sheet.clientWidth))(document.querySelector('#sheet'))")
    assert visitor.ink_at((0.3, 0.4)), "what is drawn already is drawn again at the new size"
    page.mouse.move(*visitor.at((0.7, 0.7)), steps=6)
    page.mouse.up()
    visitor.sees(re.compile(" "))
    (stroke,) = visitor.strokes
    assert stroke[0][:2] == pytest.approx([0.3, 0.2], abs=0.01)
    assert stroke[-1][:2] == pytest.approx([0.7, 0.7], abs=0.01)
