"""Messages to the workers: when they expire, where they wait, and which are acknowledged.

A message expires by the clock of Redis, which all machines have in common. Celery writes into a message when it expires
by the clock of the machine that sends it, and the machine that takes it goes by its own: one that is three seconds
ahead refused every prediction as too old, one that is a minute ahead all that `watch` sends again.

What expired stays in its queue until a worker takes it. So what is sent again and again is not sent to a queue over its
limit, see letters.tasks.send and webapp.beat.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import redis
from celery import Task as CeleryTask
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from django.conf import settings

ASKED_EVERY = 10.0  # seconds
PATIENCE = 0.3  # seconds; a visitor may be waiting


class SharedClock:
    """The time as Redis has it, asked now and then. Between, and while Redis is away, this machine's own goes on from
    there, by the count of seconds that nobody sets.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._ahead = time.time() - time.monotonic()  # of the count of seconds
        self._asked_at: float | None = None
        self._client: redis.Redis | None = None

    def now(self) -> datetime:
        """The time, of UTC."""
        with self._turn:
            if self._asked_at is None or time.monotonic() - self._asked_at > ASKED_EVERY:
                self._ask()
            return datetime.fromtimestamp(time.monotonic() + self._ahead, UTC)

    def _ask(self) -> None:
        if self._client is None:
            self._client = redis.Redis.from_url(
                settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
            )
        try:
            seconds, microseconds = self._client.time()
            self._ahead = seconds + microseconds / 1e6 - time.monotonic()
        except redis.RedisError:
            if self._asked_at is None:
                self._ahead = time.time() - time.monotonic()
        self._asked_at = time.monotonic()


clock = SharedClock()


def stamp(headers: dict[str, Any]) -> None:
    """Before a message is sent: what it says of its end is said by the shared clock."""
    if headers.get("expires"):
        left = datetime.fromisoformat(headers["expires"]) - datetime.now(UTC)
        headers["expires"] = (clock.now() + left).isoformat()


def queue_of(task: str) -> str:
    """Where the messages of a task wait."""
    route: dict[str, str] = settings.CELERY_TASK_ROUTES.get(task, {})
    return route.get("queue", settings.CELERY_TASK_DEFAULT_QUEUE)


@cache
def _unacknowledged() -> frozenset[str]:
    return frozenset(queue.routing_key for queue in settings.CELERY_TASK_QUEUES if queue.no_ack)


class Request(CeleryRequest):
    """A message that a worker took, which looks at the shared clock.

    Of a queue without acknowledgements a message is gone once it is taken. Celery acknowledges it all the same: a
    round trip to Redis for nothing, and kombu 5.7 keeps its tag in memory for as long as the worker lives.
    """

    def acknowledge(self) -> None:
        """It is taken in hand, or needs not be."""
        if self.delivery_info.get("routing_key") in _unacknowledged():
            self.acknowledged = True
        else:
            super().acknowledge()

    def maybe_expire(self) -> Literal[True] | None:
        """Whether it is too late for it."""
        if self.expires and clock.now() > self.expires:
            state.revoked.add(self.id)
            return True
        return None


class Task(CeleryTask):  # type: ignore[type-arg]  # generic in the stubs alone
    """Celery's, with messages as above."""

    Request = "webapp.messages:Request"
