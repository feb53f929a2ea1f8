"""The models, which of them serves, and which served when."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from letters.admin.base import ReadOnlyAdmin
from letters.models import Deployment, ModelVersion, Serving


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """What models there are."""

    list_display = ("number", "name", "origin", "test_accuracy", "short_digest", "created_at")
    fields = ("number", "name", "origin", "test_accuracy", "digest", "metrics", "config", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="accuracy")
    def test_accuracy(self, model: ModelVersion) -> str:
        return "" if model.accuracy is None else f"{100 * model.accuracy:.2f} %"

    @admin.display(description="digest")
    def short_digest(self, model: ModelVersion) -> str:
        return model.digest[:12]


@admin.register(Serving)
class ServingAdmin(ReadOnlyAdmin):
    """Which model serves."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """Which model served when, and why."""

    list_display = ("created_at", "model", "previous", "actor", "reason")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
