"""The pages of whoever watches the site: /healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from letters import exposition, health


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives. It asks no other part, so that none can have it restarted."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 while a visitor can be served, else 503; each part apart, in more words for those who may know."""
    found = health.checks()
    may_know = _has_token(request) or (found.parts["database"].state == health.OK and _is_staff(request))
    parts: dict[str, dict[str, Any]] = {
        name: {"state": part.state, "milliseconds": part.milliseconds} | ({"detail": part.detail} if may_know else {})
        for name, part in found.parts.items()
    }
    value = {"ready": found.ready, "state": found.state, "checks": parts}
    response = JsonResponse(value, status=200 if found.ready else 503)
    response._has_been_logged = True  # type: ignore[attr-defined]  # to Django, which logs each 5xx: it is no error
    return response


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, which brings the token, or staff."""
    if not _has_token(request) and not _is_staff(request):
        words = "The numbers of this site are for its staff, and for who brings METRICS_TOKEN as a bearer token.\n"
        return HttpResponse(words, "text/plain", 401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    content, kind = exposition.of_site(request.headers.get("Accept", ""))
    return HttpResponse(content, kind)


def _has_token(request: HttpRequest) -> bool:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN
    return bool(wanted) and kind.lower() == "bearer" and constant_time_compare(token.strip(), wanted)


def _is_staff(request: HttpRequest) -> bool:
    try:
        return bool(request.user.is_active and request.user.is_staff)
    except DatabaseError:
        return False
