"""What a map is made of: the EMNIST letters of a model, its reference first, and the drawings that were approved."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings

from letters import census, errors, registry, snapshots
from letters.models import Drawing, LetterMap, ModelVersion
from ml import artifact, emnist
from ml.labels import CLASS_COUNT, index_of

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Report = Callable[[float, str], None]

SAME = 0.05  # features of one image by the same layers differ less, whatever machine computed them
COMPARED = 16  # reference letters that are looked up in the archive before it is taken for the model's own
READ_AT_ONCE = 500  # drawings
TOLD_EVERY = 200  # images
OTHERS = ("balanced", "bymerge", "byclass")  # datasets to take where the model's own is not in the archive


@dataclass(frozen=True)
class Emnist:
    """EMNIST letters that a model read: labels (N,), probabilities (N, 37), features (N, 128), images where known.

    The rest is as in letters.map_files.Letters.
    """

    labels: Bytes
    probabilities: Floats
    features: Floats
    images: Bytes | None
    reference: int
    reference_of: str
    indices: npt.NDArray[np.int32]
    archive: str

    def __len__(self) -> int:
        return len(self.labels)


# --- EMNIST --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)  # of the one model that serves
def reference(folder: Path) -> Emnist:
    """The reference letters that an artefact brings along, without images."""
    letters = artifact.emnist_reference(folder)
    return Emnist(
        labels=letters.labels,
        probabilities=artifact.load_head(folder).probabilities(letters.features),
        features=letters.features,
        images=None,
        reference=len(letters),
        reference_of=hashlib.sha256(letters.labels.tobytes()).hexdigest()[:16],
        indices=np.full(len(letters), -1, np.int32),
        archive="",
    )


def emnist_of(model: ModelVersion, space: str, tell: Report) -> Emnist:
    """The EMNIST letters of a map, MAP_SAMPLE at most: the reference letters, then others of the archive that the model
    was trained on, where that is there.

    With any other archive, pixels are those of letters of that one; features then are of the reference alone.
    Raises CannotMap, ml.artifact.BadArtifact, ml.emnist.ArchiveError.
    """
    folder = registry.fetch(model.digest)
    known = _first(reference(folder), settings.MAP_SAMPLE)
    name, letters = archive_of(model)
    if letters is None:
        if space == LetterMap.Space.PIXELS:
            raise errors.CannotMap(
                f"a map of pixels needs the EMNIST archive, and there is none at {emnist.archive_path()}:"
                " point EMNIST_ARCHIVE at one, for the trainer too"
            )
        return known
    indices = reference_indices(model, folder, letters)
    if indices is None:
        return (
            known
            if space == LetterMap.Space.FEATURES
            else _of_archive(folder, name, letters, np.empty(0, np.intp), tell)
        )
    indices = indices[: len(known)]
    own = replace(known, images=letters.images[indices], indices=indices.astype(np.int32), archive=name)
    return _joined(own, _of_archive(folder, name, letters, indices, tell))


def archive_of(model: ModelVersion) -> tuple[str, emnist.Letters | None]:
    """Training images of the model's own dataset, else of another that the archive has; nothing without an archive.

    Raises ml.emnist.ArchiveError.
    """
    if not emnist.archive_path().is_file():
        return "", None
    own = str(model.config.get("train", {}).get("dataset", ""))
    there = emnist.datasets()
    name = next((each for each in (own, *OTHERS) if each in there), own or OTHERS[0])
    return name, emnist.load_letters(name, "train")


def reference_indices(model: ModelVersion, folder: Path, letters: emnist.Letters) -> npt.NDArray[np.intp] | None:
    """Which of the archive's letters the reference is made of; None where the model was trained on another archive."""
    known = artifact.emnist_reference(folder)
    indices = artifact.reference_of(letters.labels, int(model.config.get("train", {}).get("seed", 0)))
    if not np.array_equal(letters.labels[indices], known.labels):
        return None
    some = np.linspace(0, len(indices) - 1, COMPARED).astype(int)
    _, features = _read(folder, letters.images[indices[some]], _silently)
    away = np.linalg.norm(features - known.features[some], axis=1)
    return indices if (away <= SAME * np.linalg.norm(features, axis=1)).all() else None


