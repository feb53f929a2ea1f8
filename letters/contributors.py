"""Who is drawing: a random id in a signed cookie, which nobody is asked for and which says nothing else."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

_SALT = "letterloop.contributor"
_TWO_YEARS = 2 * 365 * 24 * 3600


def known(request: HttpRequest) -> uuid.UUID | None:
    """The contributor that the request's cookie names; None where it has none, or not one of ours."""
    try:
        return uuid.UUID(signing.loads(request.COOKIES.get(settings.CONTRIBUTOR_COOKIE, ""), salt=_SALT))
    except (signing.BadSignature, ValueError, TypeError, AttributeError):
        return None


def remember(response: HttpResponseBase, contributor: uuid.UUID) -> None:
    """Give the visitor's browser its id."""
    response.set_cookie(
        settings.CONTRIBUTOR_COOKIE,
        signing.dumps(contributor.hex, salt=_SALT),
        max_age=_TWO_YEARS,
        httponly=True,
        samesite="Lax",
        secure=settings.PRODUCTION,
    )
