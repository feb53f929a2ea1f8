"""A whole real site for tests and measurements: Redis, database, gunicorn, one inference worker. Nothing is mocked.

    with running_site(env={"DRAWINGS_PER_DAY": "5"}) as site:
        requests.get(site.base_url + "/readyz")

Without configuration all of it is private: SQLite and files in a folder that goes away, a Redis of its own. Where
DATABASE_URL or REDIS_URL is set those services are used: a database that is made and dropped here, a Redis database
number that was empty. What runs is what the Procfile says. Only what was started here is ever ended, by its pid.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from honcho.environ import parse_procfile
from psycopg.rows import dict_row

from letters.embedded import end_with_parent, find_server
from tests.programs import Programs

ROOT = Path(__file__).resolve().parent.parent
REMEMBERED = 1.2  # seconds; letters.health.FRESH and a little
START_TIMEOUT = 120.0  # seconds; a machine that trains a model at the same time is slow
STOP_TIMEOUT = 15.0
LOWEST_PORT, CLIENTS_PORTS = 10_000, 32_768  # where Linux begins to give ports to clients
PREPARE = """\
import django
django.setup()
from django.core.management import call_command
call_command("migrate", interactive=False, verbosity=0)
call_command("register_shipped", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
"""
# What a developer may have set for a site of his own, and no site of ours is to see.
FOREIGN = [
    "ALLOWED_HOSTS",
    "BACKUP_DAYS",
    "CONN_MAX_AGE",
    "CSRF_TRUSTED_ORIGINS",
    "DATA_LICENCE",
    "DEBUG",
    "DRAWINGS_PER_DAY",
    "DYNO",
    "HOLDOUT_SHARE",
    "HOST",
    "LEARNED_PER_CLASS",
    "LETTERLOOP_ENV",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "LOG_REQUESTS",
    "MAP_COLLECTED",
    "MAP_SAMPLE",
    "MAP_STALE_AFTER",
    "METRICS_TOKEN",
    "PRIVACY_CONTACT",
    "PROXIES",
    "QUEUE_LIMITS",
    "REPORTS_TO_HIDE",
    "RUN_SILENT_AFTER",
    "RUN_STALE_AFTER",
    "S3_BUCKET",
    "S3_ENDPOINT_URL",
    "S3_PREFIX",
    "S3_REGION",
    "S3_TIMEOUT",
    "SECRET_KEY_FALLBACKS",
    "SECURE_HSTS_SECONDS",
    "SECURE_SSL_REDIRECT",
    "THROTTLE_CONTRIBUTORS",
    "THROTTLE_DRAWINGS",
    "THROTTLE_FILES",
    "THROTTLE_KEPT",
    "THROTTLE_PICTURES",
    "THROTTLE_PREDICTIONS",
    "THROTTLE_REPORTS",
    "VISIBILITY_TIMEOUT",
    "WATCH_LIMIT",
    "WEB_CONCURRENCY",
    "WEB_THREADS",
]
OUR_KEYS = "letterloop*"  # every key of the site in Redis begins so
CLAIM = "letterloop-tests:claimed"
OWN_REDIS = "own-redis"  # a folder
_prepared: list[tempfile.TemporaryDirectory[str]] = []


class SiteError(Exception):
    """The site did not do what it was asked; says what its processes wrote last."""


def wait_for(condition: Callable[[], Any], what: str, timeout: float = START_TIMEOUT) -> Any:
    """The first true value of `condition`. Raises SiteError, naming `what` did not come true in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise SiteError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.02)


