"""The page of maps: the right letter at the right place, also after filtering; lasso, tabs, keys, phone, no WebGL."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from ml.embed import _mean_place
from ml.labels import CLASSES
from tests.browser.explorer import Explorer
from tests.browser.mapping import COLLECTED, COLUMNS, SUSPECTED, MadeUp
from tests.browser.test_pages import complaints
from tests.browser.visitor import come_true
from tests.running import wait_for

NO_WEBGL = """
const whole = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : whole.call(this, kind, ...rest);
};
"""
BOX = [(0.2, -0.7), (0.95, -0.7), (0.95, 0.3), (0.2, 0.3)]  # a part of the plane, with some clouds


@pytest.fixture
def explorer(page: Page) -> Explorer:
    """At a map that is made up, on a wide screen."""
    return Explorer(page, MadeUp(), MadeUp(method="pca", seed=1)).come()


@pytest.fixture
def phone(new_context: Callable[..., BrowserContext]) -> Explorer:
    """The same on a phone of 360 x 740."""
    context = new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True, is_mobile=True)
    return Explorer(context.new_page(), MadeUp()).come()


def alone(made: MadeUp, shown: np.ndarray[Any, Any] | None = None, where: slice = slice(None)) -> int:
    """A shown point with no other shown one near it: nobody can mistake it on the screen."""
    places = made.columns["places"].astype(float)
    mask = np.ones(len(places), bool) if shown is None else shown
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    apart[:, ~mask] = np.inf
    np.fill_diagonal(apart, np.inf)
    nearest = np.where(mask, apart.min(axis=1), 0)
    return int(np.arange(len(places))[where][nearest[where].argmax()])


def query(page: Page) -> dict[str, str]:
    """What the address says."""
    return {name: values[0] for name, values in parse_qs(page.evaluate("location.search.slice(1)")).items()}


def tile_shown(explorer: Explorer) -> int:
    """The number of the EMNIST letter whose picture is on the card."""
    style = explorer.card.locator(".tile").evaluate("(it) => [it.style.backgroundPosition, it.style.backgroundImage]")
    left, top = (-int(value) // 84 for value in re.findall(r"-?\d+", style[0]))
    sheet = re.search(r"sheets/(\d+)", style[1])
    assert sheet is not None
    return int(sheet[1]) * 1024 + top * COLUMNS + left


# --- A letter ------------------------------------------------------------------------------------------------------


def test_pointing_at_a_letter_shows_that_letter(explorer: Explorer) -> None:
    made = explorer.map
    index = alone(made, where=slice(0, made.emnist))
    explorer.hover(index)
    expect(explorer.card).to_be_visible()
    assert explorer.card.get_attribute("data-index") == str(index)
    assert tile_shown(explorer) == index
    expect(explorer.card).to_contain_text(CLASSES[made.columns["labels"][index]])
    expect(explorer.card).to_contain_text("EMNIST")
    explorer.page.mouse.move(*explorer.at((0, 0)))
    expect(explorer.card).to_be_hidden()


def test_a_letter_collected_here_shows_its_own_picture(explorer: Explorer) -> None:
    made = explorer.map
    index = alone(made, where=slice(made.emnist, None))
    explorer.hover(index)
    expect(explorer.card).to_contain_text("collected here")
    image = explorer.card.locator("img")
    expect(image).to_have_attribute("src", f"/samples/{made.ids[index - made.emnist]}.png")


def test_what_is_filtered_away_is_not_found_and_what_is_left_is_the_right_one(explorer: Explorer) -> None:
    made = explorer.map
    labels = made.columns["labels"]
    explorer.search.fill("Gr")
    shown = np.isin(labels, [CLASSES.index("G"), CLASSES.index("r")])
    explorer.shows(f"{shown.sum():,} letters of {len(labels):,} shown")
    gone = alone(made, where=slice(0, 1))
    explorer.hover(gone)
    expect(explorer.card).to_be_hidden()
    for label in "Gr":
        index = alone(made, shown & (labels == CLASSES.index(label)))
        explorer.hover(index)
        expect(explorer.card).to_have_attribute("data-index", str(index))
        expect(explorer.card.locator(".glyph")).to_have_text(label)


def test_without_pictures_the_letter_itself_is_shown(page: Page) -> None:
    explorer = Explorer(page, MadeUp(has_images=False)).come()
    index = alone(explorer.map, where=slice(0, explorer.map.emnist))
    explorer.hover(index)
    expect(explorer.card.locator(".thumb-letter")).to_have_text(CLASSES[explorer.map.columns["labels"][index]])


def test_a_click_keeps_the_card_and_escape_closes_it(explorer: Explorer) -> None:
    index = alone(explorer.map)
    explorer.page.mouse.click(*explorer.point(index))
    explorer.page.mouse.move(*explorer.at((0, 0)))
    expect(explorer.card).to_have_attribute("data-index", str(index))
    expect(explorer.card.get_by_role("link")).to_have_count(0)  # the way to its record is the staff's
    explorer.page.keyboard.press("Escape")
    expect(explorer.card).to_be_hidden()


# --- Many letters --------------------------------------------------------------------------------------------------


def counts_in(made: MadeUp, box: list[tuple[float, float]]) -> Counter[str]:
    """How many of which letter stand within a box of the plane."""
    places = made.columns["places"] / 32767
    (left, bottom), (right, top) = box[0], box[2]
    inside = (places > [left, bottom]).all(axis=1) & (places < [right, top]).all(axis=1)
    return Counter(CLASSES[label] for label in made.columns["labels"][inside])


def counts_shown(explorer: Explorer) -> Counter[str]:
    """The same as the page counts them."""
    texts = explorer.page.locator("#selection-counts li").all_text_contents()
    return Counter({label: int(count.replace(",", "")) for label, count in (text.split() for text in texts)})


def test_a_lasso_counts_what_is_within_and_keeps_it_when_colours_change(explorer: Explorer) -> None:
    explorer.page.locator("#lasso").click()
    explorer.draw_around(BOX)
    there = counts_in(explorer.map, BOX)
    expect(explorer.page.locator("#selection-title")).to_have_text(f"{there.total():,} letters selected")
    assert counts_shown(explorer) == there
    explorer.page.locator("#colour").select_option("confidence")
    expect(explorer.page.locator("#colour-key")).to_contain_text("Not sure")
    assert counts_shown(explorer) == there
    expect(explorer.page.locator("#lasso")).to_have_attribute("aria-pressed", "false")
    picks = explorer.page.locator(".pick")
    expect(picks).to_have_count(40)
    explorer.page.locator("#selection-more").click()
    expect(picks).to_have_count(80)
    explorer.page.locator("#selection-drop").click()
    expect(explorer.selection).to_be_hidden()


def test_shift_draws_a_lasso_and_a_picture_in_it_leads_to_its_point(explorer: Explorer) -> None:
    explorer.page.keyboard.down("Shift")
    explorer.draw_around(BOX)
    explorer.page.keyboard.up("Shift")
    pick = explorer.page.locator(".pick").nth(3)
    index = pick.get_attribute("data-index")
    pick.click()
    expect(explorer.card).to_have_attribute("data-index", str(index))
    come_true(explorer.page, "new URL(location).searchParams.get('zoom') === '8'")


def test_a_filter_leaves_of_a_selection_what_it_shows(explorer: Explorer) -> None:
    explorer.page.locator("#select-view").click()
    total = explorer.map.emnist + explorer.map.collected
    expect(explorer.page.locator("#selection-title")).to_have_text(f"{total:,} letters selected")
    explorer.page.get_by_label("Only what was read wrong").check()
    columns = explorer.map.columns
    wrong = int((columns["labels"] != columns["predicted"]).sum())
    expect(explorer.page.locator("#selection-title")).to_have_text(f"{wrong:,} of {total:,} letters selected")


def test_sources_mistakes_and_suspects_are_counted_and_switched(explorer: Explorer) -> None:
    page, made = explorer.page, explorer.map
    columns, total = made.columns, made.emnist + made.collected
    collected = columns["flags"] & COLLECTED > 0
    suspected = columns["flags"] & SUSPECTED > 0
    expect(page.locator("#count-suspected")).to_have_text(str(suspected.sum()))
    explorer.shows(f"{total:,} letters shown")
    page.get_by_label("EMNIST", exact=True).uncheck()
    explorer.shows(f"{collected.sum()} letters of {total:,} shown")
    assert query(page)["source"] == "collected"
    page.locator("#everything").click()
    explorer.shows(f"{total:,} letters shown")
    page.get_by_label("Only perhaps wrong labels").check()
    explorer.shows(f"{suspected.sum()} letters of {total:,} shown")


def test_a_letter_of_the_legend_is_found_and_let_go(explorer: Explorer) -> None:
    key = explorer.page.locator("#legend [data-label='g']")
    key.click()
    expect(explorer.search).to_have_value("g")
    expect(key).to_have_attribute("aria-pressed", "true")
    key.click()
    expect(explorer.search).to_have_value("")


# --- Tabs, addresses, keys -----------------------------------------------------------------------------------------


def test_a_tab_shows_another_map_and_the_way_back_leads_back(explorer: Explorer) -> None:
    page = explorer.page
    page.get_by_role("link", name="PCA", exact=True).click()
    expect(page.locator("#summary")).to_contain_text("laid out by PCA")
    explorer.is_in("ready")
    assert query(page)["method"] == "pca"
    expect(page.locator("#figures img")).to_have_count(2)
    page.get_by_role("link", name="Isomap", exact=True).click()
    explorer.is_in("missing")
    expect(page.locator("#message")).to_contain_text("has not been made yet")
    page.go_back()
    expect(page.locator("#summary")).to_contain_text("laid out by PCA")
    page.go_back()
    expect(page.locator("#summary")).to_contain_text("laid out by UMAP")
    explorer.is_in("ready")


def test_a_view_can_be_shared(page: Page) -> None:
    explorer = Explorer(page, MadeUp())
    place = explorer.map.columns["places"][5] / 32767
    explorer.come(f"?x={place[0]:.4f}&y={place[1]:.4f}&zoom=6&letter=F&colour=source")
    page.mouse.move(*explorer.at((0, 0), (0, 0, 1)))  # the middle of the screen, whatever is there
    expect(explorer.card.locator(".glyph")).to_have_text("F")
    expect(page.locator("#colour")).to_have_value("source")
    expect(explorer.search).to_have_value("F")


def test_an_address_that_makes_no_sense_shows_the_whole_map(page: Page) -> None:
    explorer = Explorer(page, MadeUp()).come("?method=x&space=&x=NaN&y=1e999&zoom=-3&letter=%3Cb%3E&mine=a,b&colour=no")
    expect(explorer.search).to_have_value("b")
    expect(page.locator("#summary")).to_contain_text("laid out by UMAP")


def test_keys_move_and_zoom_and_say_what_is_in_the_middle(new_context: Callable[..., BrowserContext]) -> None:
    explorer = Explorer(new_context(reduced_motion="reduce").new_page(), MadeUp()).come()
    page = explorer.page
    explorer.overlay.focus()
    for key in ("+", "+", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    wait_for(lambda: query(page).get("zoom") == "1.96" and "y" in query(page), "the address follows", timeout=20)
    assert float(query(page)["x"]) > 0
    assert float(query(page)["y"]) > 0
    page.keyboard.press("Enter")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^[A-Za-z], (of EMNIST|collected here), read "))
    page.keyboard.press("Escape")
    expect(explorer.card).to_be_hidden()
    page.keyboard.press("0")
    wait_for(lambda: query(page) == {}, "the whole map", timeout=20)


def test_the_wheel_zooms_where_the_mouse_is(explorer: Explorer) -> None:
    index = alone(explorer.map)
    explorer.hover(index)
    for _ in range(4):
        explorer.page.mouse.wheel(0, -200)
    wait_for(lambda: float(query(explorer.page).get("zoom", 1)) > 3, "it is nearer", timeout=20)
    explorer.page.mouse.move(*np.add(explorer.point(index), 1))
    expect(explorer.card).to_have_attribute("data-index", str(index))


def test_map_search_and_table_are_reached_with_the_tab_key(explorer: Explorer) -> None:
    stops = [
        ["#main", "overlay"],
        ["#whole", "lasso"],
        ["[data-space=pixels]", "search"],
        ["#everything", "table-wrap"],
    ]
    for before, name in stops:
        explorer.page.locator(before).focus()
        for _ in range(4):
            explorer.page.keyboard.press("Tab")
            if explorer.page.evaluate("document.activeElement.id || document.activeElement.className") == name:
                break
        else:
            pytest.fail(f"{name} is not reached from {before}")


def test_the_table_says_the_same_in_numbers(explorer: Explorer) -> None:
    rows = explorer.page.locator("#table tbody tr")
    expect(rows).to_have_count(len(CLASSES))
    labels = explorer.map.columns["labels"]
    of_g = rows.filter(has_text=re.compile("^g"))
    emnist = int((labels[: explorer.map.emnist] == CLASSES.index("g")).sum())
    expect(of_g.locator("td").first).to_have_text(str(emnist))
    expect(explorer.page.locator("#quality")).to_contain_text("0.973")


# --- Points by density, and one's own drawing -----------------------------------------------------------------------


@dataclass(frozen=True)
class Crowd(MadeUp):
    """All letters in one cloud at the left, and the first alone at the right."""

    @property
    def columns(self) -> dict[str, Any]:
        columns = super().columns
        places = np.random.default_rng(0).normal((-0.6, 0), 0.05, (self.emnist + self.collected, 2))
        places[0] = 0.6, 0.2
        return columns | {"places": np.round(places * 32767).astype("<i2")}


def test_a_letter_by_itself_is_drawn_larger(page: Page) -> None:
    explorer = Explorer(page, Crowd()).come()
    x, y = explorer.point(0)
    page.mouse.move(*explorer.at((0, -0.9)))
    clip = {"x": round(x) - 12, "y": round(y) - 12, "width": 25, "height": 25}
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)
    inked = np.abs(picture - picture[0, 0]).max(axis=2) > 40
    across = 2 * (inked.sum() / np.pi) ** 0.5
    assert 11 < across < 16  # 9 px without regard to the crowd


def near(made: MadeUp, *indices: int) -> tuple[str, list[float]]:
    """What the sheet's link says of a drawing amid some letters, and where that is on a map."""
    distances = [2.0 + number for number in range(len(indices))]
    pairs = ",".join(f"{index}:{distance:g}" for index, distance in zip(indices, distances, strict=True))
    weights = 1 / np.array(distances)
    place = (made.columns["places"][list(indices)] / 32767 * weights[:, None]).sum(axis=0) / weights.sum()
    return f"{'0' * 12},{pairs}", place.tolist()


