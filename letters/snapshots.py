"""What a retraining learns from and is judged by: approved drawings, those of held-out contributors apart.

Of a class with very many drawings it is a sample: those that were approved last, and others by chance. Ids are random,
so the first so many of a class in their order are a fair sample of it, a reservoir that an index finds and that only
a new drawing with a smaller id changes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db.models import QuerySet

from letters.models import Drawing
from ml.labels import CLASSES, index_of

if TYPE_CHECKING:
    from ml.gate import Holdout

Bytes = npt.NDArray[np.uint8]

JUDGING_PER_CLASS = 200  # of those who are held out; more would tell little and delay each verdict


def learnable() -> QuerySet[Drawing]:
    """Approved drawings of whoever is not held out: what a model may be trained on."""
    return Drawing.objects.filter(state=Drawing.State.APPROVED, contributor__held_out=False)


def judging() -> QuerySet[Drawing]:
    """Approved drawings of those who are held out: what a model is judged by, and never sees."""
    return Drawing.objects.filter(state=Drawing.State.APPROVED, contributor__held_out=True)


def holdout() -> Holdout:
    """The images and labels that judge."""
    from ml.gate import Holdout

    chosen = [pk for ids in sampled(judging(), newest=0, by_chance=JUDGING_PER_CLASS).values() for pk in ids]
    rows = list(Drawing.objects.filter(pk__in=chosen).order_by("pk").values_list("image", "label"))
    return Holdout(images_of([bytes(image) for image, _ in rows]), labels_of([label for _, label in rows]))


def sampled(approved: QuerySet[Drawing], *, newest: int, by_chance: int) -> dict[str, set[uuid.UUID]]:
    """Of each class the ids of so many drawings that were approved last, and so many by chance; all where there are no
    more than these. `approved` are some of the approved drawings."""
    found = {}
    for label in CLASSES:
        of_class = approved.filter(label=label)
        lately = of_class.order_by("-state_since", "id").values_list("pk", flat=True)[:newest] if newest else ()
        found[label] = {*lately, *of_class.order_by("id").values_list("pk", flat=True)[:by_chance]}
    return found


@dataclass(frozen=True)
class Snapshot:
    """Which drawings are learned from, under which labels: ids sorted, one label each."""

    ids: list[uuid.UUID]
    labels: list[str]

    @classmethod
    def take(cls) -> Snapshot:
        """Of this moment: LEARNED_PER_CLASS of each class at most, half of them those that were approved last."""
        newest = settings.LEARNED_PER_CLASS // 2
        found = sampled(learnable(), newest=newest, by_chance=settings.LEARNED_PER_CLASS - newest)
        rows = sorted((pk.int, pk, label) for label, ids in found.items() for pk in ids)
        return cls([pk for _, pk, _ in rows], [label for _, _, label in rows])

    @property
    def digest(self) -> str:
        """SHA-256 of all ids and labels."""
        rows = zip(self.ids, self.labels, strict=True)
        return hashlib.sha256(b"".join(pk.bytes + label.encode() for pk, label in rows)).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Drawings of each class that has any, in the order of the classes."""
        found = Counter(self.labels)
        return {label: found[label] for label in CLASSES if found[label]}

    @property
    def packed(self) -> bytes:
        """The ids, 16 bytes each."""
        return b"".join(each.bytes for each in self.ids)


def packed_ids(ids: bytes) -> set[bytes]:
    """The ids that a snapshot packed, 16 bytes each."""
    return {ids[at : at + 16] for at in range(0, len(ids), 16)}


def images_of(images: Sequence[bytes]) -> Bytes:
    """Images as they are stored to (N, 28, 28)."""
    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, 28, 28)


def labels_of(labels: Sequence[str]) -> Bytes:
    """Classes to their positions (N,)."""
    return np.array([index_of(each) for each in labels], np.uint8)
