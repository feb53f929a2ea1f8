"""Around every request: an id that its log lines, its tasks and its answer carry, one line when it is answered, counts.

WSGI, the outermost: what is refused before Django sees it, or is a static file, has its id and line as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from letters import metrics
from webapp import logs

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(logs.EACH)

ROUTE = "letterloop.route"  # in the environment of a request
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))


class RequestLog:
    """WSGI middleware."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        request_id = _id_of(environ)
        status = "500"

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal status
            status = line[:3]
            return start_response(line, [*headers, ("X-Request-ID", request_id)], exc_info)

        logs.begin(request_id)
        try:
            return self._application(environ, start)
        finally:
            _note(environ, status, time.perf_counter() - began)
            logs.end()


def _id_of(environ: WSGIEnvironment) -> str:
    """The one that a proxy of ours gave it, if that can be one; else its own. A stranger's would be a stranger's."""
    given = environ.get("HTTP_X_REQUEST_ID", "") if settings.PROXIES else ""
    return given if logs.REQUEST_ID.fullmatch(given) else logs.new_request_id()


def _note(environ: WSGIEnvironment, status: str, seconds: float) -> None:
    method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in METHODS else "OTHER"
    route = environ.get(ROUTE) or _elsewhere(environ.get("PATH_INFO", ""))
    milliseconds = round(seconds * 1000, 2)
    metrics.worked()
    metrics.count(metrics.REQUESTS, method, route, status)
    metrics.measure(metrics.REQUEST_SECONDS, seconds, route)
    fields = {"method": method, "route": route, "status": int(status), "milliseconds": milliseconds}
    log.info("%s %s %s, %s ms", method, route, status, milliseconds, extra=fields)


def _elsewhere(path: str) -> str:
    """What answered where no view did."""
    return "static files" if path.startswith(settings.STATIC_URL) else logs.NO_ROUTE


class NoteRoute:
    """Django middleware: tells the one above which address of ours it was, with no id in it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        request.META[ROUTE] = logs.route_of(request)


def context(request: HttpRequest) -> dict[str, str]:
    """For templates: what a visitor can quote."""
    return {"request_id": logs.request_id()}
