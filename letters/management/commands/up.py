"""The whole site on one machine: what `make run` ends in."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from honcho.environ import parse_procfile

from letters.embedded import EmbeddedRedis, RedisError
from letters.management.commands.first_staff import make_first_staff
from letters.processes import Supervisor
from webapp.celery import app as celery

LOCK_TIMEOUT = 15.0  # seconds; a run that is just ending is waited for
PATIENCE = 60.0  # seconds after which we say what is still missing


class Command(BaseCommand):
    help = "Prepare the database, model and files, and run all processes of the Procfile until Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--end-with-parent", action="store_true", help="end when the process that started this dies"
        )

    def handle(self, *args: Any, end_with_parent: bool, **options: Any) -> None:
        parent = os.getppid() if end_with_parent else None
        for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what goes to the background deaf to SIGINT
            signal.signal(number, _interrupt)
        try:
            with only_one(settings.VAR_DIR / "up.lock"):
                failed = self.run(parent)
        except KeyboardInterrupt:
            failed = ""
        except RedisError as problem:
            raise CommandError(str(problem)) from problem
        if failed:
            raise CommandError(failed)
        self.stdout.write("Letterloop has ended.")

    def run(self, parent: int | None) -> str:
        """Prepare, then run until something ends it. What went wrong, or nothing."""
        host, port = address()
        refuse_taken_port(host, port)
        environment = {**os.environ, **surroundings(port)}
        with contextlib.ExitStack() as stack:
            redis = None
            if not os.environ.get("REDIS_URL"):
                redis = stack.enter_context(EmbeddedRedis(settings.VAR_DIR / "redis"))
                environment["REDIS_URL"] = redis.url
                use(redis.url)
            staff = self.prepare()

            def still_wanted() -> str:
                if redis is not None and redis.ended():
                    return f"Redis ended by itself. What it said is in {redis.folder / 'redis.log'}"
                if parent is not None and os.getppid() != parent:
                    return "The process that started this site is gone."
                return ""

            def on_started() -> None:
                threading.Thread(target=self.announce, args=(host, port, staff), daemon=True).start()

            supervisor = Supervisor(on_started=on_started, still_wanted=still_wanted)
            for name, command in procfile().items():
                supervisor.add_process(name, command, env=environment, cwd=str(settings.BASE_DIR))
            supervisor.loop()
        return supervisor.failed

    def prepare(self) -> tuple[str, str] | None:
        """Database, model, files, and the first staff user if there is none: its name and password."""
        self.stdout.write("Preparing the database, the model and the files")
        call_command("migrate", interactive=False, verbosity=0)
        call_command("register_shipped", stdout=io.StringIO())
        call_command("collectstatic", interactive=False, verbosity=0)
        staff = make_first_staff()
        connections.close_all()  # the processes are forked from here
        return staff

    def announce(self, host: str, port: int, staff: tuple[str, str] | None) -> None:
        """Wait until the site says that it is ready, then say where it is."""
        missing = wait_until_ready(host, port, PATIENCE)
        if missing:
            self.stdout.write(f"\n  Not ready after {PATIENCE:.0f} s ({missing}). Still waiting.\n")
            wait_until_ready(host, port, float("inf"))
        shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104 - compared only
        lines = [f"Letterloop is ready: http://{shown}:{port}", f"Admin:               http://{shown}:{port}/admin/"]
        if staff:
            lines.append("                     user {}, password {} (shown this once)".format(*staff))
        lines.append("Ctrl-C ends it.")
        self.stdout.write("\n" + "\n".join(f"  {line}" for line in lines) + "\n\n")
        self.stdout.flush()


def use(redis_url: str) -> None:
    """For this process too, whose settings were read before there was one: else what is sent while the site is prepared
    goes to whatever Redis this machine has at the standard address."""
    settings.REDIS_URL = settings.CELERY_BROKER_URL = redis_url
    celery.conf.update(broker_url=redis_url)


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Two runs in one folder would share a database, a Redis and a schedule without knowing of each other."""
    with path.open("w") as opened:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CommandError("Letterloop already runs from this folder. End that one first.") from None
                time.sleep(0.1)
        yield


def address() -> tuple[str, int]:
    """Where the site will listen: HOST and PORT, as webapp/gunicorn.py reads them."""
    port = os.environ.get("PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CommandError(f"PORT is {port!r}; it must be a number from 1 to 65535.")
    return os.environ.get("HOST", "0.0.0.0" if settings.PRODUCTION else "127.0.0.1"), int(port)  # noqa: S104


def surroundings(port: int) -> dict[str, str]:
    """What the processes find in their environment: our programs first, and no warning that a container is root's."""
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
    silenced = "ignore:You're running the worker with superuser"
    warnings = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), silenced)))
    return {"PATH": path, "PORT": str(port), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": warnings}


def refuse_taken_port(host: str, port: int) -> None:
    """Say it before anything is started."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what gunicorn sets too
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} is in use by another program. End it, or take another port: PORT={port + 1} make run"
            ) from error
        raise CommandError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error


def procfile() -> dict[str, str]:
    """The processes that run all the time, by name."""
    processes: dict[str, str] = dict(parse_procfile((settings.BASE_DIR / "Procfile").read_text()).processes)
    processes.pop("release", None)  # what it does, prepare() did
    return processes


def wait_until_ready(host: str, port: int, patience: float) -> str:
    """Ask /readyz until it says yes; the last that it said instead, if patience ends first."""
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared only
    request = urllib.request.Request(f"http://{reached}:{port}/readyz")
    allowed = [name for name in settings.ALLOWED_HOSTS if not name.startswith(("*", "."))]
    if allowed and reached not in allowed and "*" not in settings.ALLOWED_HOSTS:
        request.add_header("Host", allowed[0])
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own address
                return ""
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
        except OSError as error:
            said = str(error)
        if time.monotonic() > deadline:
            return said
        time.sleep(0.1)


def _interrupt(number: int, frame: object) -> NoReturn:
    """Before the processes run, a SIGTERM ends us as Ctrl-C does, and Redis with us."""
    raise KeyboardInterrupt