class Part:
    """One process of the site, in a group of its own: start, stop, continue, kill."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._env = dict(env)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs. Raises SiteError where none does."""
        if self._process is None:
            raise SiteError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it; whether it is of use yet, only `Site.wait_until_ready` knows."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def pause(self) -> None:
        """SIGSTOP: it is there and answers nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT)

    def ask_to_end(self) -> None:
        """SIGTERM, also to one that is paused."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self.resume()

    def end(self) -> None:
        """Wait until it ended as asked, and make sure of it."""
        self.ask_to_end()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        self.kill()

    def runs(self) -> bool:
        """Whether it was started and has not ended; one that is paused runs."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Site:
    """A site that runs: where it answers, what it runs with, and a hand on each of its parts."""

    def __init__(self, folder: Path, env: dict[str, str], redis_part: Part | None) -> None:
        self.folder = folder  # VAR_DIR
        self.env = env
        self.secret_key = env["SECRET_KEY"]
        self.base_url = f"http://127.0.0.1:{env['PORT']}"
        processes = parse_procfile((ROOT / "Procfile").read_text()).processes
        self.web = self._part("web", processes["web"])
        self.worker = self._part("worker", processes["worker"])
        self.trainer = self._part("trainer", processes["trainer"])
        self.beat = self._part("beat", processes["beat"])
        self.redis = redis_part  # None where REDIS_URL named one that is not ours to stop
        self._programs = Programs(env)

    def _part(self, name: str, command: str) -> Part:
        return Part(name, shlex.split(command), self.env, self.folder / f"{name}.log")

    @property
    def pids(self) -> dict[str, int]:
        """Of web (the master; its children serve) and worker."""
        return {"web": self.web.pid, "worker": self.worker.pid}

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that a site may run; trainer and beat only where a test starts them."""
        return self.web, self.worker, self.trainer, self.beat

    def start(self) -> None:
        """Prepare the database, the model and the files; start web and worker; return when a visitor can be served."""
        self.prepare()
        self.worker.start()
        self.web.start()
        self.wait_until_ready()

    def prepare(self) -> None:
        """The first site with all it has in its folder is prepared, the others of this process begin as its copies."""
        if not self.env["DATABASE_URL"].startswith("sqlite:///") or "S3_BUCKET" in self.env:
            self.python(PREPARE)
        elif _prepared:
            shutil.copytree(_prepared[0].name, self.folder, dirs_exist_ok=True)
        else:
            self.python(PREPARE)
            _prepared.append(tempfile.TemporaryDirectory(prefix="letterloop-prepared-"))
            shutil.copytree(self.folder, _prepared[0].name, dirs_exist_ok=True, ignore=lambda *_: [OWN_REDIS])

    def end(self) -> None:
        """End all that runs, at once: what it was at is thrown away with the site."""
        self._programs.end()
        for part in self.parts:
            part.kill()

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Until /readyz says yes of what is now: each web process may say for a moment how it was before. Raises
        SiteError with the last lines of the logs."""
        asked = time.monotonic()
        try:
            wait_for(lambda: self._is_ready() and time.monotonic() - asked > REMEMBERED, "the site is ready", timeout)
        except SiteError as late:
            raise SiteError(f"{late}\n{self.logs()}") from late

    def _is_ready(self) -> bool:
        for part in (self.web, self.worker):
            if part.ended():
                raise SiteError(f"{part.name} ended by itself")
        try:
            with urllib.request.urlopen(self.base_url + "/readyz", timeout=10):
                return True
        except OSError:  # HTTPError is one
            return False

    def logs(self, lines: int = 30) -> str:
        """The last lines of each part's log."""
        tails = ((part.name, part.log().splitlines()[-lines:]) for part in self.parts)
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in tails)

    def python(self, code: str) -> str:
        """What a program prints that runs with the site's settings, in a process of its own (see tests/programs.py)."""
        done = self._programs.run(code, timeout=300)
        if done.returncode:
            raise SiteError(f"a program in the site failed:\n{code}\n{done.stdout}{done.stderr}")
        return done.stdout

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Rows that a query with %s for values finds in the site's database; a writing query is committed."""
        url = self.env["DATABASE_URL"]
        if url.startswith("sqlite:///"):
            return _sqlite_rows(url.removeprefix("sqlite:///"), query, values)
        with psycopg.connect(url, row_factory=dict_row) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Callable[..., None]]:
        """A writing transaction of somebody else, who does with a query what `rows` would; committed at the end."""
        url = self.env["DATABASE_URL"]
        if url.startswith("sqlite:///"):
            with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as file, file:
                file.execute("BEGIN IMMEDIATE")
                yield lambda query, *values: file.execute(query.replace("%s", "?"), _plain(values))
            return
        with psycopg.connect(url) as connection:
            yield lambda query, *values: connection.execute(query.encode(), values)

    def wait_for_a_lock(self) -> None:
        """Until some request waits for what a transaction holds. SQLite's writers do so from their first moment on."""
        if not self.env["DATABASE_URL"].startswith("sqlite:///"):
            waiting = (
                "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = %s"
            )
            wait_for(lambda: self.rows(waiting, "Lock"), "somebody waits for a lock")

    def count(self, table: str) -> int:
        """How many rows a table of `letters` has: `count("drawing")`."""
        return int(self.rows(f"SELECT count(*) AS n FROM letters_{table}")[0]["n"])


