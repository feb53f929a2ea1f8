"""One model version in the API, with all its figures."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import model_facts, registry
from letters.api import refusals
from letters.models import ModelVersion
from letters.serializers import ModelReferenceSerializer, ModelSerializer, model_reference, model_value


class FullModelSerializer(ModelSerializer):
    """A registered model with all that was measured of it."""

    parent = ModelReferenceSerializer(allow_null=True, help_text="The version that its training started from.")
    metrics = serializers.DictField(
        help_text="`dataset`; `test` and, where it was noted, `validation`: count, accuracy, folded_accuracy, top2,"
        " their 95 % intervals, precision, recall and F1 of each class, the confusion matrix (rows: label, columns:"
        " read as) and the calibration; `history` of the training. What was not measured is not there."
    )


class ModelView(APIView):
    """One registered model."""

    @extend_schema(
        operation_id="model",
        summary="A registered model with all its figures",
        parameters=[OpenApiParameter("number", int, OpenApiParameter.PATH, description="Of the version.")],
        responses={200: FullModelSerializer} | refusals(404),
    )
    def get(self, request: Request, number: int) -> Response:
        found = registry.number(number)
        value = model_value(found, serving=found.pk == model_facts.serving_pk())
        return Response(value | {"parent": _parent(found), "metrics": model_facts.metrics_of(found)})


def _parent(found: ModelVersion) -> dict[str, Any] | None:
    digest = found.config.get("parent")
    parent = ModelVersion.objects.filter(digest=digest).first() if digest else None
    return model_reference(parent) if parent else None
