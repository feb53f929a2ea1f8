"""Whether all the parts that a visitor needs are there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import redis
from django.conf import settings
from django.db import DatabaseError, connection

from letters import collect, errors, registry


def checks() -> dict[str, str]:
    """State of each part: `ok`, or what is wrong with it. The inference worker is asked to read a blank sheet."""
    return {name: _state(check) for name, check in _CHECKS.items()}


def _state(check: Callable[[], object]) -> str:
    try:
        check()
    except errors.NoModel as missing:
        return missing.message
    except errors.InferenceUnavailable:
        return "no inference worker answers"
    except redis.RedisError as problem:
        return f"Redis does not answer: {problem}"
    except DatabaseError as problem:
        return f"the database does not answer: {problem}"
    return "ok"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as client:
        client.ping()


def _worker() -> None:
    collect.predict(np.zeros((28, 28), np.uint8))


_CHECKS: dict[str, Callable[[], object]] = {
    "database": _database,
    "broker": _broker,
    "model": registry.current,
    "inference": _worker,
}
