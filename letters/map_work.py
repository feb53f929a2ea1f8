"""One worker's work on a map: claimed, kept alive, made and published whole; else the old one stays."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from django.db import DatabaseError, IntegrityError, close_old_connections, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from letters import emnist_images, errors, fitting, map_files, map_sample, maps, placing, registry
from letters.map_files import Floats, Letters
from letters.map_sample import Emnist
from letters.maps import ATTEMPTS, Space, State
from letters.models import LetterMap, MapPoint, ModelVersion
from letters.showing import public_where
from ml import embed
from ml.artifact import BadArtifact
from ml.emnist import ArchiveError
from ml.labels import index_of

log = logging.getLogger(__name__)

PULSE = 1.0  # seconds between two signs of life
POINTS_AT_ONCE = 500
LETTERS_SHARE, DRAWN_SHARE, FIT_SHARE, JUDGED_SHARE, FIGURES_SHARE = 0.25, 0.27, 0.85, 0.9, 0.97


# --- Make it -------------------------------------------------------------------------------------------------------


class Lost(Exception):
    """The map is no longer ours to make: it was cancelled or deleted, or another worker has it."""


def work(map_id: uuid.UUID) -> None:
    """Make a map that waits or whose worker died, or complete a published one; what others have is left alone."""
    made = _claim(map_id)
    if made is None:
        return
    try:
        with _Hold(made) as hold:
            _work(hold)
        _picture_emnist()
    finally:
        maps.send_next()


def _picture_emnist() -> None:
    """Once, for the page of the data set: this is the worker that has the archive."""
    with suppress(errors.NoModel):
        try:
            emnist_images.make(registry.current())
        except (ArchiveError, OSError) as problem:
            log.error("there are no pictures of EMNIST: %s", problem)


def _claim(map_id: uuid.UUID) -> LetterMap | None:
    if maps.busy().exclude(pk=map_id).exists():
        return None
    silent = Q(heartbeat_at=None) | Q(heartbeat_at__lt=Now() - maps.stale_after())
    free = (
        Q(state=State.QUEUED)
        | Q(silent, state=State.RUNNING, attempts__lt=ATTEMPTS)
        | Q(silent, state=State.DONE, finished_at=None, attempts__lt=ATTEMPTS)
    )
    worker = f"{socket.gethostname()}, process {os.getpid()}"
    begins: dict[str, Any] = {"claim": uuid.uuid4(), "worker": worker, "heartbeat_at": Now()}
    mine = LetterMap.objects.filter(free, pk=map_id)
    try:
        with transaction.atomic():
            had = mine.filter(published_at=None).update(
                state=State.RUNNING, attempts=F("attempts") + 1, started_at=Coalesce("started_at", Now()), **begins
            ) or mine.exclude(published_at=None).update(attempts=F("attempts") + 1, **begins)
    except IntegrityError:  # another of its kind runs
        return None
    return LetterMap.objects.select_related("model").get(pk=map_id) if had else None


class _Hold:
    """One worker's hold on a map: a thread gives signs of life and writes how far it is, and sees when it is lost."""

    def __init__(self, made: LetterMap) -> None:
        self.map = made
        self.mine = LetterMap.objects.filter(pk=made.pk, claim=made.claim)
        self.folder = f"{map_files.ROOT}/{made.pk}/{made.claim.hex[:8] if made.claim else ''}"
        self.lost = False
        self._progress: dict[str, Any] = {"share": 0.0, "message": "begun"}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"map {made.pk}", daemon=True)

    def __enter__(self) -> _Hold:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def tell(self, share: float, words: str) -> None:
        """Note how far it is. Raises Lost."""
        self.check()
        self._progress = {"share": round(min(1.0, max(0.0, share)), 3), "message": words}

    def between(self, first: float, last: float) -> Callable[[float, str], None]:
        """To tell of a part of the work, whose 0 to 1 are `first` to `last` of the whole."""
        return lambda share, words: self.tell(first + share * (last - first), words)

    def check(self) -> None:
        """Raises Lost."""
        if self.lost:
            raise Lost

    def finish(self, **values: Any) -> None:
        """Write how it ended, all at once, and let it go. Raises Lost where it was not ours any more."""
        if self.mine.update(claim=None, heartbeat_at=None, **values) != 1:
            raise Lost

    def _beat(self) -> None:
        try:
            while not self._ended.wait(PULSE) and not self.lost:
                try:
                    close_old_connections()
                    self.lost = not self.mine.update(heartbeat_at=Now(), progress=self._progress)
                except DatabaseError as problem:
                    log.warning("the progress of the map %s cannot be written just now: %s", self.map.pk, problem)
        finally:
            connection.close()  # a thread has a connection of its own


