"""What is said of a database that answers, and takes nothing in or gives too few connections."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from letters import checks, health
from tests.faults.servers import Postgres, own_postgres, postgres_programs
from tests.letters.visitor import Visitor
from tests.letters.watching import BEARER, TOKEN, ready
from tests.running import ROOT, running_site, wait_for

READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"


@pytest.fixture(autouse=True)
def _databases_of_our_own(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def connected(url: str) -> BaseDatabaseWrapper:
    """As the site would be."""
    from environ import Env

    return ConnectionHandler({"default": Env.db_url_config(url)})["default"]


# --- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "letters.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE letters_serving (id)")
        made.execute("INSERT INTO letters_serving VALUES (1)")
        made.commit()
    return path


def opened(path: Path, mode: str = "rw") -> BaseDatabaseWrapper:
    name = f"file:{path}?mode={mode}"
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
    values = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    return ConnectionHandler({"default": values})["default"]


def test_it_works(file: Path) -> None:
    """A file that can be written is left as it was."""
    with closing(opened(file)) as database:
        before = file.read_bytes()
        assert health.takes_nothing_in(database) == ""
        assert file.read_bytes() == before


def test_a_file_that_cannot_be_written(file: Path) -> None:
    with closing(opened(file, "ro")) as database:
        assert "readonly" in health.takes_nothing_in(database)


def test_nobody_waits_for_who_writes(file: Path) -> None:
    """It takes in what somebody else writes just now. What else is wrong is no answer."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other, closing(opened(file)) as database:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert health.takes_nothing_in(database) == ""
        assert time.monotonic() - began < 15  # and not the 20 s of who wants to write
        other.execute("DROP TABLE letters_serving")
        other.execute("COMMIT")
        with pytest.raises(OperationalError, match="no such table"):
            health.takes_nothing_in(database)


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[BaseDatabaseWrapper]:
    with closing(connected(postgres_server.url)) as found:
        yield found


@pytest.mark.slow
def test_a_site_whose_database_reads_only(postgres_server: Postgres) -> None:
    """It says so, and why to those who may know; visitors' letters are read on, so no machine is taken away."""
    env = {"DATABASE_URL": postgres_server.url, "METRICS_TOKEN": TOKEN}
    with running_site(processes=1, own_redis=True, env=env) as site, Visitor(site) as visitor:
        wait_for(lambda: ready(site)["checks"]["database"]["state"] == "ok", "it takes in")
        postgres_server.execute(READ_ONLY)
        postgres_server.execute("SELECT pg_reload_conf()")
        try:
            value = wait_for(lambda: _reads_only(site), "it is seen")
            assert visitor.predict()["label"] == "Z"
        finally:
            _let_write(postgres_server)
        wait_for(lambda: ready(site)["checks"]["database"]["state"] == "ok", "it takes in again")
    assert (value["status"], value["ready"], value["state"]) == (200, True, "degraded")
    said = value["checks"]["database"]["detail"]
    assert said == "it answers, and takes nothing in: default_transaction_read_only is on"


def _reads_only(site: Any) -> dict[str, Any] | None:
    value = ready(site, BEARER)
    return value if value["ready"] and value["checks"]["database"]["state"] == "reads only" else None


def _let_write(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(WRITABLE.encode())
        connection.execute("SELECT pg_reload_conf()")


@pytest.mark.slow
def test_a_standby(tmp_path: Path) -> None:
    if postgres_programs() is None:
        pytest.skip("there are no programs of PostgreSQL on this machine")
    with own_postgres(tmp_path / "postgres") as server:
        server.end()
        (tmp_path / "postgres" / "data" / "standby.signal").touch()
        server.start()
        server.wait()
        with closing(connected(server.url)) as database:
            assert health.takes_nothing_in(database) == "it is a standby"


@pytest.fixture
def ours(settings: Any, monkeypatch: pytest.MonkeyPatch, database: BaseDatabaseWrapper) -> None:
    """The database of this site is that server's; two web processes have twenty threads each."""
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    monkeypatch.setattr(checks, "connection", database)
    for name in ("WEB_CONCURRENCY", "WEB_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("limited", ["DATABASE letters", "ROLE letters"])
def test_w007_too_few_connections(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch, limited: str) -> None:
    """By what the server gives, or the role, or the database, whichever is less."""
    assert checks.connections() == []  # 97 of 100
    postgres_server.execute(f"ALTER {limited} CONNECTION LIMIT 20")
    try:
        (found,) = checks.connections()
        assert (found.id, found.msg.split(",")[0]) == ("letters.W007", "The database gives us 20 connections")
        assert "may want 54" in found.msg
        monkeypatch.setenv("WEB_CONCURRENCY", "1")
        monkeypatch.setenv("WEB_THREADS", "10")
        assert checks.connections() == []
        monkeypatch.setenv("WEB_THREADS", "11")
        assert [each.id for each in checks.connections()] == ["letters.W007"]
    finally:
        postgres_server.execute(f"ALTER {limited} CONNECTION LIMIT -1")


@pytest.mark.usefixtures("ours")
def test_w007_counts_what_the_server_keeps_for_others(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_THREADS", "41")
    assert checks.connections() == []  # 96 wanted
    monkeypatch.setenv("WEB_THREADS", "42")
    assert "gives us 97 connections" in checks.connections()[0].msg


def test_w007_is_of_postgresql_and_documented(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert checks.connections() == []
    assert "`letters.W007`" in (ROOT / "docs" / "operations.md").read_text()
    assert "letters.W007" in str(checks.__doc__)
