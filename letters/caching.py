"""What no view says how long it may be kept, a browser asks for again, and a cache between keeps for nobody."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase


class AskAgain:
    """Middleware. So a letter that is out of view is so for whoever comes back to a page, and no page for one visitor
    is given to another."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "private, no-cache"
        return response
