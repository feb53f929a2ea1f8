"""Predict a drawing, keep one with its label, withdraw one."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from kombu.exceptions import OperationalError

from letters import errors, examine, metrics, quotas, registry, reply
from letters.models import Contributor, Drawing, ModelVersion
from letters.privacy import delete_drawings
from ml.labels import CLASSES, class_of
from ml.preprocess import PREPROCESS_VERSION, image_from_strokes

log = logging.getLogger(__name__)

Strokes = list[list[list[float]]]
_TOKEN = signing.TimestampSigner(salt="letterloop.token")
_RECEIPT = signing.Signer(salt="letterloop.receipt")
LATELY = 10.0  # seconds after a prediction that nobody answered in which the queue is looked at first


@dataclass(frozen=True)
class Reading:
    """What the serving model read in an image; `probabilities` by class, `point` on its map.

    `neighbours`: label, number and distance of the reference letters that are most like it. `familiarity`: whether it
    is `known`, looking like a letter at all, and a `score` of it.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    point: tuple[float, float]
    neighbours: list[dict[str, Any]]
    familiarity: dict[str, Any]
    model: ModelVersion


# --- Predict -------------------------------------------------------------------------------------------------------


def predict(image: npt.NDArray[np.uint8]) -> Reading:
    """What the serving model reads in a visitor's image (28, 28). Stores nothing of it, and counts that there was one.

    Raises NoModel, and InferenceUnavailable when no worker answers in time.
    """
    began = time.perf_counter()
    try:
        found = read(image)
    except errors.Refusal as refusal:
        metrics.prediction("", refusal.code, time.perf_counter() - began)
        raise
    seconds, known = time.perf_counter() - began, bool(found.familiarity["known"])
    metrics.reading(found.model.number, found.label, found.probability, known=known, seconds=seconds)
    return found


