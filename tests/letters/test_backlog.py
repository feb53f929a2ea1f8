"""Where nobody takes messages no more of them wait than QUEUE_LIMITS allows, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from letters import metrics, tasks
from letters.embedded import EmbeddedRedis
from tests.letters.watching import BEARER, TOKEN, ready
from tests.running import Site, running_site, wait_for
from webapp import messages
from webapp.beat import Scheduler
from webapp.celery import app

LIMIT = 3
# A published map of pixels that lacks a drawing; no map of the serving model; an export that waits.
UNDONE = """
import django; django.setup()
from django.utils import timezone
from letters.models import Export, LetterMap, Serving
from tests.letters.collected import a_drawing
LetterMap.objects.all().delete()
LetterMap.objects.create(
    method="pca", space="pixels", state="done", trigger="button", requested_by="ada",
    published_at=timezone.now(), finished_at=timezone.now(), model=Serving.objects.get().model,
)
a_drawing("Z")
Export.objects.create(format="ndjson", requested_by="ada")
"""
WATCH_OFTEN = """
import django; django.setup()
from letters import tasks
for _ in range(12):
    tasks.watch()
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One without a trainer."""
    env = {"METRICS_TOKEN": TOKEN, "QUEUE_LIMITS": f"maps={LIMIT},exports={LIMIT}"}
    with running_site(processes=1, own_redis=True, env=env) as started:
        yield started


def waiting(site: Site, queue: str) -> list[bytes]:
    with redis.Redis.from_url(site.env["REDIS_URL"]) as broker:
        return broker.lrange(f"letterloop:{queue}", 0, -1)


@pytest.mark.slow
def test_it_works(site: Site) -> None:
    """It is sent again until the queue is over its limit, which is said; a trainer that comes finds what to do."""
    site.python(UNDONE)
    site.python(WATCH_OFTEN)
    for queue, names in (("maps", ("place_pixels", "follow_model")), ("exports", ("export",))):
        messages = b" ".join(waiting(site, queue))
        assert len(waiting(site, queue)) == LIMIT + 1
        assert all(f"letters.tasks.{each}".encode() in messages for each in names)
    value = wait_for(lambda: _over_its_limit(site), "it is seen", 15)
    assert "over the limit: maps, exports" in value["detail"]
    site.trainer.start()
    wait_for(lambda: not waiting(site, "maps") and not waiting(site, "exports"), "all is taken")
    site.python(WATCH_OFTEN)
    wait_for(lambda: site.rows("SELECT id FROM letters_lettermap WHERE method = 'umap'"), "the maps are made")
    wait_for(lambda: site.rows("SELECT id FROM letters_export WHERE state = 'done'"), "the export is made")


def _over_its_limit(site: Site) -> dict[str, Any] | None:
    found: dict[str, Any] = ready(site, BEARER)["checks"]["queues"]
    return found if found["state"] == "degraded" else None


# --- The schedule ---------------------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A Redis of this test alone."""
    with EmbeddedRedis(tmp_path / "redis") as started:
        settings.REDIS_URL = started.url
        metrics.client.cache_clear()
        monkeypatch.setitem(settings.QUEUE_LIMITS, "exports", LIMIT)
        with app.connection_for_write(started.url) as connection, redis.Redis.from_url(started.url) as client:
            monkeypatch.setattr(app, "connection_for_write", lambda *_, **__: connection)
            yield client
    metrics.client.cache_clear()


class Entry:
    """A line of the schedule, as far as sending it goes."""

    def __init__(self, task: str, **options: str) -> None:
        self.name, self.task, self.args, self.kwargs, self.options = task, task, (), {}, options


@pytest.mark.django_db
def test_the_schedule_sends_nothing_to_a_queue_over_its_limit(broker: redis.Redis) -> None:
    """Nor where a line of it names the queue itself; one that is none of ours has no limit."""
    scheduler = Scheduler(app=app, lazy=True)
    with app.connection_for_write().Producer() as producer:
        for _ in range(12):
            scheduler.apply_async(Entry("letters.tasks.purge"), producer=producer, advance=False)
            scheduler.apply_async(Entry("letters.tasks.watch", queue="exports"), producer=producer, advance=False)
            scheduler.apply_async(Entry("letters.tasks.watch", queue="another"), producer=producer, advance=False)
    assert broker.llen("letterloop:exports") == LIMIT + 1
    assert broker.llen("letterloop:another") == 12


def test_where_a_task_waits() -> None:
    """As Celery routes it: one of each queue."""
    names = [each.name for each in vars(tasks).values() if getattr(each, "name", "").startswith("letters.")]
    routed = {name: app.amqp.router.route({}, name)["queue"].name for name in names}
    assert {name: messages.queue_of(name) for name in names} == routed
    assert set(routed.values()) == {"inference", "examination", "training", "maps", "exports"}
