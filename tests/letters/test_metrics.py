"""What is counted adds up, waits for a Redis that is away, and is given out as Prometheus reads it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.test import RequestFactory

from letters import exposition, metrics
from letters.embedded import EmbeddedRedis
from letters.request_log import RequestLog
from webapp import logs

THREADS, EACH = 8, 500


@pytest.fixture
def store(settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, and nothing counted yet."""
    metrics._take()
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as started:
        settings.REDIS_URL = started.url
        metrics.client.cache_clear()
        yield started
    metrics.client.cache_clear()
    metrics._take()


def test_it_works(store: EmbeddedRedis) -> None:
    """Two processes' additions are one sum; a histogram's buckets hold all that lies below."""
    for version in ("1", "1", "2"):
        metrics.count(metrics.PREDICTIONS, version, "answered")
        metrics.add()
    for value in (0.05, 0.1, 0.95):
        metrics.measure(metrics.CONFIDENCE, value, "1")
    metrics.add()
    found = metrics.counted()
    assert metrics.series(metrics.PREDICTIONS, found) == {("1", "answered"): {"": 2.0}, ("2", "answered"): {"": 1.0}}
    parts = metrics.series(metrics.CONFIDENCE, found)[("1",)]
    assert parts["sum"] == pytest.approx(1.1)
    buckets = metrics.cumulative(metrics.CONFIDENCE.buckets, parts)
    assert (buckets[0], buckets[8], buckets[-1]) == (("0.1", 2.0), ("0.9", 2.0), ("+Inf", 3.0))


def test_threads_lose_nothing(store: EmbeddedRedis) -> None:
    """Also while it is added."""

    def work() -> None:
        for _ in range(EACH):
            metrics.count(metrics.DECISIONS, "approve")

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        metrics.add()
    metrics.add()
    assert metrics.series(metrics.DECISIONS, metrics.counted())[("approve",)][""] == THREADS * EACH


def test_what_cannot_be_added_waits(store: EmbeddedRedis, settings: Any) -> None:
    """A Redis that is away costs no count; one that comes back gets all."""
    metrics.count(metrics.DECISIONS, "reject")
    metrics.reading(3, "A", 1.0, known=False, seconds=0.1)
    store.stop()
    with pytest.raises(redis.RedisError):
        metrics.add()
    metrics.count(metrics.DECISIONS, "reject")
    store.start()
    settings.REDIS_URL = store.url
    metrics.client.cache_clear()
    metrics.add()
    assert metrics.series(metrics.DECISIONS, metrics.counted())[("reject",)][""] == 2


def test_what_a_parent_counted_its_child_does_not_add(store: EmbeddedRedis) -> None:
    metrics.count(metrics.DECISIONS, "undo")
    child = os.fork()
    if not child:
        os._exit(len(metrics._counted))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    metrics.add()
    assert metrics.series(metrics.DECISIONS, metrics.counted())[("undo",)][""] == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a label ever anything that a stranger chooses, it would not fill the memory."""
    monkeypatch.setattr(metrics, "FULL", 5)
    metrics._take()
    for number in range(50):
        metrics.count(metrics.DECISIONS, str(number))
    assert len(metrics._take()[0]) == 5


def test_numbers_of_another_release_are_left_out() -> None:
    """One that had other labels."""
    found: dict[metrics.Key, float] = {("letterloop_decisions", "", "approve", "more"): 1.0}
    assert metrics.series(metrics.DECISIONS, found) == {}


@pytest.mark.django_db
def test_the_form_is_the_one_that_is_asked_for(store: EmbeddedRedis) -> None:
    metrics.count(metrics.DECISIONS, "approve")
    metrics.add()
    text, kind = exposition.of_site("")
    assert b'letterloop_decisions_total{action="approve"} 1.0' in text
    assert kind.startswith("text/plain")
    text, kind = exposition.of_site("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    assert kind.startswith("application/openmetrics-text")


@pytest.mark.parametrize("proxies", [0, 1])
def test_the_id_of_a_stranger_is_not_taken(settings: Any, proxies: int) -> None:
    """Where no proxy of ours stands before the site, whoever sends one could make his lines look like another's."""
    settings.PROXIES = proxies
    seen: dict[str, str] = {}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen["inside"] = logs.request_id()
        start_response("200 OK", [])
        return [b""]

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen.update(headers)

    environ = RequestFactory().get("/", headers={"X-Request-ID": "given-by-somebody"}).environ
    RequestLog(application)(environ, start_response)
    assert (seen["X-Request-ID"] == "given-by-somebody") is bool(proxies)
    assert seen["inside"] == seen["X-Request-ID"]
    assert logs.request_id() == logs.NONE
