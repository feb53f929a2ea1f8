"""The page of the review queue. What it shows and does goes through the API."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from letters.models import Decision, Drawing
from ml.labels import CHARACTERS, CLASSES


@require_safe
@never_cache
def review_page(request: HttpRequest) -> HttpResponse:
    """Card after card, for the keyboard. For those who may review."""
    if not request.user.has_perm("letters.review_drawing"):
        raise PermissionDenied
    config = {
        "characters": CHARACTERS,
        "reasons": [{"value": value, "name": name} for value, name in Decision.Reason.choices],
        "may_mute": request.user.has_perm("letters.mute_contributor"),
    }
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": "Review",
        "page_config": config,
        "classes": CLASSES,
        "reasons": Decision.Reason.choices,
        "states": Drawing.State.choices,
        "sources": Drawing.Source.choices,
    }
    return render(request, "admin/letters/review.html", context)
