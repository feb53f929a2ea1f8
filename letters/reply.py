"""Answers from a worker to the web thread that waits for one.

Each answer travels on a Redis list of its own. Celery's result backend is not used for it: its consumer is one object
that all threads of a process share, and it is not made for waiting in many threads at once.
"""

from __future__ import annotations

import uuid
from functools import cache
from typing import cast

import redis
from django.conf import settings

_LIFETIME = 10  # seconds that an answer nobody fetched stays


class NoReply(Exception):
    """No answer came in time, or Redis could not be asked."""


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=1,
        socket_timeout=settings.PREDICTION_TIMEOUT + 0.25,
        max_connections=200,
    )


def new_address() -> str:
    """A fresh name to which one answer can be sent."""
    return f"letterloop:reply:{uuid.uuid4().hex}"


def send(address: str, answer: bytes) -> None:
    """Answer whoever waits at an address."""
    with _client().pipeline(transaction=False) as pipe:
        pipe.rpush(address, answer)
        pipe.expire(address, _LIFETIME)
        pipe.execute()


def wait(address: str, seconds: float) -> bytes:
    """The answer that comes to an address. Raises NoReply."""
    try:
        arrived = _client().blpop([address], timeout=seconds)
    except redis.RedisError as error:
        raise NoReply(str(error)) from error
    if arrived is None:
        raise NoReply(f"nothing within {seconds} s")
    return cast(bytes, arrived[1])  # redis-py types a client that might decode
