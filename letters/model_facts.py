"""What the public may know of a model version: when it served and why, what it learned from, how well it reads.

No name of anybody on the staff, and no drawing that was not approved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import QuerySet
from threadpoolctl import threadpool_limits

from letters import registry
from letters.models import Deployment, Drawing, Examination, ModelVersion, Serving, TrainingRun
from letters.showing import public
from ml import artifact, paired
from ml.evaluate import evaluate

log = logging.getLogger(__name__)

SHOWN = 24  # examples of each kind
LOOKED_AT = 1_000  # approved drawings, the newest, among which these are
CACHED = 64  # versions whose stored answers are kept in memory: 15 KB each
MEASURED = ("top2", "intervals", "classes", "matrix", "calibration")  # what artefacts of earlier releases lack

Trigger = TrainingRun.Trigger


# --- Versions, and when they served --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Version:
    """A version as lists name it, without its metrics, which are large."""

    pk: int
    number: int
    digest: str
    name: str
    origin: str
    parent: str | None  # digest
    accuracy: float | None
    created_at: datetime


@dataclass(frozen=True)
class Change:
    """A change of the serving model: `who` decided, and what led there, in words that name nobody."""

    number: int
    previous: int | None
    since: datetime
    until: datetime | None  # None: it serves
    who: str
    why: str
    back: bool  # to a version that is older than the one before


def versions() -> list[Version]:
    """All of them, newest first."""
    columns = ("pk", "number", "digest", "name", "origin", "config__parent", "metrics__test__accuracy", "created_at")
    return [Version(*row) for row in ModelVersion.objects.values_list(*columns)]


def changes() -> list[Change]:
    """All changes of the serving model, newest first."""
    columns = ("model__number", "previous__number", "created_at", "actor", "reason", "run__trigger")
    rows = list(Deployment.objects.values_list(*columns))
    ends = [None, *(row[2] for row in rows)]  # the last served until the next began
    return [_change(row, until) for row, until in zip(rows, ends, strict=False)]


def _change(row: tuple[Any, ...], until: datetime | None) -> Change:
    number, previous, since, actor, reason, trigger = row
    back = previous is not None and number < previous
    return Change(number, previous, since, until, _who(actor, trigger), reason, back)


_STARTED: dict[str, str] = {
    Trigger.SCHEDULE: "that the schedule started",
    Trigger.COUNT: "that enough new drawings started",
}


def _who(actor: str, trigger: str | None) -> str:
    if trigger:
        return f"the gate, after a training {_STARTED.get(trigger, 'that a maintainer started')}"
    return "the set-up" if actor == registry.SETUP else "a maintainer"


def serving_pk() -> int | None:
    """Of the version that serves."""
    return Serving.objects.values_list("model_id", flat=True).first()


def lineage(version: Version, among: list[Version]) -> list[Version]:
    """Its parent, its parent's parent, and so on, as far as they are registered here."""
    by_digest = {each.digest: each for each in among}
    found: list[Version] = []
    parent = by_digest.get(version.parent or "")
    while parent is not None and parent not in found:
        found.append(parent)
        parent = by_digest.get(parent.parent or "")
    return found


def run_of(version: ModelVersion) -> TrainingRun | None:
    """The retraining that made it; None where none here did."""
    runs = TrainingRun.objects.filter(candidate=version).select_related("champion").order_by("created_at")
    heavy = ("drawing_ids", "log", "champion__metrics", "champion__config")
    return runs.defer(*heavy).first()


# --- How well it reads ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """What a version reads in the test letters, from the features that its artefact carries: (N,) classes each."""

    read: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


def metrics_of(version: ModelVersion) -> dict[str, Any]:
    """Its metrics. What an artefact of an earlier release does not hold of the test is computed from its features.

    `metrics["completed"]` names what was computed here. Where storage does not answer it stays unmeasured.
    """
    test = version.metrics.get("test") or {}
    missing = [name for name in MEASURED if name not in test]
    if not missing:
        return dict(version.metrics)
    computed = _computed(version)
    found = {name: computed[name] for name in missing if name in computed}
    metrics: dict[str, Any] = version.metrics | {"test": computed | test, "completed": sorted(found)}
    return metrics


