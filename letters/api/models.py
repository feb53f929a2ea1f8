"""The registered models, the one that serves, and one with all its figures."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import model_facts, registry
from letters.api.answers import refusals
from letters.models import ModelVersion, Serving
from letters.serializers import (
    ModelReferenceSerializer,
    ModelSerializer,
    ModelsSerializer,
    model_reference,
    model_value,
)


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


class ModelsView(APIView):
    """The registered models."""

    @extend_schema(operation_id="models", summary="All registered models, newest first", responses=ModelsSerializer)
    def get(self, request: Request) -> Response:
        serving = Serving.objects.values_list("model_id", flat=True).first()
        models = ModelVersion.objects.all()
        return Response({"models": [model_value(each, serving=each.pk == serving) for each in models]})


class CurrentModelView(APIView):
    """The model that serves."""

    @extend_schema(
        operation_id="current_model",
        summary="The model that serves",
        responses={200: ModelSerializer} | refusals(503),
    )
    def get(self, request: Request) -> Response:
        return Response(model_value(registry.current(), serving=True))
