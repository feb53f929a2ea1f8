"""What somebody gave, in the API: page by page, as one file, from another device, and taken back."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import pytest
from django.core import signing
from django.test import Client
from PIL import Image

from letters import mine
from tests.letters.collected import a_drawing
from tests.letters.visitor import LETTERS, Visitor, Z, refused, scaled
from tests.running import Site

MINE = "/api/v1/drawings/mine"
REVIEW = """
import django; django.setup()
import uuid
from django.contrib.auth.models import User
from letters import review
from letters.models import Drawing
somebody, _ = User.objects.get_or_create(username="rita")
drawing = Drawing.objects.get(pk=uuid.UUID({pk!r}))
review.decide(
    reviewer=somebody, drawing_id=drawing.pk, revision=drawing.revision, judgement=review.Judgement({judgement})
)
"""


@pytest.fixture
def another(site: Site) -> Iterator[Callable[[], Visitor]]:
    """Makes more visitors."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Visitor(site))


def gave(visitor: Visitor, count: int) -> list[str]:
    """Ids of so many letters that somebody gave, the newest first, each kept anew though it be drawn as one before."""
    return [
        visitor.keep(strokes=scaled(LETTERS["LTVXZ"[at % 5]], 0.6 + at / 50), character="z", key=uuid.uuid4().hex)["id"]
        for at in range(count)
    ][::-1]


def confirmed(visitor: Visitor, **body: Any) -> Any:
    """The answer to a deletion that was asked about first."""
    told = visitor.get(f"{MINE}/deletion").json()
    return visitor.post(f"{MINE}/deletion", json={"confirm": told["confirm"]} | body)


def listed(visitor: Visitor, **headers: str) -> list[str]:
    return [each["id"] for each in visitor.get(MINE, headers=headers).json()["drawings"]]


# --- Page by page --------------------------------------------------------------------------------------------------


def test_it_works(visitor: Visitor) -> None:
    kept = visitor.keep(character="z")
    answer = visitor.get(MINE)
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["total"], body["next"]) == (1, None)
    (only,) = body["drawings"]
    assert {name: only[name] for name in kept} == kept
    told = {name: only[name] for name in ("letter", "state", "reason", "consent", "learned_by", "exports")}
    assert told == {
        "letter": "z",
        "state": "pending",
        "reason": "",
        "consent": "2",
        "learned_by": [],
        "exports": [],
    }


def test_whoever_gave_nothing_has_nothing(visitor: Visitor) -> None:
    assert visitor.get(MINE).json() == {"drawings": [], "total": 0, "next": None, "key": None}


def test_pages_are_joined_without_a_gap_though_letters_come_and_go(visitor: Visitor) -> None:
    ids = gave(visitor, 7)
    first = visitor.get(MINE, params={"limit": 3}).json()
    assert ([each["id"] for each in first["drawings"]], first["total"]) == (ids[:3], 7)
    (newer,) = gave(visitor, 1)
    assert confirmed(visitor, drawings=[ids[2], ids[3]]).json()["deleted"] == 2
    second = visitor.get(MINE, params={"limit": 3, "cursor": first["next"]}).json()
    assert [each["id"] for each in second["drawings"]] == ids[4:7]
    assert second["next"] is None
    assert listed(visitor) == [newer, *ids[:2], *ids[4:]]


@pytest.mark.parametrize("cursor", ["x", "====", "AAAA", "A" * 64, "f" + "_" * 31])
def test_a_cursor_that_is_none_of_ours_is_refused(visitor: Visitor, cursor: str) -> None:
    visitor.keep()
    refused(visitor.get(MINE, params={"cursor": cursor}), 400, "bad_cursor", "cursor")


@pytest.mark.parametrize("limit", ["0", "201", "many"])
def test_a_page_has_a_size(visitor: Visitor, limit: str) -> None:
    refused(visitor.get(MINE, params={"limit": limit}), 400, "invalid", "limit")


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        ("'reject', reason='unreadable'", {"state": "rejected", "reason": "unreadable", "letter": "z"}),
        ("'relabel', character='x'", {"state": "approved", "reason": "", "letter": "x"}),
    ],
)
def test_what_a_reviewer_decided_is_told(
    site: Site, visitor: Visitor, judgement: str, expected: dict[str, str]
) -> None:
    kept = visitor.keep(character="z")
    site.python(REVIEW.format(pk=kept["id"], judgement=judgement))
    (only,) = visitor.get(MINE).json()["drawings"]
    assert {name: only[name] for name in expected} == expected


# --- As one file ---------------------------------------------------------------------------------------------------


