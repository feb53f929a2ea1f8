"""Who guesses passwords is held up. django-axes counts wrong ones in the database, so for all machines together, and
knows networks by `letters.addresses.disguised` alone; what it noted is forgotten after half an hour.

A person who mistypes is told when to come again. Nobody can shut an account for others with a few wrong passwords: it
is shut for the network they came from, and for all only after fifty.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

OF_ACCOUNT = 50  # wrong passwords, from wherever
OF_NETWORK = 50  # for whichever accounts


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """Locks an account for one network after AXES_FAILURE_LIMIT wrong passwords, and each of the two after more."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Whether this attempt is one too many; the password is not looked at then."""
        name = (credentials or {}).get("username") or ""
        network: str = request.axes_ip_address  # type: ignore[attr-defined]
        return (
            _wrong(username=name) >= OF_ACCOUNT
            or _wrong(ip_address=network) >= OF_NETWORK
            or bool(super().is_locked(request, credentials))
        )

    def user_login_failed(self, sender: Any, credentials: dict[str, Any], request: Any = None, **more: Any) -> None:
        """Count it; which browser it was is noted no more than which address."""
        if request is not None:
            request.axes_user_agent = ""
        super().user_login_failed(sender, credentials, request, **more)


def _wrong(**whose: str) -> int:
    recent = AccessAttempt.objects.filter(attempt_time__gt=timezone.now() - _cool_off(), **whose)
    return recent.order_by().aggregate(total=Sum("failures_since_start"))["total"] or 0


def _cool_off() -> timedelta:
    found: timedelta = settings.AXES_COOLOFF_TIME
    return found


def in_words(name: str | None, address: str, browser: str, path: str, request: HttpRequest) -> str:
    """Whose password was wrong, for a line of the log. What is no account is not named: it may be a password that
    somebody typed for a name."""
    users = get_user_model()._default_manager
    return f"the account {name}" if users.filter(username=name).exists() else "a name that nobody has"


def locked_out(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """The page for somebody who is to wait; it is the same whether or not there is such an account."""
    seconds = int(_cool_off().total_seconds())
    context = {"minutes": seconds // 60, "title": "Too many wrong passwords", "site_header": admin.site.site_header}
    answer = render(request, "admin/locked.html", context)
    answer.status_code = 429
    answer.headers["Retry-After"] = str(seconds)
    return answer


def unlock(name: str | None = None) -> int:
    """Forget the wrong passwords for an account, or all of them; how many there were."""
    found = AccessAttempt.objects.all() if name is None else AccessAttempt.objects.filter(username=name)
    total: int = found.order_by().aggregate(total=Sum("failures_since_start"))["total"] or 0
    found.delete()
    return total


def forget() -> None:
    """Delete what is no longer counted."""
    AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - _cool_off()).delete()
