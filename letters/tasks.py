"""Celery's entry points: ids and small values in, one call, an answer out."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from celery import shared_task
from kombu.exceptions import OperationalError

from letters import metrics, registry, reply
from ml.artifact import BadArtifact
from webapp import messages

if TYPE_CHECKING:
    from ml.predictor import Predictor

log = logging.getLogger(__name__)


_predictors: dict[str, tuple[object, Predictor]] = {}
PREDICTORS = 2  # the serving model and the one before it, whose last requests may still come


def _predictor(digest: str) -> Predictor:
    """The reader of a model, made again when its file on this machine is no longer the one that was loaded."""
    from ml.predictor import Predictor  # the web process imports this file too, to send; LiteRT stays out of it

    stamp, predictor = _predictors.get(digest, (None, None))
    if predictor is None or stamp != registry.stamp(digest):
        folder = registry.fetch(digest)
        predictor = Predictor(folder)
        _predictors[digest] = registry.stamp(digest), predictor
        for oldest in list(_predictors)[:-PREDICTORS]:
            del _predictors[oldest]
    return predictor


def send(task: Any, *arguments: str | list[str], expires: float | None = None) -> None:
    """Send a task whose work is noted in the database: where the broker is away, `watch` sends it again.

    What expires is sent again and again. It waits also afterwards, until it is taken: where nobody takes anything the
    queue ends at its limit.
    """
    if expires is not None and metrics.is_full(messages.queue_of(task.name)):
        return
    try:
        task.apply_async(arguments, expires=expires, retry=False)
    except OperationalError as problem:
        log.warning("%s waits for the broker: %s", task.name, problem)


@shared_task
def predict(digest: str, image: str, address: str) -> None:
    """Answer what a registered model reads in a 28x28 image (base64 of its 784 bytes)."""
    began = time.perf_counter()
    try:
        answer = read(_predictor(digest), digest, base64.b64decode(image))
        metrics.measure(metrics.READING_SECONDS, time.perf_counter() - began)
    except BadArtifact as problem:
        log.error("cannot predict: %s", problem)
        answer = {"error": str(problem)}
    reply.send(address, json.dumps(answer).encode())


def read(predictor: Predictor, digest: str, image: bytes) -> dict[str, Any]:
    """What a model makes of an image's 784 bytes, in values that fit into JSON."""
    prediction = predictor.predict(np.frombuffer(image, np.uint8).reshape(28, 28))
    letters = registry.reference_map(digest)
    point, nearest, distances = letters.locate(prediction.features)
    score, is_known = registry.known_letters(digest).judge(prediction.features, float(distances[0]))
    return {
        "probabilities": [round(each, 6) for each in prediction.probabilities.tolist()],
        "point": [round(each, 4) for each in point.tolist()],
        "neighbours": [
            [int(letters.labels[index]), int(index), round(float(distance), 3)]
            for index, distance in zip(nearest, distances, strict=True)
        ],
        "familiarity": {"score": round(score, 4), "known": is_known},
    }


# --- The loop ------------------------------------------------------------------------------------------------------

EXAMINED_AT_ONCE = 20  # drawings; predictions wait for the same worker meanwhile
AGAIN = 10.0  # seconds after which `watch` comes by once more: what it sent is of no use any longer


@shared_task
def examine(ids: list[str]) -> None:
    """Note what the serving model makes of kept drawings; those that are approved come to lie on the maps."""
    from letters import placing
    from letters.examine import examine as look_at

    drawings = [uuid.UUID(each) for each in ids]
    look_at(drawings)
    placing.place(drawings)


@shared_task
def watch() -> None:
    """Look after what was left undone: it comes by every few seconds, and what it finds it sends again."""
    from letters import census, drift, logins, maps, placing
    from letters import retrain as runs
    from letters.examine import examine as look_at
    from letters.examine import unexamined
    from letters.export import stale

    logins.forget()
    runs.resume_stalled()
    for each in stale():
        send(export, str(each), expires=AGAIN)
    maps.look_after()
    waiting = unexamined(EXAMINED_AT_ONCE)
    look_at(waiting)
    more_to_place = placing.place_missing()
    if placing.lacking("pixels"):
        send(place_pixels, expires=AGAIN)
    if not metrics.waits("exports"):  # where no trainer runs they would pile up: what expired stays until it is taken
        if census.is_due():
            send(take_census, expires=AGAIN)
        if drift.is_due():
            send(count_days, expires=AGAIN)
    if len(waiting) == EXAMINED_AT_ONCE or more_to_place:
        send(watch, expires=AGAIN)
    metrics.watched()


@shared_task
def take_census() -> None:
    """Count the drawings, where there are so many that nobody waits for it."""
    from letters import census

    if census.is_due():
        census.count()


@shared_task
def count_days() -> None:
    """Count what the days' drawings were read as, for the page on drift."""
    from letters import drift

    drift.count()


@shared_task
def retrain(run_id: str) -> None:
    """Do a retraining, if it still waits and no other runs."""
    from letters import retrain as step

    step.work(uuid.UUID(run_id))


@shared_task
def retrain_on_schedule(kind: str = "head") -> None:
    """Ask for a retraining; on a night after which there is nothing new to learn from, say so."""
    from letters import retrain as step
    from letters.errors import Refusal

    try:
        step.start(kind=kind, trigger="schedule", requested_by="the schedule")
    except Refusal as refusal:
        log.info("no retraining on schedule: %s", refusal.message)


# --- Maps ----------------------------------------------------------------------------------------------------------


@shared_task
def place(ids: list[str]) -> None:
    """Put drawings that were approved on the maps."""
    from letters import placing

    placing.place([uuid.UUID(each) for each in ids])


@shared_task
def place_pixels() -> None:
    """Put what is missing on the maps of pixels."""
    from letters import placing

    while placing.place_missing("pixels"):
        pass


@shared_task
def make_map(map_id: str) -> None:
    """Make a map, if it still waits, or complete one that came with its model."""
    from letters import map_work

    map_work.work(uuid.UUID(map_id))


@shared_task
def follow_model() -> None:
    """Publish the maps that a new model brings along, and have those made that it does not."""
    from letters import maps
    from letters.errors import NoModel

    try:
        maps.follow_model()
    except (NoModel, BadArtifact) as problem:
        log.error("the maps do not follow the model: %s", problem)


@shared_task
def make_maps_on_schedule() -> None:
    """Have the maps made anew, where letters came or went since."""
    from letters import maps

    if not maps.on_schedule():
        log.info("no maps on schedule: they show what there is")


@shared_task
def export(export_id: str) -> None:
    """Make a file of the collected data."""
    from letters.export import make

    make(uuid.UUID(export_id))


# --- Retention -----------------------------------------------------------------------------------------------------


@shared_task
def purge() -> None:
    """Delete what is kept no longer."""
    from letters import retention

    retention.purge()
