"""How a site says that it is well or not, what it counts, and what it writes of a request: on one real site."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from tests.letters.training import WATCH, Maintainer
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z
from tests.letters.watching import BEARER, TOKEN, lines, lines_of, number, numbers, ready
from tests.running import Site, running_site, wait_for

BOUND = 4.5  # seconds in which /readyz answers, whatever hangs
UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
NEEDED = {"database", "broker", "model", "inference"}
PARTS = {*NEEDED, "storage", "queues", "workers", "trainers", "beat", "watch"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched_site() -> Iterator[Site]:
    """A site whose parts a test may break and must mend, with a proxy before it that names requests."""
    env = {
        "METRICS_TOKEN": TOKEN,
        "LOG_FORMAT": "json",
        "LOG_REQUESTS": "1",
        "PROXIES": "1",
        "QUEUE_LIMITS": "maps=1000,exports=2000",
    }
    with running_site(own_redis=True, processes=1, env=env) as started:
        yield started


@pytest.fixture
def somebody(watched_site: Site) -> Iterator[Visitor]:
    with Visitor(watched_site, "203.0.113.77") as visitor:
        yield visitor


# --- Health ---------------------------------------------------------------------------------------------------------


def test_it_works(watched_site: Site) -> None:
    """Each part apart, with its time; why only for those who may know."""
    wait_for(lambda: ready(watched_site)["checks"]["workers"]["state"] == "ok", "the worker is heard")
    value = wait_for(lambda: _served(watched_site), "visitors are served")
    assert value["ready"] is True
    assert set(value["checks"]) == PARTS
    assert all(set(part) == {"state", "milliseconds"} for part in ready(watched_site)["checks"].values())

    def well() -> bool:
        """What a test before this one took away may be missed for a moment more."""
        checks = ready(watched_site)["checks"]
        return {name for name, part in checks.items() if part["state"] == "ok"} >= NEEDED | {"storage", "queues"}

    wait_for(well, "all that visitors need is well")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_a_stranger_learns_no_detail(watched_site: Site, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    assert all("detail" not in part for part in ready(watched_site, headers)["checks"].values())
    refused = requests.get(watched_site.base_url + "/metrics", headers=headers, timeout=30)
    assert (refused.status_code, "letterloop_" in refused.text) == (401, False)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_who_watches_learns_why(watched_site: Site) -> None:
    """The token of who watches, and the session of staff; not that of somebody who is none."""
    assert all(part["detail"] for part in ready(watched_site, BEARER)["checks"].values())
    heard = re.compile(r"worker@\S+:\d+: up \d+ s, heard \d+ s ago, at work \d+ s ago")
    wait_for(lambda: heard.fullmatch(ready(watched_site, BEARER)["checks"]["workers"]["detail"]), "it is at work")
    with Maintainer(watched_site) as staff:
        assert all(part["detail"] for part in staff.get("/readyz").json()["checks"].values())
        assert "letterloop_serving_version 1.0" in staff.get("/metrics").text


def test_no_beat_and_no_trainer_degrade_it(watched_site: Site) -> None:
    """Visitors are served without: 200, and it is said. Once beat runs it is heard."""
    value = wait_for(lambda: _served(watched_site), "visitors are served")
    assert value["state"] == "degraded"
    assert value["checks"]["trainers"]["state"] == value["checks"]["beat"]["state"] == "degraded"
    assert "none was heard" in value["checks"]["beat"]["detail"]
    watched_site.beat.start()
    try:
        wait_for(lambda: ready(watched_site)["checks"]["beat"]["state"] == "ok", "beat is heard")
    finally:
        watched_site.beat.kill()


def test_a_queue_over_its_limit_degrades_it(watched_site: Site) -> None:
    """It is said which; the others are told with their limits too."""
    with redis.Redis.from_url(watched_site.env["REDIS_URL"]) as broker:
        broker.rpush("letterloop:exports", *["{}"] * 2001)
        try:
            value = wait_for(lambda: _degraded(watched_site, "queues"), "the queue is seen")
        finally:
            broker.ltrim("letterloop:exports", 0, -2002)  # what others sent meanwhile stands on the left
    assert value["status"] == 200
    assert "over the limit: exports" in value["checks"]["queues"]["detail"]
    assert re.search(r"inference \d of 50", value["checks"]["queues"]["detail"])


def _served(site: Site) -> dict[str, Any] | None:
    """What is said where a visitor can be served: by a machine that is very busy, not each time."""
    value = ready(site, BEARER)
    return value if value["status"] == 200 else None


def _degraded(site: Site, part: str) -> dict[str, Any] | None:
    value = ready(site, BEARER)
    return value if value["checks"][part]["state"] == "degraded" else None


def test_storage_without_the_model_degrades_it(watched_site: Site) -> None:
    """The workers have theirs: visitors are served, and somebody should look."""
    media = watched_site.folder / "media"
    away = media.rename(watched_site.folder / "away")
    try:
        value = wait_for(lambda: _degraded(watched_site, "storage"), "the loss is seen")
    finally:
        away.rename(media)
    assert value["status"] == 200
    assert "lacks the model" in value["checks"]["storage"]["detail"]


def test_a_redis_that_hangs_holds_nobody(watched_site: Site) -> None:
    """Every part is told within a bound, and those that need no Redis are well."""
    assert watched_site.redis
    watched_site.redis.pause()
    try:
        value = wait_for(lambda: _unready_in_time(watched_site), "it is seen")
        began = time.monotonic()
        assert number(watched_site, "letterloop_part_up", part="broker") == 0
        assert number(watched_site, "letterloop_part_up", part="database") == 1
        assert time.monotonic() - began < 10 * BOUND
    finally:
        watched_site.redis.resume()
    assert value["status"] == 503
    assert value["checks"]["database"]["state"] == value["checks"]["storage"]["state"] == "ok"
    watched_site.wait_until_ready()


def _unready_in_time(site: Site) -> dict[str, Any] | None:
    began = time.monotonic()
    value = ready(site, BEARER)
    in_time = time.monotonic() - began < BOUND
    return value if in_time and _down(value) == {"broker", "inference"} else None


def _down(value: dict[str, Any]) -> set[str]:
    return {name for name, part in value["checks"].items() if part["state"] == "down"}


def test_a_worker_that_hangs_is_missed(watched_site: Site) -> None:
    """That one does not answer is seen at once, however well it was a moment ago."""
    watched_site.worker.pause()
    try:
        value = wait_for(lambda: _unready(watched_site), "it is missed")
    finally:
        watched_site.worker.resume()
    assert value["status"] == 503
    watched_site.wait_until_ready()


def _unready(site: Site) -> dict[str, Any] | None:
    value = ready(site)
    return value if _down(value) == {"inference"} else None


# --- Numbers ---------------------------------------------------------------------------------------------------------


def test_what_visitors_do_is_counted(watched_site: Site, somebody: Visitor) -> None:
    """By all processes together, seconds later; a drawing that is named otherwise than it is read is corrected."""
    before = numbers(watched_site)
    token = somebody.predict()["token"]
    somebody.keep(token=token, character="z")
    somebody.keep(strokes=LETTERS["L"], character="q")
    somebody.get("/drawings/00000000-0000-4000-8000-000000000000")
    somebody.get("/nowhere/00000000-0000-4000-8000-000000000000")
    expected = {
        ("letterloop_requests_total", (("method", "POST"), ("route", "api/v1/predictions"), ("status", "200"))): 2,
        ("letterloop_requests_total", (("method", "POST"), ("route", "api/v1/drawings"), ("status", "201"))): 2,
        ("letterloop_requests_total", (("method", "GET"), ("route", "(no address of ours)"), ("status", "404"))): 1,
        ("letterloop_request_seconds_count", (("route", "api/v1/predictions"),)): 2,
        ("letterloop_predictions_total", (("outcome", "answered"), ("version", "1"))): 2,
        ("letterloop_prediction_seconds_count", (("outcome", "answered"),)): 2,
        ("letterloop_confidence_count", (("version", "1"),)): 2,
        ("letterloop_drawings_kept_total", (("outcome", "confirmed"), ("version", "1"))): 1,
        ("letterloop_drawings_kept_total", (("outcome", "corrected"), ("version", "1"))): 1,
        ("letterloop_tasks_total", (("outcome", "success"), ("task", "letters.tasks.examine"))): 2,
    }

    def grown() -> dict[object, float]:
        now = numbers(watched_site)
        return {key: now.get(key, 0) - before.get(key, 0) for key in expected}

    def is_counted() -> bool:  # what earlier tests did may be added only now
        return all(more >= expected[key] for key, more in grown().items())

    wait_for(is_counted, "all of it is counted")
    now = numbers(watched_site)
    assert now["letterloop_serving_version", ()] == 1
    assert now["letterloop_queue_depth", (("queue", "inference"),)] == 0
    wait_for(lambda: number(watched_site, "letterloop_oldest_pending_seconds") > 0, "the database is asked again")
    assert now["letterloop_jobs", (("job", "run"), ("state", "failed"))] == 0
    assert now["letterloop_processes", (("role", "worker"),)] == 1
    assert now["letterloop_reading_seconds_count", ()] >= 2


def test_no_label_names_one_thing(watched_site: Site, somebody: Visitor) -> None:
    """No id, path, address: what there can be of a label is bounded by the code, and by the versions there are."""
    for path in ("/samples/00000000-0000-4000-8000-000000000000.png", "/model/99/", "/admin/login/?next=/secret"):
        somebody.get(path)
    found = numbers(watched_site)
    labels = {value for _, pairs in found for _, value in pairs}
    assert labels
    assert not any(UUID.search(value) or "203.0.113" in value or "secret" in value for value in labels)
    assert {name for _, pairs in found for name, _ in pairs} <= {
        *("method", "route", "status", "version", "outcome", "action", "task", "le"),
        *("part", "queue", "role", "job", "state"),
    }


READ_TODAY = """
import django; django.setup()
from letters import drift
today = drift.window(7).days[-1].all
print(today.read, today.unknown, today.kept, sum(today.read_as.values()), sum(today.read_confidence.values()))
"""


def test_what_is_read_and_not_kept_is_counted_by_day(watched_site: Site, somebody: Visitor) -> None:
    """As numbers in Redis alone: no row is made by a prediction."""
    rows, before = watched_site.count("drawing"), watched_site.python(READ_TODAY).split()
    for letter in "LTV":
        somebody.predict(LETTERS[letter])

    def grown() -> list[int]:
        return [int(now) - int(then) for now, then in zip(watched_site.python(READ_TODAY).split(), before, strict=True)]

    def are_counted() -> bool:  # what earlier tests did may be added only now
        read, _, kept, by_letter, by_confidence = grown()
        return read == by_letter == by_confidence >= 3 and kept == 0

    wait_for(are_counted, "they are counted")
    assert watched_site.count("drawing") == rows


def test_the_days_are_counted_by_whoever_has_time(watched_site: Site) -> None:
    """`watch` sends the one message that it takes, to a queue of the trainer's, and no second while that waits."""
    with redis.Redis.from_url(watched_site.env["REDIS_URL"]) as broker:
        for _ in range(2):
            before = broker.get("letterloop:watched")
            watched_site.python(WATCH)
            wait_for(lambda: broker.get("letterloop:watched") != before, "watch came by")  # noqa: B023
            waiting = broker.lrange("letterloop:exports", 0, -1)
            assert sum(b"letters.tasks.count_days" in message for message in waiting) == 1
            assert len(waiting) <= 2


