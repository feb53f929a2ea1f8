"""A question whose answer never comes holds nobody for longer than a while, and is not asked again meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from letters import health
from letters.probes import NoAnswer, Probe
from webapp.object_storage import ObjectStorage

LIMIT = 0.2  # seconds
LONG = 30.0  # where an answer comes


def test_it_works() -> None:
    assert Probe(lambda: "well", LONG).answer() == "well"


def test_what_it_raises_is_its_answer() -> None:
    """A timeout of its own as well, which is no silence."""

    def broken() -> str:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        Probe(broken, LONG).answer()


def test_silence_is_bounded_and_asked_once() -> None:
    """Those who come while it hangs are told at once; when it answers at last the next is asked anew."""
    asked, go = [], threading.Event()

    def hangs() -> int:
        asked.append(1)
        go.wait()
        return len(asked)

    probe = Probe(hangs, LIMIT)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(NoAnswer, match="nothing for"):
            probe.answer()
    assert LIMIT <= time.monotonic() - began < 10 * LIMIT
    assert len(asked) == 1
    hanging = probe.ask()
    go.set()
    assert hanging.future.result(timeout=LONG) == 1
    probe.limit = LONG
    assert probe.answer() == 2


def test_who_asks_at_the_same_time_shares_the_answer() -> None:
    asked, go, all_asked = [], threading.Event(), threading.Barrier(9)

    def slow() -> int:
        asked.append(1)
        go.wait(LONG)
        return len(asked)

    probe = Probe(slow, LONG)

    def ask() -> int:
        question = probe.ask()
        all_asked.wait(LONG)
        return probe.answer(question)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask) for _ in range(8)]
        all_asked.wait(LONG)
        go.set()
        assert {each.result() for each in answers} == {1}


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a storage that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def test_a_storage_that_never_answers_is_said_in_time(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would wait for a minute, and longer with its second try."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    storage = ObjectStorage(
        bucket_name="letters", endpoint_url=f"http://127.0.0.1:{silent}", region_name="eu-central-1"
    )
    monkeypatch.setattr(health, "default_storage", storage)
    monkeypatch.setattr(health, "_last_digest", "1" * 64)
    question = health._Question(Probe(health._storage, LIMIT), needed=False)
    began = time.monotonic()
    part = health._part(question, question.probe.ask())
    assert time.monotonic() - began < LONG
    assert part.state == "degraded"
    assert "nothing for" in part.detail
