"""What was collected, and who drew it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from letters import review
from letters.admin.base import ReadOnlyAdmin
from letters.models import Contributor, Drawing
from letters.serializers import data_url
from ml.labels import CLASSES


class WasRightFilter(admin.SimpleListFilter):
    """Letters that the model read right, or wrong."""

    title = "the model was"
    parameter_name = "was"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("right", "right"), ("wrong", "wrong")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drawing]) -> QuerySet[Drawing]:
        if self.value() == "right":
            return queryset.filter(predicted=F("label"))
        if self.value() == "wrong":
            return queryset.exclude(predicted=F("label"))
        return queryset


class ClassFilter(admin.SimpleListFilter):
    """The 37 classes."""

    title = "class"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label, label) for label in CLASSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drawing]) -> QuerySet[Drawing]:
        return queryset.filter(label=self.value()) if self.value() else queryset


@admin.register(Drawing)
class DrawingAdmin(ReadOnlyAdmin):
    """What was collected: thumbnail, replay, prediction against label; found by letter, id or contributor."""

    list_display = ("thumbnail", "character", "label", "read_as", "state", "contributor", "model", "created_at")
    list_display_links = ("thumbnail", "character")
    list_filter = ("state", WasRightFilter, ClassFilter, "model", "created_at")
    list_select_related = ("contributor", "model")
    list_per_page = 50
    search_fields = ("character__exact", "label__exact", "id", "contributor__id")
    search_help_text = "A letter, the id of a drawing or of a contributor."
    show_full_result_count = False
    actions = ("approve", "reject")
    fields = (
        "replay",
        "character",
        "label",
        "read_as",
        "state",
        "thumbnail",
        "contributor",
        "held_out",
        "model",
        "canvas",
        "preprocess",
        "consent",
        "created_at",
        "id",
    )

    class Media:
        js = ("letters/js/admin-replay.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Drawing]:
        shown = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("changelist")
        return shown.defer("strokes") if is_list else shown

    def has_review_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("letters.change_drawing"))

    @admin.action(description="Approve: show them, learn from them", permissions=["review"])
    def approve(self, request: HttpRequest, drawings: QuerySet[Drawing]) -> None:
        self.message_user(request, f"{review.approve(drawings)} approved.")

    @admin.action(description="Reject", permissions=["review"])
    def reject(self, request: HttpRequest, drawings: QuerySet[Drawing]) -> None:
        self.message_user(request, f"{review.reject(drawings)} rejected.")

    @admin.display(description="image")
    def thumbnail(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<img class="letter-thumbnail" src="{}" width="56" height="56" alt="drawn: {}">',
            data_url(bytes(drawing.image)),
            drawing.character,
        )

    @admin.display(description="strokes")
    def replay(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<canvas class="letter-replay" width="320" height="320" tabindex="0" role="img" aria-label="{}"'
            ' data-strokes="{}" data-width="{}" data-height="{}"></canvas>'
            '<button type="button" class="button letter-replay-again">Draw it again</button>',
            f"The strokes of the letter {drawing.character}",
            json.dumps(drawing.strokes),
            drawing.canvas_width,
            drawing.canvas_height,
        )

    @admin.display(description="the model read", ordering="probability")
    def read_as(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<span class="{}">{} {}, {} %</span>',
            "read-right" if drawing.was_right else "read-wrong",
            "✓" if drawing.was_right else "✗",
            drawing.predicted,
            f"{100 * drawing.probability:.1f}",
        )

    @admin.display(boolean=True, description="held out for judging")
    def held_out(self, drawing: Drawing) -> bool:
        return drawing.contributor.held_out

    @admin.display(description="canvas")
    def canvas(self, drawing: Drawing) -> str:
        return f"{drawing.canvas_width:g} x {drawing.canvas_height:g}"


@admin.register(Contributor)
class ContributorAdmin(ReadOnlyAdmin):
    """Who drew: a random id."""

    list_display = ("id", "held_out", "created_at")
    list_filter = ("held_out",)
    search_fields = ("id",)
