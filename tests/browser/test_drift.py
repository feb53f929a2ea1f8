"""The page on drift: what changed is said first, and all of it can be read by keyboard, on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.staff import go_as
from tests.running import Site

PASSWORD = "a-long-enough-word"
PREPARE = f"""
import django; django.setup()
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from letters.drift import Tally
from letters.models import DriftDay, Serving
User.objects.create_superuser("watcher", password={PASSWORD!r})
serving = Serving.objects.get().model.number
chance = random.Random(3)
now = timezone.now()
def day(kept, wrong):
    sure = [chance.betavariate(9, 1) for _ in range(kept)]
    labels = Counter(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt", k=kept))
    return Tally(kept=kept, corrected=wrong, probability=sum(sure), squares=sum(s * s for s in sure), labels=labels,
        confidence=Counter(min(9, int(s * 10)) for s in sure), predicted=labels, examined=kept, unfamiliar=kept // 50)
for ago in range(56):
    kept = chance.randint(15, 60)
    wrong = kept // 4 if ago < 7 else kept // 20
    versions = {{str(serving if ago < 20 else serving + 1): day(kept, wrong).stored()}}
    DriftDay.objects.create(day=(now - timedelta(days=ago)).astimezone(UTC).date(), versions=versions, counted_at=now)
"""
CLEAR = """
import django; django.setup()
from letters.models import DriftDay
DriftDay.objects.all().delete()
"""


@pytest.fixture(scope="module")
def drifting(site: Site) -> Iterator[Site]:
    """A site whose model is corrected more often since a week; no trainer counts what is really there."""
    ran = site.trainer.runs()
    site.trainer.kill()
    site.python(CLEAR)
    site.python(PREPARE)
    yield site
    site.python(CLEAR)
    if ran:
        site.trainer.start()


@pytest.fixture
def drift_page(drifting: Site, page: Page) -> Page:
    go_as(page, drifting, "watcher", PASSWORD, "/admin/drift/")
    return page


def test_it_works(drift_page: Page) -> None:
    """From the front page of the admin, the sentence that matters first."""
    drift_page.goto("/admin/")
    drift_page.get_by_role("link", name="Drift").click()
    expect(drift_page.locator(".drift-summary")).to_contain_text("changed by more than chance explains")
    notable = drift_page.locator("li[data-notable=yes]")
    expect(notable).to_have_count(1)
    expect(notable).to_contain_text("more are corrected now")
    assert drift_page.locator(".drift-wide circle").count() == 2 * 56
    drift_page.get_by_role("link", name="12 weeks").click()
    expect(drift_page.get_by_role("link", name="12 weeks")).to_have_attribute("aria-current", "page")


def test_the_numbers_are_there_as_tables(drift_page: Page) -> None:
    drift_page.get_by_text("In numbers").nth(1).click()
    table = drift_page.get_by_role("region", name="Day by day, in numbers").get_by_role("table")
    assert table.get_by_role("row").count() == 57
    expect(table.get_by_role("columnheader").nth(4)).to_have_text("Corrected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(drifting: Site, new_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = new_context(bypass_csp=True, color_scheme=scheme).new_page()
    go_as(page, drifting, "watcher", PASSWORD, "/admin/drift/")
    for each in page.get_by_text("In numbers").all():
        each.click()
    found = Axe().run(page, context=".drift", options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def test_it_fits_a_phone(drifting: Site, new_context: Callable[..., BrowserContext]) -> None:
    """What is wider scrolls within itself."""
    page = new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    go_as(page, drifting, "watcher", PASSWORD, "/admin/drift/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = page.locator(".drift-wide").first
    assert wide.evaluate("(chart) => chart.scrollWidth > chart.clientWidth")
