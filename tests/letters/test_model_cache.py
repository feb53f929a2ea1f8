"""A machine keeps the models that it may need, and no others: its disk does not fill up with what served once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from letters import registry
from letters.models import ModelVersion
from tests.letters.test_registry import TRAINED, copy_of_shipped
from tests.running import ROOT, wait_for

LONG_AGO = time.time() - 2 * registry.UNUSED
READ = """
import sys, django; django.setup()
from letters import registry
for digest in sys.argv[1:]:
    registry.fetch(digest)
print("reads", flush=True)
sys.stdin.read()
"""

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def cache(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """Of this test alone, where other processes of the machine find it."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MODEL_CACHE_DIR = tmp_path / "cache" / "models"
    yield settings.MODEL_CACHE_DIR
    let_go()


def let_go() -> None:
    """As if this process began anew."""
    for opened in registry._held.values():
        os.close(opened)
    registry._held.clear()


def a_version(folder: Path, name: str) -> ModelVersion:
    return registry.register(copy_of_shipped(folder / name, name), name=name, origin=TRAINED)


def not_used_lately(cache: Path) -> None:
    for each in cache.iterdir():
        os.utime(each, (LONG_AGO, LONG_AGO))


def here(cache: Path, versions: list[ModelVersion]) -> list[int]:
    """Numbers of those that are on this machine."""
    return [each.number for each in versions if (cache / each.digest).is_dir()]


@contextmanager
def another_process(tmp_path: Path, *read: ModelVersion) -> Iterator[None]:
    """Of the same machine, which was given some models and reads them until the end of this."""
    env = os.environ | {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    command = [sys.executable, "-c", READ, *(each.digest for each in read)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "reads\n"
        yield
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def versions(tmp_path: Path, cache: Path) -> list[ModelVersion]:
    """Six, all of them on this machine and none used lately; the last serves, and before it the fifth did."""
    made = [a_version(tmp_path, f"number-{number}") for number in range(6)]
    for each in (*made[:3], *made[4:]):
        registry.promote(each, actor="ada", reason="to see")
    for each in made:
        registry.fetch(each.digest)
    let_go()
    not_used_lately(cache)
    return made


def comes(tmp_path: Path, name: str = "another") -> ModelVersion:
    """A new model, which this process is given."""
    version = a_version(tmp_path, name)
    registry.fetch(version.digest)
    return version


def test_it_works(tmp_path: Path, cache: Path, versions: list[ModelVersion]) -> None:
    """When another comes all go but the serving one and the one before it; nothing is left of them."""
    new = comes(tmp_path)
    assert here(cache, [*versions, new]) == [5, 6, 7]
    assert len(list(cache.iterdir())) == 3
    for gone in versions[:2]:  # they are still to be had
        assert registry.fetch(gone.digest).is_dir()
    registry.promote(versions[0], actor="ada", reason="back to the first")
    let_go()
    not_used_lately(cache)
    last = comes(tmp_path, "last")
    assert here(cache, [*versions, new, last]) == [1, 6, 8]


def test_what_was_used_within_a_day_stays(tmp_path: Path, cache: Path, versions: list[ModelVersion]) -> None:
    registry.fetch(versions[1].digest)
    let_go()
    new = comes(tmp_path)
    assert here(cache, [*versions, new]) == [2, 5, 6, 7]


def test_what_another_process_reads_stays_as_long_as_it_lives(
    tmp_path: Path, cache: Path, versions: list[ModelVersion]
) -> None:
    with another_process(tmp_path, versions[0], versions[2]):
        not_used_lately(cache)
        new = comes(tmp_path)
        assert here(cache, [*versions, new]) == [1, 3, 5, 6, 7]
    not_used_lately(cache)
    let_go()
    last = comes(tmp_path, "last")
    assert here(cache, [*versions, new, last]) == [5, 6, 8]


def test_a_process_holds_the_last_few_that_it_was_given(
    tmp_path: Path, cache: Path, versions: list[ModelVersion]
) -> None:
    """One that was given the same again is among the last."""
    given = versions[: registry.HELD]
    with another_process(tmp_path, *given, given[0], versions[registry.HELD]):
        not_used_lately(cache)
        new = comes(tmp_path)
        assert here(cache, [*versions, new]) == [1, 3, 4, 5, 6, 7]


def test_what_a_killed_process_left_goes(tmp_path: Path, cache: Path, versions: list[ModelVersion]) -> None:
    """Half a download, and half a deletion; not a download of this moment."""
    for name in (".fetching-dead", ".gone-dead"):
        (cache / name).mkdir()
        (cache / name / "model.tflite").touch()
        os.utime(cache / name, (LONG_AGO, LONG_AGO))
    (cache / ".fetching-alive").mkdir()
    new = comes(tmp_path)
    assert here(cache, [*versions, new]) == [5, 6, 7]
    assert [each.name for each in cache.iterdir() if each.name.startswith(".")] == [".fetching-alive"]


def test_a_model_comes_also_without_a_database(
    tmp_path: Path, cache: Path, versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions go by the digest alone; the others stay until the next time."""

    def away() -> set[str]:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(registry, "_last_two", away)
    new = comes(tmp_path)
    assert here(cache, [*versions, new]) == [1, 2, 3, 4, 5, 6, 7]


def test_who_comes_while_one_is_deleted_fetches_it_anew(
    tmp_path: Path, cache: Path, versions: list[ModelVersion]
) -> None:
    """Two processes, one of which deletes all that is old again and again while the other is given it."""
    old, fetched = versions[0], 0
    code = (
        "import os, django; django.setup()\n"
        "from pathlib import Path\n"
        "from letters import registry\n"
        f"folder = Path({str(cache / old.digest)!r})\n"
        "while os.getppid() > 1:\n"
        "    try: registry._delete(folder); print('deleted', flush=True)\n"
        "    except OSError: pass\n"
    )
    env = os.environ | {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=output)
    try:
        wait_for(lambda: "deleted" in log.read_text(), "it deletes", 30)
        for _ in range(20):
            while (cache / old.digest).exists():  # it is renamed, and its files are being deleted
                pass
            folder = registry.fetch(old.digest)
            registry.artifact.verify(folder, old.digest)  # held, it stays whole
            fetched += 1
            let_go()
        wait_for(lambda: log.read_text().count("deleted") >= 20, "all are deleted", 30)
    finally:
        process.kill()
        process.wait()
    assert fetched == 20
