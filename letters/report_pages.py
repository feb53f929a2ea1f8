"""The page of one public letter, where anybody may report it."""

from __future__ import annotations

import uuid
from typing import cast

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from letters import addresses, contributors, errors, reports
from letters.api.answers import STATUS
from letters.models import Drawing, Report


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@csrf_protect
def letter(request: HttpRequest, drawing_id: uuid.UUID) -> HttpResponse:
    """A letter large, and a form to say that it should not be here."""
    try:
        found = reports.public_letter(drawing_id)
        return _report(request, found) if request.method == "POST" else _page(request, found)
    except errors.LetterNotShown as gone:
        raise Http404 from gone


def _report(request: HttpRequest, drawing: Drawing) -> HttpResponse:
    reporter = contributors.known(request) or uuid.uuid4()
    try:
        reported = reports.report(
            drawing_id=drawing.pk,
            reporter=reporter,
            reason=request.POST.get("reason", ""),
            network=addresses.hashed(request),
            by=cast(User, request.user) if _may_hide(request) else None,
        )
    except errors.LetterNotShown:
        raise
    except errors.Refusal as refusal:
        return _page(request, drawing, refusal)
    response = render(request, "reported.html", {"drawing": drawing, "reported": reported}, status=201)
    contributors.remember(request, response, reporter)  # so that the same browser counts once
    return response


def _page(request: HttpRequest, drawing: Drawing, refusal: errors.Refusal | None = None) -> HttpResponse:
    context = {
        "drawing": drawing,
        "reasons": Report.Reason.choices,
        "chosen": request.POST.get("reason", ""),
        "refusal": refusal,
        "may_hide": _may_hide(request),
    }
    response = render(request, "letter.html", context, status=STATUS.get(refusal.code, 400) if refusal else 200)
    if refusal and refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _may_hide(request: HttpRequest) -> bool:
    """Of a reviewer one report suffices."""
    return bool(request.user.is_staff and request.user.has_perm("letters.review_drawing"))
