"""Reviewers at work over HTTP, several at once, and what those may not who have no right to."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.letters.reviewing import PASSWORD, jittered
from tests.letters.test_pages import POLICY, inline_code, policy
from tests.letters.visitor import Visitor, Z, refused
from tests.running import Site, wait_for

CARDS, RELEASE, DECISIONS, BULK, UNDO = (
    f"/api/v1/review/{name}" for name in ("cards", "release", "decisions", "decisions/bulk", "undo")
)
STAFF = {"ann": "reviewers", "bo": "reviewers", "max": "maintainers", "nobody": "none"}
QUEUES = (1, 1, 2, 3, 4, 12, 40)  # drawings of each


class Reviewer(Visitor):
    """Somebody of the staff, signed in."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site)
        self.name = name
        self.get("/admin/login/")
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        assert self.post("/admin/login/", data=form).status_code == 302
        self.headers["X-CSRFToken"] = self.cookies["csrftoken"]

    def claim(self, count: int = 48, holding: list[str] | None = None, **wanted: Any) -> dict[str, Any]:
        """The answer to a request for cards."""
        response = self.post(CARDS, json={"wanted": wanted, "count": count, "holding": holding or []})
        assert response.status_code == 200, response.text
        return response.json()

    def decide(self, card: dict[str, Any], action: str = "approve", **more: str) -> requests.Response:
        """Whatever comes of it."""
        return self.post(DECISIONS, json={"drawing": card["id"], "revision": card["revision"], "action": action} | more)


@pytest.fixture(scope="module")
def stock(site: Site) -> dict[int, list[tuple[str, list[str]]]]:
    """People of the staff, and queues to review by the number of their drawings: made at once, for that is quicker."""
    printed = site.python(
        "import django; django.setup()\n"
        "import json\n"
        "from tests.letters.reviewing import a_reviewer, make_drawings\n"
        f"for name, group in {STAFF!r}.items(): a_reviewer(name, group)\n"
        "def made(count):\n"
        "    drawings = make_drawings(count)\n"
        "    return count, str(drawings[0].contributor_id), [str(each.pk) for each in drawings]\n"
        f"print(json.dumps([made(count) for count in {QUEUES!r}]))\n"
    )
    found: dict[int, list[tuple[str, list[str]]]] = {}
    for count, contributor, drawings in json.loads(printed):
        found.setdefault(count, []).append((contributor, drawings))
    return found


@pytest.fixture(scope="module")
def staff(site: Site, stock: object) -> Iterator[dict[str, Reviewer]]:
    """Signed in once, for a password takes long to check."""
    made = {name: Reviewer(site, name) for name in STAFF}
    yield made
    for each in made.values():
        each.close()


@pytest.fixture
def make(stock: dict[int, list[tuple[str, list[str]]]]) -> Callable[[int], tuple[str, list[str]]]:
    """A queue of so many drawings of a contributor whom no other test knows: the contributor's id, and the drawings',
    the most useful first."""
    return lambda count: stock[count].pop()


def test_it_works(staff: dict[str, Reviewer], make: Callable[..., Any], site: Site) -> None:
    contributor, (first, second, third) = make(3)
    ann = staff["ann"]
    desk = ann.claim(contributor=contributor)
    assert [each["id"] for each in desk["cards"]] == [first, second, third]
    assert (desk["waiting"], desk["lost"]) == (3, [])
    card = desk["cards"][0]
    assert card["image"].startswith("data:image/png;base64,")
    assert card["strokes"]
    assert card["contributor"] == {
        "id": contributor, "drawings": 3, "approved": 0, "rejected": 0, "held_out": False, "muted": False,
    }  # fmt: skip
    assert card["read"] == {"label": card["label"], "probability": 0.9, "model": card["read"]["model"]}
    answer = ann.decide(card)
    assert answer.status_code == 201
    assert answer.json() | {"decision": 0} == {
        "decision": 0, "drawing": first, "state": "approved", "letter": card["letter"],
    }  # fmt: skip
    assert ann.decide(desk["cards"][1], "reject", reason="offensive").json()["state"] == "rejected"
    assert ann.decide(desk["cards"][2], "relabel", character="q").json()["letter"] == "q"
    rows = site.rows(
        "SELECT action, actor, reason, old_label, new_label FROM letters_decision WHERE drawing_id = %s",
        uuid.UUID(third),
    )
    old = desk["cards"][2]["label"]
    assert rows == [{"action": "relabel", "actor": "ann", "reason": "", "old_label": old, "new_label": "q"}]
    assert ann.claim(contributor=contributor)["cards"] == []


