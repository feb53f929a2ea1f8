"""docs/operations.md names what there is: every setting, every number, every field of a line."""

from __future__ import annotations

import re
from typing import Any

from letters import exposition, health, metrics
from tests.running import FOREIGN, ROOT
from webapp import logs
from webapp.environment import READ_ELSEWHERE

DOCUMENTED = set(re.findall(r"`([A-Za-z_0-9]+)`", (ROOT / "docs" / "operations.md").read_text()))
NOT_OURS = {"AWS_SESSION_TOKEN"}  # of boto3, for whoever knows what it is


def test_every_setting_is_documented(settings: Any) -> None:
    names = settings.ENVIRONMENT_READER.names | (READ_ELSEWHERE - NOT_OURS)
    assert {"DRAWINGS_PER_DAY", "S3_TIMEOUT", "WEB_THREADS", "SECURE_HSTS_SECONDS"} <= names
    assert names - DOCUMENTED == set()


def test_no_site_of_the_tests_sees_a_developers_settings(settings: Any) -> None:
    """What a site is started with names those of its own; the others are left out."""
    named = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAR_DIR", "PORT"}
    data = {"EMNIST_ARCHIVE", "LETTERLOOP_STROKES", "LETTERLOOP_CHROMIUM"}
    keys = {name for name in READ_ELSEWHERE if name.startswith("AWS_")}
    assert (settings.ENVIRONMENT_READER.names | READ_ELSEWHERE) - named - data - keys - set(FOREIGN) == set()


def test_every_number_is_documented() -> None:
    names = {metric.name + ("" if metric.buckets else "_total") for metric in metrics.ALL}
    written = set(re.findall(r'"(letterloop_\w+)"', (ROOT / "letters" / "exposition.py").read_text()))
    assert len(written) > 5
    assert (names | written) - DOCUMENTED == set()
    assert {label for metric in metrics.ALL for label in metric.labels} - DOCUMENTED == set()
    assert exposition.JOBS.keys() - DOCUMENTED == set()


def test_every_field_and_every_part_is_documented() -> None:
    assert {*logs.FIELDS.values(), *logs.EXTRA, *logs.ALSO} - DOCUMENTED == set()
    assert health._QUESTIONS.keys() - DOCUMENTED == set()


def test_every_queue_has_a_limit(settings: Any) -> None:
    assert set(settings.QUEUE_LIMITS) == {queue.name for queue in settings.CELERY_TASK_QUEUES}
