"""Retrainings: start one, watch it, read its verdict."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from letters import census, retrain, snapshots
from letters.admin.base import ReadOnlyAdmin
from letters.errors import Refusal, RunNotFound
from letters.models import Serving, TrainingRun
from letters.verdicts import tests_of
from ml.labels import CLASSES


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    """What was learned, from what, and what came of it."""

    list_display = ("name", "status", "asked_at", "asked_by", "drawings", "makes", "took")
    list_display_links = ("name",)
    list_filter = ("state", "outcome", "kind", "trigger")
    list_select_related = ("candidate",)
    list_per_page = 50
    change_list_template = "admin/letters/run_list.html"

    class Media:
        css = {"all": ("letters/css/admin-runs.css",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super()
            .get_queryset(request)
            .defer("drawing_ids", "log", "verdict", "candidate__metrics", "candidate__config")
        )

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("start/", self.admin_site.admin_view(self.start), name="letters_trainingrun_start"),
            path("<uuid:run_id>/cancel/", self.admin_site.admin_view(self.cancel), name="letters_trainingrun_cancel"),
        ]
        return own + super().get_urls()

    # --- Pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        learnable = census.learnable(snapshots.learnable())
        context = {
            "title": "Retraining",
            "may_train": may_train(request),
            "learnable": learnable,
            "fresh": retrain.approved_since_the_last(),
            "judging": census.judging(snapshots.judging()),
            "modes": retrain.MODES,
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = _find(object_id)
        if run is None:
            return HttpResponseRedirect(reverse("admin:letters_trainingrun_changelist"))
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{run.get_kind_display().partition(':')[0].capitalize()} retraining",
            "media": self.media,
            "run": run,
            "state": badge_of(run),
            "duration": in_words(duration_of(run)),
            "bars": _bars(run.counts),
            "serves": Serving.objects.filter(model=run.candidate_id).exists(),
            "may_train": may_train(request),
            "may_promote": request.user.has_perm("letters.promote_modelversion"),
            "accuracy": f"{100 * run.candidate.accuracy:.2f} %" if run.candidate and run.candidate.accuracy else "",
            "share": round(100 * run.progress.get("share", 0)),
            "tests": tests_of(run.verdict),
        }
        return TemplateResponse(request, "admin/letters/run.html", context)

    # --- What it does

    def start(self, request: HttpRequest) -> HttpResponse:
        """The button."""
        listed = HttpResponseRedirect(reverse("admin:letters_trainingrun_changelist"))
        if request.method != "POST":
            return listed
        if not may_train(request):
            raise PermissionDenied
        try:
            kind, config = _wanted(request)
            started = retrain.start(kind, TrainingRun.Trigger.BUTTON, request.user.get_username(), config=config)
        except Refusal as refusal:
            self.message_user(request, sentence(refusal.message), messages.WARNING)
            return listed
        if started.joined:
            self.message_user(request, "A run of this kind waits already. It stands for yours too: you see it here.")
        return HttpResponseRedirect(reverse("admin:letters_trainingrun_change", args=[started.run.pk]))

    def cancel(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """The other button."""
        page = HttpResponseRedirect(reverse("admin:letters_trainingrun_change", args=[run_id]))
        if request.method != "POST":
            return page
        if not may_train(request):
            raise PermissionDenied
        try:
            ended = retrain.cancel(run_id, request.user.get_username())
        except RunNotFound:
            return HttpResponseRedirect(reverse("admin:letters_trainingrun_changelist"))
        self.message_user(request, "Cancelled." if ended else "It was over already.")
        return page

    # --- Columns

    @admin.display(description="run", ordering="kind")
    def name(self, run: TrainingRun) -> str:
        return str(run)

    @admin.display(description="state", ordering="state")
    def status(self, run: TrainingRun) -> SafeString:
        state, words = badge_of(run)
        return format_html('<span class="run-badge" data-state="{}">{}</span>', state, words)

    @admin.display(description="asked for", ordering="created_at")
    def asked_at(self, run: TrainingRun) -> str:
        return date_format(run.created_at, "j M, H:i")

    @admin.display(description="by", ordering="trigger")
    def asked_by(self, run: TrainingRun) -> str:
        return f"{run.requested_by}, {run.get_trigger_display()}"

    @admin.display(description="drawings", ordering="drawing_count", empty_value="")
    def drawings(self, run: TrainingRun) -> str:
        return str(run.drawing_count or "")

    @admin.display(description="model", empty_value="")
    def makes(self, run: TrainingRun) -> str:
        return str(run.candidate.number) if run.candidate else ""

    @admin.display(description="took", empty_value="")
    def took(self, run: TrainingRun) -> str:
        return in_words(duration_of(run))


def may_train(request: HttpRequest) -> bool:
    """Whether somebody may start and cancel retrainings."""
    return bool(request.user.has_perm("letters.start_trainingrun"))


def badge_of(run: TrainingRun) -> tuple[str, str]:
    """The outcome of a run that has one, else its state: as a word for programs, and in a few for people."""
    if run.outcome:
        return run.outcome, "passed, waits" if run.outcome == TrainingRun.Outcome.PASSED else run.outcome
    return run.state, "nothing new" if run.state == TrainingRun.State.DONE else str(run.get_state_display())


def duration_of(run: TrainingRun) -> timedelta | None:
    """How long it ran, or has run so far."""
    return (run.finished_at or timezone.now()) - run.started_at if run.started_at else None


def in_words(duration: timedelta | None) -> str:
    """A duration as one says it."""
    if duration is None:
        return ""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _bars(counts: dict[str, int]) -> list[tuple[str, int, int]]:
    """Class, drawings, and the height of its bar in percent of the highest."""
    most = max(counts.values(), default=1)
    return [(label, counts.get(label, 0), round(100 * counts.get(label, 0) / most)) for label in CLASSES]


def _find(object_id: str) -> TrainingRun | None:
    try:
        found = uuid.UUID(object_id)
    except ValueError:
        return None
    return TrainingRun.objects.select_related("champion", "candidate").filter(pk=found).first()


def _wanted(request: HttpRequest) -> tuple[str, dict[str, Any]]:
    """Kind and configuration of the form; the fields that are for `full` alone count for it alone."""
    form = request.POST
    kind = form.get("kind", TrainingRun.Kind.HEAD)
    config: dict[str, Any] = {}
    if form.get("seed", "").strip().isdecimal():
        config["seed"] = int(form["seed"])
    if kind == TrainingRun.Kind.FULL:
        config["mode"] = form.get("mode", "finetune")
        if dataset := form.get("dataset", "").strip():
            config["dataset"] = dataset
        if epochs := form.get("epochs", "").strip():
            with suppress(ValueError):  # the step says what is wrong with it
                config["epochs"] = epochs
                config["epochs"] = float(epochs)
    return kind, config


def sentence(words: str) -> str:
    """Words of a step, as a message begins and ends."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
