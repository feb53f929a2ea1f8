"""A platform ends a site as Heroku does: SIGTERM to every process at once, and 30 seconds later SIGKILL to the rest.

Nothing is left by then; whoever was told that a drawing is kept finds it; what was being made is made by the next.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import redis
import requests

from tests.letters.test_export_site import MANY, ask, forget, make, see, wait_over
from tests.letters.training import PATIENCE, Maintainer, approve, children, silence, tiny_archive, watch
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z, scaled
from tests.running import Part, Site, running_site, wait_for

pytestmark = pytest.mark.long
HEROKU = 30.0  # seconds
ENOUGH = 25.0
VISITORS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All processes of the Procfile, by its own lines. A worker's silence is noticed sooner here."""
    archive = tiny_archive(tmp_path_factory.mktemp("emnist") / "emnist.zip")
    env = {"RUN_STALE_AFTER": "5", "MAP_STALE_AFTER": "5", "MAP_SAMPLE": "740", "DRAWINGS_PER_DAY": "100000"}
    env["EMNIST_ARCHIVE"] = str(archive)
    with running_site(own_redis=True, env=env) as started:
        started.trainer.start()
        started.beat.start()
        yield started


@pytest.fixture(scope="module")
def maintainer(whole: Site) -> Iterator[Maintainer]:
    with Maintainer(whole) as somebody:
        yield somebody


def family(part: Part) -> list[psutil.Process]:
    """A process and all that it started."""
    process = psutil.Process(part.pid)
    return [process, *process.children(recursive=True)]


def end_as_a_platform_does(site: Site) -> tuple[float, float]:
    """SIGTERM to each process of each part. When, and how many seconds it took until all were gone."""
    everybody = [process for part in site.parts for process in family(part)]
    assert len(everybody) > len(site.parts)
    told = time.monotonic()
    for process in everybody:
        with contextlib.suppress(psutil.NoSuchProcess):  # whoever started it has ended it just now
            process.terminate()
    _, alive = psutil.wait_procs(everybody, timeout=HEROKU)
    took = time.monotonic() - told
    assert not alive, alive
    return told, took


def start_again(site: Site) -> None:
    for part in site.parts:
        assert not part.runs()
        part.start()
    site.wait_until_ready()


@dataclass
class Answer:
    """What became of a request: 0 where the connection ended without an answer."""

    begun: float
    status: int
    drawing: str = ""


def busy_visitor(site: Site, number: int, end: threading.Event) -> list[Answer]:
    """Draws until nobody answers any more; every third letter is kept."""
    answers: list[Answer] = []
    with Visitor(site) as visitor:
        for count in range(100_000):
            if end.is_set():
                break
            strokes = scaled(LETTERS["LTVXZ"[count % 5]], 0.5 + 0.001 * (count % 400), number)
            answers.append(asked(visitor, "predictions", {"strokes": strokes, "canvas": CANVAS}))
            if answers[-1].status == 0:
                break
            if count % 3 == 0 and answers[-1].status == 200:
                body = {"strokes": strokes, "canvas": CANVAS, "character": "L", "consent": True}
                answers.append(asked(visitor, "drawings", body | {"token": visitor.token}))
    return answers


def asked(visitor: Any, path: str, body: dict[str, Any]) -> Answer:
    begun = time.monotonic()
    try:
        response = visitor.post(f"/api/v1/{path}", json=body)
    except requests.RequestException:
        return Answer(begun, 0)
    visitor.token = response.json().get("token", "")
    return Answer(begun, response.status_code, response.json().get("id", ""))


def make_many(site: Site) -> uuid.UUID:
    """The contributor of so many approved drawings that an export of them takes a while; nobody else is to be busy."""
    contributor = make(site, MANY)
    seen = "examined_by_id = (SELECT model_id FROM letters_serving)"
    site.rows(f"UPDATE letters_drawing SET {seen} WHERE contributor_id = %s", contributor)
    return contributor


