"""Collected drawings come to lie on the maps that there are, among their EMNIST neighbours. No other point moves.

It runs in the inference worker for maps of features, which are noted already: NumPy, some milliseconds for many. For
those of pixels it is the maps worker's: the pixels of all letters are large.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from letters import census, map_files, map_sample, maps
from letters.map_files import Floats, Letters
from letters.models import Drawing, Examination, LetterMap
from ml import embed

log = logging.getLogger(__name__)

AT_ONCE = 200  # drawings; predictions wait for the same worker meanwhile
NOT_ASKED_FOR = 30.0  # seconds, a storage that did not answer
Space = LetterMap.Space


def place(drawing_ids: Sequence[uuid.UUID]) -> None:
    """Put those of the drawings that are approved and examined on the maps of features."""
    for group in _groups(Space.FEATURES):
        _place(group, list(_placeable(group[0]).filter(pk__in=drawing_ids).values_list("pk", flat=True)))


def place_missing(space: str = Space.FEATURES) -> bool:
    """Put up to AT_ONCE drawings on each map that lacks them; whether there may be more."""
    more, looked_at = False, _to_look_at(space)
    wanted = map_sample.shown_ids() if looked_at else set()
    for each in looked_at:
        more = _place([each], missing_on(each, wanted)) == AT_ONCE or more
        _take_off(each, wanted)
    return more


def lacking(space: str) -> bool:
    """Whether a map of a space lacks drawings that could be on it."""
    looked_at = _to_look_at(space)
    wanted = map_sample.shown_ids() if looked_at else set()
    return any(missing_on(each, wanted) for each in looked_at)


def missing_on(found: LetterMap, wanted: set[uuid.UUID]) -> list[uuid.UUID]:
    """Up to AT_ONCE of the `wanted` drawings that could be on a map and are not."""
    newest = _newest()
    missing = wanted.difference(found.points.values_list("drawing_id", flat=True))
    if not missing:
        _complete[found.pk] = newest
        return []
    return list(_placeable(found).filter(pk__in=missing).values_list("pk", flat=True)[:AT_ONCE])


_complete: dict[uuid.UUID, datetime | None] = {}
"""By map: when the last drawing had been approved as nothing was missing on it."""


def _to_look_at(space: str) -> list[LetterMap]:
    """The newest maps of a space, without those on which nothing was missing and nothing was approved since."""
    newest = _newest()
    there = [each for group in _groups(space) for each in group]
    return [each for each in there if each.pk not in _complete or _complete[each.pk] != newest]


def _newest() -> datetime | None:
    approved = Drawing.objects.filter(state=Drawing.State.APPROVED)
    return approved.order_by("-state_since").values_list("state_since", flat=True).first()


def _take_off(found: LetterMap, wanted: set[uuid.UUID]) -> None:
    """Where a map shows many more than it should, others came since: those that are not `wanted` any more go."""
    if census.up_to(found.points.all(), most := settings.MAP_COLLECTED * 5 // 4) > most:
        found.points.exclude(drawing__in=wanted).delete()


def _placeable(found: LetterMap) -> QuerySet[Drawing]:
    approved = Drawing.objects.filter(state=Drawing.State.APPROVED).order_by()
    return approved if found.space == Space.PIXELS else approved.filter(examination__trunk=found.trunk)


def _groups(space: str) -> list[list[LetterMap]]:
    """The newest maps of a space, those together that show the same letters by the same layers."""
    groups: dict[tuple[str, str], list[LetterMap]] = defaultdict(list)
    for each in maps.current():
        if each.space == space:
            groups[each.trunk, each.sample].append(each)
    return list(groups.values())


def _place(group: list[LetterMap], drawing_ids: Sequence[uuid.UUID]) -> int:
    """How many were placed."""
    if not drawing_ids:
        return 0
    places = []
    try:
        ids, vectors = _vectors_of(group[0], drawing_ids)
        letters = _letters(group[0].sample, group[0].files[map_files.LETTERS][0])
        for each in group:
            plane = _plane(each.files[map_files.LETTERS][0])
            places.append((each, dict(zip(ids, embed.place(vectors, letters, plane).tolist(), strict=True))))
    except OSError as problem:
        log.warning("drawings are placed later, the letters of a map cannot be read just now: %s", problem)
        return 0
    try:
        with transaction.atomic():
            maps.add_points(places, fitted=False)
    except IntegrityError:
        log.info("a map that drawings were to be placed on was replaced by a newer one")
    return len(ids)


def _vectors_of(found: LetterMap, drawing_ids: Sequence[uuid.UUID]) -> tuple[list[uuid.UUID], Floats]:
    """Ids and vectors of drawings, without those whose numbers are none."""
    if found.space == Space.PIXELS:
        rows = list(Drawing.objects.filter(pk__in=drawing_ids).order_by().values_list("pk", "image"))
        mean, spread = _scale(found.sample, found.files[map_files.LETTERS][0])
        pixels = map_sample.pixels_of(bytes(image) for _, image in rows)
        return [pk for pk, _ in rows], (pixels.astype(np.float32) - mean) / spread
    noted = Examination.objects.filter(drawing__in=drawing_ids, trunk=found.trunk)
    rows = list(noted.values_list("drawing_id", "features"))
    vectors = np.frombuffer(b"".join(bytes(each) for _, each in rows), "<f2").astype(np.float32)
    vectors = vectors.reshape(len(rows), -1)
    good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    return [rows[at][0] for at in good], vectors[good]


# --- The letters of maps, kept at hand -----------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _letters(sample: str, stored: str) -> Floats:
    """The vectors of a map's EMNIST letters; `sample` names them, wherever they are stored."""
    vectors = _load(stored).vectors
    return embed.standardise(vectors.astype(np.float32)) if vectors.dtype == np.uint8 else vectors.astype(np.float32)


@lru_cache(maxsize=1)
def _scale(sample: str, stored: str) -> tuple[Floats, Floats]:
    """Mean and spread of each pixel among a map's letters, by which ml.embed.standardise went."""
    pixels = _load(stored).vectors.astype(np.float32)
    spread = pixels.std(axis=0)
    return pixels.mean(axis=0), np.where(spread > 0, spread, 1).astype(np.float32)


@lru_cache(maxsize=16)
def _plane(stored: str) -> Floats:
    return _load(stored).plane


_away_until = -math.inf  # by the count of seconds


def _load(stored: str) -> Letters:
    """Raises OSError: at once where the storage did not answer a moment ago, for predictions wait meanwhile."""
    global _away_until
    if time.monotonic() < _away_until:
        raise OSError("the storage did not answer a moment ago")
    try:
        with map_files.opened({map_files.LETTERS: (stored, 0)}, map_files.LETTERS) as file:
            return Letters.load(file)
    except FileNotFoundError:  # it answers: a newer map took this one's place
        raise
    except OSError:
        _away_until = time.monotonic() + NOT_ASKED_FOR
        raise
