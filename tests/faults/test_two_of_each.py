"""Two beats by mistake, and two trainers on purpose: nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.letters.training import Maintainer, approve
from tests.running import Part, Site, running_site, wait_for

pytestmark = [pytest.mark.long, pytest.mark.database]
NOTHING_TO_MAP = "no maps on schedule"
# What is for the night is due every three seconds.
NIGHT_AFTER_NIGHT = """
import django; django.setup()
from django_celery_beat.models import IntervalSchedule, PeriodicTask
often, _ = IntervalSchedule.objects.get_or_create(every=3, period="seconds")
for each in PeriodicTask.objects.filter(task__endswith="_on_schedule"):
    each.crontab, each.interval, each.enabled = None, often, True
    each.save()
print(sorted(each.task for each in PeriodicTask.objects.filter(interval=often)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(processes=1, own_redis=True, env={"RUN_STALE_AFTER": "5"}) as started:
        started.trainer.start()
        yield started


@pytest.fixture
def second(site: Site, tmp_path: Path) -> Iterator[list[Part]]:
    """Another beat and another trainer."""
    renamed = [word.replace("trainer@", "second@") for word in site.trainer._command]
    parts = [
        Part("beat two", site.beat._command, site.env, tmp_path / "beat"),
        Part("trainer two", renamed, site.env, tmp_path / "trainer"),
    ]
    yield parts
    for each in parts:
        each.kill()


def count(site: Site, query: str) -> int:
    return int(site.rows(f"SELECT count(*) AS n FROM {query}")[0]["n"])


def test_two_beats_and_two_trainers(site: Site, second: list[Part]) -> None:
    """What a night has to do is done once: one new model, and each kind of map asked for once."""
    Maintainer(site)
    approve(site, 5)
    kinds = count(
        site, "(SELECT DISTINCT method, space FROM letters_lettermap WHERE published_at IS NOT NULL) AS kinds"
    )
    assert "retrain_on_schedule" in site.python(NIGHT_AFTER_NIGHT)
    site.beat.start()
    for each in second:
        each.start()
    by_schedule = "letters_{} WHERE trigger = 'schedule'"
    at_work = f"{by_schedule.format('lettermap')} AND state = 'running'"
    wait_for(lambda: count(site, at_work), "one of the maps is made")
    before = site.worker.log().count(NOTHING_TO_MAP)
    wait_for(lambda: site.worker.log().count(NOTHING_TO_MAP) >= before + 4, "they are asked for again and again")
    assert count(site, by_schedule.format("lettermap")) == kinds
    query = by_schedule.format("trainingrun")
    wait_for(lambda: count(site, f"{query} AND candidate_id IS NOT NULL") == 1, "a retraining is done")
    again = f"{query} AND message LIKE 'there is nothing new to learn%%'"  # it waited while the first was at work

    def is_asked_again() -> bool:
        said = any("no retraining on schedule" in each.log() for each in (site.trainer, *second))
        return said or count(site, again) >= 1

    wait_for(is_asked_again, "another is asked")
    assert count(site, f"{query} AND candidate_id IS NOT NULL") == 1
    assert site.count("modelversion") == 2
    assert all(each.runs() for each in (*second, site.beat, site.trainer, site.worker))