def test_in_the_middle_of_everything(whole: Site, maintainer: Maintainer) -> None:
    approve(whole, 5)
    run = maintainer.start("full", epochs=1000)["run"]["id"]
    first = wait_for(lambda: children(run), "all layers learn", PATIENCE)
    many = make_many(whole)
    before, end = whole.count("drawing"), threading.Event()
    with ThreadPoolExecutor(VISITORS) as crowd:
        busy = [crowd.submit(busy_visitor, whole, number, end) for number in range(VISITORS)]
        try:
            wait_for(lambda: whole.count("drawing") >= before + 2 * VISITORS, "letters are kept", 60)
            export = ask(maintainer, "ndjson")
            wait_for(lambda: see(maintainer, export)["state"] == "running", "the export is made", PATIENCE)
            told, took = end_as_a_platform_does(whole)
        finally:
            end.set()
        answers = [answer for each in busy for answer in each.result()]
    print(f"gone after {took:.1f} s")
    assert took < ENOUGH
    under_way = [each for each in answers if each.begun < told - 0.05]  # a connection may just be closing after that
    assert len(under_way) >= 4 * VISITORS
    assert {each.status for each in under_way} <= {200, 201}, [each for each in under_way if each.status >= 300]
    kept = [each.drawing for each in answers if each.status == 201]
    assert len(set(kept)) == len(kept)
    in_the_table = {str(uuid.UUID(str(row["id"]))) for row in whole.rows("SELECT id FROM letters_drawing")}
    assert set(kept) <= in_the_table
    assert (run_state(whole), see_state(whole, export)) == ("running", "running")

    forget(whole, many)  # whoever takes it up is to be done sooner
    silence(whole, "letters_export")
    start_again(whole)
    assert wait_over(maintainer, export)["done"] >= 5

    def again() -> Any:
        watch(whole)
        return children(run)

    second = wait_for(again, "the training goes on", PATIENCE)
    assert set(first).isdisjoint(second)
    assert maintainer.run(run)["attempts"] >= 2  # on a busy machine the next may be taken for dead as well
    maintainer.cancel(run)
    wait_for(lambda: not children(run), "it has ended", 30)


def test_a_worker_answers_who_asked_before_it_was_told_to_end(whole: Site) -> None:
    """Also what it had not taken yet: it could do nothing when that was asked, and is told to end before it sees it."""
    if not whole.worker.runs():
        whole.worker.start()
    whole.wait_until_ready()
    whole.worker.pause()

    def ask_once(number: int) -> int:
        with Visitor(whole) as visitor:
            return asked(visitor, "predictions", {"strokes": scaled(Z, 0.9, number), "canvas": CANVAS}).status

    with ThreadPoolExecutor(6) as crowd:
        answers = [crowd.submit(ask_once, number) for number in range(6)]
        wait_for(lambda: waiting(whole) >= 5, "they wait", 10)
        whole.worker.ask_to_end()
        assert {each.result() for each in answers} == {200}
    wait_for(lambda: not whole.worker.runs(), "the worker has ended", 15)
    whole.worker.end()
    whole.worker.start()
    whole.wait_until_ready()


def waiting(site: Site) -> int:
    """Predictions that no worker has taken."""
    with redis.Redis.from_url(site.env["REDIS_URL"]) as client:
        return int(client.llen("letterloop:inference"))


def run_state(site: Site) -> str:
    return str(site.rows("SELECT state FROM letters_trainingrun")[0]["state"])


def see_state(site: Site, export: str) -> str:
    return str(site.rows("SELECT state FROM letters_export WHERE id = %s", uuid.UUID(export))[0]["state"])


def test_in_the_middle_of_a_map(whole: Site, maintainer: Maintainer) -> None:
    approve(whole, 5)
    asked_for = maintainer.post("/api/v1/maps", json={"method": "tsne", "space": "features"}).json()["id"]

    def state() -> str:
        return str(whole.rows("SELECT state FROM letters_lettermap WHERE id = %s", uuid.UUID(asked_for))[0]["state"])

    wait_for(lambda: state() == "running", "the map is made", PATIENCE)
    _, took = end_as_a_platform_does(whole)
    print(f"gone after {took:.1f} s")
    assert took < ENOUGH
    assert state() == "running"
    start_again(whole)

    def done() -> bool:
        watch(whole)
        assert state() in ("queued", "running", "done")
        return state() == "done"

    wait_for(done, "the map is made by the next", PATIENCE)
    assert whole.count("mappoint") > 0