def test_all_that_is_held_comes_in_one_file(site: Site, visitor: Visitor) -> None:
    strokes = [[[60.5, 40, 0, 0.25], [140, 40, 16, 0.5]], [[140, 40], [60, 160], [140, 160]]]
    kept = visitor.keep(strokes=strokes, character="z")
    ids = [*gave(visitor, 3), kept["id"]]
    answer = visitor.get(f"{MINE}/file")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="my-letters-')
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        value = json.loads(archive.read("drawings.json"))
        assert [each["id"] for each in value["drawings"]] == ids
        own = value["drawings"][-1]
        assert (own["strokes"], own["canvas"]) == (strokes, {"width": 200, "height": 200})
        assert (own["character"], own["state"], own["consent"]) == ("z", "pending", "2")
        assert own["receipt"] == site.base_url + kept["url"]
        (row,) = site.rows("SELECT * FROM letters_drawing WHERE id = %s", uuid.UUID(kept["id"]))
        assert value["contributor"]["id"] == str(uuid.UUID(str(row["contributor_id"])))
        images = [name for name in archive.namelist() if name.startswith("images/")]
        assert images == [each["image"] for each in value["drawings"]]
        assert Image.open(archive.open(own["image"])).tobytes() == bytes(row["image"])
        assert site.base_url in archive.read("README.txt").decode()
        sheet = archive.read("DATASHEET.md").decode()
        assert sheet.startswith("# Your letters\n\n4 drawings")
        assert "to be published" in sheet  # the words that were agreed to
        assert set(own) - set(sheet.replace("`", " ").replace(",", " ").split()) == set()


def test_there_is_no_file_of_nothing(visitor: Visitor) -> None:
    refused(visitor.get(f"{MINE}/file"), 404, "not_found")


@pytest.mark.django_db
def test_a_network_may_have_so_many_in_an_hour(settings: Any, client: Client) -> None:
    """Each takes a thread of a web process as long as its download lasts."""
    settings.QUOTAS = settings.QUOTAS | {"files": (2, 3600)}
    settings.PROXIES = 1
    key = mine.key_of(a_drawing("Z").contributor_id)
    network = ".".join(["10", *(str(uuid.uuid4().bytes[at]) for at in range(3))])
    headers = {"X-Mine": key, "X-Forwarded-For": network}
    answers = [client.get(f"{MINE}/file", headers=headers) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert client.get(MINE, headers=headers).status_code == 200


# --- From another device -------------------------------------------------------------------------------------------


def test_the_secret_shows_them_elsewhere_and_makes_nobody_their_contributor(
    visitor: Visitor, another: Callable[[], Visitor]
) -> None:
    """Else a link could make somebody draw under a stranger's eyes."""
    theirs = gave(visitor, 2)
    key = visitor.get(MINE).json()["key"]
    phone = another()
    assert listed(phone, **{"X-Mine": key}) == theirs
    assert not phone.cookies
    assert zipfile.ZipFile(io.BytesIO(phone.get(f"{MINE}/file", headers={"X-Mine": key}).content)).testzip() is None
    own = phone.keep()["id"]
    assert listed(phone, **{"X-Mine": key}) == theirs
    assert listed(phone) == [own]
    assert listed(visitor) == theirs


def test_the_secret_deletes_them_elsewhere(visitor: Visitor, another: Callable[[], Visitor]) -> None:
    gave(visitor, 2)
    phone = another()
    own = phone.keep()["id"]
    phone.headers["X-Mine"] = visitor.get(MINE).json()["key"]
    assert confirmed(phone, everything=True).json() == {"deleted": 2, "left": 0, "forgotten": True}
    del phone.headers["X-Mine"]
    assert listed(phone) == [own]  # whose cookie stays
    assert listed(visitor) == []


@pytest.mark.parametrize(
    "spoil", [lambda key: key[:-1], lambda key: uuid.uuid4().hex + key[32:], lambda key: "", str.upper]
)
def test_another_secret_opens_nothing(visitor: Visitor, spoil: Callable[[str], str]) -> None:
    visitor.keep()
    key = spoil(visitor.get(MINE).json()["key"])
    for path in (MINE, f"{MINE}/file", f"{MINE}/deletion"):
        refused(visitor.get(path, headers={"X-Mine": key}), 404, "not_found")


# --- Taken back ----------------------------------------------------------------------------------------------------


def test_some_are_deleted(site: Site, visitor: Visitor) -> None:
    ids = gave(visitor, 4)
    assert confirmed(visitor, drawings=ids[1:3]).json() == {"deleted": 2, "left": 0, "forgotten": False}
    assert listed(visitor) == [ids[0], ids[3]]
    assert confirmed(visitor, drawings=ids[1:3]).json()["deleted"] == 0


def test_everything_is_deleted(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep()
    (row,) = site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(kept["id"]))
    gave(visitor, 2)
    answer = confirmed(visitor, everything=True)
    assert answer.json() == {"deleted": 3, "left": 0, "forgotten": True}
    assert "letterloop_contributor" not in visitor.cookies
    owner = uuid.UUID(str(row["contributor_id"]))
    assert site.rows("SELECT id FROM letters_contributor WHERE id = %s", owner) == []
    assert site.rows("SELECT id FROM letters_drawing WHERE contributor_id = %s", owner) == []
    refused(visitor.see(kept["id"], kept["receipt"]), 404, "not_found")
    again = visitor.keep()
    (fresh,) = site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(again["id"]))
    assert uuid.UUID(str(fresh["contributor_id"])) != owner