def _work(hold: _Hold) -> None:
    """Whatever goes wrong, what was written goes, and the map before it stays."""
    try:
        _complete(hold) if hold.map.published_at else _make(hold)
        return
    except Lost:
        log.info("the map %s is no longer ours: it was cancelled or deleted, or another worker has it", hold.map.pk)
        words = ""
    except (errors.Refusal, embed.CannotEmbed, fitting.FitDied, BadArtifact, ArchiveError) as refusal:
        words = str(refusal)
    except OSError as problem:
        words = f"its files could not be written ({problem}): see to the disk or the storage, then ask for it again"
    except Exception as error:
        log.exception("the map %s failed", hold.map.pk)
        words = f"{type(error).__name__}: {error} (the trainer's log says more)"
    map_files.delete_folder(hold.folder)
    if words:
        _fail(hold, words)


def _fail(hold: _Hold, words: str) -> None:
    log.error("the map %s failed: %s", hold.map.pk, words)
    if hold.map.published_at:  # it stays; that it lacks something is tried again a few times
        hold.mine.update(claim=None, heartbeat_at=None, message=words)
        return
    MapPoint.objects.filter(map=hold.map).delete()
    with suppress(Lost):
        hold.finish(state=State.FAILED, message=words, finished_at=timezone.now())


def _make(hold: _Hold) -> None:
    """Letters, fit, judgement, files, points; then all of it is there at once."""
    made = hold.map
    hold.tell(0.0, "looking for letters")
    model = registry.current()
    letters = map_sample.emnist_of(model, made.space, hold.between(0.0, LETTERS_SHARE))
    drawn = map_sample.drawn(model, made.space, hold.between(LETTERS_SHARE, DRAWN_SHARE))
    raw = _raw(letters, made.space)
    vectors, labels = np.concatenate([raw, drawn.vectors]), np.concatenate([letters.labels, drawn.labels])
    if made.space == Space.PIXELS:
        vectors = embed.standardise(vectors.astype(np.float32))
    earlier = maps.published().filter(method=made.method, space=made.space).first()
    start = maps.start_of(earlier, letters, drawn.ids)
    tell = hold.between(DRAWN_SHARE, FIT_SHARE)
    fitted = fitting.fit(
        made.method, vectors.astype(np.float32), seed=made.seed, start=start, tell=tell, check=hold.check
    )
    hold.tell(FIT_SHARE, "measuring how true it is")
    quality = _quality(vectors, fitted.plane, labels, start)
    hold.tell(JUDGED_SHARE, "drawing it")
    emnist_plane, drawn_plane = fitted.plane[: len(letters)], fitted.plane[len(letters) :]
    files = maps.basic_files(letters, raw, emnist_plane)
    files += _figures(made, fitted, fitted.plane, labels, len(letters))
    files += _sheets(letters.images)
    hold.tell(FIGURES_SHARE, "bringing it to storage")
    stored = map_files.store(hold.folder, files)
    _store_points(hold, drawn.ids, drawn_plane)
    _publish(
        hold,
        **maps.shown(model, letters, fitted, stored, made.space, raw),
        collected_count=len(drawn),
        quality=quality,
        has_images=letters.images is not None,
        sheets=_sheet_count(letters.images),
        message=f"{len(letters)} letters of EMNIST and {len(drawn)} that were collected",
    )


def _raw(letters: Emnist, space: str) -> Any:
    """The vectors of EMNIST letters as they are kept: features, or grey values."""
    if space == Space.FEATURES:
        return letters.features
    assert letters.images is not None  # noqa: S101 - for the type checker: without an archive it was refused
    return letters.images.reshape(len(letters), -1)


def _quality(vectors: Any, plane: Floats, labels: Any, start: Floats | None = None) -> dict[str, Any]:
    quality: dict[str, Any] = embed.quality(vectors, plane, labels)
    if start is not None and np.isfinite(start).any():
        quality |= {f"moved_{name}": value for name, value in embed.moved(start, plane).items()}
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in quality.items()}


def _figures(
    made: LetterMap, fitted: embed.Fitted, plane: Floats, labels: Any, emnist_count: int
) -> list[tuple[str, bytes]]:
    """The figures of a map; those of components where these are images."""
    from ml import figures  # matplotlib is the maps worker's alone

    collected = np.arange(len(labels)) >= emnist_count
    words = f"{timezone.now():%d %B %Y}. {emnist_count:,} letters of EMNIST, {collected.sum():,} collected"
    drawn = {"figure": figures.map_figure(plane, labels, collected, title=str(made), subtitle=words)}
    if fitted.explained is not None and len(fitted.explained):
        drawn["explained"] = figures.explained_figure(fitted.explained, subtitle=str(made))
    if fitted.components is not None and len(fitted.components) and fitted.components.shape[1] == map_files.TILE**2:
        drawn["components"] = figures.components_figure(fitted.components, subtitle=str(made))
    with tempfile.TemporaryDirectory(prefix="letterloop-map-") as folder:
        written = [path for name, figure in drawn.items() for path in figures.write(figure, Path(folder) / name)]
        return [(path.name, path.read_bytes()) for path in written]