def read(image: npt.NDArray[np.uint8]) -> Reading:
    """Ask a worker. Raises what `predict` raises."""
    model = registry.current()
    answer = ask_worker(model.digest, image.tobytes())
    probabilities = dict(zip(CLASSES, answer["probabilities"], strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    x, y = answer["point"]
    neighbours = [
        {"label": CLASSES[number], "index": index, "distance": distance}
        for number, index, distance in answer["neighbours"]
    ]
    return Reading(label, probabilities[label], probabilities, (x, y), neighbours, answer["familiarity"], model)


def ask_worker(digest: str, image: bytes) -> dict[str, Any]:
    """The answer of `tasks.predict`. Raises InferenceUnavailable."""
    from letters import tasks

    if _is_flooded():
        raise errors.InferenceUnavailable
    address, began = reply.new_address(), time.monotonic()
    try:
        tasks.predict.apply_async(
            (digest, base64.b64encode(image).decode(), address),
            expires=settings.PREDICTION_TIMEOUT,  # nobody waits any longer
            retry=False,
        )
        left = settings.PREDICTION_TIMEOUT - (time.monotonic() - began)  # to send may have taken long already
        answer: dict[str, Any] = json.loads(reply.wait(address, max(left, 0.1)))
    except (OperationalError, reply.NoReply) as error:
        _note_silence()
        raise errors.InferenceUnavailable from error
    if "error" in answer:
        raise errors.InferenceUnavailable
    return answer


_silent_at = -math.inf  # when this process last waited in vain, by its own clock


def _note_silence() -> None:
    global _silent_at
    _silent_at = time.monotonic()


def _is_flooded() -> bool:
    """Whether what was sent lately was not answered, and more waits than anybody still waits for: one more message
    would be read by nobody in time, and whoever sends it would keep a thread from others for nothing."""
    if time.monotonic() - _silent_at > LATELY:
        return False
    return metrics.is_full("inference")


def fingerprint_of(strokes: Strokes, width: float, height: float) -> str:
    """SHA-256 of a drawing as it was sent: the same for the same strokes on the same canvas."""
    return _sha256(json.dumps([strokes, width, height], separators=(",", ":")).encode())


def fingerprint_of_image(image: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of an image that was sent without strokes."""
    return _sha256(image.tobytes())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- The token: what was predicted, for whom, signed ---------------------------------------------------------------


def make_token(reading: Reading, *, fingerprint: str, contributor: uuid.UUID) -> str:
    """A signed note of a prediction, which whoever confirms it hands back."""
    return _TOKEN.sign_object(
        {
            "drawing": fingerprint,
            "model": reading.model.digest,
            "label": reading.label,
            "probability": round(reading.probability, 6),
            "contributor": contributor.hex,
        }
    )


@dataclass(frozen=True)
class _Token:
    drawing: str
    model: str
    label: str
    probability: float
    contributor: str


def _read_token(token: str) -> _Token:
    try:
        return _Token(**_TOKEN.unsign_object(token, max_age=settings.TOKEN_LIFETIME))
    except signing.SignatureExpired as error:
        raise errors.TokenExpired from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise errors.TokenInvalid from error


# --- Keep ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A stored drawing, its receipt, and whether this request is one that was already answered."""

    drawing: Drawing
    receipt: str
    replayed: bool


def keep_drawing(
    *,
    strokes: Strokes,
    width: float,
    height: float,
    character: str,
    token: str,
    consent: bool,
    idempotency_key: str,
    network: str,
    consent_version: str = "",
) -> Kept:
    """Store a drawing under the letter that its contributor gave it. The same key twice stores it once.

    `network` is whence it came, as letters.addresses tells networks apart; it is counted, and not stored.
    `consent_version`: of the words that the contributor read, where that is known.

    Raises ConsentRequired, ConsentChanged, the token's refusals, IdempotencyConflict, QuotaExceeded, TooManyRequests.
    """
    if not consent:
        raise errors.ConsentRequired
    if consent_version not in ("", settings.CONSENT_VERSION):
        raise errors.ConsentChanged
    predicted = _read_token(token)
    fingerprint = fingerprint_of(strokes, width, height)
    if not constant_time_compare(predicted.drawing, fingerprint):
        raise errors.TokenMismatch
    model = ModelVersion.objects.filter(digest=predicted.model).first()
    if model is None:
        raise errors.TokenUnknownModel
    image = image_from_strokes(strokes, (width, height))
    drawing = Drawing(
        character=character,
        label=class_of(character),
        strokes=strokes,
        canvas_width=width,
        canvas_height=height,
        image=image.tobytes(),
        image_hash=_sha256(image.tobytes()),
        preprocess=PREPROCESS_VERSION,
        model=model,
        predicted=predicted.label,
        probability=predicted.probability,
        consent=settings.CONSENT_VERSION,
        idempotency_key=idempotency_key or _sha256(token.encode()),
        fingerprint=fingerprint,
    )
    return _keep_within_quotas(drawing, uuid.UUID(predicted.contributor), network)


def _keep_within_quotas(drawing: Drawing, contributor_id: uuid.UUID, network: str) -> Kept:
    """Contributors are free to make: what bounds them, and with them all that is kept, is what their network may."""
    known = Drawing.objects.filter(contributor=contributor_id, idempotency_key=drawing.idempotency_key).first()
    if known is not None:
        return _replay(known, drawing)
    is_new = not Contributor.objects.filter(pk=contributor_id).exists()
    taken = _taken(network, "kept", *(["contributors"] if is_new else []))
    try:
        kept = _store(drawing, contributor_id)
    except BaseException:
        taken.give_back()
        raise
    if kept.replayed:
        taken.give_back()
    return kept


def _taken(network: str, *names: str) -> quotas.Taken:
    """Without Redis what is kept goes on: nothing can be predicted then, so all tokens that there are were counted."""
    try:
        return quotas.take(network, *names)
    except quotas.Uncounted as problem:
        log.warning("a network's drawings are not counted: %s", problem)
        return quotas.Taken()


def _store(drawing: Drawing, contributor_id: uuid.UUID) -> Kept:
    with transaction.atomic():
        contributor = _lock_contributor(contributor_id)
        known = contributor.drawings.filter(idempotency_key=drawing.idempotency_key).first()
        if known is not None:
            return _replay(known, drawing)
        _check_quota(contributor)
        drawing.contributor = contributor
        examine.mark_exact(drawing)
        drawing.save(force_insert=True)
        transaction.on_commit(lambda: _send_to_be_examined(drawing.pk), robust=True)  # no partial: its name is asked
    outcome = "confirmed" if drawing.was_right else "corrected"
    metrics.count(metrics.DRAWINGS, str(drawing.model.number), outcome)
    return Kept(drawing, receipt_of(drawing.pk), replayed=False)


def _send_to_be_examined(drawing_id: uuid.UUID) -> None:
    """What cannot be sent now is found later, see letters.tasks.watch: the drawing is kept, and its visitor told so."""
    from letters import tasks

    try:
        tasks.examine.apply_async(([str(drawing_id)],), retry=False)
    except OperationalError as problem:
        log.warning("a drawing waits to be examined: %s", problem)


def _lock_contributor(contributor_id: uuid.UUID) -> Contributor:
    """The contributor's row, held until the transaction ends: what follows is counted one request at a time."""
    defaults = {"held_out": Contributor.is_held_out(contributor_id)}
    while True:
        Contributor.objects.get_or_create(id=contributor_id, defaults=defaults)
        found = Contributor.objects.select_for_update().filter(id=contributor_id).first()
        if found is not None:  # else whoever it is had everything deleted at this moment, and begins anew
            return found


def _replay(known: Drawing, drawing: Drawing) -> Kept:
    if (known.fingerprint, known.character) != (drawing.fingerprint, drawing.character):
        raise errors.IdempotencyConflict
    return Kept(known, receipt_of(known.pk), replayed=True)


def _check_quota(contributor: Contributor) -> None:
    day = timedelta(days=1)
    recent = contributor.drawings.filter(created_at__gt=timezone.now() - day)
    if recent.count() < settings.DRAWINGS_PER_DAY:
        return
    oldest = recent.order_by("created_at").values_list("created_at", flat=True)[0]
    raise errors.QuotaExceeded(settings.DRAWINGS_PER_DAY, int((oldest + day - timezone.now()).total_seconds()) + 1)


# --- See again, withdraw -------------------------------------------------------------------------------------------


def receipt_of(drawing_id: uuid.UUID) -> str:
    """The secret by which a drawing can be seen and withdrawn; it follows from the id and the site's key alone."""
    return _RECEIPT.signature(drawing_id.hex)


def find_drawing(*, drawing_id: uuid.UUID, receipt: str) -> Drawing:
    """The drawing of a receipt.

    Raises DrawingNotFound, the same for a wrong receipt: an id alone must tell a stranger nothing.
    """
    try:
        _RECEIPT.unsign(f"{drawing_id.hex}{_RECEIPT.sep}{receipt}")
    except signing.BadSignature as error:
        raise errors.DrawingNotFound from error
    drawing = Drawing.objects.select_related("model").filter(pk=drawing_id).first()
    if drawing is None:
        raise errors.DrawingNotFound
    return drawing


def withdraw_drawing(*, drawing_id: uuid.UUID, receipt: str) -> None:
    """Delete a drawing and all that was derived from it, for whoever holds its receipt. Raises DrawingNotFound."""
    delete_drawings([find_drawing(drawing_id=drawing_id, receipt=receipt).pk])
