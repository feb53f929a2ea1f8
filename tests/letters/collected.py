"""Drawings for the tests of what leaves the site and comes to it."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from letters.models import Contributor, Drawing, ModelVersion
from ml.labels import class_of
from ml.preprocess import image_from_strokes
from tests.letters.visitor import LETTERS, scaled

CANVAS = 200.0


def a_model() -> ModelVersion:
    """The one that read all of them."""
    model, _ = ModelVersion.objects.get_or_create(
        number=1, defaults={"digest": "1" * 64, "name": "One", "origin": "shipped"}
    )
    return model


def somebody(*, held_out: bool = False) -> Contributor:
    """A new contributor."""
    return Contributor.objects.create(id=uuid.uuid4(), held_out=held_out)


def a_drawing(letter: str = "Z", *, contributor: Contributor | None = None, **changes: Any) -> Drawing:
    """A letter that was approved and may be published, unless `changes` say otherwise; each is a little different."""
    number = Drawing.objects.count()
    strokes = changes.pop("strokes", None) or scaled(LETTERS[letter.upper()], 0.5 + 0.01 * (number % 50), 3.25, 1)
    image = image_from_strokes(strokes, (CANVAS, CANVAS)).tobytes()
    fields: dict[str, Any] = {
        "contributor": contributor or somebody(),
        "character": letter,
        "label": class_of(letter),
        "state": Drawing.State.APPROVED,
        "strokes": strokes,
        "canvas_width": CANVAS,
        "canvas_height": CANVAS,
        "image": image,
        "preprocess": "1",
        "model": a_model(),
        "predicted": class_of(letter),
        "probability": 0.875,
        "consent": "2",
        "idempotency_key": uuid.uuid4().hex,
        "fingerprint": hashlib.sha256(repr(strokes).encode()).hexdigest(),
        "image_hash": hashlib.sha256(image).hexdigest(),
    }
    return Drawing.objects.create(**fields | changes)
