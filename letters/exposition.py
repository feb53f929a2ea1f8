"""What is counted of the site and how it stands at this moment, in the form that Prometheus reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import redis
from django.db import DatabaseError
from django.db.models import Count, Model
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from letters import metrics
from letters.models import Drawing, Export, LetterMap, Serving, TrainingRun
from letters.probes import NoAnswer, Probe

Answer = TypeVar("Answer")
FRESH = 15.0  # seconds that an answer of the database stays good: a scrape costs it little, however often one comes
LIMIT = 2.0  # seconds
LOOKED_AT = 1000  # of the oldest drawings that wait, for one whose contributor is not muted

JOBS: dict[str, type[Model]] = {"run": TrainingRun, "map": LetterMap, "export": Export}


def of_site(accept: str) -> tuple[bytes, str]:
    """All of it, and its content type: the one that is asked for, of those there are."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Site())
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Site:
    """prometheus_client's collector: asks, each time, what there is."""

    def collect(self) -> Iterator[Family]:
        up = GaugeMetricFamily("letterloop_part_up", "Whether a part answered this scrape.", labels=["part"])
        for part, ask in (("broker", _ask_redis), ("database", _ask_database)):
            try:
                families = ask()
            except (NoAnswer, redis.RedisError, DatabaseError):
                up.add_metric([part], 0)
                continue
            up.add_metric([part], 1)
            yield from families
        yield up


# --- What Redis knows ------------------------------------------------------------------------------------------------


class _Counted:
    """All that a scrape asks of Redis."""

    def __init__(self) -> None:
        self.counted = metrics.counted()
        self.depths = metrics.queue_depths()
        self.processes = metrics.processes()
        self.since_watched = metrics.since_watched()


def _of_redis(found: _Counted) -> Iterator[Family]:
    for metric in metrics.ALL:
        series = metrics.series(metric, found.counted)
        yield _histogram(metric, series) if metric.buckets else _counter(metric, series)
    depth = GaugeMetricFamily("letterloop_queue_depth", "Messages that wait.", labels=["queue"])
    for queue, waiting in found.depths.items():
        depth.add_metric([queue], waiting)
    yield depth
    roles = GaugeMetricFamily("letterloop_processes", "Processes heard in the last minute.", labels=["role"])
    heard = [each.role for each in found.processes if each.silent <= 60]
    for role in sorted({"web", "worker", "trainer", "beat", *heard}):
        roles.add_metric([role], heard.count(role))
    yield roles
    if found.since_watched is not None:
        words = "Since what was left undone was last looked after."
        yield GaugeMetricFamily("letterloop_watch_age_seconds", words, value=found.since_watched)


def _counter(metric: metrics.Metric, series: dict[tuple[str, ...], dict[str | int, float]]) -> Family:
    family = CounterMetricFamily(metric.name, metric.words, labels=metric.labels)
    for labels, parts in sorted(series.items()):
        family.add_metric(labels, parts.get("", 0.0))
    return family


def _histogram(metric: metrics.Metric, series: dict[tuple[str, ...], dict[str | int, float]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.words, labels=metric.labels)
    for labels, parts in sorted(series.items()):
        family.add_metric(labels, metrics.cumulative(metric.buckets, parts), parts.get("sum", 0.0))
    return family


# --- What the database knows -----------------------------------------------------------------------------------------


class _Stored:
    """All that a scrape asks of the database: tables of a few rows, and one look into an index of drawings."""

    def __init__(self) -> None:
        self.serving = Serving.objects.values_list("model__number", flat=True).first()
        self.jobs = {name: _states(table) for name, table in JOBS.items()}
        waiting = Drawing.objects.filter(state=Drawing.State.PENDING).order_by("created_at", "id")
        first = waiting.values_list("created_at", "contributor__muted_at")[:LOOKED_AT]
        oldest = next((created for created, muted in first if muted is None), None)
        self.waits = (timezone.now() - oldest).total_seconds() if oldest else 0.0


def _states(table: type[Model]) -> dict[str, int]:
    counted = table._default_manager.order_by().values_list("state").annotate(count=Count("pk"))
    return dict.fromkeys(table.State.values, 0) | dict(counted)  # type: ignore[attr-defined]  # all three have one


def _of_database(found: _Stored) -> Iterator[Family]:
    if found.serving is not None:
        yield GaugeMetricFamily("letterloop_serving_version", "The number of the model that serves.", found.serving)
    jobs = GaugeMetricFamily("letterloop_jobs", "Retrainings, maps and exports there are.", labels=["job", "state"])
    for job, states in found.jobs.items():
        for state, count in states.items():
            jobs.add_metric([job, state], count)
    yield jobs
    words = "Since when the oldest drawing waits for review."
    yield GaugeMetricFamily("letterloop_oldest_pending_seconds", words, value=found.waits)


def _kept(call: Callable[[], Answer]) -> Callable[[], Answer]:
    """The same, not asked again for a while."""
    known: tuple[float, Answer] | None = None

    def ask() -> Answer:
        nonlocal known
        if known is None or time.monotonic() - known[0] > FRESH:
            known = time.monotonic(), call()
        return known[1]

    return ask


_REDIS = Probe(_Counted, LIMIT)
_DATABASE = Probe(_kept(_Stored), LIMIT)


def _ask_redis() -> list[Family]:
    return list(_of_redis(_REDIS.answer()))


def _ask_database() -> list[Family]:
    return list(_of_database(_DATABASE.answer()))
