"""Redis as Celery's broker. kombu's, but for one fault: a worker survives that it loses the connection while it starts.

Where a connection is closed of which a message is not acknowledged yet, kombu 5.7 looks for the address of a connection
that it has forgotten already. That raises AttributeError, which nobody expects: the worker ends. To say that the
connection is lost is what the worker can handle: it connects again.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """One that knows when its connection is gone."""

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise ConnectionError("the connection to Redis was closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]  # which the stubs of kombu lack


class Transport(redis.Transport):
    """What `redis://` stands for, see webapp/celery.py."""

    Channel = Channel