def _computed(version: ModelVersion) -> dict[str, Any]:
    try:
        return _measure(version.digest)
    except artifact.BadArtifact as problem:
        log.warning("%s cannot be measured from its stored features: %s", version, problem)
        return {}


@lru_cache(maxsize=CACHED)
def _measure(digest: str) -> dict[str, Any]:
    probabilities, labels = _answers(digest)
    return evaluate(probabilities, labels)


@lru_cache(maxsize=CACHED)
def _stored(digest: str) -> Stored:
    probabilities, labels = _answers(digest)
    return Stored(probabilities.argmax(axis=1).astype(np.uint8), labels)


def _answers(digest: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Probabilities (N, 37) and labels (N,) of the test letters. Raises BadArtifact."""
    folder = registry.fetch(digest)
    with threadpool_limits(1, "blas"):  # a web thread has others beside it
        return artifact.emnist_answers(folder)


def compare(first: ModelVersion, second: ModelVersion) -> paired.Paired | None:
    """Both on the same test letters, image by image; None where they were tested on others, or cannot be fetched."""
    if first.metrics.get("dataset") != second.metrics.get("dataset"):
        return None
    try:
        a, b = _stored(first.digest), _stored(second.digest)
    except artifact.BadArtifact as problem:
        log.warning("%s and %s cannot be compared image by image: %s", first, second, problem)
        return None
    if not np.array_equal(a.labels, b.labels):
        return None
    return paired.compare(a.read, b.read, a.labels)


@lru_cache(maxsize=CACHED)
def _card(digest: str) -> str:
    return (registry.fetch(digest) / "card.md").read_text(encoding="utf-8")


def card_of(version: ModelVersion) -> str:
    """The text that goes with its artefact; empty where that cannot be fetched."""
    try:
        return _card(version.digest)
    except artifact.BadArtifact as problem:
        log.warning("%s has no card: %s", version, problem)
        return ""


# --- Letters that were drawn here ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """An approved drawing, public as every approved one is, and what the version read in it."""

    pk: Any
    letter: str
    label: str
    read_as: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether that is its class."""
        return self.label == self.read_as


@dataclass(frozen=True)
class Examples:
    """Approved drawings that a version reads right and wrong, and how many there are.

    `examined`: as it reads them now; else as it read them when they were drawn, before somebody said what they are.
    `is_part`: there may be more than these, which are the newest.
    """

    right: list[Example]
    wrong: list[Example]
    count: int
    right_count: int
    examined: bool
    is_part: bool


def examples_of(version: ModelVersion) -> Examples:
    """What is noted of it: of the serving version all approved drawings, of others those drawn while they served."""
    lately = list(public().order_by("-state_since").values_list("pk", flat=True)[:LOOKED_AT])
    examined = Examination.objects.filter(drawing__in=lately, model=version).order_by("-drawing__created_at")
    if found := list(_examples(examined, "drawing__")):
        return _parted(found, examined=True, is_part=len(lately) == LOOKED_AT)
    drawn = public().filter(model=version, source=Drawing.Source.CANVAS).order_by("-created_at")[:LOOKED_AT]
    found = list(_examples(drawn, ""))
    return _parted(found, examined=False, is_part=len(found) == LOOKED_AT)


def _parted(found: list[Example], *, examined: bool, is_part: bool) -> Examples:
    right, wrong = ([each for each in found if each.is_right == wanted] for wanted in (True, False))
    return Examples(right[:SHOWN], wrong[:SHOWN], len(found), len(right), examined, is_part)


def _examples(rows: QuerySet[Any], drawing: str) -> Iterator[Example]:
    """`drawing`: the way from a row to its drawing."""
    own = ("pk", "character", "corrected_character", "label")
    columns = [*(drawing + name for name in own), "predicted", "probability"]
    for pk, character, corrected, label, predicted, probability in rows.values_list(*columns):
        yield Example(pk, corrected or character, label, predicted, probability)


def neighbours(version: Version, among: list[Version]) -> tuple[Version | None, Version | None]:
    """The version before it and the one after it, by number."""
    pairs = list(pairwise(sorted(among, key=lambda each: each.number)))
    before = next((a for a, b in pairs if b.pk == version.pk), None)
    after = next((b for a, b in pairs if a.pk == version.pk), None)
    return before, after