def test_ones_own_drawing_is_marked_on_every_map_of_features(page: Page) -> None:
    umap, pca = MadeUp(), MadeUp(method="pca", seed=1)
    mine, there = near(umap, 3, 40, 77)
    Explorer(page, umap, pca, MadeUp(space="pixels", seed=2)).come(f"?mine={mine}")
    summary = page.locator("#summary")
    expect(summary).to_contain_text("Your drawing is marked")
    page.locator("#overlay").press("+")
    wait_for(lambda: float(query(page).get("zoom", 1)) == 5.6, "it was looked at from near", timeout=20)
    assert [float(query(page)[name]) for name in ("x", "y")] == pytest.approx(there, abs=1e-4)
    page.get_by_role("link", name="PCA", exact=True).click()
    expect(summary).to_contain_text("laid out by PCA")
    expect(summary).to_contain_text("Your drawing is marked")
    page.locator("#overlay").press("+")
    there = near(pca, 3, 40, 77)[1]
    wait_for(lambda: float(query(page).get("zoom", 1)) == 5.6, "there as well", timeout=20)
    assert [float(query(page)[name]) for name in ("x", "y")] == pytest.approx(there, abs=1e-4)
    assert query(page)["mine"] == mine
    page.get_by_role("link", name="UMAP", exact=True).click()
    page.get_by_role("link", name="Pixels", exact=True).click()
    expect(summary).to_contain_text("Your drawing has no place on this map")


