"""The REST API: parse, call a step, answer. Every error leaves here as {"code", "message", "field"?}."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import time
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from redis import RedisError
from rest_framework import exceptions, parsers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from letters import collect, contributors, registry
from letters import serializers as s
from letters.errors import Refusal
from letters.models import ModelVersion, Serving
from ml.preprocess import PREPROCESS_VERSION, InvalidImage, PreprocessError, image_from_file, image_from_strokes
from ml.preprocess import validate_strokes as judge_strokes

log = logging.getLogger(__name__)

IMAGE_BYTES = 2 * 1024 * 1024
MINE_SHOWN = 200
IDEMPOTENCY_KEY = re.compile("[!-~]{8,128}")

STATUS = {
    "blank_drawing": status.HTTP_422_UNPROCESSABLE_ENTITY,
    "body_too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "image_too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "image_format": status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    "not_found": status.HTTP_404_NOT_FOUND,
    "idempotency_conflict": status.HTTP_409_CONFLICT,
    "already_reviewed": status.HTTP_409_CONFLICT,
    "card_taken": status.HTTP_409_CONFLICT,
    "nothing_to_undo": status.HTTP_409_CONFLICT,
    "nothing_to_learn": status.HTTP_409_CONFLICT,
    "model_unfit": status.HTTP_409_CONFLICT,
    "nothing_to_export": status.HTTP_409_CONFLICT,
    "export_withdrawn": status.HTTP_410_GONE,
    "quota_exceeded": status.HTTP_429_TOO_MANY_REQUESTS,
    "inference_unavailable": status.HTTP_503_SERVICE_UNAVAILABLE,
    "no_model": status.HTTP_503_SERVICE_UNAVAILABLE,
}
"""HTTP status of a refusal by its code; 400 for all others."""

RECEIPT_HEADER = OpenApiParameter(
    "X-Receipt", str, OpenApiParameter.HEADER, required=True, description="The receipt of the drawing."
)


class BodyTooLarge(Refusal):
    code = "body_too_large"


class Invalid(Refusal):
    code = "invalid"


# --- Errors --------------------------------------------------------------------------------------------------------


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """The one place where an exception becomes an answer; None leaves a real fault to Django's 500."""
    if isinstance(error, Refusal):
        return _error(error.code, error.message, error.field, retry_after=error.retry_after)
    if isinstance(error, PreprocessError):
        return _error(error.code, str(error), "image" if isinstance(error, InvalidImage) else "strokes")
    if isinstance(error, exceptions.ValidationError):
        field, message = _first_problem(error.detail)
        return _error("invalid", message, field)
    if isinstance(error, exceptions.Throttled):
        wait = int(getattr(error, "wait", None) or 1) + 1
        return _error("throttled", f"too many requests from this address: wait {wait} s", http=429, retry_after=wait)
    if isinstance(error, exceptions.ParseError):
        return _error("not_json" if "JSON" in str(error.detail) else "invalid", str(error.detail))
    if isinstance(error, exceptions.APIException):
        return _error(error.default_code, str(error.detail), http=error.status_code)
    if isinstance(error, Http404):
        return _error("not_found", "there is nothing at this address")
    if isinstance(error, RecursionError):
        return _error("not_json", "the JSON is nested too deeply")
    if isinstance(error, SuspiciousOperation | UnicodeDecodeError):
        return _error("invalid", "the request cannot be read")
    return None


def _error(
    code: str, message: str, field: str | None = None, *, http: int | None = None, retry_after: int | None = None
) -> Response:
    sayable = message.encode(errors="replace").decode()  # it may quote half a character, which no answer can hold
    body = {"code": code, "message": sayable} | ({"field": field} if field else {})
    headers = {"Retry-After": str(retry_after)} if retry_after else None
    return Response(body, status=http or STATUS.get(code, status.HTTP_400_BAD_REQUEST), headers=headers)


