"""Drawings to review and people who review them, made straight in the database."""

from __future__ import annotations

import hashlib
import random
import uuid
from typing import Any

from django.contrib.auth.models import Group, User

from letters.models import Contributor, Drawing, ModelVersion
from ml.labels import class_of
from ml.preprocess import PREPROCESS_VERSION, image_from_strokes
from tests.letters.visitor import LETTERS

Strokes = list[list[list[float]]]
PASSWORD = "a-long-enough-word"


def a_model(number: int = 1) -> ModelVersion:
    """A row that drawings can name; there is no artefact behind it unless one was registered."""
    known = ModelVersion.objects.filter(number=number).first()
    return known or ModelVersion.objects.create(number=number, digest=f"{number:064x}", name="Made", origin="trained")


def a_contributor(*, held_out: bool = False) -> Contributor:
    """Somebody new."""
    return Contributor.objects.create(id=uuid.uuid4(), held_out=held_out)


def a_reviewer(name: str, *groups: str) -> User:
    """Staff of these groups, `reviewers` if none is named."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups or ("reviewers",)))
    return user


def jittered(strokes: Strokes, seed: int, amount: float = 8.0) -> Strokes:
    """The same letter by a less steady hand; points have the times of a quick one."""
    chance, clock, drawn = random.Random(seed), 0, []
    for stroke in strokes:
        drawn.append([])
        for x, y in stroke:
            clock += 120
            drawn[-1].append([x + chance.uniform(-amount, amount), y + chance.uniform(-amount, amount), clock])
    return drawn


def make_drawing(
    strokes: Strokes = LETTERS["Z"],
    character: str = "Z",
    *,
    contributor: Contributor | None = None,
    size: float = 200.0,
    **fields: Any,
) -> Drawing:
    """A row as `collect.keep_drawing` would have stored it, but for what `fields` says."""
    image = image_from_strokes(strokes, (size, size)).tobytes()
    values = {
        "label": class_of(character),
        "canvas_width": size,
        "canvas_height": size,
        "image": image,
        "image_hash": hashlib.sha256(image).hexdigest(),
        "preprocess": PREPROCESS_VERSION,
        "predicted": class_of(character),
        "probability": 0.9,
        "consent": "1",
        "idempotency_key": uuid.uuid4().hex,
        "fingerprint": uuid.uuid4().hex,
    } | fields
    model = values.pop("model", None) or a_model()
    return Drawing.objects.create(
        contributor=contributor or a_contributor(), character=character, strokes=strokes, model=model, **values
    )


def make_drawings(count: int, *, contributor: Contributor | None = None, seed: int = 0, **fields: Any) -> list[Drawing]:
    """Letters of ours, one after the other, each by another hand; the first is the most useful to review."""
    letters = list(LETTERS)
    contributor = contributor or a_contributor()
    return [
        make_drawing(
            jittered(LETTERS[letters[number % len(letters)]], seed + number),
            letters[number % len(letters)],
            contributor=contributor,
            **{"usefulness": 1 - number / (count + 1)} | fields,
        )
        for number in range(count)
    ]
