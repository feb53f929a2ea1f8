"""Refuse a body that is too large before anything reads it into memory, and one whose length is not given with it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# A client that is still sending when the connection closes never reads our answer: take in some of the rest first.
_DRAIN = 32 * 1024 * 1024
_CHUNK = 64 * 1024


class BodyLimit:
    """WSGI middleware. Django takes a body without Content-Length for empty; here it is read, up to the limit."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        limit: int = settings.BODY_LIMIT
        declared = environ.get("CONTENT_LENGTH") or ""
        if declared.isdigit() and int(declared) > limit:
            return _refuse(environ["wsgi.input"], limit, start_response, left=int(declared))
        if not declared and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            body = environ["wsgi.input"].read(limit + 1)
            if len(body) > limit:
                return _refuse(environ["wsgi.input"], limit, start_response, left=_DRAIN)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return self._application(environ, start_response)


def _refuse(stream: Any, limit: int, start_response: StartResponse, *, left: int) -> list[bytes]:
    left = min(left, _DRAIN)
    while left > 0 and (taken := len(stream.read(min(left, _CHUNK)))):
        left -= taken
    answer = json.dumps({"code": "body_too_large", "message": f"a request may have at most {limit} bytes"}).encode()
    start_response(
        "413 Content Too Large",
        [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), ("Connection", "close")],
    )
    return [answer]
