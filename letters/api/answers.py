"""How the API takes a body and how it refuses: every error leaves as {"code", "message", "field"?}."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from letters import outages
from letters.errors import Refusal
from letters.serializers import ErrorSerializer
from ml.preprocess import InvalidImage, PreprocessError

log = logging.getLogger(__name__)

STATUS = {
    "blank_drawing": status.HTTP_422_UNPROCESSABLE_ENTITY,
    "body_too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "image_too_large": status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    "image_format": status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    "not_found": status.HTTP_404_NOT_FOUND,
    "not_confirmed": status.HTTP_403_FORBIDDEN,
    "idempotency_conflict": status.HTTP_409_CONFLICT,
    "consent_changed": status.HTTP_409_CONFLICT,
    "already_reviewed": status.HTTP_409_CONFLICT,
    "card_taken": status.HTTP_409_CONFLICT,
    "nothing_to_undo": status.HTTP_409_CONFLICT,
    "nothing_to_learn": status.HTTP_409_CONFLICT,
    "model_unfit": status.HTTP_409_CONFLICT,
    "nothing_to_export": status.HTTP_409_CONFLICT,
    "export_withdrawn": status.HTTP_410_GONE,
    "quota_exceeded": status.HTTP_429_TOO_MANY_REQUESTS,
    "throttled": status.HTTP_429_TOO_MANY_REQUESTS,
    "reports_uncounted": status.HTTP_503_SERVICE_UNAVAILABLE,
    "inference_unavailable": status.HTTP_503_SERVICE_UNAVAILABLE,
    "no_model": status.HTTP_503_SERVICE_UNAVAILABLE,
    "database_unavailable": status.HTTP_503_SERVICE_UNAVAILABLE,
    "storage_unavailable": status.HTTP_503_SERVICE_UNAVAILABLE,
}
"""HTTP status of a refusal by its code; 400 for all others."""


class Invalid(Refusal):
    code = "invalid"


def refusals(*statuses: int) -> dict[int, Any]:
    """For the schema: which refusals an operation may answer; that a part is away, any of them."""
    return {each: OpenApiResponse(ErrorSerializer) for each in sorted({*statuses, 503})}


def validated(serializer: type[Any], request: Request) -> dict[str, Any]:
    """The body of a request, as its serializer takes it."""
    if not isinstance(request.data, dict):
        raise Invalid("the body must be a JSON object")
    parsed = serializer(data=request.data)
    parsed.is_valid(raise_exception=True)
    data: dict[str, Any] = parsed.validated_data
    return data


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """The one place where an exception becomes an answer; None leaves a real fault to Django's 500."""
    if isinstance(error, Refusal):
        return _error(error.code, error.message, error.field, retry_after=error.retry_after)
    if isinstance(error, PreprocessError):
        return _error(error.code, str(error), "image" if isinstance(error, InvalidImage) else "strokes")
    if isinstance(error, exceptions.ValidationError):
        field, message = _first_problem(error.detail)
        return _error("invalid", message, field)
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
    if away := outages.refusal_of(error):
        log.error("%s %s: %s: %s", context["request"].method, context["request"].path, away.code, error)
        return _error(away.code, away.message, retry_after=away.retry_after)
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
