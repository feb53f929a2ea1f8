"""The data set itself, as pictures: the mean of each class and labelled examples, made once from the archive."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from letters import errors, map_files, map_sample, registry
from letters.models import LetterMap, ModelVersion
from ml import emnist
from ml.labels import CLASSES, index_of

EXAMPLES = 16  # of each class
ROOT = f"{map_files.ROOT}/emnist"  # in storage
MARK = f"{ROOT}/made.json"  # written last, so what is there is there whole; says of which dataset, and its counts


def are_there() -> bool:
    """Whether the pictures were made."""
    return default_storage.exists(MARK)


def make(model: ModelVersion) -> bool:
    """Make them where they are not there and an archive is; whether they are there. Raises ml.emnist.ArchiveError."""
    if are_there():
        return True
    dataset, letters = map_sample.archive_of(model)
    if letters is None:
        return False
    for label in CLASSES:
        images = letters.images[letters.labels == index_of(label)]
        _save(_name("mean", label), map_files.png(images.mean(axis=0).round().astype(np.uint8)))
        chosen = np.random.default_rng([0, index_of(label)]).permutation(len(images))[:EXAMPLES]
        _save(_name("examples", label), map_files.png(map_files.side_by_side(images[chosen], len(chosen))))
    counts = dict(zip(CLASSES, letters.counts().tolist(), strict=True))
    _save("made.json", json.dumps({"dataset": dataset, "classes": counts}).encode())
    return True


def _name(kind: str, label: str) -> str:
    """By number: some disks take a.png and A.png for one file."""
    return f"{kind}/{index_of(label)}.png"


def _save(name: str, content: bytes) -> None:
    default_storage.delete(f"{ROOT}/{name}")
    default_storage.save(f"{ROOT}/{name}", ContentFile(content))


def picture(kind: str, label: str) -> bytes:
    """A PNG: `mean` of a class, or its `examples` side by side. Raises MapNotFound."""
    if label not in CLASSES:
        raise errors.MapNotFound(f"the classes are {' '.join(CLASSES)}")
    if not are_there():
        raise errors.MapNotFound(
            f"there are no pictures of EMNIST: they are made from the archive by the trainer, which looks for it at "
            f"{emnist.archive_path()} (EMNIST_ARCHIVE)"
        )
    with default_storage.open(f"{ROOT}/{_name(kind, label)}") as stored:
        content: bytes = stored.read()
    return content


def summary() -> dict[str, Any]:
    """Letters by class, those that the serving model takes for others most often, and whether there are pictures.

    Without the archive the letters are those of the map. Raises NoModel.
    """
    model = registry.current()
    confused = model.metrics.get("test", {}).get("confusions", [])
    pictures = made()
    return {
        "model": model,
        "dataset": pictures["dataset"] if pictures else str(model.metrics.get("dataset", "")),
        "classes": pictures["classes"] if pictures else _on_the_map(),
        "confused": [{"label": e["label"], "predicted": e["read_as"], "count": e["count"]} for e in confused],
        "has_images": pictures is not None,
    }


def made() -> dict[str, Any] | None:
    """Of which `dataset` the pictures were made, and its training letters by class, `classes`; None without them."""
    if not are_there():
        return None
    with default_storage.open(MARK) as stored:
        value: dict[str, Any] = json.loads(stored.read())
    return value


def _on_the_map() -> dict[str, int]:
    found = LetterMap.objects.exclude(published_at=None).order_by("-published_at").first()
    return dict(found.counts) if found else {}
