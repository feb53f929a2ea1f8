"""What is counted of the site, for whoever watches it: added up in each process, and in Redis for all of them together.

A site is several processes on several machines behind one address, and workers have no address at all. So no process
keeps numbers to be fetched from it: each adds what it counted to a hash in Redis every few seconds, and any web process
gives out the whole. What is counted between two of these is lost with a process that is killed; what Redis forgets
begins at nothing again, which Prometheus takes for a restart. Nothing here names a person, a drawing or an address.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, cast

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two additions of a process
COUNTS = "letterloop:metrics"  # a hash: what is counted by JSON of its name, part and labels
PROCESSES = "letterloop:processes"  # a hash: what each process says of itself
WATCHED = "letterloop:watched"  # when `watch` last came by, by the clock of Redis
READINGS = "letterloop:readings:"  # and a day: hashes of what was read on it
READINGS_STAY = 100 * 86400  # seconds
GONE = 600.0  # seconds of silence after which a process is forgotten
FULL = 20_000  # different things counted between two additions; more would be a mistake, and memory
PATIENCE = 1.0  # seconds
BINS = 10  # of confidence: 0 to 0.1, ...


@dataclass(frozen=True)
class Metric:
    """Something that is counted; with `buckets`, upper bounds, something that is measured."""

    name: str
    words: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


QUICK = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
LONG = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 60.0, 600.0, 3600.0)

REQUESTS = Metric("letterloop_requests", "Requests answered, by route.", ("method", "route", "status"))
REQUEST_SECONDS = Metric("letterloop_request_seconds", "From a request to its answer.", ("route",), QUICK)
PREDICTIONS = Metric(
    "letterloop_predictions",
    "Predictions: answered, unfamiliar, inference_unavailable, no_model.",
    ("version", "outcome"),
)
PREDICTION_SECONDS = Metric(
    "letterloop_prediction_seconds", "What a web process waits for a worker's reading.", ("outcome",), QUICK
)
READING_SECONDS = Metric(
    "letterloop_reading_seconds",
    "What the model takes in a worker.",
    (),
    (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.1),
)
CONFIDENCE = Metric(
    "letterloop_confidence",
    "The probability of the letter that was read.",
    ("version",),
    tuple(tenth / BINS for tenth in range(1, BINS + 1)),
)
DRAWINGS = Metric("letterloop_drawings_kept", "Drawings kept: confirmed, corrected.", ("version", "outcome"))
DECISIONS = Metric("letterloop_decisions", "Decisions of reviewers.", ("action",))
TASKS = Metric("letterloop_tasks", "Tasks done by workers.", ("task", "outcome"))
TASK_SECONDS = Metric("letterloop_task_seconds", "What a task takes.", ("task",), LONG)
ALL = (
    REQUESTS,
    REQUEST_SECONDS,
    PREDICTIONS,
    PREDICTION_SECONDS,
    READING_SECONDS,
    CONFIDENCE,
    DRAWINGS,
    DECISIONS,
    TASKS,
    TASK_SECONDS,
)

Key = tuple[str | int, ...]  # name, part ("", "sum" or the number of a bucket), labels
Day = tuple[date, str]  # and a field of its hash


# --- Count ----------------------------------------------------------------------------------------------------------

_counted: defaultdict[Key, float] = defaultdict(float)
_read: defaultdict[Day, int] = defaultdict(int)
_guard = threading.Lock()
os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=lambda: _after_fork())


def _after_fork() -> None:
    """What the parent counted the parent adds."""
    _counted.clear()
    _read.clear()
    _guard.release()


def count(metric: Metric, *labels: str) -> None:
    """Count one."""
    with _guard:
        if len(_counted) < FULL:
            _counted[(metric.name, "", *labels)] += 1


def measure(metric: Metric, value: float, *labels: str) -> None:
    """Note one value."""
    part = bisect_left(metric.buckets, value)
    with _guard:
        if len(_counted) < FULL:
            _counted[(metric.name, part, *labels)] += 1
            _counted[(metric.name, "sum", *labels)] += value


def prediction(version: str, outcome: str, seconds: float) -> None:
    """Note what came of a request for a prediction."""
    count(PREDICTIONS, version, outcome)
    measure(PREDICTION_SECONDS, seconds, outcome)


def reading(version: int, label: str, probability: float, *, known: bool, seconds: float) -> None:
    """Note a prediction that was answered. Of the drawing nothing is kept but that there was one more of its kind."""
    prediction(str(version), "answered" if known else "unfamiliar", seconds)
    measure(CONFIDENCE, probability, str(version))
    confidence = min(BINS - 1, int(probability * BINS))
    with _guard:
        if len(_read) < FULL:
            _read[(datetime.now(UTC).date(), f"{version} {label} {confidence} {int(known)}")] += 1


# --- Add to what all counted ----------------------------------------------------------------------------------------


class _Process:
    """What this process says of itself while it runs, and the thread that says it."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.pid = os.getpid()
        self.name = f"{role}@{socket.gethostname()}:{self.pid}"
        self.started: float | None = None  # by the clock of Redis, which all machines share
        self.worked = 0.0  # monotonic; when it last did something
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._ended = threading.Event()

    def start(self) -> None:
        atexit.register(self.end)
        self._thread.start()

    def end(self) -> None:
        """Add what is left, and say that it is gone."""
        if self.pid != os.getpid() or self._ended.is_set():
            return
        self._ended.set()
        try:
            add()
            client().hdel(PROCESSES, self.name)
        except redis.RedisError as problem:
            log.warning("what was counted last is lost: %s", problem)

    def _run(self) -> None:
        while True:
            try:
                add(self)
            except redis.RedisError as problem:
                log.debug("what was counted waits for Redis: %s", problem)
            if self._ended.wait(EVERY):
                return

    def said(self, now: float) -> str:
        self.started = self.started or now
        idle = time.monotonic() - self.worked if self.worked else None
        return json.dumps({"role": self.role, "started": self.started, "seen": now, "idle": idle})


