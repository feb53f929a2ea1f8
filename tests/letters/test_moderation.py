"""What is public, who may take it out of view, and that it is gone then wherever it was shown."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests

from tests.letters.test_pages import POLICY, inline_code, policy
from tests.letters.training import Maintainer
from tests.letters.visitor import LETTERS, Visitor, not_when_counts_begin_anew, refused, scaled
from tests.running import Site, wait_for

TO_HIDE = 3
REPORTS = 6  # an hour of one network, on the frail site
A_MINUTE = 60
ON_A_MAP = """
import django; django.setup()
import uuid
from django.db import transaction
from letters import maps, registry
maps.publish_reference(registry.current())
place = {{uuid.UUID({drawing!r}): (0.5, 0.5)}}
with transaction.atomic():
    maps.add_points([(each, place) for each in maps.current()], fitted=False)
"""
FIGURE = """
import django; django.setup()
from letters import map_files, maps
from letters.models import LetterMap
for each in maps.current():
    if "figure.svg" not in each.files:
        stored = map_files.store(f"{map_files.ROOT}/{each.pk}", [("figure.svg", b"<svg/>")])
        LetterMap.objects.filter(pk=each.pk).update(files=each.files | stored)
"""


@pytest.fixture(scope="module")
def maintainer(frail_site: Site) -> Iterator[Maintainer]:
    with Maintainer(frail_site, "moderator") as somebody:
        yield somebody


@pytest.fixture(autouse=True)
def _not_when_counts_begin_anew() -> None:
    not_when_counts_begin_anew(30)


Make = Callable[[], Visitor]


def a_letter(maintainer: Maintainer, visitor: Visitor, letter: str = "L") -> str:
    """The id of a letter that is public: drawn, and approved by a reviewer."""
    kept = visitor.keep(strokes=scaled(LETTERS[letter], 0.9), character=letter)
    decide(maintainer, kept["id"], action="approve")
    noted = "SELECT 1 FROM letters_examination WHERE drawing_id = %s"
    examined = partial(visitor.site.rows, noted, uuid.UUID(kept["id"]))
    wait_for(examined, "it is examined, and what was sent before it is done")
    return str(kept["id"])


def card(maintainer: Maintainer, drawing: str) -> dict[str, Any]:
    """As a reviewer sees it."""
    found = maintainer.post(f"/api/v1/review/cards/{drawing}")
    assert found.status_code == 200, found.text
    value: dict[str, Any] = found.json()["card"]
    return value


def decide(maintainer: Maintainer, drawing: str, **judgement: str) -> dict[str, Any]:
    revision = card(maintainer, drawing)["revision"]
    body = {"drawing": drawing, "revision": revision} | judgement
    decided = maintainer.post("/api/v1/review/decisions", json=body)
    assert decided.status_code == 201, decided.text
    value: dict[str, Any] = decided.json()
    return value


def waiting(maintainer: Maintainer) -> set[str]:
    """The letters in the queue of those that were reported; they are put back."""
    found = maintainer.post("/api/v1/review/cards", json={"wanted": {"reported": True}, "count": 48}).json()
    ids = [each["id"] for each in found["cards"]]
    maintainer.post("/api/v1/review/release", json={"cards": ids})
    return set(ids)


def report(visitor: Visitor, drawing: str, reason: str = "offensive") -> requests.Response:
    """By the form of the letter's page, as a browser without JavaScript sends it."""
    shown = visitor.get(f"/samples/{drawing}")
    page = shown if shown.ok else visitor.get("/admin/login/")  # which has a form, too
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    return visitor.post(f"/samples/{drawing}", data={"reason": reason, "csrfmiddlewaretoken": token})


def shows(visitor: Visitor, drawing: str) -> list[str]:
    """Where the public is shown a letter."""
    found = [path for path in ("/samples", "/model/") if drawing in visitor.get(path).text]
    found += [path for path in (f"/samples/{drawing}", f"/samples/{drawing}.png") if visitor.get(path).ok]
    for each in visitor.get("/api/v1/maps").json()["maps"]:
        if uuid.UUID(drawing).bytes in visitor.get(each["urls"]["collected"]).content:
            found.append(f"{each['method']} map")
        if each["urls"]["svg"] and visitor.get(each["urls"]["svg"]).ok:
            found.append(f"{each['method']} figure")
    return found


# --- Report ----------------------------------------------------------------------------------------------------------


