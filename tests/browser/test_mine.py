"""The page of one's own letters: looked through, taken along, deleted, from this browser and from another."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_pages import complaints
from tests.browser.visitor import come_true, intercept
from tests.letters.visitor import LETTERS, Visitor, scaled
from tests.running import Site

REJECT = """
import django; django.setup()
import uuid
from letters.models import Decision, Drawing
pk = uuid.UUID({pk!r})
Drawing.objects.filter(pk=pk).update(state="rejected", revision=1)
Decision.objects.create(
    drawing_id=pk, actor="rita", action="reject", reason="unreadable", old_state="pending", new_state="rejected",
    old_label="Z", new_label="Z", old_character="Z", new_character="Z",
)
"""


def gave(site: Site, context: BrowserContext, count: int) -> list[str]:
    """Ids of so many letters that the browser gave, the newest first."""
    with Visitor(site) as hand:
        ids = [
            hand.keep(strokes=scaled(LETTERS["LTVXZ"[at % 5]], 0.5 + at / 200), character="Z")["id"]
            for at in range(count)
        ]
        value = hand.cookies["letterloop_contributor"]
    context.add_cookies([{"name": "letterloop_contributor", "value": value, "url": site.base_url}])
    return ids[::-1]


def shown(page: Page) -> list[str]:
    return page.locator("#mine-list > li").evaluate_all("(all) => all.map((each) => each.dataset.drawing)")


def answer(page: Page, words: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=words, exact=True).click()


def test_it_works(site: Site, page: Page) -> None:
    """What became of each, and all of them in pages."""
    ids = gave(site, page.context, 103)
    site.python(REJECT.format(pk=ids[0]))
    page.goto("/mine")
    expect(page.locator("#mine-lead")).to_have_text("103 letters that this browser gave. The newest 100 are shown.")
    first = page.locator("#mine-list > li").first
    expect(first).to_contain_text("It was set aside")
    expect(first).to_contain_text("because it cannot be read")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#mine-list > li")).to_have_count(103)
    assert shown(page) == ids
    assert page.evaluate("document.activeElement.closest('li').dataset.drawing") == ids[100]
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_some_are_chosen_and_deleted_by_the_keyboard(site: Site, page: Page) -> None:
    ids = gave(site, page.context, 4)
    page.goto("/mine")
    expect(page.locator("#mine-list > li")).to_have_count(4)
    page.get_by_role("link", name="Skip to the content").press("Enter")  # its # is no secret
    for at in (1, 2):
        page.locator("#mine-list input").nth(at).focus()
        page.keyboard.press("Space")
    expect(page.locator("#picked-count")).to_have_text("2 letters chosen.")
    page.get_by_role("button", name="Delete them").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Delete 2 letters?")
    page.keyboard.press("Escape")
    expect(page.locator("#mine-list > li")).to_have_count(4)
    page.get_by_role("button", name="Delete them").press("Enter")
    answer(page, "Delete them")
    expect(page.locator("#note")).to_have_text("2 letters deleted.")
    assert shown(page) == [ids[0], ids[3]]
    expect(page.locator("#mine-picked")).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('li').dataset.drawing") == ids[0]


def test_everything_is_deleted_after_a_question_that_says_what_it_means(site: Site, page: Page) -> None:
    gave(site, page.context, 3)
    page.goto("/")
    page.locator("#consent").check()
    page.goto("/mine")
    page.get_by_role("button", name="Delete everything").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete all 3 letters, and all about you?")
    expect(dialog).to_contain_text("No model has learned from them.")
    answer(page, "Keep it")
    expect(page.locator("#mine-list > li")).to_have_count(3)
    page.get_by_role("button", name="Delete everything").click()
    answer(page, "Delete everything")
    expect(page.locator("#note")).to_have_text(
        "Deleted: 3 letters, all that was made of them, and the number that stood for their giver."
    )
    expect(page.get_by_role("heading", name="This browser has given no letter")).to_be_visible()
    assert [each["name"] for each in page.context.cookies()] == []
    assert page.evaluate("localStorage.length") == 0


def test_all_are_downloaded_as_one_file(site: Site, page: Page) -> None:
    ids = gave(site, page.context, 3)
    page.goto("/mine")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download all").click()
    assert re.fullmatch(r"my-letters-\d{4}-\d\d-\d\d\.zip", started.value.suggested_filename)
    with zipfile.ZipFile(started.value.path()) as archive:
        assert [each["id"] for each in json.loads(archive.read("drawings.json"))["drawings"]] == ids


def test_the_secret_link_shows_them_on_another_device(site: Site, new_context: Callable[..., BrowserContext]) -> None:
    home = new_context(permissions=["clipboard-read", "clipboard-write"])
    ids = gave(site, home, 2)
    page = home.new_page()
    page.goto("/mine")
    page.get_by_role("button", name="Copy the secret link").click()
    expect(page.locator("#note")).to_have_text("The secret link is copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(site.base_url + "/mine#")
    elsewhere = new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    phone = elsewhere.new_page()
    asked: list[str] = []
    phone.on("request", lambda request: asked.append(request.url))
    phone.goto(link)
    expect(phone.locator("#mine-lead")).to_have_text("2 letters of this link.")
    assert shown(phone) == ids
    expect(phone.locator("#mine-elsewhere")).to_be_hidden()
    with phone.expect_download() as started:
        phone.get_by_role("link", name="Download all").tap()
    assert zipfile.ZipFile(started.value.path()).testzip() is None
    phone.get_by_role("button", name=re.compile("Delete this")).first.tap()
    answer(phone, "Delete it")
    expect(phone.locator("#mine-list > li")).to_have_count(1)
    assert elsewhere.cookies() == []  # nobody became somebody else
    key = link.partition("#")[2]
    assert [url for url in asked if key in url.partition("#")[0]] == []
    phone.goto("/mine#" + key[:-2])
    phone.reload()
    expect(phone.locator("#note")).to_contain_text("This link is not whole")


def test_a_server_that_fails_half_way_is_told_of_and_what_is_left_is_shown(site: Site, page: Page) -> None:
    gave(site, page.context, 2)
    page.goto("/mine")
    expect(page.locator("#mine-list > li")).to_have_count(2)
    intercept(page, "**/api/v1/drawings/mine/deletion", lambda route: route.abort())
    page.get_by_role("button", name="Delete everything").click()
    expect(page.locator("#note")).to_contain_text("not deleted yet")
    expect(page.locator("#mine-list > li")).to_have_count(2)
    page.unroute("**/api/v1/drawings/mine/deletion")
    assert requests.get(site.base_url + "/healthz", timeout=60).ok


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site: Site, new_context: Callable[..., BrowserContext], scheme: str) -> None:
    context = new_context(color_scheme=scheme, bypass_csp=True, viewport={"width": 360, "height": 740})
    ids = gave(site, context, 2)
    site.python(REJECT.format(pk=ids[0]))
    page = context.new_page()
    page.goto("/mine")
    page.locator("#mine-list input").first.check()
    expect(page.locator("#mine-picked")).to_be_visible()
    assert complaints(page) == ""
    come_true(page, "document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Delete everything").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert complaints(page) == "", "the question"


@pytest.mark.parametrize("changed", [False, True])
def test_the_tick_is_for_the_words_that_were_read(page: Page, changed: bool) -> None:
    """Where they change, the box is empty again."""
    page.goto("/")
    page.locator("#consent").check()
    if changed:
        page.evaluate("localStorage.setItem('letterloop.consent', JSON.stringify('1'))")
    page.reload()
    if changed:
        expect(page.locator("#consent")).not_to_be_checked()
    else:
        expect(page.locator("#consent")).to_be_checked()