_process: _Process | None = None


def start(role: str) -> None:
    """From now on this process adds what it counts, and is seen: `web`, `worker`, `trainer`, `beat`."""
    global _process
    if _process is None or _process.pid != os.getpid():
        _process = _Process(role)
        _process.start()


def end() -> None:
    """For a process that ends without Python's farewell."""
    if _process is not None:
        _process.end()


def worked() -> None:
    """Note that this process did something just now."""
    if _process is not None:
        _process.worked = time.monotonic()


def add(process: _Process | None = None) -> None:
    """Add what was counted to what all processes counted. Raises RedisError, and it waits for the next time."""
    now = _now() if process else 0.0
    counted, read = _take()
    try:
        with client().pipeline() as pipe:  # all of it, or nothing
            for key, by in counted.items():
                pipe.hincrbyfloat(COUNTS, json.dumps(key), by)
            for (day, field), times in read.items():
                pipe.hincrby(f"{READINGS}{day}", field, times)
            for day in {day for day, _ in read}:
                pipe.expire(f"{READINGS}{day}", READINGS_STAY)
            if process:
                pipe.hset(PROCESSES, process.name, process.said(now))
            pipe.execute()
    except redis.RedisError:
        _give_back(counted, read)
        raise


def _take() -> tuple[dict[Key, float], dict[Day, int]]:
    with _guard:
        taken = dict(_counted), dict(_read)
        _counted.clear()
        _read.clear()
    return taken


def _give_back(counted: dict[Key, float], read: dict[Day, int]) -> None:
    with _guard:
        for key, by in counted.items():
            _counted[key] += by
        for day, times in read.items():
            _read[day] += times


@cache
def client() -> redis.Redis:
    """Asked once and soon given up: nobody waits for a number."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=PATIENCE,
        socket_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def _now() -> float:
    seconds, microseconds = client().time()
    return seconds + microseconds / 1e6


# --- What is known of all -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A process of the site, on whichever machine."""

    name: str
    role: str
    age: float  # seconds
    silent: float  # seconds since it was last heard
    idle: float | None  # seconds since it last did something; None where it never did


