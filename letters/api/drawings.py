"""Have a drawing read, have one kept, see it again, take it back."""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import parsers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import addresses, collect, contributors
from letters import serializers as s
from letters.api.answers import Invalid, refusals, validated
from letters.errors import Refusal
from letters.throttles import DrawingThrottle, PredictionThrottle, count_picture
from ml.preprocess import PREPROCESS_VERSION, image_from_file, image_from_strokes
from ml.preprocess import validate_strokes as judge_strokes

IMAGE_BYTES = 2 * 1024 * 1024
IDEMPOTENCY_KEY = re.compile("[!-~]{8,128}")

RECEIPT_HEADER = OpenApiParameter(
    "X-Receipt", str, OpenApiParameter.HEADER, required=True, description="The receipt of the drawing."
)


class BodyTooLarge(Refusal):
    code = "body_too_large"


# --- Parsing -------------------------------------------------------------------------------------------------------


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
        count_picture(request)
        image = _image_of(upload.read(IMAGE_BYTES + 1))
    elif isinstance(request.data, dict) and "image" in request.data:
        count_picture(request)
        image = _image_of(_decoded_image(validated(s.ImageRequestSerializer, request)["image"]))
    else:
        _refuse_long_strokes(request)
        strokes, width, height = _strokes_of(validated(s.StrokesRequestSerializer, request))
        return image_from_strokes(strokes, (width, height)), collect.fingerprint_of(strokes, width, height)
    return image, collect.fingerprint_of_image(image)


# --- Views ---------------------------------------------------------------------------------------------------------


class PredictionsView(APIView):
    """Read a drawing."""

    parser_classes = (parsers.JSONParser, parsers.MultiPartParser)
    throttle_classes = (PredictionThrottle,)

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
        contributor = contributors.known(request) or uuid.uuid4()
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
        contributors.remember(request, response, contributor)
        return response


class DrawingsView(APIView):
    """Keep a drawing."""

    throttle_classes = (DrawingThrottle,)

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
            consent_version=data["consent_version"],
            idempotency_key=_idempotency_key(request),
            network=addresses.hashed(request),
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