# --- What may go wrong ---------------------------------------------------------------------------------------------


def test_without_webgl_there_is_a_figure_and_the_table(new_context: Callable[..., BrowserContext]) -> None:
    context = new_context(bypass_csp=True)  # axe itself could not run under the site's policy
    context.add_init_script(NO_WEBGL)
    explorer = Explorer(context.new_page(), MadeUp()).come(state="flat")
    figure = explorer.page.locator("#figure-image")
    expect(figure).to_be_visible()
    come_true(explorer.page, "document.querySelector('#figure-image').naturalWidth > 0")
    expect(explorer.page.locator("#table tbody tr")).to_have_count(len(CLASSES))
    assert complaints(explorer.page) == ""


def test_a_site_without_maps_says_so(page: Page) -> None:
    Explorer(page).come(state="missing")
    expect(page.locator("#message")).to_contain_text("No map has been made yet")


def test_a_map_that_cannot_be_had_is_asked_for_again(page: Page) -> None:
    explorer = Explorer(page, MadeUp())
    page.route("**/emnist", lambda route: route.fulfill(body=b"123"), times=1)  # no whole number of points
    page.route("**/emnist", lambda route: route.abort(), times=1)
    explorer.come(state="trouble")
    expect(page.locator("#message")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Try again").click()
    explorer.is_in("ready")


# --- Screens -------------------------------------------------------------------------------------------------------


def test_on_a_phone_the_map_fills_the_screen_and_a_tap_shows_a_letter(phone: Explorer) -> None:
    box = phone.overlay.bounding_box()
    assert box is not None
    assert box["width"] == 360
    assert box["height"] > 560
    index = alone(phone.map)
    phone.page.touchscreen.tap(*phone.point(index))
    expect(phone.card).to_have_attribute("data-index", str(index))
    phone.page.locator(".grip").click()
    expect(phone.page.get_by_role("link", name="PCA", exact=True)).to_be_in_viewport()
    small = "(all) => all.map((it) => [it.id || it.textContent, it.getBoundingClientRect()])"
    measured = phone.page.locator(".tool, .tabs a, .legend .key, .chooser .button:visible").evaluate_all(small)
    assert [name for name, at in measured if at["height"] < 44 or at["width"] < 40] == []


def test_two_fingers_zoom(phone: Explorer) -> None:
    (x, y), devtools = phone.at((0, 0)), phone.page.context.new_cdp_session(phone.page)
    for apart in (30, 60, 90, 120):
        fingers = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        kind = "touchStart" if apart == 30 else "touchMove"
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for(lambda: 3 < float(query(phone.page).get("zoom", 1)) < 5, "four times nearer", timeout=20)
    assert phone.page.evaluate("visualViewport.scale") == 1


def test_it_scrolls_sideways_on_no_screen(explorer: Explorer) -> None:
    page = explorer.page
    expect(page.locator("#table tbody tr")).to_have_count(len(CLASSES))
    for width in (320, 820, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(new_context: Callable[..., BrowserContext], scheme: str) -> None:
    page = new_context(color_scheme=scheme, bypass_csp=True).new_page()
    explorer = Explorer(page, MadeUp(), MadeUp(method="pca")).come("?method=lle", "missing")
    assert complaints(page) == "", "no such map"
    page.get_by_role("link", name="PCA", exact=True).click()
    explorer.is_in("ready")
    expect(page.locator("#figures img")).to_have_count(2)
    page.locator("#select-view").click()
    page.locator(".pick").first.click()
    expect(explorer.card).to_be_visible()
    assert complaints(page) == "", "with a selection and a card"


# --- Pure parts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def modules(page: Page) -> Explorer:
    """On a page that has no map: the modules are imported by themselves."""
    page.goto("/healthz")
    return Explorer(page)


def test_what_comes_over_the_wire_is_read_back_to_the_bit(modules: Explorer) -> None:
    made = MadeUp(emnist=50, collected=7)
    ids = b"".join(each.bytes for each in made.ids)
    parts = [list(made.bytes_of(slice(0, 50))), list(made.bytes_of(slice(50, None), ids))]
    sent = {"parts": parts, "columns": ["places", "label", "predicted", "probability", "flags"]}
    body = """
      const [emnist, collected] = value.parts.map((bytes) => new Uint8Array(bytes).buffer);
      const points = it.join(it.decode(emnist), it.decode(collected, { withIds: true }));
      const whole = Object.fromEntries(value.columns.map((name) => [name, [...points[name]]]));
      return { ...whole, drawings: whole.label.map((_, at) => it.drawingOf(points, at)) };
    """
    got: Any = modules.module("explore-data", body, sent)
    columns = made.columns
    assert got["places"] == pytest.approx((columns["places"] / 32767).ravel().tolist(), abs=1e-6)
    assert got["label"] == columns["labels"].tolist()
    assert got["predicted"] == columns["predicted"].tolist()
    assert got["probability"] == columns["probability"].tolist()
    assert got["flags"] == columns["flags"].tolist()
    assert got["drawings"] == [None] * 50 + [str(each) for each in made.ids]


def test_the_grid_finds_the_same_as_looking_at_every_point(modules: Explorer) -> None:
    chance = np.random.default_rng(3)
    places = chance.uniform(-1, 1, (3_000, 2)).astype(np.float32)
    places[:20] = places[20:40]  # some on one another
    shown = chance.random(3_000) < 0.4
    asked = chance.uniform(-1.1, 1.1, (300, 2))
    body = """
      const grid = it.makeGrid(Float32Array.from(value.places));
      return value.asked.map((place) => it.nearest(grid, place, 0.05, Uint8Array.from(value.shown)));
    """
    value = {"places": places.ravel().tolist(), "shown": shown.astype(int).tolist(), "asked": asked.tolist()}
    got: Any = modules.module("explore-grid", body, value)
    away = np.linalg.norm(asked[:, None] - places[None].astype(float), axis=2)
    away[:, ~shown] = np.inf
    least = away.min(axis=1)
    assert (np.array(got) >= 0).tolist() == (least <= 0.05).tolist()
    found = [(row, index) for row, index in enumerate(got) if index >= 0]
    assert all(away[row, index] == least[row] for row, index in found)
    assert len(found) > 100


def test_a_zoom_leaves_what_is_under_the_mouse_there(modules: Explorer) -> None:
    body = """
      const [view, size, at] = [{ x: 0.3, y: -0.2, zoom: 3 }, { width: 900, height: 600 }, [123, 456]];
      const before = it.toPlane(view, size, at);
      const nearer = it.zoomAt(view, size, 5, at);
      return { before, after: it.toPlane(nearer, size, at), zoom: nearer.zoom, screen: it.toScreen(view, size, before),
               far: it.zoomAt(view, size, 1e9, at), lost: it.pan(view, size, [1e9, -1e9]) };
    """
    got: Any = modules.module("explore-camera", body)
    assert got["after"] == pytest.approx(got["before"])
    assert got["screen"] == pytest.approx([123, 456])
    assert got["zoom"] == 15
    assert got["far"]["zoom"] == 250
    assert abs(got["lost"]["x"]) == abs(got["lost"]["y"]) == 1.2


def test_an_address_says_what_it_was_told(modules: Explorer) -> None:
    body = """
      const allowed = { methods: ["umap", "pca"], spaces: ["features", "pixels"], modes: ["letter", "source"] };
      const again = (query) => it.write(it.read(query, allowed), allowed);
      return [again(value), again(""), it.read("?x=0.5&y=0.25&mine", allowed).mine];
    """
    there = (
        "?method=pca&space=pixels&x=0.25&y=-0.5&zoom=12.5&letter=Gq&source=emnist&mistakes=1&colour=source"
        "&mine=0123456789ab,17:4.212,3:5"
    )
    assert modules.module("explore-address", body, there) == [there, "", None]


def test_a_drawing_of_ones_own_stands_where_the_server_would_place_it(modules: Explorer) -> None:
    chance = np.random.default_rng(5)
    places = chance.uniform(-1, 1, (60, 2)).astype(np.float32)
    distances = np.round(chance.uniform(2, 9, 8), 3).astype(np.float32)
    indices = chance.permutation(60)[:8]
    near = [{"index": int(i), "distance": round(float(d), 3)} for i, d in zip(indices, distances, strict=True)]
    body = """
      const points = { emnist: 60, places: Float32Array.from(value.places) };
      const read = it.readMine(it.writeMine(value.near, "0123456789ab"));
      const on = (digest, emnist = 60) => it.placeMine(read, { models: [digest] }, { ...points, emnist });
      const odd = ["", "0.1,-0.2", "0123456789ab", "0123456789ab,1:x", "0123456789ab,1", "x,1:2", "0123456789ab,1:2,"];
      const twin = { digest: "a", neighbours: [{ index: 7, distance: 0 }, { index: 9, distance: 3 }] };
      return {
        place: on("0123456789ab"),
        other: on("ba9876543210"),
        few: on("0123456789ab", Math.max(...value.near.map((each) => each.index))),
        odd: odd.map((text) => it.readMine(text)),
        twin: it.placeMine(twin, { models: ["a"] }, points),
      };
    """
    got: Any = modules.module("explore-mine", body, {"near": near, "places": places.ravel().tolist()})
    assert got["place"] == pytest.approx(_mean_place(places[indices], distances).tolist(), abs=1e-6)
    assert got["twin"] == pytest.approx(places[7].tolist(), abs=1e-5)
    assert (got["other"], got["few"], set(got["odd"])) == (None, None, {None})


def test_points_are_smaller_where_it_is_crowded(modules: Explorer) -> None:
    chance = np.random.default_rng(6)
    crowd, few = chance.normal(-0.5, 0.05, (2_000, 2)), chance.uniform(0, 1, (200, 2))
    places = np.clip(np.vstack([crowd, few]), -1, 1)
    body = """
      const sizes = it.sizesOf(Float32Array.from(value.places), Uint32Array.from(value.indices));
      return [...sizes].map((size) => size * it.FULL / 255);
    """

    def sizes(indices: Any) -> Any:
        value = {"places": places.ravel().tolist(), "indices": np.asarray(indices, int).tolist()}
        return np.array(modules.module("explore-density", body, value))

    whole = sizes(range(2_200))
    assert np.median(whole[:2_000]) < 0.98 < 1.3 < np.median(whole[2_000:])
    assert whole.min() > 0.6
    assert whole.max() < 1.51
    alone = sizes(range(2_000, 2_200))[2_000:]  # as crowded everywhere: hardly a difference
    assert np.median(alone) == pytest.approx(1, abs=0.1)
    assert (sizes([7]) > 0).all()
