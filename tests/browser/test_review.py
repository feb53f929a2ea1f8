"""Reviewers at the queue page: by keys, by hand, by finger, and two at once."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.staff import go_as
from tests.browser.visitor import come_true, intercept
from tests.letters.reviewing import PASSWORD
from tests.running import Site, wait_for

MANY = 60
QUEUES = (MANY, 30, 10, 6, 4, *[3] * 8, *[2] * 3, *[1] * 3)  # drawings of each
SETTLED = re.compile("^(all saved)?$")
NOTE_WHAT_IS_PLAYED = """() => {
  window.played = [];
  const animate = Element.prototype.animate;
  Element.prototype.animate = function (...how) {
    window.played.push(this);
    return animate.apply(this, how);
  };
}"""


@pytest.fixture(scope="module")
def staff(site: Site) -> dict[int, list[str]]:
    """Reviewers, one of whom may mute as well, and queues to review: contributors by how many drawings they gave."""
    printed = site.python(
        "import django; django.setup()\n"
        "import json\n"
        "from tests.letters.reviewing import a_reviewer, make_drawings\n"
        "for name in ('una', 'rob'): a_reviewer(name)\n"
        "a_reviewer('mara', 'maintainers')\n"
        f"print(json.dumps([str(make_drawings(count)[0].contributor_id) for count in {QUEUES!r}]))\n"
    )
    found: dict[int, list[str]] = {}
    for count, contributor in zip(QUEUES, json.loads(printed), strict=True):
        found.setdefault(count, []).append(contributor)
    return found


@pytest.fixture
def make(staff: dict[int, list[str]]) -> Callable[[int], str]:
    """The id of a contributor with so many drawings, whom no other test knows."""
    return lambda count: staff[count].pop()


@pytest.fixture
def sign_in(new_context: Callable[..., BrowserContext], site: Site, staff: object) -> Callable[..., Page]:
    """A page of a reviewer's on the queue of one contributor."""

    def at_the_queue(name: str, contributor: str, **options: Any) -> Page:
        page = new_context(**options).new_page()
        go_as(page, site, name, PASSWORD, f"/admin/review/?contributor={contributor}")
        expect(page.locator("#stage")).to_be_visible()
        return page

    return at_the_queue


def decisions(site: Site, contributor: str) -> list[dict[str, Any]]:
    """What was decided about somebody's drawings, in order."""
    return site.rows(
        "SELECT e.action, e.actor, e.reason, e.new_character, e.drawing_id FROM letters_decision e"
        " JOIN letters_drawing d ON d.id = e.drawing_id WHERE d.contributor_id = %s ORDER BY e.id",
        uuid.UUID(contributor),
    )


def settled(page: Page) -> None:
    """All that was decided has reached the server."""
    come_true(page, "document.querySelector('#review').dataset.unsaved === '0'")


def letter(page: Page) -> str:
    return page.locator("#letter").inner_text()


