"""The sites and visitors of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests.letters.training import Maintainer, tiny_archive
from tests.letters.visitor import Visitor
from tests.running import Site, running_site

_addresses = count(1)
DATABASES = {"site", "frail_site", "training_site", "db", "transactional_db"}  # fixtures that bring one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks a database is marked as such: those tests are run on PostgreSQL as well."""
    for item in items:
        if item.get_closest_marker("django_db") or DATABASES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.database)


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """In this process: to hash one as a site does takes a quarter of a second."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    """Of this test alone."""
    settings.MEDIA_ROOT = settings.VAR_DIR = tmp_path
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    return tmp_path


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    """Somebody new."""
    with Visitor(site) as somebody:
        yield somebody


@pytest.fixture(scope="session")
def frail_site() -> Iterator[Site]:
    """A site whose parts a test may break and must mend; its quotas are small, and a proxy names its visitors."""
    env = {"DRAWINGS_PER_DAY": "5", "THROTTLE_PREDICTIONS": "60/min", "THROTTLE_DRAWINGS": "60/min", "PROXIES": "1"}
    env |= {
        "THROTTLE_KEPT": "10/hour",
        "THROTTLE_CONTRIBUTORS": "8/hour",
        "THROTTLE_REPORTS": "6/hour",
        "THROTTLE_PICTURES": "7/min",
    }
    with running_site(own_redis=True, processes=2, env=env) as started:
        yield started


@pytest.fixture
def frail_visitor(frail_site: Site) -> Iterator[Callable[[], Visitor]]:
    """Makes visitors of the frail site, each at an address of his own, so that none uses up another's throttle."""
    made: list[Visitor] = []

    def make() -> Visitor:
        number = next(_addresses)
        made.append(Visitor(frail_site, f"10.0.{number // 256}.{number % 256}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def training_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a trainer, whose tests may break it and must mend it. A worker's silence is noticed sooner here, and
    the broker delivers again what takes longer than a second."""
    archive = tiny_archive(tmp_path_factory.mktemp("emnist") / "emnist.zip")
    env = {"RUN_STALE_AFTER": "30", "MAP_STALE_AFTER": "5", "VISIBILITY_TIMEOUT": "1", "EMNIST_ARCHIVE": str(archive)}
    with running_site(own_redis=True, processes=1, env=env) as started:
        started.trainer.start()
        yield started


@pytest.fixture(scope="session")
def maintainer(training_site: Site) -> Iterator[Maintainer]:
    """Somebody who may retrain and promote."""
    with Maintainer(training_site) as somebody:
        yield somebody
