"""Maps of all letters, EMNIST and collected: which there are and what they show, how they are asked for, and what goes
with a drawing that is withdrawn. How one is made stands in map_work.py."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from letters import census, errors, map_files, map_sample, registry
from letters.map_files import Floats, Letters, Readings
from letters.map_sample import Emnist
from letters.models import Drawing, LetterMap, MapPoint, ModelVersion, Policy, Serving
from letters.showing import public_where
from ml import embed
from ml.labels import CLASS_COUNT, CLASSES, index_of

Method, Space, State, Trigger = LetterMap.Method, LetterMap.Space, LetterMap.State, LetterMap.Trigger

log = logging.getLogger(__name__)

SHIPPED = (Method.UMAP, Method.PCA)  # in feature space: what an artefact suffices for
EXPLAINED_DIGITS = 5
ATTEMPTS = 3  # workers that may die over a map
KEPT = 3  # maps of each kind that stay when a newer one is published
FAILED_KEPT = 5
AGAIN = 10.0  # seconds after which what was sent is of no use: it is sent once more, see letters.tasks.watch
QUICKLY_COUNTED = 2_000  # points of a map
COUNTS_KEPT = 30.0  # seconds, of a map with more
WITH_DRAWINGS = ("figure.svg", "figure.png")  # files of a map that show what was collected


# --- What there is -------------------------------------------------------------------------------------------------


def published() -> QuerySet[LetterMap]:
    """Maps that can be looked at, the newest first."""
    found = LetterMap.objects.exclude(published_at=None).select_related("model")
    return found.defer("model__metrics", "model__config").order_by("-published_at", "-created_at")


def current() -> list[LetterMap]:
    """The newest map of each method and space, in the order of the methods."""
    newest: dict[tuple[str, str], LetterMap] = {}
    for each in published():
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


def models_of(found: LetterMap) -> list[str]:
    """Digests of the models whose features a map shows: a quick retraining leaves them as they are."""
    if not found.trunk:
        return []
    return list(ModelVersion.objects.filter(config__trunk=found.trunk).values_list("digest", flat=True))


def collected_counts(maps: Iterable[LetterMap]) -> dict[uuid.UUID, dict[str, int]]:
    """How many collected drawings each map shows, by class: now, or, where there are many, as of half a minute ago."""
    return {each.pk: _counted(each) for each in maps}


_known: dict[uuid.UUID, tuple[float, dict[str, int]]] = {}
"""By map with many points: when they were counted, by this process's clock, and the counts."""


