"""Who is drawing: a random id in a signed cookie, which nobody is asked for and which says nothing else."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

_SALT = "letterloop.contributor"
LIFETIME = 2 * 365 * 24 * 3600  # seconds since it was last renewed
RENEWED_AFTER = 30 * 24 * 3600  # seconds


def known(request: HttpRequest) -> uuid.UUID | None:
    """The contributor that the request's cookie names; None where it has none, or not one of ours, or too old a one."""
    return _read(request, max_age=LIFETIME)


def remember(request: HttpRequest, response: HttpResponseBase, contributor: uuid.UUID) -> None:
    """Give the visitor's browser its id, where it does not have it, or in a cookie that is a month old or signed by a
    key that is on its way out."""
    if _read(request, max_age=RENEWED_AFTER, fallback_keys=[]) == contributor:
        return
    response.set_cookie(
        settings.CONTRIBUTOR_COOKIE,
        signing.dumps(contributor.hex, salt=_SALT),
        max_age=LIFETIME,
        httponly=True,
        samesite="Lax",
        secure=settings.PRODUCTION,
    )


def forget(response: HttpResponseBase) -> None:
    """Take the id from the visitor's browser."""
    response.delete_cookie(settings.CONTRIBUTOR_COOKIE, samesite="Lax")


def _read(request: HttpRequest, **how: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(signing.loads(request.COOKIES.get(settings.CONTRIBUTOR_COOKIE, ""), salt=_SALT, **how))
    except (signing.BadSignature, ValueError, TypeError, AttributeError):
        return None
