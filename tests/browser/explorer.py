"""Somebody who looks at the maps: finds points on the screen, points at them, draws lines around them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from playwright.sync_api import Page, expect

from tests.browser.mapping import MadeUp, serve

Point = tuple[float, float]
MARGIN = 0.94  # of the shorter side of the screen is the plane's


class Explorer:
    """Hands and eyes on the page of maps, which is told of maps that are made up."""

    def __init__(self, page: Page, *maps: MadeUp) -> None:
        self.page = page
        self.map = maps[0] if maps else MadeUp()
        serve(page, *maps)
        self.atlas = page.locator("#atlas")
        self.overlay = page.locator("#overlay")
        self.card = page.locator("#card")
        self.search = page.locator("#search")
        self.selection = page.locator("#selection")

    def come(self, query: str = "", state: str = "ready") -> Explorer:
        """Open the page and wait until it is in a state."""
        self.page.goto(f"/explore/{query}")
        self.is_in(state)
        return self

    def is_in(self, state: str) -> None:
        """Wait for "ready", "flat", "missing" or "trouble"."""
        expect(self.atlas).to_have_attribute("data-state", state)

    def at(self, place: Sequence[float], view: tuple[float, float, float] = (0, 0, 1)) -> Point:
        """Where a place of the plane is on the screen, seen as `view`: x, y, zoom."""
        box = self.overlay.bounding_box()
        assert box is not None
        scale = view[2] * MARGIN * min(box["width"], box["height"]) / 2
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return middle[0] + (place[0] - view[0]) * scale, middle[1] - (place[1] - view[1]) * scale

    def point(self, index: int, view: tuple[float, float, float] = (0, 0, 1)) -> Point:
        """Where a point of the map is on the screen."""
        return self.at(self.map.columns["places"][index] / 32767, view)

    def hover(self, index: int) -> None:
        """Point at it with the mouse."""
        self.page.mouse.move(*self.point(index))

    def draw_around(self, corners: Sequence[Point]) -> None:
        """Draw a line around corners given in the plane."""
        self.page.mouse.move(*self.at(corners[0]))
        self.page.mouse.down()
        for corner in (*corners[1:], corners[0]):
            self.page.mouse.move(*self.at(corner), steps=4)
        self.page.mouse.up()

    def shows(self, words: str | re.Pattern[str]) -> None:
        """What it says of how many are shown."""
        expect(self.page.locator("#shown")).to_have_text(words)

    def module(self, name: str, body: str, value: object = None) -> object:
        """What a function body returns that has the module's exports as `it`, and `value`."""
        code = f"async (value) => {{ const it = await import('/static/letters/js/{name}.js'); {body} }}"
        return self.page.evaluate(code, value)
