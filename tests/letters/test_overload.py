"""More is asked than the web server can compute: who wants a letter read is told at once, all else waits its turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from letters.errors import InferenceUnavailable
from tests.letters.visitor import CANVAS, Visitor, Z, refused
from tests.running import Site, running_site, wait_for

pytestmark = pytest.mark.slow
THREADS = 2
CROWD = 16
PREDICTION_TIMEOUT = 2.5  # seconds, as the settings have it
AT_ONCE = 2.0  # seconds, less than a turn takes then
BODY = {"strokes": Z, "canvas": CANVAS}


@pytest.fixture(scope="module")
def narrow() -> Iterator[Site]:
    """A site whose web server has one process with two threads."""
    with running_site(threads=THREADS, processes=1, own_redis=True) as started:
        yield started


def ask(site: Site) -> tuple[requests.Response, float]:
    """For a prediction, on a connection of one's own; and the seconds until the answer."""
    with Visitor(site) as visitor:
        began = time.monotonic()
        return visitor.post("/api/v1/predictions", json=BODY), time.monotonic() - began


def test_who_comes_while_others_wait_long_is_told_at_once(narrow: Site) -> None:
    """The inference worker hangs, so each prediction keeps a thread until it gives up. Nothing that was drawn is
    refused, nor any page; and when the worker goes on, all is as before."""
    with Visitor(narrow) as visitor, ThreadPoolExecutor(CROWD + 2) as people:
        token = visitor.predict()["token"]
        narrow.worker.pause()
        try:
            before = [people.submit(ask, narrow) for _ in range(CROWD)]
            wait_for(lambda: any(each.done() for each in before), "the first of them is answered")
            page = people.submit(requests.get, narrow.base_url + "/privacy", timeout=60)
            kept = people.submit(visitor.ask_to_keep, token=token)
            answer, took = ask(narrow)
            assert took < AT_ONCE
            said = refused(answer, 503, "inference_unavailable")
            assert said["message"] == InferenceUnavailable().message
            assert answer.headers["Retry-After"] == str(InferenceUnavailable().retry_after)
            assert answer.headers["Content-Type"] == "application/json"
            assert page.result().status_code == 200
            assert kept.result().status_code == 201
            # of those who came first, eight for each thread: until it is too late, and one that was begun before
            waited = max(took for _, took in (each.result() for each in before))
            assert waited < CROWD / THREADS * PREDICTION_TIMEOUT / 2
        finally:
            narrow.worker.resume()
    wait_for(lambda: ask(narrow)[0].status_code == 200, "letters are read again")
