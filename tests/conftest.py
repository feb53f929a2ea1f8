"""The site that the tests share; each run has one of its own. And the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Site, running_site


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those in a browser after all others: once Playwright runs, Django lets this thread ask no database any more."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/browser/"))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A whole site, started once. Tests on it find rows that others left: count what you add."""
    with running_site() as started:
        yield started