def _counted(found: LetterMap) -> dict[str, int]:
    counted_at, counts = _known.get(found.pk, (-math.inf, {}))
    if time.monotonic() - counted_at < COUNTS_KEPT:
        return counts
    shown = found.points.filter(public_where("drawing__")).order_by()
    counts = dict(shown.values_list("drawing__label").annotate(count=Count("pk")))
    if sum(counts.values()) > QUICKLY_COUNTED:
        _known[found.pk] = time.monotonic(), counts
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
    """The columns of the drawings that are on a map now and that the public is shown."""
    examined = [f"drawing__examination__{name}" for name in ("predicted", "probability", "label_probability")]
    rows = found.points.filter(public_where("drawing__")).order_by("pk").values_list(
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
        both = min(letters.reference, known.reference)
        start[:both] = known.plane[:both]
    if known.archive and known.archive == letters.archive:
        place_of = {int(index): place for index, place in zip(known.indices, known.plane, strict=True) if index >= 0}
        for at in np.flatnonzero(np.isnan(start[: len(letters), 0])):
            start[at] = place_of.get(int(letters.indices[at]), (np.nan, np.nan))
    points = {pk: (x, y) for pk, x, y in earlier.points.values_list("drawing_id", "x", "y")}
    for at, drawing in enumerate(drawings, start=len(letters)):
        start[at] = points.get(drawing, (np.nan, np.nan))
    return start


# --- Ask for one ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A map that waits, and whether it did so before."""

    map: LetterMap
    joined: bool


def request(method: str, space: str, trigger: str, requested_by: str) -> Asked:
    """Have a map made; where one of its kind waits already, that one."""
    kind = {"method": Method(method), "space": Space(space), "state": State.QUEUED}
    try:
        with transaction.atomic():
            made = LetterMap.objects.create(**kind, trigger=trigger, requested_by=requested_by[:150])
            transaction.on_commit(partial(_send, made.pk))
    except IntegrityError:
        waiting = LetterMap.objects.filter(**kind).first()
        return Asked(waiting, True) if waiting else request(method, space, trigger, requested_by)
    return Asked(made, False)


def cancel(map_id: uuid.UUID, by: str) -> bool:
    """End a map that waits or is made, at once: its worker finds its claim gone within a second, and stops. The map
    before it stays. What is published already is cancelled no more.

    Whether it was not over yet. Raises MapNotFound.
    """
    ended = LetterMap.objects.filter(pk=map_id, state__in=(State.QUEUED, State.RUNNING)).update(
        state=State.CANCELLED,
        claim=None,
        heartbeat_at=None,
        cancelled_by=by[:150],
        finished_at=timezone.now(),
        message="cancelled",
    )
    if not ended and not LetterMap.objects.filter(pk=map_id).exists():
        raise errors.MapNotFound("there is no such map")
    if ended:
        MapPoint.objects.filter(map=map_id).delete()  # its worker, should it write more, sees that it may not
        transaction.on_commit(partial(send_next, AGAIN))
    return bool(ended)


def request_again(trigger: str, requested_by: str, *, without: Q | None = None) -> int:
    """Have all kinds of maps that there are made anew; how many of them were not waiting already."""
    found = published() if without is None else published().exclude(without)
    there = found.order_by().values_list("method", "space").distinct()
    return sum(not request(method, space, trigger, requested_by).joined for method, space in sorted(there))


def on_schedule() -> int:
    """Make those anew on which letters are missing, or from which some were withdrawn; how many.

    None while those that it asked for before are on their way: two beats by mistake ask twice.
    """
    on_their_way = LetterMap.objects.filter(trigger=Trigger.SCHEDULE, state__in=(State.QUEUED, State.RUNNING))
    with transaction.atomic():
        Serving.objects.select_for_update().first()  # so that two who ask at once do so one after the other
        if on_their_way.exists() or not _changed_since():
            return 0
        return request_again(Trigger.SCHEDULE, "the schedule")


def _changed_since() -> bool:
    """Whether the newest map by UMAP was fitted with other drawings than are approved now."""
    newest = published().filter(method=Method.UMAP, space=Space.FEATURES).first()
    if newest is None:
        return True
    fitted = newest.points.filter(fitted=True).values_list("drawing_id", flat=True)
    return len(fitted) != newest.collected_count or set(fitted) != map_sample.shown_ids()


def after_approval() -> None:
    """Make the maps anew where as many drawings were approved since the last as the policy asks for."""
    after = _policy().maps_after
    if after and (fresh := approved_since_the_last()) >= after:
        request_again(Trigger.COUNT, f"{fresh} newly approved drawings")


def approved_since_the_last() -> int:
    """How many drawings were approved since a map was last asked for."""
    last = LetterMap.objects.order_by("-created_at").values_list("created_at", flat=True).first()
    approved = Drawing.objects.filter(state=Drawing.State.APPROVED)
    return census.up_to(approved.filter(state_since__gt=last) if last else approved)


def after_promotion() -> None:
    """Another model serves. One that differs in the last layer alone has the same features, and its maps still hold."""
    if _policy().maps_follow and published().exists():
        request(Method.UMAP, Space.FEATURES, Trigger.PROMOTION, "a promotion")


def follow_model() -> None:
    """Publish what the serving model brings along, if its features are new, and have the other maps of features made.

    Raises NoModel, ml.artifact.BadArtifact.
    """
    model = registry.current()
    if publish_reference(model, Trigger.PROMOTION):
        request_again(Trigger.PROMOTION, "a promotion", without=Q(space=Space.PIXELS) | Q(method__in=SHIPPED))


def _policy() -> Policy:
    return Policy.objects.first() or Policy()


def _send(map_id: uuid.UUID, expires: float | None = None) -> None:
    from letters import tasks

    tasks.send(tasks.make_map, str(map_id), expires=expires)


# --- Look after what was left undone -------------------------------------------------------------------------------


def look_after() -> None:
    """Send again what waits, what a worker left when it died, and what a published map still lacks."""
    from letters import tasks

    silent = LetterMap.objects.filter(state=State.RUNNING, heartbeat_at__lt=Now() - stale_after())
    silent.filter(attempts__gte=ATTEMPTS).update(
        state=State.FAILED,
        claim=None,
        finished_at=Now(),
        message=f"{ATTEMPTS} workers ended while they made it; the last lines of the trainer's log may say why."
        " The map before it stays. It can be asked for again",
    )
    for left in silent.values_list("pk", flat=True):
        _send(left, AGAIN)
    send_next(AGAIN)
    serving = Serving.objects.select_related("model").first()
    if serving and not _of_trunk(Method.UMAP, serving.model).exists():
        tasks.send(tasks.follow_model, expires=AGAIN)


def send_next(expires: float | None = None) -> None:
    """The oldest that waits, or else the oldest that is published and not complete, if nobody is at work."""
    if busy().exists():
        return
    waiting = LetterMap.objects.filter(state=State.QUEUED).order_by("created_at")
    unfinished = _incomplete().order_by("published_at")
    found = waiting.values_list("pk", flat=True).first() or unfinished.values_list("pk", flat=True).first()
    if found:
        _send(found, expires)


def stale_after() -> timedelta:
    """The silence after which a worker counts as dead: longer than what is computed without letting others speak. By
    the clock of the database, for those of machines differ."""
    return timedelta(seconds=settings.MAP_STALE_AFTER)


def busy() -> QuerySet[LetterMap]:
    """Those that a living worker is at: one at a time, for retrainings and exports have the same workers."""
    return LetterMap.objects.filter(
        state__in=(State.RUNNING, State.DONE), finished_at=None, heartbeat_at__gte=Now() - stale_after()
    )


def _incomplete() -> QuerySet[LetterMap]:
    """Published maps whose quality, figures or thumbnails are still to be made."""
    return LetterMap.objects.filter(state=State.DONE, finished_at=None, attempts__lt=ATTEMPTS)


# --- Points and their end ---------------------------------------------------------------------------------------------


def add_points(places: Iterable[tuple[LetterMap, dict[uuid.UUID, Sequence[float]]]], *, fitted: bool) -> None:
    """Put drawings on maps, those that are still there; in a transaction, which keeps them there until it ends."""
    places = list(places)
    wanted = {pk for _, of_map in places for pk in of_map}
    held = Drawing.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    there = set(held.values_list("pk", flat=True))
    MapPoint.objects.bulk_create(
        [
            MapPoint(map=on, drawing_id=pk, x=float(x), y=float(y), fitted=fitted)
            for on, of_map in places
            for pk, (x, y) in of_map.items()
            if pk in there
        ],
        ignore_conflicts=True,  # it was placed meanwhile
    )


def prune(method: str, space: str) -> None:
    """Delete maps of a kind that newer ones have replaced, files and all, and those that ended without one."""
    of_kind = LetterMap.objects.filter(method=method, space=space)
    shown_ = of_kind.filter(state=State.DONE).order_by("-published_at").values_list("pk", flat=True)[KEPT:]
    ended = of_kind.filter(state__in=(State.FAILED, State.CANCELLED)).order_by("-created_at")
    discard([*shown_, *ended.values_list("pk", flat=True)[FAILED_KEPT:]])


def discard(map_ids: Iterable[uuid.UUID]) -> None:
    """Delete maps and their files."""
    for each in list(map_ids):
        LetterMap.objects.filter(pk=each).delete()
        map_files.delete_folder(f"{map_files.ROOT}/{each}")


def redraw_maps_of(drawing_ids: Sequence[uuid.UUID]) -> None:
    """Drawings go: their points go with them, and the figures that show them are drawn anew."""
    shown_on = MapPoint.objects.filter(drawing__in=drawing_ids)
    on = list(LetterMap.objects.filter(pk__in=shown_on.values("map")).values_list("pk", flat=True))
    if on:
        transaction.on_commit(lambda: forget_figures(on), robust=True)  # no partial: Django asks its name


def forget_figures(map_ids: list[uuid.UUID]) -> None:
    """Whoever draws one at this moment finds his claim gone; a map that is not published yet looks to it by itself."""
    for pk in map_ids:
        with transaction.atomic():
            found = LetterMap.objects.select_for_update().filter(pk=pk, state=State.DONE).first()
            if found is None:
                continue
            figures = {name: found.files[name] for name in WITH_DRAWINGS if name in found.files}
            left = {name: value for name, value in found.files.items() if name not in figures}
            LetterMap.objects.filter(pk=pk).update(
                files=left, finished_at=None, attempts=0, claim=None, heartbeat_at=None
            )
            transaction.on_commit(partial(map_files.delete, figures))
