"""The page of a model in a browser: with keys, on a phone, in the dark, and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_pages import complaints
from tests.running import Site

MAKE = """
import django; django.setup()
from letters.models import ModelVersion
parent = ModelVersion.objects.get(number=1).digest
known = {"name": "Nothing measured", "origin": "trained", "config": {"parent": parent}}
ModelVersion.objects.create(number=901, digest="9" * 64, **known)
"""
UNMAKE = """
import django; django.setup()
from letters.models import ModelVersion
ModelVersion.objects.filter(number=901).delete()
"""
PATHS = ("/model/", "/model/901/", "/model/compare/?a=1&b=901")


@pytest.fixture(scope="module", autouse=True)
def _versions(site: Site) -> Iterator[None]:
    """The one that serves, and one of which nothing is known."""
    site.python(MAKE)
    yield
    site.python(UNMAKE)


@pytest.fixture
def at_the_matrix(page: Page) -> Page:
    """The page, its script run, the keyboard at the matrix."""
    page.goto("/model/")
    expect(page.locator("#matrix")).to_have_attribute("role", "grid")
    page.locator("#matrix [tabindex='0']").focus()
    return page


def matrix_of(page: Page) -> tuple[list[str], list[list[int]]]:
    config = json.loads(page.locator("#matrix-config").text_content() or "")
    return config["classes"], config["matrix"]


def says(page: Page, row: int, column: int) -> None:
    """The live region tells of this cell."""
    classes, matrix = matrix_of(page)
    what = f"{classes[row]} read right" if row == column else f"{classes[row]} read as {classes[column]}"
    expect(page.get_by_role("status")).to_have_text(f"{what}, {matrix[row][column]} of {sum(matrix[row])}")


def test_arrow_keys_walk_the_matrix(at_the_matrix: Page) -> None:
    page = at_the_matrix
    _, matrix = matrix_of(page)
    mistakes = {(r, c): n for r, row in enumerate(matrix) for c, n in enumerate(row) if r != c}
    row, column = max(mistakes, key=lambda at: mistakes[at])  # it begins with the most frequent one
    says(page, row, column)
    for key, down, right in (("ArrowDown", 1, 0), ("ArrowRight", 0, 1), ("ArrowUp", -1, 0), ("ArrowLeft", 0, -1)):
        page.keyboard.press(key)
        row, column = row + down, column + right
        says(page, row, column)
    page.keyboard.press("Control+Home")
    says(page, 0, 0)
    page.keyboard.press("ArrowUp")  # there is nothing above
    page.keyboard.press("ArrowLeft")
    says(page, 0, 0)
    page.keyboard.press("End")
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowRight")
    says(page, 36, 36)


def test_the_matrix_is_one_stop_of_the_tab_key(at_the_matrix: Page) -> None:
    page = at_the_matrix
    page.keyboard.press("Control+Home")
    assert page.locator("#matrix [tabindex='0']").count() == 1
    assert page.locator("#matrix [role='gridcell']").count() == 37 * 37
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#matrix')") is None
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.getAttribute('x') + document.activeElement.getAttribute('y')") == "00"


def test_a_mouse_is_told_of_the_cell_under_it(page: Page) -> None:
    page.goto("/model/")
    page.locator("#matrix g[data-row='5'] [aria-colindex='6']").hover()
    says(page, 5, 5)
    page.locator("#matrix g[data-row='5'] [aria-colindex='2']").hover()  # where nothing was read
    says(page, 5, 1)


def test_the_keys_bring_a_cell_into_view_on_a_phone(new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport={"width": 320, "height": 740}).new_page()
    page.goto("/model/")
    cell = page.locator("#matrix [tabindex='0']")
    cell.focus()
    for key in ("End", "Home", "PageDown"):
        page.keyboard.press(key)
        expect(cell).to_be_in_viewport()
        expect(page.get_by_role("status")).to_be_in_viewport()
        box, frame = cell.bounding_box(), page.locator("#matrix-scroll").bounding_box()
        names = page.locator(".matrix-side").bounding_box()
        assert box
        assert frame
        assert names
        assert box["x"] >= names["x"] + names["width"] - 1, key
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1, key


def test_a_heading_sorts_the_classes(page: Page) -> None:
    page.goto("/model/")
    table = page.locator("#class-table")
    labels = table.locator("tbody th")
    expect(labels.first).to_have_text("A")
    recall = [
        float(each)
        for each in table.locator("tbody td:nth-child(3)").evaluate_all("(a) => a.map((it) => it.dataset.value)")
    ]
    page.get_by_role("button", name="Recall").click()
    expect(table.locator("th[aria-sort]")).to_have_text("Recall")
    now = table.locator("tbody td:nth-child(3)").evaluate_all("(all) => all.map((it) => Number(it.dataset.value))")
    assert now == sorted(recall)
    page.get_by_role("button", name="Recall").press("Enter")
    expect(table.locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    again = table.locator("tbody td:nth-child(3)").evaluate_all("(all) => all.map((it) => Number(it.dataset.value))")
    assert again == sorted(recall, reverse=True)
    page.get_by_role("button", name="Class").click()
    expect(labels.first).to_have_text("A")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(new_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = new_context(color_scheme=scheme, bypass_csp=True).new_page()
    for path in PATHS:
        page.goto(path)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert complaints(page) == "", path


def test_axe_finds_nothing_at_a_cell(new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(bypass_csp=True, viewport={"width": 320, "height": 740}).new_page()
    page.goto("/model/")
    page.locator("#matrix [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert complaints(page) == ""


def test_no_page_scrolls_sideways(page: Page) -> None:
    wider = {}
    for path in PATHS:
        page.goto(path)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        for width in (320, 360, 480, 820, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 740})
            taken = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
            if taken > width:
                wider[path, width] = taken
    assert wider == {}


def test_without_javascript_the_figures_are_there(new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto("/model/")
    expect(page.get_by_role("img", name="Confusion matrix of 37 classes")).to_be_visible()
    expect(page.locator(".matrix-says")).to_contain_text("Most often")
    expect(page.get_by_role("img", name="Reliability diagram")).to_be_visible()
    expect(page.locator("#class-table tbody tr")).to_have_count(37)
    expect(page.locator("[data-scripted]").first).to_be_hidden()  # nothing is promised that only a script does
    page.get_by_text("The matrix as a table").click()
    expect(page.get_by_role("region", name="The matrix as a table")).to_be_visible()
    page.goto("/model/compare/?a=901&b=1")
    page.get_by_label("Compare", exact=True).select_option("1")
    page.get_by_label("with", exact=True).select_option("901")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model 1 and model 901")


def test_one_goes_from_the_sheet_to_the_model_and_to_another(page: Page) -> None:
    page.goto("/")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model 1")
    page.get_by_role("link", name="Model 901", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model 901")
    expect(page.locator("main")).to_contain_text("Not measured for this version")
    page.get_by_role("link", name="Compare with 1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model 1 and model 901")
    page.set_viewport_size({"width": 320, "height": 740})
    page.goto("/")
    page.get_by_role("link", name="The model", exact=True).click()  # at the foot, where the head has no room for it
    expect(page.get_by_role("heading", level=1)).to_have_text("Model 1")
