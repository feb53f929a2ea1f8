"""The staff's side, as a browser without JavaScript sees it."""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Iterator

import pytest
import requests

from tests.letters.test_pages import POLICY, inline_code, policy
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z
from tests.running import Site

DRAWINGS = "/admin/letters/drawing/"
CONTRIBUTORS = "/admin/letters/contributor/"
FIRST_STAFF = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
User.objects.update(is_superuser=False)  # other tests on this site may have made some
call_command("first_staff")
print("---")
call_command("first_staff")
"""


@pytest.fixture(scope="module")
def printed(site: Site) -> str:
    """What is printed when the first staff user is made, and when that is asked for again."""
    return site.python(FIRST_STAFF)


@pytest.fixture(scope="module")
def credentials(printed: str) -> tuple[str, str]:
    """Name and password of the first staff user."""
    found = re.search(r"User (\S+), password (\S+) ", printed)
    assert found
    return found[1], found[2]


@pytest.fixture(scope="module")
def staff(site: Site, credentials: tuple[str, str]) -> Iterator[Visitor]:
    """Somebody who is logged in: once, for a password takes long to check, and is meant to."""
    with Visitor(site) as somebody:
        assert log_in(somebody, *credentials).status_code == 302
        yield somebody


def log_in(visitor: Visitor, name: str, password: str) -> requests.Response:
    visitor.get("/admin/login/")
    form = {"username": name, "password": password, "csrfmiddlewaretoken": visitor.cookies["csrftoken"]}
    return visitor.post("/admin/login/", data=form)


def shown(staff: Visitor, query: str = "") -> set[str]:
    """Ids of the drawings in the list."""
    page = staff.get(DRAWINGS + query)
    assert page.status_code == 200, query
    return set(re.findall(r'name="_selected_action" value="([0-9a-f-]{36})"', page.text))


def test_it_works(staff: Visitor, visitor: Visitor) -> None:
    kept = visitor.keep(character="z")
    page = staff.get(DRAWINGS)
    assert kept["id"] in page.text
    assert 'class="letter-thumbnail" src="data:image/png;base64,' in page.text
    assert visitor.see(kept["id"], kept["receipt"]).json()["image"] in html.unescape(page.text)


def test_the_password_is_printed_once(printed: str, credentials: tuple[str, str]) -> None:
    again = printed.partition("---")[2]
    assert "There is a staff user already" in again
    assert printed.count(credentials[1]) == 1
    assert len(credentials[1]) >= 12


def test_a_wrong_password(visitor: Visitor, credentials: tuple[str, str]) -> None:
    assert "errornote" in log_in(visitor, credentials[0], "wrong password").text
    assert visitor.get(DRAWINGS).status_code == 302


def test_the_strokes_can_be_replayed(staff: Visitor, visitor: Visitor) -> None:
    kept = visitor.keep()
    page = staff.get(f"{DRAWINGS}{kept['id']}/change/")
    assert page.status_code == 200
    found = re.search(r'<canvas class="letter-replay"[^>]*>', page.text)
    assert found
    data = dict(re.findall(r'data-(\w+)="([^"]*)"', found[0]))
    assert json.loads(html.unescape(data["strokes"])) == Z
    assert (float(data["width"]), float(data["height"])) == (CANVAS["width"], CANVAS["height"])
    assert re.search(r'<script[^>]* src="/static/letters/js/admin-replay[^"]*\.js"', page.text)


def test_prediction_stands_against_label(site: Site, staff: Visitor, visitor: Visitor) -> None:
    answer = visitor.predict()
    right = visitor.keep(token=answer["token"], character=answer["label"], key="is-right-1")
    wrong = visitor.keep(token=answer["token"], character="A" if answer["label"] != "A" else "B", key="is-wrong-1")
    assert "read-right" in staff.get(f"{DRAWINGS}{right['id']}/change/").text
    assert "read-wrong" in staff.get(f"{DRAWINGS}{wrong['id']}/change/").text
    for was, there, not_there in (("right", right, wrong), ("wrong", wrong, right)):
        found = shown(staff, f"?was={was}")
        assert there["id"] in found
        assert not_there["id"] not in found


def test_filters(site: Site, staff: Visitor, visitor: Visitor) -> None:
    small, large = visitor.keep(character="g"), visitor.keep(character="G", strokes=LETTERS["L"])
    site.rows("UPDATE letters_drawing SET state = 'approved' WHERE id = %s", uuid.UUID(small["id"]))
    for query, there, not_there in (
        ("?state__exact=approved", small, large),
        ("?state__exact=pending", large, small),
        ("?label=g", small, large),
        ("?label=G", large, small),
    ):
        found = shown(staff, query)
        assert there["id"] in found, query
        assert not_there["id"] not in found, query
    assert {small["id"], large["id"]} <= shown(staff, "?model__id__exact=1")


def test_search(staff: Visitor, visitor: Visitor) -> None:
    one, other = visitor.keep(character="q"), visitor.keep(character="x", strokes=LETTERS["X"])
    assert shown(staff, f"?q={one['id']}") == {one["id"]}
    assert one["id"] in shown(staff, "?q=q")
    assert other["id"] not in shown(staff, "?q=q")
    (row,) = visitor.site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(one["id"]))
    contributor = uuid.UUID(str(row["contributor_id"]))
    assert shown(staff, f"?q={contributor}") == {one["id"], other["id"]}
    assert shown(staff, "?q=nothing-of-that-name") == set()


def act(staff: Visitor, path: str, action: str, *ids: str) -> str:
    """The messages of the list after an action on some of its rows."""
    staff.get(path)  # shows what is still to be said of earlier tests
    form = {"action": action, "_selected_action": list(ids), "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert staff.post(path, data=form).status_code == 302
    return html.unescape(" ".join(re.findall(r'<li class="(?:info|success|warning)">(.*?)</li>', staff.get(path).text)))


def test_a_selection_is_approved_and_rejected(staff: Visitor, visitor: Visitor) -> None:
    """By the steps of the review queue: each is a decision with who and why, and what is so already is left alone."""
    kept = [visitor.keep(strokes=LETTERS[letter], character=letter)["id"] for letter in "LTV"]
    assert act(staff, DRAWINGS, "approve", *kept[:2]) == "2 approved."
    assert act(staff, DRAWINGS, "reject_unreadable", *kept) == "3 rejected."
    assert act(staff, DRAWINGS, "reject_unreadable", *kept) == "0 rejected."
    look = "SELECT action, reason FROM letters_decision WHERE drawing_id = %s ORDER BY id"
    assert visitor.site.rows(look, uuid.UUID(kept[0])) == [
        {"action": "approve", "reason": ""},
        {"action": "reject", "reason": "unreadable"},
    ]
    page = html.unescape(staff.get(f"{DRAWINGS}{kept[0]}/change/").text)
    assert re.search(r"\w+ rejected it \(unreadable\) at .* approved it as L at", page, re.S)
    for action in ("reject_not_a_letter", "reject_wrong_letter", "reject_offensive", "reject_duplicate"):
        assert f'value="{action}"' in staff.get(DRAWINGS).text


def test_what_was_decided_can_be_deleted(staff: Visitor, visitor: Visitor) -> None:
    kept = visitor.keep()
    act(staff, DRAWINGS, "approve", kept["id"])
    form = {"post": "yes", "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert staff.post(f"{DRAWINGS}{kept['id']}/delete/", data=form).status_code == 302
    assert visitor.see(kept["id"], kept["receipt"]).status_code == 404


def test_contributors_with_their_counts(staff: Visitor, visitor: Visitor) -> None:
    kept = [visitor.keep(strokes=LETTERS[letter], character=letter)["id"] for letter in "LTV"]
    (row,) = visitor.site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(kept[0]))
    contributor = str(uuid.UUID(str(row["contributor_id"])))
    act(staff, DRAWINGS, "approve", kept[0], kept[1])
    act(staff, DRAWINGS, "reject_offensive", kept[2])
    found = staff.get(f"{CONTRIBUTORS}?q={contributor}").text
    numbers = re.findall(r'class="field-(drawn|approved|rejected)">(?:<a [^>]*>)?(\d+)<', found)
    assert numbers == [("drawn", "3"), ("approved", "2"), ("rejected", "1")]
    assert shown(staff, f"?contributor__id__exact={contributor}") == set(kept)


def test_contributors_are_muted_and_let_back_in(staff: Visitor, visitor: Visitor) -> None:
    kept = visitor.keep()
    (row,) = visitor.site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(kept["id"]))
    contributor = str(uuid.UUID(str(row["contributor_id"])))
    assert act(staff, CONTRIBUTORS, "mute", contributor) == "1 muted."
    assert contributor in staff.get(f"{CONTRIBUTORS}?muted=yes").text
    assert contributor not in staff.get(f"{CONTRIBUTORS}?muted=no").text
    assert act(staff, CONTRIBUTORS, "let_back_in", contributor) == "1 let back in."
    assert contributor not in staff.get(f"{CONTRIBUTORS}?muted=yes").text


def test_duplicates_are_marked_and_found(staff: Visitor, visitor: Visitor) -> None:
    first, again = visitor.keep(), visitor.keep(key="once-more")
    assert again["id"] in shown(staff, "?duplicate=yes")
    assert again["id"] not in shown(staff, "?duplicate=no")
    page = staff.get(f"{DRAWINGS}{again['id']}/change/").text
    assert "exact duplicate" in page
    assert first["id"] != again["id"]


def test_delete(staff: Visitor, visitor: Visitor) -> None:
    kept, action = visitor.keep(), visitor.keep(strokes=LETTERS["L"])
    address = f"{DRAWINGS}{kept['id']}/delete/"
    assert staff.get(address).status_code == 200
    form = {"post": "yes", "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert staff.post(address, data=form).status_code == 302
    several = form | {"action": "delete_selected", "_selected_action": action["id"]}
    assert staff.post(DRAWINGS, data=several).status_code == 302
    for gone in (kept, action):
        assert visitor.see(gone["id"], gone["receipt"]).status_code == 404


def test_what_the_site_writes_nobody_edits(staff: Visitor, visitor: Visitor) -> None:
    kept = visitor.keep(character="z")
    form = {"character": "A", "state": "approved", "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert staff.post(f"{DRAWINGS}{kept['id']}/change/", data=form).status_code == 403
    assert staff.get("/admin/letters/drawing/add/").status_code == 403
    for table in ("serving", "modelversion", "deployment"):
        assert staff.get(f"/admin/letters/{table}/1/delete/").status_code == 403
    seen = visitor.see(kept["id"], kept["receipt"]).json()
    assert (seen["character"], seen["state"]) == ("z", "pending")


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        DRAWINGS,
        *(
            f"/admin/letters/{table}/"
            for table in ("contributor", "decision", "modelversion", "serving", "deployment", "lettermap")
        ),
        "/admin/review/",
    ],
)
def test_strangers_see_nothing(visitor: Visitor, path: str) -> None:
    page = visitor.get(path)
    assert page.status_code == 302
    assert page.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/login/",
        DRAWINGS,
        DRAWINGS + "{drawing}/change/",
        DRAWINGS + "{drawing}/delete/",
        DRAWINGS + "{drawing}/history/",
        "/admin/review/",
        "/admin/letters/contributor/",
        "/admin/letters/decision/",
        "/admin/letters/modelversion/",
        "/admin/letters/modelversion/1/change/",
        "/admin/letters/serving/",
        "/admin/letters/deployment/",
        "/admin/letters/lettermap/",
        "/admin/password_change/",
    ],
)
def test_every_page_keeps_to_the_policy(staff: Visitor, visitor: Visitor, path: str) -> None:
    drawing = visitor.keep()["id"] if "{drawing}" in path else ""
    if "login" in path:
        staff = visitor
    page = staff.get(path.format(drawing=drawing))
    assert page.status_code == 200
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert inline_code(page.text) == []
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert staff.get(address).status_code == 200, address
