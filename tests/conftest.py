"""The site that the tests share; each run has one of its own. And the order in which they run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.servers import Postgres, own_postgres, postgres_programs
from tests.running import Site, running_site

# A machine that has more to do is no fault of what is tested.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


LONGEST = ("tests/browser/test_loop.py", "tests/test_setup.py", "tests/ml/test_embed.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those in a browser after all others: once Playwright runs, Django lets this thread ask no database any more.
    And files with tests that empty the database after others, for what migrations put into it is gone then. The longest
    come first among their likes: else one of two processes may begin it when the other has nothing left to do."""
    emptying = {_file(item) for item in items if _empties_the_database(item)}

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        file = _file(item)
        return file.startswith("tests/browser/"), file in emptying, file not in LONGEST

    items.sort(key=place)
    _put_in_order(items)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _empties_the_database(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return marker is not None and bool(marker.kwargs.get("transaction"))


def _put_in_order(items: list[pytest.Item]) -> None:
    """The tests of a class that is marked `in_order` tell of one day: as they stand there, for each parameter anew."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        if item.get_closest_marker("in_order"):
            places[item.nodeid.rpartition("::")[0]].append(at)
    for taken in places.values():
        parameters = list(dict.fromkeys(_parameters(items[at]) for at in taken))
        ordered = sorted(
            (items[at] for at in taken), key=lambda item: (parameters.index(_parameters(item)), _line(item))
        )
        for at, item in zip(taken, ordered, strict=True):
            items[at] = item


def _parameters(item: pytest.Item) -> str:
    return item.name.partition("[")[2]


def _line(item: pytest.Item) -> int:
    return item.location[1] or 0


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A whole site, started once. Tests on it find rows that others left: count what you add."""
    with running_site() as started:
        yield started


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL that the tests of a file may stop and set as they like."""
    if postgres_programs() is None:
        pytest.skip("there are no programs of PostgreSQL on this machine")
    with own_postgres(tmp_path_factory.mktemp("postgres") / "postgres") as server:
        yield server