def test_sixty_cards_by_the_keyboard_alone(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    """Each is decided exactly once, however fast they come; the rate is printed."""
    contributor = make(MANY)
    page = sign_in("una", contributor)
    keys = ["Enter", "Enter", "Space", "2", "Enter", "4"]
    started = time.monotonic()
    for number in range(MANY):
        come_true(page, "Boolean(document.querySelector('#stage:not([hidden])'))")
        page.keyboard.press(keys[number % len(keys)])
    expect(page.get_by_role("heading", name="Nothing waits here")).to_be_visible()
    settled(page)
    took = time.monotonic() - started
    print(f"{MANY} cards in {took:.1f} s: {60 * MANY / took:.0f} a minute")
    made = decisions(site, contributor)
    assert len({each["drawing_id"] for each in made}) == len(made) == MANY
    expected = {
        "Enter": ("approve", ""),
        "Space": ("approve", ""),
        "2": ("reject", "wrong_letter"),
        "4": ("reject", "unreadable"),
    }
    assert [(each["action"], each["reason"]) for each in made] == [expected[keys[n % len(keys)]] for n in range(MANY)]


def test_relabel_and_undo(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    contributor = make(3)
    page = sign_in("una", contributor)
    first = letter(page)
    page.keyboard.press("r")
    expect(page.get_by_label("Which letter is it?")).to_be_focused()
    page.keyboard.type("5")
    expect(page.locator("#retype-note")).to_have_text("5 is none of the letters A–Z and a–z.")
    page.keyboard.type("q")
    expect(page.locator("#live")).to_contain_text(f"Relabelled {first} as q.")
    expect(page.locator("#letter")).not_to_have_text(first)
    settled(page)
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#retype")).to_be_hidden()
    page.keyboard.press("u")
    expect(page.locator("#letter")).to_have_text(first)
    page.keyboard.press("3")
    settled(page)
    assert [(each["action"], each["new_character"]) for each in decisions(site, contributor)] == [
        ("relabel", "q"),
        ("undo", first),
        ("reject", first),
    ]


def test_undo_reaches_back_over_a_reload(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    contributor = make(2)
    page = sign_in("una", contributor)
    first = letter(page)
    page.keyboard.press("Enter")
    settled(page)
    page.reload()
    expect(page.locator("#letter")).not_to_have_text(first)
    page.keyboard.press("Backspace")
    expect(page.locator("#letter")).to_have_text(first)
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "undo"]


def test_arrows_and_a_selection(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    contributor = make(6)
    page = sign_in("una", contributor)
    tiles = page.locator(".rv-tile")
    expect(tiles).to_have_count(6)
    for key in ("x", "ArrowRight", "ArrowRight", "x", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator("#selected-count")).to_have_text("2 selected")
    expect(tiles.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Shift+Enter")
    expect(tiles).to_have_count(4)
    tiles.nth(3).get_by_role("checkbox").check()
    page.keyboard.press("Shift+Digit5")
    expect(tiles).to_have_count(3)
    settled(page)
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "approve", "reject"]
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(tiles).to_have_count(6)
    settled(page)
    assert [each["action"] for each in decisions(site, contributor)][3:] == ["undo"] * 3


def test_a_key_that_is_held_down_decides_once(sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    page = sign_in("una", make(3))
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.locator(".rv-tile")).to_have_count(2)


def test_the_strokes_are_drawn_again_on_hover(sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    page = sign_in("una", make(2))
    page.evaluate(NOTE_WHAT_IS_PLAYED)
    moving = "document.querySelector('%s').getAnimations({subtree: true}).length > 0"
    for place, selector in (("#sheet", "#sheet"), (".rv-tile:nth-child(2) .rv-open", ".rv-tile:nth-child(2)")):
        assert not page.evaluate(f"window.played.some((each) => each.closest('{selector}'))")
        page.locator(place).hover()
        come_true(page, f"window.played.some((each) => each.closest('{selector}'))")
        come_true(page, f"!({moving % selector})")
        page.evaluate("window.played = []")
    page.keyboard.press("p")
    come_true(page, "window.played.some((each) => each.closest('#sheet'))")


def test_who_wants_no_motion_has_none(sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    page = sign_in("una", make(1), reduced_motion="reduce")
    page.locator("#sheet").hover()
    page.keyboard.press("p")
    assert page.evaluate("document.querySelector('#sheet').getAnimations({subtree: true}).length") == 0


def test_two_reviewers_at_once(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    """Each has cards of their own; who decides about one that was decided meanwhile is told by whom."""
    contributor = make(30)
    una, rob = sign_in("una", contributor), sign_in("rob", contributor)
    on_desk = "[...document.querySelectorAll('.rv-tile')].map((tile) => tile.dataset.id)"
    come_true(rob, f"({on_desk}).length === 6")
    assert set(una.evaluate(on_desk)).isdisjoint(rob.evaluate(on_desk))
    stolen = una.evaluate(on_desk)[0]
    token = next(each["value"] for each in rob.context.cookies() if each["name"] == "csrftoken")
    answer = rob.request.post(
        "/api/v1/review/decisions",
        data={"drawing": stolen, "revision": 0, "action": "reject", "reason": "offensive"},
        headers={"X-CSRFToken": token},
    )
    assert answer.status == 201
    una.keyboard.press("Enter")
    expect(una.locator("#notices")).to_contain_text("rob rejected it (offensive)")
    una.keyboard.press("Enter")
    settled(una)
    assert [(each["actor"], each["action"]) for each in decisions(site, contributor)] == [
        ("rob", "reject"),
        ("una", "approve"),
    ]


def cards_of(site: Site, contributor: str) -> list[str]:
    """Ids of somebody's drawings, the least useful last: what a queue shows at its end."""
    rows = site.rows(
        "SELECT id FROM letters_drawing WHERE contributor_id = %s ORDER BY usefulness DESC, id", uuid.UUID(contributor)
    )
    return [str(uuid.UUID(str(row["id"]))) for row in rows]


ON_DESK = "[...document.querySelectorAll('.rv-tile')].map((tile) => tile.dataset.id)"


def test_a_link_leads_to_one_card_before_all_others(
    site: Site, sign_in: Callable[..., Page], make: Callable[..., str]
) -> None:
    contributor = make(3)
    last = cards_of(site, contributor)[-1]
    page = sign_in("una", contributor)
    assert page.evaluate(ON_DESK)[0] != last
    page.goto(f"/admin/review/?contributor={contributor}&drawing={last}")
    come_true(page, f"({ON_DESK}).length === 3")
    assert page.evaluate(ON_DESK)[0] == last
    expect(page.locator("#named")).to_be_hidden()
    page.keyboard.press("Enter")
    settled(page)
    assert [str(uuid.UUID(str(each["drawing_id"]))) for each in decisions(site, contributor)] == [last]


def test_a_link_to_a_decided_card_shows_what_was_decided_and_by_whom(
    site: Site, sign_in: Callable[..., Page], make: Callable[..., str]
) -> None:
    contributor = make(2)
    page = sign_in("una", contributor)
    first = page.evaluate(ON_DESK)[0]
    page.keyboard.press("Enter")
    settled(page)
    page.goto(f"/admin/review/?contributor={contributor}&drawing={first}")
    come_true(page, f"({ON_DESK}).length === 2")
    assert page.evaluate(ON_DESK)[0] == first
    expect(page.locator("#marks")).to_contain_text("approved")
    expect(page.locator("#marks")).to_contain_text("una approved it as")
    page.keyboard.press("3")
    settled(page)
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "reject"]
    page.keyboard.press("u")
    expect(page.locator("#marks")).to_contain_text("approved")
    settled(page)
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "reject", "undo"]


def test_a_link_to_a_card_that_another_has_says_so(
    site: Site, sign_in: Callable[..., Page], make: Callable[..., str]
) -> None:
    contributor = make(3)
    una = sign_in("una", contributor)
    first = una.evaluate(ON_DESK)[0]
    other = make(1)
    rob = sign_in("rob", other)
    rob.goto(f"/admin/review/?contributor={other}&drawing={first}")
    named = rob.locator("#named")
    expect(named).to_contain_text("una has it on the desk at this moment")
    expect(named.get_by_role("link")).to_have_attribute("href", f"/admin/letters/drawing/{first}/change/")
    come_true(rob, f"({ON_DESK}).length === 1")
    named.get_by_role("button", name="Close").click()
    expect(named).to_be_hidden()
    rob.goto(f"/admin/review/?contributor={other}&drawing={uuid.uuid4()}")
    expect(named).to_contain_text("this drawing is gone")
    expect(named.get_by_role("link")).to_have_count(0)
    rob.goto(f"/admin/review/?contributor={other}&drawing=nonsense")
    come_true(rob, f"({ON_DESK}).length === 1")
    expect(named).to_be_hidden()
    una.keyboard.press("Enter")  # it was never taken from her
    settled(una)
    assert [each["actor"] for each in decisions(site, contributor)] == ["una"]


def test_what_was_decided_waits_for_a_server_that_is_away(
    site: Site, sign_in: Callable[..., Page], make: Callable[..., str]
) -> None:
    contributor = make(3)
    page = sign_in("una", contributor)
    intercept(page, "**/review/decisions", lambda route: route.abort())
    page.keyboard.press("Enter")
    page.keyboard.press("4")
    expect(page.get_by_role("alert")).to_contain_text("What you decided waits here")
    expect(page.locator("#saving")).to_have_text("saving 2 …")
    assert decisions(site, contributor) == []
    page.unroute("**/review/decisions")
    page.get_by_role("button", name="Try again").dispatch_event("click")  # it may have tried by itself just now
    settled(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "reject"]


def test_an_answer_that_was_lost_decides_nothing_twice(
    site: Site, sign_in: Callable[..., Page], make: Callable[..., str]
) -> None:
    contributor = make(1)
    page = sign_in("una", contributor)
    lost: list[int] = []

    def lose_the_first(route: Route) -> None:
        answer = route.fetch()
        lost.append(answer.status)
        if len(lost) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    intercept(page, "**/review/decisions", lose_the_first)
    page.keyboard.press("Enter")
    settled(page)
    assert lost == [201, 201]
    assert len(decisions(site, contributor)) == 1


def test_muting_and_letting_back_in(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    contributor = make(3)
    page = sign_in("mara", contributor)
    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_role("heading", name="Nothing waits here")).to_be_visible()
    page.get_by_role("button", name="Let back in").click()
    expect(page.locator(".rv-tile")).to_have_count(3)


def test_filters_are_in_the_address(sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    page = sign_in("una", make(10))
    page.get_by_label("Class").select_option("L")
    expect(page.locator(".rv-tile")).to_have_count(2)
    page.get_by_label("Order").select_option("newest")
    expect(page).to_have_url(re.compile("order=newest.*label=L|label=L.*order=newest"))
    page.reload()
    expect(page.locator(".rv-tile")).to_have_count(2)
    expect(page.get_by_label("Class")).to_have_value("L")


def test_on_a_phone(site: Site, sign_in: Callable[..., Page], make: Callable[..., str]) -> None:
    contributor = make(4)
    page = sign_in(
        "una",
        contributor,
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = """[...document.querySelectorAll('#actions button, #person button')]
      .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)
      .map((each) => each.innerText)"""
    assert page.evaluate(small) == []
    page.get_by_role("button", name="Approve").first.tap()
    page.get_by_role("button", name="unreadable").tap()
    page.get_by_role("button", name="Another letter").tap()
    page.get_by_label("Which letter is it?").fill("g")
    settled(page)
    assert [each["action"] for each in decisions(site, contributor)] == ["approve", "reject", "relabel"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_used_by_everybody(sign_in: Callable[..., Page], make: Callable[..., str], scheme: str) -> None:
    page = sign_in("mara", make(3), color_scheme=scheme, bypass_csp=True)  # axe itself could not run under the policy
    page.keyboard.press("x")
    page.keyboard.press("r")
    come_true(page, "document.getAnimations().every((each) => each.playState !== 'running')")
    found = Axe().run(page, context="#review", options={"resultTypes": ["violations"]})
    assert not found.violations_count, found.generate_report()
    expect(page.locator("#stage")).to_have_attribute("aria-label", re.compile("given as .*, read as "))
    wait_for(lambda: page.locator("#live").inner_text(), "something is said")
