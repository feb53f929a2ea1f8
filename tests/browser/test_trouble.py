"""The server, or a part of it, is away: nothing that was drawn is lost, and what is sent again is stored once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Route, expect

from tests.browser.visitor import DRAWINGS, PREDICTIONS, L, T, Visitor, asks_of, intercept
from tests.running import Site

AGAIN = "Send again"


@pytest.fixture
def sleeping_worker(site: Site) -> Iterator[None]:
    """The inference worker is there and answers nothing; awake again after the test, whatever happens."""
    site.worker.pause()
    yield
    site.worker.resume()


def test_while_the_site_cannot_be_reached_the_drawing_stays(visitor: Visitor) -> None:
    visitor.page.clock.install()
    visitor.page.clock.pause_at(datetime.now() + timedelta(hours=1))  # nothing is tried again by itself
    intercept(visitor.page, "**/api/v1/**", lambda route: route.abort())
    visitor.draw_and_see(T, "I cannot be reached")
    expect(visitor.detail).to_contain_text("Your drawing stays on the sheet.")
    expect(visitor.right).to_have_attribute("aria-disabled", "true")
    assert len(visitor.strokes) == 2
    assert visitor.ink_at((0.5, 0.5))
    visitor.page.unroute("**/api/v1/**")
    visitor.button(AGAIN).click()
    visitor.sees("I read a T")
    assert len(visitor.strokes) == 2


def test_drawing_is_never_blocked_by_trouble(visitor: Visitor) -> None:
    intercept(visitor.page, PREDICTIONS, lambda route: route.abort())
    visitor.draw_and_see(T[:1], "I cannot be reached")
    visitor.draw(T[1:])
    assert len(visitor.strokes) == 2
    visitor.page.unroute(PREDICTIONS)
    visitor.sees("I read a T")  # it is asked again by itself


def test_a_worker_that_sleeps_is_said_in_time(visitor: Visitor, site: Site, sleeping_worker: None) -> None:
    with visitor.page.expect_response(lambda answer: answer.url.endswith("/predictions")) as refused:
        visitor.draw(L)
    assert refused.value.status == 503
    assert int(refused.value.header_value("retry-after") or 0) > 0
    visitor.sees("I cannot read just now")
    assert len(visitor.strokes) == 1
    site.worker.resume()
    visitor.sees("I read an L")  # it is asked again by itself


def test_an_answer_that_did_not_arrive_is_sent_again_and_stored_once(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    intercept(visitor.page, DRAWINGS, lambda route: route.abort())
    visitor.right.click()
    visitor.sees("I cannot be reached")
    expect(visitor.detail).to_contain_text("Your L is not kept yet.")
    assert len(visitor.strokes) == 1
    assert site.count("drawing") == before
    visitor.page.unroute(DRAWINGS)
    visitor.button(AGAIN).click()
    visitor.sees("Thank you, your L is kept")
    assert site.count("drawing") == before + 1


def test_a_part_that_is_away_is_said_and_the_letter_kept_when_it_is_back(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    away = {"code": "database_unavailable", "message": "the database cannot be reached or written to just now"}
    intercept(
        visitor.page,
        DRAWINGS,
        lambda route: route.fulfill(status=503, json=away, headers={"Retry-After": "3"}),
        times=1,
    )
    visitor.right.click()
    visitor.sees("A part of me is away")
    expect(visitor.detail).to_contain_text("Your L is not kept yet.")
    assert len(visitor.strokes) == 1
    assert site.count("drawing") == before
    visitor.button(AGAIN).click()
    visitor.sees("Thank you, your L is kept")
    assert site.count("drawing") == before + 1


@pytest.mark.parametrize("reloads", [False, True], ids=["at once", "after a reload"])
def test_an_answer_whose_receipt_was_lost_is_stored_once(visitor: Visitor, site: Site, reloads: bool) -> None:
    """The server has stored it, and the connection broke before the page heard of it."""
    before, sent = site.count("drawing"), asks_of(visitor.page, "/drawings")

    def lose_the_answer(route: Route) -> None:
        assert route.fetch().status == 201
        route.abort()

    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    intercept(visitor.page, DRAWINGS, lose_the_answer, times=1)
    visitor.right.click()
    visitor.sees("I cannot be reached")
    assert site.count("drawing") == before + 1
    if reloads:
        visitor.page.reload()
        visitor.sees("I read an L")
        visitor.right.click()
    else:
        visitor.button(AGAIN).click()
    visitor.sees("Thank you, your L is kept")
    assert len(sent) == 2
    assert site.count("drawing") == before + 1


def test_an_answer_that_is_no_json_is_trouble_too(visitor: Visitor) -> None:
    intercept(visitor.page, PREDICTIONS, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    visitor.draw_and_see(L, "I cannot be reached")
    expect(visitor.button(AGAIN)).to_be_visible()
    assert len(visitor.strokes) == 1


def test_a_receipt_page_survives_it(visitor: Visitor) -> None:
    visitor.consent.check()
    visitor.draw_and_see(L, "I read an L")
    visitor.right.click()
    intercept(visitor.page, "**/api/v1/drawings/**", lambda route: route.abort())
    visitor.page.locator("#receipt").click()
    expect(visitor.page.locator("#receipt-lead")).to_contain_text("Nothing has happened to it.")
    visitor.page.unroute("**/api/v1/drawings/**")
    visitor.button("Try again").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Your capital L")
