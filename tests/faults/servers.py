"""A PostgreSQL and a Redis of the tests' own, on private ports and in private folders: these may be killed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import redis

from letters.embedded import find_server
from tests.running import Part, SiteError, free_port, wait_for

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "logging_collector": "off",
}


def postgres_programs() -> Path | None:
    """Where initdb and postgres lie on this machine."""
    found = [Path(each) for each in (shutil.which("initdb"),) if each]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return next((each.parent for each in found if (each.parent / "postgres").exists()), None)


def _as_somebody_else(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root, which a container's user often is: then it is `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return []
    names = {each.pw_name for each in pwd.getpwall()}
    who = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, who.pw_uid, who.pw_gid)
    for parent in folder.parents[:-1]:  # pytest's folders are for their owner alone: it is let through, not in
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--pdeathsig=TERM", "--"]


class Server(Part):
    """A server that a test started, and may kill together with all that it started."""

    url = ""

    def kill(self) -> None:
        """SIGKILL to it and its children at once: those of PostgreSQL have groups of their own."""
        children = psutil.Process(self.pid).children(recursive=True) if self.runs() else []
        super().kill()
        for each in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(children, timeout=10)

    def answers(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def wait(self) -> None:
        """Until it can be used."""
        try:
            wait_for(self.answers, f"{self.name} answers", 60)
        except SiteError as late:
            raise SiteError(f"{late}\n{self.log()[-2000:]}") from None


class Postgres(Server):
    """One database `letters`, for whoever comes from this machine."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        assert programs is not None
        data = folder / "data"
        folder.mkdir(exist_ok=True)
        become = _as_somebody_else(folder)
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "letters", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*become, *initdb], check=True, capture_output=True, cwd="/")
        self.port = free_port()
        self.url = f"postgres://letters@127.0.0.1:{self.port}/letters"
        settings = SETTINGS | {"port": str(self.port)}
        command = [*become, str(programs / "postgres"), "-D", str(data)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        super().__init__("postgres", command, os.environ, folder / "log")

    def create(self) -> None:
        """Start it for the first time."""
        self.start()
        wait_for(lambda: self._connects("postgres"), "postgres answers", 60)
        self.execute("CREATE DATABASE letters", database="postgres")

    def execute(self, query: str, *, database: str = "letters") -> None:
        """As its superuser, outside of any transaction."""
        with psycopg.connect(self._url(database), autocommit=True, connect_timeout=5) as connection:
            connection.execute(query.encode())

    def answers(self) -> bool:
        return self._connects("letters")

    def _url(self, database: str) -> str:
        return self.url.removesuffix("letters") + database

    def _connects(self, database: str) -> bool:
        try:
            psycopg.connect(self._url(database), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class OwnRedis(Server):
    """Without a disk, as docs/faults.md recommends it; `appendonly` for whoever does otherwise."""

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        lines = ["bind 127.0.0.1", f"port {self.port}", f'dir "{folder}"', 'save ""']
        lines.append(f"appendonly {'yes' if appendonly else 'no'}")
        (folder / "redis.conf").write_text("\n".join([*lines, ""]))
        command = [find_server(), str(folder / "redis.conf")]
        super().__init__("redis", command, os.environ, folder / "redis.log")

    def client(self) -> redis.Redis:
        """A connection of its own."""
        return redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=2)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


@contextlib.contextmanager
def own_postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL that runs."""
    server = Postgres(folder)
    try:
        server.create()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def own_redis(folder: Path, *, appendonly: bool = False) -> Iterator[OwnRedis]:
    """A Redis that runs."""
    server = OwnRedis(folder, appendonly=appendonly)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()
