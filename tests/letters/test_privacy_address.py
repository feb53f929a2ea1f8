"""No address is kept: neither in a table, nor in a file, a log, or Redis. A marked one is looked for everywhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from letters import reports
from letters.embedded import EmbeddedRedis
from tests.letters.visitor import Visitor
from tests.running import Site, running_site, wait_for

MARKED = "203.0.113.77"
MARKED_6 = "2001:db8:7b1d::5eed"
AGENT = "Marked-Agent/77.1"
REFERRER = "https://marked.example/from-77"
MARKS = (MARKED, MARKED_6, "2001:db8:7b1d", AGENT, REFERRER)
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def chatty_site() -> Iterator[Site]:
    """A site behind a proxy that writes a line for each request and each task."""
    env = {"PROXIES": "1", "LOG_REQUESTS": "on", "LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
    env |= {"THROTTLE_PREDICTIONS": "600/min", "THROTTLE_KEPT": "60/hour", "THROTTLE_CONTRIBUTORS": "60/hour"}
    with running_site(own_redis=True, processes=1, env=env) as started:
        yield started


@pytest.fixture(scope="module")
def traces(chatty_site: Site) -> list[str]:
    """All that a site holds after somebody did all that a visitor can, from addresses that would be known again."""
    for address in (MARKED, MARKED_6, f"{MARKED}:4711", f"[{MARKED_6}]:4711"):
        with Visitor(chatty_site, address) as somebody:
            somebody.headers.update({"User-Agent": AGENT, "Referer": REFERRER})
            act(somebody)
    wait_for(lambda: chatty_site.count("examination"), "something is examined")
    return [*in_tables(chatty_site), *in_files(chatty_site.folder), *in_redis(chatty_site)]


def act(somebody: Visitor) -> None:
    kept = somebody.keep()
    somebody.see(kept["id"], kept["receipt"])
    for path in ("/", "/mine", "/privacy", "/samples", "/model/", "/no-such-page", "/api/v1/drawings/mine"):
        somebody.get(path, headers=HTML)
    somebody.post("/api/v1/predictions", data=b"{not json", headers={"Content-Type": "application/json"})
    somebody.get(f"/samples/{kept['id']}/", headers=HTML)
    somebody.get("/admin/login/")
    form = {"username": "root", "password": "wrong", "csrfmiddlewaretoken": somebody.cookies["csrftoken"]}
    somebody.post("/admin/login/", data=form)
    somebody.get("/api/v1/drawings/mine/file")
    somebody.withdraw(kept["id"], kept["receipt"])
    somebody.keep()


def in_tables(site: Site) -> list[str]:
    """A word a table, with all that is in it."""
    listed = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if site.env["DATABASE_URL"].startswith("sqlite")
        else "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    names = [row["name"] for row in site.rows(listed)]
    assert "letters_drawing" in names
    found = {name: site.rows(f'SELECT * FROM "{name}"') for name in names}
    return [f"table {name}: {rows}" for name, rows in found.items()]


def in_files(folder: Path) -> list[str]:
    files = [each for each in folder.rglob("*") if each.is_file() and "static" not in each.parts]
    assert {"web.log", "worker.log"} <= {each.name for each in files}
    return [f"file {each}: {each.read_bytes().decode(errors='replace')}" for each in files]


def in_redis(site: Site) -> list[str]:
    with redis.Redis.from_url(site.env["REDIS_URL"]) as client:
        keys = [key.decode() for key in client.scan_iter("*")]
        assert any("quota" in key for key in keys)
        values = {key: client.dump(key) for key in keys}
    return [f"Redis {key}: {value!r}" for key, value in values.items()]


@pytest.mark.parametrize("mark", MARKS)
def test_it_works(traces: list[str], mark: str) -> None:
    assert [trace.partition(":")[0] for trace in traces if mark in trace] == []


def test_no_line_of_log_says_which_drawing_or_whose(chatty_site: Site, traces: list[str]) -> None:
    """Addresses of drawings are noted as their route, and nothing else names one."""
    ids = {
        uuid.UUID(str(row["id"]))
        for table in ("drawing", "withdrawal", "contributor")
        for row in chatty_site.rows(f"SELECT id FROM letters_{table}")
    }
    assert len(ids) >= 12
    logs = [each for each in traces if each.startswith("file") and ".log: " in each]
    assert any("drawings/<uuid:" in each for each in logs)
    assert [each for each in ids if any(str(each) in log or each.hex in log for log in logs)] == []


def test_the_redis_that_comes_along_writes_nothing_to_a_disk(tmp_path: Path) -> None:
    """What waits in a queue may be the picture of a drawing that nobody gave: when it ends all of that is gone."""
    with EmbeddedRedis(tmp_path / "redis") as started, redis.Redis.from_url(started.url) as client:
        client.lpush("inference", "a picture")
    left = {each.name: each.read_bytes() for each in (tmp_path / "redis").rglob("*") if each.is_file()}
    assert "redis.log" in left
    assert [name for name, content in left.items() if b"a picture" in content] == []


def test_who_reported_is_a_hash_that_only_this_site_can_make(settings: Any) -> None:
    """Else whoever has the table and an id could see whether it reported a letter."""
    reporter, drawing = uuid.uuid4(), uuid.uuid4()
    noted = reports._hash_of(reporter, drawing)
    assert reports._hash_of(reporter, uuid.uuid4()) != noted
    settings.SECRET_KEY = "another"
    assert reports._hash_of(reporter, drawing) != noted


def test_the_search_would_find_one(chatty_site: Site, traces: list[str]) -> None:
    """Something that is stored, as a control: the letter's fingerprint in a table, and a route in a log."""
    (row,) = chatty_site.rows("SELECT fingerprint FROM letters_drawing LIMIT 1")
    assert any(row["fingerprint"] in trace for trace in traces if trace.startswith("table letters_drawing"))
    assert any("api/v1/predictions" in trace for trace in traces if trace.startswith("file"))
    assert any("letterloop:quota" in trace for trace in traces if trace.startswith("Redis"))
