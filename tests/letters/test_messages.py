"""What Redis is asked for a message of a queue without acknowledgements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.letters.visitor import Visitor
from tests.running import Site, running_site, wait_for

pytestmark = pytest.mark.slow
TIMES = 5


@pytest.fixture(scope="module")
def lone_site() -> Iterator[Site]:
    """With a Redis that nobody else asks."""
    with running_site(processes=1, own_redis=True) as started:
        yield started


def acknowledgements(client: redis.Redis) -> int:
    """How many there were since Redis began."""
    return sum(int(client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("hdel", "zrem"))


def test_no_message_is_acknowledged_where_none_needs_be(lone_site: Site) -> None:
    """Predictions and examinations: kombu would keep the tag of each in the worker's memory for ever."""
    with redis.Redis.from_url(lone_site.env["REDIS_URL"]) as client, Visitor(lone_site) as visitor:
        before = acknowledgements(client)
        for _ in range(TIMES):
            visitor.predict()
        examined = lone_site.count("examination")
        visitor.keep()
        wait_for(lambda: lone_site.count("examination") > examined, "it is examined", 30)
        assert acknowledgements(client) == before