@contextlib.contextmanager
def running_site(
    *,
    threads: int | None = None,
    processes: int | None = None,
    env: Mapping[str, str] | None = None,
    own_redis: bool = False,
    prepare: Callable[[Site], None] | None = None,
) -> Iterator[Site]:
    """A site of its own, ready to be asked; gone with all its data at the end.

    `threads` and `processes` are those of the web server, its own defaults where not given. `env` is set for all of its
    processes. `prepare` lays its database and files; where none is given a first start does.
    `own_redis` starts a Redis that a test may stop, also where REDIS_URL names another.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="letterloop-site-", ignore_cleanup_errors=True))
        )
        url, redis_part = stack.enter_context(_some_redis(folder, own_redis))
        settings = _environment(folder, url, stack.enter_context(_some_database(folder)))
        if threads is not None:
            settings["WEB_THREADS"] = str(threads)
        if processes is not None:
            settings["WEB_CONCURRENCY"] = str(processes)
        site = Site(folder, settings | dict(env or {}), redis_part)
        if prepare is not None:
            site.prepare = partial(prepare, site)  # type: ignore[method-assign]
        stack.callback(site.end)
        site.start()
        yield site


def _environment(folder: Path, redis_url: str, database_url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "webapp.settings",
        "VAR_DIR": str(folder),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "PORT": str(free_port()),
        "THROTTLE_PREDICTIONS": "none",
        "THROTTLE_PICTURES": "none",
        "THROTTLE_DRAWINGS": "none",
        "THROTTLE_FILES": "none",
        "THROTTLE_KEPT": "none",
        "THROTTLE_CONTRIBUTORS": "none",
        "THROTTLE_REPORTS": "none",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
    }


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, below those that clients are given: whoever calls a server that
    is down, again and again, is given the server's own port in the end, and it cannot start any more."""
    while True:
        port = LOWEST_PORT + secrets.randbelow(CLIENTS_PORTS - LOWEST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# --- Redis: one of our own, or an empty database of the one that is configured --------------------------------------


@contextlib.contextmanager
def _some_redis(folder: Path, own: bool) -> Iterator[tuple[str, Part | None]]:
    configured = os.environ.get("REDIS_URL", "")
    number = None if own or not configured else _claim_number(configured)
    if number is None:
        with _own_redis(folder / OWN_REDIS) as started:
            yield started
        return
    url = urlsplit(configured)._replace(path=f"/{number}").geturl()
    try:
        yield url, None
    finally:
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(OUR_KEYS):
                client.delete(key)


def _claim_number(configured: str) -> int | None:
    """A database number of that Redis that holds nothing, marked as ours; None if there is none."""
    taken = int(urlsplit(configured).path.strip("/") or 0)
    for number in range(1, 16):
        if number == taken:
            continue
        with redis.Redis.from_url(urlsplit(configured)._replace(path=f"/{number}").geturl()) as client:
            try:
                if client.dbsize() == 0 and client.set(CLAIM, "", nx=True, ex=3600):
                    return number
            except redis.ResponseError:  # it has fewer databases
                return None
    return None


@contextlib.contextmanager
def _own_redis(folder: Path) -> Iterator[tuple[str, Part]]:
    folder.mkdir()
    port = free_port()
    config = f'bind 127.0.0.1\nport {port}\ndir "{folder}"\nsave ""\nappendonly no\n'
    (folder / "redis.conf").write_text(config)
    part = Part("redis", [find_server(), str(folder / "redis.conf")], os.environ, folder / "redis.log")
    url = f"redis://127.0.0.1:{port}/0"
    part.start()
    try:
        wait_for(lambda: _answers(url), "Redis answers")
        yield url, part
    finally:
        part.end()


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


# --- The database: a file, or a new database in the PostgreSQL that is configured -----------------------------------


@contextlib.contextmanager
def _some_database(folder: Path) -> Iterator[str]:
    configured = os.environ.get("DATABASE_URL", "")
    if not configured.startswith(("postgres", "psql")):
        yield f"sqlite:///{folder / 'letterloop.sqlite3'}"
        return
    name = f"letterloop_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(configured, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlsplit(configured)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def _sqlite_rows(path: str, query: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query.replace("%s", "?"), _plain(values))]


def _plain(values: tuple[object, ...]) -> list[object]:
    return [value.hex if isinstance(value, uuid.UUID) else value for value in values]
