"""Staff see what was collected."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.staff import go_as
from tests.browser.visitor import L, Visitor, come_true
from tests.running import Site

PASSWORD = "a-long-enough-word"


@pytest.fixture(scope="module")
def staff(site: Site) -> str:
    """The name of somebody of the staff."""
    site.python(
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        f"User.objects.create_superuser('looker', password={PASSWORD!r})\n"
    )
    return "looker"


@pytest.fixture
def admin(visitor: Visitor, site: Site, staff: str) -> Page:
    """Somebody of the staff, signed in, after a letter was kept."""
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    visitor.right.click()
    visitor.sees("Thank you, your L is kept")
    page = visitor.page
    go_as(page, site, staff, PASSWORD, "/admin/")
    expect(page.get_by_role("link", name="Drawings", exact=True)).to_be_visible()
    return page


def test_staff_see_a_drawing_with_its_thumbnail(admin: Page) -> None:
    admin.get_by_role("link", name="Drawings", exact=True).click()
    row = admin.locator("#result_list tbody tr").first
    expect(row).to_contain_text("L")
    expect(row).to_contain_text("✓ L,")
    thumbnail = row.get_by_role("img", name="drawn: L")
    assert thumbnail.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [28, 28]


def test_staff_see_a_drawing_drawn_again(admin: Page) -> None:
    admin.goto("/admin/letters/drawing/")
    admin.locator("#result_list tbody tr").first.get_by_role("img").click()
    has_ink = """() => {
      const sheet = document.querySelector("canvas.letter-replay");
      return sheet && sheet.getContext("2d").getImageData(0, 0, sheet.width, sheet.height).data.some(Boolean);
    }"""
    come_true(admin, has_ink)
    wipe = "(sheet) => sheet.getContext('2d').clearRect(0, 0, sheet.width, sheet.height)"
    at_its_end = """() => {
      const sheet = document.querySelector("canvas.letter-replay");
      return sheet.getContext("2d").getImageData(0.68 * sheet.width - 4, 0.74 * sheet.height, 4, 1).data.some(Boolean);
    }"""
    come_true(admin, at_its_end)
    admin.locator("canvas.letter-replay").evaluate(wipe)
    admin.get_by_role("button", name="Draw it again").click()
    come_true(admin, at_its_end)


def test_staff_find_letters_by_class_and_by_mistake(admin: Page) -> None:
    rows = admin.locator("#result_list tbody tr")
    mine = rows.filter(has=admin.get_by_role("img", name="drawn: L", exact=True)).filter(has_text="✓ L")
    admin.goto("/admin/letters/drawing/?label=L&was=right")
    expect(mine.first).to_be_visible()
    expect(rows.filter(has_not_text="✓ L")).to_have_count(0)
    for others in ("label=Q&was=right", "label=L&was=wrong"):
        admin.goto(f"/admin/letters/drawing/?{others}")
        expect(admin.locator("#changelist-form")).to_be_visible()
        expect(mine).to_have_count(0)


def test_staff_who_are_signed_in_can_draw_too(admin: Page) -> None:
    """The session of the admin does not stand in the way of the API."""
    visitor = Visitor(admin).come()
    visitor.draw_and_see(L, "I read an L")
    visitor.page.keyboard.press("Enter")
    visitor.sees("Thank you, your L is kept")


def test_the_admin_keeps_to_the_policy(admin: Page) -> None:
    """What broke it would fail the test at its end."""
    for path in ("", "letters/drawing/", "letters/modelversion/", "letters/deployment/", "letters/contributor/"):
        admin.goto(f"/admin/{path}")
        expect(admin.get_by_role("heading", level=1)).to_have_text(re.compile("."))
        assert admin.evaluate("document.styleSheets.length") > 0
