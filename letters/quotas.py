"""How much one network may do in a while, counted in Redis all at once or not at all: threads cannot pass it together.

What is known of a network is `letters.addresses.hashed`, and no count outlives the hour of that hash. A contributor's
own quota is another one: it stands in the database, and holds where Redis is away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from letters import errors

HOUR = 3600
_PATIENCE = 0.5  # seconds; a visitor waits for this and then for the broker
_SOONEST = 1.0  # seconds that a count lives at least

# KEYS: counts. ARGV: for each how many there may be, and for how many milliseconds it lives. Answers 0, or which of
# them is used up and when it begins anew.
_TAKE = """
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * i - 1]) then
    return {i, redis.call('PTTL', key)}
  end
end
for i, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2 * i]) end
end
return {0, 0}
"""
_GIVE_BACK = """
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') > 0 then redis.call('DECR', key) end
end
"""


class Uncounted(Exception):
    """Redis does not answer: nobody knows how much a network did."""


@dataclass(frozen=True)
class Taken:
    """What was counted, and can be given back where nothing came of it."""

    keys: tuple[str, ...] = ()

    def give_back(self) -> None:
        """As if it had not been asked for. What cannot be given back now is forgotten within the hour."""
        if not self.keys:
            return
        try:
            _script(_GIVE_BACK)(keys=self.keys)
        except redis.RedisError:
            return


def take(network: str, *names: str) -> Taken:
    """Count one of each of these quotas of `settings.QUOTAS` for a network, or none of them.

    Raises TooManyRequests where one of them is used up, and Uncounted.
    """
    limits = [(name, limit) for name in names if (limit := settings.QUOTAS[name])]
    if not limits:
        return Taken()
    keys = tuple(f"letterloop:quota:{network}:{name}" for name, _ in limits)
    numbers = [number for _, (count, seconds) in limits for number in (count, _lifetime(seconds))]
    try:
        used_up, wait = _script(_TAKE)(keys=keys, args=numbers)
    except redis.RedisError as problem:
        raise Uncounted(str(problem)) from problem
    if used_up:
        name, (count, seconds) = limits[used_up - 1]
        raise errors.TooManyRequests(name, count, seconds, retry_after=max(0, wait) // 1000 + 1)
    return Taken(keys)


def is_first(network: str, what: str) -> bool:
    """Whether a network does something for the first time within the hour; the next one is not. Raises Uncounted."""
    try:
        return bool(_client().set(f"letterloop:quota:{network}:{what}", 1, nx=True, px=_lifetime(HOUR)))
    except redis.RedisError as problem:
        raise Uncounted(str(problem)) from problem


def _lifetime(seconds: int) -> int:
    """Milliseconds: no longer than the hour in which the network has this hash."""
    left = HOUR - time.time() % HOUR
    return int(1000 * max(_SOONEST, min(seconds, left)))


@cache
def _script(text: str) -> Script:
    return _client().register_script(text)


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=_PATIENCE,
        socket_timeout=_PATIENCE,
        max_connections=200,
        retry=Retry(NoBackoff(), 0),
    )
