"""The whole loop, by hand: draw, correct, approve, retrain, look at the verdict, see it serve, go back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks import styles
from benchmarks.people import Letter
from tests.browser.staff import sign_in
from tests.browser.visitor import PREDICTIONS, Strokes, Visitor, answer_changed, intercept
from tests.running import Site, running_site, wait_for

PASSWORD = "a-long-enough-word"
STYLE = "barred-e"  # an E of three lines, one above the other: EMNIST knows none
TIMES = 20


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One whose model may change; nobody is held out for judging, so all that is drawn is learned from."""
    with running_site(env={"HOLDOUT_SHARE": "0"}) as started:
        started.python(
            "import django; django.setup()\n"
            "from django.contrib.auth.models import Group, User\n"
            f"user = User.objects.create_user('keeper', password={PASSWORD!r}, is_staff=True)\n"
            "user.groups.set(Group.objects.filter(name__in=('reviewers', 'maintainers')))\n"
        )
        started.trainer.start()
        yield started


def odd_letters(seed: int) -> list[Strokes]:
    """As strokes on the sheet."""
    letters = [Letter(**each) for each in styles.letters(TIMES, 4, seed, [STYLE])]
    return [on_the_sheet(letter) for letter in letters]


def on_the_sheet(letter: Letter) -> Strokes:
    """In shares of the sheet's side, in its middle; only the ends of a stroke, as the mouse goes straight."""
    side = max(letter.canvas.values()) / 0.6
    return [[(0.2 + x / side, 0.2 + y / side) for x, y in (stroke[0], stroke[-1])] for stroke in letter.strokes]


def approved(site: Site) -> int:
    """Drawings in the database that a reviewer let pass."""
    return int(site.rows("SELECT count(*) AS n FROM letters_drawing WHERE state = 'approved'")[0]["n"])


def labels_read(page: Page) -> list[str]:
    """A list that grows with each prediction. Of one that the page gave up the browser keeps no body to look at."""
    labels: list[str] = []
    intercept(page, PREDICTIONS, answer_changed(lambda value: labels.append(value["label"])))
    return labels


def draw_and_read(visitor: Visitor, labels: list[str], strokes: Strokes) -> str:
    """The class that the model reads once all strokes are drawn, and the page has shown it."""
    whole = lambda answer: (  # noqa: E731 - what Playwright takes
        answer.url.endswith("/predictions") and len(answer.request.post_data_json["strokes"]) == len(strokes)
    )
    with visitor.page.expect_response(whole):
        visitor.draw(strokes)
    expect(visitor.reading).not_to_have_attribute("data-stale", "")
    return labels[-1]


def test_an_odd_letter_is_learned_and_forgotten_again(site: Site, new_context: Callable[..., BrowserContext]) -> None:
    visitor, staff = Visitor(new_context().new_page()).come(), new_context().new_page()
    probe, labels = odd_letters(1)[0], labels_read(visitor.page)
    assert draw_and_read(visitor, labels, probe) != "E"
    visitor.page.reload()
    visitor.button("Clear").click()
    visitor.consent.check()
    for strokes in odd_letters(0):
        draw_and_read(visitor, labels, strokes)
        visitor.page.keyboard.type("E")
        visitor.sees("Thank you, your E is kept")

    sign_in(staff, "keeper", PASSWORD)
    staff.goto("/admin/review/")
    expect(staff.locator("#stage")).to_be_visible()
    for _ in range(TIMES):
        staff.keyboard.press("Enter")
    expect(staff.get_by_role("heading", name="Nothing waits here")).to_be_visible()
    wait_for(lambda: approved(site) == TIMES, "all are approved", timeout=20)

    staff.goto("/admin/letters/trainingrun/")
    staff.get_by_role("button", name="Retrain now").click()
    expect(staff.get_by_text("It serves now.")).to_be_visible(timeout=240_000)
    expect(staff.get_by_role("heading", name="The verdict: it may serve")).to_be_visible()
    assert draw_and_read(visitor, labels, probe) == "E"

    staff.goto("/admin/letters/modelversion/")
    staff.get_by_role("link", name="Shipped").click()
    staff.get_by_role("button", name="Roll back to model 1").click()
    expect(staff.locator(".timeline li").first).to_contain_text("rolled back from model 2")
    visitor.button("Clear").click()
    assert draw_and_read(visitor, labels, probe) != "E"
