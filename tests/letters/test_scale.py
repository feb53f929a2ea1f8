"""A site with very many drawings: what is counted, sampled and paged, and that no request reads a table whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.test import Client
from django.utils import timezone

from letters import census, map_sample, snapshots
from letters.models import Census, Contributor, Decision, Drawing
from ml.labels import CLASS_COUNT
from tests.faults.servers import own_postgres, postgres_programs
from tests.letters.reviewing import a_contributor, a_reviewer, make_drawing
from tests.letters.visitor import LETTERS
from tests.running import ROOT

LIST = "/admin/letters/drawing/"


def copies(drawing: Drawing, count: int, **fields: Any) -> list[Drawing]:
    """So many more like one, each a minute older than the one before, unless `fields` say otherwise."""
    made = []
    for number in range(1, count + 1):
        values = {field.attname: getattr(drawing, field.attname) for field in Drawing._meta.concrete_fields} | fields
        del values["id"]
        made.append(Drawing(**values | {"idempotency_key": f"{drawing.pk}{number}{len(fields)}"}))
    Drawing.objects.bulk_create(made)
    for number, each in enumerate(made, start=1):
        Drawing.objects.filter(pk=each.pk).update(created_at=drawing.created_at - timedelta(minutes=number))
    return made


# --- The lists of the admin ----------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client, db: None, settings: Any) -> Client:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # nothing is collected here
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    client.force_login(a_reviewer("ann", "maintainers", "reviewers"))
    return client


def ids_on(staff: Client, address: str) -> tuple[list[str], dict[str, str]]:
    """Ids of the drawings on a page, in order, and its ways to others by their words."""
    page = staff.get(address).content.decode()
    ways = re.findall(r'<a href="([^"]+)"[^>]*>(Newest|Newer|Older)</a>', page)
    ids = re.findall(r'name="_selected_action" value="([0-9a-f-]{36})"', page)
    return ids, {words: LIST + query.replace("&amp;", "&") for query, words in ways}


@pytest.fixture
def many(db: None) -> list[str]:
    """Ids of 120 drawings, the newest first; some are of the same moment."""
    first = make_drawing()
    made = copies(first, 119)
    same = first.created_at - timedelta(minutes=50)
    Drawing.objects.filter(pk__in=[each.pk for each in made[40:60]]).update(created_at=same)
    return [str(pk) for pk in Drawing.objects.values_list("pk", flat=True)]


def test_it_works(staff: Client, many: list[str]) -> None:
    """Page after page each drawing comes once, and the way back leads over the same pages."""
    pages, ways = [], {"Older": LIST}
    while "Older" in ways:
        ids, ways = ids_on(staff, ways["Older"])
        pages.append(ids)
    assert [len(each) for each in pages] == [50, 50, 20]
    assert [pk for page in pages for pk in page] == many
    back, ways = ids_on(staff, ways["Newer"])
    assert back == pages[1]
    first, ways = ids_on(staff, ways["Newer"])
    assert (first, sorted(ways)) == (pages[0], ["Older"])


def test_pages_of_a_filter(staff: Client, many: list[str]) -> None:
    Drawing.objects.filter(pk__in=many[::2]).update(state="approved")
    ids, ways = ids_on(staff, LIST + "?state__exact=approved")
    older, _ = ids_on(staff, ways["Older"])
    assert ids + older == many[::2]


@pytest.mark.parametrize("place", ["2", "older", "older.1.x", "newer..", "-1"])
def test_a_page_that_there_is_not(staff: Client, many: list[str], place: str) -> None:
    ids, ways = ids_on(staff, f"{LIST}?p={place}")
    assert (ids, list(ways)) == (many[:50], ["Older"])


def test_what_is_new_comes_before_the_page_that_is_open(staff: Client, many: list[str]) -> None:
    _, ways = ids_on(staff, LIST)
    second = ids_on(staff, ways["Older"])
    make_drawing()
    assert ids_on(staff, ways["Older"]) == second


def test_a_page_of_what_is_gone(staff: Client, many: list[str]) -> None:
    _, ways = ids_on(staff, LIST)
    Drawing.objects.filter(pk__in=many[50:]).delete()
    ids, ways = ids_on(staff, ways["Older"])
    assert (ids, list(ways)) == ([], ["Newest"])
    assert ids_on(staff, ways["Newest"])[0] == many[:50]


def test_an_action_is_about_what_was_seen(staff: Client, many: list[str]) -> None:
    form = {"action": "approve", "_selected_action": many[:3], "select_across": "1", "index": "0"}
    assert staff.post(LIST, form).status_code == 302
    assert Drawing.objects.filter(state="approved").count() == 3


def test_found_by_how_an_id_begins(staff: Client, db: None) -> None:
    mine, other = make_drawing(), make_drawing(LETTERS["L"], "L")
    for words, found in (
        (str(mine.pk), [mine]),
        (str(mine.pk)[:8], [mine]),
        (mine.pk.hex[:13].upper(), [mine]),
        (str(other.contributor_id)[:13], [other]),
        ("l", []),
        ("L", [other]),
        ("not an id", []),
        ("abc", []),
        ("f" * 33, []),
        ("  ", [other, mine]),
    ):
        assert ids_on(staff, f"{LIST}?q={words}")[0] == [str(each.pk) for each in found], words


def test_decisions_and_contributors_are_paged_too(staff: Client, many: list[str]) -> None:
    ann = a_reviewer("bob")
    Decision.objects.bulk_create(
        Decision(
            drawing_id=pk, reviewer=ann, actor="bob", action="approve", old_state="pending", new_state="approved",
            old_label="Z", new_label="Z", old_character="Z", new_character="Z",
        )
        for pk in many[:60]
    )  # fmt: skip
    Contributor.objects.bulk_create(Contributor(id=pk, held_out=False) for pk in many[:60])
    for address in ("decision/?q=bob", "contributor/"):
        page = staff.get("/admin/letters/" + address).content.decode()
        assert page.count("<tr><") == 50, address
        assert ">Older</a>" in page
    assert "0 decisions here" in staff.get("/admin/letters/decision/?q=bo").content.decode()


# --- What is counted -----------------------------------------------------------------------------------------------


@pytest.fixture
def counted(db: None) -> dict[str, int]:
    """Some of each kind; how many of each there are."""
    judge, muted = a_contributor(held_out=True), a_contributor()
    Contributor.objects.filter(pk=muted.pk).update(muted_at=timezone.now())
    copies(make_drawing(state="approved", consent="2"), 4)
    copies(make_drawing(LETTERS["L"], "L", state="approved", consent="2", contributor=judge), 2)
    copies(make_drawing(LETTERS["T"], "T", state="approved", consent="1", contributor=muted), 1)
    make_drawing(state="rejected", consent="2")
    make_drawing(consent="2")
    return {"collected": 11, "contributors": 5, "learnable": 7, "judging": 3, "withheld": 2, "publishable": 8}


def counts() -> dict[str, int]:
    approved = Drawing.objects.filter(state="approved")
    return {
        "collected": census.collected(),
        "contributors": census.contributors(),
        "learnable": census.learnable(snapshots.learnable()),
        "judging": census.judging(snapshots.judging()),
        "withheld": census.withheld(("approved",)),
        "publishable": census.publishable(approved.filter(consent="2"), ("approved",)),
    }


def by_label() -> dict[str, int]:
    return census.public_by_label(Drawing.objects.filter(state="approved", contributor__muted_at=None))


def test_few_are_counted_at_once(counted: dict[str, int]) -> None:
    assert not census.is_due()
    assert (counts(), by_label()) == (counted, {"Z": 5, "L": 3})
    make_drawing()
    assert census.collected() == counted["collected"] + 1


def test_many_are_counted_ahead(counted: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "LIMIT", 9)
    assert census.is_due()
    census.count()
    assert not census.is_due()
    assert (counts(), by_label()) == (counted, {"Z": 5, "L": 3})
    make_drawing()
    assert counts() == counted  # as of the last count
    Census.objects.update(counted_at=timezone.now() - timedelta(seconds=61), seconds=0)
    assert census.is_due()
    census.count()
    assert census.collected() == counted["collected"] + 1


def test_a_count_that_takes_long_comes_seldom(counted: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "LIMIT", 9)
    census.count()
    Census.objects.update(counted_at=timezone.now() - timedelta(seconds=500), seconds=3)
    assert not census.is_due()
    Census.objects.update(seconds=2)
    assert census.is_due()


def test_that_there_are_few_again_is_seen(counted: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "LIMIT", 9)
    census.count()
    Drawing.objects.filter(state="approved").delete()
    Census.objects.update(counted_at=timezone.now() - timedelta(seconds=61), seconds=0)
    assert census.is_due()
    census.count()
    assert census.collected() == 1
    make_drawing()
    assert census.collected() == 2


# --- What is sampled -----------------------------------------------------------------------------------------------


def test_a_retraining_learns_from_a_sample(db: None, settings: Any) -> None:
    """Of each class those approved last, and others by chance, the same ones each time; nobody who is held out."""
    settings.LEARNED_PER_CLASS = 10
    made = copies(make_drawing(state="approved"), 40)
    few = copies(make_drawing(LETTERS["L"], "L", state="approved"), 3)
    judge = copies(make_drawing(state="approved", contributor=a_contributor(held_out=True)), 5)
    Drawing.objects.filter(pk__in=[each.pk for each in judge]).update(state_since=timezone.now())
    lately = sorted(made, key=lambda each: each.pk)[20:25]  # neither the first by their ids nor the last
    for each in lately:
        Drawing.objects.filter(pk=each.pk).update(state_since=timezone.now())
    taken = snapshots.Snapshot.take()
    assert taken.counts == {"L": 4, "Z": 10}
    assert {each.pk for each in lately} < set(taken.ids)
    assert {each.pk for each in few} < set(taken.ids)
    assert not {each.pk for each in judge} & set(taken.ids)
    assert taken == snapshots.Snapshot.take()
    first = Drawing.objects.filter(label="Z", contributor__held_out=False).order_by("pk")
    assert set(first.values_list("pk", flat=True)[:5]) < set(taken.ids)


def test_few_judge(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "JUDGING_PER_CLASS", 3)
    judge = a_contributor(held_out=True)
    copies(make_drawing(state="approved", contributor=judge), 5)
    copies(make_drawing(LETTERS["L"], "L", state="approved", contributor=judge), 1)
    copies(make_drawing(state="approved"), 5)
    assert Counter(snapshots.holdout().labels.tolist()) == {11: 2, 25: 3}


def test_maps_show_a_sample(db: None, settings: Any) -> None:
    """Of each class half of those approved last, half by chance."""
    settings.MAP_COLLECTED = 2 * CLASS_COUNT
    few = copies(make_drawing(state="approved"), 2 * CLASS_COUNT - 1)
    assert map_sample.shown_ids() == set(Drawing.objects.values_list("pk", flat=True))
    new = make_drawing(state="approved")
    copies(make_drawing(LETTERS["L"], "L"), 5)
    first = Drawing.objects.filter(label="Z").order_by("pk")[0]
    assert map_sample.shown_ids() == {new.pk, first.pk}
    Drawing.objects.filter(pk=few[0].pk).update(state_since=timezone.now())
    assert map_sample.shown_ids() == {few[0].pk, first.pk}


# --- What the database does ----------------------------------------------------------------------------------------

ROWS = 20_000


@contextmanager
def empty_database(folder: Path) -> Iterator[str]:
    """In the PostgreSQL that is configured, else in one of our own."""
    configured = os.environ.get("DATABASE_URL", "")
    if not configured.startswith("postgres"):
        with own_postgres(folder / "postgres") as server:
            yield server.url
        return
    name = f"letterloop_scale_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(configured, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlsplit(configured)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """By page, route and step: what PostgreSQL does for it on a site with some thousand drawings."""
    folder = tmp_path_factory.mktemp("scale")
    output = folder / "plans.json"
    with empty_database(folder) as url:
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "DATABASE_URL": url,
            "VAR_DIR": str(folder / "var"),
            "SECRET_KEY": "s" * 50,
            "LOG_LEVEL": "ERROR",
            # a twentieth of what they are, as the drawings are of those of a large site
            "MAP_COLLECTED": "500",
            "LEARNED_PER_CLASS": "100",
        }
        with psycopg.connect(url, autocommit=True) as connection:  # as docs/scale.md has it: no disk turns any more
            connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET random_page_cost = 1.1".encode())
        for module, *options in (
            ("benchmarks.scale", "--drawings", str(ROWS)),
            ("benchmarks.scale_pages", "--plans", "--output", str(output)),
        ):
            command = [sys.executable, "-m", module, *options]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
        yield json.loads(output.read_text())


needs_postgres = pytest.mark.skipif(
    postgres_programs() is None and not os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="neither DATABASE_URL nor this machine has a PostgreSQL",
)


@needs_postgres
def test_no_request_reads_a_table_whole(plans: dict[str, Any]) -> None:
    """But that of the contributors, who are few here, and the points of maps, which are all those of the maps shown;
    and the held-out drawings that judge, up to 200 a class, are so large a part of these few thousand that PostgreSQL
    may rather read all."""
    assert len(plans) > 100
    few = {"letters_contributor", "letters_mappoint"}
    whole = {name: set(case["whole"]) - few for name, case in plans.items() if name != "held-out drawings"}
    assert {name: tables for name, tables in whole.items() if tables} == {}


@needs_postgres
def test_no_query_reads_much(plans: dict[str, Any]) -> None:
    """While somebody waits: of drawings, of which there are four times as many."""
    waited_for = {name: case for name, case in plans.items() if name.startswith(("page", "API", "admin", "queue"))}
    assert len(waited_for) > 90
    counted = ("API maps", "API maps/pca", "admin maps")  # a map's points, once in a while in each process
    waited_for = {name: case for name, case in waited_for.items() if name not in counted}
    assert {name: case["rows"] for name, case in waited_for.items() if case["rows"] > ROWS / 4} == {}


@needs_postgres
def test_no_request_asks_often(plans: dict[str, Any]) -> None:
    """Not once for each row: a page of samples asks for each class, and a snapshot twice."""
    assert {name: case["queries"] for name, case in plans.items() if case["queries"] > 2 * CLASS_COUNT + 15} == {}
