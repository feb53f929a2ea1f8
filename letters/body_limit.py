"""Refuse a body that is too large before anything reads it into memory, and one whose length is not given with it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class BodyLimit:
    """WSGI middleware. Django takes a body without Content-Length for empty; here it is read, up to the limit."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        limit: int = settings.BODY_LIMIT
        declared = environ.get("CONTENT_LENGTH") or ""
        if declared.isdigit() and int(declared) > limit:
            return _refuse(limit, start_response)
        if not declared and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            body = environ["wsgi.input"].read(limit + 1)
            if len(body) > limit:
                return _refuse(limit, start_response)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return self._application(environ, start_response)


def _refuse(limit: int, start_response: StartResponse) -> list[bytes]:
    answer = json.dumps({"code": "body_too_large", "message": f"a request may have at most {limit} bytes"}).encode()
    start_response(
        "413 Content Too Large",
        [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), ("Connection", "close")],
    )
    return [answer]
