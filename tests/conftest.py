"""The site that the tests share; each run has one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Site, running_site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A whole site, started once. Tests on it find rows that others left: count what you add."""
    with running_site() as started:
        yield started
