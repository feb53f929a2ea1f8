"""The models, which of them serves, which served when, and the way to another and back."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from letters import influence, registry
from letters.admin.base import ReadOnlyAdmin
from letters.admin.runs import sentence
from letters.errors import Refusal
from letters.models import Deployment, ModelVersion, Serving, TrainingRun
from letters.verdicts import tests_of

TIMELINE = 200
LARGE = [f"{of}__{name}" for of in ("model", "previous") for name in ("metrics", "config")]
LARGE += ["run__drawing_ids", "run__log", "run__verdict"]


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """What models there are."""

    list_display = ("number", "serves", "name", "origin", "test_accuracy", "short_digest", "created_at")
    list_display_links = ("number", "name")

    class Media:
        css = {"all": ("letters/css/admin-runs.css",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        promote = self.admin_site.admin_view(self.promote)
        return [path("<int:pk>/promote/", promote, name="letters_modelversion_promote"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        model = ModelVersion.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        if model is None:
            return HttpResponseRedirect(reverse("admin:letters_modelversion_changelist"))
        if not self.has_view_permission(request, model):
            raise PermissionDenied
        serving = Serving.objects.select_related("model").first()
        serves = serving is not None and serving.model == model
        earlier = serving is not None and model.number < serving.model.number
        run = TrainingRun.objects.filter(candidate=model).select_related("champion").order_by("created_at").first()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(model).capitalize(),
            "media": self.media,
            "model": model,
            "accuracy": self.test_accuracy(model),
            "serves": serves,
            "serving": serving,
            "run": run,
            "tests": tests_of(run.verdict if run else None),
            "withdrawn": influence.withdrawn_from(model),
            "may_promote": request.user.has_perm("letters.promote_modelversion"),
            "label": f"Roll back to {model}" if earlier else f"Let {model} serve",
            "reason": f"rolled back from {serving.model}" if earlier and serving else "passed the gate",
            "timeline": Deployment.objects.select_related("model", "previous", "run").defer(*LARGE)[:TIMELINE],
            "config": json.dumps(model.config, indent=1),
            "metrics": json.dumps({k: v for k, v in model.metrics.items() if k != "history"}, indent=1),
        }
        return TemplateResponse(request, "admin/letters/version.html", context)

    def promote(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The button: let it serve, or serve again."""
        page = HttpResponseRedirect(reverse("admin:letters_modelversion_change", args=[pk]))
        model = ModelVersion.objects.filter(pk=pk).first()
        if request.method != "POST" or model is None:
            return page
        if not request.user.has_perm("letters.promote_modelversion"):
            raise PermissionDenied
        try:
            registry.promote_by_hand(
                model.number, actor=request.user.get_username(), reason=request.POST.get("reason", "")
            )
        except Refusal as refusal:
            self.message_user(request, sentence(refusal.message), messages.ERROR)
        else:
            self.message_user(request, f"{str(model).capitalize()} serves.", messages.SUCCESS)
        return page

    @admin.display(boolean=True, description="serves")
    def serves(self, model: ModelVersion) -> bool:
        return Serving.objects.filter(model=model).exists()

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

    list_display = ("created_at", "model", "previous", "actor", "reason", "run")
    list_select_related = ("model", "previous", "run")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