def test_what_was_counted_survives_a_process(watched_site: Site, somebody: Visitor) -> None:
    somebody.predict()
    label = {"outcome": "answered", "version": "1"}
    before = wait_for(lambda: number(watched_site, "letterloop_predictions_total", **label), "it is counted")
    time_of_all = wait_for(lambda: _steady(watched_site, before), "all that was counted is added")
    watched_site.web.kill()
    watched_site.web.start()
    watched_site.wait_until_ready()
    assert number(watched_site, "letterloop_predictions_total", **label) == time_of_all


def _steady(site: Site, least: float) -> float:
    """What is counted once nothing waits to be added: a process says so with its next word."""
    name, label = "letterloop_predictions_total", {"outcome": "answered", "version": "1"}
    first = number(site, name, **label)
    with redis.Redis.from_url(site.env["REDIS_URL"], decode_responses=True) as store:

        def heard() -> dict[str, str]:
            said = store.hgetall("letterloop:processes")
            return {each: said[each] for each in said if each.startswith("web@")}

        before = heard()
        wait_for(lambda: heard() != before, "the web process speaks")
    return first if first == number(site, name, **label) >= least else 0.0


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_a_request_has_one_line_and_its_task_the_same_id(watched_site: Site, somebody: Visitor) -> None:
    """The id comes back to who asked, and is found in the lines of the web process and of the worker."""
    response = somebody.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS})
    found = response.headers["X-Request-ID"]
    web = wait_for(lambda: lines_of(watched_site.web, found), "the web process wrote it")
    assert len(web) == 1
    assert {name: web[0][name] for name in ("level", "logger", "method", "route", "status")} == {
        "level": "INFO",
        "logger": "letters.each",
        "method": "POST",
        "route": "api/v1/predictions",
        "status": 200,
    }
    assert web[0]["milliseconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", web[0]["time"])
    worker = wait_for(lambda: lines_of(watched_site.worker, found), "the worker wrote it")
    assert [(line["task"], line["status"]) for line in worker] == [("letters.tasks.predict", "success")]
    kept = somebody.ask_to_keep()
    found = kept.headers["X-Request-ID"]
    worker = wait_for(lambda: lines_of(watched_site.worker, found), "the worker examined it")
    assert worker[0]["task"] == "letters.tasks.examine"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("a1b2c3d4-e5f6-7890", True),
        ("A" * 64, True),
        ("A" * 65, False),
        ("short", False),
        ("-abcdefgh", False),
        ("abcdefgh ij", False),
        ('abcdefgh"}{"', False),
        ("abcdefgh\u00e9", False),
    ],
)
def test_an_id_of_the_proxy_is_taken_where_it_is_well_formed(somebody: Visitor, given: str, taken: bool) -> None:
    response = somebody.get("/healthz", headers={"X-Request-ID": given.encode()})
    found = response.headers["X-Request-ID"]
    assert (found == given) is taken
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}", found)


