"""A worker loads what was registered, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml import artifact
from tests.letters.visitor import CANVAS, Visitor, Z, refused
from tests.running import Site, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def digest(frail_site: Site) -> str:
    """Of the model that serves."""
    (row,) = frail_site.rows("SELECT digest FROM letters_modelversion m JOIN letters_serving s ON s.model_id = m.id")
    return str(row["digest"])


@pytest.fixture
def stored(frail_site: Site, digest: str) -> Iterator[Path]:
    """The model's file in storage; made whole again after the test."""
    path = frail_site.folder / "media" / "models" / digest / "model.tflite"
    whole = path.read_bytes()
    yield path
    if path.read_bytes() == whole:
        return
    path.write_bytes(whole)
    frail_site.worker.kill()  # what it may have noticed is forgotten
    frail_site.worker.start()
    frail_site.wait_until_ready()


@pytest.fixture
def cached(frail_site: Site, digest: str) -> Path:
    """The model's file on the worker's machine."""
    return frail_site.folder / "cache" / "models" / digest / "model.tflite"


def spoil(path: Path) -> None:
    """Change one byte in the middle: a file that still looks like a model."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def restart_worker(site: Site) -> None:
    site.worker.kill()
    site.worker.start()


def test_it_works(frail_site: Site, digest: str, cached: Path, stored: Path) -> None:
    assert cached.read_bytes() == stored.read_bytes()
    assert artifact.verify(cached.parent, digest) == digest


@pytest.mark.parametrize(
    "damage", [spoil, Path.unlink, lambda path: path.write_bytes(b"")], ids=["a bit", "gone", "empty"]
)
def test_a_damaged_file_on_this_machine_is_fetched_anew(
    frail_site: Site, cached: Path, stored: Path, frail_visitor: Callable[[], Visitor], damage: Callable[[Path], None]
) -> None:
    before = frail_visitor().predict()
    damage(cached)
    restart_worker(frail_site)
    frail_site.wait_until_ready()
    assert frail_visitor().predict()["probabilities"] == before["probabilities"]
    assert cached.read_bytes() == stored.read_bytes()


def test_a_damaged_file_in_storage_is_never_loaded(
    frail_site: Site, cached: Path, stored: Path, digest: str, frail_visitor: Callable[[], Visitor]
) -> None:
    spoil(stored)
    spoil(cached)
    written = len(frail_site.worker.log())
    restart_worker(frail_site)
    visitor = frail_visitor()

    def refusals() -> int:
        response = visitor.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS})
        refused(response, 503, "inference_unavailable")
        return frail_site.worker.log()[written:].count("cannot predict")

    wait_for(refusals, "the worker logs what it refuses")
    assert "model.tflite is not the file that was registered" in frail_site.worker.log()[written:]
    wait_for(lambda: not list(cached.parent.parent.glob(".fetching-*")), "nothing is left")