def test_what_the_serving_model_reads_is_on_the_card(
    staff: dict[str, Reviewer], make: Callable[..., Any], visitor: Visitor
) -> None:
    """As soon as a worker has looked; until then the card says that none has."""
    kept = visitor.keep(character="z")
    look = (
        "SELECT contributor_id FROM letters_drawing d JOIN letters_examination e ON drawing_id = d.id WHERE d.id = %s"
    )
    (row,) = wait_for(lambda: visitor.site.rows(look, uuid.UUID(kept["id"])), "a worker has looked", 60)
    (card,) = staff["ann"].claim(contributor=str(uuid.UUID(str(row["contributor_id"]))))["cards"]
    reads = card["reads"]
    assert reads["stale"] is False
    assert reads["model"] == card["read"]["model"]
    assert 0 < reads["label_probability"] <= reads["probability"] <= 1
    contributor, _ = make(1)
    (card,) = staff["ann"].claim(contributor=contributor)["cards"]
    assert card["reads"] is None


def test_a_duplicate_leads_to_the_other(staff: dict[str, Reviewer], visitor: Visitor) -> None:
    drawn = {"strokes": jittered(Z, 20), "character": "z"}  # nobody else on this site drew that
    first, again = visitor.keep(**drawn), visitor.keep(**drawn, key="once-more")
    (row,) = visitor.site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(first["id"]))
    contributor = str(uuid.UUID(str(row["contributor_id"])))

    def on_the_desk() -> Any:
        cards = {each["id"]: each for each in staff["ann"].claim(contributor=contributor)["cards"]}
        return cards.get(again["id"])  # passed over while it is being examined

    found = wait_for(on_the_desk, "the second is on the desk", 30)["duplicate_of"]
    assert found["likeness"] == "exact"
    assert (found["letter"], found["state"]) == ("z", "pending")
    assert staff["ann"].get(f"/admin/letters/drawing/{found['id']}/change/").status_code == 200


def test_two_decide_at_the_same_moment(staff: dict[str, Reviewer], make: Callable[..., Any], site: Site) -> None:
    """Both saw the same card, say before a lease ran out: one decision stands, and the other is told whose."""
    contributor, drawings = make(12)
    ann, bo = staff["ann"], staff["bo"]
    cards = ann.claim(contributor=contributor)["cards"]
    with ThreadPoolExecutor(2) as pool:
        for card in cards:
            asked = [pool.submit(ann.decide, card), pool.submit(bo.decide, card, "reject", reason="unreadable")]
            by_ann, by_bo = (each.result() for each in asked)
            assert sorted((by_ann.status_code, by_bo.status_code)) == [201, 409]
            late = by_bo if by_ann.ok else by_ann
            words = refused(late, 409, "already_reviewed")["message"]
            assert words.startswith("ann approved it" if by_ann.ok else "bo rejected it (unreadable)")
    for drawing in drawings:
        assert len(site.rows("SELECT id FROM letters_decision WHERE drawing_id = %s", uuid.UUID(drawing))) == 1


def test_two_who_ask_at_the_same_moment_have_different_cards(
    staff: dict[str, Reviewer], make: Callable[..., Any]
) -> None:
    contributor, drawings = make(40)
    desks: dict[str, list[str]] = {"ann": [], "bo": []}

    def fill(name: str) -> None:
        for _ in range(10):
            found = staff[name].claim(count=3, holding=desks[name], contributor=contributor)
            assert found["lost"] == []
            desks[name] += [each["id"] for each in found["cards"]]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, desks))
    assert set(desks["ann"]).isdisjoint(desks["bo"])
    assert sorted(desks["ann"] + desks["bo"]) == sorted(drawings)
    assert staff["ann"].post(RELEASE, json={"cards": desks["ann"]}).status_code == 204
    assert {each["id"] for each in staff["bo"].claim(holding=desks["bo"], contributor=contributor)["cards"]} == set(
        desks["ann"]
    )


def test_undo(staff: dict[str, Reviewer], make: Callable[..., Any]) -> None:
    contributor, _ = make(1)
    (card,) = staff["ann"].claim(contributor=contributor)["cards"]
    decision = staff["ann"].decide(card, "relabel", character="g").json()["decision"]
    answer = staff["ann"].post(UNDO, json={"decision": decision}).json()
    assert answer["undone"] == decision
    assert answer["card"] == card | {"revision": 2}
    assert staff["ann"].decide(answer["card"], "reject", reason="not_a_letter").status_code == 201
    refused(staff["bo"].post(UNDO, json={"decision": decision}), 409, "nothing_to_undo")


def test_a_selection_at_once(staff: dict[str, Reviewer], make: Callable[..., Any]) -> None:
    contributor, _ = make(4)
    ann = staff["ann"]
    cards = ann.claim(contributor=contributor)["cards"]
    staff["bo"].decide(cards[0])
    seen = [{"drawing": each["id"], "revision": each["revision"]} for each in cards]
    answer = ann.post(BULK, json={"cards": seen, "action": "reject", "reason": "duplicate"})
    outcomes = {each["drawing"]: each for each in answer.json()["outcomes"]}
    assert [outcomes[each["id"]]["decision"] is None for each in cards] == [True, False, False, False]
    assert outcomes[cards[0]["id"]]["code"] == "already_reviewed"
    assert outcomes[cards[0]["id"]]["message"].startswith("bo approved it")


