"""A visitor at the sheet: draws with a mouse, a finger or the keys, and reads what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.running import wait_for

Point = tuple[float, float]  # as a share of the sheet's side
Strokes = Sequence[Sequence[Point]]

L: Strokes = [[(0.32, 0.18), (0.32, 0.46), (0.32, 0.74), (0.5, 0.74), (0.68, 0.74)]]
T: Strokes = [[(0.25, 0.2), (0.5, 0.2), (0.75, 0.2)], [(0.5, 0.2), (0.5, 0.45), (0.5, 0.74)]]
PREDICTIONS = "**/api/v1/predictions"
DRAWINGS = "**/api/v1/drawings"
PROBE = "**/is-this-intercepted"


class Visitor:
    """Hands and eyes on one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sheet = page.locator("#sheet")
        self.reading = page.locator("#reading")
        self.title = page.locator("#reading-title")
        self.detail = page.locator("#reading-detail")
        self.right = page.locator("#right")
        self.other = page.locator("#other")
        self.consent = page.locator("#consent")

    def come(self) -> Visitor:
        """Open the drawing page."""
        self.page.goto("/")
        expect(self.page.locator("#undo")).to_have_attribute("aria-disabled", "true")
        come_true(self.page, "document.querySelector('#sheet').width !== 300")  # its script has run
        return self

    # --- Drawing ---

    def at(self, point: Point) -> Point:
        """Where a point of the sheet is on the screen."""
        box = self.sheet.bounding_box()
        assert box is not None
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    def draw(self, strokes: Strokes) -> None:
        """With the mouse."""
        for stroke in strokes:
            self.page.mouse.move(*self.at(stroke[0]))
            self.page.mouse.down()
            for point in stroke[1:]:
                self.page.mouse.move(*self.at(point), steps=6)
            self.page.mouse.up()

    def draw_and_see(self, strokes: Strokes, title: str | re.Pattern[str]) -> None:
        """With the mouse, and wait for what is read."""
        self.draw(strokes)
        self.sees(title)

    def touch(self, stroke: Sequence[Point], end: str = "touchEnd") -> None:
        """With a finger, through the browser's own handling of touches: a page that may scroll, will."""
        devtools = self.page.context.new_cdp_session(self.page)
        send = devtools.send
        for number, (x, y) in enumerate(map(self.at, finely(stroke))):
            kind = "touchMove" if number else "touchStart"
            send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        send("Input.dispatchTouchEvent", {"type": end, "touchPoints": []})
        devtools.detach()

    # --- Looking ---

    def sees(self, title: str | re.Pattern[str]) -> None:
        """What the model says of the sheet as it is now."""
        expect(self.title).to_have_text(title)
        expect(self.reading).not_to_have_attribute("data-stale", "")

    @property
    def strokes(self) -> list[list[list[float]]]:
        """What the page remembers of the drawing, as it would after a reload."""
        saved = self.page.evaluate("sessionStorage.getItem('letterloop.sheet')")
        return json.loads(saved)["strokes"] if saved else []

    def ink_at(self, point: Point) -> bool:
        """Whether the sheet shows ink there."""
        look = """(sheet, [x, y]) => {
          const [column, row] = [x * (sheet.width - 1), y * (sheet.height - 1)];
          return sheet.getContext("2d").getImageData(column, row, 1, 1).data[3] > 128;
        }"""
        return bool(self.sheet.evaluate(look, list(point)))

    def has_ink(self) -> bool:
        """Whether the sheet shows any."""
        look = "(sheet) => sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data.some(Boolean)"
        return bool(self.sheet.evaluate(look))

    def share_of(self, label: str) -> float:
        """How high a bar is, 0 to 1."""
        bar = self.page.locator(f"#bars [data-label='{label}']")
        return float(bar.evaluate("(bar) => bar.style.getPropertyValue('--share')") or 0)

    def button(self, name: str) -> Locator:
        """One of the page's buttons, by its words."""
        return self.page.get_by_role("button", name=name, exact=True)


def finely(stroke: Sequence[Point], steps: int = 8) -> list[Point]:
    """The points of a stroke, and points between them: a finger does not jump."""
    points = [stroke[0]]
    for (x0, y0), (x1, y1) in pairwise(stroke):
        points += [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(1, steps + 1)]
    return points


def come_true(page: Page, expression: str) -> None:
    """Wait until it is true in the page. Playwright's own wait evaluates strings there, which the policy forbids."""
    wait_for(lambda: page.evaluate(expression), expression, timeout=20)


def intercept(page: Page, pattern: str, handler: Callable[[Route], Any], **options: Any) -> None:
    """`page.route` on a page that is there already, in force when this returns.

    The browser says that it intercepts before the page's process knows: what that asks meanwhile goes to the server.
    """
    page.route(pattern, handler, **options)
    page.route(PROBE, lambda route: route.fulfill(status=204))
    come_true(page, f"fetch('{PROBE.removeprefix('**')}').then((answer) => answer.status === 204)")


def asks_of(page: Page, path: str) -> list[Request]:
    """A list that grows with each POST to a path of the API."""
    asked: list[Request] = []
    page.on("request", lambda it: asked.append(it) if it.method == "POST" and it.url.endswith(path) else None)
    return asked


def answer_changed(change: Callable[[dict[str, Any]], None]) -> Callable[[Route], None]:
    """Lets the server answer, and changes the answer: for readings that no drawing gives reliably."""

    def handle(route: Route) -> None:
        response = route.fetch()
        value = response.json()
        change(value)
        route.fulfill(response=response, json=value)

    return handle


def only_likely(*likely: tuple[str, float], known: bool = True) -> Callable[[dict[str, Any]], None]:
    """Probabilities in which these letters have these shares; whether it looks like a letter at all."""

    def change(value: dict[str, Any]) -> None:
        shares = dict(likely)
        rest = (1 - sum(shares.values())) / (len(value["probabilities"]) - len(shares))
        value["probabilities"] = {label: shares.get(label, rest) for label in value["probabilities"]}
        value["label"], value["probability"] = likely[0]
        value["familiarity"]["known"] = known

    return change
