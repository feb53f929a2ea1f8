"""What a model makes of kept drawings: how much a review of each is likely to teach, and which of them are alike.

It runs in the inference worker, between predictions: LiteRT and NumPy, a few milliseconds a drawing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.db import transaction
from django.db.models import Q, QuerySet

from letters import registry
from letters.errors import NoModel
from letters.models import Drawing, Examination, ModelVersion
from ml import artifact, familiarity
from ml.labels import CLASSES, index_of

if TYPE_CHECKING:
    from ml.head import Head
    from ml.predictor import Predictor

Floats = npt.NDArray[np.float32]

NEAR = 5.0  # grey values of 255 that two images differ by at the mean; docs/review.md says how it was measured
OWN_COMPARED = 60  # the contributor's last drawings
CLASS_COMPARED = 100  # the newest of the class, of those that wait and of those that were approved
AT_ONCE = 20  # drawings of one transaction
READ_AGAIN_AT_ONCE = 250  # drawings whose features are noted already; predictions wait for the worker meanwhile
WEIGHTS = {"disagreement": 0.2, "label_doubt": 0.4, "uncertainty": 0.2, "unfamiliarity": 0.2}
NOTED_ONCE = ("features", "trunk")  # of an examination, whichever last layer follows
OF_A_COPY = 0.25  # of the usefulness that a drawing would have, had it not been seen before under the same class


# --- How useful a review is ----------------------------------------------------------------------------------------


def label_quality(probabilities: Floats, label: int) -> float:
    """How well a label goes with probabilities (37,), 0 to 1: its normalised margin over the best other class.

    Northcutt, Jiang, Chuang, "Confident learning", JAIR 2021; Kuan and Mueller, "Model-agnostic label quality scoring",
    ICML DataPerf 2022.
    """
    others = np.delete(probabilities, label)
    return float(np.clip((probabilities[label] - others.max() + 1) / 2, 0, 1))


def uncertainty(probabilities: Floats) -> float:
    """The entropy of probabilities (37,) as a share of the largest that it could be, 0 to 1."""
    likely = probabilities[probabilities > 0]
    return float(np.clip(-(likely * np.log(likely)).sum() / np.log(len(probabilities)), 0, 1))


def usefulness(probabilities: Floats, label: int, unfamiliarity: float) -> float:
    """How much a review of a drawing with this label is likely to teach, 0 to 1; `unfamiliarity` is a share too."""
    signs = {
        "disagreement": float(probabilities.argmax() != label),
        "label_doubt": 1 - label_quality(probabilities, label),
        "uncertainty": uncertainty(probabilities),
        "unfamiliarity": unfamiliarity,
    }
    return sum(WEIGHTS[name] * value for name, value in signs.items())


@dataclass(frozen=True)
class Familiarity:
    """How strange features are beside those of the reference letters (M, D), by the measure that visitors see too."""

    known: familiarity.Known
    reference: Floats

    def distances(self, features: Floats) -> Floats:
        """Strangeness (N,) of features (N, D); above 1 the drawing page says that it is like no letter it knows."""
        lengths = np.linalg.norm(features, axis=1)
        nearest = familiarity.strangeness(features, self.reference) * lengths
        found: Floats = self.known.strangeness(features, nearest) / max(self.known.threshold, 1e-6)
        return found

    def shares(self, distances: Floats) -> Floats:
        """The share (N,) of letters that are less strange than that, 0 to 1."""
        found: Floats = (1 - self.known.scores(distances * max(self.known.threshold, 1e-6))).astype(np.float32)
        return found


# --- What is alike -------------------------------------------------------------------------------------------------


def mark_exact(drawing: Drawing) -> None:
    """Say of a drawing that is about to be stored whose image was stored before; whoever stores it writes that down.

    The original is held until that transaction ends: nobody withdraws it meanwhile.
    """
    known = Drawing.objects.select_for_update(no_key=True).filter(image_hash=drawing.image_hash)
    original = known.order_by("created_at").values_list("pk", flat=True).first()
    if original is not None:
        drawing.duplicate_of_id = original
        drawing.likeness = Drawing.Likeness.EXACT


def _find_original(drawing: Drawing) -> tuple[uuid.UUID | None, str]:
    """The earlier drawing that this one repeats, and how closely it does."""
    earlier = Drawing.objects.filter(created_at__lt=drawing.created_at).order_by("-created_at")
    exact = earlier.filter(image_hash=drawing.image_hash).values_list("pk", flat=True).last()
    if exact is not None:
        return exact, Drawing.Likeness.EXACT
    candidates = dict(_to_compare(drawing, earlier))
    if not candidates:
        return None, ""
    differences = _differences(bytes(drawing.image), list(candidates.values()))
    nearest = int(differences.argmin())
    return (list(candidates)[nearest], Drawing.Likeness.NEAR) if differences[nearest] < NEAR else (None, "")


def _to_compare(drawing: Drawing, earlier: QuerySet[Drawing]) -> Iterator[tuple[uuid.UUID, bytes]]:
    """Id and image of the contributor's last drawings, and of the newest of the class."""
    own = earlier.filter(contributor_id=drawing.contributor_id)[:OWN_COMPARED]
    alike = [
        earlier.filter(state=state, label=drawing.label)[:CLASS_COMPARED]  # by state: so it is an index's order
        for state in (Drawing.State.PENDING, Drawing.State.APPROVED)
    ]
    for some in (own, *alike):
        yield from ((pk, bytes(image)) for pk, image in some.values_list("pk", "image"))


