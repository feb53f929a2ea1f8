"""Maps of all letters, EMNIST and collected: ask for one, make it, publish it whole, and say what it shows."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from letters import errors, map_files, map_sample, registry
from letters.map_files import Floats, Letters, Readings
from letters.map_sample import Emnist
from letters.models import Drawing, LetterMap, MapPoint, ModelVersion, Serving
from ml import embed
from ml.labels import CLASS_COUNT, CLASSES, index_of

Method, Space, State, Trigger = LetterMap.Method, LetterMap.Space, LetterMap.State, LetterMap.Trigger

SHIPPED = (Method.UMAP, Method.PCA)  # in feature space: what an artefact suffices for
EXPLAINED_DIGITS = 5


# --- What there is -------------------------------------------------------------------------------------------------


def published() -> QuerySet[LetterMap]:
    """Maps that can be looked at, the newest first."""
    return LetterMap.objects.exclude(published_at=None).select_related("model").order_by("-published_at", "-created_at")


def current() -> list[LetterMap]:
    """The newest map of each method and space, in the order of the methods."""
    newest: dict[tuple[str, str], LetterMap] = {}
    for each in published().defer("model__metrics", "model__config"):
        newest.setdefault((each.space, each.method), each)
    return sorted(newest.values(), key=lambda each: (each.space, Method.values.index(each.method)))


def current_of(method: str, space: str) -> LetterMap:
    """The newest map of a method and space. Raises MapNotFound."""
    found = published().filter(method=method, space=space).first()
    if found is None:
        raise errors.MapNotFound(f"there is no map by {method} of {space} yet; GET /api/v1/maps lists those there are")
    return found


def find(map_id: uuid.UUID) -> LetterMap:
    """A published map. Raises MapNotFound."""
    found = published().filter(pk=map_id).first()
    if found is None:
        raise errors.MapNotFound("there is no such map; a newer one may have taken its place: GET /api/v1/maps")
    return found


def making() -> list[LetterMap]:
    """Maps on their way, the oldest first."""
    return list(LetterMap.objects.filter(state__in=(State.QUEUED, State.RUNNING)).order_by("created_at"))


def collected_counts(maps: Iterable[LetterMap]) -> dict[uuid.UUID, dict[str, int]]:
    """How many collected drawings each map shows now, by class."""
    shown = MapPoint.objects.filter(map__in=list(maps), drawing__state=Drawing.State.APPROVED)
    counts: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for map_id, label, count in shown.values_list("map_id", "drawing__label").annotate(count=Count("pk")):
        counts[map_id][label] = count
    return counts


def emnist_points(found: LetterMap) -> bytes:
    """The columns of the EMNIST letters, compressed by gzip. Raises MapNotFound where storage lost them."""
    return file_of(found, map_files.POINTS)


def file_of(found: LetterMap, name: str) -> bytes:
    """A file of a map. Raises MapNotFound where it has none of that name."""
    try:
        return map_files.read(found.files, name)
    except FileNotFoundError as error:
        raise errors.MapNotFound(f"this map has no {name}, or not yet") from error


def collected_points(found: LetterMap) -> bytes:
    """The columns of the approved drawings that are on a map now."""
    examined = [f"drawing__examination__{name}" for name in ("predicted", "probability", "label_probability")]
    rows = found.points.filter(drawing__state=Drawing.State.APPROVED).order_by("pk").values_list(
        "x", "y", "drawing_id", "drawing__label", "drawing__predicted", "drawing__probability", *examined
    )  # fmt: skip
    plane, ids, labels, readings = [], [], [], []
    for x, y, drawing, label, predicted, probability, *newest in rows.iterator(2_000):
        plane.append((x, y))
        ids.append(drawing.bytes)
        labels.append(index_of(label))
        read, sure, of_label = newest if newest[0] else (predicted, probability, 1.0)
        readings.append((index_of(read), sure, of_label))
    columns = np.array(readings, np.float32).reshape(-1, 3)
    read = Readings(columns[:, 0].astype(np.uint8), columns[:, 1], columns[:, 2])
    places = np.array(plane, np.float32).reshape(-1, 2)
    return map_files.packed(places, np.array(labels, np.uint8), read, collected=True, ids=b"".join(ids))


# --- What a model brings along -------------------------------------------------------------------------------------


def publish_reference(model: ModelVersion, trigger: str = Trigger.SETUP) -> list[LetterMap]:
    """Publish the maps that follow from an artefact alone, in a second: no archive, no fit that takes long.

    UMAP's plane came with the reference letters. A model whose layers below the last have such maps gets no others.
    Raises ml.artifact.BadArtifact.
    """
    missing = [method for method in SHIPPED if not _of_trunk(method, model).exists()]
    if not missing:
        return []
    folder = registry.fetch(model.digest)
    letters = map_sample.reference(folder)
    fitted = {Method.UMAP: lambda: embed.Fitted(embed.reference_points(folder)[0]), Method.PCA: lambda: _pca(letters)}
    return [_publish_reference(method, model, letters, fitted[method](), trigger) for method in missing]


def _of_trunk(method: str, model: ModelVersion) -> QuerySet[LetterMap]:
    return published().filter(method=method, space=Space.FEATURES, trunk=registry.trunk_of(model))


def _pca(letters: Emnist) -> embed.Fitted:
    earlier = published().filter(method=Method.PCA, space=Space.FEATURES).first()
    return embed.fit("pca", letters.features, start=start_of(earlier, letters))


def _publish_reference(
    method: str, model: ModelVersion, letters: Emnist, fitted: embed.Fitted, trigger: str
) -> LetterMap:
    made = LetterMap(
        method=method,
        space=Space.FEATURES,
        trigger=trigger,
        requested_by=registry.SETUP,
        state=State.DONE,
        started_at=timezone.now(),
        message="it came with the model",
    )
    stored = map_files.store(f"{map_files.ROOT}/{made.pk}", basic_files(letters, letters.features, fitted.plane))
    for name, value in shown(model, letters, fitted, stored, Space.FEATURES, letters.features).items():
        setattr(made, name, value)
    made.published_at = timezone.now()
    with transaction.atomic():
        Serving.objects.select_for_update().first()  # so that two who find none do not make two
        known = _of_trunk(method, model).first()
        if known is None:
            made.save(force_insert=True)
    if known is not None:
        map_files.delete_folder(f"{map_files.ROOT}/{made.pk}")
    return known or made


def basic_files(letters: Emnist, vectors: Any, plane: Floats) -> list[tuple[str, bytes]]:
    """What each map has: the points that are sent out, and what a later fit begins from."""
    points = map_files.packed(
        plane, letters.labels, Readings.of(letters.probabilities, letters.labels), collected=False
    )
    kept = Letters(
        labels=letters.labels,
        vectors=_as_stored(vectors),
        plane=plane,
        reference=letters.reference,
        reference_of=letters.reference_of,
        indices=letters.indices,
        archive=letters.archive,
    )
    return [(map_files.POINTS, map_files.compressed(points)), (map_files.LETTERS, kept.dump())]


def _as_stored(vectors: Any) -> Any:
    """Pixels as they are; features as the artefact has them."""
    return vectors if vectors.dtype == np.uint8 else vectors.astype(np.float16)


def shown(
    model: ModelVersion,
    letters: Emnist,
    fitted: embed.Fitted,
    stored: map_files.Stored,
    space: str,
    vectors: Any,
) -> dict[str, Any]:
    """What the row of a map says of what it shows."""
    counted = np.bincount(letters.labels, minlength=CLASS_COUNT).tolist()
    explained = fitted.explained
    return {
        "model": model,
        "trunk": registry.trunk_of(model) if space == Space.FEATURES else "",
        "emnist_count": len(letters),
        "counts": dict(zip(CLASSES, counted, strict=True)),
        "explained": None if explained is None else np.round(explained, EXPLAINED_DIGITS).astype(float).tolist(),
        "sample": map_files.digest_of(_as_stored(vectors)),
        "files": stored,
    }


def start_of(earlier: LetterMap | None, letters: Emnist, drawings: Sequence[uuid.UUID] = ()) -> Floats | None:
    """Where these letters lie on an earlier map, a row of NaN for each that is new on it. None without one."""
    if earlier is None:
        return None
    with map_files.opened(earlier.files, map_files.LETTERS) as file:
        known = Letters.load(file)
    start = np.full((len(letters) + len(drawings), 2), np.nan, np.float32)
    if known.reference_of == letters.reference_of:
        start[: letters.reference] = known.plane[: letters.reference]
    if known.archive and known.archive == letters.archive:
        place_of = {int(index): place for index, place in zip(known.indices, known.plane, strict=True) if index >= 0}
        for at in np.flatnonzero(np.isnan(start[: len(letters), 0])):
            start[at] = place_of.get(int(letters.indices[at]), (np.nan, np.nan))
    points = {pk: (x, y) for pk, x, y in earlier.points.values_list("drawing_id", "x", "y")}
    for at, drawing in enumerate(drawings, start=len(letters)):
        start[at] = points.get(drawing, (np.nan, np.nan))
    return start
