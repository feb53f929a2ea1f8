"""gunicorn's settings, from the environment: PORT, HOST, WEB_CONCURRENCY (processes), WEB_THREADS (each)."""

import contextlib
import ctypes
import os
from pathlib import Path

_production = os.environ.get("LETTERLOOP_ENV") == "production" or "DYNO" in os.environ
_host = os.environ.get("HOST", "0.0.0.0" if _production else "127.0.0.1")  # noqa: S104 - production sits behind a proxy

bind = f"{_host}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "20"))
timeout = 30
graceful_timeout = 10
keepalive = 30
max_requests = 100_000
max_requests_jitter = 10_000
loglevel = "warning"
if Path("/dev/shm").is_dir():  # noqa: S108 - heartbeats on a disk can stall a worker
    worker_tmp_dir = "/dev/shm"  # noqa: S108

# glibc gives each thread a heap of its own to grow: with two for all, a process takes 130 MB under load and not 150.
# The processes that serve are forked from this one and inherit it; elsewhere than on glibc there is nothing to call.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX
