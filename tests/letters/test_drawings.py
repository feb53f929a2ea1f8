from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
import requests

from ml.preprocess import PREPROCESS_VERSION, image_from_strokes
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z, refused, scaled
from tests.running import Site, wait_for

THREADS = 20


def stored(site: Site, drawing_id: str) -> dict[str, Any]:
    """The row of a drawing."""
    (row,) = site.rows("SELECT * FROM letters_drawing WHERE id = %s", uuid.UUID(drawing_id))
    return row


def at_once(visitors: list[Visitor], ask: Callable[[Visitor, int], Any]) -> list[Any]:
    """What each visitor gets, all of them let loose together once all are connected."""
    barrier = Barrier(len(visitors))

    def run(number: int) -> Any:
        visitors[number].get("/healthz")
        barrier.wait()
        return ask(visitors[number], number)

    with ThreadPoolExecutor(len(visitors)) as pool:
        return list(pool.map(run, range(len(visitors))))


def test_it_works(site: Site, visitor: Visitor) -> None:
    before = site.count("drawing")
    kept = visitor.keep(character="z")
    assert site.count("drawing") == before + 1
    assert set(kept) == {"id", "character", "label", "state", "created_at", "receipt", "url"}
    assert (kept["character"], kept["label"], kept["state"]) == ("z", "Z", "pending")
    assert kept["url"] == f"/drawings/{kept['id']}#{kept['receipt']}"


def test_it_is_stored_exactly_as_it_was_drawn_and_typed(site: Site, visitor: Visitor) -> None:
    strokes = [[[60.125, 40.3, 0, 0.25], [140.1, 40.7, 16.6, 0.75]], [[140, 40], [60, 160], [140.9, 160.2]]]
    canvas = {"width": 360.5, "height": 412}
    answer = visitor.predict(strokes, canvas)
    row = stored(site, visitor.keep(strokes=strokes, canvas=canvas, character="q", token=answer["token"])["id"])
    assert (json.loads(row["strokes"]) if isinstance(row["strokes"], str) else row["strokes"]) == strokes
    assert (row["canvas_width"], row["canvas_height"]) == (360.5, 412)
    assert (row["character"], row["label"], row["state"], row["consent"]) == ("q", "q", "pending", "2")
    assert bytes(row["image"]) == image_from_strokes(strokes, (360.5, 412)).tobytes()
    assert row["preprocess"] == PREPROCESS_VERSION
    assert row["predicted"] == answer["label"]
    assert row["probability"] == pytest.approx(answer["probability"], abs=1e-6)
    (model,) = site.rows("SELECT number FROM letters_modelversion WHERE id = %s", row["model_id"])
    assert model["number"] == answer["model"]["version"]


@pytest.mark.parametrize(
    ("character", "label"), [("c", "C"), ("C", "C"), ("a", "a"), ("A", "A"), ("i", "I"), ("t", "t")]
)
def test_the_class_follows_from_the_letter(visitor: Visitor, character: str, label: str) -> None:
    kept = visitor.keep(character=character)
    assert (kept["character"], kept["label"]) == (character, label)


def test_the_receipt_shows_it(visitor: Visitor) -> None:
    answer = visitor.predict()
    kept = visitor.keep(token=answer["token"])
    seen = visitor.see(kept["id"], kept["receipt"])
    assert seen.status_code == 200
    assert seen.headers["Cache-Control"] == "no-store"
    value = seen.json()
    assert {name: value[name] for name in kept} == kept
    assert (value["strokes"], value["canvas"]) == (Z, CANVAS)
    assert (value["predicted"], value["model"], value["image"]) == (answer["label"], answer["model"], answer["image"])


def test_the_receipt_deletes_it(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep()
    gone = visitor.withdraw(kept["id"], kept["receipt"])
    assert (gone.status_code, gone.content) == (204, b"")
    assert site.rows("SELECT id FROM letters_drawing WHERE id = %s", uuid.UUID(kept["id"])) == []
    refused(visitor.see(kept["id"], kept["receipt"]), 404, "not_found")
    refused(visitor.withdraw(kept["id"], kept["receipt"]), 404, "not_found")


def test_a_withdrawal_waits_for_an_examination_that_is_being_noted(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep(strokes=scaled(Z, 0.7))
    pk = uuid.UUID(kept["id"])
    examination = "SELECT * FROM letters_examination WHERE drawing_id = %s"
    (row,) = wait_for(lambda: site.rows(examination, pk), "it is examined")
    site.rows("DELETE FROM letters_examination WHERE drawing_id = %s", pk)
    with ThreadPoolExecutor(1) as pool:
        with site.transaction() as change:
            change("UPDATE letters_drawing SET usefulness = 1 WHERE id = %s", pk)
            gone = pool.submit(visitor.withdraw, kept["id"], kept["receipt"])
            site.wait_for_a_lock()
            marks = ", ".join(["%s"] * len(row))
            change(
                f"INSERT INTO letters_examination ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
                *row.values(),
            )
        assert gone.result().status_code == 204
    assert site.rows(examination, pk) == []


def test_a_drawing_whose_original_is_being_withdrawn_is_kept(site: Site, visitor: Visitor) -> None:
    strokes = [[[52, 47], [91, 158], [163, 33]], [[30, 170], [44, 181]]]  # like nobody else's: it must be the original
    original = visitor.keep(strokes=strokes, character="v")
    pk = uuid.UUID(original["id"])
    wait_for(lambda: site.rows("SELECT 1 AS one FROM letters_examination WHERE drawing_id = %s", pk), "it is examined")
    token = visitor.predict(strokes)["token"]
    with ThreadPoolExecutor(1) as pool:
        with site.transaction() as change:
            change("DELETE FROM letters_examination WHERE drawing_id = %s", pk)
            change("DELETE FROM letters_drawing WHERE id = %s", pk)
            again = pool.submit(visitor.ask_to_keep, strokes=strokes, character="v", token=token, key="once-more")
            site.wait_for_a_lock()
        kept = again.result()
    assert kept.status_code == 201, kept.text
    assert stored(site, kept.json()["id"])["duplicate_of_id"] not in (pk, pk.hex)  # it may be like somebody else's


@pytest.mark.parametrize("do", [Visitor.see, Visitor.withdraw])
def test_a_wrong_receipt_tells_no_more_than_no_drawing(site: Site, visitor: Visitor, do: Callable[..., Any]) -> None:
    kept, other = visitor.keep(), visitor.keep(strokes=LETTERS["L"])
    missing = do(visitor, str(uuid.uuid4()), kept["receipt"])
    refused(missing, 404, "not_found")
    for receipt in (other["receipt"], kept["receipt"][:-1], kept["receipt"] + "x", "", "a:b", "\xe9"):
        wrong = do(visitor, kept["id"], receipt)
        assert (wrong.status_code, wrong.content) == (missing.status_code, missing.content)
    assert stored(site, kept["id"])


def test_mine_are_my_own_newest_first(site: Site, visitor: Visitor) -> None:
    mine = [visitor.keep(strokes=LETTERS[letter], character=letter) for letter in "LT"]
    with Visitor(site) as stranger:
        theirs = stranger.keep()
        assert [each["id"] for each in stranger.get("/api/v1/drawings/mine").json()["drawings"]] == [theirs["id"]]
    response = visitor.get("/api/v1/drawings/mine")
    assert response.headers["Cache-Control"] == "no-store"
    value = response.json()
    assert value["total"] == 2
    assert [each["id"] for each in value["drawings"]] == [each["id"] for each in reversed(mine)]
    first = value["drawings"][1]
    assert {name: first[name] for name in mine[0]} == mine[0]
    assert "strokes" not in first


def test_a_stranger_has_none(visitor: Visitor) -> None:
    assert visitor.get("/api/v1/drawings/mine").json() == {"drawings": [], "total": 0, "next": None, "key": None}


# --- The same again ------------------------------------------------------------------------------------------------


def test_the_same_key_again_stores_nothing_more(site: Site, visitor: Visitor) -> None:
    token, key = visitor.predict()["token"], uuid.uuid4().hex
    first = visitor.ask_to_keep(token=token, key=key)
    before = site.count("drawing")
    again = visitor.ask_to_keep(token=token, key=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert site.count("drawing") == before
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_same_key_at_once_from_twenty_threads_stores_one(site: Site, visitor: Visitor) -> None:
    def keep(each: Visitor, _: int, *, token: str, key: str) -> requests.Response:
        return each.ask_to_keep(token=token, key=key)

    crowd = [Visitor(site) for _ in range(THREADS)]
    for _ in range(4):  # a race that can be lost is not lost each time
        token, key, before = visitor.predict()["token"], uuid.uuid4().hex, site.count("drawing")
        answers = at_once(crowd, partial(keep, token=token, key=key))
        assert [each.status_code for each in answers] == [201] * THREADS
        assert len({each.content for each in answers}) == 1
        assert site.count("drawing") == before + 1
    for each in crowd:
        each.close()


def test_the_same_key_for_another_drawing_is_a_conflict(site: Site, visitor: Visitor) -> None:
    key = uuid.uuid4().hex
    token = visitor.predict()["token"]
    visitor.keep(token=token, key=key)
    before = site.count("drawing")
    refused(visitor.ask_to_keep(token=token, key=key, character="A"), 409, "idempotency_conflict")
    refused(visitor.ask_to_keep(strokes=scaled(Z, 0.5), key=key), 409, "idempotency_conflict")
    assert site.count("drawing") == before


def test_without_a_key_the_token_counts(site: Site, visitor: Visitor) -> None:
    token = visitor.predict()["token"]
    first, again = visitor.keep(token=token), visitor.keep(token=token)
    assert first == again
    assert visitor.keep(strokes=scaled(Z, 0.5))["id"] != first["id"]


def test_the_keys_of_two_visitors_have_nothing_to_do_with_each_other(site: Site, visitor: Visitor) -> None:
    key = uuid.uuid4().hex
    with Visitor(site) as other:
        assert visitor.keep(key=key)["id"] != other.keep(key=key, strokes=LETTERS["L"])["id"]


# --- The quota (five a day on the frail site) ------------------------------------------------------------------------


def test_the_quota_holds(frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    token = visitor.predict()["token"]
    kept = [visitor.keep(token=token, key=f"the-quota-{number}") for number in range(5)]
    over = visitor.ask_to_keep(token=token, key="the-quota-5")
    refused(over, 429, "quota_exceeded")
    assert 86_000 < int(over.headers["Retry-After"]) <= 86_401
    assert visitor.keep(token=token, key="the-quota-0") == kept[0]  # what was kept is answered as before
    assert frail_visitor().keep()


def test_twenty_threads_do_not_pass_the_quota(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    def keep(each: Visitor, number: int, *, token: str) -> int:
        return each.ask_to_keep(token=token, key=f"at-once-{number}").status_code

    crowd = [frail_visitor() for _ in range(THREADS)]
    for _ in range(2):
        token, before = frail_visitor().predict()["token"], frail_site.count("drawing")

        assert sorted(at_once(crowd, partial(keep, token=token))) == [201] * 5 + [429] * (THREADS - 5)
        assert frail_site.count("drawing") == before + 5
