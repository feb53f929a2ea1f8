"""The page that says whether the model drifts. It reads what a worker counted, and counts nothing itself."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from letters import drift, drift_charts, drift_words
from ml.proportions import wilson

WINDOWS = (28, 56, 84)  # days that can be asked for


@require_safe
@never_cache
def drift_page(request: HttpRequest) -> HttpResponse:
    """For those who may see the models."""
    if not request.user.has_perm("letters.view_modelversion"):
        raise PermissionDenied
    found = drift.window(_days(request))
    compared = drift_words.comparisons(found)
    lately, earlier = found.lately(), found.earlier()
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": "Drift",
        "drift": found,
        "windows": [(days, days // 7, days == len(found.days)) for days in WINDOWS],
        "lately_days": drift.LATELY,
        "summary": drift_words.summary(compared),
        "comparisons": [(each, _charts(each)) for each in compared],
        "sure": drift_words.SURE,
        "fewest": drift_words.FEWEST,
        "corrected": drift_charts.corrected(found),
        "confidence": drift_charts.confidence(found),
        "mix": drift_charts.mix(lately, earlier),
        "rows": list(reversed(_rows(found))),
        "kept": lately.kept + earlier.kept,
        "read": lately.read + earlier.read,
    }
    return render(request, "admin/letters/drift.html", context)


def _days(request: HttpRequest) -> int:
    asked = request.GET.get("days", "")
    return int(asked) if asked in map(str, WINDOWS) else WINDOWS[1]


def _charts(compared: drift_words.Comparison) -> list[tuple[str, dict[str, Any]]]:
    """How sure it was: of kept letters, and of all that were read where that is known of both sides."""
    first, second = compared.first, compared.second
    charts = []
    if first.kept and second.kept:
        charts.append(("letters that were kept", drift_charts.confidences(first, second, kept=True)))
    if first.read and second.read:
        charts.append(("all drawings that were read", drift_charts.confidences(first, second, kept=False)))
    return charts


def _rows(found: drift.Drift) -> list[dict[str, Any]]:
    """The table: each day and version of which there is something to say."""
    return [
        {
            "day": day.day,
            "version": number,
            "kind": drift_charts.kind_of(found, number),
            "tally": tally,
            "corrected": tally.corrected / tally.kept if tally.kept else None,
            "interval": wilson(tally.corrected, tally.kept) if tally.kept else None,
            "strange": _share(*tally.strange()),
        }
        for day in found.days
        for number, tally in day.versions.items()
        if tally.kept or tally.read or tally.rejected
    ]


def _share(some: int, of: int) -> float | None:
    return some / of if of else None
