"""Celery's entry points: ids and small values in, one call, an answer out."""

from __future__ import annotations

import base64
import json
import logging
import uuid
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


# --- The loop ------------------------------------------------------------------------------------------------------

EXAMINED_AT_ONCE = 20  # drawings; predictions wait for the same worker meanwhile
AGAIN = 10.0  # seconds after which `watch` comes by once more: what it sent is of no use any longer


@shared_task
def examine(ids: list[str]) -> None:
    """Note what the serving model makes of kept drawings."""
    from letters.examine import examine as look_at

    look_at([uuid.UUID(each) for each in ids])


@shared_task
def watch() -> None:
    """Look after what was left undone: it comes by every few seconds, and what it finds it sends again."""
    from letters import retrain as runs
    from letters.export import stale
    from letters.examine import examine as look_at
    from letters.examine import unexamined

    runs.resume_stalled()
    for each in stale():
        export.apply_async((str(each),), expires=AGAIN)
    waiting = unexamined(EXAMINED_AT_ONCE)
    look_at(waiting)
    if len(waiting) == EXAMINED_AT_ONCE:
        watch.apply_async(expires=AGAIN)


@shared_task(queue="training")
def retrain(run_id: str) -> None:
    """Do a retraining, if it still waits and no other runs."""
    from letters import retrain as step

    step.work(uuid.UUID(run_id))


@shared_task(queue="training")
def retrain_on_schedule(kind: str = "head") -> None:
    """Ask for a retraining; on a night after which there is nothing new to learn from, say so."""
    from letters import retrain as step
    from letters.errors import Refusal

    try:
        step.start(kind=kind, trigger="schedule", requested_by="the schedule")
    except Refusal as refusal:
        log.info("no retraining on schedule: %s", refusal.message)


@shared_task(queue="exports")
def export(export_id: str) -> None:
    """Make a file of the collected data."""
    from letters.export import make

    make(uuid.UUID(export_id))
