"""Taking the data away: the button, the progress, the file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.staff import go_as
from tests.browser.visitor import come_true
from tests.running import Part, Site

PASSWORD = "a-long-enough-word"
PAGE = "/admin/letters/export/"
PREPARE = f"""
import django; django.setup()
from django.contrib.auth.models import Group, User
from tests.letters.collected import a_drawing
user = User.objects.create_user("carrier", password={PASSWORD!r}, is_staff=True)
user.groups.add(Group.objects.get(name="maintainers"))
a_drawing("V")
"""


@pytest.fixture(scope="module")
def staff(site: Site) -> str:
    """The name of somebody who may export what is there."""
    site.python(PREPARE)
    return "carrier"


@pytest.fixture
def trainer(site: Site) -> Iterator[Part]:
    """Who makes the file, once it is started; other tests on this site do without."""
    yield site.trainer
    site.trainer.kill()


@pytest.fixture
def sign_in(new_context: Callable[..., BrowserContext], site: Site, staff: str) -> Callable[..., Page]:
    """A page of theirs, on a profile of its own, at the exports."""

    def at_the_exports(**options: object) -> Page:
        page = new_context(**options).new_page()
        go_as(page, site, staff, PASSWORD, PAGE)
        expect(page.get_by_role("heading", name="Take the data away")).to_be_visible()
        return page

    return at_the_exports


def test_a_button_a_progress_and_a_file(sign_in: Callable[..., Page], trainer: Part, tmp_path: Path) -> None:
    """Without a reload."""
    page = sign_in()
    page.get_by_role("button", name="Export as ndjson").click()
    row = page.locator("#exports > li").first
    expect(row).to_contain_text("waiting")
    expect(row.get_by_role("progressbar", name="drawings written")).to_be_visible()
    page.evaluate("window.stayed = true")
    trainer.start()
    expect(row.get_by_role("link", name="Download")).to_be_visible(timeout=120_000)
    expect(row).to_contain_text("done")
    come_true(page, "window.stayed === true")
    with page.expect_download() as started:
        row.get_by_role("link", name="Download").click()
    path = tmp_path / started.value.suggested_filename
    started.value.save_as(path)
    assert path.name.startswith("letterloop-ndjson-")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        words = {json.loads(line)["word"] for line in archive.read("drawings.ndjson").splitlines()}
    assert "V" in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_sticks_out_and_all_can_be_used(sign_in: Callable[..., Page], scheme: str, width: int) -> None:
    page = sign_in(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.get_by_role("button", name="Export as idx").click()
    expect(page.locator("#exports > li").first).to_contain_text("idx")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page, context=".export-page", options={"resultTypes": ["violations"]})
    assert not found.violations_count, found.generate_report()
