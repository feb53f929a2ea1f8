"""Which models learned from which drawings, and from which a retraining may start once some were withdrawn.

A run keeps the sorted ids of what it learned from, `TrainingRun.drawing_ids`; each drawing that is withdrawn leaves its
id in `Withdrawal`. Where both meet, a model has learned from what is no longer ours to use. A model has learned, too,
what the model taught it that it was made from, unless it was trained from nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from django.db.models import Max

from letters.models import ModelVersion, TrainingRun, Withdrawal

Ids = npt.NDArray[np.uint64]
"""Of drawings (2, N): the first and the second half of each."""

CACHED = 64  # runs whose ids are kept in memory; of one that had 10,000 drawings they are 160 KB
APART = timedelta(hours=1)  # the clocks of machines are no farther


# --- Who learned from a drawing ------------------------------------------------------------------------------------


def learned_by(drawing_ids: Iterable[uuid.UUID], since: datetime) -> dict[uuid.UUID, list[int]]:
    """The numbers of the models that learned from each drawing, ascending; `since`: when the first was made."""
    ids = list(drawing_ids)
    found: dict[uuid.UUID, list[int]] = {each: [] for each in ids}
    for number, has in _learned_by(ids, since):
        for at in np.flatnonzero(has):
            if number not in found[ids[at]][-1:]:
                found[ids[at]].append(number)
    return found


def learned_by_any(drawing_ids: Sequence[uuid.UUID], since: datetime) -> list[int]:
    """The numbers of the models that learned from at least one of the drawings."""
    return sorted({number for number, has in _learned_by(drawing_ids, since) if has.any()})


def _learned_by(drawing_ids: Sequence[uuid.UUID], since: datetime) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Each model by its number, and from which of the drawings it learned; ascending."""
    wanted = _halves(b"".join(each.bytes for each in drawing_ids))
    over = TrainingRun.objects.filter(candidate__isnull=False, finished_at__gte=since - APART)
    made = list(over.order_by("candidate__number").values_list("pk", "candidate__number"))
    taught = _ids_of([run for run, _ in made])
    for run, number in made:
        yield number, _among(taught[run], wanted)


_known: dict[uuid.UUID, Ids] = {}


def _ids_of(runs: Sequence[uuid.UUID]) -> dict[uuid.UUID, Ids]:
    """What runs that are over learned from, which does not change any more; one query for all that are not known."""
    found = {run: ids for run in runs if (ids := _known.get(run)) is not None}
    missing = [run for run in runs if run not in found]
    if missing:
        rows = TrainingRun.objects.filter(pk__in=missing).values_list("pk", "drawing_ids")
        read = {run: _halves(bytes(ids)) for run, ids in rows}
        _known.update(read)
        for oldest in list(_known)[:-CACHED]:
            _known.pop(oldest, None)
        found |= read
    return found


def _halves(ids: bytes) -> Ids:
    return np.ascontiguousarray(np.frombuffer(ids, ">u8").reshape(-1, 2).T, np.uint64)


def _among(known: Ids, wanted: Ids) -> npt.NDArray[np.bool_]:
    """Which of the `wanted` ids are among the `known` ones, which are sorted; their first halves are random enough to
    be different."""
    if not known.size:
        return np.zeros(wanted.shape[1], bool)
    at = np.minimum(np.searchsorted(known[0], wanted[0]), known.shape[1] - 1)
    found: npt.NDArray[np.bool_] = (known[:, at] == wanted).all(axis=0)
    return found


# --- What of it was withdrawn --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Learned:
    """A model, the run that made it and when that began, and whether it began from the weights of its parent."""

    version: int
    is_there: bool
    run: uuid.UUID | None
    began: datetime | None
    builds_on_parent: bool


def withdrawn_from(version: ModelVersion) -> int:
    """How many of the drawings that a model learned from, itself or by the models that it was made from, were withdrawn
    since."""
    newest = Withdrawal.objects.aggregate(newest=Max("created_at"))["newest"]
    return _withdrawn_from(version.pk, newest) if newest else 0


@lru_cache(maxsize=256)
def _withdrawn_from(version: int, newest: datetime) -> int:
    """`newest`: of all withdrawals; until there is another the answer stays the same."""
    found: set[bytes] = set()
    for each in _influences(_lineage(version)):
        found |= _withdrawn(each)
    return len(found)


def base_of(champion: ModelVersion) -> ModelVersion:
    """The model that a retraining starts from: the one that serves, or else the newest that it goes back to which
    learned from no drawing that was withdrawn since. The shipped one learned from none.
    """
    if not Withdrawal.objects.exists():
        return champion
    line = _lineage(champion.pk)
    for at, each in enumerate(line):
        if each.is_there and not any(map(_withdrawn, _influences(line[at:]))):
            return champion if each.version == champion.pk else ModelVersion.objects.get(pk=each.version)
    shipped = ModelVersion.objects.filter(origin=ModelVersion.Origin.SHIPPED).order_by("-number").first()
    return shipped or champion


def withdrawn_since(when: datetime | None) -> list[uuid.UUID]:
    """Drawings that were withdrawn after a moment; some that went shortly before it may be among them."""
    since = Withdrawal.objects.filter(created_at__gte=when - APART) if when else Withdrawal.objects.all()
    return list(since.order_by().values_list("pk", flat=True))


def _influences(line: list[_Learned]) -> Iterator[_Learned]:
    """The first of a line, and those whose weights it goes back to."""
    for each in line:
        yield each
        if not each.builds_on_parent:
            return


def _lineage(version: int) -> list[_Learned]:
    """A model, its parent, its parent's parent, and so on, as far as they are registered here."""
    versions = ModelVersion.objects.values_list("pk", "digest", "config__parent", "discarded_at")
    parents = {pk: (parent, discarded) for pk, _, parent, discarded in versions}
    named = {digest: pk for pk, digest, _, _ in versions}
    runs = TrainingRun.objects.filter(candidate__isnull=False).order_by("-created_at")
    made = {each[0]: each[1:] for each in runs.values_list("candidate", "pk", "started_at", "config__mode")}
    line: list[_Learned] = []
    found: int | None = version
    while found is not None and len(line) < len(parents):
        parent, discarded = parents[found]
        run, began, mode = made.get(found, (None, None, None))
        line.append(_Learned(found, discarded is None, run, began, builds_on_parent=mode != "scratch"))
        found = named.get(parent)
    return line


def _withdrawn(learned: _Learned) -> set[bytes]:
    """Which of the drawings that taught a model itself were withdrawn since."""
    if learned.run is None:
        return set()
    gone = [each.bytes for each in withdrawn_since(learned.began)]
    has = _among(_ids_of([learned.run])[learned.run], _halves(b"".join(gone)))
    return {each for each, was in zip(gone, has, strict=True) if was}