def test_it_works(maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    visitor = frail_visitor()
    page = visitor.get(f"/samples/{drawing}")
    assert page.status_code == 200
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert inline_code(page.text) == []
    assert "no-store" in page.headers["Cache-Control"]
    assert f'href="/samples/{drawing}"' in visitor.get("/samples").text  # the way there
    said = report(visitor, drawing)
    assert (said.status_code, "A reviewer looks at the letter." in said.text) == (201, True)
    assert drawing in waiting(maintainer)
    assert card(maintainer, drawing)["reports"] == [{"reason": "it is offensive", "count": 1, "answered": False}]
    assert "Reported letters: " in maintainer.get("/admin/").text
    assert maintainer.get("/admin/letters/report/").status_code == 200
    assert visitor.get(f"/samples/{drawing}").status_code == 200  # one visitor takes nothing out of view


def test_what_a_report_must_have(frail_site: Site, maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    pending = frail_visitor().keep()["id"]
    visitor, before = frail_visitor(), frail_site.count("report")
    for reason in ("", "because", "<script>", "offensive\0"):
        answer = report(visitor, drawing, reason)
        assert (answer.status_code, "Choose what is wrong with this letter." in answer.text) == (400, True)
        assert "<script>" not in answer.text
    assert report(visitor, pending).status_code == 404  # what is not public cannot be reported, nor seen
    assert report(visitor, str(uuid.uuid4())).status_code == 404
    assert visitor.post(f"/samples/{drawing}", data={"reason": "offensive"}).status_code == 403  # from another site
    assert frail_site.count("report") == before


def test_a_visitor_counts_once(frail_site: Site, maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    visitor, before = frail_visitor(), frail_site.count("report")
    assert report(visitor, drawing).status_code == 201
    for _ in range(REPORTS + 1):  # which costs nothing either
        again = report(visitor, drawing, "other")
        assert (again.status_code, "It counts once" in again.text) == (201, True)
    assert frail_site.count("report") == before + 1


def test_what_is_stored_of_a_reporter_says_nothing(
    frail_site: Site, maintainer: Maintainer, frail_visitor: Make
) -> None:
    """Two reports by one visitor cannot be told to be of one, and hold no id of a cookie."""
    one, other = a_letter(maintainer, frail_visitor()), a_letter(maintainer, frail_visitor(), "T")
    visitor = frail_visitor()
    own = visitor.keep()
    report(visitor, one)
    report(visitor, other)
    look = "SELECT reporter FROM letters_report WHERE drawing_id IN (%s, %s)"
    hashes = [row["reporter"] for row in frail_site.rows(look, uuid.UUID(one), uuid.UUID(other))]
    assert len(set(hashes)) == 2
    (row,) = frail_site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(own["id"]))
    assert str(row["contributor_id"]).replace("-", "") not in "".join(hashes)


def test_several_networks_take_it_out_of_view(maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    visitors = [frail_visitor() for _ in range(TO_HIDE)]
    answers = [report(each, drawing) for each in visitors]
    assert ["out of view" in each.text for each in answers] == [False, False, True]
    assert shows(frail_visitor(), drawing) == []
    seen = card(maintainer, drawing)
    assert (seen["state"], seen["reports"][0]["count"]) == ("pending", TO_HIDE)
    assert report(frail_visitor(), drawing).status_code == 404


def test_one_network_does_not_however_many_ids_it_makes(maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing, first = a_letter(maintainer, frail_visitor()), frail_visitor()
    crowd = [frail_visitor() for _ in range(REPORTS + 1)]
    for each in crowd:
        each.headers["X-Forwarded-For"] = first.headers["X-Forwarded-For"]
    codes = [report(each, drawing).status_code for each in crowd]
    assert codes == [201] * REPORTS + [429]
    over = report(frail_visitor_like(crowd[0], frail_visitor), drawing)
    assert "6 reports in 1 hour is all that is taken from one network" in over.text
    assert 1 <= int(over.headers["Retry-After"]) <= 3601
    assert frail_visitor().get(f"/samples/{drawing}").status_code == 200


def frail_visitor_like(other: Visitor, make: Make) -> Visitor:
    made = make()
    made.headers["X-Forwarded-For"] = other.headers["X-Forwarded-For"]
    return made


def test_one_of_the_staff_takes_it_out_of_view_at_once(maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    assert "You are a reviewer" in maintainer.get(f"/samples/{drawing}").text
    assert "out of view" in report(maintainer, drawing).text
    assert frail_visitor().get(f"/samples/{drawing}.png").status_code == 404
    assert "moderator took it out of view" in maintainer.post(f"/api/v1/review/cards/{drawing}").json()["decided"]


@pytest.mark.slow
def test_without_redis_nothing_is_reported(frail_site: Site, maintainer: Maintainer, frail_visitor: Make) -> None:
    """Nobody would know how many came of one network."""
    drawing, visitor = a_letter(maintainer, frail_visitor()), frail_visitor()
    before = frail_site.count("report")
    assert frail_site.redis
    frail_site.redis.kill()
    try:
        answer = report(visitor, drawing)
    finally:
        frail_site.redis.start()
        frail_site.wait_until_ready()
    assert (answer.status_code, "try again in a minute" in answer.text) == (503, True)
    assert frail_site.count("report") == before
    assert report(visitor, drawing).status_code == 201


# --- Decide ----------------------------------------------------------------------------------------------------------


def test_what_a_reviewer_keeps_stays(maintainer: Maintainer, frail_visitor: Make) -> None:
    """Further reports are counted, and change nothing more."""
    drawing = a_letter(maintainer, frail_visitor())
    for _ in range(TO_HIDE):
        report(frail_visitor(), drawing)
    decided = decide(maintainer, drawing, action="approve")
    assert drawing not in waiting(maintainer)
    for _ in range(TO_HIDE + 1):
        assert report(frail_visitor(), drawing).status_code == 201
    assert frail_visitor().get(f"/samples/{drawing}").status_code == 200
    assert drawing not in waiting(maintainer)
    said = [{"reason": "it is offensive", "count": 2 * TO_HIDE + 1, "answered": True}]
    assert card(maintainer, drawing)["reports"] == said
    undone = maintainer.post("/api/v1/review/undo", json={"decision": decided["decision"]})
    assert undone.status_code == 200, undone.text
    assert drawing in waiting(maintainer)  # what was decided of the reports is taken back as well


def test_what_a_reviewer_rejects_is_gone(maintainer: Maintainer, frail_visitor: Make) -> None:
    drawing = a_letter(maintainer, frail_visitor())
    report(frail_visitor(), drawing)
    decide(maintainer, drawing, action="reject", reason="offensive")
    assert drawing not in waiting(maintainer)
    assert shows(frail_visitor(), drawing) == []


def test_a_letter_that_is_withdrawn_takes_its_reports_along(
    frail_site: Site, maintainer: Maintainer, frail_visitor: Make
) -> None:
    visitor = frail_visitor()
    kept = visitor.keep()
    decide(maintainer, kept["id"], action="approve")
    report(frail_visitor(), kept["id"])
    before = frail_site.count("report")
    assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204
    assert frail_site.count("report") == before - 1
    assert kept["id"] not in waiting(maintainer)


# --- Muted -----------------------------------------------------------------------------------------------------------


def fresh_for(response: requests.Response) -> int:
    """Seconds for which whoever has an answer may show it without asking again."""
    told = response.headers.get("Cache-Control", "")
    if "no-store" in told or "no-cache" in told:
        return 0
    found = re.search(r"max-age=(\d+)", told)
    assert found, f"{response.url} may be kept for as long as a cache likes"
    return int(found[1])


def test_a_muted_contributor_vanishes(frail_site: Site, maintainer: Maintainer, frail_visitor: Make) -> None:
    """From every page at once, and within a minute from what a browser kept of them; no cache between keeps any."""
    drawing = a_letter(maintainer, frail_visitor(), "X")
    frail_site.python(ON_A_MAP.format(drawing=drawing))
    frail_site.python(FIGURE)
    visitor = frail_visitor()
    everywhere = [
        "/samples", "/model/", f"/samples/{drawing}", f"/samples/{drawing}.png",
        "umap map", "umap figure", "pca map", "pca figure",
    ]  # fmt: skip
    assert sorted(shows(visitor, drawing)) == sorted(everywhere)
    listed = visitor.get("/api/v1/maps").json()["maps"]
    paths = ["/samples", "/model/", f"/samples/{drawing}", f"/samples/{drawing}.png", "/api/v1/maps"]
    paths += [each["urls"][name] for each in listed for name in ("collected", "svg")]
    kept = {path: visitor.get(path) for path in paths}
    for path, answer in kept.items():
        assert fresh_for(answer) <= A_MINUTE, path
        if drawing in answer.text or uuid.UUID(drawing).bytes in answer.content or path.endswith(".png"):
            assert re.search("private|no-store", answer.headers["Cache-Control"]), path
    contributor = card(maintainer, drawing)["contributor"]["id"]
    counts = {each["method"]: each["counts"]["collected"] for each in listed}
    assert maintainer.post(f"/api/v1/contributors/{contributor}/mute").status_code == 200
    assert shows(visitor, drawing) == []
    for path, answer in kept.items():  # a browser that asks whether what it has still holds
        if "ETag" in answer.headers:
            assert visitor.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code != 304, path
    now = {each["method"]: each["counts"]["collected"] for each in visitor.get("/api/v1/maps").json()["maps"]}
    assert now == {method: count - 1 for method, count in counts.items()}
    assert report(visitor, drawing).status_code == 404
    assert maintainer.delete(f"/api/v1/contributors/{contributor}/mute").status_code == 200
    assert sorted(shows(visitor, drawing)) == sorted(each for each in everywhere if "figure" not in each)


def test_what_is_taken_out_of_view_leaves_the_maps_too(
    frail_site: Site, maintainer: Maintainer, frail_visitor: Make
) -> None:
    drawing = a_letter(maintainer, frail_visitor(), "V")
    frail_site.python(ON_A_MAP.format(drawing=drawing))
    frail_site.python(FIGURE)
    assert "umap figure" in shows(frail_visitor(), drawing)
    report(maintainer, drawing)
    assert shows(frail_visitor(), drawing) == []
    page = frail_visitor().get(f"/samples/{drawing}")
    assert page.status_code == 404
    refused(frail_visitor().get(f"/api/v1/samples/{drawing}"), 404, "not_found")
