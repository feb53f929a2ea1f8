"""Take the data away: have a file made, watch it come, download it."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from letters import dataset, errors, export
from letters.admin.base import ReadOnlyAdmin
from letters.models import Export

SHOWN = 50
FORMATS = (
    (Export.Format.PARQUET, "One table with everything, for pandas, Polars, DuckDB or Spark."),
    (Export.Format.IDX, "28x28 images and labels as EMNIST has them: whatever reads EMNIST reads these."),
    (
        Export.Format.NDJSON,
        "Strokes with their times, a JSON object a line, as Quick, Draw! has them. Can be imported.",
    ),
)


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """The files that were made of the collected drawings."""

    class Media:
        css = {"all": ("letters/css/admin-exports.css",)}

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("request/", self.admin_site.admin_view(self.request_one), name="letters_export_request"),
            path(
                "<uuid:export_id>/download/", self.admin_site.admin_view(self.download), name="letters_export_download"
            ),
        ]
        return own + super().get_urls()

    def delete_model(self, request: HttpRequest, obj: Export) -> None:
        export.discard([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Export]) -> None:
        export.discard(queryset.values_list("pk", flat=True))

    # --- Pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Take the data away",
            "media": self.media,
            "formats": [(format, format.label, words) for format, words in FORMATS],
            "exports": Export.objects.all()[:SHOWN],
            "drawings": dataset.publishable(export.SELECTION),
            "withheld": dataset.withheld(export.SELECTION),
            "may_export": may_export(request),
            "may_delete": self.has_delete_permission(request),
        }
        return TemplateResponse(request, "admin/letters/export_list.html", context)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **options: Any) -> HttpResponse:
        """An export has no page of its own."""
        return _listed()

    def download(self, request: HttpRequest, export_id: uuid.UUID) -> HttpResponse | FileResponse:
        """The file, piece by piece."""
        if not may_export(request):
            raise PermissionDenied
        try:
            file, name = export.open_file(export_id)
        except errors.Refusal as refusal:
            context = {**self.admin_site.each_context(request), "opts": self.opts, "message": refusal.message}
            status = 410 if isinstance(refusal, errors.ExportWithdrawn) else 404
            return TemplateResponse(request, "admin/letters/export_gone.html", context, status=status)
        return FileResponse(
            file,
            as_attachment=True,
            filename=name,
            content_type="application/zip",
            headers={"Cache-Control": "no-store"},
        )

    def request_one(self, request: HttpRequest) -> HttpResponse:
        """A button."""
        if request.method != "POST":
            return _listed()
        if not may_export(request):
            raise PermissionDenied
        if request.POST.get("format") not in Export.Format.values:
            self.message_user(request, "Choose a format: Parquet, idx or ndjson.", messages.WARNING)
            return _listed()
        try:
            export.request(request.POST["format"], request.user.get_username())
        except errors.Refusal as refusal:
            self.message_user(request, f"{refusal.message[:1].upper()}{refusal.message[1:]}.", messages.WARNING)
        return _listed()


def _listed() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:letters_export_changelist"))


def may_export(request: HttpRequest) -> bool:
    """Whether somebody may take the data away."""
    return bool(request.user.has_perm("letters.add_export"))