def _differences(image: bytes, others: Sequence[bytes]) -> Floats:
    """Mean absolute difference (N,) of an image's grey values to those of others."""
    stack = np.frombuffer(b"".join(others), np.uint8).reshape(len(others), -1)
    mean: Floats = np.abs(stack.astype(np.int16) - np.frombuffer(image, np.uint8)).mean(axis=1, dtype=np.float32)
    return mean


# --- Examine -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Examiner:
    """A registered model with all that it takes to examine drawings by it."""

    model: ModelVersion
    predictor: Predictor
    familiarity: Familiarity
    trunk: str
    head: Head


@lru_cache(maxsize=2)  # an interpreter is not thread-safe: this is for workers, which have one thread
def _examiner(digest: str) -> _Examiner:
    from ml.predictor import Predictor

    folder = registry.fetch(digest)
    return _Examiner(
        ModelVersion.objects.only("pk").get(digest=digest),
        Predictor(folder),
        Familiarity(registry.known_letters(digest), registry.reference_map(digest).features),
        artifact.trunk_of(folder),
        artifact.load_head(folder),
    )


def examine(drawing_ids: Sequence[uuid.UUID]) -> int:
    """Note what the serving model makes of drawings, and which earlier ones they repeat; how many there were.

    Also of a good many others, where the models that they were examined by differ from it in the last layer alone: by
    the features that were noted then, that takes a moment.
    Raises ml.artifact.BadArtifact where that model can be had from nowhere.
    """
    try:
        model = registry.current()
    except NoModel:
        return 0
    drawings = Drawing.objects.filter(pk__in=drawing_ids).defer("strokes")
    done = _read_again(_examiner(model.digest))
    known = [each for each in drawings if each.pk in done]
    return len(known) + len(_examine([each for each in drawings if each.pk not in done], model.digest))


def unexamined(limit: int) -> list[uuid.UUID]:
    """Up to `limit` drawings that the serving model has not examined yet; what waits for review comes first."""
    try:
        model = registry.current()
    except NoModel:
        return []
    others = list(ModelVersion.objects.exclude(pk=model.pk).order_by().values_list("pk", flat=True))
    found: list[uuid.UUID] = []
    for state in (Drawing.State.PENDING, Drawing.State.APPROVED, Drawing.State.REJECTED):
        for examined in (Q(examined_by=None), Q(examined_by__in=others)):  # each is a place in an index
            missing = Drawing.objects.filter(examined, state=state).order_by()
            found += missing.values_list("pk", flat=True)[: limit - len(found)]
    return found


def features_of(drawings: Sequence[Drawing], digest: str) -> Floats:
    """Features (N, 128) of drawings by the layers below the last of a registered model.

    Those noted by a model with the same layers are taken as they are; the others are computed, and noted where the
    serving model has these layers too.
    """
    trunk = _examiner(digest).trunk
    look = _examine if trunk == registry.trunk_of(registry.current()) else _read
    found: dict[uuid.UUID, Floats] = {}
    for some in _batches(drawings, 500):
        noted = Examination.objects.filter(drawing__in=[each.pk for each in some], trunk=trunk)
        found |= {pk: _unpacked(bytes(features)) for pk, features in noted.values_list("drawing_id", "features")}
    found |= look([each for each in drawings if each.pk not in found], digest)
    return np.array([found[each.pk] for each in drawings], np.float32).reshape(-1, 128)


def _read(drawings: list[Drawing], digest: str) -> dict[uuid.UUID, Floats]:
    """The features of each drawing."""
    images = {each.pk: np.frombuffer(each.image, np.uint8).reshape(28, 28) for each in drawings}
    predict = _examiner(digest).predictor.predict
    return {pk: predict(image).features for pk, image in images.items()}