def _first_problem(detail: Any, path: str = "") -> tuple[str | None, str]:
    """The first complaint of a nest of them, and the dotted name of its field."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        return _first_problem(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    if isinstance(detail, list):
        return _first_problem(detail[0], path)
    return path or None, str(detail)


# --- Parsing -------------------------------------------------------------------------------------------------------


def validated(serializer: type[Any], request: Request) -> dict[str, Any]:
    """The body of a request, as its serializer takes it."""
    if not isinstance(request.data, dict):
        raise Invalid("the body must be a JSON object")
    parsed = serializer(data=request.data)
    parsed.is_valid(raise_exception=True)
    data: dict[str, Any] = parsed.validated_data
    return data


def _strokes_of(data: dict[str, Any]) -> tuple[collect.Strokes, float, float]:
    width, height = data["canvas"]["width"], data["canvas"]["height"]
    return judge_strokes(data["strokes"], (width, height)), width, height


def _refuse_long_strokes(request: Request) -> None:
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.STROKES_LIMIT:
        raise BodyTooLarge(f"strokes may take at most {settings.STROKES_LIMIT} bytes")


def _decoded_image(text: str) -> bytes:
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("an image is base64 of a PNG or JPEG, or a data URL of one", field="image") from error


def _image_of(content: bytes) -> npt.NDArray[np.uint8]:
    if len(content) > IMAGE_BYTES:
        raise BodyTooLarge(f"an image may take at most {IMAGE_BYTES} bytes", field="image")
    return image_from_file(content)


def _sent_image(request: Request) -> tuple[npt.NDArray[np.uint8], str]:
    """The image of a prediction's request, and the fingerprint of what was sent."""
    if isinstance(request.data, dict) and "strokes" in request.data and "image" in request.data:
        raise Invalid("send strokes or an image, not both", field="image")
    upload = request.FILES.get("image") if request.FILES else None
    if upload is not None:
        image = _image_of(upload.read(IMAGE_BYTES + 1))
    elif isinstance(request.data, dict) and "image" in request.data:
        image = _image_of(_decoded_image(validated(s.ImageRequestSerializer, request)["image"]))
    else:
        _refuse_long_strokes(request)
        strokes, width, height = _strokes_of(validated(s.StrokesRequestSerializer, request))
        return image_from_strokes(strokes, (width, height)), collect.fingerprint_of(strokes, width, height)
    return image, collect.fingerprint_of_image(image)


# --- Views ---------------------------------------------------------------------------------------------------------


def refusals(*statuses: int) -> dict[int, Any]:
    """For the schema: which refusals an operation may answer."""
    return {each: OpenApiResponse(s.ErrorSerializer) for each in statuses}


