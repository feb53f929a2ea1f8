"""What these tests share. A server that one of them stops was started here, in a folder and on a port of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.servers import OwnRedis, own_redis
from tests.letters.training import Maintainer
from tests.letters.visitor import Visitor
from tests.running import Site


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    with own_redis(tmp_path_factory.mktemp("redis") / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def maintainer(site: Site) -> Maintainer:
    """One of the staff of the module's site, signed in."""
    return Maintainer(site)


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    with Visitor(site) as somebody:
        yield somebody


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode or not os.path.ismount(folder):
        pytest.skip("no disk can be mounted here: that takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
