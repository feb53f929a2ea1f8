"""Maps: which there are, how true they are, have one made and see how far it is."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from letters import errors, maps
from letters.admin.base import ReadOnlyAdmin
from letters.models import LetterMap

FAILED_SHOWN = 5
ENDED = (LetterMap.State.FAILED, LetterMap.State.CANCELLED)  # without a map
RELOAD = "5"  # seconds, while one is made


@admin.register(LetterMap)
class LetterMapAdmin(ReadOnlyAdmin):
    """The fits of all letters to a plane."""

    class Media:
        css = {"all": ("letters/css/admin-runs.css",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("make/", self.admin_site.admin_view(self.make), name="letters_lettermap_make"),
            path("<uuid:map_id>/cancel/", self.admin_site.admin_view(self.cancel), name="letters_lettermap_cancel"),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        making = maps.making()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Maps",
            "media": self.media,
            "maps": _with_counts(maps.current()),
            "making": [(each, round(100 * each.progress.get("share", 0))) for each in making],
            "failed": LetterMap.objects.filter(state__in=ENDED)[:FAILED_SHOWN],
            "methods": LetterMap.Method.choices,
            "spaces": LetterMap.Space.choices,
            "may_make": may_make(request),
        }
        headers = {"Refresh": RELOAD} if making else None
        return TemplateResponse(request, "admin/letters/map_list.html", context, headers=headers)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **options: Any) -> HttpResponse:
        """A map has no page of its own here."""
        return _listed()

    def make(self, request: HttpRequest) -> HttpResponse:
        """The button."""
        if request.method != "POST":
            return _listed()
        if not may_make(request):
            raise PermissionDenied
        method, space = request.POST.get("method", ""), request.POST.get("space", "")
        if method not in LetterMap.Method.values or space not in LetterMap.Space.values:
            self.message_user(request, "Choose a method and a space.", "warning")
            return _listed()
        asked = maps.request(method, space, LetterMap.Trigger.BUTTON, request.user.get_username())
        if asked.joined:
            self.message_user(request, "One of this kind waits already. It stands for yours too.")
        return _listed()

    def cancel(self, request: HttpRequest, map_id: uuid.UUID) -> HttpResponse:
        """The other button."""
        if request.method != "POST":
            return _listed()
        if not may_make(request):
            raise PermissionDenied
        try:
            ended = maps.cancel(map_id, request.user.get_username())
        except errors.MapNotFound:
            return _listed()
        self.message_user(request, "Cancelled. The map before it stays." if ended else "It was over already.")
        return _listed()


def may_make(request: HttpRequest) -> bool:
    """Whether somebody may have maps made, and cancel that."""
    return bool(request.user.has_perm("letters.make_lettermap"))


def _with_counts(found: list[LetterMap]) -> list[dict[str, Any]]:
    collected = maps.collected_counts(found)
    shown = ("trustworthiness", "knn_plane", "knn_space", "moved_mean")
    return [
        {
            "map": each,
            "collected": sum(collected.get(each.pk, {}).values()),
            "quality": [_percent(each.quality.get(name)) for name in shown],
        }
        for each in found
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _listed() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:letters_lettermap_changelist"))
