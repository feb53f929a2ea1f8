"""Celery's entry points: ids and small values in, one call, an answer out."""

from __future__ import annotations

import base64
import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

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
        prediction = _predictor(digest).predict(np.frombuffer(base64.b64decode(image), np.uint8).reshape(28, 28))
        x, y = registry.reference_map(digest).place(prediction.features)
    except BadArtifact as problem:
        log.error("cannot predict: %s", problem)
        reply.send(address, json.dumps({"error": str(problem)}).encode())
        return
    answer = {
        "probabilities": [round(each, 6) for each in prediction.probabilities.tolist()],
        "point": [round(float(x), 4), round(float(y), 4)],
    }
    reply.send(address, json.dumps(answer).encode())