def processes() -> list[Seen]:
    """All that were heard in the last ten minutes. Raises RedisError."""
    now = _now()
    found = [_seen(name, said, now) for name, said in cast(dict[str, str], client().hgetall(PROCESSES)).items()]
    return sorted((each for each in found if each.silent < GONE), key=lambda each: each.name)


def _seen(name: str, said: str, now: float) -> Seen:
    value = json.loads(said)
    silent = max(0.0, now - value["seen"])
    idle = None if value["idle"] is None else value["idle"] + silent
    return Seen(name, value["role"], now - value["started"], silent, idle)


def watched() -> None:
    """Note that `watch` came by; forget processes that are silent for long."""
    try:
        now = _now()
        client().set(WATCHED, now)
        said = cast(dict[str, str], client().hgetall(PROCESSES))
        gone = [name for name, value in said.items() if _seen(name, value, now).silent > GONE]
        if gone:
            client().hdel(PROCESSES, *gone)
    except redis.RedisError as problem:
        log.warning("that watch came by cannot be noted: %s", problem)


def since_watched() -> float | None:
    """Seconds since then; None where Redis knows of none. Raises RedisError."""
    at = client().get(WATCHED)
    return None if at is None else max(0.0, _now() - float(cast(str, at)))


def queue_depths() -> dict[str, int]:
    """How many messages wait in each queue. Raises RedisError."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    with client().pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(f"{settings.CELERY_BROKER_TRANSPORT_OPTIONS['global_keyprefix']}{name}")
        return dict(zip(names, pipe.execute(), strict=True))


def waits(queue: str) -> bool:
    """Whether a message waits in a queue, or nobody knows."""
    try:
        return queue_depths()[queue] > 0
    except redis.RedisError:
        return True


def is_full(queue: str) -> bool:
    """Whether more messages wait in a queue than QUEUE_LIMITS allows; not, where Redis does not say."""
    try:
        return queue_depths().get(queue, 0) > settings.QUEUE_LIMITS.get(queue, 0)
    except redis.RedisError:
        return False


def counted() -> dict[Key, float]:
    """What all processes counted. Raises RedisError."""
    found = {}
    for field, value in cast(dict[str, str], client().hgetall(COUNTS)).items():
        found[tuple(json.loads(field))] = float(value)
    return found


@dataclass(frozen=True)
class Read:
    """How many drawings a version read on a day as one class with such confidence, kept or not."""

    day: date
    version: int
    label: str
    confidence: int  # number of the bin
    known: bool
    count: int


def readings(days: Sequence[date]) -> Iterator[Read]:
    """What was read on these days, as far as Redis remembers. Raises RedisError."""
    with client().pipeline(transaction=False) as pipe:
        for day in days:
            pipe.hgetall(f"{READINGS}{day}")
        found = pipe.execute()
    for day, fields in zip(days, found, strict=True):
        for field, times in fields.items():
            version, label, confidence, known = field.split(" ")
            yield Read(day, int(version), label, int(confidence), known == "1", int(times))


def series(metric: Metric, found: dict[Key, float]) -> dict[tuple[str, ...], dict[str | int, float]]:
    """Of one metric, by labels and part; what an earlier release counted with other labels is left out."""
    by_labels: dict[tuple[str, ...], dict[str | int, float]] = {}
    for (name, part, *labels), value in found.items():
        if name == metric.name and len(labels) == len(metric.labels):
            by_labels.setdefault(tuple(map(str, labels)), {})[part] = value
    return by_labels


def cumulative(buckets: Iterable[float], parts: dict[str | int, float]) -> list[tuple[str, float]]:
    """Upper bounds, and how many values lie at or below each."""
    bounds: list[Any] = [*buckets, "+Inf"]
    total, found = 0.0, []
    for number, bound in enumerate(bounds):
        total += parts.get(number, 0.0)
        found.append((str(bound), total))
    return found