class Throttle(ScopedRateThrottle):
    """Requests of an address are counted in Redis. Where it does not answer nobody is refused for that."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError as problem:
            log.warning("requests are not counted: %s", problem)
            return True


class PredictionsView(APIView):
    """Read a drawing."""

    parser_classes = (parsers.JSONParser, parsers.MultiPartParser)
    throttle_classes = (Throttle,)
    throttle_scope = "predictions"

    @extend_schema(
        operation_id="predict",
        summary="Read a drawing; nothing is stored",
        request={
            "application/json": PolymorphicProxySerializer(
                "PredictionRequest", [s.StrokesRequestSerializer, s.ImageRequestSerializer], None
            ),
            "multipart/form-data": s.UploadRequestSerializer,
        },
        responses={200: s.PredictionSerializer} | refusals(400, 413, 415, 422, 429, 503),
    )
    def post(self, request: Request) -> Response:
        started = time.perf_counter()
        image, fingerprint = _sent_image(request)
        reading = collect.predict(image)
        known = contributors.known(request)
        contributor = known or uuid.uuid4()
        response = Response(
            {
                "label": reading.label,
                "probability": reading.probability,
                "probabilities": reading.probabilities,
                "image": s.data_url(image.tobytes()),
                "model": s.model_reference(reading.model),
                "point": reading.point,
                "neighbours": reading.neighbours,
                "familiarity": reading.familiarity,
                "preprocess": PREPROCESS_VERSION,
                "token": collect.make_token(reading, fingerprint=fingerprint, contributor=contributor),
                "milliseconds": round((time.perf_counter() - started) * 1000, 2),
            }
        )
        if known is None:
            contributors.remember(response, contributor)
        return response


class DrawingsView(APIView):
    """Keep a drawing."""

    throttle_classes = (Throttle,)
    throttle_scope = "drawings"

    @extend_schema(
        operation_id="keep_drawing",
        summary="Keep a drawing with the letter that it is",
        request=s.DrawingRequestSerializer,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                {"type": "string", "minLength": 8, "maxLength": 128, "pattern": "^[!-~]+$"},
                OpenApiParameter.HEADER,
                description="The same key again answers as before and stores nothing. Without one the token counts.",
            )
        ],
        responses={201: s.KeptSerializer} | refusals(400, 409, 413, 415, 422, 429),
    )
    def post(self, request: Request) -> Response:
        _refuse_long_strokes(request)
        data = validated(s.DrawingRequestSerializer, request)
        strokes, width, height = _strokes_of(data)
        kept = collect.keep_drawing(
            strokes=strokes,
            width=width,
            height=height,
            character=data["character"],
            token=data["token"],
            consent=data["consent"],
            idempotency_key=_idempotency_key(request),
        )
        headers = {"Idempotent-Replayed": "true"} if kept.replayed else {}
        return Response(s.kept(kept.drawing), status=status.HTTP_201_CREATED, headers=headers)


def _idempotency_key(request: Request) -> str:
    key: str = request.headers.get("Idempotency-Key", "")
    if key and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Invalid(
            "an Idempotency-Key has 8 to 128 printable ASCII characters, none of them a space", field="Idempotency-Key"
        )
    return key


class MyDrawingsView(APIView):
    """What this browser has given."""

    @extend_schema(operation_id="my_drawings", summary="What this browser has given", responses=s.OwnDrawingsSerializer)
    def get(self, request: Request) -> Response:
        drawings = collect.drawings_of(contributors.known(request))
        newest = [s.own_drawing(drawing) for drawing in drawings[:MINE_SHOWN]]
        return Response({"drawings": newest, "total": drawings.count()}, headers={"Cache-Control": "no-store"})


class DrawingView(APIView):
    """One drawing, for whoever holds its receipt."""

    @extend_schema(
        operation_id="see_drawing",
        summary="See a drawing",
        parameters=[RECEIPT_HEADER],
        responses={200: s.FullDrawingSerializer} | refusals(404),
    )
    def get(self, request: Request, drawing_id: uuid.UUID) -> Response:
        drawing = collect.find_drawing(drawing_id=drawing_id, receipt=request.headers.get("X-Receipt", ""))
        return Response(s.full_drawing(drawing), headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="withdraw_drawing",
        summary="Delete a drawing and all that was derived from it",
        parameters=[RECEIPT_HEADER],
        responses={204: None} | refusals(404),
    )
    def delete(self, request: Request, drawing_id: uuid.UUID) -> Response:
        collect.withdraw_drawing(drawing_id=drawing_id, receipt=request.headers.get("X-Receipt", ""))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ModelsView(APIView):
    """The registered models."""

    @extend_schema(operation_id="models", summary="All registered models, newest first", responses=s.ModelsSerializer)
    def get(self, request: Request) -> Response:
        serving = Serving.objects.values_list("model_id", flat=True).first()
        models = ModelVersion.objects.all()
        return Response({"models": [s.model_value(each, serving=each.pk == serving) for each in models]})


class CurrentModelView(APIView):
    """The model that serves."""

    @extend_schema(
        operation_id="current_model",
        summary="The model that serves",
        responses={200: s.ModelSerializer} | refusals(503),
    )
    def get(self, request: Request) -> Response:
        return Response(s.model_value(registry.current(), serving=True))
