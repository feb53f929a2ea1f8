"""What a visitor sees when a part of the site is down or slow, and that all goes on once it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import requests

from tests.faults.asking import PROMISED, predict, told
from tests.letters.visitor import CANVAS, Visitor, Z, refused
from tests.running import Site, wait_for

BODY = {"strokes": Z, "canvas": CANVAS}
QUEUE = "letterloop:inference"

pytestmark = pytest.mark.slow


@pytest.fixture
def visitor(frail_visitor: Callable[[], Visitor]) -> Visitor:
    return frail_visitor()


@pytest.fixture(autouse=True)
def _mended(frail_site: Site) -> Iterator[None]:
    """Whatever a test stops runs again after it."""
    frail_site.wait_until_ready()
    yield
    assert frail_site.redis
    for part in (frail_site.redis, frail_site.worker):
        if part.runs():
            part.resume()
        else:
            part.start()
    frail_site.wait_until_ready()


def told_in_time(visitor: Visitor, promised: float = PROMISED) -> None:
    """The 503 of a prediction: within the time promised, with the time to come again."""
    told(lambda: predict(visitor), "inference_unavailable", promised)


def is_told(site: Site, *names: str) -> None:
    """/readyz says without which parts no visitor can be served, and no other; what it knows may be a moment old."""

    def asked() -> bool:
        response = requests.get(site.base_url + "/readyz", timeout=60)
        value = response.json()
        down = {name for name, part in value["checks"].items() if part["state"] == "down"}
        return (response.status_code, value["ready"], down) == (503, False, set(names))

    wait_for(asked, f"/readyz says that {' and '.join(names)} is away", 60)


def lives(site: Site) -> bool:
    return requests.get(site.base_url + "/healthz", timeout=60).status_code == 200


def test_it_works(frail_site: Site) -> None:
    def ready() -> dict[str, Any] | None:
        value = requests.get(frail_site.base_url + "/readyz", timeout=60).json()
        return value if value["ready"] else None

    value = wait_for(ready, "both processes know it", 60)
    assert {value["checks"][name]["state"] for name in ("database", "broker", "model", "inference")} == {"ok"}


def test_the_worker_is_slow(frail_site: Site, visitor: Visitor) -> None:
    token = visitor.predict()["token"]
    frail_site.worker.pause()
    told_in_time(visitor)
    is_told(frail_site, "inference")
    assert lives(frail_site)
    kept = visitor.keep(token=token)  # who was answered before can keep the drawing now
    frail_site.worker.resume()
    frail_site.wait_until_ready()
    assert visitor.predict()["label"]
    assert visitor.see(kept["id"], kept["receipt"]).status_code == 200


def test_many_wait_for_a_slow_worker(frail_site: Site, visitor: Visitor) -> None:
    """Each thread of the web server waits for itself: nobody is told later because others wait as well."""
    visitor.predict()
    frail_site.worker.pause()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(told_in_time, [Visitor(frail_site, f"10.8.0.{number}") for number in range(8)]))


def test_a_prediction_that_nobody_waits_for_any_longer_holds_up_no_other(frail_site: Site, visitor: Visitor) -> None:
    frail_site.worker.pause()
    for _ in range(3):
        told_in_time(visitor)
    frail_site.worker.resume()
    frail_site.wait_until_ready()
    assert visitor.predict()["label"]


def test_where_nobody_reads_what_was_sent_no_thread_waits(frail_site: Site, visitor: Visitor) -> None:
    """More waits than anybody still waits for: the next are told at once, and send nothing."""
    assert visitor.predict()["label"]
    frail_site.worker.pause()
    told_in_time(visitor)  # what a paused worker had asked for goes to it
    told_in_time(visitor)
    with redis.Redis.from_url(frail_site.env["REDIS_URL"]) as client:
        waiting = client.lrange(QUEUE, 0, -1)
        client.lpush(QUEUE, *waiting[:1] * 60)
        told_in_time(visitor, 1)
        assert client.llen(QUEUE) == len(waiting) + 60
        frail_site.worker.resume()
        frail_site.wait_until_ready()
        assert visitor.predict()["label"]
        assert client.llen(QUEUE) == 0


def test_the_worker_is_killed(frail_site: Site, visitor: Visitor) -> None:
    kept = visitor.keep()
    frail_site.worker.kill()
    told_in_time(visitor)
    is_told(frail_site, "inference")
    assert lives(frail_site)
    frail_site.worker.start()
    frail_site.wait_until_ready()
    assert visitor.predict()["label"]
    assert visitor.see(kept["id"], kept["receipt"]).status_code == 200


def test_redis_is_down(frail_site: Site, visitor: Visitor) -> None:
    assert frail_site.redis
    token = visitor.predict()["token"]
    frail_site.redis.kill()
    told_in_time(visitor)
    is_told(frail_site, "broker", "inference")
    assert lives(frail_site)
    kept = visitor.keep(token=token)  # what needs no model goes on without Redis
    for page in ("/", "/samples", "/about", "/mine"):
        assert visitor.get(page).status_code == 200, page
    frail_site.redis.start()
    frail_site.wait_until_ready()
    assert visitor.predict()["label"]
    assert visitor.see(kept["id"], kept["receipt"]).status_code == 200


def test_redis_does_not_answer(frail_site: Site, visitor: Visitor) -> None:
    assert frail_site.redis
    visitor.predict()
    frail_site.redis.pause()
    told_in_time(visitor)
    is_told(frail_site, "broker", "inference")
    frail_site.redis.resume()
    frail_site.wait_until_ready()
    assert visitor.predict()["label"]


def test_the_web_process_is_killed(frail_site: Site, visitor: Visitor) -> None:
    """All that it knew is in the database, and in the cookie of the visitor."""
    kept = visitor.keep()
    frail_site.web.kill()
    wait_for(lambda: _refuses(frail_site), "the port is free")
    frail_site.web.start()
    frail_site.wait_until_ready()
    assert [each["id"] for each in visitor.get("/api/v1/drawings/mine").json()["drawings"]] == [kept["id"]]


def _refuses(site: Site) -> bool:
    try:
        requests.get(site.base_url + "/healthz", timeout=5)
    except requests.ConnectionError:
        return True
    return False


@pytest.fixture
def broken_table(frail_site: Site) -> Iterator[None]:
    """A database that answers, and lacks what every page asks it for."""
    frail_site.rows("ALTER TABLE letters_serving RENAME TO letters_serving_away")
    yield
    frail_site.rows("ALTER TABLE letters_serving_away RENAME TO letters_serving")


def test_a_fault_of_the_server_is_said_as_all_else_is(visitor: Visitor, broken_table: None) -> None:
    """A program gets JSON, a person a page that does not ask the database for what it lacks."""
    refused(visitor.post("/api/v1/predictions", json=BODY), 500, "server_error")
    page = visitor.get("/samples")
    assert page.status_code == 500
    assert "Something broke on my side" in page.text
    assert "letters_serving" not in page.text