def _examine(drawings: list[Drawing], digest: str) -> dict[uuid.UUID, Floats]:
    """The features of each drawing, after all has been noted."""
    found: dict[uuid.UUID, Floats] = {}
    for some in _batches(drawings, AT_ONCE):
        found |= _examine_some(some, _examiner(digest))
    return found


def _batches(drawings: Sequence[Drawing], size: int) -> Iterator[Sequence[Drawing]]:
    for start in range(0, len(drawings), size):
        yield drawings[start : start + size]


def _examine_some(drawings: Sequence[Drawing], by: _Examiner) -> dict[uuid.UUID, Floats]:
    readings = [by.predictor.predict(np.frombuffer(each.image, np.uint8).reshape(28, 28)) for each in drawings]
    distances = by.familiarity.distances(np.array([each.features for each in readings]))
    noted = []
    for drawing, reading, distance, share in zip(
        drawings, readings, distances, by.familiarity.shares(distances), strict=True
    ):
        drawing.duplicate_of_id, drawing.likeness = _find_original(drawing)
        examination = Examination(
            drawing=drawing, trunk=by.trunk, features=_packed(reading.features), unfamiliarity=float(distance)
        )
        noted.append(_judged(examination, by.model, reading.probabilities, float(share)))
    _note(noted)
    return {each.drawing_id: _unpacked(bytes(each.features)) for each in noted}


def _read_again(by: _Examiner) -> set[uuid.UUID]:
    """Note what a model makes of drawings that others with the same layers below the last examined: of which ones.

    An image and its neighbours stay what they were, so its features and what it repeats do as well; how strange it is
    may change with what drawings taught.
    """
    others = ModelVersion.objects.filter(config__trunk=by.trunk).exclude(pk=by.model.pk)
    known = Examination.objects.filter(model__in=list(others.values_list("pk", flat=True)), trunk=by.trunk)
    columns = [f"drawing__{name}" for name in ("label", "likeness", "duplicate_of_id")]
    some = list(known.select_related("drawing").only(*NOTED_ONCE, *columns)[:READ_AGAIN_AT_ONCE])
    if some:
        features = np.array([_unpacked(bytes(each.features)) for each in some])
        distances = by.familiarity.distances(features)
        for each, distance in zip(some, distances, strict=True):
            each.unfamiliarity = float(distance)
        values = zip(some, by.head.probabilities(features), by.familiarity.shares(distances).tolist(), strict=True)
        _note([_judged(each, by.model, *of_it) for each, *of_it in values])
    return {each.drawing_id for each in some}


def _judged(examination: Examination, model: ModelVersion, probabilities: Floats, share: float) -> Examination:
    """It and its drawing, with all that follows from probabilities (37,) and a share of unfamiliarity filled in."""
    label, likeliest = index_of(examination.drawing.label), int(probabilities.argmax())
    examination.drawing.usefulness = usefulness(probabilities, label, share)
    examination.model = model
    examination.predicted = CLASSES[likeliest]
    examination.probability = float(probabilities[likeliest])
    examination.label_probability = float(probabilities[label])
    return examination


def _discount_copies(drawings: Iterable[Drawing]) -> None:
    """The same image under another letter is worth a look; under the same one it teaches little."""
    copies = [(each, each.duplicate_of_id) for each in drawings if each.duplicate_of_id]
    originals = Drawing.objects.filter(pk__in={original for _, original in copies})
    labels = dict(originals.order_by().values_list("pk", "label"))
    for each, original in copies:
        if labels.get(original) == each.label:
            each.usefulness *= OF_A_COPY


@transaction.atomic
def _note(noted: list[Examination]) -> None:
    """Write it all down, but for what was withdrawn meanwhile."""
    _discount_copies(each.drawing for each in noted)
    originals = {each.drawing.duplicate_of_id for each in noted if each.drawing.duplicate_of_id}
    asked = originals | {each.drawing_id for each in noted}
    there = set(Drawing.objects.select_for_update().filter(pk__in=asked).order_by("pk").values_list("pk", flat=True))
    kept = [each for each in noted if each.drawing_id in there]
    Examination.objects.bulk_create(
        kept,
        update_conflicts=True,
        unique_fields=["drawing"],
        update_fields=[each.name for each in Examination._meta.local_fields if not each.primary_key],
    )
    for each in kept:
        found = each.drawing
        original = found.duplicate_of_id if found.duplicate_of_id in there else None
        Drawing.objects.filter(pk=found.pk).update(
            examined_by=each.model_id,
            usefulness=found.usefulness,
            duplicate_of=original,
            likeness=found.likeness if original else "",
        )


def _packed(features: Floats) -> bytes:
    return features.astype("<f2").tobytes()


def _unpacked(features: bytes) -> Floats:
    return np.frombuffer(features, "<f2").astype(np.float32)
