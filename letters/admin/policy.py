"""The one row with what maintainers set, and the way to the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from letters.models import Policy

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Policy]
else:
    _ModelAdmin = admin.ModelAdmin


LABELS = {
    "retrain_after": "After so many new drawings",
    "retrain_kind": "What then",
    "contributor_share": "Largest share of one contributor",
    "promote_passed": "A model that passed serves at once",
    "significance": "What counts as chance",
    "class_loss": "Largest loss of a class, in points",
    "holdout_minimum": "Fewest drawings to judge by",
    "maps_after": "After so many new drawings",
    "maps_follow": "UMAP after each promotion",
    "rejected_days": "Rejected drawings, in days",
    "pending_days": "Drawings that nobody reviews",
    "drawings_days": "Drawings at all",
    "exports_days": "Files of exports",
    "models_days": "Files of models that do not serve",
    "log_days": "The log of what staff did",
}


@admin.register(Policy)
class PolicyAdmin(_ModelAdmin):
    """How this site learns: when by itself, from how much of whom, to prove what; and how long it keeps what."""

    change_form_template = "admin/letters/policy_form.html"
    fieldsets = (
        ("When it retrains by itself", {"fields": ("retrain_after", "retrain_kind")}),
        ("What it learns from", {"fields": ("contributor_share",)}),
        (
            "What a model must prove",
            {"fields": ("promote_passed", "significance", "class_loss", "holdout_minimum")},
        ),
        ("When the maps are made anew by themselves", {"fields": ("maps_after", "maps_follow")}),
        (
            "How long what is kept",
            {
                "fields": (
                    "rejected_days",
                    "pending_days",
                    "drawings_days",
                    "exports_days",
                    "models_days",
                    "log_days",
                ),
                "description": "A purge sees to it every night; it cannot be taken back. The privacy page says what"
                " stands here. `manage.py purge --dry-run` says what would go.",
            },
        ),
    )

    class Media:
        css = {"all": ("letters/css/admin-runs.css",)}

    def get_form(self, request: HttpRequest, obj: Policy | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, labels=LABELS, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one row, and the list of it would be a page in between."""
        return HttpResponseRedirect(reverse("admin:letters_policy_change", args=[1]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        by_the_clock = [f"letters.tasks.{name}" for name in ("retrain_on_schedule", "make_maps_on_schedule", "purge")]
        tasks = PeriodicTask.objects.filter(task__in=by_the_clock).order_by("-task").select_related("crontab")
        context = {
            "title": "How this site learns",
            "subtitle": None,
            "show_save_and_continue": False,
            "schedule": [(task, _when(task)) for task in tasks],
        }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def response_change(self, request: HttpRequest, obj: Policy) -> HttpResponse:
        self.message_user(request, "Set. The next retraining goes by it, and the next making of maps.")
        return HttpResponseRedirect(reverse("admin:letters_policy_change", args=[1]))


def _when(task: PeriodicTask) -> str:
    """The times of a schedule, in words."""
    return str(task.crontab.human_readable if task.crontab else task.scheduler)