def test_everything_is_deleted_once_by_two_at_once(site: Site, visitor: Visitor) -> None:
    gave(visitor, 30)
    body = {"confirm": visitor.get(f"{MINE}/deletion").json()["confirm"], "everything": True}
    cookies, together = visitor.cookies.get_dict(), Barrier(2)

    def delete(_: int) -> Any:
        with Visitor(site) as tab:
            tab.get("/healthz")
            together.wait()
            return tab.post(f"{MINE}/deletion", json=body, cookies=cookies)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(delete, range(2)))
    assert [each.status_code for each in answers] == [200, 200], [each.text for each in answers]
    assert sum(each.json()["deleted"] for each in answers) == 30
    assert listed(visitor) == []


def test_it_is_said_beforehand_what_it_means(visitor: Visitor) -> None:
    gave(visitor, 2)
    answer = visitor.get(f"{MINE}/deletion")
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert {name: body[name] for name in ("drawings", "models", "serving", "exports")} == {
        "drawings": 2,
        "models": [],
        "serving": None,
        "exports": 0,
    }


def test_nobody_deletes_what_is_anothers(visitor: Visitor, another: Callable[[], Visitor]) -> None:
    theirs = gave(visitor, 2)
    stranger = another()
    stranger.keep()
    assert confirmed(stranger, drawings=theirs).json()["deleted"] == 0
    told = stranger.get(f"{MINE}/deletion").json()
    body = {"confirm": told["confirm"], "everything": True}
    refused(visitor.post(f"{MINE}/deletion", json=body), 403, "not_confirmed", "confirm")  # asked for another one
    assert listed(visitor) == theirs


def test_another_sites_page_deletes_nothing(site: Site, visitor: Visitor) -> None:
    """What such a page can send with a visitor's cookie: forms, and what looks like one. It cannot read `confirm`."""
    theirs = gave(visitor, 1)
    path, foreign = f"{MINE}/deletion", {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    refused(visitor.post(path, json={"everything": True}, headers=foreign), 400, "invalid", "confirm")
    refused(
        visitor.post(path, json={"everything": True, "confirm": "x"}, headers=foreign), 403, "not_confirmed", "confirm"
    )
    told = visitor.get(path).json()["confirm"]
    form = visitor.post(path, data={"everything": "true", "confirm": told}, headers=foreign)
    refused(form, 415, "unsupported_media_type")
    text = json.dumps({"everything": True, "confirm": told})
    refused(
        visitor.post(path, data=text, headers=foreign | {"Content-Type": "text/plain"}), 415, "unsupported_media_type"
    )
    assert visitor.get(path, headers=foreign).headers.get("Access-Control-Allow-Origin") is None
    assert visitor.options(path, headers=foreign).headers.get("Access-Control-Allow-Origin") is None
    assert listed(visitor) == theirs
    cookie = next(each for each in visitor.cookies if each.name == "letterloop_contributor")
    assert {name.lower(): value for name, value in cookie._rest.items()} == {"httponly": None, "samesite": "Lax"}


def test_an_old_answer_deletes_nothing(site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = visitor.keep()
    (row,) = site.rows("SELECT contributor_id FROM letters_drawing WHERE id = %s", uuid.UUID(kept["id"]))
    owner = uuid.UUID(str(row["contributor_id"]))
    signer = signing.TimestampSigner(key=site.secret_key, salt="letterloop.confirm")
    body = {"confirm": signer.sign(owner.hex), "everything": True}
    monkeypatch.setattr(signer, "timestamp", lambda: signing.b62_encode(int(time.time()) - 601))
    old = {"confirm": signer.sign(owner.hex), "everything": True}
    refused(visitor.post(f"{MINE}/deletion", json=old), 403, "not_confirmed", "confirm")
    assert visitor.post(f"{MINE}/deletion", json=body).json()["deleted"] == 1


@pytest.mark.parametrize("body", [{}, {"everything": False}, {"drawings": [str(uuid.UUID(int=1))], "everything": True}])
def test_what_is_to_be_deleted_must_be_said(visitor: Visitor, body: dict[str, Any]) -> None:
    visitor.keep(strokes=Z)
    refused(confirmed(visitor, **body), 400, "invalid")
    assert len(listed(visitor)) == 1
