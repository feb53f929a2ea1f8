from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command

from letters import errors, registry
from letters.models import Deployment, ModelVersion, Serving
from ml import artifact
from tests.letters.visitor import CANVAS, Visitor, Z
from tests.running import Site, wait_for

TRAINED = ModelVersion.Origin.TRAINED


@pytest.fixture(autouse=True)
def _private_folders(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MODEL_CACHE_DIR = tmp_path / "cache"


def copy_of_shipped(folder: Path, card: str) -> Path:
    """A whole artefact that differs from the shipped one in its card, and so in its digest."""
    shutil.copytree(artifact.SHIPPED, folder)
    (folder / "card.md").write_text(card)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["card.md"] = hashlib.sha256(card.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.django_db
def test_it_works() -> None:
    version = registry.register_shipped()
    assert (version.number, version.origin, version.digest) == (1, "shipped", artifact.digest_of(artifact.SHIPPED))
    assert version.metrics == artifact.read_json(artifact.SHIPPED, "metrics.json")
    assert registry.current() == version
    deployment = Deployment.objects.get()
    assert (deployment.previous, deployment.model, deployment.actor) == (None, version, "setup")
    fetched = registry.fetch(version.digest)
    assert artifact.verify(fetched) == version.digest


@pytest.mark.django_db
def test_no_model_serves() -> None:
    with pytest.raises(errors.NoModel):
        registry.current()


@pytest.mark.django_db
def test_registering_again_changes_nothing() -> None:
    first = registry.register_shipped()
    assert registry.register_shipped() == first
    call_command("register_shipped", verbosity=0)
    assert ModelVersion.objects.count() == Deployment.objects.count() == Serving.objects.count() == 1


@pytest.mark.django_db
def test_what_storage_lost_is_put_there_again() -> None:
    version = registry.register_shipped()
    default_storage.delete(f"models/{version.digest}/manifest.json")
    assert registry.register_shipped() == version
    assert artifact.verify(registry.fetch(version.digest)) == version.digest


@pytest.mark.django_db
def test_a_promotion_changes_one_row_and_is_recorded(tmp_path: Path) -> None:
    first = registry.register_shipped()
    second = registry.register(copy_of_shipped(tmp_path / "second", "Another."), name="Another", origin=TRAINED)
    assert (second.number, registry.current()) == (2, first)  # registered is not serving
    registry.promote(second, actor="ada", reason="reads better")
    assert registry.current() == second
    assert Serving.objects.count() == 1
    latest = Deployment.objects.first()
    assert latest
    assert (latest.previous, latest.model, latest.actor, latest.reason) == (first, second, "ada", "reads better")


@pytest.mark.django_db
def test_promoting_what_serves_records_nothing() -> None:
    version = registry.register_shipped()
    registry.promote(version, actor="ada", reason="once more")
    assert Deployment.objects.count() == 1


@pytest.mark.django_db
def test_a_release_does_not_take_over_from_a_model_trained_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register_shipped()
    trained = registry.register(copy_of_shipped(tmp_path / "own", "Our own."), name="Own", origin=TRAINED)
    registry.promote(trained, actor="ada", reason="knows our pupils")
    monkeypatch.setattr(artifact, "SHIPPED", copy_of_shipped(tmp_path / "release", "The next release."))
    newer = registry.register_shipped()
    assert (newer.number, registry.current()) == (3, trained)


@pytest.mark.django_db
def test_a_release_takes_over_from_an_older_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register_shipped()
    monkeypatch.setattr(artifact, "SHIPPED", copy_of_shipped(tmp_path / "release", "The next release."))
    newer = registry.register_shipped()
    assert (newer.number, registry.current()) == (2, newer)


@pytest.mark.django_db
@pytest.mark.parametrize("name", [*artifact.FILES, "manifest.json"])
def test_a_damaged_artefact_is_not_registered(tmp_path: Path, name: str) -> None:
    folder = copy_of_shipped(tmp_path / "damaged", "Damaged.")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(artifact.BadArtifact):
        registry.register(folder, name="Damaged", origin=TRAINED)
    assert not ModelVersion.objects.exists()
    assert not default_storage.exists("models")


@pytest.mark.django_db
def test_an_artefact_that_predicts_something_else_is_not_registered(tmp_path: Path) -> None:
    """Its hashes are right, and yet it does not do what was recorded when it was made."""
    folder = copy_of_shipped(tmp_path / "other", "Other.")
    smoke = {letter: [1 / 37] * 37 for letter in artifact.SMOKE_STROKES}
    (folder / "smoke.json").write_text(json.dumps(smoke))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["smoke.json"] = hashlib.sha256((folder / "smoke.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(artifact.BadArtifact, match="not predicted as recorded"):
        registry.register(folder, name="Other", origin=TRAINED)
    assert not ModelVersion.objects.exists()


PROMOTE = """
import django; django.setup()
from pathlib import Path
from letters import registry
from letters.models import ModelVersion
version = registry.register(Path({folder!r}), name="Another", origin=ModelVersion.Origin.TRAINED)
registry.promote(version, actor="ada", reason="reads better")
print(version.digest[:12])
"""
GO_BACK = """
import django; django.setup()
from letters import registry
from letters.models import ModelVersion
registry.promote(ModelVersion.objects.get(number=1), actor="ada", reason="it did not")
"""


@pytest.mark.slow
def test_workers_follow_a_promotion_without_a_restart(
    frail_site: Site, frail_visitor: Callable[[], Visitor], tmp_path: Path
) -> None:
    visitor, worker = frail_visitor(), frail_site.worker.pid
    before = visitor.predict()
    assert before["model"]["version"] == 1
    printed = frail_site.python(PROMOTE.format(folder=str(copy_of_shipped(tmp_path / "second", "Another."))))
    digest = printed.split()[-1]
    try:
        # The first answer may take a worker longer than a visitor is kept waiting: it fetches the new model.
        wait_for(
            lambda: visitor.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS}).status_code == 200,
            "the new model answers",
        )
        after = visitor.predict()
        assert after["model"] == {"version": 2, "digest": digest}
        assert visitor.get("/api/v1/models/current").json()["version"] == 2
        kept = visitor.keep(token=before["token"])  # shown before the change, confirmed after it
        assert visitor.see(kept["id"], kept["receipt"]).json()["model"] == before["model"]
    finally:
        frail_site.python(GO_BACK)
    assert visitor.predict()["model"]["version"] == 1
    assert frail_site.worker.pid == worker
    rows = frail_site.rows("SELECT reason FROM letters_deployment ORDER BY id")
    assert [row["reason"] for row in rows] == ["first model", "reads better", "it did not"]
