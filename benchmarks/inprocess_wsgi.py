"""The same site with one thing exchanged: the view asks LiteRT in its own process, where it would ask a worker.

What Celery costs is the difference between the two; gunicorn serves both with the same settings.
"""

from __future__ import annotations

import threading
from typing import Any

from webapp.wsgi import application

# isort: split
from letters import collect, registry, tasks  # Django must be set up first
from ml.predictor import Predictor

__all__ = ["application"]

_own = threading.local()  # an interpreter is not thread-safe


def read_here(digest: str, image: bytes) -> dict[str, Any]:
    """What a worker would answer."""
    if not hasattr(_own, "predictor"):
        _own.predictor = Predictor(registry.fetch(digest))
    return tasks.read(_own.predictor, digest, image)


collect.ask_worker = read_here