def test_muting(staff: dict[str, Reviewer], make: Callable[..., Any]) -> None:
    contributor, drawings = make(2)
    address = f"/api/v1/contributors/{contributor}/mute"
    refused(staff["ann"].post(address), 403, "permission_denied")  # reviewers review only
    assert staff["max"].post(address).json() == {"id": contributor, "muted": True}
    assert staff["ann"].claim(contributor=contributor)["waiting"] == 0
    assert staff["max"].delete(address).json() == {"id": contributor, "muted": False}
    assert {each["id"] for each in staff["ann"].claim(contributor=contributor)["cards"]} == set(drawings)
    refused(staff["max"].post(f"/api/v1/contributors/{uuid.uuid4()}/mute"), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (CARDS, {"count": 5}, "wanted"),
        (CARDS, {"wanted": {"label": "z"}}, "wanted.label"),
        (CARDS, {"wanted": {"order": "random"}}, "wanted.order"),
        (CARDS, {"wanted": {"contributor": "me"}}, "wanted.contributor"),
        (CARDS, {"wanted": {}, "count": 4000}, "count"),
        (DECISIONS, {"revision": 0, "action": "approve"}, "drawing"),
        (DECISIONS, {"drawing": str(uuid.uuid4()), "action": "approve"}, "revision"),
        (DECISIONS, {"drawing": str(uuid.uuid4()), "revision": 0, "action": "undo"}, "action"),
        (BULK, {"cards": [], "action": "approve"}, "cards"),
        (UNDO, {"decision": "last"}, "decision"),
    ],
)
def test_bad_requests(staff: dict[str, Reviewer], path: str, body: dict[str, Any], field: str) -> None:
    refused(staff["ann"].post(path, json=body), 400, "invalid", field)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"action": "reject"}, "reason"),
        ({"action": "relabel"}, "character"),
        ({"action": "approve", "reason": "offensive"}, "reason"),
    ],
)
def test_bad_decisions(staff: dict[str, Reviewer], more: dict[str, str], field: str) -> None:
    body = {"drawing": str(uuid.uuid4()), "revision": 0} | more
    refused(staff["ann"].post(DECISIONS, json=body), 400, "bad_decision", field)
    body = {"drawing": str(uuid.uuid4()), "revision": 0, "action": "approve"}
    refused(staff["ann"].post(DECISIONS, json=body), 404, "not_found")


@pytest.mark.parametrize("path", [CARDS, RELEASE, DECISIONS, BULK, UNDO])
def test_only_those_who_may_review_do(staff: dict[str, Reviewer], visitor: Visitor, path: str) -> None:
    refused(visitor.post(path, json={}), 403, "not_authenticated")
    refused(staff["nobody"].post(path, json={}), 403, "permission_denied")
    token = staff["ann"].headers.pop("X-CSRFToken")
    try:
        assert "CSRF" in refused(staff["ann"].post(path, json={}), 403, "permission_denied")["message"]
    finally:
        staff["ann"].headers["X-CSRFToken"] = token


def test_the_page_is_for_reviewers(staff: dict[str, Reviewer], visitor: Visitor) -> None:
    page = staff["ann"].get("/admin/review/")
    assert page.status_code == 200
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert inline_code(page.text) == []
    assert '"may_mute": false' in page.text
    assert '"may_mute": true' in staff["max"].get("/admin/review/").text
    assert staff["nobody"].get("/admin/review/").status_code == 403
    assert visitor.get("/admin/review/").headers["Location"].startswith("/admin/login/")


def test_the_page_is_linked_where_one_looks(staff: dict[str, Reviewer]) -> None:
    for path in ("/admin/", "/admin/letters/drawing/"):
        assert 'href="/admin/review/"' in staff["ann"].get(path).text
    assert 'href="/admin/review/"' not in staff["nobody"].get("/admin/").text


def test_reviewers_review_only(staff: dict[str, Reviewer]) -> None:
    """They see no runs and no policy, and can start, promote and change nothing."""
    ann = staff["ann"]
    for path in ("trainingrun/", "policy/1/change/", "modelversion/", "export/", "serving/"):
        assert ann.get(f"/admin/letters/{path}").status_code in (403, 404), path
    assert ann.get("/admin/letters/decision/").status_code == 200
    assert ann.get("/admin/letters/decision/add/").status_code == 403
    refused(ann.post("/api/v1/training-runs", json={"kind": "head"}), 403, "permission_denied")
    refused(ann.post("/api/v1/models/1/promote", json={"reason": "why not"}), 403, "permission_denied")
