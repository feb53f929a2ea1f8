"""gunicorn's settings, from the environment: PORT, HOST, WEB_CONCURRENCY (processes), WEB_THREADS (each)."""

import contextlib
import ctypes
from pathlib import Path
from typing import Any

from webapp import logs
from webapp.environment import Reader, web_size

_read = Reader(Path(__file__).resolve().parent.parent / ".env")
_production = _read.text("LETTERLOOP_ENV") == "production" or _read.is_set("DYNO")
_host = _read.text("HOST", "0.0.0.0" if _production else "127.0.0.1")  # noqa: S104 - production sits behind a proxy

bind = f"{_host}:{_read.whole('PORT', 'where the web process listens', 8000, least=1, most=65535)}"
worker_class = "webapp.worker.Worker"  # gthread, whose threads never wait for a client
workers, threads = web_size(_read)
timeout = 30
graceful_timeout = 10
keepalive = 30
worker_connections = 1000  # of one process; who is slow costs one of these and no thread
sendfile = False  # by it a thread would wait until the client has taken the whole file
max_requests = 100_000
max_requests_jitter = 10_000
loglevel = "warning"
logconfig_dict = logs.configuration(_read, production=_production)
if Path("/dev/shm").is_dir():  # noqa: S108 - heartbeats on a disk can stall a worker
    worker_tmp_dir = "/dev/shm"  # noqa: S108

# glibc gives each thread a heap of its own to grow: with two for all, a process takes 130 MB under load and not 150.
# The processes that serve are forked from this one and inherit it; elsewhere than on glibc there is nothing to call.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


def post_worker_init(worker: Any) -> None:
    """In each process that serves."""
    from letters import metrics

    metrics.start("web")
