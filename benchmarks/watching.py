"""What it costs to watch: a prediction's counts, a request's line, a scrape. Prints JSON.

python -m benchmarks.watching
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import django

ROUNDS = 20_000


def microseconds(call: Callable[[], Any]) -> float:
    """Of one call, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(ROUNDS // 5):
            call()
        best = min(best, (time.perf_counter() - began) / (ROUNDS // 5))
    return round(best * 1e6, 2)


def main() -> None:
    """Measure in this process, without a site."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "webapp.settings", "LOG_FORMAT": "json", "LOG_REQUESTS": "1"}
    django.setup()
    from django.test import RequestFactory

    from letters import metrics
    from letters.request_log import RequestLog

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    with open(os.devnull, "w") as nowhere:
        logging.getLogger().handlers[0].setStream(nowhere)  # type: ignore[attr-defined]
        environ = RequestFactory().get("/api/v1/predictions").environ
        wrapped = RequestLog(application)
        plain = microseconds(lambda: application(environ, lambda *_: None))
        found = {
            "counts of a prediction": microseconds(lambda: metrics.reading(1, "A", 0.9, known=True, seconds=0.01)),
            "id, line and counts of a request": round(
                microseconds(lambda: wrapped(environ, lambda *_: None)) - plain,
                2,  # type: ignore[arg-type, return-value]
            ),
        }
    print(json.dumps({"microseconds": found}))


if __name__ == "__main__":
    main()