def test_a_fault_can_be_quoted(watched_site: Site, somebody: Visitor) -> None:
    """The page and the API say the id by which the trace is found, and the trace names no path."""
    watched_site.rows("ALTER TABLE letters_serving RENAME TO letters_serving_away")
    try:
        answer = somebody.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS})
        page = somebody.get("/model/1/")
    finally:
        watched_site.rows("ALTER TABLE letters_serving_away RENAME TO letters_serving")
    for response, route in ((answer, "api/v1/predictions"), (page, "model/<int:number>/")):
        assert response.status_code == 500
        found = response.headers["X-Request-ID"]
        assert found in response.text
        traces = [line for line in lines_of(watched_site.web, found) if line["level"] == "ERROR"]
        assert [route in line["message"] for line in traces] == [True]
        assert "letters_serving" in traces[0]["exc_info"]
    missing = somebody.get("/nowhere")
    assert missing.headers["X-Request-ID"] in missing.text


def test_what_is_refused_before_django_has_its_id_and_line(watched_site: Site, somebody: Visitor) -> None:
    large = somebody.post("/api/v1/predictions", data=b"x" * (4 * 1024 * 1024))
    assert large.status_code == 413
    found = large.headers["X-Request-ID"]
    line = wait_for(lambda: lines_of(watched_site.web, found), "it has a line")[0]
    assert (line["status"], line["route"]) == (413, "(no address of ours)")


