"""What is kept of whom, for how long and why, in plain words, with the figures that hold on this site."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from letters import contributors, mine, quotas, retention
from letters.models import Policy


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """For whoever draws here. docs/privacy.md is for whoever runs the site."""
    return render(
        request,
        "privacy.html",
        {
            "policy": Policy.objects.first() or Policy(),
            "contact": settings.PRIVACY_CONTACT,
            "backup_days": settings.BACKUP_DAYS,
            "licence": settings.DATA_LICENCE,
            "consent_version": settings.CONSENT_VERSION,
            "cookie_years": contributors.LIFETIME // (365 * 24 * 3600),
            "token_minutes": settings.TOKEN_LIFETIME // 60,
            "confirm_minutes": mine.CONFIRM_WITHIN // 60,
            "network_minutes": quotas.HOUR // 60,
            "session_hours": settings.SESSION_COOKIE_AGE // 3600,
            "lock_minutes": int(settings.AXES_COOLOFF_TIME.total_seconds()) // 60,
            "empty_days": retention.EMPTY.days,
        },
    )