def _sheets(images: Any) -> list[tuple[str, bytes]]:
    if images is None:
        return []
    return [(f"sheets/{number}.png", content) for number, content in enumerate(map_files.sheets(images))]


def _sheet_count(images: Any) -> int:
    return 0 if images is None else -(-len(images) // map_files.ON_A_SHEET)


def _store_points(hold: _Hold, ids: Sequence[uuid.UUID], plane: Floats) -> None:
    """Where the drawings lie, those that were not withdrawn meanwhile; nobody sees it before the map is published.

    In small transactions, which hold up neither reviews nor withdrawals. Raises Lost.
    """
    MapPoint.objects.filter(map=hold.map).delete()  # of a worker that died over it
    for at in range(0, len(ids), POINTS_AT_ONCE):
        some = dict(zip(ids[at : at + POINTS_AT_ONCE], plane[at : at + POINTS_AT_ONCE].tolist(), strict=True))
        with transaction.atomic():
            if hold.mine.select_for_update().values_list("pk").first() is None:
                raise Lost
            maps.add_points([(hold.map, some)], fitted=True)


def _publish(hold: _Hold, **values: Any) -> None:
    """All at once. Where a drawing was withdrawn meanwhile, the figures, which show it, are left to be drawn anew."""
    hold.check()
    with transaction.atomic():
        hold.finish(
            state=State.DONE,
            published_at=Now(),  # by the database's clock: the newest is shown
            finished_at=Now(),
            progress={"share": 1.0, "message": "done"},
            **values,
        )
        withdrawn = hold.map.points.count() < values["collected_count"]
    if withdrawn:
        maps.forget_figures([hold.map.pk])
    maps.prune(hold.map.method, hold.map.space)
    placing.place_missing()  # what was approved meanwhile


# --- Complete a published one --------------------------------------------------------------------------------------


def _complete(hold: _Hold) -> None:
    """Measure, draw and illustrate a map whose points came with the model, or draw one anew after a withdrawal."""
    made = hold.map
    assert made.model is not None  # noqa: S101 - for the type checker: a published map has one
    with map_files.opened(made.files, map_files.LETTERS) as file:
        letters = Letters.load(file)
    hold.tell(0.1, "measuring how true it is")
    quality = made.quality
    if "trustworthiness" not in quality:
        vectors = letters.vectors.astype(np.float32)
        vectors = embed.standardise(vectors) if made.space == Space.PIXELS else vectors
        quality = _quality(vectors, letters.plane, letters.labels) | quality
    hold.tell(0.4, "drawing it")
    images = None if made.has_images else _images_of(made.model, made.space, letters)
    files = _figures_again(made, letters) + _sheets(images)
    hold.tell(FIGURES_SHARE, "bringing it to storage")
    stored = map_files.store(hold.folder, files)
    hold.finish(
        quality=quality,
        files=made.files | stored,
        has_images=made.has_images or images is not None,
        sheets=made.sheets if images is None else _sheet_count(images),
        finished_at=timezone.now(),
        progress={"share": 1.0, "message": "done"},
    )


def _figures_again(made: LetterMap, letters: Letters) -> list[tuple[str, bytes]]:
    """As it stands now, with the drawings that are on it."""
    shown_ = made.points.filter(public_where("drawing__")).values_list("x", "y", "drawing__label")
    collected = [(x, y, index_of(label)) for x, y, label in shown_]
    plane = np.concatenate([letters.plane, np.array([each[:2] for each in collected], np.float32).reshape(-1, 2)])
    labels = np.concatenate([letters.labels, np.array([each[2] for each in collected], np.uint8)])
    explained = None if made.explained is None else np.array(made.explained, np.float32)
    fitted = embed.Fitted(letters.plane, None if "explained.svg" in made.files else explained)
    return _figures(made, fitted, plane, labels, len(letters.labels))


def _images_of(model: ModelVersion, space: str, letters: Letters) -> Any:
    """The images of a map's EMNIST letters, where the archive has them all."""
    if space == Space.PIXELS:
        return letters.vectors.reshape(-1, map_files.TILE, map_files.TILE)
    _, archive = map_sample.archive_of(model)
    if archive is None or letters.reference < len(letters.labels):
        return None
    indices = map_sample.reference_indices(model, registry.fetch(model.digest), archive)
    return None if indices is None else archive.images[indices[: letters.reference]]