def test_no_line_tells_of_a_visitor(watched_site: Site) -> None:
    """No address, cookie, stroke, token, receipt or id is in what any process wrote, of what went well or wrong."""
    with Visitor(watched_site, "198.51.100.23") as visitor:
        odd = [[[61.4142, 40.0], [61.4142, 160.0], [130.0, 160.0]]]
        token = visitor.predict(odd)["token"]
        kept = visitor.keep(strokes=odd, token=token, character="l", key="my-own-key-of-this-drawing")
        visitor.see(kept["id"], kept["receipt"])
        visitor.see(kept["id"], "wrong-receipt-of-mine")
        visitor.get(f"/drawings/{kept['id']}?receipt={kept['receipt']}")
        visitor.withdraw(kept["id"], kept["receipt"])
        watched_site.rows("ALTER TABLE letters_serving RENAME TO letters_serving_away")
        try:
            assert visitor.ask_to_keep(strokes=odd, token=token, character="x").status_code in (201, 500)
            assert visitor.get(f"/drawings/{kept['id']}").status_code == 500
        finally:
            watched_site.rows("ALTER TABLE letters_serving_away RENAME TO letters_serving")
        last = visitor.get("/healthz").headers["X-Request-ID"]
        cookies = [cookie.value for cookie in visitor.cookies if cookie.value]
    _send_nonsense(watched_site)
    wait_for(lambda: lines_of(watched_site.web, last), "all is written")
    wait_for(lambda: "cannot be read" in watched_site.web.log(), "gunicorn told of the nonsense")
    written = watched_site.web.log() + watched_site.worker.log()
    secrets = [token, kept["receipt"], kept["id"], "wrong-receipt-of-mine", "my-own-key-of-this-drawing", *cookies]
    assert len(secrets) > 5
    for secret in (*secrets, "198.51.100.23", "from ip=", "61.4142"):
        assert secret not in written, secret


def _send_nonsense(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", int(site.env["PORT"])), timeout=10) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        while connection.recv(4096):
            pass


def test_every_line_is_json_also_when_parts_fail(watched_site: Site) -> None:
    """Django's, gunicorn's and Celery's lines have one form."""
    assert watched_site.redis
    _send_nonsense(watched_site)
    watched_site.redis.kill()
    wait_for(lambda: any(line["logger"].startswith("celery") for line in lines(watched_site.worker)), "Celery says so")
    watched_site.redis.start()
    watched_site.wait_until_ready()
    for part in (watched_site.web, watched_site.worker):
        assert all(line["time"] and line["level"] and line["logger"] for line in lines(part))
    wait_for(lambda: any(line["logger"] == "gunicorn.error" for line in lines(watched_site.web)), "gunicorn says so")
