"""Model versions: register one, say which serves, bring one to this machine."""

from __future__ import annotations

import logging
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max

from letters.errors import NoModel
from letters.models import Deployment, ModelVersion, Serving
from ml import artifact
from ml.embed import ReferenceMap, reference_points

log = logging.getLogger(__name__)


def current() -> ModelVersion:
    """The version that serves. Raises NoModel."""
    # without its metrics and configuration, which are large, and read with each prediction; they load when asked for
    serving = Serving.objects.select_related("model").defer("model__metrics", "model__config").first()
    if serving is None:
        raise NoModel
    return serving.model


def register(folder: Path, *, name: str, origin: ModelVersion.Origin) -> ModelVersion:
    """Put a verified, working artefact into storage and the register. Registering it again changes nothing.

    Raises ml.artifact.BadArtifact.
    """
    digest = artifact.verify(folder)
    known = ModelVersion.objects.filter(digest=digest).first()
    if known is not None and default_storage.exists(_stored(digest, "manifest.json")):
        return known
    artifact.smoke_test(folder)
    _upload(folder, digest)
    if known is not None:
        return known
    with transaction.atomic():
        highest = ModelVersion.objects.aggregate(highest=Max("number"))["highest"] or 0
        version, _ = ModelVersion.objects.get_or_create(
            digest=digest,
            defaults={
                "number": highest + 1,
                "name": name,
                "origin": origin,
                "metrics": artifact.read_json(folder, "metrics.json"),
                "config": artifact.read_json(folder, "config.json"),
            },
        )
    return version


def register_shipped() -> ModelVersion:
    """Register the model that ships with the code; it serves if nothing does, or if an older shipped one does."""
    version = register(artifact.SHIPPED, name="Shipped", origin=ModelVersion.Origin.SHIPPED)
    serving = Serving.objects.select_related("model").first()
    if serving is None:
        promote(version, actor="setup", reason="first model")
    elif serving.model.origin == ModelVersion.Origin.SHIPPED and serving.model.number < version.number:
        promote(version, actor="setup", reason="a newer model ships with this release")
    return version


@transaction.atomic
def promote(version: ModelVersion, *, actor: str, reason: str) -> None:
    """Let a version serve, and record it. Every worker follows with the next request."""
    serving = Serving.objects.select_for_update().select_related("model").first()
    if serving is not None and serving.model == version:
        return
    Deployment.objects.create(previous=serving.model if serving else None, model=version, actor=actor, reason=reason)
    Serving.objects.update_or_create(id=1, defaults={"model": version})


def fetch(digest: str) -> Path:
    """The folder of a registered artefact on this machine, fetched from storage where it is not here or was damaged.

    Raises ml.artifact.BadArtifact when storage itself holds another file than was registered.
    """
    folder: Path = settings.MODEL_CACHE_DIR / digest
    try:
        artifact.verify(folder, digest)
    except artifact.BadArtifact as problem:
        if folder.exists():
            log.warning("the model in the cache is damaged, fetching it again: %s", problem)
        _download(digest, folder)
    return folder


@lru_cache(maxsize=2)
def reference_map(digest: str) -> ReferenceMap:
    """The reference letters of a registered model."""
    return ReferenceMap(fetch(digest))


@lru_cache(maxsize=2)
def map_points(digest: str, count: int) -> list[tuple[float, float, int]]:
    """(x, y, class) of the first `count` reference letters, a fair sample of all of them."""
    plane, labels = reference_points(fetch(digest))
    return [
        (round(float(x), 3), round(float(y), 3), int(label))
        for (x, y), label in zip(plane[:count], labels[:count], strict=True)
    ]


def _stored(digest: str, name: str) -> str:
    return f"models/{digest}/{name}"


def _upload(folder: Path, digest: str) -> None:
    """The manifest goes last: an artefact without one is not there yet."""
    for name in (*artifact.FILES, "manifest.json"):
        stored = _stored(digest, name)
        default_storage.delete(stored)
        with (folder / name).open("rb") as opened:
            default_storage.save(stored, File(opened))


def _download(digest: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetching-"))
    try:
        for name in (*artifact.FILES, "manifest.json"):
            try:
                with default_storage.open(_stored(digest, name)) as stored, (aside / name).open("wb") as local:
                    shutil.copyfileobj(stored, local)
            except OSError as error:
                raise artifact.BadArtifact(f"the model {digest[:12]} cannot be read from storage ({error})") from error
        artifact.verify(aside, digest)
        _replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replace(aside: Path, folder: Path) -> None:
    """Another worker of this machine may be doing the same: whoever renames first has done it for both."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        aside.rename(folder)
    except OSError:
        artifact.verify(folder)
