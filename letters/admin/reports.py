"""What visitors reported, and what was decided about it. Decisions are made in the review queue."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from letters import review
from letters.admin.base import ReadOnlyAdmin
from letters.admin.drawings import YesOrNoFilter
from letters.models import Report
from letters.serializers import data_url


class AnsweredFilter(YesOrNoFilter):
    """Reports after which a reviewer decided."""

    title, parameter_name, field = "answered", "answered", "decision"


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """Who reported is not known; why, when and what came of it is."""

    list_display = ("created_at", "letter", "reason", "weighs", "answer")
    list_filter = (AnsweredFilter, "reason", "weighs")
    list_select_related = ("drawing", "decision")
    list_per_page = 50
    search_fields = ("drawing__id",)
    search_help_text = "The id of a drawing."
    show_full_result_count = False
    fields = ("letter", "reason", "weighs", "answer", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Report | None = None) -> bool:
        return False

    @admin.display(description="letter")
    def letter(self, report: Report) -> SafeString:
        return format_html(
            '<a href="{}?drawing={}"><img class="letter-thumbnail" src="{}" width="56" height="56" alt="drawn: {}">'
            "</a>",
            reverse("review"),
            report.drawing_id,
            data_url(bytes(report.drawing.image)),
            report.drawing.letter,
        )

    @admin.display(description="answer")
    def answer(self, report: Report) -> str:
        return review.in_words(report.decision) if report.decision else "waits"
