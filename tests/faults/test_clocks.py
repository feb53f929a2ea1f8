"""Machines whose clocks are ten minutes off, or are set while they run."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis
from django.utils import timezone

from letters.metrics import WATCHED
from letters.models import Export
from letters.privacy import delete_drawings
from tests.faults.asking import heals, in_time, keeper, predict
from tests.faults.clocks import Clock
from tests.faults.servers import Postgres
from tests.letters.collected import a_drawing
from tests.letters.training import Maintainer, approve, watch
from tests.letters.visitor import Visitor
from tests.running import Part, Site, running_site, wait_for

pytestmark = pytest.mark.long
TEN_MINUTES = 600.0


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    """Of the machine that the workers, the trainer and beat are on; the web's is right."""
    return Clock(tmp_path_factory.mktemp("clock"), 0)


@pytest.fixture(scope="module")
def site(clock: Clock, postgres_server: Postgres) -> Iterator[Site]:
    """On PostgreSQL: only that has a clock of its own."""
    env = {"RUN_STALE_AFTER": "15", "MAP_STALE_AFTER": "15", "DATABASE_URL": postgres_server.url}
    with running_site(processes=1, own_redis=True, env=env) as started:
        for part in (started.worker, started.trainer, started.beat):
            part._env = clock.env(part._env)
            part.kill()
            part.start()
        started.wait_until_ready()
        yield started


def test_the_clock_is_set_as_this_says(clock: Clock) -> None:
    """Else nothing below says anything."""
    asked = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    clock.set(TEN_MINUTES)
    times = [
        [float(each) for each in subprocess.run(asked, env=env, capture_output=True, check=True).stdout.split()]
        for env in (dict(os.environ), clock.env(os.environ))
    ]
    clock.set(0)
    (here, here_count), (there, there_count) = times
    assert there - here == pytest.approx(TEN_MINUTES, abs=30)
    assert there_count - here_count == pytest.approx(0, abs=30)


def is_examined(site: Site, key: str) -> bool:
    query = (
        "SELECT 1 AS one FROM letters_examination e JOIN letters_drawing d ON d.id = e.drawing_id"
        " WHERE d.idempotency_key = %s"
    )
    return bool(site.rows(query, key))


def forget_examinations(site: Site) -> None:
    """What `watch` alone finds."""
    site.rows("DELETE FROM letters_examination")
    site.rows("UPDATE letters_drawing SET examined_by_id = NULL")


def comes_by(site: Site) -> None:
    """Wait until `watch` was sent and done twice: the first time by what the clock showed before, perhaps."""
    with redis.Redis.from_url(site.env["REDIS_URL"]) as client:
        for _ in range(2):
            before = client.get(WATCHED)
            wait_for(lambda before=before: client.get(WATCHED) != before, "watch comes by", 60)


@pytest.mark.parametrize(
    ("before", "ahead"),
    [(0.0, TEN_MINUTES), (TEN_MINUTES, -TEN_MINUTES), (-TEN_MINUTES, 0.0)],
    ids=["ahead", "behind", "set right again"],
)
def test_workers_whose_clock_is_wrong(
    before: float, ahead: float, site: Site, maintainer: Maintainer, visitor: Visitor, clock: Clock
) -> None:
    """Set while they run. They read, examine, retrain once, and what was left undone is looked after."""
    clock.set(before)
    comes_by(site)
    clock.set(ahead)
    heals(visitor, 20)
    for _ in range(3):
        assert in_time(lambda: predict(visitor)).status_code == 200
    key = f"clock-{ahead:+.0f}-key"
    assert keeper(visitor, key)().status_code == 201
    wait_for(lambda: is_examined(site, key), "it is examined", 30)
    approve(site, 5)
    done = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    assert (done["state"], done["attempts"]) == ("done", 1), done
    for _ in range(2):  # the first may be found by what a promotion sends
        forget_examinations(site)
        wait_for(lambda: is_examined(site, key), "beat has it looked after", 45)


@pytest.mark.parametrize(("others", "own"), [(TEN_MINUTES, 0.0), (0.0, -TEN_MINUTES)], ids=["others ahead", "behind"])
def test_a_living_worker_is_not_taken_for_dead(
    others: float, own: float, site: Site, maintainer: Maintainer, clock: Clock, tmp_path: Path
) -> None:
    """A trainer on a machine of its own has a run; by the clocks of the others it is silent since ten minutes."""
    clock.set(others)
    site.trainer.kill()
    second = Part("second", _named(site.trainer._command), Clock(tmp_path, own).env(site.env), tmp_path / "log")
    second.start()
    approve(site, 5)
    run = maintainer.start("full", epochs=1000)["run"]["id"]
    try:
        maintainer.wait_until(run, "is begun", lambda each: each["state"] == "running")
        site.trainer.start()
        _wait_until_looked_after(site, run, 3 * float(site.env["RUN_STALE_AFTER"]))
        found = maintainer.run(run)
        assert (found["state"], found["attempts"]) == ("running", 1), found
    finally:
        maintainer.cancel(run)
        second.kill()


def _named(command: list[str]) -> list[str]:
    return [word.replace("trainer@", "second@") for word in command]


def _wait_until_looked_after(site: Site, run: str, seconds: float) -> None:
    """Until the run is so much older, and was looked after all the while."""

    def heartbeat() -> datetime:
        (row,) = site.rows("SELECT heartbeat_at FROM letters_trainingrun WHERE id = %s", uuid.UUID(run))
        return datetime.fromisoformat(str(row["heartbeat_at"]))

    first = heartbeat()

    def older() -> bool:
        watch(site)
        return (heartbeat() - first).total_seconds() > seconds

    wait_for(older, "the run goes on")


@pytest.mark.django_db
@pytest.mark.database
def test_an_export_by_a_clock_that_is_behind_is_refused_all_the_same() -> None:
    """When a drawing in it is withdrawn: by the clock of the trainer it was finished before the drawing was made."""
    drawing = a_drawing("Z")
    done = Export.objects.create(
        format="ndjson",
        state="done",
        requested_by="ada",
        stored="exports/letters.zip",
        finished_at=timezone.now() - timedelta(seconds=TEN_MINUTES),
    )
    delete_drawings([drawing.pk])
    done.refresh_from_db()
    assert not done.can_be_had
