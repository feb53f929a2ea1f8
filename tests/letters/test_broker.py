"""Celery's connection to Redis, where kombu's own has a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from letters.embedded import EmbeddedRedis
from webapp.broker import Transport
from webapp.celery import app


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """To a Redis of its own, as the site's processes connect."""
    with EmbeddedRedis(tmp_path / "redis") as redis, app.connection_for_read(redis.url) as connected:
        yield connected


def test_it_is_ours(connection: Connection) -> None:
    assert isinstance(connection.transport, Transport)


def test_a_connection_that_was_lost_with_a_message_in_work_can_be_closed(connection: Connection) -> None:
    """A worker that lost it closes it before it connects again; what that raises would end the worker."""
    channel = connection.default_channel
    queue = Queue("letters", channel=channel)
    queue.declare()
    connection.Producer(channel).publish("a letter", routing_key="letters")
    assert queue.get()
    connection.transport.client = None  # as kombu leaves it behind when Redis went away
    connection.close()
    assert connection.connected is False
