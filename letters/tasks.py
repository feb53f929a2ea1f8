"""Celery's entry points: ids and small values in, one call, an answer out."""

from __future__ import annotations

import base64
import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from celery import shared_task

from letters import registry, reply
from ml.artifact import BadArtifact

if TYPE_CHECKING:
    from ml.predictor import Predictor

log = logging.getLogger(__name__)


@lru_cache(maxsize=2)  # the serving model and the one before it, whose last requests may still come
def _predictor(digest: str) -> Predictor:
    from ml.predictor import Predictor  # the web process imports this file too, to send; LiteRT stays out of it

    return Predictor(registry.fetch(digest))


@shared_task
def predict(digest: str, image: str, address: str) -> None:
    """Answer what a registered model reads in a 28x28 image (base64 of its 784 bytes)."""
    try:
        answer = read(_predictor(digest), digest, base64.b64decode(image))
    except BadArtifact as problem:
        log.error("cannot predict: %s", problem)
        answer = {"error": str(problem)}
    reply.send(address, json.dumps(answer).encode())


def read(predictor: Predictor, digest: str, image: bytes) -> dict[str, Any]:
    """What a model makes of an image's 784 bytes, in values that fit into JSON."""
    prediction = predictor.predict(np.frombuffer(image, np.uint8).reshape(28, 28))
    x, y = registry.reference_map(digest).place(prediction.features)
    return {
        "probabilities": [round(each, 6) for each in prediction.probabilities.tolist()],
        "point": [round(float(x), 4), round(float(y), 4)],
    }