def _of_archive(
    folder: Path, name: str, letters: emnist.Letters, without: npt.NDArray[np.intp], tell: Report
) -> Emnist:
    """So many letters of an archive that with those it is to go `without` MAP_SAMPLE are reached."""
    chosen = balanced(letters.labels, without, max(0, settings.MAP_SAMPLE - len(without)))
    probabilities, features = _read(folder, letters.images[chosen], tell)
    return Emnist(
        labels=letters.labels[chosen],
        probabilities=probabilities,
        features=features,
        images=letters.images[chosen],
        reference=0,
        reference_of="",
        indices=chosen.astype(np.int32),
        archive=name,
    )


def balanced(labels: Bytes, without: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Positions of `count` letters, as many of each class as there can be, `without` some; always the same ones."""
    free = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(labels)), without))
    rank = np.empty(len(free), int)
    for label in range(CLASS_COUNT):
        of_class = labels[free] == label
        rank[of_class] = np.arange(of_class.sum())
    chosen: npt.NDArray[np.intp] = free[np.argsort(rank, kind="stable")[:count]]
    return chosen


def _first(letters: Emnist, count: int) -> Emnist:
    """Any first part of a reference is a fair sample of it."""
    return replace(
        letters,
        labels=letters.labels[:count],
        probabilities=letters.probabilities[:count],
        features=letters.features[:count],
        reference=min(letters.reference, count),
        indices=letters.indices[:count],
    )


def _joined(first: Emnist, then: Emnist) -> Emnist:
    both = ("labels", "probabilities", "features", "images", "indices")
    return replace(first, **{name: np.concatenate([getattr(first, name), getattr(then, name)]) for name in both})


def _read(folder: Path, images: Bytes, tell: Report) -> tuple[Floats, Floats]:
    """Probabilities (N, 37) and features (N, 128) of images."""
    from ml.predictor import Predictor  # LiteRT is the workers'

    predictor = Predictor(folder)
    probabilities, features = np.empty((len(images), CLASS_COUNT), np.float32), np.empty((len(images), 128), np.float32)
    for at, image in enumerate(images):
        if at % TOLD_EVERY == 0:
            tell(at / len(images), "reading letters of the archive")
        reading = predictor.predict(image)
        probabilities[at], features[at] = reading.probabilities, reading.features
    return probabilities, features


def _silently(share: float, words: str) -> None:
    pass


# --- What was collected --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """Approved drawings: ids, labels (M,), and features (M, 128) or images (M, 784)."""

    ids: list[uuid.UUID]
    labels: Bytes
    vectors: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.ids)


def shown_ids() -> set[uuid.UUID]:
    """The drawings that belong on maps: all that are approved, or MAP_COLLECTED of them where there are more, as many
    of each class as there can be, half of them those that were approved last."""
    approved = Drawing.objects.filter(state=Drawing.State.APPROVED)
    if census.up_to(approved, settings.MAP_COLLECTED) <= settings.MAP_COLLECTED:
        return set(approved.order_by().values_list("pk", flat=True))
    each = settings.MAP_COLLECTED // CLASS_COUNT
    sample = snapshots.sampled(approved, newest=each // 2, by_chance=each - each // 2)
    return set().union(*sample.values())


def drawn(model: ModelVersion, space: str, tell: Report) -> Drawn:
    """The drawings that belong on maps now. Raises ml.artifact.BadArtifact."""
    approved = Drawing.objects.filter(state=Drawing.State.APPROVED)
    wanted = sorted(shown_ids())
    ids: list[uuid.UUID] = []
    labels: list[int] = []
    vectors = [np.empty((0, 784), np.uint8) if space == LetterMap.Space.PIXELS else np.empty((0, 128), np.float32)]
    for at in range(0, len(wanted), READ_AT_ONCE):
        tell(at / len(wanted), "bringing together what was collected")
        some = list(approved.filter(pk__in=wanted[at : at + READ_AT_ONCE]).defer("strokes").order_by("pk"))
        ids += [each.pk for each in some]
        labels += [index_of(each.label) for each in some]
        vectors.append(_vectors_of(some, model, space))
    return Drawn(ids, np.array(labels, np.uint8), np.concatenate(vectors))


def _vectors_of(drawings: list[Drawing], model: ModelVersion, space: str) -> npt.NDArray[Any]:
    if space == LetterMap.Space.PIXELS:
        return pixels_of(bytes(each.image) for each in drawings)
    from letters.examine import features_of  # LiteRT is the workers'

    return features_of(drawings, model.digest)


def pixels_of(images: Iterable[bytes]) -> Bytes:
    """Images as rows of 784 grey values."""
    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, 784)
